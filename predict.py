#!/usr/bin/env python
"""Uses a trained model: how good is it, and which digits are in your own images?

python predict.py                       on MNIST's test images, with pictures
python predict.py seven.png two.jpg     on images of your own
python predict.py --draw                on digits that you draw with the mouse
python predict.py --help                all options
"""

from __future__ import annotations

import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python -P and -I leave it out

from chainer_mnist import constants, plots, snapshots
from chainer_mnist.cli import ArgumentParser, expand_globs, int_range, path
from chainer_mnist.console import UserError, one_line_errors, print_error, print_line
from chainer_mnist.data import load_mnist, read_image
from chainer_mnist.devices import get_device
from chainer_mnist.drawing import draw_digits
from chainer_mnist.signals import setup_signals
from chainer_mnist.training import evaluation_mode

import chainer
import chainer.functions as F
import numpy

import net

PROG = 'predict.py'
N_IN, N_OUT = 784, 10  # pixels and digits
BATCHSIZE = 1000  # images in each step; it changes nothing but rounding


def make_parser(script: str = __file__) -> ArgumentParser:
    """Makes the parser of the command line."""
    parser = ArgumentParser(script, __doc__)
    add = parser.add_argument
    # fmt: off
    add('images', metavar='IMAGE', nargs='*', type=path,
        help='image files, with one digit in each (default: the test images of MNIST)')
    add('--draw', action='store_true',
        help='open a window to draw digits in with the mouse')
    add('--initmodel', '-m', metavar='FILE', type=path,
        default=os.path.join('result', constants.PREDICTOR),
        help='use the weights in FILE (default: %(default)s)')
    add('--gpu', '-g', metavar='ID', type=int_range(), default=-1,
        help='GPU to use; a negative value means the CPU (default: %(default)s)')
    add('--out', '-o', metavar='DIR', type=path, default='result',
        help='where to write the pictures of the test set (default: %(default)s)')
    add('--unit', '-u', metavar='N', type=int_range(1, constants.MAX_UNITS),
        help='units in each hidden layer (default: as many as FILE holds)')
    add('--json', action='store_true',
        help='print JSON')
    add('--noplot', action='store_true',
        help='write no pictures of the test set')
    # fmt: on
    return parser


def make_predictor(units: int) -> net.MLP:
    """Makes a predictor that is not trained."""
    predictor = net.MLP(units, N_OUT)
    with evaluation_mode(predictor):
        predictor(numpy.zeros((1, N_IN), numpy.float32))  # the first call draws the weights
    return predictor


def predict(predictor: chainer.Chain, x: numpy.ndarray) -> numpy.ndarray:
    """Computes the probability of each digit, of shape (N, 10).

    ``x`` holds images, float32 from 0 to 1, of shape (N, 784), on the CPU. Raises ``UserError`` if
    the probabilities are not finite, because the weights are too large.
    """
    cpu = chainer.get_device('@numpy')
    with evaluation_mode(predictor), numpy.errstate(all='ignore'):
        p = numpy.concatenate(
            [
                cpu.send(F.softmax(predictor(predictor.device.send(x[i : i + BATCHSIZE]))).array)
                for i in range(0, len(x), BATCHSIZE)
            ]
        )
    if not numpy.isfinite(p).all():
        raise UserError('the model predicts NaN; give another one with -m')
    return p


def evaluate_test_set(predictor: chainer.Chain, args: argparse.Namespace) -> int:
    """Prints how many of MNIST's test images are misclassified, and draws them."""
    _, (x, t) = load_mnist()
    p = predict(predictor, x)
    predicted = p.argmax(axis=1)
    n, right = len(t), int((predicted == t).sum())
    result = {'images': n, 'wrong': n - right, 'accuracy': right / n}
    if args.json:
        print_line(json.dumps(result))
    else:
        message = '{wrong} of {images} test images are misclassified (accuracy {accuracy})'
        print_line(message.format(**result))
    if not args.noplot:
        plots.save_predictions(args.out, x, t, p)
    return 0


def classify_images(predictor: chainer.Chain, args: argparse.Namespace) -> int:
    """Prints the digit in each of the user's image files. Returns 1 if one failed, or else 0."""
    results, status = [], 0
    for image in expand_globs(args.images):
        try:
            [p] = predict(predictor, read_image(image)[numpy.newaxis])
        except UserError as error:
            print_error(f'{PROG}: error: {error}')
            status = 1
            continue
        digit, probability = int(p.argmax()), float(p.max())
        results.append({'file': image, 'digit': digit, 'probability': probability})
        if not args.json:
            print_line(f'{image}: {digit} (probability {probability:.4f})')
    if args.json:
        print_line(json.dumps(results, indent=4))
    return status


@one_line_errors(PROG, 'choose a smaller model (-m)')
def main(argv: list[str] | None = None) -> int:
    """Runs the command line: ``argv``, or that of the process. Returns the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.draw and (args.images or args.json):
        parser.error('argument --draw: not allowed with IMAGE or --json')
    if not os.path.exists(args.initmodel):
        raise UserError(
            f'there is no {args.initmodel}; run train_mnist.py first, or pass a model with -m'
        )
    device = get_device(args.gpu)
    model_path, predictor = snapshots.load_predictor(args.initmodel, make_predictor, args.unit)
    if model_path != args.initmodel and not args.json:
        print_line('Load model from', model_path)
    device.use()
    predictor.to_device(device)
    if args.draw:
        draw_digits(lambda x: predict(predictor, x))
        return 0
    return (classify_images if args.images else evaluate_test_set)(predictor, args)


if __name__ == '__main__':
    setup_signals()
    sys.exit(main())
