"""What surrounds the training loop: means, progress, log, snapshots, and an end in order."""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import math
import operator
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from chainer_mnist import files, plots, snapshots
from chainer_mnist.cli import ArgumentParser, python_executable, shell_join
from chainer_mnist.console import UserError, print_hint, print_line, print_stderr
from chainer_mnist.constants import PREDICTOR, ROOT, STATE
from chainer_mnist.distributed import SINGLE_PROCESS, SingleProcess
from chainer_mnist.fast import fast_training
from chainer_mnist.signals import GracefulInterrupt

import chainer
import numpy


class RunningMean:
    """Mean loss and mean accuracy over the images so far, summed up on the device of ``xp``."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._sums: list[tuple[Any, Any, int]] = []

    def update(self, loss: Any, accuracy: Any, images: int) -> None:
        """Adds the means over a mini-batch of ``images`` images. An empty one changes nothing.

        They are variables of shape (). Without an accuracy, its mean is NaN.
        """
        if images:
            n = numpy.float32(images)  # an int would give float64 on NumPy 1
            array = numpy.nan if accuracy is None else accuracy.array
            self._sums.append((loss.array * n, array * n, images))

    def compute(self, comm: SingleProcess = SINGLE_PROCESS) -> tuple[float, float]:
        """Waits for the device and returns loss and accuracy over all ranks, which all call it."""
        sum_loss, sum_accuracy, images = self._xp.zeros((), 'd'), self._xp.zeros((), 'd'), 0
        for loss, accuracy, n in self._sums:
            sum_loss += loss
            sum_accuracy += accuracy
            images += n
        sums = numpy.array([float(sum_loss), float(sum_accuracy), images])
        loss, accuracy, images = comm.allreduce(sums)
        return float(loss / images), float(accuracy / images)


@contextlib.contextmanager
def evaluation_mode(model: chainer.Chain) -> Iterator[chainer.Chain]:
    """Yields the predictor of a model, set to predict within the block: no graph, no dropout.

    The training-flag framework's own flag ``train`` is false meanwhile, too.
    """
    predictor = snapshots.get_predictor(model)
    flag = getattr(predictor, 'train', None)
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        if flag is not None:
            predictor.train = False
        try:
            yield predictor
        finally:
            if flag is not None:
                predictor.train = flag


def init_or_resume(
    args: argparse.Namespace, optimizer: chainer.Optimizer, seed: int, comm: SingleProcess
) -> tuple[int, list[dict]]:
    """Loads what ``-m`` and ``-r`` name: rank 0 reads, and all ranks get the same.

    Returns the seed of the run and the records of its log so far. Raises ``UserError`` if a file
    cannot be read or does not fit.
    """
    initmodel, resume = (args.initmodel, args.resume) if comm.rank == 0 else (None, None)
    checkpoint = snapshots.load_checkpoint(initmodel, resume, optimizer, args.unit)
    if checkpoint.model_path:
        print_line('Load model from', checkpoint.model_path)
    if checkpoint.state_path:
        print_line('Load optimizer state from', checkpoint.state_path)
    if args.seed is None and checkpoint.seed is not None:
        seed = checkpoint.seed
    state = comm.bcast(snapshots.state_dict(optimizer, seed))
    if comm.rank > 0:
        snapshots.load_state_dict(optimizer, state)
    return int(state['seed']), checkpoint.records


@dataclasses.dataclass
class TrainingSession:
    """The epochs of a run: progress, log and snapshots. Only rank 0 writes files.

    Methods raise ``UserError`` if a file cannot be written.
    """

    args: argparse.Namespace
    optimizer: chainer.Optimizer
    seed: int
    records: list[dict]
    comm: SingleProcess

    def __post_init__(self) -> None:
        self.epochs = range(self.optimizer.epoch + 1, self.optimizer.epoch + self.args.epoch + 1)
        self._log = snapshots.Log(self.records)
        self._is_main = self.comm.rank == 0
        self._interrupt = GracefulInterrupt(self.comm.sync_signal)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Trains fast within the block. A signal ends it.

        Raises ``UserError`` if the directory cannot be written or is in use, or if what is called
        ``log`` there is none.
        """
        self._begin = time.perf_counter() - snapshots.elapsed_time(self._log.records)
        with contextlib.ExitStack() as stack:
            if self._is_main:
                stack.enter_context(files.lock(self.args.out))
                snapshots.read_log(self.args.out)  # another program's file of that name stays
            with self._interrupt, fast_training(self.args.unit):
                yield

    def save_graph(self, x: Any, t: Any) -> None:
        """Writes the computational graph of the loss on a mini-batch.

        A copy of the model computes it, so that no statistics in the model change.
        """
        loss = copy.deepcopy(self.optimizer.target)(x, t)
        if self._is_main:
            plots.save_graph(self.args.out, loss, x=x, t=t)
        print_line('graph generated')

    def minibatches(self, perm: Any) -> Iterator[Any]:
        """Yields the indices of each mini-batch, of a permutation of all images.

        Shows the progress, and ends the block if a signal has been received.
        """
        size = self.args.batchsize * self.comm.size
        epoch = f'epoch {self.optimizer.epoch + 1}/{self.epochs[-1]}'
        with progress_bar(epoch, len(perm)) as bar:
            for batch in self.comm.minibatches(perm, self.args.batchsize):
                yield batch
                if bar.update(min(size, bar.total - bar.n)):  # ten times a second at most
                    loss = float(self.optimizer.target.loss.array)
                    bar.set_postfix_str(f'loss={loss:.4f}', refresh=False)
                self._interrupt.check()

    def end_epoch(self, train: tuple[float, float], test: tuple[float, float]) -> None:
        """Keeps log and snapshots. Takes mean loss and mean accuracy in training and in the test.

        Raises ``UserError`` if training has diverged, before a good snapshot is replaced.
        """
        epoch = self.optimizer.epoch + 1
        if not math.isfinite(train[0] + test[0]):
            fix = 'start from other weights (-m) or another seed (-s)'
            if epoch > 1:
                fix = 'resume from the last good snapshot (-r) with another seed (-s)'
            raise UserError(f'training diverged: the loss is not finite in epoch {epoch}; {fix}')
        self.optimizer.new_epoch()
        elapsed = time.perf_counter() - self._begin
        self._log.append(snapshots.make_record(train, test, epoch, self.optimizer.t, elapsed))
        if epoch < self.epochs[-1]:
            self.save_model()
            self.save_optimizer()

    def save_model(self) -> None:
        """Writes the weights, as a classifier's and as a predictor's."""
        if self._is_main:
            snapshots.save_model(self.args.out, self.optimizer.target)

    def save_optimizer(self) -> None:
        """Writes the log and the training state."""
        if self._is_main:
            snapshots.save_state(self.args.out, self.optimizer, self.seed, self._log)

    def finish(self, parser: ArgumentParser) -> int:
        """Draws, prints the command that resumes after a signal, and returns the exit status."""
        signum = self._interrupt.signum
        accuracies = plots.series(self._log.records, 'validation/main/accuracy')
        if self._is_main and not signum and accuracies:
            epoch, accuracy = max(accuracies, key=operator.itemgetter(1))  # as in the picture
            script = os.path.join(os.path.dirname(sys.argv[0]), 'predict.py')
            model = os.path.join(self.args.out, PREDICTOR)
            use = shell_join([python_executable(), script, '-m', model])
            print_hint(f'best test accuracy: {accuracy:.4f} in epoch {epoch}; next: {use}')
        if self._is_main and not self.args.noplot:
            plots.save_curves(self.args.out, self._log.records)
            plots.draw_graph(self.args.out)
        if self._is_main and signum:
            print_stderr(f'{parser.prog}: interrupted; resume with: {self._resume_command(parser)}')
        self.comm.finalize()
        return 128 + signum if signum else 0

    def _resume_command(self, parser: ArgumentParser) -> str:
        changes: dict[str, Any] = {'epoch': self.args.epoch, 'seed': self.seed}
        if self.optimizer.epoch >= self.epochs[0]:  # a state has been written
            state = os.path.join(self.args.out, STATE)
            left = self.epochs[-1] - self.optimizer.epoch
            changes = {'resume': state, 'initmodel': None, 'seed': None, 'epoch': left}
        mpiexec = ['mpiexec', '-n', str(self.comm.size)] if self.args.communicator else []
        command = parser.command([*mpiexec, python_executable()], self.args, **changes)
        root = os.environ.get(ROOT)
        return f'{ROOT}={shlex.quote(root)} {command}' if root and os.name != 'nt' else command


def progress_bar(title: str, images: int) -> Any:
    """Makes a progress bar for so many images, drawn only if standard error is a terminal."""
    from tqdm import tqdm  # slow to import

    # tqdm's own lock starts a process on Python 3.14, which outlives a killed run.
    tqdm.set_lock(threading.RLock())
    layout = '{desc} {percentage:3.0f}%|{bar:10}| {rate_fmt}{postfix}'
    return tqdm(
        desc=title, total=images, unit=' images', bar_format=layout, leave=False, disable=None
    )
