"""Runs the scripts, within this process or as processes of their own, and reads what they leave."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import train_mnist

CLONE = Path(train_mnist.__file__).parent
FILES = ['classifier.model', 'mlp.model', 'mlp.state']

posix_only = pytest.mark.skipif(os.name == 'nt', reason='Windows has no such thing')

# Within this process


def main(*words, program=train_mnist):
    """Runs a script within this process. Returns its status and what it printed on each stream.

    The streams take every name, as those of a process do. Paths have slashes on Windows too.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), 'utf-8', 'backslashreplace') for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = program.main([str(word) for word in words])
    printed = []
    for stream in (out, err):
        stream.seek(0)
        printed.append(stream.read().replace(os.sep, '/'))
    return (status, *printed)


def train(*words):
    """Trains within this process, which must print no error. Returns what it printed."""
    status, printed, errors = main('--noplot', *words)
    assert (status, errors) == (0, ''), errors
    return printed


def assert_refused(words, status, message):
    """Asserts that a command ends with one line of error, and that nothing on disk changes."""
    before = tree()
    its_status, printed, errors = main(*words)
    assert its_status == status
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', errors), errors
    assert 'epoch 1' not in printed
    assert tree() == before


# As processes


def command_line(*words, script='train_mnist.py'):
    """The command line of a script as a list for subprocess."""
    return [sys.executable, str(CLONE / script), *map(str, words)]


def run(*words, script='train_mnist.py', prefix=(), **options):
    """Runs a script as a process, behind some words of a prefix, and captures what it prints."""
    return run_command([*prefix, *command_line(*words, script=script)], **options)


def run_code(code, *words):
    """Runs Python code, which can import the scripts, as a process."""
    return run_command([sys.executable, '-c', code, *map(str, words)])


def run_command(words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=120, **options)


def start(*words, prefix=(), **options):
    """Starts ``train_mnist.py``, without pictures, as a process."""
    return start_command([*prefix, *command_line('--noplot', *words)], **options)


def start_command(words, **options):
    """Starts a process, on Windows in a group of its own for its signals."""
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, **options}
    options['creationflags'] = getattr(subprocess, 'CREATE_NEW_PROCESS_GROUP', 0)
    return subprocess.Popen(words, **options)


def wait_for(process, text):
    """Waits until a process prints a line that ends with the text. Returns what it printed."""
    printed = ''
    for line in process.stdout:
        printed += line
        if line.endswith(f'{text}\n'):
            return printed
    pytest.fail(f'{text!r} was never printed: {process.stderr and process.stderr.read()}')


def environment(**variables):
    """This process's environment with some variables set, or removed where they are ``None``."""
    env = {**os.environ, **{name: value for name, value in variables.items() if value is not None}}
    return {name: value for name, value in env.items() if variables.get(name, '') is not None}


# Files


def read(path):
    """Reads an npz file into a dictionary."""
    with numpy.load(path) as npz:
        return dict(npz)


def rewrite(path, change):
    """Changes an npz file: ``change`` is called with the dictionary of its arrays."""
    content = read(path)
    change(content)
    with open(path, 'wb') as file:
        numpy.savez(file, **content)


def same(a, b):
    """Whether two npz files hold the same arrays, bit for bit. NumPy writes no times into them."""
    return Path(a).read_bytes() == Path(b).read_bytes()


def code_of(page, language=None):
    """The code blocks of a page, all or those of a language."""
    blocks = re.findall(r'^```(\w*)\n(.*?)^```$', page.read_text(encoding='utf-8'), re.M | re.S)
    return [code for its_language, code in blocks if language in (None, its_language)]


def log_of(out):
    return json.loads(Path(out, 'log').read_bytes())


def assert_same_run(a, b):
    """Asserts that two directories hold the same run, times apart."""
    for name in FILES:
        assert same(f'{a}/{name}', f'{b}/{name}'), name
    logs = [[{**record, 'elapsed_time': 0} for record in log_of(out)] for out in (a, b)]
    assert logs[0] == logs[1]


def content_of(out):
    """The bytes of each snapshot and of the log."""
    return {name: Path(out, name).read_bytes() for name in [*FILES, 'log']}


def tree():
    """All that is under the current directory, with content and time of change."""
    return {
        path: (os.path.isfile(path) and Path(path).read_bytes(), os.stat(path).st_mtime_ns)
        for folder, _, names in os.walk('.')
        for path in (folder, *(os.path.join(folder, name) for name in names))
    }


def make_pipe(path):
    """Makes a named pipe. Where the system has none, the test is skipped."""
    if not hasattr(os, 'mkfifo'):
        pytest.skip('there are no named pipes here')
    os.mkfifo(path)


def make_link(target, path):
    """Makes a link. Where Windows does not let this user make one, the test is skipped."""
    with contextlib.suppress(OSError):
        os.symlink(target, path)
    if not os.path.islink(path):
        pytest.skip('this user can make no links here')
