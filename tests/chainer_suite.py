"""Runs Chainer's own tests twice, plainly and on the fast path, and compares the outcomes.

git clone --branch v7.8.1 --depth 1 https://github.com/chainer/chainer
pip install -r requirements-dev.txt mock "setuptools<81" "numpy<1.24"
python tests/chainer_suite.py chainer functions_tests/loss_tests

What follows the clone is pytest's, with paths within ``tests/chainer_tests``. Without one, all that
is for the CPU runs, which takes hours. ``numpy<1.24`` is for Python up to 3.11: with a newer NumPy
more tests fail, in both runs. Exit status 1: the outcome of a test differs, or none passed.

These tests reach the graph, and the kernels less: most take gradients of float64, which no kernel
computes. ``tests/fast`` compares the bits of all.
"""

import contextlib
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy
import pytest

OPTIONS = ['-q', '--tb=no', '-rN', '-Wignore', '-pno:cacheprovider']
OPTIONS += ['--continue-on-collection-errors', '-mnot (gpu or cudnn or ideep or chainerx or slow)']


def run(is_fast: bool, words: tuple[str, ...]) -> dict[str, str]:
    """Returns the outcome of each test. One that starts on the other path has failed."""
    from chainer_mnist.fast import Adam, fast_training, graph

    from chainer import FunctionNode, Variable, optimizers

    outcomes = {}

    class Recorder:
        def pytest_runtest_setup(self) -> None:
            on = FunctionNode.apply is graph.apply, Variable.backward is graph.backward
            assert on == (is_fast, is_fast)
            numpy.random.seed(0)

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == 'call' or not report.passed:
                # The addresses in some names differ between processes.
                outcomes[re.sub('0x[0-9a-f]+', '', report.nodeid)] = report.outcome

        pytest_collectreport = pytest_runtest_logreport

    optimizers.Adam = Adam if is_fast else optimizers.Adam
    with fast_training(50) if is_fast else contextlib.nullcontext():
        status = pytest.main([*OPTIONS, *words], [Recorder()])
    if status > pytest.ExitCode.TESTS_FAILED:
        sys.exit(status)  # pytest has said why
    return outcomes


def main(chainer: str, *words: str) -> bool:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    os.chdir(f'{chainer}/tests/chainer_tests')
    os.environ.update(OPENBLAS_NUM_THREADS='1', PYTHONHASHSEED='0')  # the same in both processes
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, spawn) as one, ProcessPoolExecutor(1, spawn) as other:
        plain = one.submit(run, False, words).result()
        fast = other.submit(run, True, words).result()
    same = [outcome for _, outcome in plain.items() & fast.items()]
    different = sorted({test for test, _ in plain.items() ^ fast.items()})
    for test in different:
        print(f'{test}: {plain.get(test)} in Chainer, {fast.get(test)} on the fast path')
    print(f'{same.count("passed")} passed and {same.count("failed")} failed in both runs')
    return bool(different) or 'passed' not in same


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
