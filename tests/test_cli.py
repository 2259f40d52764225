"""The command line: every flag, mistakes, names of all kinds, and nonsense."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

from chainer_mnist.cli import expand_globs, python_executable

import pytest

import predict
import train_mnist
from helpers import assert_refused, environment, main, make_link, make_pipe, read, run, same, train


def test_long_flags_and_short_ones_are_the_same():
    train('-e', 1, '-u', 20, '-n', 'trainflag', '-o', 'a')
    long = '--batchsize 64 --epoch 1 --gpu -1 --out b/b --unit 20 --net trainflag --seed 7 '
    long += '--initmodel a/mlp.model --resume a/mlp.state'
    short = '-b 64 -e 1 -g -1 -o c -u 20 -n trainflag -s 7 -m a/mlp.model -r a/mlp.state'
    begin = 'GPU: -1\n# unit: 20\n# Minibatch-size: 64\n# epoch: 1\n\nLoad model from a/mlp.model\n'
    begin += 'Load optimizer state from a/mlp.state\n# seed: 7\nepoch 2\n'
    for words in (long, short):
        assert train(*words.split()).startswith(begin)
    assert same('b/b/mlp.state', 'c/mlp.state')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--frozen', 'unrecognized arguments: --frozen'),
        ('--epochs 3', r'unrecognized arguments: --epochs 3 \(did you mean --epoch\?\)'),
        ('-b 0', "argument --batchsize/-b: '0' must be an integer >= 1"),
        ('-e -1', "argument --epoch/-e: '-1' must be an integer from 0 to 1000000000"),
        ('-s 1.5', "argument --seed/-s: '1.5' must be an integer from 0 to 4294967295"),
        ('-g first', "argument --gpu/-g: 'first' must be an integer"),
        ('--out=', 'argument --out/-o: the path is empty'),
        ('-n cnn', "argument --net/-n: invalid choice: 'cnn' .*"),
    ],
)
def test_wrong_command_lines(words, message):
    assert_refused(words.split(), 2, f'{message}; see train_mnist.py --help')


# What a name can hold: bytes that are no text too, where the system allows them.
NAMES = [
    *('-x', '--epoch', "it's 100% (a), {b} & #c; @d ^e", '$HOME `id`', '\u4e03 \U0001f600'),
    *(['a "name"', 'line\nbreak', ';\\'] if os.name != 'nt' else []),
    *(['caf\udce9'] if sys.platform == 'linux' else []),
]


@pytest.mark.parametrize('name', NAMES)
def test_names_of_all_kinds(name):
    train('-e', 0, f'--out={name}')
    state = os.path.join('.', name, 'mlp.state')
    train('-e', 1, '-b', 250, '-r', state, '-m', state, f'--out={name}')
    assert read(state)['epoch'] == 1
    status, _, errors = main('-m', f'{state}/nowhere')
    assert (status, errors.count('\n')) == (1, 1)


def test_a_name_that_standard_output_cannot_show():
    name = NAMES[-1]
    train('-e', 0, '-o', name)
    done = run('-e', 0, '-r', f'{name}/mlp.state', env=environment(PYTHONIOENCODING='ascii:strict'))
    assert (done.returncode, done.stderr, done.stdout.isascii()) == (0, '', True)


@pytest.mark.parametrize('name', NAMES)
def test_the_command_that_resumes_keeps_the_name(name):
    parser = train_mnist.make_parser()
    args = parser.parse_args(['--noplot', '-e5', f'--out={name}'])
    changes = {'resume': os.path.join(args.out, 'mlp.state'), 'epoch': 3}
    Path('show.py').write_text('import json, sys; print(json.dumps(sys.argv[2:]))')
    command = parser.command([python_executable(), 'show.py'], args, **changes)
    words = json.loads(subprocess.check_output(command, shell=True))
    assert vars(parser.parse_args(words)) == {**vars(args), **changes}


def test_globs_that_the_shell_leaves_are_expanded():
    for name in ('2.png', '1.png', '[x]1.png', 'x2.png'):
        Path(name).touch()
    assert expand_globs(['*.png', 'b']) == ['1.png', '2.png', '[x]1.png', 'x2.png', 'b']
    assert expand_globs(['[x]?.png', '[x]1.png', 'no*']) == ['[x]1.png', '[x]1.png', 'no*']


# Fuzz

FLAGS = {
    train_mnist: '-b -g -s --seed -m --init -r -o --out -n -c --no --n -h -- - -1 stray --nosuch',
    predict: '-g --gpu -m --init -o --out good/mlp.model --json -h -- - text pipe --nosuch',
}
VALUES = [
    *('good/mlp.state', 'good/mlp.model', 'good/log', 'directory', 'pipe', 'text', 'empty', 'loop'),
    *('/dev/null', '/dev/zero', '/dev/stdin', 'a' * 300, 'a/' * 3000, 'text/x', '.', '@text'),
    *('0', '1', '-1', '4', '9' * 400, '9' * 5000, '1e3', '1_0', '\u0661', '\u00b2', '1\n', 'nan'),
    *('classifier', 'trainflag', 'flat', '-', '-m', '%(prog)s', '%s', ' ', 'x' * 9000, *NAMES),
]


@pytest.mark.parametrize('program', [train_mnist, predict])
def test_no_command_line_ends_in_a_traceback(program):
    train('-e', 1, '-u', 4, '-o', 'good')
    os.mkdir('directory')
    if os.name != 'nt':
        make_pipe('pipe')
        make_link('loop', 'loop')
    Path('text').write_text('text')
    Path('empty').touch()
    seed = random.randrange(10**6)
    print('seed of the command lines:', seed)  # pytest shows it when the test fails
    rng = random.Random(seed)
    prog = program.make_parser().prog
    for _ in range(150):
        words = ['--noplot', '-u4', '-e1' if program is train_mnist else '-mgood/mlp.model']
        for flag in rng.choices(FLAGS[program].split(), k=rng.randrange(4)):
            value = rng.choice(VALUES)
            words += rng.choice([[flag], [flag, value], [f'{flag}={value}'], [flag + value]])
        print(words)
        status, _, errors = main(*words, program=program)
        assert (status, errors) == (0, '') or status in (1, 2)
        assert re.fullmatch(f'({prog}: error: [^\n]+\n)*', errors), errors
