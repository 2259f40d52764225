"""The changes that docs/changing.md shows do what it says: they train, resume and predict."""

import os
import re
import shutil
import subprocess
import sys

import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer.utils.type_check import InvalidType

import net
import train_mnist
from helpers import CLONE, log_of, main, same, train_here

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


# Other changes


def replace_train(monkeypatch, step):
    """Replaces what the loop does with a mini-batch, the ``i``-th."""

    def train(model, optimizer, x, t, batches, watch):
        means = train_mnist.Means(numpy)
        for i, batch in enumerate(batches):
            step(i, model, optimizer, x[batch], t[batch])
            means.add(model.loss, model.accuracy, len(batch))
            watch(means)
        return means

    monkeypatch.setattr(train_mnist, 'train', train)


def test_a_loss_of_the_wrong_shape_is_found_and_not_trained_with(monkeypatch):
    def forward(self, x, t=None):
        y = net.MLP.forward(self, x)
        if not self.train:
            return y
        self.loss, self.accuracy = F.mean_squared_error(y, t[:, None].astype('f')), F.accuracy(y, t)
        return self.loss

    monkeypatch.setattr(net.TrainFlagMLP, 'forward', forward)
    with pytest.raises(InvalidType, match=r'\(100, 10\) != \(100, 1\)'):
        train_here('-n', 'trainflag')


def test_a_loss_that_fits_single_images_alone(monkeypatch):
    def lossfun(y, t):
        return F.softmax_cross_entropy(y, t) + F.mean_squared_error(y, numpy.zeros((1, 10), 'f'))

    make = L.Classifier
    monkeypatch.setattr(L, 'Classifier', lambda predictor: make(predictor, lossfun=lossfun))
    with pytest.raises(InvalidType):
        train_here()


def test_noise_of_another_type(monkeypatch):
    def step(i, model, optimizer, x, t):
        optimizer.update(model, x + 0.1 * numpy.random.randn(*x.shape), t)

    replace_train(monkeypatch, step)
    with pytest.raises(InvalidType, match='float64'):
        train_here()


def test_an_accuracy_of_ones_own_is_that_of_the_test_too(monkeypatch):
    def accfun(y, t):
        return F.accuracy(y, t) * 0

    make = L.Classifier
    monkeypatch.setattr(L, 'Classifier', lambda predictor: make(predictor, accfun=accfun))
    train_here('-e', 1)
    [record] = log_of('result')
    assert record['main/accuracy'] == record['validation/main/accuracy'] == 0


@pytest.mark.parametrize('updates', [2, 1 / 3])
def test_another_number_of_updates_for_each_mini_batch(monkeypatch, updates):
    def step(i, model, optimizer, x, t):
        model(x, t)
        for _ in range(int((i + 1) * updates) - int(i * updates)):
            optimizer.update(model, x, t)

    replace_train(monkeypatch, step)
    status, printed, _ = main('-e', 2, '--noplot')
    assert status == 0
    assert printed.count('graph generated\n') == 1
    assert os.path.exists('result/graph.dot')
