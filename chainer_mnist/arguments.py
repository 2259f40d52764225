"""The command line: flags, whole numbers and paths, and errors of one line."""

import argparse
import glob
import math
import os
import platform
import sys

import chainer_mnist
from chainer_mnist.errors import print_error
from chainer_mnist.process import in_session
from chainer_mnist.shell import shell_join
from chainer_mnist.streams import printing

import chainer
import numpy


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, that knows the version, and that can write commands.

    Args:
        script (str): The path of the script whose command line it is.
        description (str): What the script does.

    """

    def __init__(self, script, description):
        super().__init__(prog=os.path.basename(script), description=description)
        self._script = script
        self._mend = f'see {self.prog} --help'
        parts = f'Chainer {chainer.__version__}, NumPy {numpy.__version__}'
        self.add_argument(
            '--version',
            action='version',
            version=f'{self.prog} {chainer_mnist.__version__} '
            f'({parts}, Python {platform.python_version()})',
            help='print the versions of this script and of what it runs on, and exit',
        )

    def command(self, before, args, changes):
        """Writes a command line: what gives some options, but for some of them.

        Args:
            before (list): The words before the script, strings.
            args (argparse.Namespace): The options.
            changes (dict): Other values by the names of options. ``None`` leaves one out.

        Returns:
            str: The command, for a shell.

        """
        # The script is called as it was, where it was called by its name.
        words = [*before, sys.argv[0] if self._is_called() else self._script]
        flags = {action.dest: sorted(action.option_strings, key=len) for action in self._actions}
        for name, value in changes.items():
            words += [] if value is None else [flags[name][0], str(value)]
        for name, value in vars(args).items():
            if name not in changes and value != self.get_default(name):
                words += [flags[name][-1], *([] if value is True else [str(value)])]
        return shell_join(words)

    def _is_called(self):
        """Says whether the process's command line is the script's, and no notebook's."""
        return os.path.basename(sys.argv[0]) == self.prog

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
        if args is None and in_session() and not self._is_called():
            self._mend = 'the arguments are those of this session: call main([]) to give none'
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
        print_error(f'{self.prog}: error: {message}; {self._mend}', shared=True)
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


def expand(paths):
    """Expands ``*`` and ``?`` in paths, which the shells of Windows leave to the program.

    Args:
        paths (list): The paths, strings.

    Returns:
        list: The paths of the files, in the order of their names where there are several. What no
        file is called stays as it is.

    """
    found = []
    for path in paths:
        # A bracket is a letter like others there.
        names = [] if os.path.lexists(path) else sorted(glob.glob(path.replace('[', '[[]')))
        found += names or [path]
    return found


def whole_number(least=-math.inf, most=math.inf):
    """Makes an argparse type for whole numbers.

    Args:
        least (int): The least number that is allowed.
        most (int): The greatest number that is allowed. Where there is one, there is a least too.

    Returns:
        callable: Turns the text of an argument into an int.

    """
    limits = '' if least == -math.inf else f' from {least} on'
    if most < math.inf:
        limits = f' from {least} to {most}'

    def parse(text):
        try:
            number = int(text)
            if least <= number <= most:
                return number
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number{limits}')

    return parse
