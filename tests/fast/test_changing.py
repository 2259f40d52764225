"""A script that a learner has changed: wrong types are an error, an own accuracy is used."""

import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer.utils.type_check import InvalidType

import train_mnist
from helpers import log_of, main, train


def test_noise_of_another_type_is_an_error(monkeypatch):
    def noisy(model, optimizer, x, t, batches):
        for batch in batches:
            optimizer.update(model, x[batch] + numpy.random.randn(len(batch), 784), t[batch])

    monkeypatch.setattr(train_mnist, 'train', noisy)
    with pytest.raises(InvalidType, match='float64'):
        main('--noplot')


def test_an_accuracy_of_ones_own_is_that_of_the_test_too(monkeypatch):
    make = L.Classifier
    accfun = lambda y, t: F.accuracy(y, t) * 0  # noqa: E731
    monkeypatch.setattr(L, 'Classifier', lambda predictor: make(predictor, accfun=accfun))
    train('-e', 1)
    [record] = log_of('result')
    assert record['main/accuracy'] == record['validation/main/accuracy'] == 0
