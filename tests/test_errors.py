"""Mistakes of the user: one line that says how to mend it, and nothing changed on disk."""

import importlib.util
import os
import re
import subprocess

import pytest

from helpers import command_line, run


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


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--nosuch', 'unrecognized arguments: --nosuch'),
        ('stray', 'unrecognized arguments: stray'),
        ('-b 0', "argument --batchsize/-b: '0' is not a whole number from 1 on"),
        ('-b ten', "argument --batchsize/-b: 'ten' is not a whole number from 1 on"),
        ('-b', 'argument --batchsize/-b: expected one argument'),
        ('-u 0', "argument --unit/-u: '0' is not a whole number from 1 to 1000000"),
        ('-u 1.5', "argument --unit/-u: '1.5' is not a whole number from 1 to 1000000"),
        ('-e -1', "argument --epoch/-e: '-1' is not a whole number from 0 to 1000000000"),
        ('-s -1', "argument --seed/-s: '-1' is not a whole number from 0 to 4294967295"),
        ('-g first', "argument --gpu/-g: 'first' is not a whole number"),
        ('--resume=', 'argument --resume/-r: the path is empty'),
        ('--initmodel=', 'argument --initmodel/-m: the path is empty'),
        ('--out=', 'argument --out/-o: the path is empty'),
        ('-n cnn', "argument --net/-n: invalid choice: 'cnn' .*"),
    ],
)
def test_wrong_command_lines(words, message):
    assert_refused(words.split(), 2, f'{message}; see train_mnist.py --help')


@pytest.mark.parametrize('flag', ['-m', '-r'])
def test_missing_snapshots(flag):
    message = 'cannot read nowhere: No such file or directory; give the path of a snapshot'
    assert_refused([flag, 'nowhere'], 1, message)


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


@pytest.mark.skipif(importlib.util.find_spec('cupy') is not None, reason='CuPy is installed')
def test_gpu_without_cupy():
    message = '-g 0 needs CuPy, which is not installed; .*requirements-gpu.txt.*'
    assert_refused(['-g', '0'], 1, message)


def test_two_runs_at_once_into_one_directory():
    pytest.importorskip('fcntl')
    first = subprocess.Popen(
        command_line('--noplot', '-e', 10**6), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while first.stdout.readline() != b'epoch 2\n':
        assert first.poll() is None
    os.symlink('result', 'link')
    for out in ('result', 'link'):
        done = run('--noplot', '-e', 1, '-o', out)
        message = f'another run writes to {out}; wait for its end, or choose another directory'
        assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message} with -o\n')
    first.kill()
    first.communicate()
    assert run('--noplot', '-e', 1, '-r', 'result/mlp.state').returncode == 0
