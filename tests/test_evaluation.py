"""Switching a model to evaluation and back."""

from chainer_mnist.evaluation import evaluation

import chainer
import pytest

from net import MLP
from test_net import T, X, make_pair


def test_evaluation_switches_everything_and_back():
    for model in make_pair():
        with evaluation(model) as predictor:
            assert not chainer.config.train
            y = predictor(X)
            assert y.shape == (7, 10)
            assert y.creator is None, 'a graph was built'
        assert chainer.config.train
        assert chainer.config.enable_backprop
        assert model(X, T).creator is not None


def test_evaluation_switches_back_after_an_error():
    _, flagged = make_pair()
    with pytest.raises(chainer.utils.type_check.InvalidType), evaluation(flagged) as predictor:
        predictor(X[:, :5])
    assert flagged.train
    assert chainer.config.train


def test_evaluation_takes_a_predictor_alone():
    mlp = MLP(50, 10)
    with evaluation(mlp) as predictor:
        assert predictor is mlp
        assert predictor(X).shape == (7, 10)
