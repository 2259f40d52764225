"""The data that travels with the repository, and how it is found."""

import hashlib
import os
import shutil

from chainer_mnist import data
from chainer_mnist.errors import UserError

import numpy
import pytest

import predict
from helpers import main, read, run

SHA256 = {
    ('train', 'x'): '741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757',
    ('train', 'y'): '1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13',
    ('test', 'x'): '6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161',
    ('test', 'y'): 'ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5',
}


@pytest.mark.parametrize('name', ['train', 'test'])
def test_checksums(name):
    npz = read(f'{data.DATA}/pfnet/chainer/mnist/{name}.npz')
    assert {
        (name, key): hashlib.sha256(array.tobytes()).hexdigest() for key, array in npz.items()
    } == {key: digest for key, digest in SHA256.items() if key[0] == name}


def test_the_clones_own_data_is_the_default(monkeypatch):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    (x_train, t_train), (x_test, t_test) = data.load()
    assert (x_train.shape, x_train.dtype, t_train.shape) == ((60000, 784), 'f', (60000,))
    assert (x_test.shape, x_test.dtype, t_test.dtype) == ((10000, 784), 'f', 'i')
    assert (x_train.min(), x_train.max()) == (0, 1)
    assert t_train[:5].tolist() == [5, 0, 4, 1, 9]


def test_the_environment_wins():
    (x_train, _), (x_test, _) = data.load()
    assert (len(x_train), len(x_test)) == (500, 300)


@pytest.fixture
def broken(tiny, tmp_path, monkeypatch):
    """A copy of the tiny MNIST, to be spoilt: the folder of its files."""
    shutil.copytree(tiny, tmp_path / 'root')
    monkeypatch.setenv('CHAINER_DATASET_ROOT', str(tmp_path / 'root'))
    return tmp_path / 'root' / 'pfnet' / 'chainer' / 'mnist'


def test_a_missing_file_is_named_and_nothing_is_downloaded(broken):
    (broken / 'test.npz').unlink()
    done = run()
    assert done.returncode == 1
    assert done.stderr == (
        f'train_mnist.py: error: MNIST is not there: no file {broken / "test.npz"}; '
        'unset CHAINER_DATASET_ROOT\n'
    )
    assert sorted(path.name for path in broken.iterdir()) == ['train.npz']


def spoil_half(path):
    path.write_bytes(path.read_bytes()[:1000])


def spoil_labels(path):
    numpy.savez(path, x=numpy.zeros((3, 784), 'u1'), y=numpy.array([1, 2, 10], 'u1'))


def spoil_lengths(path):
    numpy.savez(path, x=numpy.zeros((3, 784), 'u1'), y=numpy.zeros(2, 'u1'))


def spoil_shape(path):
    numpy.savez(path, x=numpy.zeros((3, 100), 'u1'), y=numpy.zeros(3, 'u1'))


def spoil_label_shape(path):
    numpy.savez(path, x=numpy.zeros((3, 784), 'u1'), y=numpy.zeros((3, 1), 'u1'))


def spoil_by_emptying(path):
    numpy.savez(path, x=numpy.zeros((0, 784), 'u1'), y=numpy.zeros(0, 'u1'))


def spoil_with_pickle(path):
    numpy.savez(path, x=numpy.array([{}]), y=numpy.zeros(1, 'u1'))


@pytest.mark.parametrize(
    'spoil',
    [
        spoil_half,
        spoil_labels,
        spoil_lengths,
        spoil_shape,
        spoil_label_shape,
        spoil_by_emptying,
        spoil_with_pickle,
    ],
)
def test_a_damaged_file_is_refused(broken, spoil):
    spoil(broken / 'train.npz')
    with pytest.raises(UserError, match='cannot read MNIST'):
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
