"""Mistakes of the user: one line that says how to mend it, and nothing changed on disk."""

import importlib.util

from chainer_mnist.errors import print_error

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


def test_a_full_stop_of_the_system_does_not_stand_within_the_line(capsys):
    """As Windows ends its messages in Chinese and Japanese."""
    print_error('cannot read x: \u6ca1\u6709\u6587\u4ef6\u3002; choose another')
    assert capsys.readouterr().err == 'cannot read x: \u6ca1\u6709\u6587\u4ef6; choose another\n'
