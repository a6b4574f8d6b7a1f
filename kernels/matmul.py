"""Matrix products: on NumPy's BLAS where that stays on one thread, on register tiles and our own threads where it would not.

Two pools of threads that wait for work by spinning take the cores from each other, so that a program which alternates kernels
and a threaded BLAS runs several times slower than on one thread. Here BLAS gets the small products, below the size from
which OpenBLAS forks; ``product_task`` does the large ones: both operands are packed into strips as tiles read them, C is written
once for each block of the inner dimension.
"""
from functools import lru_cache

import numpy as np
from numba import carray, prange

from ._device import DeviceArray
from ._jit import REASSOCIATE, function, kernel
from ._tasks import EMPTY, NO_TABLE, REAL, launch, threads_for
from ._tile import SLACK, TILE_ROWS, VECTOR_BYTES, copy_run, product_tile, tile_rows, transpose_tile

SINGLE = 1 << 18            # multiply-adds up to which OpenBLAS keeps to one thread
SINGLE_VECTOR = 9216        # elements of a matrix up to which its product with a vector does
INNER = 256                 # inner dimension of a block: a strip of A (12 x 256) stays in the first-level cache,
COLUMNS = 384               # a block of B (256 x 384) in the second-level one
ROWS_AT_ONCE = 240          # rows of a task, a multiple of every tile's rows

(M, N, K, A_ROW, A_COLUMN, B_ROW, B_COLUMN, HAS_BIAS, TASK_ROWS, TASK_COLUMNS) = range(10)


@function(inline="always")
def pack_left(a, at, used, rows, count, row_step, column_step, packed):
    """packed[k * rows + r] = A[r, k] for k < count: one strip of the left operand; rows from ``used`` on are 0."""
    lanes = VECTOR_BYTES // carray(a, 1).itemsize
    done = 0
    if row_step == 1 and used == rows:
        for done in range(count):
            copy_run(a, at + done * column_step, packed, done * rows, rows, packed.dtype.type(0))
        done = count
    elif rows == TILE_ROWS and column_step == 1:
        while done + lanes <= count:
            transpose_tile(TILE_ROWS, a, at + done, row_step, packed, done * TILE_ROWS, TILE_ROWS)
            done += lanes
    for k in range(done, count):
        for r in range(used):
            packed[k * rows + r] = a[at + r * row_step + k * column_step]
        for r in range(used, rows):
            packed[k * rows + r] = 0


@function(inline="always")
def pack_right(b, at, width, count, row_step, column_step, packed, to, columns):
    """packed[to + k * columns + j] = B[k, j] for k < count and j < width: one strip of the right operand."""
    lanes = VECTOR_BYTES // carray(b, 1).itemsize
    zero = packed.dtype.type(0)
    if column_step == 1:
        for k in range(count):
            copy_run(b, at + k * row_step, packed, to + k * columns, width, zero)
    else:
        j = 0
        while j < width:
            source, k = at + j * column_step, 0
            if row_step == 1 and j + lanes <= width:
                while k + lanes <= count:
                    transpose_tile(0, b, source + k, column_step, packed, to + j + k * columns, columns)
                    k += lanes
            for l in range(min(lanes, width - j)):
                for i in range(k, count):
                    packed[to + j + l + i * columns] = b[source + l * column_step + i * row_step]
            j += lanes


def product_task(task, a, b, bias, geometry, a_starts, b_starts, strip, unused, c):
    """One block of C = A B + bias, of one matrix of a stack; C is row-major, A and B have any strides.

    Reads A once for each block of columns and B once for each block of rows; writes C once for each INNER of K.
    """
    m, n, inner = geometry[M], geometry[N], geometry[K]
    rows, columns = geometry[TASK_ROWS], geometry[TASK_COLUMNS]
    across = -(-n // columns)
    per_matrix = -(-m // rows) * across
    matrix, block = task // per_matrix, task % per_matrix
    row, column = block // across * rows, block % across * columns
    rows, columns = min(rows, m - row), min(columns, n - column)
    real = carray(a, 1)
    width = SLACK * 4 // real.itemsize
    left = np.empty(TILE_ROWS * INNER + width, real.dtype)
    right = np.empty(-(-columns // width) * width * min(INNER, inner), real.dtype)
    tile = np.empty(TILE_ROWS * width, real.dtype)
    a0 = a_starts[matrix] + row * geometry[A_ROW]
    b0 = b_starts[matrix] + column * geometry[B_COLUMN]
    c0 = (matrix * m + row) * n + column
    for k in range(0, inner, INNER):
        count = min(INNER, inner - k)
        for j in range(0, columns, width):
            pack_right(b, b0 + k * geometry[B_ROW] + j * geometry[B_COLUMN], min(width, columns - j), count, geometry[B_ROW],
                       geometry[B_COLUMN], right, j * count, width)
        i = 0
        while i < rows:
            height = tile_rows(rows - i)
            used = min(height, rows - i)
            pack_left(a, a0 + i * geometry[A_ROW] + k * geometry[A_COLUMN], used, height, count, geometry[A_ROW],
                      geometry[A_COLUMN], left)
            for j in range(0, columns, width):
                product_tile(height, left, 0, right, j * count, strip, count, tile, 0, width)
                run = min(width, columns - j)
                for r in range(used):
                    target = c0 + (i + r) * n + j
                    if k:
                        for l in range(run):
                            c[target + l] += tile[r * width + l]
                    elif geometry[HAS_BIAS]:
                        for l in range(run):
                            c[target + l] = tile[r * width + l] + bias[column + j + l]
                    else:
                        copy_run(tile, r * width, c, target, run, real.dtype.type(0))
            i += height


@kernel(grain=16384, fastmath=REASSOCIATE)
def multiply_rows(a, x, y):
    """y[b, m] = sum over k of a[b, m, k] * x[b, k]: a dot product for each row; a is read once."""
    for row in prange(a.shape[0] * a.shape[1]):
        i, m = row // a.shape[1], row % a.shape[1]
        total = a.dtype.type(0)
        for k in range(a.shape[2]):
            total += a[i, m, k] * x[i, k]
        y[i, m] = total


@kernel(grain=16384)
def multiply_integers(a, b, out):
    """out[i, m, n] = sum over k of a[i, m, k] * b[i, k, n], modulo 2^bits; b is read once for each row of a."""
    for row in prange(a.shape[0] * a.shape[1]):
        i, m = row // a.shape[1], row % a.shape[1]
        target = out[i, m]
        target[:] = 0
        for k in range(a.shape[2]):
            factor, source = a[i, m, k], b[i, k]
            for n in range(target.size):
                target[n] += factor * source[n]


# ---- entries ---------------------------------------------------------------------------------------------------------

def _strides(a):
    """The stack as (flat array, element strides of a row and of a column); a copy where it is neither C nor transposed C."""
    if a.flags.c_contiguous:
        return a.reshape(-1), a.shape[-1], 1
    t = a.swapaxes(-1, -2)
    if t.flags.c_contiguous:
        return t.reshape(-1), 1, a.shape[-2]
    return np.ascontiguousarray(a).reshape(-1), a.shape[-1], 1


def _block(m, n, stack, threads, width):
    """Rows and columns of a task: blocks that stay in cache, and enough of them for all threads."""
    rows, columns = min(m, ROWS_AT_ONCE), min(n, COLUMNS)
    if stack * -(-m // rows) * -(-n // columns) < threads:
        if n >= m:
            columns = -(-n // (threads * width)) * width
        else:
            rows = -(-m // (threads * TILE_ROWS)) * TILE_ROWS
    return rows, columns


@lru_cache(1024)
def _plan(a_shape, b_shape, a_strides, b_strides, has_bias, dtype, threads):
    """(shape of the result, number of tasks, tables)."""
    (m, inner), n = a_shape[-2:], b_shape[-1]
    lead = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    stack, width = int(np.prod(lead, dtype=int)), SLACK * 4 // dtype.itemsize
    rows, columns = _block(m, n, stack, threads, width)
    geometry = np.array([m, n, inner, *a_strides, *b_strides, has_bias, rows, columns])
    tables = (geometry, _starts(lead, a_shape[:-2], m * inner), _starts(lead, b_shape[:-2], inner * n), np.arange(INNER) * width,
              NO_TABLE)
    return (*lead, m, n), stack * -(-m // rows) * -(-n // columns), tables


def _starts(lead, own, size):
    """Where each matrix of a stack of shape ``own`` begins, repeated as ``own`` broadcasts to ``lead``."""
    count = int(np.prod(own, dtype=int))
    return np.ascontiguousarray(np.broadcast_to((np.arange(count) * size).reshape(own), lead).reshape(-1))


def multiply_tiles(a, b, bias=None):
    """The products of two stacks of float32 or float64 matrices, plus a bias for each column, on register tiles."""
    dtype = a.dtype
    left, *a_strides = _strides(a)
    right, *b_strides = _strides(b)
    threads = threads_for(left.size * b.shape[-1])
    shape, tasks, tables = _plan(a.shape, b.shape, tuple(a_strides), tuple(b_strides), bias is not None, dtype, threads)
    c = np.empty(shape, dtype)
    launch(product_task, tasks, threads, left, right, EMPTY[dtype] if bias is None else bias, tables, c.reshape(-1))
    return c


def _multiply_vector(a, x):
    """The products of a stack of matrices that lie in rows and a stack of vectors (..., k, 1) of the same shape before."""
    lead = np.broadcast_shapes(a.shape[:-2], x.shape[:-2])
    y = np.empty((*lead, a.shape[-2], 1), a.dtype)
    a = np.ascontiguousarray(np.broadcast_to(a, lead + a.shape[-2:])).reshape(-1, *a.shape[-2:])
    x = np.ascontiguousarray(np.broadcast_to(x, lead + x.shape[-2:])).reshape(len(a), -1)
    multiply_rows(a, x, y.reshape(len(a), -1))
    return y


def _for_blas(a):
    """``a`` with one of its last two strides equal to an element, as BLAS wants it; a copy if need be."""
    strides, size = a.strides, a.itemsize
    if strides[-1] == size and strides[-2] >= size * a.shape[-1] or strides[-2] == size and strides[-1] >= size * a.shape[-2]:
        return a
    return np.ascontiguousarray(a)


def matmul(a, b, bias=None):
    """The matrix products of two stacks of matrices (at least 2-d), whose leading dimensions broadcast, plus a bias or None.

    float16 and bfloat16 are multiplied in float32 and rounded once at the end.
    """
    if a.__class__ is DeviceArray or b.__class__ is DeviceArray:
        return _on_device().matmul(a, b, bias)
    dtype = a.dtype
    if dtype in REAL:
        m, n = a.shape[-2], b.shape[-1]
        work = m * n * a.shape[-1]
        if m > 1 and n > 1:
            if work > SINGLE:
                return multiply_tiles(a, b, bias)
        elif work > SINGLE_VECTOR:
            y = _multiply_vector(a, b) if n == 1 else _multiply_vector(b.swapaxes(-1, -2), a.swapaxes(-1, -2)).swapaxes(-1, -2)
            return y if bias is None else np.add(y, bias, out=y)
        y = np.matmul(_for_blas(a), _for_blas(b))
    elif dtype.kind == "c":
        y = np.matmul(_for_blas(a), _for_blas(b))
    elif dtype.kind in "iu":
        y = _integer_matmul(a, b)
    else:
        y = matmul(a.astype(np.float32), b.astype(np.float32), None if bias is None else bias.astype(np.float32))
        return y.astype(dtype)
    return y if bias is None else np.add(y, bias, out=y)


_precision = ["highest"]


def float32_precision():
    """How exact products of float32 are on a GPU: "highest", or "high" or "medium", which cut factors to 10 bits of fraction."""
    return _precision[0]


def set_float32_precision(precision):
    """Sets it; on the CPU products of float32 are always in float32."""
    _precision[0] = precision


@lru_cache(None)
def _on_device():
    """The module of products on a GPU; not loaded where there is none."""
    from . import matmul_cuda

    return matmul_cuda


def affine(a, b, d, alpha, beta):
    """alpha * a b + beta * d in new memory; ``d`` broadcasts to the product, and where beta is 0 its nan do not spread."""
    if a.__class__ is DeviceArray or b.__class__ is DeviceArray:
        return _on_device().affine(a, b, d if beta != 0 else None, alpha, beta)
    return scaled_sum(matmul(a, b), d, alpha, beta)


def scaled_sum(product, d, alpha, beta):
    """alpha * product + beta * d in the memory of ``product``."""
    dtype = product.dtype
    if dtype.kind in "iu":
        beta, alpha = int(beta), int(alpha)
    if alpha != 1:
        product = (product * alpha).astype(dtype)
    if beta == 1:
        return np.add(product, d, out=product)
    return np.add(product, (d * beta).astype(dtype), out=product) if beta != 0 else product


def outer_affine(a, b, d, dtype, alpha, beta):
    """alpha * (all products of an element of a and one of b) + beta * d, of ``dtype``."""
    if a.__class__ is DeviceArray:
        a, b, d = (x.astype(dtype, copy=False) for x in (a, b, d))
        return affine(a[:, None], b[None], d, alpha, beta)
    return scaled_sum((a[:, None] * b).astype(dtype), d, alpha, beta)


def column_sum(a):
    """The sums of the columns of a matrix; of half types in float32."""
    if a.__class__ is DeviceArray:
        return _on_device().column_sum(a)
    return np.add.reduce(a, 0) if a.itemsize > 2 else a.astype(np.float32).sum(0).astype(a.dtype)


def _integer_matmul(a, b):
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
    if out.size:
        a, b = (np.ascontiguousarray(np.broadcast_to(x, lead + x.shape[-2:])).reshape(-1, *x.shape[-2:]) for x in (a, b))
        multiply_integers(a, b, out.reshape(-1, *out.shape[-2:]))
    return out
