"""What makes the training loop fast, and changes no bit of its result."""

import contextlib
import os

import chainer_compat  # noqa: F401  Chainer does not import without it
import chainer
import numpy
import threadpoolctl
from chainer import optimizers

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


class Adam(optimizers.Adam):
    """Chainer's Adam with its defaults, worked out in place and block by block on the CPU.

    The operations and their order are Chainer's, and so are the bits of the result and the
    snapshot. What Chainer does for every parameter to serve other devices, hooks and other kinds of
    Adam, is left out. On a GPU all is as in Chainer.
    """

    def update(self, lossfun=None, *args, **kwds):
        """Updates the parameters, as ``chainer.optimizers.Adam.update`` does.

        Args:
            lossfun (callable): Computes the loss. ``None`` takes the gradients that are there.
            args: Its arguments.
            kwds: Its keyword arguments.

        """
        if self.target.xp is not numpy:
            super().update(lossfun, *args, **kwds)
            return
        if lossfun is not None:
            loss = lossfun(*args, **kwds)
            self.target.cleargrads()
            loss.backward()
            del loss
        self.t += 1
        alpha_t = t = None
        for param in self.target.params():
            rule = param.update_rule
            rule.t += 1
            if rule.state is None:
                rule._init_states(param)
            if rule.t != t:  # which is the same for all, but in odd snapshots
                t, alpha_t = rule.t, rule.alpha_t
            self._step(param.array, param.grad, rule.state['m'], rule.state['v'], alpha_t)

    def _step(self, array, grad, m, v, alpha_t):
        beta1, beta2, eps = 1 - self.beta1, 1 - self.beta2, self.eps
        flat = [a.reshape(-1) for a in (array, grad, m, v)]
        scratch = numpy.empty(min(BLOCK, array.size), numpy.float32)
        for i in range(0, array.size, BLOCK):
            p, g, m, v = (a[i : i + BLOCK] for a in flat)
            s = scratch[: len(p)]
            # m += (1 - beta1) * (g - m)
            numpy.subtract(g, m, out=s)
            s *= beta1
            m += s
            # v += (1 - beta2) * (g * g - v)
            numpy.multiply(g, g, out=s)
            s -= v
            s *= beta2
            v += s
            # p -= alpha_t / (sqrt(v) + eps) * m
            numpy.sqrt(v, out=s)
            s += eps
            numpy.divide(alpha_t, s, out=s)
            s *= m
            p -= s
