"""Several processes, with ChainerMN on MPI. For one process, neither is imported."""

import os
import sys

from chainer_mnist.errors import UserError, mpi_rank
from chainer_mnist.multi_node_optimizer import MultiNodeOptimizer
from chainer_mnist.parallel import ALONE, OneProcess
from chainer_mnist.process import SIGNALS

import chainer
import numpy


def get_communicator(name, gpu):
    """Finds the communicator of this run.

    Standard output of all processes but rank 0 goes nowhere from here on.

    Args:
        name (str): One of ``parallel.COMMUNICATORS``, or ``None`` for a run of one process.
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
        communicator = ManyProcesses(name)
    except (ImportError, RuntimeError) as error:
        reason = str(error).split('\n')[0]
        what = 'requirements-mpi.txt says'
        if 'NCCL' in reason:
            what = 'requirements-gpu.txt says of NCCL, as by pip install nvidia-nccl-cu12'
        raise UserError(
            f'--communicator {name} does not start ({reason}); install what {what}', shared=True
        ) from None
    if communicator.rank > 0:
        sys.stdout = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115  for the rest of the process
    return communicator


class ManyProcesses(OneProcess):
    """The communicator of a run on several processes. See :class:`parallel.OneProcess`.

    Args:
        name (str): One of ``parallel.COMMUNICATORS``.

    """

    def __init__(self, name):
        import mpi4py

        # A process that fails must not wait for the others at its exit, but end them by it.
        mpi4py.rc.finalize = False
        from chainer_mnist import hosts

        import chainermn
        from mpi4py import MPI

        self._mpi = MPI
        self._communicator = chainermn.create_communicator(name)
        self._mpi_comm = self._communicator.mpi_comm
        self.rank = self._communicator.rank
        self.size = self._communicator.size
        self._signum = self._agreed = self._images = None
        hosts.check_same(self._mpi_comm)
        several = self._communicator.inter_size > 1
        self._watch = hosts.Watch(self._mpi_comm) if several else None

    def gpu(self, gpu):
        return gpu if gpu < 0 else self._communicator.intra_rank

    def bcast(self, content):
        return self._communicator.bcast_obj(content if self.rank == 0 else None)

    def check_same(self, *arrays):
        mine = [array.tobytes() for array in arrays]
        others = self.rank if mine != self.bcast(mine) else 0
        others = self._mpi_comm.allreduce(others, self._mpi.MAX)
        if others:
            raise UserError(
                f'process {others} has other data than process 0; '
                'set CHAINER_DATASET_ROOT alike for all of them',
                shared=True,
            )

    def multi_node(self, optimizer):
        return MultiNodeOptimizer(optimizer, self)

    def batches(self, order, batchsize):
        if self.rank:  # all have the same random numbers so far, and would have the same dropout
            numpy.random.seed([numpy.random.randint(2**31), self.rank])
        for batch in super().batches(order, batchsize):
            self._images = len(batch)
            yield batch
        self._images = None

    def images(self, data):
        """Says how many images this process has in the mini-batch under way.

        Args:
            data (list): What the loss is computed from.

        Returns:
            int: The number of images. Out of :meth:`batches`, as where they were listed before, it
            is the length of the first array, or 1 if there is none.

        """
        if self._images is not None:
            return self._images
        arrays = [
            each for each in data if isinstance(each, chainer.get_array_types()) and each.ndim
        ]
        return len(arrays[0]) if arrays else 1

    def mean_grads(self, model, images):
        """Makes of each gradient the mean over the images of all processes.

        The numbers of images and the signals go with the gradients: on CPUs, all of it is one
        all-reduce.

        Args:
            model (chainer.Chain): The model, with the gradients of this process's mean loss.
            images (int): Number of images in that, which may be 0.

        """
        counts = numpy.array([images, *(self._signum == signum for signum in SIGNALS)], 'f')
        if model.xp is numpy:
            counts = self._mean_on_cpu(model, counts)
        else:
            self._mpi_comm.Allreduce(self._mpi.IN_PLACE, counts)
            weight = numpy.float32(images * self.size / counts[0])
            for param in {id(param): param for param in model.params()}.values():
                if param.grad is not None:
                    # In place, an array that is the gradient of two would be scaled twice.
                    param.grad = param.grad * weight
            # ChainerMN takes the mean over processes, whatever their images.
            self._communicator.multi_node_mean_grad(model, zero_fill=True)
        self._agreed = next((signum for signum, n in zip(SIGNALS, counts[1:]) if n), None)

    def _mean_on_cpu(self, model, counts):
        params = [param for _, param in sorted(model.namedparams()) if param.array is not None]
        ends = numpy.cumsum([param.size for param in params])
        sums = numpy.zeros(ends[-1] + len(counts), 'f')
        grads = numpy.split(sums, ends)
        grads.pop()[:] = counts
        for param, grad in zip(params, grads):
            if param.grad is not None:
                numpy.multiply(param.grad.ravel(), counts[0], out=grad)
        self._mpi_comm.Allreduce(self._mpi.IN_PLACE, sums)
        counts = sums[ends[-1] :].copy()
        sums /= counts[0]
        for param, grad in zip(params, grads):
            param.grad = grad.reshape(param.shape).astype(param.dtype, copy=False)
        return counts

    def mean_persistent(self, model):
        for _, link in sorted(model.namedlinks()):
            for name in sorted(link._persistent):
                value = getattr(link, name)
                if getattr(value, 'dtype', numpy.dtype(type(value))).kind == 'f':
                    setattr(link, name, self.sum(value) / self.size)
                else:
                    setattr(link, name, self.bcast(value))

    def sum(self, numbers):
        return self._communicator.allreduce_obj(numbers)

    def agree(self, signum):
        self._signum = signum  # the next all-reduce tells it
        return self._agreed

    def launcher(self):
        return ['mpiexec', '-n', str(self.size)]

    def end(self):
        if self._watch:
            self._watch.end()
        self._mpi.Finalize()
