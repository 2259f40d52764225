"""Runs of plain Chainer: its Trainer, as Chainer's own example of MNIST sets it up."""

from chainer_mnist import data, speed

import chainer
import chainer.links as L
import numpy
from chainer import iterators, optimizers, serializers, training
from chainer.training import extensions

from net import MLP

UNITS = 6


def make_trainer(out, length, unit='epoch', bare=False, optimizer=None, **how):
    """Sets up a Trainer on a classifier. It writes a log after every epoch, and a snapshot.

    Args:
        out (str): The directory to write to.
        length (int): How long to train.
        unit (str): In what: 'epoch' or 'iteration'.
        bare (bool): Whether the model is no classifier, but the predictor itself.
        optimizer (chainer.Optimizer): The optimizer. ``None`` means Adam.
        how: What else ``extensions.snapshot`` takes.

    """
    train, test = (chainer.datasets.TupleDataset(x, t) for x, t in data.load())
    classifier = L.Classifier(MLP(UNITS, 10))
    model = classifier.predictor if bare else classifier
    optimizer = (optimizer or optimizers.Adam()).setup(model)
    iterator = iterators.SerialIterator(train, 100)
    updater = training.updaters.StandardUpdater(iterator, optimizer, loss_func=classifier)
    trainer = training.Trainer(updater, (length, unit), out=str(out))
    trainer.reporter.add_observer('main', classifier)
    tests = iterators.SerialIterator(test, 100, repeat=False, shuffle=False)
    trainer.extend(extensions.Evaluator(tests, classifier), call_before_training=True)
    trainer.extend(extensions.LogReport(), call_before_training=True)
    trainer.extend(extensions.observe_value('alpha', lambda trainer: 0.001))
    trainer.extend(extensions.snapshot(**how), trigger=(1, unit))
    return trainer


def plain_run(model, optimizer, epochs, seed, units=50):
    """Trains as the script does, with plain Chainer alone."""
    (x, t), _ = data.load()
    with speed.tuned(units):  # BLAS rounds otherwise with another number of threads
        for epoch in epochs:
            order = numpy.random.RandomState([seed, epoch]).permutation(len(x))
            for i in range(0, len(x), 100):
                optimizer.update(model, x[order[i : i + 100]], t[order[i : i + 100]])


def save_all(out, optimizer):
    """Writes what Chainer's example for a loop of one's own writes: a model and an optimizer."""
    serializers.save_npz(f'{out}/classifier.model', optimizer.target)
    serializers.save_npz(f'{out}/mlp.model', optimizer.target.predictor)
    serializers.save_npz(f'{out}/mlp.state', optimizer)
