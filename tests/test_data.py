"""The clone's own data, data of one's own, and files that nobody vouches for."""

import gzip
import hashlib
import io
import os
import pathlib
import re
import shutil
import struct
import tracemalloc
import zipfile

from chainer_mnist import data
from chainer_mnist.errors import UserError

import chainer
import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import predict
from helpers import main, make_pipe, read, run, same, train

SHA256 = {
    ('train', 'x'): '741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757',
    ('train', 'y'): '1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13',
    ('test', 'x'): '6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161',
    ('test', 'y'): 'ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5',
}
FORMATS = re.escape(
    '; CHAINER_DATASET_ROOT takes a folder with the four idx files (train-images-idx3-ubyte.gz and '
    "its like), with Keras' mnist.npz or with Chainer's train.npz and test.npz, of 28x28 pixels "
    'from 0 to 255 or from 0 to 1 and of labels from 0 to 9; unset it for MNIST'
)


@pytest.fixture(scope='session')
def raw(tiny):
    """The tiny MNIST's arrays as they stand in its files: x_train and so on."""
    return {
        f'{key}_{part}': array
        for part in ('train', 'test')
        for key, array in read(f'{tiny}/pfnet/chainer/mnist/{part}.npz').items()
    }


def assert_tiny(loaded):
    """Asserts that what was loaded has the bits that Chainer itself makes of the tiny MNIST."""
    for (x, t), dataset in zip(loaded, chainer.datasets.get_mnist()):
        expected_x, expected_t = dataset[...]
        assert (x.dtype, x.shape, t.dtype) == ('f', (len(t), 784), 'i')
        assert x.tobytes() == expected_x.tobytes()
        assert t.tobytes() == expected_t.tobytes()


@pytest.fixture(autouse=True)
def _chainers_own_root(tiny):
    """Lets ``chainer.datasets.get_mnist`` find the tiny MNIST too."""
    before = chainer.dataset.get_dataset_root()
    chainer.dataset.set_dataset_root(str(tiny))
    yield
    chainer.dataset.set_dataset_root(before)


# The clone's own


@pytest.mark.parametrize('name', ['train', 'test'])
def test_checksums(name):
    npz = read(f'{data.DATA}/pfnet/chainer/mnist/{name}.npz')
    assert {
        (name, key): hashlib.sha256(array.tobytes()).hexdigest() for key, array in npz.items()
    } == {key: digest for key, digest in SHA256.items() if key[0] == name}


def test_the_clones_own_data_is_the_default(monkeypatch):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    (x_train, t_train), (x_test, t_test) = data.load()
    assert (len(x_train), len(x_test)) == (60000, 10000)
    assert (x_train.min(), x_train.max()) == (0, 1)
    assert t_train[:5].tolist() == [5, 0, 4, 1, 9]
    chainer.dataset.set_dataset_root(data.DATA)
    assert_tiny(((x_train, t_train), (x_test, t_test)))


def test_loading_takes_little_more_memory_than_its_result(monkeypatch):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    tracemalloc.start()
    loaded = data.load()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < sum(x.nbytes + t.nbytes for x, t in loaded) + 2e6


def test_a_clone_without_its_data(monkeypatch, tmp_path):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    monkeypatch.setattr(data, 'DATA', str(tmp_path))
    with pytest.raises(UserError, match=r'there: .*; bring it back with "git checkout data" in'):
        data.load()


# Data of one's own

IDX = {
    'x_train': 'train-images-idx3-ubyte',
    'y_train': 'train-labels-idx1-ubyte',
    'x_test': 't10k-images-idx3-ubyte',
    'y_test': 't10k-labels-idx1-ubyte',
}


def idx(array):
    """The bytes of an idx file."""
    if array.ndim == 2:
        array = array.reshape(-1, 28, 28)
    header = struct.pack(f'>HBB{array.ndim}I', 0, 8, array.ndim, *array.shape)
    return header + array.astype('u1').tobytes()


def write_chainers(root, raw, folder='pfnet/chainer/mnist', save=numpy.savez_compressed):
    folder = root / folder
    folder.mkdir(parents=True, exist_ok=True)
    for part in ('train', 'test'):
        save(folder / f'{part}.npz', x=raw[f'x_{part}'], y=raw[f'y_{part}'])
    return root


def write_keras(root, raw):
    raw = {key: x.reshape(-1, 28, 28) if key[0] == 'x' else x for key, x in raw.items()}
    numpy.savez_compressed(root / 'mnist.npz', **raw)
    return root


def write_idx(root, raw, rename=str, pack=bytes):
    for key, name in IDX.items():
        (root / rename(name)).write_bytes(pack(idx(raw[key])))
    return root


def write_kaggles(root, raw):
    """As Kaggle packs it: a folder stands under one of the names."""
    write_idx(root, raw, lambda name: name.replace('-idx', '.idx'))
    (root / IDX['x_train']).mkdir()
    return root


WRITERS = {
    'chainers': write_chainers,
    'chainers, plain': lambda root, raw: write_chainers(root, raw, save=numpy.savez),
    'chainers, itself the folder': lambda root, raw: write_chainers(root, raw, '.'),
    'keras': write_keras,
    'keras, the file': lambda root, raw: write_keras(root, raw) / 'mnist.npz',
    'idx, packed': lambda root, raw: write_idx(root, raw, '{}.gz'.format, gzip.compress),
    'idx': write_idx,
    'idx, packed under a plain name': lambda root, raw: write_idx(root, raw, pack=gzip.compress),
    'idx, plain under a packed name': lambda root, raw: write_idx(root, raw, '{}.gz'.format),
    'kaggles': write_kaggles,
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder for data of one's own, which ``CHAINER_DATASET_ROOT`` names."""
    root = tmp_path / 'root'
    root.mkdir()
    monkeypatch.setenv('CHAINER_DATASET_ROOT', str(root))
    return root


@pytest.mark.parametrize('writer', WRITERS.values(), ids=WRITERS)
def test_every_layout(writer, root, raw, monkeypatch):
    monkeypatch.setenv('CHAINER_DATASET_ROOT', str(writer(root, raw)))
    assert_tiny(data.load())


def test_a_run_on_idx_files(root, raw, tiny, monkeypatch):
    """The same images from other files: the same run."""
    write_idx(root, raw, '{}.gz'.format, gzip.compress)
    train('-e', 1, '-s', 1, '-o', 'idx')
    monkeypatch.setenv('CHAINER_DATASET_ROOT', str(tiny))
    train('-e', 1, '-s', 1, '-o', 'npz')
    assert same('npz/mlp.model', 'idx/mlp.model')


def fashion(change):
    """A change of the images, made to those to train on and those to test with."""
    return lambda raw: {key: change(x) if key[0] == 'x' else x for key, x in raw.items()}


@pytest.mark.parametrize(
    'change',
    [
        lambda x: x.reshape(-1, 28, 28),
        lambda x: x.reshape(-1, 28, 28, 1),
        lambda x: x.reshape(-1, 1, 28, 28),
        lambda x: numpy.asfortranarray(x),
        lambda x: numpy.asfortranarray(x.reshape(-1, 28, 28)),
        lambda x: x.astype('>i8'),
        lambda x: x.astype('f2'),
        lambda x: x.astype('>f8'),
    ],
)
def test_every_form_of_the_pixels(change, root, raw):
    write_chainers(root, fashion(change)(raw))
    assert_tiny(data.load())


@pytest.mark.parametrize('dtype', ['f4', '>f4', 'f8', 'g'])
def test_pixels_that_are_scaled_already(dtype, root, raw):
    write_chainers(root, fashion(lambda x: x.astype('f4') * numpy.float32(1 / 255))(raw))
    assert_tiny(data.load())
    write_keras(root, fashion(lambda x: (x / 255).astype(dtype))(raw))
    shutil.rmtree(root / 'pfnet')
    for (x, t), part in zip(data.load(), ('train', 'test')):
        assert x.tobytes() == (raw[f'x_{part}'] / 255).astype(dtype).astype('f4').tobytes()
        assert t.tolist() == raw[f'y_{part}'].tolist()


@pytest.mark.parametrize('dtype', ['?', 'u1', 'i8', 'f4'])
def test_black_and_white(dtype, root, raw):
    write_chainers(root, fashion(lambda x: (x > 99).astype(dtype))(raw))
    (x, _), _ = data.load()
    assert x.tobytes() == (raw['x_train'] > 99).astype('f4').tobytes()


@pytest.mark.parametrize('highest', [0, 1])
def test_dark_images_first(highest, root, raw):
    """They are scaled like the rest, although the rest is not known yet."""
    x = raw['x_train'].copy()
    x[: 2 * data.PIECE] = numpy.minimum(x[: 2 * data.PIECE], highest)
    write_idx(root, {**raw, 'x_train': x})
    (loaded, _), _ = data.load()
    assert loaded.tobytes() == (x.astype('f4') * numpy.float32(1 / 255)).tobytes()


def test_images_that_are_all_black_fit_either_scale(root, raw):
    black = numpy.zeros_like(raw['x_test'])
    write_chainers(root, {**raw, 'x_test': black})
    assert data.load()[0][0].max() == 1
    write_chainers(root, {**raw, 'x_train': raw['x_train'] / 255, 'x_test': black})
    assert data.load()[0][0].max() == 1


@pytest.mark.parametrize('dtype', ['>i8', 'u2', 'f4', 'g'])
def test_labels_of_every_type(dtype, root, raw):
    write_chainers(root, {**raw, 'y_train': raw['y_train'].astype(dtype)})
    assert_tiny(data.load())


# Mistakes


@pytest.mark.parametrize(
    ('layout', 'name'),
    [
        ('chainers', 'pfnet/chainer/mnist/test.npz'),
        ('chainers, itself the folder', 'train.npz'),
        ('idx', 't10k-labels-idx1-ubyte'),
        ('kaggles', 'train-labels.idx1-ubyte'),
        ('idx, packed', 'train-images-idx3-ubyte.gz'),
    ],
)
def test_a_missing_file_is_named_and_nothing_is_downloaded(layout, name, root, raw):
    WRITERS[layout](root, raw)
    (root / name).unlink()
    left = sorted(root.rglob('*'))
    done = run()
    assert done.returncode == 1
    path = root / name.replace('.idx', '-idx').replace('.gz', '')
    message = f'train_mnist.py: error: MNIST is not there: no file {re.escape(str(path))}'
    assert re.fullmatch(f'{message}{FORMATS}\n', done.stderr)
    assert sorted(root.rglob('*')) == left


@pytest.mark.parametrize(
    ('there', 'what'), [(True, 'holds none of its files'), (False, 'is not there')]
)
def test_a_folder_of_something_else(there, what, root):
    if not there:
        root.rmdir()
    message = f'MNIST is not there: {re.escape(str(root))} {what}'
    with pytest.raises(UserError, match=f'^{message}{FORMATS}$'):
        data.load()


@pytest.mark.parametrize(
    ('wrong', 'what'),
    [
        ({'x_train': numpy.zeros((500, 100), 'u1')}, r'it holds images of shape \(100,\)'),
        ({'x_train': numpy.zeros((500, 14, 56), 'u1')}, r'it holds images of shape \(14, 56\)'),
        ({'x_train': numpy.zeros((500, 32, 32, 3), 'u1')}, r'it .* of shape \(32, 32, 3\)'),
        ({'x_train': numpy.zeros((), 'u1')}, r'it holds images of shape \(\)'),
        ({'x_train': numpy.zeros((499, 784), 'u1')}, 'it holds 499 images for 500 labels'),
        ({'x_train': numpy.zeros((500, 784), 'c16')}, 'it holds images of complex128'),
        ({'x_train': numpy.zeros((500, 784), 'S1')}, r'it holds images of \|S1'),
        ({'x_train': numpy.array([{}])}, r'.*'),
        ({'x_train': numpy.full((500, 784), 256)}, 'it holds pixels from 256 to 256'),
        ({'x_train': numpy.full((500, 784), -1)}, 'it holds pixels from -1 to -1'),
        ({'x_train': numpy.linspace([-0.5] * 784, 2, 500)}, r'it holds pixels from -0\.5 to .*'),
        ({'x_train': numpy.full((500, 784), numpy.nan)}, 'it holds pixels from nan to nan'),
        ({'x_train': numpy.full((500, 784), numpy.inf)}, 'it holds pixels from inf to inf'),
        ({'x_train': numpy.full((500, 784), 1.1)}, r'it holds pixels up to 1\.1, which is .*'),
        ({'x_test': numpy.full((300, 784), 9e9)}, r'it holds pixels from 9e\+09 to 9e\+09'),
        ({'y_train': numpy.full(500, 10, 'u1')}, 'it holds labels from 10 to 10'),
        ({'y_train': numpy.arange(500, dtype='i8') - 1}, 'it holds labels from -1 to 498'),
        ({'y_train': numpy.full(500, numpy.nan)}, 'it holds labels from nan to nan'),
        ({'y_train': numpy.full(500, 0.5)}, 'it holds labels that are no whole numbers'),
        ({'y_train': numpy.zeros((500, 1), 'u1')}, r'it holds labels of uint8 and shape .*'),
        ({'y_train': numpy.zeros((500, 10), 'f')}, r'it holds labels of float32 and shape .*'),
        ({'y_train': numpy.array(['5'] * 500)}, r'it holds labels of <U1 and shape \(500,\)'),
        ({'y_train': numpy.zeros(0, 'u1')}, 'it holds 0 labels, not 1 to 1000000'),
    ],
)  # fmt: skip
def test_arrays_that_are_not_of_the_kind(wrong, what, root, raw):
    write_chainers(root, {**raw, **wrong})
    part = next(iter(wrong)).split('_')[1]
    path = re.escape(str(root / f'pfnet/chainer/mnist/{part}.npz'))
    with pytest.raises(UserError, match=f'^cannot read MNIST in {path}: {what}{FORMATS}$'):
        data.load()


@pytest.mark.parametrize('part', ['train', 'test'])
def test_training_set_and_test_set_of_different_scales(part, root, raw):
    write_chainers(root, {**raw, f'x_{part}': raw[f'x_{part}'] / 255})
    with pytest.raises(UserError, match=r'holds pixels up to .* to train on and up to .* to test'):
        data.load()


def test_a_file_under_the_name_of_another(root, raw):
    write_idx(root, {**raw, 'x_train': raw['y_train'], 'y_train': raw['x_train']})
    with pytest.raises(UserError, match='labels-idx1-ubyte: it holds labels of uint8 and shape'):
        data.load()


def test_an_npz_of_other_arrays(root, raw):
    write_chainers(root, raw, '.')
    (root / 'train.npz').rename(root / 'mnist.npz')
    with pytest.raises(UserError, match=r'mnist.npz: it holds no y_train'):
        data.load()


def test_what_is_no_file_is_not_opened(root, raw):
    write_idx(root, raw)
    (root / IDX['y_test']).unlink()
    make_pipe(root / IDX['y_test'])  # opening it would hang
    with pytest.raises(UserError, match=r'there: no file .*t10k-labels-idx1-ubyte'):
        data.load()


# Files that nobody vouches for


def zeros(size):
    """So many zeros, packed by gzip: a thousandth of them."""
    return gzip.compress(bytes(size))


def lie(shape):
    """The beginning of an idx file that claims too much."""
    return struct.pack(f'>HBB{len(shape)}I', 0, 8, len(shape), *shape)


def npz_lie(claim):
    """An npz file whose images claim a shape, and are short."""
    header, file = io.BytesIO(), io.BytesIO()
    numpy.lib.format.write_array_header_1_0(
        header, {'shape': claim, 'fortran_order': False, 'descr': '|u1'}
    )
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('x.npy', header.getvalue() + bytes(1000))
        archive.writestr('y.npy', npy(numpy.zeros(500, 'u1')))
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def npz_of_bzip2():
    """An npz file packed in a way that NumPy does not use and that unpacks to far more."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_BZIP2) as archive:
        archive.writestr('x.npy', npy(numpy.zeros((500, 28, 28), 'u1')))
        archive.writestr('y.npy', npy(numpy.zeros(500, 'u1')))
    return file.getvalue()


def npz_of_headers(length):
    """An npz file whose member claims a header of 4 GB at most, which zeros make up."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('x.npy', b'\x93NUMPY\x02\x00' + struct.pack('<I', length) + bytes(length))
        archive.writestr('y.npy', npy(numpy.zeros(500, 'u1')))
    return file.getvalue()


MANY = 2**32 - 1
BOMBS = {
    'more than it claims': ('x', lambda: gzip.compress(lie((500, 28, 28))) + zeros(10**8)),
    'more labels than it claims': ('y', lambda: gzip.compress(lie((500,))) + zeros(10**8)),
    'claims 4 billion images': ('x', lambda: lie((MANY, 28, 28))),
    'claims many of them, packed': ('x', lambda: gzip.compress(lie((MANY, 28, 28)) + bytes(10**6))),
    'claims large images': ('x', lambda: lie((500, MANY, MANY))),
    'claims 255 axes': ('x', lambda: lie((MANY,) * 255)),
    'claims 4 billion labels': ('y', lambda: lie((MANY,))),
    'two million labels': ('y', lambda: gzip.compress(lie((2 * 10**6,)) + bytes(2 * 10**6))),
    'npz: claims 4 billion images': ('npz', lambda: npz_lie((MANY, 28, 28))),
    'npz: claims fewer than none': ('npz', lambda: npz_lie((-500, 28, 28))),
    'npz: claims a million': ('npz', lambda: npz_lie((10**6, 28, 28))),
    'npz: bzip2': ('npz', npz_of_bzip2),
    'npz: a header of 100 MB': ('npz', lambda: npz_of_headers(10**8)),
}


@pytest.mark.parametrize(('where', 'make'), BOMBS.values(), ids=BOMBS)
def test_bombs_and_lies_take_no_memory(where, make, root, raw):
    if where == 'npz':
        write_chainers(root, raw, '.')
        path = root / 'train.npz'
    else:
        write_idx(root, raw)
        path = root / IDX[f'{where}_train']
    path.write_bytes(make())
    tracemalloc.start()
    with pytest.raises(
        UserError, match=f'^cannot read MNIST in {re.escape(str(path))}: .*{FORMATS}'
    ):
        data.load()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e7


def test_a_claim_that_is_allowed_takes_no_memory_before_it_can_be_true(root, raw):
    write_idx(root, raw)
    (root / IDX['y_train']).write_bytes(gzip.compress(lie((10**6,)) + bytes(10**6)))
    (root / IDX['x_train']).write_bytes(gzip.compress(lie((10**6, 28, 28)) + bytes(10**6)))
    tracemalloc.start()
    with pytest.raises(UserError, match='x3-ubyte: it is too short for an array of shape'):
        data.load()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e7


@pytest.mark.parametrize('writer', WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(
    'spoil',
    [
        lambda content: b'',
        lambda content: content[:3],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b'<!DOCTYPE html>\n<title>404</title>',
    ],
)
def test_files_that_end_too_early(spoil, writer, root, raw, monkeypatch):
    monkeypatch.setenv('CHAINER_DATASET_ROOT', str(writer(root, raw)))
    for path in filter(pathlib.Path.is_file, root.rglob('*')):
        content = path.read_bytes()
        path.write_bytes(spoil(content))
        with pytest.raises(UserError, match=f'^cannot read MNIST in {re.escape(str(path))}: .+; '):
            data.load()
        path.write_bytes(content)


@pytest.mark.parametrize('writer', [w for n, w in WRITERS.items() if 'idx' in n])
def test_idx_files_that_go_on(writer, root, raw):
    writer(root, raw)
    for path in root.iterdir():
        content = path.read_bytes()
        path.write_bytes(content + b'garbage')
        with pytest.raises(UserError, match=f'^cannot read MNIST in {re.escape(str(path))}: .+; '):
            data.load()
        path.write_bytes(content)


@pytest.mark.parametrize('name', ['chainers', 'chainers, plain', 'keras', 'idx, packed', 'idx'])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=st.data())
def test_fuzz(name, choices, root, raw):
    """Whatever is done to a file: one error of one line, or a data set that can be trained on."""
    small = {key: array[:3] for key, array in raw.items()}
    WRITERS[name](root, small)
    path = choices.draw(st.sampled_from(sorted(filter(pathlib.Path.is_file, root.rglob('*')))))
    content = bytearray(path.read_bytes())
    for _ in range(choices.draw(st.integers(1, 4))):
        # Most of what can go wrong lies at the ends, where the headers are.
        where = choices.draw(
            st.one_of(
                st.integers(0, min(300, len(content) - 1)),
                st.integers(max(0, len(content) - 300), len(content) - 1),
                st.integers(0, len(content) - 1),
            )
        )
        piece = choices.draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([b'\0' * 4, b'\xff' * 4]))
        )
        length = choices.draw(st.sampled_from([0, 1, len(piece), len(content)]))
        content[where : where + length] = piece
        content = content or bytearray(1)
    path.write_bytes(content)
    tracemalloc.start()
    loaded, message = (), 'cannot read MNIST in '
    try:
        loaded = data.load()
    except UserError as error:
        message = str(error)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e7
    assert re.match('cannot read MNIST in |.* holds pixels up to', message)
    assert '\n' not in message
    for x, t in loaded:
        assert (x.dtype, x.shape, t.dtype) == ('f', (len(t), 784), 'i')
        assert 0 <= x.min() <= x.max() <= 1
        assert 0 <= t.min() <= t.max() <= 9


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=2000), kind=st.integers(0, 255), packed=st.booleans())
def test_fuzz_idx_headers(content, kind, packed, root, raw):
    write_idx(root, {key: array[:3] for key, array in raw.items()})
    content = struct.pack('>HBB', 0, 8 if kind % 2 else kind, kind) + content
    (root / IDX['x_train']).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=r'^cannot read MNIST in '):
        data.load()


@pytest.mark.parametrize('net', ['classifier', 'trainflag'])
def test_one_image(net, monkeypatch):
    folder = 'data/pfnet/chainer/mnist'
    os.makedirs(folder)
    for name in ('train', 'test'):
        numpy.savez(f'{folder}/{name}.npz', x=numpy.ones((1, 784), 'u1'), y=numpy.ones(1, 'u1'))
    monkeypatch.setenv('CHAINER_DATASET_ROOT', 'data')
    for b in (1, 10**30):
        assert main('-e', 2, '-b', b, '-n', net)[::2] == (0, '')
    assert read('result/mlp.state')['t'] == 2
    assert main(program=predict)[::2] == (0, '')
