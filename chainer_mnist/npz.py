"""Reads npz files that nobody vouches for.

``chainer.serializers.load_npz`` unpickles what it finds in a file. Here nothing but plain arrays is
read, and what a member claims to be is looked at before it takes memory.
"""

import contextlib
import io
import math
import os
import warnings
import zipfile

from chainer_mnist.errors import UserError
from chainer_mnist.streams import hint

import numpy

# What the header of a member may take, in bytes.
MOST_HEADER = 4096

# How many times the length of the file an array may have.
MOST_PACKED = 100


@contextlib.contextmanager
def open_npz(path):
    """Opens an npz file for a ``with`` block, within which whatever is wrong with it is one error.

    Args:
        path (str): The file.

    Yields:
        Npz: Its arrays.

    Raises:
        UserError: If it cannot be read, is no npz or is damaged.

    """
    try:
        # Opening a pipe or a device can hang.
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError(f'{path} is not a file; give the path of a snapshot')
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter('ignore')  # NumPy remarks on files that Python 2 wrote
            npz = Npz(path, archive)
            yield npz
        if npz.casts:
            hint(f'{path} holds {" and ".join(sorted(npz.casts))}')
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f'cannot read {path}: {error.strerror or error}; give the path of a snapshot'
        ) from None
    except Exception as error:  # whatever a damaged file makes zipfile and NumPy raise
        reason = str(error).split('\n')[0] or type(error).__name__
        raise UserError(
            f'{path} is damaged or not a snapshot ({reason}); give another file'
        ) from None


class Npz:
    """An npz file that is not trusted.

    Where it is damaged, its methods raise ``ValueError`` or what zipfile and NumPy raise.

    Attributes:
        path (str): The file.
        keys (set): The names of its arrays.
        casts (set): What it holds in place of the types that are wanted, as text.

    """

    def __init__(self, path, archive):
        self.path = path
        self.casts = set()
        self._archive = archive
        self.keys = {name[: -len('.npy')] for name in archive.namelist() if name.endswith('.npy')}

    def __contains__(self, key):
        return key in self.keys

    def count(self, key, most):
        """Reads a whole number, 0 to ``most``."""
        shape, dtype = self.header(key)
        if shape != () or dtype.kind not in 'iu':
            raise ValueError(f'{key} is not a whole number')
        number = int(self._array(key, shape, dtype))
        if not 0 <= number <= most:
            raise ValueError(f'{key} is {number}')
        return number

    def under(self, key):
        """The names that stand under ``key``: those of an optimizer's state."""
        return {k[len(key) + 1 :] for k in self.keys if k.startswith(f'{key}/')}

    def like(self, key, array):
        """Reads an array of the shape of another one, and casts it to its type."""
        if key not in self:
            raise UserError(f'{self.path} holds no {key}; give a file of the same network')
        shape, dtype = self.header(key)
        if array.shape == () and array.dtype.kind in 'iu':
            return self.count(key, numpy.iinfo(array.dtype).max)
        if shape != array.shape or dtype.kind != array.dtype.kind:
            raise UserError(
                f'{self.path} holds {key} as {dtype} of shape {shape}, not {array.dtype} of '
                f'{array.shape}; give a file of the same network'
            )
        return self._cast(key, self._array(key, shape, dtype), array.dtype)

    def array(self, key):
        """Reads numbers of any shape: weights for which nothing but the file vouches."""
        shape, dtype = self.header(key)
        if dtype.kind != 'f':
            raise ValueError(f'{key} is not of floats')
        # Weights are noise to a compressor: what claims to be far more than the file, lies.
        if math.prod(shape) * dtype.itemsize > MOST_PACKED * os.path.getsize(self.path):
            raise ValueError(f'it is too short for {key} of shape {shape}')
        return self._cast(key, self._array(key, shape, dtype), numpy.dtype('f'))

    def _cast(self, key, array, dtype):
        """Casts as Chainer does, but not to infinity."""
        if dtype.kind != 'f':
            return array
        if not numpy.isfinite(array).all():
            raise UserError(f'{self.path} holds NaN or infinity in {key}; give an earlier snapshot')
        if array.dtype == dtype:
            return array
        name = ('big-endian ' if array.dtype.str[0] == '>' else '') + array.dtype.name
        self.casts.add(f'{name}: cast to {dtype.name}')
        with numpy.errstate(over='ignore'):
            cast = array.astype(dtype)
        if not numpy.isfinite(cast).all():
            raise UserError(
                f'{self.path} holds numbers in {key} that are too large for {dtype.name}; '
                'give an earlier snapshot'
            )
        return cast

    def header(self, key):
        """Reads what a member claims to be: its shape and dtype."""
        content = io.BytesIO(self._read(key, MOST_HEADER))
        version = numpy.lib.format.read_magic(content)
        if version == (1, 0):
            shape, _, dtype = numpy.lib.format.read_array_header_1_0(content)
        else:
            shape, _, dtype = numpy.lib.format.read_array_header_2_0(content)
        return shape, dtype

    def _array(self, key, shape, dtype):
        """Reads a member that claims to be of a shape and a dtype that are wanted."""
        most = math.prod(shape) * dtype.itemsize + MOST_HEADER
        # Reading on to the end checks the CRC.
        content = io.BytesIO(self._read(key, most))
        array = numpy.lib.format.read_array(content, allow_pickle=False)
        if content.read():
            raise ValueError(f'{key} is too long')
        return array

    def _read(self, key, most):
        """Reads the bytes of a member, ``most`` of them at most."""
        info = self._archive.getinfo(f'{key}.npy')
        # NumPy uses no other compression, and zipfile does not bound the memory that others take.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f'{key} is compressed in a way that NumPy does not use')
        with self._archive.open(info) as member:
            return member.read(most)
