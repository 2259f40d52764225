"""Networks of a learner's own, and the mini-batch that they are trained on."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy

from net import MLP, TrainFlagMLP

UNITS = 6
IMAGES = numpy.random.RandomState(0).rand(20, 784).astype('f')
LABELS = numpy.arange(20, dtype='i') % 10


class Convolutional(chainer.Chain):
    """With a convolution, batch normalization and its persistent values."""

    def __init__(self, n_units, n_out):
        super().__init__()
        with self.init_scope():
            self.conv = L.Convolution2D(1, n_units, 5, stride=2)
            self.normalize = L.BatchNormalization(n_units)
            self.out = L.Linear(None, n_out)

    def forward(self, x):
        h = F.relu(self.normalize(self.conv(F.reshape(x, (-1, 1, 28, 28)))))
        return self.out(F.max_pooling_2d(h, 2))


class Nested(chainer.Chain):
    """With a list of layers, a parameter of its own and a layer that is never called."""

    def __init__(self, n_units, n_out):
        super().__init__()
        with self.init_scope():
            self.layers = chainer.ChainList(L.Linear(None, n_units), L.Linear(n_units, n_out))
            self.scale = chainer.Parameter(numpy.full((), 1.5, 'f'))
            self.unused = L.Linear(None, 3)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x * F.broadcast_to(self.scale, x.shape)))
        return x


class Auxiliary(MLP):
    """With a layer that is called in training alone."""

    def __init__(self, n_units, n_out):
        super().__init__(n_units, n_out)
        with self.init_scope():
            self.auxiliary = L.Linear(None, n_out)

    def forward(self, x):
        y = super().forward(x)
        return y + 0.1 * self.auxiliary(x) if chainer.config.train else y


class Frozen(MLP):
    """With a layer that is not trained."""

    def forward(self, x):
        self.l2.disable_update()
        return super().forward(x)


NETWORKS = [MLP, TrainFlagMLP, Convolutional, Nested, Auxiliary, Frozen]
