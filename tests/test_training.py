"""Training: means, seeds, progress, and a run that is cut, killed or diverges and then resumed."""

import contextlib
import os
import random
import re
import shutil
import subprocess
import time

from chainer_mnist.data import load_mnist
from chainer_mnist.distributed import SINGLE_PROCESS
from chainer_mnist.fast import fast_training

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import optimizers

import net
import train_mnist
from helpers import assert_same_run, content_of, log_of, main, read, same, start, train, wait_for

# The loop and its means


@pytest.fixture(params=['classifier', 'trainflag'])
def untrained(request):
    numpy.random.seed(0)
    if request.param == 'trainflag':
        return net.TrainFlagMLP(9, 10)
    return L.Classifier(net.MLP(9, 10))


def means_of(model, x, t):
    return pytest.approx((float(model(x, t).array), float(model.accuracy.array)), rel=1e-6)


@pytest.mark.parametrize('batchsize', [1, 64, 100, 499, 10**6, 10**30])
def test_each_image_counts_once_in_an_epoch(untrained, batchsize):
    (x, t), _ = load_mnist()
    # A learning rate of 0 keeps the weights, so that the epoch's mean is the dataset's.
    expected = means_of(untrained, x, t)
    optimizer = optimizers.SGD(0).setup(untrained)
    batches = SINGLE_PROCESS.minibatches(numpy.random.permutation(500), batchsize)
    means = train_mnist.train(untrained, optimizer, x, t, batches)
    assert (means.compute(), optimizer.t) == (expected, -(-500 // batchsize))


@pytest.mark.parametrize('batchsize', [1000, 300, 77])
def test_the_evaluation_computes_the_means_of_the_whole_set(untrained, batchsize, monkeypatch):
    _, (x, t) = load_mnist()
    monkeypatch.setattr(train_mnist, 'TEST_BATCHSIZE', batchsize)
    if isinstance(untrained, L.Classifier):
        untrained.lossfun = lambda y, t: 3 * F.softmax_cross_entropy(y, t)
        untrained.accfun = lambda y, t: 0.5 * F.accuracy(y, t)
    assert train_mnist.evaluate(untrained, x, t).compute() == means_of(untrained, x, t)
    with pytest.raises(chainer.utils.type_check.InvalidType):
        train_mnist.evaluate(untrained, x, t[:1])
    assert chainer.config.train
    assert untrained(x, t).shape == ()  # the loss


# Runs


def test_a_run_is_a_plain_loop_with_chainers_adam():
    train('-e', 1, '-s', 5)
    (x, t), _ = load_mnist()
    numpy.random.seed(5)
    model = L.Classifier(net.MLP(50, 10))
    model(x[:1], t[:1])
    optimizer = optimizers.Adam().setup(model)
    order = numpy.random.RandomState([5, 1]).permutation(500)
    with fast_training(50):  # results vary slightly with the number of threads of BLAS
        for i in range(0, 500, 100):
            optimizer.update(model, x[order[i : i + 100]], t[order[i : i + 100]])
    for key, array in read('result/classifier.model').items():
        numpy.testing.assert_array_equal(array, dict(model.namedparams())[f'/{key}'].array)


def test_accuracy_after_one_epoch_on_the_whole_mnist(model):
    [record] = log_of(os.path.dirname(model))
    assert record['validation/main/loss'] < 0.25
    assert 0.925 < record['validation/main/accuracy'] < 0.96


def test_both_networks_give_the_same_run():
    for name in ('classifier', 'trainflag'):
        train('-e', 1, '-s', 1, '-n', name, '-o', name)
    assert same('classifier/mlp.model', 'trainflag/mlp.model')
    logs = [log_of(name)[0] for name in ('classifier', 'trainflag')]
    assert {**logs[0], 'elapsed_time': 0} == {**logs[1], 'elapsed_time': 0}


def test_a_progress_bar_and_a_hint_on_a_terminal():
    pty = pytest.importorskip('pty')
    terminal, its_end = pty.openpty()
    subprocess.run(['stty', 'rows', '24', 'cols', '60'], stdin=its_end, check=True)
    process = start('-e', 5, '-b', 1, stderr=its_end)
    os.close(its_end)
    shown = b''
    with contextlib.suppress(OSError):  # so Linux says that the other end is closed
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    printed, _ = process.communicate(timeout=60)
    assert printed.endswith('save the model\nsave the optimizer\n')
    bar = r'epoch (\d)/5 +\d+%\|.{10}\| +[\d.]+k? images/s, loss=\d\.\d{4}'
    assert len(re.findall(bar, shown.decode())) > 1
    assert 'best test accuracy: ' in shown.decode()  # a hint, which is for a terminal alone


# Resuming


class Stateful(net.MLP):
    """A network with statistics of its own, and with random numbers in each mini-batch."""

    def __init__(self, n_units, n_out):
        super().__init__(n_units, n_out)
        with self.init_scope():
            self.bn = L.BatchNormalization(n_units)

    def forward(self, x):
        return self.l3(F.dropout(F.relu(self.l2(self.bn(self.l1(x))))))


@pytest.mark.parametrize('name', ['MLP', 'TrainFlagMLP', 'Stateful'])
def test_a_run_that_is_cut_anywhere_is_the_same_run(name, monkeypatch):
    words = ['-b', 64, '-n', 'trainflag' if name == 'TrainFlagMLP' else 'classifier']
    if name == 'Stateful':
        monkeypatch.setattr(net, 'MLP', Stateful)
    train('-e', 4, '-s', 1, '-o', 'whole', *words)
    for cuts in ([1, 3], [3, 1], [1, 1, 1, 1], [0, 4]):
        shutil.rmtree('result', ignore_errors=True)
        more = ['-s', 1]
        for epochs in cuts:
            train('-e', epochs, *more, *words)
            more = ['-r', 'result/mlp.state']
        assert_same_run('result', 'whole')
    times = [record['elapsed_time'] for record in log_of('result')]
    assert times == sorted(times)


def test_a_run_that_diverges_keeps_the_last_good_snapshot():
    train('-e', 1)
    before = content_of('result')
    large = {key: w * numpy.float32(1e30) for key, w in read('result/mlp.model').items()}
    numpy.savez('large.npz', **large)
    for words, message in (
        ([], 'epoch 1; start from other weights (-m) or another seed (-s)'),
        (['-r', 'result/mlp.state'], 'epoch 2; resume from the last good snapshot (-r) with '),
    ):
        with numpy.errstate(all='ignore'):
            status, _, errors = main('--noplot', '-m', 'large.npz', *words)
        message = f'error: training diverged: the loss is not finite in {message}'
        assert (status, errors.startswith(f'train_mnist.py: {message}')) == (1, True)
        assert content_of('result') == before


def test_killed_at_random_moments():
    """A run of 60 epochs that is killed 20 times and resumed ends with the same bits.

    About a third of the time of these short epochs goes into writing.
    """
    seed = random.randrange(10**6)
    print('seed of the moments:', seed)  # pytest shows it when the test fails
    moments = random.Random(seed)
    epochs = 60
    train('-e', 0, '-s', 1, '-o', 'whole')
    expected = [content_of('whole')]  # after each epoch of an undisturbed run
    for _ in range(epochs):
        train('-e', 1, '-r', 'whole/mlp.state', '-o', 'whole')
        expected.append(content_of('whole'))

    def rest(done):
        """The words for the rest of the run."""
        return ['-e', epochs - done, *(['-r', 'result/mlp.state'] if done else ['-s', 1])]

    done, kills = 0, 0
    while kills < 20:
        process = start(*rest(done))
        wait_for(process, f'epoch {done + 1}')
        time.sleep(moments.uniform(0, 0.25))
        process.kill()
        _, errors = process.communicate()
        assert errors == ''  # by no process that the run has started, either
        kills += process.returncode in (1, -9)  # the first on Windows
        if os.path.exists('result/mlp.state'):
            before, done = done, int(read('result/mlp.state')['epoch'])
            assert done >= before
            content = content_of('result')
            assert content['mlp.state'] == expected[done]['mlp.state']
            for name in ('mlp.model', 'classifier.model'):
                assert content[name] in [files[name] for files in expected[done : done + 2]]
            assert len(log_of('result')) - done in (0, 1)
        if done == epochs:
            shutil.rmtree('result')
            done = 0

    train(*rest(done))
    assert_same_run('result', 'whole')
    written = set(os.listdir('result')) - {'graph.dot', '.lock'}
    assert written == {*expected[0]}  # and no temporary file of a run that was killed
