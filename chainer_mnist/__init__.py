"""What carries ``train_mnist.py`` and ``predict.py``. Importing it makes Chainer importable.

Chainer's last release, 7.8.1, does not import on NumPy 2 or on Python 3.12 and later. After
``import chainer_mnist`` it does, even where an ``import chainer`` has been tried before and has
failed. The rooms, each with one concern:

- ``compat``: Chainer 7.8.1 on today's Python, NumPy and CuPy
- ``run``: what a run has from beginning to end
- ``resume``: how it goes on; ``log``: the record of each epoch
- ``report``: means, curves and the graph; ``progress``: a bar on the terminal
- ``snapshot``: what is saved; ``reading``: what is read of it; ``match``: whether it fits;
  ``states``: what an optimizer keeps; ``finding``: which file is meant
- ``formats``: what a file is; ``npz``, ``hdf5``, ``hdf5_to_npz``, ``stored``: how one that nobody
  vouches for is read; ``limits``: what is believed of it
- ``trainer``: what Chainer's Trainer calls things
- ``data``: MNIST as arrays; ``arrays``: how the files of data sets that nobody vouches for are read
- ``images``: a person's image in MNIST's form
- ``pictures``: curves and answers, drawn; ``evaluation``: a model at work, not in training
- ``speed``: a fast loop; ``adam``: its optimizer; ``graph``, ``backprop``, ``functions``: its graph
- ``devices``: the CPU or a GPU; ``parallel``: one process; ``multi_node``: many of them,
  ``multi_node_optimizer``: who learn together; ``hosts``: several hosts
- ``arguments``: the command line; ``shell``: commands to paste; ``streams``: what is printed;
  ``errors``: a mistake in one line
- ``process``: streams and signals of the process; ``files``: whole files or none

They import neither the two scripts nor ``net.py``. Only what they say to a person names them.
"""

from chainer_mnist import compat

compat.mend()

__version__ = '1.1.0'  # the newest in CHANGELOG.md
