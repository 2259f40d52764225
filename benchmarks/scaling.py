"""Measures how training scales from one process to two, each with one BLAS thread.

    python benchmarks/scaling.py [ROUNDS]

It needs what requirements-mpi.txt installs, two idle cores and some minutes. One process with
mini-batches of 100 is set against two with 100 each (the total grows) and with 50 each (the total,
and so the result, stays). The cases take turns, so that a slow spell of the machine meets all.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = [sys.executable, str(Path(__file__).parent.parent / 'train_mnist.py'), '--noplot']
EPOCHS = {50: 3, 1000: 1}  # by units
CASES = ((1, 100), (2, 100), (2, 50))  # processes, and images in each one's mini-batch


def throughputs(units, processes, batchsize):
    """Trains and reads what is printed.

    Args:
        units (int): Units in each hidden layer.
        processes (int): Number of processes.
        batchsize (int): Images in each process's mini-batch.

    Returns:
        list: Images per second in each epoch, floats.

    """
    words = ['-u', units, '-b', batchsize, '-e', EPOCHS[units]]
    many = ['mpiexec', '-n', processes] if processes > 1 else []
    words += ['-c', 'naive'] if processes > 1 else []
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            list(map(str, [*many, *TRAIN, *words, '-o', out])),
            env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return [float(number) for number in re.findall('throughput=(.*) images', done.stdout)]


def main():
    """Prints a table: medians and ranges of images per second, and efficiency."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print('| units | processes | -b | images/sec (range) | efficiency |')
    print('| --- | --- | --- | --- | --- |')
    for units in EPOCHS:
        found = {case: [] for case in CASES}
        for _ in range(rounds):
            for case in CASES:
                found[case] += throughputs(units, *case)
        single = statistics.median(found[CASES[0]])
        for (processes, batchsize), numbers in found.items():
            median = statistics.median(numbers)
            print(
                f'| {units} | {processes} | {batchsize} '
                f'| {median:.0f} ({min(numbers):.0f} to {max(numbers):.0f}) '
                f'| {median / single / processes:.0%} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
