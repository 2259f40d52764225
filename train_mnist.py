#!/usr/bin/env python
"""Trains a multi-layer perceptron on MNIST with Chainer.

python train_mnist.py                        on the CPU
python train_mnist.py -g 0                   on the first GPU
python train_mnist.py -r result/mlp.state    goes on from where a run ended
mpiexec -n 2 python train_mnist.py -c naive  on two processes
python train_mnist.py --help                 all options
"""

import contextlib
import math
import os
import secrets
import shlex
import shutil
import sys
import time

import chainer_compat  # noqa: F401  Chainer does not import without it
import chainer.functions as F
import chainer.links as L
import numpy
import six

import command
import devices
import files
import mnist
import net
import parallel
import report
import snapshot
import speed
from command import UserError, whole_number
from report import say

PROG = 'train_mnist.py'
N_OUT = 10  # digits
TEST_BATCHSIZE = 1000  # images in each step of the evaluation; it changes nothing but rounding


def make_parser():
    """Makes the parser of the command line.

    Returns:
        command.ArgumentParser: The parser.

    """
    parser = command.ArgumentParser(prog=PROG, description='Chainer example: MNIST')
    add = parser.add_argument
    # fmt: off
    add('--initmodel', '-m', metavar='FILE', type=command.path,
        help='start from the weights in FILE')
    add('--batchsize', '-b', metavar='N', type=whole_number(1), default=100,
        help='images in each mini-batch (default: %(default)s)')
    add('--epoch', '-e', metavar='N', type=whole_number(0, snapshot.MOST_EPOCHS), default=20,
        help='sweeps over the training set in this run (default: %(default)s)')
    add('--gpu', '-g', metavar='ID', type=whole_number(), default=-1,
        help='GPU to use; a negative value means the CPU (default: %(default)s)')
    add('--out', '-o', metavar='DIR', type=command.path, default='result',
        help='where to write (default: %(default)s)')
    add('--resume', '-r', metavar='FILE', type=command.path,
        help='go on from the training state in FILE')
    add('--unit', '-u', metavar='N', type=whole_number(1, snapshot.MOST_UNITS), default=50,
        help='units in each hidden layer (default: %(default)s)')
    add('--net', '-n', choices=('classifier', 'trainflag'), default='classifier',
        help='predictor in L.Classifier, or training-flag framework (default: %(default)s)')
    add('--seed', '-s', metavar='N', type=whole_number(0, snapshot.MOST_SEED),
        help='seed of the weights and of the order of the images (default: drawn and printed)')
    add('--noplot', action='store_true',
        help='write no pictures')
    add('--communicator', '-c', metavar='NAME', choices=parallel.COMMUNICATORS,
        help="ChainerMN's communicator, under mpiexec: naive for CPUs, or flat, non_cuda_aware or "
        'pure_nccl for GPUs; -b is then for each process (default: none)')
    # fmt: on
    return parser


class Mean:
    """Means of loss and accuracy over images, summed up on the device that computes them.

    Args:
        xp (module): NumPy or CuPy.

    Attributes:
        images (int): Number of images so far.

    """

    def __init__(self, xp):
        self._loss = xp.zeros((), 'd')
        self._accuracy = xp.zeros((), 'd')
        self.images = 0

    def add(self, loss, accuracy, images):
        """Adds the means over a mini-batch, which may be smaller than the others.

        Args:
            loss (chainer.Variable): Mean loss, of shape ().
            accuracy (chainer.Variable): Mean accuracy, of shape ().
            images (int): Number of images in the mini-batch.

        """
        self._loss += loss.array * images
        self._accuracy += accuracy.array * images
        self.images += images

    def get(self, communicator=parallel.ALONE):
        """Waits for the device and gives the means so far.

        Args:
            communicator (parallel.OneProcess): The processes to take the means over, all of which
                have to call this.

        Returns:
            tuple: Loss and accuracy, floats.

        """
        sums = numpy.array([float(self._loss), float(self._accuracy), self.images])
        loss, accuracy, images = communicator.sum(sums)
        return float(loss / images), float(accuracy / images)


def train(
    model,
    optimizer,
    x,
    t,
    order,
    batchsize,
    watch=lambda mean: None,
    communicator=parallel.ALONE,
):
    """Trains for one epoch.

    Args:
        model (chainer.Chain): ``L.Classifier`` or ``TrainFlagMLP``: called with images and labels,
            it sets ``loss`` and ``accuracy`` and returns the loss.
        optimizer (chainer.Optimizer): The optimizer, set up on ``model``.
        x (array): Images, float32, of shape (N, 784), on the device of the model.
        t (array): Labels, int32, of shape (N,), there too.
        order (array): The order in which to take the images: int, of shape (N,), there too.
        batchsize (int): Images in each mini-batch, over all processes. The last one has what is
            left.
        watch (callable): Called after each mini-batch with the means so far, a :class:`Mean`.
        communicator (parallel.OneProcess): The communicator.

    Returns:
        tuple: Mean loss and mean accuracy over the epoch, floats.

    """
    mean = Mean(model.xp)
    for i in six.moves.range(0, len(order), batchsize):
        batch = order[i : i + batchsize]
        share = communicator.share(batch)
        # With one process: optimizer.update(model, x[batch], t[batch])
        communicator.update(optimizer, model, x[share], t[share], len(batch))
        if len(share):
            mean.add(model.loss, model.accuracy, len(share))
        watch(mean)
    return mean.get(communicator)


def evaluate(model, x, t, communicator=parallel.ALONE):
    """Computes loss and accuracy on a data set, without building a graph.

    Args:
        model (chainer.Chain): The model, as in :func:`train`.
        x (array): Images, float32, of shape (N, 784), on the device of the model.
        t (array): Labels, int32, of shape (N,), there too.
        communicator (parallel.OneProcess): The communicator.

    Returns:
        tuple: Mean loss and mean accuracy, floats.

    """
    x, t = communicator.share(x), communicator.share(t)
    mean = Mean(model.xp)
    with net.evaluation(model) as predictor:
        for i in six.moves.range(0, len(x), TEST_BATCHSIZE):
            y, labels = predictor(x[i : i + TEST_BATCHSIZE]), t[i : i + TEST_BATCHSIZE]
            mean.add(F.softmax_cross_entropy(y, labels), F.accuracy(y, labels), len(labels))
    return mean.get(communicator)


def command_to_go_on(args, seed, epochs, finished, launcher):
    """Makes the command that goes on from where an interrupted run ended.

    Args:
        args (argparse.Namespace): The arguments of the run.
        seed (int): Its seed.
        epochs (int): Number of epochs that are left.
        finished (bool): Whether it has finished an epoch, and so has written a state.
        launcher (list): The words that stand before ``python``.

    Returns:
        str: The command, for a shell.

    """
    python = 'python' if shutil.which('python') == sys.executable else sys.executable
    words = [*launcher, python, sys.argv[0] if os.path.basename(sys.argv[0]) == PROG else __file__]
    if finished:
        words += ['-r', os.path.join(args.out, snapshot.STATE)]
    else:
        words += ['-s', str(seed)]
        words += ['-m', args.initmodel] if args.initmodel else []
        words += ['-r', args.resume] if args.resume else []
    words += ['-e', str(epochs)]
    for name in ('batchsize', 'gpu', 'out', 'unit', 'net', 'communicator'):
        if getattr(args, name) != make_parser().get_default(name):
            words += [f'--{name}', str(getattr(args, name))]
    if args.noplot:
        words.append('--noplot')
    return shlex.join(words)


@command.one_line_errors(PROG, 'choose fewer units (-u) or smaller mini-batches (-b)')
def main(argv=None):
    """Runs the command line.

    Args:
        argv (list): The arguments, strings. ``None`` takes those of the process.

    Returns:
        int: The exit status: 0, or 2 for a wrong command line, 130 after Ctrl-C, 143 after SIGTERM,
        141 where nobody reads the output on and 1 for any other error.

    """
    args = make_parser().parse_args(argv)
    communicator = parallel.get_communicator(args.communicator, args.gpu)
    device = devices.get_device(communicator.gpu(args.gpu))

    say(f'GPU: {args.gpu}')
    say(f'# unit: {args.unit}')
    say(f'# Minibatch-size: {args.batchsize}')
    batchsize = args.batchsize * communicator.size
    if args.communicator:
        say(f'# total Minibatch-size: {batchsize} (processes: {communicator.size})')
    say(f'# epoch: {args.epoch}')
    say('')

    # Load the MNIST dataset
    (x_train, t_train), (x_test, t_test) = mnist.load()
    communicator.check_same(t_train, t_test)

    # Prepare the multi-layer perceptron and the optimizer
    if args.net == 'classifier':
        predictor = net.MLP(args.unit, N_OUT)
        model = L.Classifier(predictor)
    else:
        predictor = model = net.TrainFlagMLP(args.unit, N_OUT)
    seed = secrets.randbits(32) if args.seed is None else args.seed
    numpy.random.seed(seed)
    # The first call draws the weights: here, on the CPU, so that a seed gives the same ones on
    # every device.
    evaluate(model, x_train[:1], t_train[:1])
    optimizer = speed.Adam()
    optimizer.setup(model)
    log = []

    # Init or resume
    if communicator.rank > 0:
        args.initmodel = args.resume = None  # rank 0 reads them for all
    initmodel = args.initmodel or (args.resume and snapshot.weights_beside(args.resume))
    if initmodel:
        say('Load model from', initmodel)
        snapshot.load_model(initmodel, predictor)
    if args.resume:
        say('Load optimizer state from', args.resume)
        its_seed = snapshot.load_state(args.resume, optimizer, weights=not initmodel)
        if args.seed is None and its_seed is not None:
            seed = its_seed
        log = report.load_log(
            os.path.join(os.path.dirname(args.resume), report.LOG), optimizer.epoch
        )
    predictor, model, optimizer, seed = communicator.bcast(predictor, model, optimizer, seed)
    say(f'# seed: {seed}')

    device.use()
    model.to_device(device)
    optimizer = communicator.multi_node(optimizer)
    x_train, t_train, x_test, t_test = device.send([x_train, t_train, x_test, t_test])

    # All that the user gave has been checked: from here on the run writes
    if communicator.rank == 0:
        files.prepare(args.out)
    lock = (
        files.lock(args.out, args.communicator)
        if communicator.rank == 0
        else contextlib.nullcontext()
    )

    n_epoch = optimizer.epoch + args.epoch
    first_update = optimizer.t + 1
    # The time that the log shows goes on from where it ended.
    begin = time.perf_counter() - (log[-1]['elapsed_time'] if log else 0)
    interruption = command.Interruption(communicator.agree)

    def watch(mean):  # bar is that of the epoch under way
        if optimizer.t == first_update and communicator.rank == 0:
            report.save_graph(args.out, model.loss)
            say('graph generated')
        bar.show(mean)
        interruption.check()

    def save():
        if communicator.rank > 0:
            return
        # The state comes last: the other files are then never older than the one that -r reads.
        snapshot.save_model(args.out, predictor)
        report.save_log(args.out, log)
        snapshot.save_state(args.out, optimizer, seed)

    # Learning loop
    with lock, interruption, speed.tuned(args.unit):
        for epoch in six.moves.range(optimizer.epoch + 1, n_epoch + 1):
            say('epoch', epoch)

            # training: the order of the images depends on the seed and the epoch alone, so
            # that a run that goes on from a snapshot takes them as an undisturbed run does
            order = numpy.random.RandomState([seed, epoch]).permutation(len(x_train))
            order = device.send(order)
            with report.Progress(epoch, n_epoch, len(x_train)) as bar:
                start = time.perf_counter()
                loss, accuracy = train(
                    model, optimizer, x_train, t_train, order, batchsize, watch, communicator
                )
                throughput = len(x_train) / (time.perf_counter() - start)
            say(f'train mean loss={loss}, accuracy={accuracy}, throughput={throughput} images/sec')

            # evaluation
            test_loss, test_accuracy = evaluate(model, x_test, t_test, communicator)
            say(f'test  mean loss={test_loss}, accuracy={test_accuracy}')
            if not math.isfinite(loss + test_loss):
                raise UserError(
                    f'the loss is no longer finite in epoch {epoch}; go on from the last good '
                    'snapshot (-r) with another seed (-s)'
                )

            optimizer.new_epoch()
            log.append(
                {
                    'main/loss': loss,
                    'main/accuracy': accuracy,
                    'validation/main/loss': test_loss,
                    'validation/main/accuracy': test_accuracy,
                    'epoch': epoch,
                    'iteration': optimizer.t,
                    'elapsed_time': time.perf_counter() - begin,
                }
            )
            if epoch < n_epoch:  # the last epoch is saved below, after the tutorial's lines
                save()

        say('save the model')
        say('save the optimizer')
        save()

    status = 0
    if interruption.signum is not None:
        left = n_epoch - optimizer.epoch
        again = command_to_go_on(args, seed, left, left < args.epoch, communicator.launcher())
        if communicator.rank == 0:
            command.tell(f'{PROG}: interrupted; go on with: {again}')
        status = 128 + interruption.signum
    if not args.noplot and communicator.rank == 0:
        del x_train, t_train  # makes room for Matplotlib: memory then peaks at loading MNIST
        report.save_pictures(args.out, log)
    communicator.end()
    return status


if __name__ == '__main__':
    command.prepare_process()
    sys.exit(main())
