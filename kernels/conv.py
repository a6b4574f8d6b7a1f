"""Convolution in 1, 2 and 3 dimensions: forward, gradient of the input (= transposed convolution), gradient of the weight.

No matrix of patches is built. A task copies the part of the image that its block of outputs sees into a small padded
buffer ("planes"), split by phase where there is a stride; then tap (c, kh, kw) of a whole block of output positions is one
contiguous shifted row of that buffer, because flattened positions of an output row and of a buffer row have the same pitch.
So a convolution is a matrix product whose right operand is read through a table of starts (``product_tile``); positions
that fall between two output rows are computed and dropped, at most (pitch - width) / pitch of the work.

Along one axis source = u * multiplier + shift[tap], u the output index:

- forward: multiplier = stride, shift = tap * dilation - padding;
- input gradient: for each phase a = index mod stride, the taps with (a + padding - tap * dilation) divisible by stride,
  multiplier 1, shift = that quotient; the weight is read transposed;
- weight gradient: forward's planes, correlated with the output's gradient (``correlate_tile``).

Depth is not flattened: each depth tap is a plane of its own. Arrays are (n, channels, depth, height, width), 1-d and 2-d
convolution have unit extents in front. Tensors are float32 or float64.
"""
from functools import lru_cache
from itertools import product as pairs
from typing import NamedTuple

import numpy as np
from numba import carray, prange

from ._jit import REASSOCIATE, function, get_num_threads, kernel
from ._tasks import EMPTY, launch, threads_for
from ._tile import GRADS, SLACK, TAPS, TILE_ROWS, clear, copy_run, correlate_tile, product_tile, tile_rows

PARALLEL_PACK = 1 << 16         # elements of a weight from which threads pay for packing it
CACHE_ELEMENTS = 1 << 17        # elements of a task's planes: 512 KB of float32, half of the second-level cache
BLOCK_WIDTH = 512               # output columns of a task at most
BLOCK_POSITIONS = 256           # output positions of a task at least, if there are so many
CORRELATE_POSITIONS = 1024      # positions that a correlation tile should sum before its lanes are added up

# Fields of the geometry vector that kernels get: one small array is cheaper to pass than twenty numbers.
(GROUPS, CHANNELS, ROWS, DEPTH_STEP, HEIGHT_STEP, WIDTH_STEP, OUT_DEPTH, OUT_HEIGHT, OUT_WIDTH, BLOCK_H, BLOCK_W,
 PLANE_H, PLANE_W, START_D, START_H, START_W, STRIDE_D, STRIDE_H, STRIDE_W, W_GROUP, W_ROW, HAS_BIAS, IMAGES,
 IN_DEPTH, IN_HEIGHT, IN_WIDTH, FULL_DEPTH, FULL_HEIGHT, FULL_WIDTH, DEPTHS, PHASES, COUNT, PARTS) = range(33)


class Plan(NamedTuple):
    """Tables of one convolution: see the module's text."""

    geometry: np.ndarray        # the fields above
    depths: np.ndarray          # shift of each depth tap
    origins: np.ndarray         # (planes, 2): first source row and column of each phase
    starts: np.ndarray          # start of (channel, tap) in the planes, padded to a multiple of TAPS with the last one
    taps: np.ndarray            # element of the weight that belongs to it, relative to the group's and row's first


def _phases(shifts, step):
    """Origins of the planes of one axis, and for each shift its (plane, offset): shift = origin + offset * step."""
    low = min(shifts)
    used = sorted({(s - low) % step for s in shifts})
    places = [(used.index((s - low) % step), (s - low) // step) for s in shifts]
    return [low + phase for phase in used], places


def _blocks(planes, halo, out_height, out_width, tasks):
    """Rows and columns of outputs per task, so that its planes stay in cache and all threads have work."""
    width = min(out_width, BLOCK_WIDTH)
    pitch = width + halo[1]
    height = CACHE_ELEMENTS // (planes * pitch) - halo[0]
    height = max(height, -(-BLOCK_POSITIONS // pitch))
    threads = get_num_threads()
    if 4 * threads * -(-tasks // threads) > 5 * tasks:      # threads would wait for the last one
        height = min(height, -(-out_height // threads))
    height = max(1, min(height, out_height))
    return -(-out_height // -(-out_height // height)), width


def _plan(images, groups, channels, rows, weight_strides, axes, source, full, kernel, has_bias, threads):
    """A Plan. An axis is (step, shift of each tap used, index of each tap used, outputs, first output, output stride)."""
    steps, shifts, chosen, out, start, stride = zip(*axes)
    (origin_h, place_h), (origin_w, place_w) = (_phases(shifts[i], steps[i]) for i in (1, 2))
    halo = [max(offset for _, offset in places) for places in (place_h, place_w)]
    planes = len(origin_h) * len(origin_w)
    block_h, block_w = _blocks(channels * len(shifts[0]) * planes, halo, out[1], out[2], images * groups * out[0])
    pitch = block_w + halo[1]
    plane = (block_h + halo[0]) * pitch
    in_row = [phase * plane + offset for phase, offset in place_w]
    in_column = [phase * len(origin_w) * plane + offset * pitch for phase, offset in place_h]
    by_depth = np.arange(channels * len(shifts[0])) * (planes * plane)
    starts = np.add.outer(by_depth, np.add.outer(in_column, in_row)).ravel()
    in_kernel = np.add.outer(np.multiply(chosen[1], kernel[2]), chosen[2])
    taps = np.add.outer(np.arange(channels) * weight_strides[2],
                        np.add.outer(np.multiply(chosen[0], kernel[1] * kernel[2]), in_kernel)).ravel()
    sizes = len(shifts[0]), planes, starts.size, threads
    starts = np.append(starts, np.repeat(starts[-1:], -starts.size % TAPS))
    geometry = np.array([groups, channels, rows, *steps, *out, block_h, block_w, block_h + halo[0], pitch, *start, *stride,
                         *weight_strides[:2], has_bias, images, *source, *full, *sizes])
    return Plan(geometry, np.array(shifts[0]), np.array(list(pairs(origin_h, origin_w))).ravel(), starts, taps)


@lru_cache(512)
def _forward_plan(images, channels, rows, kernel, source, out, stride, padding, dilation, groups, has_bias, threads):
    volume = kernel[0] * kernel[1] * kernel[2]
    axes = [(s, [t * d - p for t in range(k)], range(k), o, 0, 1)
            for k, o, s, p, d in zip(kernel, out, stride, padding, dilation)]
    strides = rows * channels * volume, channels * volume, volume
    return _plan(images, groups, channels, rows, strides, axes, source, out, kernel, has_bias, threads)


@lru_cache(512)
def _input_plans(images, channels, rows, kernel, source, out, stride, padding, dilation, groups, has_bias, threads):
    """One plan for each phase of the input (here ``out``); None for a phase that no tap reaches."""
    axes = []
    for k, size, s, p, d in zip(kernel, out, stride, padding, dilation):
        phases = []
        for a in range(min(s, size)):
            taps = [t for t in range(k) if (a + p - t * d) % s == 0]
            phases.append((1, [(a + p - t * d) // s for t in taps], taps, -(-(size - a) // s), a, s))
        axes.append(phases)
    volume = kernel[0] * kernel[1] * kernel[2]
    strides = rows * channels * volume, volume, rows * volume
    return [_plan(images, groups, channels, rows, strides, phases, source, out, kernel, has_bias,
                  threads)
            if all(taps for _, _, taps, *_ in phases) else None for phases in pairs(*axes)]


# ---- kernels ---------------------------------------------------------------------------------------------------------
# Tasks (see _tasks.py) and their helpers, which are inlined.

@function(inline="always")
def fill_planes(x, image, depth, row, column, geometry, depths, origins, planes, at):
    """Copies what one block of outputs sees of the channels from element ``image`` of x on, into ``planes`` from ``at`` on.

    Outside the image the planes are 0. One read of the block and its halo, one write.
    """
    height, width, step_h, step_w = geometry[PLANE_H], geometry[PLANE_W], geometry[HEIGHT_STEP], geometry[WIDTH_STEP]
    d_max, h_max, w_max = geometry[IN_DEPTH], geometry[IN_HEIGHT], geometry[IN_WIDTH]
    run, zero = SLACK * 4 // planes.itemsize, planes.dtype.type(0)
    for c in range(geometry[CHANNELS]):
        for tap in range(geometry[DEPTHS]):
            d = depth * geometry[DEPTH_STEP] + depths[tap]
            for p in range(geometry[PHASES]):
                h0, w0 = row * step_h + origins[2 * p], column * step_w + origins[2 * p + 1]
                top, bottom = max(0, -(h0 // step_h)), min(height, -((h0 - h_max) // step_h))
                first, last = max(0, -(w0 // step_w)), min(width, -((w0 - w_max) // step_w))
                if d < 0 or d >= d_max:
                    bottom = top
                if (bottom - top) * (last - first) < height * width:
                    clear(planes, at, height * width)
                source = image + ((c * d_max + d) * h_max + h0) * w_max + w0
                for r in range(top, bottom):
                    if step_w == 1:
                        for j in range(first, last, run):
                            copy_run(x, source + r * step_h * w_max + j, planes, at + r * width + j, min(run, last - j), zero)
                    else:
                        for j in range(first, last):
                            planes[at + r * width + j] = x[source + r * step_h * w_max + j * step_w]
                at += height * width


@function(inline="always")
def store_tile(tile, columns, first, end, row, column, y0, bias, bias0, geometry, y):
    """Writes the positions from ``first`` on of one strip of tiles that are outputs, plus bias; the others are dropped."""
    pitch, rows, step = geometry[PLANE_W], geometry[ROWS], geometry[STRIDE_W]
    used = min(geometry[BLOCK_W], geometry[OUT_WIDTH] - column)
    channel = geometry[FULL_DEPTH] * geometry[FULL_HEIGHT] * geometry[FULL_WIDTH]
    t, stop = first, min(first + columns, end)
    while t < stop:
        r = t // pitch
        j0 = t - r * pitch
        run = min(used - j0, stop - t)
        to = y0 + (geometry[START_H] + (row + r) * geometry[STRIDE_H]) * geometry[FULL_WIDTH] \
            + geometry[START_W] + (column + j0) * step
        for m in range(rows):
            b = bias[bias0 + m] if geometry[HAS_BIAS] else tile.dtype.type(0)
            at = m * columns + t - first
            if step == 1:
                copy_run(tile, at, y, to, run, b)
            else:
                for j in range(run):
                    y[to + j * step] = tile[at + j] + b
            to += channel
        t = (r + 1) * pitch


@function(inline="always")
def place(block, geometry):
    """The image and group (as one number), output depth, first row and first column of a block of outputs."""
    blocks_w = -(-geometry[OUT_WIDTH] // geometry[BLOCK_W])
    blocks_h = -(-geometry[OUT_HEIGHT] // geometry[BLOCK_H])
    rest, column = block // blocks_w, block % blocks_w * geometry[BLOCK_W]
    rest, row = rest // blocks_h, rest % blocks_h * geometry[BLOCK_H]
    return rest // geometry[OUT_DEPTH], rest % geometry[OUT_DEPTH], row, column


def convolve_task(task, x, packed, bias, geometry, depths, origins, starts, taps, y):
    """y[n, g, m, u] = bias + sum over (c, tap) of w[g, m, c, tap] * x[n, g, c, u * step + shift[tap]], for one block of u.

    All channels m of one image, group and depth. Reads the block of x once, the weight once for every SLACK positions.
    """
    image, od, row, column = place(task, geometry)
    g = image % geometry[GROUPS]
    channels, rows, pitch, count = geometry[CHANNELS], geometry[ROWS], geometry[PLANE_W], geometry[COUNT]
    size = channels * geometry[DEPTHS] * geometry[PHASES] * geometry[PLANE_H] * pitch
    planes = np.empty(size + SLACK, carray(x, 1).dtype)
    columns = SLACK * 4 // planes.itemsize
    planes[size:] = 0
    x0 = image * channels * geometry[IN_DEPTH] * geometry[IN_HEIGHT] * geometry[IN_WIDTH]
    fill_planes(x, x0, od, row, column, geometry, depths, origins, planes, 0)
    tile = np.empty((rows + TILE_ROWS) * columns, planes.dtype)
    y0 = (image * rows * geometry[FULL_DEPTH] + geometry[START_D] + od * geometry[STRIDE_D]) \
        * geometry[FULL_HEIGHT] * geometry[FULL_WIDTH]
    end = (min(geometry[BLOCK_H], geometry[OUT_HEIGHT] - row) - 1) * pitch \
        + min(geometry[BLOCK_W], geometry[OUT_WIDTH] - column)
    for t in range(0, end, columns):
        m = 0
        while m < rows:
            height = tile_rows(rows - m)
            product_tile(height, packed, (g * (rows + 1) + m) * count, planes, t, starts, count, tile, m * columns, columns)
            m += height
        store_tile(tile, columns, t, end, row, column, y0, bias, g * rows, geometry, y)


def pack_task(task, w, right, extra, geometry, depths, origins, starts, taps, packed):
    """Lays one row of a group's weight out as product tiles read it: tile by tile, tap by tap, a tile's rows side by side."""
    rows, count = geometry[ROWS], geometry[COUNT]
    g, row = task // rows, task % rows
    m, height = 0, tile_rows(rows)
    while m + height <= row:
        m += height
        height = tile_rows(rows - m)
    source = g * geometry[W_GROUP] + row * geometry[W_ROW]
    # The last row stands in for those that fill up its tile: their sums are dropped.
    for r in range(row - m, height if row == rows - 1 else row - m + 1):
        target = (g * (rows + 1) + m) * count + r
        for k in range(count):
            packed[target + k * height] = w[source + taps[k]]


@function(inline="always")
def fill_gradients(gy, image, row, column, geometry, length, grads, at, step):
    """Copies a block of gy to rows of ``grads`` that are ``step`` apart, at the planes' pitch, with 0 between its rows."""
    height, width = geometry[OUT_HEIGHT], geometry[OUT_WIDTH]
    used_h, used_w = min(geometry[BLOCK_H], height - row), min(geometry[BLOCK_W], width - column)
    run, zero = SLACK * 4 // grads.itemsize, grads.dtype.type(0)
    for m in range(geometry[ROWS]):
        clear(grads, at, length)
        for r in range(used_h):
            source = image + (row + r) * width + column
            target = at + r * geometry[PLANE_W]
            for j in range(0, used_w, run):
                copy_run(gy, source + j, grads, target + j, min(run, used_w - j), zero)
        at += step
        image += geometry[OUT_DEPTH] * height * width


def correlate_task(part, x, gy, extra, geometry, depths, origins, starts, taps, parts):
    """gw[g, m, c, tap] = sum over u of gy[n, g, m, u] * x[n, g, c, u * step + shift[tap]], over the blocks of one part.

    The blocks of outputs are dealt to PARTS parts, whose sums the caller adds up; within a part as many blocks as a tile
    needs to be worth its horizontal sums are copied at once. x and gy are read once.
    """
    channels, rows, groups = geometry[CHANNELS], geometry[ROWS], geometry[GROUPS]
    out_h, out_w, block_h, block_w = geometry[OUT_HEIGHT], geometry[OUT_WIDTH], geometry[BLOCK_H], geometry[BLOCK_W]
    per_image = geometry[OUT_DEPTH] * -(-out_h // block_h) * -(-out_w // block_w)
    first = geometry[IMAGES] * per_image * part // geometry[PARTS]
    stop = geometry[IMAGES] * per_image * (part + 1) // geometry[PARTS]
    block = block_h * geometry[PLANE_W]
    batch = max(1, min(stop - first, -(-CORRELATE_POSITIONS // block)))
    size = channels * geometry[DEPTHS] * geometry[PHASES] * geometry[PLANE_H] * geometry[PLANE_W]
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
    weight = geometry[W_GROUP] * groups
    gw = carray(parts, (part + 1) * weight)[part * weight:]
    gw[:] = 0
    for pair in range((stop - first + batch - 1) // batch * groups):
        g, item = pair % groups, first + pair // groups * batch
        count = min(batch, stop - item)
        for b in range(count):
            n, od, row, column = place(item + b, geometry)
            x0 = (n * groups + g) * channels * geometry[IN_DEPTH] * geometry[IN_HEIGHT] * geometry[IN_WIDTH]
            fill_planes(x, x0, od, row, column, geometry, depths, origins, planes, b * size)
            gy0 = ((n * groups + g) * rows * geometry[OUT_DEPTH] + od) * out_h * out_w
            fill_gradients(gy, gy0, row, column, geometry, length, grads, b * length, step)
        for k in range(0, geometry[COUNT], TAPS):
            m = 0
            while m < rows:
                height = GRADS if rows - m >= GRADS else 2 if rows - m >= 2 else 1
                correlate_tile(height, grads, m * step, step, planes, 0, starts, k, lefts, rights,
                               count * length // lanes, tile)
                for i in range(height):
                    for j in range(min(TAPS, geometry[COUNT] - k)):
                        gw[g * geometry[W_GROUP] + (m + i) * geometry[W_ROW] + taps[k + j]] += tile[i * TAPS + j]
                m += height


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


# ---- entries ---------------------------------------------------------------------------------------------------------

def _convolve(plan, threads, x, w, bias, y):
    geometry, empty = plan.geometry, EMPTY[y.dtype]
    groups, packed = int(geometry[GROUPS]), np.empty(geometry[GROUPS] * (geometry[ROWS] + 1) * geometry[COUNT], y.dtype)
    launch(pack_task, groups * int(geometry[ROWS]), threads if w.size > PARALLEL_PACK else 1, w.reshape(-1), empty, empty, plan,
         packed)
    blocks = -(-geometry[OUT_HEIGHT] // geometry[BLOCK_H]) * -(-geometry[OUT_WIDTH] // geometry[BLOCK_W])
    tasks = geometry[IMAGES] * groups * geometry[OUT_DEPTH] * blocks
    launch(convolve_task, int(tasks), threads, x.reshape(-1), packed, empty if bias is None else bias, plan, y.reshape(-1))


def conv_forward(x, w, bias, y, stride, padding, dilation, groups):
    """y = cross-correlation of x (n, groups * c, d, h, w) with w (groups * m, c, kd, kh, kw), plus bias (or None).

    stride, padding and dilation are triples. All arrays are contiguous; y is written.
    """
    m, c = w.shape[0] // groups, w.shape[1]
    threads = threads_for(y.size * (w.size // w.shape[0]))
    _convolve(_forward_plan(x.shape[0], c, m, w.shape[2:], x.shape[2:], y.shape[2:], stride, padding, dilation, groups,
                       bias is not None, threads), threads, x, w, bias, y)


def conv_input_grad(gy, w, bias, gx, stride, padding, dilation, groups):
    """gx = transposed convolution of gy (n, groups * m, ...) with w (groups * m, c, ...), plus bias (or None)."""
    m, c = w.shape[0] // groups, w.shape[1]
    threads = threads_for(gy.size * (w.size // w.shape[0]))
    plans = _input_plans(gy.shape[0], m, c, w.shape[2:], gy.shape[2:], gx.shape[2:], stride, padding, dilation, groups,
                         bias is not None, threads)
    if None in plans:
        gx[...] = 0 if bias is None else bias.reshape(-1, 1, 1, 1)
    for plan in plans:
        if plan is not None:
            _convolve(plan, threads, gy, w, bias, gx)


def conv_weight_grad(x, gy, gw, stride, padding, dilation, groups):
    """gw = correlation of gy (n, groups * m, ...) with x (n, groups * c, ...), in the weight's shape."""
    m, c = gw.shape[0] // groups, gw.shape[1]
    threads = threads_for(gy.size * (gw.size // gw.shape[0]))
    plan = _forward_plan(x.shape[0], c, m, gw.shape[2:], x.shape[2:], gy.shape[2:], stride, padding, dilation, groups,
                         False, threads)
    parts = gw.reshape(-1) if threads == 1 else np.empty(threads * gw.size, gw.dtype)
    launch(correlate_task, threads, threads, x.reshape(-1), gy.reshape(-1), EMPTY[gw.dtype], plan, parts)
    if threads > 1:
        np.sum(parts.reshape(threads, -1), axis=0, out=gw.reshape(-1))


def conv_bias_grad(gy, gb):
    """gb = sum of gy (n, channels, d, h, w) over all but the channels."""
    sum_channels(gy.reshape(gy.shape[0], gy.shape[1], -1), gb)
