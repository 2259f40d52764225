"""The real CuPy without a GPU: it compiles all kernels, and the mock CuPy is compared with it.

``python -m pytest -rP`` lists the kernels. CONTRIBUTING.md says what has to be installed.
"""

import os
import subprocess
import sys

import pytest

from helpers import CLONE, environment

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

# What the mock CuPy has and how it was called: a path, a number of arguments, their names
MOCK = """
import json, cupy, train_mnist
assert train_mnist.main(['-g', '0', '--noplot', '-e', '1']) == 0
found = list(cupy.calls)
for path in 'cupy', 'cupy.cuda', 'cupy.cuda.Device', 'cupy.cuda.memory', 'cupy.ndarray':
    for name, value in vars(eval(path)).items():
        code = getattr(value, '__code__', None)
        if name[0] != '_' and (code or path != 'cupy'):
            names = code.co_varnames[:code.co_argcount] if code else ()
            found.append((f'{path}.{name}'[len('cupy.'):], 0, *names))
print(json.dumps(found))
"""

# Where Python does not know a signature, Cython has written it into the documentation's first line.
CUPY = r"""
import inspect, json, operator, re, sys, mock_cuda, cupy
for path, number, *names in json.loads(sys.argv[1]):
    value = operator.attrgetter(path)(cupy)
    try:
        known = list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        known = re.findall(r'(\w+)(?:=[^,)]*)?[,)]', (value.__doc__ or '').split('\n')[0])
    if number > len(known) or not {*names} <= {*known}:
        print(path, number, names, known)
"""


def run(code, mock, *words, capability='9.0'):
    """Runs code with a mock, in a process. Returns the printed lines."""
    variables = {'MOCK_CUDA_CAPABILITY': capability, 'OMPI_COMM_WORLD_RANK': '0'}
    path = os.pathsep.join([str(CLONE / mock), str(CLONE)])
    env = environment(PYTHONPATH=path, **variables)
    command = [sys.executable, '-c', code, *words]
    return subprocess.check_output(command, env=env, text=True).splitlines()


@pytest.mark.parametrize('capability', ['7.5', '8.0', '8.9', '9.0', '10.0', '12.0'])
def test_cupy_compiles_each_kernel(capability):
    printed = run(KERNELS, 'tests', capability=capability)[-1]
    print(f'compute capability {capability}:', printed)
    assert {'adam', 'im2col', 'relu_bwd', 'softmax_crossent_bwd'} <= set(printed.split())


def test_cupy_takes_what_the_mock_takes():
    found = run(MOCK, 'tests/mock_cupy')[-1]
    assert run(CUPY, 'tests', found) == []
