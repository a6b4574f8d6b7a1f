"""Normalisation: layer_norm over rows, batch_norm over channels; forward and backward.

Channels of (N, C, L) are runs of L numbers, N of each; where L is 1 the same kernels run along C instead.
"""
import math

import numpy as np
from numba import prange

from ._jit import function, kernel
from ._lanes import dot, dot_from, squares_from, total


@kernel(grain=16384)
def layer_norm_forward(x, weight, bias, eps, out, mean, rstd):
    """out = (x - mean) rstd weight + bias, rstd = 1 / sqrt(var + eps), over the rows of (m, n): reads x, writes out.

    weight and bias are (n,), or (0,) for none.
    """
    n = x.shape[1]
    for i in prange(x.shape[0]):
        row, y = x[i], out[i]
        one = x.dtype.type(1)
        mu = x.dtype.type(total(row) / n)
        for j in range(n):
            y[j] = row[j] - mu
        r = one / x.dtype.type(math.sqrt(dot(y, y) / n + eps))
        if weight.shape[0] and bias.shape[0]:
            for j in range(n):
                y[j] = y[j] * r * weight[j] + bias[j]
        elif weight.shape[0]:
            for j in range(n):
                y[j] *= r * weight[j]
        else:
            for j in range(n):
                y[j] *= r
        mean[i] = mu
        rstd[i] = r


@kernel(grain=16384)
def layer_norm_backward(g, x, weight, mean, rstd, gx, gweight, gbias):
    """gx = rstd (h - mean(h) - y mean(h y)) with h = g weight and y = (x - mean) rstd (Ba et al., 2016): reads g, x, writes gx.

    gweight and gbias (parts, n) get sums of g y and of g over a share of the rows each; (parts, 0) where they are not wanted.
    The number of parts does not depend on the number of threads, so neither do the sums.
    """
    m, n = x.shape
    parts = gweight.shape[0]
    for p in prange(parts):
        y = np.empty(n, x.dtype)
        if gweight.shape[1]:
            gweight[p] = 0
        if gbias.shape[1]:
            gbias[p] = 0
        for i in range(p * m // parts, (p + 1) * m // parts):
            row, h, gy, mu, r = x[i], gx[i], g[i], mean[i], rstd[i]
            for j in range(n):
                y[j] = (row[j] - mu) * r
            if gweight.shape[1]:
                sums = gweight[p]
                for j in range(n):
                    sums[j] += gy[j] * y[j]
            if gbias.shape[1]:
                sums = gbias[p]
                for j in range(n):
                    sums[j] += gy[j]
            if weight.shape[0]:
                for j in range(n):
                    h[j] = gy[j] * weight[j]
            else:
                for j in range(n):
                    h[j] = gy[j]
            a, b = x.dtype.type(total(h) / n), x.dtype.type(dot(h, y) / n)
            for j in range(n):
                h[j] = (h[j] - a - y[j] * b) * r


@function
def column_moments(x, mean, var):
    """channel_moments of (N, C)."""
    mean[:] = 0
    var[:] = 0
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            mean[c] += x[i, c]
    for c in range(x.shape[1]):
        mean[c] /= x.shape[0]
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            d = x[i, c] - mean[c]
            var[c] += d * d
    for c in range(x.shape[1]):
        var[c] /= x.shape[0]


@kernel(grain=16384)
def channel_moments(x, mean, var):
    """Mean and variance (divided by the count) of each channel of (N, C, L), in float64: reads x twice."""
    if x.shape[2] == 1:
        column_moments(x.reshape(x.shape[0], x.shape[1]), mean, var)
        return
    for c in prange(x.shape[1]):
        count, s, q = x.shape[0] * x.shape[2], 0.0, 0.0
        for i in range(x.shape[0]):
            s += total(x[i, c])
        centre = x.dtype.type(s / count)
        for i in range(x.shape[0]):
            q += squares_from(x[i, c], centre)
        rest = s / count - centre           # what rounding the mean added to every square
        mean[c] = s / count
        var[c] = q / count - rest * rest


@kernel(grain=16384)
def channel_affine(x, scale, shift, out):
    """out = x scale + shift with a scale and a shift for each channel of (N, C, L)."""
    channels = x.shape[1]
    if x.shape[2] == 1:
        for i in prange(x.shape[0]):
            row, y = x.reshape(x.size)[i * channels:(i + 1) * channels], out.reshape(x.size)[i * channels:(i + 1) * channels]
            for c in range(channels):
                y[c] = row[c] * scale[c] + shift[c]
        return
    for t in prange(x.shape[0] * channels):
        i, c = t // channels, t % channels
        row, y, a, b = x[i, c], out[i, c], scale[c], shift[c]
        for j in range(row.shape[0]):
            y[j] = row[j] * a + b


@kernel(grain=16384)
def channel_sums(g, x, mean, sums, products):
    """The sums of g and of g (x - mean) over each channel of (N, C, L), in float64."""
    if x.shape[2] == 1:
        sums[:] = 0
        products[:] = 0
        for i in range(x.shape[0]):
            for c in range(x.shape[1]):
                sums[c] += g[i, c, 0]
                products[c] += g[i, c, 0] * (x[i, c, 0] - mean[c])
        return
    for c in prange(x.shape[1]):
        a, b, centre = 0.0, 0.0, x.dtype.type(mean[c])
        for i in range(x.shape[0]):
            a += total(g[i, c])
            b += dot_from(g[i, c], x[i, c], centre)
        sums[c] = a
        products[c] = b


@kernel(grain=16384)
def channel_gradient(g, x, scale, slope, shift, out):
    """out = g scale + x slope + shift with three numbers for each channel of (N, C, L)."""
    channels = x.shape[1]
    if x.shape[2] == 1:
        for i in prange(x.shape[0]):
            for c in range(channels):
                out[i, c, 0] = g[i, c, 0] * scale[c] + (x[i, c, 0] * slope[c] + shift[c])
        return
    for t in prange(x.shape[0] * channels):
        i, c = t // channels, t % channels
        gy, row, gx, a, b, s = g[i, c], x[i, c], out[i, c], scale[c], slope[c], shift[c]
        for j in range(row.shape[0]):
            gx[j] = gy[j] * a + (row[j] * b + s)
