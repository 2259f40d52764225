"""Finds the device to compute on, and says in one line what is wrong with a GPU."""

import importlib.util

from chainer_mnist.errors import UserError

import chainer
from chainer.backends import cuda

INSTALL = 'install what requirements-gpu.txt says, or leave out -g'


def get_device(gpu):
    """Finds the device to compute on.

    Args:
        gpu (int): Number of the GPU. A negative number means the CPU.

    Returns:
        chainer.backend.Device: The device, not yet in use.

    Raises:
        UserError: If CuPy, the driver or the GPU is missing or does not work.

    """
    if gpu < 0:
        return chainer.get_device('@numpy')
    count = _count_gpus(gpu)
    if gpu >= count:
        raise UserError(
            f'there is no GPU {gpu}: CuPy sees {count}, numbered from 0; choose another with -g'
        )
    device = chainer.get_device(f'@cupy:{gpu}')
    try:
        _try(device)
    except Exception as error:  # whatever CuPy, the driver and NVIDIA's libraries raise
        raise UserError(
            f'GPU {gpu} does not compute ({_reason(error)}); {INSTALL}, '
            'or see with nvidia-smi what else runs on it'
        ) from None
    return device


def _count_gpus(gpu):
    if importlib.util.find_spec('cupy') is None:
        raise UserError(f'-g {gpu} needs CuPy, which is not installed; {INSTALL}')
    if not cuda.available:
        reason = _reason(cuda._resolution_error)  # what Chainer's own import of CuPy raised
        raise UserError(f'-g {gpu} needs CuPy, which does not import ({reason}); {INSTALL}')
    runtime = cuda.cupy.cuda.runtime
    try:
        return runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise UserError(
            f'-g {gpu} finds no GPU ({_reason(error)}); '
            'check the driver with nvidia-smi, or leave out -g'
        ) from None


def _try(device):
    """Computes something on a GPU with the parts that a run needs: memory, cuBLAS, a compiler."""
    with chainer.using_device(device):
        x = device.xp.zeros((2, 2), 'f')
        float((x.dot(x) + x).sum())


def _reason(error):
    """Says in one line why CuPy failed. It wraps an error at its import in a long text."""
    return str(error.__cause__ or error).strip().split('\n')[0]
