"""Chainer's computational graph, grown with less work. It changes neither a bit nor the graph."""

import weakref

import chainer
import numpy
from chainer import FunctionNode, Variable
from chainer.backends import cuda

_chainer_apply = FunctionNode.apply


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
    arrays = tuple([x._data[0] if isinstance(x, Variable) else x for x in inputs])
    if not (settings_are_plain() and _is_plain(self) and _are_together(arrays)):
        return _chainer_apply(self, inputs)
    inputs = [x if isinstance(x, Variable) else chainer.as_variable(x) for x in inputs]
    if any(x._layout for x in inputs):
        return _chainer_apply(self, inputs)
    self._input_layouts = (None,) * len(inputs)
    self._input_indexes_to_retain = self._output_indexes_to_retain = None
    arrays = self.forward(arrays)
    if not _fit(self, arrays):
        return _hand_over(self, inputs, arrays)
    requires_grad = any(x._requires_grad for x in inputs)
    outputs = tuple(
        [
            Variable._init_unchecked(y, requires_grad=requires_grad, is_chainerx_array=False)
            for y in arrays
        ]
    )
    self._output_layouts = (None,) * len(outputs)
    self._output_count = len(outputs)
    if chainer.config.enable_backprop:
        _grow(self, inputs, outputs, arrays)
    return outputs


def settings_are_plain():
    """Says whether no hook and none of the settings is on that only Chainer's own code heeds.

    Returns:
        bool: Whether this thread has neither at this moment.

    """
    settings, defaults = chainer.config._local.__dict__, chainer.global_config.__dict__
    for name in ('debug', 'type_check', 'schedule_func', 'lazy_grad_sum'):
        if (settings if name in settings else defaults)[name]:
            return False
    return not chainer.get_function_hooks()


def _is_plain(function):
    return (
        not function._local_function_hooks
        and type(function).check_layout_forward is FunctionNode.check_layout_forward
        and function._output_layouts is None  # it is, but in a function that is applied twice
    )


def _are_together(arrays):
    """Says whether there are arrays and all are NumPy's, or on the GPU that is in use."""
    kind = type(arrays[0]) if arrays else None
    if any(type(a) is not kind for a in arrays):
        return False
    if kind is numpy.ndarray:
        return True
    return kind is cuda.ndarray and all(a.device == cuda.Device() for a in arrays)


def _fit(function, arrays):
    """Says whether what ``forward`` returned needs neither a complaint nor a layout."""
    return (
        type(arrays) is tuple
        and function._output_layouts is None
        and not (function.is_elementwise and len(arrays) > 1)
        and all(type(y) is numpy.ndarray or type(y) is cuda.ndarray for y in arrays)
    )


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


def _grow(function, inputs, outputs, arrays):
    """Adds a function to the graph, between its inputs and its outputs."""
    function.rank = max([x._node._rank for x in inputs])
    for y in outputs:
        y._node.creator_node = function
    function.inputs = tuple([x._node for x in inputs])
    function.outputs = tuple([weakref.ref(y._node) for y in outputs])
    for i in function._input_indexes_to_retain or ():
        inputs[i].retain_data()
    if function._output_indexes_to_retain is not None:
        for i in function._output_indexes_to_retain:
            outputs[i].retain_data()
        function._retained_output_data = tuple(
            [arrays[i] for i in function._output_indexes_to_retain]
        )
    function.lazy_grad_sum = False
