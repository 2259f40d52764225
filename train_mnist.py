#!/usr/bin/env python
"""Trains a multi-layer perceptron on MNIST with Chainer.

python train_mnist.py                        on the CPU
python train_mnist.py -g 0                   on the first GPU
python train_mnist.py -r result/mlp.state    goes on from where a run ended
mpiexec -n 2 python train_mnist.py -c naive  on two processes
python train_mnist.py --help                 all options
"""

import sys
import time

# Before Chainer: it makes Chainer importable
from chainer_mnist import data, limits, process, snapshot
from chainer_mnist.arguments import ArgumentParser, path, whole_number
from chainer_mnist.errors import one_line_errors
from chainer_mnist.evaluation import evaluation
from chainer_mnist.finding import find
from chainer_mnist.parallel import COMMUNICATORS
from chainer_mnist.report import Means
from chainer_mnist.run import Run
from chainer_mnist.speed import Adam
from chainer_mnist.streams import say

import chainer.functions as F
import chainer.links as L
import numpy
import six

import net

N_OUT = 10  # digits
TEST_BATCHSIZE = 1000  # images in each step of the evaluation; it changes nothing but rounding


def make_parser(script=__file__):  # a default: under python -i, __file__ is gone at a second call
    """Makes the parser of the command line."""
    parser = ArgumentParser(script, 'Chainer example: MNIST')
    add = parser.add_argument
    # fmt: off
    add('--initmodel', '-m', metavar='FILE', type=path,
        help='start from the weights in FILE')
    add('--batchsize', '-b', metavar='N', type=whole_number(1), default=100,
        help='images in each mini-batch (default: %(default)s)')
    add('--epoch', '-e', metavar='N', type=whole_number(0, limits.EPOCHS), default=20,
        help='sweeps over the training set in this run (default: %(default)s)')
    add('--gpu', '-g', metavar='ID', type=whole_number(), default=-1,
        help='GPU to use; a negative value means the CPU (default: %(default)s)')
    add('--out', '-o', metavar='DIR', type=path, default='result',
        help='where to write (default: %(default)s)')
    add('--resume', '-r', metavar='FILE', type=path,
        help='go on from the training state in FILE')
    add('--unit', '-u', metavar='N', type=whole_number(1, limits.UNITS), default=50,
        help='units in each hidden layer (default: %(default)s)')
    add('--net', '-n', choices=('classifier', 'trainflag'), default='classifier',
        help='predictor in L.Classifier, or training-flag framework (default: %(default)s)')
    add('--seed', '-s', metavar='N', type=whole_number(0, limits.SEED),
        help='seed of the weights and of the order of the images (default: drawn and printed)')
    add('--noplot', action='store_true',
        help='write no pictures')
    add('--communicator', '-c', metavar='NAME', choices=COMMUNICATORS,
        help="ChainerMN's communicator, under mpiexec: naive for CPUs, or flat, non_cuda_aware or "
        'pure_nccl for GPUs; -b is then for each process (default: none)')
    # fmt: on
    return parser


def train(model, optimizer, x, t, batches, watch=lambda means: None):
    """Trains for one epoch.

    Args:
        model (chainer.Chain): ``L.Classifier`` or ``TrainFlagMLP``: called with images and labels,
            it sets ``loss`` and ``accuracy`` and returns the loss.
        optimizer (chainer.Optimizer): The optimizer, set up on ``model``.
        x (array): Images, float32, of shape (N, 784), on the device of the model.
        t (array): Labels, int32, of shape (N,), there too.
        batches (iterable): The images of each mini-batch by their numbers, int, of shape (n,).
        watch (callable): Called after each mini-batch with the means so far, a ``Means``.

    Returns:
        report.Means: Mean loss and mean accuracy over the images.

    """
    means = Means(model.xp)
    for batch in batches:
        # Pass the loss function (the model defines it) and its arguments
        optimizer.update(model, x[batch], t[batch])
        means.add(model.loss, model.accuracy, len(batch))
        watch(means)
    return means


def evaluate(model, x, t):
    """Computes loss and accuracy on a data set, without building a graph.

    Args:
        model (chainer.Chain): The model, as in :func:`train`.
        x (array): Images, float32, of shape (N, 784), on the device of the model.
        t (array): Labels, int32, of shape (N,), there too.

    Returns:
        report.Means: Mean loss and mean accuracy over the images.

    """
    means = Means(model.xp)
    # An L.Classifier has functions of its own
    lossfun = getattr(model, 'lossfun', F.softmax_cross_entropy)
    accfun = getattr(model, 'accfun', F.accuracy)
    with evaluation(model) as predictor:
        for i in six.moves.range(0, len(x), TEST_BATCHSIZE):
            y, labels = predictor(x[i : i + TEST_BATCHSIZE]), t[i : i + TEST_BATCHSIZE]
            means.add(lossfun(y, labels), accfun(y, labels), len(labels))
    return means


@one_line_errors('train_mnist.py', 'choose fewer units (-u) or smaller mini-batches (-b)')
def main(argv=None):
    """Runs the command line: ``argv``, or that of the process. Returns the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    run = Run(parser, args)  # what goes on beside the training: see chainer_mnist/run.py

    say(f'GPU: {args.gpu}')
    say(f'# unit: {args.unit}')
    say(f'# Minibatch-size: {args.batchsize}')
    if args.communicator:
        total = args.batchsize * run.processes
        say(f'# total Minibatch-size: {total} (processes: {run.processes})')
    say(f'# epoch: {args.epoch}')
    say('')

    # Prepare the multi-layer perceptron, defined in net.py
    numpy.random.seed(run.seed)
    if args.net == 'classifier':
        model = L.Classifier(net.MLP(args.unit, N_OUT))
    else:
        model = net.TrainFlagMLP(args.unit, N_OUT)

    # Set up the optimizer: Chainer's Adam
    optimizer = Adam().setup(model)

    # Load the MNIST dataset
    (x_train, t_train), (x_test, t_test) = data.load()
    # The first call draws the weights: on the CPU, so that a seed gives the same on any device,
    # and with two images, since a single one fits what no mini-batch fits
    evaluate(model, x_train[:2], t_train[:2])

    # Init or resume
    initmodel, resume = find(args, optimizer)
    if initmodel:
        say('Load model from', initmodel)
        snapshot.load_model(initmodel, model, args.unit)
    if resume:
        say('Load optimizer state from', resume)
        run.load_state(resume, optimizer, weights=not initmodel)
    optimizer = run.set_up(model, optimizer)
    say(f'# seed: {run.seed}')
    x_train, t_train = run.send(x_train, t_train)
    x_test, t_test = run.send(x_test, t_test, share=True)  # each process has a share

    def watch(means):
        # Write the computational graph, once
        if run.is_at_first_iteration():
            run.save_graph()
            say('graph generated')
        run.watch(means)

    # Learning loop
    with run.training():
        for epoch in run.epochs():
            say('epoch', epoch)

            # training
            perm = numpy.random.permutation(len(x_train))
            with run.progress(epoch, len(perm)):
                start = time.perf_counter()
                means = train(model, optimizer, x_train, t_train, run.batches(perm), watch)
                loss, accuracy = run.mean(means)
                throughput = len(perm) / (time.perf_counter() - start)
            say(f'train mean loss={loss}, accuracy={accuracy}, throughput={throughput} images/sec')

            # evaluation
            test_loss, test_accuracy = run.mean(evaluate(model, x_test, t_test))
            say(f'test  mean loss={test_loss}, accuracy={test_accuracy}')
            run.end_epoch((loss, accuracy), (test_loss, test_accuracy))

        # Save the model and the optimizer
        say('save the model')
        run.save_model()
        say('save the optimizer')
        run.save_optimizer()

    del x_train, t_train  # 188 MB, which Matplotlib can use
    return run.end()


if __name__ == '__main__':
    process.prepare()
    sys.exit(main())
