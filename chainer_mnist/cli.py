"""The command line: flags, integers and paths, and commands to paste into a shell."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import glob
import math
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import chainer_mnist
from chainer_mnist.console import mpi_rank, print_error

import chainer
import numpy


class ArgumentParser(argparse.ArgumentParser):
    """The parser of a script: one-line errors, ``--version``, and commands that can be pasted.

    The description is shown line by line, as it is.
    """

    def __init__(self, script: str, description: str | None) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(os.path.basename(script), None, description, formatter_class=layout)
        self._script = script
        self.add_argument(
            '--version',
            action='version',
            version=f'{self.prog} {chainer_mnist.__version__} (Chainer {chainer.__version__}, '
            f'NumPy {numpy.__version__}, Python {sys.version.split()[0]})',
            help='print the versions of this script and of what it runs on, and exit',
        )

    def command(self, launcher: list[str], args: argparse.Namespace, **changes: Any) -> str:
        """Returns the command line that gives ``args`` but for ``changes``, to paste into a shell.

        A change to ``None`` leaves the option out.
        """
        is_called = os.path.basename(sys.argv[0]) == self.prog  # and not from a notebook
        words = [*launcher, sys.argv[0] if is_called else self._script]
        flags = {action.dest: action.option_strings for action in self._actions}
        for name, value in {**vars(args), **changes}.items():
            if value is not None and (name in changes or value != self.get_default(name)):
                words += [flags[name][0], *([] if value is True else [str(value)])]
        return shell_join(words)

    def error(self, message: str) -> NoReturn:
        """Prints a one-line error, on rank 0 of an MPI job, and exits with status 2."""
        word = message.partition('unrecognized arguments: ')[2].partition(' ')[0].partition('=')[0]
        flags = [flag for action in self._actions for flag in action.option_strings]
        for flag in difflib.get_close_matches(word, flags, 1):
            message += f' (did you mean {flag}?)'
        if not mpi_rank():
            print_error(f'{self.prog}: error: {message}; see {self.prog} --help')
        self.exit(2)


def path(text: str) -> str:
    """The argparse type of a path. One that starts with a dash is written so that it is no flag."""
    if not text:  # a variable of a shell that is not set
        raise argparse.ArgumentTypeError('the path is empty')
    return os.path.join('.', text) if text.startswith('-') else text


def int_range(low: float = -math.inf, high: float = math.inf) -> Callable[[str], int]:
    """Makes the argparse type of an integer between two bounds, both included."""
    bounds = f' >= {low}' if low > -math.inf else ''
    if high < math.inf:
        bounds = f' from {low} to {high}'

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            number = int(text)
            if low <= number <= high:
                return number
        raise argparse.ArgumentTypeError(f'{text!r} must be an integer{bounds}')

    return parse


def expand_globs(paths: list[str]) -> list[str]:
    """Expands ``*`` and ``?``, which Windows' shells leave to the program."""
    found = []
    for path in paths:
        matches = [] if os.path.lexists(path) else sorted(glob.glob(path.replace('[', '[[]')))
        found += matches or [path]
    return found


def shell_join(words: list[str]) -> str:
    """Joins words to a command for the shells of this system."""
    return subprocess.list2cmdline(words) if os.name == 'nt' else shlex.join(words)


def python_executable() -> str:
    """Returns ``python`` where the shell finds this Python so, or else its path."""
    found = os.path.normcase(shutil.which('python') or '') == os.path.normcase(sys.executable)
    return 'python' if found else sys.executable
