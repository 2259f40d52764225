"""An optimizer on several processes."""

from chainer_mnist.errors import UserError


class MultiNodeOptimizer:
    """An optimizer that takes the mean gradient over the images of all processes.

    All but the update is the optimizer's own.

    Args:
        optimizer (chainer.Optimizer): The optimizer, set up on a model that is on its device.
        communicator (multi_node.ManyProcesses): The processes.

    """

    def __init__(self, optimizer, communicator):
        params = sorted(optimizer.target.namedparams())
        late = [(name, param) for name, param in params if param.array is None]
        vars(self).update(_optimizer=optimizer, _communicator=communicator, _late=late)

    def update(self, lossfun=None, *args, **kwds):
        """Updates the parameters, as ``chainer.Optimizer.update`` does.

        Args:
            lossfun (callable): Computes the loss. ``None`` takes the gradients that are there.
            args: Its arguments.
            kwds: Its keyword arguments.

        Raises:
            UserError: If a parameter has got its size and so its weights in training.

        """
        images = self._communicator.images([*args, *kwds.values()])
        target, scale = self._optimizer.target, self._optimizer._loss_scale
        if lossfun is not None:
            target.cleargrads()  # their buffer, which is large, can be used again
            # In the last mini-batch there may be fewer images than processes.
            loss = lossfun(*args, **kwds) if images else None
            target.cleargrads()
            if loss is not None:
                loss.backward(loss_scale=scale)
            del loss
        for name, param in self._late:
            if param.array is not None:  # it has been drawn in each process for itself
                raise UserError(
                    f'{name} gets its size in training, when each process draws its own weights; '
                    'give its layer the size of its input in net.py',
                    shared=True,
                )
        for param in target.params() if scale is not None else ():
            param._loss_scale = scale  # where there was no image, it is that of the update before
        self._communicator.mean_grads(target, images)
        self._optimizer.update()

    def __getattr__(self, name):
        return getattr(self._optimizer, name)

    def __setattr__(self, name, value):
        setattr(self._optimizer, name, value)
