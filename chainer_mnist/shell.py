"""Commands that a person can paste into a shell."""

import os
import re
import shlex
import shutil
import sys


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
        return ' '.join(map(_quote, words))
    program, *arguments = words
    # PowerShell runs no program whose name is in quotes from its first letter on.
    start, name = re.fullmatch(r'(.?:?\\+)?(.*)', program, re.S).groups('')
    return ' '.join([start + _windows_quote(name), *map(_windows_quote, arguments)])


def _quote(word):
    encoding = getattr(sys.stderr, 'encoding', None) or 'utf-8'
    if word.encode(encoding, 'ignore').decode(encoding) == word:
        return shlex.quote(word)
    # The terminal cannot show it. So its bytes are spelled, as bash and zsh read them.
    return "$'" + ''.join(f'\\x{byte:02x}' for byte in os.fsencode(word)) + "'"


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


def with_variable(name, command):
    """Writes a command that finds a variable of the environment as it is here.

    Windows' shells have no way in common to do so. There it has to be set already.

    Args:
        name (str): The variable.
        command (str): The command, for a shell.

    Returns:
        str: The command, with the variable before it if it is set.

    """
    value = os.environ.get(name)
    return command if os.name == 'nt' or not value else f'{name}={_quote(value)} {command}'
