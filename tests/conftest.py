"""A tiny MNIST, an empty directory for each test, and a Ctrl-C that is heeded."""

import os
import shutil
import signal
import subprocess

# There is a worker for each core. More threads would be in the way of each other.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from chainer_mnist import data

import numpy
import pytest

import predict
from helpers import command_line

# Where a shell has started the tests in the background, Ctrl-C is ignored, and what the tests start
# would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    """A dataset root with the first images of the real MNIST: 500 to train and 300 to test."""
    root = tmp_path_factory.mktemp('tiny')
    folder = root / 'pfnet' / 'chainer' / 'mnist'
    folder.mkdir(parents=True)
    for name, images in (('train', 500), ('test', 300)):
        with numpy.load(os.path.join(data.DATA, 'pfnet/chainer/mnist', f'{name}.npz')) as npz:
            numpy.savez(folder / f'{name}.npz', x=npz['x'][:images], y=npz['y'][:images])
    return root


@pytest.fixture(autouse=True)
def fresh_directory(tmp_path, tiny, monkeypatch):
    """Each test stands in an empty directory, with the tiny MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CHAINER_DATASET_ROOT', str(tiny))


@pytest.fixture(scope='session')
def bound_by_permissions():
    """Words to put before a command so that permissions bind it, even if this user is root."""
    if not hasattr(os, 'geteuid'):
        pytest.skip('the permissions are those of POSIX')
    if os.geteuid() != 0:
        return []
    if shutil.which('setpriv') is None:
        pytest.skip('root may write everywhere, and there is no setpriv to hinder it')
    return ['setpriv', '--bounding-set=-dac_override,-dac_read_search']


@pytest.fixture(scope='session')
def whole_mnist():
    """The environment for processes that use the whole MNIST."""
    return {k: v for k, v in os.environ.items() if k != 'CHAINER_DATASET_ROOT'}


@pytest.fixture(scope='session')
def model(tmp_path_factory, whole_mnist):
    """The path of a model that has seen the whole MNIST once."""
    out = tmp_path_factory.mktemp('trained')
    words = command_line('-e', 1, '-s', 0, '-o', out, '--noplot')
    subprocess.run(words, env=whole_mnist, check=True, capture_output=True)
    return str(out / 'mlp.model')


@pytest.fixture(scope='session')
def predictor(model):
    return predict.load_predictor(model)
