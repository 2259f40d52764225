"""The functions of a multi-layer perceptron on bare arrays.

Each returns ``None`` for what Chainer has to check or compute: other arrays, types, shapes and
options, numbers that are not finite, and methods that somebody has replaced.
"""

from __future__ import annotations

import math
import operator
from typing import Any, List, Optional, Tuple

from chainer_mnist.fast import kernels
from chainer_mnist.fast.kernels import FLOAT32, is_float32

import numpy
from chainer import FunctionNode, Variable
from chainer.functions.activation.relu import ReLU
from chainer.functions.connection.linear import LinearFunction
from chainer.functions.evaluation.accuracy import Accuracy
from chainer.functions.loss.softmax_cross_entropy import SoftmaxCrossEntropy
from chainer.variable import VariableNode
from numpy import ndarray

Gradients = Optional[List[Tuple[VariableNode, ndarray]]]


def forward(function: FunctionNode, arrays: list[ndarray]) -> ndarray | None:
    """Does what ``function.forward`` does, and the checks of types before it."""
    cls = type(function)
    if cls not in FUNCTIONS or _get_methods(cls) != METHODS[cls]:
        return None
    # It has its default options and no method of its own, and has not been applied before.
    if getattr(function, 'class_weight', None) is not None or vars(function) != DEFAULTS[cls]:
        return None
    return FUNCTIONS[cls][0](function, *arrays)


def backward(function: FunctionNode, y: VariableNode, gy: ndarray | Variable) -> Gradients:
    """Does what ``function.backward`` does, given the output and its gradient."""
    cls = type(function)
    if cls not in FUNCTIONS or _get_methods(cls) != METHODS[cls]:
        return None
    own, gy = vars(function), gy if type(gy) is ndarray else gy._data[0]
    if 'backward' in own or 'backward_accumulate' in own or '_local_function_hooks' in own or not is_float32(gy):
        return None
    return FUNCTIONS[cls][1](function, y._data, gy)


def _linear(function: LinearFunction, x: ndarray, *params: ndarray) -> ndarray | None:
    if not 1 <= len(params) <= 2 or not is_float32(x, *params):
        return None
    W, b = params[0], params[-1]  # noqa: N806
    if x.ndim != 2 or x.shape[1:] != W.shape[1:] or (b is not W and b.shape != W.shape[:1]):
        return None
    y = x.dot(W.T)
    if b is not W:
        kernels.add_bias(b, y)
    function._config_use_ideep = 'never'
    function.retain_inputs((0, 1))
    return y


def _linear_backward(function: LinearFunction, y: None, gy: ndarray) -> Gradients:
    inputs = function.inputs
    x, W = inputs[0]._data, inputs[1]._data  # noqa: N806
    # NumPy adds up a single column in another order.
    if not is_float32(x, W) or x.shape != (len(gy), W.shape[1]) or len(W) == 1:
        return None
    grads = []
    if inputs[0]._requires_grad:
        grads.append((inputs[0], gy.dot(W)))
    if inputs[1]._requires_grad:
        grads.append((inputs[1], gy.T.dot(x)))
    if len(inputs) == 3 and inputs[2]._requires_grad:
        grads.append((inputs[2], numpy.empty(len(W), 'f')))
        kernels.sum_rows(gy, grads[-1][1])
    return grads


def _relu(function: ReLU, x: ndarray, *more: ndarray) -> ndarray | None:
    if more or not is_float32(x) or x.ndim != 2:
        return None
    y = numpy.empty_like(x)
    kernels.relu(x, y)
    function.retain_outputs((0,))
    return y


def _relu_backward(function: ReLU, y: ndarray, gy: ndarray) -> Gradients:
    if not is_float32(y) or y.ndim != 2 or y.shape != gy.shape:
        return None
    gx = numpy.empty_like(gy)
    kernels.relu_backward(y, gy, gx)
    return [(function.inputs[0], gx)]


def _softmax_cross_entropy(function: SoftmaxCrossEntropy, *arrays: ndarray) -> ndarray | None:
    if not _are_scores_and_labels(*arrays):
        return None
    x, t = arrays
    y, top, log_p = numpy.empty_like(x), numpy.empty((len(t), 1), 'f'), numpy.empty(len(t), 'f')
    kernels.subtract_max(x, top, y)
    numpy.exp(y, out=y)
    s = numpy.add.reduce(y, 1, keepdims=True)
    numpy.log(s, out=s)
    coeff = numpy.float64(1 / len(t))
    if not kernels.log_softmax(x, top, s, t, y, log_p):
        return None
    loss = (numpy.add.reduce(log_p, keepdims=True) * -coeff).astype(FLOAT32, copy=False)
    if not math.isfinite(loss[0]):
        return None
    function.y, function._coeff = numpy.exp(y, out=y), coeff
    function.retain_inputs((0, 1))
    return loss.reshape(())


def _softmax_cross_entropy_backward(
    function: SoftmaxCrossEntropy, y: None, gy: ndarray
) -> Gradients:
    x, t = function.inputs
    if function.class_weight is not None or function.ignore_label != -1 or gy.shape != ():
        return None
    if not is_float32(function.y) or not _are_scores_and_labels(x._data, t._data):
        return None
    gx = function.y.copy()
    if not kernels.softmax_backward(t._data, gx):
        return None
    gx *= gy * function._coeff
    return [(x, gx)]


def _accuracy(function: Accuracy, *arrays: ndarray) -> ndarray | None:
    if not _are_scores_and_labels(*arrays):
        return None
    y, t = arrays
    return numpy.array(kernels.count_hits(y, t) / len(t), 'f')


def _are_scores_and_labels(*arrays: ndarray) -> bool:
    """Says whether these are float32 (N, K) and int32 (N,), and not empty."""
    if len(arrays) != 2 or type(arrays[1]) is not ndarray or not is_float32(arrays[0]):
        return False
    x, t = arrays
    return x.ndim == 2 and x.shape[:1] == t.shape and x.size and t.dtype == 'i' and t.flags.carray


_get_methods = operator.attrgetter(
    'check_type_forward', 'forward', 'forward_cpu', 'backward', 'backward_accumulate'
)
FUNCTIONS: dict[type, Any] = {
    LinearFunction: (_linear, _linear_backward),
    ReLU: (_relu, _relu_backward),
    SoftmaxCrossEntropy: (_softmax_cross_entropy, _softmax_cross_entropy_backward),
    Accuracy: (_accuracy, None),
}
DEFAULTS = {cls: vars(cls()) for cls in FUNCTIONS}
METHODS = {cls: _get_methods(cls) for cls in FUNCTIONS}
