"""Scans along one dim: running sums, products, extremes, log-sum-exps and linear recurrences.

Shapes: (outer, n, inner). Sums and products run in the type of ``start``, which is float64 for float32: torch's accumulation
type on a CPU. ``reverse`` runs from the end, which is what backward needs. The work is cut by shape alone, never by the number
of threads, so results are the same on every machine.
"""
import math

import numpy as np
from numba import prange

from ._jit import REASSOCIATE, function, kernel

LANES = 256         # columns of one task: long runs of each row, and few enough accumulators to stay in the first-level cache
LONG = 4096         # from here on a row is summed in four parts


@function(fastmath=REASSOCIATE)
def _sum(x, start):
    total = start
    for k in range(x.size):
        total += x[k]
    return total


@function
def _row_forward(x, start, out):
    """One row in four parts: the sums of the first three, then all four at once, so that their chains of additions overlap."""
    n = x.size
    part = n // 4 if n >= LONG else 0
    xa, xb, xc, xd = x[:part], x[part:2 * part], x[2 * part:3 * part], x[3 * part:4 * part]
    oa, ob, oc, od = out[:part], out[part:2 * part], out[2 * part:3 * part], out[3 * part:4 * part]
    a = start
    b = _sum(xa, a)
    c = _sum(xb, b)
    d = _sum(xc, c)
    for k in range(part):
        a += xa[k]
        oa[k] = a
        b += xb[k]
        ob[k] = b
        c += xc[k]
        oc[k] = c
        d += xd[k]
        od[k] = d
    for k in range(4 * part, n):
        d += x[k]
        out[k] = d


@function
def _row_backward(x, start, out):
    total = start
    for k in range(x.size - 1, -1, -1):
        total += x[k]
        out[k] = total


@kernel
def cumsum(x, start, reverse, out):
    """out[o, k, i] = start + sum of x[o, : k + 1, i] (reverse: x[o, k:, i]); x, out (outer, n, inner). 2 s bytes an element."""
    outer, n, inner = x.shape
    blocks = (inner + LANES - 1) // LANES
    flat, flat_out = x.reshape(x.size), out.reshape(x.size)
    for task in prange(outer * blocks):
        o = task // blocks
        if inner > 1:
            first = (task - o * blocks) * LANES
            width = min(LANES, inner - first)
            acc = np.full(LANES, start)
            for k in range(n):
                j = n - 1 - k if reverse else k
                for i in range(width):
                    acc[i] += x[o, j, first + i]
                    out[o, j, first + i] = acc[i]
        elif reverse:
            _row_backward(flat[o * n:(o + 1) * n], start, flat_out[o * n:(o + 1) * n])
        else:
            _row_forward(flat[o * n:(o + 1) * n], start, flat_out[o * n:(o + 1) * n])


@kernel
def cumprod(x, start, out):
    """out[o, k, i] = start * product of x[o, : k + 1, i]; x, out (outer, n, inner). 2 s bytes an element."""
    outer, n, inner = x.shape
    blocks = (inner + LANES - 1) // LANES
    for task in prange(outer * blocks):
        o = task // blocks
        if inner > 1:
            first = (task - o * blocks) * LANES
            width = min(LANES, inner - first)
            acc = np.full(LANES, start)
            for k in range(n):
                for i in range(width):
                    acc[i] *= x[o, k, first + i]
                    out[o, k, first + i] = acc[i]
        else:
            total = start
            for k in range(n):
                total *= x[o, k, 0]
                out[o, k, 0] = total


@kernel
def recurrence(a, b, start, reverse, out):
    """out[k] = b[k] + a[k] out[k - 1] (reverse: out[k + 1]), ``start`` before the first; a, b, out (outer, n, inner).

    The derivative of a running product by its factors, without a division and so right where a factor is 0; its own
    derivative is a recurrence that runs the other way. 3 s bytes an element.
    """
    outer, n, inner = b.shape
    blocks = (inner + LANES - 1) // LANES
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * LANES
        width = min(LANES, inner - first)
        acc = np.full(LANES, start)
        for k in range(n):
            j = n - 1 - k if reverse else k
            for i in range(width):
                acc[i] = b[o, j, first + i] + a[o, j, first + i] * acc[i]
                out[o, j, first + i] = acc[i]


@function
def _extreme_row(x, largest, out, index):
    best, place = x[0], np.int64(0)
    for k in range(x.size):
        value = x[k]
        reached = value >= best if largest else value <= best
        if value != value or (best == best and reached):
            best, place = value, np.int64(k)
        out[k] = best
        index[k] = place


@kernel
def cumulative_extreme(x, largest, out, index):
    """out = running max (largest) or min of x along n, index where it stands: the latest of equals, the first nan for good.

    x, out and index (outer, n, inner). 2 s + 8 bytes an element.
    """
    outer, n, inner = x.shape
    blocks = (inner + LANES - 1) // LANES
    flat, flat_out, flat_index = x.reshape(x.size), out.reshape(x.size), index.reshape(x.size)
    for task in prange(outer * blocks):
        o = task // blocks
        if inner == 1:
            row = slice(o * n, (o + 1) * n)
            _extreme_row(flat[row], largest, flat_out[row], flat_index[row])
            continue
        first = (task - o * blocks) * LANES
        last = min(first + LANES, inner)
        for i in range(first, last):
            out[o, 0, i] = x[o, 0, i]
            index[o, 0, i] = 0
        for k in range(1, n):
            for i in range(first, last):
                value, best, place = x[o, k, i], out[o, k - 1, i], index[o, k - 1, i]
                reached = value >= best if largest else value <= best
                if value != value or (best == best and reached):
                    best, place = value, np.int64(k)
                out[o, k, i] = best
                index[o, k, i] = place


@function
def _log_add_exp(a, b):
    low, high = min(a, b), max(a, b)
    if a != a or b != b:
        return a + b
    if low == high and math.isinf(low):
        return low
    return high + math.log1p(math.exp(low - high))


@kernel(grain=4096)
def logcumsumexp(x, reverse, out):
    """out[o, k, i] = log of the sum of exp x[o, : k + 1, i] (reverse: x[o, k:, i]), in float64; x, out (outer, n, inner)."""
    outer, n, inner = x.shape
    blocks = (inner + LANES - 1) // LANES
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * LANES
        width = min(LANES, inner - first)
        acc = np.full(LANES, -np.inf)
        for k in range(n):
            j = n - 1 - k if reverse else k
            for i in range(width):
                acc[i] = _log_add_exp(acc[i], np.float64(x[o, j, first + i]))
                out[o, j, first + i] = acc[i]


# ---- on a CUDA device ----------------------------------------------------------------------------------------------------

@cumsum.on_device
def cumsum_on_device(x, start, reverse, out):
    """``cumsum`` on DeviceArrays; halves are added up in float32, integers in int64. Two or three s bytes an element."""
    _on_device("cumsum", (x,), (out,), reverse)


@cumprod.on_device
def cumprod_on_device(x, start, out):
    """``cumprod`` on DeviceArrays; halves are multiplied in float32."""
    _on_device("cumprod", (x,), (out,))


@recurrence.on_device
def recurrence_on_device(a, b, start, reverse, out):
    """``recurrence`` on DeviceArrays; products of factors are formed as well, and where one overflows, 0 times it is nan."""
    _on_device("recurrence", (a, b), (out,), reverse)


@cumulative_extreme.on_device
def cumulative_extreme_on_device(x, largest, out, index):
    """``cumulative_extreme`` on DeviceArrays."""
    _on_device("cummax" if largest else "cummin", (x,), (out, index))


@logcumsumexp.on_device
def logcumsumexp_on_device(x, reverse, out):
    """``logcumsumexp`` on DeviceArrays, in the type of x, float32 for halves."""
    _on_device("logcumsumexp", (x,), (out,), reverse)


def _on_device(name, inputs, outs, reverse=False):
    from . import scan_cuda

    scan_cuda.run(name, inputs, outs, reverse)
