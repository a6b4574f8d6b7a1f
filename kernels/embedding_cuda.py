"""Looking rows up in a table on a GPU, adding gradients to the rows that were looked up, and sums over bags of rows.

An index that is no row gives a row of nan, and no gradient: to raise an error, as on the CPU, the host would have to wait.
"""
import math

import numpy as np

from . import _cuda_ordered
from ._cuda import FLOATING, FULL, WARP, A, atomic_add, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_blocks import warp_max, warp_sum
from ._cuda_masks import choose
from ._cuda_rows import TUPLES, by_width, power_of_two, width_of
from .indexing_cuda import put

THREADS = 256
SUM, MEAN, MAX = range(3)


def _gather(width):
    pack = TUPLES[width]

    def embedding(table, indices, out, m, n, rows):
        """out[i] = table[indices[i]] for m indices into a table (rows, n): a block's y are indices, its x lies along a row."""
        missing = cuda.local.array(width, A)
        for e in range(width):
            missing[e] = A(math.nan)
        i = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        if i >= m:
            return
        row = indices[i]
        j = cuda.threadIdx.x * width
        while j < n:
            if 0 <= row < rows:
                store_vector(out, i * n + j, load_vector(table, row * n + j, width))
            else:
                store_vector(out, i * n + j, pack(missing, 0))
            j += cuda.blockDim.x * width
    return embedding


def _add(width):
    def embedding_backward(g, indices, scale, out, m, n, rows, padding, scaled):
        """out[indices[i]] += g[i] scale[i], rows of index ``padding`` left out; out (rows, n) starts as zeros. Rows that were
        looked up more than once are added up by atomic operations, in no fixed order, so that last bits may differ."""
        i = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        if i >= m:
            return
        row = indices[i]
        if row == padding or row < 0 or row >= rows:
            return
        s = A(1)
        if scaled:
            s = scale[i]
        j = cuda.threadIdx.x * width
        while j < n:
            gs = load_vector(g, i * n + j, width)
            for e in range(width):
                atomic_add(out, row * n + j + e, gs[e] * s)
            j += cuda.blockDim.x * width
    return embedding_backward


GATHER = by_width(_gather, "T* q* T* q q q", threads=THREADS)
ADD = by_width(_add, "T* q* A* A* q q q q q", threads=THREADS)


@device_kernel("T* q* q q", T=("float32", "float64"), threads=THREADS)
def count_rows(counts, indices, m, rows):
    """counts[indices[i]] += 1: whole numbers, whose sum does not depend on the order."""
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < m and 0 <= indices[i] < rows:
        atomic_add(counts, indices[i], A(1))


@device_kernel("T* T* q* q q", T=("float32", "float64"), threads=THREADS)
def inverse_counts(counts, scale, indices, m, rows):
    """scale[i] = 1 / counts[indices[i]]."""
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < m:
        scale[i] = A(1) / counts[indices[i]] if 0 <= indices[i] < rows else A(0)


@device_kernel("T* q* i* q q q A A", T=FLOATING, threads=THREADS)
def renormalize(table, indices, seen, m, n, rows, most, norm):
    """Scales the rows looked up whose norm is over ``most`` down to it; ``seen`` (rows,) starts as zeros, and of the warps that
    have the same row the first does it."""
    i, lane = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) // WARP, cuda.threadIdx.x % WARP
    if i >= m or indices[i] < 0 or indices[i] >= rows:
        return
    row, before = indices[i], np.int32(0)
    if lane == 0:
        before = np.int32(atomic_add(seen, row, np.int32(1)))
    if cuda.shfl_sync(FULL, before, 0) > 0:
        return
    total, largest = A(0), A(0)
    for j in range(lane, n, WARP):
        size = abs(load(table, row * n + j))
        largest = size if size > largest else largest
        total += size * size if norm == A(2) else size if norm == A(1) else size ** norm
    total, largest = warp_sum(total), warp_max(largest)
    length = largest if norm == A(math.inf) else math.sqrt(total) if norm == A(2) else total ** (A(1) / norm)
    if length > most:
        rate = most / (length + A(1e-7))
        for j in range(lane, n, WARP):
            store(table, row * n + j, load(table, row * n + j) * rate)


# ---- bags ------------------------------------------------------------------------------------------------------------------

def bag_of(b, offsets, given, bags, fixed, m):
    """The first place of a bag, and the one after its last: by ``given`` offsets, or ``fixed`` places each."""
    if given == 0:
        return b * fixed, (b + 1) * fixed
    return offsets[b], offsets[b + 1] if b + 1 < given else m


@device_kernel("T* q* q* T* q* q q q q q q q", T=FLOATING, threads=THREADS)
def bag(x, indices, offsets, out, places, m, n, bags, given, fixed, padding, mode):
    """out[b] = the sum or mean of the rows of x (m, n) in bag b, or the ``places`` of the largest (-1: none); those of index
    ``padding`` are left out. Neighbouring threads have neighbouring columns of a bag."""
    j, b = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x, cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    if j >= n or b >= bags:
        return
    first, last = bag_of(b, offsets, given, bags, fixed, m)
    total, best, place, count = A(0), A(0), np.int64(-1), np.int64(0)
    for i in range(first, last):
        if indices[i] != padding:
            v = load(x, i * n + j)
            total += v
            count += 1
            if place < 0 or v > best or v != v and best == best:
                best, place = v, i
    if mode == MAX:
        places[b * n + j] = place
    else:
        store(out, b * n + j, total / A(count) if mode == MEAN and count else total)


@device_kernel("T* q* q* T* q q q q q q q", T=FLOATING, threads=THREADS)
def bag_backward(g, indices, offsets, out, m, n, bags, given, fixed, padding, mode):
    """The gradient of a sum or mean of bags: g[b] to each row of bag b, over their number for a mean; out starts as zeros."""
    j, b = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x, cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    if j >= n or b >= bags:
        return
    first, last = bag_of(b, offsets, given, bags, fixed, m)
    v, count = load(g, b * n + j), np.int64(0)
    if mode == MEAN:
        for i in range(first, last):
            if indices[i] != padding:
                count += 1
        v = v / A(max(count, 1))
    for i in range(first, last):
        if indices[i] != padding:
            store(out, i * n + j, v)


# ---- launching -------------------------------------------------------------------------------------------------------------

def _rows_block(m, n, width):
    """(blocks, threads of each as (along a row, rows))."""
    along = min(THREADS, power_of_two(-(-n // width)))
    return -(-m // (THREADS // along)), (along, THREADS // along)


def take(table, indices, out):
    """out (m, n) = rows of a contiguous table by int64 indices."""
    (rows, n), m = table.shape, indices.size
    width = width_of(n, table, out)
    GATHER[width].launch(*_rows_block(m, n, width), table, indices, out, m, n, rows)


def add(g, indices, padding, scale, out):
    """The rows of g (m, n), times ``scale`` (m,) or None, added to those of ``out``, which is of the type g is computed in."""
    if _cuda_ordered.fixed:
        _add_in_order(g, indices, padding, scale, out)
        return
    m, n = g.shape
    width = width_of(n, g)
    ADD[width].launch(*_rows_block(m, n, width), g, indices, scale, out, m, n, out.shape[0], padding, scale is not None)


def _add_in_order(g, indices, padding, scale, out):
    """The same with sums in the order of the index; rows that are left out go to one behind the last."""
    (rows, n), g = out.shape, g.astype(out.dtype, copy=False)
    index, sums = np.empty(indices.shape, np.int64, like=out), np.zeros((rows + 1, n), out.dtype, like=out)
    choose(indices == padding, rows, indices, index)
    choose(index < 0, rows, index, index)
    choose(index > rows, rows, index, index)
    put("add", sums, 0, index, g if scale is None else g * scale[:, None], "embedding")
    out[...] = sums[:rows]


def inverse_frequencies(indices, rows, dtype):
    """1 over how often each index occurs."""
    m = indices.size
    counts, scale = np.zeros(rows, dtype, like=indices), np.empty(m, dtype, like=indices)
    count_rows.launch(-(-m // THREADS), THREADS, counts, indices, m, rows)
    inverse_counts.launch(-(-m // THREADS), THREADS, counts, scale, indices, m, rows)
    return scale


def limit_norms(table, indices, most, norm):
    """Scales the rows looked up whose norm is over ``most``, in place."""
    (rows, n), m = table.shape, indices.size
    seen = np.zeros(rows, np.int32, like=table)
    renormalize.launch(-(-m * WARP // THREADS), THREADS, table, indices, seen, m, n, rows, most, norm)


def _bag_block(bags, n):
    along = min(THREADS, power_of_two(n))
    block = along, THREADS // along
    return (-(-bags // block[1]), -(-n // along)), block


def bags_of(x, indices, offsets, bags, padding, mode, out, places):
    """``bag`` of x (m, n) in ``bags`` bags, by offsets or, where these are None, of equal size."""
    m, n = x.shape
    given = 0 if offsets is None else offsets.size
    grid, block = _bag_block(bags, n)
    bag.launch(grid, block, x, indices, offsets, out, places, m, n, bags, given, m // bags, padding, mode)


def bags_backward(g, indices, offsets, padding, mode, out):
    """The gradient of ``bags_of`` for sums and means into ``out`` (m, n), which is cleared."""
    (bags, n), m = g.shape, out.shape[0]
    given = 0 if offsets is None else offsets.size
    out.fill(0)
    grid, block = _bag_block(bags, n)
    bag_backward.launch(grid, block, g, indices, offsets, out, m, n, bags, given, m // bags, padding, mode)
