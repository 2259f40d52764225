"""MNIST and data sets of its kind as arrays, and a person's own image in MNIST's form."""

from __future__ import annotations

from chainer_mnist.data.mnist import DATA, ROOT, load_mnist

__all__ = ['DATA', 'ROOT', 'load_mnist']
