"""Standard streams and signals: a command ends in order on Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from chainer_mnist.console import mpi_rank
from chainer_mnist.files import remove_temporary_files

# Ctrl-C, SIGTERM, a terminal that is closed and, on Windows, Ctrl-Break.
NAMES = ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK')
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def setup_signals() -> None:
    """Prepares standard streams and signals for a command.

    A closed standard stream is replaced by the null device. Characters that standard output cannot
    encode are printed as escapes. A signal ends the process at once with status 128 + its number,
    without a traceback, also where the reader of standard output is gone (as after ``| head``).
    In an interactive session, signals stay as they are.
    """
    # In this order each takes its own descriptor, which the next open file would get.
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))  # noqa: SIM115
    with contextlib.suppress(AttributeError):  # IDLE's own stream has no such method
        sys.stdout.reconfigure(errors='backslashreplace')  # type: ignore[union-attr]
    # A session goes on after the command: IPython, Jupyter, IDLE and python -i.
    if not (sys.flags.inspect or hasattr(sys, 'ps1') or 'idlelib' in sys.modules):
        # While MPI starts, no Python handler runs, and mpiexec reports only an end by a signal.
        handler = _exit if mpi_rank() is None else signal.SIG_DFL
        for signum in _handled_signals():
            signal.signal(signum, handler)
        if hasattr(signal, 'SIGPIPE'):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _exit(signum: int, frame: object) -> None:
    remove_temporary_files()
    os._exit(128 + signum)  # an exception can get lost, as in a destructor


def _handled_signals() -> list[int]:
    """An ignored signal stays ignored, and ``None``, a handler not of Python's, as it is."""
    return [s for s in SIGNALS if signal.getsignal(s) not in (signal.SIG_IGN, None)]


class GracefulInterrupt:
    """Ends a ``with`` block in order at the first signal; a second one acts as before the block.

    ``sync_signal`` takes this process's signal or ``None``, and returns the same for all ranks.
    After the block, ``signum`` is the signal that ended it, or ``None``.
    """

    def __init__(self, sync_signal: Callable[[int | None], int | None] = lambda signum: signum):
        self.signum: int | None = None
        self._sync_signal = sync_signal
        self._received: int | None = None
        self._previous: dict = {}

    def check(self) -> None:
        """Leaves the block if a signal has been received. To be called where work can stop."""
        self.signum = self._sync_signal(self._received)
        if self.signum:
            raise SystemExit

    def _receive(self, signum: int, frame: object) -> None:
        self._received = signum
        for each, handler in self._previous.items():
            # Not a Python handler, which would wait for MPI.
            signal.signal(each, signal.SIG_DFL if handler is _exit else handler)

    def __enter__(self) -> GracefulInterrupt:
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for signum in _handled_signals():
                self._previous[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, kind: type | None, *error: object) -> bool:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        return kind is SystemExit and self.signum is not None
