"""The clone's own data, data sets of one's own, and untrusted files."""

import gzip
import hashlib
import pathlib
import re
import struct
import tracemalloc

from chainer_mnist import data
from chainer_mnist.console import UserError

import chainer
import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import make_pipe, read

SHA256 = {
    ('train', 'x'): '741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757',
    ('train', 'y'): '1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13',
    ('test', 'x'): '6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161',
    ('test', 'y'): 'ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5',
}
FIX = "set CHAINER_DATASET_ROOT to a data set's folder or one of its files, or unset it"
BUDGET = 3e7  # bytes: twice what an untrusted file may unpack to, about


@pytest.fixture(scope='session')
def raw(tiny):
    """The tiny MNIST's arrays as in its files: x_train and so on, images of 28 x 28 pixels."""
    arrays = {}
    for part in ('train', 'test'):
        npz = read(f'{tiny}/pfnet/chainer/mnist/{part}.npz')
        arrays[f'x_{part}'] = npz['x'].reshape(-1, 28, 28)
        arrays[f'y_{part}'] = npz['y']
    return arrays


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder for a data set of one's own, which ``CHAINER_DATASET_ROOT`` names."""
    root = tmp_path / 'root'
    root.mkdir()
    monkeypatch.setenv(data.ROOT, str(root))
    return root


def assert_is(raw):
    """Asserts that the data set that is loaded has the pixels and labels of ``raw``."""
    for (x, t), part in zip(data.load_mnist(), ('train', 'test')):
        expected = raw[f'x_{part}'].reshape(-1, 784) * numpy.float32(1 / 255)
        assert (x.dtype, x.shape, x.tobytes()) == ('f', expected.shape, expected.tobytes())
        assert (t.dtype, t.tolist()) == ('i', raw[f'y_{part}'].tolist())


def assert_not_loaded(message):
    with pytest.raises(UserError, match=f'^{message}$'):
        data.load_mnist()


# The clone's own


@pytest.mark.parametrize('name', ['train', 'test'])
def test_checksums(name):
    for key, array in read(f'{data.DATA}/pfnet/chainer/mnist/{name}.npz').items():
        assert hashlib.sha256(array.tobytes()).hexdigest() == SHA256[name, key]


def test_the_clones_own_data_is_the_default_bit_for_bit_as_chainer_loads_it(monkeypatch):
    monkeypatch.delenv(data.ROOT)
    loaded = data.load_mnist()
    before = chainer.dataset.get_dataset_root()
    chainer.dataset.set_dataset_root(data.DATA)
    expected = [dataset[...] for dataset in chainer.datasets.get_mnist()]
    chainer.dataset.set_dataset_root(before)
    for pair, expected_pair in zip(loaded, expected):
        for array, expected_array in zip(pair, expected_pair):
            assert array.dtype == expected_array.dtype
            assert array.tobytes() == expected_array.tobytes()


def test_a_clone_without_its_data(monkeypatch, tmp_path):
    monkeypatch.delenv(data.ROOT)
    monkeypatch.setattr(data.mnist, 'DATA', str(tmp_path))
    fix = 'bring it back with "git checkout data" in the clone'
    assert_not_loaded(f'{re.escape(str(tmp_path))} has no data sets of a known layout; {fix}')
    (tmp_path / 'train.npz').write_text('damaged')
    assert_not_loaded(f'there is no .*test.npz; {fix}')
    (tmp_path / 'test.npz').write_text('damaged')
    assert_not_loaded(f'.*train.npz is .*; {fix}')


# Layouts


def idx_bytes(array):
    kind, dtype = (12, '>i4') if array.dtype == 'i' else (8, 'u1')
    header = struct.pack(f'>HBB{array.ndim}I', 0, kind, array.ndim, *array.shape)
    return header + array.astype(dtype).tobytes()


def npz(x, y, save=numpy.savez_compressed):
    """Makes a writer of npz files: path and key of images and labels."""

    def write(root, raw):
        files = {}
        for part in ('train', 'test'):
            for letter, name in (('x', x), ('y', y)):
                path, key = name.format(part).split(':')
                files.setdefault(path, {})[key] = raw[f'{letter}_{part}']
        for path, arrays in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            save(root / path, **arrays)

    return write


def idx(x='{}-images-idx3-ubyte', y='{}-labels-idx1-ubyte', test='t10k', pack=bytes):
    """Makes a writer of idx files: names of images and labels, and how they are compressed."""

    def write(root, raw):
        for part, name in (('train', 'train'), ('test', test)):
            for letter, file in (('x', x), ('y', y)):
                path = root / file.format(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(pack(idx_bytes(raw[f'{letter}_{part}'])))

    return write


def emnist(split):
    """Images are stored column by column."""
    write = idx(
        f'emnist-{split}-{{}}-images-idx3-ubyte', f'emnist-{split}-{{}}-labels-idx1-ubyte', 'test'
    )
    return lambda root, raw: write(
        root, {key: array.swapaxes(1, 2) if key[0] == 'x' else array for key, array in raw.items()}
    )


def qmnist(root, raw):
    """Labels have eight columns of 32 bits."""
    write = idx(
        'QMNIST/raw/qmnist-{}-images-idx3-ubyte', 'QMNIST/raw/qmnist-{}-labels-idx2-int', 'test'
    )
    columns = numpy.int32([[1] + [99] * 7])
    write(root, {k: a[:, None] * columns if k[0] == 'y' else a for k, a in raw.items()})


def kaggle(root, raw):
    """A folder stands under one of the names."""
    idx('{}-images.idx3-ubyte', '{}-labels.idx1-ubyte')(root, raw)
    (root / 'train-images-idx3-ubyte').mkdir()


CACHE = 'pfnet/chainer/mnist/{}.npz'
LAYOUTS = {
    'Chainer cache': npz(f'{CACHE}:x', f'{CACHE}:y'),
    'Chainer cache, not compressed': npz(f'{CACHE}:x', f'{CACHE}:y', numpy.savez),
    'Chainer': npz('{}.npz:x', '{}.npz:y'),
    'Keras': npz('mnist.npz:x_{}', 'mnist.npz:y_{}'),
    'KMNIST': npz('kmnist-{}-imgs.npz:arr_0', 'kmnist-{}-labels.npz:arr_0'),
    'idx': idx(),
    'idx.gz': idx('{}-images-idx3-ubyte.gz', '{}-labels-idx1-ubyte.gz', pack=gzip.compress),
    'gzip without .gz': idx(pack=gzip.compress),
    'Kaggle': kaggle,
    'torchvision': idx('MNIST/raw/{}-images-idx3-ubyte', 'MNIST/raw/{}-labels-idx1-ubyte'),
    'EMNIST digits': emnist('digits'),
    'EMNIST MNIST': emnist('mnist'),
    'QMNIST': qmnist,
}
WRITE_IDX, WRITE_CHAINER = LAYOUTS['idx'], LAYOUTS['Chainer']


@pytest.mark.parametrize('write', LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout(write, root, raw):
    write(root, raw)
    assert_is(raw)


def test_one_of_several_data_sets(root, raw, monkeypatch):
    other = {key: 255 - array if key[0] == 'x' else 9 - array for key, array in raw.items()}
    emnist('mnist')(root, raw)
    emnist('digits')(root, other)
    assert_not_loaded(f'{re.escape(str(root))} has several data sets of a known layout; {FIX}')
    monkeypatch.setenv(data.ROOT, str(root / 'emnist-digits-test-labels-idx1-ubyte'))
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
        images(lambda x: x.reshape(-1, 1, 28, 28)),
        images(numpy.asfortranarray),
        images(lambda x: x.astype('>i8')),
        images(lambda x: x.astype('f2')),
        images(lambda x: x.astype('>f8')),
        images(lambda x: x * numpy.float32(1 / 255)),
        labels(lambda t: t.astype('>i8')),
        labels(lambda t: t.astype('g')),
    ],
)
def test_every_form_of_the_arrays(change, root, raw):
    WRITE_CHAINER(root, change(raw))
    assert_is(raw)


@pytest.mark.parametrize('dtype', ['?', 'u1', 'i8', 'f4'])
def test_pixels_that_are_0_or_1(dtype, root, raw):
    WRITE_CHAINER(root, images(lambda x: (x > 99).astype(dtype))(raw))
    (x, _), _ = data.load_mnist()
    assert x.tobytes() == (raw['x_train'] > 99).astype('f4').tobytes()


IMAGES = 'images must be 500 of 28x28 pixels, as many as labels'
PIXELS = 'pixels must go from 0 to 255 or from 0 to 1'
LABELS = 'labels must be integers from 0 to 9'


@pytest.mark.parametrize(
    ('key', 'array', 'what'),
    [
        ('x', numpy.zeros((500, 14, 56), 'u1'), rf'uint8 of shape \(500, 14, 56\) .*; {IMAGES}'),
        ('x', numpy.zeros((), 'u1'), rf'uint8 of shape \(\) from 0 to 0; {IMAGES}'),
        ('x', numpy.zeros((499, 784), 'u1'), rf'uint8 of shape \(499, 784\) from .*; {IMAGES}'),
        ('x', numpy.zeros((500, 784), 'c16'), rf'complex128 of shape \(500, 784\); {IMAGES}'),
        ('x', numpy.zeros((500, 784), 'S1'), rf'\|S1 of shape \(500, 784\); {IMAGES}'),
        ('x', numpy.full((500, 784), 256), rf'int\d\d of shape .* from 256 to 256; {PIXELS}'),
        ('x', numpy.full((500, 784), -1), rf'int\d\d of shape .* from -1 to -1; {PIXELS}'),
        ('x', numpy.full((500, 784), numpy.nan), f'float64 of .* from nan to nan; {PIXELS}'),
        ('x', numpy.full((500, 784), 1.1), rf'float64 of .* from 1\.1 to 1\.1; {PIXELS}'),
        ('y', numpy.arange(500) - 1, rf'int\d\d of shape \(500,\) from -1 to 498; {LABELS}'),
        ('y', numpy.full(500, 0.5), rf'float64 of shape \(500,\) from 0.5 to 0.5; {LABELS}'),
        ('y', numpy.full(500, numpy.nan), rf'float64 of shape .* from nan to nan; {LABELS}'),
        ('y', numpy.zeros((500, 1), 'u1'), rf'uint8 of shape \(500, 1\) from 0 to 0; {LABELS}'),
        ('y', numpy.array(['5'] * 500), rf'<U1 of shape \(500,\); {LABELS}'),
        ('y', numpy.zeros(0, 'u1'), rf'uint8 of shape \(0,\); {LABELS}'),
    ],
)  # fmt: skip
def test_arrays_of_another_kind(key, array, what, root, raw):
    WRITE_CHAINER(root, {**raw, f'{key}_train': array})
    assert_not_loaded(f'.*train.npz has {what}')


# Files that are missing or damaged


@pytest.mark.parametrize(
    ('layout', 'name'),
    [('Chainer cache', CACHE.format('test')), ('idx.gz', 't10k-labels-idx1-ubyte.gz')],
)
def test_a_missing_file_is_named(layout, name, root, raw):
    LAYOUTS[layout](root, raw)
    (root / name).unlink()
    assert_not_loaded(f'there is no {re.escape(str(root / name).replace(".gz", ""))}; {FIX}')


def test_what_is_no_file_is_not_opened(root, raw):
    WRITE_IDX(root, raw)
    (root / 't10k-labels-idx1-ubyte').unlink()
    make_pipe(root / 't10k-labels-idx1-ubyte')  # opening it would hang
    assert_not_loaded(f'there is no .*t10k-labels-idx1-ubyte; {FIX}')


def test_a_folder_of_something_else(root, monkeypatch):
    for path in (root, root / 'missing'):
        monkeypatch.setenv(data.ROOT, str(path))
        assert_not_loaded(f'{re.escape(str(path))} has no data sets of a known layout; {FIX}')


def test_an_npz_file_of_other_arrays(root, raw):
    npz('mnist.npz:a_{}', 'mnist.npz:b_{}')(root, raw)
    assert_not_loaded('cannot read .*mnist.npz: no array y_train; download it again')


DAMAGES = {
    'empty': lambda content: b'',
    'half': lambda content: content[: len(content) // 2],
    'truncated': lambda content: content[:-1],
    'web page': lambda content: b'<!DOCTYPE html>\n<title>404</title>',
}


@pytest.mark.parametrize('layout', ['Chainer', 'Keras', 'idx', 'idx.gz'])
@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_damaged_files(damage, layout, root, raw):
    LAYOUTS[layout](root, raw)
    for path in root.iterdir():
        content = path.read_bytes()
        path.write_bytes(damage(content))
        assert_not_loaded(f'.*{re.escape(str(path))}.*; .*')
        path.write_bytes(content)


@pytest.mark.parametrize('layout', ['idx', 'idx.gz'])
def test_trailing_data(layout, root, raw):
    LAYOUTS[layout](root, raw)
    path = next(root.glob('train-labels*'))
    path.write_bytes(path.read_bytes() + b'garbage')
    assert_not_loaded(f'cannot read {re.escape(str(path))}: .*; download it again')


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
)
def test_decompression_bombs_take_no_memory(content, what, root, raw):
    WRITE_IDX(root, raw)
    (root / 'train-labels-idx1-ubyte').write_bytes(content)
    tracemalloc.start()
    assert_not_loaded(f'cannot read .*train-labels-idx1-ubyte: {what}; download it again')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BUDGET


@pytest.mark.parametrize('layout', ['Chainer', 'idx', 'idx.gz'])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=st.data())
def test_fuzz(layout, choices, root, raw):
    """Whatever is done to a file: one error of one line, or a data set that can be trained on."""
    LAYOUTS[layout](root, {key: array[:3] for key, array in raw.items()})
    path = choices.draw(st.sampled_from(sorted(filter(pathlib.Path.is_file, root.iterdir()))))
    content = bytearray(path.read_bytes())
    for _ in range(choices.draw(st.integers(1, 4))):
        # Most of what can go wrong is at the ends, where the headers are.
        start = choices.draw(st.integers(-300, 300)) % max(len(content), 1)
        piece = choices.draw(st.binary(max_size=8) | st.sampled_from([b'\0' * 4, b'\xff' * 4]))
        length = choices.draw(st.sampled_from([0, 1, len(piece), len(content)]))
        content[start : start + length] = piece
    path.write_bytes(content)
    tracemalloc.start()
    loaded, message = (), 'no; error'
    try:
        loaded = data.load_mnist()
    except UserError as error:
        message = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BUDGET
    assert re.fullmatch('.*; .*', message)
    for x, t in loaded:
        assert (x.dtype, x.shape, t.dtype) == ('f', (len(t), 784), 'i')
        assert 0 <= x.min() <= x.max() <= 1
        assert 0 <= t.min() <= t.max() <= 9
