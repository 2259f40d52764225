"""The networks."""

import chainer.links as L
import numpy
import pytest

from net import MLP, TrainFlagMLP

X = numpy.random.RandomState(0).rand(7, 784).astype('f')
T = numpy.arange(7, dtype='i')


@pytest.fixture
def models():
    """A classifier and a training-flag network with the same weights."""
    classifier, flagged = L.Classifier(MLP(20, 10)), TrainFlagMLP(20, 10)
    for model in (classifier, flagged):
        model(X, T)
    for param in classifier.params():
        param.array += 0.1  # biases are zero at first
    flagged.copyparams(classifier.predictor)
    return classifier, flagged


def test_mlp_is_three_layers_with_relu_between_them(models):
    mlp = models[0].predictor
    w = {name: param.array for name, param in mlp.namedparams()}
    h1 = numpy.maximum(X @ w['/l1/W'].T + w['/l1/b'], 0)
    h2 = numpy.maximum(h1 @ w['/l2/W'].T + w['/l2/b'], 0)
    y = h2 @ w['/l3/W'].T + w['/l3/b']
    assert (h1.shape, h2.shape, y.shape) == ((7, 20), (7, 20), (7, 10))
    numpy.testing.assert_allclose(mlp(X).array, y, rtol=1e-5)


def test_both_frameworks_give_the_same_loss_accuracy_gradients_and_prediction(models):
    classifier, flagged = models
    for model in models:
        assert model(X, T) is model.loss
        model.cleargrads()
        model.loss.backward()
    assert flagged.loss.array == classifier.loss.array
    assert flagged.accuracy.array == classifier.accuracy.array
    for a, b in zip(flagged.params(), classifier.predictor.params()):
        numpy.testing.assert_array_equal(a.grad, b.grad)
    flagged.train = False
    numpy.testing.assert_array_equal(flagged(X).array, classifier.predictor(X).array)
    flagged.train = True
    with pytest.raises(TypeError, match='train = False'):
        flagged(X)
