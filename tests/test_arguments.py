"""The command line: mistakes, names of all kinds, and nonsense."""

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys

from chainer_mnist.arguments import expand
from chainer_mnist.shell import shell_join, this_python

import pytest

import predict
import train_mnist
from helpers import (
    assert_quiet,
    assert_refused,
    environment,
    main,
    make_pipe,
    run,
)


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


# What a name can hold: bytes that are no text too, where the system allows them.
NAMES = [
    "it's 100% (a), {b} & #c; @d ^e",
    '$HOME `id`',
    '\u4e03 \U0001f600',
    *(['a "name"', 'line\nbreak', ';\\'] if os.name != 'nt' else []),
    *(['caf\udce9'] if sys.platform == 'linux' else []),
]


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
    with open('show.py', 'w') as show:
        show.write('import json, sys; print(json.dumps(sys.argv[2:]))')
    command = train_mnist.make_parser().command([this_python(), 'show.py'], args, changes)
    words = json.loads(subprocess.check_output(command, shell=True))
    again = train_mnist.make_parser().parse_args(words)
    assert os.path.normpath(again.out) == name
    assert os.path.normpath(again.resume) == os.path.join(name, 'mlp.state')


@pytest.mark.skipif(shutil.which('bash') is None, reason='there is no bash')
@pytest.mark.parametrize('encoding', ['ascii', 'gbk', 'utf-8'])
def test_a_command_with_names_that_the_terminal_cannot_show(monkeypatch, encoding):
    words = ['echo', '\xe9\u4e2d \u20ac', os.fsdecode(b'r\xff'), "it's", 'plain']
    monkeypatch.setattr(sys, 'stderr', io.TextIOWrapper(io.BytesIO(), encoding))
    command = shell_join(words).encode(encoding)
    shown = subprocess.check_output(['bash', '-c', command.decode(encoding)])
    assert shown == b' '.join(map(os.fsencode, words[1:])) + b'\n'


def test_wildcards_that_the_shell_leaves_are_expanded():
    for name in ('2.png', '1.png', '[x]1.png', 'x2.png'):
        open(name, 'w').close()
    assert expand(['*.png', 'b']) == ['1.png', '2.png', '[x]1.png', 'x2.png', 'b']
    assert expand(['[x]?.png', '[x]1.png', '[x]2.png', 'no*']) == (
        ['[x]1.png', '[x]1.png', '[x]2.png', 'no*']
    )


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
    if os.name != 'nt':
        make_pipe('pipe')
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
