"""The functions of a multi-layer perceptron on bare NumPy arrays, with the bits of Chainer's.

They are Chainer's own operations in Chainer's order, without what serves other arrays, iDeep,
``static_graph`` and labels to be ignored. A function here returns ``None`` where it does not know
the case.
"""

import numpy
from chainer.backends import intel64
from chainer.functions.activation.relu import ReLU
from chainer.functions.connection.linear import LinearFunction
from chainer.functions.loss.softmax_cross_entropy import (
    SoftmaxCrossEntropy,
    _SoftmaxCrossEntropyGrad_NoDoubleBackprop,
)

FLOAT32 = numpy.dtype('f')


def forward(function, inputs):
    """Computes what a function's ``forward`` does, and leaves in the function what that leaves.

    Args:
        function (chainer.FunctionNode): The function.
        inputs (list): Its input arrays.

    Returns:
        tuple: Its output arrays.

    """
    lean = FORWARD.get(type(function))
    outputs = None if lean is None else lean(function, *inputs)
    return function.forward(tuple(inputs)) if outputs is None else outputs


def backward(function, indexes, y, gy):
    """Computes the gradients of a function with one output, without those of the gradients.

    Args:
        function (chainer.FunctionNode): The function.
        indexes (tuple): The numbers of the inputs that require a gradient.
        y (array): The output, or ``None`` if the function does not retain it.
        gy (array): The gradient of the output.

    Returns:
        list: The gradients of those inputs, arrays. ``None`` if the function is not known here.

    """
    lean = BACKWARD.get(type(function))
    return None if lean is None else lean(function, indexes, y, gy)


def is_float32(array):
    """Says whether something is a NumPy array of float32, and not of a class derived from it."""
    return type(array) is numpy.ndarray and array.dtype == FLOAT32


def _linear(function, x, W, b=None):  # noqa: N803
    if not (is_float32(x) and is_float32(W) and x.ndim == W.ndim == 2 and x.flags.c_contiguous):
        return None
    y = x.dot(W.T)
    if b is not None:
        y += b
    function._config_use_ideep = 'never'  # it is not there: see below
    function.retain_inputs((0, 1))
    return (y,)


def _linear_backward(function, indexes, y, gy):
    x, W = [node._data for node in function.inputs[:2]]  # noqa: N806
    if not (is_float32(x) and is_float32(W) and is_float32(gy) and gy.flags.c_contiguous):
        return None
    if function.inputs[-1].dtype != FLOAT32:
        return None
    gradients = (lambda: gy.dot(W), lambda: gy.T.dot(x), lambda: numpy.add.reduce(gy, 0))
    return [gradients[i]() for i in indexes]


def _relu_backward(function, indexes, y, gy):
    return [gy * (y > 0)] if is_float32(y) and is_float32(gy) and y.ndim else None


def _softmax_cross_entropy(function, x, t):
    f = function
    if f.class_weight is not None or not f.cache_score or f.reduce != 'mean' or not f.normalize:
        return None
    if not (is_float32(x) and t.dtype.kind == 'i' and x.ndim == 2 and t.shape == x.shape[:1]):
        return None
    if len(t) == 0 or f.ignore_label in t:
        return None
    log_z = x.max(axis=1, keepdims=True)
    y = x - log_z
    numpy.exp(y, out=y)
    s = y.sum(axis=1, keepdims=True)
    numpy.log(s, out=s)
    log_z += s
    log_y = numpy.subtract(x, log_z, out=y)
    f.y = numpy.exp(log_y)
    log_p = log_y.T[t, numpy.arange(len(t))]
    f._coeff = numpy.float64(1 / len(t))
    loss = log_p.sum(keepdims=True) * -f._coeff
    f.retain_inputs((0, 1))
    return (loss.astype(FLOAT32, copy=False).reshape(()),)


def _softmax_cross_entropy_backward(function, indexes, y, gy):
    f = function
    x, t = [node._data for node in f.inputs]
    if not (is_float32(x) and x.size and type(t) is numpy.ndarray and indexes == (0,)):
        return None
    grad = _SoftmaxCrossEntropyGrad_NoDoubleBackprop(
        f.ignore_label, f.class_weight, f.y, f._coeff, f.soft_target
    )
    return grad.forward_cpu((x, t, gy))


FORWARD = {LinearFunction: _linear, SoftmaxCrossEntropy: _softmax_cross_entropy}
BACKWARD = {
    LinearFunction: _linear_backward,
    ReLU: _relu_backward,
    SoftmaxCrossEntropy: _softmax_cross_entropy_backward,
}
if intel64.is_ideep_available():  # it computes otherwise, where it is asked to
    FORWARD, BACKWARD = {}, {}
