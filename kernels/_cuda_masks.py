"""Elements chosen by a mask on a CUDA device: their number, their coordinates, and the elements themselves, in order.

A block has a tile of the mask, 16 elements a thread. A first pass counts each tile's True, a scan by one block turns the counts
into where each tile's elements go, and a second pass over the mask writes them. The host waits once, for the number of True, the
size of the result.
"""
import numpy as np

from . import _cuda_errors, pointwise_cuda
from ._cuda import BITS, FULL, WARP, blocks, cuda, device_kernel, load, load_vector, store
from ._cuda_errors import report
from ._cuda_places import MOST, WORDS, dense, division, quotient
from ._device import DeviceArray, empty

BLOCK = 256             # threads of a block at most,
THREADS = BLOCK         # and as they are launched
EACH = 16               # elements of a mask that a thread has: one access of 16 bytes
SCANNED = 8             # numbers of a scan that a thread has at a time


# ---- in a block --------------------------------------------------------------------------------------------------------------

def flags(mask, i, n):
    """For kernels: elements i to i + 16 of a mask as bits, those from n on 0."""
    bits = np.uint32(0)
    if i + EACH <= n:
        a = load_vector(mask, i, EACH)
        bits = np.uint32(a[0] | a[1] << 1 | a[2] << 2 | a[3] << 3 | a[4] << 4 | a[5] << 5 | a[6] << 6 | a[7] << 7 | a[8] << 8
                         | a[9] << 9 | a[10] << 10 | a[11] << 11 | a[12] << 12 | a[13] << 13 | a[14] << 14 | a[15] << 15)
    else:
        for j in range(i, n):
            bits = np.uint32(bits | np.uint32(load(mask, j)) << np.uint32(j - i))
    return bits


def scanned(v):
    """For kernels: (the sum of ``v``, an int64, over the threads of the block before this one, the sum over all)."""
    sums = cuda.shared.array(WARP, np.int64)
    lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
    upto = v
    for k in (1, 2, 4, 8, 16):
        other = cuda.shfl_up_sync(FULL, upto, k)
        if lane >= k:
            upto += other
    if lane == WARP - 1:
        sums[warp] = upto
    cuda.syncthreads()
    before, total = upto - v, np.int64(0)
    for w in range(cuda.blockDim.x // WARP):
        if w < warp:
            before += sums[w]
        total += sums[w]
    return before, total


# ---- kernels -----------------------------------------------------------------------------------------------------------------

@device_kernel("?* q* q", threads=BLOCK)
def count_tiles(mask, counts, n):
    """counts[b] = True elements in tile b of the mask (flat, aligned to 16 bytes). n bytes."""
    i = (np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x) * EACH
    before, total = scanned(np.int64(cuda.popc(flags(mask, i, n))))
    if cuda.threadIdx.x == 0:
        counts[cuda.blockIdx.x] = total


@device_kernel("q* q q*", threads=1024)
def running_sum(x, n, bad):
    """x[i] = x[0] + ... + x[i], in place, by one block; a number below 0 is reported. 24 n bytes, most of them from the cache."""
    carry = np.int64(0)
    span = cuda.blockDim.x * SCANNED
    for first in range(0, n, span):
        i = first + cuda.threadIdx.x * SCANNED
        own = np.int64(0)
        for j in range(i, min(i + SCANNED, n)):
            if x[j] < 0:
                report(bad, x[j], n)
            own += x[j]
        before, total = scanned(own)
        upto = carry + before
        for j in range(i, min(i + SCANNED, n)):
            upto += x[j]
            x[j] = upto
        carry += total
        cuda.syncthreads()          # the next turn of the scan writes its sums again


def ranked(mask, ends, n, bits, starts):
    """For kernels: fills the block's ``bits`` (16 elements each) and ``starts`` (True before them); returns the tile's start."""
    thread = cuda.threadIdx.x
    i = (np.int64(cuda.blockIdx.x) * cuda.blockDim.x + thread) * EACH
    own = flags(mask, i, n)
    before, total = scanned(np.int64(cuda.popc(own)))
    bits[thread] = own
    starts[thread] = before + (ends[cuda.blockIdx.x - 1] if cuda.blockIdx.x else np.int64(0))
    cuda.syncthreads()
    return np.int64(cuda.blockIdx.x) * cuda.blockDim.x * EACH


def rank(bits, starts, e):
    """For kernels: how many True come before element e of the tile; -1 where it is not one itself."""
    own, at = bits[e // EACH], np.uint32(e % EACH)
    if own >> at & np.uint32(1):
        return starts[e // EACH] + np.int64(cuda.popc(np.uint32(own & np.uint32((np.uint32(1) << at) - np.uint32(1)))))
    return np.int64(-1)


@device_kernel("?* T* q* T* q", T=BITS, threads=BLOCK)
def select(mask, x, ends, out, n):
    """out = x where mask, in order; ends: running sum of the tiles' counts. n bytes, and 2 s for each True."""
    bits, starts = cuda.shared.array(BLOCK, np.uint32), cuda.shared.array(BLOCK, np.int64)
    tile = ranked(mask, ends, n, bits, starts)
    for k in range(EACH):
        e = cuda.threadIdx.x + k * cuda.blockDim.x
        p = rank(bits, starts, e)
        if p >= 0:
            store(out, p, load(x, tile + e))


@device_kernel("?* q* q* q", threads=BLOCK)
def find(mask, ends, out, n):
    """out = the numbers of the True elements, in order. n bytes, and 8 for each True."""
    bits, starts = cuda.shared.array(BLOCK, np.uint32), cuda.shared.array(BLOCK, np.int64)
    tile = ranked(mask, ends, n, bits, starts)
    for k in range(EACH):
        e = cuda.threadIdx.x + k * cuda.blockDim.x
        p = rank(bits, starts, e)
        if p >= 0:
            out[p] = tile + e


@device_kernel("?* T* q* T* T* q q q*", T=BITS, threads=BLOCK)
def spread(mask, source, ends, x, out, n, have, bad):
    """out = x, but where mask the next element of source, which has ``have``. n (2 s + 1) bytes."""
    bits, starts = cuda.shared.array(BLOCK, np.uint32), cuda.shared.array(BLOCK, np.int64)
    tile = ranked(mask, ends, n, bits, starts)
    for k in range(EACH):
        e = cuda.threadIdx.x + k * cuda.blockDim.x
        if tile + e < n:
            p = rank(bits, starts, e)
            if p >= have:
                report(bad, p, have)
                p = np.int64(-1)
            store(out, tile + e, load(source, p) if p >= 0 else load(x, tile + e))


@device_kernel("q* q* q q q I I", threads=BLOCK)
def unravel(rest, column, count, wide, size, factor, shift):
    """column, rest = rest % size, rest // size for each of ``count``; ``wide``: not all below 2^31. 24 bytes an element."""
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= count:
        return
    number = rest[i]
    if wide:
        above = number // size
    else:
        above = np.int64(quotient(np.uint32(number), factor, shift))
    rest[i] = above
    column[i] = number - above * size


# ---- running them ------------------------------------------------------------------------------------------------------------

def _flat(mask):
    """The mask as an aligned vector."""
    flat = dense(mask).reshape(-1)
    return flat if flat.ptr % EACH == 0 else flat.copy()


def _word(a):
    """A contiguous array as the words that are moved in its elements' place."""
    return a.view(WORDS[a.itemsize])


def ends(flat):
    """The running sum of True elements over the tiles of a mask that ``_flat`` made; not empty."""
    tiles = blocks(flat.size, THREADS * EACH)
    found = empty(tiles, np.int64, flat.device)
    count_tiles.launch(tiles, THREADS, flat, found, flat.size)
    accumulate(found, "nonzero")
    return found


def accumulate(x, name):
    """The running sum of a contiguous vector of int64, in place; an element below 0 is reported as of the operation ``name``."""
    running_sum.launch(1, min(1024, max(WARP, blocks(x.size, SCANNED * WARP) * WARP)), x, x.size,
                       _cuda_errors.note(name, x.device))


def compress(x, mask):
    """The elements of ``x`` where ``mask``, in order; arrays of one shape. Waits for their number."""
    if not mask.size:
        return empty(0, x.dtype, x.device)
    flat = _flat(mask)
    upto = ends(flat)
    out = empty(upto[-1].item(), x.dtype, x.device)
    if out.size:
        select.launch(upto.size, THREADS, flat, _word(dense(x)), upto, _word(out), flat.size)
    return out


def coordinates(mask):
    """The coordinates of the True elements of ``mask``, in order: int64 (count, ndim) by columns. Waits for their number."""
    if not mask.size:
        return empty((0, mask.ndim), np.int64, mask.device)
    flat = _flat(mask)
    upto = ends(flat)
    count = upto[-1].item()
    out = empty((mask.ndim, count), np.int64, mask.device)
    if out.size:
        find.launch(upto.size, THREADS, flat, upto, out[0], flat.size)
        for d in range(mask.ndim - 1, 0, -1):
            wide, size = flat.size > MOST, mask.shape[d]
            _, factor, shift = division(1 if wide else size)
            unravel.launch(blocks(count, THREADS), THREADS, out[0], out[d], count, wide, size, factor, shift)
    return out.transpose()


def scatter(x, mask, source, out, name):
    """out = x, but where mask the next element of source; arrays of one shape, ``out`` contiguous and perhaps x itself.

    Too few elements in ``source`` are reported as of the operation ``name``.
    """
    if not mask.size:
        return
    flat, values = _flat(mask), dense(source)
    upto = ends(flat)
    spread.launch(upto.size, THREADS, flat, _word(values), upto, _word(dense(x)), _word(out), flat.size,
                  values.size, _cuda_errors.note(name, out.device))


# ---- a choice for each element -----------------------------------------------------------------------------------------------

def choose(mask, x, y, out):
    """out = x where mask, else y: arrays that broadcast to ``out``, x and y of its dtype, or numbers of it."""
    word = WORDS[out.itemsize]
    x, y = (a.view(word) if isinstance(a, DeviceArray) else np.asarray(a, out.dtype).view(word)[()] for a in (x, y))
    pointwise_cuda.run("where", ("bool", word.name, word.name, word.name), [mask, x, y], out.view(word))


def where(condition, x, y, out):
    """Twin of ``indexing.where``."""
    choose(condition, x, y, out)


def masked_fill(x, mask, value, out):
    """Twin of ``indexing.masked_fill``."""
    choose(mask, value if isinstance(value, DeviceArray) else value[0], x, out)
