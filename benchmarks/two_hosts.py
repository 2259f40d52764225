"""Two hosts on one Linux machine, joined by a cable, for tests of runs on several hosts.

Each host is a network namespace. It needs root, iproute2 and MPICH's ``mpiexec``. A script takes
the place of ``ssh``: like it, it does not notice when the other host is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ADDRESSES = ('10.77.0.1', '10.77.0.2')
# The hosts share memory, which MPI would use to go past the cable.
MPI = {'UCX_TLS': 'tcp,self', 'FI_PROVIDER': 'tcp', 'MPIR_CVAR_NOLOCAL': '1'}
PATH = f'{os.path.dirname(sys.executable)}:{os.environ.get("PATH", "")}:/usr/sbin:/sbin'

# Called with options of ssh, the host and the command. Its end is not heard over a cut cable.
LAUNCHER = """#!/bin/sh
while [ "$1" != {address} ]; do shift; done
shift
ip netns exec {name} sh -c "$*" < /dev/null
status=$?
until ip -n {name} link show cable | grep -q 'state UP'; do sleep 1; done
exit $status
"""


def missing() -> str | None:
    """Says what this machine lacks, if anything."""
    if not hasattr(os, 'geteuid') or os.geteuid() != 0:
        return 'root is needed'
    for tool in ('ip', 'mpiexec'):
        if not shutil.which(tool, path=PATH):
            return f'there is no {tool}'
    if 'HYDRA' not in _run('mpiexec', '--version').stdout:
        return 'mpiexec is not that of MPICH'
    name = f'test{os.getpid()}'
    if _run('ip', 'netns', 'add', name, check=False).returncode:
        return 'there are no network namespaces'
    _run('ip', 'netns', 'delete', name)
    return None


def _run(*words: str, check: bool = True) -> subprocess.CompletedProcess:
    env = {**os.environ, 'PATH': PATH}
    return subprocess.run(words, check=check, capture_output=True, text=True, env=env)


class TwoHosts:
    """Two hosts, for a ``with`` block. ``mpiexec`` runs on the first."""

    def __init__(self) -> None:
        self._names = [f'host{letter}{os.getpid()}' for letter in 'ab']

    def __enter__(self) -> TwoHosts:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            for name in self._names:
                _run('ip', 'netns', 'add', name)
                stack.callback(self._remove, name)
            a, b = self._names
            link = ['ip', '-n', a, 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable']
            _run(*link, 'netns', b)
            for name, address in zip(self._names, ADDRESSES):
                _run('ip', '-n', name, 'address', 'add', f'{address}/24', 'dev', 'cable')
                _run('ip', '-n', name, 'link', 'set', 'lo', 'up')
                _run('ip', '-n', name, 'link', 'set', 'cable', 'up')
            while 'state UP' not in _run('ip', '-n', b, 'link', 'show', 'cable').stdout:
                time.sleep(0.1)  # MPI takes no network that is not quite up
            self._launcher = Path(folder, 'launcher')
            self._launcher.write_text(LAUNCHER.format(name=b, address=ADDRESSES[1]))
            self._launcher.chmod(0o700)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _remove(self, name: str) -> None:
        self.kill(self._names.index(name))
        _run('ip', 'netns', 'delete', name)

    def pids(self, host: int) -> list[int]:
        """Returns the IDs of the processes on a host."""
        return list(map(int, _run('ip', 'netns', 'pids', self._names[host]).stdout.split()))

    def cut(self) -> None:
        """Cuts the cable."""
        _run('ip', '-n', self._names[0], 'link', 'set', 'cable', 'down')

    def kill(self, host: int) -> None:
        """Kills all processes on a host: after :meth:`cut`, as when its power fails."""
        for pid in self.pids(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def mpiexec(
        self,
        *words: object,
        processes: int = 2,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen:
        """Starts a command under ``mpiexec``, with the same number of processes on each host."""
        hosts = ','.join(f'{address}:{processes // 2}' for address in ADDRESSES)
        command = ['ip', 'netns', 'exec', self._names[0], 'mpiexec', '-launcher', 'ssh']
        command += ['-launcher-exec', str(self._launcher), '-iface', 'cable']
        command += ['-localhost', ADDRESSES[0], '-hosts', hosts, '-n', str(processes)]
        env = {**os.environ, 'OPENBLAS_NUM_THREADS': '1', **MPI, **(env or {}), 'PATH': PATH}
        return subprocess.Popen([*command, *map(str, words)], env=env, **options)
