"""Mistakes of the user: one line that says how to mend it, and nothing changed on disk."""

import importlib.util

import pytest

from helpers import assert_refused, main


@pytest.mark.parametrize('flag', ['-m', '-r'])
def test_missing_snapshots(flag):
    message = 'cannot read nowhere: No such file or directory; give the path of a snapshot'
    assert_refused([flag, 'nowhere'], 1, message)


@pytest.mark.skipif(importlib.util.find_spec('cupy') is not None, reason='CuPy is installed')
def test_gpu_without_cupy():
    message = '-g 0 needs CuPy, which is not installed; .*requirements-gpu.txt.*'
    assert_refused(['-g', '0'], 1, message)


def test_a_rank_that_is_no_number(monkeypatch):
    monkeypatch.setenv('PMI_RANK', 'x')
    assert main('-m', 'nowhere')[2].startswith('train_mnist.py: error: cannot read nowhere: ')
