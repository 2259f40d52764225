"""Measures a mini-batch of two hosts over a cable of several bandwidths. It needs two idle cores.

    python benchmarks/bandwidths.py

The two hosts are those of two_hosts.py, which says what they need.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile

import numpy

from two_hosts import CLONE, PATH, TwoHosts, missing

BANDWIDTHS = (None, 10000, 1000, 100)  # Mbit/s
CASES = ((50, 100, 15), (1000, 100, 2), (1000, 1000, 3))  # units, images, epochs


def measure():
    """Prints a table: images per second of one process and of two hosts, by bandwidth."""
    few_images()
    print('| units | `-b` | bandwidth | images/sec (range) | each mini-batch | efficiency |')
    print('| --- | --- | --- | --- | --- | --- |')
    for units, batchsize, epochs in CASES:
        words = ['python', CLONE / 'train_mnist.py', '--noplot', '-o', 'out']
        words += ['-u', units, '-b', batchsize, '-e', epochs + 1]
        with TwoHosts() as hosts:
            alone = row(units, batchsize, 'one process', hosts, words, 1)
            for mbit in BANDWIDTHS:
                if mbit:
                    hosts.limit(mbit)
                name = f'{mbit} Mbit/s' if mbit else 'no limit'
                row(units, batchsize, name, hosts, [*words, '-c', 'naive'], 2, alone)


def few_images():
    """Takes a part of MNIST: what is measured is the time of a mini-batch."""
    for part, images in (('train', 10000), ('test', 1000)):
        with numpy.load(CLONE / 'data/pfnet/chainer/mnist' / f'{part}.npz') as npz:
            numpy.savez(f'{part}.npz', x=npz['x'][:images], y=npz['y'][:images])
    os.environ['CHAINER_DATASET_ROOT'] = os.getcwd()


def row(units, batchsize, name, hosts, words, processes, alone=None):
    """Trains and prints what it took. Returns the median of the images per second."""
    if processes == 1:
        words = [*hosts.inside(0), f'--wd={os.getcwd()}', *words]
        env = {**os.environ, 'PATH': PATH, 'OPENBLAS_NUM_THREADS': '1'}
        process = subprocess.Popen(
            list(map(str, words)), env=env, stdout=subprocess.PIPE, text=True
        )
    else:
        process = hosts.mpiexec(*words, stdout=subprocess.PIPE, text=True)
    printed, _ = process.communicate()
    found = [float(number) for number in re.findall(r'throughput=([\d.]+)', printed)][1:]
    median = statistics.median(found)
    print(
        f'| {units} | {batchsize} | {name} | {median:.0f} ({min(found):.0f} to {max(found):.0f}) '
        f'| {processes * batchsize / median * 1000:.1f} ms '
        f'| {median / (alone or median) / processes:.0%} |',
        flush=True,
    )
    return median


if __name__ == '__main__':
    if missing():
        sys.exit(f'bandwidths.py: error: {missing()}')
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        measure()
