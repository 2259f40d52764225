"""Writes and reads models and the training state, as npz files that plain Chainer can read.

Names and shapes are those of the model that is handed in, whatever network it is.
A model or an optimizer is filled only when the whole file has proved good.
"""

import io
import os

from chainer_mnist import files, log, match, reading
from chainer_mnist.errors import UserError
from chainer_mnist.states import states_of

import numpy
from chainer import serializers

CLASSIFIER = 'classifier.model'
PREDICTOR = 'mlp.model'
STATE = 'mlp.state'


def save_model(out, model):
    """Writes the weights of a network twice: as a classifier's and as a predictor's.

    Args:
        out (str): The directory to write to.
        model (chainer.Chain): A classifier or a network that predicts, on any device.

    Raises:
        UserError: If a file cannot be written.

    """
    weights = match.serialize(match.predictor(model))
    classifier = _pack({match.PREFIX + key: w for key, w in weights.items()})
    files.write(
        {os.path.join(out, CLASSIFIER): classifier, os.path.join(out, PREDICTOR): _pack(weights)}
    )


def save_state(out, optimizer, seed, records):
    """Writes all that is needed to go on: optimizer, weights and progress in one file, and the log.

    Args:
        out (str): The directory to write to.
        optimizer (chainer.Optimizer): The optimizer, set up on the model, on any device.
        seed (int): The seed of the run.
        records (log.Log): The log of the run.

    Raises:
        UserError: If a file cannot be written. The state is then as it was.

    """
    state = _pack(content_of_state(optimizer, seed))
    # The state comes last: where the run is killed in between, the log is not the older one.
    files.write({os.path.join(out, log.NAME): records.content(), os.path.join(out, STATE): state})


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
    state = match.serialize(optimizer)
    weights = match.serialize(optimizer.target)
    taken = sorted({*state, 'seed'} & weights.keys())
    if taken:
        raise UserError(
            f'the network has {", ".join(taken)}, and so has every training state; rename it in '
            'net.py'
        )
    return {**state, **weights, 'seed': seed}


def share(optimizer, seed, communicator):
    """Gives optimizer and model of all processes what those of rank 0 keep.

    Args:
        optimizer (chainer.Optimizer): The optimizer, set up on the model on the CPU.
        seed (int): The seed of the run in this process.
        communicator (parallel.OneProcess): The processes.

    Returns:
        int: The seed in rank 0.

    Raises:
        UserError: If a parameter has a key that is taken in a training state.

    """
    content = communicator.bcast(content_of_state(optimizer, seed))
    if communicator.rank:
        states = states_of(optimizer)
        kept = {f'{key}/{name}': None for key, first in states.items() for name in first}
        _load(optimizer.target, content)
        _load(optimizer, {**kept, **content})
    return content['seed']


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
    _load(match.predictor(model), reading.read_model(path, model, units))


def load_state(path, optimizer, weights, units=None):
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
    state, content, seed = reading.read_state(path, optimizer, weights, units)
    if weights:
        _load(optimizer.target, content)
    _load(optimizer, state)
    return seed


def _pack(content):
    buffer = io.BytesIO()  # on a full disk, closing an npz would fail once more
    try:
        # Weights are noise to a compressor: it takes long and saves little.
        serializers.save_npz(buffer, content, compression=False)
    except ValueError:  # zipfile raises it as it closes an archive after memory has run out
        raise MemoryError from None
    return buffer.getvalue()


def _load(target, content):
    # Chainer wants to read of everything, and takes None for what has not been made yet.
    content = {**dict.fromkeys(match.serialize(target)), **content}
    arrays = {key: numpy.asarray(value) for key, value in content.items()}
    serializers.NpzDeserializer(arrays).load(target)
