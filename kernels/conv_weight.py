"""Gradients of a convolution's weight and bias.

With few channels, taps of the weight are correlations of a gradient's row with shifted images, in vector lanes of positions
(``correlate_task``). With many, the planes are laid out channels last, and a tap is a matrix product over positions, in vector
lanes of channels (``weigh_task``): no lanes to add up, and no position that is not an output.
"""
from functools import lru_cache

import numpy as np
from numba import carray, prange

from . import _conv_planes as G
from ._conv_planes import fill_planes, forward_plan, place
from ._jit import REASSOCIATE, function, kernel
from ._tasks import EMPTY, NO_TABLE, launch, threads_for
from ._tile import (
    GRADS,
    SLACK,
    TAPS,
    TILE_ROWS,
    VECTOR_BYTES,
    clear,
    copy_run,
    correlate_tile,
    product_tile,
    tile_rows,
    transpose_tile,
)

CORRELATE_POSITIONS = 1024      # positions that a correlation tile should sum before its lanes are added up
WEIGH_POSITIONS = 256           # positions that a product tile should sum before it is added to the gradient
WEIGH_FILL = 0.7                # part of the lanes that channels must fill for ``weigh_task``


# ---- few channels ------------------------------------------------------------------------------------------------------

@function(inline="always")
def fill_gradients(gy, image, row, column, geometry, length, grads, at, step):
    """Copies a block of gy to rows of ``grads`` that are ``step`` apart, at the planes' pitch, with 0 between its rows."""
    height, width = geometry[G.OUT_HEIGHT], geometry[G.OUT_WIDTH]
    used_h, used_w = min(geometry[G.BLOCK_H], height - row), min(geometry[G.BLOCK_W], width - column)
    run, zero = SLACK * 4 // grads.itemsize, grads.dtype.type(0)
    for _ in range(geometry[G.ROWS]):
        clear(grads, at, length)
        for r in range(used_h):
            source = image + (row + r) * width + column
            target = at + r * geometry[G.PLANE_W]
            for j in range(0, used_w, run):
                copy_run(gy, source + j, grads, target + j, min(run, used_w - j), zero)
        at += step
        image += geometry[G.OUT_DEPTH] * height * width


def correlate_task(part, x, gy, extra, geometry, depths, origins, starts, taps, parts):
    """gw[g, m, c, tap] = sum over u of gy[n, g, m, u] * x[n, g, c, u * step + shift[tap]], over the blocks of one part.

    The blocks of outputs are dealt to PARTS parts, whose sums the caller adds up; within a part as many blocks as a tile
    needs to be worth its horizontal sums are copied at once. x and gy are read once.
    """
    channels, rows, groups = geometry[G.CHANNELS], geometry[G.ROWS], geometry[G.GROUPS]
    out_h, out_w, block_h, block_w = geometry[G.OUT_HEIGHT], geometry[G.OUT_WIDTH], geometry[G.BLOCK_H], geometry[G.BLOCK_W]
    per_image = geometry[G.OUT_DEPTH] * -(-out_h // block_h) * -(-out_w // block_w)
    first = geometry[G.IMAGES] * per_image * part // geometry[G.PARTS]
    stop = geometry[G.IMAGES] * per_image * (part + 1) // geometry[G.PARTS]
    block = block_h * geometry[G.PLANE_W]
    batch = max(1, min(stop - first, -(-CORRELATE_POSITIONS // block)))
    size = channels * geometry[G.DEPTHS] * geometry[G.PHASES] * geometry[G.PLANE_H] * geometry[G.PLANE_W]
    dtype = carray(x, 1).dtype
    lanes = SLACK * 2 // carray(x, 1).itemsize
    length = -(-block // lanes) * lanes
    planes = np.zeros(batch * size + length - block + SLACK, dtype)
    step = batch * length
    grads, tile = np.empty(rows * step, dtype), np.empty(GRADS * TAPS, dtype)
    lefts, rights = np.empty(step // lanes, np.int64), np.empty(step // lanes, np.int64)
    for i in range(lefts.size):
        lefts[i] = i * lanes
        rights[i] = i * lanes // length * size + i * lanes % length
    weight = geometry[G.W_GROUP] * groups
    gw = carray(parts, (part + 1) * weight)[part * weight:]
    gw[:] = 0
    for pair in range((stop - first + batch - 1) // batch * groups):
        g, item = pair % groups, first + pair // groups * batch
        count = min(batch, stop - item)
        for b in range(count):
            n, od, row, column = place(item + b, geometry)
            x0 = (n * groups + g) * channels * geometry[G.IN_DEPTH] * geometry[G.IN_HEIGHT] * geometry[G.IN_WIDTH]
            fill_planes(x, x0, od, row, column, geometry, depths, origins, planes, b * size)
            gy0 = ((n * groups + g) * rows * geometry[G.OUT_DEPTH] + od) * out_h * out_w
            fill_gradients(gy, gy0, row, column, geometry, length, grads, b * length, step)
        for k in range(0, geometry[G.COUNT], TAPS):
            m = 0
            while m < rows:
                height = GRADS if rows - m >= GRADS else 2 if rows - m >= 2 else 1
                correlate_tile(height, grads, m * step, step, planes, 0, starts, k, lefts, rights,
                               count * length // lanes, tile)
                for i in range(height):
                    for j in range(min(TAPS, geometry[G.COUNT] - k)):
                        gw[g * geometry[G.W_GROUP] + (m + i) * geometry[G.W_ROW] + taps[k + j]] += tile[i * TAPS + j]
                m += height


# ---- many channels -----------------------------------------------------------------------------------------------------

@function(inline="always")
def fill_channels_last(x, x0, depth, row, geometry, depths, origins, planes, at, pitch):
    """Copies what one block of output rows sees of an image into planes[position * pitch + channel], 0 outside the image."""
    height, width = geometry[G.PLANE_H], geometry[G.PLANE_W]
    d_max, h_max, w_max = geometry[G.IN_DEPTH], geometry[G.IN_HEIGHT], geometry[G.IN_WIDTH]
    channels, channel = geometry[G.CHANNELS], d_max * h_max * w_max
    lanes = VECTOR_BYTES // planes.itemsize
    h0, w0 = row * geometry[G.HEIGHT_STEP] + origins[0], origins[1]
    first, last = max(0, -w0), min(width, w_max - w0)
    for tap in range(geometry[G.DEPTHS]):
        d = depth * geometry[G.DEPTH_STEP] + depths[tap]
        top, bottom = max(0, -h0), min(height, h_max - h0)
        if d < 0 or d >= d_max:
            bottom = top
        if (bottom - top) * (last - first) < height * width:
            clear(planes, at, height * width * pitch)
        for r in range(top, bottom):
            source = x0 + (d * h_max + h0 + r) * w_max + w0
            target = at + r * width * pitch
            c = 0
            while c < channels:
                j = first
                if c + lanes <= channels:
                    while j + lanes <= last:
                        transpose_tile(0, x, source + c * channel + j, channel, planes, target + j * pitch + c, pitch)
                        j += lanes
                for i in range(j, last):
                    for k in range(c, min(c + lanes, channels)):
                        planes[target + i * pitch + k] = x[source + k * channel + i]
                c += lanes
        at += height * width * pitch


@function(inline="always")
def pack_gradients(gy, gy0, channel, used_h, width, rows, positions, at, packed):
    """packed[row's tile][at + position][row in tile] = gy[row, position]: the left operand of product tiles."""
    lanes = VECTOR_BYTES // packed.itemsize
    m = 0
    while m < rows:
        height = tile_rows(rows - m)
        target = m * positions + at * height
        j = 0
        if height == TILE_ROWS:
            while j + lanes <= used_h * width:
                transpose_tile(TILE_ROWS, gy, gy0 + m * channel + j, channel, packed, target + j * TILE_ROWS, TILE_ROWS)
                j += lanes
        for i in range(j, used_h * width):
            for r in range(height):
                packed[target + i * height + r] = gy[gy0 + min(m + r, rows - 1) * channel + i]
        m += height


def weigh_task(part, x, gy, extra, geometry, depths, origins, starts, taps, parts):
    """parts[part, g, tap, m, c] = sum over u of gy[n, g, m, u] * x[n, g, c, u * step + shift[tap]], over one part's blocks.

    x and gy are read once, and once more from the second-level cache for every tap.
    """
    channels, rows, groups, count = geometry[G.CHANNELS], geometry[G.ROWS], geometry[G.GROUPS], geometry[G.COUNT]
    out_h, out_w, block_h = geometry[G.OUT_HEIGHT], geometry[G.OUT_WIDTH], geometry[G.BLOCK_H]
    items = geometry[G.IMAGES] * geometry[G.OUT_DEPTH] * -(-out_h // block_h)
    first, stop = items * part // geometry[G.PARTS], items * (part + 1) // geometry[G.PARTS]
    batch = max(1, min(stop - first, -(-WEIGH_POSITIONS // (block_h * out_w))))
    real = carray(x, 1)
    width = SLACK * 4 // real.itemsize
    pitch = -(-channels // width) * width
    size = geometry[G.DEPTHS] * geometry[G.PLANE_H] * geometry[G.PLANE_W] * pitch
    planes = np.zeros(batch * size, real.dtype)
    positions = batch * block_h * out_w + 1         # one more: the last transposed store writes past its rows
    places, packed = np.empty(positions, np.int64), np.empty((rows + 1) * positions + width, real.dtype)
    tile = np.empty(TILE_ROWS * width, real.dtype)
    weight = groups * count * rows * channels
    gw = carray(parts, (part + 1) * weight)[part * weight:]
    gw[:] = 0
    channel = geometry[G.OUT_DEPTH] * out_h * out_w
    for pair in range((stop - first + batch - 1) // batch * groups):
        g, item = pair % groups, first + pair // groups * batch
        used = 0
        for b in range(min(batch, stop - item)):
            image, od, row, column = place(item + b, geometry)
            image = image * groups + g
            x0 = image * channels * geometry[G.IN_DEPTH] * geometry[G.IN_HEIGHT] * geometry[G.IN_WIDTH]
            fill_channels_last(x, x0, od, row, geometry, depths, origins, planes, b * size, pitch)
            used_h = min(block_h, out_h - row)
            for r in range(used_h):
                for j in range(out_w):
                    places[used + r * out_w + j] = b * size + pitch * (
                        r * geometry[G.HEIGHT_STEP] * geometry[G.PLANE_W] + j * geometry[G.WIDTH_STEP])
            pack_gradients(gy, image * rows * channel + (od * out_h + row) * out_w, channel, used_h, out_w, rows, positions,
                           used, packed)
            used += used_h * out_w
        for tap in range(count):
            for c in range(0, channels, width):
                run = min(width, channels - c)
                m = 0
                while m < rows:
                    height = tile_rows(rows - m)
                    product_tile(height, packed, m * positions, planes, starts[tap] * pitch + c, places, used, tile, 0, width)
                    for r in range(min(height, rows - m)):
                        target = ((g * count + tap) * rows + m + r) * channels + c
                        for j in range(run):
                            gw[target + j] += tile[r * width + j]
                    m += height


@lru_cache(512)
def _weigh_plan(images, channels, rows, kernel, source, out, stride, padding, dilation, groups, threads, width):
    """The tables of ``weigh_task``: planes without phases, and where each tap lies in them, in positions."""
    def extent(outputs, axis):
        return (outputs - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
    plane_w = extent(out[2], 2)
    per_row = kernel[0] * -(-channels // width) * width * plane_w * stride[1]
    block_h = max(G.CACHE_ELEMENTS // per_row, -(-G.BLOCK_POSITIONS // out[2]))
    if images * out[0] < threads:
        block_h = min(block_h, -(-out[1] // threads))
    block_h = max(1, min(block_h, out[1]))
    plane_h = extent(block_h, 1)
    geometry = np.zeros(G.FIELDS, np.int64)
    for field, value in ((G.GROUPS, groups), (G.CHANNELS, channels), (G.ROWS, rows), (G.DEPTH_STEP, stride[0]),
                         (G.HEIGHT_STEP, stride[1]), (G.WIDTH_STEP, stride[2]), (G.OUT_DEPTH, out[0]), (G.OUT_HEIGHT, out[1]),
                         (G.OUT_WIDTH, out[2]), (G.BLOCK_H, block_h), (G.BLOCK_W, out[2]), (G.PLANE_H, plane_h),
                         (G.PLANE_W, plane_w), (G.IMAGES, images), (G.IN_DEPTH, source[0]), (G.IN_HEIGHT, source[1]),
                         (G.IN_WIDTH, source[2]), (G.DEPTHS, kernel[0]), (G.COUNT, kernel[0] * kernel[1] * kernel[2]),
                         (G.PARTS, threads)):
        geometry[field] = value
    depth, height, across = (np.arange(k) * d for k, d in zip(kernel, dilation))
    starts = np.add.outer(np.arange(kernel[0]) * plane_h * plane_w, np.add.outer(height * plane_w, across)).ravel()
    return geometry, depth - padding[0], -np.array(padding[1:]), starts, NO_TABLE


# ---- entries ---------------------------------------------------------------------------------------------------------

@kernel(grain=65536, fastmath=REASSOCIATE)
def sum_channels(gy, gb):
    """gb[c] = sum of gy[:, c, :]; gy is (n, channels, positions), read once."""
    for c in prange(gy.shape[1]):
        total = gy.dtype.type(0)
        for n in range(gy.shape[0]):
            row = gy[n, c]
            part = gy.dtype.type(0)
            for i in range(row.size):
                part += row[i]
            total += part
        gb[c] = total


def conv_weight_grad(x, gy, gw, stride, padding, dilation, groups):
    """gw = correlation of gy (n, groups * m, ...) with x (n, groups * c, ...), in the weight's shape."""
    m, c, kernel = gw.shape[0] // groups, gw.shape[1], gw.shape[2:]
    threads = threads_for(gy.size * (gw.size // gw.shape[0]))
    width = SLACK * 4 // gw.itemsize
    shapes = x.shape[0], c, m, kernel, x.shape[2:], gy.shape[2:], stride, padding, dilation, groups
    if c >= WEIGH_FILL * width * -(-c // width):
        parts = np.empty((threads, groups, *kernel, m, c), gw.dtype)
        launch(weigh_task, threads, threads, x.reshape(-1), gy.reshape(-1), EMPTY[gw.dtype],
               _weigh_plan(*shapes, threads, width), parts.reshape(-1))
        total = parts[0] if threads == 1 else parts.sum(0)
        gw.reshape(groups, m, c, *kernel)[...] = total.transpose(0, 4, 5, 1, 2, 3)
        return
    parts = gw.reshape(-1) if threads == 1 else np.empty(threads * gw.size, gw.dtype)
    launch(correlate_task, threads, threads, x.reshape(-1), gy.reshape(-1), EMPTY[gw.dtype],
           forward_plan(*shapes, False, threads), parts)
    if threads > 1:
        np.sum(parts.reshape(threads, -1), axis=0, out=gw.reshape(-1))


def conv_bias_grad(gy, gb):
    """gb = sum of gy (n, channels, d, h, w) over all but the channels."""
    sum_channels(gy.reshape(gy.shape[0], gy.shape[1], -1), gb)
