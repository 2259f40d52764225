"""One process or many: what a run on several processes does differently.

A run of one process has :class:`OneProcess` as its communicator, which leaves everything as it is
and imports neither ChainerMN nor mpi4py.
"""

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

    def bcast(self, content):
        """Gives every process what rank 0 has.

        Args:
            content (object): What this process has: arrays, numbers and the like.

        Returns:
            object: What rank 0 has.

        """
        return content

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

    def mean_persistent(self, model):
        """Makes of each persistent value of a model its mean over the processes.

        Each has normalized its own share of a mini-batch, where the model does so.

        Args:
            model (chainer.Link): The model.

        """

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


ALONE = OneProcess()
