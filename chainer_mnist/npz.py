"""Reads npz files that nobody vouches for.

``chainer.serializers.load_npz`` unpickles what it finds in a file. Here nothing but plain arrays is
read, and what a member claims to be is looked at before it takes memory.
"""

import contextlib
import io
import math
import zipfile

from chainer_mnist.stored import Stored

import numpy

# What the header of a member may take, in bytes.
MOST_HEADER = 4096


@contextlib.contextmanager
def open_npz(path):
    """Opens an npz file for a ``with`` block.

    Args:
        path (str): The file.

    Yields:
        Npz: Its arrays.

    Raises:
        Exception: Whatever zipfile raises if it is none.

    """
    with zipfile.ZipFile(path) as archive:
        yield Npz(path, archive)


class Npz(Stored):
    """The arrays of an npz file."""

    def __init__(self, path, archive):
        names = [name[: -len('.npy')] for name in archive.namelist() if name.endswith('.npy')]
        super().__init__(path, names)
        self._archive = archive

    def _header(self, name):
        content = io.BytesIO(self._read(name, MOST_HEADER))
        version = numpy.lib.format.read_magic(content)
        if version == (1, 0):
            shape, _, dtype = numpy.lib.format.read_array_header_1_0(content)
        else:
            shape, _, dtype = numpy.lib.format.read_array_header_2_0(content)
        return shape, dtype

    def _array(self, name, shape, dtype):
        most = math.prod(shape) * dtype.itemsize + MOST_HEADER
        # Reading on to the end checks the CRC.
        content = io.BytesIO(self._read(name, most))
        array = numpy.lib.format.read_array(content, allow_pickle=False)
        if content.read():
            raise ValueError(f'{name} is too long')
        return array

    def _read(self, name, most):
        """Reads the bytes of a member, ``most`` of them at most."""
        info = self._archive.getinfo(f'{name}.npy')
        # NumPy uses no other compression, and zipfile does not bound the memory that others take.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f'{name} is compressed in a way that NumPy does not use')
        with self._archive.open(info) as member:
            return member.read(most)
