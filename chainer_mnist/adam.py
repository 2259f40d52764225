"""Chainer's Adam, faster on the CPU. It changes no bit."""

import contextlib
import functools

from chainer_mnist.functions import is_float32

import numpy
from chainer import Parameter, optimizers
from chainer.optimizers import adam

# Elements that NumPy works on at a time: five arrays of them stay in a cache of 1 MiB.
BLOCK = 40960

# What Numba has made of ``_one_pass``, if it has.
_compiled = None


class AdamRule(adam.AdamRule):
    """Chainer's rule of Adam, worked out in place where it is the plain Adam on float32 arrays."""

    def update_core_cpu(self, param):
        """Updates a parameter, as ``chainer.optimizers.adam.AdamRule.update_core_cpu`` does.

        Args:
            param (chainer.Parameter): The parameter. Its gradient may be ``None``.

        """
        arrays = _arrays(param, self)
        if arrays is not None and _is_plain(self.hyperparam):
            _update(arrays, _constants(self.hyperparam, self.alpha_t))
        else:
            super().update_core_cpu(param)


class Adam(optimizers.Adam):
    """Chainer's Adam with less to do for each parameter.

    The operations and their order are Chainer's, and so are the bits of the result and the
    snapshot. Whatever is not plain is left to Chainer: hooks, rules that are disabled or others',
    hyperparameters of a single parameter, loss scaling, a parameter without a gradient, the first
    update, arrays of another kind or on another device. That is looked up at each update, so that
    it can change at any time.
    """

    def create_update_rule(self):
        """Makes the rule of one parameter.

        Returns:
            AdamRule: The rule.

        """
        return AdamRule(self.hyperparam)

    def update(self, lossfun=None, *args, **kwds):
        """Updates the parameters, as ``chainer.optimizers.Adam.update`` does.

        Args:
            lossfun (callable): Computes the loss. ``None`` takes the gradients that are there.
            args: Its arguments.
            kwds: Its keyword arguments.

        """
        if lossfun is not None:
            loss = lossfun(*args, **kwds)
            if getattr(self, '_use_cleargrads', True):
                self.target.cleargrads()
            else:
                self.target.zerograds()
            loss.backward(loss_scale=self._loss_scale)
            del loss
        steps = self._plain_steps()
        if steps is None:
            super().update()
            return
        self.t += 1
        constants = {}  # by t, which is the same for all parameters but in odd snapshots
        for rule, arrays in steps:
            rule.t += 1
            if rule.t not in constants:
                constants[rule.t] = _constants(self.hyperparam, rule.alpha_t)
            _update(arrays, constants[rule.t])

    def _plain_steps(self):
        """Finds the rule and the arrays of each parameter. ``None`` leaves all to Chainer."""
        hookable = self._hookable
        if hookable is None or hookable._pre_update_hooks or hookable._post_update_hooks:
            return None
        if self._loss_scale is not None or not _is_plain(self.hyperparam):
            return None
        steps = []
        for param in self.target.params():
            rule = param.update_rule
            arrays = _arrays(param, rule) if _needs_no_care(param, rule, self.hyperparam) else None
            if arrays is None:
                return None
            steps.append((rule, arrays))
        return steps


def _is_plain(hyperparam):
    """Says whether Adam is the one of the paper. Any other kind of number can widen the arrays."""
    h = hyperparam
    numbers = h.alpha, h.beta1, h.beta2, h.eps, h.eta
    return (
        all(type(number) is float for number in numbers)
        and h.eps > numpy.finfo('f').tiny  # Chainer refuses one that float32 takes for 0
        and h.eta == 1
        and h.weight_decay_rate == 0
        and not h.amsgrad
        and not h.adabound
    )


def _needs_no_care(param, rule, hyperparam):
    """Says whether ``param.update()`` would do nothing but count and call ``update_core_cpu``."""
    return (
        type(param) is Parameter
        and type(rule) is AdamRule
        and rule.enabled
        and not rule._hookable._pre_update_hooks
        and not rule._hookable._post_update_hooks
        and rule.hyperparam.__dict__ == {'_parent': hyperparam}
        and param._loss_scale is None
        and param._layout is None
    )


def _arrays(param, rule):
    """Finds parameter, gradient and both moments. ``None`` if one is missing or of another kind."""
    array, state = param.array, rule.state
    if array is None or not state or array.ndim == 0:
        return None
    arrays, shape = (array, param.grad, state.get('m'), state.get('v')), array.shape
    for a in arrays:
        if not is_float32(a) or a.shape != shape:
            return None
    return arrays


def _constants(hyperparam, alpha_t):
    """Makes the numbers of one update. Arrays of shape () are what NumPy takes fastest."""
    numbers = alpha_t, 1 - hyperparam.beta1, 1 - hyperparam.beta2, hyperparam.eps
    return [numpy.array(number, 'f') for number in numbers]


def _update(arrays, constants):
    if _compiled:
        p, g, m, v = arrays
        if p.flags.carray and g.flags.carray and m.flags.carray and v.flags.carray:
            if p.ndim > 1:
                p, g, m, v = p.reshape(-1), g.reshape(-1), m.reshape(-1), v.reshape(-1)
            _compiled(p, g, m, v, *constants)
            return
    for block in _blocks(*arrays):
        _update_block(*block, *constants)


def _update_block(p, g, m, v, alpha_t, rate1, rate2, eps):
    # m += rate1 * (g - m)
    s = g - m
    s *= rate1
    m += s
    # v += rate2 * (g * g - v)
    numpy.multiply(g, g, s)
    s -= v
    s *= rate2
    v += s
    # p -= alpha_t / (sqrt(v) + eps) * m
    numpy.sqrt(v, s)
    s += eps
    numpy.divide(alpha_t, s, s)
    s *= m
    p -= s


def _blocks(*arrays):
    # In another order than C's, a flat array is a copy, and what is done to it would be lost.
    if arrays[0].size <= BLOCK or not all(a.flags.c_contiguous for a in arrays):
        return [arrays]
    flat = [a.reshape(-1) for a in arrays]
    return [[a[i : i + BLOCK] for a in flat] for i in range(0, flat[0].size, BLOCK)]


def _one_pass(p, g, m, v, alpha_t, rate1, rate2, eps):
    """Does for each element what ``_update_block`` does, one element after the other."""
    for i in range(p.size):
        m[i] += rate1[()] * (g[i] - m[i])
        v[i] += rate2[()] * (g[i] * g[i] - v[i])
        p[i] -= alpha_t[()] / (numpy.sqrt(v[i]) + eps[()]) * m[i]


@functools.cache
def compile_with_numba():
    """Compiles Adam, so that it goes over the arrays once, where Numba is installed and works.

    It takes a quarter of a second, half of it to import Numba. Numba keeps what it has compiled in
    a cache, where it finds a directory to write to.
    """
    global _compiled
    for cache in (True, False):
        with contextlib.suppress(Exception):  # whatever Numba, LLVM and the disk raise
            compiled = _compile(cache)
            if _gives_the_same_bits(compiled):
                _compiled = compiled
            return


def _compile(cache):
    import numba

    array, number = numba.float32[::1], numba.types.Array(numba.float32, 0, 'C')
    signature = (array,) * 4 + (number,) * 4
    return numba.njit([signature], error_model='numpy', cache=cache)(_one_pass)


def _gives_the_same_bits(compiled):
    """Tries a compiler that could have taken a product and a sum for one operation."""
    random = numpy.random.RandomState(0)
    constants = [numpy.array(number, 'f') for number in (0.001, 0.1, 0.001, 1e-8)]
    ours = random.standard_normal((4, 1000)).astype('f')
    numpy.abs(ours[3], out=ours[3])  # v
    its = ours.copy()
    _update_block(*ours, *constants)
    compiled(*its, *constants)
    return ours.tobytes() == its.tobytes()
