"""Runs of plain Chainer: its Trainer, as Chainer's own example of MNIST sets it up."""

from chainer_mnist.data import load_mnist

import chainer
import chainer.links as L
from chainer import iterators, optimizers, serializers, training
from chainer.training import extensions
from learner_networks import UNITS

from net import MLP


def run_trainer(out, length, unit='epoch', bare=False, optimizer=optimizers.Adam, **how):
    """Runs a Trainer, which writes a log and a snapshot after every epoch. Returns its optimizer.

    A ``bare`` model is no classifier, but the predictor itself. ``how`` goes to
    ``extensions.snapshot``.
    """
    train, test = (chainer.datasets.TupleDataset(x, t) for x, t in load_mnist())
    classifier = L.Classifier(MLP(UNITS, 10))
    optimizer = optimizer().setup(classifier.predictor if bare else classifier)
    iterator = iterators.SerialIterator(train, 100)
    updater = training.updaters.StandardUpdater(iterator, optimizer, loss_func=classifier)
    trainer = training.Trainer(updater, (length, unit), out=str(out))
    trainer.reporter.add_observer('main', classifier)
    tests = iterators.SerialIterator(test, 100, repeat=False, shuffle=False)
    trainer.extend(extensions.Evaluator(tests, classifier), call_before_training=True)
    trainer.extend(extensions.LogReport(), call_before_training=True)
    trainer.extend(extensions.snapshot(**how), trigger=(1, unit))
    trainer.run()
    return optimizer


def plain_members(path, trainer):
    """Saves a Trainer without compression, in place of ``save_npz``."""
    serializers.save_npz(path, trainer, compression=False)


def save_all(out, optimizer):
    """Writes what Chainer's example of a custom loop writes: models and an optimizer."""
    serializers.save_npz(f'{out}/classifier.model', optimizer.target)
    serializers.save_npz(f'{out}/mlp.model', optimizer.target.predictor)
    serializers.save_npz(f'{out}/mlp.state', optimizer)
