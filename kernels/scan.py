"""Scans along one dim: running sums, products, extremes, log-sum-exps and linear recurrences.

Shapes: (outer, n, inner). Sums and products run in the type of ``start``, which is float64 for float32: torch's accumulation
type on a CPU. ``reverse`` runs from the end, which is what backward needs. The work is cut by shape alone, never by the number
of threads, so results are the same on every machine.
"""
import math

import numpy as np
from numba import prange

from ._jit import REASSOCIATE, function, kernel

LANES = 64          # columns of one task: whole cache lines, and few enough accumulators to stay in the first-level cache
LONG = 4096         # from here on a row is cut into four parts


@function(fastmath=REASSOCIATE)
def _sum(x, first, last, start, reverse):
    n = x.size
    acc = start
    if reverse:
        first, last = n - last, n - first
    for k in range(first, last):
        acc += x[k]
    return acc


@function
def _cumsum_long(x, start, reverse, out):
    """One long row in four parts: their sums first, then all four at once, so that their chains of additions overlap."""
    n = x.size
    part = n // 4
    a = start
    b = _sum(x, 0, part, a, reverse)
    c = _sum(x, part, 2 * part, b, reverse)
    d = _sum(x, 2 * part, 3 * part, c, reverse)
    sign = -1 if reverse else 1
    base = n - 1 if reverse else 0
    for k in range(part):
        i = base + sign * k
        a += x[i]
        out[i] = a
        i += sign * part
        b += x[i]
        out[i] = b
        i += sign * part
        c += x[i]
        out[i] = c
        i += sign * part
        d += x[i]
        out[i] = d
    for k in range(4 * part, n):
        i = base + sign * k
        d += x[i]
        out[i] = d


@kernel
def cumsum(x, start, reverse, out):
    """out[o, k, i] = start + sum of x[o, : k + 1, i] (reverse: x[o, k:, i]); x, out (outer, n, inner). 2 s bytes an element."""
    outer, n, inner = x.shape
    blocks = (inner + LANES - 1) // LANES
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
        elif n >= LONG:
            _cumsum_long(x[o, :, 0], start, reverse, out[o, :, 0])
        else:
            total = start
            for k in range(n):
                j = n - 1 - k if reverse else k
                total += x[o, j, 0]
                out[o, j, 0] = total


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
    for task in prange(outer * blocks):
        o = task // blocks
        if inner == 1:
            _extreme_row(x[o, :, 0], largest, out[o, :, 0], index[o, :, 0])
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
