"""Loads MNIST, or a data set of its kind, as arrays. Nothing is ever downloaded."""

from __future__ import annotations

import gzip
import math
import os
import struct
from typing import Any

from chainer_mnist.console import UserError
from chainer_mnist.constants import DATA, MAX_IMAGES, ROOT
from chainer_mnist.npz import check_size, read_npz, reading_errors

import numpy

# Images, labels and the name of the test set. A colon parts the path of an npz file from the key.
LAYOUTS = (
    ('pfnet/chainer/mnist/{}.npz:x', 'pfnet/chainer/mnist/{}.npz:y', 'test'),  # Chainer's cache
    ('mnist.npz:x_{}', 'mnist.npz:y_{}', 'test'),  # Keras
    ('{}-images-idx3-ubyte', '{}-labels-idx1-ubyte', 't10k'),  # MNIST, Fashion-MNIST, KMNIST
    ('{}.npz:x', '{}.npz:y', 'test'),  # Chainer's Fashion-MNIST and KMNIST
    ('kmnist-{}-imgs.npz:arr_0', 'kmnist-{}-labels.npz:arr_0', 'test'),
    ('emnist-digits-{}-images-idx3-ubyte', 'emnist-digits-{}-labels-idx1-ubyte', 'test'),
    ('emnist-mnist-{}-images-idx3-ubyte', 'emnist-mnist-{}-labels-idx1-ubyte', 'test'),
    ('qmnist-{}-images-idx3-ubyte', 'qmnist-{}-labels-idx2-int', 'test'),
)
# torchvision keeps such files in a folder "raw" of each of these.
TORCHVISION = ('MNIST', 'FashionMNIST', 'KMNIST', 'EMNIST', 'QMNIST')

SCALE = numpy.float32(1 / 255)  # of a pixel; the bits are those of chainer.datasets.get_mnist

Dataset = tuple[numpy.ndarray, numpy.ndarray]


def load_mnist(scaled: bool = True) -> tuple[Dataset, Dataset]:
    """Loads the training set and the test set from ``CHAINER_DATASET_ROOT``, or else ``data/``.

    Each is ``(x, t)``: images, float32 from 0 to 1, of shape (N, 784), and labels, int32, of shape
    (N,). Images that are not ``scaled`` are uint8, where the files hold integers from 0 to 255.
    :data:`LAYOUTS` says which files are read. Pixels in them may go to 255 or to 1.

    Raises ``UserError`` if a file is missing, damaged or holds other data.
    """
    root = os.environ.get(ROOT)
    try:
        train_x, train_t, test_x, test_t = _resolve_paths(root or DATA)
        return _load(train_x, train_t, scaled), _load(test_x, test_t, scaled)
    except UserError as error:
        if root:
            raise
        what = str(error).rpartition('; ')[0]
        raise UserError(f'{what}; bring it back with "git checkout data" in the clone') from None


def scale(x: Any) -> Any:
    """Turns pixels, uint8, into float32 from 0 to 1. Other images are returned as they are."""
    if x.dtype != numpy.uint8:
        return x
    y = x.astype(numpy.float32)
    y *= SCALE
    return y


def _resolve_paths(root: str) -> list[tuple[str, str]]:
    """Finds images and labels for training and for testing, as paths with keys."""
    folder = os.path.dirname(root) if os.path.isfile(root) else root
    found, missing = [], []
    for raw in (folder, *(os.path.join(folder, name, 'raw') for name in TORCHVISION)):
        for images, labels, test in LAYOUTS:
            names = [name.format(part) for part in ('train', test) for name in (images, labels)]
            arrays = [_locate(raw, name) for name in names]
            absent = [path for path, _ in arrays if not os.path.isfile(path)]
            if not absent and (folder is root or root in dict(arrays)):
                found.append(arrays)
            elif len(absent) < len(arrays):
                missing += absent
    if len(found) == 1:
        return found[0]
    what = f'{root} has {"several" if found else "no"} data sets of a known layout'
    if not os.path.exists(root) or (missing and not found):
        what = f'there is no {(missing or [root])[0]}'
    raise UserError(f"{what}; set {ROOT} to a data set's folder or one of its files, or unset it")


def _locate(folder: str, name: str) -> tuple[str, str]:
    """Finds a file under one of the names that it is published as. Returns its path and the key."""
    name, _, key = name.partition(':')
    name = os.path.join(folder, *name.split('/'))
    paths = [stem + end for end in ('', '.gz') for stem in (name, name.replace('-idx', '.idx'))]
    return next(filter(os.path.isfile, paths), paths[0]), key


def _load(images: tuple[str, str], labels: tuple[str, str], scaled: bool) -> Dataset:
    """Loads the training set or the test set."""
    t = _read(*labels)
    good = t.ndim == 1 and 0 < len(t) <= MAX_IMAGES and t.dtype.kind in 'biuf'
    if not (good and numpy.isin(t, numpy.arange(10)).all()):
        raise _wrong(labels[0], t, 'labels must be integers from 0 to 9')
    x = _read(*images)
    sides = [side for side in x.shape[1:] if side != 1]
    if sides not in ([784], [28, 28]) or x.dtype.kind not in 'biuf' or len(x) != len(t):
        raise _wrong(images[0], x, f'images must be {len(t)} of 28x28 pixels, as many as labels')
    largest = x.max()
    if not (x.min() >= 0 and largest <= 255) or 1 < largest < 2:  # NaN is not in the range
        raise _wrong(images[0], x, 'pixels must go from 0 to 255 or from 0 to 1')
    are_bytes = largest > 1 and x.dtype.kind != 'f'
    x = x.reshape(len(x), 784).astype(numpy.uint8 if are_bytes else numpy.float32)
    if largest > 1 and not are_bytes:
        x *= SCALE
    return scale(x) if scaled else x, t.astype(numpy.int32)


def _wrong(path: str, array: numpy.ndarray, fix: str) -> UserError:
    return UserError(f'{path} has {array.dtype} of shape {array.shape}; {fix}')


def _read(path: str, key: str) -> numpy.ndarray:
    """Reads an array, which may have any shape and type."""
    with reading_errors(path):
        if not key:
            return _read_idx(path)
        arrays = read_npz(path, {key})
        if key not in arrays:
            raise ValueError(f'no array {key}')
        return arrays[key]


def _read_idx(path: str) -> numpy.ndarray:
    """Reads an idx file of bytes or 32-bit integers, compressed by gzip or not.

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, http://yann.lecun.com/exdb/mnist/
    """
    with open(path, 'rb') as file:
        compressed = file.read(2) == b'\x1f\x8b'  # some browsers decompress and keep the name
    with gzip.open(path) if compressed else open(path, 'rb') as file:
        zeros, kind, ndim = struct.unpack('>HBB', file.read(4))
        if zeros or kind not in (8, 12):
            raise ValueError('not an idx file')
        dtype = numpy.dtype('u1' if kind == 8 else '>i4')
        shape = struct.unpack(f'>{ndim}I', file.read(4 * ndim))
        size = math.prod(shape) * dtype.itemsize
        check_size(path, size)
        content = file.read(size + 1)  # at the end, gzip checks the CRC
    if len(content) != size:
        raise ValueError('truncated' if len(content) < size else 'trailing data')
    array = numpy.frombuffer(content, dtype).reshape(shape)
    if os.path.basename(path).startswith('emnist-'):  # its images are stored column by column
        return array.transpose(0, *range(1, ndim)[::-1])
    return array[:, 0] if kind == 12 else array  # the other columns are about QMNIST's writers
