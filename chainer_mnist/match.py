"""Says what differs between a snapshot and the network that it is read for."""

from chainer_mnist import limits
from chainer_mnist.errors import UserError

import numpy
from chainer import serializers

# What a classifier calls the network that predicts.
PREFIX = 'predictor/'


def serialize(target):
    """Takes apart what Chainer saves of a model or an optimizer.

    Args:
        target (object): A ``chainer.Link`` or a ``chainer.Optimizer``, on any device.

    Returns:
        dict: NumPy arrays by their keys, in the order of the keys: Chainer keeps names in sets,
        whose order changes from process to process.

    """
    serializer = serializers.DictionarySerializer()
    serializer.save(target)
    return dict(sorted(serializer.target.items()))


def predictor(model):
    """Takes the network that predicts out of a classifier.

    Args:
        model (chainer.Chain): A classifier, or a network that predicts.

    Returns:
        chainer.Chain: The network that predicts.

    """
    return getattr(model, 'predictor', model)


def arrays_of(link):
    """Takes apart a network.

    Args:
        link (chainer.Link): The network.

    Returns:
        dict: Its parameters and persistent values, NumPy arrays by their keys. ``None`` stands for
        a parameter that no call has initialized.

    """
    arrays = {key: numpy.asarray(value) for key, value in serialize(link).items()}
    return {key: None if array.dtype == object else array for key, array in arrays.items()}


def find_prefix(stored, keys):
    """Finds out how the keys of the weights begin in a file.

    Args:
        stored (stored.Stored): The file.
        keys (dict): The keys of the network that predicts.

    Returns:
        str: ``'predictor/'`` in a classifier's file and ``''`` in a predictor's.

    Raises:
        UserError: If the file holds no weights of the network.

    """
    for prefix in (PREFIX, ''):
        if any(prefix + key in stored for key in keys):
            return prefix
        if any(stored.under(prefix + key) for key in keys):
            raise UserError(f'{stored.path} is a training state without weights; give -m a model')
    theirs = _layers(stored.keys) or 'nothing'
    if any(len(stored.header(key)[0]) == 4 for key in stored.keys):
        theirs = f'a convolutional network ({theirs})'
    raise UserError(
        f'{stored.path} holds no weights of this network ({_layers(keys)}), but {theirs}; give '
        '-m a file of the same network'
    )


def check_net(stored, keys):
    """Makes sure that a file is a training state, and one of the same kind of network.

    Args:
        stored (stored.Stored): The file.
        keys (dict): The keys of the model.

    Raises:
        UserError: If it is not.

    """
    if any(stored.under(key) for key in keys):
        return
    for net, other in (
        ('classifier', [PREFIX + key for key in keys]),
        ('trainflag', [key.removeprefix(PREFIX) for key in keys]),
    ):
        if any(stored.under(key) for key in other):
            message = f'{stored.path} is a state of the network {net}; add --net {net}'
            raise UserError(message, near=2)
    if 't' in stored:
        raise UserError(
            f'{stored.path} is a state of another network ({_layers(stored.keys)}), not of '
            f'{_layers(keys)}; give -r a state of the same network'
        )
    raise UserError(f'{stored.path} holds no training state; give -r a file like mlp.state')


def check_names(stored, arrays):
    """Makes sure that a file has no layers that the network lacks.

    Args:
        stored (stored.Stored): The file.
        arrays (dict): The network's arrays, as of :func:`arrays_of`, by their keys in the file.

    Raises:
        UserError: If it has.

    """
    # In a training state, what stands under the key of a parameter is the optimizer's.
    of_state = {key for key in stored.keys if key.rpartition('/')[0] in arrays or '/' not in key}
    more = stored.keys - arrays.keys() - (of_state if 't' in stored else set())
    if more:
        raise UserError(
            f'{stored.path} holds more than this network: {_layers(more)}; give a file of the same '
            'network, or add to net.py what it lacks'
        )


def check_units(stored, arrays, units):
    """Makes sure that it is not the number of units that differs.

    Args:
        stored (stored.Stored): The file.
        arrays (dict): The network's arrays, as of :func:`arrays_of`, by their keys in the file.
        units (int): The number of units that the network was made with, or ``None``.

    Raises:
        UserError: If it is.

    """
    found = find_units(stored, arrays, units)
    if found is not None:
        raise UserError(
            f'{stored.path} holds a network of {found} units, not {units}; add -u {found}', near=2
        )


def find_units(stored, arrays, units):
    """Finds out with how many units the network of a file was made.

    Args:
        stored (stored.Stored): The file.
        arrays (dict): The network's arrays, as of :func:`arrays_of`, by their keys in the file.
        units (int): The number of units that the network was made with, or ``None``.

    Returns:
        int: The number, or ``None`` if another number does not explain what differs.

    """
    found = []
    for key in arrays.keys() & stored.keys:
        if arrays[key] is None:
            continue
        shape, _ = stored.header(key)
        if len(shape) != arrays[key].ndim:
            return None
        for ours, its in zip(arrays[key].shape, shape):
            if ours != its:
                # It may be a multiple of the units, as after a convolution.
                found.append(its * units / ours if units and ours % units == 0 else 0)
    # Units are met in more than one place. A single one that differs is damaged.
    if len(found) > 1 and len(set(found)) == 1 and found[0] in range(1, limits.UNITS + 1):
        return int(found[0])
    return None


def _layers(keys):
    """Names the outermost layers that keys belong to, or else the arrays, some of them at least."""
    of_layers = [key for key in keys if '/' in key]  # besides them, a state has counts
    names = sorted({key.removeprefix(PREFIX).split('/')[0] for key in of_layers or keys})
    return ', '.join(names[:6] + ['...'] * (len(names) > 6))
