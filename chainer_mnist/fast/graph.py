"""Chainer's computational graph with less work in Python. It changes neither a bit nor the graph.

What is not the usual case goes through Chainer: hooks, the debug mode, ``static_graph``, memory
layouts, double backpropagation, arrays of other kinds. That is looked up in each call, so that it
can change at any time.
"""

from __future__ import annotations

import heapq
import weakref
from typing import Any

from chainer_mnist.fast import kernels

import chainer
import numpy
from chainer import FunctionNode, Variable, configuration
from chainer._backprop import _backprop_to_all
from chainer._backprop_utils import GradTable, backprop_step
from chainer.variable import VariableNode, _check_grad_type
from numpy import ndarray

_chainer_apply, _chainer_backward = FunctionNode.apply, Variable.backward
_check_layout_forward = FunctionNode.check_layout_forward

# The settings of this thread, and of all
_local = configuration.config._local
_global = configuration.global_config.__dict__


def _is_default_config() -> bool:
    """Says whether neither a hook nor a setting is on that only Chainer's own code handles."""
    get = _local.__dict__.get
    if get('debug', _global['debug']) or get('schedule_func', _global['schedule_func']):
        return False
    return not chainer.get_function_hooks()


def apply(self: FunctionNode, inputs: tuple[Any, ...]) -> tuple[Variable, ...]:
    """Applies a function and grows the graph, as ``FunctionNode.apply`` does."""
    is_new = self._output_layouts is None and not self._local_function_hooks
    has_layouts = type(self).check_layout_forward is not _check_layout_forward
    if not inputs or not is_new or has_layouts or not _is_default_config():
        return _chainer_apply(self, inputs)
    nodes, arrays, requires_grad, rank = [], [], False, 0
    for x in inputs:
        array = x._data[0] if isinstance(x, Variable) else x
        if type(array) is not ndarray:
            return _chainer_apply(self, inputs)
        node = _make_variable(array, False)._node if x is array else x._node
        requires_grad = requires_grad or node._requires_grad
        rank = node._rank if node._rank > rank else rank
        nodes.append(node)
        arrays.append(array)
    results = kernels.forward(self, arrays)
    self._input_layouts = (None,) * len(nodes)
    if results is None:
        if chainer.config.type_check:
            self._check_data_type_forward(tuple(arrays))
        self._input_indexes_to_retain = self._output_indexes_to_retain = None
        results = self.forward(tuple(arrays))
        is_plain = type(results) is tuple and set(map(type, results)) == {ndarray}
        if not is_plain or self._output_layouts or (self.is_elementwise and results[1:]):
            return _chainer_apply(self, inputs)  # which raises an error or handles layouts
    has_graph = _local.__dict__.get('enable_backprop', _global['enable_backprop'])
    outputs, references = [], []
    for y in results:
        output = _make_variable(y, requires_grad)
        outputs.append(output)
        if has_graph:
            output._node._creator_node, output._node._rank = self, rank + 1
            references.append(weakref.ref(output._node))
    self._output_layouts, self._output_count = (None,) * len(outputs), len(outputs)
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


def _make_variable(array: ndarray, requires_grad: bool) -> Variable:
    """Makes a variable with the attributes that Chainer's has, without its checks."""
    y, node = Variable.__new__(Variable), VariableNode.__new__(VariableNode)
    y._requires_grad = node._requires_grad = requires_grad
    y._loss_scale = y._grad_var = y._device = y._layout = y._grad = node._layout = node.name = None
    y._grad_valid, y._data, y._node = True, [array], node
    node._variable, node.dtype, node.shape = weakref.ref(y), array.dtype, array.shape
    return y


def backward(self: Variable, *args: Any, **kwargs: Any) -> None:
    """Computes the gradients of all leaves, as ``Variable.backward`` does."""
    loss, is_new = self._data[0], self._grad is None and self._grad_var is None
    is_plain = type(loss) is ndarray and loss.shape == () and is_new and _is_default_config()
    if is_plain and not args and not any(kwargs.values()):
        _backprop(self._node, numpy.array(1, loss.dtype))
    else:
        _chainer_backward(self, *args, **kwargs)


def _backprop(y: VariableNode, gy: ndarray) -> None:
    """Visits the functions, the last first, and leaves the gradients in the leaves."""
    table = GradTable(accumulate_grad_inputs=True)
    grads, heap, seen, leaves = table.grads, list[Any](), set[FunctionNode](), set[VariableNode]()
    grads[y], nodes = [gy], [y]
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
        if function._local_function_hooks:  # Chainer goes on from here
            outputs = [(x, _as_variable(gx[0])) for x, gx in grads.items() if gx]
            with chainer.using_config('enable_backprop', False):
                _backprop_to_all(outputs, False, None)
            return
        y = function.outputs[0]()
        found = kernels.backward(function, y, grads[y][0]) if grads.get(y) else None
        if found is None:
            nodes = _chainer_step(function, table)
            continue
        del grads[y]
        nodes, arrays = found
        for x, gx in zip(nodes, arrays):
            if x in grads or getattr(x._variable(), '_grad', None) is not None:
                for before in table.get_as_list(x):
                    gx = chainer.functions.add(before, gx).array
            grads[x] = [gx]
    for x in leaves:
        leaf, gx = x._variable(), grads[x][0]
        if leaf is not None:
            leaf._grad, leaf._grad_var = (gx, None) if type(gx) is ndarray else (gx.array, gx)
            leaf._loss_scale = None


def _chainer_step(function: FunctionNode, table: GradTable) -> list[VariableNode]:
    """Has a function compute its gradients, as Chainer does. Returns the nodes that got one."""
    inputs, out_grad = function.inputs, []
    for y in [y() for y in function.outputs]:
        gy = None if y is None or y._creator_node is None else table.pop(y)
        out_grad.append(_as_variable(gy))
    indexes = tuple([i for i, x in enumerate(inputs) if x._requires_grad])
    if not indexes:
        return []
    in_grad = {inputs[i]: table.get_as_list(inputs[i]) for i in indexes}
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


METHODS = (
    (FunctionNode, 'apply', _chainer_apply, apply),
    (Variable, 'backward', _chainer_backward, backward),
)
