"""Atomic writes, and the lock of a directory that a run writes to."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import time
from collections.abc import Iterator

from chainer_mnist.console import UserError, mpi_rank

import filelock

ELSEWHERE = 'choose another directory with -o'

_locked: dict[str, os.stat_result] = {}  # of each directory in use, its lock
_temporary: list[str] = []  # the files that were written last, by the names they had first


def make_directory(out: str) -> None:
    """Makes a directory to write to, if need be. Raises ``UserError`` if that fails."""
    try:
        os.makedirs(out, exist_ok=True)
    except (OSError, RecursionError) as error:  # it calls itself for each directory
        reason = getattr(error, 'strerror', error)
        raise UserError(f'cannot write to {out}: {reason}; {ELSEWHERE}') from None


@contextlib.contextmanager
def lock(out: str) -> Iterator[None]:
    """Creates a directory if need be, and lets no other run write there within the block.

    A killed run releases the lock. Where a file system has no locks, there is none. Raises
    ``UserError`` if the directory cannot be written, is in use or does not stay the same.
    """
    make_directory(out)
    held = filelock.FileLock(os.path.join(out, '.lock'), timeout=0)
    try:
        held.acquire()
        for leftover in glob.glob(os.path.join(glob.escape(out), f'*.{"[0-9a-f]" * 8}.tmp')):
            os.remove(leftover)  # of a run that was killed while it wrote
        _locked[out] = os.stat(held.lock_file)
    except filelock.Timeout:
        fix = f'wait until it ends, or {ELSEWHERE}'
        if mpi_rank() is not None:
            fix = 'to make all processes one run, add --communicator'
        raise UserError(f'{out} is in use by another run; {fix}') from None
    except NotImplementedError:
        pass
    except OSError as error:
        raise UserError(f'cannot write to {out}: {error.strerror}; {ELSEWHERE}') from None
    try:
        yield
        _check_lock(out)
    finally:
        _locked.pop(out, None)
        with contextlib.suppress(OSError):  # then it is the end of the process that releases it
            held.release()


def _check_lock(out: str) -> None:
    """Raises ``UserError`` if another directory than the one in use has its name, or none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if out not in _locked or os.path.samestat(_locked[out], os.stat(f'{out}/.lock')):
            return
    what = f'{out} was moved, deleted or replaced during the run'
    raise UserError(f'{what}; resume with -r from where it is now, or start anew')


def write_atomically(out: str, contents: dict[str, bytes]) -> None:
    """Replaces the files in a directory by their new content, after all of it has been written.

    Each is flushed to the disk before it replaces the old one, so that a power cut leaves one of
    the two. A link is replaced and not followed. Raises ``UserError`` if writing fails.
    """
    paths = [os.path.join(out, name) for name in contents]
    suffix = f'.{secrets.token_hex(4)}.tmp'  # nobody can guess it, and no two runs have the same
    _temporary[:] = [path + suffix for path in paths]
    try:
        for path, content in zip(paths, contents.values()):
            _check_lock(out)
            with open(path + suffix, 'xb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in paths:
            _replace(path + suffix, path)
        _flush_directory(out)
    except OSError as error:
        fix = 'free disk space or ' if error.errno == errno.ENOSPC else ''
        if os.name == 'nt' and isinstance(error, PermissionError):
            fix = 'close the program that has it open or '
        what = f'cannot write {path}: {error.strerror}'
        raise UserError(f'{what}; {fix}{ELSEWHERE}; what was written before is complete') from None
    finally:
        remove_temporary_files()


def remove_temporary_files() -> None:
    """Removes what has been written and has not replaced a file. A signal ends here too."""
    for path in _temporary:
        with contextlib.suppress(OSError):
            os.remove(path)


def _replace(source: str, path: str) -> None:
    """Replaces a file. Windows refuses while another program has it open: tries for two seconds."""
    for i in range(9):
        try:
            return os.replace(source, path)
        except PermissionError:
            if os.name != 'nt' or i == 8:
                raise
        time.sleep(0.01 * 2**i)


def _flush_directory(directory: str) -> None:
    if os.name != 'nt':  # Windows cannot open a directory
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
