"""Pictures of a digit, of all kinds, brought to the form of MNIST's images."""

import contextlib
import io
import os
import pathlib
import warnings

from chainer_mnist.console import UserError
from chainer_mnist.data import read_image

import matplotlib
import numpy
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

import predict
from helpers import make_pipe

# They come with Matplotlib.
FONTS = ['DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSansMono', 'DejaVuSerif-Italic', 'STIXGeneral']
FONTS += ['cmr10', 'cmss10', 'cmtt10']
# Size of the font, side of the image, and where in it the digit is, in pixels and parts.
LAYOUTS = [(24, 32, 0.5, 0.5), (60, 200, 0.1, 0.8), (150, 220, 0.5, 0.2)]
RESAMPLE = Image.Resampling.BICUBIC


def render(digit, font='DejaVuSans', layout=LAYOUTS[2], paper='white', ink='black', mode='RGB'):
    size, side, x, y = layout
    image = Image.new(mode, (side, side), paper)
    path = os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', f'{font}.ttf')
    font = ImageFont.truetype(path, size)
    left, top, right, bottom = font.getbbox(str(digit))
    at = [
        2 + part * (side - 4 - (end - start)) - start
        for part, start, end in ((x, left, right), (y, top, bottom))
    ]
    ImageDraw.Draw(image).text(at, str(digit), font=font, fill=ink)
    return image


def prepared(image, name='image.png', **options):
    """What ``predict.py`` makes of an image that comes as a file."""
    image.save(name, **options)
    return read_image(name)


def accuracy(predictor, images, labels):
    return (predict.predict(predictor, numpy.array(images, 'f')).argmax(axis=1) == labels).mean()


@pytest.mark.parametrize('colors', [('white', 'black'), ('black', 'white')])
def test_printed_digits_are_recognized(predictor, colors):
    """Print is not handwriting: models of 20 epochs get about 90 % of these right."""
    images = [
        prepared(render(digit, font, layout, *colors))
        for font in FONTS
        for layout in LAYOUTS
        for digit in range(10)
    ]
    assert accuracy(predictor, images, numpy.arange(len(images)) % 10) > 0.75


@pytest.mark.parametrize(
    ('scale', 'inverted', 'margin'), [(1, False, 0), (4, True, 3), (1.7, False, 2)]
)
def test_mnists_own_images_as_files(predictor, raw, scale, inverted, margin):
    x, t = raw['x_test'], raw['y_test']
    images = []
    for pixels in numpy.pad(x, ((0, 0), (margin, 3 * margin), (2 * margin, margin))):
        image = Image.fromarray(255 - pixels if inverted else pixels)
        size = [round(side * scale) for side in image.size]
        images.append(prepared(image.resize(size, RESAMPLE)))
    assert accuracy(predictor, images, t) > accuracy(predictor, x / 255, t) - 0.02


# Pictures that people make of a digit, uint8 of shape (28, 28)


def sheet(digit, side, width=1200, height=900):
    """A digit by a pen on a white sheet. The side is that of its 28 x 28 pixels."""
    large = Image.fromarray(digit).resize((side, side), RESAMPLE)
    ink = numpy.clip((numpy.asarray(large, float) / 255 - 0.4) / 0.2, 0, 1)
    rest_y, rest_x = height - side, width - side
    return numpy.pad(
        1 - 0.85 * ink,
        ((rest_y // 2, rest_y - rest_y // 2), (rest_x // 2, rest_x - rest_x // 2)),
        constant_values=1.0,
    )


def as_image(pixels):
    return Image.fromarray(numpy.uint8(numpy.rint(pixels.clip(0, 1) * 255)))


def plotted(digit, cmap):
    figure = Figure()
    figure.subplots().imshow(digit, cmap=cmap)
    file = io.BytesIO()
    figure.savefig(file)
    return Image.open(file)


def cropped(digit):
    rows, columns = (numpy.flatnonzero((digit > 99).any(axis=axis)) for axis in (1, 0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Image.fromarray(255 - digit).resize([8 * side for side in digit.shape[::-1]], RESAMPLE)


def ruled(digit):
    pixels = sheet(digit, 500)
    lines = (numpy.arange(900) % 90 > 85)[:, None] | (numpy.arange(1200) % 90 > 85)
    return as_image(numpy.where(lines, numpy.minimum(pixels, 0.6), pixels))


def shadowed(digit):
    y, x = numpy.mgrid[-1:1:900j, -1:1:1200j]
    return as_image(sheet(digit, 400) * (1 - 0.6 / (1 + numpy.exp(-60 * (x + y / 2)))))


def on_a_table(digit):
    table = Image.new('L', (1600, 1200), 60)
    paper = as_image(sheet(digit, 500, 1100, 800))
    turned, mask = (
        image.rotate(5, RESAMPLE, expand=True) for image in (paper, Image.new('L', paper.size, 255))
    )
    table.paste(turned, (200, 150), mask)
    return table


PICTURES = {
    'Matplotlib, gray': lambda digit: plotted(digit, 'gray'),
    'Matplotlib, gray_r': lambda digit: plotted(digit, 'gray_r'),
    'Matplotlib, viridis': lambda digit: plotted(digit, None),
    '3 % of the width': lambda digit: as_image(sheet(digit, 84, 2000, 1500)),
    'cropped': cropped,
    'ruled': ruled,
    'shadowed': shadowed,
    'on a table': on_a_table,
}


@pytest.mark.parametrize('draw', PICTURES.values(), ids=PICTURES)
def test_pictures_that_people_make(draw, predictor, raw):
    x, t = raw['x_test'], raw['y_test']
    images = [prepared(draw(digit)) for digit in x[:10]]
    assert accuracy(predictor, images, t[:10]) > 0.75


# Digits as lines, of percents of their height.
STROKES = [
    (1, [(45, 0), (40, 100)]),
    (2, [(15, 25), (30, 5), (55, 3), (70, 20), (60, 50), (10, 95), (75, 97)]),
    (6, [(60, 2), (30, 35), (20, 75), (40, 98), (62, 85), (58, 60), (22, 70)]),
    (7, [(10, 5), (75, 3), (40, 100)]),
]


def test_a_thin_pen_on_a_large_sheet(predictor):
    images = []
    for _, points in STROKES:
        image = Image.new('L', (2000, 1500), 255)
        at = [(500 + 7 * x, 400 + 7 * y) for x, y in points]
        ImageDraw.Draw(image).line(at, fill=40, width=4)
        images.append(prepared(image))
    assert accuracy(predictor, images, [digit for digit, _ in STROKES]) > 0.8


def noisy(image):
    dots = numpy.asarray(image.convert('L').resize((880, 880), RESAMPLE))
    return as_image(dots / 510 + 0.25 + numpy.random.RandomState(0).normal(0, 0.12, dots.shape))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for viewing
    return render(5).transpose(Image.Transpose.ROTATE_90), 'jpg', {'exif': exif}


def gray(scale, dtype, low=0):
    return Image.fromarray(numpy.asarray(render(5).convert('L')) * dtype(scale) + dtype(low))


CLEAR, BLACK, WHITE = (0, 0, 0, 0), (0, 0, 0, 255), (255, 255, 255, 255)
# A five in another guise: the image, the kind of file and the options with which it is saved.
GUISES = {
    'one brightness': lambda: (render(5, paper=(0, 128, 0), ink=(251, 0, 0)), 'png', {}),
    'palette': lambda: (render(5).quantize(8), 'gif', {}),
    '16 bits': lambda: (gray(257, numpy.uint16), 'png', {}),
    '16 bits, light': lambda: (gray(30, numpy.uint16, 9999), 'png', {}),
    'floats': lambda: (gray(1 / 255, numpy.float32), 'tiff', {}),
    'CMYK': lambda: (render(5).convert('CMYK'), 'jpg', {}),
    'transparent, dark': lambda: (render(5, paper=CLEAR, ink=BLACK, mode='RGBA'), 'png', {}),
    'transparent, light': lambda: (render(5, paper=CLEAR, ink=WHITE, mode='RGBA'), 'webp', {}),
    'large': lambda: (render(5).resize((3000, 3000), RESAMPLE), 'jpg', {'quality': 10}),
    'noise': lambda: (noisy(render(5)), 'png', {}),
    'turned': turned,
    'damaged EXIF': lambda: (render(5), 'png', {'exif': b'Exif\0\0garbage'}),
}


@pytest.mark.parametrize('guise', GUISES.values(), ids=GUISES)
def test_only_the_shape_counts(guise):
    image, suffix, options = guise()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        difference = prepared(image, f'image.{suffix}', **options) - prepared(render(5))
    assert numpy.abs(difference).mean() < 0.05  # a shift by one pixel makes more


# Mistakes


def two_digits():
    image = Image.new('L', (500, 220), 255)
    for place, digit in ((0, 4), (200, 2)):
        image.paste(render(digit), (place, 0))
    return image


def shadow_alone():
    return as_image(
        numpy.repeat(1 - 0.5 / (1 + numpy.exp(-60 * numpy.mgrid[-1:1:800j]))[None], 600, 0)
    )


NONE = 'image shows no digit; give an image of one digit on plain paper'
SEVERAL = 'image shows several digits; crop it to one'


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (lambda: Image.new('RGB', (40, 40), 'beige'), NONE),
        (lambda: Image.new('RGBA', (40, 40), CLEAR), NONE),
        (lambda: Image.fromarray(numpy.full((40, 40), numpy.nan, 'f')), NONE),
        (lambda: Image.fromarray(numpy.diag([numpy.inf] * 9).astype('f')), NONE),
        (lambda: as_image(numpy.random.RandomState(0).normal(0.9, 0.03, (400, 600))), NONE),
        (shadow_alone, NONE),
        (two_digits, SEVERAL),
        (lambda: Image.new('1', (8000, 6251)), 'image has more than 50000000 pixels; .*'),
        (lambda: Image.new('1', (20000, 10001)), 'cannot read image: .* exceeds limit .*; give .*'),
    ],
)
def test_pictures_without_exactly_one_digit(image, message):
    image = image()
    image.save('image', format='TIFF' if image.mode == 'F' else 'PNG')
    with pytest.raises(UserError, match=f'^{message}$'):
        read_image('image')


@pytest.mark.parametrize('content', [b'', b'%!PS-Adobe-3.0 EPSF-3.0', b'\0\0\0\x18ftypheic', None])
def test_files_that_are_no_pixels(content):
    if content is None:
        make_pipe('image')  # opening it would hang
    else:
        pathlib.Path('image').write_bytes(content)
    fix = 'give a PNG or JPEG file, not HEIC'
    with pytest.raises(UserError, match=f'^cannot read image: .*; {fix}$'):
        read_image('image')


def test_noise_and_black_are_read_or_refused_with_one_line():
    """On black paper, the shadow is divided by zero."""
    for seed in range(500, 900):
        random = numpy.random.RandomState(seed)
        side, top = random.randint(5, 40), random.choice([2, 30, 255])
        pixels = (random.rand(side, side, 1) * top).astype('f')
        pixels[random.rand(side, side) < random.rand()] = 0
        with contextlib.suppress(UserError):
            assert read_image('it', pixels).shape == (784,)
