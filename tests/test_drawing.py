"""Digits drawn with a driven mouse on a virtual display, and what the window's title says."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

import predict
from helpers import command_line, environment, main, run, run_command, start_command

NONE = 'the drawing shows no digit'
# The window is in the corner of the display, for no window manager has moved it.
STROKES = {7: [(110, 90), (300, 90), (200, 370)], 1: [(250, 70), (240, 370)]}


def xdotool(*words):
    run_command(['xdotool', *map(str, words)]).check_returncode()


def wait_for_title(pattern):
    xdotool('search', '--sync', '--onlyvisible', '--name', f'^{pattern}$')


def draw(points, dx=0):
    for i, (x, y) in enumerate(points):
        xdotool('mousemove', x + dx, y, *([] if i else ['mousedown', 1]), 'sleep', 0.1)
    xdotool('mouseup', 1)


@pytest.fixture
def process(model, monkeypatch):
    pytest.importorskip('tkinter')
    if not (shutil.which('Xvfb') and shutil.which('xdotool')):
        pytest.skip('there is no virtual display')
    server = start_command(['Xvfb', '-displayfd', '1'], stderr=subprocess.DEVNULL)
    monkeypatch.setenv('DISPLAY', f':{server.stdout.readline().strip()}')
    process = start_command(command_line('-m', model, '--draw', script='predict.py'))
    wait_for_title(NONE)
    yield process
    for each in (process, server):
        each.kill()
        each.communicate()


def test_digits_are_recognized_and_cleared(process):
    for key, (digit, points) in zip(('c', 'Escape'), STROKES.items()):
        draw(points)
        wait_for_title(f'{digit} .probability [01][.][0-9]{{2}}.')
        xdotool('key', key)
        wait_for_title(NONE)
    for dx in (-100, 100):
        draw(STROKES[1], dx)
    wait_for_title('the drawing shows several digits')
    xdotool('key', 'q')
    assert (*process.communicate(timeout=60), process.returncode) == ('', '', 0)


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_window(process, signum):
    process.send_signal(signum)  # while the mouse does not move
    assert (*process.communicate(timeout=60), process.returncode) == ('', '', 128 + signum)


def test_no_tk_or_no_display(model, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tkinter', None)
    results = [main('-m', model, '--draw', program=predict)]
    if sys.platform == 'linux':
        done = run('-m', model, '--draw', script='predict.py', env=environment(DISPLAY=None))
        results.append((done.returncode, done.stdout, done.stderr))
    for status, printed, errors in results:
        assert (status, printed) == (1, '')
        line = r'predict.py: error: --draw needs a display, Tk and Pillow \(.*\); install .*\n'
        assert re.fullmatch(line, errors), errors


@pytest.mark.parametrize('word', ['seven.png', '--json'])
def test_draw_goes_with_no_other_task(word):
    status, _, errors = main('--draw', word, program=predict)
    assert (status, errors.count('--draw: not allowed with IMAGE or --json; ')) == (2, 1)
