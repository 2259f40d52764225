"""Prints the conformance table: milliseconds of each cell with Chainer, and with the fast path.

python benchmarks/conformance_table.py

Each cell trains for 30 iterations, as in ``tests/test_conformance.py``. The networks are tiny, so
that a figure is the cost of the bookkeeping, not of the arithmetic. The best of five turns counts.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests'))

from chainer_mnist import adam

from conformance import (  # type: ignore[import-not-found]
    CHANGES,
    NETWORKS,
    OPTIMIZERS,
    differences,
    learn,
)

TURNS = 5


def cell(network, optimizer, change):
    """Trains with and without the fast path.

    Returns:
        str: Both times in milliseconds, and a mark where the results differ.

    """
    best, seen = [float('inf')] * 2, [None] * 2
    for _ in range(TURNS):
        for fast in (False, True):
            start = time.perf_counter()
            seen[fast] = learn(network, optimizer, CHANGES[change], fast, watched=False)
            best[fast] = min(best[fast], time.perf_counter() - start)
    mark = ' DIFFERENT' if differences(*seen) else ''
    return f'{1000 * best[False]:.0f} / {1000 * best[True]:.0f}{mark}'


def main():
    """Prints the table."""
    adam.compile_with_numba()  # outside of the first cell
    print('| network | optimizer |', ' | '.join(CHANGES), '|')
    print('| --- ' * (2 + len(CHANGES)) + '|')
    for network in NETWORKS:
        for optimizer in OPTIMIZERS:
            cells = ' | '.join(cell(network, optimizer, change) for change in CHANGES)
            print(f'| {network} | {optimizer} | {cells} |', flush=True)


if __name__ == '__main__':
    main()
