"""Communicators: what a run on several processes does differently.

:class:`SingleProcess` imports neither ChainerMN nor MPI.
"""

from __future__ import annotations

import atexit
import faulthandler
import sys
from collections.abc import Iterator
from typing import Any

from chainer_mnist.console import UserError, mpi_rank, redirect_to_devnull
from chainer_mnist.distributed.watchdog import TIMEOUT, Watchdog, abort
from chainer_mnist.signals import SIGNALS

import chainer
import chainer.links as L
import numpy

# ChainerMN's communicators. All but the first are for GPUs.
COMMUNICATORS = ('naive', 'flat', 'non_cuda_aware', 'pure_nccl')


def create_communicator(name: str | None, gpu: int) -> SingleProcess:
    """Creates the communicator, where ``None`` stands for a single process.

    From here on, only rank 0 prints on standard output.
    """
    if name is None:
        return SINGLE_PROCESS
    if name != 'naive' and gpu < 0:
        raise UserError(f'--communicator {name} is for GPUs; add -g 0, or choose naive')
    if mpi_rank() is None:
        raise UserError(f'--communicator {name} needs mpiexec; put "mpiexec -n 2" before "python"')
    try:
        communicator = MultiProcess(name)
    except (ImportError, RuntimeError) as error:
        reason = str(error).split('\n')[0]
        fix = 'install what requirements-mpi.txt says, and for NCCL, requirements-gpu.txt'
        raise UserError(f'--communicator {name} does not start ({reason}); {fix}') from None
    if communicator.rank > 0:
        redirect_to_devnull(sys.stdout)
    return communicator


class SingleProcess:
    """The communicator of a run that has no other process."""

    rank = 0
    size = 1
    # Of this rank's mean gradient in the mean over ranks, so that each image counts the same.
    weight = 1.0

    def local_gpu(self, gpu: int) -> int:
        """Returns the ID of this rank's GPU; a negative value means the CPU."""
        return gpu

    def bcast(self, obj: Any) -> Any:
        """Returns rank 0's object on every rank."""
        return obj

    def check_same(self, **items: Any) -> None:
        """Raises ``UserError`` on each rank that has an item which differs from that of rank 0."""
        for name, item in items.items():
            if self.bcast(item) != item:
                what = f'{name} differ between rank 0 and rank {self.rank}'
                raise UserError(f'{what}; start all ranks with the same')

    def create_multi_node_optimizer(self, optimizer: chainer.Optimizer) -> Any:
        """Wraps an optimizer to use the gradients of all ranks, once its model is on its device."""
        return optimizer

    def share(self, array: Any) -> Any:
        """Returns this rank's share of N rows: N / size, rounded up or down."""
        return array[self.rank :: self.size]

    def minibatches(self, order: Any, batchsize: int) -> Iterator[Any]:
        """Yields this rank's share of each mini-batch, which has ``batchsize`` indices per rank.

        In the last mini-batch it may be empty.
        """
        if self.rank:  # the ranks have had the same random numbers so far, but dropout must differ
            numpy.random.seed([numpy.random.randint(2**31), self.rank])
        for i in range(0, len(order), batchsize * self.size):
            minibatch = order[i : i + batchsize * self.size]
            share = self.share(minibatch)
            self.weight = len(share) * self.size / len(minibatch)
            yield share
        self.weight = 1.0

    def sync_persistent(self, model: chainer.Link) -> None:
        """Averages persistent float values over the ranks and broadcasts the others."""

    def allreduce(self, array: Any) -> Any:
        """Returns the sum over the ranks."""
        return array

    def sync_signal(self, signum: int | None) -> int | None:
        """Returns a signal that any rank has received, or ``None``."""
        return signum

    def finalize(self) -> None:
        """Waits for the other ranks. A process that exits without this aborts them."""


SINGLE_PROCESS = SingleProcess()


class MultiProcess(SingleProcess):
    """A ChainerMN communicator. All ranks have to call the same methods in the same order."""

    def __init__(self, name: str) -> None:
        import mpi4py

        mpi4py.rc.finalize = False  # a rank that fails must not wait for the others at exit
        faulthandler.dump_traceback_later(TIMEOUT, exit=True)  # MPI starts only with all ranks
        import mpi4py.MPI

        faulthandler.cancel_dump_traceback_later()
        atexit.register(abort)
        import chainermn

        self._watchdog = Watchdog()
        with self._watchdog:
            self._communicator = chainermn.create_communicator(name)
        # CuPy 14 cannot compile the kernels that copy many arrays at once, and here is one alone.
        self._communicator.batched_copy = False  # set_config of pure_nccl drops the value
        self.rank, self.size = self._communicator.rank, self._communicator.size
        self._received: int | None = None
        self._agreed: int | None = None

    def local_gpu(self, gpu: int) -> int:
        return gpu if gpu < 0 else self._communicator.intra_rank

    def bcast(self, obj: Any) -> Any:
        with self._watchdog:
            return self._communicator.mpi_comm.bcast(obj)

    def create_multi_node_optimizer(self, optimizer: chainer.Optimizer) -> Any:
        from chainer_mnist.distributed.optimizer import MultiNodeOptimizer

        params = optimizer.target.params(include_uninit=False)
        size = sum(param.size for param in params) + len(SIGNALS)
        self._flat = L.Parameter(optimizer.target.xp.zeros(size, 'f'))
        self._flat.W.grad = self._flat.W.array  # one memory: the parameter itself is of no use
        return MultiNodeOptimizer(optimizer, self)

    def sync_persistent(self, model: chainer.Link) -> None:
        for _, link in sorted(model.namedlinks()):
            for name in sorted(link._persistent):
                value = getattr(link, name)
                if getattr(value, 'dtype', numpy.dtype(type(value))).kind == 'f':
                    setattr(link, name, self.allreduce(value) / self.size)
                else:
                    setattr(link, name, self.bcast(value))

    def allreduce(self, array: Any) -> Any:
        with self._watchdog:
            return self._communicator.allreduce_obj(array)

    def multi_node_mean_grad(self, model: chainer.Link, zero_fill: bool) -> None:
        """Averages the gradients over the images of all ranks, as ChainerMN does over the ranks.

        All gradients and the signals are in one buffer, so that a CPU too has a single all-reduce.
        """
        xp = model.xp
        params = list(model.params(include_uninit=False))  # in the same order on each rank
        ends = numpy.cumsum([param.size for param in params]).tolist()
        *grads, signals = xp.split(self._flat.W.grad, ends)
        signals[:] = xp.array([self._received == signum for signum in SIGNALS])
        for param, grad in zip(params, grads):
            array = xp.zeros_like(grad) if param.grad is None else param.grad.ravel()
            xp.multiply(array, numpy.float32(self.weight), out=grad)
        with self._watchdog:
            self._communicator.multi_node_mean_grad(self._flat)
        for param, grad in zip(params, grads):
            param.grad = grad.reshape(param.shape).astype(param.dtype, copy=False)
        self._agreed = next((signum for signum, n in zip(SIGNALS, signals.tolist()) if n), None)

    def sync_signal(self, signum: int | None) -> int | None:
        self._received = signum  # the next all-reduce of gradients carries it
        return self._agreed

    def finalize(self) -> None:
        self.allreduce(0)
        atexit.unregister(abort)
        from mpi4py import MPI

        MPI.Finalize()
