"""What snapshots are taken of and loaded into."""

import os
import re

from chainer_mnist import snapshots
from chainer_mnist.console import UserError

import chainer
import chainer.links as L
import numpy
from chainer import optimizers
from learner_networks import IMAGES, LABELS, UNITS

from net import MLP, TrainFlagMLP


def make_predictor(units, network=MLP):
    """Makes a network as ``predict.py`` does."""
    predictor = network(units, 10)
    with chainer.using_config('train', False):
        predictor(IMAGES[:2])
    return predictor


def make(network=MLP, optimizer=optimizers.Adam, units=UNITS):
    """Makes a network and returns its optimizer, as the training script does."""
    if network is TrainFlagMLP:
        model = network(units, 10)
        model(IMAGES[:2], LABELS[:2])
    else:
        model = L.Classifier(make_predictor(units, network))
    return optimizer().setup(model)


def train(optimizer, updates=3):
    for _ in range(updates):
        optimizer.update(optimizer.target, IMAGES, LABELS)
    optimizer.new_epoch()
    return optimizer


def save(out, optimizer):
    """Writes the snapshots and the log of a run of one epoch with the seed 7."""
    os.makedirs(out, exist_ok=True)
    record = snapshots.make_record((0.5, 0.6), (0.7, 0.8), 1, 3, 0.5)
    snapshots.save_model(out, optimizer.target)
    snapshots.save_state(out, optimizer, 7, snapshots.Log([record]))


def content(optimizer):
    """All that a training state holds but the seed, as bytes."""
    state = snapshots.state_dict(optimizer, 0)
    return {key: numpy.asarray(value).tobytes() for key, value in state.items()}


def load(flag, path, optimizer=None, units=UNITS):
    """Loads what -m or -r names into an optimizer and its model. Returns the checkpoint."""
    paths = (str(path), None) if flag == '-m' else (None, str(path))
    return snapshots.load_checkpoint(*paths, optimizer or make(units=units), units)


def refusal_of(flag, path, optimizer, units=UNITS):
    """Returns how loading is refused, in one line and without a change, or ``None``."""
    before, refusal = content(optimizer), None
    try:
        load(flag, path, optimizer, units)
    except UserError as error:
        refusal = str(error)
    if refusal is not None:
        assert re.fullmatch('.+; .+', refusal)
        assert content(optimizer) == before
    return refusal


def assert_refused(flag, path, message, optimizer=None, units=UNITS):
    """Asserts that loading is refused with a message, a pattern."""
    refusal = refusal_of(flag, path, optimizer or make(units=units), units)
    assert re.fullmatch(message, str(refusal)), refusal


def load_or_refuse(flag, path):
    """Returns what was loaded, or ``None`` after a refusal."""
    optimizer = make()
    return None if refusal_of(flag, path, optimizer) else content(optimizer)
