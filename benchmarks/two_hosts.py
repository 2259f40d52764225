#!/usr/bin/env python
"""Two hosts on one machine, with a cable between them, for runs on several hosts.

python benchmarks/two_hosts.py -- python train_mnist.py -c naive -e 1
    runs that under mpiexec, with a process on each host

Each host has its own name, network, processes and mounts (Linux's namespaces) and its own sshd. It
needs root, iproute2, util-linux, OpenSSH and what requirements-mpi.txt installs.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent
NAMES = ('hosta', 'hostb')
ADDRESSES = ('10.77.0.1', '10.77.0.2')
BIN = os.path.dirname(sys.executable)
PATH = f'{BIN}:{os.environ.get("PATH", "")}:/usr/sbin:/sbin'

SSHD_CONFIG = """
HostKey {folder}/key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PidFile none
"""
SSH_CONFIG = """
IdentityFile {folder}/key
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
"""
START = """
hostname {name}
mount -t sysfs none /sys
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run && mkdir /run/sshd
mount --bind {folder}/hosts /etc/hosts
ip link set lo up
exec {sshd} -D -e -f {folder}/sshd_config
"""


NAMESPACES = ('--net', '--uts', '--ipc', '--pid', '--mount', '--fork', '--kill-child')


def missing():
    """Says what keeps this machine from having two hosts, or nothing."""
    if not hasattr(os, 'geteuid') or os.geteuid() != 0:
        return 'root is needed'
    for tool in ('ip', 'unshare', 'nsenter', 'sshd', 'ssh', 'ssh-keygen', 'mpiexec'):
        if not shutil.which(tool, path=PATH):
            return f'there is no {tool}'
    if 'HYDRA' not in subprocess.run(['mpiexec', '--version'], **_quiet()).stdout:
        return 'mpiexec is not that of MPICH'
    if subprocess.run(['unshare', *NAMESPACES, 'true'], **_quiet()).returncode:
        return 'there are no namespaces'
    return None


def _quiet():
    return {'capture_output': True, 'text': True, 'env': {**os.environ, 'PATH': PATH}}


class TwoHosts:
    """Two hosts, for a ``with`` block. The first, host 0, is the one that mpiexec runs on."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(tempfile.TemporaryDirectory())
            self._configure()
            self._hosts = [stack.enter_context(self._host(name)) for name in NAMES]
            self._plug_in()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _configure(self):
        for name, text in (('sshd_config', SSHD_CONFIG), ('ssh_config', SSH_CONFIG)):
            Path(self.folder, name).write_text(text.format(folder=self.folder))
        lines = [f'{address} {name}\n' for address, name in zip(ADDRESSES, NAMES)]
        Path(self.folder, 'hosts').write_text(''.join(['127.0.0.1 localhost\n', *lines]))
        words = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', f'{self.folder}/key']
        subprocess.run(words, check=True)

    @contextlib.contextmanager
    def _host(self, name):
        start = START.format(name=name, folder=self.folder, sshd=shutil.which('sshd', path=PATH))
        with open(f'{self.folder}/{name}.log', 'w') as log:
            host = subprocess.Popen(
                ['unshare', *NAMESPACES, '--mount-proc', 'sh', '-e', '-c', start],
                stdout=log,
                stderr=log,
                env={**os.environ, 'PATH': PATH},
            )
        try:
            self._wait(lambda: 'Server listening' in Path(log.name).read_text())
            yield host
        finally:
            host.kill()  # and with it, all that runs there
            host.wait()

    def _plug_in(self):
        pids = [str(host.pid) for host in self._hosts]
        words = ['ip', 'link', 'add', 'cable', 'netns', pids[0], 'type', 'veth']
        subprocess.run([*words, 'peer', 'name', 'cable', 'netns', pids[1]], check=True)
        for host, address in enumerate(ADDRESSES):
            self.run(host, 'ip', 'address', 'add', f'{address}/24', 'dev', 'cable')
            self.run(host, 'ip', 'link', 'set', 'cable', 'up')
        for host in (0, 1):  # MPI takes no network that is not quite up
            self._wait(
                lambda host=host: 'state UP' in self.run(host, 'ip', 'link', 'show', 'cable')
            )

    @staticmethod
    def _wait(condition):
        for _ in range(100):
            if condition():
                return
            time.sleep(0.1)
        raise RuntimeError('the hosts do not start')

    def inside(self, host):
        """The words that run what follows them on a host."""
        proc = f'/proc/{self._hosts[host].pid}/ns'
        names = {
            'net': 'net',
            'uts': 'uts',
            'ipc': 'ipc',
            'mount': 'mnt',
            'pid': 'pid_for_children',
        }
        return ['nsenter', *(f'--{name}={proc}/{file}' for name, file in names.items())]

    def run(self, host, *words):
        """Runs a command on a host, which has to go well, and returns what it prints."""
        return subprocess.run(
            [*self.inside(host), *words], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def limit(self, mbit):
        """Limits the bandwidth of the cable, in both directions, to so many Mbit/s."""
        words = f'tc qdisc replace dev cable root tbf rate {mbit}mbit burst 512kb latency 50ms'
        for host in (0, 1):
            self.run(host, *words.split())

    def cut(self):
        """Cuts the cable."""
        self.run(0, 'ip', 'link', 'set', 'cable', 'down')

    def kill(self, host):
        """Cuts the power of a host."""
        self._hosts[host].kill()
        self._hosts[host].wait()

    def mpiexec(self, *words, processes=2, env=(), **options):
        """Starts ``mpiexec`` on host 0, with as many processes on each host as on the other.

        Args:
            words (str): The command to run.
            processes (int): Number of processes.
            env (dict): Variables to set.
            options: Options of ``subprocess.Popen``.

        Returns:
            subprocess.Popen: The process of mpiexec.

        """
        per_host = processes // len(NAMES)
        hosts = ','.join(f'{name}:{per_host}' for name in NAMES)
        command = [*self.inside(0), f'--wd={os.getcwd()}', 'mpiexec', '-launcher', 'ssh']
        command += ['-hosts', hosts, '-n', str(processes)]
        env = {
            'OPENBLAS_NUM_THREADS': '1',
            **os.environ,
            **dict(env),
            'PATH': PATH,
            'HYDRA_LAUNCHER_EXTRA_ARGS': f'-F {self.folder}/ssh_config',
        }
        return subprocess.Popen([*command, *map(str, words)], env=env, **options)


def main():
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('command', nargs='+', help='what to run')
    args = parser.parse_args()
    if missing():
        parser.error(missing())
    with TwoHosts() as hosts:
        return hosts.mpiexec(*args.command).wait()


if __name__ == '__main__':
    sys.exit(main())
