"""Reading and writing by index on a CUDA device.

All of gather, scatter, index_select, index_add, take, put, x[...] and their kin are one loop: element i of an iteration over up
to four dimensions lies at ``place + k * step`` of the indexed array ("base"), k its index, and at a place of its own in the other
array. ``place`` leaves the indexed dimension out; ``step`` is its stride. Arrays of any strides will do; none is copied first.

An index is good in [low, n), ``low`` 0 or -n; a bad one is passed over and reported (``_cuda_errors``). Kernels that only move
elements move words of up to 16 bytes: whole rows go in few accesses, and one kernel serves all dtypes of a size. Where several
sources meet in one place, ``write`` keeps any one of them; sums come from atomic additions, in an order that differs from run to
run, as in torch. ``_cuda_ordered`` gives them an order, where a program asks for it.
"""
import math
from functools import lru_cache

import numpy as np

from . import _cuda_errors, _cuda_ordered
from ._cuda import BITS, T, atomic_add, atomic_cas, atomic_max, atomic_min, blocks, cuda, device_kernel, load, store
from ._cuda_errors import PASSED, report
from ._cuda_places import WORDS, Pointer, dense, four, indices, merged, parts, steps, widest
from ._device import DeviceArray, empty, full
from ._driver import OnHost

THREADS = 256
SUMS = ("float32", "float64", "int64")          # what is added in; halves as float32, integers and bools as int64


# ---- kernels -----------------------------------------------------------------------------------------------------------------

def located(i, index, step, low, n, bad, b0, b1, b2, b3, t0, t1, t2, t3, s0, s1, s2, s3, n1, f1, h1, n2, f2, h2, n3, f3, h3):
    """For kernels: (whether the index of element i is good, its place in the indexed array, its place in the other one)."""
    i0, i1, i2, i3 = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    k = load(index, i0 * t0 + i1 * t1 + i2 * t2 + i3 * t3)
    good = low <= k and k < n
    if not good:
        report(bad, k, n)
    if k < 0:
        k += n
    return good, i0 * b0 + i1 * b1 + i2 * b2 + i3 * b3 + k * step, i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3


def over_indices(doc, T=SUMS):
    """Decorator: the kernel that does ``act(base, place, other, at, good)`` for each index; ``good`` says whether it is."""
    def make(act):
        def kernel(base, index, other, step, low, n, bad, b0, b1, b2, b3, t0, t1, t2, t3, s0, s1, s2, s3, n1, f1, h1, n2, f2, h2,
                   n3, f3, h3, count):
            i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
            if i < count:
                good, place, at = located(i, index, step, low, n, bad, b0, b1, b2, b3, t0, t1, t2, t3, s0, s1, s2, s3, n1, f1, h1,
                                          n2, f2, h2, n3, f3, h3)
                act(base, place, other, at, good)
        kernel.__name__, kernel.__qualname__, kernel.__doc__ = act.__name__, act.__qualname__, doc
        return device_kernel("T~ q~ T~ q q q q*" + " q" * 12 + " I" * 10, T=T, threads=THREADS)(kernel)
    return make


@over_indices("out = base[index]: one word a thread, 0 for a bad index. 2 s + 8 bytes an element; rows share the 8.", BITS)
def read(base, place, out, at, good):
    store(out, at, load(base, place) if good else T(0))


@over_indices("base[index] = source: one word a thread. 2 s + 8 bytes an element; rows share the 8.", BITS)
def write(base, place, source, at, good):
    if good:
        store(base, place, load(source, at))


@over_indices("base[index] += source, by atomic additions in any order: one element a thread. 3 s + 8 bytes an element.",
              (*SUMS, "complex64", "complex128"))
def add(base, place, source, at, good):
    if good:
        atomic_add(base, place, load(source, at))


@over_indices("base[index] *= source, repeated until no thread came between: one element a thread. 3 s + 8 bytes an element.")
def multiply(base, place, source, at, good):
    if good:
        value, old = load(source, at), load(base, place)
        while old == old and old * value != old:
            seen = atomic_cas(base, place, old, old * value)
            if seen == old and seen != 0:       # 0 and -0 are equal and yet not exchanged for each other: look again
                break
            old = seen


@over_indices("base[index] = the larger of itself and source, nan if one is: one element a thread. 3 s + 8 bytes an element.")
def raise_to(base, place, source, at, good):
    if good:
        atomic_max(base, place, load(source, at))


@over_indices("base[index] = the smaller of itself and source, nan if one is: one element a thread. 3 s + 8 bytes an element.")
def lower_to(base, place, source, at, good):
    if good:
        atomic_min(base, place, load(source, at))


@device_kernel("q* q* q~ q q q q*" + " q" * 12 + " I" * 10, threads=THREADS)
def locate(places, ats, index, step, low, n, bad, b0, b1, b2, b3, t0, t1, t2, t3, s0, s1, s2, s3, n1, f1, h1, n2, f2, h2, n3, f3,
           h3, count):
    """places and ats (count,) = where each element lies in the indexed array (``PASSED``: a bad index) and in the other."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        good, place, at = located(i, index, step, low, n, bad, b0, b1, b2, b3, t0, t1, t2, t3, s0, s1, s2, s3, n1, f1, h1, n2,
                                  f2, h2, n3, f3, h3)
        places[i] = place if good else np.int64(PASSED)
        ats[i] = at


def placed(place, index, i, step, n, bad):
    """For kernels: a place moved by ``step`` times an index of [-n, n), negative ones counted from the end; not for n < 0."""
    if n < 0 or place == PASSED:
        return place
    k = index[i]
    if k < -n or k >= n:
        report(bad, k, n)
        return np.int64(PASSED)
    return place + (k + n if k < 0 else k) * step


@device_kernel("q* q* q* q* q q q q q q q* q q", threads=THREADS)
def accumulate(x, y, z, places, step_x, n_x, step_y, n_y, step_z, n_z, bad, first, count):
    """places (+)= step_x * x + step_y * y + step_z * z, three dimensions' indices; ``PASSED`` where one is bad. 8 bytes each."""
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= count:
        return
    place = np.int64(0)
    if not first:
        place = places[i]
    place = placed(place, x, i, step_x, n_x, bad)
    place = placed(place, y, i, step_y, n_y, bad)
    places[i] = placed(place, z, i, step_z, n_z, bad)


# ---- running them ------------------------------------------------------------------------------------------------------------

def run(kernel, shape, base, base_steps, index, index_steps, other, other_steps, step, low, n, name):
    """``kernel`` on each element of an iteration over ``shape``; steps are strides in elements, 0 where an array is repeated.

    base_steps and step: of the indexed array, without and along its indexed dimension, which has n entries.
    """
    bad, device = _cuda_errors.note(name, base.device), base.device
    moves, in_order = kernel is read or kernel is write, _IN_ORDER.get(kernel) if _cuda_ordered.fixed else None
    for starts, kind, ratio, numbers, count in _loops(moves, base.dtype, shape, base_steps, index_steps, other_steps, step,
                                                      base.ptr & 15, other.ptr & 15):
        base_part, index_part, other_part = (Pointer(a.ptr + start, k, device) for a, start, k in
                                             zip((base, index, other), starts, (kind, index.dtype, kind)))
        if in_order is None:
            kernel.launch(blocks(count, THREADS), THREADS, base_part, index_part, other_part, step // ratio, low, n, bad,
                          *numbers, count)
        else:
            places, ats = empty(count, np.int64, device), empty(count, np.int64, device)
            locate.launch(blocks(count, THREADS), THREADS, places, ats, index_part, step // ratio, low, n, bad, *numbers, count)
            _cuda_ordered.run(in_order, base_part, places, ats, other_part)


_IN_ORDER = {write: _cuda_ordered.write, add: _cuda_ordered.add, multiply: _cuda_ordered.multiply}


@lru_cache(4096)
def _loops(moves, dtype, shape, base_steps, index_steps, other_steps, step, base_at, other_at):
    """The launches of ``run``: (offsets in bytes, element type, elements moved as one, geometry, number of threads) of each."""
    sizes, (base_steps, index_steps, other_steps) = merged(shape, (base_steps, index_steps, other_steps))
    ratio = 1
    if moves:       # elements are not looked at: in the largest words that fit
        if index_steps[-1] == 0:
            ratio = widest(dtype.itemsize, sizes, (base_steps, other_steps), (base_at, other_at), step)
        dtype = WORDS[dtype.itemsize * ratio]
    if ratio > 1:
        sizes[-1] //= ratio
        base_steps, other_steps = ([*(s // ratio for s in own[:-1]), 1] for own in (base_steps, other_steps))
    itemsizes = dtype.itemsize, 8, dtype.itemsize
    return [([at * size for at, size in zip(starts, itemsizes)], dtype, ratio, four(part, own), math.prod(part))
            for part, own, starts in parts(sizes, (base_steps, index_steps, other_steps))]


def _along(dim, base, index, other):
    """Steps of an indexed array without its dimension ``dim``, steps of the index, and the stride of that dimension.

    The index has as many dimensions as ``other``, or one, ``dim``.
    """
    own = steps(base)
    base_steps = (*own[:dim], 0, *own[dim + 1:])
    if index.ndim == other.ndim:
        return base_steps, steps(index), own[dim]
    return base_steps, (0,) * dim + steps(index) + (0,) * (other.ndim - dim - 1), own[dim]


def take(x, dim, index, out, name, wrap=False):
    """out[i][j][k] = x[i][index[i][j][k]][k] for dim 1, or x[i][index[j]][k] for an index of one dimension.

    ``wrap``: negative indices count from the end. x may be larger than out in the other dimensions.
    """
    if not out.size:
        return
    x, index, out = [a if a.ndim else a.reshape(1) for a in (x, index, out)]
    base_steps, index_steps, step = _along(dim, x, index, out)
    n = x.shape[dim]
    run(read, out.shape, x, base_steps, index, index_steps, out, steps(out), step, -n if wrap else 0, n, name)


_HOW = {"set": write, "add": add, "prod": multiply, "amax": raise_to, "amin": lower_to}


def put(how, out, dim, index, source, name, wrap=False):
    """out[i][index[i][j][k]][k] = source[i][j][k] for dim 1, or by an index of one dimension; or += and so on.

    ``how`` is "set", "add", "prod", "amax" or "amin". The part of the source is used that has the index's shape, or all of it for
    an index of one dimension; a source without dimensions is used for each index.
    """
    kernel = _HOW[how]
    if how != "set" and out.dtype.name not in kernel.T:
        if summed(out.dtype).name not in kernel.T:
            raise OnHost(f"{name} ({how}) of {out.dtype}")
        sums = out.astype(summed(out.dtype))
        put(how, sums, dim, index, source.astype(sums.dtype, copy=False), name, wrap)
        out[...] = sums
        return
    out, index = [a if a.ndim else a.reshape(1) for a in (out, index)]
    if not source.ndim:
        source = np.broadcast_to(source, index.shape if index.ndim == out.ndim else
                                 (*out.shape[:dim], index.size, *out.shape[dim + 1:]))
    shape = index.shape if index.ndim == source.ndim else source.shape
    if not math.prod(shape):
        return
    base_steps, index_steps, step = _along(dim, out, index, source)
    n = out.shape[dim]
    run(kernel, shape, out, base_steps, index, index_steps, source, steps(source), step, -n if wrap else 0, n, name)


def summed(dtype):
    """The dtype in which elements of ``dtype`` are added up."""
    return np.dtype(np.int64 if dtype.kind in "biu" else np.float32 if dtype.itemsize == 2 else dtype)


def wrapped(index, n, name):
    """The index with negative entries counted from the end, contiguous; ``PASSED`` for those that are not in [-n, n)."""
    found = empty(index.shape, np.int64, index.device)
    if index.size:
        _accumulate([(dense(index), 1, n)], found, name)
    return found


def _accumulate(indices, places, name):
    """places = the sum of step * index over ``indices``: contiguous arrays with a step and a size each."""
    bad = _cuda_errors.note(name, places.device)
    for k in range(0, len(indices), 3):
        arrays, strides, sizes = zip(*(indices[k:k + 3] + [(None, 0, -1)] * 2)[:3])
        accumulate.launch(blocks(places.size, THREADS), THREADS, *arrays, places, strides[0], sizes[0], strides[1], sizes[1],
                          strides[2], sizes[2], bad, k == 0, places.size)


def add_strided(whole, strides, offset, values):
    """Adds ``values`` to the elements of ``whole``, contiguous, that a view with these strides and offset (in elements) shows.

    They may overlap; such sums come in any order.
    """
    kind = summed(whole.dtype)
    sums = whole.astype(kind, copy=False)
    if values.size:
        shown = Pointer(sums.ptr + offset * kind.itemsize, kind, sums.device)
        zero = full(1, 0, np.int64, sums.device)
        values = values.astype(kind, copy=False)
        run(add, values.shape, shown, tuple(strides), zero, (0,) * values.ndim, values, steps(values), 0, 0, 1, "as_strided")
    if sums is not whole:
        whole[...] = sums


# ---- x[...] ------------------------------------------------------------------------------------------------------------------

class Plan:
    """Index arrays applied to an array of some shape: an array or None for each leading dimension."""

    __slots__ = ("shape", "indices", "common", "first", "dims", "adjacent", "places")

    def __init__(self, shape, indices):
        self.shape, self.places = shape, {}
        self.dims = [d for d, i in enumerate(indices) if i is not None]
        self.indices = [indices[d] if indices[d].dtype == np.int64 else indices[d].astype(np.int64) for d in self.dims]
        self.first = self.dims[0]
        self.adjacent = self.dims[-1] - self.first + 1 == len(self.dims)
        try:
            self.common = self.indices[0].shape if len(self.dims) == 1 else np.broadcast_shapes(*[i.shape for i in self.indices])
        except ValueError:
            raise IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes "
                             + ", ".join(str(list(i.shape)) for i in self.indices)) from None

    def out_shape(self):
        """The shape of the result."""
        rest, at = self._rest(self.shape)
        return (*rest[:at], *self.common, *rest[at:])

    def _rest(self, values):
        """Those of ``values``, one for each dimension, whose dimension is not indexed; and where the indices' dimensions go."""
        at = self.first if self.adjacent else 0
        if self.adjacent:
            return values[:at] + values[at + len(self.dims):], at
        return tuple([v for d, v in enumerate(values) if d not in self.dims]), at

    def _index(self, own):
        """(index array, step, low, n) for an array with steps ``own``; of several indices, the places that they name."""
        if len(self.dims) == 1:
            n = self.shape[self.first]
            return self.indices[0], own[self.first], -n, n
        found = self.places.get(own)
        if found is None:
            found = self.places[own] = empty(self.common, np.int64, self.indices[0].device)
            if found.size:
                _accumulate([(dense(np.broadcast_to(i, self.common)), own[d], self.shape[d])
                             for d, i in zip(self.dims, self.indices)], found, "index")
        return found, 1, 0, 1 + sum([own[d] * (self.shape[d] - 1) for d in self.dims])

    def _run(self, kernel, a, other):
        """``kernel`` between the indexed elements of ``a`` and ``other``, which is broadcast to the result's shape."""
        shape, own = self.out_shape(), steps(a)
        if not math.prod(shape):
            return
        rest, at = self._rest(own)
        index, step, low, n = self._index(own)
        new = len(rest) - at
        index_steps = (0,) * at + steps(index) + (0,) * new
        other_steps = steps(other if other.shape == shape else np.broadcast_to(other, shape))
        base_steps = rest[:at] + (0,) * len(self.common) + rest[at:]
        run(kernel, shape, a, base_steps, index, index_steps, other, other_steps, step, low, n, "index")

    def read(self, a):
        """The indexed elements of ``a`` as a new array."""
        out = empty(self.out_shape(), a.dtype, a.device)
        self._run(read, a, out)
        return out

    def put(self, out, values):
        """out[indices] = values, an array that broadcasts to the result's shape, or a number."""
        self._run(write, out, values.astype(out.dtype, copy=False) if isinstance(values, DeviceArray) else
                  full((), values, out.dtype, out.device))

    def add(self, out, values):
        """out[indices] += values; equal places add up in any order."""
        kind = summed(out.dtype)
        sums = out.astype(kind, copy=False)
        self._run(add, sums, values.astype(kind, copy=False))
        if sums is not out:
            out[...] = sums


# ---- the CPU kernels' twins --------------------------------------------------------------------------------------------------

def gather(index, x, out):
    """Twin of ``indexing.gather``, and of ``gather_rows``."""
    take(x, 1, index, out, "gather")
    return 0


gather_rows = gather


def scatter(index, source, out):
    """Twin of ``indexing.scatter``."""
    put("set", out, 1, index, source, "scatter")
    return 0


def scatter_add(index, source, out):
    """Twin of ``indexing.scatter_add``."""
    put("add", out, 1, index, source, "scatter_add")
    return 0


def scatter_prod(index, source, out):
    """Twin of ``indexing.scatter_prod``."""
    put("prod", out, 1, index, source, "scatter_reduce")
    return 0


def scatter_extreme(index, source, largest, out):
    """Twin of ``indexing.scatter_extreme``."""
    put("amax" if largest else "amin", out, 1, index, source, "scatter_reduce")
    return 0


def index_select(x, index, out):
    """Twin of ``indexing.index_select``."""
    take(x, 1, index, out, "index_select")


def index_copy(x, index, ranges, out):
    """Twin of ``indexing.index_copy``; an entry that several are copied to keeps any of them."""
    put("set", out, 1, index, x, "index_copy")


def index_add(x, index, alpha, ranges, out):
    """Twin of ``indexing.index_add``."""
    put("add", out, 1, index, x if alpha[0] == 1 else x * alpha[0], "index_add")
