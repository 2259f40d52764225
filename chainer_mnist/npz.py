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


def open_member(archive, name):
    """Opens an array in an npz file.

    Args:
        archive (zipfile.ZipFile): The file.
        name (str): The name of the array.

    Returns:
        file: Its header and its content. It stays open when the archive is closed.

    Raises:
        KeyError: If there is none.
        ValueError: If it is packed in a way that could fill the memory.

    """
    info = archive.getinfo(f'{name}.npy')
    # NumPy uses no other compression, and zipfile does not bound the memory that others take.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f'{name} is compressed in a way that NumPy does not use')
    return archive.open(info)


def read_header(content):
    """Reads what an array claims to be.

    Args:
        content (file): The beginning of the array, of :data:`MOST_HEADER` bytes or less.

    Returns:
        tuple: Its shape, whether it is in Fortran's order, and its dtype.

    """
    if numpy.lib.format.read_magic(content) == (1, 0):
        return numpy.lib.format.read_array_header_1_0(content)
    return numpy.lib.format.read_array_header_2_0(content)


class Npz(Stored):
    """The arrays of an npz file."""

    def __init__(self, path, archive):
        names = [name[: -len('.npy')] for name in archive.namelist() if name.endswith('.npy')]
        super().__init__(path, names)
        self._archive = archive

    def _header(self, name):
        shape, _, dtype = read_header(io.BytesIO(self._read(name, MOST_HEADER)))
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
        with open_member(self._archive, name) as member:
            return member.read(most)
