"""Support code for ``train_mnist.py`` and ``predict.py``. Importing it makes Chainer importable.

Chainer's last release, 7.8.1, does not import on NumPy 2 or on Python 3.12 and later. After
``import chainer_mnist`` it does. CONTRIBUTING.md shows how the modules hang together.
"""

from chainer_mnist import compat

compat.apply_patches()

__version__ = '1.2.0'  # the newest in CHANGELOG.md
