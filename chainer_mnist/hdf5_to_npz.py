"""Turns an HDF5 file into an npz on standard output: python hdf5_to_npz.py FILE.

The library that reads HDF5 can hang or crash on a damaged file, and so does it here, alone.
"""

import math
import os
import sys

import h5py
import numpy

MOST_PACKED = 100  # as in limits.py, which is not there for a process that runs this file alone


def main(path):
    """Reads numbers and texts in the file itself, and no more than it can hold.

    Args:
        path (str): The file.

    """
    arrays = {}
    left = MOST_PACKED * os.path.getsize(path)
    with h5py.File(path, 'r') as file:
        datasets = []
        # It follows no link to another file.
        file.visititems(lambda _, item: datasets.append(item))
        for dataset in datasets:
            if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
                continue
            if dataset.is_virtual or dataset.external or dataset.dtype.kind not in 'biufS':
                continue
            extents = (dataset.shape, dataset.chunks or ())  # a chunk is unpacked as a whole
            size = max(math.prod(extent) for extent in extents) * dataset.dtype.itemsize
            left -= size
            if left < 0:
                raise ValueError('it claims to hold more than it can')
            arrays[dataset.name.lstrip('/')] = numpy.asarray(dataset[()])
    numpy.savez(sys.stdout.buffer, **arrays)  # type: ignore[arg-type]


if __name__ == '__main__':
    main(sys.argv[1])
