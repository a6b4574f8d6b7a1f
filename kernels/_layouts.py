"""Geometry of arrays that lie at an address: shapes, strides in bytes and offsets as tuples and numbers, by NumPy's rules.

NumPy can work all of this out on an ndarray; in tuples a view costs 0.6 to 1.6 us, by an ndarray of its layout 1.9 to 5.0.
"""
from functools import lru_cache
from math import prod

import numpy as np


@lru_cache(4096)
def row_strides(shape, itemsize):
    """The strides of an array without gaps in row-major order."""
    found, step = [], itemsize
    for n in reversed(shape):
        found.append(step)
        step *= n or 1
    return tuple(reversed(found))


def is_dense(shape, strides, itemsize):
    """Whether elements lie in row-major order without gaps; given in reverse, whether in column-major order."""
    step = itemsize
    for n, stride in zip(reversed(shape), reversed(strides)):
        if n != 1:
            if n == 0:
                return True
            if stride != step:
                return 0 in shape
            step *= n
    return True


def filled_in(shape, size):
    """A shape for ``size`` elements, its -1 filled in; None where it does not hold so many."""
    shape = tuple(map(int, shape)) if isinstance(shape, (tuple, list)) else (int(shape),)
    if -1 in shape:
        at, others = shape.index(-1), -prod(shape)
        if others <= 0 or size % others:
            return None
        return (*shape[:at], size // others, *shape[at + 1:])
    return shape if prod(shape) == size and (size or min(shape) == 0) else None


def taken(shape, strides, key):
    """(shape, strides, offset) of what an index of ints, slices, None and Ellipsis takes; None for others, or wrong ones."""
    if key.__class__ is not tuple:
        key = (key,)
    sizes, steps, offset, d = [], [], 0, 0
    for k in key:
        if k.__class__ is slice:
            if d == len(shape):
                return None
            start, stop, step = k.indices(shape[d])
            sizes.append(len(range(start, stop, step)))
            steps.append(strides[d] * step)
            offset += start * strides[d]
        elif k is None:
            sizes.append(1)
            steps.append(0)
            continue
        elif k is Ellipsis:
            end = len(shape) - sum([after is not None for after in key[key.index(Ellipsis) + 1:]])
            if end < d:
                return None
            sizes += shape[d:end]
            steps += strides[d:end]
            d = end
            continue
        elif isinstance(k, (int, np.integer)) and k.__class__ is not bool:
            if d == len(shape) or not -shape[d] <= k < shape[d]:
                return None
            offset += (int(k) % shape[d]) * strides[d]
        else:
            return None
        d += 1
    return (*sizes, *shape[d:]), (*steps, *strides[d:]), offset


def broadcast(shape, strides, wanted):
    """The strides of an array seen in the shape ``wanted``; None where it does not broadcast to that."""
    new = len(wanted) - len(shape)
    if new < 0:
        return None
    found = [0] * new
    for n, stride, want in zip(shape, strides, wanted[new:]):
        if n != want and n != 1:
            return None
        found.append(0 if n == 1 else stride)
    return tuple(found)
