"""The real CuPy without a GPU: it compiles all kernels of the scripts.

``python -m pytest -rP`` lists the kernels. CONTRIBUTING.md says what has to be installed.
"""

import os
import subprocess
import sys

import pytest

from helpers import CLONE

pytest.importorskip('cupy_backends', reason='CuPy is not installed')
pytest.importorskip('nvidia', reason="NVIDIA's compiler is not installed")

KERNELS = """
from mock_cuda import is_for_this_gpu, kernels
import importlib.util, cupy, predict, train_mnist
from train_mnist import F, chainer
mpi = ['-c', 'pure_nccl'] if importlib.util.find_spec('mpi4py') else []
for words in ['-n', 'trainflag'], ['-n', 'classifier', *mpi]:
    assert train_mnist.main(['-g', '0', '--noplot', '-e', '1', *words]) == 0
assert predict.main(['-g', '0', '--noplot', '-m', 'result/mlp.model']) == 0
x, w = (chainer.Variable(cupy.zeros(shape, 'f')) for shape in ((2, 3, 8, 8), (4, 3, 3, 3)))
F.sum(F.convolution_2d(x, w, pad=1)).backward()
assert all(is_for_this_gpu(image) for _, image in kernels)
print('CuPy', cupy.__version__, 'CUDA', cupy.cuda.nvrtc.getVersion(), *sorted(dict(kernels)))
"""


@pytest.mark.parametrize('capability', ['7.5', '8.0', '8.9', '9.0', '10.0', '12.0'])
def test_cupy_compiles_each_kernel(capability, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(CLONE / 'tests'), prepend=os.pathsep)
    monkeypatch.setenv('MOCK_CUDA_CAPABILITY', capability)
    monkeypatch.setenv('OMPI_COMM_WORLD_RANK', '0')
    printed = subprocess.check_output([sys.executable, '-c', KERNELS], text=True).splitlines()[-1]
    print(f'compute capability {capability}:', printed)
    assert {'adam', 'im2col', 'relu_bwd', 'softmax_crossent_bwd'} <= set(printed.split())
