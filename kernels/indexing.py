"""Moving elements by index: gather, scatter, select, add by index, masks.

Shapes: a tensor and one of its dims are seen as (outer, n, inner). Indices are int64, in range and not negative: the op layer
has checked them with ``classify``. Kernels that only move elements are called with rarer dtypes viewed as unsigned integers
of the same width (``raw``), so that a kernel has eight signatures instead of thirteen.

Several sources may meet in one destination. The kernels that add or overwrite are therefore parallel over outer and inner
only: an element has one writer, who sees the sources in order, and the result does not depend on the number of threads.
"""
from importlib import import_module

import numpy as np
from numba import prange

from ._device import DeviceArray
from ._jit import get_num_threads, kernel

BLOCK = 4096        # elements of work a task gets at least, where tasks may be cut freely
LANES = 64          # columns of a task that owns columns: four cache lines of float32


_WORDS = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}
_OWN = "fdlq"       # the commonest dtypes go as they are: viewing them costs as much as calling a kernel


def raw(x):
    """``x``'s elements as kernels that only move them take them: rarer dtypes as unsigned integers of the same width."""
    if x.dtype.char in _OWN or x.__class__ is DeviceArray:
        return x
    word = _WORDS.get(x.dtype.itemsize)
    return x if word is None else x.view(word)


def parts(size):
    """In how many ranges a kernel cuts its destination, for ``size`` moved elements."""
    return get_num_threads() if size >= 32768 else 1


@kernel(grain=1 << 18)
def classify(index, n):
    """0 if every element of index (flat) is in [0, n), 1 if some are in [-n, 0), 2 if one is outside. One pass."""
    outside, negative = 0, 0
    for i in prange(index.size):
        value = index[i]
        outside += np.int64(value < -n) + np.int64(value >= n)
        negative += np.int64(value < 0)
    return 2 if outside else 1 if negative else 0


@kernel
def gather(index, x, out):
    """out[o, j, i] = x[o, index[o, j, i], i]; x (outer, n, inner), index and out (outer, k, inner). 8 + 2 s bytes an element.

    Returns how many indices are out of range; their places in out are left alone.
    """
    outer, k, inner = index.shape
    n = x.shape[1]
    rows = max(1, BLOCK // max(1, inner))
    blocks = (k + rows - 1) // rows
    index_flat, x_flat, out_flat = index.reshape(index.size), x.reshape(x.size), out.reshape(out.size)
    bad = 0
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * rows
        start, end = (o * k + first) * inner, (o * k + min(first + rows, k)) * inner
        base = o * n * inner
        for row in range(start, end, inner):
            for i in range(inner):
                place = index_flat[row + i]
                if place < 0 or place >= n:
                    bad += 1
                else:
                    out_flat[row + i] = x_flat[base + place * inner + i]
    return bad


@kernel
def gather_rows(index, x, out):
    """gather for inner = 1: out[o, j] = x[o, index[o, j]]; x (outer, n), index and out (outer, k). Returns the number of bad
    indices."""
    outer, k = index.shape
    n = x.shape[1]
    blocks = (k + BLOCK - 1) // BLOCK
    bad = 0
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * BLOCK
        for j in range(first, min(first + BLOCK, k)):
            place = index[o, j]
            if place < 0 or place >= n:
                bad += 1
            else:
                out[o, j] = x[o, place]
    return bad


@kernel
def scatter(index, source, out):
    """out[o, index[o, j, i], i] = source[o, j, i], the last j wins; index and source (outer, k, inner), out (outer, n, inner).

    Returns how many indices are out of range; they are passed over. So do the other scatter kernels.
    """
    outer, k, inner = index.shape
    n = out.shape[1]
    blocks = (inner + LANES - 1) // LANES
    bad = 0
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * LANES
        last = min(first + LANES, inner)
        for j in range(k):
            for i in range(first, last):
                place = index[o, j, i]
                if place < 0 or place >= n:
                    bad += 1
                else:
                    out[o, place, i] = source[o, j, i]
    return bad


@kernel
def scatter_add(index, source, out):
    """out[o, index[o, j, i], i] += source[o, j, i], in the order of j; shapes as in scatter."""
    outer, k, inner = index.shape
    n = out.shape[1]
    blocks = (inner + LANES - 1) // LANES
    bad = 0
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * LANES
        last = min(first + LANES, inner)
        if inner == 1:
            for j in range(k):
                place = index[o, j, 0]
                if place < 0 or place >= n:
                    bad += 1
                else:
                    out[o, place, 0] += source[o, j, 0]
        else:
            for j in range(k):
                for i in range(first, last):
                    place = index[o, j, i]
                    if place < 0 or place >= n:
                        bad += 1
                    else:
                        out[o, place, i] += source[o, j, i]
    return bad


@kernel
def scatter_prod(index, source, out):
    """out[o, index[o, j, i], i] *= source[o, j, i], in the order of j; shapes as in scatter."""
    outer, k, inner = index.shape
    n = out.shape[1]
    blocks = (inner + LANES - 1) // LANES
    bad = 0
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * LANES
        last = min(first + LANES, inner)
        for j in range(k):
            for i in range(first, last):
                place = index[o, j, i]
                if place < 0 or place >= n:
                    bad += 1
                else:
                    out[o, place, i] *= source[o, j, i]
    return bad


@kernel
def scatter_extreme(index, source, largest, out):
    """out[o, index[o, j, i], i] = max (largest) or min of itself and source[o, j, i]; nan wins; shapes as in scatter."""
    outer, k, inner = index.shape
    n = out.shape[1]
    blocks = (inner + LANES - 1) // LANES
    bad = 0
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * LANES
        last = min(first + LANES, inner)
        for j in range(k):
            for i in range(first, last):
                place = index[o, j, i]
                if place < 0 or place >= n:
                    bad += 1
                    continue
                value, old = source[o, j, i], out[o, place, i]
                better = value > old if largest else value < old
                if better or value != value:
                    out[o, place, i] = value
    return bad


@kernel
def index_select(x, index, out):
    """out[o, j, :] = x[o, index[j], :]; x (outer, n, inner), index (k,), out (outer, k, inner). 2 s bytes an element."""
    outer, k, inner = out.shape
    rows = max(1, BLOCK // max(1, inner))
    blocks = (k + rows - 1) // rows
    for task in prange(outer * blocks):
        o = task // blocks
        first = (task - o * blocks) * rows
        for j in range(first, min(first + rows, k)):
            source = index[j]
            for i in range(inner):
                out[o, j, i] = x[o, source, i]


@kernel
def index_add(x, index, alpha, ranges, out):
    """out[o, index[j], :] += alpha[0] x[o, j, :], in the order of j; x (outer, k, inner), index (k,), out (outer, n, inner).

    The backward of index_select and of embeddings. A task owns one of ``ranges`` ranges of out's rows and passes over the
    whole index: rows stay whole, and even one long vector can be shared by threads. 3 s bytes an element of x.
    """
    outer, k, inner = x.shape
    n = out.shape[1]
    scale = alpha[0]
    for task in prange(outer * ranges):
        o = task // ranges
        part = task - o * ranges
        low, high = n * part // ranges, n * (part + 1) // ranges
        for j in range(k):
            target = index[j]
            if low <= target < high:
                for i in range(inner):
                    out[o, target, i] += scale * x[o, j, i]


@kernel
def index_copy(x, index, ranges, out):
    """out[o, index[j], :] = x[o, j, :], the last j wins; shapes and tasks as in index_add. 2 s bytes an element of x."""
    outer, k, inner = x.shape
    n = out.shape[1]
    for task in prange(outer * ranges):
        o = task // ranges
        part = task - o * ranges
        low, high = n * part // ranges, n * (part + 1) // ranges
        for j in range(k):
            target = index[j]
            if low <= target < high:
                for i in range(inner):
                    out[o, target, i] = x[o, j, i]


@kernel(grain=1 << 17)
def masked_fill(x, mask, value, out):
    """out = value[0] where mask else x; x and out (m, n), mask (m, n) or (1, n) for every row alike. 2 s + 1 bytes an
    element."""
    m, n = x.shape
    shared = mask.shape[0] == 1
    fill = value[0]
    blocks = (n + BLOCK - 1) // BLOCK
    for task in prange(m * blocks):
        i = task // blocks
        first = (task - i * blocks) * BLOCK
        row = 0 if shared else i
        for j in range(first, min(first + BLOCK, n)):
            kept = x[i, j]      # read before the choice, so that the loop has no branch
            out[i, j] = fill if mask[row, j] else kept


@kernel(grain=1 << 17)
def count_nonzero_blocks(mask, block, ends):
    """ends[b] = number of True in mask[: (b + 1) block] (flat); its last element is the number of True in all of mask."""
    n = mask.size
    for b in prange(ends.size):
        count = 0
        for i in range(b * block, min((b + 1) * block, n)):
            count += mask[i]
        ends[b] = count
    for b in range(1, ends.size):
        ends[b] += ends[b - 1]


@kernel(grain=1 << 17)
def masked_select(mask, x, block, ends, out):
    """out = the elements of x (flat) where mask (flat), in order; ends from count_nonzero_blocks.

    Every element is written and the position advances by the mask, so that a random mask costs no mispredicted branch; a
    block stops at its own end, so that it never writes into the next one's part.
    """
    n = mask.size
    for b in prange(ends.size):
        p = ends[b - 1] if b else 0
        end = ends[b]
        for i in range(b * block, min((b + 1) * block, n)):
            if p == end:
                break
            out[p] = x[i]
            p += mask[i]


@kernel(grain=1 << 17)
def nonzero(mask, shape, block, ends, out):
    """out[p] = the coordinates of the p-th True of mask (flat, of ``shape``); out (count, ndim), ends as in masked_select."""
    n = mask.size
    ndim = shape.size
    for b in prange(ends.size):
        p = ends[b - 1] if b else 0
        end = ends[b]
        for i in range(b * block, min((b + 1) * block, n)):
            if p == end:
                break
            out[p, ndim - 1] = i
            p += mask[i]
        for q in range(ends[b - 1] if b else 0, end):
            rest = out[q, ndim - 1]
            for d in range(ndim - 1, 0, -1):
                above = rest // shape[d]
                out[q, d] = rest - above * shape[d]
                rest = above
            out[q, 0] = rest


@kernel(grain=1 << 17)
def masked_scatter(mask, source, block, ends, x, out):
    """out = x, but where mask the next element of source; mask, x, out flat, ends as in masked_select."""
    n = mask.size
    for b in prange(ends.size):
        p = ends[b - 1] if b else 0
        for i in range(b * block, min((b + 1) * block, n)):
            if mask[i]:
                out[i] = source[p]
                p += 1
            else:
                out[i] = x[i]


@kernel
def triangle(x, k, lower, out):
    """out = x on and below (lower) or on and above the k-th diagonal, else 0; x and out (batch, m, n). 2 s bytes an element."""
    batch, m, n = x.shape
    zero = x.dtype.type(0)
    for task in prange(batch * m):
        b = task // m
        i = task - b * m
        cut = min(max(i + k + 1, 0), n) if lower else min(max(i + k, 0), n)
        if lower:
            for j in range(cut):
                out[b, i, j] = x[b, i, j]
            for j in range(cut, n):
                out[b, i, j] = zero
        else:
            for j in range(cut):
                out[b, i, j] = zero
            for j in range(cut, n):
                out[b, i, j] = x[b, i, j]


@kernel
def flip(x, out):
    """out[o, j, :] = x[o, n - 1 - j, :]; x and out (outer, n, inner). 2 s bytes an element."""
    outer, n, inner = x.shape
    if inner == 1:
        x_rows, out_rows = x.reshape(outer, n), out.reshape(outer, n)
        for o in prange(outer):
            row, turned = x_rows[o], out_rows[o]
            for j in range(n):
                turned[j] = row[np.uint64(n - 1 - j)]       # unsigned: Numba then does not wrap negative indices around
    else:
        for task in prange(outer * n):
            o = task // n
            j = task - o * n
            for i in range(inner):
                out[o, j, i] = x[o, n - 1 - j, i]


@kernel(grain=1 << 17)
def where(condition, x, y, out):
    """out = x where condition else y, all flat. 3 s + 1 bytes an element."""
    n = condition.size
    blocks = (n + BLOCK - 1) // BLOCK
    for b in prange(blocks):
        for i in range(b * BLOCK, min((b + 1) * BLOCK, n)):
            a, b = x[i], y[i]       # both are read, so that the loop has no branch
            out[i] = a if condition[i] else b


@kernel(grain=None)
def bincount(index, weights, out):
    """out[index[i]] += weights[i], or 1 where weights is empty; index flat int64, out (bins,). Serial: one histogram."""
    if weights.size:
        for i in range(index.size):
            out[index[i]] += weights[i]
    else:
        for i in range(index.size):
            out[index[i]] += 1


@kernel(grain=None)
def histc(x, low, high, out):
    """out[b] = number of x in bin b of equal bins on [low, high], the last closed; x flat, out (bins,) of x's dtype."""
    bins = out.size
    counts = np.zeros(bins, np.int64)
    width = high - low
    for i in range(x.size):
        v = x[i]
        if v >= low and v <= high:
            counts[min(np.int64((v - low) * bins / width), bins - 1)] += 1
    for b in range(bins):
        out[b] = counts[b]


# ---- on CUDA devices ---------------------------------------------------------------------------------------------------------

def _twins(module, *kernels):
    """Names functions of ``module``, imported when first called, as what the kernels do on DeviceArrays."""
    for cpu in kernels:
        def launch(*args, name=cpu.__name__):
            return getattr(import_module("." + module, __package__), name)(*args)
        cpu.on_device(launch)


_twins("indexing_cuda", gather, gather_rows, scatter, scatter_add, scatter_prod, scatter_extreme, index_select, index_add,
       index_copy)
_twins("_cuda_masks", masked_fill, where)
_twins("_cuda_rearrange", triangle, flip, bincount, histc)
