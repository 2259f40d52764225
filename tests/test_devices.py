"""``-g``: on a mock CuPy everywhere, and with ``python -m pytest -m gpu`` on a real GPU."""

import os
import re

from chainer_mnist import devices
from chainer_mnist.console import UserError

import numpy
import pytest

from helpers import CLONE, log_of, read, run, run_code, train

# With this seed no ReLU of the tiny runs below is so near its threshold that another order of
# summation switches it. What differs between two devices is the rounding of float32.
SEED = 11
TOLERANCE = 1e-4


@pytest.fixture
def mock(monkeypatch):
    """Puts the mock in CuPy's place in the processes that a test starts."""
    monkeypatch.setenv('PYTHONPATH', str(CLONE / 'tests' / 'mock_cupy'), prepend=os.pathsep)


@pytest.fixture(params=['mock', pytest.param('hardware', marks=pytest.mark.gpu)])
def gpu(request):
    """The same test on the mock and on a GPU."""
    if request.param == 'mock':
        request.getfixturevalue('mock')
    else:
        try:
            devices.get_device(0)
        except UserError as error:
            pytest.skip(str(error))


def train_on_gpu(*words):
    """Trains in a process of its own, since Chainer looks for CuPy once."""
    done = run('-g', 0, '--noplot', *words)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


def assert_close(path, expected):
    """Compares two npz files: the distance of two arrays, relative to their length."""
    arrays, expected = read(path), read(expected)
    assert arrays.keys() == expected.keys()
    for key, array in arrays.items():
        assert (array.shape, array.dtype) == (expected[key].shape, expected[key].dtype)
        distance = numpy.linalg.norm(array - expected[key])
        assert distance <= TOLERANCE * numpy.linalg.norm(expected[key]), key


@pytest.mark.parametrize('words', [['-n', 'classifier'], ['-n', 'trainflag', '-b', 64]])
def test_cpu_and_gpu_agree_and_resume_each_others_runs(gpu, words):
    words = ['-s', SEED, *words]
    printed = train(*words, '-e', 3, '-o', 'cpu'), train_on_gpu(*words, '-e', 3, '-o', 'gpu')
    on_cpu, on_gpu = (re.sub(r'=[\d.e-]+|^GPU: .*', '', text) for text in printed)
    assert on_cpu == on_gpu
    for name in ('mlp.state', 'mlp.model', 'classifier.model'):
        assert_close(f'gpu/{name}', f'cpu/{name}')
    for its, expected in zip(log_of('gpu'), log_of('cpu')):
        for key in ('main/loss', 'validation/main/loss'):
            assert its[key] == pytest.approx(expected[key], rel=TOLERANCE)
    for first, second in ((train, train_on_gpu), (train_on_gpu, train)):
        first(*words, '-e', 1)
        second(*words, '-e', 2, '-r', 'result/mlp.state')
        assert_close('result/mlp.state', 'cpu/mlp.state')


# With the mock alone


def test_no_copy_and_no_wait_in_an_iteration_and_all_on_the_chosen_gpu(mock, monkeypatch):
    code = """
import cupy, train_mnist
for epochs, batchsize in (2, 100), (2, 10), (3, 100):
    train_mnist.TEST_BATCHSIZE = batchsize
    cupy.counts.update(dict.fromkeys(cupy.counts, 0))
    words = ['-g', '1', '--noplot', '-e', str(epochs), '-b', str(batchsize)]
    assert train_mnist.main(words) == 0
    assert cupy.cuda.Device().id == 1
    print('counts:', *cupy.counts.values())
"""
    monkeypatch.setenv('MOCK_CUPY_GPUS', '2')  # an array on another one than 1 is an error
    done = run_code(code)
    few, many, more = re.findall(r'counts: (\d+) (\d+) (\d+)', done.stdout)
    assert many == few
    assert few[2] == '0'  # no wait
    assert int(more[0]) - int(few[0]) == 1  # an epoch sends the order of the images


# What can be missing

FAIL = """
import cupy
def fail(self, other):
    raise RuntimeError('no libnvrtc.so.12\\nand more')
cupy.ndarray.__add__ = fail
"""


@pytest.mark.parametrize(
    ('variable', 'patch', 'message'),
    [
        ('GPUS=0', '', r'GPU 0 does not work \(cudaErrorNoDevice: .*\); .* or leave out -g'),
        ('GPUS=2', 'sys.argv += ["-g2"]', r'GPU 2 does not work \(cudaErrorInvalidDevice: .*'),
        ('BYTES=300000', '', r'not enough memory; choose fewer units \(-u\) or .*'),
        ('GPUS=1', 'sys.modules["cupy"] = None', r'GPU 0 does not work \(import of cupy .*\); .*'),
        ('GPUS=1', FAIL, r'GPU 0 does not work \(no libnvrtc.so.12\); .*'),
    ],
)
def test_a_gpu_that_does_not_work(mock, monkeypatch, variable, patch, message):
    monkeypatch.setenv(*f'MOCK_CUPY_{variable}'.split('='))
    done = run_code(
        f'import sys\n{patch}\nimport train_mnist\nsys.exit(train_mnist.main())', '-g', 0
    )
    assert done.returncode == 1
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', done.stderr), done.stderr
    assert os.listdir() == []


# With CuPy itself


def test_the_installed_cupy_gives_no_warning():
    try:
        from cupy.cuda import cublas  # noqa: F401  without this library Chainer does not use CuPy
    except ImportError as error:
        pytest.skip(f'CuPy or one of its libraries is not installed: {error}')
    done = run_code('import train_mnist; train_mnist.chainer.backends.cuda.check_cuda_available()')
    assert (done.returncode, done.stderr) == (0, '')
