"""``cuda`` as simulated kernels see it, and the other names of kernels/_cuda.py."""
import itertools
import operator
import sys

import numpy as np
from numtorch.kernels import _driver

from .arithmetic import INT32, UINT32, numpy_dtype, scalar_type, wrap64
from .memory import from_bytes, poisoned, shaped
from .races import Watch, watched
from .tensor_cores import TensorCores
from .threads import BARRIER, FULL, Divergence

STATIC_SHARED, ALL_SHARED = 48 << 10, 227 << 10
_SHUFFLED = {np.float32, np.float64, int, np.int64, np.int32, INT32}

_XOR = ("shfl_xor_sync", FULL)

# a kernel that uses none of these is run a thread after the other, without greenlets
TOGETHER = {"syncthreads", "syncthreads_count", "syncthreads_and", "syncthreads_or", "syncwarp", "shfl_sync", "shfl_up_sync",
            "shfl_down_sync", "shfl_xor_sync", "ballot_sync", "any_sync", "all_sync", "eq_sync", "match_any_sync",
            "match_all_sync", "laneid", "lanemask_lt"}


class Dim3:
    """x, y and z."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x, y=1, z=1):
        self.x, self.y, self.z = x, y, z

    def __repr__(self):
        return f"({self.x}, {self.y}, {self.z})"


def dim3(size):
    """A Dim3 from a number, a tuple or a Dim3."""
    return size if type(size) is Dim3 else Dim3(*map(int, size)) if isinstance(size, tuple) else Dim3(int(size))


def indices(size):
    """The Dim3 of each block of a grid, or thread of a block, x fastest."""
    return [Dim3(x, y, z) for z, y, x in itertools.product(range(size.z), range(size.y), range(size.x))]


class Block:
    """The state that the threads of one block share."""

    __slots__ = ("arrays", "static", "dynamic", "epoch", "clocks", "watch")

    def __init__(self, dynamic, threads, races):
        self.arrays, self.static, self.epoch = {}, 0, 0
        self.dynamic = np.full(dynamic, 0xFF, np.uint8)
        self.clocks = [[0] * 32 for _ in range(threads)] if races else None
        self.watch = None


class Shared:
    """cuda.shared."""

    def __init__(self, cuda):
        self.cuda = cuda

    def array(self, shape, dtype, alignment=None):
        """The block's array of this call: the same for all threads, and for every call from the same place of a function."""
        frame, block = sys._getframe(1), self.cuda.block
        key = (frame.f_code, frame.f_lasti)
        found = block.arrays.get(key)
        if found is None:
            name = f"the shared array of line {frame.f_lineno}"
            found = block.arrays[key] = self._made(shape, dtype, alignment, name)
        return found

    def _made(self, shape, kind, alignment, name):
        block, dtype = self.cuda.block, numpy_dtype(kind)
        if shape == 0:              # all dynamic arrays are the same memory
            flat = from_bytes(block.dynamic, dtype, 0, name)
        else:
            flat = poisoned(shape, kind, name)
            block.static += flat.size * dtype.itemsize
        if block.static > STATIC_SHARED or block.static + block.dynamic.size > ALL_SHARED:
            raise MemoryError(f"{block.static} bytes of static and {block.dynamic.size} of dynamic shared memory, where a block "
                              f"has {STATIC_SHARED}, and {ALL_SHARED} together")
        flat.address = 16 if alignment else dtype.itemsize      # without one, at no better address than the elements need
        return shaped(self._watched(flat, shape) if block.clocks else flat, shape)

    def _watched(self, flat, shape):
        block = self.cuda.block
        found = watched(type(flat))(flat.data, flat.dtype, flat.address, flat.name, *([] if shape == 0 else [flat.kind]))
        if shape == 0:              # arrays of other types are the same memory: told apart by bytes
            block.watch = block.watch or Watch(self.cuda, "dynamic shared memory (in bytes)")
            found.watch, found.step = block.watch, flat.dtype.itemsize
        else:
            found.watch, found.step = Watch(self.cuda, flat.name), 1
        return found


class Local:
    """cuda.local."""

    def array(self, shape, dtype, alignment=None):
        """An array of the calling thread."""
        return shaped(poisoned(shape, dtype, "a local array"), shape)


def _larger(value):
    return lambda old: value if value > old or value != value else old


def _smaller(value):
    return lambda old: value if value < old or value != value else old


class Atomic:
    """cuda.atomic: each operation returns what the element was."""

    def add(self, array, i, value):
        return array.exchange(i, lambda old: old + value)

    def sub(self, array, i, value):
        return array.exchange(i, lambda old: old - value)

    def and_(self, array, i, value):
        return array.exchange(i, lambda old: old & value)

    def or_(self, array, i, value):
        return array.exchange(i, lambda old: old | value)

    def xor(self, array, i, value):
        return array.exchange(i, lambda old: old ^ value)

    def inc(self, array, i, value):
        return array.exchange(i, lambda old: 0 if old >= value else old + 1)

    def dec(self, array, i, value):
        return array.exchange(i, lambda old: value if old == 0 or old > value else old - 1)

    def max(self, array, i, value):
        return array.exchange(i, _larger(value))

    def min(self, array, i, value):
        return array.exchange(i, _smaller(value))

    def nanmax(self, array, i, value):
        return array.exchange(i, lambda old: value if old != old or value > old else old)

    def nanmin(self, array, i, value):
        return array.exchange(i, lambda old: value if old != old or value < old else old)

    def exch(self, array, i, value):
        return array.exchange(i, lambda old: value)

    def cas(self, array, i, old, value):
        return array.exchange(i, lambda now: value if now == old else now)

    def compare_and_swap(self, array, old, value):
        return self.cas(array, 0, old, value)


class Cuda:
    """numba.cuda inside a kernel. The scheduler sets the attributes that say which thread runs."""

    warpsize = 32

    def __init__(self):
        self.shared, self.local, self.atomic = Shared(self), Local(), Atomic()
        self.threadIdx = self.blockIdx = self.blockDim = self.gridDim = self.laneid = self.first = None
        self.block = self.back = self.task = self.indices = None

    # ---- where the thread is ---------------------------------------------------------------------------------------------

    def grid(self, dims):
        t, b, d = self.threadIdx, self.blockIdx, self.blockDim
        if dims == 1:
            return b.x * d.x + t.x
        return (b.x * d.x + t.x, b.y * d.y + t.y, b.z * d.z + t.z)[:dims]

    def gridsize(self, dims):
        g, d = self.gridDim, self.blockDim
        return g.x * d.x if dims == 1 else (g.x * d.x, g.y * d.y, g.z * d.z)[:dims]

    # ---- barriers --------------------------------------------------------------------------------------------------------

    def _counted(self, kind, predicate):
        if isinstance(predicate, (bool, np.bool_)):
            raise TypeError(f"{kind} takes an integer, not a bool, in numba.cuda")
        frame = sys._getframe(2)
        return self.back(((BARRIER, kind, frame.f_lineno, frame.f_code, frame.f_lasti), predicate))

    def syncthreads(self):
        frame = sys._getframe(1)
        self.back(((BARRIER, "syncthreads", frame.f_lineno, frame.f_code, frame.f_lasti), None))

    def syncthreads_count(self, predicate):
        return self._counted("syncthreads_count", predicate)

    def syncthreads_and(self, predicate):
        return self._counted("syncthreads_and", predicate)

    def syncthreads_or(self, predicate):
        return self._counted("syncthreads_or", predicate)

    def threadfence(self):
        """Threads run one at a time: what one has written, all see."""

    threadfence_block = threadfence_system = threadfence

    def nanosleep(self, ns):
        """Takes no time."""

    # ---- operations of a warp --------------------------------------------------------------------------------------------

    def _exchange(self, kind, mask, value):
        """Lane -> value for all lanes of ``mask``, when all have called this."""
        if mask != FULL:
            mask = int(mask) & FULL
            if not mask >> self.laneid & 1:
                raise Divergence(f"lane {self.laneid} calls {kind} with mask {mask:#x}, which does not name it")
        return self.back(((kind, mask), value))

    def _shuffled(self, key, value, source):
        if type(value) not in _SHUFFLED:
            raise TypeError(f"{key[0]} of {type(value).__name__}: only int32, int64, float32 and float64 can be shuffled")
        return _received(self._exchange(*key, value), source, value)

    def shfl_sync(self, mask, value, lane):
        return self._shuffled(("shfl_sync", mask), value, lane & 31)

    def shfl_up_sync(self, mask, value, delta):
        return self._shuffled(("shfl_up_sync", mask), value, self.laneid - delta)

    def shfl_down_sync(self, mask, value, delta):
        return self._shuffled(("shfl_down_sync", mask), value, self.laneid + delta)

    def shfl_xor_sync(self, mask, value, lane_mask):
        if mask != FULL or type(value) not in _SHUFFLED:
            return self._shuffled(("shfl_xor_sync", mask), value, self.laneid ^ lane_mask)
        values, source = self.back((_XOR, value)), self.laneid ^ lane_mask     # most kernels' own way, less two calls
        return values[source] if source in values else _received(values, source, value)

    def syncwarp(self, mask=FULL):
        self._exchange("syncwarp", mask, None)

    def ballot_sync(self, mask, predicate):
        values = self._exchange("ballot_sync", mask, bool(predicate))
        if "votes" not in values:       # worked out by the first lane that gets here, for all
            values["votes"] = INT32(sum(1 << lane for lane, value in values.items() if value))
        return values["votes"]

    def any_sync(self, mask, predicate):
        return any(self._exchange("any_sync", mask, bool(predicate)).values())

    def all_sync(self, mask, predicate):
        return all(self._exchange("all_sync", mask, bool(predicate)).values())

    def eq_sync(self, mask, predicate):
        return len(set(self._exchange("eq_sync", mask, bool(predicate)).values())) == 1

    def match_any_sync(self, mask, value):
        values = self._exchange("match_any_sync", mask, value)
        if "masks" not in values:       # likewise: value, of which all nan are one -> the lanes that have it
            masks = {}
            for lane, other in values.items():
                other = other if other == other else "nan"
                masks[other] = masks.get(other, 0) | 1 << lane
            values["masks"] = masks
        return INT32(values["masks"][value if value == value else "nan"])

    def match_all_sync(self, mask, value):
        values = self._exchange("match_all_sync", mask, value)
        same = all(_same(other, value) for other in values.values())
        return INT32(mask if same else 0), same

    def lanemask_lt(self):
        return UINT32((1 << self.laneid) - 1)

    # ---- arithmetic ------------------------------------------------------------------------------------------------------

    def fma(self, a, b, c):
        """a * b + c, rounded once where the type is float32."""
        if isinstance(a, np.float32):
            return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
        return a * b + c

    def popc(self, x):
        return _bits(x)[0].bit_count()

    def clz(self, x):
        n, width = _bits(x)
        return width - n.bit_length()

    def ffs(self, x):
        n, _ = _bits(x)
        return (n & -n).bit_length()

    def brev(self, x):
        n, width = _bits(x)
        back = int(f"{n:0{width}b}"[::-1], 2)
        return wrap64(back) if width == 64 else type(x)(back)

    def selp(self, condition, a, b):
        return a if condition else b

    def cbrt(self, x):
        return np.cbrt(x)


def _received(values, source, own):
    """What a shuffle gives: the value of lane ``source``, one's own beyond the warp, and anything where it does not take part."""
    if source in values:
        return values[source]
    if not 0 <= source < 32:
        return own
    return type(own)(np.nan if isinstance(own, np.inexact) else 0x5A5A5A5A)


def _same(a, b):
    return a == b or (a != a and b != b)


def _bits(x):
    """(the bits of an integer as a Python int without sign, how many it has)."""
    width = 64 if isinstance(x, int) else 8 * x.itemsize
    return int(x) & (1 << width) - 1, width


# ---- the other names ---------------------------------------------------------------------------------------------------

def _load(p, i):
    return p.load(i)


def _store(p, i, value):
    p.store(i, value)


def _pointer(address, like):
    return _driver.current().pointer(address, like.dtype)


def placeholders(cuda, t, u, halves):
    """Name of kernels/_cuda.py -> what it is in kernels for the element types ``t`` and ``u`` (names, or None)."""
    atomic = cuda.atomic
    found = {
        "cuda": cuda, "load": _load if halves else operator.getitem, "store": _store if halves else operator.setitem,
        "load_vector": lambda p, i, n: p.load_vector(i, n), "store_vector": lambda p, i, values: p.store_vector(i, values),
        "atomic_add": atomic.add, "atomic_max": atomic.max, "atomic_min": atomic.min, "atomic_cas": atomic.cas,
        "pointer": _pointer, "mma": TensorCores(cuda)}
    if t:
        found.update(T=scalar_type(t), A=scalar_type("float32" if t in ("float16", "bfloat16") else t))
    if u:
        found.update(U=scalar_type(u))
    return found
