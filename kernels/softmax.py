"""softmax and log_softmax over rows, forward and backward.

The largest number of a row is taken away first, so that e^x does not overflow. Sums are taken by ``total`` and ``dot``, which may
add in vector lanes; e^x itself must not be reassociated (see ``_math``), so it stays outside them.
"""
from numba import prange

from ._jit import REASSOCIATE, function, kernel
from ._math import exp, log
from .reduce import extreme


@function(fastmath=REASSOCIATE)
def total(x):
    """The sum of a row, in vector lanes."""
    acc = x[0] * 0
    for j in range(x.shape[0]):
        acc += x[j]
    return acc


@function(fastmath=REASSOCIATE)
def dot(x, y):
    """The sum of products of two rows, in vector lanes."""
    acc = x[0] * y[0] * 0
    for j in range(x.shape[0]):
        acc += x[j] * y[j]
    return acc


@kernel(grain=16384)
def softmax_forward(x, out):
    """y = e^(x - max) / sum, over the rows of (m, n): reads x twice, writes y twice, a row staying in cache."""
    for i in prange(x.shape[0]):
        row, y = x[i], out[i]
        top = extreme(row, True)
        for j in range(row.shape[0]):
            y[j] = exp(row[j] - top)
        s = 1 / total(y)
        for j in range(row.shape[0]):
            y[j] *= s


@kernel(grain=16384)
def softmax_backward(g, y, out):
    """gx = y (g - sum(g y)), over the rows of (m, n)."""
    for i in prange(g.shape[0]):
        gy, yy, gx = g[i], y[i], out[i]
        s = dot(gy, yy)
        for j in range(gy.shape[0]):
            gx[j] = yy[j] * (gy[j] - s)


@kernel(grain=16384)
def log_softmax_forward(x, out):
    """y = x - max - ln(sum(e^(x - max))), over the rows of (m, n)."""
    for i in prange(x.shape[0]):
        row, y = x[i], out[i]
        top = extreme(row, True)
        for j in range(row.shape[0]):
            y[j] = exp(row[j] - top)
        s = log(total(y))
        for j in range(row.shape[0]):
            y[j] = row[j] - top - s


@kernel(grain=16384)
def log_softmax_backward(g, y, out):
    """gx = g - e^y sum(g), over the rows of (m, n)."""
    for i in prange(g.shape[0]):
        gy, yy, gx = g[i], y[i], out[i]
        s = total(gy)
        for j in range(gy.shape[0]):
            gx[j] = gy[j] - exp(yy[j]) * s
