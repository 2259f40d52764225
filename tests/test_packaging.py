"""Chainer's wheel: what the official sdist holds, installed from any folder without an index."""

import ast
import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import build_chainer
from helpers import CLONE

INFO = 'chainer-7.8.1.dist-info'


@pytest.fixture(scope='module')
def wheel():
    """The files in the wheel."""
    with zipfile.ZipFile(build_chainer.WHEEL) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_is_built_from_the_official_sdist_byte_for_byte():
    assert build_chainer.WHEEL.read_bytes() == build_chainer.build_wheel()


def test_another_sdist_is_refused(tmp_path, monkeypatch):
    (tmp_path / 'sdist').write_bytes(build_chainer.SDIST.read_bytes() + b'\n')
    monkeypatch.setattr(build_chainer, 'SDIST', tmp_path / 'sdist')
    with pytest.raises(SystemExit, match='is not the file on PyPI'):
        build_chainer.build_wheel()


def test_the_wheel_has_the_packages_of_the_sdist_and_what_it_says_of_them(wheel):
    with tarfile.open(build_chainer.SDIST) as archive:
        files = {m.name.partition('/')[2]: archive.extractfile(m) for m in archive}
        sdist = {name: file.read() for name, file in files.items() if file}
    keywords = [n for n in ast.walk(ast.parse(sdist['setup.py'])) if isinstance(n, ast.keyword)]
    [packages] = [ast.literal_eval(n.value) for n in keywords if n.arg == 'packages']
    folders = {package.replace('.', '/') for package in [*packages, 'chainerx']}
    names = {n for n in sdist if n.endswith('.py') and n.rpartition('/')[0] in folders}
    names.add('chainer/py.typed')
    assert {n: wheel[n] for n in wheel if INFO not in n} == {n: sdist[n] for n in names}
    assert wheel[f'{INFO}/LICENSE'] == sdist['LICENSE']
    metadata = email.message_from_bytes(wheel[f'{INFO}/METADATA'])
    required = '\n'.join(metadata.get_all('Requires-Dist')).encode()
    assert sdist['chainer.egg-info/requires.txt'].startswith(b'%b\n\n' % required)
    del metadata['Requires-Dist']
    assert metadata.as_string() == email.message_from_bytes(sdist['PKG-INFO']).as_string()


def test_pip_finds_chainer_beside_the_requirements_from_another_folder(tmp_path):
    pytest.importorskip('pip')
    shutil.copytree(CLONE / 'packaging', tmp_path / 'a clone' / 'packaging')
    up_to_chainer = (CLONE / 'requirements.txt').read_text().partition('numpy')[0]
    (tmp_path / 'a clone' / 'requirements.txt').write_text(up_to_chainer)
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--no-index']
    command += ['-r', 'a clone/requirements.txt', '-d', 'found']
    env = {**os.environ, 'PIP_CONFIG_FILE': os.devnull}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=120)
    [found] = (tmp_path / 'found').iterdir()
    assert found.read_bytes() == build_chainer.WHEEL.read_bytes()
