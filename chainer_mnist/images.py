"""Brings an image file with a digit to the form of MNIST's images."""

import os
import warnings

from chainer_mnist.errors import UserError

import numpy
from PIL import Image, ImageOps

SIDE = 28  # pixels of a side of an MNIST image
BOX = 20  # pixels of the longer side of the digit in it
WORKING_SIDE = 140  # pixels; a larger image is averaged down to it, and so is its noise
DUST = 0.005  # the part of the ink that may lie beyond an edge of the digit


def read(path):
    """Reads an image of a digit and does with it what MNIST's makers did with theirs.

    The digit is cut out and scaled, with its proportions kept and its edges smoothed, to fit a box
    of 20 x 20 pixels. The box is then placed in 28 x 28 pixels so that the digit's centre of mass
    lies at the centre.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-Based Learning Applied to
    Document Recognition", Proceedings of the IEEE 86 (11), 1998; http://yann.lecun.com/exdb/mnist/

    Args:
        path (str): The file, of any format that Pillow reads. Digit and background may have any
            two colours. Of an animation the first frame is taken.

    Returns:
        numpy.ndarray: The image, float32 from 0 (background) to 1 (ink), of shape (784,).

    Raises:
        UserError: If the file cannot be read, or nothing is drawn in it.

    """
    ink = _ink(_open(path))
    contrast = ink.max()
    if not numpy.isfinite(contrast):
        raise UserError(f'{path} holds NaN or infinity; give another image')
    if contrast == 0:
        raise UserError(f'{path} shows no digit, but a single colour; give another image')
    # A third of the contrast may be shade, noise or compression. The rest is made nearly black and
    # white, as NIST's scans were, with a slope between that keeps the edges smooth.
    return _centre(_scale(numpy.clip((ink / contrast - 0.35) / 0.3, 0, 1))).ravel()


def _open(path):
    try:
        # Opening a pipe or a device can hang.
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError('not a file')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow remarks on flaws that it can live with
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(path) as image:
                upright = _upright(image)
                # In RGBA Pillow cuts off what 16 bits or floats hold above 255.
                return upright.convert('F' if upright.mode[0] in 'IF' else 'RGBA')
    except Exception as error:  # whatever a damaged file makes Pillow raise
        reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
        raise UserError(f'cannot read {path}: {reason}; give an image of a digit') from None


def _upright(image):
    """Turns an image in the way that its EXIF says, where that can be read."""
    try:
        return ImageOps.exif_transpose(image)
    except SyntaxError:  # so Pillow calls what is no EXIF
        return image


def _ink(image):
    """Measures how far each pixel is from the background, which is the colour of the border."""
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    if image.mode == 'F':
        return _distance_from_border(numpy.asarray(image, numpy.float64)[:, :, numpy.newaxis])
    # What is transparent takes the paper on which more can be seen.
    papers = [Image.new('RGBA', image.size, colour) for colour in ('white', 'black')]
    seen = [Image.alpha_composite(paper, image).convert('RGB') for paper in papers]
    pixels = [numpy.asarray(picture, numpy.float32) for picture in seen]
    return max(map(_distance_from_border, pixels), key=numpy.max)


def _distance_from_border(pixels):
    border = numpy.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return numpy.linalg.norm(pixels - numpy.median(border, axis=0), axis=2)


def _scale(ink):
    """Cuts the digit out and fits it into the box."""
    top, bottom = _extent(ink.sum(axis=1))
    left, right = _extent(ink.sum(axis=0))
    digit = Image.fromarray(ink[top:bottom, left:right])
    scale = BOX / max(digit.size)
    size = [max(1, round(side * scale)) for side in digit.size]
    return numpy.asarray(digit.resize(size, Image.Resampling.HAMMING))


def _extent(profile):
    """Finds where the ink of the rows or columns begins and ends, dust left out."""
    part = numpy.cumsum(profile) / profile.sum()
    return numpy.searchsorted(part, DUST), numpy.searchsorted(part, 1 - DUST) + 1


def _centre(digit):
    """Places the digit so that its centre of mass is the centre of the image, to a pixel."""
    top, left = _start(digit.sum(axis=1)), _start(digit.sum(axis=0))
    height, width = digit.shape
    image = numpy.zeros((SIDE, SIDE), numpy.float32)
    image[top : top + height, left : left + width] = digit
    return image


def _start(profile):
    """Finds where the digit's rows or columns have to start, all of them within the image."""
    middle = numpy.average(numpy.arange(len(profile)), weights=profile)
    return min(max(round(SIDE / 2 - middle), 0), SIDE - len(profile))
