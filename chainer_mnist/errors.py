"""A mistake of the user: one line that says how to mend it, and an exit status."""

import functools
import os
import sys
import time


class UserError(Exception):
    """Something that the user can mend.

    Args:
        message (str): What it is and how to mend it.
        shared (bool): Whether all processes of a run under MPI meet it, so that one of them says it
            for all.
        near (int): How near it is to what works. Of several errors, the nearest is said.

    """

    def __init__(self, message, shared=False, near=0):
        super().__init__(message)
        self.shared, self.near = shared, near


def mpi_rank():
    """Looks up the rank of this process, which is known before MPI starts.

    Returns:
        int: The rank, or ``None`` if no launcher of MPI has started the process.

    """
    # MPICH and Intel MPI set the first, Open MPI the second, Slurm with PMIx the third.
    for name in ('PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'):
        if os.environ.get(name, '').isdecimal():
            return int(os.environ[name])
    return None


def print_error(line, shared=False):
    """Prints an error on standard error, once for all processes of a run under MPI that meet it.

    Args:
        line (str): The error.
        shared (bool): Whether it is known that all of them meet it.

    """
    if mpi_rank():
        time.sleep(1)  # if rank 0 meets the same and says it, its exit ends this process here
        if shared:
            return
        import socket  # hardly ever needed

        line += f' (process {mpi_rank()} on {socket.gethostname()})'
    line = line.replace('\u3002;', ';')  # the full stop of a Chinese or Japanese Windows
    # One line it stays, whatever the names in it hold.
    tell(''.join(c if c.isprintable() else repr(c)[1:-1] for c in line))


def tell(text):
    """Prints on standard error. Where that takes no more, the exit status has to do.

    Args:
        text (str): What to print.

    """
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        to_nowhere(sys.stderr)


def to_nowhere(stream):
    """Drops what a stream could not write. Python would try again at its exit, and fail.

    Args:
        stream (file): ``sys.stdout`` or ``sys.stderr``.

    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line_errors(prog, less_memory):
    """Makes a decorator for a command's ``main``: errors become one line and an exit status.

    Args:
        prog (str): The command's name, with which the line begins.
        less_memory (str): What to do where memory is short.

    Returns:
        callable: The decorator. The decorated function returns the exit status: what the function
        itself returned (0 if that is ``None``), 2 for a wrong command line, 141 where nobody reads
        on, as after ``| head``, 1 for any other error.

    """

    def decorate(main):
        @functools.wraps(main)
        def wrapper(argv=None):
            try:
                return main(argv) or 0
            except SystemExit as exit:  # argparse: --help, or a wrong command line
                return exit.code
            except UserError as error:
                message, shared = str(error), error.shared
            except MemoryError:
                shared = False
                message = f'not enough memory; {less_memory}'
            except BrokenPipeError:  # nobody reads on, as after "| head"
                return 141  # what a shell makes of SIGPIPE, which Windows does not know
            print_error(f'{prog}: error: {message}', shared)
            return 1

        return wrapper

    return decorate
