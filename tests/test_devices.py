"""``-g``: on a double of CuPy everywhere, and with ``python -m pytest -m gpu`` on a real GPU."""

import json
import operator
import os
import re
import shutil
import subprocess
import sys

from chainer_mnist import devices
from chainer_mnist.errors import UserError

import numpy
import pytest

from helpers import CLONE, read, run, train

DOUBLE = CLONE / 'tests' / 'cupy_double'

# With this seed no ReLU of the tiny runs below is so near its threshold that another order of
# adding up switches it. What is left between two devices is what float32 rounds away.
SEED = 11
TOLERANCE = 1e-4


@pytest.fixture(scope='session')
def kernels(tmp_path_factory):
    """A folder for the kernels that the double compiles."""
    if shutil.which('c++') is None:
        pytest.skip('the double of CuPy compiles kernels, and there is no C++ compiler')
    return tmp_path_factory.mktemp('kernels')


@pytest.fixture
def double(kernels, monkeypatch):
    """Puts the double in CuPy's place in the processes that a test starts."""
    monkeypatch.setenv('CUPY_DOUBLE', str(kernels))
    monkeypatch.setenv('PYTHONPATH', str(DOUBLE))
    return kernels


@pytest.fixture(params=['double', pytest.param('hardware', marks=pytest.mark.gpu)])
def gpu(request):
    """The same test on the double and on a GPU."""
    if request.param == 'double':
        request.getfixturevalue('double')
    else:
        skip_without_gpu()


def skip_without_gpu():
    try:
        devices.get_device(0)
    except UserError as error:
        pytest.skip(str(error))


def assert_close(path, expected):
    """Compares two npz files: array by array, as far as one is from the other by its length."""
    arrays, expected = read(path), read(expected)
    assert arrays.keys() == expected.keys()
    for key, array in arrays.items():
        assert (array.shape, array.dtype) == (expected[key].shape, expected[key].dtype)
        distance = numpy.linalg.norm(array - expected[key])
        assert distance <= TOLERANCE * numpy.linalg.norm(expected[key]), key


def read_json(path):
    with open(path) as file:
        return json.load(file)


def words(printed):
    """What a run prints, without its numbers: they differ."""
    return re.sub(r'=[\d.e-]+', '', printed.replace('GPU: 0', 'GPU: -1'))


@pytest.mark.parametrize(('net', 'batchsize'), [('classifier', 100), ('trainflag', 64)])
def test_cpu_and_gpu_agree(gpu, net, batchsize):
    options = ['-e', 3, '-s', SEED, '-b', batchsize, '-n', net]
    on_cpu = train(*options, '-o', 'cpu')
    on_gpu = train(*options, '-o', 'gpu', '-g', 0)
    assert words(on_gpu) == words(on_cpu)
    for name in ('mlp.state', 'mlp.model', 'classifier.model'):
        assert_close(f'gpu/{name}', f'cpu/{name}')
    assert len(read_json('gpu/log')) == len(read_json('cpu/log')) == 3
    for its, expected in zip(read_json('gpu/log'), read_json('cpu/log')):
        for key in ('main/loss', 'validation/main/loss'):
            assert its[key] == pytest.approx(expected[key], rel=TOLERANCE)


def test_a_run_goes_on_on_another_device(gpu):
    train('-s', SEED, '-e', 4, '-o', 'whole')
    train('-s', SEED, '-e', 2, '-o', 'cpu')
    train('-s', SEED, '-e', 2, '-o', 'gpu', '-g', 0)
    for out, begun, device in (('a', 'cpu', 0), ('b', 'gpu', -1), ('c', 'gpu', 0)):
        train('-r', f'{begun}/mlp.state', '-e', 2, '-o', out, '-g', device)
        assert_close(f'{out}/mlp.state', 'whole/mlp.state')


@pytest.mark.gpu
def test_throughput(monkeypatch, capsys):
    """Trains on the whole MNIST on the GPU and on the CPU, and shows how fast either was."""
    skip_without_gpu()
    monkeypatch.delenv('CHAINER_DATASET_ROOT')
    for number, out in ((0, 'gpu'), (-1, 'cpu')):
        printed = train('-e', 3, '-s', SEED, '-g', number, '-o', out)
        fastest = max(map(float, re.findall('throughput=(.*) images/sec', printed)))
        with capsys.disabled():
            print(f'\n{out}: {fastest:,.0f} images/sec')
        assert read_json(f'{out}/log')[-1]['validation/main/accuracy'] > 0.95


# With the double alone


def run_changed(patch, *words):
    """Runs ``train_mnist.py`` on the GPU, as a process, with something changed in it."""
    code = f'import sys, cupy, train_mnist\n{patch}\nsys.exit(train_mnist.main())'
    return subprocess.run(
        [sys.executable, '-c', code, '-g', '0', '--noplot', *map(str, words)],
        env={**os.environ, 'PYTHONPATH': f'{CLONE}{os.pathsep}{DOUBLE}'},
        capture_output=True,
        text=True,
    )


def counts(double, *words, patch=''):
    """The copies to and from the device and the waits for it, in a run."""
    done = run_changed(patch, *words)
    assert (done.returncode, done.stderr) == (0, '')
    return read_json(double / 'counts.json')


def test_no_copy_and_no_wait_in_an_iteration(double):
    few = counts(double, '-e', 2, '-b', 100)
    many = counts(double, '-e', 2, '-b', 10, patch='train_mnist.TEST_BATCHSIZE = 10')
    assert many == few
    assert few['wait'] == 0
    # An epoch more: the order goes there; two means come back twice, and what is saved.
    more = counts(double, '-e', 3, '-b', 100)
    saved = len(read('result/mlp.model')) + sum(
        array.ndim > 0 for array in read('result/mlp.state').values()
    )
    assert more['to device'] - few['to device'] == 1
    assert more['to host'] - few['to host'] == 4 + saved


def test_all_is_on_the_gpu_that_was_chosen(double, monkeypatch):
    monkeypatch.setenv('CUPY_DOUBLE_GPUS', '2')
    train('-e', 1, '-g', 1)  # arrays that are not all on the current one are an error
    assert read_json(double / 'counts.json')['device'] == 1


def test_the_double_is_strict(double):
    """What is said of it at its top."""
    code = """
import cupy, numpy, subprocess
n = numpy.arange(3, dtype='i')
x = cupy.asarray(n)
def refuses(error, f):
    try:
        f()
    except error:
        return
    raise AssertionError
refuses(TypeError, lambda: numpy.asarray(x))
refuses(TypeError, lambda: numpy.exp(x))
refuses(TypeError, lambda: n[x])
refuses(TypeError, lambda: x + n)
refuses(TypeError, lambda: n + x)
refuses(TypeError, lambda: cupy.dot(x, n))
refuses(AttributeError, lambda: cupy.tanh)
refuses(NotImplementedError, lambda: x + 0.5)
refuses(NotImplementedError, lambda: x[x == x])
refuses(NotImplementedError, lambda: x[0])
kernel = cupy.ElementwiseKernel('T x', 'T y', 'y = no_such_function(x)', 'unknown')
refuses(subprocess.CalledProcessError, lambda: kernel(x))
assert cupy.counts == {'to device': 1, 'to host': 0, 'wait': 0}
len(x), x.shape, x[1:], x + 1
assert cupy.counts == {'to device': 1, 'to host': 0, 'wait': 0}
x[n], float(x.sum()), int(x.max()), bool(x.max()), x.get(), repr(x)
cupy.cuda.Device().synchronize()
assert cupy.counts == {'to device': 2, 'to host': 5, 'wait': 1}
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Errors


def assert_refused(done, message):
    assert done.returncode == 1
    assert re.fullmatch(f'train_mnist.py: error: {message}\n', done.stderr), done.stderr
    assert os.listdir() == []


def test_cupy_does_not_import(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp('broken')
    (folder / 'cupy.py').write_text(
        'try:\n    import no_such_library\n'
        'except ImportError as error:\n    raise ImportError("=====\\nlong") from error\n'
    )
    monkeypatch.setenv('PYTHONPATH', str(folder))
    message = r"-g 0 needs CuPy, which does not import \(No module named 'no_such_library'\); "
    assert_refused(run('-g', 0), message + 'install what requirements-gpu.txt says, .*')


def test_no_gpu(double, monkeypatch):
    monkeypatch.setenv('CUPY_DOUBLE_GPUS', '0')
    message = r'-g 0 finds no GPU \(cudaErrorNoDevice: .*\); check the driver with nvidia-smi, .*'
    assert_refused(run('-g', 0), message)


def test_no_such_gpu(double, monkeypatch):
    monkeypatch.setenv('CUPY_DOUBLE_GPUS', '2')
    message = 'there is no GPU 2: CuPy sees 2, numbered from 0; choose another with -g'
    assert_refused(run('-g', 2), message)


def test_a_gpu_that_does_not_compute(double):
    patch = """
def fail(self, other):
    raise RuntimeError('CuPy failed to load libnvrtc.so.12\\nand more')
cupy.ndarray.__add__ = fail
"""
    message = r'GPU 0 does not compute \(CuPy failed to load libnvrtc.so.12\); install what .*'
    assert_refused(run_changed(patch), message)


def test_out_of_memory(double, monkeypatch):
    monkeypatch.setenv('CUPY_DOUBLE_BYTES', '1000000')  # less than the tiny MNIST takes
    message = r'not enough memory; choose fewer units \(-u\) or smaller mini-batches \(-b\)'
    assert_refused(run('-g', 0), message)


# With CuPy itself


@pytest.fixture
def cupy():
    try:
        import cupy
        from cupy.cuda import cublas  # noqa: F401  it is the library without which Chainer does not
    except ImportError as error:
        pytest.skip(f'CuPy is not installed, or its libraries are not: {error}')
    return cupy


def test_chainer_takes_the_installed_cupy_without_a_warning(cupy):
    code = 'import train_mnist; from chainer.backends import cuda; cuda.check_cuda_available()'
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(CLONE)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, '')


def test_the_installed_cupy_without_a_gpu(cupy):
    try:
        devices.get_device(0)
    except UserError:
        message = '-g 0 finds no GPU .*; check the driver with nvidia-smi, or leave out -g'
        assert_refused(run('-g', 0), message)
    else:
        pytest.skip('there is a GPU')


def test_the_double_offers_nothing_that_cupy_lacks(cupy, double):
    code = """
import cupy, types
for path in ('', 'cuda.', 'ndarray.', 'cuda.Device.', 'cuda.runtime.', 'cuda.memory.'):
    for name, what in vars(eval(f'cupy.{path}'.strip('.'))).items():
        if name[0] != '_' and name != 'counts' and not isinstance(what, types.ModuleType):
            print(path + name)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert {'ElementwiseKernel', 'ndarray.reduced_view', 'cuda.Device.use'} <= set(names)
    for name in names:
        operator.attrgetter(name)(cupy)
