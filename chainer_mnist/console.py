"""What a command prints: lines on standard output, hints on a terminal, errors in one line."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

# One training at a time in a process: NumPy's random numbers and Chainer's settings are shared.
_running = threading.RLock()


class UserError(Exception):
    """A mistake that the user can fix: ``WHAT; HOW TO FIX IT``."""


def mpi_rank() -> int | None:
    """Returns the rank that the MPI launcher gave this process, before MPI is initialized."""
    # MPICH and Intel MPI set the first, Open MPI the second, Slurm with PMIx the third.
    for name in ('PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'):
        if os.environ.get(name, '').isdecimal():
            return int(os.environ[name])
    return None


def print_line(*words: object) -> None:
    """Prints a line on standard output, flushed."""
    print(*words, flush=True)


def print_stderr(text: str) -> None:
    """Prints on standard error. If that fails, the exit status has to do."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        redirect_to_devnull(sys.stderr)


def print_hint(text: str) -> None:
    """Prints a remark on standard error if that is a terminal."""
    if sys.stderr.isatty():
        print_stderr(text)


def print_error(line: str) -> None:
    """Prints an error as one line, with the rank in an MPI job."""
    rank = mpi_rank()
    if rank:
        time.sleep(1)  # if rank 0 has the same error, its exit ends this process meanwhile
        import socket  # rarely needed

        line += f' (rank {rank} on {socket.gethostname()})'
    # File names in it may hold line breaks.
    print_stderr(''.join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def redirect_to_devnull(stream: TextIO) -> None:
    """Drops what a stream could not write, which Python would write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line_errors(prog: str, memory_hint: str) -> Callable[[Callable], Callable[..., int]]:
    """Makes a decorator for ``main``: errors become one line and an exit status.

    The status is 2 for a wrong command line, 1 for any other error, or else what ``main`` returns.
    """

    def decorate(main: Callable) -> Callable[..., int]:
        @functools.wraps(main)
        def wrapper(argv: list[str] | None = None) -> int:
            try:
                try:
                    with _running:
                        status = main(argv)
                except SystemExit as exit:  # by argparse: --help or a wrong command line
                    status = exit.code
                sys.stdout.flush()
                return status
            except UserError as error:
                message = str(error)
            except MemoryError:
                message = f'not enough memory; {memory_hint}'
            except OSError as error:  # by printing: other places have their own messages
                if error.filename is None:
                    redirect_to_devnull(sys.stdout)
                where = error.filename or 'standard output'
                message = f'cannot write to {where}: {error.strerror}; redirect it elsewhere'
            print_error(f'{prog}: error: {message}')
            return 1

        return wrapper

    return decorate
