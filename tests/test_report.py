"""What a run shows to a person, and the pictures that it leaves behind."""

import re

from helpers import assert_lines, run, run_on_terminal


def test_progress_on_a_terminal():
    printed, shown = run_on_terminal('-e', 2, '-b', 1, '--noplot')
    assert_lines(printed, 50, 1, 2)
    for epoch in (1, 2):
        assert re.search(
            rf'epoch {epoch}/2 +\d+%\|.*\| loss=\d\.\d{{4}}, *[\d.]+k? images/s, 00:0\d left', shown
        ), shown


def test_no_progress_elsewhere():
    done = run('-e', 1, '-b', 1, '--noplot')
    assert_lines(done.stdout, 50, 1, 1)
    assert done.stderr == ''
