"""What kernels index: pointers into a device's memory, shared and local arrays. Each access is checked."""
import functools
import math

import ml_dtypes
import numpy as np

from .arithmetic import INT64, INTEGERS, numpy_dtype, scalar_type

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


class Outside(IndexError):
    """An index that is not of the array."""


class Misaligned(ValueError):
    """An access to an address that is no multiple of its size."""


class Array:
    """Memory of a device: ``data`` is an ndarray of one dimension, ``address`` where its first element lies."""

    __slots__ = ("data", "size", "dtype", "address", "name")

    def __init__(self, data, dtype, address, name):
        self.data, self.size, self.dtype, self.address, self.name = data, len(data), dtype, address, name

    def __getitem__(self, i):
        if 0 <= i < self.size:
            return self.data[i]
        raise self.outside(i)

    def __setitem__(self, i, value):
        if not 0 <= i < self.size:
            raise self.outside(i)
        try:
            self.data[i] = value
        except OverflowError:       # a Python int that the type does not hold: its lowest bits, as in C
            self.data[i] = INTEGERS.get(self.dtype.type, INT64)(value)

    load, store = __getitem__, __setitem__      # as numbers of the type in which they are computed

    def outside(self, i):
        """The error of an access to element ``i``."""
        return Outside(f"index {i} of {self.name}, which has {self.size} elements of {self.dtype}")

    def exchange(self, i, change):
        """An atomic operation: element ``i`` becomes ``change(element)``; returns what it was."""
        old = self.load(i)
        self.store(i, change(old))
        return old

    def _check_vector(self, i, n):
        nbytes = n * self.dtype.itemsize
        if nbytes > 16 or nbytes & nbytes - 1:
            raise Misaligned(f"one access of {nbytes} bytes to {self.name}: only 1, 2, 4, 8 and 16 bytes can be")
        if not 0 <= i <= self.size - n:
            raise self.outside(i if i < 0 else i + n - 1)
        past = (self.address + i * self.dtype.itemsize) % nbytes
        if past:
            raise Misaligned(f"one access of {nbytes} bytes at index {i} of {self.name}, {past} bytes past an aligned address")

    def load_vector(self, i, n):
        """Elements ``i`` to ``i + n``, by one access."""
        self._check_vector(i, n)
        return tuple(self.data[i:i + n])

    def load_each(self, i, n):
        """The same, each by ``load``."""
        self._check_vector(i, n)
        return tuple([self.load(k) for k in range(i, i + n)])

    def store_vector(self, i, values):
        """Sets elements from ``i`` on, by one access."""
        self._check_vector(i, len(values))
        for k, value in enumerate(values, i):
            self.store(k, value)


class Small(Array):
    """Memory of integers that Numba widens in arithmetic."""

    __slots__ = ("kind",)

    def __init__(self, data, dtype, address, name):
        super().__init__(data, dtype, address, name)
        self.kind = INTEGERS[dtype.type]

    def __getitem__(self, i):
        if 0 <= i < self.size:
            return self.kind(self.data[i])
        raise self.outside(i)

    load, load_vector = __getitem__, Array.load_each


class Truth(Array):
    """Memory of bools: Python's, whose sums are integers as in Numba."""

    __slots__ = ()

    def __getitem__(self, i):
        if 0 <= i < self.size:
            return bool(self.data[i])
        raise self.outside(i)

    load, load_vector = __getitem__, Array.load_each


class Half(Array):
    """Memory of float16 or bfloat16: read as float32, rounded when written, and only by ``load`` and ``store``."""

    __slots__ = ()

    def __getitem__(self, i):
        raise TypeError(f"{self.name}[i] of {self.dtype}: use load(p, i)")

    def __setitem__(self, i, value):
        raise TypeError(f"{self.name}[i] of {self.dtype}: use store(p, i, value)")

    def load(self, i):
        if 0 <= i < self.size:
            return np.float32(self.data[i])
        raise self.outside(i)

    def load_vector(self, i, n):
        """Elements ``i`` to ``i + n``, by one access."""
        self._check_vector(i, n)
        return tuple(self.data[i:i + n].astype(np.float32))

    def store(self, i, value):
        Array.__setitem__(self, i, value)


class Cells(Array):
    """Static shared and local memory: ``data`` is a list, which is faster than an ndarray, of numbers of type ``kind``."""

    __slots__ = ("kind",)

    def __init__(self, data, dtype, address, name, kind):
        super().__init__(data, dtype, address, name)
        self.kind = kind

    def __setitem__(self, i, value):
        if not 0 <= i < self.size:
            raise self.outside(i)
        self.data[i] = value if type(value) is self.kind else self.kind(value)

    store = __setitem__


class HalfCells(Cells):
    """Static shared and local memory of float16 or bfloat16, used as ``Half`` is."""

    __slots__ = ()
    __getitem__, __setitem__, load_vector = Half.__getitem__, Half.__setitem__, Array.load_each

    def load(self, i):
        return np.float32(Array.__getitem__(self, i))

    def store(self, i, value):
        Cells.__setitem__(self, i, value)


class Grid:
    """Static shared or local memory of more dimensions: indexed with a tuple, each index checked by itself."""

    __slots__ = ("flat", "shape")

    def __init__(self, flat, shape):
        self.flat, self.shape = flat, shape

    def _place(self, indices):
        shape = self.shape
        if len(indices) != len(shape):
            raise TypeError(f"{len(indices)} indices of {self.flat.name}, which has {len(shape)} dimensions")
        place = 0
        for i, n in zip(indices, shape):
            if not 0 <= i < n:
                raise Outside(f"index {tuple(map(int, indices))} of {self.flat.name}, which has shape {shape}")
            place = place * n + i
        return place

    def __getitem__(self, indices):
        return self.flat[self._place(indices)]

    def __setitem__(self, indices, value):
        self.flat[self._place(indices)] = value

    def load(self, indices):
        """An element as a number of the type in which it is computed."""
        return self.flat.load(self._place(indices))

    def store(self, indices, value):
        """Sets an element."""
        self.flat.store(self._place(indices), value)

    def exchange(self, indices, change):
        """An atomic operation on one element."""
        return self.flat.exchange(self._place(indices), change)


class Plane(Grid):
    """Two dimensions of ``Cells``, for which the way through ``_place`` is too long."""

    __slots__ = ("cells", "columns", "size", "kind")

    def __init__(self, flat, shape):
        super().__init__(flat, shape)
        self.cells, self.columns, self.size, self.kind = flat.data, shape[1], flat.size, flat.kind

    def __getitem__(self, indices):
        i, j = indices
        if i >= 0 <= j < self.columns and (place := i * self.columns + j) < self.size:
            return self.cells[place]
        return super().__getitem__(indices)

    def __setitem__(self, indices, value):
        i, j = indices
        if i >= 0 <= j < self.columns and (place := i * self.columns + j) < self.size:
            self.cells[place] = value if type(value) is self.kind else self.kind(value)
        else:
            super().__setitem__(indices, value)


class View:
    """A pointer into the middle of memory that may be stepped back from, as for an array with negative strides."""

    __slots__ = ("flat", "start")

    def __init__(self, flat, start):
        self.flat, self.start = flat, start

    @property
    def dtype(self):
        """The type of its elements."""
        return self.flat.dtype

    def __getitem__(self, i):
        return self.flat[self.start + i]

    def __setitem__(self, i, value):
        self.flat[self.start + i] = value

    def load(self, i):
        """Element ``i`` as a number of the type in which it is computed."""
        return self.flat.load(self.start + i)

    def store(self, i, value):
        """Sets element ``i``."""
        self.flat.store(self.start + i, value)

    def exchange(self, i, change):
        """An atomic operation on one element."""
        return self.flat.exchange(self.start + i, change)

    def load_vector(self, i, n):
        """Elements ``i`` to ``i + n``, by one access."""
        return self.flat.load_vector(self.start + i, n)

    def store_vector(self, i, values):
        """Sets elements from ``i`` on, by one access."""
        self.flat.store_vector(self.start + i, values)


def from_bytes(data, dtype, address, name, before=0):
    """The elements that lie in an ndarray of bytes; index 0 is the one after the first ``before``."""
    kind = Half if dtype in HALVES else Truth if dtype == np.bool_ else Small if dtype.type in INTEGERS else Array
    flat = kind(data[:data.size // dtype.itemsize * dtype.itemsize].view(dtype), dtype, address, name)
    return View(flat, before) if before else flat


@functools.cache
def _cells(kind):
    """(dtype, class of arrays, type of numbers, the number whose bytes are all 0xFF) of static memory of an element type."""
    dtype = numpy_dtype(kind)
    number = scalar_type(dtype.name)
    poison = number(np.full(dtype.itemsize, 0xFF, np.uint8).view(dtype)[0])
    return dtype, HalfCells if dtype in HALVES else Cells, number, poison


def poisoned(shape, kind, name):
    """New static or local memory, every byte 0xFF: nan, or a number that stands out."""
    dtype, cells, number, poison = _cells(kind)
    return cells([poison] * (math.prod(shape) if isinstance(shape, tuple) else shape), dtype, 0, name, number)


def shaped(flat, shape):
    """``flat`` under the indices of ``shape``, a number or a tuple."""
    if not isinstance(shape, tuple) or len(shape) == 1:
        return flat
    return Plane(flat, shape) if len(shape) == 2 and type(flat) is Cells else Grid(flat, shape)
