"""Wrote the files beside it: python make.py TINY, with Chainer 2.1.0 on Python 2.7.

TINY is a folder with train.npz, the first 500 images of MNIST. The network has 4 units. The files
are those of the tutorial's script after one epoch, and the weights after one epoch more. Those in
trainer/ are of Chainer's Trainer: its log and its snapshot after two epochs, and the weights after
one epoch more.
"""

import sys

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
from chainer import iterators, optimizers, serializers, training
from chainer.training import extensions


class MLP(chainer.Chain):
    def __init__(self, n_units, n_out):
        super().__init__()
        with self.init_scope():
            self.l1 = L.Linear(None, n_units)
            self.l2 = L.Linear(None, n_units)
            self.l3 = L.Linear(None, n_out)

    def __call__(self, x):
        return self.l3(F.relu(self.l2(F.relu(self.l1(x)))))


train = numpy.load(sys.argv[1] + '/train.npz')
x, t = train['x'].astype('f') * (1 / 255.0), train['y'].astype('i')


def set_up():
    numpy.random.seed(0)
    model = L.Classifier(MLP(4, 10))
    optimizer = optimizers.Adam()
    optimizer.setup(model)
    return model, optimizer


def sweep():
    for i in range(0, 500, 100):
        optimizer.update(model, x[i : i + 100], t[i : i + 100])


model, optimizer = set_up()
sweep()
serializers.save_npz('classifier.model', model)
serializers.save_npz('mlp.model', model.predictor)
serializers.save_npz('mlp.state', optimizer)
sweep()
serializers.save_npz('one-epoch-more.model', model)


model, optimizer = set_up()
iterator = iterators.SerialIterator(chainer.datasets.TupleDataset(x, t), 100)
updater = training.StandardUpdater(iterator, optimizer)
trainer = training.Trainer(updater, (2, 'epoch'), out='trainer')
trainer.extend(extensions.LogReport(trigger=(1, 'epoch')))
trainer.extend(extensions.snapshot(), trigger=(2, 'epoch'))
trainer.run()
sweep()
serializers.save_npz('trainer/one-epoch-more.model', model)
