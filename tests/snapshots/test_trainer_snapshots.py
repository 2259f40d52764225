"""Resuming what plain Chainer's Trainer wrote, and the log."""

import json
import math
import os
import re
from pathlib import Path

from chainer_mnist import plots, snapshots
from chainer_mnist.console import UserError

import numpy
import pytest
from chainer import serializers
from plain_chainer import plain_members, run_trainer, save_all
from snapshot_targets import assert_refused, content, load, make, train

from helpers import log_of, read, rewrite
from net import TrainFlagMLP

WITHIN = '{} ends within epoch {}: resuming from the beginning of it\n'
TRAINER_LOG = 'extensions/LogReport/_log'


def epochs_of(checkpoint):
    return [record['epoch'] for record in checkpoint.records]


# Snapshots of the Trainer


@pytest.mark.parametrize(
    ('name', 'savefun', 'bare', 'changed'),
    [
        ('snapshot_iter_5', serializers.save_npz, False, False),
        ('snapshot_epoch-1.npz', plain_members, False, True),
        ('snapshot', plain_members, True, False),
    ],
)
def test_every_form_of_it(name, savefun, bare, changed):
    plain = run_trainer('result', 1, bare=bare, filename=name, savefun=savefun)
    path = f'result/{name}'
    if changed:  # Windows counts with 32 bits, and the optimizer has a name of the user's own
        arrays = {key: a.astype('i4') if a.dtype == 'i8' else a for key, a in read(path).items()}
        keys = [re.sub('(model|optimizer):main', r'\1:mlp', key) for key in arrays]
        numpy.savez(path, **dict(zip(keys, arrays.values())))
    resumed, other = make(), make(TrainFlagMLP)
    if bare:
        resumed, other = other, resumed
    log = log_of('result')
    os.remove('result/log')  # it is in the snapshot too
    checkpoint = load('-r', path, resumed)
    assert content(resumed) == content(plain)
    assert (resumed.epoch, checkpoint.seed, checkpoint.model_path) == (1, None, None)
    assert checkpoint.records == log
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


def test_the_log_counts_the_epochs_where_plain_chainer_did_not(plain):
    resumed = make()
    assert load('-r', 'result/mlp.state', resumed).records == plain
    assert resumed.epoch == 2
    os.remove('result/log')
    resumed = make()
    assert load('-r', 'result/mlp.state', resumed).records == []
    assert resumed.epoch == 0


@pytest.mark.parametrize('counted', [0, 2])
def test_records_newer_than_the_snapshot_are_dropped(plain, counted, capsys):
    """Of a run that was killed between two writes, or that the user wants to repeat."""
    rewrite('result/mlp.state', lambda state: state.update(epoch=numpy.int64(counted)))
    within = {'epoch': 1, 'iteration': 7}  # not at the end of an epoch
    newer = [{'epoch': epoch, 'iteration': 5 * epoch} for epoch in (3, 4)]
    Path('result/log').write_text(json.dumps([within, *plain, *newer]))
    assert load('-r', 'result/mlp.state').records == [within, *plain]
    assert capsys.readouterr().out == 'dropping 2 of 6 log records newer than the snapshot\n'


def test_what_other_programs_write_in_records_is_kept(plain):
    del plain[0]['elapsed_time']  # old releases of Chainer kept none
    plain[1]['validation/main/loss'] = math.inf
    plain[2]['main/loss'] = 'high'
    plain[2]['note'] = ['of', {'an': 'extension'}]
    with open('result/log', encoding='utf-8-sig', mode='w') as file:  # as a Windows editor does
        json.dump(plain, file)
    records = load('-r', 'result/mlp.state').records
    assert records == plain
    assert plots.series(records, 'main/loss') == [(1, plain[1]['main/loss'])]
    assert [epoch for epoch, _ in plots.series(records, 'validation/main/loss')] == [0, 2]
    assert snapshots.elapsed_time(records) == plain[2]['elapsed_time']
    assert snapshots.elapsed_time([]) == 0


def test_record_of_an_epoch_is_that_of_log_report(plain):
    record = snapshots.make_record((1.0, 0.2), (3.0, 0.4), 5, 60, 7.0)
    assert record.keys() == plain[2].keys() - {'alpha'}
    assert record['validation/main/accuracy'] == 0.4
    snapshots.save_state('result', train(make()), 1, snapshots.Log([record]))
    assert snapshots.read_log('result') == [record]


NO_LOGS = [
    b'',
    b'{}',
    b'[1]',
    b'[{"epoch": 1}]',
    b'[{"epoch": "x", "iteration": 1}]',
    b'[{"epoch": -1, "iteration": 1}]',
    b'[{"epoch": NaN, "iteration": 1}]',
    b'[{"epoch": 1, "iteration": 1e300}]',
    b'[' * 10**5,
    b'\x80\x02]q\x00.',
]


@pytest.mark.parametrize('log', [*NO_LOGS, 5, [['x']]])
def test_what_is_no_log_in_a_snapshot(log):
    run_trainer('result', 1)
    path = 'result/snapshot_iter_5'
    rewrite(path, lambda content: content.update({TRAINER_LOG: numpy.array(log)}))
    assert_refused('-r', path, f'cannot read {path}: .*; use another copy')


@pytest.mark.parametrize('log', [*NO_LOGS, None])
def test_another_file_of_that_name_is_refused(log):
    os.mkdir('result')
    snapshots.save_state('result', train(make()), 1, snapshots.Log([]))
    os.remove('result/log')
    if log is None:
        os.mkdir('result/log')
    else:
        Path('result/log').write_bytes(log)
    for path in ('result', 'result/mlp.state'):
        assert_refused('-r', path, '.*result/log.*; move it elsewhere')
    with pytest.raises(UserError, match='result/log'):
        snapshots.read_log('result')
