"""Reductions: what each one starts with, how it takes in a number, how it joins two partial results. ``_reduce.py`` makes
the loops over rows and columns. Below, kernels that need more than one number of state.
"""
import numpy as np
from numba import prange

from ._jit import function, kernel
from ._lanes import dot, larger, largest, smaller, smallest, total, total_of_numbers

# start(x): the neutral element for the type of x; combine(acc, x); merge(acc, acc), where it differs from combine; chunk(row):
# a whole row at once, where there is a faster way than combine after combine.

def sum_start(x):
    return type(x)(0)


def sum_combine(acc, x):
    return acc + x


sum_chunk = total


def nansum_start(x):
    return type(x)(0)


def nansum_combine(acc, x):
    return acc if x != x else acc + x


def nansum_merge(acc, other):
    return acc + other


nansum_chunk = total_of_numbers


def squares_start(x):
    return type(x)(0)


def squares_combine(acc, x):
    return acc + x * x


def squares_merge(acc, other):
    return acc + other


@function
def squares_chunk(x):
    return dot(x, x)


def prod_start(x):
    return type(x)(1)


def prod_combine(acc, x):
    return acc * x


def amax_start(x):
    return x


def amax_combine(acc, x):
    return larger(acc, x)


amax_chunk = largest


def amin_start(x):
    return x


def amin_combine(acc, x):
    return smaller(acc, x)


amin_chunk = smallest


# ---- the place of an extreme ---------------------------------------------------------------------------------------------

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

    The value first, then its place: 4 times faster than keeping both in one pass, which does not vectorise.
    """
    for i in prange(x.shape[0]):
        row = x[i]
        best = largest(row)
        values[i] = best
        indices[i] = _place(row, best)


@kernel
def argmin_rows(x, values, indices):
    """The smallest number of each row of (m, n) and its first place; nan counts as smallest.

    The value first, then its place: 4 times faster than keeping both in one pass, which does not vectorise.
    """
    for i in prange(x.shape[0]):
        row = x[i]
        best = smallest(row)
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

@kernel
def moments_rows(x, mean, m2):
    """Mean and sum of squared deviations of each row of (m, n), in float64 from chunks of 1024 (Chan et al., 1983).

    The sum of deviations from a chunk's rounded mean, 0 but for rounding, corrects both.
    """
    for i in prange(x.shape[0]):
        count, centre, squares = 0, 0.0, 0.0
        deviations = np.empty(min(x.shape[1], 1024), x.dtype)
        for first in range(0, x.shape[1], 1024):
            part = x[i, first:min(x.shape[1], first + 1024)]
            n = part.shape[0]
            near = x.dtype.type(total(part) / n)
            d = deviations[:n]
            for j in range(n):
                d[j] = part[j] - near
            rest = np.float64(total(d)) / n
            shift = near + rest - centre
            squares += np.float64(dot(d, d)) - n * rest * rest + shift * shift * (count * n / (count + n))
            centre += shift * n / (count + n)
            count += n
        mean[i] = centre
        m2[i] = squares
