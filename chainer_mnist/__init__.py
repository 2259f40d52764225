"""Support code for ``train_mnist.py`` and ``predict.py``. Importing it makes Chainer importable.

Chainer's last release, 7.8.1, does not import on NumPy 2 or on Python 3.12 and later. After
``import chainer_mnist`` it does, and ``chainer.datasets.get_mnist`` finds the data in the clone.
CONTRIBUTING.md shows how the modules hang together.
"""

import os
import sys

__version__ = '1.2.0'  # the newest in CHANGELOG.md

try:
    if sys.version_info < (3, 9):  # noqa: UP036
        raise ImportError(f'Python 3.9 or later is needed, and this is {sys.version.split()[0]}')
    from chainer_mnist import compat, constants

    compat.apply_patches()
    import chainer

    if int(chainer.__version__.split('.')[0]) < 7:
        raise ImportError(f'Chainer 7 is needed, and this is {chainer.__version__}')
    if not os.environ.get(constants.ROOT):
        chainer.dataset.set_dataset_root(constants.DATA)
except (ImportError, KeyboardInterrupt) as error:
    script = os.path.basename(sys.argv[0])
    if script not in ('train_mnist.py', 'predict.py'):
        raise
    if isinstance(error, KeyboardInterrupt):  # these imports take most of the start
        sys.exit(130)
    packages = os.path.abspath(os.path.join(__file__, '..', '..', 'requirements.txt'))
    fix = f'activate the virtual environment, or run pip install -r "{packages}"'
    sys.exit(f'{script}: error: {error}; {fix}')  # a mistake that everyone makes needs no traceback
