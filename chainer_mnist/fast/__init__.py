"""A training loop that is faster than Chainer's, with the same bits."""

from __future__ import annotations

import contextlib
import functools
import os
import timeit
from collections.abc import Iterator

from chainer_mnist.console import print_line
from chainer_mnist.fast import graph, kernels
from chainer_mnist.fast.adam import Adam

import numpy
import threadpoolctl

__all__ = ['Adam', 'fast_training']

# Below so many units, two threads gain less than 15 % on free cores, and lose a lot on busy ones.
MIN_UNITS_FOR_THREADS = 500

# Whoever sets one of these variables knows better.
THREAD_VARIABLES = [f'{name}_NUM_THREADS' for name in ('BLIS', 'MKL', 'OMP', 'OPENBLAS')]
THREAD_VARIABLES.append('VECLIB_MAXIMUM_THREADS')


@contextlib.contextmanager
def fast_training(units: int) -> Iterator[None]:
    """Sets Chainer and BLAS up for training with so many units in each hidden layer.

    BLAS takes a single thread for few units, and, with a line that says so, on busy cores.
    """
    threads = None
    if not any(map(os.environ.get, THREAD_VARIABLES)):
        if units < MIN_UNITS_FOR_THREADS:
            threads = 1
        elif _are_cores_busy():
            threads = 1
            print_line('# BLAS threads: 1 (the cores are busy; OMP_NUM_THREADS sets a number)')
    with threadpoolctl.threadpool_limits(threads, user_api='blas'), contextlib.ExitStack() as stack:
        kernels.compile_with_numba()
        for owner, name, chainers, ours in graph.METHODS:
            if getattr(owner, name) is chainers:  # and not what somebody else has put there
                stack.callback(setattr, owner, name, chainers)
                setattr(owner, name, ours)
        yield


def _are_cores_busy() -> bool:
    """Says whether BLAS is slower with all its threads, which then wait for each other."""
    W = numpy.ones((1000, 1000), 'f')  # noqa: N806
    product, seconds = functools.partial(numpy.dot, W[:100], W), []
    for threads in (1, None):
        with threadpoolctl.threadpool_limits(threads, user_api='blas'):
            seconds.append(timeit.timeit(product, setup=product, number=60))
    return seconds[1] > 1.1 * seconds[0]
