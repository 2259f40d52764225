"""Several processes, with ChainerMN on MPI. For one process, neither is imported."""

import os
import signal
import sys

from chainer_mnist.errors import UserError, mpi_rank
from chainer_mnist.parallel import ALONE, OneProcess

import numpy

SIGNALS = [getattr(signal, n) for n in ('SIGINT', 'SIGTERM', 'SIGBREAK') if hasattr(signal, n)]


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
        self._signum = self._agreed = None
        hosts.check_code(self._mpi_comm)
        several = self._communicator.inter_size > 1
        self._watch = hosts.Watch(self._mpi_comm) if several else None

    def gpu(self, gpu):
        return gpu if gpu < 0 else self._communicator.intra_rank

    def bcast(self, *objects):
        return self._communicator.bcast_obj(objects if self.rank == 0 else None)

    def check_same(self, *arrays):
        mine = [array.tobytes() for array in arrays]
        others = self.rank if mine != list(self.bcast(*mine)) else 0
        others = self._mpi_comm.allreduce(others, self._mpi.MAX)
        if others:
            raise UserError(
                f'process {others} has other data than process 0; '
                'set CHAINER_DATASET_ROOT alike for all of them',
                shared=True,
            )

    def multi_node(self, optimizer):
        return _MultiNodeOptimizer(optimizer, self)

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
            for param in model.params():
                if param.grad is not None:  # ChainerMN takes the mean over processes
                    param.grad *= numpy.float32(images * self.size / counts[0])
            self._communicator.multi_node_mean_grad(model, zero_fill=True)
        came = [signum for signum, count in zip(SIGNALS, counts[1:]) if count]
        self._agreed = came[0] if came else None

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
            param.grad = grad.reshape(param.shape)
        return counts

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


class _MultiNodeOptimizer:
    """An optimizer that takes the mean gradient over the images of all processes."""

    def __init__(self, optimizer, communicator):
        self._optimizer = optimizer
        self._communicator = communicator

    def update(self, model, x, t):
        model.cleargrads()
        if len(x):  # in the last mini-batch there may be fewer images than processes
            model(x, t).backward(loss_scale=self._optimizer._loss_scale)
        self._communicator.mean_grads(model, len(x))
        self._optimizer.update()

    def __getattr__(self, name):
        return getattr(self._optimizer, name)
