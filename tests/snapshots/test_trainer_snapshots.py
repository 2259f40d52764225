"""Resuming what plain Chainer's Trainer wrote, and the log."""

import json
import math
import os
import shutil
from pathlib import Path

from chainer_mnist import snapshots
from chainer_mnist.console import UserError
from chainer_mnist.data import load_mnist

import numpy
import pytest
from chainer import optimizers, serializers
from plain_chainer import plain_members, run_trainer, save_all
from snapshot_targets import assert_refused, content, load, make, train

from helpers import log_of, read, rewrite
from net import TrainFlagMLP

OLD = Path(__file__).parent / 'chainer2' / 'trainer'
WITHIN = '{} ends within epoch {}: resuming from the beginning of it\n'
DROPPING = 'dropping {} of {} log records newer than the snapshot\n'


def epochs_of(checkpoint):
    return [record['epoch'] for record in checkpoint.records]


# Snapshots of the Trainer


@pytest.mark.parametrize(
    ('name', 'savefun', 'bare', 'windows'),
    [
        ('snapshot_iter_5', serializers.save_npz, False, False),
        ('snapshot_epoch-1.npz', plain_members, False, True),
        ('snapshot', plain_members, True, False),
    ],
)
def test_every_form_of_it(name, savefun, bare, windows):
    plain = run_trainer('result', 1, bare=bare, filename=name, savefun=savefun)
    path = f'result/{name}'
    if windows:
        narrow = {k: a.astype('i4') for k, a in read(path).items() if a.dtype == 'i8'}
        rewrite(path, lambda content: content.update(narrow))
    resumed, other = make(), make(TrainFlagMLP)
    if bare:
        resumed, other = other, resumed
    checkpoint = load('-r', path, resumed)
    assert content(resumed) == content(plain)
    assert (resumed.epoch, checkpoint.seed, checkpoint.model_path) == (1, None, None)
    assert checkpoint.records == log_of('result')
    net = 'trainflag' if bare else 'classifier'
    assert_refused('-r', path, f'{path} was saved with --net {net}; pass --net {net}', other)
    load('-m', path, other)
    predictor = snapshots.get_predictor(other.target)
    saved = next(array for key, array in read(path).items() if key.endswith('l1/W'))
    assert predictor.l1.W.array.tobytes() == saved.tobytes()


@pytest.mark.parametrize(('iterations', 'epochs'), [(3, [0]), (8, [0, 1])])
def test_within_an_epoch(iterations, epochs, capsys):
    run_trainer('result', iterations, 'iteration')
    path = f'result/snapshot_iter_{iterations}'
    resumed = make()
    assert epochs_of(load('-r', path, resumed)) == epochs
    assert capsys.readouterr().out == WITHIN.format(path, len(epochs))
    assert (resumed.epoch, resumed.t) == (len(epochs) - 1, iterations)


def test_another_optimizer_is_named():
    run_trainer('result', 1, optimizer=optimizers.RMSprop)
    message = '.*snapshot_iter_5 was saved with another optimizer, .*, not with Adam; .*'
    for path in ('result', 'result/snapshot_iter_5'):
        assert_refused('-r', path, message)


def test_sgd_up_to_chainer_3_keeps_nothing_of_a_parameter():
    run_trainer('result', 1, optimizer=optimizers.SGD)
    path = 'result/snapshot_iter_5'
    counts = [key for key in read(path) if key.endswith(('/W/t', '/b/t'))]
    assert len(counts) == 6
    rewrite(path, lambda content: [content.pop(key) for key in counts])
    sgd = make(optimizer=optimizers.SGD)
    load('-r', path, sgd)
    assert (sgd.t, sgd.epoch) == (5, 1)
    assert {param.update_rule.t for param in sgd.target.params()} == {5}


def test_an_optimizer_of_another_name():
    plain = run_trainer('result', 1)
    path = 'result/snapshot_iter_5'
    members = {key.replace(':main/', ':mlp/', 1): array for key, array in read(path).items()}
    members['updater/iterator:main/epoch'] = members.pop('updater/iterator:mlp/epoch')
    numpy.savez('renamed.npz', **members)
    resumed = make()
    load('-r', 'renamed.npz', resumed)
    assert content(resumed) == content(plain)


def test_its_log_is_in_the_snapshot():
    run_trainer('elsewhere', 2)
    os.mkdir('moved')
    shutil.move('elsewhere/snapshot_iter_10', 'moved')
    checkpoint = load('-r', 'moved')
    assert epochs_of(checkpoint) == [0, 1, 2]
    assert checkpoint.records == log_of('elsewhere')


@pytest.mark.parametrize(
    'text', ['', '{}', '[1]', '[{"epoch": "x", "iteration": 1}]', '[' * 10**5, b'\xff', 5, [['x']]]
)
def test_what_is_no_log_in_the_snapshot(text):
    run_trainer('result', 1)
    path = 'result/snapshot_iter_5'
    log = {'extensions/LogReport/_log': numpy.array(text)}
    rewrite(path, lambda content: content.update(log))
    assert_refused('-r', path, f'cannot read {path}: .*; use another copy')


@pytest.mark.parametrize('iterations', [10, 13])
def test_the_trainer_of_chainer_2(iterations, capsys):
    """Its files, on Python 2.7. It never told the optimizer of its epochs."""
    path = OLD / f'snapshot_iter_{iterations}'
    optimizer = make(units=4)
    checkpoint = load('-r', path, optimizer, units=4)
    assert (optimizer.epoch, optimizer.t) == (2, iterations)
    assert epochs_of(checkpoint) == [1, 2]
    assert capsys.readouterr().out == (WITHIN.format(path, 3) if iterations == 13 else '')
    (x, t), _ = load_mnist()
    for i in range(0, 500, 100):
        optimizer.update(optimizer.target, x[i : i + 100], t[i : i + 100])
    after = read(OLD / 'one-epoch-more.model')
    if iterations == 10:
        for key, param in optimizer.target.namedparams():
            numpy.testing.assert_allclose(param.array, after[key[1:]], rtol=1e-4, atol=1e-6)


# The log


@pytest.fixture
def plain():
    """The records of two epochs by plain Chainer, of which the first is of epoch 0.

    Its optimizer was not told to count epochs, as in most files.
    """
    optimizer = run_trainer('result', 2)
    optimizer.epoch = 0
    save_all('result', optimizer)
    records = log_of('result')
    assert 'main/loss' not in records[0]
    return records


def write(records):
    with open('result/log', 'w') as file:
        json.dump(records, file)


def test_the_log_counts_the_epochs_where_plain_chainer_did_not(plain):
    resumed = make()
    assert load('-r', 'result/mlp.state', resumed).records == plain
    assert resumed.epoch == 2


def test_a_log_that_is_missing_counts_nothing(plain):
    os.remove('result/log')
    resumed = make()
    assert load('-r', 'result/mlp.state', resumed).records == []
    assert resumed.epoch == 0


@pytest.mark.parametrize('counted', [0, 2])
def test_records_newer_than_the_snapshot_are_dropped(plain, counted, capsys):
    """Of a run that was killed between two writes, or that the user wants to repeat."""
    rewrite('result/mlp.state', lambda state: state.update(epoch=numpy.int64(counted)))
    write([*plain, *({'epoch': epoch, 'iteration': 5 * epoch} for epoch in (3, 4))])
    assert load('-r', 'result/mlp.state').records == plain
    assert capsys.readouterr().out == DROPPING.format(2, 5)


def test_records_within_an_epoch(plain, capsys):
    records = [{'epoch': i // 5, 'iteration': i} for i in range(2, 14, 2)]
    write(records)
    assert load('-r', 'result/mlp.state').records == records[:-1]
    assert capsys.readouterr().out == DROPPING.format(1, 6)


def test_what_other_programs_write_in_records_is_kept(plain):
    del plain[0]['elapsed_time']  # old releases of Chainer kept none
    plain[1]['validation/main/loss'] = math.inf
    plain[2]['main/loss'] = 'high'
    plain[2]['note'] = ['of', {'an': 'extension'}]
    with open('result/log', encoding='utf-8-sig', mode='w') as file:  # as a Windows editor does
        json.dump(plain, file)
    records = load('-r', 'result/mlp.state').records
    assert records == plain
    assert snapshots.elapsed_time(records) == plain[2]['elapsed_time']
    assert snapshots.elapsed_time([]) == 0


def test_record_of_an_epoch_is_that_of_log_report(plain):
    record = snapshots.make_record((1.0, 0.2), (3.0, 0.4), 5, 60, 7.0)
    assert record.keys() == plain[2].keys() - {'alpha'}
    assert record['validation/main/accuracy'] == 0.4
    snapshots.save_state('result', train(make()), 1, snapshots.Log([record]))
    text = Path('result/log').read_text()
    assert text == json.dumps([record], indent=4)
    assert snapshots.read_log('result') == [record]


NO_LOGS = [
    '',
    'not JSON',
    '{}',
    '[1]',
    '[{"epoch": 1}]',
    '[{"epoch": -1, "iteration": 1}]',
    '[{"epoch": NaN, "iteration": 1}]',
    '[{"epoch": 1, "iteration": 1e300}]',
    '[' * 10**5,
    b'\x80\x02]q\x00.',
    None,
]


@pytest.mark.parametrize('text', NO_LOGS)
def test_another_file_of_that_name_is_refused(text):
    os.mkdir('result')
    snapshots.save_state('result', train(make()), 1, snapshots.Log([]))
    os.remove('result/log')
    if text is None:
        os.mkdir('result/log')
    else:
        Path('result/log').write_bytes(text if isinstance(text, bytes) else text.encode())
    for path in ('result', 'result/mlp.state'):
        assert_refused('-r', path, '.*result/log.*; move it elsewhere')
    with pytest.raises(UserError, match='result/log'):
        snapshots.read_log('result')
