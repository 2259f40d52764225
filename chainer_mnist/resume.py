"""Goes on from where a run ended, and says how to."""

import os

from chainer_mnist import log, snapshot
from chainer_mnist.arguments import this_python
from chainer_mnist.streams import say


def load_state(path, optimizer, weights, units):
    """Goes on from a training state and the log beside it.

    Args:
        path (str): The file.
        optimizer (chainer.Optimizer): The optimizer, set up on a model on the CPU whose input size
            is known.
        weights (bool): Whether to read the weights too.
        units (int): Number of units that the network was made with.

    Returns:
        tuple: The seed of the run, an int, or ``None`` if the file holds none; and the records of
        the epochs that it has behind it, a list.

    Raises:
        UserError: If the file or the log cannot be read or does not fit.

    """
    seed = snapshot.load_state(path, optimizer, weights, units)
    return seed, _records(os.path.join(os.path.dirname(path), log.NAME), optimizer)


def command(parser, args, communicator, seed, left):
    """Makes the command that goes on from where a run ended.

    Args:
        parser (arguments.ArgumentParser): The parser of the command line.
        args (argparse.Namespace): The options of the run.
        communicator (parallel.OneProcess): The processes that share the run.
        seed (int): The seed of the run.
        left (int): Number of epochs that are left.

    Returns:
        str: The command, for a shell.

    """
    changes = {'seed': seed, 'epoch': left}
    if left < args.epoch:  # it has finished an epoch, and so has written a state
        state = os.path.join(args.out, snapshot.STATE)
        changes = {'resume': state, 'initmodel': None, 'seed': None, 'epoch': left}
    return parser.command([*communicator.launcher(), this_python()], args, changes)


def _records(path, optimizer):
    """Reads the log that an optimizer goes on with, and the number of epochs if need be."""
    records = log.load(path)
    earlier = log.until(records, optimizer.epoch, optimizer.t)
    if len(earlier) < len(records):
        later = len(records) - len(earlier)
        say(f'Leave out {later} of {len(records)} records in {path}: later than the state')
    if optimizer.epoch == 0 < optimizer.t:  # plain Chainer counts no epochs unless it is told to
        optimizer.epoch = log.last_epoch(earlier)
        if optimizer.epoch == 0:
            say('Count epochs from 1: no log beside the state says how many it has behind it')
    return earlier
