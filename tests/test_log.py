"""The log: kept whole by whatever Chainer it was begun, and left alone where it is none."""

import json
import math
import os

from chainer_mnist import log, pictures, report

import numpy
import pytest

from helpers import log_of, main, make_pipe, read, rewrite
from trainer import make_trainer, save_all

UNITS = 6


def write(records, out='result'):
    with open(f'{out}/log', 'w') as file:
        json.dump(records, file)


def go_on(*words):
    """Goes on for one epoch. Returns the epochs in the log, and what was printed."""
    words = ['-u', UNITS, '-e', 1, '--noplot', '-r', 'result/mlp.state', *words]
    status, printed, errors = main(*words)
    assert (status, errors) == (0, '')
    return [record['epoch'] for record in log_of('result')], printed


@pytest.fixture
def trained():
    """A run of two epochs by plain Chainer, whose log begins with epoch 0."""
    trainer = make_trainer('result', 2)
    trainer.run()
    optimizer = trainer.updater.get_optimizer('main')
    optimizer.epoch = 0  # as where it is not told, which is the case in most files
    save_all('result', optimizer)
    records = log_of('result')
    assert 'main/loss' not in records[0]
    assert 'alpha' in records[2]
    return records


def test_the_log_of_chainers_trainer_is_kept_and_counts_the_epochs(trained):
    epochs, printed = go_on()
    assert epochs == [0, 1, 2, 3]
    assert '\nepoch 3\n' in printed
    assert log_of('result')[:3] == trained
    last = log_of('result')[3]
    assert tuple(last) == log.KEYS
    assert last['iteration'] == 15
    assert last['elapsed_time'] > trained[2]['elapsed_time']
    assert read('result/mlp.state')['epoch'] == 3
    assert go_on()[0] == [0, 1, 2, 3, 4]


def test_a_log_of_old_releases_without_times(trained):
    write([{k: v for k, v in record.items() if k != 'elapsed_time'} for record in trained])
    assert go_on()[0] == [0, 1, 2, 3]
    assert 0 < log_of('result')[3]['elapsed_time'] < 100


def test_numbers_that_are_none_are_kept(trained):
    trained[1]['main/loss'] = math.nan
    trained[2]['validation/main/loss'] = math.inf
    trained[2]['note'] = ['of', {'an': 'extension'}]
    write(trained)
    go_on()
    kept = log_of('result')[:3]
    assert math.isnan(kept[1].pop('main/loss'))
    del trained[1]['main/loss']
    assert kept == trained


def test_a_state_without_epochs_and_without_a_log(trained):
    os.remove('result/log')
    epochs, printed = go_on()
    assert epochs == [1]
    line = 'Count epochs from 1: no log beside the state says how many it has behind it\n'
    assert printed.count(line) == 1


@pytest.mark.parametrize('counted', [0, 2])
def test_only_later_records_are_left_out(trained, counted):
    """Of a run that was killed between two writes, or that the user wants to repeat."""
    rewrite('result/mlp.state', lambda state: state.update(epoch=numpy.int64(counted)))
    later = [{'epoch': epoch, 'iteration': 5 * epoch} for epoch in (3, 4)]
    write([*trained, *later])
    epochs, printed = go_on()
    assert epochs == [0, 1, 2, 3]
    assert log_of('result')[:3] == trained
    line = 'Leave out 2 of 5 records in result/log: later than the state\n'
    assert printed.count(line) == 1
    _, printed = go_on()
    assert 'Leave out' not in printed


def test_records_within_an_epoch(trained):
    rewrite('result/mlp.state', lambda state: state.update(epoch=numpy.int64(2)))
    within = [{'epoch': i // 5, 'iteration': i} for i in range(2, 14, 2)]
    write(within)
    _, printed = go_on()
    assert [record['iteration'] for record in log_of('result')] == [2, 4, 6, 8, 10, 15]
    line = 'Leave out 1 of 6 records in result/log: later than the state\n'
    assert printed.count(line) == 1


def test_a_log_that_has_not_come_to_the_end_of_an_epoch(trained):
    write([{'epoch': 0, 'iteration': i} for i in (2, 4)])
    epochs, printed = go_on()
    assert epochs == [0, 0, 1]
    assert 'no log' not in printed


def test_a_log_from_a_windows_editor(trained):
    with open('result/log', encoding='utf-8-sig', mode='w') as file:
        json.dump(trained, file)
    assert go_on()[0] == [0, 1, 2, 3]


def test_a_log_that_is_none_is_not_written_over_by_a_new_run():
    os.mkdir('result')
    with open('result/log', 'w') as file:
        file.write('Monday: sunny')
    status, printed, errors = main('-e', 1)
    assert status == 1
    assert 'epoch 1' not in printed
    assert errors.startswith('train_mnist.py: error: result/log is not the log of a run (')
    assert errors.endswith('); move it out of the way\n')
    with open('result/log') as file:
        assert file.read() == 'Monday: sunny'


def test_pictures_of_records_that_lack_values(trained, monkeypatch):
    pytest.importorskip('matplotlib')
    drawn = []
    monkeypatch.setattr(pictures, '_save', lambda figure, path: drawn.append(figure))
    trained[1]['validation/main/loss'] = math.nan
    trained[2]['main/accuracy'] = 'high'
    report.save_pictures('.', trained)
    loss, accuracy = ([line.get_xdata().tolist() for line in f.axes[0].lines] for f in drawn)
    assert loss == [[1, 2], [0, 2]]
    assert accuracy == [[1], [0, 1, 2]]


@pytest.mark.parametrize(
    'content',
    [
        '',
        'not JSON',
        '{}',
        '{"epoch": 1, "iteration": 5}',
        '[1]',
        '[[]]',
        '[{}]',
        '[{"epoch": 1}]',
        '[{"iteration": 1}]',
        '[{"epoch": -1, "iteration": 1}]',
        '[{"epoch": NaN, "iteration": 1}]',
        '[{"epoch": 1, "iteration": 1e300}]',
        '[{"epoch": "1", "iteration": 5}]',
        '[{"epoch": null, "iteration": 5}]',
        '[' * 10**5,
        b'\x80\x02]q\x00.',
        None,
    ],
)
def test_what_is_no_log_is_refused_and_left_alone(trained, content):
    os.remove('result/log')
    if content is None:
        make_pipe('result/log')
    else:
        content = content if isinstance(content, bytes) else content.encode()
        with open('result/log', 'wb') as file:
            file.write(content)
    status, _, errors = main('-u', UNITS, '-r', 'result/mlp.state')
    assert status == 1
    assert errors.startswith('train_mnist.py: error: result/log is not the log of a run (')
    assert errors.endswith('); move it out of the way\n')
    assert errors.count('\n') == 1
    if content is not None:
        with open('result/log', 'rb') as file:
            assert file.read() == content
