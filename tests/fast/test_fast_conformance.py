"""The fast loop trains as plain Chainer does: bit for bit, by the same graph, with its errors."""

from chainer_mnist import fast
from chainer_mnist.fast import graph, kernels

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import function_hooks, optimizers
from chainer.functions.activation.relu import ReLU
from chainer.functions.connection.linear import LinearFunction
from chainer.functions.loss.softmax_cross_entropy import SoftmaxCrossEntropy
from conformance import (
    CHANGES,
    NETWORKS,
    OPTIMIZERS,
    Network,
    clip,
    content,
    differences,
    loop,
    train_network,
)

import net


def both(*cell):
    return train_network(*cell, is_fast=False), train_network(*cell, is_fast=True)


CELLS = [
    (network, optimizer, change)
    for network in NETWORKS
    for optimizer in OPTIMIZERS
    for change in CHANGES
    if network == 'MLP' or optimizer == 'Adam' or change == 'plain'
]


@pytest.mark.parametrize(('network', 'optimizer', 'change'), CELLS)
def test_network_optimizer_and_change(network, optimizer, change):
    assert differences(*both(network, optimizer, CHANGES[change])) == []
