"""The clone's own data, data sets of one's own, and untrusted files."""

import gzip
import hashlib
import re
import struct
import tracemalloc

from chainer_mnist import constants, data
from chainer_mnist.console import UserError

import numpy
import pytest

from helpers import make_pipe

# Of what Chainer's get_mnist() gives: images and labels, first for training and then for testing
SHA256 = '3fe175606eb92792a8c3784c15e96ef590525beff1e9f2882b860c9a61665ee6'
FIX = "set CHAINER_DATASET_ROOT to a data set's folder or one of its files, or unset it"
BUDGET = 3e7  # bytes: twice what an untrusted file may unpack to, about


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder for a data set of one's own, which ``CHAINER_DATASET_ROOT`` names."""
    root = tmp_path / 'root'
    root.mkdir()
    monkeypatch.setenv(constants.ROOT, str(root))
    return root


def assert_is(raw):
    """Asserts that the data set that is loaded has the pixels and labels of ``raw``."""
    pixels = [data.scale(x) for x, _ in data.load_mnist(scaled=False)]
    for (x, t), same_x, part in zip(data.load_mnist(), pixels, ('train', 'test')):
        assert same_x.tobytes() == x.tobytes()
        expected = raw[f'x_{part}'].reshape(-1, 784) * numpy.float32(1 / 255)
        assert (x.dtype, x.shape, x.tobytes()) == ('f', expected.shape, expected.tobytes())
        assert (t.dtype, t.tolist()) == ('i', raw[f'y_{part}'].tolist())


def assert_not_loaded(message):
    with pytest.raises(UserError, match=f'^{message}$'):
        data.load_mnist()


# The clone's own


def test_the_clones_own_data_is_the_default_and_has_the_bits_that_chainer_loads(monkeypatch):
    monkeypatch.delenv(constants.ROOT)
    assert {x.dtype.name for x, _ in data.load_mnist(scaled=False)} == {'uint8'}
    content = [array.tobytes() for dataset in data.load_mnist() for array in dataset]
    assert hashlib.sha256(b''.join(content)).hexdigest() == SHA256


def test_a_clone_without_its_data(monkeypatch, tmp_path):
    monkeypatch.delenv(constants.ROOT)
    monkeypatch.setattr(data.mnist, 'DATA', str(tmp_path))
    fix = 'bring it back with "git checkout data" in the clone'
    assert_not_loaded(f'{re.escape(str(tmp_path))} has no data sets of a known layout; {fix}')
    for name in ('train', 'test'):
        (tmp_path / f'{name}.npz').write_text('damaged')
    assert_not_loaded(f'.*train.npz is .*; {fix}')


# Layouts


def write(root, raw, images, labels, test='test'):
    """Writes a data set. The names are those of LAYOUTS in the package."""
    npz = {}
    for part, name in (('train', 'train'), ('test', test)):
        for key, layout in (('x', images), ('y', labels)):
            path, _, key_in_file = layout.format(name).partition(':')
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            array = raw[f'{key}_{part}']
            if key_in_file:
                npz.setdefault(path, {})[key_in_file] = array
                continue
            kind, dtype = (12, '>i4') if 'int' in path else (8, 'u1')
            if 'emnist' in path and key == 'x':
                array = array.swapaxes(1, 2)
            if 'qmnist' in path and key == 'y':
                array = numpy.pad(array[:, None], ((0, 0), (0, 7)), constant_values=99)
            content = struct.pack(f'>HBB{array.ndim}I', 0, kind, array.ndim, *array.shape)
            content += array.astype(dtype).tobytes()
            (root / path).write_bytes(gzip.compress(content) if '.gz' in path else content)
    for path, arrays in npz.items():
        numpy.savez_compressed(root / path, **arrays)


CACHE = 'pfnet/chainer/mnist/{}.npz'
CHAINER = ('{}.npz:x', '{}.npz:y')
IDX = ('{}-images-idx3-ubyte', '{}-labels-idx1-ubyte', 't10k')
IDX_GZ = ('{}-images-idx3-ubyte.gz', '{}-labels-idx1-ubyte.gz', 't10k')
EMNIST = ('emnist-digits-{}-images-idx3-ubyte', 'emnist-digits-{}-labels-idx1-ubyte.gz')
LAYOUTS = [
    CHAINER,
    IDX,
    IDX_GZ,
    EMNIST,
    (f'{CACHE}:x', f'{CACHE}:y'),
    ('mnist.npz:x_{}', 'mnist.npz:y_{}'),
    ('kmnist-{}-imgs.npz:arr_0', 'kmnist-{}-labels.npz:arr_0'),
    ('{}-images.idx3-ubyte', '{}-labels.idx1-ubyte', 't10k'),
    ('KMNIST/raw/{}-images-idx3-ubyte', 'KMNIST/raw/{}-labels-idx1-ubyte', 't10k'),
    (
        'EMNIST/raw/emnist-mnist-{}-images-idx3-ubyte',
        'EMNIST/raw/emnist-mnist-{}-labels-idx1-ubyte',
    ),
    ('qmnist-{}-images-idx3-ubyte.gz', 'qmnist-{}-labels-idx2-int.gz'),
]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout(layout, root, raw):
    write(root, raw, *layout)
    assert_is(raw)


def test_idx_files_that_are_compressed_or_not_under_either_name(root, raw):
    """Some browsers decompress files and keep the names, and Kaggle has folders of such names."""
    write(root, raw, *IDX_GZ)
    for path in list(root.iterdir()):
        path.rename(str(path).replace('.gz', ''))
    assert_is(raw)
    write(root, raw, *IDX)
    for path in list(root.iterdir()):
        path.rename(f'{path}.gz')
        path.mkdir()
    assert_is(raw)


def test_one_of_several_data_sets(root, raw, monkeypatch):
    other = {key: 255 - array if key[0] == 'x' else 9 - array for key, array in raw.items()}
    write(root, raw, *IDX)
    write(root, other, *EMNIST)
    assert_not_loaded(f'{re.escape(str(root))} has several data sets of a known layout; {FIX}')
    monkeypatch.setenv(constants.ROOT, str(root / 'emnist-digits-test-images-idx3-ubyte'))
    assert_is(other)


# Forms of the arrays


def images(change):
    """A change of the images for training and for testing."""
    return lambda raw: {k: change(array) if k[0] == 'x' else array for k, array in raw.items()}


def labels(change):
    return lambda raw: {k: change(array) if k[0] == 'y' else array for k, array in raw.items()}


@pytest.mark.parametrize(
    'change',
    [
        images(lambda x: x.reshape(-1, 784)),
        images(lambda x: x.reshape(-1, 28, 28, 1)),
        images(numpy.asfortranarray),
        images(lambda x: x.astype('>i8')),
        images(lambda x: x.astype('>f8')),
        images(lambda x: x * numpy.float32(1 / 255)),
        labels(lambda t: t.astype('>i8')),
        labels(lambda t: t.astype('g')),
    ],
)
def test_every_form_of_the_arrays(change, root, raw):
    write(root, change(raw), *CHAINER)
    assert_is(raw)


@pytest.mark.parametrize('dtype', ['?', 'u1', 'i8', 'f4'])
def test_pixels_that_are_0_or_1(dtype, root, raw):
    write(root, images(lambda x: (x > 99).astype(dtype))(raw), *CHAINER)
    (x, _), _ = data.load_mnist()
    assert x.tobytes() == (raw['x_train'] > 99).astype('f4').tobytes()


IMAGES = 'images must be 500 of 28x28 pixels, as many as labels'
PIXELS = 'pixels must go from 0 to 255 or from 0 to 1'
LABELS = 'labels must be integers from 0 to 9'
LARGE = (500, 784)


@pytest.mark.parametrize(
    ('key', 'array', 'what'),
    [
        ('x', numpy.zeros((500, 14, 56), 'u1'), rf'uint8 of shape \(500, 14, 56\); {IMAGES}'),
        ('x', numpy.zeros((), 'u1'), rf'uint8 of shape \(\); {IMAGES}'),
        ('x', numpy.zeros((499, 784), 'u1'), rf'uint8 of shape \(499, 784\); {IMAGES}'),
        ('x', numpy.zeros(LARGE, 'S1'), rf'\|S1 of shape \(500, 784\); {IMAGES}'),
        ('x', numpy.full(LARGE, 256, 'i8'), rf'int64 of shape \(500, 784\); {PIXELS}'),
        ('x', numpy.full(LARGE, -1, 'i8'), rf'int64 of shape \(500, 784\); {PIXELS}'),
        ('x', numpy.full(LARGE, numpy.nan), rf'float64 of shape \(500, 784\); {PIXELS}'),
        ('x', numpy.full(LARGE, 1.1), rf'float64 of shape \(500, 784\); {PIXELS}'),
        ('y', numpy.arange(500, dtype='i8'), rf'int64 of shape \(500,\); {LABELS}'),
        ('y', numpy.full(500, 0.5), rf'float64 of shape \(500,\); {LABELS}'),
        ('y', numpy.zeros((500, 1), 'u1'), rf'uint8 of shape \(500, 1\); {LABELS}'),
        ('y', numpy.array(['5'] * 500), rf'<U1 of shape \(500,\); {LABELS}'),
        ('y', numpy.zeros(0, 'u1'), rf'uint8 of shape \(0,\); {LABELS}'),
    ],
)
def test_arrays_of_another_kind(key, array, what, root, raw):
    write(root, {**raw, f'{key}_train': array}, *CHAINER)
    assert_not_loaded(f'.*train.npz has {what}')


# Files that are missing or damaged


def test_what_is_missing_or_no_file_is_named(root, raw):
    write(root, raw, *IDX)
    (root / 't10k-labels-idx1-ubyte').unlink()
    message = f'there is no {re.escape(str(root))}.t10k-labels-idx1-ubyte; {FIX}'
    assert_not_loaded(message)
    make_pipe(root / 't10k-labels-idx1-ubyte')  # opening it would hang
    assert_not_loaded(message)


def test_a_folder_of_something_else(root, monkeypatch):
    assert_not_loaded(f'{re.escape(str(root))} has no data sets of a known layout; {FIX}')
    monkeypatch.setenv(constants.ROOT, str(root / 'missing'))
    assert_not_loaded(f'there is no {re.escape(str(root))}.missing; {FIX}')


def test_an_npz_file_of_other_arrays(root, raw):
    write(root, raw, 'mnist.npz:a_{}', 'mnist.npz:b_{}')
    assert_not_loaded('cannot read .*mnist.npz: no array y_train; use another copy')


@pytest.mark.parametrize('layout', [IDX, IDX_GZ])
@pytest.mark.parametrize('start', [b'', b'<html>'])
@pytest.mark.parametrize('end', [0, 3, 100, -1, None])
def test_damaged_idx_files(start, end, layout, root, raw):
    """Whole ones, too, have something before or behind them."""
    write(root, raw, *layout)
    for path in root.iterdir():
        content = path.read_bytes()
        path.write_bytes(start + content[:end] + (b'garbage' if end is None else b''))
        assert_not_loaded(f'cannot read {re.escape(str(path))}: .*; use another copy')
        path.write_bytes(content)


def claim(*shape):
    """The beginning of an idx file that declares a shape."""
    return struct.pack(f'>HBB{len(shape)}I', 0, 8, len(shape), *shape)


@pytest.mark.parametrize(
    ('content', 'what'),
    [
        (claim(60000, 28, 28), "declared size exceeds the file's"),
        (claim(*[2**32 - 1] * 255), "declared size exceeds the file's"),
        (gzip.compress(claim(10**6, 28, 28) + bytes(10**8)), "declared size exceeds the file's"),
        (gzip.compress(claim(10**6) + bytes(10**8)), 'trailing data'),
        (claim(10**6), 'truncated'),
        (b'\0\0\x0d\1\0\0\0\1\0\0\0\0', 'not an idx file'),
    ],
    ids=range(6),
)
def test_decompression_bombs_take_no_memory(content, what, root, raw):
    write(root, raw, *IDX)
    (root / 'train-labels-idx1-ubyte').write_bytes(content)
    tracemalloc.start()
    assert_not_loaded(f'cannot read .*train-labels-idx1-ubyte: {what}; use another copy')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BUDGET
