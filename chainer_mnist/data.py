"""Finds MNIST and hands it over as arrays."""

import os

from chainer_mnist.errors import UserError

import chainer

# Where it lies in a clone.
DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')


def load():
    """Loads MNIST from ``CHAINER_DATASET_ROOT``, where that is set, or else from ``data/``.

    Returns:
        tuple: ``(x, t)`` of the training set and ``(x, t)`` of the test set. ``x`` holds images,
        float32 from 0 to 1, of shape (N, 784), and ``t`` holds labels, int32, of shape (N,). N is
        60,000 and 10,000 in the real MNIST.

    Raises:
        UserError: If a file is missing or damaged. Nothing is ever downloaded: the address that
            Chainer has for it is dead.

    """
    root = os.environ.get('CHAINER_DATASET_ROOT') or DATA
    chainer.dataset.set_dataset_root(root)
    mend = (
        'unset CHAINER_DATASET_ROOT'
        if root != DATA
        else 'bring it back with "git checkout data" in the clone'
    )
    for name in ('train.npz', 'test.npz'):
        path = os.path.join(root, 'pfnet', 'chainer', 'mnist', name)
        if not os.path.isfile(path):
            raise UserError(f'MNIST is not there: no file {path}; {mend}')
    try:
        # An index of all images at once gives the arrays themselves, without a copy.
        train, test = (dataset[...] for dataset in chainer.datasets.get_mnist())
        for x, t in (train, test):
            if t.ndim != 1 or x.shape != (len(t), 784) or len(t) == 0 or t.min() < 0 or t.max() > 9:
                raise ValueError('not MNIST')
    except Exception as error:  # whatever a damaged file makes zipfile and NumPy raise
        raise UserError(f'cannot read MNIST in {root} ({error}); {mend}') from None
    return train, test
