"""Arrays in a file that nobody vouches for, whatever its format."""

import math
import os

from chainer_mnist import limits, trainer
from chainer_mnist.errors import UserError

import numpy


class Stored:
    """Arrays in a file that is not trusted.

    Where the file is damaged, its methods raise ``ValueError`` or what the libraries raise that
    read it. Each format is a subclass, with the methods ``_header`` and ``_array`` that look up an
    array by its name.

    Args:
        path (str): The file.
        names (iterable): The names of its arrays.

    Attributes:
        path (str): The file.
        keys (set): The keys of model and optimizer. They are the names of the arrays, but not in a
            snapshot of Chainer's Trainer.
        casts (set): What has been cast, as text.

    """

    def __init__(self, path, names):
        self.path = path
        self.casts = set()
        keys = trainer.keys(names)
        self.keys = set(keys)
        self._names = {**{name: name for name in names}, **keys}

    def __contains__(self, key):
        return key in self._names

    def under(self, key):
        """The names that stand under ``key``: those of an optimizer's state."""
        return {k[len(key) + 1 :] for k in self.keys if k.startswith(f'{key}/')}

    def header(self, key):
        """Reads what an array claims to be: its shape and dtype."""
        if key not in self:
            raise UserError(f'{self.path} holds no {key}; give another file')
        return self._header(self._names[key])

    def array(self, key):
        """Reads numbers of any shape: weights for which nothing but the file vouches."""
        shape, dtype = self.header(key)
        if dtype.kind not in 'biuf':
            raise ValueError(f'{key} is not of numbers')
        # Weights are noise to a compressor: what claims to be far more than the file lies.
        if math.prod(shape) * dtype.itemsize > limits.PACKED * os.path.getsize(self.path):
            raise ValueError(f'it is too short for {key} of shape {shape}')
        return self._cast(key, self._found(key), numpy.dtype('f') if dtype.kind == 'f' else dtype)

    def count(self, key, most):
        """Reads a whole number, 0 to ``most``."""
        shape, dtype = self.header(key)
        if shape != () or dtype.kind not in 'biu':
            raise ValueError(f'{key} is not a whole number')
        number = int(self._found(key))
        if not 0 <= number <= most:
            raise ValueError(f'{key} is {number}')
        return number

    def text(self, key):
        """Reads a text."""
        shape, dtype = self.header(key)
        if shape != () or dtype.kind not in 'SU' or dtype.itemsize > limits.TEXT:
            raise ValueError(f'{key} is not a text that can be a log')
        text = self._found(key)[()]
        return text.decode() if dtype.kind == 'S' else str(text)  # Python 2 wrote bytes

    def like(self, key, array):
        """Reads an array of the shape of another one, and casts it to its type."""
        if key not in self:
            raise UserError(f'{self.path} holds no {key}; give a file of the same network')
        shape, dtype = self.header(key)
        if array.shape == () and array.dtype.kind in 'iu':
            return self.count(key, numpy.iinfo(array.dtype).max)
        if (shape, dtype.kind) != (array.shape, array.dtype.kind):
            raise UserError(
                f'{self.path} holds {key} as {dtype} of shape {shape}, not {array.dtype} of '
                f'{array.shape}; give a file of the same network'
            )
        return self._cast(key, self._found(key), array.dtype)

    def _header(self, name):
        raise NotImplementedError

    def _array(self, name, shape, dtype):
        raise NotImplementedError

    def _found(self, key):
        return self._array(self._names[key], *self.header(key))

    def _cast(self, key, found, dtype):
        """Casts as Chainer does, but to no other numbers."""
        if dtype.kind == 'f' and not numpy.isfinite(found).all():
            raise UserError(f'{self.path} holds NaN or infinity in {key}; give an earlier snapshot')
        if found.dtype == dtype:
            return found
        with numpy.errstate(over='ignore'):
            cast = found.astype(dtype)
        if not (numpy.isfinite(cast) if dtype.kind == 'f' else cast == found).all():
            raise UserError(
                f'{self.path} holds numbers in {key} that are too large for {dtype}; give an '
                'earlier snapshot'
            )
        order = 'big-endian ' if found.dtype.str[0] == '>' else ''
        self.casts.add(f'{order}{found.dtype.name}: cast to {dtype}')
        return cast
