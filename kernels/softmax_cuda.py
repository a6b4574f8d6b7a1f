"""softmax and log_softmax on a GPU: rows in registers, longer rows in shared memory, and over a dimension that is not the last.

A warp or a block that has a row in registers reads it once. Of a row that is longer than that, the largest number and the sum of
powers are found in one pass (Milakov & Gimelshein, 2018), which leaves as much of it as fits in shared memory for the second.
"""
import math

from ._cuda import FLOATING, A, T, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_blocks import block_max, block_sum
from ._cuda_rows import (
    LONG,
    MOST_THREADS,
    TUPLES,
    above,
    by_rows,
    by_width,
    divided,
    kept_numbers,
    layout,
    parts,
    power_of_two,
    take_in,
    take_in_vector,
    width_of,
)
from ._math import exp, log

COLUMN_THREADS = 256    # of a block that has neighbouring columns
ENOUGH = 1 << 17        # threads that keep a GPU busy: with so many columns each has one thread


# ---- rows in registers -----------------------------------------------------------------------------------------------------

def _forward(width, whole):
    own = parts(width, whole)
    hold, vectors, place, shares, read, write = own.hold, own.vectors, own.place, own.shares, own.read, own.write
    row_sum, row_max = own.sum, own.max

    def softmax(x, out, m, n, shift, logarithm):
        """y = e^(x - max) / sum, or its logarithm, over rows (m, n): reads x and writes y once."""
        values = cuda.local.array(hold, A)
        row, number = place(shift)
        j, step = number * width, shares(shift) * width
        limit = n if row < m else 0
        read(x, row * n, j, step, limit, A(-math.inf), values)
        top = values[0]
        for i in range(1, hold):
            top = values[i] if values[i] > top or values[i] != values[i] else top
        top = row_max(top, shift)
        total = A(0)
        for k in range(vectors):
            if k * step < n:
                for i in range(k * width, k * width + width):
                    power = exp(values[i] - top)
                    total += power
                    values[i] = values[i] - top if logarithm else power
        total = row_sum(total, shift)
        if logarithm:
            total = log(total)
            for i in range(hold):
                values[i] -= total
        else:
            total = A(1) / total
            for i in range(hold):
                values[i] *= total
        write(out, row * n, j, step, limit, values)

    softmax.__name__ = "softmax_row" if whole else "softmax_lanes"
    return softmax


def _backward(width, whole):
    own = parts(width, whole)
    hold, vectors, place, shares, read, write = own.hold, own.vectors, own.place, own.shares, own.read, own.write
    row_sum = own.sum

    def softmax_backward(g, y, out, m, n, shift, logarithm):
        """gx = y (g - sum(g y)), or g - e^y sum(g) for the logarithm, over rows (m, n): reads g and y, writes gx, each once."""
        gs, ys = cuda.local.array(hold, A), cuda.local.array(hold, A)
        row, number = place(shift)
        j, step = number * width, shares(shift) * width
        limit = n if row < m else 0
        read(g, row * n, j, step, limit, A(0), gs)
        read(y, row * n, j, step, limit, A(0), ys)
        total = A(0)
        for i in range(hold):
            total += gs[i] if logarithm else gs[i] * ys[i]
        total = row_sum(total, shift)
        for k in range(vectors):
            if k * step < n:
                for i in range(k * width, k * width + width):
                    gs[i] = gs[i] - exp(ys[i]) * total if logarithm else ys[i] * (gs[i] - total)
        write(out, row * n, j, step, limit, gs)

    softmax_backward.__name__ = "softmax_row_backward" if whole else "softmax_lanes_backward"
    return softmax_backward


FORWARD, BACKWARD = by_rows(_forward, "T* T* q q q q"), by_rows(_backward, "T* T* T* q q q q")


# ---- longer rows -----------------------------------------------------------------------------------------------------------

def _long_forward(width):
    pack = TUPLES[width]

    def put(out, at, xs, top, scale, logarithm):
        values = cuda.local.array(width, A)
        for e in range(width):
            values[e] = xs[e] - top - scale if logarithm else exp(xs[e] - top) * scale
        store_vector(out, at, pack(values, 0))

    def softmax_long(x, out, n, kept, logarithm):
        """The same, a block for each row, of which ``kept`` numbers stay in shared memory and the rest is read twice.

        A thread reads back only what it has put there itself, so that no barrier is needed.
        """
        row = cuda.shared.array(0, T, 16)
        at, step = cuda.blockIdx.x * n, cuda.blockDim.x * width
        top, total = A(-math.inf), A(0)
        j = cuda.threadIdx.x * width
        while j < n:
            xs = load_vector(x, at + j, width)
            if j < kept:
                store_vector(row, j, xs)
            top, total = take_in_vector(top, total, xs, width)
            j += step
        best = block_max(top)
        total = block_sum(total * exp(top - above(best)))
        scale = log(total) if logarithm else A(1) / total
        j = cuda.threadIdx.x * width
        while j < kept:
            put(out, at + j, load_vector(row, j, width), best, scale, logarithm)
            j += step
        while j < n:
            put(out, at + j, load_vector(x, at + j, width), best, scale, logarithm)
            j += step
    return softmax_long


def _long_backward(width):
    pack = TUPLES[width]

    def put(out, at, gs, ys, total, logarithm):
        values = cuda.local.array(width, A)
        for e in range(width):
            values[e] = gs[e] - exp(ys[e]) * total if logarithm else ys[e] * (gs[e] - total)
        store_vector(out, at, pack(values, 0))

    def softmax_long_backward(g, y, out, n, kept, logarithm):
        """The same, a block for each row, of which ``kept`` numbers of g and as many of y stay in shared memory."""
        row = cuda.shared.array(0, T, 16)
        at, step = cuda.blockIdx.x * n, cuda.blockDim.x * width
        total = A(0)
        j = cuda.threadIdx.x * width
        while j < n:
            gs, ys = load_vector(g, at + j, width), load_vector(y, at + j, width)
            if j < kept:
                store_vector(row, j, gs)
                store_vector(row, kept + j, ys)
            for e in range(width):
                total += gs[e] if logarithm else gs[e] * ys[e]
            j += step
        total = block_sum(total)
        j = cuda.threadIdx.x * width
        while j < kept:
            put(out, at + j, load_vector(row, j, width), load_vector(row, kept + j, width), total, logarithm)
            j += step
        while j < n:
            put(out, at + j, load_vector(g, at + j, width), load_vector(y, at + j, width), total, logarithm)
            j += step
    return softmax_long_backward


LONG_FORWARD, LONG_BACKWARD = by_width(_long_forward, "T* T* q q q"), by_width(_long_backward, "T* T* T* q q q")


# ---- over a dimension that is not the last ---------------------------------------------------------------------------------

def column_place(inner, chunks):
    """A thread's outer index and column of (outer, n, inner), and whether there is one: x of a block are its columns, and
    ``chunks`` blocks share the ``inner`` ones of an outer index."""
    o, chunk = divided(cuda.blockIdx.x, chunks)
    column = chunk * cuda.blockDim.x + cuda.threadIdx.x
    return o, column, column < inner


def column_total(top, total):
    """(max, sum of powers) of a column, joined from those of the threads that share it: y of a block."""
    tops, totals = cuda.shared.array(COLUMN_THREADS, A), cuda.shared.array(COLUMN_THREADS, A)
    columns, shared_by = cuda.blockDim.x, cuda.blockDim.y
    at = cuda.threadIdx.y * columns + cuda.threadIdx.x
    tops[at], totals[at] = top, total
    half = shared_by >> 1
    while half:
        cuda.syncthreads()
        if cuda.threadIdx.y < half:
            other = at + half * columns
            best = tops[other] if tops[other] > tops[at] else tops[at]
            base = above(best)
            totals[at] = totals[at] * exp(tops[at] - base) + totals[other] * exp(tops[other] - base)
            tops[at] = best
        half >>= 1
    cuda.syncthreads()
    return tops[cuda.threadIdx.x], totals[cuda.threadIdx.x]


def column_sum(v):
    """The sum of ``v`` over the threads that share a column."""
    sums = cuda.shared.array(COLUMN_THREADS, A)
    columns = cuda.blockDim.x
    at = cuda.threadIdx.y * columns + cuda.threadIdx.x
    sums[at] = v
    half = cuda.blockDim.y >> 1
    while half:
        cuda.syncthreads()
        if cuda.threadIdx.y < half:
            sums[at] += sums[at + half * columns]
        half >>= 1
    cuda.syncthreads()
    return sums[cuda.threadIdx.x]


@device_kernel("T* T* q q q q", T=FLOATING, threads=COLUMN_THREADS)
def softmax_columns(x, out, n, inner, chunks, logarithm):
    """softmax or its logarithm over n of (outer, n, inner): neighbouring threads have neighbouring columns, and threads of the
    same x share one. Reads x twice, the second time mostly from the caches; writes out once."""
    o, column, there = column_place(inner, chunks)
    limit, first = n if there else 0, o * n * inner + column
    top, total = A(-math.inf), A(0)
    for j in range(cuda.threadIdx.y, limit, cuda.blockDim.y):
        top, total = take_in(top, total, load(x, first + j * inner))
    top, total = column_total(top, total)
    total += top - top          # an infinite largest number leaves no numbers: nan
    scale = log(total) if logarithm else A(1) / total
    for j in range(cuda.threadIdx.y, limit, cuda.blockDim.y):
        v = load(x, first + j * inner) - top
        store(out, first + j * inner, v - scale if logarithm else exp(v) * scale)


@device_kernel("T* T* T* q q q q", T=FLOATING, threads=COLUMN_THREADS)
def softmax_columns_backward(g, y, out, n, inner, chunks, logarithm):
    """The gradient of the same: reads g and y twice, the second time mostly from the caches; writes gx once."""
    o, column, there = column_place(inner, chunks)
    limit, first = n if there else 0, o * n * inner + column
    total = A(0)
    for j in range(cuda.threadIdx.y, limit, cuda.blockDim.y):
        v = load(g, first + j * inner)
        total += v if logarithm else v * load(y, first + j * inner)
    total = column_sum(total)
    for j in range(cuda.threadIdx.y, limit, cuda.blockDim.y):
        at = first + j * inner
        v, w = load(g, at), load(y, at)
        store(out, at, v - exp(w) * total if logarithm else w * (v - total))


def column_block(outer, n, inner):
    """(threads of a block as (columns, threads that share one), blocks that share an outer index)."""
    columns = min(power_of_two(inner), 32)
    shared_by = min(COLUMN_THREADS // columns, power_of_two(n), power_of_two(-(-ENOUGH // (outer * inner))))
    columns = min(COLUMN_THREADS // shared_by, power_of_two(inner))
    return (columns, shared_by), -(-inner // columns)


# ---- launching -------------------------------------------------------------------------------------------------------------

def _as_columns(a):
    return a.shape if a.ndim == 3 else (*a.shape, 1)


def forward(x, out, logarithm):
    """softmax of contiguous rows (m, n), or over n of (outer, n, inner), or its logarithm."""
    m, n, inner = _as_columns(x)
    if inner > 1:
        block, chunks = column_block(m, n, inner)
        softmax_columns.launch(m * chunks, block, x, out, n, inner, chunks, logarithm)
        return
    width = width_of(n, x, out)
    if n > LONG[width]:
        kept = kept_numbers(n, x.itemsize, width, 1, x.device)
        LONG_FORWARD[width].launch(m, MOST_THREADS, x, out, n, kept, logarithm, shared=kept * x.itemsize)
        return
    whole, blocks, threads, shift = layout(m, n, width)
    FORWARD[whole][width].launch(blocks, threads, x, out, m, n, shift, logarithm)


def backward(g, y, out, logarithm):
    """The gradient of ``forward``, whose result is ``y``."""
    m, n, inner = _as_columns(g)
    if inner > 1:
        block, chunks = column_block(m, n, inner)
        softmax_columns_backward.launch(m * chunks, block, g, y, out, n, inner, chunks, logarithm)
        return
    width = width_of(n, g, y, out)
    if n > LONG[width]:
        kept = kept_numbers(n, g.itemsize, width, 2, g.device)
        LONG_BACKWARD[width].launch(m, MOST_THREADS, g, y, out, n, kept, logarithm, shared=2 * kept * g.itemsize)
        return
    whole, blocks, threads, shift = layout(m, n, width)
    BACKWARD[whole][width].launch(blocks, threads, g, y, out, m, n, shift, logarithm)


