"""The double's kernels: the source that CuPy would give to CUDA, compiled for the host."""

import ctypes
import functools
import hashlib
import math
import os
import subprocess

import numpy

from cupy import _content, empty, ndarray

C_TYPES = {'float32': 'float', 'float64': 'double', 'int32': 'int'}

ELEMENTWISE = """\
#include <algorithm>
#include <cmath>
using namespace std;
{types}
extern "C" void run(long long _size, void** _arrays) {{
{raws}
for (long long i = 0; i < _size; ++i) {{
{ins}
{outs}
{operation};
}}
}}
"""

# A GPU adds up in parallel, and so in another order.
REDUCTION = """\
{types}
extern "C" void run(long long _size, void** _arrays) {{
{raws}
{type} a = {identity};
for (long long i = 0; i < _size; ++i) {{
const long long _j = i;
{ins}
const {type} b = {map_expr};
a = {reduce_expr};
}}
const long long i = 0;
{outs}
{post_map_expr};
}}
"""


class _Parameter:
    """A parameter of a kernel, such as ``raw T log_y``."""

    def __init__(self, words):
        *raw, self.type, self.name = words.split()
        if raw not in ([], ['raw']):
            raise NotImplementedError(words)
        self.raw = bool(raw)


class _Kernel:
    def __init__(self, in_params, out_params, name):
        self._ins = [_Parameter(words) for words in in_params.split(',')]
        self._outs = [_Parameter(words) for words in out_params.split(',')]
        self._name = name

    def _look_at(self, args):
        """Finds the shape to run over and the dtypes of the types. Numbers have no say in it."""
        shapes, dtypes = [], {}
        for parameter, arg in zip(self._ins + self._outs, args):
            if len(parameter.type) > 1:
                dtypes[parameter.type] = numpy.dtype(parameter.type)
            if isinstance(arg, ndarray):
                shapes += [] if parameter.raw else [arg.shape]
                if dtypes.setdefault(parameter.type, arg.dtype) != arg.dtype:
                    raise TypeError(f'{self._name}: Type is mismatched. {parameter.name}')
        return numpy.broadcast_shapes(*shapes), dtypes

    def _run(self, program, shape, dtypes, ins, outs, **expressions):
        """Compiles the kernel and runs it over ``shape``, numbers as arrays of that shape."""
        code = {'raws': '', 'ins': '', 'outs': ''}
        arrays = []
        for parameter, arg in zip(self._ins + self._outs, [*ins, *outs]):
            source = f'(({parameter.type}*)_arrays[{len(arrays)}])'
            content = numpy.asarray(_content(arg), dtypes[parameter.type])
            if parameter.raw:
                code['raws'] += f'const {parameter.type}* {parameter.name} = {source};\n'
            elif len(arrays) < len(ins):
                code['ins'] += f'const {parameter.type} {parameter.name} = {source}[i];\n'
                content = numpy.broadcast_to(content, shape)
            else:
                code['outs'] += f'{parameter.type}& {parameter.name} = {source}[i];\n'
                if not content.flags.c_contiguous:
                    raise NotImplementedError(f'{self._name} into a view')
            arrays.append(numpy.ascontiguousarray(content))
        types = '\n'.join(f'typedef {C_TYPES[d.name]} {name};' for name, d in dtypes.items())
        run = _compile(program.format(types=types, **code, **expressions))
        pointers = [a.ctypes.data for a in arrays]
        run(ctypes.c_longlong(math.prod(shape)), (ctypes.c_void_p * len(arrays))(*pointers))


class ElementwiseKernel(_Kernel):
    def __init__(self, in_params, out_params, operation, name):
        super().__init__(in_params, out_params, name)
        self._operation = operation

    def __call__(self, *args):
        ins, outs = args[: len(self._ins)], args[len(self._ins) :]
        shape, dtypes = self._look_at(args)
        outs = outs or [empty(shape, dtypes[parameter.type]) for parameter in self._outs]
        self._run(ELEMENTWISE, shape, dtypes, ins, outs, operation=self._operation)
        return outs[0] if len(outs) == 1 else outs


class ReductionKernel(_Kernel):
    """A reduction of all elements to one."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name):
        super().__init__(in_params, out_params, name)
        self._expressions = {
            'map_expr': map_expr,
            'reduce_expr': reduce_expr,
            'post_map_expr': post_map_expr,
            'identity': identity,
            'type': self._outs[0].type,
        }

    def __call__(self, *args):
        shape, dtypes = self._look_at(args)
        out = empty((), dtypes[self._outs[0].type])
        self._run(REDUCTION, shape, dtypes, args, [out], **self._expressions)
        return out


@functools.cache
def _compile(program):
    """Compiles a program, unless a process before this one has done so, and loads it."""
    name = hashlib.sha1(program.encode()).hexdigest()
    library = os.path.join(os.environ['CUPY_DOUBLE'], f'{name}.so')
    if not os.path.exists(library):
        temporary = f'{library}.{os.getpid()}'
        compiler = ['c++', '-x', 'c++', '-O1', '-shared', '-fPIC', '-o', temporary, '-']
        subprocess.run(compiler, input=program, text=True, check=True)
        os.replace(temporary, library)
    return ctypes.CDLL(library).run
