"""The pages say what is so, as far as a program can tell, and the same in both languages."""

import ast
import collections
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import chainer_mnist

import chainer
import chainermn
import numpy
import pytest

import predict
import train_mnist
from helpers import CLONE, environment, train

CHINESE = sorted(
    path.relative_to(CLONE).as_posix()
    for folder in (CLONE, CLONE / 'docs')
    for path in folder.glob('*.zh-CN.md')
)
ENGLISH = [name.replace('.zh-CN', '') for name in CHINESE]
PAGES = ENGLISH + CHINESE
LESSON = 'docs/tutorial.md'
# Each program's options stand in one table for each language.
PARSERS = {
    'README.md': train_mnist.make_parser(),
    'README.zh-CN.md': train_mnist.make_parser(),
    'docs/using.md': predict.make_parser(),
    'docs/using.zh-CN.md': predict.make_parser(),
}
PROGRAMS = {'train_mnist.py': train_mnist.make_parser(), 'predict.py': predict.make_parser()}

each_page = pytest.mark.parametrize('name', PAGES)
each_pair = pytest.mark.parametrize('pair', list(zip(ENGLISH, CHINESE)), ids=ENGLISH)


def text_of(name):
    return (CLONE / name).read_text(encoding='utf-8')


def blocks_of(name):
    """The code blocks of a page: pairs of language and text."""
    return re.findall(r'^```(\w*)\n(.*?)^```$', text_of(name), re.M | re.S)


def prose_of(name):
    return re.sub(r'^```.*?^```$', '', text_of(name), flags=re.M | re.S)


def commands_of(name):
    """The commands in the code blocks that have no language."""
    lines = [
        line for language, text in blocks_of(name) if not language for line in text.split('\n')
    ]
    return [line for line in lines if re.match(r'[A-Z_]*=?\S* ?(mpiexec|pip|python) ', line)]


def options_of(parser):
    """The options of a parser as the tables give them: the flags, and the default if it is one."""
    options = {}
    for action in parser._actions:
        if action.option_strings and action.dest not in ('help', 'version'):
            flags = ', '.join(f'`{flag}`' for flag in action.option_strings)
            metavar = action.metavar or ('NAME' if action.choices else '')
            default = action.default or None
            if isinstance(default, str):
                default = default.replace(os.sep, '/')
            options[f'{flags} {metavar}'.strip()] = default
    return options


def anchors_of(name):
    """What the headings of a page are called in links, as GitHub does it."""
    headings = re.findall(r'^#+ (.*)$', prose_of(name), re.M)
    return [re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings]


def sentences_of(name):
    """The sentences of a page's paragraphs. Full-width, the stop ends one without a space."""
    paragraphs = re.sub(r'^(\||#).*$', '', prose_of(name), flags=re.M).split('\n\n')
    ends = re.compile(r'(?<=[.:])\s+|(?<=\u3002)|(?<=\uff1a)')
    return [' '.join(s.split()) for each in paragraphs for s in ends.split(each)]


@pytest.mark.parametrize('name', PARSERS)
def test_the_tables_of_options_are_the_parsers(name):
    rows = dict(re.findall(r'^\| (`--.*?) \| (.*?) \| .* \|$', text_of(name), re.M))
    options = options_of(PARSERS[name])
    assert rows.keys() == options.keys()
    for flags, default in options.items():
        assert default is None or str(default) == rows[flags].strip('`')


@each_page
def test_links_and_pictures_exist(name):
    links = re.findall(r'\]\(([^)]+)\)', prose_of(name))
    assert links
    for link in links:
        path, _, anchor = link.partition('#')
        if not link.startswith('http'):
            target = (CLONE / name).parent / path if path else CLONE / name
            assert target.is_file(), link
            assert not anchor or anchor in anchors_of(target), link


@each_page
def test_files_that_are_named_exist(name):
    for path in {*re.findall(r'`([\w/.-]+\.(?:py|txt|md|toml))`', prose_of(name))} - {'setup.py'}:
        assert (CLONE / path).exists(), path


@each_page
def test_commands_parse(name):
    for line in commands_of(name):
        words = shlex.split(line)
        if 'python' in words and words[words.index('python') + 1 :][:1] != ['-m']:
            program, *arguments = words[words.index('python') + 1 :]
            if program in PROGRAMS:
                PROGRAMS[program].parse_args(arguments)
            assert (CLONE / program).is_file()
        if words[:3] == ['pip', 'install', '-r']:
            assert all((CLONE / word).is_file() for word in words[3::2])


@each_pair
def test_both_languages_have_the_same_code(pair):
    english, chinese = map(blocks_of, pair)
    assert len(english) == len(chinese)
    for ours, its in zip(english, chinese):
        # Comments are translated, and so is what they stand beside in a tree of files.
        assert re.sub(r'  # .*', '', ours[1]) == re.sub(r'  # .*', '', its[1])


@each_pair
def test_both_languages_have_the_same_numbers(pair):
    numbers = []
    for name in pair:
        text = re.sub(r'\]\([^)]*\)', ']', prose_of(name))
        numbers.append(collections.Counter(re.findall(r'\d+(?:[.,]\d+)*', text)))
    assert numbers[0] - numbers[1] == numbers[1] - numbers[0] == collections.Counter()


@each_pair
def test_both_languages_have_the_same_structure(pair):
    marks = [re.findall(r'^(#+ |\||- |!)', prose_of(name), re.M) for name in pair]
    assert marks[0] == marks[1]


def test_every_page_is_there_in_both_languages():
    pages = [*(CLONE / 'docs').glob('*.md'), *CLONE.glob('README*.md')]
    assert sorted(PAGES) == sorted(path.relative_to(CLONE).as_posix() for path in pages)


@pytest.mark.parametrize('names', [ENGLISH, CHINESE], ids=['English', 'Chinese'])
def test_no_sentence_stands_twice(names):
    sentences = [sentence for name in names for sentence in sentences_of(name)]
    seen = collections.Counter(sentence for sentence in sentences if len(sentence) > 12)
    assert [s for s, count in seen.items() if count > 1] == []


@pytest.mark.parametrize('name', ['README.md', 'README.zh-CN.md'])
def test_the_readme_is_a_door(name):
    assert len(text_of(name).splitlines()) <= 150


@pytest.mark.parametrize('name', CHINESE)
def test_chinese_paragraphs_are_not_broken(name):
    """A line break within a sentence would show as a space between two characters."""
    assert not re.search(r'^[^|#\n-].*\n[^|\n-]', prose_of(name).replace('\n```', '\n\n```'), re.M)


def test_the_code_of_the_lesson_is_that_of_the_files():
    files = [CLONE / 'train_mnist.py', CLONE / 'net.py', *(CLONE / 'chainer_mnist').glob('*.py')]
    texts = [path.read_text(encoding='utf-8') for path in files]
    pieces = [text for language, text in blocks_of(LESSON) if language == 'python']
    assert len(pieces) > 10
    for piece in pieces:
        indented = [textwrap.indent(piece, ' ' * n) for n in (0, 4, 8, 12, 16)]
        assert any(f'\n{each}' in text for each in indented for text in texts), piece


def test_what_the_lesson_says_to_type_prints_what_it_says():
    train('-e', 1)
    typed = '\n'.join(text for language, text in blocks_of(LESSON) if language == 'pycon')
    program = doctest.DocTestParser().get_doctest(typed, {}, LESSON, LESSON, 0)
    assert len(program.examples) > 30
    said = []
    doctest.DocTestRunner().run(program, out=said.append)
    assert said == []


def test_other_code_runs():
    pages = [name for name in ENGLISH if name != LESSON]
    codes = [text for name in pages for language, text in blocks_of(name) if language == 'python']
    assert len(codes) == 2
    train('-e', 1)
    shutil.copy(CLONE / 'chainer_mnist' / 'compat.py', '.')
    for code in codes:
        # Whatever it does, Chainer works afterwards.
        code += '\nimport chainer\nassert chainer.Variable'
        env = environment(PYTHONPATH=str(CLONE) if 'net' in code else None)
        done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.filterwarnings('ignore:.*deprecated')
def test_nothing_else_of_numpy_is_missing():
    """What docs/keeping.md says: one function of Chainer uses what NumPy has no more."""
    lacking = set()
    for package in (chainer, chainermn):
        for path in Path(package.__file__).parent.rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                of_numpy = getattr(getattr(node, 'value', None), 'id', None) in (
                    'numpy',
                    'np',
                    'xp',
                )
                if of_numpy and isinstance(node, ast.Attribute) and not hasattr(numpy, node.attr):
                    lacking.add((path.name, node.attr))
    assert lacking <= {('resize_images.py', 'float'), ('_environment_check.py', 'distutils')}


def test_the_version_is_the_newest_in_the_changelog():
    newest = re.search(r'^## (\S+)', text_of('CHANGELOG.md'), re.M).group(1)
    assert newest == chainer_mnist.__version__


def test_ci_runs_what_the_readme_says():
    script = text_of('.ci/run')
    for install in ('pip install -r requirements.txt', 'pip install -r requirements-dev.txt'):
        assert install in commands_of('README.md')
        assert install.replace('install', 'install -q') in script
    assert 'python -m pytest' in commands_of('README.md')
    assert 'python -m pytest' in script


def test_the_picture_of_the_modules_is_that_of_the_imports():
    picture = re.search(r'^```\n(train_mnist.*?)^```$', text_of('CONTRIBUTING.md'), re.M | re.S)
    lines = [re.split(r'\s{3,}', line)[0].split() for line in picture.group(1).splitlines()]
    rank = {word.split('.')[0]: n for n, line in enumerate(lines) for word in line}
    modules = [path for path in (CLONE / 'chainer_mnist').glob('*.py') if path.stem != '__init__']
    modules += [CLONE / 'train_mnist.py', CLONE / 'predict.py', CLONE / 'net.py']
    assert rank.keys() == {path.stem for path in modules}
    for path in modules:
        text = path.read_text(encoding='utf-8')
        imported = re.findall(r'^ *from chainer_mnist\.(\w+) import', text, re.M)
        for names in re.findall(r'^ *from chainer_mnist import (.+)', text, re.M):
            imported += names.split(', ')
        for name in imported:
            assert rank[name] > rank[path.stem], (path.name, name)
