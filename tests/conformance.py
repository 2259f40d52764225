"""The table of networks and optimizers that must learn alike with and without the fast path.

A network comes as a classifier: called with images and labels, it returns the loss.
"""

import contextlib

from chainer_mnist import speed

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import threadpoolctl
from chainer import computational_graph, optimizer_hooks, optimizers, serializers, static_graph

import net

UNITS, PIXELS, BATCHSIZE, ITERATIONS = 8, 64, 6, 30


class Network(chainer.Chain):
    """A predictor of two layers and what lies between them."""

    def __init__(self, between, first=None, **links):
        super().__init__()
        self._between = between
        with self.init_scope():
            self.l1 = L.Linear(PIXELS, UNITS) if first is None else first
            for name, link in links.items():
                setattr(self, name, link)
            self.l3 = L.Linear(None, 10)

    def forward(self, x):
        return self.l3(self._between(self, self.l1(x)))


class StaticNetwork(Network):
    @static_graph
    def forward(self, x):
        return super().forward(x)


class OldSquare(chainer.Function):
    def forward(self, inputs):
        (x,) = inputs
        return (x * x,)

    def backward(self, inputs, grads):
        (x,), (gy,) = inputs, grads
        return (2 * x * gy,)


def deeper(self, h):
    for link in (self.a, self.b, self.c):
        h = F.relu(link(h))
    return h


def convolution(self, h):
    image = F.reshape(h, (-1, 1, 8, 8))
    return F.max_pooling_2d(F.relu(self.conv(image)), 2)


def branch(self, h):
    left, right = F.relu(self.a(h)), F.tanh(self.b(h))
    return F.concat([left + right, h * right]) - F.concat([h, left])


def changing(self, h):
    for _ in range(numpy.random.randint(3)):
        h = F.relu(self.a(h))
    return h


def penalty(self, x, t):
    """A loss with the gradient of a gradient: double backpropagation."""
    x = chainer.Variable(x)
    y = self.l3(F.tanh(self.l1(x)))
    (gx,) = chainer.grad([F.sum(y)], [x], enable_double_backprop=True)
    return F.softmax_cross_entropy(y, t) + F.sum(gx * gx)


class Penalty(Network):
    def forward(self, x, t):
        return penalty(self, x, t)


def linear(n_in=UNITS):
    return L.Linear(n_in, UNITS)


NETWORKS = {
    'MLP': lambda: L.Classifier(net.MLP(UNITS, 10)),
    'TrainFlagMLP': lambda: net.TrainFlagMLP(UNITS, 10),
    'deeper': lambda: L.Classifier(Network(deeper, a=linear(), b=linear(), c=linear())),
    'dropout': lambda: L.Classifier(Network(lambda self, h: F.dropout(F.relu(h)))),
    'sigmoid': lambda: L.Classifier(Network(lambda self, h: F.sigmoid(h))),
    'convolution': lambda: L.Classifier(
        Network(convolution, lambda x: x, conv=L.Convolution2D(1, 3, 3))
    ),
    'batch normalization': lambda: L.Classifier(
        Network(lambda self, h: F.relu(self.bn(h)), bn=L.BatchNormalization(UNITS))
    ),
    'shared layer': lambda: L.Classifier(
        Network(lambda self, h: self.a(F.relu(self.a(F.relu(self.a(h))))), a=linear())
    ),
    'branch': lambda: L.Classifier(Network(branch, a=linear(), b=linear())),
    'old-style Function': lambda: L.Classifier(Network(lambda self, h: OldSquare()(h))),
    'unused parameter': lambda: L.Classifier(Network(lambda self, h: F.relu(h), a=linear())),
    'uninitialised parameter': lambda: L.Classifier(
        Network(lambda self, h: F.relu(h), a=linear(None))
    ),
    'parameter of shape ()': lambda: L.Classifier(Network(lambda self, h: self.a(h), a=L.PReLU())),
    'changing': lambda: L.Classifier(Network(changing, a=linear())),
    'loss as a sum': lambda: L.Classifier(
        Network(lambda self, h: F.relu(h)),
        lossfun=lambda y, t: F.softmax_cross_entropy(y, t, normalize=False),
    ),
    'double backpropagation': lambda: Penalty(None),
    'static_graph': lambda: L.Classifier(StaticNetwork(lambda self, h: F.relu(h))),
}

# Chainer's own, and the one that goes with the fast path.
OPTIMIZERS = {
    'Adam': (optimizers.Adam, speed.Adam),
    'AdamW': (
        lambda: optimizers.AdamW(eta=0.9, weight_decay_rate=0.01),
        lambda: speed.Adam(eta=0.9, weight_decay_rate=0.01),
    ),
    'AMSGrad': (optimizers.AMSGrad, lambda: speed.Adam(amsgrad=True)),
    'MomentumSGD': (optimizers.MomentumSGD, optimizers.MomentumSGD),
}


def with_hooks(iteration, model, optimizer):
    if iteration == 5:
        optimizer.add_hook(optimizer_hooks.WeightDecay(0.1))
        optimizer.add_hook(optimizer_hooks.Lasso(0.01), timing='post')
    elif iteration == 15:
        optimizer.remove_hook('WeightDecay')
        optimizer.remove_hook('Lasso')
        rule = next(model.params()).update_rule
        rule.add_hook(clip)
    elif iteration == 25:
        next(model.params()).update_rule.remove_hook('clip')


def clip(rule, param):
    numpy.clip(param.grad, -0.01, 0.01, out=param.grad)


def with_a_frozen_layer(iteration, model, optimizer):
    layer = next(link for link in model.links() if list(link.params(False)) and link.name == 'l3')
    if iteration == 5:
        layer.disable_update()
    elif iteration == 20:
        layer.enable_update()


def with_changed_rates(iteration, model, optimizer):
    rate = 'lr' if isinstance(optimizer, optimizers.MomentumSGD) else 'alpha'
    if iteration == 5:
        setattr(optimizer, rate, 0.02)
    elif iteration == 15:
        setattr(next(model.params()).update_rule.hyperparam, rate, 0.03)
    elif iteration == 25:
        setattr(optimizer, rate, numpy.float64(0.01))


CHANGES = {
    'plain': lambda iteration, model, optimizer: None,
    'hooks': with_hooks,
    'frozen layer': with_a_frozen_layer,
    'changed rates': with_changed_rates,
}


def in_the_middle(change):
    """Makes a change at one iteration, on the optimizer and a parameter and its rule."""

    def with_a_change(iteration, model, optimizer):
        if iteration == 10:
            param = next(model.params())
            change(optimizer, param, param.update_rule)

    return with_a_change


class TimidRule(optimizers.adam.AdamRule):
    def update_core(self, param):
        param.grad *= 0.5
        super().update_core(param)


def replace_rule(optimizer, param, rule):
    param.update_rule = TimidRule(optimizer.hyperparam)


def widen(optimizer, param, rule):
    rule.state['v'] = rule.state['v'].astype('d')


def reorder(optimizer, param, rule):
    param.array = numpy.asfortranarray(param.array)
    rule.state['m'] = numpy.asfortranarray(rule.state['m'])


def half(optimizer, param, rule):
    param.array = param.array.astype('e')


# What a user can do to Chainer's Adam besides. None of it may be lost on the way.
ODDITIES = {
    'amsgrad': lambda optimizer, param, rule: setattr(optimizer, 'weight_decay_rate', 0.1),
    'eta': lambda optimizer, param, rule: setattr(optimizer, 'eta', 0.5),
    'eta of NumPy': lambda optimizer, param, rule: setattr(optimizer, 'eta', numpy.float64(1)),
    'beta1': lambda optimizer, param, rule: setattr(optimizer, 'beta1', 0.8),
    'beta1 of one': lambda optimizer, param, rule: setattr(rule.hyperparam, 'beta1', 0.8),
    'eps': lambda optimizer, param, rule: setattr(optimizer, 'eps', 0.1),
    'eps of 0': lambda optimizer, param, rule: setattr(optimizer, 'eps', 0),
    'eps too small': lambda optimizer, param, rule: setattr(optimizer, 'eps', 1e-50),
    'loss scaling': lambda optimizer, param, rule: optimizer.loss_scaling(scale=8.0),
    'dynamic loss scaling': lambda optimizer, param, rule: optimizer.loss_scaling(interval=2),
    'zerograds': lambda optimizer, param, rule: optimizer.use_cleargrads(False),
    'another rule': replace_rule,
    'no rule': lambda optimizer, param, rule: setattr(param, 'update_rule', None),
    'an odd t': lambda optimizer, param, rule: setattr(rule, 't', 3),
    'a wider state': widen,
    'another order': reorder,
    'half precision': half,
    'a post hook of one': lambda optimizer, param, rule: rule.add_hook(clip, timing='post'),
    'fp32 update': lambda optimizer, param, rule: optimizer.use_fp32_update(),
}


def learn(network, optimizer, change, fast, watched=True):
    """Trains, and returns all that can be seen of it: a dictionary of comparable values.

    Args:
        network (str): One of :data:`NETWORKS`.
        optimizer (str): One of :data:`OPTIMIZERS`.
        change (callable): Called with iteration, model and optimizer before each iteration.
        fast (bool): Whether to take the fast path.
        watched (bool): Whether to look at the graph and the gradients of each iteration too.

    Returns:
        dict: Losses, graphs, gradients, what the snapshots hold, and the error that ended it.

    """
    numpy.random.seed(0)
    x = numpy.random.rand(ITERATIONS, BATCHSIZE, PIXELS).astype('f')
    t = numpy.random.randint(0, 10, (ITERATIONS, BATCHSIZE)).astype('i')
    model = NETWORKS[network]()
    model(x[0], t[0])  # draws the weights
    optimizer = OPTIMIZERS[optimizer][fast]().setup(model)
    seen = {}

    def loss(*args):
        result = model(*args)
        seen[f'loss {i}'] = content(result.array)
        if watched:
            seen[f'graph {i}'] = graph_of(result)
        return result

    with threadpoolctl.threadpool_limits(1), path(fast):
        for i in range(ITERATIONS):
            change(i, model, optimizer)
            try:
                optimizer.update(loss, x[i], t[i])
            except Exception as error:
                seen['error'] = repr(error)
                break
            for name, param in model.namedparams() if watched else ():
                seen[f'gradient {i} {name}'] = content(param.grad)
    for kind, target in (('model', model), ('state', optimizer)):
        serializer = serializers.DictionarySerializer()
        serializer.save(target)
        for name, value in serializer.target.items():
            seen[f'{kind} {name}'] = content(value)
    return seen


@contextlib.contextmanager
def path(fast):
    with speed.tuned(UNITS) if fast else contextlib.nullcontext():
        if fast:
            speed.trust_types()
        yield


def content(array):
    if array is None:
        return None
    array = numpy.array(array)
    if (
        array.dtype.kind == 'f'
    ):  # which of the many NaNs NumPy gives depends on the memory's address
        array[numpy.isnan(array)] = numpy.nan
    return array.dtype.str, array.shape, array.tobytes()


def graph_of(loss):
    """The edges of the graph, by the labels of their ends."""
    graph = computational_graph.build_computational_graph([loss])
    return sorted((a.label, a.rank, b.label, b.rank) for a, b in graph.edges)


def differences(one, other):
    return [key for key in {**one, **other} if one.get(key, 'none') != other.get(key, 'none')]
