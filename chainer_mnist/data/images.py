"""Brings a person's picture of a digit to the form of MNIST's images."""

from __future__ import annotations

import contextlib
import os
import warnings

from chainer_mnist.console import UserError
from chainer_mnist.npz import one_line_errors

import numpy
from PIL import Image, ImageFilter, ImageOps

# These hold pixels. To other formats, such as PostScript, Pillow starts programs.
FORMATS = ['PNG', 'JPEG', 'MPO', 'GIF', 'BMP', 'TIFF', 'WEBP', 'AVIF', 'PPM', 'JPEG2000', 'ICO']
Image.MAX_IMAGE_PIXELS = 10**8  # Pillow refuses images of twice as many; photographs have fewer

SIDE = 28  # pixels of a side of an MNIST image
DIGIT_SIZE = 20  # pixels of the longer side of the digit in it
WORKING_SIDE = 1500  # pixels; larger images are reduced to it
STROKE_SIDE = 140  # pixels; larger digits are reduced to it, and so is their noise
MIN_STROKE, STROKE = 1.5, 2.0  # widths of strokes in an MNIST image, in pixels


def read_image(path: str) -> numpy.ndarray:
    """Reads an image file of one digit, and does with it what MNIST's makers did with theirs.

    Digit and background may have any two colors. Lines, frames, shadows and dirt are left out. The
    digit is scaled to fit a box of 20 x 20 pixels, which is placed in 28 x 28 pixels so that the
    digit's center of mass is at the center. Returns float32 from 0 (background) to 1 (ink), of
    shape (784,).

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-Based Learning Applied to
    Document Recognition", Proceedings of the IEEE 86 (11), 1998; http://yann.lecun.com/exdb/mnist/

    Raises ``UserError`` if the file cannot be read, or does not show exactly one digit.
    """
    with numpy.errstate(all='ignore'):
        try:
            digit = _find_digit(_open(path))
        except ValueError:
            raise UserError(f'{path} may show several digits; crop it to one') from None
        if digit is None:
            raise UserError(f'{path} shows no digit; give an image of one digit on plain paper')
        return _center(_scale(digit)).ravel()


def _open(path: str) -> numpy.ndarray:
    """Reads the pixels, of shape (height, width, channels)."""
    with one_line_errors(path), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow warns of flaws that it can live with
        if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe can hang
            raise ValueError('not a regular file')
        with Image.open(path, formats=FORMATS) as image:
            image.draft(None, (WORKING_SIDE, WORKING_SIDE))
            with contextlib.suppress(SyntaxError):  # so Pillow calls damaged EXIF
                image = ImageOps.exif_transpose(image)
            # In RGBA Pillow cuts off what 16 bits or floats hold above 255.
            image = image.convert('F' if image.mode[0] in 'IF' else 'RGBA')
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    if image.mode == 'F':
        return numpy.asarray(image)[:, :, numpy.newaxis]
    # What is transparent takes the paper on which more can be seen.
    papers = [Image.new('RGBA', image.size, color) for color in ('white', 'black')]
    seen = [Image.alpha_composite(paper, image).convert('RGB') for paper in papers]
    return max((numpy.asarray(picture, 'f') for picture in seen), key=lambda x: _contrast(x).max())


def _contrast(pixels: numpy.ndarray) -> numpy.ndarray:
    """Measures how far each pixel is from the color of the border."""
    border = numpy.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return numpy.linalg.norm(pixels - numpy.median(border, axis=0), axis=2)


def _local_contrast(pixels: numpy.ndarray) -> numpy.ndarray:
    """Measures how much darker each pixel is than the paper around it, whatever its shadows."""
    image = Image.fromarray(pixels.mean(axis=2))
    small = image.copy()
    small.thumbnail((64, 64), Image.Resampling.BOX)
    padded = numpy.pad(numpy.asarray(small), 6, mode='edge')
    windows = numpy.lib.stride_tricks.sliding_window_view(padded, (13, 13))
    paper = Image.fromarray(numpy.median(windows, axis=(2, 3)).astype('f')).resize(image.size)
    return numpy.clip(1 - numpy.asarray(image) / numpy.asarray(paper), 0, 1)


def _find_digit(pixels: numpy.ndarray) -> numpy.ndarray | None:
    """Cuts the ink of the digit out. Raises ``ValueError`` if several things could be it."""
    for contrast in (_contrast(pixels), _local_contrast(pixels)):
        for threshold in (0.35, 0.65):  # the second leaves out lines that are lighter than the ink
            digit = _select(pixels, contrast / contrast.max(), threshold)
            if digit is not None:
                return digit
    return None


def _select(pixels: numpy.ndarray, ink: numpy.ndarray, threshold: float) -> numpy.ndarray | None:
    """Finds the digit among the connected components above a threshold."""
    mask = ink > threshold
    labels, (top, bottom, left, right), areas = _components(mask)
    height, width = bottom - top, right - left
    fits = (height >= 0.02 * max(ink.shape)) & (height >= 5) & (width <= 3 * height)
    inside = (top > 0) & (left > 0) & (bottom < len(ink)) & (right < len(ink[0]))
    border = numpy.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    inside |= (border.mean() < 0.3) & (areas > 0.9 * areas.sum())
    fits &= inside
    if not fits.any():
        return None
    main = numpy.argmax(fits * height * width)
    rows, columns = slice(top[main], bottom[main]), slice(left[main], right[main])
    margin = 1 + height[main] // 33
    if _is_frame(labels[rows, columns] == main + 1):
        inner = pixels[rows, columns][margin:-margin, margin:-margin]
        digit = _find_digit(inner) if inner.size else None
        if digit is not None:
            return digit
    near = 0.1 * height[main]
    overlap = numpy.minimum(right, right[main]) - numpy.maximum(left, left[main])
    near = (top < bottom[main] + near) & (bottom > top[main] - near) & (overlap > -near)
    several = fits & (height >= 0.4 * height[main]) & ~(near & (overlap > width / 2))
    if several.any():
        raise ValueError('several')
    parts = numpy.flatnonzero(near & (areas > 0.01 * areas[main]) & inside & (height <= height[main]))
    parts = numpy.isin(labels, parts + 1)
    rows, columns = (numpy.flatnonzero(parts.any(axis=axis)) for axis in (1, 0))
    area = (slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3))
    body = Image.fromarray(parts[area].astype('u1')).filter(ImageFilter.MaxFilter(5))
    return ink[area] * numpy.asarray(body)


def _is_frame(body: numpy.ndarray) -> bool:
    """Tells whether a component is a frame, or a square of another color, as Matplotlib draws."""
    strips = [len(body) // 8, len(body[0]) // 8]
    sides = [body[: strips[0]].any(axis=0), body[-strips[0] :].any(axis=0)]
    sides += [body[:, : strips[1]].any(axis=1), body[:, -strips[1] :].any(axis=1)]
    return min(strips) > 0 and min(side.mean() for side in sides) > 0.9


def _components(mask: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Labels the 8-connected components from 1 on.

    Returns the labels, the boxes (top, bottom, left, right) and the areas.
    """
    edges = numpy.diff(numpy.pad(mask, ((0, 0), (1, 1))).astype('i1'), axis=1)
    row, start = numpy.nonzero(edges > 0)  # of runs of pixels
    stop = numpy.nonzero(edges < 0)[1]
    width = mask.shape[1] + 2
    first = numpy.searchsorted(row * width + stop, (row + 1) * width + start)
    last = numpy.searchsorted(row * width + start, (row + 1) * width + stop, 'right')
    parent = list(range(len(row)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    for run in numpy.flatnonzero(first < last).tolist():
        for below in range(first[run], last[run]):  # the runs that touch it
            parent[root(below)] = root(run)
    _, component = numpy.unique([root(run) for run in parent], return_inverse=True)
    labels = numpy.zeros(mask.shape, int)
    labels[mask] = numpy.repeat(component + 1, stop - start)
    order = numpy.argsort(component, kind='stable')
    ends = numpy.flatnonzero(numpy.diff(component[order], prepend=-1))
    boxes = [
        reduce.reduceat(values[order], ends)
        for reduce, values in zip((numpy.minimum, numpy.maximum) * 2, (row, row + 1, start, stop))
    ]
    return labels, boxes, numpy.add.reduceat((stop - start)[order], ends)


def _scale(ink: numpy.ndarray) -> numpy.ndarray:
    """Makes the digit nearly black and white, as NIST's scans were, and fits it into the box."""
    image = Image.fromarray(ink.astype('f'))
    image.thumbnail((STROKE_SIDE, STROKE_SIDE), Image.Resampling.BOX)
    ink = numpy.asarray(image)
    ink = numpy.pad(numpy.clip((ink / ink.max() - 0.35) / 0.3, 0, 1), STROKE_SIDE // DIGIT_SIZE + 2)
    unit = (max(ink.shape) - 2*9) / DIGIT_SIZE
    # The pen may be thin. Area by half the outline is the width of a stroke.
    outline = sum(numpy.abs(numpy.diff(ink, axis=axis)).sum() for axis in (0, 1))
    stroke = 2.5 * ink.sum() / outline
    image = Image.fromarray(ink)
    if stroke < MIN_STROKE * unit:
        image = image.filter(ImageFilter.MaxFilter(2 * round((STROKE * unit - stroke) / 2) + 1))
    ink = numpy.asarray(image)
    rows, columns = (numpy.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    image = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    scale = DIGIT_SIZE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    return numpy.asarray(image.resize(size, Image.Resampling.HAMMING))


def _center(digit: numpy.ndarray) -> numpy.ndarray:
    """Places the digit so that its center of mass is the center of the image, to a pixel."""
    image = numpy.zeros((SIDE, SIDE), numpy.float32)
    place = []
    for axis, length in enumerate(digit.shape):
        middle = numpy.average(numpy.arange(length), weights=digit.sum(axis=1 - axis))
        start = min(max(round(SIDE / 2 - middle), 0), SIDE - length)
        place.append(slice(start, start + length))
    image[tuple(place)] = digit
    return image
