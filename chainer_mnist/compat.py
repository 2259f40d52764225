"""Lets Chainer 7.8.1 import on today's NumPy, CuPy and Python.

Chainer's last release is from 2022. Some things that it needs have been removed since:

- ``numpy.sctypes`` left with NumPy 2.0 (https://github.com/chainer/chainer/issues/8632).
  Chainer reads its lists of integer and of floating-point types.
- ``numpy.float`` left with NumPy 1.24. ``F.resize_images`` takes it.
- ``numpy.fix`` is deprecated since NumPy 2.5. ``F.fix`` takes it.
- ``numpy.distutils`` and ``pkg_resources`` left with Python 3.12 and setuptools 81.
  Chainer's check of its surroundings imports both. It only warns of releases of NumPy, Python and
  CuPy that nobody installs today, so an empty check takes its place.
- CuPy 14 has no cuDNN any more, and CuPy 13 that of 2022 alone. Chainer warns where it is missing.
  Of the functions in an MLP only ReLU and softmax use it, and they have kernels of their own, so it
  stays off: the same kernels run with every CuPy. ``CHAINER_CUDNN=1`` brings it back.
"""

from __future__ import annotations

import os
import sys
import types
import warnings

import numpy


def apply_patches() -> None:
    """Makes ``import chainer`` work. To be called before anything imports Chainer.

    Where Chainer has been imported, its settings come too late: it reads them as it is imported.
    """
    if 'chainer' not in sys.modules:
        # A failed import of Chainer leaves half of its modules, which the next one takes for whole.
        for name in list(sys.modules):
            if name.split('.')[0] in ('chainer', 'chainermn', 'chainerx'):
                del sys.modules[name]

    check = types.ModuleType('chainer._environment_check')
    check.check = lambda: None  # type: ignore[attr-defined]
    sys.modules.setdefault(check.__name__, check)

    if not hasattr(numpy, 'sctypes'):
        numpy.sctypes = {  # type: ignore[attr-defined]
            'int': [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
            'float': [numpy.float16, numpy.float32, numpy.float64],
        }
    if 'float' not in vars(numpy):
        numpy.float = float  # type: ignore[attr-defined]
    if not hasattr(numpy, 'fix'):
        numpy.fix = numpy.trunc  # type: ignore[assignment]

    os.environ.setdefault('CHAINER_CUDNN', '0')
    # Snapshots are float32, and in half precision Adam divides by zero.
    os.environ['CHAINER_DTYPE'] = 'float32'
    # Chainer imports them from CuPy if it can, and CuPy says how to install them if it cannot.
    warnings.filterwarnings('ignore', r'\n(cudnn|nccl) library could not be loaded', UserWarning)
