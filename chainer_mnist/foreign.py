"""Names files of other kinds for what they are, so that an error can say what to do with them."""

import os
import re
import struct
import zipfile

HDF5 = b'\x89HDF\r\n\x1a\n'
REWRITE = 'write its weights with numpy.savez, under the names that mlp.model has'
UNPICKLE = 'where you trust it, load it and write it with chainer.serializers.save_npz'

# How a file begins, what it then is, and what to do with it.
BEGINNINGS = [
    (HDF5, 'an HDF5 file', 'install h5py, and it is read (pip install h5py)'),
    (rb'version https://git-lfs', 'a pointer of Git LFS, not the file itself', 'run: git lfs pull'),
    (rb'\x93NUMPY', 'a single array without a name', REWRITE),
    # What torch.save wrote before its version 1.6: a pickle of a magic number comes first.
    (rb'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.', 'a PyTorch file', REWRITE),
    # Protocols 2 to 5, and those of Python 2, which are text.
    (rb'\x80[\2-\5]|\(d|\(l|c[A-Za-z_][\w.]*\n\w+\n', 'a pickle, and never unpickled', UNPICKLE),
    # Protocol buffers: the version of ONNX, then who wrote it, or the graph or the operators.
    (rb'\x08[\3-\x1f](\x12[\0-\x7f][ -~]|\x3a|\x42)', 'an ONNX file', REWRITE),
]


def kind(path):
    """Looks at how a file begins, or at what is in a folder or a zip archive.

    Args:
        path (str): The file or folder.

    Returns:
        tuple: What it is, and what to do with it; strings, or ``None`` if it is nothing known.

    """
    if os.path.isdir(path):
        return _kind_of_folder(path)
    with open(path, 'rb') as file:
        head = file.read(64)
        size = file.seek(0, os.SEEK_END)
    for beginning, what, mend in BEGINNINGS:
        if re.match(beginning, head):
            return what, mend
    if head[8:9] == b'{' and 2 <= struct.unpack('<Q', head[:8])[0] <= size - 8:
        return 'a safetensors file', REWRITE
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    return None


def _kind_of_folder(path):
    if not any(name.endswith('.npy') for _, _, names in os.walk(path) for name in names):
        return None
    pack = f'python -m zipfile -c ../{os.path.basename(os.path.abspath(path))}.npz *'
    return 'an npz file that was unpacked', f'pack it: cd {path} && {pack}'


def _kind_of_archive(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(re.search(r'(^|/)data\.pkl$', name) for name in names):
        return 'a PyTorch file', REWRITE
    return 'a zip archive without arrays', 'give an npz file'


def optimizer(names):
    """Names the optimizers of Chainer that keep so and so called arrays of each parameter.

    Args:
        names (set): The names in a training state, without ``t``.

    Returns:
        str: The optimizers, or ``None`` if there are none.

    """
    return {
        frozenset(): 'SGD',
        frozenset({'v'}): 'Momentum SGD or NesterovAG',
        frozenset({'h'}): 'AdaGrad',
        frozenset({'ms'}): 'RMSprop',
        frozenset({'n', 'g', 'delta'}): 'RMSpropGraves',
        frozenset({'msg', 'msdx'}): 'AdaDelta',
        frozenset({'mem', 'g', 'g2'}): 'SMORMS3',
        frozenset({'m', 'v'}): 'Adam',
        frozenset({'m', 'v', 'vhat'}): 'AMSGrad',
    }.get(frozenset(names))
