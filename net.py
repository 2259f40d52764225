"""The networks: a predictor for ``L.Classifier``, and the training-flag framework."""

import chainer
import chainer.functions as F
import chainer.links as L


class MLP(chainer.Chain):
    """A multi-layer perceptron: three fully connected layers with ReLU between them.

    It is a predictor: wrap it in ``L.Classifier`` to train it, or call it as it is.

    Args:
        n_units (int): Number of units in each of the two hidden layers.
        n_out (int): Number of classes.

    """

    def __init__(self, n_units, n_out):
        super().__init__()
        with self.init_scope():
            # The size of each layer's input is inferred from the first mini-batch.
            self.l1 = L.Linear(None, n_units)
            self.l2 = L.Linear(None, n_units)
            self.l3 = L.Linear(None, n_out)

    def forward(self, x):
        """Computes the score of each class.

        Args:
            x (array): Images, float32, of shape (N, pixels).

        Returns:
            chainer.Variable: Scores before softmax, float32, of shape (N, n_out).

        """
        h1 = F.relu(self.l1(x))
        h2 = F.relu(self.l2(h1))
        return self.l3(h2)


class TrainFlagMLP(MLP):
    """The same network in the training-flag framework: one Chain holds loss and prediction.

    Args:
        n_units (int): Number of units in each of the two hidden layers.
        n_out (int): Number of classes.

    Attributes:
        train (bool): What a call computes: the loss (true, the default) or the prediction (false).
        loss (chainer.Variable): Softmax cross-entropy of the last call in training.
        accuracy (chainer.Variable): Accuracy of the last call in training.

    """

    def __init__(self, n_units, n_out):
        super().__init__(n_units, n_out)
        self.train = True
        self.loss = None
        self.accuracy = None

    def forward(self, x, t=None):
        """Computes the loss, or the prediction, as the flag ``train`` says.

        Args:
            x (array): Images, float32, of shape (N, pixels).
            t (array): Labels, int32, of shape (N,). Needed while ``train`` is true.

        Returns:
            chainer.Variable: While ``train`` is true, the loss, float32, of shape (). While it is
            false, the scores of each class, float32, of shape (N, n_out), as :class:`MLP` gives.

        Raises:
            TypeError: If ``train`` is true and there are no labels.

        """
        y = super().forward(x)
        if not self.train:
            return y
        if t is None:
            raise TypeError('labels are needed while train is true; set train = False to predict')
        self.loss = F.softmax_cross_entropy(y, t)
        self.accuracy = F.accuracy(y, t)
        return self.loss
