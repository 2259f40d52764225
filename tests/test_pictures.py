"""The pictures: curves, answers, and what is missing for them."""

import os
import subprocess
import sys

from chainer_mnist import pictures, report

import numpy
import pytest

from helpers import (
    assert_lines,
    assert_quiet,
    command_line,
    environment,
    main,
    run,
    run_on_terminal,
)


def record(epoch):
    return {
        'main/loss': 1 / epoch,
        'main/accuracy': 1 - 0.1 / epoch,
        'validation/main/loss': 1.5 / epoch,
        'validation/main/accuracy': 1 - 0.2 / epoch,
        'epoch': epoch,
        'iteration': epoch * 600,
        'elapsed_time': epoch * 1.0,
    }


@pytest.mark.parametrize('epochs', [[1], [1, 2, 3], [7], range(1, 101)])
def test_curves(epochs, monkeypatch):
    figure = pytest.importorskip('matplotlib.figure').Figure
    drawn = []
    savefig = figure.savefig
    monkeypatch.setattr(
        figure, 'savefig', lambda self, *a, **k: (drawn.append(self), savefig(self, *a, **k))
    )
    report.save_pictures('.', [record(epoch) for epoch in epochs])
    assert len(drawn) == 2
    for name, figure in zip(('loss', 'accuracy'), drawn):
        (axes,) = figure.axes
        assert (axes.get_xlabel(), axes.get_ylabel()) == ('epoch', name)
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ['train', 'test']
        ticks = [tick for tick in axes.get_xticks() if tick >= 0]
        assert all(tick == int(tick) for tick in ticks)
        for line, key in zip(axes.lines, (f'main/{name}', f'validation/main/{name}')):
            assert list(line.get_xdata()) == list(epochs)
            assert list(line.get_ydata()) == [record(epoch)[key] for epoch in epochs]
    assert sorted(os.listdir()) == ['accuracy.png', 'loss.png']


def without(module):
    """An environment in which a module is not installed."""
    os.mkdir('shadow')
    with open(f'shadow/{module}.py', 'w') as file:
        file.write(f'raise ImportError("no {module}")')
    return {**os.environ, 'PYTHONPATH': os.path.abspath('shadow')}


def test_without_matplotlib_there_is_a_hint():
    env = without('matplotlib')
    printed, shown = run_on_terminal('-e', 1, env=env)
    assert_lines(printed, 50, 100, 1)
    assert shown.count('no pictures: Matplotlib is not installed (pip install matplotlib)') == 1
    assert not os.path.exists('result/loss.png')
    done = run('-e', 1, env=env)
    assert (done.returncode, done.stderr) == (0, '')


def test_matplotlib_that_fails_costs_the_pictures_only():
    with open('matplotlibrc', 'w') as file:
        file.write('text.usetex: True\n')
    env = {**os.environ, 'PATH': os.path.dirname(sys.executable)}  # there is no LaTeX
    printed, shown = run_on_terminal('-e', 1, env=env)
    assert_lines(printed, 50, 100, 1)
    assert shown.count('no pictures: Matplotlib fails (') == 1
    assert 'Traceback' not in shown
    assert not [name for name in os.listdir('result') if '.png' in name]


def test_without_graphviz_there_is_a_hint():
    env = {**os.environ, 'PATH': os.path.dirname(sys.executable)}
    printed, shown = run_on_terminal('-e', 1, env=env)
    assert_lines(printed, 50, 100, 1)
    assert shown.count('dot -Tsvg result/graph.dot -o result/graph.svg') == 1
    assert not os.path.exists('result/graph.svg')


def test_noplot_writes_no_pictures():
    assert run('-e', 1, '--noplot').returncode == 0
    assert not [name for name in os.listdir('result') if name.endswith(('.png', '.svg'))]


def test_pictures_after_a_resume():
    assert run('-e', 2, '-o', 'a').returncode == 0
    assert run('-e', 1, '-r', 'a/mlp.state', '-o', 'b').returncode == 0
    assert {'loss.png', 'accuracy.png'} <= set(os.listdir('b'))


def test_matplotlib_cannot_write(bound_by_permissions):
    os.mkdir('home', mode=0o555)
    words = [*bound_by_permissions, *command_line('-e', 1)]
    env = environment(HOME=os.path.abspath('home'), MPLCONFIGDIR=None, XDG_CONFIG_HOME=None)
    assert_quiet(subprocess.run(words, env=env, capture_output=True, text=True))
    assert os.path.exists('result/loss.png')


@pytest.mark.parametrize('content', ['#!/bin/sh\nexit 1\n', '#!/nowhere\n', '\0', None])
def test_a_dot_that_fails_costs_its_picture_only(content, monkeypatch):
    if content is not None:
        with open('dot', 'w') as file:
            file.write(content)
        os.chmod('dot', 0o755)
    hints = []
    monkeypatch.setattr(report, 'hint', hints.append)
    monkeypatch.setenv('PATH', os.getcwd())
    status, _, errors = main('-e', 1)
    assert (status, errors) == (0, '')
    command = 'dot -Tsvg result/graph.dot -o result/graph.svg'
    assert [hint for hint in hints if command in hint.replace(os.sep, '/')]
    assert not [name for name in os.listdir('result') if 'svg' in name]


@pytest.fixture
def figures(monkeypatch):
    """The figures in the place of their files."""
    drawn = []
    monkeypatch.setattr(pictures, '_save', lambda figure, path: drawn.append(figure))
    return drawn


def test_the_grid_marks_the_wrong_ones(figures):
    x = numpy.random.RandomState(0).rand(60, 784).astype('f')
    t = numpy.arange(60) % 10
    probabilities = 0.3 * numpy.eye(10)[t]
    probabilities[[7, 17], 1] = 0.6  # two sevens that look like a one
    pictures.save_inference('.', x, t, probabilities)
    titles = [axes.get_title() for axes in figures[0].axes]
    assert sorted(filter(None, titles)) == sorted(
        [f'{digit}: 30%' for digit in range(10)] * 3 + ['1, not 7: 60%'] * 2
    )
    shown = {(7, 17): ('1, not 7: 60%', pictures.RED), (27, 37, 47): ('7: 30%', pictures.GREEN)}
    for indices, (title, color) in shown.items():
        some = [axes for axes in figures[0].axes if axes.get_title() == title]
        for axes, i in zip(some, indices):
            assert axes.title.get_color() == color
            numpy.testing.assert_array_equal(axes.images[0].get_array().ravel(), x[i])


def test_the_table_counts_which_digit_is_taken_for_which(figures):
    rng = numpy.random.RandomState(0)
    t, taken = rng.randint(10, size=(2, 500))
    pictures.save_confusion('.', t, taken)
    [axes] = figures[0].axes
    table = {text.get_position(): text.get_text() for text in axes.texts}
    for digit in range(10):
        for answer in range(10):
            assert table[answer, digit] == str(((t == digit) & (taken == answer)).sum())
    colors = axes.images[0].get_array()
    assert colors.diagonal().max() == 0  # the right answers do not drown the mistakes
    assert colors.max() == max(int(text) for (a, d), text in table.items() if a != d)
