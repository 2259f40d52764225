"""One process or many: what a run on several processes does differently, with ChainerMN on MPI.

A run of one process has :class:`OneProcess` as its communicator, which leaves everything as it is
and imports neither ChainerMN nor mpi4py.
"""

import os
import sys

from chainer_mnist import hosts
from chainer_mnist.errors import UserError, mpi_rank

import numpy

# ChainerMN's communicators. All but the first are for GPUs.
COMMUNICATORS = ('naive', 'flat', 'non_cuda_aware', 'pure_nccl')


class OneProcess:
    """The communicator of a run that has no other process.

    Attributes:
        rank (int): Number of this process, from 0 on. Rank 0 alone prints, reads snapshots and
            writes.
        size (int): Number of processes.

    """

    rank = 0
    size = 1

    def gpu(self, gpu):
        """Says which GPU this process takes.

        Args:
            gpu (int): Number of the GPU that the user asked for. A negative number means the CPU.

        Returns:
            int: ``gpu``, or with several processes on GPUs, the rank within the node.

        """
        return gpu

    def bcast(self, *objects):
        """Gives every process what rank 0 has.

        Args:
            objects: What this process has. It can be pickled.

        Returns:
            tuple: What rank 0 has.

        """
        return objects

    def check_same(self, *arrays):
        """Makes sure that this process has the same data as rank 0.

        Args:
            arrays (numpy.ndarray): Small arrays that tell one data set from another: the labels.

        Raises:
            UserError: If a process has other data.

        """

    def multi_node(self, optimizer):
        """Lets an optimizer work on the gradients of all processes.

        Args:
            optimizer (chainer.Optimizer): The optimizer, set up on a model that is on its device.

        Returns:
            chainer.Optimizer: The optimizer to use instead.

        """
        return optimizer

    def share(self, array):
        """Takes this process's share of a mini-batch or of a data set.

        The shares of all processes make up the whole, and their lengths differ by one at most.

        Args:
            array (array): The whole, of shape (N, ...).

        Returns:
            array: The share, of shape (N / size, ...), rounded up or down.

        """
        return array[self.rank :: self.size]

    def batches(self, order, batchsize):
        """Cuts an order of images into mini-batches and takes this process's share of each.

        Args:
            order (array): Numbers of images, int, of shape (N,).
            batchsize (int): Images in each mini-batch of each process.

        Yields:
            array: Numbers of the images in the share. It may be empty in the last mini-batch.

        """
        whole = batchsize * self.size
        for i in range(0, len(order), whole):
            yield self.share(order[i : i + whole])

    def sum(self, numbers):
        """Adds up numbers over the processes.

        Args:
            numbers (array): NumPy array, of any shape.

        Returns:
            array: The sums, of the same shape.

        """
        return numbers

    def agree(self, signum):
        """Tells every process of a signal that any of them has had.

        Args:
            signum (int): The signal that this process has had, or ``None``.

        Returns:
            int: The signal that one of them has had, or ``None``.

        """
        return signum

    def launcher(self):
        """Says how the run was started.

        Returns:
            list: The words that stand before ``python`` on the command line.

        """
        return []

    def end(self):
        """Parts from the other processes. A process that exits without this ends them too."""


class _MultiNodeOptimizer:
    """ChainerMN's optimizer, which takes means over processes, made to take them over images."""

    def __init__(self, optimizer, communicator):
        self._optimizer = optimizer
        self._communicator = communicator

    def update(self, model, x, t):
        if len(x) == 0:  # fewer images than processes are left: take part without a gradient
            model.cleargrads()
            self._optimizer.update()
        else:
            weight = len(x) * self._communicator.size / self._communicator.images
            self._optimizer.update(lambda: model(x, t) * weight)

    def __getattr__(self, name):
        return getattr(self._optimizer, name)


class _ManyProcesses(OneProcess):
    """The communicator of a run on several processes. See :class:`OneProcess`.

    Attributes:
        images (int): Number of images in the mini-batch under way, over all processes.

    """

    def __init__(self, name):
        import mpi4py

        # A process that fails must not wait for the others at its exit, but end them by it.
        mpi4py.rc.finalize = False
        import chainermn
        from mpi4py import MPI

        self._chainermn = chainermn
        self._mpi = MPI
        self._communicator = chainermn.create_communicator(name)
        self.rank = self._communicator.rank
        self.size = self._communicator.size
        hosts.check_code(self._communicator.mpi_comm)
        several = self._communicator.inter_size > 1
        self._watch = hosts.Watch(self._communicator.mpi_comm) if several else None

    def gpu(self, gpu):
        return gpu if gpu < 0 else self._communicator.intra_rank

    def bcast(self, *objects):
        return self._communicator.bcast_obj(objects if self.rank == 0 else None)

    def check_same(self, *arrays):
        mine = [array.tobytes() for array in arrays]
        others = self.rank if mine != list(self.bcast(*mine)) else 0
        others = self._communicator.mpi_comm.allreduce(others, self._mpi.MAX)
        if others:
            raise UserError(
                f'process {others} has other data than process 0; '
                'set CHAINER_DATASET_ROOT alike for all of them',
                shared=True,
            )

    def multi_node(self, optimizer):
        optimizer = self._chainermn.create_multi_node_optimizer(optimizer, self._communicator)
        # Its first update only broadcasts the weights. Made here, it costs no mini-batch.
        optimizer.update()
        return _MultiNodeOptimizer(optimizer, self)

    def batches(self, order, batchsize):
        shares = super().batches(order, batchsize)
        left = len(order)
        for share in shares:
            self.images = min(left, batchsize * self.size)
            left -= self.images
            yield share

    def sum(self, numbers):
        return self._communicator.allreduce_obj(numbers)

    def agree(self, signum):
        signum = numpy.array(signum or 0)
        self._communicator.mpi_comm.Allreduce(self._mpi.IN_PLACE, signum, self._mpi.MAX)
        return int(signum) or None

    def launcher(self):
        return ['mpiexec', '-n', str(self.size)]

    def end(self):
        if self._watch:
            self._watch.end()
        self._mpi.Finalize()


ALONE = OneProcess()


def get_communicator(name, gpu):
    """Finds the communicator of this run.

    Standard output of all processes but rank 0 goes nowhere from here on.

    Args:
        name (str): One of :data:`COMMUNICATORS`, or ``None`` for a run of one process.
        gpu (int): Number of the GPU. A negative number means the CPU.

    Returns:
        OneProcess: The communicator.

    Raises:
        UserError: If the process was not started by ``mpiexec``, or something is missing that the
            communicator needs.

    """
    if name is None:
        return ALONE
    if name != 'naive' and gpu < 0:
        raise UserError(
            f'--communicator {name} is for GPUs; add -g 0, or choose naive', shared=True
        )
    if mpi_rank() is None:
        raise UserError(
            f'--communicator {name} needs mpiexec; put "mpiexec -n 2" before "python", or leave '
            'out --communicator'
        )
    try:
        communicator = _ManyProcesses(name)
    except (ImportError, RuntimeError) as error:
        reason = str(error).split('\n')[0]
        raise UserError(
            f'--communicator {name} does not start ({reason}); '
            'install what requirements-mpi.txt says',
            shared=True,
        ) from None
    if communicator.rank > 0:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115  for the rest of the process
    return communicator
