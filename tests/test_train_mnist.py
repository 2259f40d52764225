"""What a run of ``train_mnist.py`` prints, writes and computes."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading

from chainer_mnist import data, speed
from chainer_mnist.parallel import ALONE

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import optimizers

import train_mnist
from helpers import (
    CLONE,
    assert_lines,
    assert_quiet,
    environment,
    read,
    run,
    same,
    train,
)
from net import MLP, TrainFlagMLP

FILES = ['classifier.model', 'graph.dot', 'log', 'mlp.model', 'mlp.state']
PICTURES = ['accuracy.png', 'loss.png']


def test_smoke():
    """The README's command on the tiny MNIST: nothing but the documented lines, all the files."""
    done = run('-e', 2)
    assert (done.returncode, done.stderr) == (0, '')
    assert_lines(done.stdout, 50, 100, 2)
    drawn = ['graph.svg'] if shutil.which('dot') else []
    assert sorted(os.listdir('result')) == sorted(FILES + PICTURES + drawn)
    for picture in PICTURES:
        with open(f'result/{picture}', 'rb') as file:
            assert file.read(8) == b'\x89PNG\r\n\x1a\n'


def test_every_flag_in_its_long_and_its_short_form():
    short = '-b 64 -e 1 -g -1 -o a/b -u 20 -n trainflag -s 7'
    printed = train(*short.split())
    assert_lines(printed, 20, 64, 1)
    assert '# seed: 7\n' in printed
    assert sorted(os.listdir('a/b')) == FILES

    long = '--batchsize 64 --epoch 1 --gpu -1 --out c --unit 20 --net trainflag --seed 7'
    train(*long.split())
    assert same('a/b/mlp.state', 'c/mlp.state')

    loads = ['Load model from c/mlp.model', 'Load optimizer state from c/mlp.state']
    more = ['--initmodel', 'c/mlp.model', '--resume', 'c/mlp.state']
    assert_lines(train(*more, *long.split()), 20, 64, 1, loads, first=2)


def test_no_epoch_is_a_run_too():
    assert_lines(train('-e', 0, '-s', 1), 50, 100, 0)
    train('-e', 1, '-r', 'result/mlp.state', '-o', 'b')
    train('-e', 1, '-s', 1, '-o', 'c')
    assert same('b/mlp.state', 'c/mlp.state')


def test_seed_decides_the_run():
    for out, seed in (('a', 1), ('b', 1), ('c', 2)):
        train('-e', 1, '-s', seed, '-o', out)
    assert same('a/mlp.state', 'b/mlp.state')
    assert not same('a/mlp.model', 'c/mlp.model')


def test_a_drawn_seed_is_printed_and_repeats_the_run():
    seed = re.search(r'# seed: (\d+)', train('-e', 1, '-o', 'a'))[1]
    other = re.search(r'# seed: (\d+)', train('-e', 1, '-s', seed, '-o', 'b'))[1]
    assert other == seed
    assert same('a/mlp.state', 'b/mlp.state')


def test_main_from_python(capsys):
    assert train_mnist.main(['-e', '1', '--noplot']) == 0
    assert_lines(capsys.readouterr().out, 50, 100, 1)
    assert train_mnist.main(['-e', '1', '-m', 'nowhere']) == 1
    assert train_mnist.main(['-b', '0']) == 2
    assert train_mnist.main(['--help']) == 0


def test_main_from_another_thread(capsys):
    """Python has no signal handlers there."""
    status = []
    thread = threading.Thread(target=lambda: status.append(train_mnist.main(['-e1', '--noplot'])))
    thread.start()
    thread.join()
    assert status == [0]


def test_importing_runs_nothing():
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', 'import train_mnist'],
        env={**os.environ, 'PYTHONPATH': str(CLONE)},
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b'', b'')
    assert os.listdir() == []


# The means


@pytest.fixture
def setup():
    """A model, its optimizer and the arrays of the tiny MNIST."""

    def make(network=MLP):
        (x, t), test = data.load()
        numpy.random.seed(0)
        model = L.Classifier(MLP(50, 10)) if network is MLP else network(50, 10)
        model(x[:1], t[:1])
        return model, optimizers.SGD(0).setup(model), (x, t), test

    return make


@pytest.mark.parametrize('network', [MLP, TrainFlagMLP])
@pytest.mark.parametrize('batchsize', [1, 100, 64, 499, 10**6, 10**30])
def test_means_are_right_for_every_batch_size(setup, network, batchsize):
    # A learning rate of 0 keeps the weights, so that the epoch's mean is the data set's.
    model, optimizer, (x, t), _ = setup(network)
    numbers = []
    batches = ALONE.batches(numpy.random.permutation(500), batchsize)
    means = train_mnist.train(
        model, optimizer, x, t, batches, lambda means: numbers.append(means.images)
    ).get()
    assert numbers == sorted({*range(batchsize, 500, batchsize), 500})
    assert optimizer.t == len(numbers)
    loss = model(x, t).array
    assert means == pytest.approx((float(loss), float(model.accuracy.array)), rel=1e-6)


@pytest.mark.parametrize('network', [MLP, TrainFlagMLP])
def test_evaluation_gives_the_means_of_the_whole_set(setup, network, monkeypatch):
    model, _, _, (x, t) = setup(network)
    loss = model(x, t).array
    expected = pytest.approx((float(loss), float(model.accuracy.array)), rel=1e-6)
    for size in (1000, 300, 77):
        monkeypatch.setattr(train_mnist, 'TEST_BATCHSIZE', size)
        assert train_mnist.evaluate(model, x, t).get() == expected


def test_evaluation_takes_the_classifiers_own_loss(setup):
    model, _, _, (x, t) = setup()
    model.lossfun = lambda y, t: 3 * F.softmax_cross_entropy(y, t)
    expected = pytest.approx(float(model(x, t).array), rel=1e-6)
    assert train_mnist.evaluate(model, x, t).get()[0] == expected


def test_each_image_is_used_once_in_each_epoch(setup):
    model, optimizer, (x, t), _ = setup()
    seen = []

    def spy(images, labels):
        seen.extend(zip(map(bytes, images), labels))
        return L.Classifier.forward(model, images, labels)

    model.forward = spy
    train_mnist.train(model, optimizer, x, t, ALONE.batches(numpy.random.permutation(500), 64))
    assert sorted(seen) == sorted(zip(map(bytes, x), t))


def test_a_step_learns(setup):
    model, _, (x, t), _ = setup()
    optimizer = optimizers.Adam().setup(model)
    before = train_mnist.evaluate(model, x, t).get()
    train_mnist.train(model, optimizer, x, t, ALONE.batches(numpy.arange(500), 20))
    after = train_mnist.evaluate(model, x, t).get()
    assert after[0] < before[0] - 0.2
    assert after[1] > before[1] + 0.2


def test_chainer_knows_training_from_evaluation(setup):
    model, optimizer, (x, t), _ = setup()
    seen = []
    forward = model.predictor.forward

    def spy(images):
        seen.append((chainer.config.train, chainer.config.enable_backprop))
        return forward(images)

    model.predictor.forward = spy
    train_mnist.train(model, optimizer, x, t, ALONE.batches(numpy.arange(500), 250))
    train_mnist.evaluate(model, x, t).get()
    assert seen == [(True, True), (True, True), (False, False)]


def test_the_optimizer_is_adam_with_chainers_defaults():
    """One epoch by the script, and the same by Chainer's own updater-free loop."""
    train('-e', 1, '-s', 5)
    (x, t), _ = data.load()
    numpy.random.seed(5)
    model = L.Classifier(MLP(50, 10))
    model(x[:1], t[:1])
    optimizer = optimizers.Adam().setup(model)
    order = numpy.random.RandomState([5, 1]).permutation(500)
    with speed.tuned(50):  # BLAS rounds otherwise with another number of threads
        for i in range(0, 500, 100):
            optimizer.update(model, x[order[i : i + 100]], t[order[i : i + 100]])
    chainer.serializers.save_npz('plain.model', model)
    assert same('plain.model', 'result/classifier.model')


# The files


def test_plain_chainer_reads_the_files():
    train('-e', 2, '-s', 1)
    code = """
import chainer_mnist
from net import MLP
import chainer, numpy, os
import chainer.links as L
classifier, mlp = L.Classifier(MLP(50, 10)), MLP(50, 10)
optimizer = chainer.optimizers.Adam().setup(classifier)
chainer.serializers.load_npz('result/classifier.model', classifier)
chainer.serializers.load_npz('result/mlp.model', mlp)
chainer.serializers.load_npz('result/mlp.state', optimizer)
for a, b in zip(mlp.params(), classifier.predictor.params()):
    numpy.testing.assert_array_equal(a.array, b.array)
with numpy.load(os.environ['CHAINER_DATASET_ROOT'] + '/pfnet/chainer/mnist/test.npz') as test:
    x, t = test['x'].astype('f') * (1 / 255.), test['y'].astype('i')
loss = classifier(x, t)
assert optimizer.t == 10 and optimizer.epoch == 2
print(float(loss.array), float(classifier.accuracy.array))
loss.backward()
optimizer.update()
"""
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', code],
        env={**os.environ, 'PYTHONPATH': str(CLONE)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ''
    with open('result/log') as file:
        last = json.load(file)[-1]
    assert [float(word) for word in done.stdout.split()] == pytest.approx(
        [last['validation/main/loss'], last['validation/main/accuracy']], rel=1e-5
    )


def test_the_model_files_hold_the_same_weights_for_both_networks():
    for net in ('classifier', 'trainflag'):
        train('-e', 1, '-s', 1, '-n', net, '-o', net)
    for name in ('classifier.model', 'mlp.model'):
        assert same(f'classifier/{name}', f'trainflag/{name}')
    model = read('classifier/classifier.model')
    assert {f'predictor/{k}' for k in read('classifier/mlp.model')} == set(model)


def test_the_log_is_that_of_logreport():
    printed = train('-e', 2, '-b', 200)
    with open('result/log') as file:
        log = json.load(file)
    assert [(record['epoch'], record['iteration']) for record in log] == [(1, 3), (2, 6)]
    assert 0 < log[0]['elapsed_time'] < log[1]['elapsed_time']
    for record in log:
        assert f'train mean loss={record["main/loss"]}, accuracy={record["main/accuracy"]}' in (
            printed
        )
        assert (
            f'test  mean loss={record["validation/main/loss"]}, '
            f'accuracy={record["validation/main/accuracy"]}\n' in printed
        )


@pytest.mark.skipif(shutil.which('dot') is None, reason='Graphviz is not installed')
def test_graphviz_draws_the_graph():
    assert run('-e', 1).returncode == 0
    subprocess.run(['dot', '-Tplain', 'result/graph.dot', '-o', 'graph.txt'], check=True)
    with open('graph.txt') as file:
        text = file.read()
    with open('result/graph.svg') as file:
        svg = file.read()
    for function, count in (('LinearFunction', 3), ('ReLU', 2), ('SoftmaxCrossEntropy', 1)):
        assert text.count(function) == svg.count(f'>{function}<') == count


def test_whole_mnist_for_one_epoch(monkeypatch):
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    printed = train('-e', 1, '-s', 0)
    loss, accuracy = re.search(r'test  mean loss=(.*), accuracy=(.*)', printed).groups()
    assert float(loss) < 0.25
    assert 0.925 < float(accuracy) < 0.96


def test_a_clone_that_cannot_be_written(bound_by_permissions):
    name = 'it\'s a "clone"'
    os.mkdir(name)
    for path in CLONE.glob('*.py'):
        shutil.copy(path, name)
    shutil.copytree(CLONE / 'chainer_mnist', f'{name}/chainer_mnist')
    os.chmod(name, 0o555)
    script = os.path.abspath(os.path.join(name, 'train_mnist.py'))
    words = [*bound_by_permissions, sys.executable, script, '-e', '1', '--noplot']
    env = environment(PYTHONDONTWRITEBYTECODE=None)
    assert_quiet(subprocess.run(words, env=env, capture_output=True, text=True))
    assert os.path.exists('result/mlp.state')
    assert not os.path.exists(os.path.join(name, '__pycache__'))
