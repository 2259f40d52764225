"""Hostile surroundings: the run works all the same, or ends with one line and loses nothing."""

import contextlib
import io
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

from chainer_mnist import report

import numpy
import pytest

import predict
import train_mnist
from helpers import CLONE, command_line, read, run, same

# What a name can hold: bytes that are no text too, where the system allows them.
NAMES = [
    'it\'s a "name"',
    'line\nbreak',
    '$HOME `id`;\\',
    '\u4e03 \U0001f600',
    *(['caf\udce9'] if sys.platform == 'linux' else []),
]


def environment(**variables):
    """This process's environment with some variables set, or removed where they are ``None``."""
    env = {**os.environ, **{name: value for name, value in variables.items() if value is not None}}
    return {name: value for name, value in env.items() if variables.get(name, '') is not None}


def assert_quiet(done):
    assert (done.returncode, done.stderr) == (0, '')


def main(*words, program=train_mnist):
    """Runs a command within this process. Returns its status, and what it printed on each stream.

    The streams take every name, as those of a process do.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), 'utf-8', 'backslashreplace') for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = program.main([str(word) for word in words])
    printed = []
    for stream in (out, err):
        stream.seek(0)
        printed.append(stream.read())
    return (status, *printed)


# Where the script is, and where it is run


@pytest.mark.parametrize('name', NAMES[::5])
def test_a_clone_that_cannot_be_written(name, bound_by_permissions):
    os.mkdir(name)
    for path in CLONE.glob('*.py'):
        shutil.copy(path, name)
    shutil.copytree(CLONE / 'chainer_mnist', f'{name}/chainer_mnist')
    os.chmod(name, 0o555)
    script = os.path.abspath(os.path.join(name, 'train_mnist.py'))
    words = [*bound_by_permissions, sys.executable, script, '-e', '1', '--noplot']
    env = environment(PYTHONDONTWRITEBYTECODE=None)
    assert_quiet(subprocess.run(words, env=env, capture_output=True, text=True))
    assert os.path.exists('result/mlp.state')
    assert not os.path.exists(os.path.join(name, '__pycache__'))


# Names


@pytest.mark.parametrize('name', NAMES)
def test_names_of_all_kinds(name):
    words = ['-e', 1, '-b', 250, f'--out={name}', '--noplot']
    assert main(*words)[0] == 0
    state = os.path.join(name, 'mlp.state')
    words += [f'--resume={state}', f'--initmodel={state}']
    # Standard output has an encoding that cannot show all of the names.
    env = environment(PYTHONIOENCODING='ascii:strict')
    assert_quiet(run(*words, env=env))
    done = run(f'-m{os.path.join(name, "nowhere")}', env=env)
    assert done.returncode == 1
    assert re.fullmatch('train_mnist.py: error: cannot read [^\n]*nowhere: [^\n]*\n', done.stderr)


@pytest.mark.parametrize('name', ['-x', '--epoch', *(name for name in NAMES if name.isprintable())])
def test_the_command_that_goes_on_keeps_the_name(name):
    args = train_mnist.make_parser().parse_args(['--noplot', f'--out={name}'])
    changes = {'resume': os.path.join(args.out, 'mlp.state'), 'epoch': 3}
    again = train_mnist.make_parser().command(['python'], args, changes)
    shown = subprocess.run(
        ['sh', '-c', f'printf "%s\\n" {again}'], stdout=subprocess.PIPE, text=True, check=True
    )
    words = shown.stdout.splitlines()[2:]
    again = train_mnist.make_parser().parse_args(words)
    assert os.path.normpath(again.out) == name
    assert os.path.normpath(again.resume) == os.path.join(name, 'mlp.state')


# Standard streams


@pytest.mark.parametrize('closed', ['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])
def test_streams_that_are_closed(closed):
    words = command_line('-e', 1, '-s', 1)
    done = subprocess.run(['sh', '-c', f'exec "$@" {closed}', 'sh', *words], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b'')
    assert done.stdout.count(b'epoch 1\n') == (closed in ('<&-', '2>&-'))
    assert main('-e', 1, '-s', 1, '-o', 'b', '--noplot')[0] == 0
    assert same('result/mlp.state', 'b/mlp.state')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='it stands in for a full disk')
@pytest.mark.parametrize('words', [['-e', '1'], ['--help'], ['--version']], ids=' '.join)
def test_a_full_disk_under_standard_output(words):
    with open('/dev/full', 'w') as full:
        options = {'capture_output': False, 'stdout': full, 'stderr': subprocess.PIPE}
        done = run(*words, env=environment(PYTHONUNBUFFERED=None), **options)
        assert (done.returncode, done.stderr) == (
            1,
            'train_mnist.py: error: cannot write to standard output: No space left on device; '
            'send it elsewhere\n',
        )
        if words == ['-e', '1']:
            again = run(*words, env=environment(PYTHONUNBUFFERED='1'), **options)
            assert (again.returncode, again.stderr) == (done.returncode, done.stderr)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='it stands in for a full disk')
@pytest.mark.parametrize('unbuffered', [None, '1'])
def test_a_full_disk_under_standard_error(unbuffered):
    env = environment(PYTHONUNBUFFERED=unbuffered)
    with open('/dev/full', 'w') as full:
        done = run('-b', 0, capture_output=False, stderr=full, env=env)
        assert done.returncode == 2
        process = subprocess.Popen(
            command_line('-e', 10**6), stdout=subprocess.PIPE, stderr=full, text=True, env=env
        )
        while process.stdout.readline() != 'epoch 2\n':
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 143
    assert read('result/mlp.state')['epoch'] >= 1


def test_nobody_reads_the_help():
    words = shlex.join(command_line('--help'))
    env = environment(PYTHONUNBUFFERED=None)
    done = subprocess.run(
        ['sh', '-c', f'({words}; echo $? > status) | true'], env=env, capture_output=True, text=True
    )
    assert (done.stderr, pathlib.Path('status').read_text()) == ('', '141\n')


# What a run finds


def test_matplotlib_cannot_write(bound_by_permissions):
    os.mkdir('home', mode=0o555)
    words = [*bound_by_permissions, *command_line('-e', 1)]
    env = environment(HOME=os.path.abspath('home'), MPLCONFIGDIR=None, XDG_CONFIG_HOME=None)
    assert_quiet(subprocess.run(words, env=env, capture_output=True, text=True))
    assert os.path.exists('result/loss.png')


@pytest.mark.parametrize(
    'variables',
    [
        {'MPLBACKEND': 'nonsense'},
        {'CHAINER_DTYPE': 'nonsense'},
        {'CHAINER_DTYPE': 'float16'},
        {'CHAINER_DTYPE': 'float64'},
        {'CHAINER_DEBUG': '1', 'CHAINER_CUDNN': 'nonsense', 'CHAINER_SEED': 'x'},
    ],
    ids=str,
)
def test_variables_change_nothing(variables):
    assert_quiet(run('-e', 1, '-s', 1, env=environment(**variables)))
    assert main('-e', 1, '-s', 1, '-o', 'b', '--noplot')[0] == 0
    assert same('result/mlp.state', 'b/mlp.state')


def test_a_rank_that_is_no_number(monkeypatch):
    monkeypatch.setenv('PMI_RANK', 'x')
    assert main('-m', 'nowhere')[2].startswith('train_mnist.py: error: cannot read nowhere: ')


@pytest.mark.parametrize('content', ['#!/bin/sh\nexit 1\n', '#!/nowhere\n', '\0', None])
def test_a_dot_that_fails_costs_its_picture_only(content, monkeypatch):
    if content is not None:
        with open('dot', 'w') as file:
            file.write(content)
        os.chmod('dot', 0o755)
    hints = []
    monkeypatch.setattr(report, 'hint', hints.append)
    monkeypatch.setenv('PATH', os.getcwd())
    status, _, errors = main('-e', 1)
    assert (status, errors) == (0, '')
    assert [hint for hint in hints if 'dot -Tsvg result/graph.dot -o result/graph.svg' in hint]
    assert not [name for name in os.listdir('result') if 'svg' in name]


def test_a_log_that_is_a_pipe():
    assert main('-e', 1, '--noplot')[0] == 0
    os.remove('result/log')
    os.mkfifo('result/log')
    assert main('-r', 'result/mlp.state')[2] == (
        'train_mnist.py: error: result/log is not the log of a run (not a file); '
        'move it out of the way\n'
    )


def test_what_stands_at_the_name_of_a_temporary_file():
    os.mkdir('result')
    os.mkfifo('result/log.tmp')
    pathlib.Path('precious').write_text('mine')
    os.symlink('../precious', 'result/mlp.state.tmp')
    pathlib.Path('result/mlp.model.tmp').write_text('half of a file')
    assert_quiet(run('-e', 1, '--noplot'))
    assert pathlib.Path('precious').read_text() == 'mine'
    assert not [name for name in os.listdir('result') if name.endswith('.tmp')]


@pytest.mark.parametrize('net', ['classifier', 'trainflag'])
def test_one_image(net, monkeypatch):
    folder = 'data/pfnet/chainer/mnist'
    os.makedirs(folder)
    for name in ('train', 'test'):
        numpy.savez(f'{folder}/{name}.npz', x=numpy.ones((1, 784), 'u1'), y=numpy.ones(1, 'u1'))
    monkeypatch.setenv('CHAINER_DATASET_ROOT', 'data')
    for b in (1, 10**30):
        assert main('-e', 2, '-b', b, '-n', net)[::2] == (0, '')
    assert read('result/mlp.state')['t'] == 2
    assert main(program=predict)[::2] == (0, '')


def test_the_clock_is_set_back(monkeypatch):
    clock = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, 'time', lambda: next(clock))
    status, printed, _ = main('-e', 3, '--noplot')
    assert status == 0
    assert all(float(n) > 0 for n in re.findall('throughput=([^ ]*)', printed))
    with open('result/log') as file:
        times = [record['elapsed_time'] for record in json.load(file)]
    assert times == sorted(times)
    assert times[0] > 0


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


# Fuzz

PATHS = [
    *('good/mlp.state', 'good/mlp.model', 'good/log', 'directory', 'pipe', 'text', 'empty', 'loop'),
    *('/dev/null', '/dev/zero', '/dev/urandom', '/dev/stdin', 'a' * 300, 'a/' * 3000, 'text/x'),
    *('', '.', '-', '--', '-x', '--epoch', '%(prog)s', '%s', ' ', '@text', *NAMES),
]
NUMBERS = [
    *('0', '1', '-1', '+2', '4', '10' * 10, '9' * 400, '-' + '9' * 30, '9' * 5000, '1e3', '1.0'),
    *(
        '0x10',
        '1_0',
        '\u0661',
        '\u0663',
        '\u00b2',
        '\u00bd',
        '',
        ' 1',
        '1\n',
        'nan',
        '--',
        '-',
        '-0',
    ),
]
CHOICES = ['classifier', 'trainflag', 'class', 'naive', 'flat', '', '-', '--', 'x' * 9000]
FLAGS = {
    train_mnist: {
        **dict.fromkeys(['-b', '--batch', '-g', '--gpu', '-s', '--seed'], NUMBERS),
        **dict.fromkeys(['-m', '--init', '-r', '--resume', '-o', '--out'], PATHS),
        **dict.fromkeys(['-n', '--ne', '-c', '--communicator'], CHOICES),
        **dict.fromkeys(['--no', '--n', '-h', '--', '-', 'stray', '--nosuch', '-1', '']),
    },
    predict: {
        **dict.fromkeys(['-g', '--gpu'], NUMBERS),
        **dict.fromkeys(['-m', '--init', '-o', '--out', 'good/mlp.model'], PATHS),
        **dict.fromkeys(['--json', '-h', '--', '-', '--nosuch', 'text', 'pipe', '']),
    },
}


def hostile_words(rng, program):
    words = ['--noplot', '-u4', '-e1' if program is train_mnist else '-mgood/mlp.model']
    for flag in rng.choices(list(FLAGS[program]), k=rng.randrange(5)):
        values = FLAGS[program][flag]
        value = rng.choice(values) if values else ''
        # Some flags lack their value.
        words += rng.choice([[flag, value], [flag, value], [f'{flag}={value}'], [flag + value]])
        if rng.random() < 0.2:
            words.pop()
    return words


@pytest.mark.parametrize('program', [train_mnist, predict])
def test_no_command_line_ends_in_a_traceback(program):
    assert main('-e', 1, '-u', 4, '-o', 'good', '--noplot')[0] == 0
    os.mkdir('directory')
    os.mkfifo('pipe')
    os.symlink('loop', 'loop')
    for name in ('text', 'empty'):
        with open(name, 'w') as file:
            file.write('' if name == 'empty' else 'text')
    seed = random.randrange(10**6)
    print('seed of the command lines:', seed)  # pytest shows it when the test fails
    rng = random.Random(seed)
    line = re.escape(program.make_parser().prog) + ': error: [^\n]+\n'
    for _ in range(120):
        words = hostile_words(rng, program)
        print(words)
        status, _, errors = main(*words, program=program)
        assert (status, errors) == (0, '') or (
            status in (1, 2) and re.fullmatch(f'({line})+', errors)
        )
