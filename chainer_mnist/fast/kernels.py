"""The functions of a multi-layer perceptron on bare arrays, with the bits of Chainer's.

``forward`` and ``backward`` return ``None`` for what Chainer has to check or compute: other arrays,
types, shapes and options, numbers that are not finite, and methods that somebody has replaced.
``compile_with_numba`` replaces the arithmetic by what Numba makes of it.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from typing import Any, Optional

import numpy
from chainer import FunctionNode
from chainer.functions.activation.relu import ReLU
from chainer.functions.connection.linear import LinearFunction
from chainer.functions.evaluation.accuracy import Accuracy
from chainer.functions.loss.softmax_cross_entropy import SoftmaxCrossEntropy
from chainer.variable import VariableNode
from numpy import ndarray

BLOCK_SIZE = 40960  # elements that Adam updates at a time: five arrays of them stay in the cache
FLOAT32, INT32, ZERO = numpy.dtype('f'), numpy.dtype('i'), numpy.zeros((), 'f')
# In this type NumPy multiplies float32 by a float64: since NumPy 2, this is float64.
SCALE_TYPE = numpy.result_type(numpy.zeros(1, 'f'), numpy.float64(1)).type

Results = Optional[tuple[ndarray]]
Gradients = Optional[tuple[list[VariableNode], list[ndarray]]]


def is_float32(*arrays: object) -> bool:
    """Says whether all are float32 arrays of NumPy itself, in C order and not read-only."""
    for a in arrays:
        if type(a) is not ndarray or a.dtype != FLOAT32 or not a.flags.carray:
            return False
    return True


def forward(function: FunctionNode, arrays: list[ndarray]) -> Results:
    """Does what ``function.forward`` does, and the checks of types before it."""
    cls = type(function)
    try:
        if cls not in FUNCTIONS or _get_methods(function) != METHODS[cls]:
            return None
    except AttributeError:  # one was put into the object itself
        return None
    forward_kernel, backward_kernel = FUNCTIONS[cls]
    results = forward_kernel(function, *arrays)
    if results is not None:
        function._kernel = backward_kernel
    return results


def backward(function: FunctionNode, y: VariableNode, gy: Any) -> Gradients:
    """Does what ``function.backward`` does, given the output and its gradient."""
    attributes = vars(function)
    kernel, gy = attributes.get('_kernel'), gy if type(gy) is ndarray else gy._data[0]
    if kernel is None or 'backward' in attributes or 'backward_accumulate' in attributes:
        return None
    return kernel(function, y._data, gy) if is_float32(gy) else None


def _linear(function: LinearFunction, x: ndarray, *params: ndarray) -> Results:
    if not 1 <= len(params) <= 2 or not is_float32(x, *params):
        return None
    W, b = params[0], params[-1]  # noqa: N806
    if x.ndim != 2 or x.shape[1:] != W.shape[1:] or (b is not W and b.shape != W.shape[:1]):
        return None
    y = x.dot(W.T)
    if b is not W:
        add_bias(y, b)
    function._config_use_ideep = 'never'
    function.retain_inputs((0, 1))
    return (y,)


def _linear_backward(function: LinearFunction, y: None, gy: ndarray) -> Gradients:
    inputs = function.inputs
    x, W = inputs[0]._data, inputs[1]._data  # noqa: N806
    if not is_float32(x, W) or x.shape != (len(gy), W.shape[1]):
        return None
    nodes = [x for x in inputs if x._requires_grad]
    grads = []
    if inputs[0]._requires_grad:
        grads.append(gy.dot(W))
    if inputs[1]._requires_grad:
        grads.append(gy.T.dot(x))
    if inputs[2:] and inputs[2]._requires_grad:
        grads.append(sum_rows(gy) if len(W) > 1 else numpy.add.reduce(gy, 0))
    return nodes, grads


def _relu(function: ReLU, x: ndarray, *more: ndarray) -> Results:
    if more or not is_float32(x) or x.ndim != 2:
        return None
    function.retain_outputs((0,))
    return (relu(x),)


def _relu_backward(function: ReLU, y: ndarray, gy: ndarray) -> Gradients:
    if not is_float32(y) or y.ndim != 2 or y.shape != gy.shape:
        return None
    return [function.inputs[0]], [relu_backward(y, gy)]


def _softmax_cross_entropy(function: SoftmaxCrossEntropy, *arrays: ndarray) -> Results:
    if function.class_weight is not None or _get_options(function) != DEFAULTS:
        return None
    if not _are_scores_and_labels(*arrays) or not are_in_range(*arrays):
        return None
    x, t = arrays
    y, top = subtract_max(x)
    numpy.exp(y, out=y)
    s = numpy.add.reduce(y, 1, keepdims=True)
    numpy.log(s, out=s)
    y, log_p = log_softmax(x, top, s, t)
    coeff = numpy.float64(1 / len(t))
    loss = (numpy.add.reduce(log_p, keepdims=True) * -coeff).astype(FLOAT32, copy=False)
    if not math.isfinite(loss[0]):
        return None
    function.y, function._coeff = numpy.exp(y, out=y), coeff
    function.retain_inputs((0, 1))
    return (loss.reshape(()),)


_get_options = operator.attrgetter('normalize', 'cache_score', 'ignore_label', 'reduce')
DEFAULTS = _get_options(SoftmaxCrossEntropy())


def _softmax_cross_entropy_backward(function: Any, y: None, gy: ndarray) -> Gradients:
    x, t = [node._data for node in function.inputs]
    if not _are_scores_and_labels(x, t) or not is_float32(function.y) or function.ignore_label >= 0:
        return None
    if function.class_weight is not None or not are_in_range(x, t):
        return None  # Numba would write beyond the array
    gx = softmax_backward(function.y, t, SCALE_TYPE(gy * function._coeff))
    return [function.inputs[0]], [gx]


def _accuracy(function: Accuracy, *arrays: ndarray) -> Results:
    if function.ignore_label is not None or not _are_scores_and_labels(*arrays):
        return None
    y, t = arrays
    return (numpy.array(count_right(y, t) / len(t), 'f'),)


def _are_scores_and_labels(*arrays: ndarray) -> bool:
    """Says whether these are float32 (N, K) and int32 (N,), and not empty."""
    if len(arrays) != 2 or not is_float32(arrays[0]) or type(arrays[1]) is not ndarray:
        return False
    x, t = arrays
    if x.ndim != 2 or x.shape[:1] != t.shape or not x.size:
        return False
    return t.dtype == INT32 and t.flags.carray


FUNCTIONS: dict[type, Any] = {
    LinearFunction: (_linear, _linear_backward),
    ReLU: (_relu, _relu_backward),
    SoftmaxCrossEntropy: (_softmax_cross_entropy, _softmax_cross_entropy_backward),
    Accuracy: (_accuracy, None),
}
NAMES = ('check_type_forward', 'forward', 'forward_cpu', 'backward')
_get_methods = operator.attrgetter(*[f'{name}.__func__' for name in NAMES])
METHODS = {cls: _get_methods(cls()) for cls in FUNCTIONS}


def add_bias(y: ndarray, b: ndarray) -> None:
    """Adds a bias to each row, in place."""
    y += b


def relu(x: ndarray) -> ndarray:
    """Computes ReLU."""
    return numpy.maximum(x, ZERO)


def relu_backward(y: ndarray, gy: ndarray) -> ndarray:
    """Computes the gradient of ReLU's input."""
    return gy * (y > ZERO)


def sum_rows(gy: ndarray) -> ndarray:
    """Sums up the rows."""
    return numpy.add.reduce(gy, 0)


def numba_sum_rows(gy: ndarray) -> ndarray:
    """Does the same, except for a single column, which NumPy sums in another order."""
    s = numpy.zeros(gy.shape[1], FLOAT32)
    for i in range(len(gy)):
        for j in range(gy.shape[1]):
            s[j] += gy[i, j]
    return s


def are_in_range(x: ndarray, t: ndarray) -> bool:
    """Says whether each label, int32, is the number of a column."""
    return t.view(numpy.uint32).max() < x.shape[1]


def subtract_max(x: ndarray) -> tuple[ndarray, ndarray]:
    """Subtracts from each row its largest element. Returns the column of these, too."""
    top = numpy.maximum.reduce(x, 1, keepdims=True)
    return x - top, top


def numba_subtract_max(x: ndarray) -> tuple[ndarray, ndarray]:
    """Does the same, except that it may pass over NaN."""
    top = x[:, :1].copy()
    for i in range(len(x)):
        for j in range(x.shape[1]):
            top[i, 0] = max(top[i, 0], x[i, j])
    return x - top, top


def log_softmax(x: ndarray, top: ndarray, s: ndarray, t: ndarray) -> tuple[ndarray, ndarray]:
    """Subtracts two columns, and picks the element at the label of each row."""
    s += top
    y = x - s
    return y, y[numpy.arange(len(t)), t]


def softmax_backward(y: ndarray, t: ndarray, scale: Any) -> ndarray:
    """Subtracts 1 at the label of each row, and scales all."""
    gx = y.copy()
    gx[numpy.arange(len(t)), t] -= 1
    gx *= scale
    return gx


def count_right(y: ndarray, t: ndarray) -> Any:
    """Counts the rows whose largest element is at the label."""
    return numpy.count_nonzero(y.argmax(1) == t)


def numpy_adam(*arrays: Any) -> None:
    """Updates a parameter in place: gradient, parameter, m and v of shape (N,).

    The fifth argument holds the step size, 1 - beta1, 1 - beta2 and eps, as float32.
    """
    g, p, m, v, constants = arrays
    if p.size > BLOCK_SIZE:
        for i in range(0, p.size, BLOCK_SIZE):
            numpy_adam(*[a[i : i + BLOCK_SIZE] for a in arrays[:4]], constants)
        return
    step_size, rate1, rate2, eps = constants
    # m += rate1 * (g - m)
    s = g - m
    s *= rate1
    m += s
    # v += rate2 * (g * g - v)
    numpy.multiply(g, g, out=s)
    s -= v
    s *= rate2
    v += s
    # p -= step_size / (sqrt(v) + eps) * m
    numpy.sqrt(v, out=s)
    s += eps
    numpy.divide(step_size, s, out=s)
    s *= m
    p -= s


def numba_adam(g: ndarray, p: ndarray, m: ndarray, v: ndarray, constants: ndarray) -> bool:
    """Does the same in a single pass, unless the square of a gradient can overflow: then, true."""
    is_small = True
    for i in range(g.size):
        is_small &= abs(g[i]) < numpy.float32(1e18)
    if not is_small:
        return True
    step_size, rate1, rate2, eps = constants[0], constants[1], constants[2], constants[3]
    for i in range(p.size):
        m[i] += rate1 * (g[i] - m[i])
        v[i] += rate2 * (g[i] * g[i] - v[i])
        p[i] -= step_size / (numpy.sqrt(v[i]) + eps) * m[i]
    return False


adam: Any = numpy_adam

# Where there is a numba_NAME, Numba compiles that in place of NAME.
KERNELS = ['add_bias', 'relu', 'relu_backward', 'sum_rows', 'are_in_range', 'subtract_max']
KERNELS += ['log_softmax', 'softmax_backward', 'count_right', 'adam']


@functools.cache
def compile_with_numba() -> None:
    """Has Numba compile the kernels, where it is installed and works, if that changes no bit.

    Numba keeps what it has compiled in a cache where it finds a directory to write to.
    """
    before, expected = {name: globals()[name] for name in KERNELS}, _try_kernels()
    for cache in (True, False):
        with contextlib.suppress(Exception):  # whatever Numba, LLVM and the disk raise
            import numba

            for name in KERNELS:
                kernel = globals().get(f'numba_{name}', before[name])
                globals()[name] = numba.njit(kernel, error_model='numpy', cache=cache)
            if _try_kernels() == expected:
                return
        globals().update(before)


def _try_kernels() -> list[bytes]:
    """Returns what the kernels make of random numbers. A compiler could fuse two operations."""
    random = numpy.random.RandomState(0)
    x, y, z = numpy.maximum(random.standard_normal((3, 50, 33)), -1).astype('f')
    t, column = random.randint(0, 33, 50).astype('i'), x[:, :1].copy()
    add_bias(y, x[0])
    arrays = [x, y, z, relu(x), relu_backward(x, y), sum_rows(x)]
    arrays.append(softmax_backward(x, t, SCALE_TYPE(1 / 3)))
    arrays += [*log_softmax(x, column, column.copy(), t), *subtract_max(x)]
    constants = numpy.array([0.001, 0.1, 0.001, 1e-8], 'f')
    adam(*[a.reshape(-1) for a in (x, y, z, numpy.abs(x))], constants)
    arrays.append(numpy.array([are_in_range(x, t), count_right(x, x.argmax(1))]))
    return [a.tobytes() for a in arrays]
