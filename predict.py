#!/usr/bin/env python
"""Uses a trained model: how good is it, and which digits are in your own images?

python predict.py                       on MNIST's test images, with pictures
python predict.py seven.png two.jpg     on images of your own
python predict.py --help                all options
"""

import json
import os
import sys

from chainer_mnist import data, devices, files, limits, reading, report, snapshot
from chainer_mnist.arguments import ArgumentParser, expand, path, whole_number
from chainer_mnist.errors import UserError, one_line_errors, print_error
from chainer_mnist.evaluation import evaluation
from chainer_mnist.finding import newest
from chainer_mnist.process import prepare
from chainer_mnist.streams import say

import chainer
import chainer.functions as F
import numpy

import net

PROG = 'predict.py'
N_IN, N_OUT = 784, 10  # pixels and digits
UNITS = 50  # in each hidden layer, unless the file says otherwise
BATCHSIZE = 1000  # images in each step; it changes nothing but rounding


def make_parser(script=__file__):  # a default: under python -i, __file__ is gone at a second call
    """Makes the parser of the command line.

    Args:
        script (str): The path of this script.

    Returns:
        arguments.ArgumentParser: The parser.

    """
    parser = ArgumentParser(script, 'Uses what train_mnist.py has trained')
    add = parser.add_argument
    # fmt: off
    add('images', metavar='IMAGE', nargs='*', type=path,
        help='image files, with one digit in each (default: the test images of MNIST)')
    add('--initmodel', '-m', metavar='FILE', type=path,
        default=os.path.join('result', snapshot.PREDICTOR),
        help='use the weights in FILE (default: %(default)s)')
    add('--gpu', '-g', metavar='ID', type=whole_number(), default=-1,
        help='GPU to use; a negative value means the CPU (default: %(default)s)')
    add('--out', '-o', metavar='DIR', type=path, default='result',
        help='where to write the pictures of the test set (default: %(default)s)')
    add('--unit', '-u', metavar='N', type=whole_number(1, limits.UNITS),
        help='units in each hidden layer (default: as many as FILE holds)')
    add('--json', action='store_true',
        help='print JSON')
    add('--noplot', action='store_true',
        help='write no pictures of the test set')
    # fmt: on
    return parser


def load_predictor(path, unit=None):
    """Loads a trained predictor.

    Args:
        path (str): A file with the weights of a classifier or of a predictor, or with the state of
            a training.
        unit (int): Number of units in each of the two hidden layers. ``None`` means as many as
            the file holds.

    Returns:
        net.MLP: The predictor, on the CPU.

    Raises:
        UserError: If the file cannot be read, or holds another number of units.

    """
    if not os.path.exists(path):
        raise UserError(f'there is no {path}; run train_mnist.py first, or give a model with -m')
    if unit is None:
        unit = reading.units(path, make_predictor(UNITS), UNITS)
    predictor = make_predictor(unit)
    snapshot.load_model(path, predictor, unit)
    return predictor


def make_predictor(unit):
    """Makes a predictor that has not been trained.

    Args:
        unit (int): Number of units in each hidden layer.

    Returns:
        net.MLP: The predictor, on the CPU.

    """
    predictor = net.MLP(unit, N_OUT)
    with evaluation(predictor):
        predictor(numpy.zeros((1, N_IN), numpy.float32))  # the first call makes the weights
    return predictor


def predict(predictor, x):
    """Computes how probable each digit is.

    Args:
        predictor (chainer.Chain): The predictor, on any device.
        x (numpy.ndarray): Images, float32 from 0 to 1, of shape (N, 784).

    Returns:
        numpy.ndarray: The probabilities, float32, of shape (N, 10).

    Raises:
        UserError: If they are not finite, because the weights are too large.

    """
    cpu = chainer.get_device('@numpy')
    with evaluation(predictor), numpy.errstate(all='ignore'):
        probabilities = numpy.concatenate(
            [
                cpu.send(F.softmax(predictor(predictor.device.send(x[i : i + BATCHSIZE]))).array)
                for i in range(0, len(x), BATCHSIZE)
            ]
        )
    if not numpy.isfinite(probabilities).all():
        raise UserError('the model computes no numbers, but NaN; give another with -m')
    return probabilities


def judge(predictor, args):
    """Says how many of MNIST's test images the predictor gets wrong, and draws what it does.

    Without Matplotlib there is a hint in place of the pictures.

    Args:
        predictor (chainer.Chain): The predictor, on any device.
        args (argparse.Namespace): The arguments of the command line.

    Raises:
        UserError: If MNIST cannot be read or a picture cannot be written.

    """
    _, (x, t) = data.load()
    if not args.noplot:
        files.prepare(args.out)
    probabilities = predict(predictor, x)
    answers = probabilities.argmax(axis=1)
    images, right = len(t), int((answers == t).sum())
    result = {'images': images, 'wrong': images - right, 'accuracy': right / images}
    if args.json:
        say(json.dumps(result))
    else:
        say('{wrong} of {images} test images are wrong (accuracy {accuracy})'.format(**result))

    def draw(pictures):
        pictures.save_inference(args.out, x, t, probabilities)
        pictures.save_confusion(args.out, t, answers)

    if not args.noplot:
        report.draw(draw)


def answer(predictor, args):
    """Says which digits are in the user's image files. A file that fails does not stop the rest.

    Args:
        predictor (chainer.Chain): The predictor, on any device.
        args (argparse.Namespace): The arguments of the command line.

    Returns:
        int: The exit status: 1 if a file failed, or else 0.

    Raises:
        UserError: If Pillow is missing.

    """
    try:
        from chainer_mnist import images
    except ImportError:
        raise UserError('Pillow is not installed; pip install pillow') from None
    results, status = [], 0
    for image in expand(args.images):
        try:
            [probabilities] = predict(predictor, images.read(image)[numpy.newaxis])
        except UserError as error:
            print_error(f'{PROG}: error: {error}')
            status = 1
            continue
        digit = int(probabilities.argmax())
        results.append({'file': image, 'digit': digit, 'probability': float(probabilities[digit])})
        if not args.json:
            say(f'{image}: {digit} (probability {probabilities[digit]:.4f})')
    if args.json:
        say(json.dumps(results, indent=4))
    return status


@one_line_errors(PROG, 'choose a smaller model (-m)')
def main(argv=None):
    """Runs the command line.

    Args:
        argv (list): The arguments, strings. ``None`` takes those of the process.

    Returns:
        int: The exit status: 0, or 2 for a wrong command line, 141 where nobody reads the output on
        and 1 for any other error.

    """
    args = make_parser().parse_args(argv)
    device = devices.get_device(args.gpu)
    initmodel = newest(args.initmodel, lambda path: load_predictor(path, args.unit))
    if initmodel != args.initmodel and not args.json:
        say('Load model from', initmodel)
    predictor = load_predictor(initmodel, args.unit)
    device.use()
    predictor.to_device(device)
    return answer(predictor, args) if args.images else judge(predictor, args)


if __name__ == '__main__':
    prepare()
    sys.exit(main())
