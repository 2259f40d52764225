"""Chainer's computational graph with less work in Python. It changes neither a bit nor the graph.

What is not the usual case goes through Chainer: hooks, the debug mode, ``static_graph``, memory
layouts, lazy sums, double backpropagation, arrays of other kinds. That is looked up in each call, so
that it can change at any time.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Iterable
from typing import Any

from chainer_mnist.fast import functions

import chainer
import numpy
from chainer import FunctionNode, Variable, configuration
from chainer._backprop import _backprop_to_all
from chainer._backprop_utils import GradTable, _reduce, backprop_step
from chainer.variable import VariableNode, _check_grad_type
from numpy import ndarray

_chainer_apply = FunctionNode.apply
_chainer_backward = Variable.backward
_check_layout_forward = FunctionNode.check_layout_forward

# Settings of this thread, and of all
_local = configuration.config._local
_global = configuration.global_config.__dict__


def _is_default_config() -> bool:
    """Says whether neither a hook nor a setting is on that only Chainer's own code handles."""
    get = _local.__dict__.get
    return not (
        get('debug', _global['debug'])
        or get('schedule_func', _global['schedule_func'])
        or get('lazy_grad_sum', _global['lazy_grad_sum'])
        or chainer.get_function_hooks()
    )


def apply(self: FunctionNode, inputs: tuple[Variable | ndarray, ...]) -> tuple[Variable, ...]:
    """Applies a function and grows the graph, as ``FunctionNode.apply`` does."""
    if (
        self._output_layouts is not None  # it has been applied before
        or self._local_function_hooks
        or getattr(self.check_layout_forward, '__func__', None) is not _check_layout_forward
        or not _is_default_config()
        or not inputs
    ):
        return _chainer_apply(self, inputs)
    nodes, arrays = [], []
    for x in inputs:
        array = x._data[0] if isinstance(x, Variable) else x
        if type(array) is not ndarray:
            return _chainer_apply(self, inputs)
        node = _make_node(array, False) if x is array else x._node
        if node._layout is not None:
            return _chainer_apply(self, inputs)
        nodes.append(node)
        arrays.append(array)
    results = functions.forward(self, arrays)
    self._input_layouts = (None,) * len(nodes)
    if results is None:
        if chainer.config.type_check:
            self._check_data_type_forward(tuple(arrays))
        self._input_indexes_to_retain = self._output_indexes_to_retain = None
        results = self.forward(tuple(arrays))
        if not _are_plain(self, results):
            return _chainer_apply(self, inputs)
    requires_grad = any([node._requires_grad for node in nodes])
    outputs = tuple([_make_variable(y, requires_grad) for y in results])
    self._output_layouts = (None,) * len(outputs)
    self._output_count = len(outputs)
    if _local.__dict__.get('enable_backprop', _global['enable_backprop']):
        self.inputs = tuple(nodes)
        self.rank = max([node._rank for node in nodes])
        self.outputs = tuple([weakref.ref(y._node) for y in outputs])
        for y in outputs:
            y._node.creator_node = self
        for i in self._input_indexes_to_retain or ():
            nodes[i]._data = arrays[i]
        indexes = self._output_indexes_to_retain
        if indexes is not None:
            for i in indexes:
                outputs[i]._node._data = results[i]
            self._retained_output_data = tuple([results[i] for i in indexes])
    return outputs


def _are_plain(function: FunctionNode, results: Any) -> bool:
    """Says whether what ``forward`` returned needs neither an error nor a layout."""
    return (
        type(results) is tuple
        and function._output_layouts is None
        and not (len(results) > 1 and function.is_elementwise)
        and all([type(y) is ndarray for y in results])
    )


def _make_node(array: ndarray, requires_grad: bool) -> VariableNode:
    node = VariableNode.__new__(VariableNode)
    node._variable = type(None)  # called, it returns what a weak reference to nothing does
    node._requires_grad = requires_grad
    node.name = None
    node.dtype = array.dtype
    node.shape = array.shape
    return node


def _make_variable(array: ndarray, requires_grad: bool) -> Variable:
    """Makes a variable and its node, as ``chainer.Variable`` does, without its checks."""
    variable = Variable.__new__(Variable)
    variable._requires_grad = requires_grad
    variable._loss_scale = variable._grad_var = variable._device = None
    variable._grad = variable._layout = None
    variable._grad_valid = True
    variable._data = [array]
    variable._node = _make_node(array, requires_grad)
    variable._node._variable = weakref.ref(variable)
    return variable


def backward(self: Variable, *args: Any, **kwargs: Any) -> None:
    """Computes the gradients of all leaves, as ``Variable.backward`` does."""
    loss = self._data[0]
    if (
        type(loss) is not ndarray
        or loss.shape != ()
        or self._grad is not None
        or self._grad_var is not None
        or args
        or any(kwargs.values())
        or not _is_default_config()
    ):
        _chainer_backward(self, *args, **kwargs)
    else:
        with chainer.using_config('enable_backprop', False):
            _backprop(self._node, numpy.ones_like(loss))


def _backprop(node: VariableNode, grad: ndarray) -> None:
    """Visits the functions, the last first, and leaves the gradients in the leaves.

    A gradient is an array or a variable.
    """
    grads = GradTable(accumulate_grad_inputs=True)
    heap: list[tuple[int, int, FunctionNode]] = []
    seen: set[FunctionNode] = set()
    leaves: set[VariableNode] = set()

    def push(x: VariableNode) -> None:
        function = x._creator_node
        if function is None:
            leaves.add(x)
        elif function not in seen:
            # The higher the rank, the sooner it is visited, and among equals the first.
            heapq.heappush(heap, (-function.rank, len(seen), function))
            seen.add(function)

    grads.accumulate(node, grad)
    push(node)
    while heap:
        function = heapq.heappop(heap)[2]
        node = function.outputs[0]()
        gy = grads.grads.get(node)
        found = functions.backward(function, node, gy[0]) if gy else None
        if found is None:
            for x in _chainer_step(function, grads):
                push(x)
        else:
            grads.pop(node)
            for x, grad in found:
                gx = grads.get_as_list(x)
                gx.append(grad)
                _reduce(gx)
                push(x)
    for x in leaves:
        leaf, gx = x._variable(), grads.pop(x)
        if leaf is not None:
            leaf._set_grad_var_without_check(_as_variable(gx))
            leaf._loss_scale = None


def _chainer_step(function: FunctionNode, grads: GradTable) -> Iterable[VariableNode]:
    """Has a function compute its gradients, as Chainer does, and returns the nodes that got one."""
    inputs, outputs = function.inputs, [y() for y in function.outputs]
    indexes = tuple([i for i, x in enumerate(inputs) if x._requires_grad])
    out_grad = tuple(
        [_as_variable(grads.pop(y)) if y is not None and y._creator_node else None for y in outputs]
    )
    if not indexes:
        return []
    in_grad = {inputs[i]: grads.get_as_list(inputs[i]) for i in indexes}
    for gx in in_grad.values():
        gx[:] = [_as_variable(grad) for grad in gx]
    backprop_step(function, indexes, out_grad, in_grad, False)
    for x, gx in in_grad.items():
        for grad in gx:
            _check_grad_type(function, x, True, grad.raw_array)
    return [x for x, gx in in_grad.items() if gx]


def _as_variable(grad: ndarray | Variable | None) -> Variable | None:
    return _make_variable(grad, True) if type(grad) is ndarray else grad


PATCHES = (
    (FunctionNode, 'apply', _chainer_apply, apply),
    (Variable, 'backward', _chainer_backward, backward),
)
