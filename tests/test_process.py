"""Ctrl-C and SIGTERM."""

import os
import re
import signal
import subprocess
import sys

import pytest

from helpers import (
    CLONE,
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
    # A shell may have set the variable for one command alone. On Windows it has no way to do so.
    env = os.environ if os.name == 'nt' else environment(CHAINER_DATASET_ROOT=None)
    subprocess.run(command, shell=True, check=True, capture_output=True, env=env)
    assert_same_run('a directory', 'whole')


@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(second):
    code = """
import time
from chainer_mnist import process
process.prepare()
with process.Interruption():
    print('ready', flush=True)
    for _ in range(6000):  # a signal that comes just before a long sleep would not end it
        time.sleep(0.01)
    print('no end', flush=True)
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
