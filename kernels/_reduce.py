"""(start, combine, merge) -> reductions of rows and of columns, generated as real source files as ``_pointwise`` does.

A row is cut into chunks of fixed size, so that the order of additions, and with it the result, does not depend on the number
of threads; within a chunk numbers are taken in side by side (``_lanes``, or what LLVM makes of a loop that it may reorder), so
that a sum's rounding error grows with n / 64 and not with n. Columns are taken four rows at a time, which halves the traffic
with the row of partial results.
"""
import importlib.util
import sys
import threading

from . import _cache, reduce
from ._jit import Kernel

CHUNK, BLOCK, SPLIT = 8192, 512, 1024

_SOURCE = '''"""Generated from numtorch/kernels/reduce.py: {name}."""
import numpy as np
from numba import prange
from numtorch.kernels._jit import REASSOCIATE, function
from numtorch.kernels.reduce import {imports}

start = function({name}_start, cache=False)
combine = function({name}_combine, cache=False, fastmath=REASSOCIATE, forceinline=True)
merge = function({name}_{merge}, cache=False)


@function(cache=False, fastmath=REASSOCIATE)
def in_order(x):
    acc = start(x[0])
    for j in range(x.shape[0]):
        acc = combine(acc, x[j])
    return acc


chunk = {chunk}


def rows(x, out):
    """(m, n) -> (m,)."""
    m, n = x.shape
    parts = (n + {size} - 1) // {size}
    partial = np.empty((m, parts), x.dtype)
    for t in prange(m * parts):
        i, c = t // parts, t % parts
        partial[i, c] = chunk(x[i, c * {size}:min(n, (c + 1) * {size})])
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
        last = min(n, first + {split})
        for k in range(first + 1, last - 3, 4):
            row1, row2, row3, row4 = x[o, k, low:high], x[o, k + 1, low:high], x[o, k + 2, low:high], x[o, k + 3, low:high]
            for j in range(high - low):
                acc[j] = combine(combine(combine(combine(acc[j], row1[j]), row2[j]), row3[j]), row4[j])
        for k in range(last - (last - first - 1) % 4, last):
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
    own = hasattr(reduce, f"{name}_chunk")
    parts = {"start", "combine", merge} | ({"chunk"} if own else set())
    text = _SOURCE.format(name=name, merge=merge, imports=", ".join(f"{name}_{part}" for part in sorted(parts)),
                          chunk=f"{name}_chunk" if own else "in_order", size=CHUNK, block=BLOCK, split=SPLIT)
    path = _cache.write_source("_reduce", f"reduce_{name}", text)
    full = f"numtorch.kernels._generated.reduce_{name}"
    spec = importlib.util.spec_from_file_location(full, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return tuple(Kernel(fn, 32768, {"contract"}) for fn in (module.rows, module.columns))
