"""What carries ``train_mnist.py`` and ``predict.py``. Importing it makes Chainer importable.

Chainer's last release, 7.8.1, does not import on NumPy 2 or on Python 3.12 and later. After
``import chainer_mnist`` it does, even where an ``import chainer`` has been tried before and has
failed. The rooms, each with one concern:

- ``compat``: Chainer 7.8.1 on today's Python, NumPy and CuPy
- ``run``: what a run has from beginning to end
- ``snapshot``: what a snapshot holds; ``npz``: how a file that nobody vouches for is read
- ``data``: MNIST as arrays; ``arrays``: how the files of data sets that nobody vouches for are read
- ``images``: a person's image in MNIST's form
- ``report``: progress, the log and the graph; ``pictures``: curves and answers, drawn
- ``devices``: the CPU or a GPU; ``speed``: a fast loop
- ``parallel``: one process or many; ``hosts``: one host or many
- ``arguments``: the command line; ``streams``: what is printed; ``errors``: a mistake in one line
- ``process``: streams and signals of the process; ``files``: whole files or none

They know nothing of the two scripts and of ``net.py``: they work on the objects they are handed.
"""

from chainer_mnist import compat

compat.mend()

__version__ = '1.1.0'  # the newest in CHANGELOG.md
