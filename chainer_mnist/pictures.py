"""Draws the curves of a run, and what a trained model does with the test set."""

import io
import os

from chainer_mnist import files
from chainer_mnist.log import curve

import numpy
from matplotlib.figure import Figure  # it needs no display
from matplotlib.ticker import MaxNLocator

EACH = 3  # images of each digit in the upper half of the grid, and as many in the lower half
GREEN, RED, GREY = '#2a7f3f', '#c8102e', '#8a8a8a'


def save_curves(out, log):
    """Draws loss and accuracy over the epochs, as PlotReport does.

    Args:
        out (str): The directory to write ``loss.png`` and ``accuracy.png`` to.
        log (list): The records of all epochs, as in LogReport's log.

    Raises:
        UserError: If a file cannot be written.

    """
    for name in ('loss', 'accuracy'):
        axes = Figure().subplots()
        for key, label in ((f'main/{name}', 'train'), (f'validation/main/{name}', 'test')):
            axes.plot(*curve(log, key), marker='x', label=label)
        axes.set(xlabel='epoch', ylabel=name)
        whole_numbers = MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        axes.xaxis.set_major_locator(whole_numbers)
        axes.grid(color='0.9')
        axes.legend()
        _save(axes.figure, os.path.join(out, f'{name}.png'))


def save_inference(out, x, t, probabilities):
    """Draws images with answer and probability: a column for each digit, mistakes below.

    Args:
        out (str): The directory to write ``inference.png`` to.
        x (numpy.ndarray): Images, float32 from 0 to 1, of shape (N, 784).
        t (numpy.ndarray): Labels, int32, of shape (N,).
        probabilities (numpy.ndarray): What the model gives each digit, float32, of shape (N, 10).

    Raises:
        UserError: If the file cannot be written.

    """
    answers = probabilities.argmax(axis=1)
    figure = Figure(figsize=(10, 7.6))
    figure.suptitle('The first right and wrong answers for each digit, and their probabilities')
    grid = figure.subplots(2 * EACH, 10)
    figure.subplots_adjust(left=0, right=1, top=0.91, bottom=0, wspace=0.15)
    for axes in grid.flat:
        axes.axis('off')
    for digit in range(10):
        right = numpy.flatnonzero((t == digit) & (answers == digit))[:EACH]
        wrong = numpy.flatnonzero((t == digit) & (answers != digit))[:EACH]
        for axes, i in zip(grid[:EACH, digit], right):
            _show(axes, x[i], f'{digit}: {probabilities[i].max():.0%}', GREEN)
        for axes, i in zip(grid[EACH:, digit], wrong):
            _show(axes, x[i], f'{answers[i]}, not {digit}: {probabilities[i].max():.0%}', RED)
    _save(figure, os.path.join(out, 'inference.png'))


def _show(axes, image, title, color):
    axes.axis('on')
    axes.imshow(image.reshape(28, 28), cmap='gray_r', vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, color=color, fontsize=9)
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=2)


def save_confusion(out, t, answers):
    """Draws which digit is taken for which, as a table of counts.

    Args:
        out (str): The directory to write ``confusion.png`` to.
        t (numpy.ndarray): Labels, int32, of shape (N,).
        answers (numpy.ndarray): What the model takes the images for, int, of shape (N,).

    Raises:
        UserError: If the file cannot be written.

    """
    counts = numpy.zeros((10, 10), int)
    numpy.add.at(counts, (t, answers), 1)
    # The colours tell the mistakes apart. Beside the right answers all would look like none.
    mistakes = counts * (1 - numpy.eye(10))
    axes = Figure(figsize=(7, 7)).subplots()
    axes.imshow(mistakes, cmap='Reds', vmax=max(1, mistakes.max()))
    for (digit, answer), count in numpy.ndenumerate(counts):
        dark = mistakes[digit, answer] > mistakes.max() / 2
        color = GREEN if digit == answer else 'white' if dark else 'black' if count else GREY
        axes.text(answer, digit, count, ha='center', va='center', color=color)
    axes.set(xticks=range(10), yticks=range(10), xlabel='answer', ylabel='digit')
    axes.set_title(f'{(t != answers).sum()} of {len(t)} test images are wrong')
    _save(axes.figure, os.path.join(out, 'confusion.png'))


def _save(figure, path):
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100, bbox_inches='tight')
    files.write({path: buffer.getvalue()})
