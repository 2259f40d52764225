"""What a run has from its beginning to its end: where it writes, its seed, its log and its end."""

import contextlib
import secrets

from chainer_mnist import devices, files, log, multi_node, report, resume, snapshot, speed
from chainer_mnist.errors import tell
from chainer_mnist.process import Interruption

import numpy.random  # NumPy would import it in mid-run, and Cython loses a Ctrl-C meanwhile


class Run:
    """A run of the command line, on one process or on several that share the work.

    What is said, read and written for all of them is said, read and written by one.

    Args:
        parser (arguments.ArgumentParser): The parser of the command line.
        args (argparse.Namespace): Its options. Process 0 alone reads snapshots: in the others
            ``initmodel`` and ``resume`` become ``None``.

    Attributes:
        processes (int): Number of processes.
        seed (int): The seed of the weights and of the order of the images.

    Raises:
        UserError: If there is no such device or communicator.

    """

    def __init__(self, parser, args):
        self._parser, self._args = parser, args
        self._communicator = multi_node.get_communicator(args.communicator, args.gpu)
        self._device = devices.get_device(self._communicator.gpu(args.gpu))
        self.seed = secrets.randbits(32) if args.seed is None else args.seed
        self.processes = self._communicator.size
        self._speaks = self._communicator.rank == 0
        if not self._speaks:
            args.initmodel = args.resume = None
        self._log = log.Log()
        self._has_begun = False
        self._interruption = Interruption(self._communicator.agree)

    def load_state(self, path, optimizer, weights):
        """Goes on from a training state: reads it, its seed and the log beside it.

        Args:
            path (str): The file.
            optimizer (chainer.Optimizer): The optimizer, set up on a model on the CPU.
            weights (bool): Whether to read the weights too.

        Raises:
            UserError: If the file or the log cannot be read or does not fit.

        """
        seed, self._log.records = resume.load_state(path, optimizer, weights, self._args.unit)
        if self._args.seed is None and seed is not None:
            self.seed = seed

    def set_up(self, model, optimizer):
        """Gives all processes the same model, optimizer and seed, and brings them to the device.

        Args:
            model (chainer.Chain): The model, on the CPU.
            optimizer (chainer.Optimizer): The optimizer, set up on it.

        Returns:
            chainer.Optimizer: The optimizer to go on with.

        """
        self.seed = snapshot.share(optimizer, self.seed, self._communicator)
        self._device.use()
        model.to_device(self._device)
        self._model, self._optimizer = model, self._communicator.multi_node(optimizer)
        self._n_epoch = optimizer.epoch + self._args.epoch
        return self._optimizer

    def send(self, x, t, share=False):
        """Sends a data set to the device.

        Args:
            x (numpy.ndarray): Images, float32, of shape (N, 784).
            t (numpy.ndarray): Labels, int32, of shape (N,).
            share (bool): Whether to send this process's share of the rows alone.

        Returns:
            list: Both, as arrays of the device.

        Raises:
            UserError: If another process has other data.

        """
        self._communicator.check_same(t)
        return self._device.send([self._communicator.share(a) if share else a for a in (x, t)])

    def batches(self, order):
        """Cuts an order of images into mini-batches.

        Args:
            order (numpy.ndarray): Numbers of images, int, of shape (N,).

        Yields:
            array: This process's share of each mini-batch, numbers of images, on the device.

        """
        yield from self._communicator.batches(self._device.send(order), self._args.batchsize)
        self._communicator.mean_persistent(self._model)  # the evaluation is next

    @contextlib.contextmanager
    def training(self):
        """Writes, heeds signals and is fast within a ``with`` block, which a signal ends.

        Raises:
            UserError: If the directory cannot be written, or another run writes to it.

        """
        with contextlib.ExitStack() as stack:
            if self._speaks:
                files.prepare(self._args.out)
                log.check(self._args.out)
                stack.enter_context(files.lock(self._args.out, self._args.communicator))
            stack.enter_context(self._interruption)
            stack.enter_context(speed.tuned(self._args.unit))
            self._log.start()
            yield

    def epochs(self):
        """Counts the epochs. Each has its own random numbers.

        They depend on the seed and the epoch alone. So a run that goes on takes the same order.

        Yields:
            int: The number of the epoch.

        """
        for epoch in range(self._optimizer.epoch + 1, self._n_epoch + 1):
            numpy.random.seed([self.seed, epoch])
            yield epoch

    def progress(self, epoch, images):
        """Makes a progress bar for an epoch.

        Args:
            epoch (int): The number of the epoch.
            images (int): Number of images in it.

        Returns:
            progress.Progress: The bar, for a ``with`` block.

        """
        self._bar = report.progress(epoch, self._n_epoch, images, self.processes)
        return self._bar

    def watch(self, means):
        """Shows the progress after a mini-batch, and ends the training if a signal has come.

        Args:
            means (report.Means): The means of the epoch so far.

        """
        self._has_begun = True
        speed.trust_types()
        self._bar.show(means)
        self._interruption.check()

    def mean(self, means):
        """Waits for the device and takes means over all processes, which all have to call this.

        Args:
            means (report.Means): The means in this process.

        Returns:
            tuple: Loss and accuracy, floats.

        """
        return means.get(self._communicator)

    def is_at_first_iteration(self):
        """Says whether no mini-batch has been watched so far."""
        return not self._has_begun

    def save_graph(self):
        """Writes the computational graph of the loss.

        Raises:
            UserError: If the file cannot be written.

        """
        if self._speaks:
            report.save_graph(self._args.out, self._model.loss)

    def end_epoch(self, train, test):
        """Keeps the log, and snapshots of all epochs but the last, which the script saves.

        Args:
            train (tuple): Mean loss and mean accuracy on the training set, floats.
            test (tuple): The same on the test set.

        Raises:
            UserError: If the loss is no longer finite or a file cannot be written.

        """
        epoch = self._optimizer.epoch + 1
        report.check_finite(train[0] + test[0], epoch)
        self._optimizer.new_epoch()
        self._log.add(train, test, epoch, self._optimizer.t)
        if epoch < self._n_epoch:
            self.save_model()
            self.save_optimizer()

    def save_model(self):
        """Writes the weights, as a classifier's and as a predictor's.

        Raises:
            UserError: If a file cannot be written.

        """
        if self._speaks:
            snapshot.save_model(self._args.out, self._model)

    def save_optimizer(self):
        """Writes log and training state.

        Raises:
            UserError: If a file cannot be written.

        """
        if self._speaks:
            snapshot.save_state(self._args.out, self._optimizer, self.seed, self._log)

    def end(self):
        """Says how to go on after a signal, draws the pictures and parts from other processes.

        Returns:
            int: The exit status.

        Raises:
            UserError: If a picture cannot be written.

        """
        signum = self._interruption.signum
        if self._speaks and signum is not None:
            left = self._n_epoch - self._optimizer.epoch
            command = resume.command(self._parser, self._args, self._communicator, self.seed, left)
            tell(f'{self._parser.prog}: interrupted; go on with: {command}')
        if self._speaks and not self._args.noplot:
            report.save_pictures(self._args.out, self._log.records)
        self._communicator.end()
        return 0 if signum is None else 128 + signum
