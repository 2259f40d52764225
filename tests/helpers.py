"""The real command line as a process, and what it leaves behind."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
import pytest

import train_mnist

CLONE = Path(train_mnist.__file__).parent


def command_line(*words):
    """The command line of ``train_mnist.py`` as a list for subprocess."""
    return [sys.executable, str(CLONE / 'train_mnist.py'), *map(str, words)]


def run(*words, **options):
    """Runs ``train_mnist.py`` as a process of its own and captures what it prints."""
    options = {'capture_output': True, 'text': True, 'timeout': 120, **options}
    return subprocess.run(command_line(*words), **options)


def train(*words):
    """Runs ``train_mnist.py`` as a process, which must go well and print no error or warning."""
    done = run('--noplot', *words)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


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
    """Whether two npz files hold the same arrays, bit for bit."""

    def content(path):
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    return content(a) == content(b)


def environment(**variables):
    """This process's environment with some variables set, or removed where they are ``None``."""
    env = {**os.environ, **{name: value for name, value in variables.items() if value is not None}}
    return {name: value for name, value in env.items() if variables.get(name, '') is not None}


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


def assert_quiet(done):
    assert (done.returncode, done.stderr) == (0, '')


def main(*words, program=train_mnist):
    """Runs a command within this process. Returns its status, and what it printed on each stream.

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


def tree():
    """All that stands under the current directory, with content and time of change."""
    return {
        path: (os.path.isfile(path) and open(path, 'rb').read(), os.stat(path).st_mtime_ns)
        for folder, _, names in os.walk('.')
        for path in (folder, *(os.path.join(folder, name) for name in names))
    }


def assert_refused(words, status, message):
    before = tree()
    done = run(*words)
    assert done.returncode == status
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', done.stderr), done.stderr
    assert 'epoch 1' not in done.stdout
    assert tree() == before


def log_of(out):
    with open(f'{out}/log') as file:
        return json.load(file)


def assert_same_run(a, b):
    """Asserts that two directories hold the same run, times apart."""
    for name in FILES:
        assert same(f'{a}/{name}', f'{b}/{name}'), name
    for one, other in zip(log_of(a), log_of(b)):
        assert {**one, 'elapsed_time': 0} == {**other, 'elapsed_time': 0}
    assert len(log_of(a)) == len(log_of(b))


def start(*words, **options):
    """Starts ``train_mnist.py``, on Windows with a console of its own."""
    return start_command(command_line('--noplot', *words), **options)


def start_command(words, **options):
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, **options}
    options['creationflags'] = getattr(subprocess, 'CREATE_NO_WINDOW', 0)
    return subprocess.Popen(words, **options)


def send(process, signum):
    """Sends a signal to a process. Where the system has no such signal, the test is skipped."""
    if os.name != 'nt':
        process.send_signal(signum)
    elif signum == signal.SIGINT:
        subprocess.run([sys.executable, '-c', CTRL_C, str(process.pid)], check=True)
    else:
        process.kill()
        process.communicate()
        pytest.skip('Windows has no such signal')


# On Windows it goes to all in a console, and so the sender has to go there, and not to heed it.
CTRL_C = """
import ctypes, sys
kernel = ctypes.windll.kernel32
kernel.FreeConsole()
assert kernel.AttachConsole(int(sys.argv[1]))
kernel.SetConsoleCtrlHandler(None, True)
assert kernel.GenerateConsoleCtrlEvent(0, 0)
"""


def wait_for(process, line):
    for printed in process.stdout:
        if printed == line + '\n':
            return
    pytest.fail(f'{line!r} was never printed: {process.stderr.read()}')


def content_of(out):
    return {name: (out / name).read_bytes() for name in [*FILES, 'log']}


def run_on_terminal(*words, **options):
    """Runs the script with standard error on a terminal. Returns what was printed and shown."""
    fcntl, pty = pytest.importorskip('fcntl'), pytest.importorskip('pty')
    import struct
    import termios

    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 90, 0, 0))
    process = subprocess.Popen(
        command_line(*words), stdout=subprocess.PIPE, stderr=its, text=True, **options
    )
    os.close(its)
    shown = b''
    with contextlib.suppress(OSError):  # so Linux says that the other end is closed
        while some := os.read(ours, 65536):
            shown += some
    os.close(ours)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return stdout, shown.decode()


FILES = ['classifier.model', 'mlp.model', 'mlp.state']
NUMBER = r'\d+\.\d+(e-\d+)?'


def lines_of(unit, batchsize, epochs, loads=(), first=1):
    """The documented lines, as regular expressions."""
    lines = ['GPU: -1', f'# unit: {unit}', f'# Minibatch-size: {batchsize}']
    lines += [f'# epoch: {epochs}', '', *map(re.escape, loads), r'# seed: \d+']
    for epoch in range(first, first + epochs):
        lines += [f'epoch {epoch}']
        lines += ['graph generated'] if epoch == first else []
        lines += [
            f'train mean loss={NUMBER}, accuracy={NUMBER}, throughput={NUMBER} images/sec',
            f'test  mean loss={NUMBER}, accuracy={NUMBER}',
        ]
    return [*lines, 'save the model', 'save the optimizer']


def assert_lines(printed, *args, **kwargs):
    expected = lines_of(*args, **kwargs)
    assert len(printed.splitlines()) == len(expected), printed
    for line, pattern in zip(printed.splitlines(), expected):
        assert re.fullmatch(pattern, line), (line, pattern)


def train_here(*words):
    """Trains within this process, which is quick."""
    assert train_mnist.main(['--noplot', *map(str, words)]) == 0
