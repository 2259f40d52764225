"""Writes and reads models and the training state, as npz files that plain Chainer can read.

Names and shapes are those of the model that is handed in, whatever network it is.
A model or an optimizer is filled only when the whole file has proved good.
"""

import io
import os

from chainer_mnist import files, match
from chainer_mnist.errors import UserError
from chainer_mnist.npz import open_npz

import numpy
from chainer import serializers

CLASSIFIER = 'classifier.model'
PREDICTOR = 'mlp.model'
STATE = 'mlp.state'

# Means of squares in the optimizers' states. Beside an m, v is one too.
SQUARES = {'h', 'ms', 'msdx', 'msg', 'vhat'}

# NumPy takes 32 bits for a seed. The others only keep nonsense out.
MOST_SEED = 2**32 - 1
MOST_EPOCHS = 10**9
MOST_UPDATES = 10**15


def save_model(out, model):
    """Writes the weights of a network twice: as a classifier's and as a predictor's.

    Args:
        out (str): The directory to write to.
        model (chainer.Chain): A classifier or a network that predicts, on any device.

    Raises:
        UserError: If a file cannot be written.

    """
    weights = match.serialize(_predictor(model))
    _save(os.path.join(out, CLASSIFIER), {match.PREFIX + key: w for key, w in weights.items()})
    _save(os.path.join(out, PREDICTOR), weights)


def save_state(out, optimizer, seed):
    """Writes all that is needed to go on: optimizer, weights and progress in one file.

    Args:
        out (str): The directory to write to.
        optimizer (chainer.Optimizer): The optimizer, set up on the model, on any device.
        seed (int): The seed of the run.

    Raises:
        UserError: If the file cannot be written.

    """
    _save(os.path.join(out, STATE), content_of_state(optimizer, seed))


def content_of_state(optimizer, seed):
    """Puts together what a training state holds.

    Args:
        optimizer (chainer.Optimizer): The optimizer, set up on the model, on any device.
        seed (int): The seed of the run.

    Returns:
        dict: Arrays and numbers by their keys.

    Raises:
        UserError: If a parameter has a key that is taken.

    """
    state = {**match.serialize(optimizer), 'seed': seed}
    weights = match.serialize(optimizer.target)
    taken = sorted(state.keys() & weights.keys())
    if taken:
        raise UserError(
            f'the network has {", ".join(taken)}, and so has every training state; rename it in '
            'net.py'
        )
    return {**state, **weights}


def load_model(path, model, units=None):
    """Reads weights into a network.

    Args:
        path (str): A file with the weights of a classifier or of a predictor, or with a training
            state that holds them.
        model (chainer.Chain): A classifier or a network that predicts, on the CPU, its input size
            known.
        units (int): Number of units that the network was made with.

    Raises:
        UserError: If the file cannot be read or does not fit. The network is then as it was.

    """
    predictor = _predictor(model)
    like = match.arrays_of(predictor)
    with open_npz(path) as npz:
        weights = _weights(npz, like, match.find_prefix(npz, like), units)
    _load(predictor, weights)


def load_state(path, optimizer, weights=True, units=None):
    """Reads the training state into an optimizer and its model.

    States by plain Chainer load too. They lack the seed, and those of Chainer v2 count updates
    once for all parameters (https://github.com/chainer/chainer/pull/4026).

    Args:
        path (str): The file.
        optimizer (chainer.Optimizer): The optimizer, set up on a model on the CPU whose input size
            is known, and not used yet.
        weights (bool): Whether to read the weights too.
        units (int): Number of units that the network was made with.

    Returns:
        int: The seed of the run, or ``None`` if the file holds none.

    Raises:
        UserError: If the file cannot be read or does not fit. Optimizer and model are then as they
            were.

    """
    like = match.arrays_of(optimizer.target)
    with open_npz(path) as npz:
        match.check_net(npz, like)
        state = {'t': npz.count('t', MOST_UPDATES), 'epoch': npz.count('epoch', MOST_EPOCHS)}
        content = _weights(npz, like, '', units) if weights else like
        state.update(_rules(npz, optimizer, content, state['t'], units))
        seed = npz.count('seed', MOST_SEED) if 'seed' in npz else None
    if weights:
        _load(optimizer.target, content)
    _load(optimizer, state)
    return seed


def weights_beside(path, model):
    """Says where the weights are that belong to a training state.

    Args:
        path (str): A file with a training state.
        model (chainer.Chain): The model that they are for.

    Returns:
        str: ``None`` if the file itself holds them, which those of this project do. The path of
        the ``classifier.model`` beside it if it does not: plain Chainer saves an optimizer without
        the weights.

    Raises:
        UserError: If the file cannot be read, or there are no weights in either place.

    """
    keys = match.arrays_of(_predictor(model))
    with open_npz(path) as npz:
        if any(prefix + key in npz for key in keys for prefix in (match.PREFIX, '')):
            return None
        match.check_net(npz, match.arrays_of(model))
    beside = os.path.join(os.path.dirname(path), CLASSIFIER)
    if os.path.isfile(beside):
        return beside
    raise UserError(
        f'{path} holds no weights, and there is no {CLASSIFIER} beside it; give the weights with -m'
    )


def units(path, model, units):
    """Finds out with how many units a network has to be made to fit a file.

    Args:
        path (str): A file as :func:`load_model` reads it.
        model (chainer.Chain): The network, made with ``units``, its input size known.
        units (int): The number of units of the model.

    Returns:
        int: The number that fits, or ``units`` where it is not the units that differ.

    Raises:
        UserError: If the file cannot be read.

    """
    like = match.arrays_of(_predictor(model))
    with open_npz(path) as npz:
        prefix = match.find_prefix(npz, like)
        arrays = {prefix + key: array for key, array in like.items()}
        found = match.find_units(npz, arrays, units)
        # A header alone could make a small file ask for a network that takes all memory.
        for key in arrays if found else ():
            if arrays[key] is not None:
                npz.array(key)
    return found or units


def _predictor(model):
    return getattr(model, 'predictor', model)


def _save(path, content):
    buffer = io.BytesIO()  # on a full disk, closing an npz would fail once more
    try:
        # Weights are noise to a compressor: it takes long and saves little.
        serializers.save_npz(buffer, content, compression=False)
    except ValueError:  # zipfile raises it as it closes an archive after memory has run out
        raise MemoryError from None
    files.write(path, buffer.getvalue())


def _load(target, content):
    # Chainer wants to read of everything, and takes None for what has not been made yet.
    content = {**dict.fromkeys(match.serialize(target)), **content}
    arrays = {key: numpy.asarray(value) for key, value in content.items()}
    serializers.NpzDeserializer(arrays).load(target)


def _weights(npz, like, prefix, units):
    """Reads weights and persistent values with the keys and shapes of those in ``like``."""
    arrays = {prefix + key: array for key, array in like.items()}
    match.check_names(npz, arrays)
    match.check_units(npz, arrays, units)
    return {key: _weight(npz, prefix + key, array) for key, array in like.items()}


def _weight(npz, key, array):
    if array is not None:
        return npz.like(key, array)
    # No call has initialized it here, but one may have done so in training. In a file Chainer then
    # has None, which would have to be unpickled.
    return npz.array(key) if key in npz and npz.header(key)[1].kind == 'f' else None


def _rules(npz, optimizer, weights, updates, units):
    """Reads what the optimizer keeps of each parameter, after so many updates in all."""
    states = match.states_of(optimizer)
    # Up to Chainer v3.2 only the optimizer as a whole counts its updates in a snapshot.
    counts = {
        key: npz.count(f'{key}/t', MOST_UPDATES) if f'{key}/t' in npz else updates for key in states
    }
    # Nothing is kept before the first update, nor of what no call has initialized.
    kept = {
        key: first
        for key, first in states.items()
        if npz.under(key) - {'t'} or (counts[key] and all(a is not None for a in first.values()))
    }
    match.check_optimizer(npz, kept, optimizer)
    like = {f'{key}/{name}': first for key in kept for name, first in kept[key].items()}
    match.check_units(npz, like, units)
    state = {f'{key}/{name}': None for key, first in states.items() for name in first}
    for key, first in like.items():
        param, _, name = key.rpartition('/')
        state[key] = npz.like(key, weights[param] if first is None else first)
        if (name in SQUARES or (name == 'v' and 'm' in kept[param])) and (state[key] < 0).any():
            raise ValueError(f'{key} is negative')
    return {**state, **{f'{key}/t': t for key, t in counts.items()}}
