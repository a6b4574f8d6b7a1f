"""Tiles of attention in shared memory, and what the threads of a block do with them: products, by multiplications of float32 or,
for half types from compute capability 8.0 on, by tensor cores.

A tile has a row for each query or key. A thread computes a few rows and columns of a product of two tiles, and keeps them in
registers; its columns of a sum of rows are those of the vectors. Both kinds have the same parts, a namespace:

    capability: the compute capability that they need; threads: of a block; resident: blocks of a multiprocessor, as far as
        registers go (0: the compiler decides).
    height, width: rows of the tiles whose products are computed, and of the other ones.
    rows, columns, own: of a product those of a thread, and its columns of a sum of rows.
    lanes: log2 of how many neighbouring lanes share a row.
    row(i), column(j): which of the product's the thread's are.
    step, narrow: words of shared memory from row to row of a tile of vectors, and of a product that was put there.
    fetch(p, at, row_step, count, size, wide, place, height): starts to bring ``height`` rows from p[at] on into the tile at word
        ``place``, zeros for those beyond ``count`` and for elements beyond ``size``; ``wide``: vectors are aligned.
    stages: 1 where it has brought them when it returns; 2 where copies are under way from depart() on until arrive() waits for
        them, and the tiles of the next step have a place of their own.
    dot(left, right, products): products (rows, columns) of the rows of two tiles.
    keep(place, i, j, value), kept(place, i, j): the thread's elements of such a product's tile, one at a time.
    put(place, products): products as a tile, of which ``add(left, right, sums)`` adds to sums (rows, own) the product with a
        tile of vectors; both need only what the thread's own warp has put there.
    leave(place, p, at, row_step, count, size, wide, sums, scale): the thread's sums times ``scale`` (rows,) to the rows from
        p[at] on, by way of a tile of which nothing is needed but the rows of its own warp.
"""
from types import SimpleNamespace

import numpy as np

from ._cuda import WARP, A, T, cuda, load, load_vector, mma, store, store_vector


def plain(head, shape):
    """The parts for vectors of up to ``head`` elements; ``shape``: X and Y of a block, a thread's rows and columns, ``resident``.

    Thread (x, y) has the rows y, y + Y ... and the columns x, x + X ...: neighbours read neighbouring rows of a tile, which are 4
    words apart modulo 32 by the padding of rows, without conflicts of banks. The threads of a row are of one warp.
    """
    across, down, rows, columns, resident = shape
    step, narrow, own, width = head + 4, across * columns + 4, head // across, across * columns
    threads, quarters, groups = across * down, head // 4, head // across // 4

    def row(i):
        return cuda.threadIdx.x // across + down * i

    def column(j):
        return cuda.threadIdx.x % across + across * j

    def fetch(p, at, row_step, count, size, wide, place, height):
        shared = cuda.shared.array(0, A, 16)
        for n in range(cuda.threadIdx.x, height * quarters, threads):
            r, d = n // quarters, n % quarters * 4
            first, to = at + r * row_step + d, place + r * step + d
            if wide and r < count and d < size:
                store_vector(shared, to, load_vector(p, first, 4))
            else:
                for e in range(4):
                    shared[to + e] = load(p, first + e) if r < count and d + e < size else A(0)

    def wait():
        pass

    def dot(left, right, products):
        shared, a = cuda.shared.array(0, A, 16), cuda.local.array((rows, 4), A)
        for i in range(rows):
            for j in range(columns):
                products[i, j] = A(0)
        for d in range(0, head, 4):
            for i in range(rows):
                found = load_vector(shared, left + row(i) * step + d, 4)
                for e in range(4):
                    a[i, e] = found[e]
            for j in range(columns):
                found = load_vector(shared, right + column(j) * step + d, 4)
                for i in range(rows):
                    total = products[i, j]
                    for e in range(4):
                        total += a[i, e] * found[e]
                    products[i, j] = total

    def keep(place, i, j, value):
        cuda.shared.array(0, A, 16)[place + row(i) * narrow + column(j)] = value

    def kept(place, i, j):
        return cuda.shared.array(0, A, 16)[place + row(i) * narrow + column(j)]

    def put(place, products):
        for i in range(rows):
            for j in range(columns):
                keep(place, i, j, products[i, j])

    def add(left, right, sums):
        shared, b = cuda.shared.array(0, A, 16), cuda.local.array((4, own), A)
        for k in range(0, width, 4):
            for e in range(4):
                for c in range(groups):
                    found = load_vector(shared, right + (k + e) * step + column(c) * 4, 4)
                    for l in range(4):
                        b[e, c * 4 + l] = found[l]
            for i in range(rows):
                found = load_vector(shared, left + row(i) * narrow + k, 4)
                for c in range(own):
                    total = sums[i, c]
                    for e in range(4):
                        total += found[e] * b[e, c]
                    sums[i, c] = total

    def leave(place, p, at, row_step, count, size, wide, sums, scale):
        shared = cuda.shared.array(0, A, 16)
        for i in range(rows):
            for c in range(groups):
                store_vector(shared, place + row(i) * step + column(c) * 4,
                             (sums[i, c * 4] * scale[i], sums[i, c * 4 + 1] * scale[i],
                              sums[i, c * 4 + 2] * scale[i], sums[i, c * 4 + 3] * scale[i]))
        for r in range(row(0), min(count, row(rows)), down):        # what the thread has put there itself
            for d in range(column(0) * 4, size, across * 4):
                to = at + r * row_step + d
                if wide:
                    store_vector(p, to, load_vector(shared, place + r * step + d, 4))
                else:
                    for e in range(min(4, size - d)):
                        store(p, to + e, shared[place + r * step + d + e])

    return SimpleNamespace(
        capability=(7, 5), resident=resident, threads=threads, height=down * rows, width=width, rows=rows, columns=columns,
        own=own, lanes=across.bit_length() - 1, step=step, narrow=narrow, row=row, column=column, stages=1, fetch=fetch,
        depart=wait, arrive=wait, dot=dot, keep=keep, kept=kept, put=put, add=add, leave=leave)


WARPS = 4


def tensor_cores(head, width, dtype):
    """The parts for vectors of up to ``head`` halves, a multiple of 16, and ``width`` rows of the other tiles.

    A warp has 16 rows. Its lanes hold of 16 x 8 results what the instruction leaves with them: of rows l // 4 and l // 4 + 8 two
    neighbouring columns each. Halves are copied past the registers, and scores rounded to halves before the second product.
    """
    step, narrow, columns, own = head // 2 + 4, width // 2 + 4, width // 4, head // 4
    threads, chunks, height = WARPS * WARP, head // 8, WARPS * 16
    multiply = mma.float16 if dtype == "float16" else mma.bfloat16

    def row(i):
        return cuda.threadIdx.x // WARP * 16 + cuda.threadIdx.x % WARP // 4 + 8 * i

    def column(j):
        return j // 2 * 8 + cuda.threadIdx.x % 4 * 2 + j % 2

    def fetch(p, at, row_step, count, size, wide, place, height):
        shared = cuda.shared.array(0, np.int32, 16)
        for n in range(cuda.threadIdx.x, height * chunks, threads):
            r, c = n // chunks, n % chunks
            mma.copy(shared, place + r * step + c * 4, p, at + r * row_step + c * 8, r < count and c * 8 < size)

    def depart():
        mma.commit()

    def arrive():
        mma.wait(0)

    def own_rows(shared, place, pitch, k):
        """The words of the warp's 16 rows, and of the 16 inner indices from 16 k on, as one instruction takes them."""
        lane = cuda.threadIdx.x % WARP
        return mma.matrices(shared, place + (cuda.threadIdx.x // WARP * 16 + lane % 16) * pitch + k * 8 + lane // 16 * 4)

    def multiplied(sums, n, left, first, second):
        """sums[:, 2 n] and [:, 2 n + 1]: 16 x 8 results, with the product of 16 x 16 and 16 x 8 factors added."""
        j, (a, b, c, d) = 2 * n, left
        found = multiply(sums[0, j], sums[0, j + 1], sums[1, j], sums[1, j + 1], a, b, c, d, first, second)
        sums[0, j], sums[0, j + 1], sums[1, j], sums[1, j + 1] = found[0], found[1], found[2], found[3]

    def dot(left, right, products):
        shared, lane = cuda.shared.array(0, np.int32, 16), cuda.threadIdx.x % WARP
        for j in range(columns):
            products[0, j] = A(0)
            products[1, j] = A(0)
        for k in range(head // 16):
            a = own_rows(shared, left, step, k)
            for n in range(width // 16):
                b = mma.matrices(shared, right + (n * 16 + lane // 16 * 8 + lane % 8) * step + k * 8 + lane // 8 % 2 * 4)
                multiplied(products, 2 * n, a, b[0], b[1])
                multiplied(products, 2 * n + 1, a, b[2], b[3])

    def keep(place, i, j, value):
        store(cuda.shared.array(0, T, 16), (place + row(i) * narrow) * 2 + column(j), value)

    def kept(place, i, j):
        return load(cuda.shared.array(0, T, 16), (place + row(i) * narrow) * 2 + column(j))

    def put(place, products):
        shared = cuda.shared.array(0, T, 16)
        for i in range(2):
            for j in range(0, columns, 2):
                store_vector(shared, (place + row(i) * narrow) * 2 + column(j), (products[i, j], products[i, j + 1]))

    def add(left, right, sums):
        shared, lane = cuda.shared.array(0, np.int32, 16), cuda.threadIdx.x % WARP
        for k in range(width // 16):
            a = own_rows(shared, left, narrow, k)
            for n in range(head // 16):
                b = mma.matrices_transposed(shared, right + (k * 16 + lane % 16) * step + n * 8 + lane // 16 * 4)
                multiplied(sums, 2 * n, a, b[0], b[1])
                multiplied(sums, 2 * n + 1, a, b[2], b[3])

    def leave(place, p, at, row_step, count, size, wide, sums, scale):
        shared, lane, first = cuda.shared.array(0, T, 16), cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP * 16
        for i in range(2):
            for j in range(0, own, 2):
                store_vector(shared, (place + row(i) * step) * 2 + column(j), (sums[i, j] * scale[i], sums[i, j + 1] * scale[i]))
        cuda.syncwarp()
        for n in range(lane, 16 * chunks, WARP):
            r, d = first + n // chunks, n % chunks * 8
            if r < count and d < size:
                store_vector(p, at + r * row_step + d, load_vector(shared, (place + r * step) * 2 + d, 8))

    return SimpleNamespace(
        capability=(8, 0), resident=0, threads=threads, height=height, width=width, rows=2, columns=columns, own=own, lanes=2,
        step=step, narrow=narrow, row=row, column=column, stages=2, fetch=fetch, depart=depart, arrive=arrive, dot=dot, keep=keep,
        kept=kept, put=put, add=add, leave=leave)
