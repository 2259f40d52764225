"""Networks and optimizers of a learner's own: saved, gone on with, used, and told from others."""

import functools
import os
import re

from chainer_mnist import snapshot
from chainer_mnist.errors import UserError

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers

import net
import predict
import train_mnist
from helpers import assert_same_run, main, read, train_here


class Convolutional(chainer.Chain):
    """With a convolution, batch normalization and its persistent values, and dropout."""

    def __init__(self, n_units, n_out):
        super().__init__()
        with self.init_scope():
            self.conv = L.Convolution2D(1, 4, 5, stride=2)
            self.normalize = L.BatchNormalization(4)
            self.out = L.Linear(None, n_out)

    def forward(self, x):
        h = F.relu(self.normalize(self.conv(F.reshape(x, (-1, 1, 28, 28)))))
        return self.out(F.dropout(F.max_pooling_2d(h, 2), 0.2))


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


class WithAnAuxiliaryLayer(chainer.Chain):
    """With a layer that is called in training alone, so that the first evaluation does not make it.

    And with units that are channels of a convolution.
    """

    def __init__(self, n_units, n_out):
        super().__init__()
        with self.init_scope():
            self.l1 = L.Convolution2D(1, n_units, 5, stride=4)
            self.l2 = L.Linear(None, n_units)
            self.l3 = L.Linear(None, n_out)
            self.auxiliary = L.Linear(None, n_out)

    def forward(self, x):
        h = F.relu(self.l1(F.reshape(x, (-1, 1, 28, 28))))
        h = F.relu(self.l2(h))
        y = self.l3(h)
        return y + 0.1 * self.auxiliary(h) if chainer.config.train else y


class Frozen(net.MLP):
    """With a layer that is not trained."""

    def forward(self, x):
        self.l2.disable_update()
        return super().forward(x)


NETWORKS = [Convolutional, Nested, WithAnAuxiliaryLayer, Frozen]
OPTIMIZERS = ['Adam', 'AMSGrad', 'SGD', 'MomentumSGD', 'AdaGrad', 'RMSprop', 'SMORMS3']


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('optimizer', ['Adam', 'MomentumSGD', 'SGD'])
def test_a_run_goes_on_to_the_same_bits(network, optimizer, monkeypatch):
    monkeypatch.setattr(net, 'MLP', network)
    if optimizer != 'Adam':
        monkeypatch.setattr(train_mnist, 'Adam', getattr(optimizers, optimizer))
    train_here('-e', 3, '-s', 1, '-o', 'whole')
    train_here('-e', 1, '-s', 1, '-o', 'a')
    train_here('-e', 2, '-r', 'a/mlp.state', '-o', 'b')
    assert_same_run('b', 'whole')
    for name in ('mlp.model', 'classifier.model', 'mlp.state'):
        train_here('-e', 0, '-m', f'whole/{name}', '-o', name)
        status, printed, errors = main('-m', f'whole/{name}', '--noplot', program=predict)
        assert (status, errors) == (0, '')
        with open('whole/log') as file:
            expected = re.findall('"validation/main/accuracy": (.*),', file.read())[-1]
        accuracy = re.search(r'\(accuracy (.*)\)\n$', printed)[1]
        assert float(accuracy) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize('network', [net.MLP, Nested, WithAnAuxiliaryLayer])
def test_predict_finds_the_number_of_units(network, monkeypatch):
    monkeypatch.setattr(net, 'MLP', network)
    train_here('-e', 1, '-u', 7)
    predictor = predict.load_predictor('result/mlp.model')
    assert (7,) in {param.shape for param in predictor.params() if param.array is not None}
    assert main('-m', 'result/mlp.model', '-u', 8, program=predict)[2] == (
        'predict.py: error: result/mlp.model holds a network of 7 units, not 8; add -u 7\n'
    )


def test_persistent_values_are_in_every_file(monkeypatch):
    monkeypatch.setattr(net, 'MLP', Convolutional)
    train_here('-e', 1)
    for name, prefix in (('mlp.model', ''), ('classifier.model', 'predictor/')):
        assert {f'{prefix}normalize/{key}' for key in ('avg_mean', 'avg_var', 'N')} <= set(
            read(f'result/{name}')
        )
    state = read('result/mlp.state')
    assert state['predictor/normalize/avg_mean'].any()


@pytest.mark.parametrize('name', ['t', 'epoch', 'seed'])
def test_a_name_that_the_state_has_too(name, monkeypatch):
    class Clashing(net.TrainFlagMLP):
        def __init__(self, n_units, n_out):
            super().__init__(n_units, n_out)
            with self.init_scope():
                setattr(self, name, chainer.Parameter(numpy.zeros(3, 'f')))

    monkeypatch.setattr(net, 'TrainFlagMLP', Clashing)
    status, _, errors = main('-n', 'trainflag')
    message = f'the network has {name}, and so has every training state; rename it in net.py'
    assert (status, errors) == (1, f'train_mnist.py: error: {message}\n')
    assert os.listdir() == []


def test_plain_chainer_reads_the_files(monkeypatch):
    monkeypatch.setattr(net, 'MLP', Convolutional)
    train_here('-e', 1)
    classifier = L.Classifier(Convolutional(50, 10))
    optimizer = optimizers.Adam().setup(classifier)
    serializers.load_npz('result/classifier.model', classifier)
    serializers.load_npz('result/mlp.state', optimizer)
    assert optimizer.t == 5
    x, t = numpy.ones((2, 784), 'f'), numpy.zeros(2, 'i')
    optimizer.update(classifier, x, t)


def model_of(network=net.MLP, units=5):
    model = L.Classifier(network(units, 10))
    with chainer.using_config('train', False):
        model(numpy.zeros((1, 784), 'f'), numpy.zeros(1, 'i'))
    return model


def assert_names(message, load):
    with pytest.raises(UserError) as caught:
        load()
    assert re.fullmatch(message, str(caught.value)), str(caught.value)


class Deeper(net.MLP):
    def __init__(self, n_units, n_out):
        super().__init__(n_units, n_out)
        with self.init_scope():
            self.l4 = L.Linear(n_out, n_out)

    def forward(self, x):
        return self.l4(super().forward(x))


@pytest.mark.parametrize('net_of_file', [Deeper, Convolutional])
def test_what_differs_between_file_and_network_is_named(net_of_file, monkeypatch):
    monkeypatch.setattr(net, 'MLP', net_of_file)
    train_here('-e', 1, '-u', 5)
    more = {'Deeper': 'l4', 'Convolutional': 'conv, normalize, out'}[net_of_file.__name__]
    for name in ('mlp.model', 'classifier.model', 'mlp.state'):
        if net_of_file is Deeper:
            message = f'result/{name} holds more than this network: {more}; give a file of .*'
        else:
            message = (
                rf'result/{name} holds no weights of this network \(l1, l2, l3\), '
                rf'but a convolutional network \({more}\); .*'
            )
        model = model_of()
        before = [param.array.copy() for param in model.params()]
        assert_names(message, functools.partial(snapshot.load_model, f'result/{name}', model, 5))
        for param, array in zip(model.params(), before):
            numpy.testing.assert_array_equal(param.array, array)
    optimizer = optimizers.Adam().setup(model)
    if net_of_file is Deeper:
        message = f'result/mlp.state holds more than this network: {more}; .*'
    else:
        message = (
            rf'result/mlp.state is a state of another network \({more}\), not of l1, l2, l3; .*'
        )
    assert_names(message, lambda: snapshot.load_state('result/mlp.state', optimizer, True, 5))
    assert optimizer.t == 0


def test_a_layer_that_the_file_lacks():
    train_here('-e', 1, '-u', 5)
    model = model_of(Deeper)
    message = 'result/mlp.model holds no l4/W; give a file of the same network'
    assert_names(message, lambda: snapshot.load_model('result/mlp.model', model, 5))


@pytest.mark.parametrize('name', OPTIMIZERS)
@pytest.mark.parametrize('other', OPTIMIZERS)
def test_a_state_of_another_optimizer_is_named(name, other):
    model = model_of()
    x, t = numpy.ones((2, 784), 'f'), numpy.zeros(2, 'i')
    optimizer = getattr(optimizers, name)().setup(model)
    optimizer.update(model, x, t)
    serializers.save_npz('state', optimizer)
    model = model_of()
    optimizer = getattr(optimizers, other)().setup(model)

    def load():
        return snapshot.load_state('state', optimizer, weights=False)

    if name == other:
        assert load() is None
        assert optimizer.t == 1
    else:
        message = rf'state is a state of another optimizer \(.*\b{name}\b.*\), not of {other}; .*'
        assert_names(message, load)
        assert optimizer.t == 0


def test_units_are_advised_only_where_they_explain_what_differs():
    train_here('-e', 1, '-u', 5)
    model = model_of(units=6)
    message = 'result/mlp.model holds a network of 5 units, not 6; add -u 5'
    assert_names(message, lambda: snapshot.load_model('result/mlp.model', model, 6))
    # Of another size, but not by -u.
    message = r'result/mlp.model holds l1/W as float32 of shape \(5, 784\), not float32 of \(6, .*'
    assert_names(message, lambda: snapshot.load_model('result/mlp.model', model, 50))
    assert os.listdir() == ['result']
