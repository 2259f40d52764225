"""The loops on Chainer and NumPy that ``throughput.py`` compares. Those of others are in ``peers``.

A contestant is a function that takes the number of units and returns a function, which trains on
so many images, in mini-batches of 100, and returns the mean loss. All train the same network on the
same images. The first two can do so on a GPU, and so can PyTorch's with tensors.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from chainer_mnist import data, devices, speed

import chainer.links as L
import numpy as np
from chainer import iterators, optimizers
from chainer.dataset import concat_examples
from chainer.datasets import TupleDataset

import train_mnist
import tutorial
from net import MLP

BATCHSIZE = 100


def set_up(unit, adam, gpu):
    """Makes a classifier on its device and its optimizer."""
    device = devices.get_device(gpu)
    device.use()
    model = L.Classifier(MLP(unit, 10))
    model(np.zeros((1, 784), 'f'), np.zeros(1, 'i'))  # draws the weights
    model.to_device(device)
    return model, adam.setup(model), device


def this_script(unit, gpu=-1):
    """The loop of ``train_mnist.py``, imported, with all that its ``main`` does around it."""
    model, optimizer, device = set_up(unit, speed.Adam(), gpu)
    x, t = device.send(data.load()[0])

    def train(images):
        order = device.send(np.random.permutation(len(x))[:images])
        batches = (order[i : i + BATCHSIZE] for i in range(0, images, BATCHSIZE))
        with speed.tuned(unit):
            speed.trust_types()
            return train_mnist.train(model, optimizer, x, t, batches).get()[0]

    return train


def tutorial_style(unit, gpu=-1):
    """The tutorial's loop on plain Chainer."""
    model, optimizer, _ = set_up(unit, optimizers.Adam(), gpu)
    (x, t), _ = data.load()

    def train(images):
        order = np.random.permutation(len(x))[:images]
        return tutorial.sweep(
            model, x, t, order, BATCHSIZE, lambda x, t: optimizer.update(model, x, t)
        )[0]

    return train


def serial_iterator(unit):
    """Chainer's own iterator and converter, as a Trainer uses them."""
    model, optimizer, _ = set_up(unit, optimizers.Adam(), -1)
    (x, t), _ = data.load()
    iterator = iterators.SerialIterator(TupleDataset(x, t), BATCHSIZE)

    def train(images):
        losses = []
        for _ in range(images // BATCHSIZE):
            optimizer.update(model, *concat_examples(next(iterator)))
            losses.append(float(model.loss.array))
        return float(np.mean(losses))

    return train


def adam_in_blocks(alpha, *arrays):
    """Updates weights by Adam. The arrays: weights, gradients, both moments, a workspace."""
    for i in range(0, len(arrays[0]), 32768):
        a, g, m, v, s = [array[i : i + 32768] for array in arrays]
        np.subtract(g, m, out=s)
        s *= 0.1
        m += s
        np.multiply(g, g, out=s)
        s -= v
        s *= 0.001
        v += s
        np.sqrt(v, out=s)
        s += 1e-8
        np.divide(m, s, out=s)
        s *= alpha
        a -= s


def bare_numpy(unit):
    """The same arithmetic by hand, without any framework."""
    (x, t), _ = data.load()
    random = np.random.RandomState(0)
    sizes = [(784, unit), (unit, unit), (unit, 10)]
    # Weights and biases lie in one array, so that Adam goes over them all at once.
    flat, grad, m, v, s = (np.zeros(sum(i * o + o for i, o in sizes), 'f') for _ in range(5))

    def views(array):
        start = 0
        for i, o in sizes:
            yield array[start : start + i * o].reshape(i, o), array[start + i * o :][:o]
            start += i * o + o

    (w1, b1), (w2, b2), (w3, b3) = views(flat)
    (gw1, gb1), (gw2, gb2), (gw3, gb3) = views(grad)
    for w in (w1, w2, w3):
        w[:] = random.normal(0, len(w) ** -0.5, w.shape)
    updates = 0

    def step(x, t):
        nonlocal updates
        h1 = x @ w1 + b1
        np.maximum(h1, 0, out=h1)
        h2 = h1 @ w2 + b2
        np.maximum(h2, 0, out=h2)
        y = h2 @ w3 + b3
        accuracy = (y.argmax(1) == t).mean()
        y -= y.max(1, keepdims=True)
        p = np.exp(y)
        p /= p.sum(1, keepdims=True)
        rows = np.arange(len(t))
        loss = -np.log(p[rows, t]).mean()
        p[rows, t] -= 1
        p /= len(t)
        np.matmul(h2.T, p, out=gw3)
        p.sum(0, out=gb3)
        g2 = (p @ w3.T) * (h2 > 0)
        np.matmul(h1.T, g2, out=gw2)
        g2.sum(0, out=gb2)
        g1 = (g2 @ w2.T) * (h1 > 0)
        np.matmul(x.T, g1, out=gw1)
        g1.sum(0, out=gb1)

        updates += 1
        alpha = 0.001 * (1 - 0.999**updates) ** 0.5 / (1 - 0.9**updates)
        adam_in_blocks(alpha, flat, grad, m, v, s)
        return loss, accuracy

    def train(images):
        order = np.random.permutation(len(x))[:images]
        losses = []
        with speed.tuned(unit):
            for i in range(0, images, BATCHSIZE):
                batch = order[i : i + BATCHSIZE]
                losses.append(step(x[batch], t[batch]))
        return float(np.mean(losses, axis=0)[0])

    return train
