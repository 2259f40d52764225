"""Builds Chainer's official sdist on today's tools (a PEP 517 build backend).

Chainer's ``setup.py`` imports ``pkg_resources``, which setuptools 81 dropped. So ``pip install
chainer``, which builds it with the newest setuptools, fails. The ``pyproject.toml`` beside this
file asks for an older setuptools, and this backend builds the sdist with that. The sdist is pinned
by its hash in ``sdist.txt``.
"""

import os
import subprocess
import sys
from pathlib import Path

SDIST = Path(__file__).with_name('sdist.txt')


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Builds Chainer's wheel into ``wheel_directory`` and returns its file name (PEP 517)."""
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--disable-pip-version-check']
    command += ['--no-deps', '--no-build-isolation', '--no-binary=chainer', '--require-hashes']
    # The pip that calls this backend says in variables where the backend is. The pip called here
    # would take them for its own and look for setuptools there.
    env = {k: v for k, v in os.environ.items() if not k.startswith('_PYPROJECT_HOOKS_')}
    subprocess.run([*command, '-w', wheel_directory, '-r', SDIST], env=env, check=True)
    return next(Path(wheel_directory).glob('chainer-*.whl')).name
