"""Goes on from where a run ended, and says how to."""

import os

from chainer_mnist import data, log, snapshot, trainer
from chainer_mnist.formats import open_snapshot
from chainer_mnist.shell import this_python, with_variable
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
    records, counts, ends = _past(path)
    beside = os.path.join(os.path.dirname(path), log.NAME)
    records_beside = log.load(beside)
    seed = snapshot.load_state(path, optimizer, weights, units)
    if optimizer.t and not ends:
        say(f'{path} ends within epoch {optimizer.epoch + 1}: go on from the beginning of it')
    earlier = log.until(records_beside, optimizer.epoch, optimizer.t)
    if len(earlier) < len(records_beside):
        later = f'{len(records_beside) - len(earlier)} of {len(records_beside)}'
        say(f'Leave out {later} records in {beside}: later than the state')
    records = max(log.until(records, optimizer.epoch, optimizer.t), earlier, key=len)
    if optimizer.epoch == 0 < optimizer.t and not counts:  # plain Chainer does, if it is told to
        optimizer.epoch = log.last_epoch(records)
        if not records:
            say('Count epochs from 1: no log beside the state says how many it has behind it')
    return seed, records


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
    command = parser.command([*communicator.launcher(), this_python()], args, changes)
    return with_variable(data.ROOT, command)


def _past(path):
    """Reads what Chainer's Trainer says in a snapshot of its past, if it is one of it.

    Args:
        path (str): The file.

    Returns:
        tuple: The records of its log, a list; whether it has counted the epochs, and whether the
        last one was at its end, booleans.

    """
    with open_snapshot(path) as stored:
        records = log.parse(stored.text(trainer.LOG)) if trainer.LOG in stored else []
        ends = trainer.ENDS_EPOCH not in stored or stored.count(trainer.ENDS_EPOCH, 1) == 1
        return records, trainer.EPOCH in stored, ends
