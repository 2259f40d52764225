"""The changes that docs/changing.md shows do what it says: they train, resume and predict."""

import re
import shutil
import subprocess
import sys

import pytest

from helpers import CLONE, log_of, same, train_here

PAGE = (CLONE / 'docs' / 'changing.md').read_text(encoding='utf-8')
# By its heading, each change as a diff. Its hunks bear no numbers of lines: they would drift.
CHANGES = {
    section.split('\n')[0]: section.split('```diff\n')[1].split('```')[0]
    for section in PAGE.split('\n## ')
    if '```diff' in section
}


def change(folder, diff):
    """Applies a diff to a copy. What it removes or stands beside has to be there exactly once."""
    name, *hunks = diff.split('@@\n')
    path = folder / name.split()[1]
    text = path.read_text(encoding='utf-8')
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = ''.join(line[1:] for line in lines if line[0] != '+')
        assert text.count(old) == 1, old
        text = text.replace(old, ''.join(line[1:] for line in lines if line[0] != '-'))
    path.write_text(text, encoding='utf-8')


# What a learner does after a change. It is one process, which is quick.
COMMANDS = """
import predict, train_mnist
for words in '-s 1 -e 1 -o first', '-s 1 -e 2', '-e 1 -r first/mlp.state -o resumed':
    assert train_mnist.main(['--noplot', *words.split()]) == 0
assert predict.main(['--noplot']) == 0
"""


@pytest.mark.parametrize('diff', CHANGES.values(), ids=CHANGES)
def test_a_change_trains_resumes_and_predicts(tmp_path, diff):
    for name in ('train_mnist.py', 'net.py', 'predict.py'):
        shutil.copy(CLONE / name, tmp_path)
    shutil.copytree(CLONE / 'chainer_mnist', tmp_path / 'chainer_mnist')
    change(tmp_path, diff)
    done = subprocess.run([sys.executable, '-c', COMMANDS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    for name in ('classifier.model', 'mlp.model', 'mlp.state'):
        assert same(f'resumed/{name}', f'result/{name}')

    train_here('-e', 1, '-s', 1, '-o', 'unchanged')
    assert not same('first/mlp.model', 'unchanged/mlp.model')
    accuracy = re.search(r'wrong \(accuracy ([\d.]+)', done.stdout).group(1)
    assert float(accuracy) == pytest.approx(log_of('result')[-1]['validation/main/accuracy'])


def test_the_page_shows_three_changes():
    assert len(CHANGES) == 3
