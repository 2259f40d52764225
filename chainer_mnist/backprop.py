"""Chainer's backpropagation with less work. It changes no bit of a gradient.

Without double backpropagation, nobody sees a graph of the gradients. So the functions of a
multi-layer perceptron take and give bare arrays here, and no variables. All others go through their
own ``backward``.
"""

import collections
import heapq

from chainer_mnist import functions
from chainer_mnist.graph import settings_are_plain, variable

import chainer
import numpy
from chainer import Variable, _backprop_utils, backend
from chainer.variable import _check_grad_type

_chainer_backward = Variable.backward


def backward(self, retain_grad=False, enable_double_backprop=False, loss_scale=None):
    """Computes gradients, as ``chainer.Variable.backward`` does.

    It does so itself for a loss on the CPU. All else goes through Chainer: double backpropagation,
    ``retain_grad``, loss scaling, a gradient to start from, hooks, the debug mode.

    Args:
        self (chainer.Variable): The loss.
        retain_grad (bool): Whether the variables in between keep their gradients.
        enable_double_backprop (bool): Whether the gradients have a graph.
        loss_scale (float): What to multiply the gradients with.

    """
    loss = self._data[0]
    if (
        type(loss) is not numpy.ndarray
        or loss.shape != ()
        or self._grad is not None
        or self._grad_var is not None
        or retain_grad
        or enable_double_backprop
        or loss_scale is not None
        or not settings_are_plain()
    ):
        _chainer_backward(self, retain_grad, enable_double_backprop, loss_scale)
        return
    with chainer.using_config('enable_backprop', False):
        _Sweep().run(self._node, numpy.ones_like(loss))


class _Sweep:
    """A way back through a graph. A gradient is an array or a variable."""

    def __init__(self):
        self._grads = {}  # by node
        self._heap = []
        self._seen = set()
        self._without = set()  # nodes that got no gradient

    def run(self, node, grad):
        """Visits the functions, the last first, and leaves the gradients in the leaves."""
        self._add(node, grad)
        while self._heap:
            function = heapq.heappop(self._heap)[2]
            inputs = function.inputs
            indexes = tuple([i for i, x in enumerate(inputs) if x._requires_grad])
            grads = self._lean_backward(function, indexes)
            if grads is None:
                self._backward(function, indexes)
            else:
                for i, grad in zip(indexes, grads):
                    self._add(inputs[i], grad)
        for node, grad in self._grads.items():  # the nodes that no function made
            leaf = node._variable()
            if leaf is None:
                continue
            if type(grad) is numpy.ndarray:
                leaf._grad, leaf._grad_var = grad, None
            else:
                leaf._set_grad_var_without_check(grad)
            leaf._loss_scale = None

    def _add(self, node, grad):
        """Adds a gradient to that of a node, and has the function visited that made the node."""
        grads, function = self._grads, node._creator_node
        if node in grads:
            grads[node] = _sum(grads[node], grad)
        elif function is not None:
            grads[node] = grad
            if function not in self._seen:
                # The higher the rank, the sooner it is visited, and among equals the first.
                heapq.heappush(self._heap, (-function.rank, len(self._seen), function))
                self._seen.add(function)
        else:
            before = self._grad_before(node)
            grads[node] = grad if before is None else _sum(before, grad)

    def _grad_before(self, node):
        """Takes the gradient that a leaf has already."""
        node._check_old_style_gradient()
        leaf = node._variable()
        if leaf is None or (leaf._grad is None and leaf._grad_var is None):
            return None
        return _backprop_utils._grad_var_from_alive_node(node)

    def _lean_backward(self, function, indexes):
        """Computes gradients as arrays. ``None`` if that takes the function's own ``backward``."""
        node = function.outputs[0]()
        grad = self._grads.get(node)
        if grad is None or function._local_function_hooks:
            return None
        if type(grad) is not numpy.ndarray:
            grad = grad._data[0]
        grads = functions.backward(function, indexes, node._data, grad)
        if grads is not None:
            del self._grads[node]
        return grads

    def _backward(self, function, indexes):
        """Has a function compute its gradients, as Chainer does."""
        outputs = [y() for y in function.outputs]
        out_grad = tuple([self._pop(y) for y in outputs])
        if not indexes:
            return
        data = tuple([x.data for x in function.inputs])
        out_data = tuple([None if g is None else g.raw_array for g in out_grad])
        hooks = (function._local_function_hooks or {}).values()
        with chainer.using_device(backend.get_device_from_array(*data, *out_data)):
            for hook in hooks:
                hook.backward_preprocess(function, data, out_data)
            in_grad = collections.OrderedDict()
            for i in indexes:
                x = function.inputs[i]
                if x not in in_grad:
                    in_grad[x] = self._pop_so_far(x)
            _backprop_utils.backprop_step(function, indexes, out_grad, in_grad, False)
            for hook in hooks:
                hook.backward_postprocess(function, data, out_data)
        for x, grads in in_grad.items():
            if not grads:
                self._without.add(x)
            for grad in grads:
                _check_grad_type(function, x, True, grad.raw_array)
                self._add(x, grad)

    def _pop_so_far(self, node):
        if node in self._grads:
            grad = self._grads.pop(node)
        else:
            grad = self._grad_before(node) if node._creator_node is None else None
        return [] if grad is None else [_as_variable(grad)]

    def _pop(self, node):
        if node is None or node._creator_node is None:
            return None
        if node in self._grads:
            return _as_variable(self._grads.pop(node))
        if node in self._without:
            return None
        return _backprop_utils._grad_var_from_alive_node(node)


def _as_variable(grad):
    return variable(grad, True) if type(grad) is numpy.ndarray else grad


def _sum(one, other):
    return chainer.functions.add(_as_variable(one), _as_variable(other))
