"""Matrix products on a GPU: which kernel, which tile, how many blocks.

The kernels are in _cuda_gemm.py, for tensor cores in _cuda_mma.py, for vectors, integers and complex numbers in _cuda_gemv.py.
What is worked out for a product, its ``Recipe``, depends on shapes, strides and dtype alone, and is kept.
"""
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import _cuda_gemv, _cuda_mma, _driver
from ._cuda import apart, blocks
from ._cuda_gemm import PRODUCTS, SHAPES, WIDE_A, WIDE_B, WIDE_OUT
from ._cuda_gemv import COLUMNS, EDGE, EXACT_ROWS, ROWS, THREADS, WARPS
from ._device import DeviceArray, empty, full
from .matmul import float32_precision
from .reduce_cuda import reduced

# the tiles of each kind of product, small ones first: name or size, rows, columns, inner indices of a slice, and how many
# multiplications a multiprocessor does in a cycle while it has blocks enough
_TILES = {
    "float32": (("product_16", 20), ("product_32", 50), ("product_64", 85), ("product_128", 105)),
    "float64": (("product_16", 16), ("product_32_double", 32), ("product_64_double", 45))}
_TILES = {kind: [(name, *SHAPES[name][:3], speed) for name, speed in tiles] for kind, tiles in _TILES.items()}
_TILES["float16"] = _TILES["bfloat16"] = [(64, 64, 64, 32, 500), (128, 128, 128, 32, 1000)]
_TILES["tf32"] = [(64, 64, 64, 16, 250), (128, 128, 128, 16, 500)]
SLICE = 700                 # cycles that a slice takes at least: from memory through shared memory
SECOND = 6000               # cycles of starting a second kernel, which adds up runs
SHORTEST = 128              # inner indices of a run, at least
WANTED = 16                 # warps of a multiprocessor that draw all that its memory gives


# ---- entries -----------------------------------------------------------------------------------------------------------

def matmul(a, b, bias=None):
    """The matrix products of two stacks of matrices, whose leading dimensions broadcast, plus a bias for each column or None."""
    return affine(a, b, bias, 1, 1)


def affine(a, b, d, alpha, beta, out=None):
    """alpha * a b + beta * d for stacks of matrices; ``d`` broadcasts to the products; None is not read.

    ``out``, contiguous, takes the result; of real numbers it may be ``d`` itself, which a thread reads only where it then writes.
    """
    if a.__class__ is not b.__class__ or d is not None and d.__class__ is not DeviceArray:
        apart((a, b, d))        # kernels look at the numbers of devices, when they are launched
    found = _affine(a, b, d, alpha, 0 if d is None else beta, a.shape[-2], b.shape[-1], a.shape[-1], out)
    if out is None:
        return found if found.dtype == a.dtype else found.astype(a.dtype)
    if found is not out:
        out[...] = found
    return out


def column_sum(a):
    """The sums of the columns of a matrix."""
    if not len(a):
        return full(a.shape[1:], 0, a.dtype, a.device)
    return reduced("sum", a, (0,))


def _affine(a, b, d, alpha, beta, m, n, k, out=None):
    """The same of operands that may be larger than m x k and k x n: what is beyond is 0. ``out`` is taken where it fits."""
    lies_d = (None, None) if d is None else (d.shape, d._strides)
    recipe = _recipe(m, n, k, a.dtype, a.device, float32_precision(), a.shape, a._strides, not a.ptr & 15, b.shape, b._strides,
                     not b.ptr & 15, *lies_d)
    if recipe.copies is not None:
        a, b, d = (x if copy is None or x is None else copy(x) for copy, x in zip(recipe.copies, (a, b, d)))
        return _affine(a, b, d, alpha, beta, m, n, k, out)
    if out is None or out.shape != recipe.shape or out.dtype != a.dtype or recipe.exact:
        out = empty(recipe.shape, a.dtype, a.device)
    if recipe.kernel is None:
        return out
    sums = None if recipe.sums is None else empty(recipe.sums, recipe.sums_type, a.device)
    if recipe.turned:
        a, b = b, a
    if recipe.exact:
        recipe.kernel.launch(recipe.grid, recipe.threads, a, b, out if sums is None else sums, *recipe.arguments)
        if sums is not None:
            recipe.adder.launch(recipe.adder_grid, THREADS, sums, out, *recipe.adder_arguments)
        return _plus(out, d, alpha, beta)
    results = (out, sums) if recipe.kernel.name not in _ONE_RESULT else (out if sums is None else sums,)
    recipe.kernel.launch(recipe.grid, recipe.threads, a, b, d, *results, *recipe.arguments,
                         *((alpha, beta) if sums is None else (1, 0)), shared=recipe.shared)
    if sums is not None:
        _cuda_gemv.add_runs.launch(recipe.adder_grid, THREADS, sums, out, d, *recipe.adder_arguments, alpha, beta)
    return out


_ONE_RESULT = {kernel.name for kernel in PRODUCTS.values()}     # kernels whose sums of runs are of the result's type


def _plus(out, d, alpha, beta):
    """alpha * out + beta * d in the memory of ``out``, for the dtypes whose kernels do not do it themselves."""
    if out.dtype.kind != "c":
        alpha, beta = int(alpha), int(beta)
    if alpha != 1:
        np.multiply(out, alpha, out=out)
    if d is not None:
        np.add(out, d if beta == 1 else d * beta, out=out)
    return out


# ---- geometry ----------------------------------------------------------------------------------------------------------

class Recipe(NamedTuple):
    """How a product is computed: by which kernel, on how many blocks, with which arguments.

    copies: for each operand and what is added a function that gives a copy, or None; the copies have a recipe of their own.
    turned: the operands change places. sums: the shape of what a second kernel adds up, or None.
    """

    shape: tuple
    copies: tuple = None
    kernel: object = None
    grid: int = 0
    threads: int = 0
    arguments: tuple = ()
    shared: int = 0
    turned: bool = False
    exact: bool = False
    sums: tuple = None
    sums_type: object = None
    adder: object = None
    adder_grid: int = 0
    adder_arguments: tuple = ()


class Lie(NamedTuple):
    """How an array lies: its shape, its steps in elements, and whether its first element is aligned to 16 bytes."""

    shape: tuple
    steps: tuple
    aligned: bool

    @classmethod
    def of(cls, shape, strides, itemsize, aligned):
        """From strides in bytes, or None for an array without gaps; a vector counts as a row."""
        if strides is None:
            steps, step = [], 1
            for n in reversed(shape):
                steps.insert(0, step)
                step *= n
        else:
            steps = [s // itemsize for s in strides]
        missing = max(0, 2 - len(shape))
        return cls((1,) * missing + tuple(shape), (0,) * missing + tuple(steps), aligned)

    def turned(self):
        """The last two dimensions exchanged."""
        shape, steps = self.shape, self.steps
        return Lie((*shape[:-2], shape[-1], shape[-2]), (*steps[:-2], steps[-1], steps[-2]), self.aligned)

    def lead(self, lead):
        """Elements from one matrix to the next along each of the dimensions ``lead``; 0 where there is one matrix."""
        own = [0 if n == 1 else step for n, step in zip(self.shape[:-2], self.steps)]
        return [0] * (len(lead) - len(own)) + own

    def matrix(self):
        """Elements from row to row and from column to column: a single one may have any step, and gets one without gaps."""
        (rows, columns), (row, column) = self.shape[-2:], self.steps[-2:]
        column = 1 if columns == 1 else column
        return columns * column if rows == 1 else row, column

    def broadcast(self):
        """The same of what is read again and again: 0 along a dimension of size 1."""
        return tuple(0 if n == 1 else step for n, step in zip(self.shape[-2:], self.steps[-2:]))

    def is_wide(self, stack, vector):
        """Whether vectors along the step of 1 are aligned, in every row and every matrix of a stack."""
        row, column = self.matrix()
        return self.aligned and not ((row if column == 1 else column) % vector or stack[0] % vector or stack[1] % vector)


class Stack(NamedTuple):
    """How operands and what is added lie: as ``count`` matrices in two leading dimensions, the inner one of size ``inner``."""

    a: Lie
    b: Lie
    d: Lie
    count: int
    inner: int
    a_steps: tuple
    b_steps: tuple
    d_steps: tuple


@lru_cache(4096)
def _recipe(m, n, k, dtype, device, precision, a_shape, a_strides, a_aligned, b_shape, b_strides, b_aligned, d_shape, d_strides):
    lead = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    shape = (*lead, m, n)
    if 0 in shape:
        return Recipe(shape)
    exact, turned = dtype.kind in "iuc", m == 1 and n > 1       # a row times a matrix is a matrix times a column
    a, b = Lie.of(a_shape, a_strides, dtype.itemsize, a_aligned), Lie.of(b_shape, b_strides, dtype.itemsize, b_aligned)
    d = None if d_shape is None or exact else Lie.of(d_shape, d_strides, dtype.itemsize, False)
    if turned:
        a, b, d, m, n = b.turned(), a.turned(), None if d is None else d.turned(), n, m
    lies = [a, b] if d is None else [a, b, d]
    sizes, steps = _merged(lead, [x.lead(lead) for x in lies])
    if len(sizes) > 2:      # three leading dimensions that broadcast, or are permuted, each in another way
        def spread(x):
            x = x if x.ndim > 1 else x.reshape(1, -1)
            return np.broadcast_to(x, (*lead, *x.shape[-2:])).copy()
        return Recipe(shape, copies=(spread, spread, spread))
    stack = Stack(a, b, d, math.prod(lead), sizes[1], steps[0], steps[1], (0, 0) if d is None else steps[2])
    if exact:
        how = _exact_columns if n == 1 else _exact_tiles
    elif n == 1:
        how = _columns
    else:
        kind = "tf32" if dtype == np.float32 and precision != "highest" else dtype.name
        cores = _driver.current().properties(device).major >= 8
        if kind == "tf32" and not cores:
            kind = "float32"
        if kind in ("float32", "float64"):
            how = _tiles
        elif cores:
            how = _tensor_cores
        else:
            return Recipe(shape, copies=(_as_float32,) * 3)
        return Recipe(shape)._replace(**how(stack, m, n, k, dtype, kind, processors(device)))
    found = how(stack, m, n, k, dtype, processors(device))
    if turned and "copies" in found:
        found["copies"] = (None, _copied_across, None)
    return Recipe(shape, turned=turned, exact=exact)._replace(**found)


_driver.on_change.append(_recipe.cache_clear)       # another driver has other devices


def _as_float32(x):
    return x.astype(np.float32)


def _copied(x):
    return x.copy()


def _copied_across(x):
    return x.swapaxes(-1, -2).copy().swapaxes(-1, -2)


def _merged(lead, steps):
    """The leading dimensions as few as possible, at least two: their sizes, and the steps of each array."""
    columns = []
    for n, column in zip(lead, zip(*steps)):
        if n == 1:
            continue
        if columns and all(s == n * t for s, t in zip(columns[-1][1], column)):
            columns[-1] = (columns[-1][0] * n, column)
        else:
            columns.append((n, column))
    columns = [(1, (0,) * len(steps))] * (2 - len(columns)) + columns
    return [n for n, _ in columns], list(zip(*(column for _, column in columns)))


def processors(device):
    """How many multiprocessors a device has."""
    return _driver.current().properties(device).multi_processor_count


# ---- tiles -------------------------------------------------------------------------------------------------------------

def _geometry(stack, m, n, k):
    """Sizes and steps as the kernels of tiles take them."""
    d = (0, 0) if stack.d is None else stack.d.broadcast()
    return (m, n, k, *stack.a.matrix(), *stack.b.matrix(), *d, stack.inner, *stack.a_steps, *stack.b_steps, *stack.d_steps)


def _tiles(stack, m, n, k, dtype, kind, multiprocessors):
    a, b, count = stack.a, stack.b, stack.count
    dense = [1 in x.matrix() for x in (a, b)]
    if not all(dense):
        return {"copies": (*(None if known else _copied for known in dense), None)}
    name, run, runs = plan(m, n, k, count, kind, multiprocessors)
    rows, columns, _, height, width, vector = SHAPES[name]
    wide = WIDE_A * a.is_wide(stack.a_steps, vector) | WIDE_B * b.is_wide(stack.b_steps, vector) | WIDE_OUT * (n % vector == 0)
    return {"kernel": PRODUCTS[name], "grid": blocks(m, rows) * blocks(n, columns) * count * runs,
            "threads": rows // height * (columns // width), "arguments": (*_geometry(stack, m, n, k), run, runs, wide),
            **_added_runs(stack, m, n, runs, dtype)}


def _tensor_cores(stack, m, n, k, dtype, kind, multiprocessors):
    chunk = 16 // dtype.itemsize
    copies = tuple(_whole_vectors(x, steps, chunk) for x, steps in ((stack.a, stack.a_steps), (stack.b, stack.b_steps)))
    if any(copies):
        return {"copies": (*copies, None)}
    size, run, runs = plan(m, n, k, stack.count, kind, multiprocessors)
    kernel = _cuda_mma.PRODUCTS[dtype.name, size, stack.a.matrix()[1] == 1, stack.b.matrix()[0] == 1]
    wide = WIDE_OUT * (n % 4 == 0 and runs == 1)
    return {"kernel": kernel, "grid": blocks(m, size) * blocks(n, size) * stack.count * runs, "threads": _cuda_mma.THREADS,
            "arguments": (*_geometry(stack, m, n, k), run, runs, wide), "shared": kernel.shared,
            **_added_runs(stack, m, n, runs, np.dtype(np.float32))}


def _whole_vectors(x, stack, chunk):
    """None for an operand that can be read by vectors to the end of its rows, or what copies it with zeros after each row."""
    row, column = x.matrix()
    along = column == 1 or row != 1
    if 1 in (row, column) and x.shape[-1 if along else -2] % chunk == 0 and x.is_wide(stack, chunk):
        return None

    def copy(x):
        x = x if along else x.swapaxes(-1, -2)
        n = x.shape[-1]
        found = full((*x.shape[:-1], blocks(n, chunk) * chunk), 0, x.dtype, x.device)
        found[..., :n] = x
        return found if along else found.swapaxes(-1, -2)
    return copy


def _added_runs(stack, m, n, runs, dtype):
    """What adds up the runs of tiles."""
    if runs == 1:
        return {}
    return {"sums": (stack.count, runs, m, n), **_adder(stack, m * n, n, runs, 1, m * n, 1, dtype)}


def _adder(stack, size, n, runs, result_step, run_step, lanes, dtype):
    total = stack.count * size
    d = (0, 0) if stack.d is None else stack.d.broadcast()
    return {"sums_type": dtype, "adder_grid": blocks(total * lanes, THREADS),
            "adder_arguments": (total, size, n, runs, result_step, run_step, stack.inner, *d, *stack.d_steps, lanes)}


@lru_cache(4096)
def plan(m, n, k, count, kind, multiprocessors):
    """(name or size of the tiles, inner indices of a run, number of runs) that take the fewest cycles by a rough count.

    The busiest multiprocessor has ``busiest`` blocks. A slice takes all of them as long as their multiplications, but at least
    as long as it is on its way from memory. Of choices that take as long the one with the smallest tiles is taken.
    """
    best = None
    for name, rows, columns, depth, speed in _TILES[kind]:
        tiles, runs = blocks(m, rows) * blocks(n, columns) * count, 1
        while runs == 1 or k // runs >= SHORTEST and tiles * runs <= 4 * multiprocessors:
            run = max(blocks(blocks(k, runs), depth), 1) * depth
            busiest = blocks(tiles * runs, multiprocessors)
            cycles = run // depth * max(SLICE, busiest * rows * columns * depth / speed)
            if runs > 1:
                cycles += SECOND + m * n * count * runs / multiprocessors / 4
            if best is None or cycles < best[0]:
                best = cycles, name, run, max(blocks(k, run), 1)
            runs *= 2
    return best[1:]


# ---- vectors -----------------------------------------------------------------------------------------------------------

def _columns(stack, m, n, k, dtype, multiprocessors):
    """Matrices times columns: rows that lie without gaps are added up by warps, columns that do by threads."""
    a, x, count = stack.a, stack.b, stack.count
    (row, inner), x_step = a.matrix(), x.matrix()[0]
    if 1 not in (row, inner):
        return {"copies": (_copied, None, None)}
    vector = 2 if dtype.itemsize == 8 else 4
    wide = a.is_wide(stack.a_steps, vector)
    steps = (0 if stack.d is None else stack.d.broadcast()[0], stack.inner, *stack.a_steps, *stack.b_steps, *stack.d_steps)
    sums_type = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    if inner == 1:
        run, runs = _runs(k, count * m, multiprocessors * WANTED, 1024)
        wide = wide and x_step == 1 and x.is_wide(stack.b_steps, vector)
        found = {"kernel": ROWS[vector], "grid": blocks(count * m * runs, WARPS), "threads": THREADS,
                 "arguments": (count * m * runs, m, k, row, x_step, *steps, run, runs, wide)}
        adder = {"sums": (count * m, runs), **_adder(stack, m, 1, runs, runs, 1, 32, sums_type)}
    else:
        tiles = count * blocks(m, 32 * vector)
        run, runs = _runs(k, tiles * WARPS, multiprocessors * WANTED, 64)
        found = {"kernel": COLUMNS[vector], "grid": tiles * runs, "threads": THREADS,
                 "arguments": (m, k, inner, x_step, *steps, run, runs, wide)}
        adder = {"sums": (count, runs, m), **_adder(stack, m, 1, runs, 1, m, 1, sums_type)}
    return found if runs == 1 else {**found, **adder}


def _runs(k, warps, wanted, shortest):
    """(inner indices of a run, number of runs) that give ``wanted`` warps, each something to do."""
    runs = max(1, min(wanted // warps, k // shortest))
    if runs == 1:
        return k, 1
    run = blocks(blocks(k, runs), shortest) * shortest
    return run, blocks(k, run)


# ---- integers and complex numbers --------------------------------------------------------------------------------------

def _exact_tiles(stack, m, n, k, dtype, multiprocessors):
    return {"kernel": _cuda_gemv.exact_product, "grid": blocks(m, EDGE) * blocks(n, EDGE) * stack.count, "threads": EDGE * EDGE,
            "arguments": (m, n, k, *stack.a.matrix(), *stack.b.matrix(), stack.inner, *stack.a_steps, *stack.b_steps)}


def _exact_columns(stack, m, n, k, dtype, multiprocessors):
    a, x, count = stack.a, stack.b, stack.count
    (row, inner), x_step = a.matrix(), x.matrix()[0]
    if inner != 1:
        return {"copies": (_copied, None, None)}
    vector = 1 if dtype.kind == "c" else 2 if dtype.itemsize == 8 else 4
    wide = x_step == 1 and a.is_wide(stack.a_steps, vector) and x.is_wide(stack.b_steps, vector)
    run, runs = _runs(k, count * m, multiprocessors * WANTED, 1024)
    found = {"kernel": EXACT_ROWS[vector], "grid": blocks(count * m * runs, WARPS), "threads": THREADS,
             "arguments": (count * m * runs, m, k, row, x_step, stack.inner, *stack.a_steps, *stack.b_steps, run, runs, wide)}
    if runs == 1:
        return found
    adder = _cuda_gemv.complex_sums if dtype.kind == "c" else _cuda_gemv.integer_sums
    return {**found, "sums": (count * m, runs), "sums_type": dtype, "adder": adder, "adder_grid": blocks(count * m, WARPS),
            "adder_arguments": (count * m, runs)}
