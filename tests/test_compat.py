"""Chainer imports, whatever was tried before and whatever the environment says."""

import os
import re
import shutil
import sys
import zipapp

import chainer.functions as F
import numpy
import pytest

from helpers import CLONE, environment, run, run_code, run_command, same, train


@pytest.mark.parametrize('dtype', ['nonsense', 'float16'])
def test_environment_variables_change_nothing(dtype):
    variables = ['CHAINER_CUDNN', 'CHAINER_DEBUG', 'CHAINER_SEED', 'MPLBACKEND']
    env = environment(CHAINER_DTYPE=dtype, **dict.fromkeys(variables, '1'))
    done = run('-e', 1, '-s', 1, env=env)
    assert (done.returncode, done.stderr) == (0, '')
    train('-e', 1, '-s', 1, '-o', 'b')
    assert same('result/mlp.state', 'b/mlp.state')


@pytest.mark.parametrize('first', ['chainer', 'chainermn'])
def test_an_import_of_chainer_that_failed_does_no_harm(first):
    """As in a notebook: the import fails, and then the user imports this package first."""
    code = f"""
import sys
sys.modules['chainer._environment_check'] = None  # so that this fails on every Python and NumPy
try:
    import {first}
except Exception:
    assert [name for name in sys.modules if name.startswith('chainer.')]
    del sys.modules['chainer._environment_check']
    import train_mnist, chainermn
    sys.exit(train_mnist.main(['-e', '1']))
"""
    done = run_code(code)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'save the optimizer' in done.stdout


def test_a_function_that_uses_what_numpy_has_removed():
    image = numpy.arange(4, dtype='f').reshape(1, 1, 2, 2)
    assert F.resize_images(image, (3, 3)).array[0, 0, 1].tolist() == [1, 1.5, 2]


@pytest.mark.parametrize(('script', 'word'), [('train_mnist.py', '-e0'), ('predict.py', '--help')])
def test_flags_of_python(script, word):
    done = run_command([sys.executable, '-I', str(CLONE / script), word])  # without the folder
    assert (done.returncode, done.stderr) == (0, '')
    done = run_command([sys.executable, '-S', str(CLONE / script)])  # the environment is not active
    message = "No module named 'numpy'; activate the virtual environment, or run pip install -r .*"
    assert done.returncode == 1
    assert re.fullmatch(f'{script}: error: {message}\n', done.stderr), done.stderr


def test_a_zip_application_has_the_exit_status_of_main():
    os.mkdir('app')
    for name in ('__main__.py', 'train_mnist.py', 'net.py'):
        shutil.copy(CLONE / name, 'app')
    shutil.copytree(CLONE / 'chainer_mnist', 'app/chainer_mnist')
    zipapp.create_archive('app')
    for word, status in (('-e1', 0), ('-b0', 2), ('-rnowhere', 1)):
        done = run_command([sys.executable, 'app.pyz', word])
        assert (done.returncode, done.stderr.count('\n')) == (status, status > 0)


@pytest.mark.parametrize('root', [None, 'of the user'])
def test_chainer_itself_finds_the_data(root):
    code = 'import chainer_mnist, chainer; print(len(chainer.datasets.get_mnist()[0]))'
    done = run_command([sys.executable, '-c', code], env=environment(CHAINER_DATASET_ROOT=root))
    assert done.stdout == ('' if root else '60000\n')
