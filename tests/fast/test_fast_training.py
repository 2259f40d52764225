"""What the fast loop does to BLAS, Numba and other threads, and that it leaves no trace."""

import contextlib
from pathlib import Path

from chainer_mnist import fast

import chainer
import pytest
import threadpoolctl

from helpers import run_code, same, train


def state():
    """What the fast loop changes: the threads of BLAS, and methods of Chainer."""
    threads = {pool['num_threads'] for pool in threadpoolctl.threadpool_info()}
    return threads, chainer.FunctionNode.apply, chainer.Variable.backward


@pytest.mark.skipif(
    not threadpoolctl.threadpool_info(),
    reason="threadpoolctl does not see NumPy's BLAS, as with Accelerate on macOS",
)
def test_few_units_and_busy_cores_take_one_thread_and_leave_no_trace(monkeypatch, capsys):
    for name in fast.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with threadpoolctl.threadpool_limits(2, user_api='blas'):
        before = state()
        with contextlib.suppress(KeyboardInterrupt), fast.fast_training(50):
            assert state()[0] == {1}
            assert state()[1] is not before[1]
            raise KeyboardInterrupt
        assert state() == before
        for slowdown, threads in ((1.0, 2), (1.2, 1)):  # by the second thread
            seconds = iter([1, slowdown])
            monkeypatch.setattr('timeit.timeit', lambda *args, **kwds: next(seconds))  # noqa: B023
            with fast.fast_training(1000):
                assert state()[0] == {threads}
        assert capsys.readouterr().out.startswith('# BLAS threads: 1 (the cores are busy; ')
        monkeypatch.setenv('OMP_NUM_THREADS', '2')
        for units in (50, 1000):
            with fast.fast_training(units):
                assert state()[0] == {2}


BROKEN = {
    'it does not import': 'raise SystemError("initialization failed")',
    'it does not compile': 'def njit(*args, **kwargs): raise TypeError',
    'it rounds otherwise': """
def njit(function, **kwargs):
    def compiled(*args):
        args[-1][...] *= 1.5
        return function(*args)
    return compiled
""",
}


@pytest.mark.parametrize('fault', BROKEN)
def test_a_broken_numba_costs_only_its_speed(fault):
    code = """
import sys, train_mnist
from chainer_mnist.fast import kernels
assert train_mnist.main(['--noplot', '-s', '1', '-e', '1', '-o', 'broken']) == 0
assert kernels.adam is kernels.numpy_adam
"""
    Path('numba.py').write_text(BROKEN[fault])
    done = run_code(code)  # which finds it in the current directory
    assert (done.returncode, done.stderr) == (0, '')
    train('-s', 1, '-e', 1)
    assert same('broken/mlp.state', 'result/mlp.state')
