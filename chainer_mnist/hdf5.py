"""Reads HDF5 files that nobody vouches for: those of ``chainer.serializers.save_hdf5``."""

import contextlib
import os
import subprocess
import sys
import tempfile
import zipfile

from chainer_mnist.npz import Npz

CONVERTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'hdf5_to_npz.py')
PATIENCE = 60  # seconds, for a file of a network that takes milliseconds


@contextlib.contextmanager
def open_hdf5(path):
    """Opens an HDF5 file for a ``with`` block. h5py reads it in a process of its own.

    Args:
        path (str): The file.

    Yields:
        Npz: Its arrays.

    Raises:
        ValueError: If h5py cannot read it.

    """
    with tempfile.TemporaryFile() as packed:
        words = [sys.executable, CONVERTER, os.path.abspath(path)]
        quiet = subprocess.DEVNULL
        try:
            subprocess.run(
                words, stdin=quiet, stdout=packed, stderr=quiet, timeout=PATIENCE, check=True
            )
        except subprocess.SubprocessError:
            raise ValueError('h5py cannot read it') from None
        with zipfile.ZipFile(packed) as archive:
            yield Npz(path, archive)
