"""The double's devices."""

import os


class Device:
    """A GPU: the current one if no number is given."""

    _current = 0

    def __init__(self, device=None):
        self.id = Device._current if device is None else device
        self._outside = []

    def use(self):
        if not 0 <= self.id < runtime.getDeviceCount():
            raise runtime.CUDARuntimeError('cudaErrorInvalidDevice: invalid device ordinal')
        Device._current = self.id

    def synchronize(self):
        from cupy import counts

        counts['wait'] += 1

    def __enter__(self):
        self._outside.append(Device._current)
        self.use()
        return self

    def __exit__(self, *_):
        Device._current = self._outside.pop()

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __repr__(self):
        return f'<CUDA Device {self.id}>'


class Event:
    """Chainer imports it, and this network needs none."""


class Stream:
    """Chainer imports it, and this network needs none."""


class runtime:
    class CUDARuntimeError(RuntimeError):
        pass

    @staticmethod
    def getDeviceCount():
        count = int(os.environ.get('CUPY_DOUBLE_GPUS', 1))
        if count == 0:
            raise runtime.CUDARuntimeError('cudaErrorNoDevice: no CUDA-capable device is detected')
        return count


class memory:
    class OutOfMemoryError(MemoryError):
        pass


class cublas:
    """Chainer imports it and calls nothing in it."""
