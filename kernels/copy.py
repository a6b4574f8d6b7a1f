"""Copies on a CUDA device: between layouts, between dtypes, and of one value. On the CPU, NumPy copies."""
import itertools
import math
from functools import lru_cache

import numpy as np

from . import _driver, pointwise_cuda
from ._cuda import BITS, T, blocks, cuda, device_kernel, load, store
from ._cuda_places import MOST, WORDS, Pointer, division, four, indices, merged, parts, quotient, steps, widest
from ._device import empty, on_device

THREADS = 256
TILE, ROWS = 32, 8              # a tile of a transpose, and the rows of it that a block moves at once
PADDED = (TILE, TILE + 1)       # its shape in shared memory
JOINED = 8                      # arrays that one kernel puts side by side
NARROW = 8                      # below so many rows or columns a tile is mostly empty


def copy(source, target):
    """target = source, broadcast and converted to its dtype; they may share memory.

    One pass: n * (source's + target's itemsize) bytes. Elements that keep their dtype are moved as words, so that few kernels are
    compiled.
    """
    if source.shape != target.shape and np.broadcast_shapes(source.shape, target.shape) != target.shape:
        raise ValueError(f"could not broadcast an array of shape {source.shape} into shape {target.shape}")
    if not target.size:
        return
    if source.block is target.block:
        if source.ptr == target.ptr and source.shape == target.shape and source.strides == target.strides \
                and source.dtype == target.dtype:
            return
        if np.may_share_memory(source, target):
            source = source.copy()
    if source.device != target.device:
        source = _brought_to(target.device, source if source.flags.c_contiguous else source.copy())
    if source.dtype == target.dtype:
        if source.shape == target.shape and source.flags.c_contiguous and target.flags.c_contiguous:
            driver = _driver.current()
            with on_device(target.device):
                driver.copy(target.ptr, source.ptr, target.nbytes, driver.stream())
        else:
            _move(source, target)
        return
    have, want = source.dtype, target.dtype
    formula = "identity"
    if have.kind == "c" and want.kind != "c":
        formula = "is_nonzero" if want.kind == "b" else "identity"
        source = source if want.kind == "b" else source.real
        have = source.dtype
    pointwise_cuda.run(formula, (have.name, want.name), [source], target)


def _brought_to(device, source):
    """A copy on ``device`` of a contiguous array of another."""
    near = empty(source.shape, source.dtype, device)
    driver = _driver.current()
    with on_device(source.device):      # what made the source was started there
        driver.synchronize_stream(driver.stream())
    with on_device(device):
        driver.copy(near.ptr, source.ptr, source.nbytes, driver.stream())
        driver.synchronize_stream(driver.stream())      # the source may be freed, and reused there, after this
    return near


def fill(target, value):
    """Sets every element of ``target`` to ``value``, a 0-dim ndarray; n * itemsize bytes."""
    if not target.size:
        return
    number = value.astype(target.dtype)
    if not any(number.tobytes()) and target.flags.c_contiguous:
        driver = _driver.current()
        with on_device(target.device):
            driver.fill(target.ptr, 0, target.nbytes, driver.stream())
        return
    name = target.dtype.name
    pointwise_cuda.run("identity", (name, name), [number[()]], target)


# ---- between layouts ---------------------------------------------------------------------------------------------------------

@device_kernel("T~ T~" + " q" * 8 + " I" * 10, T=BITS, threads=THREADS)
def move(source, target, s0, s1, s2, s3, t0, t1, t2, t3, n1, f1, h1, n2, f2, h2, n3, f3, h3, count):
    """target[i0, i1, i2, i3] = source[i0, i1, i2, i3], arrays of any layout: one word a thread. 2 s bytes an element."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        i0, i1, i2, i3 = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
        store(target, i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3, load(source, i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3))


@device_kernel("T~ T~ q q q q" + " q" * 4 + " I" * 9, T=BITS, threads=TILE * ROWS)
def transpose(source, target, n, m, source_row, target_row, s0, s1, t0, t1, n1, f1, h1, down, f2, h2, beside, f3, h3):
    """target[i, j, b, a] = source[i, j, a, b], n rows a and m columns b: a tile a block, by shared memory. 2 s bytes an element.

    Rows lie without gaps in both, so that whole rows of a tile are read and written. In shared memory a row is one element longer
    than it needs to be, which puts the elements of a column into different banks. ``down`` and ``beside`` count a matrix's tiles.
    """
    tile = cuda.shared.array(PADDED, T)
    i, j, a, b = indices(np.uint32(cuda.blockIdx.x), n1, f1, h1, down, f2, h2, beside, f3, h3)
    a, b, x = a * TILE, b * TILE, cuda.threadIdx.x
    first = i * s0 + j * s1 + a * source_row + b
    for k in range(TILE // ROWS):
        y = cuda.threadIdx.y + k * ROWS
        if a + y < n and b + x < m:
            tile[y, x] = load(source, first + y * source_row + x)
    cuda.syncthreads()
    first = i * t0 + j * t1 + b * target_row + a
    for k in range(TILE // ROWS):
        y = cuda.threadIdx.y + k * ROWS
        if b + y < m and a + x < n:
            store(target, first + y * target_row + x, tile[x, y])


def _move(source, target):
    """target = source, of one dtype and device and any layouts."""
    own = steps(source)
    if source.shape != target.shape:
        new = target.ndim - source.ndim
        own = (0,) * new + tuple([0 if n == 1 else step for n, step in zip(source.shape, own)])
    for kernel, grid, block, starts, word, numbers in _launches(
            target.itemsize, target.shape, own, steps(target), source.ptr & 15, target.ptr & 15, THREADS):
        kernel.launch(grid, block, Pointer(source.ptr + starts[0], word, source.device),
                      Pointer(target.ptr + starts[1], word, target.device), *numbers)


@lru_cache(4096)
def _launches(itemsize, shape, s, t, source_at, target_at, threads):
    """What ``_move`` launches: (kernel, grid, block, offsets in bytes, type of the words, further arguments) of each."""
    sizes, (s, t) = merged(shape, (s, t), order=1)
    ratio = widest(itemsize, sizes, (s, t), (source_at, target_at))
    if ratio > 1:
        sizes[-1] //= ratio
        s, t = ([*(step // ratio for step in own[:-1]), 1] for own in (s, t))
    word, found = WORDS[itemsize * ratio], []
    for part, (s_part, t_part), starts in parts(sizes, (s, t)):
        count = math.prod(part)
        how = _tiles(part, s_part, t_part) or (
            move, blocks(count, threads), threads, (*four(part, (s_part, t_part)), count))
        found.append((*how[:3], [at * word.itemsize for at in starts], word, how[3]))
    return found


def _tiles(sizes, s, t):
    """A copy by tiles as (kernel, grid, block, numbers); None unless source and target each have a dimension without gaps."""
    if 1 not in s or 1 not in t:
        return None
    column, row = s.index(1), t.index(1)        # the source's columns are the target's rows
    if column == row or not s[row] or min(sizes[column], sizes[row]) < NARROW:
        return None
    rest = [d for d in range(len(sizes)) if d != column and d != row]
    pad = [0] * (2 - len(rest))
    n, m, matrices = sizes[row], sizes[column], [sizes[d] for d in rest]
    down, beside = blocks(n, TILE), blocks(m, TILE)
    numbers = (n, m, s[row], t[column], *pad, *[s[d] for d in rest], *pad, *[t[d] for d in rest],
               *division(matrices[-1] if matrices else 1), *division(down), *division(beside))
    return transpose, math.prod(matrices) * down * beside, (TILE, ROWS), numbers


# ---- side by side ------------------------------------------------------------------------------------------------------------

@device_kernel("T~ " * (1 + JOINED) + "q " * (JOINED + 2) + "I I I I", T=BITS, threads=THREADS)
def join(out, x0, x1, x2, x3, x4, x5, x6, x7, e0, e1, e2, e3, e4, e5, e6, e7, row, first, width, factor, shift, count):
    """out[i, first + e(k - 1) + j] = xk[i, j], contiguous arrays that end in columns e: a word a thread. 2 s bytes an element."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    above = quotient(i, factor, shift)
    o, c = np.int64(above), np.int64(np.uint32(i - above * width))
    if c < e3:
        if c < e1:
            value = load(x0, o * e0 + c) if c < e0 else load(x1, o * (e1 - e0) + c - e0)
        else:
            value = load(x2, o * (e2 - e1) + c - e1) if c < e2 else load(x3, o * (e3 - e2) + c - e2)
    elif c < e5:
        value = load(x4, o * (e4 - e3) + c - e3) if c < e4 else load(x5, o * (e5 - e4) + c - e4)
    else:
        value = load(x6, o * (e6 - e5) + c - e5) if c < e6 else load(x7, o * (e7 - e6) + c - e6)
    store(out, o * row + first + c, value)


def concatenate(arrays, axis):
    """numpy.concatenate of DeviceArrays of one dtype: eight contiguous ones by one kernel, others each by itself."""
    like, places = arrays[0], 0
    for a in arrays:
        places |= a.ptr
    shape, word, joins = _joins(tuple([a.shape for a in arrays]), axis, like.dtype.itemsize, places & 15)
    out = empty(shape, like.dtype, like.device)
    arrays = [a for a in arrays if a.size]
    at = 0
    for k, (grid, numbers) in zip(range(0, len(arrays), JOINED), joins):
        group = arrays[k:k + JOINED]
        if grid and all([a.flags.c_contiguous for a in group]):
            pointers = [Pointer(a.ptr, word, a.device) for a in (out, *group)]
            join.launch(grid, THREADS, *pointers, *[None] * (JOINED - len(group)), *numbers)
        else:
            _join_apart(out, group, axis, at)
        at += sum([a.shape[axis] for a in group])
    return out


@lru_cache(4096)
def _joins(shapes, axis, itemsize, places):
    """(shape of the result, type of the words, launches of ``join`` as (grid, numbers)); grid 0 where there is too much for one.

    ``places``: the lowest bits of the arrays' addresses, together.
    """
    shape = list(shapes[0])
    shape[axis] = sum([own[axis] for own in shapes])
    inner, outer = math.prod(shape[axis + 1:]), math.prod(shape[:axis])
    widths = [own[axis] * inner for own in shapes if 0 not in own]
    ratio = math.gcd(16 // itemsize, *widths)
    while places % (ratio * itemsize):
        ratio //= 2
    first, found = 0, []
    for k in range(0, len(widths), JOINED):
        ends = list(itertools.accumulate([n // ratio for n in widths[k:k + JOINED]]))
        width, count = ends[-1], ends[-1] * outer
        grid = blocks(count, THREADS) if count <= MOST else 0
        found.append((grid, grid and [*ends, *[width] * (JOINED - len(ends)), shape[axis] * inner // ratio, first,
                                      *map(np.uint32, (*division(width), count))]))
        first += width
    return tuple(shape), WORDS[ratio * itemsize], found


def _join_apart(out, arrays, axis, first):
    """Copies each array by itself, from entry ``first`` of ``out`` on."""
    for a in arrays:
        copy(a, out[(slice(None),) * axis + (slice(first, first + a.shape[axis]),)])
        first += a.shape[axis]
