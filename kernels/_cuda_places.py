"""How threads that are numbered in one row find the places of their elements in arrays of several dimensions.

A number is split into indices by divisions, for which a GPU has no instruction. Sizes are arguments, the same for all threads, so
the host finds a factor for each: quotient = (high word of number * factor + number) >> shift, six instructions instead of the 56
of a 32-bit and the 344 of a 64-bit division (Granlund and Montgomery, "Division by invariant integers using multiplication",
1994). It is exact for numbers below 2^31; more elements than that are moved in parts.
"""
import math
from functools import lru_cache

import numpy as np

MOST = (1 << 31) - 1            # elements of one launch
DIMS = 4                        # dimensions of the kernels' loops, once those that lie alike are merged


class Pointer:
    """An address and the type of what lies there, as kernels are given arrays of which only a part is reached."""

    __slots__ = ("ptr", "dtype", "device")

    def __init__(self, ptr, dtype, device):
        self.ptr, self.dtype, self.device = ptr, dtype, device


def quotient(number, factor, shift):
    """For kernels: ``number`` (below 2^31) divided by the size whose ``division`` gave the factor and the shift; all uint32."""
    return np.uint32(np.uint32(((number * factor) >> np.uint32(32)) + number) >> shift)


def indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3):
    """For kernels: element ``i`` in four dimensions, all but the first given by size, factor and shift, as four int64."""
    above = quotient(i, f3, h3)
    i3 = np.int64(np.uint32(i - above * n3))
    i = quotient(above, f2, h2)
    i2 = np.int64(np.uint32(above - i * n2))
    above = quotient(i, f1, h1)
    return np.int64(above), np.int64(np.uint32(i - above * n1)), i2, i3


@lru_cache(4096)
def division(size):
    """(size, factor, shift) for divisions by ``size``, from 1 to 2^31 - 1."""
    shift = (size - 1).bit_length()
    return size, (1 << 32) * ((1 << shift) - size) // size + 1, shift


def dense(array):
    """The DeviceArray itself if it is contiguous, else a copy that is."""
    return array if array.flags.c_contiguous else array.copy()


def steps(array):
    """The strides of a DeviceArray in elements."""
    if array.flags.c_contiguous:
        return _dense_steps(array.shape)
    size = array.dtype.itemsize
    return tuple([s // size for s in array.strides])


@lru_cache(4096)
def _dense_steps(shape):
    found, step = [], 1
    for size in reversed(shape):
        found.append(step)
        step *= size
    return tuple(reversed(found))


def merged(shape, layouts, order=None):
    """Sizes, and a list of steps for each layout, of the dimensions to walk, those merged that every layout walks as one.

    Layouts are lists of steps, one for each dimension of ``shape``. Dimensions come in their own order, or as they lie in the
    memory of layout ``order``. There is at least one, and none of size 1 but that.
    """
    found = [(size, *column) for size, *column in zip(shape, *layouts) if size != 1]
    if order is not None:
        found.sort(key=lambda column: -abs(column[1 + order]))
    joined = []
    for size, *column in found:
        if joined and all([s == size * t for s, t in zip(joined[-1][1:], column)]):
            size *= joined.pop()[0]
        joined.append((size, *column))
    sizes, *own = zip(*joined) if joined else [(1,)] + [(0,)] * len(layouts)
    return list(sizes), [list(steps) for steps in own]


def parts(sizes, layouts, starts=None):
    """The loop in parts that a kernel can do, each as (sizes, layouts, first element of each layout)."""
    starts = [0] * len(layouts) if starts is None else starts
    if len(sizes) > DIMS:
        for i in range(sizes[0]):
            yield from parts(sizes[1:], [own[1:] for own in layouts], [at + i * own[0] for at, own in zip(starts, layouts)])
    elif math.prod(sizes) > MOST:
        d = sizes.index(max(sizes))
        half = sizes[d] // 2
        yield from parts([*sizes[:d], half, *sizes[d + 1:]], layouts, starts)
        yield from parts([*sizes[:d], sizes[d] - half, *sizes[d + 1:]], layouts,
                         [at + half * own[d] for at, own in zip(starts, layouts)])
    else:
        yield sizes, layouts, starts


def four(sizes, layouts):
    """The arguments for ``DIMS`` dimensions: each layout's steps, then the divisions of all but the first."""
    pad, found = DIMS - len(sizes), []
    for own in layouts:
        found += [0] * pad + own
    for size in [*[1] * pad, *sizes][1:]:
        found += division(size)
    return found


def widest(itemsize, sizes, layouts, addresses, *others):
    """How many elements may be moved as one of at most 16 bytes: all addresses are aligned for it, all steps multiples of it.

    ``others`` are further steps, of all layouts alike.
    """
    if sizes[-1] == 1 or any([own[-1] != 1 for own in layouts]):
        return 1
    common = math.gcd(sizes[-1], *[s for own in layouts for s in own[:-1]], *others, 16 // itemsize)
    while any([address % (common * itemsize) for address in addresses]):
        common //= 2
    return common


WORDS = {1: np.dtype(np.int8), 2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64), 16: np.dtype(np.complex128)}
