"""The log: a record for each epoch, in the format of Chainer's LogReport."""

import json
import os
import time

from chainer_mnist import limits
from chainer_mnist.errors import UserError

NAME = 'log'

# What a record holds, as LogReport calls it. Others may hold more keys, or fewer.
KEYS = (
    'main/loss',
    'main/accuracy',
    'validation/main/loss',
    'validation/main/accuracy',
    'epoch',
    'iteration',
    'elapsed_time',
)


class Log:
    """The log of a run, which may go on from that of another.

    Attributes:
        records (list): A dictionary for each epoch.

    """

    def __init__(self):
        self.records = []

    def start(self):
        """Starts the clock. The time that the log shows goes on from where it ended."""
        _, times = curve(self.records, 'elapsed_time')  # old releases of Chainer kept none
        self._begin = time.perf_counter() - max(times, default=0)

    def add(self, train, test, epoch, iteration):
        """Adds the record of an epoch.

        Args:
            train (tuple): Mean loss and mean accuracy on the training set, floats.
            test (tuple): The same on the test set.
            epoch (int): The number of the epoch.
            iteration (int): Number of updates so far.

        """
        values = [*train, *test, epoch, iteration, time.perf_counter() - self._begin]
        self.records.append(dict(zip(KEYS, values)))

    def content(self):
        """Makes what the file holds.

        Returns:
            bytes: JSON.

        """
        return json.dumps(self.records, indent=4).encode()


def check(out):
    """Makes sure that nothing else is called like the log, which would be lost.

    Args:
        out (str): The directory that a log is to be written to.

    Raises:
        UserError: If it has a file of that name that is no log.

    """
    load(os.path.join(out, NAME))


def load(path):
    """Reads a log, by this project or by Chainer.

    Args:
        path (str): The file.

    Returns:
        list: Its records. It is empty if there is no such file.

    Raises:
        UserError: If it is no log. It would be lost if it were written anew.

    """
    if not os.path.exists(path):
        return []
    try:
        if not os.path.isfile(path):  # opening a pipe can hang
            raise ValueError('not a file')
        with open(path, encoding='utf-8-sig') as file:
            return parse(file.read())
    except Exception as error:  # whatever another file's content leads to
        reason = str(error).split('\n')[0] or type(error).__name__
        raise UserError(
            f'{path} is not the log of a run ({reason}); move it out of the way'
        ) from None


def parse(text):
    """Takes the records from the text of a log.

    Chainer's records always count epochs and iterations. The first one of Chainer v7 has no loss:
    it is of epoch 0.

    Args:
        text (str): JSON.

    Returns:
        list: The records.

    Raises:
        ValueError: If it is no log. Other exceptions too: those that the content leads to.

    """
    records = json.loads(text)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError('not a list of records')
    for record in records:
        if not all(0 <= record[key] <= limits.UPDATES for key in ('epoch', 'iteration')):
            raise ValueError('a record of no epoch')
    return records


def until(records, epoch, iteration):
    """Takes the records that are not later than a training state.

    Args:
        records (list): The records of a log.
        epoch (int): Number of epochs that the state has behind it. Where plain Chainer has not
            counted them, it is 0.
        iteration (int): Number of updates that the state has behind it.

    Returns:
        list: The earlier records. A killed run may have written later ones.

    """
    if epoch == 0:
        return [record for record in records if record['iteration'] <= iteration]
    return [record for record in records if _is_until(record, epoch, iteration)]


def _is_until(record, epoch, iteration):
    # There may be several in an epoch, and those of the next one count its predecessor as theirs.
    at_the_end = record['epoch'] == epoch and record['iteration'] <= iteration
    return at_the_end or record['epoch'] < epoch


def last_epoch(records):
    """Looks up the last epoch in a log.

    Args:
        records (list): The records.

    Returns:
        int: The number of the epoch. It is 0 if there is none.

    """
    return int(max((record['epoch'] for record in records), default=0))


def curve(records, key):
    """Takes one value of each record. Records that have no such number are left out.

    Args:
        records (list): The records.
        key (str): The name of the value.

    Returns:
        tuple: Two lists: the epochs, and the values there.

    """
    points = [(record['epoch'], record[key]) for record in records if _is_number(record.get(key))]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _is_number(value):
    return isinstance(value, (int, float)) and abs(value) < 1e300  # which NaN is not, either
