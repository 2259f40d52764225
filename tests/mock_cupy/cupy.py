"""A mock CuPy for tests on a machine without a GPU: it computes with NumPy.

With its folder on ``PYTHONPATH``, Chainer takes it for CuPy. It offers what the MLP and Adam use
and nothing else, and it is strict where CuPy is:

- A device array is no NumPy array. NumPy cannot convert it, and no operation takes both.
- An operation on arrays of another device than the current one is an error.

``counts`` has the copies to the device, the copies back and the waits for the device. Chainer's
CUDA kernels are written again in NumPy: what CUDA makes of them, and how fast, only a GPU shows.
``calls`` has each function that was called, the number of its arguments, and its keywords.

Environment variables:
    MOCK_CUPY_GPUS: Number of GPUs. 1 if it is not set.
    MOCK_CUPY_BYTES: Size of the largest array that fits on a GPU. No limit if it is not set.
"""

import functools
import math
import operator
import os
import sys
import types

import numpy

__version__ = '14.mock'

calls = set()
counts = {'to device': 0, 'to host': 0, 'wait': 0}


class OutOfMemoryError(MemoryError):
    pass


class Device:
    """A GPU: the current one if no number is given."""

    _current = 0

    def __init__(self, device=None):
        self.id = Device._current if device is None else device
        self._previous = []

    def use(self):
        count = int(os.environ.get('MOCK_CUPY_GPUS', 1))
        if self.id >= count:
            error = 'InvalidDevice: invalid device ordinal' if count else 'NoDevice: no device'
            raise RuntimeError(f'cudaError{error}')
        Device._current = self.id

    def synchronize(self):
        counts['wait'] += 1

    def __enter__(self):
        self._previous.append(Device._current)
        self.use()
        return self

    def __exit__(self, *_):
        Device._current = self._previous.pop()

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id


class ndarray(numpy.lib.mixins.NDArrayOperatorsMixin):
    """An array on the device that was current when it was made."""

    __hash__ = None

    def __init__(self, host):
        self._host = numpy.asarray(host)
        self.device = Device()
        if self.nbytes > float(os.environ.get('MOCK_CUPY_BYTES', math.inf)):
            raise OutOfMemoryError(f'Out of memory allocating {self.nbytes:,} bytes')

    def __array__(self, *args, **kwargs):
        raise TypeError('Implicit conversion to a NumPy array is not allowed')

    def __array_ufunc__(self, ufunc, method, *args, out=(), **kwargs):
        dtype = next(a.dtype for a in args if isinstance(a, ndarray))
        # A Python number has the dtype of the other operand, also on NumPy 1.
        args = [dtype.type(a) if type(a) in (int, float) else _host(a) for a in args]
        result = ufunc(*args, out=tuple(map(_host, out)) or None, **kwargs)
        return out[0] if out else ndarray(result)

    # These are known without a copy from the device.
    dtype, flags, nbytes, ndim, shape, size = (
        property(operator.attrgetter(f'_host.{name}'))
        for name in ('dtype', 'flags', 'nbytes', 'ndim', 'shape', 'size')
    )

    def __len__(self):
        return len(self._host)

    def get(self, stream=None):
        counts['to host'] += 1
        return self._host.copy()

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        return bool(self.get())

    def __getitem__(self, index):
        if isinstance(index, numpy.ndarray):
            index = asarray(index)  # as CuPy does: no mistake, but a copy
        if isinstance(index, (ndarray, slice)):
            return ndarray(_host(self)[_host(index)])
        raise NotImplementedError(f'an index of {type(index)}')


def _host(argument):
    """What NumPy gets for an argument of a function of CuPy."""
    if isinstance(argument, numpy.ndarray):
        raise TypeError(f'Unsupported type {type(argument)}')
    if not isinstance(argument, ndarray):
        return argument
    if argument.device != Device():
        raise ValueError(f'an array is on GPU {argument.device.id}, not on GPU {Device().id}')
    return argument._host


def _on_device(name):
    function = operator.attrgetter(name)(numpy)

    def call(*args, **kwargs):
        calls.add((name, len(args), *kwargs))
        out = kwargs.pop('out', None)
        if out is not None:
            function(*map(_host, args), out=_host(out), **kwargs)
            return out
        return ndarray(function(*map(_host, args), **kwargs))

    return call


for _name in ('argmax', 'astype', 'dot', 'max', 'mean', 'reshape', 'sum'):
    setattr(ndarray, _name, _on_device(f'ndarray.{_name}'))
ndarray.T = property(_on_device('ndarray.transpose'))
ndarray.reduced_view = _on_device('ravel')
for _name in ('dot', 'empty', 'exp', 'expand_dims', 'log', 'maximum', 'ones_like', 'rollaxis'):
    globals()[_name] = _on_device(_name)
zeros, zeros_like = _on_device('zeros'), _on_device('zeros_like')


def asarray(a):
    if isinstance(a, ndarray):
        return a
    counts['to device'] += 1
    return ndarray(numpy.array(a))


# Kernels: from their inputs to their output, except for Adam's, which has three


def _relu_bwd(y, gy):
    return gy * (y > 0)


def _crossent_fwd(t, log_y, n_channel, coeff, ignore_label):
    return -coeff * log_y.reshape(-1, n_channel)[range(len(t)), t].sum()


def _softmax_crossent_bwd(y, t, gloss, coeff, n_channel, n_unit, ignore_label):
    return gloss * coeff * (y - (numpy.arange(n_channel) == t).astype(y.dtype))


def _adam(
    grad, alpha_t, one_minus_beta1, one_minus_beta2, eps, eta, weight_decay_rate, dummy, param, m, v
):
    m += one_minus_beta1 * (grad - m)
    v += one_minus_beta2 * (grad * grad - v)
    param -= eta * (alpha_t * m / (numpy.sqrt(v) + eps) + weight_decay_rate * param)


class ElementwiseKernel:
    def __init__(self, *source):
        self._kernel = globals()[f'_{source[-1]}']

    def __call__(self, *args):
        return ndarray(self._kernel(*map(_host, args)))


ReductionKernel = ElementwiseKernel

# What Chainer imports besides


def get_array_module(*args):
    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else numpy


def get_default_memory_pool():
    return None


get_default_pinned_memory_pool = get_default_memory_pool


def memoize(for_each_device=False):
    return functools.lru_cache(maxsize=None)


def fuse():
    return lambda function: function


cuda = types.ModuleType('cupy.cuda')
cuda.Device, cuda.Event, cuda.Stream, cuda.cublas = Device, None, None, None
cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
sys.modules['cupy.cuda'] = cuda
for _name in ('cupyx', 'cupyx.scipy', 'cupyx.scipy.linalg', 'cupyx.scipy.special', 'cupy._util'):
    sys.modules[_name] = types.ModuleType(_name)
sys.modules['cupy._util'].PerformanceWarning = Warning
