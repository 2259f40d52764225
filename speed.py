"""What makes the training loop fast, and changes no bit of its result."""

import contextlib
import os

import chainer_compat  # noqa: F401  Chainer does not import without it
import chainer
import numpy
import threadpoolctl
from chainer import optimizers
from chainer.optimizers import adam

# Elements that Adam works on at a time: four arrays of them and a scratch stay in the cache.
BLOCK = 32768

# Below so many units, the matrices are too small to be shared between threads.
UNITS_FOR_THREADS = 200

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
    threads = None
    if units < UNITS_FOR_THREADS and not any(os.environ.get(name) for name in THREAD_VARIABLES):
        threads = 1
    # Every mini-batch has the types of the one before, so that they need no check.
    type_check = chainer.using_config('type_check', False)
    with type_check, threadpoolctl.threadpool_limits(threads, user_api='blas'):
        yield


class AdamRule(adam.AdamRule):
    """Chainer's update rule of Adam, worked out in place and block by block on the CPU.

    The operations and their order are Chainer's, and so are the bits of the result. Options that
    this project does not use (AMSGrad, AdaBound, weight decay) are not taken.
    """

    def update_core_cpu(self, param):
        """Updates a parameter.

        Args:
            param (chainer.Parameter): The parameter, float32, with its gradient.

        """
        hp = self.hyperparam
        alpha_t = self.alpha_t
        flat = [a.reshape(-1) for a in (param.array, param.grad, self.state['m'], self.state['v'])]
        scratch = numpy.empty(min(BLOCK, param.size), param.dtype)
        for i in range(0, param.size, BLOCK):
            p, grad, m, v = (array[i : i + BLOCK] for array in flat)
            s = scratch[: len(p)]
            # m += (1 - beta1) * (grad - m)
            numpy.subtract(grad, m, out=s)
            s *= 1 - hp.beta1
            m += s
            # v += (1 - beta2) * (grad * grad - v)
            numpy.multiply(grad, grad, out=s)
            s -= v
            s *= 1 - hp.beta2
            v += s
            # p -= alpha_t / (sqrt(v) + eps) * m
            numpy.sqrt(v, out=s)
            s += hp.eps
            numpy.divide(alpha_t, s, out=s)
            s *= m
            p -= s


class Adam(optimizers.Adam):
    """Chainer's Adam, with :class:`AdamRule` for each parameter."""

    def create_update_rule(self):
        """Makes the update rule of a parameter."""
        return AdamRule(self.hyperparam)
