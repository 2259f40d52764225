"""The networks. What they compute, ``test_use_elsewhere.py`` checks with NumPy."""

import chainer.links as L
import numpy
import pytest

from net import MLP, TrainFlagMLP


def test_both_frameworks_give_the_same_loss_accuracy_gradients_and_prediction():
    x, t = numpy.random.RandomState(0).rand(7, 784).astype('f'), numpy.arange(7, dtype='i')
    classifier, flagged = L.Classifier(MLP(20, 10)), TrainFlagMLP(20, 10)
    for model in (classifier, flagged):
        model(x, t)
    flagged.copyparams(classifier.predictor)
    for model in (classifier, flagged):
        assert model(x, t) is model.loss
        model.cleargrads()
        model.loss.backward()
    assert flagged.loss.array == classifier.loss.array
    assert flagged.accuracy.array == classifier.accuracy.array
    for a, b in zip(flagged.params(), classifier.predictor.params()):
        numpy.testing.assert_array_equal(a.grad, b.grad)
    flagged.train = False
    numpy.testing.assert_array_equal(flagged(x).array, classifier.predictor(x).array)
    flagged.train = True
    with pytest.raises(TypeError, match='train = False'):
        flagged(x)
