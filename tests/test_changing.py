"""The changes that docs/changing.md shows do what it says: they train, resume and predict."""

import re
import shutil
import subprocess
import sys

import pytest

from helpers import CLONE, same, train_here

PAGE = (CLONE / 'docs' / 'changing.md').read_text(encoding='utf-8')
# By its heading, each change as a diff. Its hunks bear no numbers of lines: they would drift.
CHANGES = dict(re.findall(r'^## (.+?)$[^#]*?^```diff\n(.*?)^```$', PAGE, re.M | re.S))


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


def run(script, *words):
    done = subprocess.run(
        [sys.executable, script, '--noplot', *map(str, words)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


@pytest.mark.parametrize('diff', CHANGES.values(), ids=CHANGES)
def test_a_change_trains_resumes_and_predicts(tmp_path, diff):
    for name in ('train_mnist.py', 'net.py', 'predict.py'):
        shutil.copy(CLONE / name, tmp_path)
    shutil.copytree(CLONE / 'chainer_mnist', tmp_path / 'chainer_mnist')
    train_here('-e', 1, '-s', 1, '-o', 'unchanged')
    change(tmp_path, diff)
    run('train_mnist.py', '-e', 1, '-s', 1, '-o', 'first')
    assert not same('first/mlp.model', 'unchanged/mlp.model')

    printed = run('train_mnist.py', '-e', 2, '-s', 1)
    run('train_mnist.py', '-e', 1, '-r', 'first/mlp.state', '-o', 'resumed')
    for name in ('classifier.model', 'mlp.model', 'mlp.state'):
        assert same(f'resumed/{name}', f'result/{name}')

    said = re.findall(r'test .* accuracy=([\d.]+)', printed)[-1]
    accuracy = re.search(r'accuracy ([\d.]+)', run('predict.py')).group(1)
    assert float(accuracy) == pytest.approx(float(said))


def test_the_page_shows_three_changes():
    assert len(CHANGES) == 3
