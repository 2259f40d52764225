"""What makes the loop fast must not change a bit of its result."""

import os
import subprocess
import sys

import chainer_compat  # noqa: F401
import chainer
import chainer.links as L
import numpy
import pytest
import threadpoolctl
from chainer import optimizers, serializers

import speed
from helpers import CLONE, same
from net import MLP


@pytest.mark.parametrize('block', [7, 32768])
@pytest.mark.parametrize('units', [1, 50, 300])
def test_adam_gives_chainers_bits(units, block, monkeypatch):
    monkeypatch.setattr(speed, 'BLOCK', block if units < 300 else 32768)
    random = numpy.random.RandomState(0)
    x, t = random.rand(30, 784).astype('f'), random.randint(0, 10, 30).astype('i')
    for name, adam in (('chainer', optimizers.Adam()), ('speed', speed.Adam())):
        numpy.random.seed(0)
        model = L.Classifier(MLP(units, 10))
        model(x, t)
        adam.setup(model)
        for _ in range(20):
            adam.update(model, x, t)
        serializers.save_npz(f'{name}.model', model)
        serializers.save_npz(f'{name}.state', adam)
    assert same('chainer.model', 'speed.model')
    assert same('chainer.state', 'speed.state')


def blas_threads():
    return {pool['num_threads'] for pool in threadpoolctl.threadpool_info()}


def test_few_units_take_one_thread_and_leave_no_trace(monkeypatch):
    for name in speed.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = blas_threads()
    with speed.tuned(50):
        assert blas_threads() == {1}
        assert not chainer.config.type_check
    assert blas_threads() == before
    assert chainer.config.type_check
    with speed.tuned(1000):
        assert blas_threads() == before


def test_the_users_choice_of_threads_wins():
    code = """
import numpy, speed, threadpoolctl
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
