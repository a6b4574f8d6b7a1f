"""Reductions: what each one starts with, how it takes in a number, how it joins two partial results. ``_reduce.py`` makes
the loops over rows and columns. Below, kernels that need more than one number of state.
"""
import numpy as np
from numba import prange

from ._jit import REASSOCIATE, function, kernel

# start(x): the neutral element for the type of x; combine(acc, x); merge(acc, acc). A name without combine merges with it.

def sum_start(x):
    return type(x)(0)


def sum_combine(acc, x):
    return acc + x


def nansum_start(x):
    return type(x)(0)


def nansum_combine(acc, x):
    return acc if x != x else acc + x


def nansum_merge(acc, other):
    return acc + other


def squares_start(x):
    return type(x)(0)


def squares_combine(acc, x):
    return acc + x * x


def squares_merge(acc, other):
    return acc + other


def prod_start(x):
    return type(x)(1)


def prod_combine(acc, x):
    return acc * x


def amax_start(x):
    return x


def amax_combine(acc, x):
    return acc if acc > x or acc != acc else x


def amin_start(x):
    return x


def amin_combine(acc, x):
    return acc if acc < x or acc != acc else x


amax_lane, amin_lane = function(amax_combine), function(amin_combine)


# ---- the place of an extreme ---------------------------------------------------------------------------------------------

@function
def extreme(row, largest):
    width = min(16, row.shape[0])
    lanes = row[:width].copy()
    for j in range(width, row.shape[0], width):
        part = row[j:min(row.shape[0], j + width)]
        if largest:
            for k in range(part.shape[0]):
                lanes[k] = amax_lane(lanes[k], part[k])
        else:
            for k in range(part.shape[0]):
                lanes[k] = amin_lane(lanes[k], part[k])
    best = lanes[0]
    for k in range(1, width):
        best = amax_lane(best, lanes[k]) if largest else amin_lane(best, lanes[k])
    return best


@function
def _place(row, best):
    if best != best:
        for j in range(row.shape[0]):
            if row[j] != row[j]:
                return j
    for j in range(row.shape[0]):
        if row[j] == best:
            return j
    return 0


@kernel
def argmax_rows(x, values, indices):
    """The largest number of each row of (m, n) and its first place; nan counts as largest.

    The value first, in lanes, then its place: 4 times faster than keeping both in one pass, which does not vectorise.
    """
    for i in prange(x.shape[0]):
        row = x[i]
        best = extreme(row, True)
        values[i] = best
        indices[i] = _place(row, best)


@kernel
def argmin_rows(x, values, indices):
    """The smallest number of each row of (m, n) and its first place; nan counts as smallest.

    The value first, in lanes, then its place: 4 times faster than keeping both in one pass, which does not vectorise.
    """
    for i in prange(x.shape[0]):
        row = x[i]
        best = extreme(row, False)
        values[i] = best
        indices[i] = _place(row, best)


@kernel
def argmax_columns(x, values, indices):
    """``argmax_rows`` over the middle of (outer, n, inner)."""
    for o in prange(x.shape[0]):
        for j in range(x.shape[2]):
            values[o, j] = x[o, 0, j]
            indices[o, j] = 0
        for k in range(1, x.shape[1]):
            for j in range(x.shape[2]):
                v, best = x[o, k, j], values[o, j]
                if v > best or (v != v and best == best):
                    values[o, j] = v
                    indices[o, j] = k


@kernel
def argmin_columns(x, values, indices):
    """``argmin_rows`` over the middle of (outer, n, inner)."""
    for o in prange(x.shape[0]):
        for j in range(x.shape[2]):
            values[o, j] = x[o, 0, j]
            indices[o, j] = 0
        for k in range(1, x.shape[1]):
            for j in range(x.shape[2]):
                v, best = x[o, k, j], values[o, j]
                if v < best or (v != v and best == best):
                    values[o, j] = v
                    indices[o, j] = k


# ---- spread ------------------------------------------------------------------------------------------------------------

@kernel(fastmath=REASSOCIATE)
def moments_rows(x, mean, m2):
    """Mean and sum of squared deviations of each row of (m, n), in float64, merged by chunks (Chan et al., 1983)."""
    chunk = 1024
    for i in prange(x.shape[0]):
        total, centre, spread = 0, 0.0, 0.0
        n = x.shape[1]
        for start in range(0, n, chunk):
            stop = min(n, start + chunk)
            count = stop - start
            s = 0.0
            for j in range(start, stop):
                s += np.float64(x[i, j])
            own = s / count
            d2 = 0.0
            for j in range(start, stop):
                d = np.float64(x[i, j]) - own
                d2 += d * d
            delta = own - centre
            spread += d2 + delta * delta * (total * count / (total + count))
            centre += delta * count / (total + count)
            total += count
        mean[i] = centre
        m2[i] = spread
