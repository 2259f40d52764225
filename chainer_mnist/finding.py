"""Finds the files that a run starts from, where not all of them are named."""

import glob
import os
import re

from chainer_mnist import snapshot
from chainer_mnist.errors import UserError
from chainer_mnist.formats import unpacked
from chainer_mnist.reading import holds_weights, read_model, read_state

# What the weights are called that belong to a training state, in this project and in tutorials.
BESIDE = (snapshot.CLASSIFIER, 'classifier_mlp.model', snapshot.PREDICTOR)


def find(args, optimizer):
    """Finds the model and the training state that a run starts from.

    Args:
        args (argparse.Namespace): The options of the run.
        optimizer (chainer.Optimizer): The optimizer, set up on a model on the CPU whose input size
            is known.

    Returns:
        tuple: The path of the model, or ``None`` if there is none or the weights are those in the
        training state; and the path of that, or ``None`` if there is none.

    Raises:
        UserError: If there is no such file.

    """

    def check_state(path):
        weights = not initmodel and holds_weights(path, optimizer.target)
        read_state(path, optimizer, weights, args.unit)
        if not weights and not initmodel:
            read_model(_beside(path, check_model), optimizer.target, args.unit)

    def check_model(path):
        read_model(path, optimizer.target, args.unit)

    initmodel = args.initmodel and newest(args.initmodel, check_model)
    resume = args.resume and newest(args.resume, check_state)
    if resume and not initmodel and not holds_weights(resume, optimizer.target):
        initmodel = _beside(resume, check_model)
    return initmodel, resume


def newest(path, check):
    """Finds the newest file in a folder that fits.

    Args:
        path (str): The folder. Any other path is returned as it is.
        check (callable): Takes the path of a file and raises ``UserError`` if it does not fit.

    Returns:
        str: The path of the file.

    Raises:
        UserError: If there is none, or the folder cannot be read.

    """
    if not os.path.isdir(path):
        return path
    errors = []
    for file in _newest_first(path):
        error = _error(file, check)
        if error is None:
            return file
        errors.append(error)
    nearest = max(errors, key=lambda error: error.near, default=None)
    if nearest and nearest.near:
        raise nearest
    what, mend = unpacked(path) or ('a folder without a file that fits', 'give a file')
    raise UserError(f'{path} is {what}; {mend}')


def _newest_first(folder):
    try:
        with os.scandir(folder) as entries:
            ages = [(_age(entry), entry.path) for entry in entries if entry.is_file()]
    except OSError as error:
        raise UserError(f'cannot read {folder}: {error.strerror}; give a file') from None
    return [path for _, path in sorted(ages, reverse=True)]


def _age(entry):
    """Has the time of change and, since copies are all as old, the numbers in the name."""
    numbers = [int(digits) for digits in re.findall('[0-9]+', entry.name)]
    time = entry.stat().st_mtime
    return time // 2, numbers, time  # some file systems know the time to two seconds


def _error(path, check):
    try:
        check(path)
    except UserError as error:
        return error
    return None


def _beside(path, check):
    """Finds the weights that lie beside a training state without any."""
    folder = os.path.dirname(path)
    known = [file for name in BESIDE if os.path.isfile(file := os.path.join(folder, name))]
    for file in known:
        if _error(file, check) is None:
            return file
    others = sorted(set(glob.glob(os.path.join(glob.escape(folder), '*.model'))) - set(known))
    fitting = [file for file in others if _error(file, check) is None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(
            f'{path} holds no weights, and more than one model fits beside it '
            f'({", ".join(fitting)}); give one with -m'
        )
    if known:
        return known[0]  # as it is loaded, it will be said why it does not fit
    raise UserError(
        f'{path} holds no weights, and no model beside it fits; give the weights with -m'
    )
