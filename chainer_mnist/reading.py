"""Reads models and training states from files, whatever network and optimizer they are for.

What is read is looked at as a whole before it is handed out. No model and no optimizer changes.
"""

from chainer_mnist import limits, match
from chainer_mnist.formats import open_snapshot
from chainer_mnist.states import check_optimizer, states_of

import numpy

# Means of squares in the optimizers' states. Beside an m, v is one too.
SQUARES = {'h', 'ms', 'msdx', 'msg', 'vhat'}


def read_model(path, model, units):
    """Reads weights.

    Args:
        path (str): The file, as of :func:`snapshot.load_model`, and so are the others.
        model (chainer.Chain): The network.
        units (int): Number of units.

    Returns:
        dict: The weights by their keys in the network that predicts.

    Raises:
        UserError: If the file cannot be read or does not fit.

    """
    like = match.arrays_of(match.predictor(model))
    with open_snapshot(path) as stored:
        return _weights(stored, like, match.find_prefix(stored, like), units)


def read_state(path, optimizer, weights, units):
    """Reads a training state.

    Args:
        path (str): The file, as of :func:`snapshot.load_state`, and so are the others.
        optimizer (chainer.Optimizer): The optimizer.
        weights (bool): Whether to read the weights too.
        units (int): Number of units.

    Returns:
        tuple: What the optimizer keeps, a dictionary; the weights, one too; and the seed.

    Raises:
        UserError: If the file cannot be read or does not fit.

    """
    like = match.arrays_of(optimizer.target)
    with open_snapshot(path) as stored:
        match.check_net(stored, like)
        state = {
            't': stored.count('t', limits.UPDATES),
            'epoch': stored.count('epoch', limits.EPOCHS),
        }
        content = _weights(stored, like, '', units) if weights else like
        state.update(_rules(stored, optimizer, content, state['t'], units))
        seed = stored.count('seed', limits.SEED) if 'seed' in stored else None
    return state, content, seed


def holds_weights(path, model):
    """Says whether a training state holds the weights too. Those of this project do.

    Args:
        path (str): The file.
        model (chainer.Chain): The model that they are for.

    Returns:
        bool: Whether it does. Plain Chainer saves an optimizer without the weights.

    Raises:
        UserError: If the file cannot be read, or is a state of another network.

    """
    keys = match.arrays_of(match.predictor(model))
    with open_snapshot(path) as stored:
        if any(prefix + key in stored for key in keys for prefix in (match.PREFIX, '')):
            return True
        match.check_net(stored, match.arrays_of(model))
    return False


def units(path, model, units):
    """Finds out with how many units a network has to be made to fit a file.

    Args:
        path (str): A file as :func:`snapshot.load_model` reads it.
        model (chainer.Chain): The network, made with ``units``, its input size known.
        units (int): The number of units of the model.

    Returns:
        int: The number that fits, or ``units`` where it is not the units that differ.

    Raises:
        UserError: If the file cannot be read.

    """
    like = match.arrays_of(match.predictor(model))
    with open_snapshot(path) as stored:
        prefix = match.find_prefix(stored, like)
        arrays = {prefix + key: array for key, array in like.items()}
        found = match.find_units(stored, arrays, units)
        # A header alone could make a small file ask for a network that takes all memory.
        for key in arrays if found else ():
            if arrays[key] is not None:
                stored.array(key)
        stored.casts.clear()  # they are told of when the file is loaded
    return found or units


def _weights(stored, like, prefix, units):
    """Reads weights and persistent values with the keys and shapes of those in ``like``."""
    arrays = {prefix + key: array for key, array in like.items()}
    match.check_names(stored, arrays)
    match.check_units(stored, arrays, units)
    return {key: _weight(stored, prefix + key, array) for key, array in like.items()}


def _weight(stored, key, array):
    if array is not None:
        return stored.like(key, array)
    # No call has initialized it here, but one may have done so in training. In a file Chainer then
    # has None, which would have to be unpickled.
    return stored.array(key) if key in stored and stored.header(key)[1].kind == 'f' else None


def _rules(stored, optimizer, weights, updates, units):
    """Reads what the optimizer keeps of each parameter, after so many updates in all."""
    states = states_of(optimizer)
    # Up to Chainer v3.2 only the optimizer as a whole counts its updates in a snapshot.
    counts = {
        key: stored.count(f'{key}/t', limits.UPDATES) if f'{key}/t' in stored else updates
        for key in states
    }
    # Nothing is kept before the first update, nor of what no call has initialized.
    kept = {
        key: first
        for key, first in states.items()
        if stored.under(key) - {'t'} or (counts[key] and all(a is not None for a in first.values()))
    }
    check_optimizer(stored, kept, optimizer)
    like = {f'{key}/{name}': first for key in kept for name, first in kept[key].items()}
    match.check_units(stored, like, units)
    state = {f'{key}/{name}': None for key, first in states.items() for name in first}
    for key, first in like.items():
        param, _, name = key.rpartition('/')
        found = stored.like(key, weights[param] if first is None else first)
        if (name in SQUARES or (name == 'v' and 'm' in kept[param])) and numpy.any(found < 0):
            raise ValueError(f'{key} is negative')
        state[key] = found
    return {**state, **{f'{key}/t': t for key, t in counts.items()}}
