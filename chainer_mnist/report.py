"""What a run shows and leaves behind: progress, the log, curves and the graph."""

import json
import logging
import math
import os
import subprocess

from chainer_mnist import files
from chainer_mnist.arguments import shell_join
from chainer_mnist.errors import UserError
from chainer_mnist.parallel import ALONE
from chainer_mnist.streams import hint

import numpy
from chainer import computational_graph
from tqdm import tqdm

LOG = 'log'

# What the log holds of each epoch, as Chainer's LogReport calls it.
RECORD = (
    'main/loss',
    'main/accuracy',
    'validation/main/loss',
    'validation/main/accuracy',
    'epoch',
    'iteration',
    'elapsed_time',
)


class Means:
    """Means of loss and accuracy over images, summed up on the device that computes them.

    Args:
        xp (module): NumPy or CuPy.

    Attributes:
        images (int): Number of images so far.

    """

    def __init__(self, xp):
        self._sum_loss = xp.zeros((), 'd')
        self._sum_accuracy = xp.zeros((), 'd')
        self.images = 0

    def add(self, loss, accuracy, images):
        """Adds the means over a mini-batch, which may be smaller than the others.

        Args:
            loss (chainer.Variable): Mean loss, of shape ().
            accuracy (chainer.Variable): Mean accuracy, of shape ().
            images (int): Number of images in the mini-batch. Where it is 0, the others are ignored.

        """
        if images:
            self._sum_loss += loss.array * images
            self._sum_accuracy += accuracy.array * images
            self.images += images

    def get(self, communicator=ALONE):
        """Waits for the device and gives the means so far.

        Args:
            communicator (parallel.OneProcess): The processes to take the means over, all of which
                have to call this.

        Returns:
            tuple: Loss and accuracy, floats.

        """
        sums = numpy.array([float(self._sum_loss), float(self._sum_accuracy), self.images])
        loss, accuracy, images = communicator.sum(sums)
        return float(loss / images), float(accuracy / images)


class Progress(tqdm):
    """The progress bar of an epoch. It is drawn only where standard error is a terminal.

    Args:
        epoch (int): Number of the epoch.
        n_epoch (int): Number of the last epoch of the run.
        images (int): Number of images in each epoch.
        processes (int): Number of processes that share them alike.

    """

    def __init__(self, epoch, n_epoch, images, processes=1):
        self._processes = processes
        self._images_after = (n_epoch - epoch) * images
        super().__init__(
            desc=f'epoch {epoch}/{n_epoch}',
            total=images,
            unit=' images',
            leave=False,
            disable=None,
            bar_format='{desc} {percentage:3.0f}%|{bar:24}| '
            'loss={loss:.4f}, {rate_fmt}, {left} left',
        )

    def show(self, means):
        """Moves the bar on.

        Args:
            means (Means): The means of the epoch so far, in this process.

        """
        self._means = means
        self.update(min(means.images * self._processes, self.total) - self.n)

    @property
    def format_dict(self):
        """What is drawn. It is asked for ten times a second, and so is the loss."""
        drawn = super().format_dict
        rate = drawn['rate'] or drawn['n'] / (drawn['elapsed'] or 1)
        images_left = drawn['total'] - drawn['n'] + self._images_after
        drawn['left'] = self.format_interval(images_left / rate) if rate else '?'
        drawn['loss'] = self._means.get()[0] if drawn['n'] else float('nan')
        return drawn


def save_graph(out, loss):
    """Writes the computational graph of a loss as ``graph.dot``, for Graphviz.

    Args:
        out (str): The directory to write to.
        loss (chainer.Variable): The loss of a mini-batch.

    Raises:
        UserError: If the file cannot be written.

    """
    graph = computational_graph.build_computational_graph([loss])
    files.write(os.path.join(out, 'graph.dot'), graph.dump().encode())


def save_log(out, log):
    """Writes ``log`` in the format of Chainer's LogReport.

    Args:
        out (str): The directory to write to.
        log (list): A dictionary for each epoch.

    Raises:
        UserError: If the file cannot be written.

    """
    files.write(os.path.join(out, LOG), json.dumps(log, indent=4).encode())


def load_log(path, epochs):
    """Reads the log of a run that is gone on with.

    Args:
        path (str): The file, as :func:`save_log` writes it.
        epochs (int): Number of epochs that the run has behind it. What a killed run wrote on later
            epochs is left out.

    Returns:
        list: A dictionary for each epoch. It is empty if there is no such file.

    Raises:
        UserError: If it is no such log. It would be lost if it were written anew.

    """
    if not os.path.exists(path):
        return []
    try:
        if not os.path.isfile(path):  # opening a pipe can hang
            raise ValueError('not a file')
        with open(path, encoding='utf-8') as file:
            log = json.load(file)
        if not isinstance(log, list):
            raise ValueError('not a list')
        if not all(math.isfinite(record[key]) for record in log for key in RECORD):
            raise ValueError('not finite')
        return [record for record in log if record['epoch'] <= epochs]
    except Exception as error:  # whatever another file's content leads to
        raise UserError(
            f'{path} is not the log of a run ({error}); move it out of the way'
        ) from None


def draw(what):
    """Imports ``pictures``, only now because Matplotlib is slow to import, and has it draw.

    Where Matplotlib is missing or fails, there is a hint in place of the pictures.

    Args:
        what (callable): Takes the module ``pictures`` and draws with it.

    Raises:
        UserError: If a file cannot be written.

    """
    # Matplotlib says when it builds its font cache, or has no home directory to put it in.
    logging.getLogger('matplotlib').setLevel(logging.ERROR)
    try:
        from chainer_mnist import pictures

        what(pictures)
    except UserError:
        raise
    except ImportError:
        hint('no pictures: Matplotlib is not installed (pip install matplotlib)')
    except Exception as error:  # it needs a directory to write to, settings that are right, ...
        reason = str(error).split('\n')[0]
        hint(f'no pictures: Matplotlib fails ({reason})')


def save_pictures(out, log):
    """Draws the curves of loss and accuracy, and the graph where Graphviz is installed.

    What is missing, Matplotlib or Graphviz, costs its picture and gets a hint.

    Args:
        out (str): The directory to write to, and to find ``graph.dot`` in.
        log (list): The records of all epochs, as in LogReport's log.

    Raises:
        UserError: If a file cannot be written.

    """
    if log:
        draw(lambda pictures: pictures.save_curves(out, log))
    if os.path.isfile(os.path.join(out, 'graph.dot')):
        _draw_graph(out)


def _draw_graph(out):
    dot, svg = (os.path.join(out, name) for name in ('graph.dot', 'graph.svg'))
    try:
        with open(dot, 'rb') as graph:
            drawn = subprocess.check_output(
                ['dot', '-Tsvg'], stdin=graph, stderr=subprocess.DEVNULL
            )
    except (OSError, subprocess.CalledProcessError):
        command = shell_join(['dot', '-Tsvg', dot, '-o', svg])
        hint(f'no {svg}: Graphviz is not there or fails; once it works: {command}')
        return
    files.write(svg, drawn)
