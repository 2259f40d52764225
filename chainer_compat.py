"""Lets Chainer 7.8.1 import on today's NumPy and Python. Import it before ``chainer``.

Chainer's last release is of 2022. Two things have gone from under it since:

- ``numpy.sctypes`` left with NumPy 2.0 (https://github.com/chainer/chainer/issues/8632).
  Chainer reads its lists of integer and of floating-point types.
- ``numpy.distutils`` and ``pkg_resources`` left with Python 3.12 and setuptools 81.
  Chainer's check of its surroundings imports both. It only warns of releases of NumPy, Python and
  CuPy that nobody installs today, so an empty check takes its place.
"""

import sys
import types

import numpy

_check = types.ModuleType('chainer._environment_check')
_check.check = lambda: None
sys.modules.setdefault(_check.__name__, _check)

if not hasattr(numpy, 'sctypes'):
    numpy.sctypes = {
        'int': [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
        'float': [numpy.float16, numpy.float32, numpy.float64],
    }
