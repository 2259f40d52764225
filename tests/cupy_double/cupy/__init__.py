"""A double of CuPy for tests on a machine without a GPU. It is not CuPy.

With the folder above this package on ``PYTHONPATH``, Chainer takes it for CuPy. It computes with
NumPy, offers what the MLP and Adam ask for and nothing else, and is strict about what CuPy is
strict about:

- A device array is no NumPy array. NumPy cannot convert it, and no operation takes both.
- Kernels are not imitated: ``_kernel`` compiles Chainer's own source for the host and runs it.
- An operation on arrays of another device than the current one is an error.
- What a program may ask for at a price, a copy to or from the device and a wait for it, is counted.

It does not prove that CUDA compiles the kernels, that cuBLAS computes what NumPy does, or anything
about speed. It never runs ahead of the program as a GPU does.

Environment variables:
    CUPY_DOUBLE: Folder for compiled kernels. At its end the process writes ``counts.json``
        there, with the number of the current device besides the counts.
    CUPY_DOUBLE_GPUS: Number of GPUs. 1 if it is not set.
    CUPY_DOUBLE_BYTES: The largest array that fits on a GPU. There is no limit if it is not set.
"""

import atexit
import functools
import json
import math
import os
import sys
import types

import numpy

from cupy import cuda

__version__ = '14.double'

# Copies to the device, copies back (each waits for the device), and waits without a copy.
counts = {'to device': 0, 'to host': 0, 'wait': 0}

# Chainer imports these, and this network calls nothing in them.
for _name in ('cupyx', 'cupyx.scipy', 'cupyx.scipy.linalg', 'cupyx.scipy.special', 'cupy._util'):
    sys.modules[_name] = types.ModuleType(_name)
sys.modules['cupy._util'].PerformanceWarning = Warning


@atexit.register
def _write_counts():
    with open(os.path.join(os.environ['CUPY_DOUBLE'], 'counts.json'), 'w') as file:
        json.dump({**counts, 'device': cuda.Device().id}, file)


def _method(name):
    def on_device(self, *args, **kwargs):
        return ndarray(getattr(_content(self), name)(*map(_content, args), **kwargs))

    return on_device


class ndarray:
    """An array on the device that was current when it was made."""

    __array_ufunc__ = None  # NumPy's operators leave the operation to the ones below
    __hash__ = None

    def __init__(self, content):
        self._content = numpy.asarray(content)
        self.device = cuda.Device()
        if self.nbytes > float(os.environ.get('CUPY_DOUBLE_BYTES', math.inf)):
            raise cuda.memory.OutOfMemoryError(f'Out of memory allocating {self.nbytes:,} bytes')

    def __array__(self, *args, **kwargs):
        raise TypeError('Implicit conversion to a NumPy array is not allowed')

    # What these say of an array is known without a look at the device.
    dtype = property(lambda self: self._content.dtype)
    flags = property(lambda self: self._content.flags)
    nbytes = property(lambda self: self._content.nbytes)
    ndim = property(lambda self: self._content.ndim)
    shape = property(lambda self: self._content.shape)
    size = property(lambda self: self._content.size)

    def __len__(self):
        return len(self._content)

    # Copies

    def get(self, stream=None):
        counts['to host'] += 1
        return self._content.copy()

    def item(self):
        if self.size != 1:
            raise TypeError('only an array of one element can be converted to a number')
        return self.get().item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    __index__ = __int__

    def __bool__(self):
        return bool(self.item())

    def __repr__(self):
        return repr(self.get())

    # Views and computation

    @property
    def T(self):
        return ndarray(_content(self).T)

    def reduced_view(self):
        if not self.flags.c_contiguous:
            raise NotImplementedError
        return self.reshape(-1)

    def __getitem__(self, index):
        if isinstance(index, numpy.ndarray):
            index = asarray(index)  # as CuPy does: it is no mistake, but it is a copy
        if isinstance(index, ndarray) and index.dtype.kind == 'i':
            return ndarray(_content(self)[_content(index)])
        if isinstance(index, slice):
            return ndarray(_content(self)[index])
        raise NotImplementedError(f'an index of {type(index)}')

    argmax = _method('argmax')
    astype = _method('astype')
    dot = _method('dot')
    max = _method('max')
    mean = _method('mean')
    reshape = _method('reshape')
    sum = _method('sum')


def _content(argument):
    """What NumPy is given for an argument of a function of CuPy."""
    if isinstance(argument, ndarray):
        if argument.device != cuda.Device():
            raise ValueError(f'an array is on {argument.device}, not on {cuda.Device()}')
        return argument._content
    if isinstance(argument, numpy.ndarray):
        raise TypeError(f'Unsupported type {type(argument)}')
    return argument


def _function(function):
    def on_device(*args, out=None, **kwargs):
        if out is None:
            return ndarray(function(*map(_content, args), **kwargs))
        function(*map(_content, args), out=_content(out), **kwargs)
        return out

    return on_device


def _ufunc(ufunc):
    """A ufunc that, as CuPy's, takes a Python number as one of the other operand's dtype."""
    on_device = _function(ufunc)

    def with_numbers(*args, **kwargs):
        dtype = next(a.dtype for a in args if isinstance(a, ndarray))
        return on_device(*(_number(a, dtype) for a in args), **kwargs)

    return with_numbers


def _number(a, dtype):
    if type(a) is int or (type(a) is float and dtype.kind == 'f'):
        return dtype.type(a)
    if isinstance(a, (ndarray, numpy.ndarray)):
        return a
    raise NotImplementedError(f'{a!r} with an array of {dtype}')


def _operators(name, ufunc):
    setattr(ndarray, f'__{name}__', lambda x, y: ufunc(x, y))
    setattr(ndarray, f'__r{name}__', lambda x, y: ufunc(y, x))
    setattr(ndarray, f'__i{name}__', lambda x, y: ufunc(x, y, out=x))


for _name, _of_numpy in (
    ('add', numpy.add),
    ('sub', numpy.subtract),
    ('mul', numpy.multiply),
    ('truediv', numpy.true_divide),
):
    _operators(_name, _ufunc(_of_numpy))
ndarray.__eq__ = _ufunc(numpy.equal)
ndarray.__ne__ = _ufunc(numpy.not_equal)

empty = _function(numpy.empty)
zeros = _function(numpy.zeros)
ones_like = _function(numpy.ones_like)
zeros_like = _function(numpy.zeros_like)
dot = _function(numpy.dot)
expand_dims = _function(numpy.expand_dims)
rollaxis = _function(numpy.rollaxis)
exp = _ufunc(numpy.exp)
log = _ufunc(numpy.log)
maximum = _ufunc(numpy.maximum)


def asarray(array):
    if isinstance(array, ndarray):
        return array
    counts['to device'] += 1
    return ndarray(numpy.array(array))


# What Chainer asks for besides arrays


def get_array_module(*args):
    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else numpy


def get_default_memory_pool():
    return None


def get_default_pinned_memory_pool():
    return None


def memoize(for_each_device=False):
    return functools.lru_cache(maxsize=None)


def fuse():
    """Chainer decorates functions of its recurrent networks when it is imported."""

    def decorate(function):
        def fused(*args):
            raise NotImplementedError(function.__name__)

        return fused

    return decorate


from cupy._kernel import ElementwiseKernel, ReductionKernel  # noqa: E402, F401  they take ndarray
