"""With and without the fast path, networks learn alike: bit for bit, and by the same graph."""

from chainer_mnist import adam, backprop, functions, graph

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import function_hooks

from conformance import (
    CHANGES,
    NETWORKS,
    ODDITIES,
    OPTIMIZERS,
    Network,
    content,
    differences,
    in_the_middle,
    learn,
    path,
)


def both(*words):
    """What can be seen of Chainer's training, and of the fast one."""
    return learn(*words, fast=False), learn(*words, fast=True)


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('network', NETWORKS)
def test_the_table(network, optimizer, change):
    assert differences(*both(network, optimizer, CHANGES[change])) == []


@pytest.mark.filterwarnings('ignore:.*cleargrad:DeprecationWarning')
@pytest.mark.filterwarnings('ignore:(divide by zero|invalid value):RuntimeWarning')
@pytest.mark.parametrize('oddity', ODDITIES)
def test_oddities_of_adam(oddity):
    assert differences(*both('MLP', 'Adam', in_the_middle(ODDITIES[oddity]))) == []


@pytest.mark.parametrize(
    ('name', 'value'),
    [('lazy_grad_sum', True), ('debug', True), ('type_check', True), ('enable_backprop', False)],
)
def test_settings_that_change_in_the_middle(name, value):
    def change(iteration, model, optimizer):
        setattr(chainer.config, name, value if 10 <= iteration < 20 else before)

    before = name != 'type_check' and getattr(chainer.config, name)
    with chainer.using_config(name, before):
        assert differences(*both('branch', 'Adam', change)) == []


class Recorder(chainer.FunctionHook):
    """Notes all calls with all that they are given."""

    def __init__(self):
        self.calls = []

    def _note(self, name, function, arrays, grads=()):
        self.calls.append((name, function.label, *map(content, arrays), *map(content, grads)))

    def forward_preprocess(self, *args):
        self._note('forward', *args)

    def forward_postprocess(self, *args):
        self._note('forward done', *args)

    def backward_preprocess(self, *args):
        self._note('backward', *args)

    def backward_postprocess(self, *args):
        self._note('backward done', *args)


def hooked_calls(fast, hook_up):
    """The calls that a hook sees in two iterations, from the second half of the first on."""
    numpy.random.seed(0)
    x, t = numpy.random.rand(5, 64).astype('f'), numpy.arange(5, dtype='i')
    model = L.Classifier(Network(lambda self, h: F.relu(self.a(h)), a=L.Linear(8, 8)))
    model(x, t)
    optimizer = OPTIMIZERS['Adam'][fast]().setup(model)
    recorder = Recorder()
    with path(fast):
        for _ in range(2):
            hook_up(recorder, model, optimizer, x, t)
    assert recorder.calls
    return recorder.calls


def all_through(recorder, model, optimizer, x, t):
    with recorder:
        optimizer.update(model, x, t)


def backward_only(recorder, model, optimizer, x, t):
    loss = model(x, t)
    model.cleargrads()
    with recorder:
        loss.backward()
    optimizer.update()


def one_layer(recorder, model, optimizer, x, t):
    def forward(x):
        with recorder:
            return F.relu(model.predictor.a(x))

    model.predictor._between = lambda self, h: forward(h)
    optimizer.update(model, x, t)


def one_function(recorder, model, optimizer, x, t):
    loss = model(x, t)
    model.y.creator_node.add_hook(recorder)
    model.cleargrads()
    loss.backward()
    optimizer.update()


@pytest.mark.parametrize('hook_up', [all_through, backward_only, one_layer, one_function])
def test_hooks_see_every_call(hook_up):
    chainers, fast = (hooked_calls(fast, hook_up) for fast in (False, True))
    assert fast == chainers


def test_timer_hook():
    def names(fast):
        timer = function_hooks.TimerHook()
        with timer:
            learn('MLP', 'Adam', CHANGES['plain'], fast)
        return [name for name, _ in timer.call_history]

    assert names(True) == names(False)


class Faulty(chainer.FunctionNode):
    """A learner's first function, with one of the faults that Chainer names."""

    def __init__(self, outputs=lambda y: (y,), grads=lambda gx: gx):
        self._outputs, self._grads = outputs, grads

    def forward(self, inputs):
        return self._outputs(inputs[0] * 2)

    def backward(self, indexes, grad_outputs):
        return (self._grads(grad_outputs[0]),)


class FaultyElements(Faulty):
    is_elementwise = True


FAULTY = {
    'no tuple': lambda x: Faulty(lambda y: y).apply((x,)),
    'a number': lambda x: Faulty(lambda y: (y.sum(),)).apply((x,)),
    'None': lambda x: Faulty(lambda y: (y, None)).apply((x,))[:1],
    'no array': lambda x: Faulty().apply((x, [1, 2])),
    'no input': lambda x: Faulty().apply(()),
    'shapes': lambda x: FaultyElements(lambda y: (y, y[:1])).apply((x,)),
    'shape of the gradient': lambda x: Faulty(grads=lambda gx: gx[:1]).apply((x,)),
    'type of the gradient': lambda x: Faulty(grads=lambda gx: F.cast(gx, 'd')).apply((x,)),
    'number of gradients': lambda x: F.add(*Faulty(lambda y: (y, y)).apply((x, x, x))),
    'no error': lambda x: Faulty().apply((x,)),
    'no gradient': lambda x: Faulty(grads=lambda gx: None).apply((x,)),
}


@pytest.mark.parametrize('fault', FAULTY)
def test_a_function_with_a_fault_gets_chainers_error(fault):
    def outcome(fast):
        x = chainer.Variable(numpy.ones((2, 3), 'f'))
        with path(fast):
            try:
                F.sum(FAULTY[fault](x)[0]).backward()
            except Exception as error:
                return repr(error)
            return content(x.grad)

    with chainer.using_config('type_check', False):
        assert outcome(True) == outcome(False)


def test_a_function_that_is_applied_twice():
    def outcome(fast):
        function, x = Faulty(), chainer.Variable(numpy.ones((2, 3), 'f'))
        with path(fast):
            function.apply((x,))
            F.sum(function.apply((x,))[0]).backward()
        return content(x.grad)

    assert outcome(True) == outcome(False)


class Half(chainer.FunctionNode):
    """Has no gradient for its second input."""

    def forward(self, inputs):
        return (inputs[0] + inputs[1],)

    def backward(self, indexes, grad_outputs):
        return grad_outputs[0], None


def test_a_gradient_in_the_middle_that_was_set_by_hand():
    def outcome(fast):
        x = chainer.Variable(numpy.ones((2, 4), 'f'))
        with path(fast):
            left, right = F.split_axis(x * 2, 2, 1)
            right.grad = numpy.full((2, 2), 7, 'f')
            F.sum(Half().apply((left, right))[0]).backward()
        return content(x.grad)

    assert outcome(True) == outcome(False)


def test_a_mini_batch_without_images():
    x, t = chainer.Variable(numpy.ones((0, 10), 'f')), numpy.ones(0, 'i')
    for fast in (False, True):
        with path(fast):
            loss = F.softmax_cross_entropy(x, t)
            with pytest.raises(ValueError, match='number of gradients'):
                loss.backward()


def nudged(function):
    """The same function, with the last bit of a number turned in the first array it makes."""

    def nudge(*args, **kwargs):
        result = function(*args, **kwargs)
        array = args[0][0] if result is None else result
        array = array[0] if isinstance(array, (tuple, list)) else array
        array = getattr(array, 'array', array)
        array.reshape(-1)[:1].view('i')[:] ^= 1
        return result

    return nudge


def fault(owner, name, wrong, network='MLP', optimizer='Adam', change='plain'):
    """One operation of the fast path, what takes its place, and a cell that must notice."""
    return owner, name, wrong, (network, optimizer, CHANGES[change])


FAULTS = {
    'an update': fault(adam, '_update', nudged(adam._update)),
    'a number of the update': fault(adam, '_constants', nudged(adam._constants)),
    'a hook of a rule': fault(adam, '_needs_no_care', lambda *args: True, change='hooks'),
    'a frozen layer': fault(adam, '_needs_no_care', lambda *args: True, change='frozen layer'),
    'weight decay': fault(adam, '_is_plain', lambda *args: True, optimizer='AdamW'),
    'a variable': fault(graph, 'apply', nudged(graph.apply)),
    'a retained array': fault(graph, '_retain', lambda *args: None),
    'an output': fault(functions, 'forward', nudged(functions.forward)),
    'a gradient': fault(functions, 'backward', nudged(functions.backward)),
    'a gradient by Chainer': fault(
        backprop, '_as_variable', nudged(backprop._as_variable), 'sigmoid'
    ),
    'a sum of gradients': fault(backprop, '_sum', lambda one, other: other, 'shared layer'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_deliberate_fault_in_the_fast_path_shows(fault, monkeypatch):
    owner, name, wrong, cell = FAULTS[fault]
    assert differences(*both(*cell)) == []
    monkeypatch.setattr(owner, name, wrong)
    assert differences(*both(*cell)) != []


def set_gradient(x, h, y):
    y.grad = numpy.full((), 2, 'f')
    y.backward()


def twice(x, h, y):
    y.backward()
    y.backward()


def twice_differentiable(x, h, y):
    y.backward(enable_double_backprop=True)
    gx = x.grad_var
    x.cleargrad()
    F.sum(gx * gx).backward()


WAYS_BACK = {
    'plain': lambda x, h, y: y.backward(),
    'twice': twice,
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
    def outcome(fast):
        x = chainer.Variable(numpy.arange(-3, 3, dtype='f').reshape(2, 3))
        with path(fast):
            h = F.relu(x * x + x)
            y = F.sum(h * h + F.sigmoid(x))
            WAYS_BACK[way](x, h, y)
        return [(content(v.grad), v.grad_var is None, v._loss_scale) for v in (x, h, y)]

    assert outcome(True) == outcome(False)
