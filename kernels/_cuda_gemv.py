"""Products with a vector on a GPU, sums of partial products, and products of integers and of complex matrices.

All are limited by memory: a matrix is read once, elements that lie side by side by threads that do. A sum that is too long for
the few results that there are is cut into ``runs``, whose sums a second kernel adds up, always in the same order.
"""
import numpy as np

from ._cuda import COMPLEX, FLOATING, FULL, INTEGRAL, WARP, A, cuda, device_kernel, load, load_vector, store
from ._cuda_blocks import warp_sum
from ._cuda_gemm import divided

THREADS = 256
WARPS = THREADS // WARP
EDGE = 16                               # of the square tiles of ``exact_product``
SMALL_INTEGERS = ("int32", "int16", "int8", "uint8")


def _integer_warp_sum(v):
    """The sum of integers ``v`` over the lanes of a warp, in 64 bits: the last of them are right for any type."""
    return warp_sum(np.int64(v))


def _complex_warp_sum(v):
    """The sum of complex ``v`` over the lanes of a warp: shuffles move real numbers."""
    for k in (16, 8, 4, 2, 1):
        v = v + complex(cuda.shfl_xor_sync(FULL, v.real, k), cuda.shfl_xor_sync(FULL, v.imag, k))
    return v


def _row_sum(vector, add_up):
    def row_sum(a, at, x, x_at, x_step, count, wide, lane):
        """The sum of a[at + i] * x[x_at + i * x_step] for i < count, by the lanes of a warp; ``wide``: by vectors."""
        total, i = A(0), lane
        if wide:
            whole = count // vector * vector
            i = lane * vector
            while i < whole:
                u, v = load_vector(a, at + i, vector), load_vector(x, x_at + i, vector)
                for l in range(vector):
                    total += u[l] * v[l]
                i += WARP * vector
            i = whole + lane
        while i < count:
            total += load(a, at + i) * load(x, x_at + i * x_step)
            i += WARP
        return add_up(total)
    return row_sum


# ---- rows without gaps -------------------------------------------------------------------------------------------------

def _rows_kernel(name, types, vector):
    """A warp for each row and run; ``wide`` where rows, runs and vectors are aligned for vectors of ``vector`` elements."""
    row_sum = _row_sum(vector, warp_sum)

    def rows_product(a, x, d, out, sums, total, m, k, a_row, x_step, d_row, inner_stack, a_outer_stack, a_inner_stack,
                     x_outer_stack, x_inner_stack, d_outer_stack, d_inner_stack, run, runs, wide, alpha, beta):
        """out[s, r] = alpha * sum of a[s, r, i] * x[s, i] + beta * d[s, r], or sums[s, r, run]; a is read once."""
        number = cuda.blockIdx.x * WARPS + cuda.threadIdx.x // WARP
        if number >= total:
            return
        rest, part = divided(number, runs)
        matrix, row = divided(rest, m)
        outer, inner = divided(matrix, inner_stack)
        lane, first = cuda.threadIdx.x % WARP, part * run
        at = outer * a_outer_stack + inner * a_inner_stack + row * a_row + first
        x_at = outer * x_outer_stack + inner * x_inner_stack + first * x_step
        value = row_sum(a, at, x, x_at, x_step, min(run, k - first), wide, lane)
        if lane > 0:
            return
        if runs > 1:
            store(sums, number, value)
        else:
            value *= alpha
            if beta != A(0):
                value += beta * load(d, outer * d_outer_stack + inner * d_inner_stack + row * d_row)
            store(out, number, value)

    rows_product.__name__ = rows_product.__qualname__ = name
    return device_kernel("T~ T~ T~ T* A* " + "q " * 16 + "A A", T=types, threads=THREADS)(rows_product)


def _exact_rows_kernel(name, types, vector, add_up):
    """The same for integers, modulo 2^bits, and complex numbers."""
    row_sum = _row_sum(vector, add_up)

    def exact_rows(a, x, out, total, m, k, a_row, x_step, inner_stack, a_outer_stack, a_inner_stack, x_outer_stack,
                   x_inner_stack, run, runs, wide):
        """out[s, r, run] = sum over the run of a[s, r, i] * x[s, i]; a is read once."""
        number = cuda.blockIdx.x * WARPS + cuda.threadIdx.x // WARP
        if number >= total:
            return
        rest, part = divided(number, runs)
        matrix, row = divided(rest, m)
        outer, inner = divided(matrix, inner_stack)
        lane, first = cuda.threadIdx.x % WARP, part * run
        at = outer * a_outer_stack + inner * a_inner_stack + row * a_row + first
        x_at = outer * x_outer_stack + inner * x_inner_stack + first * x_step
        value = row_sum(a, at, x, x_at, x_step, min(run, k - first), wide, lane)
        if lane == 0:
            store(out, number, value)

    exact_rows.__name__ = exact_rows.__qualname__ = name
    return device_kernel("T~ T~ T* " + "q " * 13, T=types, threads=THREADS)(exact_rows)


ROWS = {4: _rows_kernel("rows_product", ("float32", "float16", "bfloat16"), 4),     # by the elements of a vector
        2: _rows_kernel("rows_product_double", ("float64",), 2)}
EXACT_ROWS = {4: _exact_rows_kernel("integer_rows", SMALL_INTEGERS, 4, _integer_warp_sum),
              2: _exact_rows_kernel("long_rows", ("int64",), 2, _integer_warp_sum),
              1: _exact_rows_kernel("complex_rows", COMPLEX, 1, _complex_warp_sum)}


# ---- columns without gaps ----------------------------------------------------------------------------------------------

def _columns_kernel(name, types, vector):
    """A block for 32 * vector columns and a run, of whose rows each warp adds up every eighth."""
    width = WARP * vector
    size = WARPS * width

    def columns_product(a, x, d, out, sums, m, k, a_inner, x_step, d_row, inner_stack, a_outer_stack, a_inner_stack,
                        x_outer_stack, x_inner_stack, d_outer_stack, d_inner_stack, run, runs, wide, alpha, beta):
        """out[s, c] = alpha * sum of a[s, i, c] * x[s, i] + beta * d[s, c], or sums[s, run, c]; a is read once."""
        partial = cuda.shared.array(size, A)
        total = cuda.local.array(vector, A)
        rest, block = divided(cuda.blockIdx.x, (m + width - 1) // width)
        matrix, part = divided(rest, runs)
        outer, inner = divided(matrix, inner_stack)
        warp, lane = cuda.threadIdx.x // WARP, cuda.threadIdx.x % WARP
        i, first_column = part * run + warp, block * width
        last = min(k, part * run + run)
        at = outer * a_outer_stack + inner * a_inner_stack + i * a_inner + first_column
        x_at = outer * x_outer_stack + inner * x_inner_stack + i * x_step
        for l in range(vector):
            total[l] = A(0)
        own, apart = lane, WARP             # a thread's columns: 32 apart, or as a vector side by side
        if wide and first_column + width <= m:
            own, apart = lane * vector, 1
            while i < last:
                values, factor = load_vector(a, at + own, vector), load(x, x_at)
                for l in range(vector):
                    total[l] += values[l] * factor
                i += WARPS
                at += WARPS * a_inner
                x_at += WARPS * x_step
        else:
            while i < last:
                factor = load(x, x_at)
                for l in range(vector):
                    if first_column + own + l * WARP < m:
                        total[l] += load(a, at + own + l * WARP) * factor
                i += WARPS
                at += WARPS * a_inner
                x_at += WARPS * x_step
        for l in range(vector):
            store(partial, warp * width + own + l * apart, total[l])
        cuda.syncthreads()
        column = cuda.threadIdx.x
        if column < width and first_column + column < m:
            value = A(0)
            for w in range(WARPS):
                value += load(partial, w * width + column)
            column += first_column
            if runs > 1:
                store(sums, (matrix * runs + part) * m + column, value)
            else:
                value *= alpha
                if beta != A(0):
                    value += beta * load(d, outer * d_outer_stack + inner * d_inner_stack + column * d_row)
                store(out, matrix * m + column, value)

    columns_product.__name__ = columns_product.__qualname__ = name
    return device_kernel("T~ T~ T~ T* A* " + "q " * 15 + "A A", T=types, threads=THREADS)(columns_product)


COLUMNS = {4: _columns_kernel("columns_product", ("float32", "float16", "bfloat16"), 4),
           2: _columns_kernel("columns_product_double", ("float64",), 2)}


# ---- sums of runs ------------------------------------------------------------------------------------------------------

@device_kernel("A* T* T~ " + "q " * 12 + "A A", T=FLOATING, threads=THREADS)
def add_runs(sums, out, d, total, size, n, runs, result_step, run_step, inner_stack, d_row, d_column, d_outer_stack,
             d_inner_stack, lanes, alpha, beta):
    """out[s, r, c] = alpha * the sum of its runs + beta * d[s, r, c]; each matrix has ``size`` results.

    ``lanes`` 1: a thread for each result, its runs ``run_step`` apart, matrices ``runs`` * ``size``. ``lanes`` 32: a warp for
    each result, all of whose runs lie together (``result_step`` = runs, ``run_step`` 1).
    """
    number, lane = cuda.blockIdx.x * THREADS + cuda.threadIdx.x, 0
    if lanes > 1:
        number, lane = number // WARP, cuda.threadIdx.x % WARP
    if number >= total:
        return
    matrix, rest = divided(number, size)
    at, value, part = matrix * size * runs + rest * result_step, A(0), lane
    while part < runs:
        value += load(sums, at + part * run_step)
        part += lanes
    if lanes > 1:
        value = warp_sum(value)
    if lane == 0:
        value *= alpha
        if beta != A(0):
            outer, inner = divided(matrix, inner_stack)
            row, column = divided(rest, n)
            value += beta * load(d, outer * d_outer_stack + inner * d_inner_stack + row * d_row + column * d_column)
        store(out, number, value)


def _exact_sums_kernel(name, types, add_up):
    def exact_sums(sums, out, total, runs):
        """out[i] = the sum of sums[i, run]: a warp for each."""
        number = cuda.blockIdx.x * WARPS + cuda.threadIdx.x // WARP
        if number >= total:
            return
        lane, value = cuda.threadIdx.x % WARP, A(0)
        part = lane
        while part < runs:
            value += load(sums, number * runs + part)
            part += WARP
        value = add_up(value)
        if lane == 0:
            store(out, number, value)

    exact_sums.__name__ = exact_sums.__qualname__ = name
    return device_kernel("T* T* q q", T=types, threads=THREADS)(exact_sums)


integer_sums = _exact_sums_kernel("integer_sums", INTEGRAL, _integer_warp_sum)
complex_sums = _exact_sums_kernel("complex_sums", COMPLEX, _complex_warp_sum)


# ---- integers and complex numbers --------------------------------------------------------------------------------------

@device_kernel("T~ T~ T* " + "q " * 12, T=(*INTEGRAL, *COMPLEX), threads=EDGE * EDGE)
def exact_product(a, b, out, m, n, k, a_row, a_inner, b_inner, b_column, inner_stack, a_outer_stack, a_inner_stack,
                  b_outer_stack, b_inner_stack):
    """out = a b of integers, modulo 2^bits, or complex numbers: tiles of 16 x 16 in shared memory, a result a thread."""
    left, right = cuda.shared.array((EDGE, EDGE), A), cuda.shared.array((EDGE, EDGE), A)
    i, j = cuda.threadIdx.x // EDGE, cuda.threadIdx.x % EDGE
    rest, tile_column = divided(cuda.blockIdx.x, (n + EDGE - 1) // EDGE)
    matrix, tile_row = divided(rest, (m + EDGE - 1) // EDGE)
    outer, inner = divided(matrix, inner_stack)
    row, column = tile_row * EDGE + i, tile_column * EDGE + j
    a_at = outer * a_outer_stack + inner * a_inner_stack + row * a_row
    b_at = outer * b_outer_stack + inner * b_inner_stack + column * b_column
    total = A(0)
    for first in range(0, k, EDGE):
        left[i, j] = load(a, a_at + (first + j) * a_inner) if row < m and first + j < k else A(0)
        right[i, j] = load(b, b_at + (first + i) * b_inner) if column < n and first + i < k else A(0)
        cuda.syncthreads()
        for l in range(EDGE):
            total += left[i, l] * right[l, j]
        cuda.syncthreads()
    if row < m and column < n:
        store(out, (matrix * m + row) * n + column, total)
