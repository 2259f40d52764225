"""What a process owes to its surroundings: standard streams that work, and an end on a signal."""

import contextlib
import os
import signal
import sys
import threading

from chainer_mnist.errors import mpi_rank

# Ctrl-C, SIGTERM and, on Windows, Ctrl-Break and the window's end.
SIGNALS = [getattr(signal, n) for n in ('SIGINT', 'SIGTERM', 'SIGBREAK') if hasattr(signal, n)]


def prepare():
    """Makes standard streams and signals fit for a command.

    A standard stream that is closed is replaced by one that leads nowhere. Characters that the
    encoding of standard output lacks are printed as escapes. Ctrl-C and SIGTERM end the process at
    once, without a traceback: status 130 and 143, or by the signal itself under ``mpiexec``. Files
    are replaced as a whole, so that nothing is lost. In a session, signals stay what they are.
    """
    # In this order each takes its own number, which would else be that of the next file.
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))  # noqa: SIM115
    with contextlib.suppress(AttributeError):  # IDLE's own stream has no such method
        sys.stdout.reconfigure(errors='backslashreplace')
    if not in_session():
        # While a process waits for MPI to start, no handler of Python's runs, and mpiexec takes an
        # end for a failure only where it is by a signal.
        handler = _end if mpi_rank() is None else signal.SIG_DFL
        for signum in _heeded_signals():
            signal.signal(signum, handler)


def in_session():
    """Says whether a person goes on in this process afterwards.

    Returns:
        bool: Whether it is so, as by ``python -i``, IPython, Jupyter or IDLE.

    """
    return bool(sys.flags.inspect) or hasattr(sys, 'ps1') or 'idlelib' in sys.modules


def _end(signum, frame):
    os._exit(128 + signum)


def _heeded_signals():
    """What is ignored, as in a background job of a shell, stays ignored."""
    # None is a handler that is not Python's, which could not be put back.
    return [each for each in SIGNALS if signal.getsignal(each) not in (signal.SIG_IGN, None)]


class Interruption:
    """Lets the work in a ``with`` block come to an orderly end on Ctrl-C or SIGTERM.

    A second signal ends the process at once where :func:`prepare` has made it a command's own. Else
    it does what it did before the block, so that it never ends a session or a program around this.

    Args:
        agree (callable): Makes one of the signals that have come to processes that work together.
            It takes this process's signal or ``None``, and returns the same for all.

    Attributes:
        signum (int): The signal that ended the block, or ``None`` if it came to its own end.

    """

    class _Stop(BaseException):
        pass

    def __init__(self, agree=lambda signum: signum):
        self.signum = None
        self._agree = agree
        self._came = None
        self._previous = {}

    def check(self):
        """Leaves the block if a signal has come. To be called where the work can stop."""
        signum = self._agree(self._came)
        if signum:
            self._came = signum
            raise self._Stop

    def _note(self, signum, frame):
        self._came = signum
        for each, handler in self._previous.items():
            # Not by a handler of Python: it would wait for what is under way, as for MPI.
            signal.signal(each, signal.SIG_DFL if handler is _end else handler)

    def __enter__(self):
        # Python allows handlers in the main thread alone. Elsewhere the caller looks after signals.
        if threading.current_thread() is threading.main_thread():
            for signum in _heeded_signals():
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, kind, error, traceback):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        if kind is self._Stop:
            self.signum = self._came
        return kind is self._Stop
