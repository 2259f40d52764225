"""Wrote the files beside it: python make.py, with PyTorch 2.13, safetensors 0.8 and ONNX 1.23."""

import numpy
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

weights = {'l1.weight': numpy.ones((2, 3), 'f')}
tensors = {name: torch.tensor(w) for name, w in weights.items()}
torch.save(tensors, 'model.pt')
torch.save(tensors, 'old.pt', _use_new_zipfile_serialization=False)
save_file(weights, 'model.safetensors')

x, y = (
    helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    for name, shape in (('x', [1, 2]), ('y', [1, 3]))
)
node = helper.make_node('MatMul', ['x', 'l1.weight'], ['y'])
graph = helper.make_graph(
    [node], 'graph', [x], [y], [numpy_helper.from_array(weights['l1.weight'], 'l1.weight')]
)
onnx.save(helper.make_model(graph), 'model.onnx')
onnx.save(helper.make_model(graph, producer_name='Chainer'), 'named.onnx')
