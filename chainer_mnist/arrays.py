"""Arrays in files that nobody vouches for, members of npz and idx files, read piece by piece.

What a file claims to hold is looked at before it takes memory, and nothing is unpickled.
"""

import abc
import gzip
import io
import math
import os
import struct
import warnings
import zipfile

from chainer_mnist.npz import MOST_HEADER, open_member, read_header

import numpy

# No byte of a packed file unpacks to more than this many.
# Source: J. Gailly and M. Adler, https://zlib.net/zlib_tech.html
MOST_UNPACKED = 1032


class _Array(abc.ABC):
    """An array in a file.

    Making one reads what the array claims to be. Where the file is damaged, this and :meth:`pieces`
    raise ``ValueError`` or what zipfile, gzip, zlib and NumPy raise.

    Args:
        path (str): The file.

    Attributes:
        shape (tuple): The shape that it claims to have.
        dtype (numpy.dtype): Its type.

    """

    def __init__(self, path):
        self.path = path
        with self._open() as file:
            content = io.BytesIO(file.read(MOST_HEADER))
        self.shape, self._fortran_order, self.dtype = self._read_header(content)
        self._start = content.tell()
        if math.prod(self.shape) * self.dtype.itemsize > MOST_UNPACKED * os.path.getsize(path):
            raise ValueError(f'it is too short for an array of shape {self.shape}')

    @abc.abstractmethod
    def _open(self):
        """Opens what holds header and array."""

    @abc.abstractmethod
    def _read_header(self, content):
        """Reads shape, order and type."""

    def pieces(self, length):
        """Reads the array. Its shape and type are to be looked at before.

        Args:
            length (int): How many entries of its first axis make a piece.

        Yields:
            numpy.ndarray: The next piece, of shape (``length`` or less, ...). An array in Fortran's
            order comes in one.

        """
        whole, *rest = self.shape
        size = math.prod(rest) * self.dtype.itemsize
        if self._fortran_order:
            length = whole
        with self._open() as file:
            file.read(self._start)
            for start in range(0, whole, length):
                piece = min(length, whole - start)
                content = file.read(piece * size)
                if len(content) < piece * size:
                    raise ValueError('it ends too early')
                array = numpy.frombuffer(content, self.dtype)
                yield array.reshape((piece, *rest), order='F' if self._fortran_order else 'C')
            if file.read(1):  # at the end, zipfile and gzip check the CRC
                raise ValueError('it goes on after its end')


class NpzArray(_Array):
    """A member of an npz file.

    Args:
        path (str): The file.
        key (str): The name of the member.

    """

    def __init__(self, path, key):
        self._key = key
        super().__init__(path)

    def _open(self):
        with zipfile.ZipFile(self.path) as archive:  # the member stays open
            names = archive.namelist()
            if f'{self._key}.npy' not in names:
                raise ValueError(f'it holds no {self._key}')
            return open_member(archive, self._key)

    def _read_header(self, content):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # NumPy remarks on files that Python 2 wrote
            return read_header(content)


class IdxArray(_Array):
    """An idx file of bytes, packed by gzip or not.

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, http://yann.lecun.com/exdb/mnist/
    """

    def _open(self):
        with open(self.path, 'rb') as file:
            packed = file.read(2) == b'\x1f\x8b'  # some browsers unpack and keep the name
        return gzip.open(self.path) if packed else open(self.path, 'rb')

    def _read_header(self, content):
        zeros, kind, ndim = struct.unpack('>HBB', content.read(4))
        if (zeros, kind) != (0, 8):
            raise ValueError('it is no idx file of bytes')
        return struct.unpack(f'>{ndim}I', content.read(4 * ndim)), False, numpy.dtype('u1')
