"""Chainer imports, whatever was tried before and whatever the environment says."""

import subprocess
import sys

import chainer.functions as F
import numpy
import pytest

from helpers import CLONE, assert_quiet, environment, main, run, same


@pytest.mark.parametrize(
    'variables',
    [
        {'MPLBACKEND': 'nonsense'},
        {'CHAINER_DTYPE': 'nonsense'},
        {'CHAINER_DTYPE': 'float16'},
        {'CHAINER_DTYPE': 'float64'},
        {'CHAINER_DEBUG': '1', 'CHAINER_CUDNN': 'nonsense', 'CHAINER_SEED': 'x'},
    ],
    ids=str,
)
def test_variables_change_nothing(variables):
    assert_quiet(run('-e', 1, '-s', 1, env=environment(**variables)))
    assert main('-e', 1, '-s', 1, '-o', 'b', '--noplot')[0] == 0
    assert same('result/mlp.state', 'b/mlp.state')


@pytest.mark.parametrize('first', ['import chainer', 'import chainer.links', 'import chainermn'])
def test_chainer_that_was_imported_half_way_is_mended(first):
    """As in a notebook, where whoever meets the error adds the import that mends it."""
    code = f"""
import sys
sys.modules['chainer._environment_check'] = None  # so that this fails on every Python and NumPy
try:
    {first}
except Exception:
    failed = True
del sys.modules['chainer._environment_check']
assert failed and [name for name in sys.modules if name.startswith('chainer.')]
import chainer_mnist
import chainer, chainermn
import chainer.functions as F, chainer.links as L
from net import MLP
model = L.Classifier(MLP(5, 10))
optimizer = chainer.optimizers.Adam().setup(model)
import numpy
x, t = numpy.ones((3, 784), 'f'), numpy.arange(3, dtype='i')
optimizer.update(model, x, t)
print(type(model(x, t)) is chainer.Variable, optimizer.t)
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env=environment(PYTHONPATH=str(CLONE)),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ('True 1\n', '')


def test_a_function_that_takes_what_numpy_has_dropped():
    image = numpy.arange(4, dtype='f').reshape(1, 1, 2, 2)
    assert F.resize_images(image, (3, 3)).array[0, 0, 1].tolist() == [1, 1.5, 2]
