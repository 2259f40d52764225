"""Ctrl-C and SIGTERM, also in a session that goes on afterwards."""

import os
import re
import signal
import subprocess
import sys
import threading

from chainer_mnist.signals import SIGNALS, GracefulInterrupt

import pytest

import train_mnist
from helpers import assert_same_run, posix_only, read, start, start_command, train, wait_for

INTERRUPTED = 'train_mnist.py: interrupted; resume with: '
SENT = [signal.SIGINT, signal.SIGHUP, signal.SIGTERM] if os.name != 'nt' else [signal.SIGBREAK]
each_signal = pytest.mark.parametrize('signum', SENT)


def send(process, signum):
    process.send_signal(signal.CTRL_BREAK_EVENT if os.name == 'nt' else signum)


@pytest.mark.parametrize(
    ('signum', 'line'), list(zip(SENT, ['graph generated', 'epoch 3', 'epoch 3']))
)
def test_a_signal_ends_the_run_and_its_command_resumes(signum, line, monkeypatch):
    words = ['-e', 12, '-b', 4, '-u', 20, '-n', 'trainflag']
    process = start(*words, '-o', 'a directory')
    seed = re.search(r'# seed: (\d+)', wait_for(process, line))[1]
    send(process, signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    train(*words, '-s', seed, '-o', 'whole')
    command = re.fullmatch(f'{INTERRUPTED}(.*)\n', errors)[1]
    if line == 'epoch 3':
        assert 2 <= read('a directory/mlp.state')['epoch'] < 12
    if os.name != 'nt':  # the command sets the variable, which no shell of Windows can
        monkeypatch.delenv('CHAINER_DATASET_ROOT')
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert_same_run('a directory', 'whole')


@each_signal
def test_a_signal_before_the_first_epoch(signum):
    process = start()
    wait_for(process, 'GPU: -1')
    send(process, signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert 'Traceback' not in errors


@each_signal
def test_a_second_signal_ends_at_once(signum):
    code = """
import time
from chainer_mnist import signals
signals.setup_signals()
with signals.GracefulInterrupt():
    print('ready', flush=True)
    for _ in range(6000):  # a signal that comes just before a long sleep would not end it
        time.sleep(0.01)
    print('no end', flush=True)
"""
    process = start_command([sys.executable, '-c', code])
    wait_for(process, 'ready')
    send(process, SENT[0])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    send(process, signum)
    assert process.communicate(timeout=10) == ('', '')
    assert os.name == 'nt' or process.returncode == -signum


def test_a_signal_while_a_picture_is_written_leaves_no_part_of_it():
    code = """
import os, signal, sys
import train_mnist
def replace(source, path, replace=os.replace):
    if path.endswith('.png'):
        signal.raise_signal(int(sys.argv[1]))
    replace(source, path)
os.replace = replace
train_mnist.setup_signals()
train_mnist.main(['-e', '1'])
"""
    process = start_command([sys.executable, '-c', code, str(int(SENT[-1]))])
    assert process.communicate(timeout=60)[1] == ''
    assert process.returncode == 128 + SENT[-1]
    assert [name for name in os.listdir('result') if 'png' in name] == []


@posix_only
def test_a_signal_that_is_ignored_stays_ignored():
    """A shell starts a command in the background so: a script's Ctrl-C is not for it."""
    process = start('-e', 9, prefix=['sh', '-c', 'trap "" INT; exec "$@"', 'sh'])
    for line in ('GPU: -1', 'epoch 2'):
        wait_for(process, line)
        send(process, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, '')
    assert read('result/mlp.state')['epoch'] == 9


# Sessions


def test_the_second_ctrl_c_goes_to_the_program_around_the_run():
    with GracefulInterrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_restored_and_another_thread_has_none():
    before = [signal.getsignal(signum) for signum in SIGNALS]
    train('-e', 1)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    thread = threading.Thread(target=train, args=('-e', 1, '-o', 'thread'))
    thread.start()
    thread.join()
    assert os.path.exists('thread/mlp.state')


@posix_only
def test_ctrl_c_in_a_session():
    """It ends what runs, and never the session."""
    words = [sys.executable, '-i', train_mnist.__file__, '--noplot', '-e0']
    session = start_command(words, stdin=subprocess.PIPE)
    for line, printed in (
        ('import time; print("ready", flush=True); time.sleep(60)', 'ready'),
        ('main(["--noplot", "-e", "1000000", "-o", "b"])', 'epoch 3'),
        ('main(["--noplot", "-e", "1000000", "-o", "c"])', 'GPU: -1'),
    ):
        session.stdin.write(f'{line}\n')
        session.stdin.flush()
        wait_for(session, printed)
        send(session, signal.SIGINT)
    printed, errors = session.communicate('print(6 * 7)\n', timeout=60)
    assert '42' in printed
    assert INTERRUPTED in errors
    assert read('b/mlp.state')['epoch'] >= 2


def test_ctrl_c_in_a_notebook():
    pytest.importorskip('ipykernel')
    client_of = pytest.importorskip('jupyter_client.manager')
    manager, client = client_of.start_new_kernel(env={**os.environ, 'IPYTHONDIR': os.getcwd()})
    printed = []

    def show(message):
        printed.append(str(message['content']))
        if 'epoch 2' in printed[-1]:
            manager.interrupt_kernel()

    try:
        for epochs in (10**6, 1):
            cell = f'%run {train_mnist.__file__} --noplot -e {epochs}'
            client.execute_interactive(cell, output_hook=show, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert INTERRUPTED in ''.join(printed)
    assert 'save the optimizer' in ''.join(printed)
