"""What makes the training loop fast. For a given number of BLAS threads it changes no bit."""

import contextlib
import os
import weakref

import chainer
import numpy
import threadpoolctl
from chainer import FunctionNode, Variable, optimizers, variable

# Elements that Adam works on at a time: five arrays of them stay in a cache of 1 MiB.
BLOCK = 40960

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
    threads = None
    if units < UNITS_FOR_THREADS and not any(os.environ.get(name) for name in THREAD_VARIABLES):
        threads = 1
    with contextlib.ExitStack() as stack:
        stack.enter_context(threadpoolctl.threadpool_limits(threads, user_api='blas'))
        if not chainer.is_debug():
            # Every mini-batch has the types of the one before, so that they need no check.
            stack.enter_context(chainer.using_config('type_check', False))
            _replace(stack, FunctionNode, 'apply', _apply)
            _replace(stack, variable, '_check_grad_type', lambda *args: None)
        yield


def _replace(stack, owner, name, new):
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, new)


def _apply(self, inputs):
    """Does for NumPy and CuPy what ``FunctionNode.apply`` does for all kinds of arrays.

    The graph is the same. What is left out are the checks, the hooks and the choice of a device, at
    18 functions in each iteration, forward and backward.
    """
    inputs = [chainer.as_variable(x) for x in inputs]
    arrays = self.forward(tuple([x.raw_array for x in inputs]))
    requires_grad = any(x.requires_grad for x in inputs)
    outputs = tuple([Variable._init_unchecked(y, requires_grad=requires_grad) for y in arrays])
    if chainer.config.enable_backprop:
        self.rank = max([x.rank for x in inputs])
        for y in outputs:
            y.creator_node = self
        self.inputs = tuple([x.node for x in inputs])
        self.outputs = tuple([weakref.ref(y.node) for y in outputs])
        self._input_layouts = (None,) * len(inputs)
        self._output_layouts = (None,) * len(outputs)
        self._output_count = len(outputs)
        for i in self._input_indexes_to_retain or ():
            inputs[i].retain_data()
        for i in self._output_indexes_to_retain or ():
            outputs[i].retain_data()
        if self._output_indexes_to_retain is not None:
            self._retained_output_data = tuple([arrays[i] for i in self._output_indexes_to_retain])
    return outputs


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
        # Arrays of shape () are what NumPy takes fastest.
        beta1, beta2 = numpy.array(1 - self.beta1, 'f'), numpy.array(1 - self.beta2, 'f')
        eps = numpy.array(self.eps, 'f')
        alpha_t = {}  # by t, which is the same for all parameters but in odd snapshots
        for param in self.target.params():
            rule = param.update_rule
            rule.t += 1
            if rule.state is None:
                rule._init_states(param)
            if rule.t not in alpha_t:
                alpha_t[rule.t] = numpy.array(rule.alpha_t, 'f')
            arrays = param.array, param.grad, rule.state['m'], rule.state['v']
            for p, g, m, v in _blocks(arrays):
                # m += (1 - beta1) * (g - m)
                s = g - m
                s *= beta1
                m += s
                # v += (1 - beta2) * (g * g - v)
                numpy.multiply(g, g, s)
                s -= v
                s *= beta2
                v += s
                # p -= alpha_t / (sqrt(v) + eps) * m
                numpy.sqrt(v, s)
                s += eps
                numpy.divide(alpha_t[rule.t], s, s)
                s *= m
                p -= s


def _blocks(arrays):
    # In another order than C's, a flat array is a copy, and what is done to it would be lost.
    if arrays[0].size <= BLOCK or not all(a.flags.c_contiguous for a in arrays):
        return [arrays]
    flat = [a.reshape(-1) for a in arrays]
    return [[a[i : i + BLOCK] for a in flat] for i in range(0, flat[0].size, BLOCK)]
