"""Opens a snapshot in whatever format it is, and names what is none for what it is."""

import contextlib
import importlib.util
import os
import pickletools
import re
import struct
import warnings
import zipfile

from chainer_mnist.errors import UserError
from chainer_mnist.npz import open_npz
from chainer_mnist.shell import shell_join, this_python
from chainer_mnist.streams import hint

HDF5 = (b'\x89HDF\r\n\x1a\n', 'an HDF5 file', 'pip install h5py, and it is read')
REWRITE = 'write its weights with numpy.savez, under the names that mlp.model has'

# How a file begins, what it then is, and what to do.
BEGINNINGS = [
    HDF5,
    (b'version https://git-lfs', 'a pointer of Git LFS in place of the file', 'run git lfs pull'),
    (b'\x93NUMPY', 'a single array without a name', REWRITE),
    # torch.save, up to PyTorch 1.5: the pickle of a magic number comes first.
    (rb'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.', 'a PyTorch file', REWRITE),
    # Protocol buffers: the version of ONNX, then who wrote it, the graph or the operators.
    (rb'\x08[\3-\x1f](\x12[\0-\x7f][ -~]|\x3a|\x42)', 'an ONNX file', REWRITE),
]


@contextlib.contextmanager
def open_snapshot(path):
    """Opens a file for a ``with`` block, within which whatever is wrong with it is one error.

    Args:
        path (str): The file.

    Yields:
        stored.Stored: Its arrays.

    Raises:
        UserError: If it cannot be read, is no snapshot or is damaged.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # NumPy remarks on files that Python 2 wrote
            with _open(path) as stored:
                yield stored
        if stored.casts:
            hint(f'{path} holds {" and ".join(sorted(stored.casts))}')
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, NumPy and h5py raise
        reason = str(error).split('\n')[0] or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(
                f'cannot read {path}: {error.strerror}; give the path of a snapshot'
            ) from None
        raise UserError(
            f'{path} is damaged or not a snapshot ({reason}); give another file'
        ) from None


def _open(path):
    if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe or a device can hang
        what, mend = unpacked(path) or ('not a file', 'give the path of a snapshot')
        raise UserError(f'{path} is {what}; {mend}')
    kind = _kind_of_file(path)
    if kind is None:
        return open_npz(path)
    what, mend = kind
    if kind == HDF5[1:] and importlib.util.find_spec('h5py'):
        from chainer_mnist.hdf5 import open_hdf5

        return open_hdf5(path)
    raise UserError(f'{path} is {what}; {mend}')


def unpacked(path):
    """Says that a folder is an npz file that was unpacked, if it is one.

    Args:
        path (str): The folder.

    Returns:
        tuple: What it is, and what to do, strings; or ``None``.

    """
    # The first file of another kind ends it: the folder may be the root of a disk.
    arrays = (name.endswith('.npy') for _, _, names in os.walk(path) for name in names)
    if not next(arrays, False) or not all(arrays):
        return None
    folder = packed = os.path.abspath(path)
    while os.path.exists(f'{packed}.zip'):
        packed += '-packed'
    code = 'import shutil, sys; shutil.make_archive(*sys.argv[1:])'
    command = shell_join([this_python(), '-c', code, packed, 'zip', folder])
    return 'an npz file that was unpacked', f'pack it ({command}) and give {packed}.zip'


def _kind_of_file(path):
    """Says what a file is that is no npz, and what to do with it, or ``None``."""
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    with open(path, 'rb') as file:
        head = file.read(64)
        size = file.seek(0, os.SEEK_END)
        for beginning, what, mend in BEGINNINGS:
            if re.match(beginning, head):
                return what, mend
        if head[8:9] == b'{' and 2 <= struct.unpack('<Q', head[:8])[0] <= size - 8:
            return 'a safetensors file', REWRITE
        if head[:1] in b'\x80(c}]' and _is_pickle(file):
            mend = 'where you trust it, load it and write it with chainer.serializers.save_npz'
            return 'a pickle, which can run anything', mend
    return None


def _is_pickle(file):
    """Reads the first instructions of a pickle, but runs none."""
    file.seek(0)
    try:
        for _ in zip(range(100), pickletools.genops(file)):
            pass
    except Exception:  # whatever another file leads to
        return False
    return True


def _kind_of_archive(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith('.npy') for name in names):
        return None
    if any(re.search(r'(^|/)data\.pkl$', name) for name in names):
        return 'a PyTorch file', REWRITE
    return 'a zip archive without arrays', 'give an npz file'
