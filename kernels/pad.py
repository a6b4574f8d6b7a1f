"""Padding and resampling: copies along tables of source positions, and weighted sums of a few neighbours along one axis.

Reflecting, replicating and circular padding and nearest-neighbour resampling take, for each output position of an axis, one
source position: ``gather_grid``. Linear, bilinear, trilinear, bicubic and antialiased resampling are one ``resample`` an axis,
with a table of neighbours and weights for each output position. The gradients are the transposed loops.

On a CUDA device ``_cuda_grids`` does the same, and resamples all axes at once.
"""
from numba import prange

from ._jit import kernel


@kernel
def gather_grid(x, depths, heights, widths, y):
    """y[m, d, h, w] = x[m, depths[d], heights[h], widths[w]]; one read and one write of y's size."""
    for m in prange(x.shape[0]):
        for d in range(depths.size):
            for h in range(heights.size):
                source, target = x[m, depths[d], heights[h]], y[m, d, h]
                for w in range(widths.size):
                    target[w] = source[widths[w]]


@kernel
def scatter_grid(gy, depths, heights, widths, gx):
    """gx[m, depths[d], heights[h], widths[w]] += gy[m, d, h, w], from zero: the gradient of ``gather_grid``."""
    for m in prange(gy.shape[0]):
        gx[m] = 0
        for d in range(depths.size):
            for h in range(heights.size):
                source, target = gy[m, d, h], gx[m, depths[d], heights[h]]
                for w in range(widths.size):
                    target[widths[w]] += source[w]


@kernel
def resample(x, sources, weights, y):
    """y[m, o, i] = sum over k of weights[o, k] * x[m, sources[o, k], i]; x is (m, n, inner), y (m, outputs, inner)."""
    for m in prange(x.shape[0]):
        for o in range(sources.shape[0]):
            target = y[m, o]
            target[:] = 0
            for k in range(sources.shape[1]):
                source, weight = x[m, sources[o, k]], weights[o, k]
                for i in range(target.size):
                    target[i] += weight * source[i]


@kernel
def resample_grad(gy, sources, weights, gx):
    """gx[m, sources[o, k], i] += weights[o, k] * gy[m, o, i], from zero: the gradient of ``resample``."""
    for m in prange(gy.shape[0]):
        gx[m] = 0
        for o in range(sources.shape[0]):
            source = gy[m, o]
            for k in range(sources.shape[1]):
                target, weight = gx[m, sources[o, k]], weights[o, k]
                for i in range(source.size):
                    target[i] += weight * source[i]


@kernel
def resample_rows(x, sources, weights, y):
    """``resample`` along the last axis: y[m, o] = sum over k of weights[o, k] * x[m, sources[o, k]]."""
    for m in prange(x.shape[0]):
        for o in range(sources.shape[0]):
            total = weights[o, 0] * x[m, sources[o, 0]]
            for k in range(1, sources.shape[1]):
                total += weights[o, k] * x[m, sources[o, k]]
            y[m, o] = total


@kernel
def resample_rows_grad(gy, sources, weights, gx):
    """The gradient of ``resample_rows``: gx[m, sources[o, k]] += weights[o, k] * gy[m, o], from zero."""
    for m in prange(gy.shape[0]):
        gx[m] = 0
        for o in range(sources.shape[0]):
            for k in range(sources.shape[1]):
                gx[m, sources[o, k]] += weights[o, k] * gy[m, o]


# ---- on a CUDA device --------------------------------------------------------------------------------------------------

@gather_grid.on_device
def _gather_grid(x, depths, heights, widths, y):
    from . import _cuda_grids

    _cuda_grids.gather_grid(x, depths, heights, widths, y)


@scatter_grid.on_device
def _scatter_grid(gy, depths, heights, widths, gx):
    from . import _cuda_grids

    _cuda_grids.scatter_grid(gy, depths, heights, widths, gx)
