"""What ``predict.py`` answers: on the test set, and on image files drawn here for the purpose."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

from chainer_mnist import data
from chainer_mnist.errors import UserError

import numpy
import pytest
from PIL import Image

import predict
from helpers import CLONE, read, train
from test_images import prepared, render

# Size of the font, side of the image, and where in it the digit is, in pixels and parts.


def run(*words, **options):
    """Runs ``predict.py`` as a process of its own and captures what it prints."""
    options = {'capture_output': True, 'text': True, 'timeout': 120, **options}
    return subprocess.run([sys.executable, str(CLONE / 'predict.py'), *map(str, words)], **options)


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
    with pytest.raises(
        UserError, match=r'odd.npz holds (no l1/b|l1/W as .*); give a file of the same network'
    ):
        predict.load_predictor('odd.npz')


def test_a_header_alone_does_not_make_a_network():
    """It would take 3 GB, by a file of some hundred bytes."""
    with zipfile.ZipFile('odd.npz', 'w') as archive:
        for name, shape in (('l1/W.npy', (16000, 784)), ('l2/W.npy', (16000, 16000))):
            header = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
            content = io.BytesIO()
            numpy.lib.format.write_array_header_1_0(content, header)
            archive.writestr(name, content.getvalue())
    with pytest.raises(UserError, match='is damaged or not a snapshot'):
        predict.load_predictor('odd.npz')


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
    with pytest.raises(UserError, match='holds no weights of this network'):
        predict.load_predictor('other.npz')


def test_the_pictures_cannot_be_written(model, capsys):
    assert predict.main(['-m', model, '-o', model]) == 1
    printed = capsys.readouterr()
    assert printed.out == ''
    assert printed.err.startswith(f'predict.py: error: cannot write to {model}: ')


def test_without_matplotlib_there_are_no_pictures(model, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, 'chainer_mnist.pictures', raising=False)
    monkeypatch.delattr('chainer_mnist.pictures', raising=False)
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
    assert len(lines) == len(names)
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


def test_without_pillow(model, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, 'chainer_mnist.images')
    monkeypatch.delattr('chainer_mnist.images')
    monkeypatch.setitem(sys.modules, 'PIL', None)
    assert predict.main(['-m', model, 'image.png']) == 1
    assert capsys.readouterr().err == (
        'predict.py: error: Pillow is not installed; pip install pillow\n'
    )
