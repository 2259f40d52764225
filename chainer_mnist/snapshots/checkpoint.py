"""Finds and reads the snapshots that a run or a prediction starts from."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from chainer_mnist.console import UserError, print_line
from chainer_mnist.npz import NpzReader, reading_errors
from chainer_mnist.snapshots.log import Record, parse_log, read_log
from chainer_mnist.snapshots.snapshot import MismatchError, Snapshot, load_state_dict, named_arrays

import chainer
import numpy
from chainer import serializers

# What the weights beside a state are called, in this project and in Chainer's tutorials.
WEIGHT_FILENAMES = ('classifier.model', 'classifier_mlp.model', 'mlp.model')
DEFAULT_UNITS = 50

# Where a Trainer keeps model, optimizer, progress and log.
TRAINER = re.compile('updater/(?:model|optimizer):[^/]+/(.+)')
TRAINER_EPOCH = 'updater/iterator:main/epoch'
TRAINER_IS_NEW_EPOCH = 'updater/iterator:main/is_new_epoch'
TRAINER_LOG = 'extensions/LogReport/_log'

T = TypeVar('T')


@dataclasses.dataclass
class Checkpoint:
    """What a run starts from, read and validated."""

    model_path: str | None = None  # of the weights, if they are not those in the training state
    state_path: str | None = None
    seed: int | None = None
    records: list[Record] = dataclasses.field(default_factory=list)
    content: dict[str, Any] = dataclasses.field(default_factory=dict)

    def restore(self, optimizer: chainer.Optimizer) -> None:
        """Fills the optimizer and its model."""
        load_state_dict(optimizer, self.content)


def read_checkpoint(
    initmodel: str | None, resume: str | None, optimizer: chainer.Optimizer, units: int
) -> Checkpoint:
    """Reads the weights in ``initmodel`` and the training state in ``resume``, and no more.

    Each is a file, or a folder of which the newest file is taken that fits the optimizer and its
    model (on the CPU, called once). Prints what is not taken from them. Raises ``UserError`` if
    one cannot be read or does not fit.
    """
    model = optimizer.target

    def read_weights(path: str) -> tuple[str, dict[str, Any]]:
        return path, _read(path, model)[0].match(named_arrays(model), units)

    def read_state(path: str) -> Checkpoint:
        snapshot, own_log, is_within_epoch = _read(path, model)
        model_path, weights = given
        if not initmodel and snapshot.params & snapshot.arrays.keys():
            weights = snapshot.match(named_arrays(model), units)
        elif not initmodel:
            model_path, weights = _weights_beside(path, read_weights)
        state = snapshot.read_optimizer(optimizer, weights, units)
        epoch, t = int(state['epoch']), int(state['t'])
        own, old = ([r for r in rs if r['iteration'] <= t] for rs in (own_log, log))
        records = max(own, old, key=len)
        if t and is_within_epoch:
            print_line(f'{path} ends within epoch {epoch + 1}: resuming from the beginning of it')
        if len(old) < len(log):
            dropped = f'{len(log) - len(old)} of {len(log)}'
            print_line(f'dropping {dropped} log records newer than the snapshot')
        if epoch == 0:  # plain Chainer counts epochs only if it is told to
            last = max((record['epoch'] for record in records), default=0)
            state['epoch'] = numpy.asarray(int(last))
        seed = int(state['seed']) if 'seed' in state else None
        return Checkpoint(model_path, path, seed, records, {**weights, **state})

    given = _resolve(initmodel, read_weights) if initmodel else (None, {})
    if not resume:
        return Checkpoint(given[0], content=given[1])
    log = read_log(resume if os.path.isdir(resume) else os.path.dirname(resume))
    return _resolve(resume, read_state)


def _read(path: str, model: chainer.Chain) -> tuple[Snapshot, list[Record], bool]:
    """Reads a snapshot by this project, by plain Chainer or by its Trainer.

    Returns the log that is in it, and whether it ends within an epoch, too.
    """
    with NpzReader(path) as npz, reading_errors(path):
        names = {m[1]: m[0] for m in map(TRAINER.fullmatch, npz.names) if m}
        if names and TRAINER_EPOCH in npz:
            names['epoch'] = TRAINER_EPOCH  # old Trainers do not tell it to the optimizer
        names = names or {name: name for name in npz.names}
        # Of a parameter without an array, Chainer saves None as an object.
        plain = {key: name for key, name in names.items() if npz.header(name)[1].kind in 'biufSU'}
        arrays = {key: npz.read(name) for key, name in plain.items()}
        is_new_epoch = TRAINER_IS_NEW_EPOCH not in npz or npz.read(TRAINER_IS_NEW_EPOCH)
        records = parse_log(npz.read(TRAINER_LOG).tolist()) if TRAINER_LOG in npz else []
    return Snapshot(path, arrays, model), records, str(is_new_epoch) == 'False'


def load_predictor(
    path: str, make_predictor: Callable[[int], chainer.Chain], units: int | None = None
) -> tuple[str, chainer.Chain]:
    """Returns the path of a file with weights, and a predictor that has them, on the CPU.

    ``make_predictor`` is called with the number of units, by default that of the file.
    """

    def read(path: str) -> tuple[str, chainer.Chain]:
        predictor = make_predictor(units or DEFAULT_UNITS)
        snapshot, _, _ = _read(path, predictor)
        found = None if units else snapshot.infer_units(named_arrays(predictor), DEFAULT_UNITS)
        if found:
            predictor = make_predictor(found)
        weights = snapshot.match(named_arrays(predictor), units)
        serializers.NpzDeserializer(weights, strict=False).load(predictor)
        return path, predictor

    return _resolve(path, read)


def _resolve(path: str, read: Callable[[str], T]) -> T:
    """Reads a file, or the newest file in a folder that fits."""
    if not os.path.isdir(path):
        return read(path)
    with reading_errors(path):
        files = sorted(filter(os.DirEntry.is_file, os.scandir(path)), key=_recency, reverse=True)
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
    models = [model for model in models if os.path.isfile(model)]
    others = glob.glob(os.path.join(glob.escape(folder), '*.model'))
    if not models and len(others) == 1:
        models = others
    error = f'{path} has no weights, and it is not clear which file beside it has; pass -m MODEL'
    return _first_fit(models, read, error)


def _first_fit(paths: Iterable[str], read: Callable[[str], T], error: str) -> T:
    mismatches = []
    for path in paths:
        try:
            return read(path)
        except MismatchError as mismatch:
            mismatches.append(mismatch)
        except UserError:
            pass
    raise next(iter(mismatches), UserError(error))
