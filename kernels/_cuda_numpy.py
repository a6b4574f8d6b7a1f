"""ndarray's methods that reduce or scan, for DeviceArrays: ``sum``, ``min``, ``any``, ``argmax``, ``cumsum`` and their like.

They are functions of the array, so numpy.sum and the others are the same.
"""
import math

import numpy as np

from . import reduce_cuda, scan_cuda
from ._device import empty, full
from ._driver import OnHost

_NAMES = {"max": "amax", "min": "amin"}
_OF_NOTHING = {"sum": 0, "prod": 1, "any": False, "all": True, "count_nonzero": 0}


def reduction(name):
    """The method of that name: ``call(array, axis=None, dtype=None, out=None, keepdims=False)``."""
    def call(a, axis=None, dtype=None, out=None, keepdims=False):
        dims = _dims(axis, a.ndim)
        if out is not None:
            raise OnHost(f"ndarray.{name} with out=")
        if dtype is not None and a.dtype != dtype:
            a = a.astype(dtype)
        n = math.prod([a.shape[d] for d in dims])
        shape = tuple([1 if d in dims else size for d, size in enumerate(a.shape) if keepdims or d not in dims])
        if n:
            found = _reduced(name, a, dims, n).reshape(shape)
        elif name in _OF_NOTHING:
            kind = np.bool_ if name in ("any", "all") else np.int64 if a.dtype.kind in "biu" or name[0] == "c" else a.dtype
            found = full(shape, _OF_NOTHING[name], kind, a.device)
        else:
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        return found if dtype is None or found.dtype == dtype else found.astype(dtype)
    call.__name__ = call.__qualname__ = name
    return call


def _dims(axis, ndim):
    if axis is None or not ndim:
        return tuple(range(ndim))
    return tuple(sorted([d % ndim for d in (axis if isinstance(axis, tuple) else (axis,))]))


def _reduced(name, a, dims, n):
    if name == "mean":
        if a.dtype.kind in "biu":
            a = a.astype(np.float64)
        return reduce_cuda.reduced("mean", a, dims, n)
    if name in ("argmax", "argmin"):
        if len(dims) != 1:
            a, dims = a.reshape(-1), (0,)
        return reduce_cuda.reduced(name, a.view(np.uint8) if a.dtype.kind == "b" else a, dims)[1]
    if name in _NAMES and a.dtype.kind == "b":
        return reduce_cuda.reduced(_NAMES[name], a.view(np.uint8), dims).view(np.bool_)
    return reduce_cuda.reduced(_NAMES.get(name, name), a, dims)


def cumsum(a, axis=None, dtype=None, out=None):
    """ndarray.cumsum: running sums along ``axis``, or of all elements in row-major order."""
    if out is not None:
        raise OnHost("ndarray.cumsum with out=")
    if dtype is None and a.dtype.kind in "biu":
        dtype = np.int64
    a = a.reshape(-1) if axis is None else a
    dim = 0 if axis is None else axis % a.ndim
    source = a.astype(a.dtype if dtype is None else dtype, order="C", copy=False)
    source = source if source.flags.c_contiguous else source.copy()
    found = empty(source.shape, source.dtype, source.device)
    if found.size:
        shape = math.prod(a.shape[:dim]), a.shape[dim], math.prod(a.shape[dim + 1:])
        scan_cuda.run("cumsum", (source.reshape(shape),), (found.reshape(shape),))
    return found


METHODS = {**{name: reduction(name) for name in (*_OF_NOTHING, *_NAMES, "mean", "argmax", "argmin")}, "cumsum": cumsum}
