"""Normalisation of rows on a GPU: layer_norm, rms_norm, and the groups of channels of group_norm and instance_norm.

A row is n numbers side by side. Its weights are those of its numbers (layer_norm: ``groups`` and ``span`` are 1), or those of
channels, each of ``span`` numbers, of which a row has n / span; ``groups`` rows then have all channels of a sample.
"""
import math

import numpy as np

from ._cuda import FLOATING, A, T, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_blocks import block_sum
from ._cuda_rows import (
    LANES_HOLD,
    LONG,
    MOST_THREADS,
    SHORT,
    TUPLES,
    block_pair_sum,
    by_rows,
    by_width,
    divided,
    kept_numbers,
    layout,
    parts,
    width_of,
)
from ._device import several

WEIGHT, BIAS = 1, 2     # which of both there is, or is wanted
SUMS_HOLD = {1: 4, 2: 8, 4: 8, 8: 8}        # numbers that a lane keeps beside its sums by column, by the width of an access
LONG_SUMS = MOST_THREADS * LANES_HOLD       # the longest row of a block that keeps such sums
PARTS = 1024            # blocks that add up the gradient of a weight, each of a share of the rows


def _parameters(width):
    """What reads the weights, or biases, of ``width`` neighbouring numbers: ``read(p, base, j, span, values)``."""
    def read(p, base, j, span, values):
        if span == 1:
            found = load_vector(p, base + j, width)
            for e in range(width):
                values[e] = found[e]
        else:
            one = load(p, base + divided(j, span)[0])
            for e in range(width):
                values[e] = one
    return read


def first_channel(row, n, groups, span):
    """Where the parameters of a row begin."""
    if groups == 1:
        return np.int64(0)
    return divided(row, groups)[1] * divided(n, span)[0]


# ---- rows in registers -----------------------------------------------------------------------------------------------------

def _forward(width, whole):
    own = parts(width, whole)
    hold, vectors, place, shares, read, write = own.hold, own.vectors, own.place, own.shares, own.read, own.write
    row_sum, parameters = own.sum, _parameters(width)

    def layer_norm(x, weight, bias, out, mean, rstd, m, n, shift, groups, span, affine, centred, eps):
        """out = (x - mean) rstd weight + bias, rstd = 1 / sqrt(var + eps), over rows (m, n): reads x and writes out once.

        Without ``centred`` the mean counts as 0 (rms_norm).
        """
        values, scale = cuda.local.array(hold, A), cuda.local.array(width, A)
        row, number = place(shift)
        j, step = number * width, shares(shift) * width
        limit = n if row < m else 0
        read(x, row * n, j, step, limit, A(0), values)
        centre = A(0)
        if centred:
            for i in range(hold):
                centre += values[i]
            centre = row_sum(centre, shift) / A(n)
        squares = A(0)
        for k in range(vectors):
            if j + k * step < limit:
                for i in range(k * width, k * width + width):
                    values[i] -= centre
                    squares += values[i] * values[i]
        rate = A(1) / math.sqrt(row_sum(squares, shift) / A(n) + eps)
        base = first_channel(row, n, groups, span)
        for k in range(vectors):
            if j + k * step < limit:
                for i in range(k * width, k * width + width):
                    values[i] *= rate
                if affine & WEIGHT:
                    parameters(weight, base, j + k * step, span, scale)
                    for e in range(width):
                        values[k * width + e] *= scale[e]
                if affine & BIAS:
                    parameters(bias, base, j + k * step, span, scale)
                    for e in range(width):
                        values[k * width + e] += scale[e]
        write(out, row * n, j, step, limit, values)
        if limit and number == 0:
            mean[row], rstd[row] = centre, rate

    layer_norm.__name__ = "layer_norm_row" if whole else "layer_norm_lanes"
    return layer_norm


def _backward(width, whole):
    own = parts(width, whole, LANES_HOLD if whole else SUMS_HOLD[width])
    hold, vectors, place, shares, read, write = own.hold, own.vectors, own.place, own.shares, own.read, own.write
    row_sums, parameters = own.pair_sum, _parameters(width)

    def gather(sums, j, step, n, shift, totals, target):
        """target[block] = the sums of all rows of the block; ``totals`` is shared memory for a row."""
        mine = cuda.threadIdx.x >> shift
        for turn in range(cuda.blockDim.x >> shift):
            if mine == turn:
                for k in range(vectors):
                    if j + k * step < n:
                        for e in range(width):
                            if turn:
                                totals[j + k * step + e] += sums[k * width + e]
                            else:
                                totals[j + k * step + e] = sums[k * width + e]
            cuda.syncthreads()
        for c in range(cuda.threadIdx.x, n, cuda.blockDim.x):
            target[cuda.blockIdx.x * n + c] = totals[c]

    def leave(sums, j, step, n, target):
        """target[block] = the sums of the block's one row at a time, of which each thread has its own columns."""
        for k in range(vectors):
            if j + k * step < n:
                for e in range(width):
                    target[cuda.blockIdx.x * n + j + k * step + e] = sums[k * width + e]

    def layer_norm_backward(g, x, weight, mean, rstd, gx, gweight, gbias, m, n, shift, groups, span, affine, centred, wanted):
        """gx = rstd (h - mean(h) - y mean(h y)), h = g weight, y = (x - mean) rstd, over rows (m, n); without ``centred``
        mean(h) is left out. gweight and gbias (blocks, n), where ``wanted``, get sums of g y and of g over each block's rows.

        Blocks walk the rows, so that g and x are read once for all three, and gx is written once.
        """
        gs, ys = cuda.local.array(hold, A), cuda.local.array(hold, A)
        weight_sums, bias_sums, scale = cuda.local.array(hold, A), cuda.local.array(hold, A), cuda.local.array(width, A)
        for i in range(hold):
            weight_sums[i] = A(0)
            bias_sums[i] = A(0)
        row, number = place(shift)
        j, step = number * width, shares(shift) * width
        first = np.int64(cuda.blockIdx.x) if whole else cuda.blockIdx.x * cuda.blockDim.x >> shift
        rows = np.int64(cuda.gridDim.x) if whole else cuda.gridDim.x * cuda.blockDim.x >> shift
        for begin in range(first, m, rows):
            at = begin + row - first
            limit = n if at < m else 0
            centre, rate = A(0), A(0)
            if limit:
                centre, rate = mean[at], rstd[at]
            read(g, at * n, j, step, limit, A(0), gs)
            read(x, at * n, j, step, limit, centre, ys)
            base = first_channel(at, n, groups, span)
            a, b = A(0), A(0)
            for k in range(vectors):
                if j + k * step < limit:
                    for i in range(k * width, k * width + width):
                        ys[i] = (ys[i] - centre) * rate
                        if wanted:
                            weight_sums[i] += gs[i] * ys[i]
                            bias_sums[i] += gs[i]
                    if affine & WEIGHT:
                        parameters(weight, base, j + k * step, span, scale)
                        for e in range(width):
                            gs[k * width + e] *= scale[e]
                    for i in range(k * width, k * width + width):
                        a += gs[i]
                        b += gs[i] * ys[i]
            a, b = row_sums(a, b, shift)
            a = a / A(n) if centred else A(0)
            b = b / A(n)
            for i in range(hold):
                gs[i] = (gs[i] - a - ys[i] * b) * rate
            write(gx, at * n, j, step, limit, gs)
        if whole:
            if wanted & WEIGHT:
                leave(weight_sums, j, step, n, gweight)
            if wanted & BIAS:
                leave(bias_sums, j, step, n, gbias)
        else:
            weights, biases = cuda.shared.array(SHORT, A), cuda.shared.array(SHORT, A)
            if wanted & WEIGHT:
                gather(weight_sums, j, step, n, shift, weights, gweight)
            if wanted & BIAS:
                gather(bias_sums, j, step, n, shift, biases, gbias)

    layer_norm_backward.__name__ = "layer_norm_row_backward" if whole else "layer_norm_lanes_backward"
    return layer_norm_backward


FORWARD = by_rows(_forward, "T* T* T* T* A* A* " + "q " * 7 + "A")
BACKWARD = by_rows(_backward, "T* T* T* A* A* T* A* A* " + "q " * 8)


# ---- longer rows -----------------------------------------------------------------------------------------------------------

def _long_forward(width):
    pack, parameters = TUPLES[width], _parameters(width)

    def layer_norm_long(x, weight, bias, out, mean, rstd, n, kept, groups, span, affine, centred, eps):
        """The same, a block for each row, of which ``kept`` numbers stay in shared memory and the rest is read three times.

        A thread reads back only what it has put there itself.
        """
        row, scale, values = cuda.shared.array(0, T, 16), cuda.local.array(width, A), cuda.local.array(width, A)
        at, step, first = cuda.blockIdx.x * n, cuda.blockDim.x * width, cuda.threadIdx.x * width
        centre = A(0)
        j = first
        while j < n:
            xs = load_vector(x, at + j, width)
            if j < kept:
                store_vector(row, j, xs)
            for e in range(width):
                centre += xs[e]
            j += step
        centre = block_sum(centre) / A(n) if centred else A(0)
        squares = A(0)
        j = first
        while j < n:
            xs = load_vector(row, j, width) if j < kept else load_vector(x, at + j, width)
            for e in range(width):
                squares += (xs[e] - centre) * (xs[e] - centre)
            j += step
        rate = A(1) / math.sqrt(block_sum(squares) / A(n) + eps)
        base = first_channel(cuda.blockIdx.x, n, groups, span)
        j = first
        while j < n:
            xs = load_vector(row, j, width) if j < kept else load_vector(x, at + j, width)
            for e in range(width):
                values[e] = (xs[e] - centre) * rate
            if affine & WEIGHT:
                parameters(weight, base, j, span, scale)
                for e in range(width):
                    values[e] *= scale[e]
            if affine & BIAS:
                parameters(bias, base, j, span, scale)
                for e in range(width):
                    values[e] += scale[e]
            store_vector(out, at + j, pack(values, 0))
            j += step
        if cuda.threadIdx.x == 0:
            mean[cuda.blockIdx.x], rstd[cuda.blockIdx.x] = centre, rate
    return layer_norm_long


def _long_backward(width):
    pack, parameters = TUPLES[width], _parameters(width)

    def layer_norm_long_backward(g, x, weight, mean, rstd, gx, n, groups, span, affine, centred):
        """gx of the same, a block for each row: reads g and x twice, the second time mostly from the caches."""
        scale, values = cuda.local.array(width, A), cuda.local.array(width, A)
        at, step, first = cuda.blockIdx.x * n, cuda.blockDim.x * width, cuda.threadIdx.x * width
        centre, rate = mean[cuda.blockIdx.x], rstd[cuda.blockIdx.x]
        base = first_channel(cuda.blockIdx.x, n, groups, span)
        for e in range(width):
            scale[e] = A(1)
        a, b = A(0), A(0)
        j = first
        while j < n:
            gs, xs = load_vector(g, at + j, width), load_vector(x, at + j, width)
            if affine & WEIGHT:
                parameters(weight, base, j, span, scale)
            for e in range(width):
                h = gs[e] * scale[e]
                a += h
                b += h * ((xs[e] - centre) * rate)
            j += step
        a, b = block_pair_sum(a, b)
        a = a / A(n) if centred else A(0)
        b = b / A(n)
        j = first
        while j < n:
            gs, xs = load_vector(g, at + j, width), load_vector(x, at + j, width)
            if affine & WEIGHT:
                parameters(weight, base, j, span, scale)
            for e in range(width):
                values[e] = (gs[e] * scale[e] - a - (xs[e] - centre) * rate * b) * rate
            store_vector(gx, at + j, pack(values, 0))
            j += step
    return layer_norm_long_backward


LONG_FORWARD = by_width(_long_forward, "T* T* T* T* A* A* " + "q " * 6 + "A")
LONG_BACKWARD = by_width(_long_backward, "T* T* T* A* A* T* " + "q " * 5)


# ---- gradients of weights ----------------------------------------------------------------------------------------------------

COLUMNS, SHARED_BY = 32, 8      # of a block of 256 threads: columns, and threads that share one
TILE = COLUMNS * SHARED_BY


def column_pair(v, w):
    """Two sums over the threads of a block that share a column, for the first of them."""
    first, second = cuda.shared.array(TILE, A), cuda.shared.array(TILE, A)
    column, number = cuda.threadIdx.x, cuda.threadIdx.y
    at = number * COLUMNS + column
    first[at], second[at] = v, w
    cuda.syncthreads()
    if number == 0:
        for k in range(1, SHARED_BY):
            v += first[k * COLUMNS + column]
            w += second[k * COLUMNS + column]
    return v, w


@device_kernel("T* T* A* A* A* A* q q", T=FLOATING, threads=TILE)
def product_sums(g, x, mean, rstd, products, sums, m, n):
    """products (blocks of y, n) and sums: of g (x - mean) rstd and of g over each block's share of the rows (m, n): reads g and
    x once."""
    c = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    a, b = A(0), A(0)
    if c < n:
        for i in range(cuda.blockIdx.y * SHARED_BY + cuda.threadIdx.y, m, cuda.gridDim.y * SHARED_BY):
            v = load(g, i * n + c)
            a += v * ((load(x, i * n + c) - mean[i]) * rstd[i])
            b += v
    a, b = column_pair(a, b)
    if c < n and cuda.threadIdx.y == 0:
        products[cuda.blockIdx.y * n + c], sums[cuda.blockIdx.y * n + c] = a, b


@device_kernel("T* T* A* A* q q q", T=FLOATING, threads=TILE)
def add_parts(out_first, out_second, first, second, p, n, wanted):
    """The sums over rows of (p, n), for two arrays: in a fixed order, so that they are the same in every run."""
    c = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    a, b = A(0), A(0)
    if c < n:
        for i in range(cuda.threadIdx.y, p, SHARED_BY):
            if wanted & WEIGHT:
                a += first[i * n + c]
            if wanted & BIAS:
                b += second[i * n + c]
    a, b = column_pair(a, b)
    if c < n and cuda.threadIdx.y == 0:
        if wanted & WEIGHT:
            store(out_first, c, a)
        if wanted & BIAS:
            store(out_second, c, b)


def _run_sums(width, whole):
    own = parts(width, whole)
    place, shares, row_sums = own.place, own.shares, own.pair_sum

    def run_sums(g, x, mean, rstd, products, sums, m, n, shift, runs):
        """products and sums (m,): of g (x - mean) rstd and of g over each run of (m, n), ``runs`` of which have one mean."""
        row, number = place(shift)
        j, step = number * width, shares(shift) * width
        limit, a, b, centre = n if row < m else 0, A(0), A(0), A(0)
        if limit:
            centre = mean[divided(row, runs)[0]]
        while j < limit:
            gs, xs = load_vector(g, row * n + j, width), load_vector(x, row * n + j, width)
            for e in range(width):
                a += gs[e] * (xs[e] - centre)
                b += gs[e]
            j += step
        a, b = row_sums(a, b, shift)
        if limit and number == 0:
            products[row], sums[row] = a * rstd[divided(row, runs)[0]], b

    run_sums.__name__ = "run_sums_row" if whole else "run_sums_lanes"
    return run_sums


RUNS = by_rows(_run_sums, "T* T* A* A* A* A* q q q q")


# ---- launching -------------------------------------------------------------------------------------------------------------

def _width(n, span, *arrays):
    """Elements of an access to rows of n; 1 where they might be of two channels."""
    width = width_of(n, *[a for a in arrays if a is not None])
    return width if span == 1 or span % width == 0 else 1


def forward(x, weight, bias, eps, out, mean, rstd, groups=1, span=1, centred=True):
    """layer_norm of contiguous rows (m, n) into ``out``, ``mean`` and ``rstd``; ``weight`` and ``bias`` may be None."""
    m, n = x.shape
    width = _width(n, span, x, out, weight, bias)
    affine = (weight is not None) * WEIGHT | (bias is not None) * BIAS
    if n > LONG[width]:
        kept = kept_numbers(n, x.itemsize, width, 1, x.device)
        LONG_FORWARD[width].launch(m, MOST_THREADS, x, weight, bias, out, mean, rstd, n, kept, groups, span, affine, centred, eps,
                                   shared=kept * x.itemsize)
        return
    whole, blocks, threads, shift = layout(m, n, width)
    FORWARD[whole][width].launch(blocks, threads, x, weight, bias, out, mean, rstd, m, n, shift, groups, span, affine, centred,
                                 eps)


def backward(g, x, weight, mean, rstd, gx, gweight, gbias, groups=1, span=1, centred=True):
    """The gradients of ``forward``; ``gweight`` and ``gbias`` are None where they are not wanted."""
    m, n = x.shape
    by_column = groups == span == 1
    wanted = ((gweight is not None) * WEIGHT | (gbias is not None) * BIAS) if by_column else 0
    width = _width(n, span, g, x, gx, weight)
    affine = (weight is not None) * WEIGHT
    if n > LONG_SUMS:
        LONG_BACKWARD[width].launch(m, MOST_THREADS, g, x, weight, mean, rstd, gx, n, groups, span, affine, centred)
        if wanted:
            p = min(PARTS, -(-m // (4 * SHARED_BY)))
            products, sums = several(2, (p, n), mean.dtype, x.device)
            product_sums.launch((-(-n // COLUMNS), p), (COLUMNS, SHARED_BY), g, x, mean, rstd, products, sums, m, n)
            _add_parts(products, sums, gweight, gbias, wanted)
    else:
        whole, blocks, threads, shift = layout(m, n, width, LANES_HOLD, SUMS_HOLD[width])
        p = min(PARTS, blocks)
        products, sums = several(2, (p, n), mean.dtype, x.device) if wanted else (None, None)
        BACKWARD[whole][width].launch(p, threads, g, x, weight, mean, rstd, gx, products, sums, m, n, shift, groups, span, affine,
                                      centred, wanted)
        if wanted:
            _add_parts(products, sums, gweight, gbias, wanted)
    if not by_column and (gweight is not None or gbias is not None):
        _channel_gradients(g, x, mean, rstd, gweight, gbias, groups, span)


def _add_parts(products, sums, gweight, gbias, wanted):
    """The sums of parts (p, n) into ``gweight`` and ``gbias``, of which one may be None."""
    p, n = (sums if products is None else products).shape
    add_parts.launch(-(-n // COLUMNS), (COLUMNS, SHARED_BY), gbias if gweight is None else gweight, gbias, products, sums, p, n,
                     wanted)


def _channel_gradients(g, x, mean, rstd, gweight, gbias, groups, span):
    """The gradients of channels' weights: sums over each sample's run of a channel, then over samples."""
    m, n = x.shape
    runs = n // span
    count = m * runs
    products, sums = several(2, count, mean.dtype, x.device)
    width = width_of(span, g, x)
    whole, blocks, threads, shift = layout(count, span, width)
    RUNS[whole][width].launch(blocks, threads, g, x, mean, rstd, products, sums, count, span, shift, runs)
    shape = (m // groups, groups * runs)
    wanted = (gweight is not None) * WEIGHT | (gbias is not None) * BIAS
    _add_parts(products.reshape(shape), sums.reshape(shape), gweight, gbias, wanted)
