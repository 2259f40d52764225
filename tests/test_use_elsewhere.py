"""What the pages say of using a model elsewhere, and of errors that Chainer alone ends with."""

import os
import shutil
import sys

from chainer_mnist import constants, data

import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers

import net
from helpers import CLONE, code_of, environment, log_of, run_command, same, train


def run_block(page, package, **variables):
    """Runs the first code block of a page that imports a package. Returns its variables."""
    blocks = code_of(CLONE / 'docs' / page, 'py')
    exec(next(code for code in blocks if f'import {package}\n' in code), variables)
    return variables


@pytest.mark.parametrize('package', ['numpy', 'torch'])
def test_scores_without_chainer(package, predictor, model):
    pytest.importorskip(package)
    shutil.copytree(os.path.dirname(model), 'result')
    _, (x, _) = data.load_mnist()
    difference = run_block('using.md', package, x=x)['scores'] - predictor(x).array
    assert abs(difference).max() <= 1e-6 * abs(predictor(x).array).max()


def test_a_folder_of_pngs_as_a_data_set(monkeypatch):
    image = pytest.importorskip('PIL.Image')
    for part, (x, t) in zip(('train', 'test'), data.load_mnist()):
        for i, pixels in enumerate((255 * x[:100]).round().astype('uint8')):
            os.makedirs(f'digits/{part}/{t[i]}', exist_ok=True)
            image.fromarray(pixels.reshape(28, 28)).save(f'digits/{part}/{t[i]}/{i}.png')
    run_block('changing.md', 'numpy')
    monkeypatch.setenv(constants.ROOT, 'digits')
    train('-e', 9, '-b', 10)
    assert log_of('result')[-1]['validation/main/accuracy'] > 0.5


def test_hdf5_becomes_npz():
    pytest.importorskip('h5py')
    classifier = L.Classifier(net.MLP(50, 10))
    optimizer = optimizers.Adam().setup(classifier)
    optimizer.update(classifier, numpy.ones((2, 784), 'f'), numpy.array([1, 2], 'i'))
    for target, name in (classifier, 'classifier.model'), (optimizer, 'mlp.state'):
        serializers.save_hdf5(f'{name}.h5', target)
        serializers.save_npz(f'{name}.npz', target)
    run_block('resuming.md', 'net')
    assert all(same(name, f'{name}.npz') for name in ('classifier.model', 'mlp.state'))


PATCHED = 'import chainer_mnist, chainer, net, numpy; from chainer.serializers import *;'
ERRORS = [
    ('import chainer', '`np.sctypes` was removed in the NumPy 2.0 release'),
    (f'{PATCHED} import chainer.links.caffe', 'Descriptors cannot be created directly'),
    (f'{PATCHED} chainer.datasets.get_mnist()', 'URLError: <urlopen error'),
    (f'{PATCHED} load_npz("a.npz", net.MLP(9, 9))', 'is not a file in the archive'),
    (f'{PATCHED} load_npz("page.npz", 0)', "Failed to interpret file 'page.npz' as a pickle"),
    (f'{PATCHED} numpy.load("none")["l1/W"]', 'Object arrays cannot be loaded when allow_pickle'),
]


@pytest.mark.parametrize(('code', 'message'), ERRORS[numpy.__version__ < '2' :])
def test_errors_that_the_page_explains(code, message):
    numpy.savez('a', none=0)
    serializers.save_npz('none', net.MLP(9, 9))
    shutil.copy(CLONE / 'README.md', 'page.npz')
    env = environment(PYTHONPATH=str(CLONE), http_proxy='127.0.0.1:9', CHAINER_DATASET_ROOT='root')
    assert message in run_command([sys.executable, '-c', code], env=env).stderr
    assert message in (CLONE / 'docs' / 'trouble.md').read_text(encoding='utf-8')
