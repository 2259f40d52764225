"""Contestants of ``throughput.py`` as processes of their own."""

import json
import math
import os
import subprocess
import sys
import time

THROUGHPUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'throughput.py')

# What tells OpenBLAS, MKL, OpenMP and XLA how many threads to take.
THREADS = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS', 'NPROC')


def worker_command(name, unit, gpu):
    """The command that is a contestant."""
    return [sys.executable, THROUGHPUT, '--work', name, '--unit', str(unit), '--gpu', str(gpu)]


def with_threads(threads):
    """The environment in which a process takes so many threads, or as many as it will."""
    env = {**os.environ, **{name: str(threads) for name in THREADS if threads}}
    if threads == 1:
        env['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    return env


class Worker:
    """A contestant's process."""

    def __init__(self, name, unit, gpu, threads):
        self._process = subprocess.Popen(
            worker_command(name, unit, gpu),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=with_threads(threads),
        )

    def train(self, images):
        """Has it train on so many images and returns the seconds and the mean loss."""
        print(images, file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        return answer['seconds'], answer['loss']

    def close(self):
        """Ends it."""
        self._process.stdin.close()
        self._process.wait()


def run_whole(command, threads, turns=0):
    """Runs a whole command and returns its wall time in seconds and its peak memory in MiB.

    Windows does not tell the memory of a process that has ended: there it is NaN.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=with_threads(threads),
    )
    process.stdin.write(b'60000\n' * turns)
    process.stdin.close()
    if os.name == 'nt':
        status, peak = process.wait(), math.nan
    else:
        _, status, usage = os.wait4(process.pid, 0)
        peak = usage.ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f'{command} failed')
    return seconds, peak
