"""Convolution in 1, 2 and 3 dimensions: forward, and gradient of the input (= transposed convolution).

No matrix of patches is built. Flattened positions of an output row and of a plane's row (see ``_conv_planes``) have the same
pitch, so a convolution is a matrix product whose right operand is read through a table of starts (``product_tile``): row k is
the padded image, shifted by tap k. Positions that fall between two output rows are computed and dropped, at most (pitch -
width) / pitch of the work. Depth is not flattened: each depth tap is a plane of its own.

Arrays are (n, channels, depth, height, width), 1-d and 2-d convolution have unit extents in front; float32 or float64. The
gradients of weight and bias are in ``conv_weight``.
"""
import numpy as np
from numba import carray

from . import _conv_planes as G
from ._conv_planes import fill_planes, forward_plan, input_plans, place
from ._jit import function
from ._tasks import EMPTY, launch, threads_for
from ._tile import SLACK, TILE_ROWS, copy_run, product_tile, tile_rows
from .conv_weight import conv_bias_grad, conv_weight_grad

__all__ = ["conv_bias_grad", "conv_forward", "conv_input_grad", "conv_weight_grad"]

PARALLEL_PACK = 1 << 16         # elements of a weight from which threads pay for packing it


@function(inline="always")
def store_tile(tile, columns, first, end, row, column, y0, bias, bias0, geometry, y):
    """Writes the positions from ``first`` on of one strip of tiles that are outputs, plus bias; the others are dropped."""
    pitch, rows, step = geometry[G.PLANE_W], geometry[G.ROWS], geometry[G.STRIDE_W]
    used = min(geometry[G.BLOCK_W], geometry[G.OUT_WIDTH] - column)
    channel = geometry[G.FULL_DEPTH] * geometry[G.FULL_HEIGHT] * geometry[G.FULL_WIDTH]
    t, stop = first, min(first + columns, end)
    while t < stop:
        r = t // pitch
        j0 = t - r * pitch
        run = min(used - j0, stop - t)
        to = y0 + (geometry[G.START_H] + (row + r) * geometry[G.STRIDE_H]) * geometry[G.FULL_WIDTH] \
            + geometry[G.START_W] + (column + j0) * step
        for m in range(rows):
            b = bias[bias0 + m] if geometry[G.HAS_BIAS] else tile.dtype.type(0)
            at = m * columns + t - first
            if step == 1:
                copy_run(tile, at, y, to, run, b)
            else:
                for j in range(run):
                    y[to + j * step] = tile[at + j] + b
            to += channel
        t = (r + 1) * pitch


def convolve_task(task, x, packed, bias, geometry, depths, origins, starts, taps, y):
    """y[n, g, m, u] = bias + sum over (c, tap) of w[g, m, c, tap] * x[n, g, c, u * step + shift[tap]], for one block of u.

    All channels m of one image, group and depth. Reads the block of x once, the weight once for every SLACK positions.
    """
    image, od, row, column = place(task, geometry)
    g = image % geometry[G.GROUPS]
    channels, rows, pitch, count = geometry[G.CHANNELS], geometry[G.ROWS], geometry[G.PLANE_W], geometry[G.COUNT]
    size = channels * geometry[G.DEPTHS] * geometry[G.PHASES] * geometry[G.PLANE_H] * pitch
    planes = np.empty(size + SLACK, carray(x, 1).dtype)
    columns = SLACK * 4 // planes.itemsize
    planes[size:] = 0
    x0 = image * channels * geometry[G.IN_DEPTH] * geometry[G.IN_HEIGHT] * geometry[G.IN_WIDTH]
    fill_planes(x, x0, od, row, column, geometry, depths, origins, planes, 0)
    tile = np.empty((rows + TILE_ROWS) * columns, planes.dtype)
    y0 = (image * rows * geometry[G.FULL_DEPTH] + geometry[G.START_D] + od * geometry[G.STRIDE_D]) \
        * geometry[G.FULL_HEIGHT] * geometry[G.FULL_WIDTH]
    end = (min(geometry[G.BLOCK_H], geometry[G.OUT_HEIGHT] - row) - 1) * pitch \
        + min(geometry[G.BLOCK_W], geometry[G.OUT_WIDTH] - column)
    for t in range(0, end, columns):
        m = 0
        while m < rows:
            height = tile_rows(rows - m)
            product_tile(height, packed, (g * (rows + 1) + m) * count, planes, t, starts, count, tile, m * columns, columns)
            m += height
        store_tile(tile, columns, t, end, row, column, y0, bias, g * rows, geometry, y)


def pack_task(task, w, right, extra, geometry, depths, origins, starts, taps, packed):
    """Lays one row of a group's weight out as product tiles read it: tile by tile, tap by tap, a tile's rows side by side."""
    rows, count = geometry[G.ROWS], geometry[G.COUNT]
    g, row = task // rows, task % rows
    m, height = 0, tile_rows(rows)
    while m + height <= row:
        m += height
        height = tile_rows(rows - m)
    source = g * geometry[G.W_GROUP] + row * geometry[G.W_ROW]
    # The last row stands in for those that fill up its tile: their sums are dropped.
    for r in range(row - m, height if row == rows - 1 else row - m + 1):
        target = (g * (rows + 1) + m) * count + r
        for k in range(count):
            packed[target + k * height] = w[source + taps[k]]


# ---- entries ---------------------------------------------------------------------------------------------------------

def _convolve(plan, threads, x, w, bias, y):
    geometry, empty = plan.geometry, EMPTY[y.dtype]
    groups, packed = int(geometry[G.GROUPS]), np.empty(geometry[G.GROUPS] * (geometry[G.ROWS] + 1) * geometry[G.COUNT], y.dtype)
    launch(pack_task, groups * int(geometry[G.ROWS]), threads if w.size > PARALLEL_PACK else 1, w.reshape(-1), empty, empty, plan,
         packed)
    blocks = -(-geometry[G.OUT_HEIGHT] // geometry[G.BLOCK_H]) * -(-geometry[G.OUT_WIDTH] // geometry[G.BLOCK_W])
    tasks = geometry[G.IMAGES] * groups * geometry[G.OUT_DEPTH] * blocks
    launch(convolve_task, int(tasks), threads, x.reshape(-1), packed, empty if bias is None else bias, plan, y.reshape(-1))


def conv_forward(x, w, bias, y, stride, padding, dilation, groups):
    """y = cross-correlation of x (n, groups * c, d, h, w) with w (groups * m, c, kd, kh, kw), plus bias (or None).

    stride, padding and dilation are triples. All arrays are contiguous; y is written.
    """
    m, c = w.shape[0] // groups, w.shape[1]
    threads = threads_for(y.size * (w.size // w.shape[0]))
    _convolve(forward_plan(x.shape[0], c, m, w.shape[2:], x.shape[2:], y.shape[2:], stride, padding, dilation, groups,
                       bias is not None, threads), threads, x, w, bias, y)


def conv_input_grad(gy, w, bias, gx, stride, padding, dilation, groups):
    """gx = transposed convolution of gy (n, groups * m, ...) with w (groups * m, c, ...), plus bias (or None)."""
    m, c = w.shape[0] // groups, w.shape[1]
    threads = threads_for(gy.size * (w.size // w.shape[0]))
    plans = input_plans(gy.shape[0], m, c, w.shape[2:], gy.shape[2:], gx.shape[2:], stride, padding, dilation, groups,
                         bias is not None, threads)
    if None in plans:
        gx[...] = 0 if bias is None else bias.reshape(-1, 1, 1, 1)
    for plan in plans:
        if plan is not None:
            _convolve(plan, threads, gy, w, bias, gx)
