"""The pages: their links, commands, code and changes work, in both languages alike."""

import collections
import doctest
import os
import re
import shlex
import shutil
import textwrap

import chainer_mnist

import pytest

import predict
import train_mnist
from helpers import CLONE, assert_same_run, code_of, log_of, run_code, same, train

ENGLISH = [CLONE / 'README.md', *(p for p in CLONE.glob('docs/*.md') if '.' not in p.stem)]
CHINESE = [page.with_suffix('.zh-CN.md') for page in ENGLISH]
LESSON = CLONE / 'docs' / 'tutorial.md'
PARSERS = {'train_mnist.py': train_mnist.make_parser(), 'predict.py': predict.make_parser()}

each_page = pytest.mark.parametrize('page', [*ENGLISH, *CHINESE], ids=lambda page: page.name)


def prose_of(page):
    return re.sub(r'^```.*?^```$', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)


def anchors_of(page):
    """What the headings of a page are called in links, as GitHub does it."""
    headings = re.findall(r'^#+ (.*)$', prose_of(page), re.M)
    return [re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings]


@each_page
def test_links_and_pictures_exist(page):
    links = re.findall(r'(?:\]\(|(?:src|srcset|href)=")([^)"]+)', prose_of(page))
    assert links
    for link in links:
        path, _, anchor = link.partition('#')
        if not link.startswith('http'):
            target = page.parent / path if path else page
            assert target.is_file(), link
            assert not anchor or anchor in anchors_of(target), link


@each_page
def test_commands_parse(page):
    command = r'^(?:[A-Z_]+=\S+ |mpiexec .*)?python (train_mnist.py|predict.py)(.*)'
    for script, words in re.findall(command, '\n'.join(code_of(page, '')), re.M):
        PARSERS[script].parse_args(shlex.split(words, comments=True))


@pytest.mark.parametrize('pair', [*zip(ENGLISH, CHINESE)], ids=lambda pair: pair[0].name)
def test_both_languages_have_the_same_code_and_figures(pair):
    # Comments are translated, and so is what stands beside a tree of files.
    codes = [[re.sub(r'  # .*', '', code) for code in code_of(page)] for page in pair]
    assert codes[0] == codes[1]
    texts = [re.sub(r'\]\([^)]*\)', ']', prose_of(page)) for page in pair]
    figures = [collections.Counter(re.findall(r'\d+(?:[.,]\d+)*', text)) for text in texts]
    assert figures[0] - figures[1] == figures[1] - figures[0] == collections.Counter()


@pytest.mark.parametrize('name', ['README', 'README.zh-CN', 'docs/using', 'docs/using.zh-CN'])
def test_the_table_of_options_is_the_parsers(name):
    parser = PARSERS['train_mnist.py' if 'README' in name else 'predict.py']
    table = prose_of(CLONE / f'{name}.md')
    rows = dict(re.findall(r'^\| (`--.*?) \| (.*?) \| .* \|$', table, re.M))
    options = {}
    for action in parser._actions:
        if action.option_strings and action.dest not in ('help', 'version'):
            flags = ', '.join(f'`{flag}`' for flag in action.option_strings)
            metavar = action.metavar or ('NAME' if action.choices else '')
            options[f'{flags} {metavar}'.strip()] = action.default
    assert rows.keys() == options.keys()
    for flags, default in options.items():
        assert not default or rows[flags].strip('`') == str(default).replace(os.sep, '/')


def test_the_version_is_the_newest_in_the_changelog():
    newest = re.search(r'^## (\S+)', (CLONE / 'CHANGELOG.md').read_text(), re.M)[1]
    assert newest == chainer_mnist.__version__


# Code


def test_the_code_of_the_lesson_is_that_of_the_files():
    paths = [CLONE / 'train_mnist.py', CLONE / 'net.py', *CLONE.glob('chainer_mnist/**/*.py')]
    texts = [path.read_text(encoding='utf-8') for path in paths]
    for code in code_of(LESSON, 'python'):
        indented = [textwrap.indent(code, ' ' * n) for n in (0, 4, 8, 12, 16)]
        assert any(f'\n{each}' in text for each in indented for text in texts), code


def test_what_the_lesson_types_prints_what_it_shows():
    train('-e', 1)
    typed = '\n'.join(code_of(LESSON, 'pycon'))
    program = doctest.DocTestParser().get_doctest(typed, {}, 'lesson', None, 0)
    failures = []
    doctest.DocTestRunner().run(program, out=failures.append)
    assert failures == []


def test_other_code_runs():
    train('-e', 1)
    shutil.copy(CLONE / 'chainer_mnist' / 'compat.py', '.')
    for code in (code for page in ENGLISH if page != LESSON for code in code_of(page, 'python')):
        done = run_code(f'{code}\nimport chainer\nassert chainer.Variable')
        assert (done.returncode, done.stderr) == (0, ''), code


# Changes

CHANGES = code_of(CLONE / 'docs' / 'changing.md', 'diff')
# What a learner does after a change
COMMANDS = """
import predict, train_mnist
for words in '-s 1 -e 1 -o first', '-s 1 -e 2', '-e 1 -r first/mlp.state -o resumed':
    assert train_mnist.main(['--noplot', *words.split()]) == 0
assert predict.main(['--noplot']) == 0
"""


def apply(diff, folder):
    """Applies a diff without line numbers: what it removes or keeps must be there exactly once."""
    name, *hunks = diff.split('@@\n')
    path = folder / name.split()[1]
    text = path.read_text(encoding='utf-8')
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = ''.join(line[1:] for line in lines if line[0] != '+')
        assert text.count(old) == 1, old
        text = text.replace(old, ''.join(line[1:] for line in lines if line[0] != '-'))
    path.write_text(text, encoding='utf-8')


@pytest.mark.parametrize('diff', CHANGES, ids=range(len(CHANGES)))
def test_a_change_trains_resumes_and_predicts(tmp_path, diff):
    for name in ('train_mnist.py', 'net.py', 'predict.py'):
        shutil.copy(CLONE / name, tmp_path)
    shutil.copytree(CLONE / 'chainer_mnist', tmp_path / 'chainer_mnist')
    apply(diff, tmp_path)
    done = run_code(COMMANDS)
    assert (done.returncode, done.stderr) == (0, '')
    assert_same_run('resumed', 'result')
    train('-e', 2, '-s', 1, '-o', 'unchanged')
    assert not same('result/mlp.model', 'unchanged/mlp.model')
    accuracy = log_of('result')[-1]['validation/main/accuracy']
    wrong = round(300 * (1 - accuracy))
    assert f'\n{wrong} of 300 test images' in done.stdout
