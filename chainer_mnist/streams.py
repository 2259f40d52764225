"""What a command prints: lines on standard output, and hints on a terminal."""

import contextlib
import errno
import os
import sys
import threading

from chainer_mnist.errors import UserError, to_nowhere

from tqdm import tqdm

# The lock that tqdm makes serves several processes. From Python 3.14 on it starts one of its own,
# which prints a warning when the run is killed.
tqdm.set_lock(threading.RLock())


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
        to_nowhere(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        if os.name == 'nt' and error.errno == errno.EINVAL:  # so Windows says the same
            raise BrokenPipeError from None
        raise UserError(
            f'cannot write to standard output: {error.strerror}; send it elsewhere'
        ) from None


def say(*words):
    """Prints a line on standard output at once, past any progress bar on the terminal.

    Args:
        words: What to print, as for ``print``.

    Raises:
        BrokenPipeError: If nobody reads on.
        UserError: If standard output cannot be written otherwise, as on a full disk.

    """
    with printing():
        tqdm.write(' '.join(map(str, words)), file=sys.stdout)


def hint(text):
    """Prints a remark for a person: on standard error, and only where that is a terminal.

    Args:
        text (str): The remark.

    """
    if sys.stderr.isatty():
        tqdm.write(text, file=sys.stderr)
