"""Writes and reads snapshots: models, training states and the log."""

from __future__ import annotations

from chainer_mnist.snapshots.checkpoint import Checkpoint, load_predictor, read_checkpoint
from chainer_mnist.snapshots.log import LOG, Record, elapsed_time, make_record, read_log, series
from chainer_mnist.snapshots.saving import CLASSIFIER, PREDICTOR, STATE, save_model, save_state
from chainer_mnist.snapshots.snapshot import get_predictor, load_state_dict, state_dict

__all__ = ['CLASSIFIER', 'LOG', 'PREDICTOR', 'STATE', 'Checkpoint', 'Record']
__all__ += ['elapsed_time', 'get_predictor', 'load_predictor', 'load_state_dict', 'make_record']
__all__ += ['read_checkpoint', 'read_log', 'save_model', 'save_state', 'series', 'state_dict']
