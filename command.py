"""What the commands of this project share: one-line errors, standard streams and signals."""

import argparse
import contextlib
import functools
import os
import platform
import signal
import sys
import threading
import time

import chainer_compat  # noqa: F401  Chainer does not import without it
import chainer
import numpy

VERSION = '1.0.0'  # the newest in CHANGELOG.md


class UserError(Exception):
    """Something that the user can mend.

    Args:
        message (str): What it is and how to mend it.
        shared (bool): Whether all processes of a run under MPI meet it, so that one of them says it
            for all.

    """

    def __init__(self, message, shared=False):
        super().__init__(message)
        self.shared = shared


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
        if shared:
            return
        time.sleep(1)  # if rank 0 meets the same, its exit ends this process here
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
        _to_nowhere(sys.stderr)


@contextlib.contextmanager
def printing():
    """Flushes what a ``with`` block prints on standard output.

    Raises:
        BrokenPipeError: If nobody reads on.
        UserError: If standard output cannot be written otherwise, as on a full disk.

    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        _to_nowhere(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise UserError(
            f'cannot write to standard output: {error.strerror}; send it elsewhere'
        ) from None


def _to_nowhere(stream):
    """Drops what a stream could not write. Python would try again at its exit, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage, and that knows the version.

    Args:
        options: As for ``argparse.ArgumentParser``.

    """

    def __init__(self, **options):
        super().__init__(**options)
        parts = f'Chainer {chainer.__version__}, NumPy {numpy.__version__}'
        self.add_argument(
            '--version',
            action='version',
            version=f'{self.prog} {VERSION} ({parts}, Python {platform.python_version()})',
            help='print the versions of this script and of what it runs on, and exit',
        )

    def parse_args(self, args=None, namespace=None):
        """Parses a command line.

        Args:
            args (list): The arguments, strings. ``None`` takes those of the process.
            namespace (argparse.Namespace): What to set, or ``None``.

        Returns:
            argparse.Namespace: The options.

        Raises:
            BrokenPipeError: If nobody reads the help or the version.
            UserError: If they cannot be written.

        """
        try:
            with printing():  # the help or the version
                parsed = super().parse_args(args, namespace)
        except IndexError:  # Python 3.9 stumbles over "-h="
            self.error('a flag that takes no value is given one')
        for action in self._actions:
            # Some releases of Python make an empty list of "-g=--".
            if action.nargs is None and getattr(parsed, action.dest) == []:
                self.error(f'argument {"/".join(action.option_strings)}: expected one argument')
        return parsed

    def error(self, message):
        """Prints the error on standard error and exits with status 2."""
        print_error(f'{self.prog}: error: {message}; see {self.prog} --help', shared=True)
        self.exit(2)


def path(text):
    """Takes a path on the command line: the argparse type.

    Args:
        text (str): The argument.

    Returns:
        str: The path. It is no flag where it is printed as a part of a command.

    Raises:
        argparse.ArgumentTypeError: If it is empty, as from a shell's variable that is not set.

    """
    if not text:
        raise argparse.ArgumentTypeError('the path is empty')
    return os.path.join('.', text) if text.startswith('-') else text


def whole_number(least=None, most=None):
    """Makes an argparse type for whole numbers.

    Args:
        least (int): The least number that is allowed. ``None`` means that there is no limit.
        most (int): The greatest number that is allowed. ``None`` means that there is no limit.

    Returns:
        callable: Turns the text of an argument into an int.

    """
    limits = '' if least is None else f' from {least} on'
    if most is not None:
        limits = f' from {least} to {most}'

    def parse(text):
        try:
            number = int(text)
            if (least is None or least <= number) and (most is None or number <= most):
                return number
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number{limits}')

    return parse


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
                return 128 + signal.SIGPIPE
            print_error(f'{prog}: error: {message}', shared)
            return 1

        return wrapper

    return decorate


def prepare_process():
    """Makes standard streams and signals fit for a command.

    A standard stream that is closed is replaced by one that leads nowhere. Characters that the
    encoding of standard output lacks are printed as escapes. Ctrl-C and SIGTERM end the process at
    once, without a traceback: status 130 and 143. Files are replaced as a whole, so that nothing is
    lost by it.
    """
    # In this order each takes its own number, which would else be that of the next file.
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))  # noqa: SIM115
    with contextlib.suppress(AttributeError):  # IDLE's own stream has no such method
        sys.stdout.reconfigure(errors='backslashreplace')
    for signum in _heeded_signals():
        signal.signal(signum, lambda signum, frame: os._exit(128 + signum))


def _heeded_signals():
    """Ctrl-C and SIGTERM. What is ignored, as in a background job of a shell, stays ignored."""
    signums = (signal.SIGINT, signal.SIGTERM)
    return [signum for signum in signums if signal.getsignal(signum) is not signal.SIG_IGN]


class Interruption:
    """Lets the work in a ``with`` block come to an orderly end on Ctrl-C or SIGTERM.

    A second signal ends the process at once.

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
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)

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
