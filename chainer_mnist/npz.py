"""Reads untrusted npz files: never unpickles, and takes no more memory than a file accounts for."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import zipfile
from collections.abc import Iterator
from typing import IO

from chainer_mnist.console import UserError

import numpy

MAX_HEADER_SIZE = 4096  # bytes, of each array
MIN_BUDGET = 16 << 20  # bytes that any file may unpack to
MAX_COMPRESSION_RATIO = 100  # of a file that unpacks to more

SAVE = 'save the arrays with numpy.savez'
# How files begin that are no npz files, what they are, and how to fix it.
MAGIC_NUMBERS = [
    (rb'\x89HDF', 'an HDF5 file', 'convert it with chainer.serializers.load_hdf5 and save_npz'),
    (rb'version https://git-lfs', 'a Git LFS pointer', 'run git lfs pull'),
    (rb'\x93NUMPY', 'a single array', SAVE),
    (rb'\x80\x02\x8a\nl\xfc|PK\x03\x04.{26}[^/]+/data\.pkl', 'a PyTorch file', SAVE),
    (rb'\x80[\x02-\x05]|\((dp|lp)|ccopy_reg\n|[]}]q\x00', 'a pickle, which can run code', SAVE),
    (rb'PK\x03\x04', 'a zip archive, truncated or without arrays', 'use another copy'),
    (rb'\x89PNG|\xff\xd8\xff|GIF8|.{4}ftyp', 'an image', 'use an npz file'),
    (rb'\s*<', 'a web page', 'download the file itself'),
    (rb'\s*[{\[]', 'a JSON file', 'use an npz file'),
    (rb'[\t\n\r -~]{8}', 'a text file', 'use an npz file'),
]


@contextlib.contextmanager
def reading_errors(path: str, fix: str = 'check the path, or use another copy') -> Iterator[None]:
    """Makes one ``UserError`` of whatever reading an untrusted file raises in the block."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        lines = str(getattr(error, 'strerror', None) or error).splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f'cannot read {path}: {reason}; {fix}') from None


class NpzReader:
    """The arrays of an npz file, for a ``with`` block.

    All methods raise ``UserError`` if the file cannot be read, is damaged or is no npz file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with reading_errors(path):
            if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe can hang
                raise ValueError('not a regular file')
            try:
                self._archive = zipfile.ZipFile(path)
            except zipfile.BadZipFile:
                raise _not_npz(path) from None
            infos = self._archive.infolist()
            budget = max(MIN_BUDGET, MAX_COMPRESSION_RATIO * os.path.getsize(path))
            if sum(info.file_size for info in infos) > budget:
                raise ValueError("declared size exceeds the file's")
        self._infos = {i.filename[:-4]: i for i in infos if i.filename.endswith('.npy')}
        self.names = list(self._infos)
        if not self.names:
            raise _not_npz(path)

    def __enter__(self) -> NpzReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._archive.close()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def header(self, name: str) -> tuple[tuple[int, ...], numpy.dtype]:
        """Reads the declared shape and dtype of an array."""
        with self._open(name) as member:
            content = io.BytesIO(member.read(MAX_HEADER_SIZE))
            numpy.lib.format.read_magic(content)
            # Later versions of the header are for structured arrays, and raise an error here.
            shape, _, dtype = numpy.lib.format.read_array_header_1_0(content)
            return shape, dtype

    def read(self, name: str) -> numpy.ndarray:
        """Reads an array, which must not be of objects, and checks its CRC."""
        shape, dtype = self.header(name)
        with self._open(name) as member:
            if math.prod(shape) * dtype.itemsize > self._infos[name].file_size:
                raise ValueError(f"declared size of {name} exceeds the file's")
            array = numpy.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):
                raise ValueError(f'trailing data in {name}')
            return array

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        with reading_errors(self.path):
            # NumPy uses no other compression, and zipfile does not bound the memory of others.
            if self._infos[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f'unsupported compression of {name}')
            with self._archive.open(self._infos[name]) as member:
                yield member


def _not_npz(path: str) -> UserError:
    with open(path, 'rb') as file:
        head = file.read(64)
    for magic, what, fix in MAGIC_NUMBERS:
        if re.match(magic, head, re.DOTALL):
            return UserError(f'{path} is {what}, not an npz file; {fix}')
    return UserError(f'{path} is not an npz file; use another file')
