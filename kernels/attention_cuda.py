"""Attention without a matrix of scores, forward and backward (FlashAttention: Dao et al., 2022; Dao, 2023).

A block has a tile of queries, walks over the tiles of keys and values, and keeps for each query the largest score so far and the
sum of powers, by which its result is corrected whenever a larger score turns up. Backward computes the scores again from the
logarithm of the sum that forward has left: one kernel for the gradient of queries, one for those of keys and values, so that
nothing is added atomically. Arrays are (batch, heads, length, size) of any layout with neighbouring elements in the last
dimension. Sums are of float32, and so are products, except that tensor cores multiply halves. Scores are in units of ln 2: a
power of 2 costs half of what one of e does.
"""
import math

import numpy as np

from . import _driver
from ._cuda import WARP, A, cuda, device_kernel, load
from ._cuda_attention_tiles import plain, tensor_cores
from ._cuda_blocks import warp_sum
from ._cuda_rows import above, divided, lanes_max, lanes_sum
from ._powers import exp2, log2

TYPES, HALVES = ("float32", "float16", "bfloat16"), ("float16", "bfloat16")
NONE, VISIBLE, ADDED = range(3)             # kinds of masks
LOG2_E = math.log2(math.e)
HEADS = (16, 32, 64, 128)                   # the longest vectors of each set of kernels
# X and Y of a block, rows and columns of a thread, blocks that a multiprocessor is to have room for: the most without spills,
# from 7.5 to 12.0; forward, of queries, of keys and values
SHAPES = {16: ((4, 16, 2, 8, 6), (4, 16, 2, 4, 6), (4, 16, 2, 4, 6)), 32: ((8, 16, 4, 8, 3), (8, 16, 4, 4, 3), (8, 16, 4, 4, 3)),
          64: ((8, 16, 4, 8, 3), (8, 16, 4, 4, 3), (8, 16, 4, 4, 2)),
          128: ((16, 16, 4, 2, 2), (16, 8, 4, 2, 3), (16, 8, 4, 2, 3))}
# of tiles for tensor cores: as much as goes into registers
WIDTHS = {16: (64, 64, 64), 32: (64, 32, 32), 64: (64, 64, 32), 128: (64, 32, 16)}
DELTA_THREADS = 128


# ---- pieces of all kernels -------------------------------------------------------------------------------------------------

def place(number, tiles, heads):
    """(tile, batch, head) of block ``number``."""
    rest, tile = divided(number, tiles)
    b, h = divided(rest, heads)
    return tile, b, h


def bias(query, key, length, keys, causal, kind, visible, added, at):
    """What a mask adds to a score: -inf where the query may not see the key, or there is no such query or key."""
    if query >= length or key >= keys or causal and key > query:
        return A(-math.inf)
    if kind == VISIBLE:
        return A(0) if load(visible, at) else A(-math.inf)
    return load(added, at) if kind == ADDED else A(0)


def masking(parts, of_keys):
    """What gives the scores of a tile their masks, by way of a product's tile: there a loop can go from one to the next, which
    it cannot in registers. The rows are queries from ``i`` on and the columns keys from ``j`` on; ``of_keys``, the reverse."""
    rows, columns, row, column, keep, kept = parts.rows, parts.columns, parts.row, parts.column, parts.keep, parts.kept
    threads = parts.threads

    def mask(place, scores, i, j, length, keys, causal, kind, visible, added, at, row_step, column_step):
        e = cuda.threadIdx.x // threads         # 0, which the compiler does not know: unrolled, this would be most of the kernel
        while e < rows * columns:
            r, c = e // columns, e % columns
            query, key = (i + column(c), j + row(r)) if of_keys else (i + row(r), j + column(c))
            keep(place, r, c, bias(query, key, length, keys, causal, kind, visible, added,
                                   at + query * row_step + key * column_step))
            e += 1
        for r in range(rows):
            for c in range(columns):
                more = kept(place, r, c)
                scores[r, c] = scores[r, c] + more * A(LOG2_E) if more > A(-math.inf) else A(-math.inf)
    return mask


# ---- forward ---------------------------------------------------------------------------------------------------------------

def _forward(name, parts, types):
    height, width, rows, columns, own = parts.height, parts.width, parts.rows, parts.columns, parts.own
    fetch, depart, arrive, ahead = parts.fetch, parts.depart, parts.arrive, parts.stages > 1
    dot, put, add, leave = parts.dot, parts.put, parts.add, parts.leave
    row, column, lanes, mask = parts.row, parts.column, parts.lanes, masking(parts, False)
    keys_at, tile_words, product_words = height * parts.step, width * parts.step, height * parts.narrow
    values_at = keys_at + (tile_words if ahead else max(tile_words, product_words))
    stage_words = 2 * tile_words
    # without stages, for which a barrier makes room anyway, the scores lie where the keys were
    scores_at, words = (keys_at + 2 * stage_words, keys_at + 2 * stage_words + product_words) if ahead else \
        (keys_at, values_at + tile_words)

    def attention(q, k, v, out, normalizer, visible, added, q_b, q_h, q_l, k_b, k_h, k_l, v_b, v_h, v_l, o_b, o_h, o_l, m_b, m_h,
                  m_l, m_s, heads, length, keys, size, value_size, tiles, causal, kind, wide, scale):
        """out = softmax(q k^T scale + mask) v, and log2(sum(2^score)) of each query: reads q once, k and v once for each tile of
        queries, and writes out once."""
        tile, b, h = place(cuda.blockIdx.x, tiles, heads)
        first = (tiles - 1 - tile) * height         # with a causal mask the last tiles have most to do: they go first
        scores, sums = cuda.local.array((rows, columns), A), cuda.local.array((rows, own), A)
        tops, totals = cuda.local.array(rows, A), cuda.local.array(rows, A)
        for i in range(rows):
            tops[i] = A(-math.inf)
            totals[i] = A(0)
            for c in range(own):
                sums[i, c] = A(0)
        fetch(q, b * q_b + h * q_h + first * q_l, q_l, length - first, size, wide, 0, height)
        last = min(keys, first + height) if causal else keys
        rate, k_at, v_at, stage = scale * A(LOG2_E), b * k_b + h * k_h, b * v_b + h * v_h, 0
        if ahead:
            fetch(k, k_at, k_l, keys, size, wide, keys_at, width)
            fetch(v, v_at, v_l, keys, value_size, wide, values_at, width)
            depart()
        for begin in range(0, last, width):
            if ahead:
                arrive()
            else:
                cuda.syncthreads()
                fetch(k, k_at + begin * k_l, k_l, keys - begin, size, wide, keys_at, width)
                fetch(v, v_at + begin * v_l, v_l, keys - begin, value_size, wide, values_at, width)
            cuda.syncthreads()
            after, next_stage = begin + width, stage_words - stage
            if ahead and after < last:
                fetch(k, k_at + after * k_l, k_l, keys - after, size, wide, keys_at + next_stage, width)
                fetch(v, v_at + after * v_l, v_l, keys - after, value_size, wide, values_at + next_stage, width)
                depart()
            dot(0, keys_at + stage, scores)
            for i in range(rows):
                for j in range(columns):
                    scores[i, j] *= rate
            if not ahead:
                cuda.syncthreads()
            if kind != NONE or begin + width > keys or causal and begin + width > first:
                mask(scores_at, scores, first, begin, length, keys, causal, kind, visible, added, b * m_b + h * m_h, m_l, m_s)
            for i in range(rows):
                high = tops[i]
                for j in range(columns):
                    high = scores[i, j] if scores[i, j] > high else high
                high = lanes_max(high, lanes)
                base = above(high)
                correction = exp2(tops[i] - base)
                total = A(0)
                for j in range(columns):
                    scores[i, j] = exp2(scores[i, j] - base)
                    total += scores[i, j]
                tops[i] = high
                totals[i] = totals[i] * correction + total
                for c in range(own):
                    sums[i, c] *= correction
            put(scores_at, scores)
            cuda.syncwarp()
            add(scores_at, values_at + stage, sums)
            if ahead:
                stage = next_stage
        for i in range(rows):
            total = lanes_sum(totals[i], lanes)
            r = first + row(i)
            if column(0) == 0 and r < length:       # of a query that sees nothing inf: its powers are 0 in backward
                normalizer[(b * heads + h) * length + r] = tops[i] + log2(total) if total != A(0) else A(math.inf)
            totals[i] = A(1) / total if total != A(0) else A(0)
        leave(0, out, b * o_b + h * o_h + first * o_l, o_l, length - first, value_size, wide, sums, totals)

    return _made(attention, f"attention_{name}", "T~ T~ T~ T~ A* ?~ T~ " + "q " * 25 + "A", parts, types, words)


def _made(fn, name, signature, parts, types, words):
    """A kernel with what its parts need of the device, the bytes of shared memory, and the rows of its tile."""
    fn.__name__ = fn.__qualname__ = name
    kernel = device_kernel(signature, T=types, threads=parts.threads)(fn)
    kernel.shared, kernel.height, kernel.capability, kernel.resident = 4 * words, parts.height, parts.capability, parts.resident
    return kernel


# ---- backward --------------------------------------------------------------------------------------------------------------

@device_kernel("T~ T~ A* " + "q " * 10, T=TYPES, threads=DELTA_THREADS)
def attention_delta(g, out, delta, g_b, g_h, g_l, o_b, o_h, o_l, heads, length, size, count):
    """delta = sum(g out) over the last dimension of (batch, heads, length, size): a warp for each query; reads both once."""
    row, lane = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) // WARP, cuda.threadIdx.x % WARP
    if row >= count:
        return
    rest, l = divided(row, length)
    b, h = divided(rest, heads)
    total = A(0)
    for d in range(lane, size, WARP):
        total += load(g, b * g_b + h * g_h + l * g_l + d) * load(out, b * o_b + h * o_h + l * o_l + d)
    total = warp_sum(total)
    if lane == 0:
        delta[row] = total


def _backward(name, parts, types, of_keys):
    """The kernel of the gradients of keys and values, or of queries.

    Its rows are keys (k and v), or queries (q and g); its columns are the others. With the scores s, p = 2^(s - log2(sum)),
    dp = g v^T and ds = p (dp - delta), all with keys as rows or with queries as rows: the gradient of the first operand of the
    rows is ds scale times the first of the columns, and that of v is p times g.
    """
    height, width, rows, columns, own = parts.height, parts.width, parts.rows, parts.columns, parts.own
    fetch, depart, arrive, ahead = parts.fetch, parts.depart, parts.arrive, parts.stages > 1
    dot, put, add, leave = parts.dot, parts.put, parts.add, parts.leave
    row, column, mask = parts.row, parts.column, masking(parts, of_keys)
    second_at = height * parts.step
    third_at = 2 * second_at
    fourth_at = third_at + width * parts.step
    stage_words = 2 * width * parts.step
    products_at = third_at + stage_words * parts.stages
    words = products_at + height * parts.narrow

    def attention_backward(first, second, third, fourth, normalizer, delta, out_first, out_second, visible, added, a_b, a_h, a_l,
                           b_b, b_h, b_l, c_b, c_h, c_l, d_b, d_h, d_l, o_b, o_h, o_l, p_b, p_h, p_l, m_b, m_h, m_l, m_s, heads,
                           length, keys, size, value_size, tiles, causal, kind, wide, scale):
        """Gradients of attention for a tile of keys, or of queries: reads the tiles of the other once for each."""
        tile, b, h = place(cuda.blockIdx.x, tiles, heads)
        scores, products = cuda.local.array((rows, columns), A), cuda.local.array((rows, columns), A)
        sums, value_sums = cuda.local.array((rows, own), A), cuda.local.array((rows, own), A)
        for i in range(rows):
            for c in range(own):
                sums[i, c] = A(0)
                value_sums[i, c] = A(0)
        begin_row, count, others = tile * height, keys if of_keys else length, length if of_keys else keys
        begin, last = np.int64(0), others
        if causal:
            if of_keys:
                begin = begin_row // width * width
            else:
                last = min(others, begin_row + height)
        stats, rate, third_from, fourth_from = (b * heads + h) * length, scale * A(LOG2_E), b * c_b + h * c_h, b * d_b + h * d_h
        stage = 0
        if begin < last:        # else no query sees these keys
            fetch(first, b * a_b + h * a_h + begin_row * a_l, a_l, count - begin_row, size, wide, 0, height)
            fetch(second, b * b_b + h * b_h + begin_row * b_l, b_l, count - begin_row, value_size, wide, second_at, height)
            if ahead:
                fetch(third, third_from + begin * c_l, c_l, others - begin, size, wide, third_at, width)
                fetch(fourth, fourth_from + begin * d_l, d_l, others - begin, value_size, wide, fourth_at, width)
                depart()
        while begin < last:
            if ahead:
                arrive()
            else:
                cuda.syncthreads()
                fetch(third, third_from + begin * c_l, c_l, others - begin, size, wide, third_at, width)
                fetch(fourth, fourth_from + begin * d_l, d_l, others - begin, value_size, wide, fourth_at, width)
            cuda.syncthreads()
            after, next_stage = begin + width, stage_words - stage
            if ahead and after < last:
                fetch(third, third_from + after * c_l, c_l, others - after, size, wide, third_at + next_stage, width)
                fetch(fourth, fourth_from + after * d_l, d_l, others - after, value_size, wide, fourth_at + next_stage, width)
                depart()
            dot(0, third_at + stage, scores)
            for i in range(rows):
                for j in range(columns):
                    scores[i, j] *= rate
            crossing = begin < begin_row + height if of_keys else begin_row < begin + width
            if kind != NONE or causal and crossing or begin + width > others:
                query, key = (begin, begin_row) if of_keys else (begin_row, begin)
                mask(products_at, scores, query, key, length, keys, causal, kind, visible, added, b * m_b + h * m_h,
                     m_l, m_s)
            for i in range(rows):
                for j in range(columns):
                    query = begin + column(j) if of_keys else begin_row + row(i)
                    top = normalizer[stats + min(query, length - 1)]
                    scores[i, j] = exp2(scores[i, j] - top)
            if of_keys:
                put(products_at, scores)
                cuda.syncwarp()
                add(products_at, fourth_at + stage, value_sums)
                cuda.syncwarp()
            dot(second_at, fourth_at + stage, products)
            for i in range(rows):
                for j in range(columns):
                    query = begin + column(j) if of_keys else begin_row + row(i)
                    scores[i, j] *= products[i, j] - delta[stats + min(query, length - 1)]
            put(products_at, scores)
            cuda.syncwarp()
            add(products_at, third_at + stage, sums)
            if ahead:
                stage = next_stage
            begin = after
        factors = cuda.local.array(rows, A)
        for i in range(rows):
            factors[i] = scale
        leave(0, out_first, b * o_b + h * o_h + begin_row * o_l, o_l, count - begin_row, size, wide, sums, factors)
        if of_keys:
            for i in range(rows):
                factors[i] = A(1)
            leave(second_at, out_second, b * p_b + h * p_h + begin_row * p_l, p_l, count - begin_row, value_size, wide,
                  value_sums, factors)

    return _made(attention_backward, f"attention_{'keys' if of_keys else 'queries'}_{name}",
                 "T~ T~ T~ T~ A* A* T~ T~ ?~ T~ " + "q " * 31 + "A", parts, types, words)


def _kernels(name, forward, queries, keys, types):
    return _forward(name, forward, types), _backward(name, queries, types, False), _backward(name, keys, types, True)


# the (forward, queries', keys') kernels for each longest vector, and, on tensor cores, for each half type
PLAIN = {head: _kernels(str(head), *[plain(head, shape) for shape in SHAPES[head]], types=TYPES) for head in HEADS}
TENSOR = {(head, dtype): _kernels(f"{head}_mma_{dtype}", *[tensor_cores(head, n, dtype) for n in WIDTHS[head]], types=(dtype,))
          for head in HEADS for dtype in HALVES}


# ---- launching -------------------------------------------------------------------------------------------------------------

def _fits(kernels, properties):
    """Whether a device has the shared memory and the compute capability for a set of kernels."""
    return all([k.shared <= properties.shared_memory_per_block_optin and k.capability <= (properties.major, properties.minor)
                for k in kernels])


def _head(size, value_size):
    """The longest vectors of the kernels for vectors of these sizes; None for longer ones."""
    return next((head for head in HEADS if head >= max(size, value_size)), None)


def serves(dtype, size, value_size, device):
    """Whether there are kernels for vectors of these sizes on a device."""
    head = _head(size, value_size)
    return head is not None and dtype.name in TYPES and min(size, value_size) > 0 and _fits(
        PLAIN[head], _driver.current().properties(device))


def _chosen(size, value_size, *arrays):
    """The kernels for these arrays, and whether their rows can be read by vectors: by 8 elements those of tensor cores need."""
    head, name = _head(size, value_size), arrays[0].dtype.name
    tensor = TENSOR.get((head, name))
    if tensor and _are_wide(8, arrays) and _fits(tensor, _driver.current().properties(arrays[0].device)):
        return tensor, True
    return PLAIN[head], _are_wide(4, arrays)


def _are_wide(n, arrays):
    """Whether rows of all arrays can be read by ``n`` elements at a time."""
    nbytes = n * arrays[0].itemsize
    return not any([a.ptr % nbytes or a.shape[3] % n or any([s % nbytes for s in a.strides[:3]]) for a in arrays])


def _rows(a):
    """``a`` (batch, heads, length, size) as kernels take it: with neighbouring elements in the last dimension."""
    return a if a.strides[-1] == a.itemsize or a.shape[-1] == 1 else a.copy()


def _like(a, size):
    """An unset array with vectors of ``size`` in the place of those of ``a``, its other dimensions in their order in memory."""
    order = sorted(range(3), key=lambda d: -a.strides[d])
    made = np.empty((*[a.shape[d] for d in order], size), a.dtype, like=a)
    return made.transpose(*[order.index(d) for d in range(3)], 3)


def _steps(*arrays):
    """The steps of batch, heads and length of arrays, in elements."""
    return [s // a.itemsize for a in arrays for s in a.strides[:3]]


def _mask(mask, q, k):
    """(visible, added, steps, kind) for a mask that broadcasts to (batch, heads, length, keys), or None."""
    if mask is None:
        return None, None, [0] * 4, NONE
    mask = np.broadcast_to(mask, (*q.shape[:3], k.shape[2]))
    steps = [s // mask.itemsize for s in mask.strides]
    return (mask, None, steps, VISIBLE) if mask.dtype.kind == "b" else (None, mask, steps, ADDED)


def forward(q, k, v, mask, causal, scale):
    """(out, log2(sum(2^score)) (batch, heads, length)) for q (batch, heads, length, size), k and v (batch, heads, keys, ...)."""
    q, k, v = map(_rows, (q, k, v))
    (batch, heads, length, size), keys, value_size = q.shape, k.shape[2], v.shape[3]
    out = _like(q, value_size)
    normalizer = np.empty((batch, heads, length), np.float32, like=q)
    (kernel, _, _), wide = _chosen(size, value_size, q, k, v, out)
    tiles = -(-length // kernel.height)
    visible, added, mask_steps, kind = _mask(mask, q, k)
    kernel.launch(tiles * batch * heads, kernel.threads, q, k, v, out, normalizer, visible, added, *_steps(q, k, v, out),
                  *mask_steps, heads, length, keys, size, value_size, tiles, causal, kind, wide, scale, shared=kernel.shared)
    return out, normalizer


def backward(g, q, k, v, out, normalizer, mask, causal, scale):
    """The gradients of q, k and v."""
    g, q, k, v = map(_rows, (g, q, k, v))
    (batch, heads, length, size), keys, value_size = q.shape, k.shape[2], v.shape[3]
    gradients = gq, gk, gv = [_like(a, a.shape[3]) for a in (q, k, v)]
    delta = np.empty((batch, heads, length), np.float32, like=q)
    rows = batch * heads * length
    attention_delta.launch(-(-rows * WARP // DELTA_THREADS), DELTA_THREADS, g, out, delta, *_steps(g, out), heads, length,
                           value_size, rows)
    visible, added, mask_steps, kind = _mask(mask, q, k)
    (_, of_queries, of_keys), wide = _chosen(size, value_size, q, g, k, v, *gradients)
    for kernel, count, operands, results in ((of_queries, length, (q, g, k, v), (gq, gq)),
                                             (of_keys, keys, (k, v, q, g), (gk, gv))):
        tiles = -(-count // kernel.height)
        kernel.launch(tiles * batch * heads, kernel.threads, *operands, normalizer, delta, *results, visible, added,
                      *_steps(*operands, *results), *mask_steps, heads, length, keys, size, value_size, tiles, causal, kind, wide,
                      scale, shared=kernel.shared)
    return gradients
