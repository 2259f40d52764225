"""``main`` in Python's own shell, in IPython and in Jupyter: Ctrl-C belongs to the session."""

import importlib.util
import os
import re
import select
import subprocess
import sys

import pytest

from helpers import CLONE, environment, read

SCRIPT = str(CLONE / 'train_mnist.py')
FOREVER = 10**6  # epochs
GO_ON = 'train_mnist.py: interrupted; go on with: '


class Session:
    """Python on a terminal of its own, where a test types and reads."""

    def __init__(self, *words):
        pytest.importorskip('pty')
        spawn = 'import pty, sys; pty.spawn(sys.argv[1:])'
        self._process = subprocess.Popen(
            [sys.executable, '-c', spawn, sys.executable, *words],
            env=environment(PYTHON_BASIC_REPL='1', TERM='dumb', IPYTHONDIR=os.getcwd()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._shown = ''

    def type(self, text):
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def wait_for(self, text):
        """Waits until something is shown. Returns what was shown before."""
        while text not in self._shown:
            ready, _, _ = select.select([self._process.stdout], [], [], 60)
            part = os.read(self._process.stdout.fileno(), 65536) if ready else b''
            assert part, f'{text!r} was never shown: {self._shown}'
            self._shown += part.decode(errors='replace').replace('\r', '')
        before, _, self._shown = self._shown.partition(text)
        return before

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()


@pytest.fixture(params=['python', 'IPython'])
def session(request):
    """A session in which the script has run, and how it shows that a line has come to its end."""
    if request.param == 'python':
        session = Session('-i', SCRIPT, '--noplot', '-e', '1')
    else:
        pytest.importorskip('IPython')
        session = Session('-m', 'IPython', '--simple-prompt', '--no-banner')
        session.type(f'%run {SCRIPT} --noplot -e 1\n')
    session.wait_for('save the optimizer')
    yield session
    session.close()


CTRL_C = '\x03'


def test_ctrl_c_belongs_to_the_session(session):
    session.type('import time; print(6 * 7); time.sleep(60)\n')
    session.wait_for('42')
    session.type(CTRL_C)
    session.wait_for('KeyboardInterrupt')
    session.type(f'main(["--noplot", "-e", "{FOREVER}", "-o", "b"])\n')
    session.wait_for('epoch 3')
    session.type(CTRL_C)
    session.wait_for(GO_ON)
    session.wait_for('130')
    assert read('b/mlp.state')['epoch'] >= 2
    session.type('print(7 * 7)\n')
    session.wait_for('49')


def test_ctrl_c_before_the_first_epoch_and_twice(session):
    for line in ('GPU: -1', 'epoch 2'):
        session.type(f'main(["--noplot", "-e", "{FOREVER}"])\n')
        session.wait_for(line)
        session.type(CTRL_C)
        session.type(CTRL_C)
        session.type('print(7 * 7)\n')
        session.wait_for('49')


def test_the_second_ctrl_c_does_not_end_a_program_around_the_run():
    code = """
import signal
from chainer_mnist.process import Interruption
try:
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        print('first', flush=True)
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print('second')
"""
    env = environment(PYTHONPATH=str(CLONE))
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ('first\nsecond\n', '')


@pytest.mark.parametrize(
    ('flags', 'mend'),
    [
        ([], 'see train_mnist.py --help'),
        (['-i'], 'the arguments are those of this session: call main([]) to give none'),
    ],
)
def test_arguments_of_the_session(flags, mend):
    code = 'import train_mnist; train_mnist.main()'
    done = subprocess.run(
        [sys.executable, *flags, '-c', code, '-f', 'kernel.json'],
        env=environment(PYTHONPATH=str(CLONE)),
        input='',
        capture_output=True,
        text=True,
    )
    message = f'train_mnist.py: error: unrecognized arguments: -f kernel.json; {mend}'
    assert done.stderr.splitlines()[0] == message


@pytest.mark.skipif(
    importlib.util.find_spec('ipykernel') is None, reason='ipykernel is not installed'
)
def test_in_a_notebook():
    client_of = pytest.importorskip('jupyter_client.manager')
    manager, client = client_of.start_new_kernel(
        env=environment(PYTHONPATH=str(CLONE), IPYTHONDIR=os.getcwd())
    )

    def run(code, interrupt_at=None):
        """Runs a cell, interrupts it when it prints something, and returns what it printed."""
        printed = []

        def show(message):
            content = message['content']
            printed.append(content.get('text') or '\n'.join(content.get('traceback', [])))
            nonlocal interrupt_at
            if interrupt_at and interrupt_at in ''.join(printed):
                manager.interrupt_kernel()
                interrupt_at = None

        client.execute_interactive(code, output_hook=show, timeout=60)
        return ''.join(printed)

    try:
        run('kept = 42')
        message = 'train_mnist.py: error: unrecognized arguments: .*; the arguments are those of '
        message += r'this session: call main\(\[\]\) to give none\n'
        assert re.match(message, run('import train_mnist; status = train_mnist.main()'))
        assert 'save the model' in run('train_mnist.main(["-e", "1"])')
        assert 'KeyboardInterrupt' in run(f'%run {SCRIPT} -e {FOREVER}', 'GPU: -1')
        assert GO_ON in run(f'%run {SCRIPT} -e {FOREVER}', 'epoch 2')
        assert 'KeyboardInterrupt' in run('print(1)\nwhile True: pass', '1')
        assert run('print(kept, status)') == '42 2\n'
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
