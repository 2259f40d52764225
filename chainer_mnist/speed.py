"""What makes the training loop fast. For a given number of BLAS threads it changes no bit."""

import contextlib
import os

from chainer_mnist import adam, backprop, graph
from chainer_mnist.adam import Adam

import chainer
import threadpoolctl

__all__ = ['Adam', 'trust_types', 'tuned']

# Below so many units, two threads gain less than 5 % where both cores are free, and lose a lot
# where they are not.
UNITS_FOR_THREADS = 100

# Whoever sets one of these knows better.
THREAD_VARIABLES = (
    'BLIS_NUM_THREADS',
    'MKL_NUM_THREADS',
    'OMP_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'VECLIB_MAXIMUM_THREADS',
)


@contextlib.contextmanager
def tuned(units):
    """Sets Chainer and BLAS up for training within a ``with`` block.

    Args:
        units (int): Number of units in each hidden layer.

    """
    adam.compile_with_numba()
    threads = None
    if units < UNITS_FOR_THREADS and not any(os.environ.get(name) for name in THREAD_VARIABLES):
        threads = 1
    with contextlib.ExitStack() as stack:
        stack.enter_context(threadpoolctl.threadpool_limits(threads, user_api='blas'))
        stack.enter_context(chainer.using_config('type_check', chainer.config.type_check))
        _replace(stack, chainer.FunctionNode, 'apply', graph.apply)
        _replace(stack, chainer.Variable, 'backward', backprop.backward)
        yield


def trust_types():
    """Leaves out Chainer's checks of types until the end of the block of :func:`tuned`.

    They take longer than the rest of the graph. Every mini-batch has the types of the first: when
    that one has been computed, all are checked.
    """
    if not chainer.is_debug():
        chainer.config.type_check = False


def _replace(stack, owner, name, new):
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, new)
