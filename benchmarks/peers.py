"""The same training with PyTorch and with JAX. See ``contestants`` for what a contestant is."""

import functools
from pathlib import Path

import numpy as np

BATCHSIZE = 100

MNIST = Path(__file__).parent.parent / 'data' / 'pfnet' / 'chainer' / 'mnist'


def load():
    """Reads the training set without Chainer: images, float32, and labels, int32."""
    with np.load(MNIST / 'train.npz') as npz:
        return npz['x'].astype('f') / 255, npz['y'].astype('i')


def torch_parts(unit, fused, gpu):
    """What the three loops on PyTorch share: tensors and a step, which returns the loss."""
    import torch

    device = f'cuda:{gpu}' if gpu >= 0 else 'cpu'
    x, t = load()
    x, t = torch.from_numpy(x).to(device), torch.from_numpy(t).long().to(device)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, unit),
        torch.nn.ReLU(),
        torch.nn.Linear(unit, unit),
        torch.nn.ReLU(),
        torch.nn.Linear(unit, 10),
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)

    def step(x, t):
        y = model(x)
        loss = torch.nn.functional.cross_entropy(y, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # The script's loop sums up loss and accuracy, and so do these.
        return torch.stack([loss.detach(), (y.argmax(1) == t).float().mean()])

    return torch, x, t, step


def torch_tensors(unit, gpu=-1, fused=False):
    """PyTorch, eager, with mini-batches cut from tensors, and its default Adam."""
    torch, x, t, step = torch_parts(unit, fused, gpu)

    def train(images):
        order = torch.randperm(len(x), device=x.device)[:images]
        sums = torch.zeros(2, device=x.device)
        for batch in order.split(BATCHSIZE):
            sums += step(x[batch], t[batch]) * len(batch)
        return float(sums[0]) / images

    return train


def torch_fused(unit, gpu=-1):
    """The same with PyTorch's fused Adam."""
    return torch_tensors(unit, gpu, fused=True)


def torch_loader(unit):
    """PyTorch, eager, with its DataLoader and its default Adam."""
    torch, x, t, step = torch_parts(unit, fused=False, gpu=-1)
    dataset = torch.utils.data.TensorDataset(x, t)

    def train(images):
        part = torch.utils.data.Subset(dataset, torch.randperm(len(x))[:images].tolist())
        sums = torch.zeros(2)
        for batch, labels in torch.utils.data.DataLoader(part, BATCHSIZE, shuffle=True):
            sums += step(batch, labels) * len(labels)
        return float(sums[0]) / images

    return train


def jax_parts(unit):
    """What the two loops on JAX share: arrays, the first state, and a step, not yet compiled."""
    import jax
    import jax.numpy as jnp

    x, t = load()
    random = np.random.RandomState(0)
    sizes = [(784, unit), (unit, unit), (unit, 10)]
    params = [
        (jnp.array(random.normal(0, i**-0.5, (i, o)), 'float32'), jnp.zeros(o)) for i, o in sizes
    ]
    m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))

    def loss_and_accuracy(params, x, t):
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        y = x @ params[-1][0] + params[-1][1]
        loss = -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], 1).mean()
        return loss, (y.argmax(1) == t).mean()

    def step(state, batch):
        params, m, v, updates, sums = state
        x, t = batch
        gradient = jax.value_and_grad(loss_and_accuracy, has_aux=True)
        (loss, accuracy), g = gradient(params, x, t)
        updates += 1
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, g)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, g)
        alpha = 0.001 * jnp.sqrt(1 - 0.999**updates) / (1 - 0.9**updates)
        params = jax.tree.map(lambda p, m, v: p - alpha / (jnp.sqrt(v) + 1e-8) * m, params, m, v)
        return params, m, v, updates, sums + jnp.stack([loss, accuracy])

    return jax, jnp.array(x), jnp.array(t), (params, m, v, jnp.zeros(()), jnp.zeros(2)), step


def jax_step(unit):
    """JAX with one jitted step per mini-batch, which also cuts it."""
    jax, x, t, state, step = jax_parts(unit)

    @functools.partial(jax.jit, donate_argnums=0)
    def jitted(state, x, t, batch):
        return step(state, (x[batch], t[batch]))

    def train(images):
        nonlocal state
        order = np.random.permutation(len(x))[:images].astype('i')
        state = (*state[:4], state[4] * 0)
        for i in range(0, images, BATCHSIZE):
            state = jitted(state, x, t, order[i : i + BATCHSIZE])
        return float(state[4][0]) * BATCHSIZE / images

    return train


def jax_scan(unit):
    """JAX with a whole epoch as one ``lax.scan``."""
    jax, x, t, state, step = jax_parts(unit)

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(state, x, t, order):
        return jax.lax.scan(lambda s, batch: (step(s, (x[batch], t[batch])), None), state, order)[0]

    def train(images):
        nonlocal state
        order = np.random.permutation(len(x))[:images].astype('i').reshape(-1, BATCHSIZE)
        state = epoch((*state[:4], state[4] * 0), x, t, order)
        return float(state[4][0]) * BATCHSIZE / images

    return train
