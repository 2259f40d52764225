"""MNIST and data sets of its kind as arrays, and a person's own picture in MNIST's form."""

from __future__ import annotations

from chainer_mnist.console import UserError
from chainer_mnist.constants import DATA, ROOT
from chainer_mnist.data.mnist import load_mnist

import numpy

__all__ = ['DATA', 'ROOT', 'load_mnist', 'prepare_image', 'read_image']


def read_image(path: str) -> numpy.ndarray:
    """Reads a picture of a digit, as :func:`chainer_mnist.data.images.read_image` says."""
    try:
        from chainer_mnist.data import images
    except ImportError:
        raise UserError('Pillow is not installed; pip install pillow') from None
    return images.read_image(path)


def prepare_image(pixels: numpy.ndarray, name: str) -> numpy.ndarray:
    """Brings pixels to MNIST's form, as :func:`chainer_mnist.data.images.prepare_image` says."""
    from chainer_mnist.data import images  # it needs Pillow, which not everyone has

    return images.prepare_image(pixels, name)
