"""Weights beside a training state, and the newest file in a folder."""

import os
import shutil
from pathlib import Path

from chainer_mnist import finding

import pytest
from chainer import optimizers, serializers

import predict
from helpers import main, make_pipe, read, same
from spoiling import UNITS
from trainer import make_trainer, save_all


def run(*words):
    status, printed, errors = main('-e', 0, '-u', UNITS, '--noplot', '-o', 'after', *words)
    assert (status, errors) == (0, '')
    return printed


@pytest.fixture
def plain():
    """What plain Chainer leaves behind, as its examples do: a state without weights and models."""
    trainer = make_trainer('result', 1)
    trainer.run()
    save_all('result', trainer.updater.get_optimizer('main'))
    os.remove('result/snapshot_iter_5')


def leave(*kept):
    """Leaves no models in the result but those named, each with a source to copy it from."""
    files = {name: Path(f'result/{source}').read_bytes() for name, source in kept}
    for name in ('classifier.model', 'mlp.model'):
        os.remove(f'result/{name}')
    for name, content in files.items():
        with open(f'result/{name}', 'wb') as file:
            file.write(content)


@pytest.mark.parametrize('source', ['classifier.model', 'mlp.model'])
@pytest.mark.parametrize(
    'name', ['classifier.model', 'classifier_mlp.model', 'mlp.model', 'of [my] own.model']
)
def test_weights_beside_a_state(plain, name, source):
    shutil.copy('result/mlp.model', 'expected')
    leave((name, source))
    printed = run('-r', 'result/mlp.state')
    assert f'Load model from result/{name}\nLoad optimizer state from result/mlp.state' in printed
    after, expected = read('after/mlp.model'), read('expected')
    assert all(after[key].tobytes() == w.tobytes() for key, w in expected.items())


def test_weights_beside_that_do_not_fit_are_passed_over(plain):
    shutil.copy('result/mlp.model', 'mine')
    make_other()
    shutil.copy('other/classifier.model', 'result/classifier.model')
    assert 'Load model from result/mlp.model\n' in run('-r', 'result/mlp.state')
    os.remove('result/mlp.model')
    errors = main('-u', UNITS, '-r', 'result/mlp.state')[2]
    message = 'result/classifier.model holds a network of 9 units, not 6; add -u 9'
    assert errors == f'train_mnist.py: error: {message}\n'


def make_other():
    assert main('-e', 0, '-u', 9, '--noplot', '-o', 'other')[0] == 0


def test_more_than_one_model_beside_a_state(plain):
    leave(('a.model', 'mlp.model'), ('b.model', 'mlp.model'))
    errors = main('-u', UNITS, '-r', 'result/mlp.state')[2]
    assert errors == (
        'train_mnist.py: error: result/mlp.state holds no weights, and more than one model fits '
        'beside it (result/a.model, result/b.model); give one with -m\n'
    )
    make_other()
    shutil.copy('other/mlp.model', 'result/b.model')
    assert 'Load model from result/a.model\n' in run('-r', 'result/mlp.state')


def test_no_model_beside_a_state(plain):
    leave()
    errors = main('-u', UNITS, '-r', 'result/mlp.state')[2]
    assert errors == (
        'train_mnist.py: error: result/mlp.state holds no weights, and no model beside it fits; '
        'give the weights with -m\n'
    )


# Folders


def age(*names):
    """Sets the times of files, the oldest first."""
    for i, name in enumerate(names):
        os.utime(name, (10**9 + 60 * i, 10**9 + 60 * i))


def test_the_newest_snapshot_in_a_folder_of_the_trainer():
    make_trainer('result', 3).run()
    make_pipe('result/pipe')
    os.mkdir('result/folder')
    age(*(f'result/{name}' for name in ('snapshot_iter_5', 'snapshot_iter_15', 'snapshot_iter_10')))
    printed = run('-r', 'result')
    assert 'Load optimizer state from result/snapshot_iter_10\n' in printed
    assert 'Load model from result/snapshot_iter_10\n' in run('-m', 'result/')
    with open('result/snapshot_iter_10', 'r+b') as file:
        file.truncate(100)
    assert 'Load optimizer state from result/snapshot_iter_15\n' in run('-r', 'result')
    _, printed, errors = main('-m', 'result', '--noplot', program=predict)
    assert errors == ''
    assert printed.startswith('Load model from result/snapshot_iter_15\n')
    _, printed, errors = main('-m', 'result', '--noplot', '--json', program=predict)
    assert (printed[0], errors) == ('{', '')


def test_copies_that_are_all_as_old():
    """As after a download. The numbers in the names then say which is the newest."""
    make_trainer('result', 3).run()
    os.rename('result/snapshot_iter_15', 'result/snapshot_iter_100')
    for name in os.listdir('result'):
        os.utime(f'result/{name}', (10**9, 10**9))
    assert 'Load optimizer state from result/snapshot_iter_100\n' in run('-r', 'result')


def test_a_state_without_weights_is_passed_over():
    trainer = make_trainer('result', 2)
    trainer.run()
    serializers.save_npz('result/state_iter_10', trainer.updater.get_optimizer('main'))
    age('result/snapshot_iter_5', 'result/snapshot_iter_10', 'result/state_iter_10')
    assert 'Load optimizer state from result/snapshot_iter_10\n' in run('-r', 'result')


def test_a_folder_of_another_optimizer():
    make_trainer('result', 1, optimizer=optimizers.AMSGrad()).run()
    errors = main('-u', UNITS, '-r', 'result')[2]
    assert errors == (
        'train_mnist.py: error: result/snapshot_iter_5 is a state of another optimizer (AMSBound '
        'or AMSGrad), not of Adam; give one of Adam, or set up the other one in train_mnist.py\n'
    )


def test_a_folder_of_this_project_goes_on():
    assert main('-e', 2, '-u', UNITS, '-s', 1, '--noplot', '-o', 'whole')[0] == 0
    assert main('-e', 1, '-u', UNITS, '-s', 1, '--noplot')[0] == 0
    status, printed, errors = main('-e', 1, '-u', UNITS, '--noplot', '-r', 'result')
    assert (status, errors) == (0, '')
    assert 'Load optimizer state from result/mlp.state\n' in printed
    assert same('whole/mlp.state', 'result/mlp.state')


def test_a_folder_with_a_state_that_holds_no_weights(plain):
    printed = run('-r', 'result')
    lines = 'Load model from result/classifier.model\nLoad optimizer state from result/mlp.state\n'
    assert lines in printed


def test_weights_of_m_with_the_rest_of_a_folder(plain):
    make_trainer('other', 1).run()
    printed = run('-m', 'other', '-r', 'result')
    lines = 'Load model from other/snapshot_iter_5\nLoad optimizer state from result/mlp.state\n'
    assert lines in printed


def test_a_folder_where_an_option_is_wrong():
    make_trainer('result', 1).run()
    for flag in ('-m', '-r'):
        errors = main(flag, 'result')[2]
        message = 'result/snapshot_iter_5 holds a network of 6 units, not 50; add -u 6'
        assert errors == f'train_mnist.py: error: {message}\n'
    assert main('-m', 'result', '--noplot', program=predict)[0] == 0


@pytest.mark.parametrize('flag', ['-m', '-r'])
def test_a_folder_without_a_snapshot(flag):
    os.mkdir('folder')
    with open('folder/letter', 'w') as file:
        file.write('Dear reader')
    errors = main(flag, 'folder')[2]
    assert errors == (
        'train_mnist.py: error: folder is a folder without a file that fits; give a file\n'
    )


def test_a_folder_that_cannot_be_read(monkeypatch):
    os.mkdir('folder')

    def scandir(path):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(finding.os, 'scandir', scandir)
    errors = main('-r', 'folder')[2]
    assert errors == 'train_mnist.py: error: cannot read folder: Permission denied; give a file\n'
