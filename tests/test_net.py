"""The networks."""

import chainer.links as L
import numpy
import pytest

from net import MLP, TrainFlagMLP

X = numpy.random.RandomState(0).rand(7, 784).astype('f')
T = numpy.arange(7, dtype='i')


def make_pair():
    """A classifier and a training-flag network with the same weights."""
    classifier, flagged = L.Classifier(MLP(50, 10)), TrainFlagMLP(50, 10)
    classifier(X, T)
    flagged(X, T)
    flagged.copyparams(classifier.predictor)
    return classifier, flagged


def test_mlp_has_the_tutorials_layers():
    mlp = MLP(50, 10)
    mlp(X)
    shapes = {name: param.shape for name, param in mlp.namedparams()}
    assert shapes == {
        '/l1/W': (50, 784),
        '/l1/b': (50,),
        '/l2/W': (50, 50),
        '/l2/b': (50,),
        '/l3/W': (10, 50),
        '/l3/b': (10,),
    }


def test_mlp_computes_what_the_arrays_say():
    mlp = MLP(20, 10)
    mlp(X)
    for name, param in mlp.namedparams():
        if name.endswith('b'):
            param.array[:] = numpy.random.RandomState(1).rand(*param.shape)
    h = X
    for layer in (mlp.l1, mlp.l2):
        h = numpy.maximum(0, h @ layer.W.array.T + layer.b.array)
    expected = h @ mlp.l3.W.array.T + mlp.l3.b.array
    numpy.testing.assert_allclose(mlp(X).array, expected, rtol=1e-5, atol=1e-6)


def test_both_frameworks_give_the_same_numbers():
    classifier, flagged = make_pair()
    for model in (classifier, flagged):
        loss = model(X, T)
        assert loss is model.loss
        model.cleargrads()
        loss.backward()
    assert flagged.loss.array == classifier.loss.array
    assert flagged.accuracy.array == classifier.accuracy.array
    for a, b in zip(flagged.params(), classifier.predictor.params()):
        numpy.testing.assert_array_equal(a.grad, b.grad)

    flagged.train = False
    numpy.testing.assert_array_equal(flagged(X).array, classifier.predictor(X).array)


def test_loss_is_softmax_cross_entropy():
    _, flagged = make_pair()
    flagged.train = False
    scores = flagged(X).array.astype('d')
    flagged.train = True
    log_p = scores - numpy.log(numpy.exp(scores).sum(1, keepdims=True))
    assert flagged(X, T).array == pytest.approx(-log_p[range(7), T].mean(), rel=1e-6)
    assert flagged.accuracy.array == pytest.approx((scores.argmax(1) == T).mean())


def test_training_flag_network_asks_for_labels():
    _, flagged = make_pair()
    with pytest.raises(TypeError, match='train = False'):
        flagged(X)
