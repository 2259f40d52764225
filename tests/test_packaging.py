"""Chainer's wheel: what the sdist holds, built where nothing can be fetched."""

import ast
import base64
import csv
import email
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from helpers import CLONE

PACKAGING = CLONE / 'packaging' / 'chainer'


@pytest.fixture
def backend(tmp_path):
    """The build backend, imported from a copy of its folder that may be spoilt."""
    shutil.copytree(PACKAGING, tmp_path / 'chainer')
    path = tmp_path / 'chainer' / 'build_chainer.py'
    spec = importlib.util.spec_from_file_location('build_chainer', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sdist(backend):
    """The files of Chainer's sdist."""
    with tarfile.open(backend.SDIST) as archive:
        return {
            member.name[len('chainer-7.8.1/') :]: archive.extractfile(member).read()
            for member in archive
            if member.isfile()
        }


@pytest.fixture
def wheel(backend, tmp_path):
    """The files of the wheel that is built."""
    with zipfile.ZipFile(tmp_path / backend.build_wheel(tmp_path)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sdist_is_the_official_one():
    """The SHA-256 is that of https://pypi.org/project/chainer/7.8.1/#files."""
    content = (PACKAGING / 'chainer-7.8.1.tar.gz').read_bytes()
    assert hashlib.sha256(content).hexdigest() == (
        '179f06176f8d7a42385bc7811956db04e68213cfe30f5081491b9e2b6ff70de8'
    )


def test_the_wheel_holds_what_setup_py_packs(sdist, wheel):
    setup = ast.walk(ast.parse(sdist['setup.py']))
    [packages] = [
        ast.literal_eval(node.value)
        for node in setup
        if isinstance(node, ast.keyword) and node.arg == 'packages'
    ]
    # It packs one file more, and where nothing is compiled, ChainerX says that it is not there.
    assert b"'chainer': ['py.typed']" in sdist['setup.py']
    assert b"setup_kwargs['packages'] += ['chainerx']" in sdist['chainerx_build_helper.py']
    folders = {package.replace('.', '/') for package in [*packages, 'chainerx']}
    expected = {n for n in sdist if n.endswith('.py') and n.rpartition('/')[0] in folders}
    expected |= {'chainer/py.typed'}
    packed = {name for name in wheel if '.dist-info/' not in name}
    assert packed == expected
    assert len(packed) > 500
    assert all(wheel[name] == sdist[name] for name in packed)


def test_the_wheel_says_what_the_sdist_says(sdist, wheel):
    info = 'chainer-7.8.1.dist-info'
    metadata = email.message_from_bytes(wheel[f'{info}/METADATA'])
    said = email.message_from_bytes(sdist['PKG-INFO'])
    required = metadata.get_all('Requires-Dist')
    del metadata['Requires-Dist']
    assert metadata.items() == said.items()
    assert metadata.get_payload() == said.get_payload()
    for each in required:
        assert f"'{each}',".encode() in sdist['setup.py']
    assert len(required) == 6
    assert wheel[f'{info}/LICENSE'] == sdist['LICENSE']


def test_the_record_is_right(wheel):
    info = 'chainer-7.8.1.dist-info'
    rows = list(csv.reader(wheel[f'{info}/RECORD'].decode().splitlines()))
    assert [path for path, _, _ in rows] == list(wheel)
    for path, digest, size in rows[:-1]:
        sha256 = base64.urlsafe_b64encode(hashlib.sha256(wheel[path]).digest()).decode()
        assert (digest, int(size)) == (f'sha256={sha256.rstrip("=")}', len(wheel[path]))
    assert rows[-1] == [f'{info}/RECORD', '', '']


def test_pip_installs_it_without_an_index(tmp_path):
    """So it needs nothing from any: whatever index, mirror or proxy pip is told of will do."""
    pytest.importorskip('pip')
    command = [sys.executable, '-m', 'pip', 'install', '--no-index', '--no-deps', '--no-cache-dir']
    command += ['--target', 'site', str(PACKAGING)]
    system = {key: os.environ[key] for key in ('SYSTEMROOT',) if key in os.environ}  # on Windows
    env = {'PIP_CONFIG_FILE': os.devnull, 'PATH': '', **system}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    code = 'import chainer_mnist, chainer; print(chainer.__version__, chainer.__file__)'
    env = {'PYTHONPATH': f'{tmp_path / "site"}{os.pathsep}{CLONE}', **system}
    printed = subprocess.check_output([sys.executable, '-c', code], env=env, text=True)
    assert printed == f'7.8.1 {tmp_path / "site" / "chainer" / "__init__.py"}\n'


@pytest.mark.parametrize('spoil', [lambda content: content[:-1], lambda content: content + b'\n'])
def test_a_damaged_sdist_is_not_built(spoil, backend, tmp_path):
    backend.SDIST.write_bytes(spoil(backend.SDIST.read_bytes()))
    with pytest.raises(SystemExit, match=r'is not as PyPI has it; bring it back with'):
        backend.build_wheel(tmp_path)
    assert not list(tmp_path.glob('*.whl'))
