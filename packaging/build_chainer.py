"""Builds the wheel of Chainer beside this file from its official sdist.

python packaging/build_chainer.py

``pip install chainer`` runs Chainer's ``setup.py``, which imports ``pkg_resources``; setuptools 81
dropped that. But Chainer is pure Python: its wheel is a zip file of its packages and of what the
sdist says about them. It is not compressed, since compression differs between releases of zlib: so
everyone gets the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

SDIST = Path(__file__).with_name('chainer-7.8.1.tar.gz')
# As https://pypi.org/project/chainer/7.8.1/#files has it.
SHA256 = '179f06176f8d7a42385bc7811956db04e68213cfe30f5081491b9e2b6ff70de8'
WHEEL = SDIST.with_name('chainer-7.8.1-py3-none-any.whl')

# What Chainer's setup.py packs. Of ChainerX, which needs a compiler, it packs the Python files.
PACKED = re.compile(r'(chainer|chainermn|onnx_chainer)/.+|chainerx/\w+\.py')
INFO = 'chainer-7.8.1.dist-info'
TAGS = b'Wheel-Version: 1.0\nGenerator: build_chainer\nRoot-Is-Purelib: true\nTag: py3-none-any\n'


def build_wheel() -> bytes:
    """Returns the content of the wheel."""
    content = SDIST.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f'{SDIST} is not the file on PyPI; restore it with "git checkout"')
    sdist = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file:
                sdist[member.name.partition('/')[2]] = file.read()

    packed = {name: sdist[name] for name in sorted(sdist) if PACKED.fullmatch(name)}
    packed[f'{INFO}/LICENSE'] = sdist['LICENSE']
    packed[f'{INFO}/METADATA'] = metadata(sdist)
    packed[f'{INFO}/WHEEL'] = TAGS
    packed[f'{INFO}/RECORD'] = record(packed)

    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, 'w') as archive:
        for name, content in packed.items():
            info = zipfile.ZipInfo(name)  # of 1980
            info.create_system = 3  # Unix, on Windows too
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return wheel.getvalue()


def metadata(sdist: dict[str, bytes]) -> bytes:
    """Returns PKG-INFO with the requirements of Chainer, which it lacks."""
    headers, _, description = sdist['PKG-INFO'].decode().partition('\n\n')
    requires, _, _ = sdist['chainer.egg-info/requires.txt'].decode().partition('\n\n')
    headers += ''.join(f'\nRequires-Dist: {each}' for each in requires.split())
    return f'{headers}\n\n{description}'.encode()


def record(packed: dict[str, bytes]) -> bytes:
    """Returns the list of the files with their hashes and sizes."""
    lines = []
    for name, content in packed.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')
        lines.append(f'{name},sha256={digest},{len(content)}\n')
    return ''.join([*lines, f'{INFO}/RECORD,,\n']).encode()


if __name__ == '__main__':
    WHEEL.write_bytes(build_wheel())
