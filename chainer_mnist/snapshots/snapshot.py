"""What Chainer saves of a model and an optimizer, and matching it with what a file holds."""

from __future__ import annotations

import copy
import re
from posixpath import basename, dirname  # keys are written like paths
from typing import Any, Optional

from chainer_mnist.console import UserError
from chainer_mnist.constants import MAX_EPOCHS, MAX_SEED, MAX_UNITS, MAX_UPDATES
from chainer_mnist.npz import read_npz, reading_errors
from chainer_mnist.snapshots.log import parse_log

import chainer
import numpy
from chainer import serializers

Arrays = dict[str, numpy.ndarray]
Expected = dict[str, Optional[numpy.ndarray]]  # None stands for any float array, or none

PREFIX = 'predictor/'  # of the keys in an L.Classifier
PROGRESS = {'t': MAX_UPDATES, 'epoch': MAX_EPOCHS, 'seed': MAX_SEED}  # with upper bounds

# Where a Trainer keeps model, optimizer, progress and log.
TRAINER = re.compile('updater/(?:model|optimizer):[^/]+/(.+)')
TRAINER_EPOCH = 'updater/iterator:main/epoch'
TRAINER_IS_NEW_EPOCH = 'updater/iterator:main/is_new_epoch'
TRAINER_LOG = 'extensions/LogReport/_log'


def get_predictor(model: chainer.Chain) -> chainer.Chain:
    """Returns the chain that predicts: that of an ``L.Classifier``, or the model itself."""
    return getattr(model, 'predictor', model)


def serialize(target: Any) -> dict[str, Any]:
    """Returns what Chainer saves of a link or an optimizer, on the CPU, sorted by key."""
    # Chainer keeps names in sets, whose order changes from process to process.
    return dict(sorted(serializers.npz.serialize(target).items()))


def state_dict(optimizer: chainer.Optimizer, seed: int) -> dict[str, Any]:
    """Returns all that a training state holds: optimizer, weights and seed, on the CPU.

    Raises ``UserError`` if the network uses one of its keys.
    """
    weights = serialize(optimizer.target)
    for name in PROGRESS:
        if weights.keys() & {name, PREFIX + name}:
            what = f'the network and the training state both have {name}'
            raise UserError(f'{what}; rename it in net.py')
    return {**serialize(optimizer), **weights, 'seed': seed}


def load_state_dict(optimizer: chainer.Optimizer, state: dict[str, Any]) -> None:
    """Fills an optimizer and its model. What the dictionary lacks stays as it is."""
    arrays = {key: numpy.array(value) for key, value in state.items()}
    for target in (optimizer.target, optimizer):
        serializers.NpzDeserializer(arrays, strict=False).load(target)


def named_arrays(model: chainer.Chain) -> Expected:
    """Returns parameters and persistent values by their keys."""
    arrays = {key: numpy.asarray(value) for key, value in serialize(model).items()}
    # Chainer saves None of a parameter that has no array yet.
    return {key: None if array.dtype == object else array for key, array in arrays.items()}


class MismatchError(UserError):
    """A snapshot that does not fit the network, the optimizer or the options."""


class Snapshot:
    """An npz file by this project, by plain Chainer or by its Trainer, read for a model.

    All methods raise ``UserError``, mostly ``MismatchError``, if it does not fit.
    """

    def __init__(self, path: str, model: chainer.Chain) -> None:
        arrays = read_npz(path)
        trainer = {m[1]: arrays[m[0]] for m in map(TRAINER.fullmatch, arrays) if m}
        with reading_errors(path):
            self.is_within_epoch = not arrays.get(TRAINER_IS_NEW_EPOCH, True)
            self.records = parse_log(arrays[TRAINER_LOG].tolist()) if TRAINER_LOG in arrays else []
        if trainer and TRAINER_EPOCH in arrays:
            trainer['epoch'] = arrays[TRAINER_EPOCH]  # old Trainers do not tell it to the optimizer
        arrays = trainer or arrays
        self.path = path
        self.prefix = PREFIX if hasattr(model, 'predictor') else ''
        self.saved_prefix = PREFIX if any(key.startswith(PREFIX) for key in arrays) else ''
        self.arrays = {self._translate(key): array for key, array in arrays.items()}
        self.params = named_arrays(model).keys()
        keys = self.arrays.keys() - self.params - PROGRESS.keys()
        self._check_network('unexpected', {k for k in keys if dirname(k) not in self.params})

    def _translate(self, key: str) -> str:
        """Makes a predictor's key a classifier's, or the other way round."""
        if key in PROGRESS or not key.startswith(self.saved_prefix):
            return key
        return self.prefix + key.removeprefix(self.saved_prefix)

    def read_weights(self, model: chainer.Chain, units: int | None) -> Arrays:
        """Returns what Chainer saves of the model.

        ``units`` is what the model was made with, ``None`` for no advice to change it.
        """
        found = units and self.infer_units(model, units)
        if found != units:
            raise MismatchError(f'{self.path} was saved with {found} units; pass -u {found}')
        return self._read(named_arrays(model))

    def read_optimizer(self, optimizer: chainer.Optimizer, weights: Arrays) -> Arrays:
        """Returns what Chainer saves of an optimizer of a model with these weights, and a seed."""
        if 't' not in self.arrays:
            raise UserError(f'{self.path} is not a training state; pass a *.state file to -r')
        if self.saved_prefix != self.prefix and self.arrays.keys() - PROGRESS.keys():
            net = 'classifier' if self.saved_prefix else 'trainflag'
            raise MismatchError(f'{self.path} was saved with --net {net}; pass --net {net}')
        counts = {k for k in self.arrays if k in PROGRESS or k[-2:] == '/t'} - self.params
        zero = numpy.zeros((), numpy.int64)
        state = self._read(dict.fromkeys({'t', 'epoch', *counts}, zero))
        expected: Expected = {}
        for path, param in optimizer.target.namedparams():
            key = path[1:]
            # Up to Chainer 3.2 only the optimizer as a whole counts its updates.
            state.setdefault(f'{key}/t', state['t'])
            if param.update_rule and state[f'{key}/t'] and key in weights:
                rule = copy.copy(param.update_rule)
                rule._state = {}
                rule.init_state(chainer.Parameter(weights[key]))
                expected.update({f'{key}/{name}': array for name, array in rule.state.items()})
        theirs = {basename(key) for key in self.arrays if dirname(key) in self.params} - {'t'}
        if theirs != set(map(basename, expected)):
            kept, kind = ', '.join(sorted(theirs)) or 'nothing', type(optimizer).__name__
            what = f'another optimizer, which keeps {kept} of a parameter, not with {kind}'
            raise MismatchError(f'{self.path} was saved with {what}; use it in train_mnist.py')
        return {**state, **self._read(expected)}

    def infer_units(self, model: chainer.Chain, units: int) -> int:
        """Returns the number of units that explains all differences from a model of ``units``.

        If none does, that is ``units``.
        """
        candidates, expected = set(), named_arrays(model)
        for key in expected.keys() & self.arrays.keys():
            array, like = self.arrays[key], expected[key]
            shape = array.shape if like is None else like.shape
            for axis, (ours, theirs) in enumerate(zip(shape, array.shape)):
                if ours != theirs:
                    # It can be a multiple of the units, as after a convolution.
                    candidates.add(theirs * units / ours if ours % units == 0 else 0)
                elif axis == 1 and ours == units:  # so is the layer that this one has as input
                    candidates.add(units)
        candidate = candidates.pop() if len(candidates) == 1 else units
        return int(candidate) if candidate in range(1, MAX_UNITS + 1) else units

    def _read(self, expected: Expected) -> Arrays:
        """Returns the arrays under the expected keys, cast to the expected types."""
        required = {key for key, like in expected.items() if like is not None}
        self._check_network('missing or None', required - self.arrays.keys())
        return {key: self._cast(key, expected[key]) for key in expected.keys() & self.arrays.keys()}

    def _cast(self, key: str, like: numpy.ndarray | None) -> numpy.ndarray:
        array = self.arrays[key]
        like = numpy.empty(array.shape, 'f') if like is None else like
        if array.shape != like.shape or not numpy.can_cast(array.dtype, like.dtype, 'same_kind'):
            raise MismatchError(
                f'{self.path} has {key} as {array.dtype} of shape {array.shape}, not {like.dtype} '
                f'of shape {like.shape}; use a snapshot of this network'
            )
        with numpy.errstate(over='ignore'):
            cast = array.astype(like.dtype, order='C')
        is_good = numpy.isfinite(cast) if like.dtype.kind == 'f' else cast == array
        bound = PROGRESS.get(basename(key)) if key not in self.params else None
        if not is_good.all() or (bound and not 0 <= cast <= bound):
            raise MismatchError(
                f'{self.path} has invalid numbers in {key}; use an earlier snapshot'
            )
        return cast

    def _check_network(self, what: str, keys: set[str]) -> None:
        names = sorted(key.removeprefix(PREFIX)[:99] for key in keys if dirname(key) not in keys)
        if names:
            some = ', '.join(names[:6] + ['...'] * (len(names) > 6))
            raise MismatchError(
                f'{self.path} was saved from a different network ({what}: {some}); use a snapshot '
                'of this network, or change net.py'
            )
