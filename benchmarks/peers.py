"""The same training with PyTorch and with JAX, as commands that ``throughput.py`` runs.

python benchmarks/peers.py torch_fused --unit 50 --epoch 3

Each prints the mean loss and the throughput of every epoch, as ``train_mnist.py`` does.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

MNIST = Path(__file__).resolve().parents[1] / 'data' / 'pfnet' / 'chainer' / 'mnist'


def load() -> tuple[numpy.ndarray, numpy.ndarray]:
    """Reads the training set without Chainer: images, float32, and labels, int64."""
    with numpy.load(MNIST / 'train.npz') as npz:
        return npz['x'].astype('f') / 255, npz['y'].astype('l')


def torch_loop(args: argparse.Namespace, rank: int = 0) -> Callable[[int], float]:
    """PyTorch, eager or compiled, with its default or its fused Adam, on one or more processes."""
    import torch

    device = f'cuda:{args.gpu}' if args.gpu >= 0 else 'cpu'
    x, t = (torch.from_numpy(array).to(device) for array in load())
    layers = [torch.nn.Linear(784, args.unit), torch.nn.ReLU()]
    layers += [torch.nn.Linear(args.unit, args.unit), torch.nn.ReLU()]
    model: Any = torch.nn.Sequential(*layers, torch.nn.Linear(args.unit, 10)).to(device)
    if args.loop == 'torch_ddp':
        model = torch.nn.parallel.DistributedDataParallel(model)
    fused = args.loop in ('torch_fused', 'torch_compile', 'torch_ddp')
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    if args.loop == 'torch_compile':
        model = torch.compile(model)

    def minibatches(epoch: int) -> Any:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        if args.loop == 'torch_loader':
            part = torch.utils.data.TensorDataset(x, t)
            return torch.utils.data.DataLoader(part, args.batchsize, shuffle=True)
        shares = order[rank :: args.processes].to(device).split(args.batchsize)
        return ((x[share], t[share]) for share in shares)

    def train(epoch: int) -> float:
        sums = torch.zeros(2, device=device)
        for images, labels in minibatches(epoch):
            y = model(images)
            loss = torch.nn.functional.cross_entropy(y, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            # This script's loop sums up loss and accuracy, too.
            accuracy = (y.argmax(1) == labels).float().mean()
            sums += torch.stack([loss.detach(), accuracy]) * len(labels)
        return float(sums[0]) * args.processes / len(x)

    return train


def torch_rank(rank: int, args: argparse.Namespace) -> None:
    """Trains as one process of PyTorch's DistributedDataParallel on gloo."""
    from torch import distributed

    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT='29507')
    distributed.init_process_group('gloo', rank=rank, world_size=args.processes)
    if rank > 0:
        sys.stdout = open(os.devnull, 'w')  # noqa: SIM115
    run(torch_loop(args, rank), args.epoch)
    distributed.barrier()
    os._exit(0)  # gloo's threads do not always survive their own end


def jax_loop(args: argparse.Namespace) -> Callable[[int], float]:
    """JAX with one jitted step for each mini-batch, or with a whole epoch as one ``lax.scan``."""
    import jax
    import jax.numpy as jnp

    x, t = map(jnp.array, load())
    random = numpy.random.RandomState(0)
    params = [
        (jnp.array(random.normal(0, i**-0.5, (i, o)), 'float32'), jnp.zeros(o))
        for i, o in ((784, args.unit), (args.unit, args.unit), (args.unit, 10))
    ]
    m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    state: Any = params, m, v, jnp.zeros(()), jnp.zeros(2)

    def loss_and_accuracy(params: Any, x: Any, t: Any) -> tuple[Any, Any]:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        y = x @ params[-1][0] + params[-1][1]
        loss = -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], 1).mean()
        return loss, (y.argmax(1) == t).mean()

    def step(state: Any, x: Any, t: Any, batch: Any) -> Any:
        params, m, v, updates, sums = state
        gradient = jax.value_and_grad(loss_and_accuracy, has_aux=True)
        (loss, accuracy), g = gradient(params, x[batch], t[batch])
        updates += 1
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, g)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, g)
        alpha = 0.001 * jnp.sqrt(1 - 0.999**updates) / (1 - 0.9**updates)
        params = jax.tree.map(lambda p, m, v: p - alpha / (jnp.sqrt(v) + 1e-8) * m, params, m, v)
        return params, m, v, updates, sums + jnp.stack([loss, accuracy])

    @functools.partial(jax.jit, donate_argnums=0)
    def scan(state: Any, x: Any, t: Any, batches: Any) -> Any:
        return jax.lax.scan(lambda s, batch: (step(s, x, t, batch), None), state, batches)[0]

    jitted_step = jax.jit(step, donate_argnums=0)

    def train(epoch: int) -> float:
        nonlocal state
        batches = numpy.random.permutation(len(x)).reshape(-1, args.batchsize).astype('i')
        state = (*state[:4], state[4] * 0)
        if args.loop == 'jax_scan':
            state = scan(state, x, t, batches)
        else:
            for batch in batches:
                state = jitted_step(state, x, t, batch)
        return float(state[4][0]) / len(batches)

    return train


def run(train: Callable[[int], float], epochs: int) -> None:
    """Trains, and prints the figures of each epoch."""
    for epoch in range(epochs):
        start = time.perf_counter()
        loss = train(epoch)
        throughput = 60000 / (time.perf_counter() - start)
        print(f'train mean loss={loss}, throughput={throughput} images/sec', flush=True)


def main() -> None:
    """Runs the command line."""
    loops = [f'torch_{kind}' for kind in ('loader', 'tensors', 'fused', 'compile', 'ddp')]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('loop', choices=[*loops, 'jax_step', 'jax_scan'])
    defaults = {'unit': 50, 'epoch': 3, 'gpu': -1, 'batchsize': 100, 'processes': 1}
    for name, value in defaults.items():
        parser.add_argument(f'--{name}', type=int, default=value)
    args = parser.parse_args()
    if args.loop == 'torch_ddp':
        from torch import multiprocessing

        multiprocessing.spawn(torch_rank, (args,), nprocs=args.processes)
    else:
        run(jax_loop(args) if args.loop.startswith('jax') else torch_loop(args), args.epoch)


if __name__ == '__main__':
    main()
