"""Measures training side by side: this script, the tutorial's loop, PyTorch and JAX.

python benchmarks/throughput.py                   at 50 and at 1,000 units
python benchmarks/throughput.py --one-core        on one core, all of them
python benchmarks/throughput.py --gpu 0           on a GPU, the loops that run there
python benchmarks/throughput.py --whole           20 epochs: wall time and memory of the processes
python benchmarks/throughput.py --processes 2     several processes, beside PyTorch's DDP on gloo
python benchmarks/throughput.py --against FOLDER  beside the script of another clone

Every contestant is a command that prints the throughput of each epoch, of which the first does not
count. They take turns, so that a slow phase of the machine meets all of them. Below 500 units they
have one thread, as this script chooses by itself, or else one for each core. "Cores" is the CPU
time of the process by its wall time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCRIPT = 'train_mnist.py'
TUTORIAL = "the tutorial's loop"
PEERS = {
    'torch_loader': 'PyTorch, DataLoader',
    'torch_tensors': 'PyTorch, tensors',
    'torch_fused': 'PyTorch, tensors, fused Adam',
    'torch_compile': 'PyTorch, torch.compile, fused Adam',
    'jax_step': 'JAX, a jitted step',
    'jax_scan': 'JAX, an epoch as one scan',
}
EPOCHS = {50: 4, 1000: 2}  # by units
# What tells OpenBLAS, MKL, OpenMP and XLA how many threads to take.
THREADS = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS', 'NPROC')


def contestants(args: argparse.Namespace) -> dict[str, list]:
    """Returns the commands by name. The first is what the others are compared with."""
    gpu = ['--gpu', args.gpu]
    train = ['--noplot', *gpu]
    commands = {SCRIPT: [HERE.parent / SCRIPT, *train]}
    for folder in args.against:
        commands[f'{SCRIPT} in {folder}'] = [Path(folder, SCRIPT), *train]
    commands[TUTORIAL] = [HERE / 'tutorial.py', *gpu]
    for loop, name in PEERS.items():
        if is_installed(loop.split('_')[0]) and (args.gpu < 0 or loop.startswith('torch_')):
            commands[name] = [HERE / 'peers.py', loop, *gpu]
    return {name: [sys.executable, *command] for name, command in commands.items()}


def process_contestants(n: int) -> dict[str, list]:
    """Returns the commands on one process and on ``n``: of the same mini-batch each, or in all."""
    commands = {}
    for processes, batchsize in ((1, 100), (n, 100), (n, 100 // n)):
        train = [sys.executable, HERE.parent / SCRIPT, '--noplot', '--batchsize', batchsize]
        mpiexec = ['mpiexec', '-n', processes] if processes > 1 else []
        name = f'{processes} x {batchsize} images'
        commands[f'{SCRIPT}, {name}'] = [*mpiexec, *train, *(['-c', 'naive'] if mpiexec else [])]
        if is_installed('torch'):
            ddp = [sys.executable, HERE / 'peers.py', 'torch_ddp', '--processes', processes]
            commands[f'PyTorch DDP, {name}'] = [*ddp, '--batchsize', batchsize]
    return commands


def is_installed(package: str) -> bool:
    """Whether a package can be imported. Without it, its loops are left out."""
    return importlib.util.find_spec(package) is not None


def run(command: list, units: int, epochs: int, threads: int | None) -> dict[str, float]:
    """Runs a command: median throughput in images/s, wall time in s and peak memory in MiB."""
    env = {**os.environ, **{name: str(threads) for name in THREADS if threads}}
    if threads == 1:
        env['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
    with tempfile.TemporaryDirectory() as out, open(Path(out, 'printed'), 'w+') as printed:
        words = [*command, '--unit', units, '--epoch', epochs]
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, words)), cwd=out, env=env, stdout=printed)
        peak = cpu = float('nan')  # which Windows does not tell
        if os.name == 'nt':
            process.wait()
        else:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)
            cpu = usage.ru_utime + usage.ru_stime
        seconds = time.perf_counter() - start
        printed.seek(0)
        text = printed.read()
    losses = [float(loss) for loss in re.findall(r'train mean loss=([\d.e-]+)', text)]
    if process.returncode or len(losses) < epochs or losses[-1] > 0.5:
        sys.exit(f'{words} failed or does not learn: {text}')
    throughputs = [float(number) for number in re.findall(r'throughput=([\d.e+]+)', text)]
    speed = statistics.median(throughputs[1:])
    return {'images/s': speed, 'seconds': seconds, 'MiB': peak, 'cores': cpu / seconds}


def measure(args: argparse.Namespace, units: int) -> dict[str, list[dict[str, float]]]:
    """Runs all contestants in turn and prints a table."""
    commands = process_contestants(args.processes) if args.processes else contestants(args)
    epochs = 20 if args.whole else EPOCHS[units]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            is_single = units < 500 or args.processes or args.one_core
            threads = 1 if is_single else os.cpu_count()
            own = name.startswith(SCRIPT) and not args.processes
            results[name].append(run(command, units, epochs, None if own else threads))

    print(f'\n{units} units, {args.rounds} rounds of {epochs} epochs\n')
    print('| loop | images/s | min | max | ratio | seconds | ratio | peak MiB | cores |')
    print('| --- ' * 9 + '|')
    base = next(iter(results.values()))
    for name, rounds in results.items():
        middle = {key: statistics.median(found[key] for found in rounds) for key in rounds[0]}
        ratio = {
            key: statistics.median(found[key] / first[key] for found, first in zip(rounds, base))
            for key in rounds[0]
        }
        low, *_, high = sorted(found['images/s'] for found in [*rounds, *rounds])
        print(
            f'| {name} | {middle["images/s"]:,.0f} | {low:,.0f} | {high:,.0f} '
            f'| {ratio["images/s"]:.2f} | {middle["seconds"]:.1f} | {ratio["seconds"]:.2f} '
            f'| {middle["MiB"]:.0f} | {middle["cores"]:.1f} |'
        )
    return results


def machine() -> dict[str, Any]:
    """Returns what this is measured on."""
    versions: dict = {each.name: each.version for each in importlib.metadata.distributions()}
    used: dict = {n: versions[n] for n in ('numpy', 'numba', 'torch', 'jax') if n in versions}
    used['python'] = platform.python_version()
    return {'machine': platform.processor() or platform.machine(), 'cores': os.cpu_count(), **used}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--unit', type=int, choices=sorted(EPOCHS), help='only so many units')
    add('--gpu', type=int, default=-1, help='GPU to use (default: the CPU)')
    add('--one-core', action='store_true', help='keep all of them to one core')
    add('--rounds', type=int, default=5, help='turns of each (default: 5)')
    add('--whole', action='store_true', help='run 20 epochs')
    add('--processes', type=int, help='measure so many processes')
    add('--against', metavar='FOLDER', type=Path, action='append', default=[], help='another clone')
    add('--json', metavar='FILE', help='write the figures to FILE too')
    args = parser.parse_args()
    args.against = [folder.resolve() for folder in args.against]
    if args.one_core:
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    units = [args.unit] if args.unit else sorted(EPOCHS)
    results = {str(number): measure(args, number) for number in units}
    print()
    print(', '.join(f'{key} {value}' for key, value in machine().items()))
    if args.json:
        Path(args.json).write_text(json.dumps({**machine(), 'results': results}, indent=4))


if __name__ == '__main__':
    main()
