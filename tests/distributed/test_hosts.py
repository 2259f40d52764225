"""Runs on two hosts: two network namespaces of this machine, with a cable between them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_communicator import assert_close_runs, wait_for_the_end, with_mpi

from benchmarks.two_hosts import TwoHosts, missing
from helpers import command_line, train, wait_for

pytestmark = with_mpi

TIMEOUT = 4  # seconds


@pytest.fixture
def two():
    lacking = missing()
    if lacking:
        pytest.skip(f'this machine cannot have two hosts: {lacking}')
    with TwoHosts() as two:
        yield two


def start(two, processes, *words):
    """Starts a run on the two hosts."""
    words = command_line('-c', 'naive', '--noplot', '-s', 1, *words)
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    env = {'CHAINER_MNIST_TIMEOUT': str(TIMEOUT)}
    return two.mpiexec(*words, processes=processes, env=env, **pipes)


def start_and_train(two, processes):
    """Starts a long run and waits until its second epoch. Returns it and the ranks' IDs by host."""
    process = start(two, processes, '-b', 20, '-e', 10**6)
    wait_for(process, 'epoch 2')
    return process, [list(filter(is_rank, two.pids(host))) for host in (0, 1)]


def is_rank(pid):
    return Path(f'/proc/{pid}/cmdline').read_bytes().startswith(os.fsencode(sys.executable))


@pytest.mark.parametrize('processes', [2, 4])
def test_several_hosts_give_the_weights_of_one_process(processes, two):
    process = start(two, processes, '-b', 100 // processes, '-e', 2, '-o', 'several')
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, '')
    train('-e', 2, '-s', 1, '-o', 'one')
    assert_close_runs('one', 'several')


FAULTS = {
    'stop': lambda two, rank: os.kill(rank, signal.SIGSTOP),
    'cut': lambda two, rank: two.cut(),
    'power off': lambda two, rank: [two.cut(), two.kill(1)],
}


@pytest.mark.parametrize('processes', [4, 6])
@pytest.mark.parametrize('fault', FAULTS)
def test_a_rank_that_does_not_answer_ends_the_job(fault, processes, two):
    process, ranks = start_and_train(two, processes)
    began = time.monotonic()
    FAULTS[fault](two, ranks[1][-1])
    _, errors = process.communicate(timeout=60)
    assert TIMEOUT <= time.monotonic() - began < TIMEOUT + 10
    assert process.returncode == 1
    lines = [line for line in errors.splitlines() if line not in ('Killed', '')]  # by the launcher
    assert len(lines) == 1
    assert re.fullmatch('train_mnist.py: error: another rank has not answered for 4 .*', lines[0])
    wait_for_the_end(ranks[0] + ranks[1])
    train('-r', 'result/mlp.state', '-e', 1)


def test_the_host_of_mpiexec_that_is_gone_leaves_no_rank_behind(two):
    process, ranks = start_and_train(two, 4)
    two.cut()
    two.kill(0)
    process.communicate(timeout=20)
    wait_for_the_end(ranks[1])


@pytest.mark.parametrize('signum', [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_to_a_rank_of_the_other_host_ends_the_job(signum, two):
    process, ranks = start_and_train(two, 4)
    os.kill(ranks[1][-1], signum)
    _, errors = process.communicate(timeout=20)
    # Which of the two statuses mpiexec gives to a killed rank is a matter of timing.
    assert process.returncode in ({143} if signum == signal.SIGTERM else {9, 255})
    assert errors.count('interrupted') == (signum == signal.SIGTERM)
    wait_for_the_end(ranks[0] + ranks[1])
    train('-r', 'result/mlp.state', '-e', 1)
