"""Chainer's Adam, faster on the CPU. It changes no bit."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from chainer_mnist.fast import kernels
from chainer_mnist.fast.kernels import is_float32

import numpy
from chainer import Link, Parameter, optimizers
from chainer.optimizers import adam
from numpy import ndarray

Updates = list[tuple[Any, list[ndarray]]]


class AdamRule(adam.AdamRule):
    """Chainer's rule of Adam, in place where it is the plain Adam on float32 arrays."""

    def update_core_cpu(self, param: Parameter) -> None:
        """Updates a parameter. Its gradient may be ``None``."""
        arrays = _get_arrays(param, self)
        if arrays is None or not _is_vanilla(self.hyperparam):
            super().update_core_cpu(param)
        else:
            _update([(self, arrays)], self.hyperparam)


class Adam(optimizers.Adam):
    """Chainer's Adam with less to do for each parameter.

    The operations and their order are Chainer's, and so are the bits of the result and the
    snapshot. Whatever is not plain goes through Chainer's ``update``: derived classes, hooks, other
    or disabled rules, hyperparameters of a single parameter, loss scaling, a parameter without a
    gradient, the first update, arrays of other kinds, methods that somebody has replaced. That is
    looked up at each update, so that it can change at any time.
    """

    def create_update_rule(self) -> AdamRule:
        """Makes the rule of one parameter."""
        return AdamRule(self.hyperparam)

    def update(self, lossfun: Callable | None = None, *args: Any, **kwds: Any) -> None:
        """Updates the parameters, as ``chainer.optimizers.Adam.update`` does."""
        if type(self) is not Adam or not vars(self).keys() <= PLAIN:
            super().update(lossfun, *args, **kwds)
            return
        if lossfun is not None:
            loss = lossfun(*args, **kwds)
        params = list(self.target.params())
        if lossfun is not None:
            _clear_grads(self.target, params)
            loss.backward()
            del loss
        updates = self._get_updates(params)
        if updates is None:
            super().update()
            return
        self.t += 1
        for rule, _ in updates:
            rule.t += 1
        _update(updates, self.hyperparam)

    def _get_updates(self, params: list[Parameter]) -> Updates | None:
        """Finds the rule and the arrays of each parameter. ``None`` leaves all to Chainer."""
        methods = _get_methods(optimizers.Adam), _get_rule_methods(AdamRule), Parameter.update
        if methods != METHODS:
            return None
        if self._hookable is None or _has_hooks(self) or not _is_vanilla(self.hyperparam):
            return None
        updates, own = [], {'_parent': self.hyperparam}
        for param in params:
            rule = param.update_rule
            if type(rule) is not AdamRule or len(vars(rule)) != RULE_SIZE or not rule.enabled:
                return None
            if type(param) is not Parameter or 'update' in vars(param) or _has_hooks(rule):
                return None
            arrays = _get_arrays(param, rule)
            if arrays is None or vars(rule.hyperparam) != own:
                return None
            updates.append((rule, arrays))
        return updates


def _clear_grads(link: Link, params: list[Parameter]) -> None:
    """Does what ``link.cleargrads`` does, given its parameters."""
    if getattr(link.cleargrads, '__func__', None) is not _chainer_cleargrads:
        link.cleargrads()
        return
    for param in params:
        param.cleargrad()


def _has_hooks(owner: Any) -> bool:
    hookable = owner._hookable
    return hookable._pre_update_hooks or hookable._post_update_hooks


def _is_vanilla(h: Any) -> bool:
    """Says whether Adam is the one of the paper. Any other kind of number can widen the arrays.

    Chainer refuses an ``eps`` that float32 rounds to 0.
    """
    numbers = h.alpha, h.beta1, h.beta2, h.eps, h.eta
    if set(map(type, numbers)) != {float} or h.eps <= TINY:
        return False
    return h.eta == 1 and h.weight_decay_rate == 0 and not h.amsgrad and not h.adabound


def _get_arrays(param: Parameter, rule: AdamRule) -> list[ndarray] | None:
    """Finds gradient, parameter, m and v. ``None`` if one is missing or of another kind."""
    state, p = rule.state, param._data[0]
    if not state or param._layout is not None or param._loss_scale is not None:
        return None
    g = param._grad if param._grad_var is None else param.grad
    m, v = state.get('m'), state.get('v')
    if not is_float32(g, p, m, v) or not g.shape == p.shape == m.shape == v.shape != ():
        return None
    return [g, p, m, v]


def _update(updates: Updates, h: Any) -> None:
    # NumPy raises or warns where its user wants to know of an underflow.
    kernel = kernels.adam if numpy.geterr()['under'] == 'ignore' else kernels.numpy_adam
    constants: dict[int, Any] = {}  # by t, which is the same but in odd snapshots
    for rule, arrays in updates:
        if rule.t not in constants:
            numbers = adam._learning_rate(h, rule.t), 1 - h.beta1, 1 - h.beta2, h.eps
            constants[rule.t] = numpy.array(numbers, 'f')
            if kernel is kernels.numpy_adam:  # arrays of shape () are faster than numbers
                constants[rule.t] = [constants[rule.t][i, ...] for i in range(4)]
        flat = arrays if arrays[0].ndim == 1 else [a.ravel() for a in arrays]
        if kernel(*flat, constants[rule.t]):
            kernels.numpy_adam(*flat, constants[rule.t])


_chainer_cleargrads = Link.cleargrads
TINY = float(numpy.finfo('f').tiny)
PLAIN = {*vars(optimizers.Adam()), 'target', 't', 'epoch', '_hookable', '_loss_scaling_isnan'}
RULE_SIZE = len(vars(AdamRule()))
_get_methods = operator.attrgetter('update', 'call_hooks', 'reallocate_cleared_grads')
_get_rule_methods = operator.attrgetter('update', 'update_core', 'update_core_cpu', 'alpha_t')
METHODS = _get_methods(optimizers.Adam), _get_rule_methods(AdamRule), Parameter.update
