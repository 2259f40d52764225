"""Runs of plain Chainer: its Trainer, as Chainer's own example of MNIST sets it up."""

from chainer_mnist import data

import chainer
import chainer.links as L
from chainer import iterators, optimizers, serializers, training
from chainer.training import extensions

from net import MLP


def make_trainer(out, epochs, units=6, batchsize=100, stop='epoch', optimizer=None):
    """Sets up a Trainer on a classifier. It writes a snapshot, and a log, after every epoch."""
    train, test = (chainer.datasets.TupleDataset(x, t) for x, t in data.load())
    model = L.Classifier(MLP(units, 10))
    optimizer = (optimizer or optimizers.Adam()).setup(model)
    iterator = iterators.SerialIterator(train, batchsize)
    updater = training.updaters.StandardUpdater(iterator, optimizer)
    trainer = training.Trainer(updater, (epochs, stop), out=str(out))
    tests = iterators.SerialIterator(test, batchsize, repeat=False, shuffle=False)
    trainer.extend(extensions.Evaluator(tests, model), call_before_training=True)
    trainer.extend(extensions.LogReport(), call_before_training=True)
    alpha = extensions.observe_value('alpha', lambda trainer: optimizer.alpha)
    trainer.extend(alpha)
    trainer.extend(extensions.snapshot(), trigger=(1, 'epoch'))
    return trainer


def save_all(out, optimizer):
    """Writes what Chainer's example for a loop of one's own writes: a model and an optimizer."""
    serializers.save_npz(f'{out}/classifier.model', optimizer.target)
    serializers.save_npz(f'{out}/mlp.model', optimizer.target.predictor)
    serializers.save_npz(f'{out}/mlp.state', optimizer)
