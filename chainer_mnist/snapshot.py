"""Writes and reads models and the training state, as npz files that plain Chainer can read.

A model or an optimizer is filled only when the whole file has proved good.
"""

import io
import os

from chainer_mnist import files
from chainer_mnist.errors import UserError
from chainer_mnist.npz import open_npz

import numpy
from chainer import serializers

CLASSIFIER = 'classifier.model'
PREDICTOR = 'mlp.model'
STATE = 'mlp.state'

# How the keys of the weights begin in a file, and what --net calls such a network.
NETS = {'predictor/': 'classifier', '': 'trainflag'}

# NumPy takes 32 bits for a seed. The others only keep nonsense out.
MOST_SEED = 2**32 - 1
MOST_UNITS = 10**6
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
    weights = _serialize(_predictor(model))
    _save(os.path.join(out, CLASSIFIER), {f'predictor/{key}': w for key, w in weights.items()})
    _save(os.path.join(out, PREDICTOR), weights)


def save_state(out, optimizer, seed):
    """Writes all that is needed to go on: optimizer, weights and progress in one file.

    Args:
        out (str): The directory to write to.
        optimizer (chainer.optimizers.Adam): The optimizer, set up on the model, on any device.
        seed (int): The seed of the run.

    Raises:
        UserError: If the file cannot be written.

    """
    state = {**_serialize(optimizer), **_serialize(optimizer.target)}
    _save(os.path.join(out, STATE), {**state, 'seed': seed})


def load_model(path, model):
    """Reads weights into a network.

    Args:
        path (str): A file with the weights of a classifier or of a predictor.
        model (chainer.Chain): A classifier or a network that predicts, on the CPU, its input size
            known.

    Raises:
        UserError: If the file cannot be read or does not fit. The network is then as it was.

    """
    predictor = _predictor(model)
    with open_npz(path) as npz:
        weights = _weights(npz, _serialize(predictor), _prefix(npz))
    serializers.NpzDeserializer(weights).load(predictor)


def units(path):
    """Says how large the network is that a file belongs to.

    Args:
        path (str): A file with the weights of a classifier or of a predictor, or with the state of
            a training.

    Returns:
        int: Number of units in each hidden layer.

    Raises:
        UserError: If the file cannot be read or holds no weights.

    """
    with open_npz(path) as npz:
        return _units(npz)


def load_state(path, optimizer, weights=True):
    """Reads the training state into an optimizer and its model.

    States by plain Chainer load too. They lack the seed, and those of Chainer v2 count updates
    once for all parameters (https://github.com/chainer/chainer/pull/4026).

    Args:
        path (str): The file.
        optimizer (chainer.optimizers.Adam): The optimizer, set up on a model on the CPU whose
            input size is known.
        weights (bool): Whether to read the weights too.

    Returns:
        int: The seed of the run, or ``None`` if the file holds none.

    Raises:
        UserError: If the file cannot be read or does not fit. Optimizer and model are then as they
            were.

    """
    like = _serialize(optimizer.target)
    with open_npz(path) as npz:
        _check_is_state(npz, like)
        state = {'t': npz.count('t', MOST_UPDATES), 'epoch': npz.count('epoch', MOST_EPOCHS)}
        for key, w in like.items():
            state.update(_adam(npz, key, w.shape, state['t']))
        if weights:
            state.update(_weights(npz, like))
        seed = npz.count('seed', MOST_SEED) if 'seed' in npz else None
    deserializer = serializers.NpzDeserializer({k: numpy.asarray(v) for k, v in state.items()})
    deserializer.load(optimizer)
    if weights:
        deserializer.load(optimizer.target)
    return seed


def weights_beside(path):
    """Says where the weights are that belong to a training state.

    Args:
        path (str): A file with a training state.

    Returns:
        str: ``None`` if the file itself holds them, which those of this project do. The path of
        the ``classifier.model`` beside it if it does not: plain Chainer saves an optimizer without
        the weights.

    Raises:
        UserError: If the file cannot be read, or there are no weights in either place.

    """
    with open_npz(path) as npz:
        if any(f'{prefix}l1/W' in npz for prefix in NETS):
            return None
    beside = os.path.join(os.path.dirname(path), CLASSIFIER)
    if os.path.isfile(beside):
        return beside
    raise UserError(
        f'{path} holds no weights, and there is no {CLASSIFIER} beside it; give the weights with -m'
    )


def _serialize(target):
    serializer = serializers.DictionarySerializer()
    serializer.save(target)
    # Chainer keeps names in sets, whose order changes from process to process. In this order, the
    # first layer comes first: it tells best what is wrong with a file.
    return dict(sorted(serializer.target.items()))


def _save(path, content):
    buffer = io.BytesIO()  # on a full disk, closing an npz would fail once more
    try:
        # Weights are noise to a compressor: it takes long and saves little.
        serializers.save_npz(buffer, content, compression=False)
    except ValueError:  # zipfile raises it as it closes an archive after memory has run out
        raise MemoryError from None
    files.write(path, buffer.getvalue())


def _predictor(model):
    return getattr(model, 'predictor', model)


def _prefix(npz):
    """Finds out how the keys of the weights begin."""
    for prefix in NETS:
        if f'{prefix}l1/W' in npz:
            return prefix
    raise UserError(f'{npz.path} holds no weights of an MLP; give -m a file like {CLASSIFIER}')


def _units(npz):
    """Reads the number of units in each hidden layer."""
    prefix = _prefix(npz)
    shape, _ = npz.header(f'{prefix}l1/W')
    if len(shape) != 2 or not 1 <= shape[0] <= MOST_UNITS:
        raise ValueError(f'l1/W has the shape {shape}')
    # A header alone could make a small file ask for a network that takes all memory.
    npz.floats(f'{prefix}l2/W', (shape[0], shape[0]))
    return shape[0]


def _check_is_state(npz, like):
    """Checks that the file is Adam's state for the network with the weights ``like``."""
    prefix = next((p for p in NETS if npz.under(f'{p}l1/W')), None)
    if prefix is None:
        raise UserError(f'{npz.path} holds no training state; give -r a file like {STATE}')
    if f'{prefix}l1/W' not in like:
        net = NETS[prefix]
        raise UserError(f'{npz.path} is a state of the network {net}; add --net {net}')
    for key in like:
        if not npz.under(key) <= {'t', 'm', 'v'}:
            raise UserError(f'{npz.path} is a state of another optimizer; give one of Adam')


def _adam(npz, key, shape, updates):
    """Reads what Adam keeps for the parameter ``key`` after so many updates in all."""
    # Up to Chainer v3.2 only the optimizer as a whole counts its updates in a snapshot.
    t = npz.count(f'{key}/t', MOST_UPDATES) if f'{key}/t' in npz else updates
    if t == 0 and not npz.under(key) & {'m', 'v'}:  # Adam makes them at the first update
        m, v = numpy.zeros(shape, numpy.float32), numpy.zeros(shape, numpy.float32)
    else:
        m, v = (npz.floats(f'{key}/{name}', shape) for name in 'mv')
    if (v < 0).any():
        raise ValueError(f'{key}/v is negative')
    return {f'{key}/t': t, f'{key}/m': m, f'{key}/v': v}


def _weights(npz, like, prefix=''):
    """Reads weights with the keys and shapes of those in ``like``."""
    return {key: npz.floats(prefix + key, w.shape) for key, w in like.items()}
