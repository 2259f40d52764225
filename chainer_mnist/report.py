"""What a run shows and leaves behind: means, progress, curves and the graph."""

import logging
import math
import os
import subprocess

from chainer_mnist import files
from chainer_mnist.errors import UserError
from chainer_mnist.parallel import ALONE
from chainer_mnist.shell import shell_join
from chainer_mnist.streams import hint

import numpy
from chainer import computational_graph


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


def check_finite(loss, epoch):
    """Ends a run that has gone astray, while its last good snapshot is still there.

    Args:
        loss (float): The loss, in training and test.
        epoch (int): The number of the epoch.

    Raises:
        UserError: If the loss is no longer finite.

    """
    if not math.isfinite(loss):
        mend = 'begin with other weights (-m) or another seed (-s)'
        if epoch > 1:
            mend = 'go on from the last good snapshot (-r) with another seed (-s)'
        raise UserError(f'the loss is no longer finite in epoch {epoch}; {mend}')


def progress(*args):
    """Imports ``progress``, only now because tqdm is slow to import, and makes a bar.

    Args:
        args: As for ``progress.Progress``.

    Returns:
        progress.Progress: The bar, for a ``with`` block.

    """
    from chainer_mnist.progress import Progress

    return Progress(*args)


def save_graph(out, loss):
    """Writes the computational graph of a loss as ``graph.dot``, for Graphviz.

    Args:
        out (str): The directory to write to.
        loss (chainer.Variable): The loss of a mini-batch.

    Raises:
        UserError: If the file cannot be written.

    """
    graph = computational_graph.build_computational_graph([loss])
    files.write({os.path.join(out, 'graph.dot'): graph.dump().encode()})


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
    files.write({svg: drawn})
