"""Where a run writes: whole files or none, and one run at a time."""

import io
import os
import pathlib
import re
import shutil
import subprocess
import sys

from chainer_mnist import files

import pytest

import train_mnist
from helpers import (
    assert_quiet,
    assert_refused,
    command_line,
    content_of,
    main,
    make_link,
    make_pipe,
    run,
    same,
    start,
    train,
    wait_for,
)


def test_out_is_a_file():
    with open('file', 'w') as file:
        file.write('mine')
    for out in ('file', 'file/below'):
        assert_refused(['-o', out], 1, f'cannot write to {out}: .*; choose another .* with -o')


def test_out_cannot_be_written(bound_by_permissions):
    os.mkdir('locked', mode=0o555)
    for out in ('locked', 'locked/below'):
        words = [*bound_by_permissions, *command_line('-o', out)]
        done = subprocess.run(words, capture_output=True, text=True)
        message = f'cannot write to {out}: Permission denied; choose another directory with -o'
        assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message}\n')
    assert os.listdir('locked') == []


@pytest.mark.parametrize('out', ['result', 'link'])
def test_two_runs_at_once_into_one_directory(out):
    os.mkdir('result')
    if out == 'link':
        make_link('result', 'link')
    first = start('-e', 10**6)
    wait_for(first, 'epoch 2')
    done = run('--noplot', '-e', 1, '-o', out)
    message = f'another run writes to {out}; wait for its end, or choose another directory'
    assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message} with -o\n')
    first.kill()
    first.communicate()
    train('-e', 1, '-r', 'result/mlp.state')
    assert not os.path.exists('result/.lock')


@pytest.mark.parametrize('more', [['-r', 'result/mlp.state'], []], ids=['resumed', 'anew'])
def test_a_full_disk_keeps_the_last_good_files(tmp_path, more):
    """A limit to the size of files stands in for a disk that is full. It is as real an error."""
    resource = pytest.importorskip('resource')
    train('-e', 2)
    before = content_of(tmp_path / 'result')
    done = run(
        *more,
        '--noplot',
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert done.returncode == 1
    assert re.fullmatch(
        'train_mnist.py: error: cannot write result/mlp.state: File too large; .*\n', done.stderr
    )
    after = content_of(tmp_path / 'result')
    assert after['mlp.state'] == before['mlp.state']
    assert after['log'] == before['log']
    assert not list((tmp_path / 'result').glob('*.tmp'))
    train('-e', 1, '-r', 'result/mlp.state')


def test_out_that_becomes_unwritable(tmp_path, bound_by_permissions):
    process = subprocess.Popen(
        [*bound_by_permissions, *command_line('-e', 10**6, '--noplot')],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(process, 'epoch 3')
    (tmp_path / 'result').chmod(0o555)
    _, stderr = process.communicate(timeout=60)
    (tmp_path / 'result').chmod(0o755)
    assert process.returncode == 1
    assert re.fullmatch(
        r'train_mnist.py: error: cannot write result/.*: Permission denied; .*\n', stderr
    )
    train('-e', 1, '-r', 'result/mlp.state')


@pytest.mark.skipif(os.name != 'nt', reason='elsewhere a file that is open can be replaced')
@pytest.mark.parametrize('name', ['log', 'log.tmp'])
def test_what_another_program_has_open_for_a_moment(name):
    pathlib.Path(name).write_text('old')
    code = f'import time; file = open({name!r}); print(flush=True); time.sleep(1)'
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as viewer:
        viewer.stdout.readline()
        files.write({'log': b'new'})
    assert pathlib.Path('log').read_text() == 'new'
    assert os.listdir() == ['log']


@pytest.mark.skipif(os.name != 'nt', reason='elsewhere a file that is open can be replaced')
def test_what_another_program_keeps_open():
    train('-e', 1)
    with open('result/mlp.model'):
        done = run('-e', 1, '--noplot')
    path = os.path.join('result', 'mlp.model')
    assert done.returncode == 1
    assert re.fullmatch(
        f'train_mnist.py: error: cannot write {re.escape(path)}: .*; '
        'close the program that has it open, .*\n',
        done.stderr,
    )
    train('-e', 1, '-r', 'result/mlp.state')


def test_what_stands_at_the_name_of_a_temporary_file():
    os.mkdir('result')
    make_pipe('result/log.tmp')
    pathlib.Path('precious').write_text('mine')
    make_link('../precious', 'result/mlp.state.tmp')
    pathlib.Path('result/mlp.model.tmp').write_text('half of a file')
    assert_quiet(run('-e', 1, '--noplot'))
    assert pathlib.Path('precious').read_text() == 'mine'
    assert not [name for name in os.listdir('result') if name.endswith('.tmp')]


def test_no_memory_for_a_snapshot(monkeypatch, capsys):
    assert main('-e', 1, '--noplot')[0] == 0
    shutil.copytree('result', 'before')

    class Small(io.BytesIO):
        def write(self, data):
            if self.tell() > 10**5:
                self.close()  # so that zipfile raises another error, as it does in earnest
                raise MemoryError
            return super().write(data)

    with monkeypatch.context() as patch:
        patch.setattr(io, 'BytesIO', Small)
        assert train_mnist.main(['-e', '1', '--noplot']) == 1
    assert capsys.readouterr().err == (
        'train_mnist.py: error: not enough memory; choose fewer units (-u) or smaller '
        'mini-batches (-b)\n'
    )
    assert same('result/mlp.state', 'before/mlp.state')
