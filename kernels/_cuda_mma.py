"""Matrix products on tensor cores (compute capability 8.0 on): float16 and bfloat16, and float32 with factors cut to TF32.

A block of four warps computes a tile, each warp a quarter, in blocks of 16 x 8 results that are one instruction for 32 bytes of
inner indices (16 of half types, 8 of float32); sums are float32. Slices of 64 bytes of inner indices are copied into shared
memory as they lie, past the registers, two slices ahead of the one that is multiplied, into three places in turn; ``matrices``
then hands each lane its part of a fragment, transposed where the other dimension lies side by side. Rows of shared memory are a
few words apart, so that eight neighbours meet no bank twice.
"""
import numpy as np

from ._cuda import WARP, A, cuda, device_kernel, load, load_vector, mma, store, store_vector
from ._cuda_gemm import WIDE_OUT, block_place, divided

THREADS = 128
STAGES = 3
UNDER_WAY = STAGES - 2  # slices that may still be copied when the next one is multiplied
ROW_WORDS = 20          # of a row of a slice whose inner indices lie side by side: 64 bytes, and 16 between


def layout(size, itemsize, along):
    """An operand's slice in shared memory: (its inner indices, elements of 16 bytes, words from row to row, words in all).

    ``along``: its inner indices lie side by side, and a row is one of ``size`` outer indices; else the other way round.
    """
    depth, chunk = 64 // itemsize, 16 // itemsize
    if along:
        return depth, chunk, ROW_WORDS, size * ROW_WORDS
    pitch = size * itemsize // 4 + (8 if itemsize == 4 else 4)
    return depth, chunk, pitch, depth * pitch


def _copier(size, itemsize, along):
    """``deal`` and ``copy_slice`` of an operand: vectors of 16 bytes, dealt out to the threads.

    deal(thread): outer and inner index, within a slice, of a thread's first vector, and its place in shared memory.
    copy_slice(shared, place, p, at, outer_step, inner_step, outer, inner): starts the thread's copies, from its first vector,
    p[at], on; ``outer`` and ``inner`` indices are left there, and what is beyond is 0.
    """
    depth, chunk, pitch, words = layout(size, itemsize, along)
    across = 4 if along else size // chunk      # vectors of a row of shared memory
    apart, count = THREADS // across, words // pitch * across // THREADS

    def deal(thread):
        row, column = thread // across, thread % across
        if along:
            return row, column * chunk, row * pitch + column * 4
        return column * chunk, row, row * pitch + column * 4

    def copy_slice(shared, place, p, at, outer_step, inner_step, outer, inner):
        for part in range(count):
            if along:
                mma.copy(shared, place + part * apart * pitch, p, at + part * apart * outer_step,
                         part * apart < outer and inner > 0)
            else:
                mma.copy(shared, place + part * apart * pitch, p, at + part * apart * inner_step,
                         outer > 0 and part * apart < inner)
    return deal, copy_slice


def _left_fragment(size, itemsize, along):
    """What reads 16 rows of the left operand for one instruction: four words of a lane."""
    _, _, pitch, _ = layout(size, itemsize, along)
    if along:
        def fragment(shared, place, first, step, lane):
            return mma.matrices(shared, place + (first + lane % 16) * pitch + step * 8 + lane // 16 * 4)
    elif itemsize == 2:
        def fragment(shared, place, first, step, lane):
            row = step * 16 + lane // 16 * 8 + lane % 8
            return mma.matrices_transposed(shared, place + row * pitch + first // 2 + lane // 8 % 2 * 4)
    else:
        def fragment(shared, place, first, step, lane):
            at = place + (step * 8 + lane % 4) * pitch + first + lane // 4
            return load(shared, at), load(shared, at + 8), load(shared, at + 4 * pitch), load(shared, at + 4 * pitch + 8)
    return fragment


def _right_fragments(size, itemsize, along):
    """What reads 16 columns of the right operand for two instructions: two words of a lane for each."""
    _, _, pitch, _ = layout(size, itemsize, along)
    if along:
        def fragments(shared, place, first, step, lane):
            row = first + lane // 16 * 8 + lane % 8
            return mma.matrices(shared, place + row * pitch + step * 8 + lane // 8 % 2 * 4)
    elif itemsize == 2:
        def fragments(shared, place, first, step, lane):
            return mma.matrices_transposed(shared, place + (step * 16 + lane % 16) * pitch + first // 2 + lane // 16 * 4)
    else:
        def fragments(shared, place, first, step, lane):
            at = place + (step * 8 + lane % 4) * pitch + first + lane // 4
            return load(shared, at), load(shared, at + 4 * pitch), load(shared, at + 8), load(shared, at + 4 * pitch + 8)
    return fragments


def _rounded(words):
    """Four float32 as words, rounded to TF32."""
    return mma.rounded(words[0]), mma.rounded(words[1]), mma.rounded(words[2]), mma.rounded(words[3])


def _same(words):
    return words


def written_out(body, count):
    """A function that calls body(i, x, y, sums) for i = 0 ... count - 1 without a loop, so that registers hold the arrays.

    libNVVM does not unroll a loop with so large a body for capability 10.0 and later."""
    if count == 0:
        def nothing(x, y, sums):
            pass
        return nothing
    before, last = written_out(body, count - 1), count - 1

    def calls(x, y, sums):
        before(x, y, sums)
        body(last, x, y, sums)
    return calls


_INSTRUCTIONS = {"float16": mma.float16, "bfloat16": mma.bfloat16, "float32": mma.tf32}


def mma_kernel(dtype, size, along_a, along_b):
    """The kernel for ``size`` x ``size`` results a block; ``along``: the inner indices of an operand lie side by side.

    Its arguments are those of ``_cuda_gemm.product_kernel``; the sums of runs go to ``parts``, in float32. Operands are read by
    16 bytes: their steps, and the sizes of the dimension that lies side by side, are multiples of that.
    """
    itemsize = 4 if dtype == "float32" else 2
    instruction, prepared = _INSTRUCTIONS[dtype], _rounded if itemsize == 4 else _same
    depth, chunk, _, left_words = layout(size, itemsize, along_a)
    stage_words = left_words + layout(size, itemsize, along_b)[3]
    deal_left, copy_left = _copier(size, itemsize, along_a)
    deal_right, copy_right = _copier(size, itemsize, along_b)
    left_fragment, right_fragments = _left_fragment(size, itemsize, along_a), _right_fragments(size, itemsize, along_b)
    quarter = size // 2
    down, across = quarter // 16, quarter // 8       # instructions of a warp each way
    number_of_sums, left_count, right_count = down * across * 4, down * 4, across * 2       # numbers and words of a lane
    pitch, number_of_rows = size + 8, quarter * size // (THREADS * 4)     # 8: lanes that store pairs meet no bank twice

    def across_row(i, x, y, sums):
        """One instruction's rows of the left operand times all columns of the right one."""
        for j in range(across):
            at = (i * across + j) * 4
            found = instruction(sums[at], sums[at + 1], sums[at + 2], sums[at + 3], x[i * 4], x[i * 4 + 1], x[i * 4 + 2],
                                x[i * 4 + 3], y[j * 2], y[j * 2 + 1])
            for l in range(4):
                sums[at + l] = found[l]
    multiply = written_out(across_row, down)

    def step(shared, place, row, column, number, lane, sums):
        """The products of 32 bytes of inner indices."""
        x, y = cuda.local.array(left_count, np.int32), cuda.local.array(right_count, np.int32)
        for i in range(down):
            words = prepared(left_fragment(shared, place, row + i * 16, number, lane))
            for l in range(4):
                x[i * 4 + l] = words[l]
        for j in range(across // 2):
            words = prepared(right_fragments(shared, place + left_words, column + j * 16, number, lane))
            for l in range(4):
                y[j * 4 + l] = words[l]
        multiply(x, y, sums)

    def keep(tile, row, column, sums):
        """The sums of a warp into shared memory, of which a lane has pairs side by side."""
        for i in range(down):
            for j in range(across):
                first, at = (i * across + j) * 4, (row + i * 16) * pitch + column + j * 8
                store_vector(tile, at, (sums[first], sums[first + 1]))
                store_vector(tile, at + 8 * pitch, (sums[first + 2], sums[first + 3]))

    def finish(tile, place, out, parts, d, at, d_at, d_column, left, wide, runs, alpha, beta):
        """Four results side by side: alpha * sum + beta * d; ``left`` of them are there."""
        values = load_vector(tile, place, 4)
        x = cuda.local.array(4, A)
        for l in range(4):
            x[l] = alpha * values[l]
            if beta != A(0) and l < left:
                x[l] += beta * load(d, d_at + l * d_column)
        if wide:
            store_vector(out, at, (x[0], x[1], x[2], x[3]))
        else:
            for l in range(4):
                if l < left:
                    if runs > 1:
                        store(parts, at + l, x[l])
                    else:
                        store(out, at + l, x[l])

    def product(a, b, d, out, parts, m, n, k, a_row, a_inner, b_inner, b_column, d_row, d_column, inner_stack, a_outer_stack,
                a_inner_stack, b_outer_stack, b_inner_stack, d_outer_stack, d_inner_stack, run, runs, wide, alpha, beta):
        shared, sums = cuda.shared.array(0, np.int32, 16), cuda.local.array(number_of_sums, A)
        thread = cuda.threadIdx.x
        lane, warp = thread % WARP, thread // WARP
        row_tiles, column_tiles = (m + size - 1) // size, (n + size - 1) // size
        rest, number = divided(cuda.blockIdx.x, row_tiles * column_tiles)
        matrix, part = divided(rest, runs)
        outer, inner = divided(matrix, inner_stack)
        tile_row, tile_column = block_place(number, row_tiles, column_tiles)
        first_row, first_column, first = tile_row * size, tile_column * size, part * run
        todo = np.int32(min(run, k - first))
        r, i, a_place = deal_left(thread)
        m_left, a_left = np.int32(m - first_row - r), np.int32(todo - i)
        a_at = outer * a_outer_stack + inner * a_inner_stack + (first_row + r) * a_row + (first + i) * a_inner
        r, i, b_place = deal_right(thread)
        n_left, b_left = np.int32(n - first_column - r), np.int32(todo - i)
        b_at = outer * b_outer_stack + inner * b_inner_stack + (first_column + r) * b_column + (first + i) * b_inner
        b_place += left_words
        for i in range(number_of_sums):
            sums[i] = A(0)
        ahead, place, after = np.int32(0), 0, 0     # inner index of the slice to copy; where those to multiply and to copy lie
        for _ in range(STAGES - 1):
            if ahead < todo:
                copy_left(shared, after + a_place, a, a_at, a_row, a_inner, m_left, np.int32(a_left - ahead))
                copy_right(shared, after + b_place, b, b_at, b_column, b_inner, n_left, np.int32(b_left - ahead))
            mma.commit()
            a_at += depth * a_inner
            b_at += depth * b_inner
            ahead = np.int32(ahead + depth)
            after += stage_words
        row, column = warp // 2 * quarter, warp % 2 * quarter
        while todo > ahead - (STAGES - 1) * depth:
            mma.wait(UNDER_WAY)
            cuda.syncthreads()
            if ahead < todo:
                copy_left(shared, after + a_place, a, a_at, a_row, a_inner, m_left, np.int32(a_left - ahead))
                copy_right(shared, after + b_place, b, b_at, b_column, b_inner, n_left, np.int32(b_left - ahead))
            mma.commit()
            a_at += depth * a_inner
            b_at += depth * b_inner
            ahead = np.int32(ahead + depth)
            after = after + stage_words if after < (STAGES - 1) * stage_words else 0
            step(shared, place, row, column, 0, lane, sums)
            step(shared, place, row, column, 1, lane, sums)
            place = place + stage_words if place < (STAGES - 1) * stage_words else 0
        tile = cuda.shared.array(0, A, 16)      # where the slices were: half of the results at a time, then written row by row
        d_at = outer * d_outer_stack + inner * d_inner_stack
        for half in range(2):
            cuda.syncthreads()
            if warp // 2 == half:
                keep(tile, lane // 4, column + lane % 4 * 2, sums)
            cuda.syncthreads()
            r, c = thread // (size // 4), first_column + thread % (size // 4) * 4
            for _ in range(number_of_rows):
                row = first_row + half * quarter + r
                if row < m and c < n:
                    finish(tile, r * pitch + c - first_column, out, parts, d, ((matrix * runs + part) * m + row) * n + c,
                           d_at + row * d_row + c * d_column, d_column, n - c, wide & WIDE_OUT, runs, alpha, beta)
                r += THREADS * 4 // size

    letters = f"{'t' if not along_a else 'n'}{'t' if along_b else 'n'}"
    product.__name__ = product.__qualname__ = f"mma_{size}_{letters}_{dtype}"
    product.__doc__ = (f"out = alpha a b + beta d on tensor cores, {size} x {size} results a block, {depth} inner indices a "
                       f"slice: each operand is read once for each {size} rows or columns of the other.")
    made = device_kernel("T~ T~ T~ T* A* " + "q " * 19 + "A A", T=(dtype,), threads=THREADS)(product)
    made.shared, made.capability = STAGES * stage_words * 4, (8, 0)
    return made


SIZES = (128, 64)
PRODUCTS = {(dtype, size, along_a, along_b): mma_kernel(dtype, size, along_a, along_b)
           for dtype in ("float16", "bfloat16", "float32") for size in SIZES for along_a in (True, False)
           for along_b in (True, False)}
