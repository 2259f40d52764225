"""What snapshots are taken of and loaded into."""

import os
import re

from chainer_mnist import snapshots
from chainer_mnist.console import UserError

import chainer
import chainer.links as L
import numpy
import pytest
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
    optimizer = optimizer or make(units=units)
    checkpoint = snapshots.load_checkpoint(*paths, optimizer, units)
    return checkpoint


def assert_refused(flag, path, message, optimizer=None, units=UNITS):
    """Asserts that loading fails with one line, a pattern, and changes nothing."""
    optimizer = optimizer or make(units=units)
    before = content(optimizer)
    with pytest.raises(UserError) as caught:
        load(flag, path, optimizer, units)
    assert re.fullmatch(message, str(caught.value)), str(caught.value)
    assert content(optimizer) == before
