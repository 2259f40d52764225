"""HDF5 files by ``chainer.serializers.save_hdf5``: read where h5py is installed, never trusted."""

import os
import sys
import tracemalloc

from chainer_mnist import hdf5, snapshot

import numpy
import pytest
from chainer import serializers
from hypothesis import given, settings
from hypothesis import strategies as st

import predict
from helpers import log_of, main, read
from spoiling import (
    UNITS,
    Files,
    Target,
    assert_refused,
    byte_changes,
    change_bytes,
    fuzz,
    load_or_refuse,
)
from trainer import make_trainer

h5py = pytest.importorskip('h5py')


@pytest.fixture(scope='module')
def trained(tmp_path_factory, tiny):
    """Files by plain Chainer, as bytes by name."""
    out = tmp_path_factory.mktemp('hdf5')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CHAINER_DATASET_ROOT', str(tiny))
        trainer = make_trainer(out, 1)
        trainer.run()
    optimizer = trainer.updater.get_optimizer('main')
    serializers.save_hdf5(out / 'classifier.model', optimizer.target)
    serializers.save_hdf5(out / 'mlp.model', optimizer.target.predictor)
    serializers.save_hdf5(out / 'mlp.state', optimizer)
    serializers.save_npz(f'{out}/npz.model', optimizer.target.predictor)
    serializers.save_npz(f'{out}/npz.state', optimizer)
    # Chainer cannot write a Trainer with a LogReport as HDF5, for its log is a text.
    serializers.save_hdf5(out / 'snapshot', trainer.updater)
    with h5py.File(out / 'snapshot', 'r+') as file:
        for name in list(file):
            file.move(name, f'updater/{name}')
    names = ['classifier.model', 'mlp.model', 'mlp.state', 'npz.model', 'npz.state', 'snapshot']
    return Files({name: (out / name).read_bytes() for name in names})


@pytest.fixture
def files(trained):
    for name, content in trained.items():
        with open(name, 'wb') as file:
            file.write(content)


@pytest.mark.parametrize('name', ['classifier.model', 'mlp.model', 'snapshot'])
def test_models(files, name):
    assert main('-e', 0, '-u', UNITS, '--noplot', '-m', name)[0] == 0
    ours, expected = read('result/mlp.model'), read('npz.model')
    assert all(ours[key].tobytes() == w.tobytes() for key, w in expected.items())
    status, printed, errors = main('-m', name, '--noplot', program=predict)
    assert (status, errors) == (0, '')
    assert 'test images are wrong' in printed


def test_a_state_with_the_weights_beside_it(files):
    os.remove('npz.model')
    status, printed, errors = main('-e', 1, '-u', UNITS, '--noplot', '-r', 'mlp.state')
    assert (status, errors) == (0, '')
    assert 'Load model from classifier.model\nLoad optimizer state from mlp.state\n' in printed
    assert read('result/mlp.state')['t'] == 10


def test_a_state_is_that_of_the_npz(files):
    hdf5, npz = Target(), Target()
    for target, name in ((hdf5, 'mlp.state'), (npz, 'npz.state')):
        snapshot.load_state(name, target.optimizer, weights=False)
        serializers.load_hdf5('classifier.model', target.model)
    assert hdf5.content() == npz.content()
    assert hdf5.optimizer.t == 5


def test_a_snapshot_of_the_trainer(files):
    # Python 2 wrote the log as bytes.
    with h5py.File('snapshot', 'r+') as file:
        file['extensions/LogReport/_log'] = numpy.array(b'[{"epoch": 1, "iteration": 5}]')
    status, printed, errors = main('-e', 1, '-u', UNITS, '--noplot', '-r', 'snapshot')
    assert (status, errors) == (0, '')
    assert '\nepoch 2\n' in printed
    assert [record['epoch'] for record in log_of('result')] == [1, 2]


def test_without_h5py_the_line_says_to_install_it(files, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    for flag in ('-m', '-r'):
        errors = main(flag, 'mlp.model')[2]
        assert errors == (
            'train_mnist.py: error: mlp.model is an HDF5 file; pip install h5py, and it is read\n'
        )


def test_a_model_of_keras_is_named_by_its_layers():
    with h5py.File('keras.h5', 'w') as file:
        file.create_dataset('model_weights/dense/dense/kernel:0', data=numpy.zeros((3, 2), 'f'))
    errors = main('-m', 'keras.h5')[2]
    assert errors == (
        'train_mnist.py: error: keras.h5 holds no weights of this network (l1, l2, l3), but '
        'model_weights; give -m a file of the same network\n'
    )


# Hostile files


def spoil(change, name='mlp.model'):
    with h5py.File(name, 'r+') as file:
        change(file)


def replace(file, **how):
    del file['l1/W']
    file.create_dataset('l1/W', **how)


@pytest.mark.parametrize(
    'change',
    [
        lambda file: replace(file, shape=(UNITS, 10**9), dtype='f', chunks=(1, 1024)),
        lambda file: replace(file, shape=(10**6, 784), dtype='f', chunks=(1, 784)),
        lambda file: replace(
            file, shape=(UNITS, 784), dtype='f', chunks=(2**12, 2**14), maxshape=(None, None)
        ),
        lambda file: replace(file, shape=(UNITS, 784), dtype='S100000'),
        lambda file: replace(file, shape=(UNITS, 784), dtype=h5py.string_dtype()),
        lambda file: replace(file, data=h5py.Empty('f')),
        lambda file: replace(file, shape=(UNITS, 784), dtype=[('x', 'f4')]),
    ],
)
def test_a_bomb_does_not_fill_the_memory(files, change):
    spoil(change)
    tracemalloc.start()
    try:
        assert_refused('-m', 'mlp.model', 'mlp.model .*; (give|add) .*')
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_nothing_is_read_that_lies_in_another_file(files):
    with open('secret', 'wb') as file:
        file.write(numpy.ones((UNITS, 784), 'f').tobytes())
    external = [('secret', 0, h5py.h5f.UNLIMITED)]
    spoil(lambda file: replace(file, shape=(UNITS, 784), dtype='f', external=external))
    assert_refused('-m', 'mlp.model', 'mlp.model holds no l1/W; .*')


def test_links_to_other_files_are_not_followed(files):
    def link(file):
        del file['l1/W']
        file['l1/W'] = h5py.ExternalLink('classifier.model', 'predictor/l1/W')

    spoil(link)
    assert_refused('-m', 'mlp.model', 'mlp.model holds no l1/W; .*')


def test_a_group_that_holds_itself(files):
    def tie(file):
        file['l1/again'] = file['l1']

    whole, target = Target(), Target()
    whole.load('-m', 'mlp.model')
    spoil(tie)
    target.load('-m', 'mlp.model')
    assert target.content() == whole.content()


@pytest.mark.parametrize(
    ('flag', 'name'), [('-m', 'classifier.model'), ('-m', 'snapshot'), ('-r', 'snapshot')]
)
@settings(fuzz, max_examples=20)
@given(changes=st.lists(byte_changes(), min_size=1, max_size=3))
def test_changed_bytes_load_or_are_refused(trained, flag, name, changes):
    """On some of them, the library that reads HDF5 crashes or does not come back."""
    with open('fuzzed', 'wb') as file:
        file.write(change_bytes(trained[name], changes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, 'PATIENCE', 3)
        load_or_refuse(flag, 'fuzzed')
