"""Brings a person's picture of a digit to the form of MNIST's images."""

from __future__ import annotations

import contextlib
import warnings

from chainer_mnist.console import UserError
from chainer_mnist.npz import reading_errors

import numpy
from PIL import Image, ImageFilter, ImageOps

# These hold pixels. For others, such as PostScript, Pillow starts programs.
FORMATS = ('PNG', 'JPEG', 'MPO', 'GIF', 'BMP', 'TIFF', 'WEBP', 'AVIF', 'PPM', 'JPEG2000', 'ICO')
Image.MAX_IMAGE_PIXELS = 10**8  # Pillow refuses twice as many, which no photograph has
MAX_PIXELS = 5 * 10**7  # after a reduced reading, which JPEG has; a page at 600 dpi has 35 million

SIDE = 28  # pixels of a side of an MNIST image
DIGIT_SIZE = 20  # pixels of the longer side of the digit in it
WORKING_SIDE = 1500  # pixels in which the digit is looked for
SMOOTH_SIDE = 140  # pixels; a larger digit is averaged down to it, and so is its noise
TRIM_FRACTION = 0.005  # part of the ink that may be beyond an edge of the digit
MIN_STROKE, STROKE = 1.5, 2.0  # pixels of an MNIST image; a thinner stroke is made this wide


def read_image(path: str, pixels: numpy.ndarray | None = None) -> numpy.ndarray:
    """Reads an image file of a digit, and does with it what MNIST's makers did with theirs.

    A picture that is no file is given as pixels, (height, width, channels), and ``path`` names it.
    Digit and paper may have any two colors. The digit is scaled to fit a box of 20 x 20 pixels,
    which is placed in 28 x 28 pixels so that the digit's center of mass is at the center. Returns
    float32 from 0 (paper) to 1 (ink), of shape (784,).

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-Based Learning Applied to
    Document Recognition", Proceedings of the IEEE 86 (11), 1998; http://yann.lecun.com/exdb/mnist/

    Raises ``UserError`` if the file cannot be read or does not show exactly one digit.
    """
    with numpy.errstate(all='ignore'):
        try:
            digit = _find_digit(_open(path) if pixels is None else pixels)
        except LookupError:
            raise UserError(f'{path} shows several digits; crop it to one') from None
        if digit is None:
            raise UserError(f'{path} shows no digit; give an image of one digit on plain paper')
        return _center(_scale(digit)).ravel()


def _open(path: str) -> numpy.ndarray:
    """Reads the pixels, of shape (height, width, channels)."""
    with reading_errors(path, 'give a PNG or JPEG file, not HEIC'), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow warns of flaws that it can live with
        Image.init()  # after this, Image.OPEN has what this Pillow can read
        with Image.open(path, formats=[f for f in FORMATS if f in Image.OPEN]) as file:
            file.draft(None, (WORKING_SIDE, WORKING_SIDE))
            if file.width * file.height > MAX_PIXELS:
                raise UserError(f'{path} has more than {MAX_PIXELS} pixels; make it smaller')
            image: Image.Image = file
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


def _darkness(pixels: numpy.ndarray) -> numpy.ndarray:
    """Measures how much darker each pixel is than the paper around it, which may be in shadow."""
    image = Image.fromarray(pixels.mean(axis=2))
    small = image.copy()
    small.thumbnail((64, 64), Image.Resampling.BOX)
    paper = small.filter(ImageFilter.MedianFilter(13)).resize(image.size)
    darkness = 1 - numpy.asarray(image) / numpy.asarray(paper)
    return numpy.clip(numpy.nan_to_num(darkness), 0, 1)  # on black paper, nothing is darker


def _find_digit(pixels: numpy.ndarray) -> numpy.ndarray | None:
    """Finds the ink of the digit. Raises ``LookupError`` if several things could be it."""
    for measure in (_contrast, _darkness):
        ink = measure(pixels)
        if measure is _contrast:
            ink = ink / ink.max()
        for threshold in (0.35, 0.65):  # the second leaves out lines that are lighter than the ink
            digit = _select(pixels, ink, threshold)
            if digit is not None:
                return digit
    return None


def _select(pixels: numpy.ndarray, ink: numpy.ndarray, threshold: float) -> numpy.ndarray | None:
    """Finds the digit among what is above a threshold, with nothing else near it."""
    mask = ink > threshold
    labels, (top, bottom, left, right), areas = _components(mask)
    height, width = bottom - top, right - left
    inside = (top > 0) & (left > 0) & (bottom < len(ink)) & (right < len(ink[0]))
    border = numpy.concatenate([mask[0], mask[:, -1], mask[-1], mask[:, 0]])
    if border.mean() > 0.3 or areas[~inside].sum() > ink.size / 2:
        return None  # the border shows more than plain paper, a shadow or a table
    sizes = (height > 0.02 * max(ink.shape)) & (width < 3 * height)
    # A digit that was cut out tightly is alone, and crosses the border a few times.
    if not (inside & sizes).any() and numpy.diff(border).sum() < 16:
        inside = areas > 0.1 * areas.sum()
    fits = inside & sizes
    if not fits.any():
        return None
    main = numpy.argmax(fits * height * width)
    box = (slice(top[main], bottom[main]), slice(left[main], right[main]))
    body = labels[box] == main + 1
    if _is_frame(body):
        margin = 1 + min(body.shape) // 12
        digit = _find_digit(pixels[box][margin:-margin, margin:-margin])
        if digit is not None:
            return digit
        if body.mean() > 0.8 and 2 * width[main] > height[main]:
            return None  # an empty sheet
    gap = 0.15 * height[main]
    overlap = numpy.minimum(right, right[main]) - numpy.maximum(left, left[main])
    near = (top < bottom[main] + gap) & (bottom > top[main] - gap) & (overlap > -gap)
    if (fits & (height >= 0.4 * height[main]) & ~(near & (overlap > width / 2))).any():
        raise LookupError
    parts = inside & near & (height <= height[main]) & (areas > 0.01 * areas[main])
    digit = numpy.isin(labels, numpy.flatnonzero(parts) + 1).astype('u1')
    return ink * numpy.asarray(Image.fromarray(digit).filter(ImageFilter.MaxFilter(5)))


def _is_frame(body: numpy.ndarray) -> bool:
    """Tells whether a thing has four straight sides: a frame, a sheet or Matplotlib's axes."""
    height, width = (length // 9 for length in body.shape)
    top, bottom, left, right = body[:height], body[-height:], body[:, :width], body[:, -width:]
    sides = [side.any(axis=0).mean() for side in (top, bottom, left.T, right.T)]
    return min(sides) > 0.8


def _components(mask: numpy.ndarray) -> tuple[numpy.ndarray, list[numpy.ndarray], numpy.ndarray]:
    """Labels the 8-connected components from 1 on.

    Returns the labels, and of each component top, bottom, left and right, and the area.
    """
    edges = numpy.diff(numpy.pad(mask, ((0, 0), (1, 1))).astype('i1'), axis=1)
    row, start = numpy.nonzero(edges > 0)  # of runs of pixels
    stop = numpy.nonzero(edges < 0)[1]
    stride = mask.shape[1] + 2
    first = numpy.searchsorted(row * stride + stop, (row + 1) * stride + start)
    last = numpy.searchsorted(row * stride + start, (row + 1) * stride + stop, 'right')
    count = last - first  # of the runs below that touch a run
    run = numpy.repeat(numpy.arange(len(row)), count)
    below = numpy.arange(len(run)) - numpy.repeat(numpy.cumsum(count) - count - first, count)
    component = numpy.arange(len(row))
    while (component[run] != component[below]).any():
        for a, b in ((run, below), (below, run)):
            numpy.minimum.at(component, component[a], component[b])
        component = component[component]
    _, component = numpy.unique(component, return_inverse=True)
    labels = numpy.zeros(mask.shape, int)
    labels[mask] = numpy.repeat(component + 1, stop - start)
    order = numpy.argsort(component, kind='stable')
    begin = numpy.flatnonzero(numpy.diff(component[order], prepend=-1))
    top, left = (numpy.minimum.reduceat(low[order], begin) for low in (row, start))
    bottom, right = (numpy.maximum.reduceat(high[order], begin) for high in (row + 1, stop))
    return labels, [top, bottom, left, right], numpy.add.reduceat((stop - start)[order], begin)


def _crop(ink: numpy.ndarray) -> numpy.ndarray:
    box = []
    for axis in (1, 0):
        part = numpy.cumsum(ink.sum(axis=axis)) / ink.sum()
        first, last = numpy.searchsorted(part, (TRIM_FRACTION, 1 - TRIM_FRACTION))
        box.append(slice(first, last + 1))
    return ink[tuple(box)]


def _scale(ink: numpy.ndarray) -> numpy.ndarray:
    """Makes ink nearly black and white, as NIST's scans were, and fits it into the box."""
    image = Image.fromarray(_crop(ink).astype('f'))
    image.thumbnail((SMOOTH_SIDE, SMOOTH_SIDE), Image.Resampling.BOX)
    ink = numpy.asarray(image)
    ink = _crop(numpy.clip((ink / ink.max() - 0.35) / 0.3, 0, 1))
    pixel = max(ink.shape) / DIGIT_SIZE
    ink = numpy.pad(ink, 10)
    outline = sum(numpy.abs(numpy.diff(ink, axis=axis)).sum() for axis in (0, 1))
    stroke = 2.5 * ink.sum() / outline
    size = 2 * round((STROKE * pixel - stroke) / 2) + 1
    if stroke < MIN_STROKE * pixel and size > 1:  # MaxFilter(1) ends the process in Pillow 12.3
        ink = numpy.asarray(Image.fromarray(ink).filter(ImageFilter.MaxFilter(size)))
    digit = Image.fromarray(_crop(ink))
    size = [max(1, round(side * DIGIT_SIZE / max(digit.size))) for side in digit.size]
    return numpy.asarray(digit.resize(size, Image.Resampling.HAMMING))


def _center(digit: numpy.ndarray) -> numpy.ndarray:
    """Places the digit so that its center of mass is the center of the image, to a pixel."""
    place = []
    for axis, length in enumerate(digit.shape):
        middle = numpy.average(numpy.arange(length), weights=digit.sum(axis=1 - axis))
        start = min(max(round(SIDE / 2 - middle), 0), SIDE - length)
        place.append((start, SIDE - length - start))
    return numpy.pad(digit, place)
