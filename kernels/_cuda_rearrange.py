"""Triangles, repeated entries and histograms on a CUDA device. What else is rearranged is a copy between views (``copy``)."""
import numpy as np

from . import _cuda_errors, _cuda_masks, _cuda_ordered
from ._cuda import BITS, REAL, A, T, atomic_add, blocks, cuda, device_kernel, load, store
from ._cuda_errors import report
from ._cuda_places import MOST, WORDS, Pointer, division, quotient
from ._device import empty, full
from ._driver import OnHost
from .indexing_cuda import put

THREADS = 256
BINS = 4096             # counters that a block keeps in shared memory
EACH = 16               # elements that a thread counts


# ---- triangles ---------------------------------------------------------------------------------------------------------------

@device_kernel("T~ T~ q q I I I I I I I", T=BITS, threads=THREADS)
def cut(x, out, k, lower, m, fm, hm, n, fn, hn, count):
    """out = x on and below (``lower``) or on and above the k-th diagonal of m x n matrices, else 0. 2 s bytes an element."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    above = quotient(i, fn, hn)
    column = np.int64(np.uint32(i - above * n))
    row = np.int64(np.uint32(above - quotient(above, fm, hm) * m))
    kept = column <= row + k if lower else column >= row + k
    store(out, i, load(x, i) if kept else T(0))


def triangle(x, k, lower, out):
    """Twin of ``indexing.triangle``."""
    batch, m, n = x.shape
    if m * n > MOST:
        raise OnHost(f"the triangle of a matrix of {m * n} elements")
    word, most = WORDS[x.itemsize], MOST // (m * n)
    k = max(-m, min(k, n))
    for first in range(0, batch, most):
        at, count = first * m * n * word.itemsize, min(most, batch - first) * m * n
        cut.launch(blocks(count, THREADS), THREADS, Pointer(x.ptr + at, word, x.device), Pointer(out.ptr + at, word, x.device), k,
                   lower, *division(m), *division(n), count)


def before(row, n, k):
    """For kernels: how many elements lie on and below the k-th diagonal in the rows above ``row`` of a matrix with n columns."""
    low = max(np.int64(0), -k)
    high = max(low, n - k - 1)              # from here on rows are whole
    partial = min(max(row, low), high) - low
    return partial * (low + k + 1) + partial * (partial - 1) // 2 + max(np.int64(0), row - high) * n


@device_kernel("q* q* q q q I I I", threads=THREADS)
def number_triangle(rows, columns, k, lower, m, n, fn, hn):
    """rows, columns = those of an m x n matrix's elements on one side of the k-th diagonal, in order: a thread an element."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= m * n:
        return
    above = quotient(i, fn, hn)
    row, column = np.int64(above), np.int64(np.uint32(i - above * n))
    width = np.int64(n)
    if lower and column <= row + k:
        p = before(row, width, k) + column
        rows[p], columns[p] = row, column
    elif not lower and column >= row + k:
        p = row * width - before(row, width, k - 1) + column - max(np.int64(0), row + k)
        rows[p], columns[p] = row, column


def triangle_indices(m, n, k, lower, device):
    """Rows and columns of the elements on and below (``lower``) or on and above the k-th diagonal: int64 (2, count)."""
    if m * n > MOST:
        raise OnHost(f"the indices of a matrix of {m * n} elements")
    kept = int(before(m, n, k) if lower else m * n - before(m, n, k - 1))
    out = empty((2, kept), np.int64, device)
    if kept:
        number_triangle.launch(blocks(m * n, THREADS), THREADS, out[0], out[1], k, lower, m, *division(n))
    return out


# ---- repeated entries --------------------------------------------------------------------------------------------------------

@device_kernel("q* q* q q q*", threads=THREADS)
def repeat(ends, out, n, count, bad):
    """out[p] = the first j with ends[j] > p, by bisection: a thread an element. ends: n running sums, the last of them count."""
    p = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if p >= count:
        return
    if p == 0 and ends[n - 1] != count:
        report(bad, ends[n - 1], count)
    low, high = np.int64(0), np.int64(n - 1)
    while low < high:
        middle = (low + high) // 2
        if ends[middle] > p:
            high = middle
        else:
            low = middle + 1
    out[p] = low


def repeated(times, count=None):
    """0 as often as the first of ``times`` says, then 1 ... (int64); waits for the sum of the times where it is not given."""
    ends = times.astype(np.int64, order="C", copy=True)
    if not ends.size:
        return ends
    _cuda_masks.accumulate(ends, "repeat_interleave")
    count = ends[-1].item() if count is None else count
    out = empty(count, np.int64, ends.device)
    if count:
        repeat.launch(blocks(count, THREADS), THREADS, ends, out, ends.size, count,
                      _cuda_errors.note("repeat_interleave", ends.device))
    return out


# ---- histograms --------------------------------------------------------------------------------------------------------------

@device_kernel("q* q* q q", threads=THREADS)
def count_few(index, out, n, bins):
    """out[b] += the elements of index (flat) that are b, counted in shared memory first: at most ``BINS`` bins. 8 n bytes."""
    counts = cuda.shared.array(BINS, np.int32)
    for b in range(cuda.threadIdx.x, bins, cuda.blockDim.x):
        counts[b] = 0
    cuda.syncthreads()
    first = np.int64(cuda.blockIdx.x) * cuda.blockDim.x * EACH + cuda.threadIdx.x
    for i in range(first, min(first + cuda.blockDim.x * EACH, n), cuda.blockDim.x):
        atomic_add(counts, index[i], np.int32(1))
    cuda.syncthreads()
    for b in range(cuda.threadIdx.x, bins, cuda.blockDim.x):
        if counts[b]:
            atomic_add(out, b, np.int64(counts[b]))


@device_kernel("q* T* T* q q", T=(*REAL, "int64"), threads=THREADS)
def count_weighed(index, weights, out, n, weighed):
    """out[index[i]] += weights[i], or 1, by atomic additions in any order. 8 + s bytes an element, and the additions."""
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i < n:
        atomic_add(out, index[i], load(weights, i) if weighed else A(1))


def bincount(index, weights, out):
    """Twin of ``indexing.bincount``."""
    n = index.size
    if not n:
        return
    if not weights.size and out.size <= BINS:
        count_few.launch(blocks(n, THREADS * EACH), THREADS, index, out, n, out.size)
    elif weights.size and _cuda_ordered.fixed:
        put("add", out, 0, index, weights, "bincount")
    else:
        count_weighed.launch(blocks(n, THREADS), THREADS, index, weights if weights.size else out, out, n, weights.size > 0)


@device_kernel("T* q* A A q q", T=REAL, threads=THREADS)
def number_bins(x, out, low, high, bins, n):
    """out[i] = which of ``bins`` equal bins on [low, high], the last closed, has x[i]; else ``bins``. 8 + s bytes an element."""
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= n:
        return
    v, place = load(x, i), bins
    if v >= low and v <= high:
        place = min(np.int64((v - low) * A(bins) / (high - low)), bins - 1)
    out[i] = place


def histc(x, low, high, out):
    """Twin of ``indexing.histc``."""
    bins, counts = out.size, full(out.size + 1, 0, np.int64, out.device)
    if x.size:
        places = empty(x.size, np.int64, x.device)
        number_bins.launch(blocks(x.size, THREADS), THREADS, x, places, low, high, bins, x.size)
        bincount(places, counts[:0], counts)
    out[...] = counts[:bins]


def flip(x, out):
    """Twin of ``indexing.flip``."""
    out[...] = x[:, ::-1]
