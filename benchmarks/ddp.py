"""PyTorch's DistributedDataParallel on gloo: what ``scaling.py`` holds several processes against.

    python benchmarks/ddp.py UNITS PROCESSES BATCHSIZE EPOCHS

Each process takes its share of every epoch, in mini-batches of BATCHSIZE, with one thread and a
fused Adam. Process 0 prints the images per second of each epoch, all processes together, as
``train_mnist.py`` prints them.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from chainer_mnist import data

import torch
from torch import distributed, multiprocessing

PORT = '29507'


def work(rank, units, processes, batchsize, epochs):
    """Is one of the processes."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=PORT)
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', rank=rank, world_size=processes)
    (x, t), _ = data.load()
    x, t = torch.from_numpy(x), torch.from_numpy(t).long()
    layers = [torch.nn.Linear(784, units), torch.nn.ReLU(), torch.nn.Linear(units, units)]
    model = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(units, 10))
    model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        start = time.perf_counter()
        for batch in order[rank::processes].split(batchsize):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), t[batch]).backward()
            optimizer.step()
        distributed.barrier()
        if rank == 0:
            print(f'throughput={len(x) / (time.perf_counter() - start)} images/sec', flush=True)
    os._exit(0)  # gloo's threads do not always survive their own end


def main():
    """Starts the processes."""
    units, processes, batchsize, epochs = map(int, sys.argv[1:])
    multiprocessing.spawn(work, (units, processes, batchsize, epochs), nprocs=processes)


if __name__ == '__main__':
    main()
