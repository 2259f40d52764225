"""Files of other kinds: each is named for what it is, and the line says what to do with it."""

import contextlib
import os
import pickle
import re
import shutil
import subprocess
import zipfile

from chainer_mnist import formats
from chainer_mnist.errors import UserError

import chainer
import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers
from hypothesis import given
from hypothesis import strategies as st

import predict
from helpers import CLONE, main, read
from net import MLP
from spoiling import UNITS, Target, byte_changes, change_bytes, fuzz, load_or_refuse

REWRITE = 'write its weights with numpy.savez, under the names that mlp.model has'
LFS = """version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""


def assert_named(path, what):
    """Asserts what all that read snapshots say of a file, and that they change nothing."""
    for words, program in ((['-m'], None), (['-r'], None), (['-m'], predict)):
        options = {'program': program} if program else {}
        status, _, errors = main(*words, path, **options)
        prog = 'predict.py' if program else 'train_mnist.py'
        assert (status, errors) == (1, f'{prog}: error: {path} is {what}\n')
        assert not os.path.exists('result')


@pytest.mark.parametrize(
    ('name', 'what'),
    [
        ('model.pt', 'a PyTorch file'),
        ('old.pt', 'a PyTorch file'),
        ('model.safetensors', 'a safetensors file'),
        ('model.onnx', 'an ONNX file'),
        ('named.onnx', 'an ONNX file'),
    ],
)
def test_files_of_other_frameworks(name, what):
    shutil.copy(CLONE / 'tests' / 'foreign' / name, 'model')
    assert_named('model', f'{what}; {REWRITE}')


def test_a_pointer_of_git_lfs():
    with open('mlp.model', 'w') as file:
        file.write(LFS)
    assert_named('mlp.model', 'a pointer of Git LFS in place of the file; run git lfs pull')


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    'content', [{'l1': [1.0]}, [1], L.Linear(2, 3)], ids=['dict', 'list', 'link']
)
def test_a_pickle(content, protocol):
    with open('mlp.model', 'wb') as file:
        pickle.dump(content, file, protocol)
    what = 'a pickle, which can run anything; where you trust it, load it and write it with '
    assert_named('mlp.model', what + 'chainer.serializers.save_npz')


def test_an_array_alone():
    numpy.save('model.npy', numpy.zeros(3))
    assert_named('model.npy', f'a single array without a name; {REWRITE}')


def test_a_zip_archive_of_something_else():
    with zipfile.ZipFile('archive', 'w') as archive:
        archive.writestr('letter.txt', 'Dear reader')
    assert_named('archive', 'a zip archive without arrays; give an npz file')


@pytest.mark.parametrize('name', ['mlp', 'my model'])
def test_an_npz_that_was_unpacked_and_the_advice_works(name):
    assert main('-e', 1, '-u', UNITS, '--noplot', '-o', 'trained')[0] == 0
    with zipfile.ZipFile('trained/mlp.model') as archive:
        archive.extractall(name)
    with pytest.raises(UserError) as error, formats.open_snapshot(name):
        pass
    advice = r'.* is an npz file that was unpacked; pack it \((.*)\) and give (.*)'
    command, packed = re.fullmatch(advice, str(error.value)).groups()
    assert_named(name, str(error.value).partition(' is ')[2].replace(os.sep, '/'))
    subprocess.run(command, shell=True, check=True)
    assert main('-e', 0, '-u', UNITS, '--noplot', '-m', packed)[0] == 0
    for key, array in read('trained/mlp.model').items():
        assert read('result/mlp.model')[key].tobytes() == array.tobytes()


def test_the_advice_replaces_no_file():
    os.mkdir('mlp')
    numpy.save('mlp/x.npy', numpy.zeros(3))
    for name in ('mlp.zip', 'mlp-packed.zip'):
        open(name, 'w').close()
    errors = main('-m', 'mlp')[2]
    assert errors.endswith('mlp-packed-packed.zip\n')
    assert errors.count('mlp-packed-packed') == 2


def test_a_folder_with_an_array_somewhere_is_no_unpacked_npz():
    os.makedirs('data/raw')
    numpy.save('data/raw/x.npy', numpy.zeros(3))
    open('data/README', 'w').close()
    errors = main('-m', 'data')[2]
    assert (
        errors == 'train_mnist.py: error: data is a folder without a file that fits; give a file\n'
    )


def test_what_is_none_of_them_is_called_none_of_them():
    contents = [
        b'c\n',
        b'chapter\none\nand so on.',
        b'(duck).',
        b'version 1',
        b'}]',
        b'\x08\x01\x12\xff\x01',  # a model of TensorFlow begins so
        b'{"epoch": 1}',
        b'12345678{',
    ]
    for content in contents:
        with open('text', 'wb') as file:
            file.write(content)
        for flag in ('-m', '-r'):
            errors = main(flag, 'text')[2]
            assert errors.startswith('train_mnist.py: error: text is damaged or not a snapshot (')


# Networks and optimizers


def test_a_convolutional_network():
    chain = chainer.Sequential(L.Convolution2D(1, 3, 5), L.Linear(10, 10))
    serializers.save_npz('cnn.model', chain)
    errors = main('-m', 'cnn.model')[2]
    assert errors == (
        'train_mnist.py: error: cnn.model holds no weights of this network (l1, l2, l3), but a '
        'convolutional network (0, 1); give -m a file of the same network\n'
    )


def test_layers_of_other_names():
    chain = chainer.Chain(fc1=L.Linear(784, 50), fc2=L.Linear(50, 10))
    serializers.save_npz('other.model', chain)
    errors = main('-m', 'other.model')[2]
    assert errors == (
        'train_mnist.py: error: other.model holds no weights of this network (l1, l2, l3), but '
        'fc1, fc2; give -m a file of the same network\n'
    )


def test_a_network_with_more_layers():
    predictor = MLP(UNITS, 10)
    with predictor.init_scope():
        predictor.l4 = L.Linear(10, 10)
    predictor(numpy.zeros((1, 784), 'f'))
    serializers.save_npz('more.model', predictor)
    errors = main('-m', 'more.model', '-u', UNITS)[2]
    assert errors.startswith('train_mnist.py: error: more.model holds more than this network: l4; ')


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (optimizers.MomentumSGD, 'MomentumSGD'),
        (optimizers.NesterovAG, 'NesterovAG'),
        (optimizers.AdaGrad, 'AdaGrad'),
        (optimizers.RMSprop, 'RMSprop'),
        (optimizers.RMSpropGraves, 'RMSpropGraves'),
        (optimizers.AdaDelta, 'AdaDelta'),
        (optimizers.SMORMS3, 'SMORMS3'),
        (optimizers.AMSGrad, 'AMSGrad'),
        (optimizers.SGD, 'SGD'),
    ],
)
def test_the_state_of_another_optimizer(make, named):
    target = Target()
    optimizer = make().setup(target.model)
    optimizer.update(target.model, numpy.ones((2, 784), 'f'), numpy.zeros(2, 'i'))
    serializers.save_npz('classifier.model', target.model)
    serializers.save_npz('mlp.state', optimizer)
    errors = main('-r', 'mlp.state', '-u', UNITS)[2]
    start, known, end = re.match(r'(.*) \((.*)\), (.*)\n', errors).groups()
    assert start == 'train_mnist.py: error: mlp.state is a state of another optimizer'
    assert named in known.split(' or ')
    assert end.startswith('not of Adam; ')


# Hostile files


FOREIGN = ['model.pt', 'old.pt', 'model.safetensors', 'model.onnx', 'named.onnx', 'lfs', 'pickle']


@pytest.mark.parametrize('name', FOREIGN)
@fuzz
@given(changes=st.lists(byte_changes(), min_size=1, max_size=3))
def test_whatever_it_is_there_is_one_line(name, changes):
    if name == 'lfs':
        content = LFS.encode()
    elif name == 'pickle':
        content = pickle.dumps(read(CLONE / 'tests' / 'chainer2' / 'mlp.model'))
    else:
        content = (CLONE / 'tests' / 'foreign' / name).read_bytes()
    with open('fuzzed', 'wb') as file:
        file.write(change_bytes(content, changes))
    for flag in ('-m', '-r'):
        assert load_or_refuse(flag, 'fuzzed') is None


class Payload:
    def __reduce__(self):
        return os.mkdir, ('the-payload-ran',)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_run(protocol):
    with open('pickle', 'wb') as file:
        pickle.dump(Payload(), file, protocol)
    with pytest.raises(UserError), formats.open_snapshot('pickle'):
        pass
    assert not os.path.exists('the-payload-ran')
    with contextlib.suppress(Exception):
        numpy.load('pickle', allow_pickle=True)  # as chainer.serializers.load_npz does
    assert os.path.exists('the-payload-ran')
