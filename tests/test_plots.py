"""The pictures: curves, predictions and the graph, and what is missing to draw them."""

import os
import re
import shutil
import sys
from pathlib import Path

from chainer_mnist import plots
from chainer_mnist.cli import shell_join

import numpy
import pytest

from helpers import environment, main, run

KEYS = ['main/loss', 'main/accuracy', 'validation/main/loss', 'validation/main/accuracy']


def record(epoch):
    return {'epoch': epoch, **{key: (i + 1) / (epoch + 7) for i, key in enumerate(KEYS)}}


@pytest.fixture
def figures(monkeypatch):
    """The figures in the place of their files."""
    drawn = []
    monkeypatch.setattr(plots, '_save', lambda figure, *path: drawn.append(figure))
    return drawn


@pytest.mark.parametrize('epochs', [[1], [7], range(1, 101)])
def test_curves(figures, epochs):
    """Train and test, labelled at their ends, with the best epoch in the title."""
    records = [record(epoch) for epoch in epochs]
    plots.save_curves('.', records)
    assert len(figures) == 2
    for figure, name in zip(figures, ('loss', 'accuracy')):
        [axes] = figure.axes
        assert (axes.get_xlabel(), axes.get_ylabel()) == ('epoch', name)
        assert [text.get_text().strip() for text in axes.texts] == ['train', 'test']
        epoch = max(epochs) if name == 'loss' else min(epochs)
        value = record(epoch)[f'validation/main/{name}']
        assert axes.get_title() == f'best test {name}: {value:.4f} in epoch {epoch}'
        assert all(tick == int(tick) for tick in axes.get_xticks() if tick >= 0)
        lines = [line for line in axes.lines if line.get_marker() == '.']
        for line, key in zip(lines, (f'main/{name}', f'validation/main/{name}')):
            assert list(line.get_xdata()) == list(epochs)
            assert list(line.get_ydata()) == [record[key] for record in records]


def test_the_tutorials_curves_are_beside_those_of_mnist(figures, monkeypatch):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    plots.save_curves('.', [record(1)])
    [axes] = figures[1].axes
    assert axes.get_title().endswith('\ndashed: the tutorial of 2017')
    train, test = [line.get_ydata() for line in axes.lines if line.get_linestyle() == '--']
    assert (len(train), train[0], test[-1]) == (20, 0.887383, pytest.approx(0.973, abs=0.005))


def test_predictions(figures):
    x = numpy.random.RandomState(0).rand(60, 784).astype('f')
    t = numpy.arange(60) % 10
    p = 0.3 * numpy.eye(10)[t]
    p[[7, 17], 1] = 0.6  # two sevens that look like a one
    plots.save_predictions('.', x, t, p)
    grid, [confusion] = (figure.axes for figure in figures)
    titles = [f'{digit}: 30%' for digit in range(10)] * 3 + ['1, not 7: 60%'] * 2
    assert sorted(axes.get_title() for axes in grid if axes.get_title()) == sorted(titles)
    for title, color, indices in (
        ('1, not 7: 60%', plots.RED, [7, 17]),
        ('7: 30%', plots.GREEN, [27, 37, 47]),
    ):
        for axes, i in zip([axes for axes in grid if axes.get_title() == title], indices):
            assert axes.title.get_color() == color
            numpy.testing.assert_array_equal(axes.images[0].get_array().ravel(), x[i])
    counts = {text.get_position(): text.get_text() for text in confusion.texts}
    assert (counts[7, 7], counts[1, 7], counts[7, 1], counts[3, 3]) == ('4', '2', '0', '6')
    colors = confusion.images[0].get_array()
    assert (colors[7, 1], colors.sum()) == (2, 2)  # the mistakes alone have a color


def test_the_graph():
    assert main('-e', 1)[::2] == (0, '')
    for suffix in ['dot', 'svg'] if shutil.which('dot') else ['dot']:
        text = Path(f'result/graph.{suffix}').read_text()
        for function, count in (('LinearFunction', 3), ('ReLU', 2), ('SoftmaxCrossEntropy', 1)):
            assert len(re.findall(f'[">]{function}["<]', text)) == count


# What is missing


@pytest.fixture
def hints(monkeypatch):
    printed = []
    monkeypatch.setattr(plots, 'print_hint', printed.append)
    return printed


def test_matplotlib_is_not_installed_or_fails(hints, monkeypatch):
    matplotlib = pytest.importorskip('matplotlib')
    monkeypatch.setenv('PATH', '')
    with matplotlib.rc_context({'text.usetex': True}):  # there is no LaTeX
        plots.save_curves('.', [record(1)])
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    plots.save_curves('.', [record(1)])
    assert re.fullmatch(r'no pictures: Matplotlib fails \(.*\)', hints[0])
    assert hints[1].startswith('no pictures: Matplotlib fails (import of matplotlib')
    assert os.listdir() == []


@pytest.mark.parametrize('dot', [None, '#!/bin/sh\nexit 1\n', '#!/nowhere\n', '\0'])
def test_graphviz_is_missing_or_fails(hints, dot, monkeypatch):
    Path('graph.dot').write_text('digraph {}')
    if dot is not None:
        Path('dot').write_text(dot)
        os.chmod('dot', 0o755)
    monkeypatch.setenv('PATH', os.getcwd())
    plots.draw_graph('.')
    assert shell_join(['dot', '-Tsvg', './graph.dot', '-o', './graph.svg']) in hints[0]
    assert not os.path.exists('graph.svg')


def test_matplotlib_cannot_write_to_the_home_directory(bound_by_permissions):
    os.mkdir('home', mode=0o555)
    env = environment(HOME=os.path.abspath('home'), MPLCONFIGDIR=None, XDG_CONFIG_HOME=None)
    done = run('-e', 1, prefix=bound_by_permissions, env=env)
    assert (done.returncode, done.stderr) == (0, '')
    assert os.path.exists('result/loss.png')
