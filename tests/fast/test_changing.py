"""The changes that docs/changing.md shows train, resume and predict, and so do others."""

import re
import shutil
import subprocess
import sys

import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer.utils.type_check import InvalidType

import train_mnist
from helpers import CLONE, log_of, main, same, train

PAGE = (CLONE / 'docs' / 'changing.md').read_text(encoding='utf-8')
# By its heading, each change as a diff. Its hunks have no line numbers.
CHANGES = {
    section.split('\n')[0]: section.split('```diff\n')[1].split('```')[0]
    for section in PAGE.split('\n## ')
    if '```diff' in section
}

# What a learner does after a change, in one process, which is quick
COMMANDS = """
import predict, train_mnist
for words in '-s 1 -e 1 -o first', '-s 1 -e 2', '-e 1 -r first/mlp.state -o resumed':
    assert train_mnist.main(['--noplot', *words.split()]) == 0
assert predict.main(['--noplot']) == 0
"""


def apply_diff(folder, diff):
    """Changes a copy. What a hunk removes or stands beside must be there exactly once."""
    name, *hunks = diff.split('@@\n')
    path = folder / name.split()[1]
    text = path.read_text(encoding='utf-8')
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = ''.join(line[1:] for line in lines if line[0] != '+')
        assert text.count(old) == 1, old
        text = text.replace(old, ''.join(line[1:] for line in lines if line[0] != '-'))
    path.write_text(text, encoding='utf-8')


@pytest.mark.parametrize('diff', CHANGES.values(), ids=CHANGES)
def test_a_change_trains_resumes_and_predicts(tmp_path, monkeypatch, diff):
    for name in ('train_mnist.py', 'net.py', 'predict.py'):
        shutil.copy(CLONE / name, tmp_path)
    shutil.copytree(CLONE / 'chainer_mnist', tmp_path / 'chainer_mnist')
    apply_diff(tmp_path, diff)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    done = subprocess.run([sys.executable, '-c', COMMANDS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    for name in ('classifier.model', 'mlp.model', 'mlp.state'):
        assert same(f'resumed/{name}', f'result/{name}')
    accuracy = float(re.search(r'accuracy ([\d.]+)', done.stdout).group(1))
    assert accuracy == pytest.approx(log_of('result')[-1]['validation/main/accuracy'])


def test_noise_of_another_type_is_an_error(monkeypatch):
    def noisy(model, optimizer, x, t, batches, callback):
        for batch in batches:
            optimizer.update(model, x[batch] + numpy.random.randn(len(batch), 784), t[batch])

    monkeypatch.setattr(train_mnist, 'train', noisy)
    with pytest.raises(InvalidType, match='float64'):
        main('--noplot')


def test_an_accuracy_of_ones_own_is_that_of_the_test_too(monkeypatch):
    make = L.Classifier
    accfun = lambda y, t: F.accuracy(y, t) * 0  # noqa: E731
    monkeypatch.setattr(L, 'Classifier', lambda predictor: make(predictor, accfun=accfun))
    train('-e', 1)
    [record] = log_of('result')
    assert record['main/accuracy'] == record['validation/main/accuracy'] == 0
