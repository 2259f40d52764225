"""A window to draw a digit in: the probabilities follow the mouse."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chainer_mnist.console import UserError
from chainer_mnist.data import read_image

import numpy

SIDE, RADIUS, FONT = 420, 14, 'Helvetica -16'  # in pixels: the paper, the pen, the letters


def draw_digits(predict: Callable[[numpy.ndarray], numpy.ndarray]) -> None:
    """Opens a window to draw digits in, and returns when the user closes it.

    ``predict`` maps images of shape (N, 784) to probabilities of shape (N, 10). Raises
    ``UserError`` if there can be no window.
    """
    try:
        import tkinter  # many systems have it in a package of its own

        from PIL import Image, ImageDraw

        window = tkinter.Tk()
    except Exception as error:
        fix = 'install what is missing (python3-tk), or give image files'
        raise UserError(f'--draw needs a display, Tk and Pillow ({error}); {fix}') from None
    paper = tkinter.Canvas(window, width=SIDE, height=SIDE, background='white', cursor='pencil')
    bars = tkinter.Canvas(window, width=290, height=SIDE, background='white')
    for canvas in (paper, bars):
        canvas.pack(side='left', padx=12, pady=12)
    image = Image.new('L', (SIDE, SIDE))  # what is on the paper, which cannot be read itself
    pen, end, keys = ImageDraw.Draw(image), (0, 0), ['c']  # first, the paper is cleared
    moves: list[tkinter.Event] = []
    for name in ('<Button-1>', '<B1-Motion>'):
        paper.bind(name, moves.append)
    window.bind('<Key>', lambda event: keys.append(event.keysym.lower()))
    window.protocol('WM_DELETE_WINDOW', lambda: keys.append('q'))
    try:
        while 'q' not in keys:  # Tk's own loop would see a signal only at the next event
            if {'c', 'escape', 'delete'} & {*keys}:
                paper.delete('all')
                image.paste('white', (0, 0, SIDE, SIDE))
            for move in moves:
                start, end = end, (move.x, move.y)
                line = (*(start if move.type == tkinter.EventType.Motion else end), *end)
                paper.create_line(*line, width=2 * RADIUS, capstyle='round')
                pen.line(line, 'black', 2 * RADIUS)
                pen.ellipse([x + r for r in (-RADIUS, RADIUS) for x in end], 'black')
            if moves or keys:
                # A ninth of the pixels are enough, and quick enough to follow the mouse.
                _show(bars, *_classify(numpy.asarray(image.reduce(3), 'f'), predict))
            del moves[:], keys[:]
            time.sleep(0.01)
            window.update()
    finally:
        window.destroy()


def _classify(pixels: numpy.ndarray, predict: Callable) -> tuple[numpy.ndarray, str]:
    """Returns the probabilities, or zeros if this is not one digit, and a line about them."""
    try:
        [p] = predict(read_image('the drawing', pixels[:, :, numpy.newaxis])[numpy.newaxis])
        return p, f'{p.argmax()} (probability {p.max():.2f})'
    except UserError as error:
        return numpy.zeros(10), str(error).partition(';')[0]


def _show(bars: Any, p: numpy.ndarray, text: str) -> None:
    bars.winfo_toplevel().title(text)
    bars.delete('all')
    bars.create_text(12, 396, text=f'{text}\nc clears, q quits', anchor='w', font=FONT)
    for digit, y in enumerate(range(22, 382, 36)):
        bars.create_text(12, y, text=digit, anchor='w', font=FONT)
        bars.create_line(32, y, 232, y, width=20, fill='#f0f0f0')
        bars.create_line(32, y, 32 + 200 * p[digit], y, width=20, fill='#2a7f3f')
        bars.create_text(282, y, text=f'{p[digit]:.0%}', anchor='e', font=FONT)
