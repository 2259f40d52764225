"""What a run shows and leaves behind: printed lines, progress, the log, curves and the graph."""

import json
import logging
import math
import os
import subprocess
import sys
import threading

import chainer_compat  # noqa: F401  Chainer does not import without it
from chainer import computational_graph
from tqdm import tqdm

import files
from command import UserError, printing

# The lock that tqdm makes serves several processes. From Python 3.14 on it starts one of its own,
# which prints a warning when the run is killed.
tqdm.set_lock(threading.RLock())

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


def say(*words):
    """Prints a line on standard output at once, past any progress bar on the terminal.

    Args:
        words: What to print, as for ``print``.

    Raises:
        BrokenPipeError: If nobody reads on.
        UserError: If standard output cannot be written otherwise, as on a full disk.

    """
    with printing():
        tqdm.write(' '.join(map(str, words)), file=sys.stdout)


def hint(text):
    """Prints a remark for a person: on standard error, and only where that is a terminal.

    Args:
        text (str): The remark.

    """
    if sys.stderr.isatty():
        tqdm.write(text, file=sys.stderr)


class Progress(tqdm):
    """The progress bar of an epoch. It is drawn only where standard error is a terminal.

    Args:
        epoch (int): Number of the epoch.
        n_epoch (int): Number of the last epoch of the run.
        images (int): Number of images in each epoch.

    """

    def __init__(self, epoch, n_epoch, images):
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

    def show(self, mean):
        """Moves the bar on.

        Args:
            mean (train_mnist.Mean): The means of the epoch so far.

        """
        self._mean = mean
        self.update(mean.images - self.n)

    @property
    def format_dict(self):
        """What is drawn. It is asked for ten times a second, and so is the loss."""
        drawn = super().format_dict
        rate = drawn['rate'] or drawn['n'] / (drawn['elapsed'] or 1)
        images_left = drawn['total'] - drawn['n'] + self._images_after
        drawn['left'] = self.format_interval(images_left / rate) if rate else '?'
        drawn['loss'] = self._mean.get()[0] if drawn['n'] else float('nan')
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
        import pictures

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
        hint(f'no {svg}: Graphviz is not there or fails; once it works: dot -Tsvg {dot} -o {svg}')
        return
    files.write(svg, drawn)
