"""The progress bar of an epoch."""

import threading

from tqdm import tqdm

# The lock that tqdm makes serves several processes. From Python 3.14 on it starts one of its own,
# which prints a warning when the run is killed.
tqdm.set_lock(threading.RLock())


class Progress(tqdm):
    """The progress bar of an epoch. It is drawn only where standard error is a terminal.

    Args:
        epoch (int): Number of the epoch.
        n_epoch (int): Number of the last epoch of the run.
        images (int): Number of images in each epoch.
        processes (int): Number of processes that share them alike.

    """

    def __init__(self, epoch, n_epoch, images, processes):
        self._processes = processes
        self._images_after = (n_epoch - epoch) * images
        super().__init__(
            desc=f'epoch {epoch}/{n_epoch}',
            total=images,
            unit=' images',
            leave=False,
            disable=None,
            bar_format='{desc} {percentage:3.0f}%|{bar:24}| '
            'loss={loss:.4f}, {rate_fmt}, {left} left',
        )

    def show(self, means):
        """Moves the bar on.

        Args:
            means (report.Means): The means of the epoch so far, in this process.

        """
        self._means = means
        self.update(min(means.images * self._processes, self.total) - self.n)

    @property
    def format_dict(self):
        """What is drawn. It is asked for ten times a second, and so is the loss."""
        drawn = super().format_dict
        rate = drawn['rate'] or drawn['n'] / (drawn['elapsed'] or 1)
        images_left = drawn['total'] - drawn['n'] + self._images_after
        drawn['left'] = self.format_interval(images_left / rate) if rate else '?'
        drawn['loss'] = self._means.get()[0] if drawn['n'] else float('nan')
        return drawn
