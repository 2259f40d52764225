"""Writes models, training states and the log."""

from __future__ import annotations

import io
from typing import Any

from chainer_mnist.constants import CLASSIFIER, PREDICTOR, STATE
from chainer_mnist.files import write_atomically
from chainer_mnist.snapshots.log import LOG, Log
from chainer_mnist.snapshots.snapshot import PREFIX, get_predictor, serialize, state_dict

import chainer
from chainer import serializers


def save_model(out: str, model: chainer.Chain) -> None:
    """Writes the weights twice, as a classifier's and as a predictor's."""
    weights = serialize(get_predictor(model))
    classifier = _to_npz({PREFIX + key: array for key, array in weights.items()})
    write_atomically(out, {CLASSIFIER: classifier, PREDICTOR: _to_npz(weights)})


def save_state(out: str, optimizer: chainer.Optimizer, seed: int, log: Log) -> None:
    """Writes the training state, and before it the log: a killed run leaves no older log."""
    state = _to_npz(state_dict(optimizer, seed))
    write_atomically(out, {LOG: log.to_json(), STATE: state})


def _to_npz(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        # Weights are noise to a compressor, which takes long and saves little.
        serializers.save_npz(buffer, content, compression=False)
    except ValueError:  # by zipfile, as it closes an archive after memory has run out
        raise MemoryError from None
    return buffer.getvalue()
