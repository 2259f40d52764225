"""The networks. What they compute, ``test_use_elsewhere.py`` checks with NumPy."""

import numpy
import pytest

from helpers import log_of, same, train
from net import TrainFlagMLP


def test_both_frameworks_do_the_same():
    for name in ('classifier', 'trainflag'):
        train('-e', 1, '-s', 1, '-n', name, '-o', name)
    assert same('classifier/mlp.model', 'trainflag/mlp.model')
    logs = [log_of(name)[0] for name in ('classifier', 'trainflag')]
    assert {**logs[0], 'elapsed_time': 0} == {**logs[1], 'elapsed_time': 0}


def test_a_prediction_in_training_says_how_to_do_it():
    with pytest.raises(TypeError, match='set train = False to predict'):
        TrainFlagMLP(20, 10)(numpy.zeros((1, 784), 'f'))
