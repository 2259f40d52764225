"""Snapshots of plain Chainer's Trainer: read, gone on with to the same bits, and never trusted."""

import functools
import json
import os
import shutil

from chainer_mnist import data, resume

import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers
from hypothesis import given
from hypothesis import strategies as st

import predict
from helpers import CLONE, log_of, main, read, rewrite, same
from net import MLP
from spoiling import (
    VALUES,
    Files,
    Payload,
    Target,
    byte_changes,
    change_bytes,
    fuzz,
    load_or_refuse,
)
from trainer import UNITS, make_trainer, plain_run

OLD = CLONE / 'tests' / 'chainer2' / 'trainer'
MODEL, OPTIMIZER = 'updater/model:main/', 'updater/optimizer:main/'


def run(*words, program=None):
    """Runs a command with few units, which must go well. Returns what it printed."""
    options = ['--noplot'] if program else ['-u', UNITS, '--noplot']
    status, printed, errors = main(*words, *options, **({'program': program} if program else {}))
    assert (status, errors) == (0, '')
    return printed


def weights_in(path):
    """The weights in a Trainer's snapshot, by their keys in the predictor."""
    return {
        key[len(MODEL) :].removeprefix('predictor/'): array
        for key, array in read(path).items()
        if key.startswith(MODEL)
    }


def assert_weights(path, expected):
    found = read(path)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].tobytes() == array.tobytes(), key


# Gone on with


def test_a_run_of_the_trainer_goes_on_to_the_same_bits():
    trainer = make_trainer('result', 3)
    trainer.run()
    records = log_of('result')
    assert [record['epoch'] for record in records] == [0, 1, 2, 3]

    printed = run('-e', 2, '-s', 5, '-r', 'result/snapshot_iter_15', '-o', 'result')
    assert 'Load optimizer state from result/snapshot_iter_15\n# seed: 5\nepoch 4\n' in printed
    assert 'Load model' not in printed
    assert log_of('result')[:4] == records
    assert [record['epoch'] for record in log_of('result')] == [0, 1, 2, 3, 4, 5]
    assert [record['iteration'] for record in log_of('result')] == [0, 5, 10, 15, 20, 25]

    model = L.Classifier(MLP(UNITS, 10))
    optimizer = optimizers.Adam().setup(model)
    serializers.load_npz('result/snapshot_iter_15', model, path=MODEL)
    serializers.load_npz('result/snapshot_iter_15', optimizer, path=OPTIMIZER)
    plain_run(model, optimizer, [4, 5], 5, UNITS)
    serializers.save_npz('after.model', model)
    serializers.save_npz('after.state', optimizer)
    assert same('after.model', 'result/classifier.model')
    ours, plain = read('result/mlp.state'), read('after.state')
    assert ours['epoch'] == 5
    for key in plain.keys() - {'epoch'}:
        assert ours[key].tobytes() == plain[key].tobytes(), key


def plain_members(path, trainer):
    serializers.save_npz(path, trainer, compression=False)


@pytest.mark.parametrize('name', ['snapshot_iter_5', 'snapshot_epoch-1.npz'])
@pytest.mark.parametrize('savefun', [serializers.save_npz, plain_members])
@pytest.mark.parametrize('bare', [False, True])
@pytest.mark.parametrize('windows', [False, True])
def test_every_form_of_it(name, savefun, bare, windows):
    make_trainer('result', 1, bare=bare, filename=name, savefun=savefun).run()
    path = f'result/{name}'
    if windows:
        narrow = {
            key: array.astype('i4') for key, array in read(path).items() if array.dtype == 'i8'
        }
        rewrite(path, lambda content: content.update(narrow))
    net = ['-n', 'trainflag'] if bare else []
    for words in (['-m', path], ['-r', path, *net]):
        run('-e', 0, *words, '-o', 'after')
        assert_weights('after/mlp.model', weights_in(path))
    state = read('after/mlp.state')
    assert (state['epoch'], state['t']) == (1, 5)
    run('-m', path, program=predict)


def test_the_other_network_is_named_and_the_advice_works():
    make_trainer('result', 1, bare=True).run()
    errors = main('-u', UNITS, '-r', 'result/snapshot_iter_5')[2]
    message = 'result/snapshot_iter_5 is a state of the network trainflag; add --net trainflag'
    assert errors == f'train_mnist.py: error: {message}\n'
    errors = main('-n', 'trainflag', '-r', 'result/snapshot_iter_5')[2]
    message = 'result/snapshot_iter_5 holds a network of 6 units, not 50; add -u 6'
    assert errors == f'train_mnist.py: error: {message}\n'
    run('-e', 1, '-n', 'trainflag', '-r', 'result/snapshot_iter_5')


def test_within_an_epoch():
    make_trainer('result', 8, 'iteration').run()
    printed = run('-e', 1, '-r', 'result/snapshot_iter_8')
    line = 'result/snapshot_iter_8 ends within epoch 2: go on from the beginning of it\n'
    assert line + '# seed' in printed
    assert 'epoch 2\n' in printed
    assert [record['epoch'] for record in log_of('result')] == [0, 1, 2]
    assert read('result/mlp.state')['t'] == 13


def test_within_the_first_epoch():
    make_trainer('result', 3, 'iteration').run()
    printed = run('-e', 1, '-r', 'result/snapshot_iter_3')
    assert 'ends within epoch 1: go on' in printed
    assert 'Count epochs' not in printed
    assert [record['epoch'] for record in log_of('result')] == [0, 1]


def test_another_optimizer_is_named():
    make_trainer('result', 1, optimizer=optimizers.RMSprop()).run()
    errors = main('-u', UNITS, '-r', 'result/snapshot_iter_5')[2]
    assert errors.startswith(
        'train_mnist.py: error: result/snapshot_iter_5 is a state of another optimizer (RMSprop), '
        'not of Adam; '
    )
    run('-e', 0, '-m', 'result/snapshot_iter_5', '-o', 'after')
    assert_weights('after/mlp.model', weights_in('result/snapshot_iter_5'))


# The log


def test_the_log_comes_out_of_the_snapshot_where_there_is_none_beside_it():
    make_trainer('elsewhere', 2).run()
    os.mkdir('moved')
    shutil.move('elsewhere/snapshot_iter_10', 'moved')
    run('-e', 1, '-r', 'moved/snapshot_iter_10')
    # The Trainer writes a snapshot before the log gets its last record, or after it.
    kept = json.loads(str(read('moved/snapshot_iter_10')['extensions/LogReport/_log']))
    assert [record['epoch'] for record in kept] == [0, 1, 2]
    assert log_of('result')[:3] == kept
    assert [record['epoch'] for record in log_of('result')] == [0, 1, 2, 3]


def test_an_optimizer_of_another_name():
    make_trainer('result', 2).run()
    renamed = {
        key.replace('/model:main/', '/model:mlp/').replace('/optimizer:main/', '/optimizer:mlp/'): w
        for key, w in read('result/snapshot_iter_10').items()
    }
    assert 'updater/optimizer:mlp/t' in renamed
    numpy.savez('renamed.npz', **renamed)
    for name in ('renamed.npz', 'result/snapshot_iter_10'):
        run('-e', 1, '-s', 1, '-r', name, '-o', os.path.basename(name)[0])
    assert same('r/mlp.state', 's/mlp.state')


def test_going_on_from_an_earlier_snapshot_than_the_log():
    make_trainer('result', 3).run()
    records = log_of('result')
    printed = run('-e', 1, '-r', 'result/snapshot_iter_10')
    line = 'Leave out 1 of 4 records in result/log: later than the state\n'
    assert printed.count(line) == 1
    assert log_of('result')[:3] == records[:3]
    assert [record['epoch'] for record in log_of('result')] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    'text', ['', '{}', '[1]', '[{"epoch": "x", "iteration": 1}]', '[' * 10**5, b'\xff', 5, [['x']]]
)
def test_a_log_in_a_snapshot_that_is_none_is_refused(text):
    make_trainer('result', 1).run()
    path = 'result/snapshot_iter_5'
    rewrite(path, lambda content: content.update({'extensions/LogReport/_log': numpy.array(text)}))
    target = Target()
    before = target.content()
    status, _, errors = main('-u', UNITS, '-r', path)
    assert status == 1
    assert errors.startswith(f'train_mnist.py: error: {path} is damaged or not a snapshot (')
    assert load_or_refuse('-r', path) is None
    assert target.content() == before


# Chainer 2


def test_the_trainer_of_chainer_2():
    """Its files, on Python 2.7. It never told the optimizer of its epochs."""
    predictor = MLP(4, 10)
    model = L.Classifier(predictor)
    (x, t), _ = data.load()
    model(x[:1], t[:1])
    model.cleargrads()
    optimizer = optimizers.Adam().setup(model)
    assert read(OLD / 'snapshot_iter_10')[OPTIMIZER + 'epoch'] == 0
    seed, records = resume.load_state(str(OLD / 'snapshot_iter_10'), optimizer, True, 4)
    with open(OLD / 'log') as file:
        assert (seed, records) == (None, json.load(file))
    assert (optimizer.epoch, optimizer.t) == (2, 10)
    for i in range(0, 500, 100):
        optimizer.update(model, x[i : i + 100], t[i : i + 100])
    after = read(OLD / 'one-epoch-more.model')
    for key, param in model.namedparams():
        numpy.testing.assert_allclose(param.array, after[key[1:]], rtol=1e-4, atol=1e-6)


def test_a_run_of_chainer_2_goes_on():
    for name, epoch in (('snapshot_iter_10', 3), ('snapshot_iter_13', 3)):
        shutil.rmtree('result', ignore_errors=True)
        status, printed, errors = main('-u', 4, '-e', 1, '--noplot', '-r', OLD / name)
        assert (status, errors) == (0, '')
        assert f'\nepoch {epoch}\n' in printed
        assert ('ends within epoch 3' in printed) == (name == 'snapshot_iter_13')
        assert [record['epoch'] for record in log_of('result')] == [1, 2, 3]
        status, _, errors = main('-m', OLD / name, '--noplot', program=predict)
        assert (status, errors) == (0, '')


# Never trusted


@pytest.fixture(scope='module')
def snapshots(tmp_path_factory, tiny):
    """Snapshots, packed and not, as bytes by name."""
    out = tmp_path_factory.mktemp('trainer')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CHAINER_DATASET_ROOT', str(tiny))
        make_trainer(out, 1, filename='packed').run()
        make_trainer(out, 1, filename='plain', savefun=plain_members).run()
    return Files({name: (out / name).read_bytes() for name in ('packed', 'plain')})


def put(path, content):
    with open(path, 'wb') as file:
        file.write(content)


@pytest.mark.parametrize('flag', ['-m', '-r'])
def test_nothing_is_unpickled(snapshots, flag):
    put('good', snapshots['plain'])
    for key in [*read('good'), 'stranger', 'updater/model:main/stranger']:
        put('bad', snapshots['plain'])
        payload = numpy.array(Payload(), dtype=object)
        rewrite('bad', functools.partial(dict.update, **{key: payload}))
        load_or_refuse(flag, 'bad')
        assert not os.path.exists('the-payload-ran'), key


def test_a_log_that_claims_to_be_huge():
    make_trainer('result', 1).run()
    huge = numpy.array('[]' + ' ' * 2**24)
    rewrite(
        'result/snapshot_iter_5',
        lambda content: content.update({'extensions/LogReport/_log': huge}),
    )
    errors = main('-u', UNITS, '-r', 'result/snapshot_iter_5')[2]
    assert 'extensions/LogReport/_log is not a text that can be a log' in errors


@pytest.mark.parametrize('flag', ['-m', '-r'])
@pytest.mark.parametrize('name', ['packed', 'plain'])
@fuzz
@given(changes=st.lists(byte_changes(), min_size=1, max_size=3))
def test_changed_bytes_never_change_what_is_loaded(snapshots, flag, name, changes):
    put('fuzzed', change_bytes(snapshots[name], changes))
    loaded = load_or_refuse(flag, 'fuzzed')
    if loaded is not None:
        put('good', snapshots[name])
        assert loaded == load_or_refuse(flag, 'good')


@pytest.mark.parametrize('flag', ['-m', '-r'])
@fuzz
@given(draw=st.data())
def test_changed_members_load_or_are_refused(snapshots, flag, draw):
    put('fuzzed', snapshots['plain'])
    content, spoilt = read('fuzzed'), read('fuzzed')
    for key in draw.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, unique=True)):
        change = draw.draw(VALUES)
        spoilt.pop(key)
        if change is not None and content[key].dtype.kind in 'biuf':
            with numpy.errstate(all='ignore'):
                spoilt[key] = change(content[key])
    with open('fuzzed', 'wb') as file:
        numpy.savez(file, **spoilt)
    loaded = load_or_refuse(flag, 'fuzzed')
    for key, value in (loaded or {}).items():
        for part in (MODEL, OPTIMIZER):
            if part + key in spoilt and key[-2:] in ('/W', '/b', '/m', '/v') and flag == '-r':
                assert spoilt[part + key].astype('f').tobytes() == value
