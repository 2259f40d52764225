"""The arithmetic of a multi-layer perceptron on float32 arrays, with the bits of Chainer's.

Results are written to the last arguments. ``compile_with_numba`` replaces what Numba makes faster.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import numpy
from numpy import ndarray
from numpy import ndarray as A  # noqa: N812

BLOCK_SIZE = 40960  # elements that Adam updates at a time: five arrays of them stay in the cache
FLOAT32, ZERO = numpy.dtype('f'), numpy.zeros((), 'f')


def is_float32(*arrays: object) -> bool:
    """Says whether all are float32 arrays of NumPy itself, in C order and not read-only."""
    for a in arrays:
        if type(a) is not ndarray or a.dtype != FLOAT32 or not a.flags.carray:
            return False
    return True


def add_bias(b: ndarray, y: ndarray) -> None:
    """Adds a bias to each row."""
    y += b


def sum_rows(gy: ndarray, gb: ndarray) -> None:
    """Sums over axis 0."""
    numpy.add.reduce(gy, 0, out=gb)


def relu(x: ndarray, y: ndarray) -> None:
    """Computes ReLU."""
    numpy.maximum(x, ZERO, out=y)


def relu_backward(y: ndarray, gy: ndarray, gx: ndarray) -> None:
    """Computes the gradient of ReLU's input."""
    numpy.multiply(gy, y > ZERO, out=gx)


def subtract_max(x: ndarray, top: ndarray, y: ndarray) -> None:
    """Subtracts from each row its maximum, ``top`` of shape (N, 1)."""
    numpy.maximum.reduce(x, 1, keepdims=True, out=top)
    numpy.subtract(x, top, out=y)


def log_softmax(x: A, top: A, log_s: A, t: A, y: A, log_p: A) -> bool:
    """Subtracts two columns, and picks each row's label, unless one is out of range."""
    numpy.subtract(x, top + log_s, out=y)
    if t.view('u4').max() >= x.shape[1]:
        return False
    log_p[:] = y[numpy.arange(len(t)), t]
    return True


def softmax_backward(t: ndarray, gx: ndarray) -> bool:
    """Subtracts 1 at each row's label, unless one is out of range."""
    if t.view('u4').max() >= gx.shape[1]:
        return False
    gx[numpy.arange(len(t)), t] -= 1
    return True


def count_hits(y: ndarray, t: ndarray) -> int:
    """Counts the rows whose maximum is at the label."""
    return numpy.count_nonzero(y.argmax(1) == t)


def adam(*arrays: ndarray) -> bool:
    """Updates a parameter: gradient, parameter, m and v of shape (N,), and numbers of shape ().

    The numbers are the step size, 1 - beta1, 1 - beta2 and eps.
    """
    g, p, m, v, step_size, rate1, rate2, eps = arrays
    if p.size > BLOCK_SIZE:
        for i in range(0, p.size, BLOCK_SIZE):
            adam(*[a[i : i + BLOCK_SIZE] for a in arrays[:4]], *arrays[4:])
        return True
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
    return True


def _add_bias(b: ndarray, y: ndarray) -> None:
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] += b[j]


def _sum_rows(gy: ndarray, gb: ndarray) -> None:
    gb[:] = 0
    for i in range(gy.shape[0]):
        for j in range(gy.shape[1]):
            gb[j] += gy[i, j]


def _relu(x: ndarray, y: ndarray) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] if x[i, j] > 0 or x[i, j] != x[i, j] else 0


def _relu_backward(y: ndarray, gy: ndarray, gx: ndarray) -> None:
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            gx[i, j] = gy[i, j] * numpy.float32(y[i, j] > 0)


def _subtract_max(x: ndarray, top: ndarray, y: ndarray) -> None:
    for i in range(x.shape[0]):
        top[i, 0] = x[i, 0]
        for j in range(1, x.shape[1]):
            if x[i, j] > top[i, 0] or x[i, j] != x[i, j]:
                top[i, 0] = x[i, j]
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] - top[i, 0]


def _log_softmax(x: A, top: A, log_s: A, t: A, y: A, log_p: A) -> bool:
    for i in range(x.shape[0]):
        log_z = top[i, 0] + log_s[i, 0]
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] - log_z
        if t[i] < 0 or t[i] >= x.shape[1]:
            return False
        log_p[i] = y[i, t[i]]
    return True


def _softmax_backward(t: ndarray, gx: ndarray) -> bool:
    for i in range(gx.shape[0]):
        if t[i] < 0 or t[i] >= gx.shape[1]:
            return False
        gx[i, t[i]] -= numpy.float32(1)
    return True


def _count_hits(y: ndarray, t: ndarray) -> int:
    hits = 0
    for i in range(y.shape[0]):
        best = 0
        for j in range(1, y.shape[1]):
            if y[i, j] > y[i, best] or (y[i, j] != y[i, j] and y[i, best] == y[i, best]):
                best = j
        hits += best == t[i]
    return hits


def _adam(g: A, p: A, m: A, v: A, step_size: A, rate1: A, rate2: A, eps: A) -> bool:
    finite = True
    for i in range(g.size):
        finite &= abs(g[i]) < numpy.float32(1e18)
    if not finite:
        return False
    for i in range(p.size):
        m[i] += rate1[()] * (g[i] - m[i])
        v[i] += rate2[()] * (g[i] * g[i] - v[i])
        p[i] -= step_size[()] / (numpy.sqrt(v[i]) + eps[()]) * m[i]
    return True


@functools.cache
def compile_with_numba() -> None:
    """Has Numba compile the kernels, where it is installed and works, if that changes no bit.

    Numba keeps what it has compiled in a cache where it finds a directory to write to.
    """
    for cache in (True, False):
        with contextlib.suppress(Exception):  # whatever Numba, LLVM and the disk raise
            import numba

            vector, matrix, labels = numba.float32[::1], numba.float32[:, ::1], numba.int32[::1]
            number = numba.types.Array(numba.float32, 0, 'C')
            types = {**dict.fromkeys('vrp', vector), 'm': matrix, 'c': matrix, 't': labels, 'a': number}
            for name, kinds in KERNELS.items():
                signature = tuple([types[kind] for kind in kinds])
                compiler = numba.njit([signature], error_model='numpy', cache=cache)
                compiled = compiler(globals()[f'_{name}'])
                if _same_bits(compiled, globals()[name], kinds):
                    globals()[name] = compiled
            return


def _same_bits(compiled: Callable, kernel: Callable, kinds: str) -> bool:
    """Tries both: a compiler could take a product and a sum for one operation."""
    random = numpy.random.RandomState(0)
    for k in (2, 10, 33):
        shapes = {'a': (), 'v': 50, 'r': k, 'p': 50 * k, 'm': (50, k), 'c': (50, 1), 't': 50}
        arrays = []
        for kind in kinds:
            array = random.uniform(0 if kind in 'apt' else -1, 1, shapes[kind])
            array = numpy.where(array < -0.5, -0.0, array)
            arrays.append((array * k).astype('i') if kind == 't' else array.astype('f'))
        copies = [array.copy() for array in arrays]
        if compiled(*arrays) != kernel(*copies):
            return False
        if any([a.tobytes() != b.tobytes() for a, b in zip(arrays, copies)]):
            return False
    return True


# The arguments of each: Adam's numbers, vectors of N, of K and of N * K positive numbers, matrices
# (N, K), columns (N, 1) and labels
KERNELS = {
    'add_bias': 'rm',
    'sum_rows': 'mr',
    'relu': 'mm',
    'relu_backward': 'mmm',
    'subtract_max': 'mcm',
    'log_softmax': 'mcctmv',
    'softmax_backward': 'tm',
    'count_hits': 'mt',
    'adam': 'ppppaaaa',
}
