"""(start, combine, merge) -> reductions of rows and of columns, generated as real source files as ``_pointwise`` does.

A row is cut into chunks of fixed size, so that the order of additions, and with it the result, does not depend on the number
of threads. Within a chunk 128 numbers are taken in side by side: the loop vectorises without permission to reorder (nan and
inf keep their meaning), and a sum's rounding error grows with n / 128 and not with n.
"""
import importlib.util
import sys
import threading

from . import _cache, reduce
from ._jit import Kernel

CHUNK, LANES, FEW, BLOCK, SPLIT = 8192, 128, 16, 512, 1024

_SOURCE = '''"""Generated from numtorch/kernels/reduce.py: {name}."""
import numpy as np
from numba import prange
from numtorch.kernels._jit import function
from numtorch.kernels.reduce import {name}_start, {name}_combine, {name}_{merge}

start = function({name}_start, cache=False)
combine = function({name}_combine, cache=False)
merge = function({name}_{merge}, cache=False)


@function(cache=False)
def chunk(x):
    n = x.shape[0]
    acc = start(x[0])
    if n < {few}:
        for j in range(n):
            acc = combine(acc, x[j])
        return acc
    width = {lanes} if n >= {twice} else {few}
    lanes = np.empty(width, x.dtype)
    for k in range(width):
        lanes[k] = combine(start(x[k]), x[k])
    for j in range(width, n, width):
        part = x[j:min(n, j + width)]       # indexed from 0: Numba then need not test for negative places
        for k in range(part.shape[0]):
            lanes[k] = combine(lanes[k], part[k])
    while width > 1:
        width //= 2
        for k in range(width):
            lanes[k] = merge(lanes[k], lanes[k + width])
    return lanes[0]


def rows(x, out):
    """(m, n) -> (m,)."""
    m, n = x.shape
    parts = (n + {chunk} - 1) // {chunk}
    partial = np.empty((m, parts), x.dtype)
    for t in prange(m * parts):
        i, c = t // parts, t % parts
        partial[i, c] = chunk(x[i, c * {chunk}:min(n, (c + 1) * {chunk})])
    for i in range(m):
        acc = partial[i, 0]
        for c in range(1, parts):
            acc = merge(acc, partial[i, c])
        out[i] = acc


def columns(x, out):
    """(outer, n, inner) -> (outer, inner)."""
    outer, n, inner = x.shape
    blocks, splits = (inner + {block} - 1) // {block}, (n + {split} - 1) // {split}
    partial = np.empty((outer, splits, inner), x.dtype)
    for t in prange(outer * blocks * splits):
        o, rest = t // (blocks * splits), t % (blocks * splits)
        s, b = rest // blocks, rest % blocks
        low, high = b * {block}, min(inner, (b + 1) * {block})
        first = s * {split}
        acc, row = partial[o, s, low:high], x[o, first, low:high]
        for j in range(high - low):
            acc[j] = combine(start(row[j]), row[j])
        for k in range(first + 1, min(n, first + {split})):
            row = x[o, k, low:high]
            for j in range(high - low):
                acc[j] = combine(acc[j], row[j])
    for o in range(outer):
        for j in range(inner):
            acc2 = partial[o, 0, j]
            for s in range(1, splits):
                acc2 = merge(acc2, partial[o, s, j])
            out[o, j] = acc2
'''

_made = {}
_lock = threading.Lock()


def reduction(name):
    """(rows, columns): the kernels of a reduction named in reduce.py; rows and n must not be empty."""
    found = _made.get(name)
    if found is None:
        with _lock:
            found = _made.get(name) or _made.setdefault(name, _make(name))
    return found


def _make(name):
    merge = "merge" if hasattr(reduce, f"{name}_merge") else "combine"
    text = _SOURCE.format(name=name, merge=merge, chunk=CHUNK, lanes=LANES, twice=2 * LANES, few=FEW,
                           block=BLOCK, split=SPLIT)
    path = _cache.write_source("_reduce", f"reduce_{name}", text)
    full = f"numtorch.kernels._generated.reduce_{name}"
    spec = importlib.util.spec_from_file_location(full, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return tuple(Kernel(fn, 32768, {"contract"}) for fn in (module.rows, module.columns))
