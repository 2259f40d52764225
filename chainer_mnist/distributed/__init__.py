"""One process or many: ChainerMN's communicators, its multi-node optimizer and a watchdog."""

from chainer_mnist.distributed.communicator import (
    COMMUNICATORS,
    SINGLE_PROCESS,
    SingleProcess,
    create_communicator,
)

__all__ = ['COMMUNICATORS', 'SINGLE_PROCESS', 'SingleProcess', 'create_communicator']
