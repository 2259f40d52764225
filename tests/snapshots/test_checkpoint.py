"""Resuming from a training state and starting from weights, with any network and optimizer."""

import itertools
import os
import shutil
from pathlib import Path

from chainer_mnist import snapshots
from chainer_mnist.console import UserError
from chainer_mnist.data import load_mnist

import chainer
import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers
from learner_networks import IMAGES, NETWORKS, UNITS, Auxiliary, Convolutional, Nested
from plain_chainer import save_all
from snapshot_targets import assert_refused, content, load, make, make_predictor, save, train

from helpers import FILES, make_pipe, read, rewrite
from net import MLP, TrainFlagMLP

CHAINER2 = Path(__file__).parent / 'chainer2'


@pytest.fixture
def saved():
    """The optimizer of a run of this project, whose files are in ``result``."""
    optimizer = train(make())
    save('result', optimizer)
    return optimizer


@pytest.fixture
def plain():
    """The optimizer of a run of plain Chainer: its state has no weights, and does not count."""
    optimizer = train(make())
    optimizer.epoch = 0
    os.mkdir('result')
    save_all('result', optimizer)
    return optimizer


def weights_of(optimizer):
    predictor = snapshots.get_predictor(optimizer.target)
    return {key: param.array.tobytes() for key, param in predictor.namedparams()}


# Resuming


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('name', ['Adam', 'MomentumSGD', 'SGD'])
def test_a_resumed_run_has_the_same_bits(network, name):
    kind = getattr(optimizers, name)
    whole = train(make(network, kind))
    save('result', whole)
    resumed = make(network, kind)
    checkpoint = load('-r', 'result/mlp.state', resumed)
    assert (checkpoint.model_path, checkpoint.state_path) == (None, 'result/mlp.state')
    assert checkpoint.seed == 7
    assert [record['epoch'] for record in checkpoint.records] == [1]
    assert content(resumed) == content(whole)
    assert content(train(resumed)) == content(train(whole))
    assert resumed.epoch == 2


@pytest.mark.parametrize('network', [MLP, TrainFlagMLP, Convolutional, Auxiliary])
def test_plain_chainer_reads_the_files(network):
    optimizer = train(make(network))
    save('result', optimizer)
    plain = make(network)
    predictor = snapshots.get_predictor(plain.target)
    serializers.load_npz('result/mlp.model', predictor)
    assert weights_of(plain) == weights_of(optimizer)
    if network is not TrainFlagMLP:
        serializers.load_npz('result/classifier.model', plain.target)
    serializers.load_npz('result/mlp.state', plain)
    assert content(train(plain)) == content(train(optimizer))


@pytest.mark.parametrize('network', [MLP, TrainFlagMLP])
@pytest.mark.parametrize('name', ['t', 'epoch', 'seed'])
def test_parameter_with_a_key_of_the_state(network, name):
    optimizer = make(network)
    predictor = snapshots.get_predictor(optimizer.target)
    with predictor.init_scope():
        setattr(predictor, name, chainer.Parameter(numpy.zeros(3, 'f')))
    with pytest.raises(UserError, match=f'the training state both have {name}; rename it'):
        snapshots.state_dict(optimizer, 7)


@pytest.mark.parametrize(
    ('name', 'epoch', 't'), [('mlp.state', 0, 5), ('trainer/snapshot_iter_10', 2, 10)]
)
def test_chainer_2(name, epoch, t):
    """A state that counts updates once for all parameters, and no epochs in a Trainer."""
    path, optimizer = CHAINER2 / name, make(units=4)
    checkpoint = load('-r', path, optimizer, units=4)
    model_path = None if 'trainer' in name else str(CHAINER2 / 'classifier.model')
    assert (checkpoint.model_path, optimizer.epoch) == (model_path, epoch)
    assert {param.update_rule.t for param in optimizer.target.params()} == {optimizer.t} == {t}
    (x, labels), _ = load_mnist()
    for i in range(0, 500, 100):
        optimizer.update(optimizer.target, x[i : i + 100], labels[i : i + 100])
    after = read(path.with_name('one-epoch-more.model'))
    for key, param in optimizer.target.namedparams():
        numpy.testing.assert_allclose(param.array, after[key[1:]], rtol=1e-4, atol=1e-6)


def test_sgd_up_to_chainer_3_keeps_nothing_of_a_parameter(plain):
    numpy.savez('result/sgd.npz', t=6000, epoch=10)
    sgd = make(optimizer=optimizers.SGD)
    load('-r', 'result/sgd.npz', sgd)
    assert (sgd.t, sgd.epoch) == (6000, 10)
    assert {param.update_rule.t for param in sgd.target.params()} == {6000}


def test_an_optimizer_that_keeps_more_than_chainer_saves(capsys):
    save('result', train(make(optimizer=optimizers.MSVAG)))
    load('-r', 'result/mlp.state', make(optimizer=optimizers.MSVAG))
    assert 'the resumed run will differ slightly' in capsys.readouterr().out


# Weights


@pytest.mark.parametrize(('ours', 'theirs'), list(itertools.product([MLP, TrainFlagMLP], repeat=2)))
@pytest.mark.parametrize('name', FILES)
def test_weights_of_either_network(ours, theirs, name):
    trained = train(make(theirs))
    save('result', trained)
    optimizer = make(ours)
    checkpoint = load('-m', f'result/{name}', optimizer)
    assert (checkpoint.model_path, checkpoint.state_path) == (f'result/{name}', None)
    assert weights_of(optimizer) == weights_of(trained)
    assert (optimizer.t, optimizer.epoch, checkpoint.seed, checkpoint.records) == (0, 0, None, [])


def test_weights_of_m_and_the_rest_of_r(saved):
    other = train(make())
    save('other', other)
    optimizer = make()
    paths = ('other/mlp.model', 'result/mlp.state')
    checkpoint = snapshots.load_checkpoint(*paths, optimizer, UNITS)
    assert (checkpoint.model_path, checkpoint.state_path) == paths
    weights = {key: a for key, a in content(other).items() if key[-2:] in ('/W', '/b')}
    assert content(optimizer) == {**content(saved), **weights}


@pytest.mark.parametrize('source', ['classifier.model', 'mlp.model'])
@pytest.mark.parametrize('name', [*FILES[:2], 'classifier_mlp.model', 'of [my] own.model'])
def test_weights_beside_a_state_without_any(plain, source, name):
    shutil.copy(f'result/{source}', 'kept')
    message = 'result/mlp.state has no weights, .* pass -m MODEL'
    os.rename('result/classifier.model', 'result/a.model')
    os.rename('result/mlp.model', 'result/b.model')
    assert_refused('-r', 'result/mlp.state', message)
    os.remove('result/a.model')
    os.remove('result/b.model')
    assert_refused('-r', 'result/mlp.state', message)
    shutil.copy('kept', f'result/{name}')
    optimizer = make()
    assert load('-r', 'result/mlp.state', optimizer).model_path == f'result/{name}'
    assert content(optimizer) == content(plain)


def test_weights_beside_a_state_that_do_not_fit(plain):
    save('other', make(units=9))
    shutil.copy('other/classifier.model', 'result')
    assert load('-r', 'result/mlp.state').model_path == 'result/mlp.model'
    os.remove('result/mlp.model')
    message = 'result/classifier.model was saved with 9 units; pass -u 9'
    assert_refused('-r', 'result/mlp.state', message)


# Folders


def age(*names):
    """Sets the times of files, the oldest first."""
    for i, name in enumerate(names):
        os.utime(f'result/{name}', (10**9 + 60 * i, 10**9 + 60 * i))


def test_newest_snapshot_in_a_folder(saved):
    for name in ('new.state', 'newer.state'):
        shutil.copy('result/mlp.state', f'result/{name}')
    make_pipe('result/pipe')
    os.mkdir('result/folder')
    age('log', *FILES[::2], 'new.state', 'newer.state', 'mlp.model')
    os.truncate('result/newer.state', 100)
    assert load('-r', 'result').state_path == 'result/new.state'
    assert load('-m', 'result/').model_path == 'result/mlp.model'
    path, predictor = snapshots.load_predictor('result', make_predictor)
    assert path == 'result/mlp.model'
    assert predictor.l1.W.shape == (UNITS, 784)


def test_copies_that_are_all_as_old(saved):
    for name in ('iter_9', 'iter_10', 'iter_8'):
        shutil.copy('result/mlp.state', f'result/{name}')
    os.remove('result/mlp.state')
    for i, name in enumerate(sorted(os.listdir('result'))):  # in the order of their names
        os.utime(f'result/{name}', (10**9, 10**9 + 0.1 * i))
    assert load('-r', 'result').state_path == 'result/iter_10'


def test_state_without_weights_in_a_folder(plain):
    save('result/full', plain)
    os.rename('result/full/mlp.state', 'result/full.state')
    shutil.rmtree('result/full')
    age('classifier.model', 'mlp.model', 'full.state', 'mlp.state')
    assert load('-r', 'result').model_path == 'result/classifier.model'
    os.remove('result/classifier.model')
    os.remove('result/mlp.model')
    checkpoint = load('-r', 'result')
    assert (checkpoint.state_path, checkpoint.model_path) == ('result/full.state', None)


def test_folder_where_nothing_fits(saved):
    message = 'result/mlp.state was saved with 6 units; pass -u 6'
    assert_refused('-r', 'result', message, units=5)
    os.remove('result/mlp.state')
    assert_refused('-r', 'result', 'no file in result fits; pass a file')


# Snapshots of something else


DIFFERENT = r'was saved from a different network \('


@pytest.mark.parametrize(
    ('theirs', 'ours', 'difference'),
    [
        ({'units': 9}, MLP, 'was saved with 9 units; pass -u 9'),
        ({'network': Auxiliary}, MLP, rf'{DIFFERENT}unexpected: auxiliary/W, auxiliary/b\); .*'),
        ({}, Auxiliary, rf'{DIFFERENT}missing or None: auxiliary/b\); .*'),
        ({'network': Convolutional}, MLP, rf'{DIFFERENT}unexpected: conv/W, .*, \.\.\.\); .*'),
    ],
)
@pytest.mark.parametrize('name', FILES)
def test_different_network(theirs, ours, difference, name):
    save('result', train(make(**theirs)))
    for flag in ('-m', '-r')[: 1 + (name == 'mlp.state')]:
        assert_refused(flag, f'result/{name}', f'result/{name} {difference}', make(ours))


@pytest.mark.parametrize('units', [13, 7])
def test_units_are_advised_only_if_they_explain_all_differences(units):
    predictor = make_predictor(13)
    predictor.l2 = L.Linear(13, 7)
    predictor.l3 = L.Linear(7, 10)
    serializers.save_npz('two-widths.model', predictor)
    message = r'two-widths.model has .* of shape \(.*\), not .* of shape \(.*\); use .*'
    assert_refused('-m', 'two-widths.model', message, units=units)


@pytest.mark.parametrize('network', [MLP, TrainFlagMLP])
def test_state_of_the_other_network(network):
    other, name = (TrainFlagMLP, 'classifier') if network is MLP else (MLP, 'trainflag')
    save('result', train(make(network)))
    message = f'result/mlp.state was saved with --net {name}; pass --net {name}'
    assert_refused('-r', 'result/mlp.state', message, make(other))


KEPT = {'Adam': 'm, v', 'AMSGrad': 'm, v, vhat', 'SGD': 'nothing', 'MomentumSGD': 'v'}


@pytest.mark.parametrize(('name', 'other'), list(itertools.permutations(KEPT, 2)))
def test_state_of_another_optimizer(name, other):
    save('result', train(make(optimizer=getattr(optimizers, name))))
    what = f'another optimizer, which keeps {KEPT[name]} of a parameter, not with {other}'
    message = f'result/mlp.state was saved with {what}; use it in train_mnist.py'
    optimizer = make(optimizer=getattr(optimizers, other))
    assert_refused('-r', 'result/mlp.state', message, optimizer)


# The number of units of a file


@pytest.mark.parametrize('network', [MLP, Nested, Auxiliary, Convolutional])
@pytest.mark.parametrize('name', FILES)
def test_predictor_has_as_many_units_as_the_file(network, name):
    trained = train(make(network, units=7))
    save('result', trained)

    def make_network(units):
        return make_predictor(units, network)

    path, predictor = snapshots.load_predictor(f'result/{name}', make_network)
    assert path == f'result/{name}'
    expected = snapshots.get_predictor(trained.target)
    with chainer.using_config('train', False):
        assert (predictor(IMAGES).array == expected(IMAGES).array).all()


# Values


CASTS = [('f2', 'i2'), ('f8', 'u1'), ('>f4', '>i4'), ('>f8', '>u8')]


@pytest.mark.parametrize(('flag', 'name'), [*(('-m', name) for name in FILES), ('-r', FILES[2])])
@pytest.mark.parametrize(('floats', 'counts'), CASTS)
def test_other_types_load_as_chainer_loads_them(saved, flag, name, floats, counts):
    """Windows counts with 32 bits. The arrays are in the order of Fortran, too."""
    dtypes = {'f': floats, 'i': counts}
    path = f'result/{name}'
    cast = {key: a.astype(dtypes[a.dtype.kind], order='F') for key, a in read(path).items()}
    rewrite(path, lambda content: content.update(cast))
    ours, chainers = make(), make()
    load(flag, path, ours)
    target = chainers.target if name != 'mlp.model' else chainers.target.predictor
    serializers.load_npz(path, target)
    if flag == '-r':
        serializers.load_npz(path, chainers)
        for param in chainers.target.params():  # Chainer casts these only as it adds to them
            state = param.update_rule.state
            state.update({key: array.astype('f') for key, array in state.items()})
    for param in ours.target.params():
        arrays = [param.array, *(param.update_rule.state or {}).values()]
        assert all(a.flags.c_contiguous for a in arrays)
    assert content(ours) == content(chainers)
    assert content(train(ours)) == content(train(chainers))


INVALID = [
    ('predictor/l1/W', lambda a: a * numpy.float32('nan'), 'has invalid numbers in'),
    ('predictor/l1/W', lambda a: a.astype('f8') + 3.5e38, 'has invalid numbers in'),
    ('predictor/l1/W', lambda a: a[..., :-1], 'of shape'),
    ('predictor/l1/W', lambda a: a.astype('c8'), 'as complex64'),
    ('predictor/l1/W', lambda a: numpy.array(None), 'missing or None'),
    ('predictor/l1/W/m', lambda a: a * numpy.float32('nan'), 'has invalid numbers in'),
    ('predictor/l1/W/m', lambda a: a[1:], 'of shape'),
    ('predictor/l2/b/v', lambda a: a.astype('O'), 'missing or None'),
    ('predictor/normalize/avg_mean', lambda a: a * numpy.inf, 'has invalid numbers in'),
    *(
        (key, lambda a, value=value: numpy.asarray(value), message)
        for key in ('t', 'epoch', 'seed', 'predictor/l1/W/t')
        for value, message in [
            (-1, 'has invalid numbers in'),
            (2**63, 'has invalid numbers in'),
            (2**62, 'has invalid numbers in'),
            (0.5, 'as float64'),
            (numpy.arange(3), 'of shape'),
        ]
    ),
]


@pytest.mark.parametrize(('key', 'change', 'reason'), INVALID)
def test_invalid_values_are_refused(key, change, reason):
    network = Convolutional if 'normalize' in key else MLP
    save('result', train(make(network)))
    rewrite('result/mlp.state', lambda content: content.update({key: change(content[key])}))
    name = key.replace('predictor/', '(predictor/)?')
    message = f'result/mlp.state .*({reason}.*{name}|{name} .*{reason}).*; .*'
    assert_refused('-r', 'result/mlp.state', message, make(network))
    if key.endswith(('l1/W', 'mean')):
        assert_refused('-m', 'result/mlp.state', message, make(network))


def test_every_member_is_needed(saved):
    for key in read('result/mlp.state'):
        if key == 'seed' or key.endswith('/t'):
            continue  # plain Chainer saves no seed, and Chainer 2 no such counts
        shutil.copy('result/mlp.state', 'state')
        rewrite('state', lambda content, key=key: content.pop(key))
        name = key.replace('predictor/', '')
        assert_refused('-r', 'state', rf'state (.*\(missing or None: {name}\)|is not a training).*')
