"""Measures how training scales from one process to two, each with one BLAS thread.

    python benchmarks/scaling.py [ROUNDS]

It needs what requirements-mpi.txt installs, two idle cores and some minutes. One process with
mini-batches of 100 is set against two with 100 each (the total grows) and with 50 each (the total,
and so the result, stays). Where PyTorch is installed, its DistributedDataParallel does the same.
The cases take turns, so that a slow spell of the machine meets all.
"""

import importlib.util
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TRAIN = [sys.executable, HERE.parent / 'train_mnist.py', '--noplot', '-u']
DDP = [sys.executable, HERE / 'ddp.py']
EPOCHS = {50: 3, 1000: 1}  # by units
CASES = ((1, 100), (2, 100), (2, 50))  # processes, and images in each one's mini-batch
OURS, PYTORCH = 'this script', 'PyTorch'


def throughputs(loop, units, processes, batchsize):
    """Trains and reads what is printed.

    Args:
        loop (str): :data:`OURS` or :data:`PYTORCH`.
        units (int): Units in each hidden layer.
        processes (int): Number of processes.
        batchsize (int): Images in each process's mini-batch.

    Returns:
        list: Images per second in each epoch, floats.

    """
    words = [*DDP, units, processes, batchsize, EPOCHS[units]]
    if loop == OURS:
        words = [*TRAIN, units, '-b', batchsize, '-e', EPOCHS[units]]
        if processes > 1:
            words = ['mpiexec', '-n', processes, *words, '-c', 'naive']
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            list(map(str, words)),
            cwd=out,
            env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return [float(number) for number in re.findall('throughput=(.*) images', done.stdout)]


def main():
    """Prints a table: medians and ranges of images per second, and efficiency."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    loops = [OURS, PYTORCH] if importlib.util.find_spec('torch') else [OURS]
    print('| units | loop | processes | -b | images/sec (range) | efficiency |')
    print('| --- | --- | --- | --- | --- | --- |')
    for units in EPOCHS:
        found = {(loop, *case): [] for loop in loops for case in CASES}
        for _ in range(rounds):
            for case in found:
                found[case] += throughputs(case[0], units, *case[1:])
        for (loop, processes, batchsize), numbers in found.items():
            single = statistics.median(found[(loop, *CASES[0])])
            median = statistics.median(numbers)
            print(
                f'| {units} | {loop} | {processes} | {batchsize} '
                f'| {median:.0f} ({min(numbers):.0f} to {max(numbers):.0f}) '
                f'| {median / single / processes:.0%} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
