"""Runs on two hosts: two on this machine, with a cable between them, where that can be had."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

from chainer_mnist import hosts

import numpy
import pytest

from benchmarks.two_hosts import TwoHosts, missing
from helpers import CLONE, read, train
from test_parallel import assert_close_runs, with_mpi

pytestmark = with_mpi


@pytest.fixture(scope='module')
def why_not():
    return missing()


@pytest.fixture
def two(why_not):
    if why_not:
        pytest.skip(f'two hosts cannot be had here: {why_not}')
    with TwoHosts() as two:
        yield two


# What takes half a minute otherwise.
IMPATIENT = """
import sys
from chainer_mnist import hosts
import train_mnist

hosts.PATIENCE = 5
sys.argv[0] = 'train_mnist.py'
sys.exit(train_mnist.main())
"""


def start(two, *words, **options):
    """Starts a run on the two hosts."""
    with open('impatient.py', 'w') as file:
        file.write(IMPATIENT)
    command = [sys.executable, 'impatient.py', '-c', 'naive', '--noplot', '-b', 50, *words]
    options['env'] = {'PYTHONPATH': str(CLONE)}
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    return two.mpiexec(*command, **pipes, **options)


def run(two, *words, **options):
    """Runs on the two hosts and returns exit status, output and errors."""
    process = start(two, *words, **options)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, out, err


def ranks_on(two, host):
    """The lines of ``ps`` of the processes that train on a host."""
    listed = two.run(host, 'ps', 'ax', '-o', 'args')
    return [line for line in listed.splitlines() if line.startswith(f'{sys.executable} impatient')]


def test_training_and_going_on(two):
    status, out, err = run(two, '-e', 1, '-s', 1, '-o', 'a')
    assert (status, err) == (0, '')
    assert '# total Minibatch-size: 100 (processes: 2)\n' in out
    status, out, err = run(two, '-e', 1, '-r', 'a/mlp.state', '-o', 'b')
    assert (status, err) == (0, '')
    train('-e', 2, '-s', 1, '-o', 'whole')
    assert_close_runs('whole', 'b')


def test_four_processes(two):
    status, _, err = run(two, '-e', 2, '-s', 1, '-o', 'four', processes=4)
    assert (status, err) == (0, '')
    train('-e', 2, '-b', 200, '-s', 1, '-o', 'one')
    assert_close_runs('one', 'four')


def until_epoch_2(process):
    while 'epoch 2' not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()


def until_gone(two, host):
    until = time.monotonic() + 20
    while ranks_on(two, host):
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize('how', ['cut', 'kill'])
@pytest.mark.parametrize('processes', [2, 4])
def test_a_host_that_is_gone_ends_the_run(how, processes, two):
    """It says nothing any more, as after a power failure."""
    process = start(two, '-e', 10**6, '-s', 1, processes=processes)
    until_epoch_2(process)
    two.cut()
    if how == 'kill':
        two.kill(1)
    _, err = process.communicate(timeout=20)
    assert process.returncode != 0
    errors = [line for line in err.splitlines() if not line.startswith('[mpiexec@')]
    assert errors == [
        'train_mnist.py: error: host hostb no longer answers; go on with -r from the last finished '
        'epoch, whose files are whole'
    ]
    for host in (0, 1) if how == 'cut' else (0,):
        until_gone(two, host)
    train('-r', 'result/mlp.state', '-e', 1)


def test_a_host_whose_processes_are_killed_ends_the_run(two):
    """Its kernel says so at once."""
    process = start(two, '-e', 10**6, '-s', 1)
    until_epoch_2(process)
    two.kill(1)
    process.communicate(timeout=hosts.GRACE + 5)
    assert process.returncode != 0
    until_gone(two, 0)
    train('-r', 'result/mlp.state', '-e', 1)


def test_the_host_of_mpiexec_that_is_gone_leaves_nothing_behind(two):
    process = start(two, '-e', 10**6, '-s', 1, processes=4)
    until_epoch_2(process)
    assert len(ranks_on(two, 1)) == 2
    two.cut()
    two.kill(0)
    process.communicate(timeout=20)
    until_gone(two, 1)
    train('-r', 'result/mlp.state', '-e', 1)


def test_a_signal_reaches_both_hosts(two):
    process = start(two, '-e', 10**6, '-s', 1)
    until_epoch_2(process)
    [mpiexec] = re.findall(r' *(\d+) mpiexec ', two.run(0, 'ps', 'ax', '-o', 'pid,args'))
    two.run(0, 'kill', '-INT', mpiexec)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT
    assert err.count('interrupted') == 1
    assert ranks_on(two, 0) == ranks_on(two, 1) == []


def replace(two, host, folder, *, by):
    """Puts another folder or file in the place of one, on one host alone."""
    two.run(host, 'mount', '--bind', os.path.abspath(by), str(folder))


def test_a_host_without_the_data(two, tiny):
    os.mkdir('empty')
    replace(two, 1, tiny, by='empty')
    status, _, err = run(two, '-e', 1)
    assert status == 1
    assert re.fullmatch(
        r'train_mnist.py: error: MNIST is not there: [^\n]*; [^\n]* \(process 1 on hostb\)\n', err
    )
    assert not os.path.exists('result/mlp.state')


def test_a_host_with_other_data(two, tiny):
    shutil.copytree(tiny, 'other')
    path = 'other/pfnet/chainer/mnist/train.npz'
    npz = read(path)
    numpy.savez(path, x=npz['x'], y=npz['y'][::-1])
    replace(two, 1, tiny, by='other')
    status, _, err = run(two, '-e', 1)
    assert (status, err) == (
        1,
        'train_mnist.py: error: process 1 has other data than process 0; set CHAINER_DATASET_ROOT '
        'alike for all of them\n',
    )


@pytest.mark.parametrize('name', ['train_mnist.py', 'net.py', 'chainer_mnist/speed.py'])
def test_a_host_with_another_version_of_the_script(name, two):
    with open(CLONE / name) as file, open('other.py', 'w') as other:
        other.write(file.read() + '\n')
    replace(two, 1, CLONE / name, by='other.py')
    status, _, err = run(two, '-e', 1)
    assert (status, err) == (
        1,
        f'train_mnist.py: error: {name} on hostb is not that of process 0; bring the clone to the '
        'same state on all hosts\n',
    )


def test_the_hosts_leave_nothing_behind(two):
    pids = [host.pid for host in two._hosts]
    folder = two.folder
    two.__exit__(None, None, None)
    assert not os.path.exists(folder)
    assert not [pid for pid in pids if os.path.exists(f'/proc/{pid}')]
