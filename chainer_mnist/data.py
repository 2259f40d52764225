"""Finds MNIST, or a data set of its kind, and hands it over as arrays."""

import contextlib
import os

from chainer_mnist import limits
from chainer_mnist.arrays import IdxArray, NpzArray
from chainer_mnist.errors import UserError

import numpy

# The variable that names the folder of another data set.
ROOT = 'CHAINER_DATASET_ROOT'
# Where MNIST lies in a clone.
DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')
# Images that are read at a time: few enough to stay in the processor's cache.
PIECE = 200

FORMATS = (
    'CHAINER_DATASET_ROOT takes a folder with the four idx files (train-images-idx3-ubyte.gz and '
    "its like), with Keras' mnist.npz or with Chainer's train.npz and test.npz, of 28x28 pixels "
    'from 0 to 255 or from 0 to 1 and of labels from 0 to 9; unset it for MNIST'
)
MEND = 'bring it back with "git checkout data" in the clone'


def load():
    """Loads MNIST from ``CHAINER_DATASET_ROOT``, where that is set, or else from ``data/``.

    ``CHAINER_DATASET_ROOT`` is a folder that holds one of these, or the path of the second:

    - ``pfnet/chainer/mnist/train.npz`` and ``test.npz``: Chainer's own cache
    - ``mnist.npz``, as Keras keeps it
    - ``train-images-idx3-ubyte`` and its like: the four files as which most data sets of this kind
      are published, packed by gzip or not
    - ``train.npz`` and ``test.npz``, as Chainer keeps Fashion-MNIST and KMNIST

    Pixels may go from 0 to 255 or from 0 to 1.

    Returns:
        tuple: ``(x, t)`` of the training set and ``(x, t)`` of the test set. ``x`` holds images,
        float32 from 0 to 1, of shape (N, 784), and ``t`` holds labels, int32, of shape (N,). N is
        60,000 and 10,000 in the real MNIST.

    Raises:
        UserError: If a file is missing, damaged or holds other data. Nothing is ever downloaded:
            the address that Chainer has for MNIST is dead.

    """
    root = os.environ.get(ROOT) or DATA
    train_x, train_t, test_x, test_t = _find(root)
    train, train_highest = _load(train_x, train_t)
    test, test_highest = _load(test_x, test_t)
    # Black images fit either scale.
    if 0 < min(train_highest, test_highest) <= 1 < max(train_highest, test_highest):
        raise UserError(
            f'{root} holds pixels up to {train_highest:g} to train on and up to {test_highest:g} '
            'to test with; scale both to 255, or both to 1'
        )
    return train, test


def _find(root):
    """Finds images and labels to train on, and images and labels to test with.

    Args:
        root (str): The folder, or the file of Keras.

    Returns:
        list: Four times the path of a file, and the key in it or, for an idx file, ``None``.

    """
    for members in _layouts(root):
        missing = [path for path, _ in members if not os.path.isfile(path)]
        if not missing:
            return members
        if len(missing) < len(members):
            raise _not_mnist(f'MNIST is not there: no file {missing[0]}')
    what = 'holds none of its files' if os.path.isdir(root) else 'is not there'
    raise _not_mnist(f'MNIST is not there: {root} {what}')


def _layouts(root):
    """Says for each layout that is known where its four arrays would be."""
    keras = root if os.path.isfile(root) else os.path.join(root, 'mnist.npz')
    yield _chainers(os.path.join(root, 'pfnet', 'chainer', 'mnist'))
    yield [(keras, f'{key}_{part}') for part in ('train', 'test') for key in 'xy']
    yield [
        (_idx(root, part, kind), None)
        for part in ('train', 't10k')
        for kind in ('images-idx3', 'labels-idx1')
    ]
    yield _chainers(root)


def _chainers(folder):
    return [
        (os.path.join(folder, f'{part}.npz'), key) for part in ('train', 'test') for key in 'xy'
    ]


def _idx(folder, part, kind):
    """Finds an idx file under one of the names that it goes by."""
    name = f'{part}-{kind}-ubyte'
    names = [name, name.replace('-idx', '.idx')]
    paths = [os.path.join(folder, name + end) for end in ('', '.gz') for name in names]
    return next(filter(os.path.isfile, paths), paths[0])


def _load(images, labels):
    """Loads the training set or the test set.

    Args:
        images (tuple): Path and key of the images, as of :func:`_find`.
        labels (tuple): Those of the labels.

    Returns:
        tuple: ``(x, t)``, as of :func:`load`, and the highest pixel as it stands in the file.

    """
    with _reading(labels[0]):
        t = _labels(_array(*labels))
    with _reading(images[0]):
        x, highest = _images(_array(*images), len(t))
    return (x, t), highest


def _array(path, key):
    return NpzArray(path, key) if key else IdxArray(path)


@contextlib.contextmanager
def _reading(path):
    """Makes one error of whatever is wrong with a file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, zlib and NumPy raise
        reason = getattr(error, 'strerror', None) or str(error).split('\n')[0]
        raise _not_mnist(f'cannot read MNIST in {path}: {reason or type(error).__name__}') from None


def _not_mnist(what):
    own = os.environ.get(ROOT)
    return UserError(f'{what}; {FORMATS if own else MEND}')


def _labels(array):
    """Reads labels."""
    if len(array.shape) != 1 or array.dtype.kind not in 'iuf':
        raise ValueError(f'it holds labels of {array.dtype} and shape {array.shape}')
    if not 0 < array.shape[0] <= limits.IMAGES:
        raise ValueError(f'it holds {array.shape[0]} labels, not 1 to {limits.IMAGES}')
    [labels] = array.pieces(array.shape[0])
    if not (labels.min() >= 0 and labels.max() <= 9):  # so NaN is no label
        raise ValueError(f'it holds labels from {labels.min()} to {labels.max()}')
    t = labels.astype(numpy.int32)
    if (t != labels).any():
        raise ValueError('it holds labels that are no whole numbers')
    return t


def _images(array, count):
    """Reads images and scales them, bit for bit as ``chainer.datasets.get_mnist`` does."""
    if [n for n in array.shape[1:] if n != 1] not in ([784], [28, 28]):
        raise ValueError(f'it holds images of shape {array.shape[1:]}')
    if array.dtype.kind not in 'biuf':
        raise ValueError(f'it holds images of {array.dtype}')
    if array.shape[0] != count:
        raise ValueError(f'it holds {array.shape[0]} images for {count} labels')
    x = numpy.empty((count, 784), numpy.float32)
    done, scale, highest = 0, numpy.float32(1), 0.0
    for piece in array.pieces(PIECE):
        low, high = float(piece.min()), float(piece.max())
        if not (low >= 0 and high <= 255):  # NaN neither
            raise ValueError(f'it holds pixels from {low:g} to {high:g}')
        highest = max(highest, high)
        if highest > 1 and scale == 1:  # nearly always in the first piece
            scale = numpy.float32(1 / 255)
            x[:done] *= scale
        out = x[done : done + len(piece)]
        numpy.multiply(
            piece.reshape(out.shape), scale, out=out, dtype=numpy.float32, casting='same_kind'
        )
        done += len(piece)
    if 1 < highest < 2:
        raise ValueError(f'it holds pixels up to {highest}, which is neither 1 nor 255')
    return x, highest
