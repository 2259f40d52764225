"""Going on: exactly, from old snapshots, after signals, kills and failures to write."""

import json
import os
import random
import re
import shutil
import time

from chainer_mnist import data, snapshot

import chainer.links as L
import numpy
import pytest
from chainer import optimizers, serializers

from helpers import (
    CLONE,
    FILES,
    assert_same_run,
    content_of,
    log_of,
    main,
    read,
    run,
    same,
    start,
    train,
    train_here,
    wait_for,
)
from net import MLP
from trainer import plain_run

OLD = CLONE / 'tests' / 'chainer2'


# Exact


@pytest.mark.parametrize('net', ['classifier', 'trainflag'])
@pytest.mark.parametrize('batchsize', [100, 64])
def test_a_run_cut_anywhere_is_the_run_in_one_go(net, batchsize):
    words = ['-n', net, '-b', batchsize]
    train_here('-e', 4, '-s', 1, '-o', 'whole', *words)
    for cuts in ([1, 3], [2, 2], [3, 1], [1, 1, 1, 1], [0, 4]):
        train_here('-e', cuts[0], '-s', 1, '-o', '0', *words)
        for i, epochs in enumerate(cuts[1:]):
            train_here('-e', epochs, '-r', f'{i}/mlp.state', '-o', i + 1, *words)
        assert_same_run(len(cuts) - 1, 'whole')


def test_processes_go_on_exactly_in_the_same_directory():
    train('-e', 3, '-s', 1, '-o', 'whole')
    train('-e', 1, '-s', 1)
    printed = train('-e', 2, '-r', 'result/mlp.state')
    assert 'Load optimizer state from result/mlp.state\n# seed: 1\nepoch 2\n' in printed
    assert_same_run('result', 'whole')
    assert [record['epoch'] for record in log_of('result')] == [1, 2, 3]
    times = [record['elapsed_time'] for record in log_of('result')]
    assert times == sorted(times)


def test_weights_of_m_with_the_rest_of_r():
    train_here('-e', 1, '-s', 1, '-o', 'a')
    train_here('-e', 1, '-s', 2, '-o', 'b')
    train_here('-e', 0, '-m', 'b/mlp.model', '-r', 'a/mlp.state', '-o', 'c')
    a, b, c = (read(f'{out}/mlp.state') for out in 'abc')
    assert a.keys() == c.keys()
    for key in c:
        weight = key.endswith(('/W', '/b'))
        numpy.testing.assert_array_equal(c[key], (b if weight else a)[key], key)


def test_a_state_in_the_order_of_fortran():
    """As another tool may write it. The weights are more than Adam takes in one piece."""
    train_here('-e', 1, '-s', 1, '-u', 120, '-o', 'a')
    state = {key: numpy.asarray(a, order='F') for key, a in read('a/mlp.state').items()}
    assert numpy.isfortran(state['predictor/l1/W/m'])
    numpy.savez('fortran', **state)
    for path, out in (('a/mlp.state', 'b'), ('fortran.npz', 'c')):
        train_here('-e', 1, '-u', 120, '-r', path, '-o', out)
    b, c = read('b/mlp.state'), read('c/mlp.state')
    assert {k: a.tobytes() for k, a in b.items()} == {k: a.tobytes() for k, a in c.items()}


def test_a_seed_on_the_command_line_wins():
    train_here('-e', 1, '-s', 1)
    printed = train('-e', 1, '-r', 'result/mlp.state', '-s', 9, '-o', 'b')
    assert '# seed: 9\n' in printed
    assert read('b/mlp.state')['seed'] == 9


@pytest.mark.parametrize('net', ['classifier', 'trainflag'])
@pytest.mark.parametrize('name', FILES)
def test_m_takes_every_file_with_either_network(net, name):
    train_here('-e', 1, '-s', 1, '-o', 'a')
    train_here('-e', 0, '-m', f'a/{name}', '-n', net, '-o', 'b')
    assert same('a/mlp.model', 'b/mlp.model')


# Old and foreign


@pytest.mark.parametrize('with_m', [False, True])
def test_a_state_by_plain_chainer(with_m):
    model = L.Classifier(MLP(50, 10))
    optimizer = optimizers.Adam().setup(model)
    plain_run(model, optimizer, [1], 3)
    os.mkdir('plain')
    serializers.save_npz('plain/mlp.state', optimizer)

    done = run('-r', 'plain/mlp.state')
    assert (done.returncode, done.stderr) == (
        1,
        'train_mnist.py: error: plain/mlp.state holds no weights, and no model beside it fits; '
        'give the weights with -m\n',
    )
    where = 'elsewhere' if with_m else os.path.join('plain', 'classifier.model')
    serializers.save_npz(where, model)
    # The tutorial never told the optimizer of its epochs, so that the script counts from 1.
    words = ['-e', 1, '-s', 3, '-r', 'plain/mlp.state', *(['-m', where] if with_m else [])]
    assert f'Load model from {where}\nLoad optimizer state from plain/mlp.state\n' in train(*words)

    plain_run(model, optimizer, [1], 3)
    serializers.save_npz('after', model)
    assert same('after', 'result/classifier.model')
    assert read('result/mlp.state')['t'] == 10


def test_a_run_of_chainer_2_goes_on():
    """Files that Chainer 2.1.0 wrote on Python 2.7. They count updates once for all parameters."""
    predictor = MLP(4, 10)
    model = L.Classifier(predictor)
    (x, t), _ = data.load()
    model(x[:1], t[:1])
    optimizer = optimizers.Adam().setup(model)
    for name in ('mlp.model', 'classifier.model'):
        model.cleargrads()
        snapshot.load_model(OLD / name, predictor)
        assert snapshot.load_state(OLD / 'mlp.state', optimizer, weights=False) is None
        assert {param.update_rule.t for param in model.params()} == {optimizer.t} == {5}
        for i in range(0, 500, 100):
            optimizer.update(model, x[i : i + 100], t[i : i + 100])
        after = read(OLD / 'one-epoch-more.model')
        for key, param in model.namedparams():
            numpy.testing.assert_allclose(param.array, after[key[1:]], rtol=1e-4, atol=1e-6)
    train('-u', 4, '-e', 1, '-r', OLD / 'mlp.state')


# Kills


def test_killed_at_random_moments():
    """A run of 60 epochs, killed 20 times and gone on with, ends as an undisturbed one.

    About a third of the time of these short epochs goes into writing.
    """
    seed = random.randrange(10**6)
    print('seed of the moments:', seed)  # pytest shows it when the test fails
    moments = random.Random(seed)
    epochs = 60
    weights = []  # after each epoch of an undisturbed run
    train_here('-e', 0, '-s', 1, '-o', 'whole')
    for _ in range(epochs):
        train_here('-e', 1, '-r', 'whole/mlp.state', '-o', 'whole')
        weights.append(read('whole/mlp.model'))

    def epoch_of(name, prefix):
        """The epoch after which a file was written. Reading it proves that it is whole."""
        if not os.path.exists(f'result/{name}'):
            return 0
        content = read(f'result/{name}')
        for epoch, expected in enumerate(weights, 1):
            if all(content[prefix + k].tobytes() == w.tobytes() for k, w in expected.items()):
                return epoch
        pytest.fail(f'{name} holds weights of no epoch')

    kills = 0
    while kills < 20:
        done = epoch_of('mlp.state', 'predictor/')
        if done == epochs:
            shutil.rmtree('result')
            done = 0
        words = ['-r', 'result/mlp.state'] if done else ['-s', 1]
        process = start('-e', epochs - done, *words)
        wait_for(process, f'epoch {done + 1}')
        time.sleep(moments.uniform(0, 0.25))
        process.kill()
        _, stderr = process.communicate()
        assert stderr == ''  # by no process that the run has started, either
        kills += process.returncode in (1, -9)  # the first on Windows

        now = epoch_of('mlp.state', 'predictor/')
        assert now >= done
        if now:
            assert read('result/mlp.state')['epoch'] == now
            assert len(log_of('result')) - now in (0, 1)
        for name, prefix in (('mlp.model', ''), ('classifier.model', 'predictor/')):
            assert epoch_of(name, prefix) - now in (0, 1)

    done = epoch_of('mlp.state', 'predictor/')
    train('-e', epochs - done, *(['-r', 'result/mlp.state'] if done else ['-s', 1]))
    assert_same_run('result', 'whole')
    assert sorted(set(os.listdir('result')) - {'graph.dot'}) == sorted([*FILES, 'log'])


# Failures to write


def test_a_loss_that_is_not_finite_keeps_the_last_good_snapshot(tmp_path):
    train('-e', 1)
    before = content_of(tmp_path / 'result')
    wild = {key: w * numpy.float32(1e30) for key, w in read('result/mlp.model').items()}
    numpy.savez('wild.npz', **wild)
    done = run('--noplot', '-m', 'wild.npz', '-r', 'result/mlp.state')
    assert done.returncode == 1
    assert re.search(
        r'^train_mnist.py: error: the loss is no longer finite in epoch 2; .*\n\Z',
        done.stderr,
        re.M,
    )
    assert content_of(tmp_path / 'result') == before


def test_a_loss_that_is_not_finite_at_once():
    train('-e', 0)
    wild = {key: w * numpy.float32(1e30) for key, w in read('result/mlp.model').items()}
    numpy.savez('wild.npz', **wild)
    with numpy.errstate(all='ignore'):
        status, _, errors = main('--noplot', '-m', 'wild.npz', '-o', 'new')
    assert status == 1
    assert errors == (
        'train_mnist.py: error: the loss is no longer finite in epoch 1; begin with other weights '
        '(-m) or another seed (-s)\n'
    )


def test_the_clock_is_set_back(monkeypatch):
    clock = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, 'time', lambda: next(clock))
    status, printed, _ = main('-e', 3, '--noplot')
    assert status == 0
    assert all(float(n) > 0 for n in re.findall('throughput=([^ ]*)', printed))
    with open('result/log') as file:
        times = [record['elapsed_time'] for record in json.load(file)]
    assert times == sorted(times)
    assert times[0] > 0
