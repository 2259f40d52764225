"""ChainerMN's multi-node optimizer, made to give the numbers of one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainer_mnist.console import UserError

import chainer
from chainermn.optimizers import _MultiNodeOptimizer


class MultiNodeOptimizer(_MultiNodeOptimizer):
    """ChainerMN's, except that no mini-batch is skipped and a rank may have no images."""

    def __init__(self, optimizer: chainer.Optimizer, communicator: Any) -> None:
        super().__init__(optimizer, communicator, zero_fill=True)
        params = sorted(optimizer.target.namedparams())
        uninitialized = [pair for pair in params if pair[1].array is None]
        object.__setattr__(self, 'uninitialized', uninitialized)  # setattr sets the optimizer's

    def update(self, lossfun: Callable | None = None, *args: Any, **kwds: Any) -> None:
        """Updates the parameters as ``chainer.Optimizer.update`` does."""
        if self.communicator.weight == 0:  # in the last mini-batch
            lossfun = None
            self.target.cleargrads()
            for param in self.target.params():
                param._loss_scale = self.actual_optimizer._loss_scale  # as backward() does
        super().update(lossfun, *args, **kwds)

    def is_changed(self, target: chainer.Link) -> bool:
        """Raises ``UserError`` where ChainerMN would broadcast parameters and skip an update."""
        for name, param in self.uninitialized:
            if param.array is not None:
                what = f'{name} got its size in training, with other weights on each rank'
                raise UserError(f'{what}; give its layer the input size in net.py')
        return False
