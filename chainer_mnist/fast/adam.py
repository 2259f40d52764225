"""Chainer's Adam, faster on the CPU. It changes no bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainer_mnist.fast import functions, kernels
from chainer_mnist.fast.kernels import is_float32

import numpy
from chainer import Parameter, optimizers
from chainer.optimizer import GradientMethod, Optimizer, UpdateRule
from chainer.optimizers import adam
from numpy import ndarray

class AdamRule(adam.AdamRule):
    """Chainer's rule of Adam, in place where it is the plain Adam on float32 arrays."""

    def update_core_cpu(self, param: Parameter) -> None:
        """Updates a parameter. Its gradient may be ``None``."""
        arrays = _get_arrays(param, self)
        if arrays is not None and _is_vanilla(self.hyperparam):
            _update([(self, arrays)], self.hyperparam)
        else:
            super().update_core_cpu(param)


class Adam(optimizers.Adam):
    """Chainer's Adam with less to do for each parameter.

    The operations and their order are Chainer's, and so are the bits of the result and the
    snapshot. Whatever is not plain goes through Chainer: hooks, rules that are disabled or others',
    hyperparameters of a single parameter, loss scaling, a parameter without a gradient, the first
    update, arrays of other kinds, methods that are overridden or replaced. That is looked up at each
    update, so that it can change at any time.
    """

    def create_update_rule(self) -> AdamRule:
        """Makes the rule of one parameter."""
        return AdamRule(self.hyperparam)

    def update(self, lossfun: Callable | None = None, *args: Any, **kwds: Any) -> None:
        """Updates the parameters, as ``chainer.optimizers.Adam.update`` does."""
        if lossfun is not None:
            loss = lossfun(*args, **kwds)
            if getattr(self, '_use_cleargrads', True):
                self.target.cleargrads()
            else:
                self.target.zerograds()
            loss.backward(loss_scale=self._loss_scale)
            del loss
        updates = self._get_updates()
        if updates is None:
            super().update()
            return
        self.t += 1
        for rule, _ in updates:
            rule.t += 1
        _update(updates, self.hyperparam)

    def _get_updates(self) -> list[tuple[AdamRule, list[ndarray]]] | None:
        """Finds the rule and the arrays of each parameter. ``None`` leaves all to Chainer."""
        hooks, h = self._hookable, self.hyperparam
        if hooks is None or hooks._pre_update_hooks or hooks._post_update_hooks:
            return None
        if type(self) is not Adam or not vars(self).keys() <= OPTIMIZER or not _is_vanilla(h):
            return None
        for cls, methods in METHODS.items():
            if vars(cls) != methods:
                return None
        updates = []
        for param in self.target.params():
            rule = param.update_rule
            if type(param) is not Parameter or 'update' in vars(param) or param._loss_scale is not None:
                return None
            if type(rule) is not AdamRule or len(vars(rule)) != len(RULE) or not rule.enabled:
                return None
            hooks = rule._hookable
            if hooks._pre_update_hooks or hooks._post_update_hooks:
                return None
            arrays = _get_arrays(param, rule)
            if arrays is None or vars(rule.hyperparam) != {'_parent': h}:
                return None
            updates.append((rule, arrays))
        return updates


def _is_vanilla(h: Any) -> bool:
    """Says whether Adam is the one of the paper. Any other kind of number can widen the arrays."""
    return (
        type(h.alpha) is type(h.beta1) is type(h.beta2) is type(h.eps) is type(h.eta) is float
        and h.eps > TINY  # Chainer refuses one that float32 takes for 0
        and h.eta == 1
        and h.weight_decay_rate == 0
        and not h.amsgrad
        and not h.adabound
    )


def _get_arrays(param: Parameter, rule: AdamRule) -> list[ndarray] | None:
    """Finds gradient, parameter, m and v. ``None`` if one is missing or of another kind."""
    state, p = rule.state, param._data[0]
    if not state or param._layout is not None:
        return None
    grad = param._grad if param._grad_var is None else param.grad
    arrays = [grad, p, state.get('m'), state.get('v')]
    if not is_float32(*arrays) or not p.shape:
        return None
    if not p.shape == arrays[0].shape == arrays[2].shape == arrays[3].shape:
        return None
    return arrays


def _update(updates: list[tuple[AdamRule, list[ndarray]]], h: Any) -> None:
    # NumPy raises or warns where its user wants to know of an underflow.
    kernel = kernels.adam if numpy.geterr()['under'] == 'ignore' else numpy_adam
    constants: dict[int, list[ndarray]] = {}  # by t, which is the same but in odd snapshots
    for rule, arrays in updates:
        if rule.t not in constants:
            numbers = adam._learning_rate(h, rule.t), 1 - h.beta1, 1 - h.beta2, h.eps
            constants[rule.t] = [numpy.array(number, 'f') for number in numbers]
        g, p, m, v = arrays if arrays[0].ndim == 1 else [a.reshape(-1) for a in arrays]
        if not kernel(g, p, m, v, *constants[rule.t]):
            numpy_adam(g, p, m, v, *constants[rule.t])


TINY = float(numpy.finfo('f').tiny)
numpy_adam = kernels.adam
CLASSES = Optimizer, GradientMethod, optimizers.Adam, UpdateRule, adam.AdamRule, Parameter
METHODS = {cls: dict(vars(cls)) for cls in CLASSES}
RULE = vars(AdamRule())
OPTIMIZER = {*vars(optimizers.Adam()), 'target', 't', 'epoch', '_hookable', '_loss_scaling_isnan'}
