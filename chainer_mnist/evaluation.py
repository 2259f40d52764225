"""A model at work, not in training."""

import contextlib

from chainer_mnist import match

import chainer


@contextlib.contextmanager
def evaluation(model):
    """Switches a model from training to prediction, and back at the end of the block.

    No graph is built in the block, ``chainer.config.train`` is false there, and so is the flag
    ``train`` of the training-flag framework.

    Args:
        model (chainer.Chain): A classifier, which has a predictor, or a network that predicts.

    Yields:
        chainer.Chain: The predictor, to be called with images.

    """
    predictor = match.predictor(model)
    flag = getattr(predictor, 'train', None)
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        if flag is not None:
            predictor.train = False
        try:
            yield predictor
        finally:
            if flag is not None:
                predictor.train = flag
