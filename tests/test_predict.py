"""What ``predict.py`` predicts, for the test set and for image files of the user."""

import json
import os
import re
from pathlib import Path

from chainer_mnist.data import load_mnist

import numpy
from PIL import Image

import predict
from helpers import log_of, read, run_code, train
from helpers import main as run_main


def main(*words):
    return run_main(*words, program=predict)


# The test set


def test_misclassified_images_are_counted_and_drawn(model, predictor, monkeypatch):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    status, printed, errors = main('-m', model, '-o', 'a/b')
    _, (x, t) = load_mnist()
    wrong = (predictor(x).array.argmax(axis=1) != t).sum()
    line = f'{wrong} of 10000 test images are misclassified (accuracy {(10000 - wrong) / 10000})\n'
    assert (status, printed, errors) == (0, line, '')
    assert sorted(os.listdir('a/b')) == ['confusion.png', 'inference.png']
    for name in os.listdir('a/b'):
        with Image.open(f'a/b/{name}') as picture:
            assert all(500 < side < 1600 for side in picture.size)


def test_every_file_of_a_run_gives_the_same_json():
    train('-e', 3, '-s', 1, '-u', 20, '-n', 'trainflag', '-o', 'out')
    accuracy = log_of('out')[-1]['validation/main/accuracy']
    expected = {'images': 300, 'wrong': round(300 * (1 - accuracy)), 'accuracy': accuracy}
    for name in ('classifier.model', 'mlp.model', 'mlp.state', ''):
        status, printed, errors = main('-m', f'out/{name}', '--json', '--noplot')
        assert (status, json.loads(printed), errors) == (0, expected, '')
    assert not os.path.exists('result')  # --noplot


def test_errors_of_the_model_and_the_pictures(model):
    large = {key: w * numpy.float32(1e30) for key, w in read(model).items()}
    numpy.savez('large', **large)
    nan = 'the model predicts NaN; give another one with -m'
    for words, message in (
        ([], 'there is no result/mlp.model; run train_mnist.py first, or pass a model with -m'),
        (['-m', model, '-u', 30], '.*; pass -u 50'),
        (['-m', model, '-o', model], '.*cannot write to .*; choose another directory with -o'),
        (['-m', 'large.npz', '--noplot'], nan),
        (['-m', 'large.npz', save_seven('image.png')], nan),
    ):
        status, _, errors = main(*words)
        assert status == 1
        assert re.fullmatch(f'predict.py: error: {message}\n', errors), errors


# Images


def save_seven(name):
    """Saves the first test image, a seven, in ink on paper, as another program might."""
    _, (x, t) = load_mnist()
    assert t[0] == 7
    pixels = 255 - numpy.uint8(255 * x[0].reshape(28, 28))
    Image.fromarray(pixels).resize((280, 280)).save(name)
    return name


def test_images_and_errors(model):
    os.mkdir('with space')
    names = [save_seven('sieben \u00fc.png'), save_seven('with space/\u4e03.jpg')]
    Path('text.png').write_text('no image')
    paths = ['nowhere.png', names[0], 'text.png', names[1]]
    status, printed, errors = main('-m', model, *paths)
    assert status == 1
    lines = printed.splitlines()
    for name, line in zip(names, lines):
        assert line.startswith(f'{name}: 7 (probability 0.')
    for name, line in zip(('nowhere.png', 'text.png'), errors.splitlines()):
        assert line.startswith(f'predict.py: error: cannot read {name}: ')

    status, printed, its_errors = main('-m', model, '--json', *paths)
    assert (status, its_errors) == (1, errors)
    records = json.loads(printed)
    assert [record['file'] for record in records] == names
    for record, line in zip(records, lines):
        assert record.keys() == {'file', 'digit', 'probability'}
        assert line.endswith(f': {record["digit"]} (probability {record["probability"]:.4f})')


def test_importing_runs_nothing_and_does_not_wait_for_matplotlib_or_mpi():
    slow = '{"matplotlib", "mpi4py", "chainermn"}'
    done = run_code(f'import sys, predict, train_mnist; print({slow} & set(sys.modules))')
    assert (done.stdout, done.stderr) == ('set()\n', '')
