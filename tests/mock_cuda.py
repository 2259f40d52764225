"""A mock of CUDA below the real CuPy: NVIDIA's compiler compiles each kernel, and none runs.

Imported before CuPy, it takes the place of the CUDA runtime, the driver, cuBLAS and NCCL. What lies
above is CuPy's own: which kernels a program needs, their source and the options of the compiler.
Memory is the host's and begins as zeros. A launch does nothing.

``kernels`` has the name and the machine code of each kernel that CuPy made. Some reductions come
ready-made with CuPy: they are switched off, so that those that it compiles take their place.

Environment variables:
    MOCK_CUDA_CAPABILITY: The compute capability of the GPU, such as 9.0.
"""

import ctypes
import os
import re
import sys
from ctypes import CFUNCTYPE, PYFUNCTYPE, c_char_p, c_int, c_size_t, c_ssize_t, c_void_p, py_object
from pathlib import Path
from unittest.mock import MagicMock

import nvidia
from cupy_backends.cuda import libs
from cupy_backends.cuda.api import driver, runtime

os.environ['CUPY_CACHE_IN_MEMORY'] = '1'  # no kernel from an earlier run
MAJOR, MINOR = (int(number) for number in os.environ['MOCK_CUDA_CAPABILITY'].split('.'))
kernels, _images, _callbacks = [], [], []
_calloc = CFUNCTYPE(c_void_p, c_size_t, c_size_t)(('calloc', ctypes.CDLL(None)))


def is_for_this_gpu(image):
    """Says whether an image is machine code for the capability.

    It is an ELF file with flags from byte 48 on. The first is the capability, or now the second.
    """
    return image[:4] == b'\x7fELF' and 10 * MAJOR + MINOR in image[48:50]


# Every other function does nothing and returns 0.
FUNCTIONS = {
    'deviceGetAttribute': lambda attribute, *_: {75: MAJOR, 76: MINOR}.get(attribute, 0),
    'getDeviceCount': lambda *_: 1,
    'getDeviceProperties': lambda *_: {'warpSize': 32},
    **dict.fromkeys(('hostAlloc', 'malloc'), lambda size, *_: _calloc(size, 1)),
    **dict.fromkeys(('memcpy', 'memcpyAsync'), lambda to, of, n, *_: ctypes.memmove(to, of, n)),
    'memsetAsync': lambda to, value, n, *_: ctypes.memset(to, value, n),
    'moduleGetFunction': lambda image, name, _: kernels.append((name, _images[image - 1])) or 1,
    'moduleLoadData': lambda image, _: _images.append(image) or len(_images),
    'pointerGetAttributes': lambda *_: runtime.PointerAttributes(0, 0, 0, 0),
}


def _type_of(name):
    if name.startswith(('PyObject', 'struct __pyx_obj')):
        return py_object
    return c_int if re.match(r'int\b', name) else c_ssize_t


# Cython modules take functions from each other as capsules of an address and a signature in C.
SIGNATURE = r'(PyObject \*|int|intptr_t|size_t|struct __pyx_obj\w+ \*) ?\((.*)\)'
_name_of = PYFUNCTYPE(c_char_p, py_object)(('PyCapsule_GetName', ctypes.pythonapi))
_capsule = PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
for _module in runtime, driver:
    for _name, _original in _module.__pyx_capi__.items():
        _signature = _name_of(_original)
        _match = re.fullmatch(SIGNATURE, _signature.decode())
        if _match and 'ersion' not in _name:
            _types = map(_type_of, [_match[1], *_match[2].split(', ')])
            _callback = CFUNCTYPE(*_types)(FUNCTIONS.get(_name, lambda *_: 0))
            _callbacks.append((_callback, _signature))  # they live as long as the capsule
            _address = ctypes.cast(_callback, c_void_p)
            _module.__pyx_capi__[_name] = _capsule(_address, _signature, None)

for _path in nvidia.__path__:
    for _library in Path(_path).rglob('libnvrtc.so.*'):
        ctypes.CDLL(str(_library))  # CuPy 13 does not look into NVIDIA's wheels
libs.cublas = MagicMock(CUBLAS_COMPUTE_32F=68, create=lambda: 1)
sys.modules['cupy_backends.cuda.libs.cublas'] = libs.cublas
_nccl = dict.fromkeys(('get_build_version', 'get_unique_id', 'get_version'), lambda: 22000)
sys.modules['cupy.cuda.nccl'] = MagicMock(**_nccl)

from cupy.cuda import cub  # noqa: E402  after the mock

cub.cub_reduction = lambda *_: None
