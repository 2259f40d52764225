"""Train, resume, predict: the shortest way through the project, and an example of its use."""

import os
import re
from pathlib import Path

import predict
import train_mnist
from helpers import FILES, log_of

PRINTED = """\
GPU: -1
# unit: 50
# Minibatch-size: 100
# epoch: 1

# seed: 1
epoch 1
graph generated
train mean loss=F, accuracy=F, throughput=F images/sec
test  mean loss=F, accuracy=F
save the model
save the optimizer
"""
WRITTEN = {*FILES, 'log', 'graph.dot', 'loss.png', 'accuracy.png'}


def test_train_resume_and_predict(capsys):
    assert train_mnist.main(['-e', '1', '-s', '1']) == 0  # python train_mnist.py -e 1 -s 1
    printed, errors = capsys.readouterr()
    assert (re.sub(r'\d+\.\d+(e-\d+)?', 'F', printed), errors) == (PRINTED, '')
    assert set(os.listdir('result')) - {'graph.svg', '.lock'} == WRITTEN
    graph = Path('result/graph.dot').read_text()
    assert all(f'label="{name}, float32"' in graph for name in ('x: (100, 784)', 'W: (50, 50)'))

    assert train_mnist.main(['-e', '1', '-r', 'result/mlp.state']) == 0
    printed, _ = capsys.readouterr()
    assert '\n\nLoad optimizer state from result/mlp.state\n# seed: 1\nepoch 2\n' in printed
    assert [record['epoch'] for record in log_of('result')] == [1, 2]
    accuracy = log_of('result')[-1]['validation/main/accuracy']
    assert f', accuracy={accuracy}\n' in printed

    assert predict.main([]) == 0
    wrong = round(300 * (1 - accuracy))
    line = f'{wrong} of 300 test images are misclassified (accuracy {(300 - wrong) / 300})\n'
    assert capsys.readouterr() == (line, '')
