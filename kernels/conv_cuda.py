"""Convolutions on a CUDA device: which kernels do them, with which tiles, and in how many parts.

The entries are named as those of ``conv``. They take contiguous arrays of any shape, and the 5-d shapes (n, channels, depth,
height, width) of input, weight and output that are meant. Arrays may be float16 and bfloat16, too: what goes through tiles is
converted to float32 before, and the sums from it by the kernel that adds up the parts, of which there may be one.
"""
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import _cuda_conv_direct as direct
from . import _cuda_conv_tiles as tiles
from . import _driver
from ._cuda import WARP, blocks
from ._cuda_places import MOST, division
from ._device import empty

FLOAT32 = np.dtype(np.float32)
FEW_ROWS = 4            # output channels of a group up to which no tile is used
RESIDENT = 3            # blocks that a multiprocessor has room for
LEAST_SLICES = 16       # slices of the inner dimension that a part of a split product has at least
MOST_SPLITS = 64
MOST_ROWS = 65535       # of a grid, in its second and third dimension


def multiprocessors(device):
    """How many multiprocessors a device has."""
    return _driver.current().properties(device).multi_processor_count


def choose(dtype, rows, columns, inner, others, processors):
    """The ``Tile`` for ``others`` products of ``rows`` x ``columns`` over ``inner``, and into how many parts to split each.

    The tile is the one that takes least time with tiles enough for all multiprocessors; where there are none, parts do.
    """
    have = tiles.DOUBLE_TILES if dtype == np.float64 else tiles.TILES
    tile = min(have, key=lambda t: blocks(rows, t.rows) * blocks(columns, t.columns) * t.cost)
    count = blocks(rows, tile.rows) * blocks(columns, tile.columns) * others
    most = min(blocks(inner, tile.depth) // LEAST_SLICES, MOST_SPLITS)
    return tile, max(1, min(RESIDENT * processors // count, most))


class Plan(NamedTuple):
    """How a convolution is done: so many images at a time, by this kernel, in so many parts."""

    images: int
    kernel: object
    grid: tuple
    threads: int
    splits: int
    numbers: tuple          # the kernel's arguments after the number of images, and whether there is a bias


@lru_cache(1024)
def _plan(x, w, y, dtype, transposed, stride, padding, dilation, groups, processors):
    """The ``Plan`` for arrays of these shapes."""
    _check(x, w, y)
    channels, rows = (w[0] // groups, w[1]) if transposed else (w[1], w[0] // groups)
    kernel, size, out = w[2:], x[2:], y[2:]
    phases = math.prod(map(min, stride, out)) if transposed else 1
    if max(phases, groups) > MOST_ROWS:
        raise NotImplementedError(f"convolution on a CUDA device: {max(phases, groups)} steps of a stride, or groups; at most "
                                  f"{MOST_ROWS} are possible")
    positions = math.prod(map(blocks, out, stride)) if transposed else math.prod(out)       # of the largest phase
    images = min(x[0], MOST // max(positions, math.prod(x[1:]), math.prod(y[1:])))          # more than that 32 bits do not count
    columns, geometry = images * positions, (*kernel, *stride, *padding, *dilation, *size, *out)
    if rows <= FEW_ROWS:
        threads = min(direct.THREADS, WARP * blocks(columns, WARP * direct.EACH))
        position_blocks = blocks(columns, threads * direct.EACH)
        return Plan(images, direct.convolution_direct, (groups * rows * position_blocks, phases), threads, 1,
                    (channels, rows, groups, transposed, *geometry, position_blocks))
    # of all phases one at least has the average number of taps
    tile, splits = choose(dtype, rows, columns, channels * math.prod(kernel) // phases, groups * phases, processors)
    grid = blocks(rows, tile.rows) * blocks(columns, tile.columns), groups, phases * splits
    return Plan(images, tile.convolution, grid, tile.threads, splits, (channels, rows, splits, transposed, *geometry))


def conv_forward(x, w, bias, y, shapes, stride, padding, dilation, groups):
    """y = cross-correlation of x (n, groups * c, d, h, w) with w (groups * m, c, kd, kh, kw), plus bias (or None)."""
    _convolve(x, w, bias, y, *shapes, 0, stride, padding, dilation, groups)


def conv_input_grad(gy, w, bias, gx, shapes, stride, padding, dilation, groups):
    """gx = transposed convolution of gy (n, groups * m, ...) with w (groups * m, c, ...), plus bias (or None)."""
    x, weight, y = shapes
    _convolve(gy, w, bias, gx, y, weight, x, 1, stride, padding, dilation, groups)


def _convolve(x, w, bias, y, x_shape, w_shape, y_shape, transposed, *steps):
    plan = _plan(x_shape, w_shape, y_shape, y.dtype, transposed, *steps, multiprocessors(y.device))
    images, kernel, grid, threads, splits, numbers = plan
    if x_shape[0] > images:
        for n in range(0, x_shape[0], images):
            count = min(images, x_shape[0] - n)
            _convolve(x[n:n + count], w, bias, y[n:n + count], (count, *x_shape[1:]), w_shape, (count, *y_shape[1:]), transposed,
                      *steps)
        return
    real = _computed(y.dtype)
    if kernel is direct.convolution_direct or splits == 1 and y.dtype == real:
        kernel.launch(grid, threads, x, w, bias, y, images, int(bias is not None), *numbers)
        return
    sums = empty((splits, *y_shape), real, y.device)
    kernel.launch(grid, threads, x.astype(real, copy=False), w.astype(real, copy=False), None, sums, images, 0, *numbers)
    _add_parts(sums, bias, y, splits, math.prod(y_shape[2:]), y_shape[1])


@lru_cache(1024)
def _weight_plan(x, gw, gy, dtype, stride, padding, dilation, groups, processors):
    """The ``Plan`` for the weight's gradient."""
    _check(x, gw, gy)
    rows, channels, kernel, size, out = gw[0] // groups, gw[1], gw[2:], x[2:], gy[2:]
    images = min(x[0], MOST // max(math.prod(x[1:]), math.prod(gy[1:])))
    columns, positions = channels * math.prod(kernel), images * math.prod(out)
    geometry = (*kernel, *stride, *padding, *dilation, *size, *out)
    if rows <= FEW_ROWS:
        threads = min(direct.THREADS, WARP * blocks(x[0] * math.prod(out), WARP))
        return Plan(x[0], direct.weight_gradient_direct, (math.prod(gw),), threads, 1, (channels, rows, groups, *geometry))
    tile, splits = choose(dtype, rows, columns, positions, groups, processors)
    last = x[0] - (blocks(x[0], images) - 1) * images       # the images of the last turn, which may be fewer
    splits = min(splits, blocks(last * math.prod(out), tile.depth))
    grid = blocks(rows, tile.rows) * blocks(columns, tile.columns), groups, splits
    return Plan(images, tile.weight_gradient, grid, tile.threads, splits, (channels, rows, splits, *geometry))


def conv_weight_grad(x, gy, gw, shapes, *steps):
    """gw = correlation of gy (n, groups * m, ...) with x (n, groups * c, ...), in the weight's shape."""
    plan = _weight_plan(*shapes, gw.dtype, *steps, multiprocessors(gw.device))
    images, kernel, grid, threads, splits, numbers = plan
    turns, real = blocks(shapes[0][0], images), _computed(gw.dtype)
    if kernel is direct.weight_gradient_direct or splits == turns == 1 and gw.dtype == real:
        kernel.launch(grid, threads, x, gy, gw, images, *numbers)
        return
    x, gy = x.astype(real, copy=False), gy.astype(real, copy=False)
    sums = empty((turns, splits, *gw.shape), real, gw.device)
    for turn in range(turns):
        x_part, gy_part = x[turn * images:(turn + 1) * images], gy[turn * images:(turn + 1) * images]
        kernel.launch(grid, threads, x_part, gy_part, sums[turn], x_part.shape[0], *numbers)
    _add_parts(sums, None, gw, turns * splits, 1, 1)


def conv_bias_grad(gy, gb):
    """gb = sum of gy (n, channels, ...) over all but the channels."""
    images, channels, volume = gy.shape[0], gy.shape[1], math.prod(gy.shape[2:])
    if images * volume > MOST:
        raise _driver.OnHost("the sum of more than 2^31 elements a channel")
    by_four = volume % 4 == 0 and gy.dtype != np.float64 and not gy.ptr % (4 * gy.itemsize)
    kernel, vector = (direct.channel_sum_4, 4) if by_four else (direct.channel_sum_1, 1)
    share = 4 * direct.THREADS * vector         # elements from which a split pays
    splits = max(1, min(4 * multiprocessors(gy.device) // channels, images * volume // share, MOST_SPLITS))
    sums = gb if splits == 1 and gb.dtype == _computed(gb.dtype) else empty((splits, channels), _computed(gb.dtype), gb.device)
    kernel.launch(channels * splits, direct.THREADS, gy, sums, images, channels, volume, *division(volume // vector)[1:], splits)
    if sums is not gb:
        _add_parts(sums, None, gb, splits, 1, 1)


def _add_parts(sums, bias, out, splits, volume, channels):
    n = out.size
    direct.add_parts.launch(blocks(n, direct.THREADS), direct.THREADS, sums, out, bias, n, splits, int(bias is not None), volume,
                            channels)


def _computed(dtype):
    return dtype if dtype.char == "d" else FLOAT32


def _check(x, w, y):
    """Within an image, and of a weight, kernels count in 32 bits."""
    for what, shape in (("an image", x[1:]), ("a result", y[1:]), ("a weight", w)):
        if math.prod(shape) > MOST:
            raise NotImplementedError(f"convolution on a CUDA device: {what} of {math.prod(shape)} elements; at most {MOST} are "
                                      "possible")
