"""Reads untrusted files: npz without unpickling, and no more memory than a file accounts for."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from collections.abc import Iterator, Set

from chainer_mnist.console import UserError

import numpy

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
    (rb'', 'a file of an unknown kind', 'use another file'),
]


@contextlib.contextmanager
def reading_errors(path: str, fix: str = 'use another copy') -> Iterator[None]:
    """Makes one ``UserError`` of whatever reading a file raises in the block.

    It has to be a regular file: opening a pipe can hang, and a device may never end.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError('not a regular file')
        yield
    except UserError:
        raise
    except Exception as error:
        fix = 'check the path' if isinstance(error, FileNotFoundError) else fix
        reason = str(getattr(error, 'strerror', None) or error).partition('\n')[0][:200]
        raise UserError(f'cannot read {path}: {reason or type(error).__name__}; {fix}') from None


def check_size(path: str, size: int) -> None:
    """Raises ``ValueError`` if a file claims to unpack to more bytes than it can hold."""
    if size > max(MIN_BUDGET, MAX_COMPRESSION_RATIO * os.path.getsize(path)):
        raise ValueError("declared size exceeds the file's")


def read_npz(path: str, only: Set[str] = frozenset()) -> dict[str, numpy.ndarray]:
    """Reads the arrays of an npz file, or only some of them. Arrays of objects are left out.

    Raises ``UserError`` if the file cannot be read, is damaged or is no npz file.
    """
    with reading_errors(path):
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise _not_npz(path) from None
        with archive:
            infos = {i.filename[:-4]: i for i in archive.infolist() if i.filename[-4:] == '.npy'}
            if not infos:
                raise _not_npz(path)
            check_size(path, sum(info.file_size for info in archive.infolist()))
            names = infos.keys() & only if only else infos.keys()
            arrays = {name: _read(archive, infos[name]) for name in names}
    return {name: array for name, array in arrays.items() if array is not None}


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> numpy.ndarray | None:
    """Reads an array and checks its CRC. An array of objects would be unpickled: ``None``."""
    # NumPy uses no other compression, and zipfile does not bound the memory of others.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f'unsupported compression of {info.filename}')
    with archive.open(info) as member:
        content = member.read(info.file_size)
    header = io.BytesIO(content)
    numpy.lib.format.read_magic(header)
    # Later versions of the header are for structured arrays, and raise an error here.
    shape, is_fortran, dtype = numpy.lib.format.read_array_header_1_0(header)
    if dtype.hasobject:
        return None
    return numpy.ndarray(shape, dtype, content, header.tell(), order='F' if is_fortran else 'C')


def _not_npz(path: str) -> UserError:
    with open(path, 'rb') as file:
        head = file.read(512)
    what, fix = next(row[1:] for row in MAGIC_NUMBERS if re.match(row[0], head, re.DOTALL))
    return UserError(f'{path} is {what}, not an npz file; {fix}')
