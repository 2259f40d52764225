"""A tiny MNIST, an empty directory for each test, and models that many tests share."""

import os
import shutil
import signal

# There is a worker for each core. More threads would slow each other down.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from chainer_mnist import constants, snapshots

import numpy
import pytest

import predict
from helpers import CLONE, read, train

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
        with numpy.load(os.path.join(constants.DATA, 'pfnet/chainer/mnist', f'{name}.npz')) as npz:
            numpy.savez(folder / f'{name}.npz', x=npz['x'][:images], y=npz['y'][:images])
    return root


@pytest.fixture(scope='session')
def raw(tiny):
    """The tiny MNIST's arrays as in its files: x_train and so on, images of 28 x 28 pixels."""
    arrays = {}
    for part in ('train', 'test'):
        npz = read(f'{tiny}/pfnet/chainer/mnist/{part}.npz')
        arrays[f'x_{part}'] = npz['x'].reshape(-1, 28, 28)
        arrays[f'y_{part}'] = npz['y']
    return arrays


@pytest.fixture(autouse=True)
def fresh_directory(tmp_path, tiny, monkeypatch):
    """Each test runs in an empty directory, with the tiny MNIST. Its processes find the scripts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(constants.ROOT, str(tiny))
    monkeypatch.setenv('PYTHONPATH', str(CLONE))
    monkeypatch.delenv('PYTHONUNBUFFERED', raising=False)


@pytest.fixture(scope='session')
def bound_by_permissions():
    """Words to put before a command so that permissions bind it, even if this user is root."""
    if not hasattr(os, 'geteuid'):
        pytest.skip('the permissions are those of POSIX')
    if os.geteuid() != 0:
        return []
    if shutil.which('setpriv') is None:
        pytest.skip('root may write everywhere, and there is no setpriv to prevent it')
    return ['setpriv', '--bounding-set=-dac_override,-dac_read_search']


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    """The path of a model that has seen the whole MNIST once, beside the log of its run."""
    out = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(constants.ROOT, raising=False)
        train('-e', 1, '-s', 0, '-o', out)
    return str(out / constants.PREDICTOR)


@pytest.fixture(scope='session')
def predictor(model):
    """The same model as a chain."""
    return snapshots.load_predictor(model, predict.make_predictor)[1]
