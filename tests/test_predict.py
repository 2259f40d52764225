"""What ``predict.py`` answers: on the test set, and on image files drawn here for the purpose."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

from chainer_mnist import data, images, pictures, snapshot
from chainer_mnist.errors import UserError

import matplotlib
import numpy
import pytest
from PIL import Image, ImageDraw, ImageFont

import predict
from helpers import CLONE, command_line, read, train

# They come with Matplotlib.
FONTS = [
    'DejaVuSans',
    'DejaVuSans-Bold',
    'DejaVuSans-Oblique',
    'DejaVuSansMono',
    'DejaVuSerif',
    'DejaVuSerif-Italic',
    'STIXGeneral',
    'STIXGeneralItalic',
    'STIXGeneralBol',
    'cmr10',
    'cmss10',
    'cmtt10',
]
# Size of the font, side of the image, and where in it the digit is, in pixels and parts.
LAYOUTS = [(24, 32, 0.5, 0.5), (60, 200, 0.1, 0.8), (150, 220, 0.5, 0.2)]


def run(*words, **options):
    """Runs ``predict.py`` as a process of its own and captures what it prints."""
    options = {'capture_output': True, 'text': True, 'timeout': 120, **options}
    return subprocess.run([sys.executable, str(CLONE / 'predict.py'), *map(str, words)], **options)


@pytest.fixture(scope='session')
def whole_mnist():
    """The environment for processes that use the whole MNIST."""
    return {k: v for k, v in os.environ.items() if k != 'CHAINER_DATASET_ROOT'}


@pytest.fixture(scope='session')
def model(tmp_path_factory, whole_mnist):
    """The path of a model that has seen the whole MNIST once."""
    out = tmp_path_factory.mktemp('trained')
    words = command_line('-e', 1, '-s', 0, '-o', out, '--noplot')
    subprocess.run(words, env=whole_mnist, check=True, capture_output=True)
    return str(out / 'mlp.model')


@pytest.fixture(scope='session')
def predictor(model):
    return predict.load_predictor(model)


def answers(predictor, x):
    return predict.predict(predictor, numpy.float32(x)).argmax(axis=1)


def by_numpy(path, x):
    """The answers of a model, computed without Chainer."""
    w = read(path)
    for layer in ('l1', 'l2'):
        x = numpy.maximum(x @ w[f'{layer}/W'].T + w[f'{layer}/b'], 0)
    return (x @ w['l3/W'].T + w['l3/b']).argmax(axis=1)


# The test set


def test_the_wrong_ones_are_counted_and_drawn(model, whole_mnist, monkeypatch):
    done = run('-m', model, '-o', 'a/b', env=whole_mnist)
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    _, (x, t) = data.load()
    wrong = (by_numpy(model, x) != t).sum()
    assert 300 < wrong < 1000  # after one epoch
    line = f'{wrong} of 10000 test images are wrong (accuracy {(10000 - wrong) / 10000})\n'
    assert (done.returncode, done.stdout, done.stderr) == (0, line, '')
    assert sorted(os.listdir('a/b')) == ['confusion.png', 'inference.png']
    for name in os.listdir('a/b'):
        with Image.open(f'a/b/{name}') as picture:
            picture.load()
            assert picture.format == 'PNG'
            assert all(500 < side < 1200 for side in picture.size)


def test_every_file_of_a_model_gives_the_same(capsys):
    results = set()
    for net in ('classifier', 'trainflag'):
        train('-e', 3, '-s', 1, '-u', 20, '-n', net, '-o', net)
        for name in ('classifier.model', 'mlp.model', 'mlp.state'):
            assert predict.main(['-m', f'{net}/{name}', '--json', '--noplot']) == 0
            results.add(capsys.readouterr().out)
    [result] = map(json.loads, results)
    _, (x, t) = data.load()
    wrong = int((by_numpy('trainflag/mlp.model', x) != t).sum())
    assert result == {'images': 300, 'wrong': wrong, 'accuracy': (300 - wrong) / 300}
    assert not os.path.exists('result')  # --noplot


def test_the_default_is_the_model_that_training_leaves(model, capsys):
    assert predict.main([]) == 1
    message = 'there is no result/mlp.model; run train_mnist.py first, or give a model with -m'
    assert capsys.readouterr().err.replace(os.sep, '/') == f'predict.py: error: {message}\n'
    os.mkdir('result')
    shutil.copy(model, 'result')
    assert predict.main(['--noplot']) == 0


def test_units_have_to_agree_where_they_are_given(model, capsys):
    assert predict.main(['-m', model, '-u', '50', '--noplot']) == 0
    capsys.readouterr()
    assert predict.main(['-m', model, '-u', '30']) == 1
    assert capsys.readouterr() == (
        '',
        f'predict.py: error: {model} holds a network of 50 units, not 30; add -u 50\n',
    )


@pytest.mark.parametrize('shape', [(0, 784), (10**7, 0), (50,), ()])
def test_units_that_cannot_be(shape):
    numpy.savez('odd', **{'l1/W': numpy.zeros(shape, 'f')})
    with pytest.raises(UserError, match='is damaged or not a snapshot'):
        snapshot.units('odd.npz')


def test_a_header_alone_does_not_make_a_network():
    """It would take 3 GB, by a file of some hundred bytes."""
    with zipfile.ZipFile('odd.npz', 'w') as archive:
        for name, shape in (('l1/W.npy', (16000, 784)), ('l2/W.npy', (16000, 16000))):
            header = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
            content = io.BytesIO()
            numpy.lib.format.write_array_header_1_0(content, header)
            archive.writestr(name, content.getvalue())
    with pytest.raises(UserError, match='is damaged or not a snapshot'):
        snapshot.units('odd.npz')


def test_weights_that_lead_to_no_numbers(model, capsys):
    numpy.savez('wild', **{key: w * numpy.float32(1e30) for key, w in read(model).items()})
    render(3).save('image.png')
    for words in (['--noplot'], ['image.png'], ['--json', 'image.png']):
        assert predict.main(['-m', 'wild.npz', *words]) == 1
        out, err = capsys.readouterr()
        assert 'NaN' not in out
        message = 'the model computes no numbers, but NaN; give another with -m'
        assert err == f'predict.py: error: {message}\n'


def test_a_file_without_weights_has_no_units():
    numpy.savez('other', x=numpy.zeros(3))
    with pytest.raises(UserError, match='holds no weights of an MLP'):
        snapshot.units('other.npz')


def test_the_pictures_cannot_be_written(model, capsys):
    assert predict.main(['-m', model, '-o', model]) == 1
    printed = capsys.readouterr()
    assert printed.out == ''
    assert printed.err.startswith(f'predict.py: error: cannot write to {model}: ')


def test_without_matplotlib_there_are_no_pictures(model, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, 'chainer_mnist.pictures')
    monkeypatch.delattr('chainer_mnist.pictures')
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert predict.main(['-m', model, '-o', 'out']) == 0
    assert 'test images are wrong' in capsys.readouterr().out
    assert os.listdir('out') == []


def test_importing_runs_nothing_and_does_not_wait_for_matplotlib():
    code = 'import sys, predict; print("matplotlib" in sys.modules)'
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', code],
        env={**os.environ, 'PYTHONPATH': str(CLONE)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ('False\n', '')


@pytest.fixture
def figures(monkeypatch):
    """The figures in the place of their files."""
    drawn = []
    monkeypatch.setattr(pictures, '_save', lambda figure, path: drawn.append(figure))
    return drawn


def test_the_grid_marks_the_wrong_ones(figures):
    x = numpy.random.RandomState(0).rand(60, 784).astype('f')
    t = numpy.arange(60) % 10
    probabilities = 0.3 * numpy.eye(10)[t]
    probabilities[[7, 17], 1] = 0.6  # two sevens that look like a one
    pictures.save_inference('.', x, t, probabilities)
    titles = [axes.get_title() for axes in figures[0].axes]
    assert sorted(filter(None, titles)) == sorted(
        [f'{digit}: 30%' for digit in range(10)] * 3 + ['1, not 7: 60%'] * 2
    )
    shown = {(7, 17): ('1, not 7: 60%', pictures.RED), (27, 37, 47): ('7: 30%', pictures.GREEN)}
    for indices, (title, color) in shown.items():
        some = [axes for axes in figures[0].axes if axes.get_title() == title]
        for axes, i in zip(some, indices):
            assert axes.title.get_color() == color
            numpy.testing.assert_array_equal(axes.images[0].get_array().ravel(), x[i])


def test_the_table_counts_which_digit_is_taken_for_which(figures):
    rng = numpy.random.RandomState(0)
    t, taken = rng.randint(10, size=(2, 500))
    pictures.save_confusion('.', t, taken)
    [axes] = figures[0].axes
    table = {text.get_position(): text.get_text() for text in axes.texts}
    for digit in range(10):
        for answer in range(10):
            assert table[answer, digit] == str(((t == digit) & (taken == answer)).sum())
    colors = axes.images[0].get_array()
    assert colors.diagonal().max() == 0  # the right answers do not drown the mistakes
    assert colors.max() == max(int(text) for (a, d), text in table.items() if a != d)


# Image files


def render(digit, font='DejaVuSans', layout=LAYOUTS[1], paper='white', ink='black', mode='RGB'):
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
    return images.read(name)


@pytest.mark.parametrize('colors', [('white', 'black'), ('black', 'white')])
def test_rendered_digits_are_recognised(predictor, colors):
    """Print is not handwriting: models of 20 epochs get 89 to 94 % of these right."""
    right = [
        answers(predictor, [prepared(render(digit, font, layout, *colors)) for digit in range(10)])
        == range(10)
        for font in FONTS
        for layout in LAYOUTS
    ]
    assert numpy.mean(right) > 0.75


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('digit', range(10))
def test_the_form_is_that_of_mnist(digit, layout):
    """MNIST's own images have these limits, nearly all of them exactly."""
    image = prepared(render(digit, layout=layout))
    assert (image.dtype, image.shape) == (numpy.float32, (784,))
    assert image.min() == 0
    assert 0.9 < image.max() <= 1
    image = image.reshape(28, 28)
    rows, columns = (numpy.flatnonzero(image.sum(axis=axis)) for axis in (1, 0))
    assert max(numpy.ptp(rows), numpy.ptp(columns)) + 1 == 20
    for profile in (image.sum(axis=1), image.sum(axis=0)):
        assert abs(numpy.average(numpy.arange(28), weights=profile) - 14) <= 0.5


def test_the_proportions_are_kept():
    image = Image.new('L', (300, 300), 255)
    ImageDraw.Draw(image).rectangle((20, 30, 219, 129), fill=0)
    rows, columns = numpy.nonzero(prepared(image).reshape(28, 28))
    assert numpy.ptp(columns) + 1 == 20
    assert numpy.ptp(rows) + 1 in (10, 11)


def test_the_edges_are_smooth():
    image = Image.new('1', (300, 300), 1)
    ImageDraw.Draw(image).ellipse((20, 30, 279, 289), fill=0)
    disc = prepared(image)
    assert ((disc > 0.1) & (disc < 0.9)).sum() > 30


def test_a_lopsided_image_stays_inside():
    image = Image.new('L', (100, 100), 255)
    draw = ImageDraw.Draw(image)
    draw.line((50, 5, 50, 70), fill=0)
    draw.rectangle((20, 70, 80, 95), fill=0)
    assert numpy.ptp(numpy.nonzero(prepared(image).reshape(28, 28))[0]) + 1 == 20


LARGE = LAYOUTS[2]


def looks(name):
    """A five in another guise: the picture, and the options with which it is saved."""
    plain = render(5, layout=LARGE)
    grey = plain.convert('L')
    rng = numpy.random.RandomState(0)
    if name == 'deep':
        return Image.fromarray((numpy.asarray(grey).astype('u2') + 1000) * 30), {}
    if name == 'noise':
        dots = numpy.asarray(grey.resize((880, 880), Image.Resampling.BICUBIC))
        noisy = 0.5 * dots + 60 + rng.normal(0, 30, dots.shape)
        return Image.fromarray(noisy.clip(0, 255).astype('u1')), {}
    if name == 'shade':
        return Image.fromarray(numpy.uint8(numpy.asarray(grey) * numpy.linspace(0.7, 1, 220))), {}
    if name == 'dust':
        for x, y in rng.randint(1, 219, size=(8, 2)):
            plain.putpixel((x, y), (0, 0, 0))
        return plain, {}
    if name == 'damaged EXIF':
        return plain, {'exif': b'Exif\0\0garbage'}
    if name == 'huge floats':
        return Image.fromarray(numpy.float32(grey) * numpy.float32(1e35)), {}
    if name == 'turned':
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise for viewing
        return plain.transpose(Image.Transpose.ROTATE_90), {'exif': exif}
    return {
        'inverted': (render(5, layout=LARGE, paper='black', ink='white'), {}),
        'colours of one brightness': (
            render(5, layout=LARGE, paper=(0, 128, 0), ink=(251, 0, 0)),
            {},
        ),
        'faint': (render(5, layout=LARGE, paper='#808080', ink='#989898'), {}),
        'palette': (plain.quantize(8), {}),
        'bilevel': (grey.convert('1'), {}),
        'floats': (grey.convert('F').point(lambda value: value * (1 / 255) + 0), {}),
        'cmyk': (plain.convert('CMYK'), {}),
        'transparent, dark': (
            render(5, layout=LARGE, paper=(0, 0, 0, 0), ink=(0, 0, 0, 255), mode='RGBA'),
            {},
        ),
        'transparent, light': (
            render(
                5, layout=LARGE, paper=(255, 255, 255, 0), ink=(255, 255, 255, 255), mode='RGBA'
            ),
            {},
        ),
        'large': (plain.resize((3000, 3000), Image.Resampling.BICUBIC), {}),
        'compressed': (plain, {'quality': 10}),
    }[name]


@pytest.mark.parametrize(
    ('look', 'suffix'),
    [
        ('inverted', 'png'),
        ('colours of one brightness', 'png'),
        ('faint', 'bmp'),
        ('palette', 'gif'),
        ('bilevel', 'png'),
        ('deep', 'png'),
        ('floats', 'tiff'),
        ('huge floats', 'tiff'),
        ('damaged EXIF', 'png'),
        ('cmyk', 'jpg'),
        ('transparent, dark', 'png'),
        ('transparent, light', 'webp'),
        ('large', 'png'),
        ('compressed', 'jpg'),
        ('turned', 'jpg'),
        ('noise', 'png'),
        ('shade', 'png'),
        ('dust', 'png'),
    ],
)
def test_only_the_shape_counts(look, suffix):
    image, options = looks(look)
    difference = numpy.abs(
        prepared(image, f'image.{suffix}', **options) - prepared(render(5, layout=LARGE))
    )
    assert difference.mean() < 0.05  # a shift by one pixel makes more


@pytest.mark.parametrize(
    ('scale', 'inverted', 'margin'), [(1, False, 0), (4, True, 3), (1.7, False, 2)]
)
def test_mnists_own_images_as_files(predictor, monkeypatch, scale, inverted, margin):
    _, (x, t) = data.load()
    read = []
    for pixels in numpy.uint8(numpy.rint(x * 255)).reshape(-1, 28, 28):
        pixels = numpy.pad(pixels, ((margin, 3 * margin), (2 * margin, margin)))
        image = Image.fromarray(255 - pixels if inverted else pixels)
        size = [round(side * scale) for side in image.size]
        read.append(prepared(image.resize(size, Image.Resampling.BICUBIC)))
    lost = (answers(predictor, x) == t).mean() - (answers(predictor, read) == t).mean()
    assert lost < 0.02


# The answers


def test_answers_and_errors(model):
    os.mkdir('with space')
    names = ['sieben \u00fc.png', 'with space/\u4e03.png', 'inverted.jpg']
    for name in names:
        render(7, paper='white' if name.endswith('png') else 'black', ink='gray').save(name)
    with open('text.png', 'w') as file:
        file.write('no image')
    paths = ['nowhere.png', names[0], 'text.png', *names[1:]]
    done = run('-m', model, *paths, encoding='utf-8', env={**os.environ, 'PYTHONUTF8': '1'})
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for name, line in zip(names, lines):
        assert line.startswith(f'{name}: 7 (probability ')
    errors = done.stderr.splitlines()
    assert errors == [
        'predict.py: error: cannot read nowhere.png: No such file or directory; '
        'give an image of a digit',
        "predict.py: error: cannot read text.png: cannot identify image file 'text.png'; "
        'give an image of a digit',
    ]

    done = run('-m', model, '--json', *paths)
    assert (done.returncode, done.stderr.splitlines()) == (1, errors)
    records = json.loads(done.stdout)
    assert [record['file'] for record in records] == names
    for record, line in zip(records, lines):
        assert record.keys() == {'file', 'digit', 'probability'}
        assert line.endswith(f': {record["digit"]} (probability {record["probability"]:.4f})')
    assert not os.path.exists('result')


def test_a_good_end(model, predictor, capsys):
    x = prepared(render(3))
    assert predict.main(['-m', model, 'image.png']) == 0
    [probabilities] = predict.predict(predictor, x[numpy.newaxis])
    assert capsys.readouterr() == (f'image.png: 3 (probability {probabilities[3]:.4f})\n', '')
    assert probabilities.min() >= 0
    assert probabilities.sum() == pytest.approx(1)


@pytest.mark.skipif(sys.platform != 'linux', reason='other systems allow no such names')
def test_a_name_that_is_not_text(model):
    render(3).save('image.png')
    os.rename('image.png', b'caf\xe9.png')
    done = run('-m', model, b'caf\xe9.png'.decode('utf-8', 'surrogateescape'), encoding='utf-8')
    assert done.stdout.startswith('caf\\udce9.png: 3 (')


def no_file():
    os.mkdir('image')


def pipe():
    os.mkfifo('image')


def truncated():
    render(3).save('image', format='PNG')
    os.truncate('image', 300)


def blank():
    Image.new('RGB', (40, 40), 'beige').save('image', format='PNG')


def one_pixel():
    Image.new('RGB', (1, 1)).save('image', format='PNG')


def transparent():
    Image.new('RGBA', (40, 40), (0, 0, 0, 0)).save('image', format='PNG')


def not_numbers():
    Image.fromarray(numpy.full((40, 40), numpy.nan, 'f')).save('image', format='TIFF')


def infinite():
    Image.fromarray(numpy.float32([[0] * 9, [0, 1, 2, numpy.inf, 0, 0, 0, 0, 0], [0] * 9])).save(
        'image', format='TIFF'
    )


def bomb():
    Image.new('1', (10000, 9000)).save('image', format='PNG')


def large_bomb():
    Image.new('1', (20000, 10000)).save('image', format='PNG')


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (no_file, 'cannot read image: not a file; give an image of a digit'),
        (pipe, 'cannot read image: not a file; give an image of a digit'),
        (truncated, 'cannot read image: image file is truncated.*; give an image of a digit'),
        (bomb, r'cannot read image: .* exceeds limit .*; give an image of a digit'),
        (large_bomb, r'cannot read image: .* exceeds limit .*; give an image of a digit'),
        (blank, 'image shows no digit, but a single colour; give another image'),
        (one_pixel, 'image shows no digit, but a single colour; give another image'),
        (transparent, 'image shows no digit, but a single colour; give another image'),
        (not_numbers, 'image holds NaN or infinity; give another image'),
        (infinite, 'image holds NaN or infinity; give another image'),
    ],
)
def test_files_that_show_no_digit(make, message):
    make()
    with pytest.raises(UserError, match=f'^{message}$'):
        images.read('image')


def test_without_pillow(model, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, 'chainer_mnist.images')
    monkeypatch.delattr('chainer_mnist.images')
    monkeypatch.setitem(sys.modules, 'PIL', None)
    assert predict.main(['-m', model, 'image.png']) == 1
    assert capsys.readouterr().err == (
        'predict.py: error: Pillow is not installed; pip install pillow\n'
    )
