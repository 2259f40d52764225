"""Chainer's computational graph, grown with less work. It changes neither a bit nor the graph."""

import weakref

from chainer_mnist import functions

import chainer
import numpy
from chainer import FunctionNode, Variable, configuration
from chainer.backends import cuda
from chainer.variable import VariableNode

_chainer_apply = FunctionNode.apply
_check_layout = FunctionNode.check_layout_forward
_settings, _defaults = configuration.config._local, configuration.global_config.__dict__


def apply(self, inputs):
    """Applies a function and grows the graph, as ``FunctionNode.apply`` does.

    What takes part of ``FunctionNode.apply`` that is not here goes through Chainer: hooks, the
    debug mode, checks of types, layouts, ``static_graph``, arrays of different kinds. That is
    looked up in each call, so that it can change at any time.

    Args:
        self (chainer.FunctionNode): The function.
        inputs (tuple): Variables or arrays.

    Returns:
        tuple: The variables that it computes.

    """
    if (
        self._output_layouts is not None  # it has been applied before
        or self._local_function_hooks
        or type(self).check_layout_forward is not _check_layout
        or not settings_are_plain()
    ):
        return _chainer_apply(self, inputs)
    nodes, arrays, requires_grad, rank, kind = [], [], False, 0, numpy.ndarray
    for x in inputs:
        array = x._data[0] if isinstance(x, Variable) else x
        if type(array) is not kind:
            if arrays or not _is_on_gpu_in_use(array):
                return _chainer_apply(self, inputs)
            kind = type(array)
        node = variable(array, False)._node if x is array else x._node
        if node._layout is not None:
            return _chainer_apply(self, inputs)
        if node._requires_grad:
            requires_grad = True
        if node._rank > rank:
            rank = node._rank
        nodes.append(node)
        arrays.append(array)
    if not arrays:
        return _chainer_apply(self, inputs)
    self._input_layouts = (None,) * len(nodes)
    self._input_indexes_to_retain = self._output_indexes_to_retain = None
    results = functions.forward(self, arrays)
    if not _fit(self, results):
        return _hand_over(self, inputs, results)
    outputs = tuple([variable(y, requires_grad) for y in results])
    self._output_layouts = (None,) * len(outputs)
    self._output_count = len(outputs)
    if _settings.__dict__.get('enable_backprop', _defaults['enable_backprop']):
        self.inputs, self.rank, self.lazy_grad_sum = tuple(nodes), rank, False
        self.outputs = tuple([_made_by(self, y._node) for y in outputs])
        _retain(self, arrays, results, outputs)
    return outputs


def settings_are_plain():
    """Says whether no hook and none of the settings is on that only Chainer's own code heeds.

    Returns:
        bool: Whether this thread has neither at this moment.

    """
    setting, default = _settings.__dict__.get, _defaults
    return not (
        setting('debug', default['debug'])
        or setting('type_check', default['type_check'])
        or setting('schedule_func', default['schedule_func'])
        or setting('lazy_grad_sum', default['lazy_grad_sum'])
        or chainer.get_function_hooks()
    )


def variable(array, requires_grad):
    """Makes a variable and its node, as ``chainer.Variable`` does, without its checks.

    Args:
        array (array): The array, or ``None``.
        requires_grad (bool): Whether it is to have a gradient.

    Returns:
        chainer.Variable: The variable.

    """
    made, node = Variable.__new__(Variable), VariableNode.__new__(VariableNode)
    made._requires_grad = node._requires_grad = requires_grad
    made._loss_scale = made._grad_var = made._device = made._grad = node.name = None
    made._grad_valid = True
    made._data = [array]
    made._node = node
    made._layout = node._layout = None
    node._variable = weakref.ref(made)
    if array is not None:
        node.dtype = array.dtype
        node.shape = array.shape
    return made


def _is_on_gpu_in_use(array):
    return type(array) is cuda.ndarray and array.device == cuda.Device()


def _fit(function, arrays):
    """Says whether what ``forward`` returned needs neither a complaint nor a layout."""
    if type(arrays) is not tuple or function._output_layouts is not None:
        return False
    if len(arrays) > 1 and function.is_elementwise:
        return False
    for array in arrays:
        if type(array) is not numpy.ndarray and type(array) is not cuda.ndarray:
            return False
    return True


def _hand_over(function, inputs, outputs):
    """Has Chainer's own code go on after ``forward``, which must not run twice."""
    retained = function._input_indexes_to_retain, function._output_indexes_to_retain

    def forward(arrays):
        function._input_indexes_to_retain, function._output_indexes_to_retain = retained
        return outputs

    function.forward = forward
    try:
        return _chainer_apply(function, inputs)
    finally:
        del function.forward


def _made_by(function, node):
    node._creator_node = function
    node._rank = function.rank + 1
    return weakref.ref(node)


def _retain(function, arrays, results, outputs):
    """Keeps what ``backward`` will ask for."""
    for i in function._input_indexes_to_retain or ():
        function.inputs[i]._data = arrays[i]
    if function._output_indexes_to_retain is not None:
        for i in function._output_indexes_to_retain:
            outputs[i]._node._data = results[i]
        function._retained_output_data = tuple(
            [results[i] for i in function._output_indexes_to_retain]
        )
