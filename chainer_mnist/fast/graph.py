"""Chainer's computational graph with less work in Python. It changes neither a bit nor the graph.

What is not the usual case goes through Chainer: hooks, the debug mode, ``static_graph``, memory
layouts, lazy sums, double backpropagation, arrays of other kinds. That is looked up in each call, so
that it can change at any time.
"""

from __future__ import annotations

import heapq
import weakref
from typing import Any

from chainer_mnist.fast import functions

import chainer
import numpy
from chainer import FunctionNode, Variable, configuration
from chainer._backprop_utils import GradTable, backprop_step
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
    nodes, arrays, requires_grad, rank = [], [], False, 0
    for x in inputs:
        array = x._data[0] if isinstance(x, Variable) else x
        if type(array) is not ndarray:
            return _chainer_apply(self, inputs)
        node = _make_node(array, False) if x is array else x._node
        if node._layout is not None:
            return _chainer_apply(self, inputs)
        requires_grad = requires_grad or node._requires_grad
        rank = node._rank if node._rank > rank else rank
        nodes.append(node)
        arrays.append(array)
    result = functions.forward(self, arrays)
    results = (result,)
    self._input_layouts = (None,) * len(nodes)
    if result is None:
        if chainer.config.type_check:
            self._check_data_type_forward(tuple(arrays))
        self._input_indexes_to_retain = self._output_indexes_to_retain = None
        results = self.forward(tuple(arrays))
        if not _are_plain(self, results):
            return _chainer_apply(self, inputs)
    has_graph = _local.__dict__.get('enable_backprop', _global['enable_backprop'])
    outputs, references = [], []
    for y in results:
        output = _make_variable(y, requires_grad)
        outputs.append(output)
        if has_graph:
            output._node._creator_node = self
            output._node._rank = rank + 1
            references.append(weakref.ref(output._node))
    self._output_layouts = (None,) * len(outputs)
    self._output_count = len(outputs)
    if has_graph:
        self.inputs, self.rank, self.outputs = tuple(nodes), rank, tuple(references)
        for i in self._input_indexes_to_retain or ():
            nodes[i]._data = arrays[i]
        indexes = self._output_indexes_to_retain
        if indexes is not None:
            for i in indexes:
                outputs[i]._node._data = results[i]
            self._retained_output_data = tuple([results[i] for i in indexes])
    return tuple(outputs)


def _are_plain(function: FunctionNode, results: Any) -> bool:
    """Says whether what ``forward`` returned needs neither an error nor a layout."""
    if type(results) is not tuple or function._output_layouts is not None:
        return False
    return set(map(type, results)) == {ndarray} and not (function.is_elementwise and results[1:])


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
        or args
        or any(kwargs.values())
        or not _is_default_config()
    ):
        _chainer_backward(self, *args, **kwargs)
    else:
        _backprop(self._node, numpy.array(1, loss.dtype))


def _backprop(node: VariableNode, grad: ndarray) -> None:
    """Visits the functions, the last first, and leaves the gradients in the leaves."""
    grads = GradTable(accumulate_grad_inputs=True)
    grads.accumulate(node, grad)
    heap: list[tuple[int, int, FunctionNode]] = []
    seen: set[FunctionNode] = set()
    leaves: set[VariableNode] = set()
    nodes = [node]
    while True:
        for x in nodes:
            function = x._creator_node
            if function is None:
                leaves.add(x)
            elif function not in seen:
                # The higher the rank, the sooner it is visited, and among equals the first.
                heapq.heappush(heap, (-function.rank, len(seen), function))
                seen.add(function)
        if not heap:
            break
        function = heapq.heappop(heap)[2]
        nodes = _step(function, grads) or _chainer_step(function, grads)
    for x in leaves:
        leaf, gx = x._variable(), grads.grads[x][0]
        if leaf is not None:
            leaf._grad, leaf._grad_var = (gx, None) if type(gx) is ndarray else (gx.array, gx)
            leaf._loss_scale = None


def _step(function: FunctionNode, grads: GradTable) -> list[VariableNode]:
    """Computes gradients as arrays, if that can be done. Returns the nodes that got one."""
    y = function.outputs[0]()
    gy = grads.grads.get(y)
    found = functions.backward(function, y, gy[0]) if gy else None
    if not found:
        return []
    del grads.grads[y]
    for x, gx in found:
        if x in grads.grads or getattr(x._variable(), '_grad', None) is not None:
            for before in grads.get_as_list(x):
                gx = chainer.functions.add(before, gx).array
        grads.grads[x] = [gx]
    return [x for x, _ in found]


def _chainer_step(function: FunctionNode, grads: GradTable) -> list[VariableNode]:
    """Has a function compute its gradients, as Chainer does. Returns the nodes that got one."""
    inputs, out_grad = function.inputs, []
    for y in [y() for y in function.outputs]:
        gy = None if y is None or y._creator_node is None else grads.pop(y)
        out_grad.append(_as_variable(gy))
    indexes = tuple([i for i, x in enumerate(inputs) if x._requires_grad])
    if not indexes:
        return []
    in_grad = {inputs[i]: grads.get_as_list(inputs[i]) for i in indexes}
    for gx in in_grad.values():
        gx[:] = map(_as_variable, gx)
    with chainer.using_config('enable_backprop', False):
        backprop_step(function, indexes, tuple(out_grad), in_grad, False)
    for x, gx in in_grad.items():
        if gx:
            _check_grad_type(function, x, True, gx[0].raw_array)
    return [x for x, gx in in_grad.items() if gx]


def _as_variable(grad: ndarray | Variable | None) -> Variable | None:
    return _make_variable(grad, True) if type(grad) is ndarray else grad


PATCHES = (
    (FunctionNode, 'apply', _chainer_apply, apply),
    (Variable, 'backward', _chainer_backward, backward),
)
