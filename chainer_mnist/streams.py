"""What a command prints: lines on standard output, and hints on a terminal."""

import contextlib
import errno
import os
import sys

from chainer_mnist.errors import UserError, to_nowhere


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
        _write(' '.join(map(str, words)), sys.stdout)


def hint(text):
    """Prints a remark for a person: on standard error, and only where that is a terminal.

    Args:
        text (str): The remark.

    """
    if sys.stderr.isatty():
        _write(text, sys.stderr)


def _write(text, file):
    if 'tqdm' in sys.modules:  # before it is imported, which takes time, there is no bar to pass
        sys.modules['tqdm'].tqdm.write(text, file=file)
    else:
        print(text, file=file)
