"""MNIST and data sets of its kind as arrays, and a person's own picture in MNIST's form."""

from __future__ import annotations

from chainer_mnist.console import UserError
from chainer_mnist.data.mnist import load_mnist, scale

import numpy

__all__ = ['load_mnist', 'read_image', 'scale']


def read_image(path: str, pixels: numpy.ndarray | None = None) -> numpy.ndarray:
    """Reads a picture of a digit, as :func:`chainer_mnist.data.images.read_image` says."""
    try:
        from chainer_mnist.data import images  # only here Pillow is needed
    except ImportError:
        raise UserError('Pillow is not installed; pip install pillow') from None
    return images.read_image(path, pixels)
