"""Writes files so that nobody ever meets half of one."""

import contextlib
import errno
import os
import sys
import time

from chainer_mnist.errors import UserError, mpi_rank

if sys.platform == 'win32':
    import msvcrt
else:
    import fcntl


def prepare(out):
    """Makes sure that files can be written into a directory.

    Args:
        out (str): The directory. It is created if need be.

    Raises:
        UserError: If it cannot be created or written.

    """
    try:
        os.makedirs(out, exist_ok=True)
        # Not by tempfile, which tries one name after another without end where Windows allows none.
        probe = os.path.join(out, f'{os.getpid()}.tmp')
        open(probe, 'ab').close()
        _patiently(os.remove, probe)
    except (OSError, RecursionError) as error:  # makedirs calls itself for each directory
        reason = getattr(error, 'strerror', error)
        raise UserError(
            f'cannot write to {out}: {reason}; choose another directory with -o'
        ) from None


@contextlib.contextmanager
def lock(out, communicator=None):
    """Lets no other run write to a directory within a ``with`` block.

    The lock ends with the process, in whatever way that ends. Where the file system has no locks,
    there is none.

    Args:
        out (str): The directory.
        communicator (str): The value of ``--communicator``, or ``None``.

    Raises:
        UserError: If another run writes to it.

    """
    with contextlib.ExitStack() as stack:
        try:
            _lock(out, stack)
        except BlockingIOError:
            mend = 'wait for its end, or choose another directory with -o'
            if mpi_rank() is not None and communicator is None:
                mend = 'to make all processes one run, add --communicator'
            raise UserError(f'another run writes to {out}; {mend}') from None
        except OSError:  # not every file system has locks
            pass
        yield


if sys.platform == 'win32':

    def _lock(out, stack):
        """Windows opens no directory. So a file in it is locked."""
        path = os.path.join(out, '.lock')
        stack.callback(_remove_unless_open, path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        stack.callback(os.close, descriptor)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno != errno.EINVAL:  # so it says that there are no locks
                raise BlockingIOError from None

else:

    def _lock(out, stack):
        descriptor = os.open(out, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_unless_open(path):
    with contextlib.suppress(OSError):
        os.remove(path)


def write(contents):
    """Replaces files as a whole. Where one cannot be written, as on a full disk, none is replaced.

    Where one cannot be replaced, as on Windows while it is open, those before it are new. A link is
    replaced too, and not followed.

    Args:
        contents (dict): The new content of each file, bytes, by its path.

    Raises:
        UserError: If one cannot be written. What stood at its path stands there still.

    """
    try:
        for path, content in contents.items():
            with contextlib.suppress(FileNotFoundError):
                # It is of a killed run; or a link or a pipe, which would be followed.
                _patiently(os.remove, f'{path}.tmp')
            with _patiently(open, f'{path}.tmp', 'xb') as file:
                file.write(content)
        for path in contents:
            _patiently(os.replace, f'{path}.tmp', path)
    except BaseException as error:
        for written in contents:
            with contextlib.suppress(OSError):
                os.remove(f'{written}.tmp')
        if isinstance(error, OSError):
            mend = 'make room'
            if _is_refused_by_windows(error):
                mend = 'close the program that has it open, or make it writable,'
            raise UserError(
                f'cannot write {path}: {error.strerror}; {mend} or choose another directory '
                'with -o; what was written before is whole'
            ) from None
        raise


def _patiently(act, *args):
    """Tries again for two seconds where Windows refuses, since most programs look in for less."""
    for pause in (0.01 * 2**i for i in range(8)):
        try:
            return act(*args)
        except PermissionError as error:
            if not _is_refused_by_windows(error):
                raise
        time.sleep(pause)
    return act(*args)


def _is_refused_by_windows(error):
    """Windows refuses to replace and to remove what another program has open, and its name too."""
    return sys.platform == 'win32' and isinstance(error, PermissionError)
