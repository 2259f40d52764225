"""Where a run writes: whole files or none, and one run at a time."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from chainer_mnist import files
from chainer_mnist.training import TrainingSession

import pytest

from helpers import assert_refused, content_of, main, make_link, run, start, train, tree, wait_for


def leftovers(out):
    return {name for name in os.listdir(out) if name.endswith('.tmp')}


@pytest.mark.parametrize('out', ['file', 'file/below', 'a/' * 3000])
def test_a_directory_that_cannot_be_made(out):
    Path('file').write_text('mine')
    assert_refused(['-o', out], 1, f'cannot write to {out}: .*; choose another directory with -o')


def test_a_directory_without_permission(bound_by_permissions):
    os.mkdir('locked', mode=0o555)
    for out in ('locked', 'locked/below'):
        done = run('-o', out, prefix=bound_by_permissions)
        message = f'cannot write to {out}: Permission denied; choose another directory with -o'
        assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message}\n')
    assert os.listdir('locked') == []


def test_two_runs_at_once_in_one_directory():
    os.mkdir('result')
    make_link('result', 'link')
    first = start('-e', 10**6)
    wait_for(first, 'epoch 2')
    for out in ('result', 'link'):
        status, _, errors = main('--noplot', '-e', 1, '-o', out)
        message = f'{out} is in use by another run; wait until it ends, or choose another directory'
        assert (status, errors) == (1, f'train_mnist.py: error: {message} with -o\n')
    first.kill()
    first.communicate()
    train('-e', 1, '-r', 'result/mlp.state')  # the lock is released, although its file stays


@pytest.mark.skipif(os.name == 'nt', reason='Windows keeps a directory with an open file')
@pytest.mark.parametrize('signum', [None, signal.SIGINT])
@pytest.mark.parametrize('way', ['deleted', 'moved', 'replaced'])
def test_a_directory_that_goes_away_during_the_run(way, signum, monkeypatch):
    def minibatches(session, perm, minibatches=TrainingSession.minibatches):
        if session.optimizer.epoch == 1:
            os.rename('result', 'elsewhere')
            if way == 'deleted':
                shutil.rmtree('elsewhere')
            if way == 'replaced':
                shutil.copytree('elsewhere', 'result')
            before.update(tree())
            if signum:
                signal.raise_signal(signum)
        yield from minibatches(session, perm)

    before = {}
    monkeypatch.setattr(TrainingSession, 'minibatches', minibatches)
    status, _, errors = main('-e', 3)
    message = 'result was moved, deleted or replaced during the run; resume with -r from where'
    assert (status, errors) == (1, f'train_mnist.py: error: {message} it is now, or start anew\n')
    assert tree() == before


def test_a_full_disk_keeps_the_last_good_files():
    """A limit on the size of files takes the place of a full disk. It is as real an error."""
    resource = pytest.importorskip('resource')
    train('-e', 2)
    before = content_of('result')
    limit = (resource.RLIMIT_FSIZE, (300_000, 300_000))
    done = run('--noplot', preexec_fn=lambda: resource.setrlimit(*limit))
    message = 'train_mnist.py: error: cannot write result/mlp.state: File too large; .*\n'
    assert done.returncode == 1
    assert re.fullmatch(message, done.stderr)
    after = content_of('result')
    assert (after['mlp.state'], after['log']) == (before['mlp.state'], before['log'])
    assert leftovers('result') == set()
    train('-e', 1, '-r', 'result/mlp.state')


def test_no_memory_for_a_snapshot(monkeypatch):
    train('-e', 1)
    before = content_of('result')

    class Small(io.BytesIO):
        def write(self, data):
            if self.tell() > 10**5:
                self.close()  # so that zipfile raises another error, as it really does
                raise MemoryError
            return super().write(data)

    monkeypatch.setattr(io, 'BytesIO', Small)
    status, _, errors = main('-e', 1, '--noplot')
    message = 'not enough memory; choose fewer units (-u) or smaller mini-batches (-b)'
    assert (status, errors) == (1, f'train_mnist.py: error: {message}\n')
    assert content_of('result') == before


# Atomic writes


def test_leftovers_of_a_killed_run_are_removed_and_links_are_not_followed():
    os.mkdir('result')
    Path('precious').write_text('mine')
    kept = {'notes.tmp', 'x.123456789.tmp', 'notes.abcdefgh.tmp'}
    for name in (*kept, 'mlp.state.0123abcd.tmp'):
        Path('result', name).write_text('half of a file')
    for name in ('log.0123abcd.tmp', 'mlp.state'):
        make_link('../precious', f'result/{name}')
    train('-e', 1)
    assert Path('precious').read_text() == 'mine'
    assert leftovers('result') == kept


def test_the_log_is_replaced_before_the_state(monkeypatch):
    replaced, replace = [], os.replace
    monkeypatch.setattr(os, 'replace', lambda a, b: [replaced.append(b), replace(a, b)])
    train('-e', 1)
    assert [os.path.basename(path) for path in replaced][-2:] == ['log', 'mlp.state']


@pytest.mark.skipif(shutil.which('strace') is None, reason='strace is not installed')
def test_new_content_is_on_the_disk_before_it_replaces_the_old():
    os.mkdir('out')
    code = 'from chainer_mnist.files import *; write_atomically("out", {"a": b"1", "b": b"2"})'
    strace = ['strace', '-y', '-o', 'calls', '-e', 'trace=fsync,rename,renameat,renameat2']
    if subprocess.call([*strace, sys.executable, '-c', code]):
        pytest.skip('this user may trace no process')
    calls = re.findall(r'(?m)^(\w+)\(.*\bout/?(\w?)', Path('calls').read_text())
    expected = ['fsync a', 'fsync b', 'rename a', 'rename b', 'fsync ']
    assert [f'{call} {name}' for call, name in calls] == expected


@pytest.mark.skipif(os.name != 'nt', reason='elsewhere a file that is open can be replaced')
def test_a_file_that_another_program_has_open_for_a_moment():
    Path('log').write_text('old')
    code = 'import time; file = open("log"); print(flush=True); time.sleep(1)'
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as viewer:
        viewer.stdout.readline()
        files.write_atomically('.', {'log': b'new'})
    assert Path('log').read_text() == 'new'
