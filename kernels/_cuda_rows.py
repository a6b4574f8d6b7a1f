"""Rows on a GPU: which threads share a row, how they read and write it, and what they find out about it together.

Short rows are shared by the lanes of a warp, or by a power of two of them, so that a warp has several rows; longer ones by a
block. Each thread keeps its part of the row in registers: a row is read once. Accesses are of 16 bytes where rows and arrays are
aligned to them; ``parts`` makes the pieces of a kernel for one width of access, and ``by_width`` all kernels of a kind.
"""
import math
from types import SimpleNamespace

import numpy as np

from . import _driver
from ._cuda import FULL, WARP, A, cuda, device_kernel, load_vector, store_vector
from ._cuda_blocks import block_max, block_sum, larger, warp_sum
from ._math import exp

WIDTHS = {1: ("float32", "float64", "float16", "bfloat16"), 2: ("float64",), 4: ("float32",), 8: ("float16", "bfloat16")}
LANES_HOLD = 8                      # numbers of a row that a thread keeps where lanes of a warp share it, and, by the width of
THREADS_HOLD = {1: 8, 2: 8, 4: 16, 8: 16}       # an access, where a block does: single ones take more registers for addresses
WARP_THREADS, MOST_THREADS = 128, 512       # of a block: whose warps have rows of their own, and of one that shares a row
PAIRS = 2 * WARP
SHORT = WARP * LANES_HOLD           # the longest row of a warp
RESERVED = 1 << 10      # bytes of a block's shared memory that are not for parts of rows
LONG = {width: MOST_THREADS * hold for width, hold in THREADS_HOLD.items()}     # the longest row in the registers of a block


# ---- on the host ---------------------------------------------------------------------------------------------------------

def width_of(n, *arrays):
    """Elements of an access: 16 bytes of them where rows of ``n`` in these arrays are aligned to that, else one."""
    width = 16 // arrays[0].itemsize
    return 1 if n % width or any([a.ptr & 15 for a in arrays]) else width


def power_of_two(n):
    """The smallest power of two that is at least ``n``."""
    return 1 << max(n - 1, 0).bit_length()


def lanes_shift(n, width):
    """log2 of the number of lanes that share a row of ``n``."""
    return min(WARP, power_of_two(-(-n // width))).bit_length() - 1


def block_threads(n, hold):
    """Threads of a block that shares a row of ``n``, of which each takes ``hold`` numbers at least."""
    return max(WARP, min(MOST_THREADS, power_of_two(-(-n // hold))))


def layout(m, n, width, hold=None, lanes_hold=LANES_HOLD):
    """(whether a block shares a row, blocks, threads of each, log2 of the lanes of a row) for ``m`` rows of ``n``."""
    if n > min(SHORT, WARP * lanes_hold):
        return True, m, block_threads(n, hold or THREADS_HOLD[width]), 0
    shift = lanes_shift(n, width)
    return False, -(-(m << shift) // WARP_THREADS), WARP_THREADS, shift


def kept_numbers(n, itemsize, width, arrays, device):
    """How many numbers of each of ``arrays`` rows of ``n`` a block keeps in shared memory: a multiple of ``width``."""
    room = (_driver.current().properties(device).shared_memory_per_block_optin - RESERVED) // (itemsize * arrays)
    return min(n, room // width * width)


def by_width(make, signature, *constants, threads=MOST_THREADS, resident=0):
    """{width: kernel} of ``make(width, *constants)``, whose name says the width."""
    found = {}
    for width, types in WIDTHS.items():
        fn = make(width, *constants)
        fn.__name__ = fn.__qualname__ = f"{fn.__name__}_{width}"
        found[width] = device_kernel(signature, T=types, threads=threads, resident=resident)(fn)
    return found


def by_rows(make, signature):
    """{whether a block shares a row: {width: kernel}} of ``make(width, whole)``."""
    return {whole: by_width(make, signature, whole, threads=MOST_THREADS if whole else WARP_THREADS) for whole in (False, True)}


# ---- in kernels ----------------------------------------------------------------------------------------------------------

def divided(number, by):
    """Quotient and rest of numbers below 2^32: with 64 bits a division takes six times as many instructions."""
    quotient = np.int64(np.uint32(number) // np.uint32(by))
    return quotient, number - quotient * by


def _one(values, i):
    return (values[i],)


def _two(values, i):
    return values[i], values[i + 1]


def _four(values, i):
    return values[i], values[i + 1], values[i + 2], values[i + 3]


def _eight(values, i):
    return (values[i], values[i + 1], values[i + 2], values[i + 3],
            values[i + 4], values[i + 5], values[i + 6], values[i + 7])


TUPLES = {1: _one, 2: _two, 4: _four, 8: _eight}        # of elements of a local array, from i on


def lanes_sum(v, shift):
    """The sum of ``v`` over 2^shift neighbouring lanes; all of the warp take part."""
    k = 1 << shift >> 1
    while k:
        v += cuda.shfl_xor_sync(FULL, v, k)
        k >>= 1
    return v


def lanes_max(v, shift):
    """The largest ``v`` of 2^shift neighbouring lanes; nan if one is."""
    k = 1 << shift >> 1
    while k:
        v = larger(v, cuda.shfl_xor_sync(FULL, v, k))
        k >>= 1
    return v


def _whole_sum(v, shift):
    return block_sum(v)


def _whole_max(v, shift):
    return block_max(v)


def _whole_pair_sum(v, w, shift):
    return block_pair_sum(v, w)


def _lanes_pair_sum(v, w, shift):
    return lanes_sum(v, shift), lanes_sum(w, shift)


def block_pair_sum(v, w):
    """Two sums over a block with the barriers of one."""
    partial = cuda.shared.array(PAIRS, A)
    thread, warps = cuda.threadIdx.x, cuda.blockDim.x // WARP
    v, w = warp_sum(v), warp_sum(w)
    lane = thread % WARP
    if lane == 0:
        partial[thread // WARP], partial[WARP + thread // WARP] = v, w
    cuda.syncthreads()
    v = warp_sum(partial[lane] if lane < warps else A(0))
    w = warp_sum(partial[WARP + lane] if lane < warps else A(0))
    cuda.syncthreads()
    return v, w


def _lanes_place(shift):
    thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    return thread >> shift, thread & (1 << shift) - 1


def _whole_place(shift):
    return np.int64(cuda.blockIdx.x), np.int64(cuda.threadIdx.x)


def parts(width, whole, hold=None):
    """The pieces of a kernel that keeps rows in registers: a namespace.

        hold: numbers of the row that a thread keeps, in a local array of A.
        vectors: accesses for them, of ``width`` elements each.
        place(shift): the thread's row, and its number among those that share the row.
        shares(shift): how many these are.
        read(p, at, j, step, n, beyond, values): the thread's numbers of the row at p[at], the first at ``j`` and ``step``
            from one access to the next; ``beyond`` for those that the row, of ``n``, has not.
        write(p, at, j, step, n, values): the reverse.
        sum(v, shift), max(v, shift), pair_sum(v, w, shift): over all threads of the row.

    ``whole``: a block shares a row, and ``shift`` means nothing.
    """
    hold = hold or (THREADS_HOLD[width] if whole else LANES_HOLD)
    vectors, pack = hold // width, TUPLES[width]

    def shares(shift):
        return np.int64(cuda.blockDim.x) if whole else 1 << shift

    def read(p, at, j, step, n, beyond, values):
        at += j
        j, n = np.int32(j), np.int32(n)
        for k in range(vectors):
            if j < n:
                found = load_vector(p, at, width)
                for e in range(width):
                    values[k * width + e] = found[e]
            else:
                for e in range(width):
                    values[k * width + e] = beyond
            at += step
            j = np.int32(j + step)

    def write(p, at, j, step, n, values):
        at += j
        j, n = np.int32(j), np.int32(n)
        for k in range(vectors):
            if j < n:
                store_vector(p, at, pack(values, k * width))
            at += step
            j = np.int32(j + step)

    return SimpleNamespace(
        hold=hold, vectors=vectors, pack=pack, shares=shares, read=read, write=write,
        place=_whole_place if whole else _lanes_place, sum=_whole_sum if whole else lanes_sum,
        max=_whole_max if whole else lanes_max, pair_sum=_whole_pair_sum if whole else _lanes_pair_sum)


def above(top):
    """What to take from numbers of which ``top`` is the largest before e^x is taken: 0 where all are -inf, or one is nan."""
    return top if top > A(-math.inf) else A(0)


def take_in(top, total, x):
    """(max, sum of e^(x - max)) of numbers so far, with one more (Milakov & Gimelshein, 2018); -inf and 0 to begin with."""
    power = A(1) if x == top else exp(-abs(x - top))        # -inf - -inf would be nan
    return (x, total * power + A(1)) if x > top else (top, total + power)


def take_in_vector(top, total, values, width):
    """The same with ``width`` more numbers; the sum so far is scaled only where one of them is larger."""
    high = values[0]
    for e in range(1, width):
        high = larger(high, values[e])
    if high > top or high != high:
        total *= exp(top - above(high))
        top = high
    base = above(top)
    for e in range(width):
        total += exp(values[e] - base)
    return top, total
