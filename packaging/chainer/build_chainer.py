"""Makes a wheel of Chainer's official sdist, with nothing but Python (a PEP 517 build backend).

Chainer's ``setup.py`` imports ``pkg_resources``, which setuptools 81 dropped. So ``pip install
chainer``, which builds it with the newest setuptools, fails. But Chainer is pure Python: its wheel
is a zip file of its packages and of what its sdist says about them. The sdist lies beside this
file, so that nothing has to be fetched: neither the sdist nor what would build it.
"""

import base64
import hashlib
import re
import tarfile
import zipfile
from pathlib import Path

SDIST = Path(__file__).with_name('chainer-7.8.1.tar.gz')
# As https://pypi.org/project/chainer/7.8.1/#files has it.
SHA256 = '179f06176f8d7a42385bc7811956db04e68213cfe30f5081491b9e2b6ff70de8'

# What Chainer's setup.py packs. Of ChainerX, which needs a compiler, it is what says that it is not
# there.
PACKED = re.compile(r'(chainer|chainermn|onnx_chainer)/.+|chainerx/\w+\.py')
INFO = 'chainer-7.8.1.dist-info'
WHEEL = 'Wheel-Version: 1.0\nGenerator: build_chainer\nRoot-Is-Purelib: true\nTag: py3-none-any\n'


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Builds Chainer's wheel into ``wheel_directory`` and returns its file name (PEP 517)."""
    if hashlib.sha256(SDIST.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f'{SDIST} is not as PyPI has it; bring it back with "git checkout"')
    with tarfile.open(SDIST) as sdist:
        files = {
            member.name.partition('/')[2]: sdist.extractfile(member).read()
            for member in sdist
            if member.isfile()
        }
    packed = {name: content for name, content in files.items() if PACKED.fullmatch(name)}
    packed[f'{INFO}/LICENSE'] = files['LICENSE']
    packed[f'{INFO}/METADATA'] = _metadata(files)
    packed[f'{INFO}/WHEEL'] = WHEEL.encode()
    packed[f'{INFO}/RECORD'] = _record(packed)

    name = 'chainer-7.8.1-py3-none-any.whl'
    with zipfile.ZipFile(Path(wheel_directory, name), 'w', zipfile.ZIP_DEFLATED) as wheel:
        for path, content in packed.items():
            wheel.writestr(path, content)
    return name


def _metadata(files):
    """Adds what Chainer requires to what else the sdist says of it."""
    headers, _, description = files['PKG-INFO'].decode().partition('\n\n')
    requires, _, _ = files['chainer.egg-info/requires.txt'].decode().partition('\n\n')
    headers += ''.join(f'\nRequires-Dist: {each}' for each in requires.split())
    return f'{headers}\n\n{description}'.encode()


def _record(files):
    """Lists what is in the wheel, with its hash and its size."""
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')
        lines.append(f'{path},sha256={digest},{len(content)}\n')
    return ''.join([*lines, f'{INFO}/RECORD,,\n']).encode()
