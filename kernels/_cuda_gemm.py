"""Matrix products on a GPU by tiles: a block computes one tile of the result, a thread a part of it that stays in registers.

A block walks the inner dimension in slices. Each slice of both operands lies in shared memory, one row for each inner index, so
that a thread reads what it multiplies in accesses of 16 bytes; there are two buffers, and the next slice is on its way from
memory into registers while this one is multiplied. One barrier a slice.

``tile`` makes the parts of such a kernel for one shape of tile. The kernels of products are made of them here; a convolution,
which reads its operands in another way, can be made of them as well.
"""
from types import SimpleNamespace

import numpy as np

from ._cuda import WARP, A, cuda, device_kernel, load, load_vector, store, store_vector

WIDE_A, WIDE_B, WIDE_OUT = 1, 2, 4      # operands that can be read or written by vectors where a tile has no edge
GROUP = 8                               # rows of tiles that blocks with neighbouring numbers share


def _four(values, i):
    return load(values, i), load(values, i + 1), load(values, i + 2), load(values, i + 3)


def _two(values, i):
    return load(values, i), load(values, i + 1)


_TUPLE = {4: _four, 2: _two}


def tile(rows, columns, depth, height, width, vector):
    """The parts of a kernel whose blocks compute ``rows`` x ``columns`` results from slices of ``depth`` products each.

    A thread computes ``height`` x ``width`` of them, one or two groups of ``vector`` each way, which are spread evenly over the
    tile: the 4 x 8 threads of a warp then read 4 and 8 neighbouring vectors, without conflicts of banks. ``vector`` elements of
    the type that is computed in fill at most 16 bytes. ``depth`` is a multiple of 8.

    Returns a namespace:
        threads: of a block.
        left_size, right_size: elements of shared memory, aligned to 16 bytes, for the two buffers of an operand.
        left_values, right_values, products: elements of a thread's local arrays for ``fetch`` and ``multiply``.
        place(thread): row and column, within the tile, of a thread's first result; groups are ``down`` rows and ``across``
            columns apart.
        deal_left(thread, inner_step): row and inner index, within a slice of A, of the first element that a thread fetches,
            and its place in shared memory.
        fetch_left(a, at, row_step, inner_step, whole, m, k, values): this thread's part of a slice into ``values``, from its
            first element, a[at], on: ``m`` rows and ``k`` inner indices are left there, and what is beyond is 0. ``whole``:
            all is there, one of the steps is 1, and the vectors along it are aligned.
        put_left(shared, buffer, place, inner_step, values): what was fetched into buffer 0 or 1 of shared memory.
        deal_right, fetch_right, put_right: the same for B, by columns.
        clear(products), multiply(left, right, buffer, row, column, products): the sums, and what a slice adds to them;
            products[i * width + j] belongs to the thread's i-th row and j-th column.
        eight(left, right, at_left, at_right, products): what eight inner indices add, from these elements of shared memory on,
            without a loop: reads of the next one overlap products of the last.
    """
    threads = rows // height * (columns // width)
    down, across = rows * vector // height, columns * vector // width
    warps_across = columns // width // 8
    left_pitch, right_pitch = rows + 4, columns + 4     # 4: threads that store a transposed vector meet no bank twice
    left_half, right_half = depth * left_pitch, depth * right_pitch

    def place(thread):
        warp, lane = thread // WARP, thread % WARP
        return (warp // warps_across * 4 + lane // 8) * vector, (warp % warps_across * 8 + lane % 8) * vector

    def clear(products):
        for i in range(height * width):
            products[i] = A(0)

    def step(left, right, at_left, at_right, products):
        """The products of one inner index: height * width multiplications for (height + width) / vector reads."""
        x, y = cuda.local.array(height, A), cuda.local.array(width, A)
        for g in range(height // vector):
            values = load_vector(left, at_left + g * down, vector)
            for i in range(vector):
                x[g * vector + i] = values[i]
        for g in range(width // vector):
            values = load_vector(right, at_right + g * across, vector)
            for i in range(vector):
                y[g * vector + i] = values[i]
        for i in range(height):
            for j in range(width):
                products[i * width + j] += x[i] * y[j]

    def eight(left, right, at_left, at_right, products):
        step(left, right, at_left, at_right, products)
        step(left, right, at_left + left_pitch, at_right + right_pitch, products)
        step(left, right, at_left + 2 * left_pitch, at_right + 2 * right_pitch, products)
        step(left, right, at_left + 3 * left_pitch, at_right + 3 * right_pitch, products)
        step(left, right, at_left + 4 * left_pitch, at_right + 4 * right_pitch, products)
        step(left, right, at_left + 5 * left_pitch, at_right + 5 * right_pitch, products)
        step(left, right, at_left + 6 * left_pitch, at_right + 6 * right_pitch, products)
        step(left, right, at_left + 7 * left_pitch, at_right + 7 * right_pitch, products)

    def multiply(left, right, buffer, row, column, products):
        at_left, at_right = buffer * left_half + row, buffer * right_half + column
        for _ in range(depth // 8):
            eight(left, right, at_left, at_right, products)
            at_left += 8 * left_pitch
            at_right += 8 * right_pitch

    deal_left, fetch_left, put_left = _operand(rows, depth, threads, vector, left_pitch)
    deal_right, fetch_right, put_right = _operand(columns, depth, threads, vector, right_pitch)
    return SimpleNamespace(
        threads=threads, down=down, across=across, left_size=2 * left_half, right_size=2 * right_half,
        left_values=rows * depth // threads, right_values=columns * depth // threads, products=height * width,
        tuple=_TUPLE[vector], place=place, clear=clear, eight=eight, multiply=multiply, deal_left=deal_left,
        fetch_left=fetch_left, put_left=put_left, deal_right=deal_right, fetch_right=fetch_right, put_right=put_right)


def _operand(size, depth, threads, vector, pitch):
    """``deal``, ``fetch`` and ``put`` of one operand, ``size`` x ``depth`` elements: vectors along the step that is 1.

    A thread has ``count`` vectors of a slice, the first where ``deal`` says; from each to the next it is ``outer_apart`` rows,
    or, where the rows are what lies side by side, ``inner_apart`` inner indices.
    """
    count, half, own = size * depth // (vector * threads), depth * pitch, _TUPLE[vector]
    inner_vectors, outer_vectors = depth // vector, size // vector
    outer_apart, inner_apart = threads // inner_vectors, threads // outer_vectors

    def deal(thread, inner_step):
        if inner_step == 1:
            r, i = thread // inner_vectors, thread % inner_vectors * vector
        else:
            r, i = thread % outer_vectors * vector, thread // outer_vectors
        return r, i, i * pitch + r

    def fetch(p, at, outer_step, inner_step, whole, outer, inner, values):
        if whole:
            apart = outer_apart * outer_step if inner_step == 1 else inner_apart * inner_step
            for part in range(count):
                found = load_vector(p, at + part * apart, vector)
                for l in range(vector):
                    values[part * vector + l] = found[l]
        elif inner_step == 1:
            for part in range(count):
                for l in range(vector):
                    there = part * outer_apart < outer and l < inner
                    values[part * vector + l] = load(p, at + part * outer_apart * outer_step + l) if there else A(0)
        else:
            for part in range(count):
                for l in range(vector):
                    there = l < outer and part * inner_apart < inner
                    values[part * vector + l] = load(p, at + l * outer_step + part * inner_apart * inner_step) if there else A(0)

    def put(shared, buffer, place, inner_step, values):
        at = buffer * half + place
        if inner_step == 1:
            for part in range(count):
                for l in range(vector):
                    store(shared, at + part * outer_apart + l * pitch, values[part * vector + l])
        else:
            for part in range(count):
                store_vector(shared, at + part * inner_apart * pitch, own(values, part * vector))

    return deal, fetch, put


def divided(number, by):
    """Quotient and rest of numbers from 0 to 2^32: a division of 64 bits takes six times as many instructions."""
    quotient = np.int64(np.uint32(number) // np.uint32(by))
    return quotient, number - quotient * by


def block_place(number, row_tiles, column_tiles):
    """(row, column) of the tile of block ``number``: down GROUP tiles, then to the next column, so that the blocks that run at
    one time share operands in the second-level cache."""
    band, rest = divided(number, GROUP * column_tiles)
    column, row = divided(rest, min(GROUP, row_tiles - band * GROUP))
    return band * GROUP + row, column


def product_kernel(name, shape, types):
    """The kernel of products for one shape of tile, the arguments of ``tile``.

    It computes out[s] = alpha a[s] b[s] + beta d[s] for m x k and k x n matrices in two leading dimensions s = (outer, inner), of
    which the inner one has ``inner_stack``. An operand has steps, in elements, for rows, columns and both leading dimensions; one
    of the first two is 1. With ``runs`` > 1 out has a matrix for each run of ``run`` inner indices. ``wide``: see WIDE_A.
    """
    rows, columns, depth, height, width, vector = shape
    parts = tile(*shape)
    threads, down, across, own = parts.threads, parts.down, parts.across, parts.tuple
    left_size, right_size, left_values, right_values = parts.left_size, parts.right_size, parts.left_values, parts.right_values
    number_of_products = parts.products
    place, clear, multiply = parts.place, parts.clear, parts.multiply
    deal_left, fetch_left, put_left = parts.deal_left, parts.fetch_left, parts.put_left
    deal_right, fetch_right, put_right = parts.deal_right, parts.fetch_right, parts.put_right
    taller, wider = height > vector, width > vector

    def finish(group_row, group_column, products, alpha, beta, d, d_at, d_row, d_column, out, at, n, r, c, m, whole):
        """One group of results: alpha * product + beta * d."""
        for h in range(vector):
            first = (group_row * vector + h) * width + group_column * vector
            for l in range(vector):
                products[first + l] *= alpha
                if beta != A(0) and r + h < m and c + l < n:
                    products[first + l] += beta * load(d, d_at + (r + h) * d_row + (c + l) * d_column)
            if whole:
                store_vector(out, at + (r + h) * n + c, own(products, first))
            else:
                for l in range(vector):
                    if r + h < m and c + l < n:
                        store(out, at + (r + h) * n + c + l, products[first + l])

    def product(a, b, d, out, m, n, k, a_row, a_inner, b_inner, b_column, d_row, d_column, inner_stack, a_outer_stack,
                a_inner_stack, b_outer_stack, b_inner_stack, d_outer_stack, d_inner_stack, run, runs, wide, alpha, beta):
        left, right = cuda.shared.array(left_size, A, 16), cuda.shared.array(right_size, A, 16)
        a_values, b_values = cuda.local.array(left_values, A), cuda.local.array(right_values, A)
        products = cuda.local.array(number_of_products, A)
        thread = cuda.threadIdx.x
        row_tiles, column_tiles = (m + rows - 1) // rows, (n + columns - 1) // columns
        rest, number = divided(cuda.blockIdx.x, row_tiles * column_tiles)
        matrix, part = divided(rest, runs)
        outer, inner = divided(matrix, inner_stack)
        tile_row, tile_column = block_place(number, row_tiles, column_tiles)
        first_row, first_column, first = tile_row * rows, tile_column * columns, part * run
        whole_a = wide & WIDE_A and first_row + rows <= m
        whole_b = wide & WIDE_B and first_column + columns <= n
        todo, buffer = np.int32(min(run, k - first)), 0
        r, i, a_place = deal_left(thread, a_inner)
        m_left, a_left = np.int32(m - first_row - r), np.int32(todo - i)
        a_at = outer * a_outer_stack + inner * a_inner_stack + (first_row + r) * a_row + (first + i) * a_inner
        r, i, b_place = deal_right(thread, b_inner)
        n_left, b_left = np.int32(n - first_column - r), np.int32(todo - i)
        b_at = outer * b_outer_stack + inner * b_inner_stack + (first_column + r) * b_column + (first + i) * b_inner
        row, column = place(thread)
        clear(products)
        fetch_left(a, a_at, a_row, a_inner, whole_a and todo >= depth, m_left, a_left, a_values)
        fetch_right(b, b_at, b_column, b_inner, whole_b and todo >= depth, n_left, b_left, b_values)
        while todo > 0:
            put_left(left, buffer, a_place, a_inner, a_values)
            put_right(right, buffer, b_place, b_inner, b_values)
            cuda.syncthreads()
            todo = np.int32(todo - depth)
            if todo > 0:
                a_at += depth * a_inner
                b_at += depth * b_inner
                a_left = np.int32(a_left - depth)
                b_left = np.int32(b_left - depth)
                fetch_left(a, a_at, a_row, a_inner, whole_a and todo >= depth, m_left, a_left, a_values)
                fetch_right(b, b_at, b_column, b_inner, whole_b and todo >= depth, n_left, b_left, b_values)
            multiply(left, right, buffer, row, column, products)
            buffer = 1 - buffer
        row += first_row
        column += first_column
        d_at, at = outer * d_outer_stack + inner * d_inner_stack, (matrix * runs + part) * m * n
        whole = wide & WIDE_OUT and first_row + rows <= m and first_column + columns <= n
        finish(0, 0, products, alpha, beta, d, d_at, d_row, d_column, out, at, n, row, column, m, whole)
        if wider:
            finish(0, 1, products, alpha, beta, d, d_at, d_row, d_column, out, at, n, row, column + across, m, whole)
        if taller:
            finish(1, 0, products, alpha, beta, d, d_at, d_row, d_column, out, at, n, row + down, column, m, whole)
        if taller and wider:
            finish(1, 1, products, alpha, beta, d, d_at, d_row, d_column, out, at, n, row + down, column + across, m, whole)

    product.__name__ = product.__qualname__ = name
    product.__doc__ = (f"out = alpha a b + beta d, {rows} x {columns} results a block, {depth} inner indices a slice: a is read "
                       f"once for each {columns} columns, b once for each {rows} rows.")
    return device_kernel("T~ T~ T~ T* " + "q " * 19 + "A A", T=types, threads=threads)(product)


SHAPES = {                              # what ``tile`` is asked for, by the kernel's name
    "product_128": (128, 128, 8, 8, 8, 4), "product_64": (64, 64, 16, 8, 4, 4), "product_32": (32, 32, 16, 4, 4, 4),
    "product_16": (16, 16, 16, 2, 2, 2), "product_64_double": (64, 64, 8, 4, 4, 2), "product_32_double": (32, 32, 16, 4, 4, 2)}
_TYPES = {"product_64_double": ("float64",), "product_32_double": ("float64",), "product_16": ("float32", "float64")}
PRODUCTS = {name: product_kernel(name, shape, _TYPES.get(name, ("float32",))) for name, shape in SHAPES.items()}
