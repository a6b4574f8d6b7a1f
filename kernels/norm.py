"""Normalisation: layer_norm over rows, batch_norm over channels; forward and backward."""
import math

from numba import prange

from ._jit import REASSOCIATE, function, kernel


@function(fastmath=REASSOCIATE)
def total(x):
    """The sum of a row, in vector lanes."""
    acc = x[0] * 0
    for j in range(x.shape[0]):
        acc += x[j]
    return acc


@function(fastmath=REASSOCIATE)
def spread(x, mean):
    """The sum of squared deviations of a row, in vector lanes."""
    acc = x[0] * 0
    for j in range(x.shape[0]):
        d = x[j] - mean
        acc += d * d
    return acc


@kernel(grain=16384)
def normalize_rows(x, eps, out, mean, rstd):
    """out = (x - mean) rstd with rstd = 1 / sqrt(var + eps), over the rows of (m, n)."""
    n = x.shape[1]
    for i in prange(x.shape[0]):
        row, y = x[i], out[i]
        one = row[0] * 0 + 1
        mu = total(row) / n * one
        r = one / math.sqrt(spread(row, mu) / n * one + eps * one)
        for j in range(n):
            y[j] = (row[j] - mu) * r
        mean[i] = mu
        rstd[i] = r


@kernel(grain=16384)
def scale_rows(x, weight, bias, out):
    """out = x weight + bias, for (m, n) with weight and bias (n,); may run in place."""
    for i in prange(x.shape[0]):
        row, y = x[i], out[i]
        for j in range(row.shape[0]):
            y[j] = row[j] * weight[j] + bias[j]


@function(fastmath=REASSOCIATE)
def two_sums(g, x):
    """The sums of g and of g x."""
    a, b = g[0] * 0, g[0] * x[0] * 0
    for j in range(g.shape[0]):
        a += g[j]
        b += g[j] * x[j]
    return a, b


@kernel(grain=16384)
def normalize_rows_backward(g, y, rstd, out):
    """gx = rstd (g - mean(g) - y mean(g y)), y the normalised rows of (m, n) (Ba et al., 2016)."""
    n = g.shape[1]
    for i in prange(g.shape[0]):
        gy, yy, gx = g[i], y[i], out[i]
        a, b = two_sums(gy, yy)
        a /= n
        b /= n
        r = rstd[i]
        for j in range(n):
            gx[j] = (gy[j] - a - yy[j] * b) * r
