"""A watchdog of collectives, as PyTorch's process groups have: no rank waits forever.

A rank that is stopped or on a host that is gone never joins a collective, and neither MPI nor
``mpiexec`` may notice.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from chainer_mnist.console import mpi_rank, print_error, redirect_to_devnull

VARIABLE = 'CHAINER_MNIST_TIMEOUT'
VALUE = os.environ.get(VARIABLE, '')
TIMEOUT = int(VALUE) if VALUE.isdecimal() else 300  # seconds


class Watchdog:
    """Aborts the job if a ``with`` block around a collective takes longer than the timeout."""

    def __init__(self) -> None:
        self._changes = 0  # odd in a collective
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> None:
        self._changes += 1

    def __exit__(self, *error: object) -> None:
        self._changes += 1

    def _watch(self) -> None:
        seconds, changes = 0, 0
        # The first rank to give up ends the others before they print the same.
        while seconds < TIMEOUT + 3 * (mpi_rank() or 0):
            time.sleep(1)  # counted, so that the time in which the job is suspended is not
            seconds = seconds + 1 if changes == self._changes and changes % 2 else 0
            changes = self._changes
        what = f'another rank has not answered for {TIMEOUT} seconds ({VARIABLE})'
        fix = 'resume with -r from the last finished epoch'
        print_error(f'{os.path.basename(sys.argv[0])}: error: {what}; {fix}')
        # Where mpiexec is out of reach, nobody else ends this process: it does so in five seconds.
        threading.Timer(5, os._exit, [1]).start()
        abort()


def abort() -> None:
    """Ends all ranks of the job."""
    from mpi4py import MPI

    time.sleep(0.3)  # mpiexec forwards what has been printed
    redirect_to_devnull(sys.stderr)  # MPI would print more
    MPI.COMM_WORLD.Abort(1)
