"""The networks: a predictor for ``L.Classifier``, and the training-flag framework."""

from __future__ import annotations

from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L


class MLP(chainer.Chain):
    """A multi-layer perceptron: three fully connected layers with ReLU between them.

    It is a predictor: wrap it in ``L.Classifier`` to train it, or call it as it is.
    """

    def __init__(self, n_units: int, n_out: int) -> None:
        super().__init__()
        with self.init_scope():
            # The size of each layer's input is inferred from the first mini-batch.
            self.l1 = L.Linear(None, n_units)
            self.l2 = L.Linear(None, n_units)
            self.l3 = L.Linear(None, n_out)

    def forward(self, x: Any) -> chainer.Variable:
        """Computes the scores (logits) of each class.

        ``x`` holds images, float32, of shape (N, pixels). The scores have shape (N, n_out).
        """
        h1 = F.relu(self.l1(x))
        h2 = F.relu(self.l2(h1))
        return self.l3(h2)


class TrainFlagMLP(MLP):
    """The same network in the training-flag framework: one Chain holds loss and prediction.

    A call computes the loss while ``train`` is true, and the prediction while it is false.
    ``loss`` and ``accuracy`` are those of the last call in training.
    """

    def __init__(self, n_units: int, n_out: int) -> None:
        super().__init__(n_units, n_out)
        self.train = True
        self.loss = None
        self.accuracy = None

    def forward(self, x: Any, t: Any = None) -> chainer.Variable:
        """Computes the loss of shape (), or the scores as :class:`MLP`, as the flag ``train`` says.

        ``t`` holds labels, int32, of shape (N,). Raises ``TypeError`` if they are missing in
        training.
        """
        y = super().forward(x)
        if not self.train:
            return y
        if t is None:
            raise TypeError('labels are needed while train is true; set train = False to predict')
        self.loss = F.softmax_cross_entropy(y, t)
        self.accuracy = F.accuracy(y, t)
        return self.loss
