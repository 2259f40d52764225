"""Networks, optimizers and what can change in mid-training: all must train as in plain Chainer."""

import contextlib

from chainer_mnist import fast

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
from chainer import computational_graph, optimizer_hooks, optimizers, serializers, static_graph

import net

UNITS, PIXELS, BATCHSIZE, ITERATIONS = 8, 64, 6, 20


class Network(chainer.Chain):
    """Two layers and what lies between them. Further links come as what makes them."""

    def __init__(self, between=None, dtype='f', **links):
        super().__init__()
        self._between, self._dtype = between, dtype
        with self.init_scope(), chainer.using_config('dtype', numpy.dtype(dtype)):
            self.l1 = L.Linear(PIXELS, UNITS)
            for name, make in links.items():
                setattr(self, name, make())
            self.l3 = L.Linear(None, 10)

    def forward(self, x):
        h = self.l1(x if self._dtype == 'f' else F.cast(x, self._dtype))
        return self.l3(F.relu(h) if self._between is None else self._between(self, h))


class StaticNetwork(Network):
    @static_graph
    def forward(self, x):
        return super().forward(x)


def deeper(self, h):
    for link in (self.a, self.b, self.a):
        h = F.relu(link(h))
    return h


def convolution(self, h):
    return F.max_pooling_2d(F.relu(self.a(F.reshape(h, (-1, 1, 2, 4)))), 2)


def branch(self, h):
    left, right = F.relu(self.a(h)), F.tanh(self.b(h))
    return F.concat([left + right, h * right]) - F.concat([h, left])


def forgetful(self, h):
    return self.a(F.forget(lambda h: F.relu(self.a(h)), F.relu(self.a(h))))


def linear(nobias=False):
    return L.Linear(UNITS, UNITS, nobias)


def classifier(*args, lossfun=F.softmax_cross_entropy, **kwargs):
    return lambda: L.Classifier(Network(*args, **kwargs), lossfun=lossfun)


def loss_with(**options):
    return classifier(lossfun=lambda y, t: F.softmax_cross_entropy(y, t % 4 - 1, **options))


NETWORKS = {
    'MLP': lambda: L.Classifier(net.MLP(UNITS, 10)),
    'TrainFlagMLP': lambda: net.TrainFlagMLP(UNITS, 10),
    'one unit': lambda: L.Classifier(net.MLP(1, 10)),
    'shared layer': classifier(deeper, a=linear, b=lambda: linear(nobias=True)),
    'dropout': classifier(lambda self, h: F.dropout(F.relu(h))),
    'convolution': classifier(convolution, a=lambda: L.Convolution2D(1, 3, 2)),
    'batch normalization': classifier(
        lambda self, h: F.relu(self.a(h)), a=lambda: L.BatchNormalization(UNITS)
    ),
    'branch': classifier(branch, a=linear, b=lambda: linear(nobias=True)),
    'forget': classifier(forgetful, a=linear),
    'unused parameter': classifier(a=linear),
    'uninitialized parameter': classifier(a=lambda: L.Linear(None, 3)),
    'parameter of shape ()': classifier(lambda self, h: self.a(h), a=L.PReLU),
    'float64': classifier(dtype='d'),
    'float16': classifier(dtype='e'),
    'ignored labels': loss_with(),
    'class weights': loss_with(class_weight=numpy.arange(10, dtype='f')),
    'loss as a sum': loss_with(normalize=False),
    'static_graph': lambda: L.Classifier(StaticNetwork()),
}

# Chainer's own, and the one that goes with the fast loop
OPTIMIZERS = {
    'Adam': (optimizers.Adam, fast.Adam),
    'AdamW': (
        lambda: optimizers.AdamW(eta=0.9, weight_decay_rate=0.01),
        lambda: fast.Adam(eta=0.9, weight_decay_rate=0.01),
    ),
    'AMSGrad': (optimizers.AMSGrad, lambda: fast.Adam(amsgrad=True)),
    'MomentumSGD': (optimizers.MomentumSGD, optimizers.MomentumSGD),
}


def clip(rule, param):
    numpy.clip(param.grad, -0.01, 0.01, out=param.grad)


def with_hooks(iteration, model, optimizer):
    rule = next(model.params()).update_rule
    if iteration == 5:
        optimizer.add_hook(optimizer_hooks.Lasso(0.01), timing='post')
    elif iteration == 10:
        optimizer.remove_hook('Lasso')
        rule.add_hook(clip)
    elif iteration == 15:
        rule.remove_hook('clip')


CHANGES = {
    'plain': lambda iteration, model, optimizer: None,
    'hooks': with_hooks,
}


def loop(is_fast):
    """The fast training loop, or plain Chainer. The tests run on one thread."""
    return fast.fast_training(UNITS) if is_fast else contextlib.nullcontext()


def train_network(network, optimizer, change, is_fast, observed=True):
    """Trains, and returns all that can be seen of it: a dictionary of comparable values.

    ``change`` is called with iteration, model and optimizer before each iteration. ``observed``
    includes the graph and the gradients of each iteration.
    """
    numpy.random.seed(0)
    x = numpy.random.rand(ITERATIONS, BATCHSIZE, PIXELS).astype('f')
    t = numpy.random.randint(0, 10, (ITERATIONS, BATCHSIZE)).astype('i')
    model = NETWORKS[network]()
    model(x[0], t[0])  # initializes the weights
    optimizer = OPTIMIZERS[optimizer][is_fast]().setup(model)
    seen = {}

    def loss(*args):
        result = model(*args)
        seen[f'loss {i}'] = content(result.array)
        if observed:
            graph = computational_graph.build_computational_graph([result])
            seen[f'graph {i}'] = sorted((a.label, a.rank, b.label, b.rank) for a, b in graph.edges)
        return result

    with loop(is_fast):
        for i in range(ITERATIONS):
            change(i, model, optimizer)
            try:
                # The last mini-batch is smaller.
                optimizer.update(loss, x[i][i == ITERATIONS - 1 :], t[i][i == ITERATIONS - 1 :])
            except Exception as error:
                seen['error'] = repr(error)
                break
            for name, param in model.namedparams() if observed else ():
                seen[f'gradient {i} {name}'] = content(param.grad)
    for kind, target in (('model', model), ('state', optimizer)):
        serializer = serializers.DictionarySerializer()
        serializer.save(target)
        seen.update((f'{kind} {key}', content(a)) for key, a in serializer.target.items())
    return seen


def content(array):
    """The bits of an array. Which of the many NaNs NumPy gives depends on the memory's address."""
    if array is None:
        return None
    array = numpy.array(array)
    if array.dtype.kind == 'f':
        array[numpy.isnan(array)] = numpy.nan
    return array.dtype.str, array.shape, array.tobytes()


def assert_same(outcome):
    """Asserts that plain Chainer and the fast loop have the same outcome, a dictionary."""
    chainers, ours = outcome(False), outcome(True)
    assert [k for k in {**chainers, **ours} if chainers.get(k, '') != ours.get(k, '')] == []
