"""Runs on several processes, with a real ``mpiexec``."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from chainer_mnist import data, parallel

import numpy
import pytest

import train_mnist
from helpers import CLONE, assert_lines, command_line, log_of, read, same, train_here

MPIEXEC = shutil.which('mpiexec', path=os.path.dirname(sys.executable)) or shutil.which('mpiexec')

with_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec('mpi4py') is None,
    reason='MPI is not installed (pip install -r requirements-mpi.txt)',
)


def mpi_command(processes, *words):
    return [MPIEXEC, '-n', str(processes), *command_line('-c', 'naive', *words)]


def mpi_run(processes, *words, **options):
    """Runs ``train_mnist.py`` under ``mpiexec`` and captures what it prints."""
    env = {**os.environ, 'OPENBLAS_NUM_THREADS': '1', **options.pop('env', {})}
    options = {'capture_output': True, 'text': True, 'timeout': 120, **options}
    return subprocess.run(mpi_command(processes, *words), env=env, **options)


def mpi_train(processes, *words, **options):
    """Trains under ``mpiexec``, which must go well and print no error or warning."""
    done = mpi_run(processes, '--noplot', *words, **options)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


def assert_close_runs(a, b):
    """Asserts that two runs are the same but for the rounding of float32."""
    a_state, b_state = read(f'{a}/mlp.state'), read(f'{b}/mlp.state')
    assert a_state.keys() == b_state.keys()
    for key, array in a_state.items():
        numpy.testing.assert_allclose(array, b_state[key], rtol=1e-4, atol=2e-6, err_msg=key)
    assert len(log_of(a)) == len(log_of(b))
    for one, other in zip(log_of(a), log_of(b)):
        assert {**one, 'elapsed_time': 0} == pytest.approx({**other, 'elapsed_time': 0}, rel=1e-4)


# Without MPI


def test_one_process_imports_no_mpi():
    code = (
        'import sys, train_mnist\n'
        'assert train_mnist.main(["-e", "1", "--noplot"]) == 0\n'
        'assert not {"mpi4py", "chainermn"} & set(sys.modules)\n'
    )
    env = {**os.environ, 'PYTHONPATH': str(CLONE)}
    subprocess.run([sys.executable, '-c', code], env=env, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize('processes', [1, 2, 3, 7])
@pytest.mark.parametrize('images', [1, 2, 6, 7, 100])
def test_the_shares_make_up_the_whole(processes, images):
    shares = []
    for rank in range(processes):
        communicator = parallel.OneProcess()
        communicator.rank, communicator.size = rank, processes
        shares.append(communicator.share(numpy.arange(images)))
    assert sorted(numpy.concatenate(shares)) == list(range(images))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_no_mpiexec(capsys):
    assert train_mnist.main(['-c', 'naive']) == 1
    message = 'train_mnist.py: error: --communicator naive needs mpiexec; .*\n'
    out, err = capsys.readouterr()
    assert out == ''
    assert re.fullmatch(message, err)


@pytest.mark.parametrize('variable', ['PMI_RANK', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'])
@pytest.mark.parametrize(
    ('words', 'status', 'message'),
    [
        ('-b 0', 2, 'argument --batchsize/-b: .*'),
        ('-c nosuch', 2, "argument --communicator/-c: invalid choice: 'nosuch' .*; see .* --help"),
        ('-c pure_nccl', 1, '--communicator pure_nccl is for GPUs; add -g 0, or choose naive'),
        ('-c naive', 1, r'--communicator naive does not start \(.*\); .*requirements-mpi.txt.*'),
    ],
)
def test_mistakes_that_rank_0_alone_prints(words, status, message, variable, monkeypatch, capsys):
    """As launched processes see them. The last is met where mpi4py is missing."""
    for name in [name for name in sys.modules if name.split('.')[0] in ('mpi4py', 'chainermn')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mpi4py', None)
    for rank in '01':
        monkeypatch.setenv(variable, rank)
        assert train_mnist.main(words.split()) == status
        out, err = capsys.readouterr()
        assert out == ''
        assert re.fullmatch(f'train_mnist.py: error: {message}\n' if rank == '0' else '', err)
    assert os.listdir() == []


@with_mpi
def test_what_brings_nccl(tmp_path):
    """On the double of CuPy, which has none."""
    double = {'PYTHONPATH': str(CLONE / 'tests' / 'cupy_double'), 'CUPY_DOUBLE': str(tmp_path)}
    done = mpi_run(2, '-c', 'pure_nccl', '-g', 0, env=double)
    message = 'train_mnist.py: error: .* NCCL is not available.*; .* pip install nvidia-nccl-cu12\n'
    assert done.returncode == 1
    assert re.match(message, done.stderr)


# What a run prints, writes and computes


@with_mpi
def test_smoke():
    """Three processes print and write what one does, once, and one line more."""
    done = mpi_run(3, '-e', 2, '-b', 30)
    assert (done.returncode, done.stderr) == (0, '')
    lines = done.stdout.splitlines(keepends=True)
    assert lines.pop(3) == '# total Minibatch-size: 90 (processes: 3)\n'
    assert_lines(''.join(lines), 50, 30, 2)
    drawn = ['graph.svg'] if shutil.which('dot') else []
    files = ['accuracy.png', 'classifier.model', 'graph.dot', 'log', 'loss.png']
    assert sorted(os.listdir('result')) == sorted([*files, 'mlp.model', 'mlp.state', *drawn])


@with_mpi
@pytest.mark.parametrize(
    ('processes', 'batchsize', 'net'),
    [
        (2, 50, 'classifier'),  # everything divides
        (2, 50, 'trainflag'),
        (3, 19, 'classifier'),  # 500 = 8 * 57 + 44: shares of 15, 15 and 14
        (3, 83, 'classifier'),  # 500 = 2 * 249 + 2: shares of 1, 1 and 0
    ],
)
def test_processes_give_the_weights_of_one_process(processes, batchsize, net):
    words = ['-e', 2, '-s', 1, '-n', net]
    train_here(*words, '-b', processes * batchsize, '-o', 'one')
    mpi_train(processes, *words, '-b', batchsize, '-o', 'many')
    assert_close_runs('one', 'many')


LEARNER = """
import sys
import train_mnist, net
import chainer.functions as F, chainer.links as L, numpy
import chainer
from chainer import initializers

def each(step):
    def train(model, optimizer, x, t, batches, watch):
        means = train_mnist.Means(numpy)
        for batch in batches:
            step(model, optimizer, x[batch], t[batch])
            means.add(model.loss, model.accuracy, len(batch))
            watch(means)
        return means
    train_mnist.train = train

{change}
sys.exit(train_mnist.main())
"""

# What a learner may do, and what one process takes.
CHANGES = {
    'a rate that falls': """
def step(model, optimizer, x, t):
    optimizer.alpha *= 0.9
    optimizer.update(model, x, t)
each(step)
""",
    'a penalty in the loss': """
def step(model, optimizer, x, t):
    def loss(x, t):
        return model(x, t) + 0.01 * F.sum(model.predictor.l1.W ** 2)
    optimizer.update(loss, x, t)
each(step)
""",
    'a loss without arguments': """
each(lambda model, optimizer, x, t: optimizer.update(lambda: model(x, t)))
""",
    'an update by hand': """
def step(model, optimizer, x, t):
    loss = model(x, t)
    model.cleargrads()
    loss.backward()
    optimizer.update()
each(step)
""",
    'a loss that cannot be pickled': """
Classifier = L.Classifier
L.Classifier = lambda predictor: Classifier(
    predictor, lossfun=lambda y, t: F.softmax_cross_entropy(2 * y, t))
""",
    'a layer of float64': """
class MLP(net.MLP):
    def __init__(self, *args):
        super().__init__(*args)
        with self.init_scope():
            initial = [make(dtype='d') for make in (initializers.HeNormal, initializers.Zero)]
            del self.l2
            self.wide = L.Linear(None, args[0], False, *initial)
    def forward(self, x):
        return self.l3(F.cast(self.wide(F.cast(F.relu(self.l1(x)), 'd')), 'f'))
net.MLP = MLP
""",
}


def run_changed(change, processes, *words, status=0, error=''):
    with open('learner.py', 'w') as file:
        file.write(LEARNER.replace('{change}', change))
    many = [MPIEXEC, '-n', str(processes)] if processes > 1 else []
    words += ('-c', 'naive') if many else ()
    command = [*many, sys.executable, 'learner.py', '--noplot', *map(str, words)]
    options = {'capture_output': True, 'text': True, 'timeout': 60}
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(CLONE)}, **options)
    assert (done.returncode, done.stderr) == (status, error)
    return done.stdout


@with_mpi
@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_what_a_learner_changes_gives_the_weights_of_one_process(change):
    # 500 = 5 * 90 + 50: the last shares are of 17, 17 and 16 images.
    run_changed(change, 1, '-e', 2, '-s', 1, '-b', 90, '-o', 'one')
    run_changed(change, 3, '-e', 2, '-s', 1, '-b', 30, '-o', 'many')
    assert_close_runs('one', 'many')


@with_mpi
def test_loss_scaling_where_a_process_has_no_images():
    change = """
Adam = train_mnist.Adam
class Scaled(Adam):
    def setup(self, model):
        self.loss_scaling(interval=2)
        return super().setup(model)
train_mnist.Adam = Scaled
"""
    run_changed(change, 1, '-e', 3, '-s', 1, '-b', 249, '-o', 'one')
    run_changed(change, 3, '-e', 3, '-s', 1, '-b', 83, '-o', 'many')
    assert_close_runs('one', 'many')


@with_mpi
def test_a_layer_that_is_made_in_training_is_refused():
    change = """
class MLP(net.MLP):
    def __init__(self, *args):
        super().__init__(*args)
        with self.init_scope():
            self.late = L.Linear(None, 10)
    def forward(self, x):
        y = super().forward(x)
        return y + self.late(x) if chainer.config.train else y
net.MLP = MLP
"""
    run_changed(change, 1, '-e', 1)
    message = (
        'train_mnist.py: error: /predictor/late/W gets its size in training, when each process '
        'draws its own weights; give its layer the size of its input in net.py\n'
    )
    run_changed(change, 2, '-e', 1, status=1, error=message)


@with_mpi
def test_values_that_persist_are_the_same_in_all_processes():
    change = """
from chainer_mnist import errors
class MLP(net.MLP):
    def __init__(self, *args):
        super().__init__(*args)
        rank = errors.mpi_rank()
        self.add_persistent('mask', numpy.array([True, False]))
        self.add_persistent('count', numpy.zeros(2, 'i'))
        self.add_persistent('mean', 0.0)
        self.add_persistent('kind', 'MLP')
    def forward(self, x):
        if chainer.config.train:
            self.count += 1 + errors.mpi_rank()
            self.mean += 1.0 + errors.mpi_rank()
        else:
            with open(f'seen{errors.mpi_rank()}', 'w') as file:
                print(self.mask, self.count, self.mean, self.kind, file=file)
        return super().forward(x)
net.MLP = MLP
"""
    run_changed(change, 2, '-e', 1, '-b', 50)
    with open('seen0') as zero, open('seen1') as one:
        assert zero.read() == one.read() == '[ True False] [5 5] 7.5 MLP\n'


@with_mpi
def test_each_process_drops_other_units():
    change = """
from chainer_mnist import errors
def step(model, optimizer, x, t):
    F.dropout(numpy.ones(100, 'f')).array.astype('?').tofile(f'kept{errors.mpi_rank()}')
    optimizer.update(model, x, t)
each(step)
"""
    run_changed(change, 2, '-e', 1, '-s', 1)
    first, second = (numpy.fromfile(f'kept{rank}', '?') for rank in range(2))
    assert 0 < first.sum() < 100
    assert not numpy.array_equal(first, second)


@with_mpi
def test_batch_normalization_is_saved_as_it_was_evaluated():
    change = """
class MLP(net.MLP):
    def __init__(self, *args):
        super().__init__(*args)
        with self.init_scope():
            self.bn = L.BatchNormalization(args[0])
    def forward(self, x):
        return self.l3(F.relu(self.bn(self.l1(x))))
net.MLP = MLP
"""
    run_changed(change, 2, '-e', 2, '-s', 1)
    printed = run_changed(change + 'import predict\nsys.exit(predict.main(["--json"]))', 1)
    assert json.loads(printed)['accuracy'] == log_of('result')[-1]['validation/main/accuracy']


SPY = """
import sys
from chainer_mnist import errors
import chainer, net, train_mnist

class Spy(net.MLP):
    def forward(self, x):
        phase = 'train' if chainer.config.train else 'test'
        with open(f'{phase}{errors.mpi_rank()}', 'ab') as file:
            file.write(x.tobytes())
        return super().forward(x)

net.MLP = Spy
sys.exit(train_mnist.main())
"""


@with_mpi
@pytest.mark.parametrize(('processes', 'batchsize'), [(2, 79), (3, 83)])
def test_each_image_is_used_once_by_one_process(processes, batchsize):
    with open('spy.py', 'w') as file:
        file.write(SPY)
    words = ['-c', 'naive', '-e', 1, '-b', batchsize, '--noplot']
    subprocess.run(
        [MPIEXEC, '-n', str(processes), sys.executable, 'spy.py', *map(str, words)],
        env={**os.environ, 'PYTHONPATH': str(CLONE)},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    # Before it trains, each process looks at two images to draw the weights.
    for phase, looks, (x, _) in zip(('train', 'test'), (0, 2), data.load()):
        parts = [
            numpy.fromfile(f'{phase}{rank}', 'f').reshape(-1, 784)[looks:]
            for rank in range(processes)
        ]
        lengths = [len(part) for part in parts]
        assert max(lengths) - min(lengths) <= 1
        assert sorted(map(bytes, numpy.concatenate(parts))) == sorted(map(bytes, x))


@with_mpi
def test_fewer_images_than_processes(tiny, monkeypatch):
    """A process that never sees an image takes part all the same."""
    folder = 'data/pfnet/chainer/mnist'
    os.makedirs(folder)
    for name in ('train', 'test'):
        npz = read(f'{tiny}/pfnet/chainer/mnist/{name}.npz')
        numpy.savez(f'{folder}/{name}.npz', x=npz['x'][:2], y=npz['y'][:2])
    monkeypatch.setenv('CHAINER_DATASET_ROOT', 'data')
    mpi_train(3, '-e', 3, '-s', 1, '-o', 'many')
    train_here('-e', 3, '-s', 1, '-o', 'one')
    assert_close_runs('one', 'many')


# Going on


@with_mpi
@pytest.mark.parametrize(('before', 'after'), [(1, 2), (2, 1)])
def test_going_on_with_another_number_of_processes(before, after):
    def go(processes, *words):
        words = ['-e', 1, '-b', 60 // processes, '-s', 1, *words]
        train_here(*words) if processes == 1 else mpi_train(processes, *words)

    train_here('-e', 2, '-b', 60, '-s', 1, '-o', 'whole')
    go(before, '-o', 'a')
    go(after, '-r', 'a/mlp.state', '-o', 'b')
    assert_close_runs('whole', 'b')


@with_mpi
def test_m_and_a_drawn_seed_are_those_of_rank_0():
    train_here('-e', 1, '-s', 1, '-o', 'a')
    mpi_train(2, '-e', 0, '-m', 'a/mlp.model', '-o', 'b')
    assert same('a/mlp.model', 'b/mlp.model')

    seed = re.search(r'# seed: (\d+)', mpi_train(2, '-e', 1, '-b', 40, '-o', 'many'))[1]
    train_here('-e', 1, '-b', 80, '-s', seed, '-o', 'one')
    assert_close_runs('one', 'many')


@with_mpi
def test_only_rank_0_needs_the_snapshot():
    """As on several hosts: the other process stands in a directory of its own."""
    train_here('-e', 1, '-s', 1, '-o', 'a')
    os.mkdir('elsewhere')
    words = list(map(str, command_line('-c', 'naive', '-e', 1, '-b', 50, '--noplot')))
    words += ['-r', 'a/mlp.state', '-o', 'b']
    many = [MPIEXEC, '-n', '1', *words, ':', '-n', '1', '-wdir', os.path.abspath('elsewhere')]
    subprocess.run([*many, *words], check=True, stdout=subprocess.DEVNULL, timeout=60)
    train_here('-e', 1, '-r', 'a/mlp.state', '-o', 'c')
    assert_close_runs('b', 'c')
    assert os.listdir('elsewhere') == []


# Ends


def start(*words):
    """Starts a long run and waits until it is in its second epoch at least."""
    process = subprocess.Popen(
        mpi_command(2, '--noplot', '-e', 10**6, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while 'epoch 2' not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    return process


def ranks_of(process):
    """The process ids of the ranks of a started run, in order of rank."""
    if not os.path.isdir('/proc/self'):
        process.terminate()
        pytest.skip('there is no /proc to find the ranks in')
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/environ', 'rb') as file:
                env = file.read()
        except OSError:
            continue
        rank = re.search(rb'PMI_RANK=(\d+)', env)
        if rank and f'PWD_OF_TEST={os.getcwd()}\0'.encode() in env:
            found[int(rank[1])] = int(pid)
    return [found[rank] for rank in sorted(found)]


def runs(pid):
    """Says whether a process runs. One that has ended may wait for its parent to take note."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False


def wait_for_the_end(pids):
    """Waits until no process of a run is left, and fails where one stays."""
    until = time.monotonic() + 20
    while any(map(runs, pids)):
        assert time.monotonic() < until, 'a process of the run is left'
        time.sleep(0.05)


@with_mpi
def test_processes_with_other_options():
    words = list(map(str, command_line('-c', 'naive', '--noplot', '-o', 'out')))
    many = [MPIEXEC, '-n', '1', *words, '-e', '1', ':', '-n', '1', *words, '-e', '2']
    done = subprocess.run(many, capture_output=True, text=True, timeout=60)
    message = 'process 1 has other options than process 0; give all of them the same'
    assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message}\n')
    assert not os.path.exists('out')


@with_mpi
@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_before_mpi_has_started(rank, monkeypatch):
    """Of a process that ends then, MPI would not hear, and the other would wait for it."""
    monkeypatch.setenv('PWD_OF_TEST', os.getcwd())
    with open('early.py', 'w') as file:
        file.write(f"""
import os, signal, sys
from chainer_mnist import errors, process
import train_mnist
process.prepare()
if errors.mpi_rank() == {rank}:
    os.kill(os.getpid(), signal.SIGTERM)
sys.exit(train_mnist.main())
""")
    command = [MPIEXEC, '-n', '2', sys.executable, 'early.py', '-c', 'naive', '-e', '1']
    env = {**os.environ, 'PYTHONPATH': str(CLONE)}
    done = subprocess.run(command, env=env, capture_output=True, timeout=60)
    assert done.returncode != 0
    assert not os.path.exists('result')


@with_mpi
@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_rank_ends_the_run(rank, monkeypatch):
    monkeypatch.setenv('PWD_OF_TEST', os.getcwd())
    process = start('-s', 1)
    pids = ranks_of(process)
    os.kill(pids[rank], signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode != 0
    wait_for_the_end(pids)
    train_here('-r', 'result/mlp.state', '-e', 1)


@with_mpi
@pytest.mark.parametrize(
    ('signum', 'rank'), [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGTERM, 1)]
)
def test_a_signal_ends_the_run_in_order(signum, rank, monkeypatch):
    """Sent to ``mpiexec``, or to one of the processes, which tells the others."""
    monkeypatch.setenv('PWD_OF_TEST', os.getcwd())
    process = start('-s', 1)
    os.kill(process.pid if rank is None else ranks_of(process)[rank], signum)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signum
    again = re.findall(r'train_mnist.py: interrupted; go on with: \S+ mpiexec -n 2 (.*)\n', err)
    assert len(again) == 1
    assert ' -r result/mlp.state -e ' in again[0]
    assert again[0].endswith(' --noplot --communicator naive')
    train_here('-r', 'result/mlp.state', '-e', 1)


BROKEN = """
import sys
from chainer_mnist import data, errors
import train_mnist

def fail(*args):
    raise {error}

if errors.mpi_rank() == {rank}:
    {where} = fail
sys.exit(train_mnist.main())
"""


@with_mpi
@pytest.mark.parametrize(
    ('rank', 'where', 'error', 'printed'),
    [
        (0, 'train_mnist.Means.add', 'errors.UserError("it; mend it")', 'error: it; mend it\n'),
        (1, 'data.load', 'errors.UserError("it; mend it")', 'error: it; mend it (process 1 on '),
        (0, 'data.load', 'ZeroDivisionError', 'Traceback'),
        (1, 'train_mnist.Means.add', 'ZeroDivisionError', 'Traceback'),
    ],
)
def test_what_one_process_alone_meets_ends_the_run(rank, where, error, printed):
    with open('broken.py', 'w') as file:
        file.write(BROKEN.format(rank=rank, where=where, error=error))
    done = subprocess.run(
        [MPIEXEC, '-n', '2', sys.executable, 'broken.py', '-c', 'naive', '--noplot'],
        env={**os.environ, 'PYTHONPATH': str(CLONE)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stderr.count(printed) == 1


@with_mpi
@pytest.mark.parametrize(
    ('words', 'root', 'status', 'message'),
    [
        ('-c nosuch', None, 2, 'argument --communicator/-c: .*'),
        ('-o file', None, 1, 'cannot write to file: .*'),
        ('-e 1', 'nowhere', 1, 'MNIST is not there: .*'),  # every process meets this one
    ],
)
def test_mistakes_are_printed_once(words, root, status, message):
    with open('file', 'w'):
        pass
    done = mpi_run(2, *words.split(), env={'CHAINER_DATASET_ROOT': root} if root else {})
    assert done.returncode == status
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', done.stderr), done.stderr
    assert os.listdir() == ['file']


@with_mpi
def test_processes_with_other_data_do_not_train_together(tiny):
    os.makedirs('other/pfnet/chainer/mnist')
    for name in ('train', 'test'):
        npz = read(f'{tiny}/pfnet/chainer/mnist/{name}.npz')
        numpy.savez(f'other/pfnet/chainer/mnist/{name}.npz', x=npz['x'][1:], y=npz['y'][1:])
    words = ['-n', '1', *command_line('-c', 'naive', '-e', 1, '--noplot')]
    many = [MPIEXEC, *words, ':', '-env', 'CHAINER_DATASET_ROOT', 'other', *words]
    done = subprocess.run(many, capture_output=True, text=True, timeout=60)
    message = 'process 1 has other data than process 0; set CHAINER_DATASET_ROOT alike for all'
    assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message} of them\n')
    assert not os.path.exists('result')


@with_mpi
def test_another_run_in_the_directory():
    process = start('-s', 1)
    done = mpi_run(2, '-e', 1)
    process.kill()
    process.communicate()
    message = 'another run writes to result; wait for its end, or choose another directory with -o'
    assert (done.returncode, done.stderr) == (1, f'train_mnist.py: error: {message}\n')


@with_mpi
def test_mpiexec_without_a_communicator_does_not_write_twice():
    words = [MPIEXEC, '-n', '2', *command_line('--noplot', '-e', 300)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    message = 'another run writes to result; to make all processes one run, add --communicator'
    assert done.returncode == 1
    # Either process may have come first.
    assert re.fullmatch(f'train_mnist.py: error: {message}( .process 1 on .*)?\n', done.stderr)
