"""The log: one record per epoch, as Chainer's LogReport writes it."""

from __future__ import annotations

import json
import os
from typing import Any

from chainer_mnist.console import UserError
from chainer_mnist.constants import MAX_UPDATES

LOG = 'log'

Record = dict[str, Any]  # LogReport may write other keys too, or leave some out
Means = tuple[float, float]  # loss and accuracy


def make_record(train: Means, test: Means, epoch: int, iteration: int, seconds: float) -> Record:
    """Makes the record of an epoch, at so many seconds since the run began."""
    return {
        'main/loss': train[0],
        'main/accuracy': train[1],
        'validation/main/loss': test[0],
        'validation/main/accuracy': test[1],
        'epoch': epoch,
        'iteration': iteration,
        'elapsed_time': seconds,
    }


def read_log(out: str) -> list[Record]:
    """Reads the log in a directory. The list is empty if there is none.

    Raises ``UserError`` if a file of that name is no log: a run would overwrite it.
    """
    path = os.path.join(out, LOG)
    if not os.path.exists(path):
        return []
    try:
        with open(path, 'rb') as file:
            return parse_log(file.read())
    except Exception as error:  # whatever the content of another file leads to
        reason = str(error).partition('\n')[0]
        raise UserError(f'{path} is not the log of a run ({reason}); move it elsewhere') from None


def parse_log(text: str | bytes) -> list[Record]:
    """Parses the text of an untrusted log. Raises any exception if it is none."""
    records = json.loads(text)
    if not isinstance(records, list):
        raise ValueError('not a list of records')
    # Chainer always counts epochs and iterations. Its first record can be of epoch 0.
    counts = [record[key] for record in records for key in ('epoch', 'iteration')]
    if not all(0 <= count <= MAX_UPDATES for count in counts):
        raise ValueError('a record has no valid epoch and iteration')
    return records


def series(records: list[Record], key: str) -> tuple[list[float], list[float]]:
    """Returns the finite numbers that the records have of that name, after their epochs."""
    points = [
        (record['epoch'], record[key])
        for record in records
        if isinstance(record.get(key), (int, float)) and abs(record[key]) < 1e300
    ]
    return [epoch for epoch, _ in points], [value for _, value in points]


def elapsed_time(records: list[Record]) -> float:
    """Returns how many seconds the run took so far, or 0 if the log does not say."""
    return max(series(records, 'elapsed_time')[1], default=0.0)
