"""Finds and reads the snapshots that a run or a prediction starts from."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from chainer_mnist.console import UserError, print_line
from chainer_mnist.constants import CLASSIFIER, PREDICTOR
from chainer_mnist.npz import reading_errors
from chainer_mnist.snapshots.log import LOG, MAX_SIZE, Record, parse_log
from chainer_mnist.snapshots.snapshot import Arrays, MismatchError, Snapshot, load_state_dict

import chainer
import numpy
from chainer import serializers
from chainer.optimizers import MSVAG

# What the weights beside a state are called, in this project and in Chainer's tutorials.
WEIGHT_FILENAMES = (CLASSIFIER, 'classifier_mlp.model', PREDICTOR)
DEFAULT_UNITS = 50

T = TypeVar('T')


class Checkpoint(NamedTuple):
    """What a run starts from."""

    model_path: str | None  # of the weights, if they are not those in the training state
    state_path: str | None
    seed: int | None
    records: list[Record]


def load_checkpoint(
    initmodel: str | None, resume: str | None, optimizer: chainer.Optimizer, units: int
) -> Checkpoint:
    """Loads the weights in ``initmodel`` and the training state in ``resume`` into an optimizer.

    Each is a file, or a folder of which the newest file is taken that fits the optimizer and its
    model (on the CPU, called once). Prints what is not taken from them. Raises ``UserError`` if
    one cannot be read or does not fit; then nothing is loaded.
    """
    model = optimizer.target

    def read_weights(path: str) -> tuple[str, Arrays]:
        return path, Snapshot(path, model).read_weights(model, units)

    def read_state(path: str) -> tuple[Snapshot, str | None, Arrays]:
        snapshot = Snapshot(path, model)
        model_path, weights = given
        if not initmodel and snapshot.params & snapshot.arrays.keys():
            weights = snapshot.read_weights(model, units)
        elif not initmodel:
            model_path, weights = _weights_beside(path, read_weights)
        return snapshot, model_path, {**weights, **snapshot.read_optimizer(optimizer, weights)}

    given = _resolve(initmodel, read_weights) if initmodel else (None, {})
    if not resume:
        load_state_dict(optimizer, given[1])
        return Checkpoint(given[0], None, None, [])
    snapshot, model_path, state = _resolve(resume, read_state)
    log = read_log(os.path.dirname(snapshot.path))
    records = _select_records(snapshot, log, int(state['t']))
    if state['epoch'] == 0:  # plain Chainer counts epochs only if it is told to
        state['epoch'] = numpy.asarray(int(max((r['epoch'] for r in records), default=0)))
    if state['t'] and snapshot.is_within_epoch:
        epoch = f'epoch {state["epoch"] + 1}'
        print_line(f'{snapshot.path} ends within {epoch}: resuming from the beginning of it')
    if state['t'] and (optimizer._loss_scaling_is_dynamic or isinstance(optimizer, MSVAG)):
        print_line(
            'the optimizer keeps more than Chainer saves: the resumed run will differ slightly'
        )
    load_state_dict(optimizer, state)
    seed = int(state['seed']) if 'seed' in state else None
    return Checkpoint(model_path, snapshot.path, seed, records)


def _select_records(snapshot: Snapshot, log: list[Record], t: int) -> list[Record]:
    """Returns the records up to iteration ``t``: of the log in a snapshot or of that beside it."""
    own, old = ([r for r in records if r['iteration'] <= t] for records in (snapshot.records, log))
    if len(old) < len(log):
        dropped = f'{len(log) - len(old)} of {len(log)}'
        print_line(f'dropping {dropped} log records newer than the snapshot')
    return max(own, old, key=len)


def read_log(out: str) -> list[Record]:
    """Reads the log in a directory. The list is empty if there is none.

    Raises ``UserError`` if a file of that name is no log: a run would overwrite it.
    """
    path = os.path.join(out, LOG)
    reading = reading_errors(path, 'move it elsewhere')
    with reading, contextlib.suppress(FileNotFoundError), open(path, 'rb') as file:
        return parse_log(file.read(MAX_SIZE))
    return []


def load_predictor(
    path: str, make_predictor: Callable[[int], chainer.Chain], units: int | None = None
) -> tuple[str, chainer.Chain]:
    """Returns the path of a file with weights, and a predictor that has them, on the CPU.

    ``make_predictor`` is called with the number of units, by default that of the file.
    """

    def read(path: str) -> tuple[str, chainer.Chain]:
        predictor = make_predictor(units or DEFAULT_UNITS)
        snapshot = Snapshot(path, predictor)
        if not units:
            predictor = make_predictor(snapshot.infer_units(predictor, DEFAULT_UNITS))
        weights = snapshot.read_weights(predictor, units)
        serializers.NpzDeserializer(weights, strict=False).load(predictor)
        return path, predictor

    return _resolve(path, read)


def _resolve(path: str, read: Callable[[str], T]) -> T:
    """Reads a file, or the newest file in a folder that fits."""
    if not os.path.isdir(path):
        return read(path)
    try:
        files = sorted(filter(os.DirEntry.is_file, os.scandir(path)), key=_recency, reverse=True)
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}; pass a file') from None
    return _first_fit([file.path for file in files], read, f'no file in {path} fits; pass a file')


def _recency(file: os.DirEntry[str]) -> tuple[float, list[int], float]:
    """The newest file has the highest. Copies are all as new: then the numbers in names decide."""
    time = file.stat().st_mtime
    numbers = [int(digits) for digits in re.findall('[0-9]+', file.name)]
    return time // 2, numbers, time  # some file systems know the time to two seconds


def _weights_beside(path: str, read: Callable[[str], T]) -> T:
    """Reads the weights beside a training state that has none."""
    folder = os.path.dirname(path)
    models = [os.path.join(folder, name) for name in WEIGHT_FILENAMES]
    others = glob.glob(os.path.join(glob.escape(folder), '*.model'))
    if len(others) == 1:
        models += others
    error = f'{path} has no weights, and it is not clear which file beside it has; pass -m MODEL'
    return _first_fit(models, read, error)


def _first_fit(paths: Iterable[str], read: Callable[[str], T], error: str) -> T:
    mismatch = None
    for path in paths:
        try:
            return read(path)
        except UserError as failure:
            if isinstance(failure, MismatchError):
                mismatch = mismatch or failure
    raise mismatch or UserError(error)
