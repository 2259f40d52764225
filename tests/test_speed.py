"""What makes the loop fast must not change a bit of its result."""

import os
import subprocess
import sys
from pathlib import Path

from chainer_mnist import adam, speed

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
import threadpoolctl
from chainer import computational_graph, optimizers, serializers

from helpers import CLONE, run, same
from net import MLP, TrainFlagMLP


@pytest.mark.parametrize(('units', 'block'), [(1, 7), (50, 7), (50, adam.BLOCK), (300, adam.BLOCK)])
def test_adam_gives_chainers_bits(units, block, monkeypatch):
    monkeypatch.setattr(adam, 'BLOCK', block)
    random = numpy.random.RandomState(0)
    x, t = random.rand(30, 784).astype('f'), random.randint(0, 10, 30).astype('i')
    for name, optimizer in (('chainer', optimizers.Adam()), ('speed', speed.Adam())):
        numpy.random.seed(0)
        model = L.Classifier(MLP(units, 10))
        model(x, t)
        optimizer.setup(model)
        for _ in range(20):
            optimizer.update(model, x, t)
        serializers.save_npz(f'{name}.model', model)
        serializers.save_npz(f'{name}.state', optimizer)
    assert same('chainer.model', 'speed.model')
    assert same('chainer.state', 'speed.state')


@pytest.mark.parametrize('make', [lambda: L.Classifier(MLP(50, 10)), lambda: TrainFlagMLP(50, 10)])
def test_the_loop_gives_chainers_bits_and_chainers_graph(make):
    random = numpy.random.RandomState(0)
    x, t = random.rand(30, 784).astype('f'), random.randint(0, 10, 30).astype('i')
    graphs = []

    def train(name, adam):
        numpy.random.seed(0)
        model = make()
        model(x, t)
        adam.setup(model)
        for i in range(0, 30, 8):
            adam.update(model, x[i : i + 8], t[i : i + 8])
        graph = computational_graph.build_computational_graph([model.loss])
        graphs.append(sorted(node.label for node in graph.nodes))
        serializers.save_npz(name, model)

    with threadpoolctl.threadpool_limits(1):
        train('chainer.model', optimizers.Adam())
        with speed.tuned(50):
            speed.trust_types()
            train('speed.model', speed.Adam())
    assert same('chainer.model', 'speed.model')
    assert graphs[0] == graphs[1]
    assert graphs[0].count('LinearFunction') == 3


def test_chainers_debug_mode_keeps_its_checks():
    with chainer.using_config('debug', True), speed.tuned(50):
        speed.trust_types()
        with pytest.raises(chainer.utils.type_check.InvalidType):
            F.linear(numpy.zeros((1, 2), 'f'), numpy.zeros((1, 3), 'f'))
        with pytest.raises(RuntimeError, match='NaN'):
            F.relu(numpy.array([[numpy.nan]], 'f'))


with_known_blas = pytest.mark.skipif(
    not threadpoolctl.threadpool_info(),
    reason="threadpoolctl does not see NumPy's BLAS, as with Accelerate on macOS",
)


def blas_threads():
    return {pool['num_threads'] for pool in threadpoolctl.threadpool_info()}


@with_known_blas
def test_few_units_take_one_thread_and_leave_no_trace(monkeypatch):
    for name in speed.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    apply = chainer.FunctionNode.apply
    with threadpoolctl.threadpool_limits(2, user_api='blas'):
        before = blas_threads()
        with speed.tuned(50):
            assert blas_threads() == {1}
            assert chainer.config.type_check
            speed.trust_types()
            assert not chainer.config.type_check
            assert chainer.FunctionNode.apply is not apply
        assert blas_threads() == before
        assert chainer.config.type_check
        assert chainer.FunctionNode.apply is apply
        with speed.tuned(1000):
            assert blas_threads() == before


@with_known_blas
def test_the_users_choice_of_threads_wins():
    code = """
from chainer_mnist import speed
import numpy, threadpoolctl
with speed.tuned(50):
    print(*{pool['num_threads'] for pool in threadpoolctl.threadpool_info()})
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(CLONE), 'OPENBLAS_NUM_THREADS': '2'},
        capture_output=True,
        text=True,
    )
    assert done.stdout == '2\n'


BROKEN = {
    'it does not import': 'raise SystemError("initialization failed")',
    'it does not compile': 'float32 = 0',
    'it has no directory for its cache': """
import importlib, os, sys
sys.path.remove(os.path.dirname(__file__))
del sys.modules['numba']
numba = importlib.import_module('numba')
def njit(*args, cache, **kwargs):
    if cache:
        raise RuntimeError('cannot cache function: no locator available')
    return compiler(*args, **kwargs)
compiler, numba.njit = numba.njit, njit
""",
    'it rounds otherwise': """
class Types:
    def __getitem__(self, key): return 0
    Array = staticmethod(lambda *args: 0)
float32 = types = Types()
def njit(*args, **kwargs):
    def compiled(p, g, m, v, *constants):
        p -= 1
    return lambda function: compiled
""",
}


@pytest.mark.parametrize('fault', BROKEN)
def test_a_numba_with_a_fault_costs_its_speed_alone(fault, tmp_path, monkeypatch):
    Path('numba.py').write_text(BROKEN[fault])
    for out, path in (('broken', f'{tmp_path}'), ('absent', f'{tmp_path}/absent')):
        os.makedirs(f'{tmp_path}/absent', exist_ok=True)
        Path(f'{tmp_path}/absent/numba.py').write_text('raise ImportError')
        done = run('--noplot', '-s', 1, '-e', 1, '-o', out, env={**os.environ, 'PYTHONPATH': path})
        assert (done.returncode, done.stderr) == (0, '')
    assert same('broken/mlp.state', 'absent/mlp.state')
