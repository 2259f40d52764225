"""What Chainer saves of a model and an optimizer, and matching it with what a file holds."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Optional

from chainer_mnist.console import UserError
from chainer_mnist.constants import MAX_EPOCHS, MAX_SEED, MAX_UNITS, MAX_UPDATES

import chainer
import numpy
from chainer import optimizers, serializers

Arrays = dict[str, numpy.ndarray]
Expected = dict[str, Optional[numpy.ndarray]]  # None stands for any float array, or none

PREFIX = 'predictor/'  # of the keys in an L.Classifier
PROGRESS = {'t': MAX_UPDATES, 'epoch': MAX_EPOCHS, 'seed': MAX_SEED}  # with upper bounds
# Means of squares that Chainer's optimizers keep, of which they take the root. So is v beside m.
SQUARES = {'g2', 'h', 'ms', 'msdx', 'msg', 'n', 'vhat'}


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
    taken = PROGRESS.keys() & serialize(get_predictor(optimizer.target)).keys()
    if taken:
        names = ', '.join(sorted(taken))
        raise UserError(
            f'the network and the training state both have {names}; rename it in net.py'
        )
    return {**serialize(optimizer), **serialize(optimizer.target), 'seed': seed}


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
    """A good snapshot, but not for the options of the command line."""


class Snapshot:
    """The arrays in a file, to be matched with a model and an optimizer.

    All methods raise ``UserError`` if the file does not fit.
    """

    def __init__(self, path: str, arrays: Arrays, model: chainer.Chain) -> None:
        self.path = path
        self.prefix = PREFIX if hasattr(model, 'predictor') else ''
        self.saved_prefix = PREFIX if any(key.startswith(PREFIX) for key in arrays) else ''
        self.arrays = {self._translate(key): array for key, array in arrays.items()}
        self.params = named_arrays(model).keys()
        keys = self.arrays.keys() - self.params - PROGRESS.keys()
        self._check_network('unexpected', {k for k in keys if _parent(k) not in self.params})

    def _translate(self, key: str) -> str:
        """Makes a predictor's key a classifier's, or the other way round."""
        if key in PROGRESS or self.saved_prefix == self.prefix:
            return key
        return self.prefix + key.removeprefix(self.saved_prefix)

    def read_optimizer(self, optimizer: chainer.Optimizer, weights: Arrays, units: int) -> Arrays:
        """Returns what Chainer saves of an optimizer of a model with these weights, and a seed."""
        if 't' not in self.arrays:
            raise UserError(f'{self.path} is not a training state; pass a *.state file to -r')
        if self.saved_prefix != self.prefix and self.arrays.keys() - PROGRESS.keys():
            net = 'classifier' if self.saved_prefix else 'trainflag'
            raise MismatchError(f'{self.path} was saved with --net {net}; pass --net {net}')
        counts = {k for k in self.arrays if k in PROGRESS or k[-2:] == '/t'} - self.params
        zero = numpy.zeros((), numpy.int64)
        state = self.match(dict.fromkeys({'t', 'epoch', *counts}, zero), None)
        expected = {}
        for path, param in optimizer.target.namedparams():
            key = path[1:]
            # Up to Chainer 3.2 only the optimizer as a whole counts its updates.
            if param.update_rule and state.setdefault(f'{key}/t', state['t']) and key in weights:
                for name, array in _initial_state(param.update_rule, weights[key]).items():
                    expected[f'{key}/{name}'] = array
        self._check_optimizer(optimizer, {key.rpartition('/')[2] for key in expected})
        return {**state, **self.match(expected, units)}

    def infer_units(self, expected: Expected, units: int) -> int | None:
        """Returns the number of units that explains all differences from a model of others."""
        candidates = set()
        for key in expected.keys() & self.arrays.keys():
            array, like = self.arrays[key], expected[key]
            shape = array.shape if like is None else like.shape
            for axis, (ours, theirs) in enumerate(zip(shape, array.shape)):
                if ours != theirs:
                    # It can be a multiple of the units, as after a convolution.
                    candidates.add(theirs * units / ours if ours % units == 0 else 0)
                elif axis == 1 and ours == units:  # so is the layer that this one has as input
                    candidates.add(units)
        candidate = candidates.pop() if len(candidates) == 1 else 0
        fits = candidate != units and candidate in range(1, MAX_UNITS + 1)
        return int(candidate) if fits else None

    def match(self, expected: Expected, units: int | None) -> Arrays:
        """Returns the arrays under the expected keys, cast to the expected types.

        ``units`` is what the model was made with, ``None`` for no advice to change it.
        """
        required = {key for key, like in expected.items() if like is not None}
        self._check_network('missing or None', required - self.arrays.keys())
        found = units and self.infer_units(expected, units)
        if found:
            raise MismatchError(f'{self.path} was saved with {found} units; pass -u {found}')
        keys = expected.keys() & self.arrays.keys()
        return {key: self._read_as(key, expected[key]) for key in keys}

    def _read_as(self, key: str, like: numpy.ndarray | None) -> numpy.ndarray:
        array = self.arrays[key]
        like = numpy.empty(array.shape, 'f') if like is None else like
        is_float = like.dtype.kind == 'f'
        kinds = next((each for each in ('f', 'biu', 'SU') if like.dtype.kind in each), '')
        if array.shape != like.shape or array.dtype.kind not in kinds:
            raise UserError(
                f'{self.path} has {key} as {array.dtype} of shape {array.shape}, not {like.dtype} '
                f'of shape {like.shape}; use a snapshot of this network'
            )
        if kinds == 'SU':  # a persistent text
            return array
        with numpy.errstate(over='ignore'):
            cast = array.astype(like.dtype, order='C')
        is_good = numpy.isfinite(cast) if is_float else cast == array
        parent, _, name = key.rpartition('/')
        is_square = name in SQUARES or (name == 'v' and f'{parent}/m' in self.arrays)
        if not is_float and name in PROGRESS:
            is_good &= (cast >= 0) & (cast <= PROGRESS[name])
        elif is_square and parent in self.params:
            is_good &= cast >= 0
        if not is_good.all():
            raise UserError(f'{self.path} has invalid numbers in {key}; use an earlier snapshot')
        return cast

    def _check_optimizer(self, optimizer: chainer.Optimizer, ours: set[str]) -> None:
        theirs = {k.rpartition('/')[2] for k in self.arrays if _parent(k) in self.params} - {'t'}
        if theirs == ours:
            return
        kinds = [
            name
            for name, kind in sorted(vars(optimizers).items())
            if inspect.isclass(kind) and issubclass(kind, chainer.GradientMethod)
            for rule in [kind().create_update_rule()]  # type: ignore[attr-defined]
            if _initial_state(rule, numpy.zeros(1, 'f')).keys() == theirs
        ]
        raise MismatchError(
            f'{self.path} was saved with another optimizer ({" or ".join(kinds) or "unknown"}), '
            f'not {type(optimizer).__name__}; use that optimizer in train_mnist.py'
        )

    def _check_network(self, what: str, keys: set[str]) -> None:
        names = sorted(key.removeprefix(PREFIX) for key in keys if _parent(key) not in keys)
        if names:
            some = ', '.join(names[:6] + ['...'] * (len(names) > 6))
            raise UserError(
                f'{self.path} was saved from a different network ({what}: {some}); use a snapshot '
                'of this network, or change net.py'
            )


def _parent(key: str) -> str:
    return key.rpartition('/')[0]


def _initial_state(rule: Any, array: numpy.ndarray) -> dict[str, Any]:
    """Returns what an optimizer keeps of a parameter before its first update."""
    rule = copy.copy(rule)
    rule._state = {}
    rule.init_state(chainer.Parameter(array))
    return rule.state
