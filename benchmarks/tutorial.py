"""A plain training loop in the tutorial's style: what ``train_mnist.py`` is measured against.

It does what the tutorial's script does, in the way in which one writes it first: each mini-batch is
indexed and wrapped, each loss is fetched, the evaluation has mini-batches as small as the training,
and the snapshots are written at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chainer_mnist.data import load_mnist

import chainer
import chainer.links as L
import numpy as np
from chainer import computational_graph, optimizers, serializers

from net import MLP


def sweep(
    model: chainer.Chain, x_all: Any, t_all: Any, order: Any, batchsize: int, step: Callable
) -> tuple[float, float]:
    """Calls ``step`` with each mini-batch and returns the means of loss and accuracy."""
    sum_loss = sum_accuracy = 0.0
    for i in range(0, len(order), batchsize):
        x = chainer.Variable(model.device.send(x_all[order[i : i + batchsize]]))
        t = chainer.Variable(model.device.send(t_all[order[i : i + batchsize]]))
        step(x, t)
        sum_loss += float(model.loss.array) * len(t.array)
        sum_accuracy += float(model.accuracy.array) * len(t.array)
    return sum_loss / len(order), sum_accuracy / len(order)


def main() -> None:
    """Trains as the tutorial does."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--batchsize', '-b', type=int, default=100)
    parser.add_argument('--epoch', '-e', type=int, default=20)
    parser.add_argument('--gpu', '-g', type=int, default=-1)
    parser.add_argument('--unit', '-u', type=int, default=50)
    parser.add_argument('--out', '-o', default='result')
    args = parser.parse_args()

    (x_train, t_train), (x_test, t_test) = load_mnist()
    model = L.Classifier(MLP(args.unit, 10))
    if args.gpu >= 0:
        chainer.backends.cuda.get_device_from_id(args.gpu).use()
        model.to_gpu()
    optimizer = optimizers.Adam().setup(model)
    os.makedirs(args.out, exist_ok=True)

    for epoch in range(1, args.epoch + 1):
        print('epoch', epoch)
        start = time.time()
        order = np.random.permutation(len(x_train))
        loss, accuracy = sweep(
            model,
            x_train,
            t_train,
            order,
            args.batchsize,
            lambda x, t: optimizer.update(model, x, t),
        )
        throughput = len(x_train) / (time.time() - start)
        print(f'train mean loss={loss}, accuracy={accuracy}, throughput={throughput} images/sec')
        if epoch == 1:
            graph = computational_graph.build_computational_graph([model.loss])
            Path(args.out, 'graph.dot').write_text(graph.dump())
            print('graph generated')
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            order = np.arange(len(x_test))
            loss, accuracy = sweep(model, x_test, t_test, order, args.batchsize, model)
        print(f'test  mean loss={loss}, accuracy={accuracy}')

    print('save the model')
    serializers.save_npz(os.path.join(args.out, 'classifier.model'), model)
    serializers.save_npz(os.path.join(args.out, 'mlp.model'), model.predictor)
    print('save the optimizer')
    serializers.save_npz(os.path.join(args.out, 'mlp.state'), optimizer)


if __name__ == '__main__':
    main()
