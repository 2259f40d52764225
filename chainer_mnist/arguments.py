"""The command line: flags, whole numbers and paths, and errors of one line."""

import argparse
import glob
import os
import platform
import re
import shlex
import shutil
import sys

import chainer_mnist
from chainer_mnist.errors import UserError, print_error
from chainer_mnist.process import is_session
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
            UserError: If they cannot be written, or the arguments of the process are not for this
                script, as in Jupyter.

        """
        if args is None and sys.argv[1:] and is_session() and not self._is_called():
            raise UserError(
                f'the arguments of this process are for {os.path.basename(sys.argv[0])}; '
                'call main([]), with options in the list'
            )
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


def shell_join(words):
    """Writes a command for the shells of this system.

    On Windows these are ``cmd`` and PowerShell, which have nothing but double quotes in common. In
    a name that holds a dollar sign, a backquote or a typographic quote, PowerShell reads more.

    Args:
        words (list): The words of the command, strings.

    Returns:
        str: The command.

    """
    if os.name != 'nt':
        return shlex.join(words)
    program, *arguments = words
    # PowerShell runs no program whose name is in quotes from its first letter on.
    start, name = re.fullmatch(r'(.?:?\\+)?(.*)', program, re.S).groups('')
    return ' '.join([start + _windows_quote(name), *map(_windows_quote, arguments)])


def _windows_quote(word):
    if re.fullmatch(r'[\w.:/\\=+-]+', word):
        return word
    return '"' + re.sub(r'(\\*)$', r'\1\1', word, count=1) + '"'


def this_python():
    """Finds the shortest name by which a shell starts this Python here.

    Returns:
        str: ``python`` where the shell finds it so, or else its path.

    """
    if os.path.normcase(shutil.which('python') or '') == os.path.normcase(sys.executable):
        return 'python'
    try:
        path = os.path.relpath(sys.executable)
    except ValueError:  # Windows has no way from one drive to another
        return sys.executable
    return sys.executable if path.startswith(os.pardir) else os.path.join(os.curdir, path)


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
