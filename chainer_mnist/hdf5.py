"""Reads HDF5 files that nobody vouches for: those of ``chainer.serializers.save_hdf5``."""

import contextlib

from chainer_mnist.stored import Stored

import h5py
import numpy


@contextlib.contextmanager
def open_hdf5(path):
    """Opens an HDF5 file for a ``with`` block.

    Args:
        path (str): The file.

    Yields:
        Hdf5: Its arrays.

    Raises:
        Exception: Whatever h5py raises if it is none.

    """
    with h5py.File(path, 'r') as file:
        yield Hdf5(path, file)


class Hdf5(Stored):
    """The arrays of an HDF5 file. Nothing is read that lies in other files."""

    def __init__(self, path, file):
        self._datasets = {}
        file.visititems(self._visit)  # it follows no link to another file
        super().__init__(path, list(self._datasets))

    def _visit(self, name, item):
        if isinstance(item, h5py.Dataset):
            self._datasets[name] = item

    def _header(self, name):
        dataset = self._datasets[name]
        if dataset.shape is None:  # so Chainer writes None, for which an npz holds an object
            return (), numpy.dtype(object)
        return dataset.shape, dataset.dtype

    def _array(self, name, shape, dtype):
        dataset = self._datasets[name]
        if dataset.is_virtual or dataset.external:
            raise ValueError(f'{name} lies in another file')
        # A chunk is unpacked as a whole.
        if any(chunk > max(n, 1024) for chunk, n in zip(dataset.chunks or (), shape)):
            raise ValueError(f'{name} lies in chunks that are larger than it')
        return numpy.asarray(dataset[()])
