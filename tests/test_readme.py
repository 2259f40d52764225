"""The two READMEs say what is so, as far as a program can tell."""

import os
import re
import shlex

import chainer_mnist

import pytest

import predict
import train_mnist
from helpers import CLONE

READMES = ['README.md', 'README.zh-CN.md']
PARSERS = {'train_mnist.py': train_mnist.make_parser(), 'predict.py': predict.make_parser()}
each_readme = pytest.mark.parametrize('name', READMES)


def text_of(name):
    return (CLONE / name).read_text(encoding='utf-8')


def commands_of(name):
    """The commands in the code blocks that have no language."""
    commands, language = [], None
    for line in text_of(name).splitlines():
        if line.startswith('```'):
            language = line[3:] if language is None else None
        elif language == '' and re.match(r'[A-Z_]*=?\S* ?(mpiexec|pip|python) ', line):
            commands += line.split(' && ')
    return commands


def options_of(parser):
    """The options of a parser as the tables give them: the flags, and the default if it is one."""
    options = {}
    for action in parser._actions:
        if action.option_strings and action.dest not in ('help', 'version'):
            flags = ', '.join(f'`{flag}`' for flag in action.option_strings)
            metavar = action.metavar or ('NAME' if action.choices else '')
            default = action.default
            if isinstance(default, str):
                default = default.replace(os.sep, '/')
            options[f'{flags} {metavar}'.strip()] = default or None
    return options


@each_readme
@pytest.mark.parametrize('program', PARSERS)
def test_the_tables_of_options_are_the_parsers(name, program):
    rows = re.findall(r'^\| (`-.*?) \| (.*?) \| .* \|$', text_of(name), re.M)
    for flags, default in options_of(PARSERS[program]).items():
        defaults = [shown.strip('`') for its_flags, shown in rows if its_flags == flags]
        assert defaults, f'{flags} is not in {name}'
        assert default is None or str(default) in defaults


@each_readme
def test_no_option_is_made_up(name):
    known = set().union(*(options_of(parser) for parser in PARSERS.values()))
    assert set(re.findall(r'^\| (`--.*?) \| ', text_of(name), re.M)) <= known


@each_readme
def test_links_and_pictures_exist(name):
    links = re.findall(r'\]\(([^)]+)\)', text_of(name))
    assert len(links) >= 6
    for link in links:
        if link.startswith('#'):
            headings = re.findall(r'^#+ (.*)$', text_of(name), re.M)
            assert link[1:] in [heading.lower().replace(' ', '-') for heading in headings]
        elif not link.startswith('http'):
            assert (CLONE / link).is_file(), link


@each_readme
def test_files_that_are_named_exist(name):
    for path in {*re.findall(r'`([\w/.-]+\.(?:py|txt|md|toml))`', text_of(name))} - {'setup.py'}:
        assert (CLONE / path).exists(), path


@each_readme
def test_commands_parse(name):
    seen = 0
    for line in commands_of(name):
        words = shlex.split(line)
        if 'python' in words and words[words.index('python') + 1 :][:1] != ['-m']:
            program, *arguments = words[words.index('python') + 1 :]
            if program in PARSERS:
                PARSERS[program].parse_args(arguments)
            assert (CLONE / program).is_file()
            seen += 1
        if words[:3] == ['pip', 'install', '-r']:
            assert all((CLONE / word).is_file() for word in words[3::2])
            seen += 1
    assert seen >= 6


def test_both_readmes_have_the_same_commands_and_numbers():
    english, chinese = map(commands_of, READMES)
    assert english == chinese
    numbers = [re.findall(r'^\|.*\d\.\d.*\|$', text_of(name), re.M) for name in READMES]
    numbers = [[re.findall(r'\d+\.\d+', row) for row in rows] for rows in numbers]
    assert numbers[0] == numbers[1]


def test_the_version_is_the_newest_in_the_changelog():
    newest = re.search(r'^## (\S+)', text_of('CHANGELOG.md'), re.M).group(1)
    assert newest == chainer_mnist.__version__


def test_ci_runs_what_the_readme_says():
    script = text_of('.ci/run')
    for install in ('pip install -r requirements.txt', 'pip install -r requirements-dev.txt'):
        assert any(line.startswith(install) for line in commands_of('README.md'))
        assert install.replace('install', 'install -q') in script
