"""Measures the training loop side by side with the alternatives.

python benchmarks/throughput.py            images per second, at 50 and at 1,000 units
python benchmarks/throughput.py --gpu 0    the same on a GPU, for the loops that run there
python benchmarks/throughput.py --whole    whole processes, 20 epochs: wall time and memory

Every contestant is a process of its own. They take turns, so that a machine that slows down for a
while slows all of them. The table has medians, and medians of the ratios within each round.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time

from processes import Worker, run_whole, worker_command

HERE = os.path.dirname(os.path.abspath(__file__))

# The script comes first: the ratios are its speed over the others'.
CONTESTANTS = {
    'this_script': "this script's loop",
    'tutorial_style': "the tutorial's loop",
    'serial_iterator': 'SerialIterator and concat_examples',
    'torch_loader': 'PyTorch, DataLoader',
    'torch_tensors': 'PyTorch, tensors',
    'torch_fused': 'PyTorch, tensors, fused Adam',
    'jax_step': 'JAX, a jitted step',
    'jax_scan': 'JAX, an epoch as one scan',
    'bare_numpy': 'bare NumPy, by hand',
}

ON_GPU = ['this_script', 'tutorial_style', 'torch_tensors', 'torch_fused']

PEERS = ('torch', 'jax')

# Images of a timed turn, and the band of the mean loss over the first epoch, by number of units.
SIZES = {50: (60000, (0.30, 0.55)), 1000: (12000, (0.12, 0.30))}


def work(name, unit, gpu):
    """Is a contestant: trains on as many images as each line of standard input says."""
    module = (
        'peers' if name.startswith(PEERS) else 'contestants'
    )  # either without the other's weight
    contestant = getattr(importlib.import_module(module), name)
    train = contestant(unit) if gpu < 0 else contestant(unit, gpu)
    for line in sys.stdin:
        start = time.perf_counter()
        loss = train(int(line))
        print(json.dumps({'seconds': time.perf_counter() - start, 'loss': loss}), flush=True)


def contestants_here(gpu):
    """The contestants that can run: not all can do so on a GPU, or without PyTorch and JAX."""
    names = ON_GPU if gpu >= 0 else list(CONTESTANTS)
    for package in PEERS:
        theirs = [name for name in names if name.startswith(package)]
        if theirs and importlib.util.find_spec(package) is None:
            print(f'{package} is not installed: its loops are left out (pip install {package})')
            names = [name for name in names if name not in theirs]
    return names


def measure(unit, rounds, names, gpu):
    """Measures all contestants in turn and prints a table.

    Each takes part with one thread and with one for each core, and the faster one counts. The
    script alone chooses by itself.

    Returns:
        dict: For each contestant, its images per second in each round.

    """
    images, (least, most) = SIZES[unit]
    choices = [None] if gpu >= 0 else [1, os.cpu_count()]
    workers = {
        (name, threads): Worker(name, unit, gpu, threads)
        for name in names
        for threads in (choices if name != 'this_script' else [None])
    }
    speeds = {key: [] for key in workers}
    for (name, _), worker in workers.items():
        _, loss = worker.train(60000)
        if not least < loss < most:
            sys.exit(f'{name} does not learn: mean loss {loss} over the first epoch')
    for _ in range(rounds):
        for key, worker in workers.items():
            seconds, _ = worker.train(images)
            speeds[key].append(images / seconds)
    for worker in workers.values():
        worker.close()
    best = {}
    for key in sorted(speeds, key=lambda key: statistics.median(speeds[key])):
        best[key[0]] = key

    print(f'\n{unit} units, mini-batches of 100, {rounds} rounds of {images} images\n')
    print(f'| {"loop":44} | threads | images/s | min | max | this script is |')
    print('| --- | --- | --- | --- | --- | --- |')
    ours = speeds['this_script', None]
    for name in names:
        theirs = speeds[best[name]]
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        figures = f'{statistics.median(theirs):,.0f} | {min(theirs):,.0f} | {max(theirs):,.0f}'
        print(
            f'| {CONTESTANTS[name]:44} | {best[name][1] or "own"} | {figures} | {ratio:.2f} times |'
        )
    return {name: speeds[best[name]] for name in names}


def measure_whole(rounds, names):
    """Measures whole processes of 20 epochs, from start to end, and prints a table.

    The script and the tutorial's loop evaluate after each epoch, save and print. PyTorch and JAX
    train alone, with one thread, which is their best at 50 units.

    Returns:
        dict: For each of them, wall time and peak memory in each round.

    """
    results = {}
    with tempfile.TemporaryDirectory() as out:
        commands = {
            'train_mnist.py': ([os.path.join(HERE, '..', 'train_mnist.py'), '-o', out], None),
            'benchmarks/tutorial.py': ([os.path.join(HERE, 'tutorial.py'), '-o', out], None),
        }
        for _ in range(rounds):
            for name, (words, threads) in commands.items():
                figures = run_whole([sys.executable, *words], threads)
                results.setdefault(name, []).append(figures)
            for name in names:
                if name.startswith(PEERS):
                    figures = run_whole(worker_command(name, 50, -1), 1, turns=20)
                    results.setdefault(CONTESTANTS[name], []).append(figures)

    print(f'\nwhole processes, 20 epochs, 50 units, {rounds} rounds\n')
    print('| process | seconds | min | max | ratio | peak MiB |')
    print('| --- | --- | --- | --- | --- | --- |')
    base = [wall for wall, _ in results['benchmarks/tutorial.py']]
    for name, figures in results.items():
        walls = [wall for wall, _ in figures]
        ratio = statistics.median(a / b for a, b in zip(walls, base))
        memory = statistics.median(peak for _, peak in figures)
        median = statistics.median(walls)
        print(
            f'| {name} | {median:.1f} | {min(walls):.1f} | {max(walls):.1f} '
            f'| {ratio:.2f} | {memory:.0f} |'
        )
    return results


def machine():
    """Says what this is measured on."""
    versions = {}
    for package in ('numpy', 'numba', *PEERS):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        'machine': platform.processor() or platform.machine(),
        'cores': os.cpu_count(),
        'OPENBLAS_CORETYPE': os.environ.get('OPENBLAS_CORETYPE', 'not set'),
        'python': platform.python_version(),
        **versions,
    }


def main():
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--unit', type=int, choices=sorted(SIZES), help='only so many units')
    parser.add_argument('--gpu', type=int, default=-1, help='GPU to use (default: the CPU)')
    parser.add_argument('--rounds', type=int, default=5, help='turns of each (default: 5)')
    parser.add_argument('--whole', action='store_true', help='measure the whole command')
    parser.add_argument('--json', metavar='FILE', help='write the figures to FILE too')
    parser.add_argument('--work', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.work, args.unit, args.gpu)

    if args.whole:
        results = {'whole': measure_whole(args.rounds, contestants_here(args.gpu))}
    else:
        names = contestants_here(args.gpu)
        units = [args.unit] if args.unit else sorted(SIZES)
        results = {str(unit): measure(unit, args.rounds, names, args.gpu) for unit in units}
    print()
    print(', '.join(f'{key} {value}' for key, value in machine().items()))
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump({**machine(), 'results': results}, file, indent=4)


if __name__ == '__main__':
    main()
