"""Losses against class indices on a GPU: cross entropy straight from scores, the negative log-likelihood, their gradients.

cross_entropy writes no table of log-probabilities: forward reads the scores once and keeps ln(sum(e^x)) of each row, from which
backward makes the probabilities again. A target that is no class makes its loss nan: to raise an error, as on the CPU, the host
would have to wait for the device.
"""
import math

import numpy as np

from ._cuda import FLOATING, REAL, A, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_rows import above, block_pair_sum, by_rows, divided, layout, parts, take_in, take_in_vector, width_of
from ._device import empty, several
from ._math import exp, log
from .softmax_cuda import COLUMN_THREADS, column_block, column_place, column_total

FLOAT32 = np.dtype(np.float32)
THREADS = 256
SHARE = 1 << 15     # numbers that one block adds up


# ---- cross entropy of rows -------------------------------------------------------------------------------------------------

def note(x, at, step, classes, top, total, target, weight, weighted, ignore, tops, logs, losses, weights, row):
    """What is kept of a row, whose classes are ``step`` apart from x[at] on: its largest score, ln(sum(e^(x - it))), its loss
    and its weight. Of the two logarithms apart less is lost than of their sum."""
    rest, t = log(total), target[row]
    tops[row], logs[row] = top, rest
    if t == ignore:
        losses[row], weights[row] = A(0), A(0)
    elif t < 0 or t >= classes:
        losses[row], weights[row] = A(math.nan), A(0)
    else:
        w = A(1)
        if weighted:
            w = weight[t]
        losses[row], weights[row] = w * (rest - (load(x, at + t * step) - top)), w


def scale_of(row, g, weights, divisor, each, mean):
    """The gradient of a row's loss times its weight; of the mean loss, divided by the sum of weights."""
    s = weights[row] * g[row if each else 0]
    return s / divisor[0] if mean else s


def _forward(width, whole):
    own = parts(width, whole)
    place, shares, row_sum, row_max = own.place, own.shares, own.sum, own.max

    def cross_entropy(x, target, weight, tops, logs, losses, weights, m, n, shift, weighted, ignore):
        """losses = weight[t] (ln(sum(e^x)) - x[t]) and weights = weight[t] of rows (m, n); tops and logs are for the gradient.
        Reads x once."""
        row, number = place(shift)
        j, step = number * width, shares(shift) * width
        limit, top, total = n if row < m else 0, A(-math.inf), A(0)
        while j < limit:
            top, total = take_in_vector(top, total, load_vector(x, row * n + j, width), width)
            j += step
        best = row_max(top, shift)
        total = row_sum(total * exp(top - above(best)), shift)
        if limit and number == 0:
            note(x, row * n, 1, n, best, total, target, weight, weighted, ignore, tops, logs, losses, weights, row)

    cross_entropy.__name__ = "cross_entropy_row" if whole else "cross_entropy_lanes"
    return cross_entropy


def _backward(width, whole):
    own = parts(width, whole)
    place, shares, pack = own.place, own.shares, own.pack

    def cross_entropy_backward(x, target, tops, logs, weights, divisor, g, out, m, n, shift, each, mean):
        """gx = s (softmax(x) - [target]), s = weights g, over the divisor for a mean, of rows (m, n); ``each``: g has a number
        for each row. Reads x and writes gx once."""
        values = cuda.local.array(width, A)
        row, number = place(shift)
        if row >= m:
            return
        s, t, top, rest = scale_of(row, g, weights, divisor, each, mean), target[row], tops[row], logs[row]
        at, j, step = row * n, number * width, shares(shift) * width
        while j < n:
            xs = load_vector(x, at + j, width)
            for e in range(width):
                p = exp(xs[e] - top - rest)
                values[e] = s * (p - A(1) if j + e == t else p) if s != A(0) else A(0)
            store_vector(out, at + j, pack(values, 0))
            j += step

    cross_entropy_backward.__name__ = "cross_entropy_row_backward" if whole else "cross_entropy_lanes_backward"
    return cross_entropy_backward


FORWARD = by_rows(_forward, "T* q* A* A* A* A* A* q q q q q")
BACKWARD = by_rows(_backward, "T* q* A* A* A* A* A* T* q q q q q")


# ---- cross entropy of (outer, classes, inner) ------------------------------------------------------------------------------

@device_kernel("T* q* A* A* A* A* A* q q q q q", T=FLOATING, threads=COLUMN_THREADS)
def cross_entropy_columns(x, target, weight, tops, logs, losses, weights, n, inner, chunks, weighted, ignore):
    """The same over n of (outer, n, inner); neighbouring threads have neighbouring columns. Reads x once."""
    o, column, there = column_place(inner, chunks)
    limit, first = n if there else 0, o * n * inner + column
    top, total = A(-math.inf), A(0)
    for j in range(cuda.threadIdx.y, limit, cuda.blockDim.y):
        top, total = take_in(top, total, load(x, first + j * inner))
    top, total = column_total(top, total)
    if there and cuda.threadIdx.y == 0:
        note(x, first, inner, n, top, total, target, weight, weighted, ignore, tops, logs, losses, weights, o * inner + column)


@device_kernel("T* q* A* A* A* A* A* T* q q q q q", T=FLOATING, threads=COLUMN_THREADS)
def cross_entropy_columns_backward(x, target, tops, logs, weights, divisor, g, out, n, inner, chunks, each, mean):
    """The gradient of the same: reads x and writes gx once."""
    o, column, there = column_place(inner, chunks)
    if not there:
        return
    row, first = o * inner + column, o * n * inner + column
    s, t, top, rest = scale_of(row, g, weights, divisor, each, mean), target[row], tops[row], logs[row]
    for j in range(cuda.threadIdx.y, n, cuda.blockDim.y):
        at = first + j * inner
        p = exp(load(x, at) - top - rest)
        store(out, at, s * (p - A(1) if j == t else p) if s != A(0) else A(0))


# ---- of log-probabilities --------------------------------------------------------------------------------------------------

def place_of_target(i, t, n, inner):
    """Where class ``t`` of row ``i`` lies in (outer, n, inner)."""
    if inner == 1:
        return i * n + t
    o, rest = divided(i, inner)
    return (o * n + t) * inner + rest


@device_kernel("T* q* A* A* A* q q q q q", T=FLOATING, threads=THREADS)
def nll(x, target, weight, losses, weights, m, n, inner, weighted, ignore):
    """losses = -weight[t] x[t] and weights = weight[t] of m rows of (outer, n, inner), a thread each."""
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= m:
        return
    t = target[i]
    if t == ignore:
        losses[i], weights[i] = A(0), A(0)
    elif t < 0 or t >= n:
        losses[i], weights[i] = A(math.nan), A(0)
    else:
        w = A(1)
        if weighted:
            w = weight[t]
        losses[i], weights[i] = -w * load(x, place_of_target(i, t, n, inner)), w


@device_kernel("T* q* A* A* A* q q q q q", T=FLOATING, threads=THREADS)
def nll_backward(out, target, weights, divisor, g, m, n, inner, each, mean):
    """gx = -weight g at each row's target, where ``out`` (outer, n, inner) holds 0; a thread a row."""
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < m and 0 <= target[i] < n:
        s = scale_of(i, g, weights, divisor, each, mean)
        if s != A(0):
            store(out, place_of_target(i, target[i], n, inner), -s)


@device_kernel("T* T* T* T* q q q", T=REAL, threads=1024)
def add_losses(losses, weights, total, divisor, m, share, mean):
    """total and divisor (blocks,): the sums of losses and of weights over a share of m for each block; ``mean``: their quotient
    in the place of the first. Two rounds add up many, in an order that depends on m alone."""
    first = cuda.blockIdx.x * share
    a, b = A(0), A(0)
    for i in range(first + cuda.threadIdx.x, min(m, first + share), cuda.blockDim.x):
        a += losses[i]
        b += weights[i]
    a, b = block_pair_sum(a, b)
    if cuda.threadIdx.x == 0:
        total[cuda.blockIdx.x], divisor[cuda.blockIdx.x] = a / b if mean else a, b


# ---- launching -------------------------------------------------------------------------------------------------------------

def _new(x, *shape):
    return empty(shape, _computed(x), x.device)


def _computed(x):
    return FLOAT32 if x.dtype.itemsize == 2 else x.dtype


def cross_entropy(x, target, weight, ignore):
    """(losses, weights, tops, logs), each (outer inner,), for scores (outer, n, inner) and int64 targets (outer inner,)."""
    m, n, inner = x.shape
    rows = m * inner
    found = several(4, rows, _computed(x), x.device)
    losses, weights, tops, logs = found
    weighted = weight is not None
    if inner > 1:
        block, chunks = column_block(m, n, inner)
        cross_entropy_columns.launch(m * chunks, block, x, target, weight, tops, logs, losses, weights, n, inner, chunks,
                                     weighted, ignore)
    else:
        width = width_of(n, x)
        whole, blocks, threads, shift = layout(rows, n, width)
        FORWARD[whole][width].launch(blocks, threads, x, target, weight, tops, logs, losses, weights, rows, n, shift, weighted,
                                     ignore)
    return found


def cross_entropy_backward(x, target, tops, logs, weights, divisor, g, out):
    """The gradient into ``out``, for g () or (rows,) and the divisor of a mean, or None."""
    m, n, inner = x.shape
    each, mean = g.ndim > 0, divisor is not None
    if inner > 1:
        block, chunks = column_block(m, n, inner)
        cross_entropy_columns_backward.launch(m * chunks, block, x, target, tops, logs, weights, divisor, g, out, n, inner,
                                              chunks, each, mean)
        return
    width = width_of(n, x, out)
    whole, blocks, threads, shift = layout(m, n, width)
    BACKWARD[whole][width].launch(blocks, threads, x, target, tops, logs, weights, divisor, g, out, m, n, shift, each, mean)


def picked(x, target, weight, ignore):
    """(losses, weights), each (outer inner,), for log-probabilities (outer, n, inner) and int64 targets (outer inner,)."""
    m, n, inner = x.shape
    rows = m * inner
    losses, weights = several(2, rows, _computed(x), x.device)
    nll.launch(-(-rows // THREADS), THREADS, x, target, weight, losses, weights, rows, n, inner, weight is not None, ignore)
    return losses, weights


def spread(target, weights, divisor, g, out):
    """-weight g at the targets of ``out`` (outer, n, inner), which is cleared."""
    m, n, inner = out.shape
    rows = m * inner
    out.fill(0)
    nll_backward.launch(-(-rows // THREADS), THREADS, out, target, weights, divisor, g, rows, n, inner, g.ndim > 0,
                        divisor is not None)


def reduced(losses, weights, mean):
    """(sum or mean of the losses, sum of the weights), both 0-dim."""
    m = losses.size
    blocks = -(-m // SHARE)
    threads = min(1024, -(-min(m, SHARE) // 32) * 32)
    if blocks > 1:
        parts = several(2, blocks, losses.dtype, losses.device)
        add_losses.launch(blocks, threads, losses, weights, *parts, m, SHARE, False)
        return reduced(*parts, mean)
    total, divisor = several(2, (), losses.dtype, losses.device)
    add_losses.launch(1, threads, losses, weights, total, divisor, m, SHARE, mean)
    return total, divisor
