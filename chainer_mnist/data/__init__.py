"""MNIST and data sets of its kind as arrays, and a person's own picture in MNIST's form."""

from chainer_mnist.data.images import prepare_image, read_image
from chainer_mnist.data.mnist import load_mnist

__all__ = ['load_mnist', 'prepare_image', 'read_image']
