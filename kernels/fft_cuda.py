"""Discrete Fourier transforms on a CUDA device, by cuFFT: twins of ``fft.py``.

cuFFT transforms up to three dimensions at a time, the last ones of contiguous memory, and scales nothing. What it works out for a
transform, its plan, takes it a millisecond, and is kept; a plan's working memory is the pool's, for the time of a call.
"""
import ctypes
import math
from collections import OrderedDict

import numpy as np

from . import _driver, pointwise_cuda
from ._device import empty
from ._vendor import Library

MOST = 3                # dimensions of a transform
KEPT = 1024             # plans
FORWARD, INVERSE = -1, 1
_KINDS = {("c", "c", 8): ("C2C", 0x29), ("f", "c", 4): ("R2C", 0x2a), ("c", "f", 8): ("C2R", 0x2c),
          ("c", "c", 16): ("Z2Z", 0x69), ("f", "c", 8): ("D2Z", 0x6a), ("c", "f", 16): ("Z2D", 0x6c)}
_plans = OrderedDict()  # (device, number of the kind, sizes, batch) -> (plan, bytes of working memory), the last used last

CUFFT = Library("cufft", "cuFFT", {
    "cufftCreate": "p", "cufftDestroy": "i", "cufftSetAutoAllocation": "ii", "cufftSetStream": "ip", "cufftSetWorkArea": "ip",
    "cufftMakePlanMany64": "iip pqq pqq iqp",
    "cufftExecC2C": "ippi", "cufftExecZ2Z": "ippi", "cufftExecR2C": "ipp", "cufftExecD2Z": "ipp", "cufftExecC2R": "ipp",
    "cufftExecZ2D": "ipp",
}, {1: "CUFFT_INVALID_PLAN", 2: "CUFFT_ALLOC_FAILED", 3: "CUFFT_INVALID_TYPE", 4: "CUFFT_INVALID_VALUE",
    5: "CUFFT_INTERNAL_ERROR", 6: "CUFFT_EXEC_FAILED", 7: "CUFFT_SETUP_FAILED", 8: "CUFFT_INVALID_SIZE",
    9: "CUFFT_UNALIGNED_DATA", 11: "CUFFT_INVALID_DEVICE", 13: "CUFFT_NO_WORKSPACE", 14: "CUFFT_NOT_IMPLEMENTED",
    16: "CUFFT_NOT_SUPPORTED", 17: "CUFFT_MISSING_DEPENDENCY", 18: "CUFFT_NVRTC_FAILURE", 19: "CUFFT_NVJITLINK_FAILURE"})


def c2c(a, dims, scale, forward):
    """Twin of ``fft.c2c``: three dimensions at a time, without those of one point, which stay as they are."""
    factor, dims = _factor(scale, [a.shape[d] for d in dims]), [d for d in dims if a.shape[d] > 1]
    if not dims:
        return a.copy()
    for k in range(0, len(dims), MOST):
        part = dims[k:k + MOST]
        last = k + MOST >= len(dims)
        a = _transformed(_rows(a, part), part, a.dtype, a.shape[part[-1]], factor if last else 1, FORWARD if forward else INVERSE)
    return a


def r2c(a, dims, scale, onesided=True):
    """Twin of ``fft.r2c``: the last three dimensions first, then the others as complex numbers."""
    complex_, n = np.result_type(a.dtype, np.complex64), a.shape[dims[-1]]
    dims = (*[d for d in dims[:-1] if a.shape[d] > 1], dims[-1])
    if n == 1 or not onesided and len(dims) > 1:
        return c2c(a.astype(complex_), dims, scale, True)
    factor = _factor(scale, [a.shape[d] for d in dims])
    half = _transformed(_rows(a, dims[-MOST:]), dims[-MOST:], complex_, n // 2 + 1, factor)
    if onesided:
        return c2c(half, dims[:-MOST], "none", True) if len(dims) > MOST else half
    return _mirrored(half, dims[0], n)


def c2r(a, dims, scale, size):
    """Twin of ``fft.c2r``: all dimensions but the last as complex numbers first, for cuFFT takes it that what it makes real
    numbers of has their symmetry.
    """
    if size == 1:
        return c2c(a, dims[:-1], scale, False).real.copy()
    factor = _factor(scale, [*(a.shape[d] for d in dims[:-1]), size])
    rows = _rows(c2c(a, dims[:-1], "none", False) if len(dims) > 1 else a, dims[-1:])
    if len(dims) == 1 and rows.block is a.block:
        rows = rows.copy()          # cuFFT may write into what it makes real numbers of
    for k in {0, size // 2} if size % 2 == 0 else {0}:
        rows.imag[..., k] = 0
    return _transformed(rows, dims[-1:], rows.real.dtype, size, factor)


def _factor(scale, sizes):
    n = math.prod(sizes)
    return 1 if scale == "none" else 1 / math.sqrt(n) if scale == "root" else 1 / n


def _rows(a, dims):
    """``a`` with ``dims`` as its last, contiguous, and aligned as complex numbers are; a copy unless it is so already."""
    rows = np.moveaxis(a, dims, range(-len(dims), 0))
    aligned = rows.itemsize if rows.dtype.kind == "c" else 2 * rows.itemsize
    return rows if rows.flags.c_contiguous and not rows.ptr % aligned else rows.copy()


def _transformed(rows, dims, dtype, last, factor, *direction):
    """The transform of the last dimensions of ``rows``, which in the result are ``dims``, times ``factor``.

    dtype, last: of the result, and its size along the last dimension. direction: of a complex transform to complex numbers.
    """
    first = rows.ndim - len(dims)
    sizes = (*rows.shape[first:-1], max(rows.shape[-1], last))
    with CUFFT.on(rows.device) as stream:
        out = empty((*rows.shape[:-1], last), dtype, rows.device)
        if out.size:
            name, kind = _KINDS[rows.dtype.kind, dtype.kind, rows.itemsize]
            plan, nbytes = _plan(rows.device, kind, sizes, math.prod(rows.shape[:first]))
            work = empty(nbytes, np.uint8, rows.device)
            CUFFT("cufftSetStream", plan, stream)
            CUFFT("cufftSetWorkArea", plan, work.ptr)
            CUFFT("cufftExec" + name, plan, rows.ptr, out.ptr, *direction)
            if factor != 1:
                parts = out.reshape(-1).view(out.real.dtype)
                np.multiply(parts, factor, out=parts)
    found = np.moveaxis(out, range(-len(dims), 0), dims)
    found.base = None
    return found


def _plan(device, kind, sizes, batch):
    """The plan of a transform, and how many bytes of working memory it needs."""
    key = device, kind, sizes, batch
    found = _plans.get(key)
    if found is not None:
        _plans.move_to_end(key)
        return found
    if len(_plans) >= KEPT:
        (where, *_), (plan, _) = _plans.popitem(last=False)
        with _driver.on(where):
            CUFFT("cufftDestroy", plan)
    plan, nbytes = ctypes.c_int(), ctypes.c_size_t()
    CUFFT("cufftCreate", ctypes.byref(plan))
    try:
        CUFFT("cufftSetAutoAllocation", plan.value, 0)
        CUFFT("cufftMakePlanMany64", plan.value, len(sizes), (ctypes.c_longlong * len(sizes))(*sizes), None, 1, 0, None, 1, 0,
              kind, batch, ctypes.byref(nbytes))
    except RuntimeError:
        CUFFT("cufftDestroy", plan.value)
        raise
    found = _plans[key] = plan.value, nbytes.value
    return found


def _mirrored(half, dim, n):
    """All ``n`` frequencies along ``dim`` of a real signal, of which ``half`` holds the not negative ones."""
    shape = [n if d == dim else size for d, size in enumerate(half.shape)]
    out, known = empty(shape, half.dtype, half.device), half.shape[dim]
    before = (slice(None),) * dim
    out[(*before, slice(known), ...)] = half
    rest = out[(*before, slice(known, n), ...)]
    pointwise_cuda.run("conj", (half.dtype.name,) * 2, [half[(*before, slice(n - known, 0, -1), ...)]], rest)
    return out


_driver.on_change.append(_plans.clear)
