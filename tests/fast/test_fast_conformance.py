"""The fast loop trains as plain Chainer does: bit for bit, by the same graph, with its errors."""

from chainer_mnist import fast
from chainer_mnist.fast import kernels

import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import optimizers
from chainer.functions.activation.relu import ReLU
from chainer.functions.connection.linear import LinearFunction
from chainer.functions.loss.softmax_cross_entropy import SoftmaxCrossEntropy
from conformance import CHANGES, NETWORKS, OPTIMIZERS, assert_same, content, loop
from conformance import train_network as trained

import net

CELLS = [
    (network, optimizer, change)
    for network in NETWORKS
    for optimizer in OPTIMIZERS
    for change in CHANGES
    if network == 'MLP' or optimizer == 'Adam' or change == 'plain'
]


@pytest.mark.parametrize(('network', 'optimizer', 'change'), CELLS)
def test_network_optimizer_and_change(network, optimizer, change):
    assert_same(lambda is_fast: trained(network, optimizer, CHANGES[change], is_fast))


@pytest.mark.parametrize('has_numba', [False, True])
@pytest.mark.parametrize('units', [50, 700])  # more weights than Adam updates at a time
def test_size_and_kernels(units, has_numba, monkeypatch):
    monkeypatch.setattr('conformance.UNITS', units)
    kernels.compile_with_numba()
    for name in kernels.KERNELS if not has_numba else ():
        kernel = getattr(kernels, f'numpy_{name}', getattr(kernels, name))
        monkeypatch.setattr(kernels, name, getattr(kernel, 'py_func', kernel))
    assert_same(lambda is_fast: trained('MLP', 'Adam', CHANGES['plain'], is_fast))


class TimidRule(optimizers.adam.AdamRule):
    def update_core(self, param):
        param.grad *= 0.5
        super().update_core(param)


def reorder(optimizer, param, rule):
    param.array = numpy.asfortranarray(param.array)
    rule.state['m'] = numpy.asfortranarray(rule.state['m'])


# What a user can do besides: to Chainer's Adam, a parameter and its rule
ODDITIES = {
    'alpha of NumPy': lambda o, p, r: setattr(o, 'alpha', numpy.float64(0.01)),
    'alpha of one': lambda o, p, r: setattr(r.hyperparam, 'alpha', 0.03),
    'beta1': lambda o, p, r: setattr(o, 'beta1', 0.8),
    'eps of 0': lambda o, p, r: setattr(o, 'eps', 0),
    'loss scaling': lambda o, p, r: o.loss_scaling(scale=8.0),
    'dynamic loss scaling': lambda o, p, r: o.loss_scaling(interval=2),
    'zerograds': lambda o, p, r: o.use_cleargrads(False),
    'gradients that are kept': lambda o, p, r: setattr(o.target, 'cleargrads', lambda: None),
    'another rule': lambda o, p, r: setattr(p, 'update_rule', TimidRule(o.hyperparam)),
    'a disabled rule': lambda o, p, r: setattr(r, 'enabled', False),
    'no rule': lambda o, p, r: setattr(p, 'update_rule', None),
    'an odd t': lambda o, p, r: setattr(r, 't', 3),
    'a wider state': lambda o, p, r: r.state.update(v=r.state['v'].astype('d')),
    'another order': reorder,
    'half precision': lambda o, p, r: setattr(p, 'array', p.array.astype('e')),
    'fp32 update': lambda o, p, r: o.use_fp32_update(),
    'a loss of wrong types': lambda o, p, r: setattr(o.target, 'lossfun', F.add),
}


@pytest.mark.filterwarnings('ignore:.*cleargrad:DeprecationWarning')
@pytest.mark.filterwarnings('ignore:(divide by zero|invalid value):RuntimeWarning')
@pytest.mark.parametrize('oddity', ODDITIES)
def test_odd_settings(oddity):
    def change(iteration, model, optimizer):
        if iteration == 10:
            param = next(model.params())
            ODDITIES[oddity](optimizer, param, param.update_rule)

    assert_same(lambda is_fast: trained('MLP', 'Adam', change, is_fast))


@pytest.mark.parametrize(
    ('name', 'value'),
    [('lazy_grad_sum', True), ('debug', True), ('type_check', False), ('enable_backprop', False)],
)
def test_settings_of_chainer_change_in_mid_training(name, value):
    def change(iteration, model, optimizer):
        setattr(chainer.config, name, value if 5 <= iteration < 15 else before)

    before = getattr(chainer.config, name)
    with chainer.using_config(name, before):
        assert_same(lambda is_fast: trained('branch', 'Adam', change, is_fast))


def halved(method):
    """The same method with half the numbers, or with half a parameter after an update."""

    def half_of(*args, **kwargs):
        results = method(*args, **kwargs)
        if results is None:
            args[-1].array[...] *= 0.5
            return None
        return tuple(None if y is None else y * numpy.float32(0.5) for y in results)

    return half_of


def replace_on_node(patch, model):
    def lossfun(*args):
        loss = F.softmax_cross_entropy(*args)
        loss.creator_node.backward = halved(loss.creator_node.backward)
        return loss

    model.lossfun = lossfun


def replace_on_rules(patch, model):
    for param in model.params():
        param.update_rule.update_core = halved(param.update_rule.update_core)


@pytest.mark.parametrize(
    'replace',
    [
        (ReLU, 'forward_cpu'),
        (ReLU, 'backward'),
        (LinearFunction, 'forward'),
        (LinearFunction, 'backward'),
        (SoftmaxCrossEntropy, 'forward_cpu'),
        (optimizers.adam.AdamRule, 'update_core'),
        replace_on_node,
        replace_on_rules,
    ],
)
def test_a_replaced_method_is_called(replace, monkeypatch):
    def outcome(is_fast, replaced=True):
        def change(iteration, model, optimizer):
            if iteration == 5 and callable(replace):
                replace(patch, model)
            elif iteration == 5:
                patch.setattr(*replace, halved(getattr(*replace)))

        with monkeypatch.context() as patch:
            return trained('MLP', 'Adam', change if replaced else CHANGES['plain'], is_fast)

    assert_same(outcome)
    assert outcome(True) != outcome(True, replaced=False)


@pytest.mark.parametrize('owner', [(chainer.FunctionNode, 'apply'), (chainer.Variable, 'backward')])
def test_a_method_replaced_before_the_training_is_called(owner, monkeypatch):
    calls, method = [], getattr(*owner)
    monkeypatch.setattr(*owner, lambda *args, **kwargs: calls.append(1) or method(*args, **kwargs))
    trained('MLP', 'Adam', CHANGES['plain'], is_fast=True)
    assert len(calls) >= 20


@pytest.mark.parametrize('name', ['call_hooks', 'is_safe_to_update', 'reallocate_cleared_grads'])
def test_a_derived_class_overrides(name, monkeypatch):
    def outcome(is_fast):
        base, calls = OPTIMIZERS['Adam'][is_fast], []

        def method(self, *args):
            calls.append(args)
            return getattr(base, name)(self, *args)

        monkeypatch.setitem(OPTIMIZERS, 'derived', (type('Derived', (base,), {name: method}),) * 2)
        return {**trained('MLP', 'derived', CHANGES['plain'], is_fast), 'calls': calls}

    assert_same(outcome)


class Recorder(chainer.FunctionHook):
    """Notes all calls with all that they are given."""

    def __init__(self):
        self.calls = []

    def _note(self, function, arrays, grads=()):
        self.calls.append((function.label, *map(content, arrays), *map(content, grads)))

    forward_preprocess = forward_postprocess = backward_preprocess = backward_postprocess = _note


@pytest.mark.parametrize('of_one_function', [False, True])
def test_hooks_see_every_call(of_one_function):
    def outcome(is_fast):
        recorder = Recorder()

        def change(iteration, model, optimizer):
            def lossfun(y, t):
                y.creator_node.add_hook(recorder)
                return F.softmax_cross_entropy(y, t)

            if iteration == 5 and of_one_function:
                model.lossfun = lossfun
            elif iteration == 5:
                recorder.__enter__()

        seen = trained('MLP', 'Adam', change, is_fast)
        if not of_one_function:
            recorder.__exit__()
        return {**seen, 'calls': recorder.calls, 'some': len(recorder.calls) > 0}

    assert_same(outcome)
    assert outcome(True)['some']


class Faulty(chainer.FunctionNode):
    def __init__(self, results=lambda y: (y,), grads=lambda gx: gx):
        self._results, self._grads = results, grads

    def forward(self, inputs):
        self.retain_inputs((0,))
        return self._results(inputs[0] * 2)

    def backward(self, indexes, grad_outputs):
        return (self._grads(grad_outputs[0]),)


FAULTY = {
    'a list': lambda x: Faulty(lambda y: [y]).apply((x,)),
    'None': lambda x: Faulty(lambda y: (y, None)).apply((x,))[:1],
    'no array': lambda x: Faulty().apply((x, [1, 2])),
    'no input': lambda x: Faulty().apply(()),
    'shape of the gradient': lambda x: Faulty(grads=lambda gx: gx[:1]).apply((x,)),
    'type of the gradient': lambda x: Faulty(grads=lambda gx: F.cast(gx, 'd')).apply((x,)),
    'number of gradients': lambda x: F.add(*Faulty(lambda y: (y, y)).apply((x, x, x))),
    'no gradient': lambda x: Faulty(grads=lambda gx: None).apply((x,)),
    'a forward of its own': lambda x: [
        f := ReLU(),
        setattr(f, 'forward', lambda x: (x[0] + 1,)),
        f.apply((x,)),
    ][-1],
    'applied twice': lambda x: [f := Faulty(), f.apply((x,)), f.apply((x,))][-1],
    'a weight of another shape': lambda x: [F.linear(x, numpy.ones((2, 4), 'f'))],
    'a weight of another type': lambda x: [F.linear(x, numpy.ones((2, 3)))],
    'no weight': lambda x: LinearFunction().apply((x,)),
    'labels of another shape': lambda x: [F.softmax_cross_entropy(x, numpy.zeros(3, 'i'))],
    'labels out of range': lambda x: [F.softmax_cross_entropy(x, numpy.array([0, 3], 'i'))],
    'no images': lambda x: [F.softmax_cross_entropy(x[:0], numpy.ones(0, 'i'))],
}


def outcome_of(is_fast, use, x):
    with loop(is_fast):
        try:
            variables = use(x)
        except Exception as error:
            return {'error': repr(error)}
        return {'': [(content(v.grad), v.grad_var is None, v._loss_scale) for v in variables]}


@pytest.mark.filterwarnings('ignore::RuntimeWarning')
@pytest.mark.parametrize('fault', FAULTY)
def test_errors_are_chainers(fault):
    def use(x):
        F.sum(FAULTY[fault](x)[0]).backward()
        return [x]

    assert_same(lambda is_fast: outcome_of(is_fast, use, chainer.Variable(numpy.ones((2, 3), 'f'))))


def set_gradient(x, h, y):
    y.grad = numpy.full((), 2, 'f')
    y.backward()


def twice_differentiable(x, h, y):
    y.backward(enable_double_backprop=True)
    gx = x.grad_var
    x.cleargrad()
    F.sum(gx * gx).backward()


WAYS_BACK = {
    'plain': lambda x, h, y: y.backward(),
    'twice': lambda x, h, y: [y.backward(), y.backward()],
    'from a gradient': set_gradient,
    'retain_grad': lambda x, h, y: y.backward(retain_grad=True),
    'loss_scale': lambda x, h, y: y.backward(loss_scale=3.0),
    'enable_double_backprop': twice_differentiable,
    'of several': lambda x, h, y: chainer.backward([h, y], [h, y]),
    'from the middle': lambda x, h, y: F.sum(h).backward(),
    'from a leaf': lambda x, h, y: chainer.Variable(numpy.ones((), 'f')).backward(),
    'unchained': lambda x, h, y: [h.unchain_backward(), y.backward()],
    'another array': lambda x, h, y: [setattr(h, 'array', -h.array), y.backward()],
}


@pytest.mark.parametrize('way', WAYS_BACK)
def test_ways_back(way):
    def use(x):
        h = F.relu(x * x + x)
        y = F.sum(h * h + F.sigmoid(x))
        WAYS_BACK[way](x, h, y)
        return [x, h, y]

    array = numpy.arange(-3, 3, dtype='f').reshape(2, 3)
    assert_same(lambda is_fast: outcome_of(is_fast, use, chainer.Variable(array)))


@pytest.mark.parametrize(('gradient', 'what'), [(1e30, 'overflow'), (1e-30, 'underflow')])
def test_overflow_and_underflow_of_adam(gradient, what):
    model, batch = net.TrainFlagMLP(8, 10), (numpy.ones((6, 64), 'f'), numpy.zeros(6, 'i'))
    model(*batch)
    optimizer = fast.Adam().setup(model)
    with loop(is_fast=True):
        optimizer.update(model, *batch)
        for param in model.params():
            param.grad = numpy.full_like(param.array, gradient)
        with numpy.errstate(all='warn'), pytest.warns(RuntimeWarning, match=f'{what} encountered'):
            optimizer.update()
        with numpy.errstate(all='raise'), pytest.raises(FloatingPointError, match=what):
            optimizer.update()
