"""Writes and reads snapshots: models, training states and the log."""

from __future__ import annotations

from chainer_mnist.snapshots.checkpoint import load_checkpoint, load_predictor, read_log
from chainer_mnist.snapshots.log import Log, elapsed_time, make_record
from chainer_mnist.snapshots.saving import save_model, save_state
from chainer_mnist.snapshots.snapshot import get_predictor, load_state_dict, state_dict

__all__ = ['Log', 'elapsed_time', 'get_predictor', 'load_checkpoint', 'load_predictor']
__all__ += ['load_state_dict', 'make_record', 'read_log', 'save_model', 'save_state', 'state_dict']
