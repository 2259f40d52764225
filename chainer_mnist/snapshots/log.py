"""The log: one record per epoch, as Chainer's LogReport writes it."""

from __future__ import annotations

import json
from typing import Any

from chainer_mnist.constants import MAX_EPOCHS, MAX_UPDATES

LOG = 'log'
MAX_SIZE = 256 << 20  # bytes: a million epochs

Record = dict[str, Any]  # LogReport may write other keys too, or leave some out
Means = tuple[float, float]  # loss and accuracy


class Log:
    """The records of a run. Each is made text once, so that an epoch costs the same after many."""

    def __init__(self, records: list[Record]) -> None:
        self.records: list[Record] = []
        self._texts: list[str] = []
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        """Adds the record of an epoch."""
        self.records.append(record)
        self._texts.append(json.dumps([record], indent=4)[2:-2])

    def to_json(self) -> bytes:
        """Returns the content of the file, as LogReport writes it."""
        return ('[\n' + ',\n'.join(self._texts) + '\n]').encode() if self._texts else b'[]'


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


def parse_log(text: str | bytes) -> list[Record]:
    """Parses the text of an untrusted log. Raises any exception if it is none."""
    records = json.loads(text)
    if not isinstance(records, list):
        raise ValueError('not a list of records')
    # Chainer always counts epochs and iterations. Its first record can be of epoch 0.
    for record in records:
        if not (0 <= record['epoch'] <= MAX_EPOCHS and 0 <= record['iteration'] <= MAX_UPDATES):
            raise ValueError('a record has no valid epoch and iteration')
    return records


def elapsed_time(records: list[Record]) -> float:
    """Returns how many seconds the run took so far, or 0 if the log does not say."""
    times = [record.get('elapsed_time') for record in records]
    return max((t for t in times if isinstance(t, (int, float)) and abs(t) < 1e300), default=0.0)
