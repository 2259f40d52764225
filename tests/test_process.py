"""Ctrl-C and SIGTERM: of a process, and in a session."""

import os
import re
import signal
import subprocess
import sys

import pytest

from helpers import (
    CLONE,
    Session,
    assert_same_run,
    command_line,
    environment,
    main,
    read,
    send,
    start,
    start_command,
    wait_for,
)


@pytest.mark.parametrize(
    ('signum', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=['INT', 'TERM']
)
@pytest.mark.parametrize('line', ['graph generated', 'epoch 3'])
def test_a_signal_ends_the_run_and_its_command_goes_on(signum, status, line):
    epochs = 200 if os.name == 'nt' else 12  # there a signal takes a process to send it
    words = ['-e', epochs, '-b', 4, '-u', 20, '-n', 'trainflag', '-s', 1]
    main(*words, '-o', 'whole')
    process = start(*words, '-o', 'a directory')
    wait_for(process, line)
    send(process, signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    command = re.fullmatch(r'train_mnist.py: interrupted; go on with: (.*)\n', stderr)[1]
    if line == 'epoch 3':
        assert '-r' in command
        assert 2 <= read('a directory/mlp.state')['epoch'] < epochs
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert_same_run('a directory', 'whole')


@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(second):
    code = """
import time
from chainer_mnist.process import Interruption
with Interruption():
    print('ready', flush=True)
    time.sleep(60)
    print('first', flush=True)
    time.sleep(60)
"""
    process = start_command([sys.executable, '-c', code], env=environment(PYTHONPATH=str(CLONE)))
    wait_for(process, 'ready')
    send(process, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    send(process, second)
    assert process.communicate(timeout=10) == ('', '')
    assert os.name == 'nt' or process.returncode == -second


@pytest.mark.skipif(os.name == 'nt', reason='its shells have no such trap')
def test_a_signal_that_is_ignored_stays_so():
    """A shell starts a command in the background so, and a script's Ctrl-C is not for it."""
    ignoring = ['sh', '-c', 'trap "" INT; exec "$@"', 'sh', *command_line('--noplot', '-e', 9)]
    process = subprocess.Popen(ignoring, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in ('GPU: -1', 'epoch 2'):
        wait_for(process, line)
        send(process, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, '')
    assert read('result/mlp.state')['epoch'] == 9


@pytest.mark.parametrize(('signum', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_first_epoch(signum, status):
    process = start()
    wait_for(process, 'GPU: -1')
    send(process, signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    assert 'Traceback' not in stderr


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    main('-e', 1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# In a session Ctrl-C ends what is done, and never the session.


def assert_goes_on(session):
    session.type('print(6 * 7)\n')
    session.wait_for('42')


@pytest.mark.parametrize('line', ['GPU: -1', 'epoch 2'])
def test_ctrl_c_in_a_run_leaves_the_session(line):
    with Session(sys.executable, '-i', CLONE / 'train_mnist.py', '-e', 10**6) as session:
        session.wait_for(line)
        session.type('\x03')
        session.wait_for('>>> ')
        assert_goes_on(session)


def test_ctrl_c_after_a_run_is_the_sessions():
    with Session(sys.executable, '-i', CLONE / 'train_mnist.py', '-e', 0) as session:
        session.wait_for('>>> ')
        session.type('\x03')
        session.wait_for('KeyboardInterrupt')
        assert_goes_on(session)


def test_a_second_ctrl_c_leaves_the_session():
    code = 'import chainer_mnist.process, time\nwith chainer_mnist.process.Interruption(): '
    code += 'print("ready"); time.sleep(1); print("first"); time.sleep(60)'
    with Session('env', f'PYTHONPATH={CLONE}', sys.executable, '-i', '-c', code) as session:
        for line in ('ready', 'first'):
            session.wait_for(line)
            session.type('\x03')
        session.wait_for('KeyboardInterrupt')
        session.wait_for('>>> ')
        assert_goes_on(session)


@pytest.mark.parametrize('line', ['GPU: -1', 'epoch 2', 'save the optimizer'])
def test_ctrl_c_leaves_ipython(line):
    pytest.importorskip('IPython')
    with Session(sys.executable, '-m', 'IPython', '--simple-prompt') as session:
        session.wait_for('In [1]: ')
        epochs = 0 if line == 'save the optimizer' else 10**6
        session.type(f'%run {CLONE / "train_mnist.py"} --noplot -e {epochs}\n')
        session.wait_for(line)
        if not epochs:
            session.wait_for('In [2]: ')
        session.type('\x03')
        session.wait_for('In [2]: ' if epochs else 'KeyboardInterrupt')
        assert_goes_on(session)
