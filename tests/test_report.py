"""What a run shows to a person, and the pictures that it leaves behind."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from chainer_mnist import report

import pytest

from helpers import command_line, run
from test_train_mnist import assert_lines


def run_on_terminal(*words, **options):
    """Runs the script with standard error on a terminal. Returns what was printed and shown."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 90, 0, 0))
    process = subprocess.Popen(
        command_line(*words), stdout=subprocess.PIPE, stderr=its, text=True, **options
    )
    os.close(its)
    stdout, _ = process.communicate(timeout=60)
    shown = b''
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # so a terminal says that the other end is closed
            break
    os.close(ours)
    assert process.returncode == 0
    return stdout, shown.decode()


def test_progress_on_a_terminal():
    printed, shown = run_on_terminal('-e', 2, '-b', 1, '--noplot')
    assert_lines(printed, 50, 1, 2)
    for epoch in (1, 2):
        assert re.search(
            rf'epoch {epoch}/2 +\d+%\|.*\| loss=\d\.\d{{4}}, *[\d.]+k? images/s, 00:0\d left', shown
        ), shown


def test_no_progress_elsewhere():
    done = run('-e', 1, '-b', 1, '--noplot')
    assert_lines(done.stdout, 50, 1, 1)
    assert done.stderr == ''


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
