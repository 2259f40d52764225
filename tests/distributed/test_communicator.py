"""Runs on several processes, with a real ``mpiexec``: results, signals, mistakes and failures."""

import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from chainer_mnist.distributed import watchdog

import numpy
import pytest

from helpers import command_line, log_of, main, read, run_command, start_command, train, wait_for

MPIEXEC = shutil.which('mpiexec', path=os.path.dirname(sys.executable)) or shutil.which('mpiexec')

with_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec('mpi4py') is None,
    reason='MPI is not installed (pip install -r requirements-mpi.txt)',
)


def mpi_command(processes, *words):
    return [MPIEXEC, '-n', str(processes), *command_line('-c', 'naive', '--noplot', *words)]


def mpi_train(processes, *words):
    """Trains on several processes without an error. Returns what was printed."""
    done = run_command(mpi_command(processes, *words))
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


def run_changed(change, processes, *words):
    """Runs the script with a change of Python code, on one process or on several."""
    Path('changed.py').write_text(CHANGED.replace('{change}', change))
    prefix = [MPIEXEC, '-n', str(processes)] if processes > 1 else []
    words += ('-c', 'naive') if prefix else ()
    script = os.path.abspath('changed.py')
    return run_command([*prefix, *command_line('--noplot', *words, script=script)])


def assert_close_runs(a, b):
    """Asserts that two runs are the same except for the rounding of float32."""
    a_state, b_state = read(f'{a}/mlp.state'), read(f'{b}/mlp.state')
    assert a_state.keys() == b_state.keys()
    for key, array in a_state.items():
        numpy.testing.assert_allclose(array, b_state[key], rtol=1e-4, atol=2e-6, err_msg=key)
    for one, other in zip(log_of(a), log_of(b)):
        assert {**one, 'elapsed_time': 0} == pytest.approx({**other, 'elapsed_time': 0}, rel=1e-4)
    assert len(log_of(a)) == len(log_of(b))


# Without MPI


@pytest.mark.parametrize(
    ('words', 'rank', 'message'),
    [
        ('-c naive', None, '--communicator naive needs mpiexec; put "mpiexec -n 2" .*'),
        ('-c pure_nccl', 'PMI_RANK=0', '--communicator pure_nccl is for GPUs; .* choose naive'),
        ('-c naive', 'PMIX_RANK=0', r'--communicator naive does not start \(.*\); .*-mpi.txt.*'),
        ('-c naive', 'OMPI_COMM_WORLD_RANK=1', r'--communicator .* \(rank 1 on [^)]+\)'),
    ],
)
def test_mistakes_before_mpi_starts(words, rank, message, monkeypatch):
    """As launched processes see them, where mpi4py is missing."""
    for name in [name for name in sys.modules if name.split('.')[0] in ('mpi4py', 'chainermn')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mpi4py', None)
    if rank:
        monkeypatch.setenv(*rank.split('='))
    status, printed, errors = main(*words.split())
    assert (status, printed) == (1, '')
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', errors)
    assert os.listdir() == []


# Results


def write_mnist(root, tiny, part):
    """Writes a part of a data set as another data set."""
    folder = Path(root, 'pfnet/chainer/mnist')
    folder.mkdir(parents=True)
    for name in ('train', 'test'):
        npz = read(tiny / 'pfnet/chainer/mnist' / f'{name}.npz')
        numpy.savez(folder / f'{name}.npz', x=npz['x'][part], y=npz['y'][part])


@with_mpi
@pytest.mark.parametrize(
    ('processes', 'batchsize', 'net', 'images'),
    [
        (2, 50, 'classifier', 500),  # everything divides
        (2, 50, 'trainflag', 500),
        (3, 19, 'classifier', 500),  # 500 = 8 * 57 + 44: shares of 15, 15 and 14
        (3, 83, 'classifier', 500),  # 500 = 2 * 249 + 2: shares of 1, 1 and 0
        (3, 10, 'classifier', 2),  # a rank that never has an image takes part all the same
    ],
)
def test_several_processes_do_what_one_does(processes, batchsize, net, images, tiny, monkeypatch):
    write_mnist('data', tiny, slice(images))
    monkeypatch.setenv('CHAINER_DATASET_ROOT', 'data')
    total = processes * batchsize
    words = ['-e', 2, '-s', 1, '-n', net]
    expected = train(*words, '-b', total, '-o', 'one').splitlines()
    printed = mpi_train(processes, *words, '-b', batchsize, '-o', 'several').splitlines()
    assert printed.pop(2) == f'# Minibatch-size: {batchsize}'
    assert printed.pop(2) == f'# total Minibatch-size: {total} (processes: {processes})'
    expected.remove(f'# Minibatch-size: {total}')
    one, several = ([re.sub(r'=[\d.e-]+', '', x) for x in lines] for lines in (expected, printed))
    assert several == one
    assert sorted(os.listdir('several')) == sorted(os.listdir('one'))
    assert_close_runs('one', 'several')


CHANGED = """
import sys
import train_mnist, net
import chainer, numpy
import chainer.functions as F, chainer.links as L
from chainer_mnist.console import mpi_rank

def each(step):
    def train(model, optimizer, x, t, batches):
        means = train_mnist.RunningMean(numpy)
        for batch in batches:
            step(model, optimizer, train_mnist.scale(x[batch]), t[batch])
            means.update(model.loss, model.accuracy, len(batch))
        return means
    train_mnist.train = train

{change}
sys.argv[0] = 'train_mnist.py'
sys.exit(train_mnist.main())
"""

# What a learner may change, and works on one process.
CHANGES = {
    'learning rate decay, and regularization in a loss without arguments': """
def step(model, optimizer, x, t):
    optimizer.alpha *= 0.9
    optimizer.update(lambda: model(x, t) + 0.01 * F.sum(model.predictor.l1.W ** 2))
each(step)
""",
    'backward called by hand': """
def step(model, optimizer, x, t):
    loss = model(x, t)
    model.cleargrads()
    loss.backward()
    optimizer.update()
each(step)
""",
    'layer of float64 and loss scaling': """
class MLP(net.MLP):
    def __init__(self, *args):
        super().__init__(*args)
        with self.init_scope():
            del self.l2
            self.wide = L.Linear(args[0], args[0], True, chainer.initializers.HeNormal(dtype='d'))
    def forward(self, x):
        return self.l3(F.cast(self.wide(F.cast(F.relu(self.l1(x)), 'd')), 'f'))
net.MLP = MLP
class Adam(train_mnist.Adam):
    def setup(self, model):
        self.loss_scaling(interval=2)
        return super().setup(model)
train_mnist.Adam = Adam
""",
}


@with_mpi
@pytest.mark.parametrize('change', CHANGES)
def test_a_changed_script_gives_the_weights_of_one_process(change):
    # 500 = 2 * 249 + 2: shares of 1, 1 and 0. By hand, a loss of no images has to be avoided.
    total = 90 if 'by hand' in change else 249
    for processes, out in ((1, 'one'), (3, 'several')):
        words = ['-e', 3, '-s', 1, '-b', total // processes, '-o', out]
        done = run_changed(CHANGES[change], processes, *words)
        assert (done.returncode, done.stderr) == (0, '')
    assert_close_runs('one', 'several')


@with_mpi
def test_a_layer_that_gets_its_size_in_training_is_refused():
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
    assert run_changed(change, 1, '-e', 1).returncode == 0
    done = run_changed(change, 2, '-e', 1)
    assert done.returncode == 1
    message = 'train_mnist.py: error: /predictor/late/W got its size in training, .*; .*net.py\n'
    assert re.fullmatch(message, done.stderr), done.stderr


@with_mpi
def test_ranks_share_persistent_values_but_not_the_dropout():
    """What is saved is what was evaluated: averages of batch normalization and other values."""
    change = """
class MLP(net.MLP):
    def __init__(self, *args):
        super().__init__(*args)
        with self.init_scope():
            self.bn = L.BatchNormalization(args[0])
        self.add_persistent('count', numpy.zeros(2, 'i'))
        self.add_persistent('mean', 0.0)
        self.add_persistent('kind', 'MLP')
    def forward(self, x):
        if chainer.config.train:
            self.count[:] = mpi_rank() or 0
            self.mean = float(mpi_rank() or 0)
            F.dropout(numpy.ones(100, 'f')).array.tofile(f'dropped{mpi_rank()}')
        with open(f'seen{mpi_rank()}', 'w') as file:
            print(self.count, self.mean, self.kind, self.bn.avg_mean, file=file)
        return self.l3(F.relu(self.bn(self.l1(x))))
net.MLP = MLP
"""
    assert run_changed(change, 2, '-e', 1, '-s', 1).stderr == ''
    seen = [Path(f'seen{rank}').read_text() for rank in range(2)]
    assert seen[0] == seen[1]
    assert seen[0].startswith('[0 0] 0.5 MLP [')
    assert Path('dropped0').read_bytes() != Path('dropped1').read_bytes()
    done = run_changed(f'{change}import predict\nsys.exit(predict.main(["--json"]))', 1)
    assert done.stderr == ''
    assert json.loads(done.stdout)['accuracy'] == log_of('result')[-1]['validation/main/accuracy']


# Resuming


@with_mpi
@pytest.mark.parametrize(('before', 'after'), [(1, 2), (2, 1)])
def test_resuming_on_another_number_of_processes(before, after):
    train('-e', 2, '-b', 60, '-s', 1, '-o', 'whole')
    for processes, words in ((before, ['-s', 1, '-o', 'a']), (after, ['-r', 'a', '-o', 'b'])):
        words = ['-e', 1, '-b', 60 // processes, *words]
        train(*words) if processes == 1 else mpi_train(processes, *words)
    assert_close_runs('whole', 'b')


@with_mpi
def test_only_rank_0_needs_the_snapshot_and_draws_the_seed():
    """As on several hosts: the other rank runs in a directory of its own."""
    train('-e', 1, '-s', 1, '-o', 'a')
    os.mkdir('elsewhere')
    words = command_line('-c', 'naive', '-e', 1, '-b', 50, '--noplot', '-m', 'a', '-o', 'b')
    several = [MPIEXEC, '-n', '1', *words, ':', '-n', '1', '-wdir', os.path.abspath('elsewhere')]
    printed = run_command([*several, *words]).stdout
    seed = re.search(r'# seed: (\d+)', printed)[1]
    train('-e', 1, '-m', 'a', '-s', seed, '-o', 'c')
    assert_close_runs('b', 'c')
    assert os.listdir('elsewhere') == []


# Mistakes


@with_mpi
@pytest.mark.parametrize(
    ('words', 'roots', 'message'),
    [
        (('-o file', '-o file'), ('root', 'root'), 'cannot write to file: .*'),  # on rank 0 alone
        (('', ''), ('nowhere', 'nowhere'), '.*CHAINER_DATASET_ROOT.*'),
        (('', '-b 7'), ('root', 'root'), 'options differ between rank 0 and rank 1; .*'),
        (('', ''), ('root', 'other'), 'data differ between rank 0 and rank 1; .*'),
    ],
)
def test_mistakes_are_printed_once_and_nobody_trains(words, roots, message, tiny):
    write_mnist('root', tiny, slice(None))
    write_mnist('other', tiny, slice(1, None))
    Path('file').touch()
    command = [MPIEXEC]
    for its_words, root in zip(words, roots):
        command += [':', '-n', '1', '-env', 'CHAINER_DATASET_ROOT', root]
        command += command_line('-c', 'naive', '--noplot', *its_words.split())
    command.remove(':')
    done = run_command(command)
    assert done.returncode == 1
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', done.stderr), done.stderr
    assert sorted(os.listdir()) == ['file', 'other', 'root']


# Ends


def start_and_train(*words):
    """Starts a long run on two processes and waits until its second epoch."""
    process = start_command(mpi_command(2, '-e', 10**6, '-s', 1, *words))
    wait_for(process, 'epoch 2')
    return process


def ranks_of(process):
    """The process IDs of the ranks of a run, in order of rank."""
    if not os.path.isdir('/proc/self'):
        process.terminate()
        pytest.skip('there is no /proc to find the ranks in')
    pids = [process.pid]
    for pid in pids:  # which grows
        for path in Path(f'/proc/{pid}/task').glob('*/children'):
            pids += map(int, path.read_text().split())
    return sorted(pid for pid in pids if b'PMI_RANK=' in Path(f'/proc/{pid}/environ').read_bytes())


def wait_for_the_end(pids):
    """Waits until no thread is left, except for those that nobody has waited for yet.

    A process may be a zombie while a thread of it still holds the lock of the directory.
    """
    until = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < until, 'a rank is left'
        time.sleep(0.05)


def is_alive(pid):
    try:
        stats = [path.read_text() for path in Path(f'/proc/{pid}/task').glob('*/stat')]
    except OSError:  # a thread ended meanwhile
        return True
    return any(stat.rpartition(')')[2].split()[0] not in 'ZX' for stat in stats)


@with_mpi
@pytest.mark.parametrize(
    ('signum', 'rank'), [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGTERM, 1)]
)
def test_a_signal_ends_all_ranks_in_order(signum, rank):
    """Sent to ``mpiexec``, or to one of the ranks."""
    process = start_and_train()
    os.kill(process.pid if rank is None else ranks_of(process)[rank], signum)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signum
    commands = re.findall(r'interrupted; resume with: .*\bmpiexec -n 2 (.*)\n', errors)
    assert len(commands) == 1
    assert re.search(r' --communicator naive --resume \S+ ', commands[0])
    train('-r', 'result/mlp.state', '-e', 1)


@with_mpi
@pytest.mark.parametrize('rank', [0, 1])
@pytest.mark.parametrize('signum', [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stopped_rank_ends_the_job(rank, signum, monkeypatch):
    monkeypatch.setenv('CHAINER_MNIST_TIMEOUT', '2')
    process = start_and_train()
    pids = ranks_of(process)
    os.kill(pids[rank], signum)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    line = 'train_mnist.py: error: another rank has not answered for 2 seconds'
    assert errors.count(line) == (signum == signal.SIGSTOP)
    wait_for_the_end(pids)
    train('-r', 'result/mlp.state', '-e', 1)


@with_mpi
def test_a_suspended_job_may_take_longer_than_the_timeout(monkeypatch):
    monkeypatch.setenv('CHAINER_MNIST_TIMEOUT', '2')
    process = start_and_train()
    pids = ranks_of(process)
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            os.kill(pid, signum)
        time.sleep(4)
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=20)[1].count('\n') == 1


FAILING = """
from chainer_mnist.console import UserError
def fail(*args, **kwargs):
    raise {error}
if mpi_rank() == {rank}:
    {where} = fail
"""


@with_mpi
@pytest.mark.parametrize(
    ('rank', 'where', 'error', 'printed'),
    [
        (0, 'train_mnist.RunningMean.update', 'UserError("it; fix it")', 'error: it; fix it\n'),
        (1, 'train_mnist.load_mnist', 'UserError("it; fix it")', 'error: it; fix it (rank 1 on '),
        (1, 'train_mnist.RunningMean.update', 'ZeroDivisionError', 'Traceback'),
        (1, 'train_mnist.create_communicator', 'UserError("it; fix it")', 'error: it; fix it (ra'),
    ],
)
def test_a_rank_that_fails_ends_the_job(rank, where, error, printed, monkeypatch):
    """At once, except in the last case: MPI has not started, and the other rank waits for it."""
    monkeypatch.setenv('CHAINER_MNIST_TIMEOUT', '5')
    start = time.monotonic()
    done = run_changed(FAILING.format(rank=rank, where=where, error=error), 2, '-e', 10**6)
    assert time.monotonic() - start < 30
    assert done.returncode != 0
    assert done.stderr.count(printed) == 1


def test_only_the_time_in_a_collective_counts(monkeypatch):
    printed = []
    monkeypatch.setattr(watchdog, 'TIMEOUT', 1)
    monkeypatch.setattr(watchdog, 'print_error', lambda line: sys.exit(printed.append(line)))
    with watchdog.Watchdog():  # the end of the block ends the collective
        pass
    time.sleep(4)
    assert printed == []
