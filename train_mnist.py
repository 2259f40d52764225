#!/usr/bin/env python
"""Trains a multi-layer perceptron on MNIST with Chainer.

python train_mnist.py                        on the CPU
python train_mnist.py -g 0                   on the first GPU
python train_mnist.py -r result/mlp.state    resume a run
mpiexec -n 2 python train_mnist.py -c naive  on two processes
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python -P and -I leave it out

# Before Chainer: it makes Chainer importable
from chainer_mnist import constants
from chainer_mnist.cli import ArgumentParser, int_range, path
from chainer_mnist.console import one_line_errors, print_line
from chainer_mnist.data import load_mnist, scale
from chainer_mnist.devices import get_device
from chainer_mnist.distributed import COMMUNICATORS, create_communicator
from chainer_mnist.fast import Adam
from chainer_mnist.signals import setup_signals
from chainer_mnist.training import RunningMean, TrainingSession, evaluation_mode, init_or_resume

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import six

import net

N_OUT = 10  # digits
TEST_BATCHSIZE = 1000  # images in each step of the evaluation; it changes nothing but rounding


def make_parser(script: str = __file__) -> ArgumentParser:
    """Makes the parser of the command line."""
    parser = ArgumentParser(script, __doc__)
    # fmt: off
    add = parser.add_argument_group('training').add_argument
    add('--batchsize', '-b', metavar='N', type=int_range(1), default=100,
        help='images in each mini-batch (default: %(default)s)')
    add('--epoch', '-e', metavar='N', type=int_range(0, constants.MAX_EPOCHS), default=20,
        help='sweeps over the training set in this run (default: %(default)s)')
    add('--unit', '-u', metavar='N', type=int_range(1, constants.MAX_UNITS), default=50,
        help='units in each hidden layer (default: %(default)s)')
    add('--net', '-n', choices=('classifier', 'trainflag'), default='classifier',
        help='predictor in L.Classifier, or training-flag framework (default: %(default)s)')
    add('--seed', '-s', metavar='N', type=int_range(0, constants.MAX_SEED),
        help='seed of the weights and of the order of the images (default: random and printed)')
    add = parser.add_argument_group('devices').add_argument
    add('--gpu', '-g', metavar='ID', type=int_range(), default=-1, help='GPU (default: -1, CPU)')
    add('--communicator', '-c', metavar='NAME', choices=COMMUNICATORS,
        help="ChainerMN's communicator, under mpiexec: naive for CPUs, or flat, non_cuda_aware or "
        'pure_nccl for GPUs; -b is then for each process (default: none)')
    add = parser.add_argument_group('files').add_argument
    add('--initmodel', '-m', metavar='FILE', type=path, help='start from the weights in FILE')
    add('--resume', '-r', metavar='FILE', type=path, help='resume training from FILE')
    add('--out', '-o', metavar='DIR', type=path, default='result', help='folder (default: result)')
    add('--noplot', action='store_true', help='write no pictures')
    return parser


def train(
    model: chainer.Chain, optimizer: chainer.Optimizer, x: Any, t: Any, batches: Any
) -> RunningMean:
    """Trains for one epoch on images ``x``, uint8 or float32 (N, 784), and labels ``t``, int32.

    Both are on the device of the model. ``batches`` yields the indices of each mini-batch.
    """
    means = RunningMean(model.xp)
    for batch in batches:
        # Pass the loss function (the model defines it) and its arguments
        optimizer.update(model, scale(x[batch]), t[batch])
        means.update(model.loss, model.accuracy, len(batch))
    return means


def evaluate(model: chainer.Chain, x: Any, t: Any) -> RunningMean:
    """Computes mean loss and mean accuracy on images and labels, as of :func:`train`."""
    means = RunningMean(model.xp)
    # An L.Classifier has functions of its own
    lossfun = getattr(model, 'lossfun', F.softmax_cross_entropy)
    accfun = getattr(model, 'accfun', F.accuracy)
    has_accuracy = getattr(model, 'compute_accuracy', True)
    with evaluation_mode(model) as predictor:
        for i in six.moves.range(0, len(x), TEST_BATCHSIZE):
            y, labels = predictor(scale(x[i : i + TEST_BATCHSIZE])), t[i : i + TEST_BATCHSIZE]
            accuracy = accfun(y, labels) if has_accuracy else None
            means.update(lossfun(y, labels), accuracy, len(labels))
    return means


@one_line_errors('train_mnist.py', 'choose fewer units (-u) or smaller mini-batches (-b)')
def main(argv: list[str] | None = None) -> int:
    """Runs the command line: ``argv``, or that of the process. Returns the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    comm = create_communicator(args.communicator, args.gpu)
    device = get_device(comm.local_gpu(args.gpu))

    print_line(f'GPU: {args.gpu}')
    print_line(f'# unit: {args.unit}')
    print_line(f'# Minibatch-size: {args.batchsize}')
    if args.communicator:
        print_line(f'# total Minibatch-size: {args.batchsize * comm.size} (processes: {comm.size})')
    print_line(f'# epoch: {args.epoch}\n')

    # Prepare the multi-layer perceptron, defined in net.py
    seed = secrets.randbits(32) if args.seed is None else args.seed
    numpy.random.seed(seed)
    if args.net == 'classifier':
        model = L.Classifier(net.MLP(args.unit, N_OUT))
    else:
        model = net.TrainFlagMLP(args.unit, N_OUT)

    # Set up the optimizer: Chainer's Adam
    optimizer = Adam().setup(model)

    # Load the MNIST dataset
    (x_train, t_train), (x_test, t_test) = load_mnist(scaled=False)
    comm.check_same(options=argv or sys.argv[1:], data=(t_train.tobytes(), t_test.tobytes()))
    # The first call draws the weights, on the CPU, so that a seed gives the same on any device
    evaluate(model, x_train[:2], t_train[:2])

    # Init or resume
    seed, records = init_or_resume(args, optimizer, seed, comm)
    print_line(f'# seed: {seed}')

    # Send model and data to the device; of the test set, each process takes a share
    device.use()
    model.to_device(device)
    optimizer = comm.create_multi_node_optimizer(optimizer)
    x_train, t_train = device.send((x_train, t_train))
    x_test, t_test = device.send((comm.share(x_test), comm.share(t_test)))

    # Learning loop
    session = TrainingSession(args, optimizer, seed, records, comm)
    with session.running():
        for epoch in session.epochs:
            print_line('epoch', epoch)
            if epoch == session.epochs[0]:
                session.save_graph(scale(x_train[: args.batchsize]), t_train[: args.batchsize])

            # training: each epoch has random numbers of its own, so that a resumed run has the same
            numpy.random.seed([seed, epoch])
            perm = device.send(numpy.random.permutation(len(x_train)))
            start = time.perf_counter()
            means = train(model, optimizer, x_train, t_train, session.minibatches(perm))
            loss, accuracy = means.compute(comm)
            throughput = len(x_train) / (time.perf_counter() - start)
            print_line(
                f'train mean loss={loss}, accuracy={accuracy}, throughput={throughput} images/sec'
            )

            # evaluation
            comm.sync_persistent(model)
            test_loss, test_accuracy = evaluate(model, x_test, t_test).compute(comm)
            print_line(f'test  mean loss={test_loss}, accuracy={test_accuracy}')
            session.end_epoch((loss, accuracy), (test_loss, test_accuracy))

        # Save the model and the optimizer
        print_line('save the model')
        session.save_model()
        print_line('save the optimizer')
        session.save_optimizer()

    return session.finish(parser)


if __name__ == '__main__':
    setup_signals()
    sys.exit(main())
