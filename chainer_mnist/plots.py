"""Pictures: learning curves, predictions, the confusion matrix and the computational graph."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import subprocess
from collections.abc import Iterator
from typing import Any

from chainer_mnist import files
from chainer_mnist.cli import shell_join
from chainer_mnist.console import UserError, print_hint
from chainer_mnist.constants import DATA, ROOT

import chainer
import numpy
from chainer import computational_graph
from chainer.variable import VariableNode

N_EACH = 3  # images of each digit among the right predictions, and among the wrong ones
GREEN, RED, GREY = '#2a7f3f', '#c8102e', '#8a8a8a'
BLUE, ORANGE = '#0072b2', '#d55e00'  # color-blind people can tell them apart


def save_graph(out: str, loss: chainer.Variable, **inputs: Any) -> None:
    """Writes the computational graph of a loss as ``graph.dot``, with the names of its inputs."""
    graph = computational_graph.build_computational_graph([loss])
    for node in graph.nodes:
        for name, array in inputs.items():
            is_leaf = isinstance(node, VariableNode) and node.creator_node is None
            if is_leaf and (node.shape, node.dtype) == (array.shape, array.dtype):
                node.name = node.name or name
    files.write_atomically(out, {'graph.dot': graph.dump().encode()})


def draw_graph(out: str) -> None:
    """Draws ``graph.dot`` as ``graph.svg``. Without Graphviz, prints a hint."""
    dot, svg = (os.path.join(out, name) for name in ('graph.dot', 'graph.svg'))
    if not os.path.isfile(dot):
        return
    command = ['dot', '-Tsvg', dot]
    try:
        drawn = subprocess.check_output(command, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        fix = shell_join([*command, '-o', svg])
        print_hint(f'no {svg}: Graphviz is missing or fails; once it works, run: {fix}')
    else:
        files.write_atomically(out, {'graph.svg': drawn})


@contextlib.contextmanager
def _hint_on_failure() -> Iterator[None]:
    """Makes a hint of whatever keeps Matplotlib from drawing within the block."""
    # Matplotlib reports that it builds its font cache, or has no home directory for it.
    logging.getLogger('matplotlib').setLevel(logging.ERROR)
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # no directory to write to, wrong settings, ...
        reason = str(error).split('\n')[0]
        print_hint(f'no pictures: Matplotlib fails ({reason})')


@_hint_on_failure()
def save_curves(out: str, records: list[dict]) -> None:
    """Draws ``loss.png`` and ``accuracy.png`` from a log, beside the tutorial's run on MNIST."""
    tutorial = []
    if not os.environ.get(ROOT):
        with open(os.path.join(DATA, 'tutorial.csv'), encoding='utf-8') as file:
            tutorial = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for name, best in (('loss', min), ('accuracy', max)) if records else ():
        figure, axes = _subplots()
        for label, key, color in ('train', 'main/', BLUE), ('test', 'validation/main/', ORANGE):
            axes.plot(*zip(*series(tutorial, key + name)), '--', color=color, linewidth=1)
            points = series(records, key + name)
            axes.plot(*zip(*points), marker='.', color=color)
            for point in points[-1:]:
                axes.annotate(f'   {label}', point, color=color, va='center')
        dashed = '\ndashed: the tutorial of 2017' if tutorial else ''
        for epoch, value in [best(points, key=lambda point: point[1])] if points else []:
            axes.plot(epoch, value, 'o', color=color, markersize=12, fillstyle='none')
            axes.set_title(f'best test {name}: {value:.4f} in epoch {epoch}{dashed}')
        axes.set(xlabel='epoch', ylabel=name, xmargin=0.12)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        axes.grid(color='0.9')
        _save(figure, out, f'{name}.png')


def series(records: list[dict], key: str) -> list[tuple[float, float]]:
    """Returns the epochs and the values that are finite numbers. LogReport may leave one out."""
    points = [(record['epoch'], record.get(key)) for record in records]
    return [(e, v) for e, v in points if isinstance(v, (int, float)) and abs(v) < 1e300]


@_hint_on_failure()
def save_predictions(out: str, x: numpy.ndarray, t: numpy.ndarray, p: numpy.ndarray) -> None:
    """Draws ``inference.png`` and ``confusion.png``.

    ``x`` are images of shape (N, 784), ``t`` labels of shape (N,) and ``p`` the predicted
    probabilities of shape (N, 10). Raises ``UserError`` if a file cannot be written.
    """
    files.make_directory(out)
    _save_inference(out, x, t, p)
    _save_confusion(out, t, p.argmax(axis=1))


def _save_inference(out: str, x: numpy.ndarray, t: numpy.ndarray, p: numpy.ndarray) -> None:
    """A column for each digit, right predictions above wrong ones."""
    predicted = p.argmax(axis=1)
    figure, grid = _subplots(2 * N_EACH, 10, figsize=(10, 7.6))
    figure.suptitle('The first right and wrong predictions for each digit, and their probabilities')
    figure.subplots_adjust(left=0, right=1, top=0.91, bottom=0, wspace=0.15)
    for axes in grid.flat:
        axes.axis('off')
    for digit in range(10):
        right = numpy.flatnonzero((t == digit) & (predicted == digit))[:N_EACH]
        wrong = numpy.flatnonzero((t == digit) & (predicted != digit))[:N_EACH]
        for axes, i in zip(grid[:N_EACH, digit], right):
            _draw_image(axes, x[i], f'{digit}: {p[i].max():.0%}', GREEN)
        for axes, i in zip(grid[N_EACH:, digit], wrong):
            _draw_image(axes, x[i], f'{predicted[i]}, not {digit}: {p[i].max():.0%}', RED)
    _save(figure, out, 'inference.png')


def _draw_image(axes: Any, image: numpy.ndarray, title: str, color: str) -> None:
    axes.axis('on')
    axes.imshow(image.reshape(28, 28), cmap='gray_r', vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color=color, fontsize=9)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=2)


def _save_confusion(out: str, t: numpy.ndarray, predicted: numpy.ndarray) -> None:
    """The confusion matrix: which digit is taken for which."""
    counts = numpy.bincount(10 * t + predicted, minlength=100).reshape(10, 10)
    # The colors show the mistakes only: beside the right predictions, all would look like none.
    mistakes = counts * (1 - numpy.eye(10))
    figure, axes = _subplots(figsize=(7, 7))
    axes.imshow(mistakes, cmap='Reds', vmax=max(1, mistakes.max()))
    axes.imshow(numpy.where(numpy.eye(10), 1, numpy.nan), cmap='Greens', vmin=0, vmax=4)
    for (digit, answer), count in numpy.ndenumerate(counts):
        dark = mistakes[digit, answer] > mistakes.max() / 2
        color = GREEN if digit == answer else 'white' if dark else 'black' if count else GREY
        axes.text(answer, digit, count, ha='center', va='center', color=color)
    axes.set(xticks=range(10), yticks=range(10), xlabel='predicted digit', ylabel='true digit')
    axes.set_title(f'{(t != predicted).sum()} of {len(t)} test images are misclassified')
    _save(figure, out, 'confusion.png')


def _subplots(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # slow to import; needs no display

    figure = Figure(**options)
    return figure, figure.subplots(rows, columns)


def _save(figure: Any, out: str, name: str) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=150, bbox_inches='tight')
    files.write_atomically(out, {name: buffer.getvalue()})
    print_hint(f'wrote {os.path.join(out, name)}')
