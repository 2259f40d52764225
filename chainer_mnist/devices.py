"""The device to compute on: the CPU or a GPU that works."""

from __future__ import annotations

from chainer_mnist.console import UserError

import chainer
from chainer.backends import cuda


def get_device(gpu: int) -> chainer.backend.Device:
    """Returns the CPU if ``gpu`` is negative, or else that GPU after a trial. It is not in use yet.

    Raises ``UserError`` if CuPy, the driver or the GPU is missing or fails.
    """
    if gpu < 0:
        return chainer.get_device('@numpy')
    try:
        if not cuda.available:
            raise cuda._resolution_error  # by Chainer's import of CuPy
        device = chainer.get_device(f'@cupy:{gpu}')
        with chainer.using_device(device):  # memory, cuBLAS and the compiler
            x = device.xp.zeros((2, 2), 'f')
            float((x.dot(x) + x).sum())
    except Exception as error:  # whatever CuPy, the driver and NVIDIA's libraries raise
        reason = str(error.__cause__ or error).strip().split('\n')[0]
        raise UserError(
            f'GPU {gpu} does not work ({reason}); install what requirements-gpu.txt says, check '
            'the driver with nvidia-smi, or leave out -g'
        ) from None
    return device
