"""Sorting rows on a CUDA device, with indices, stable, nan last; keys as in ``sort.py``.

Rows of up to TILE elements are sorted in a block's shared memory by a bitonic network (K. Batcher, 1968) of (key, place) pairs,
of which no two are equal: so the order is the stable one. Longer rows are sorted by radix, 8 bits a pass from the lowest up: a
word of 64 bits holds 32 bits of the key above the place; tiles count their digits, a scan makes places of the counts, and each
tile moves its words there in their order. Keys of 64 bits are sorted by their lower half, then by their upper one.

The k first of a long row: the k first of each of its parts, then of those, until one block holds the rest.
"""
import numpy as np

from . import scan_cuda
from ._cuda import FULL, NUMBERS, T, atomic_add, blocks, cuda, device_kernel, load, store
from ._device import empty
from ._driver import OnHost

TILE = 2048                     # elements that a block sorts in shared memory
SMALL = 512                     # elements of a block that sorts several rows
DIGITS, THREADS, WARPS = 256, 256, 8
ITEMS = 16                      # words of a thread in a radix pass
COUNTS = DIGITS * WARPS         # of a block, digits for each warp
MOVED = ("int8", "int16", "int32", "int64")
KTH, MEDIAN, NANMEDIAN = 0, 1, 2


# ---- in shared memory --------------------------------------------------------------------------------------------------------

def ordered(bits, sign, infinity, flip):
    """For kernels: the unsigned key that sorts as the value does. ``infinity``: its bits, 0 for integers; flip: descending."""
    key = bits ^ sign
    if infinity != T(0):
        magnitude = T(bits & T(sign - T(1)))
        key = T(~bits) if bits & sign else T(bits | sign)
        key = sign if magnitude == T(0) else key
        key = T(~T(0)) if magnitude > infinity else key
    return T(key ^ flip)


@device_kernel("T* U* U* q* A A A q q q q q q q", T=("uint32", "uint64"), U=MOVED, threads=1024)
def sort_rows(bits, x, values, index, sign, infinity, flip, m, n, shift, rows, k, step, rest):
    """The k first of each part of each row of x (m, n), in stable order, and their places in the row.

    values, index (m, parts, k), parts = gridDim.y: of ``step`` elements, or one more for the first ``rest``. A block sorts
    ``rows`` parts side by side, each padded to 2^shift places. Within 64 places a warp works by itself. One pass: reads bits,
    and x where it is among the first.
    """
    keys, places = cuda.shared.array(TILE, T), cuda.shared.array(TILE, np.int32)
    t, threads, part, parts = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.y, cuda.gridDim.y
    width, size = 1 << shift, rows << shift
    first = part * step + (part if part < rest else rest)
    count = step + 1 if part < rest else step
    row = np.int64(cuda.blockIdx.x) * rows
    for e in range(t, size, threads):
        i, j = row + (e >> shift), e & (width - 1)
        key = T(~T(0))
        if i < m and j < count:
            key = ordered(load(bits, i * n + first + j), sign, infinity, flip)
        keys[e] = key
        places[e] = j
    run, apart = 2, True
    while run <= width:
        distance = run >> 1
        while distance > 0:
            if apart or distance > 32:
                cuda.syncthreads()
            else:
                cuda.syncwarp()
            apart = distance > 32
            for p in range(t, size >> 1, threads):
                a = 2 * p - (p & (distance - 1))
                b = a + distance
                key, place, other, there = keys[a], places[a], keys[b], places[b]
                later = key > other or (key == other and place > there)
                if later == (a & run == 0 or run == width):
                    keys[a] = other
                    places[a] = there
                    keys[b] = key
                    places[b] = place
            distance >>= 1
        run <<= 1
    cuda.syncthreads()
    for e in range(t, size, threads):
        i, j = row + (e >> shift), e & (width - 1)
        if i < m and j < k:
            place, at = first + places[e], (i * parts + part) * k + j
            index[at] = place
            store(values, at, load(x, i * n + place))


# ---- by radix ----------------------------------------------------------------------------------------------------------------

@device_kernel("T* Q* Q* A A A I q q q q", T=("uint32", "uint64"), threads=256)
def pack(bits, before, words, sign, infinity, flip, shift, ordinal, n, tile, tiles):
    """words (m, n) = 32 bits of the key, from bit ``shift`` on, above the place in the row.

    The places are 0, 1, 2 ... (``ordinal``) or those of the words ``before``. One pass: reads bits, writes 8 bytes an element.
    """
    row = np.int64(np.uint32(cuda.blockIdx.x) // np.uint32(tiles))
    start = (cuda.blockIdx.x - row * tiles) * tile
    for e in range(start + cuda.threadIdx.x, min(start + tile, n), cuda.blockDim.x):
        place = np.uint64(e)
        if not ordinal:
            place = before[row * n + e] & np.uint64(0xFFFFFFFF)
        key = np.uint64(ordered(load(bits, row * n + np.int64(place)), sign, infinity, flip))
        words[row * n + e] = np.uint64((key >> np.uint64(shift)) << np.uint64(32)) | place


def peers_of(word, inside, shift):
    """For kernels: (digit of a word, how many lanes before this one have the same, how many in all; 0 outside of the row)."""
    digit = np.int32((word >> np.uint64(shift)) & np.uint64(255)) if inside else np.int32(DIGITS)
    same = np.uint32(cuda.match_any_sync(FULL, digit))
    before = np.uint32(same & np.uint32((1 << (cuda.threadIdx.x & 31)) - 1))
    return digit, np.int32(cuda.popc(before)), np.int32(cuda.popc(same))


@device_kernel("Q* q* I q q q", threads=256)
def count_digits(words, counts, shift, n, tile, tiles):
    """counts (m, DIGITS, tiles) = how often each digit, 8 bits from ``shift`` on, occurs in each tile of words (m, n).

    Equal digits of a warp are counted at once, since many often are equal. One pass: reads 8 bytes an element.
    """
    total = cuda.shared.array(DIGITS, np.int32)
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    row = np.int64(np.uint32(cuda.blockIdx.x) // np.uint32(tiles))
    number = cuda.blockIdx.x - row * tiles
    start, end = number * tile, min((number + 1) * tile, n)
    for d in range(t, DIGITS, threads):
        total[d] = 0
    cuda.syncthreads()
    at = start + (t & ~31)
    while at < end:
        e = at + (t & 31)
        inside = e < end
        word = words[row * n + (e if inside else start)]
        digit, earlier, together = peers_of(word, inside, shift)
        if inside and earlier == 0:
            atomic_add(total, digit, together)
        at += threads
    cuda.syncthreads()
    for d in range(t, DIGITS, threads):
        counts[(row * DIGITS + d) * tiles + number] = total[d]


@device_kernel("Q* Q* q* q* I q q q q", threads=256)
def move_by_digit(words, out, counts, sums, shift, n, tile, span, tiles):
    """out (m, n) = words (m, n) in the stable order of one digit; sums: of the counts, up to each and with it.

    A warp counts the digits of its ``span`` words, then knows from the warps before it, and from the sums, where its first word
    of each digit belongs, and moves them. Two passes over the words, the second from the cache: 16 bytes an element.
    """
    places = cuda.shared.array(COUNTS, np.int32)
    t, threads = cuda.threadIdx.x, cuda.blockDim.x
    row = np.int64(np.uint32(cuda.blockIdx.x) // np.uint32(tiles))
    number = cuda.blockIdx.x - row * tiles
    warps, own = threads >> 5, (t >> 5) * DIGITS
    start = number * tile + (t >> 5) * span
    end = min(start + span, n)
    for d in range(t, warps * DIGITS, threads):
        places[d] = 0
    cuda.syncthreads()
    at = start
    while at < end:
        e = at + (t & 31)
        inside = e < end
        digit, earlier, together = peers_of(words[row * n + (e if inside else start)], inside, shift)
        if inside and earlier == 0:
            places[own + digit] += together
        cuda.syncwarp()
        at += 32
    cuda.syncthreads()
    for d in range(t, DIGITS, threads):
        where = (row * DIGITS + d) * tiles + number
        place = np.int32(sums[where] - counts[where])
        for w in range(warps):
            here = places[w * DIGITS + d]
            places[w * DIGITS + d] = place
            place = np.int32(place + here)
    cuda.syncthreads()
    at = start
    while at < end:
        e = at + (t & 31)
        inside = e < end
        word = words[row * n + (e if inside else start)]
        digit, earlier, together = peers_of(word, inside, shift)
        place = np.int32(0)
        if inside:
            place = places[own + digit]
        cuda.syncwarp()
        if inside:
            out[row * n + place + earlier] = word
            if earlier == 0:
                places[own + digit] = place + together
        cuda.syncwarp()
        at += 32


@device_kernel("Q* U* U* q* q q q q", U=MOVED, threads=256)
def unpack(words, x, values, index, n, k, tile, tiles):
    """index (m, k) = the places in words (m, n), values = x there. One pass: 16 bytes and twice an element of x, an element."""
    row = np.int64(np.uint32(cuda.blockIdx.x) // np.uint32(tiles))
    start = (cuda.blockIdx.x - row * tiles) * tile
    for e in range(start + cuda.threadIdx.x, min(start + tile, k), cuda.blockDim.x):
        place = np.int64(words[row * n + e] & np.uint64(0xFFFFFFFF))
        index[row * k + e] = place
        store(values, row * k + e, load(x, row * n + place))


# ---- from sorted rows --------------------------------------------------------------------------------------------------------

def first_not_before(x, start, n, value):
    """For kernels: how many of n ascending elements from ``start`` on are before ``value``; nan is after everything."""
    low, high = np.int64(0), n
    while low < high:
        middle = (low + high) >> 1
        here = load(x, start + middle)
        if here < value or (here == here and value != value):
            low = middle + 1
        else:
            high = middle
    return low


@device_kernel("T* q* T* q* q q q q", T=(*NUMBERS, "bool"), threads=256)
def pick_rank(x, order, values, index, kind, rank, m, n):
    """values, index (m,) = one element of each sorted row of x (m, n) and its first place, order (m, n): one thread a row.

    kind KTH: the element ``rank``, MEDIAN: the lower middle one, or nan if there is one, NANMEDIAN: that of those not nan.
    """
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= m:
        return
    start, k = i * n, rank
    last = load(x, start + n - 1)
    if kind != KTH:
        known = first_not_before(x, start, n, last) if last != last else n
        k = (n - 1) >> 1
        if known < n:
            k = (known - 1) >> 1 if kind == NANMEDIAN and known > 0 else n - 1
    value = load(x, start + k)
    store(values, i, value)
    index[i] = order[start + first_not_before(x, start, n, value)]


@device_kernel("T* q* T* q* q", T=(*NUMBERS, "bool"), threads=256)
def most_frequent(x, order, values, index, n):
    """values = the most frequent element of every sorted row of x (m, n), the least of several; index = its last place.

    A block a row. Where a run of equal elements ends, a thread looks for its start; the longest run, of several the first, has
    the greatest (length, -end). Each nan is a run of its own.
    """
    best = cuda.shared.array(32, np.int64)
    t, threads, start = cuda.threadIdx.x, cuda.blockDim.x, cuda.blockIdx.x * n
    found = np.int64(0)
    for j in range(t, n, threads):
        value = load(x, start + j)
        if j == n - 1 or load(x, start + j + 1) != value:
            length = np.int64(1)
            if value == value:
                length = j + 1 - first_not_before(x, start, n, value)
            found = max(found, (length << 32) | (0xFFFFFFFF - j))
    for d in (16, 8, 4, 2, 1):
        found = max(found, cuda.shfl_xor_sync(FULL, found, d))
    if t & 31 == 0:
        best[t >> 5] = found
    cuda.syncthreads()
    if t == 0:
        for w in range(threads >> 5):
            found = max(found, best[w])
        j = 0xFFFFFFFF - (found & 0xFFFFFFFF)
        store(values, cuda.blockIdx.x, load(x, start + j))
        index[cuda.blockIdx.x] = order[start + j]


@device_kernel("T* T* q* q* q q q q q q", T=(*NUMBERS, "bool"), threads=256)
def search_sorted(values, edges, order, out, right, sorted_by, k, n, stride, count):
    """out (m, k) = how many of a row of edges are before each of values (m, k), nan after everything (right: or equal).

    A row has n edges, one in ``stride`` (n, or 0 for one row alike); ``sorted_by``: edges[order] is ascending. One thread each.
    """
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= count:
        return
    start = np.int64(0)
    if stride:
        start = i // k * stride
    value, low, high = load(values, i), np.int64(0), n
    while low < high:
        middle = (low + high) >> 1
        edge = load(edges, start + (order[start + middle] if sorted_by else middle))
        before = not edge > value if right else not edge >= value
        if before:
            low = middle + 1
        else:
            high = middle
    out[i] = low


# ---- running them ------------------------------------------------------------------------------------------------------------

def _key(bits, kind, descending):
    """(sign, infinity, flip) of ``ordered``."""
    size = 8 * bits.dtype.itemsize
    infinity = 0x7F800000 if size == 32 else 0x7FF0000000000000
    return 1 << size - 1, infinity if kind == 2 else 0, (1 << size) - 1 if descending else 0


def _shifts(x, bits):
    """The lowest bits of those bytes of a key that can differ; values of 8 and 16 bits were widened."""
    if bits.dtype.itemsize == 8:
        return None
    kind, size = x.dtype.name, x.dtype.itemsize
    return {"float16": (8, 16, 24), "bfloat16": (16, 24), "bool": (0,), "uint8": (0,), "int8": (0, 24),
            "int16": (0, 8, 24)}.get(kind, tuple(range(0, 8 * size, 8)))


def _raw(x):
    return x.view(MOVED[x.dtype.itemsize.bit_length() - 1])


def argsort(x, descending, values, index):
    """values, index (m, k) = the k first of the stable order of every row of x (m, n), nan greatest; all contiguous."""
    from .sort import bits_of

    (m, n), k = x.shape, index.shape[1]
    if not m * k:
        return
    if n >= 1 << 31:
        raise OnHost("rows of 2^31 elements or more")
    bits, kind = bits_of(x)
    key = _key(bits, kind, descending)
    if n <= TILE:
        _in_blocks(bits, _raw(x), _raw(values), index, key, 1)
    elif 4 * k <= TILE and blocks(n, TILE) <= 65535:
        _in_parts(bits, x, values, index, key, kind, descending)
    else:
        _by_radix(bits, x, values, index, key)


def _in_blocks(bits, x, values, index, key, parts):
    m, n = x.shape
    longest, k = blocks(n, parts), index.shape[1] // parts
    shift = max(longest - 1, 0).bit_length()
    rows = max(1, min(SMALL >> shift, m)) if parts == 1 else 1
    threads = min(1024, max(32, (rows << shift) // 64 * 32))
    sort_rows.launch((blocks(m, rows), parts), threads, bits, x, values, index, *key, m, n, shift, rows, k, n // parts, n % parts)


def _in_parts(bits, x, values, index, key, kind, descending):
    (m, n), k = x.shape, index.shape[1]
    parts = blocks(n, TILE)
    best, places = empty((m, parts * k), bits.dtype, x.device), empty((m, parts * k), np.int64, x.device)
    _in_blocks(bits, _raw(bits), _raw(best), places, key, parts)
    chosen = empty((m, k), np.int64, x.device)
    argsort(best.view(_VALUES[bits.dtype.itemsize, kind]), descending, empty((m, k), best.dtype, x.device), chosen)
    from .indexing_cuda import take

    take(places, 1, chosen, index, "topk")
    take(_raw(x), 1, index, _raw(values), "topk")


_VALUES = {(4, 1): np.int32, (4, 2): np.float32, (8, 1): np.int64, (8, 2): np.float64}     # size and kind of keys


def _by_radix(bits, x, values, index, key):
    (m, n), k, device = x.shape, index.shape[1], x.device
    tile = THREADS * ITEMS
    tiles = blocks(n, tile)
    words, spare = empty((m, n), np.uint64, device), empty((m, n), np.uint64, device)
    counts, sums = (empty((m, DIGITS * tiles, 1), np.int64, device) for _ in range(2))
    halves = [(0, _shifts(x, bits))] if bits.dtype.itemsize == 4 else [(0, (0, 8, 16, 24)), (32, (0, 8, 16, 24))]
    for half, shifts in halves:
        pack.launch(m * tiles, THREADS, bits, words, spare, *key, half, half == 0, n, tile, tiles)
        words, spare = spare, words
        for shift in shifts:
            count_digits.launch(m * tiles, THREADS, words, counts, 32 + shift, n, tile, tiles)
            scan_cuda.run("cumsum", [counts], [sums])
            move_by_digit.launch(m * tiles, THREADS, words, spare, counts, sums, 32 + shift, n, tile, 32 * ITEMS, tiles)
            words, spare = spare, words
    tiles = blocks(k, tile)
    unpack.launch(m * tiles, THREADS, words, _raw(x), _raw(values), index, n, k, tile, tiles)


def order_statistic(x, kind, rank):
    """(one element of each row of x (m, n), its first place); see ``pick_rank``."""
    m, n = x.shape
    ordered_, order = empty(x.shape, x.dtype, x.device), empty(x.shape, np.int64, x.device)
    values, index = empty((m,), x.dtype, x.device), empty((m,), np.int64, x.device)
    if m:
        argsort(x, False, ordered_, order)
        pick_rank.launch(blocks(m, THREADS), THREADS, ordered_, order, values, index, kind, rank, m, n)
    return values, index


def mode(x):
    """(the most frequent element of each row of x (m, n), its last place); see ``most_frequent``."""
    m, n = x.shape
    ordered_, order = empty(x.shape, x.dtype, x.device), empty(x.shape, np.int64, x.device)
    values, index = empty((m,), x.dtype, x.device), empty((m,), np.int64, x.device)
    if m:
        argsort(x, False, ordered_, order)
        most_frequent.launch(m, min(THREADS, 32 * blocks(n, 32)), ordered_, order, values, index, n)
    return values, index


def searchsorted(values, edges, order, right, out):
    """Twin of ``sort.searchsorted``; ``order`` may be empty."""
    k, n, count = values.shape[1], edges.shape[1], values.size
    sorted_by = order.size > 0
    if count:
        search_sorted.launch(blocks(count, THREADS), THREADS, values, edges, order if sorted_by else None, out, right, sorted_by,
                             k, n, n if len(edges) > 1 else 0, count)
