"""Padding, resampling, and windows as columns on a CUDA device.

The first two read tables of source positions, as their CPU kernels in ``pad`` do; ``_cuda_tables`` keeps them on the device. The
gradients are gathered, too: turned round, the tables say for each element which outputs it is a source of, so that each sum has
an order and nothing is added atomically.
"""
import math

import numpy as np

from . import _driver
from ._cuda import COMPLEX, FLOATING, NUMBERS, A, T, blocks, cuda, device_kernel, load, store
from ._cuda_places import MOST, WORDS, division, indices, quotient
from ._cuda_tables import kept

THREADS = 256
MOST_TAPS = 36          # elements that one pass over several axes may read for an output; more are read axis by axis
_PLACE = " I" * 10      # how many elements, and the divisions of ``indices``
_MOVED = ("int8", "int16", "int32", "int64", "complex128")


# ---- positions ---------------------------------------------------------------------------------------------------------

@device_kernel("T* T* i* i* i*" + _PLACE + " q q q", T=_MOVED, threads=THREADS)
def gather_positions(x, y, depths, heights, widths, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, depth, height, width):
    """y[m, d, h, w] = x[m, depths[d], heights[h], widths[w]], one element a thread; reads and writes y's size."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        m, d, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
        row = (m * depth + load(depths, d)) * height + load(heights, h)
        store(y, np.int64(i), load(x, row * width + load(widths, w)))


@device_kernel("T* T* i* i* i* i* i* i*" + _PLACE + " q q q", T=FLOATING + COMPLEX, threads=THREADS)
def add_positions(gy, gx, first_d, outputs_d, first_h, outputs_h, first_w, outputs_w, count, n1, f1, h1, n2, f2, h2, n3, f3, h3,
                  depth, height, width):
    """gx[m, d, h, w] = sum of gy[m, outputs of d, outputs of h, outputs of w]: the gradient of ``gather_positions``.

    Element d of an axis is the source of outputs_d[first_d[d]] to outputs_d[first_d[d + 1] - 1]. One element a thread.
    """
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    m, d, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    end_d, end_h, end_w, total = load(first_d, d + 1), load(first_h, h + 1), load(first_w, w + 1), A(0)
    j_d = load(first_d, d)
    while j_d < end_d:
        j_h = load(first_h, h)
        while j_h < end_h:
            row, j_w = np.int32(((m * depth + load(outputs_d, j_d)) * height + load(outputs_h, j_h)) * width), load(first_w, w)
            while j_w < end_w:
                total += load(gy, np.int32(row + load(outputs_w, j_w)))
                j_w = np.int32(j_w + 1)
            j_h = np.int32(j_h + 1)
        j_d = np.int32(j_d + 1)
    store(gx, np.int64(i), total)


def sources(table):
    """A table of positions as kernels read it."""
    return (table.astype(np.int32),)


def outputs_of(table, size):
    """For each of ``size`` elements, where its outputs start, and the outputs, from a table of each output's source."""
    counts = np.bincount(table, minlength=size)
    return np.append(0, np.cumsum(counts)).astype(np.int32), np.argsort(table, kind="stable").astype(np.int32)


def gather_grid(x, depths, heights, widths, y):
    """``pad.gather_grid``; any dtype."""
    tables = [kept(x.device, sources, table)[0] for table in (depths, heights, widths)]
    word = WORDS[x.itemsize]
    _launch(gather_positions, y.shape, [x.view(word), y.view(word)], tables, *x.shape[1:])


def scatter_grid(gy, depths, heights, widths, gx):
    """``pad.scatter_grid``."""
    tables = [a for table, size in zip((depths, heights, widths), gx.shape[1:]) for a in kept(gy.device, outputs_of, table, size)]
    _launch(add_positions, gx.shape, [gy, gx], tables, *gy.shape[1:])


@device_kernel("T* T*" + _PLACE + " q" * 6 + " T", T=_MOVED[:4], threads=THREADS)
def pad_constant(x, y, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, depth, height, width, front_d, front_h, front_w, value):
    """y[m, d, h, w] = x[m, d - front_d, h - front_h, w - front_w], value where that is outside; one element a thread."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        m, d, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
        d, h, w = d - front_d, h - front_h, w - front_w
        there = (0 <= d) & (d < depth) & (0 <= h) & (h < height) & (0 <= w) & (w < width)
        store(y, np.int64(i), load(x, ((m * depth + d) * height + h) * width + w) if there else value)


def constant_pad(x, pairs, value, y):
    """y = x with (front, back) of each dimension in ``pairs`` filled with ``value``, cut off where negative. One pass.

    False, and nothing done, for elements of 16 bytes, and where more than three dimensions are padded.
    """
    merged = [[1, 0, 0, 1]]         # size, front, back, size of y: an unpadded dimension is part of the one before
    for size, (front, back), out in zip(x.shape, pairs, y.shape):
        if front or back:
            merged.append([size, front, back, out])
        else:
            merged[-1] = [n * size for n in merged[-1]]
    if len(merged) > 4 or x.itemsize > 8:
        return False
    rows, axes = merged[0][0], [[1, 0, 0, 1]] * (4 - len(merged)) + merged[1:]
    word = WORDS[x.itemsize]
    value = np.array(value).astype(x.dtype).view(word)[()]
    x, y = x.view(word).reshape(rows, -1), y.view(word).reshape(rows, -1)
    sizes, fronts, _, out = zip(*axes)
    _launch(pad_constant, (rows, *out), [x, y], [], *sizes, *fronts, value)
    return True


# ---- resampling --------------------------------------------------------------------------------------------------------

def tap_of(sources, weights, o, taps, j):
    """The source and the weight of tap ``j`` of output ``o``: itself, where there are no taps."""
    if taps == 0:
        return np.int32(o), A(1)
    return load(sources, o * taps + j), load(weights, o * taps + j)


@device_kernel("T* T* i* A* i* A* i* A*" + _PLACE + " q" * 6, T=FLOATING, threads=THREADS)
def resample(x, y, sources_d, weights_d, sources_h, weights_h, sources_w, weights_w, count, n1, f1, h1, n2, f2, h2, n3, f3, h3,
             depth, height, width, taps_d, taps_h, taps_w):
    """y[m, d, h, w] = sum over the taps of all axes of the weights' product times x[m, their sources]; one element a thread.

    Output d of an axis has the sources sources_d[d * taps_d ...], less those that are -1; 0 taps: itself.
    """
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    m, d, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    total = A(0)
    for j_d in range(max(taps_d, 1)):
        at_d, weight_d = tap_of(sources_d, weights_d, d, taps_d, j_d)
        for j_h in range(max(taps_h, 1)):
            at_h, weight_h = tap_of(sources_h, weights_h, h, taps_h, j_h)
            row, weight = ((m * depth + at_d) * height + at_h) * width, weight_d * weight_h
            for j_w in range(max(taps_w, 1)):
                at_w, weight_w = tap_of(sources_w, weights_w, w, taps_w, j_w)
                if at_d | at_h | at_w >= 0:
                    total += weight * weight_w * load(x, row + at_w)
    store(y, np.int64(i), total)


def weighted(sources, weights):
    """A table of resampling as kernels read it."""
    return sources.astype(np.int32), weights


def turned(sources, weights, size):
    """The table of the gradient: the outputs of each of ``size`` elements, and their weights; -1 where an element has fewer."""
    outputs, taps = sources.shape
    pairs, place = np.unique(sources.ravel() * outputs + np.repeat(np.arange(outputs), taps), return_inverse=True)
    sums = np.zeros(pairs.size, weights.dtype)
    np.add.at(sums, place.ravel(), weights.ravel())         # an output may have the same source twice, at the borders
    element, output = np.divmod(pairs, outputs)
    counts = np.bincount(element, minlength=size)
    rank = np.arange(pairs.size) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((size, max(1, counts.max())), -1, np.int32), np.zeros((size, max(1, counts.max())), weights.dtype)
    found[0][element, rank], found[1][element, rank] = output, sums
    return found


def resample_axes(x, tables, sizes, gradient):
    """x (rows, d, h, w) resampled to ``sizes`` = (d, h, w) with a (sources, weights) for each axis, None to leave it.

    ``gradient``: the tables are those of the resampling from ``sizes`` whose gradient this is. All axes in one pass where an
    output has few taps, else one pass for each, in float32 at least.
    """
    real = np.float64 if x.dtype == np.float64 else np.float32
    found = []
    for table, size in zip(tables, sizes):
        if table is not None:
            table = table[0], table[1].astype(real, copy=False)
            table = kept(x.device, turned, *table, size) if gradient else kept(x.device, weighted, *table)
        found.append(table)
    used = [axis for axis in range(3) if found[axis] is not None]
    if math.prod([found[axis][0].shape[1] for axis in used]) <= MOST_TAPS:
        return _resampled(x, found, sizes)
    x = x.astype(real, copy=False)          # half types are rounded once, at the end
    for axis in used:
        out = [*x.shape[1:]]
        out[axis] = sizes[axis]
        x = _resampled(x, [table if k == axis else None for k, table in enumerate(found)], out)
    return x


def _resampled(x, tables, sizes):
    y = np.empty((x.shape[0], *sizes), x.dtype, like=x)
    if y.size:
        arrays = [a for table in tables for a in (table or (None, None))]
        _launch(resample, y.shape, [x, y], arrays, *x.shape[1:], *[table[0].shape[1] if table else 0 for table in tables])
    return y


# ---- windows as columns ------------------------------------------------------------------------------------------------

@device_kernel("T* T*" + _PLACE + " q" * 10, T=_MOVED, threads=THREADS)
def unfold(x, y, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, height, width, rows, columns, dilation_h, dilation_w, padding_h,
           padding_w, stride_h, stride_w):
    """y[p, a, b, i, j] = x[p, i * stride + a * dilation - padding, ...], 0 outside; p counts planes. One element a thread."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    first, b, o_h, o_w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    plane = np.int64(np.uint32(first) // np.uint32(rows))
    h = o_h * stride_h + (first - plane * rows) * dilation_h - padding_h
    w = o_w * stride_w + b * dilation_w - padding_w
    there = (0 <= h) & (h < height) & (0 <= w) & (w < width)
    store(y, np.int64(i), load(x, (plane * height + h) * width + w) if there else T(0))


@device_kernel("T* T*" + _PLACE + " q" * 8 + " I" * 6, T=NUMBERS + COMPLEX, threads=THREADS)
def fold(x, y, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, rows, columns, out_h, out_w, dilation_h, dilation_w, padding_h,
         padding_w, stride_h, factor_h, shift_h, stride_w, factor_w, shift_w):
    """y[p, h, w] = sum over the a, b and i, j with i * stride + a * dilation - padding = h, ... of x[p, a, b, i, j]."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    _, plane, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    total = A(0)
    for a in range(rows):
        place = h + padding_h - a * dilation_h
        o_h = np.int64(quotient(np.uint32(place), factor_h, shift_h))
        if place >= 0 and o_h < out_h and o_h * stride_h == place:
            for b in range(columns):
                place = w + padding_w - b * dilation_w
                o_w = np.int64(quotient(np.uint32(place), factor_w, shift_w))
                if place >= 0 and o_w < out_w and o_w * stride_w == place:
                    total += load(x, (((plane * rows + a) * columns + b) * out_h + o_h) * out_w + o_w)
    store(y, np.int64(i), total)


def unfold_windows(x, y, kernel, dilation, padding, stride):
    """y (n, c, kh, kw, oh, ow) = the windows of x (n, c, h, w)."""
    word, planes = WORDS[x.itemsize], x.shape[0] * x.shape[1]
    _launch(unfold, (planes * kernel[0], kernel[1], *y.shape[4:]), [x.view(word), y.view(word)], [], *x.shape[2:], *kernel,
            *dilation, *padding, *stride, whole=True)


def fold_windows(x, y, kernel, dilation, padding, stride):
    """y (n, c, h, w) = the sums of the windows x (n, c, kh, kw, oh, ow)."""
    _launch(fold, (1, y.shape[0] * y.shape[1], *y.shape[2:]), [x, y], [], *kernel, *x.shape[4:], *dilation, *padding,
            *division(stride[0]), *division(stride[1]), whole=True)


# ---- launching ---------------------------------------------------------------------------------------------------------

def _launch(kernel, shape, arrays, tables, *rest, whole=False):
    """Starts a kernel with a thread for each element of ``shape``, of so many rows at a time as 32-bit numbers count.

    The first dimension of the arrays are those rows; ``whole``: it is not, and there must be few enough.
    """
    rows, a_row = shape[0], math.prod(shape[1:])
    if not rows or not a_row:
        return
    largest = a_row if whole else max(a.size // rows for a in arrays)
    few = rows if whole else min(rows, MOST // largest)
    if not few or few * a_row > MOST:
        raise _driver.OnHost(f"{rows} rows of {largest} elements")
    divisions = [number for size in shape[1:] for number in division(size)]
    for first in range(0, rows, few):
        part = arrays if few == rows else [a[first:first + few] for a in arrays]
        count = min(few, rows - first) * a_row
        kernel.launch(blocks(count, THREADS), THREADS, *part, *tables, count, *divisions, *rest)
