"""DeviceArray: an array in a CUDA device's memory with the part of ndarray's interface that the op layer uses.

Geometry is NumPy's own: a DeviceArray that is viewed makes, once, an ndarray of its layout that lies at its device address and
is never read. Slices, transposes and broadcasts of it are computed by NumPy, and their address, shape and strides are those of
the view. Whatever would have to read elements is a kernel here, or raises ``OnHost``.
"""
import ctypes
import functools
import math

import numpy as np

from . import _driver
from ._driver import OnHost
from ._driver import on as on_device
from ._pool import pool

new = object.__new__


class _Flags:
    """ndarray.flags, less ``contiguous``: by NumPy's other name for c_contiguous the op layer tells an ndarray from this."""

    __slots__ = ("c_contiguous", "f_contiguous", "writeable")

    def __init__(self, c_contiguous, f_contiguous):
        self.c_contiguous, self.f_contiguous, self.writeable = c_contiguous, f_contiguous, True


class _Address:
    """ndarray.ctypes, as far as it is asked for: the address of the first element."""

    __slots__ = ("data",)

    def __init__(self, address):
        self.data = address


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An n-dimensional array on a device: an address, a shape, strides in bytes (None: contiguous) and a block of memory."""

    __slots__ = ("ptr", "shape", "dtype", "block", "base", "_strides", "_lies", "_flags")
    __hash__ = object.__hash__

    # ---- layout ----------------------------------------------------------------------------------------------------------

    @property
    def device(self):
        """The number of the device."""
        return self.block.device

    @property
    def ndim(self):
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self):
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self):
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def strides(self):
        """Bytes between neighbours, for each dimension."""
        if self._strides is None:
            self._strides = self.layout.strides
        return self._strides

    @property
    def flags(self):
        """Whether the elements lie in row-major or column-major order without gaps."""
        if self._flags is None:
            flags = self.layout.flags
            self._flags = _Flags(flags.c_contiguous, flags.f_contiguous)
        return self._flags

    @property
    def ctypes(self):
        """An object whose ``data`` is the address of the first element."""
        return _Address(self.ptr)

    @property
    def layout(self):
        """An ndarray of this shape, strides and dtype at the device address: for geometry alone, its elements cannot be read."""
        if self._lies is None:
            block = self.block
            memory = (ctypes.c_char * max(block.nbytes, 1)).from_address(block.address)
            self._lies = np.ndarray(self.shape, self.dtype, memory, self.ptr - block.address, self._strides)
        return self._lies

    def seen_as(self, layout):
        """The view of this array's memory that ``layout``, an ndarray derived from its own, describes."""
        view = new(DeviceArray)
        view.ptr = layout.__array_interface__["data"][0] if layout.size else self.ptr
        view.shape, view._strides, view.dtype = layout.shape, layout.strides, layout.dtype
        view.block, view._lies, view._flags = self.block, layout, None
        view.base = self if self.base is None else self.base
        return view

    @property
    def T(self):
        """The dimensions in reverse order."""
        return self.seen_as(self.layout.T)

    @property
    def real(self):
        """The real parts."""
        return self if self.dtype.kind != "c" else self.seen_as(self.layout.real)

    @property
    def imag(self):
        """The imaginary parts, of a complex array."""
        if self.dtype.kind != "c":
            raise OnHost("the imaginary part of a real array")
        return self.seen_as(self.layout.imag)

    def transpose(self, *axes):
        """The dimensions in another order."""
        return self.seen_as(self.layout.transpose(*axes))

    def swapaxes(self, a, b):
        """Two dimensions exchanged."""
        return self.seen_as(self.layout.swapaxes(a, b))

    def squeeze(self, axis=None):
        """Without the dimensions of size 1, or those of ``axis``."""
        return self.seen_as(self.layout.squeeze(axis))

    def diagonal(self, offset=0, axis1=0, axis2=1):
        """The diagonal of two dimensions, as the last one."""
        return self.seen_as(self.layout.diagonal(offset, axis1, axis2))

    def view(self, dtype):
        """The same bytes as another dtype."""
        return self.seen_as(self.layout.view(dtype))

    def reshape(self, *shape, order="C"):
        """Another shape: a view where the strides allow it, else a copy."""
        if len(shape) == 1:
            shape = shape[0]
        try:
            return self.seen_as(self.layout.reshape(shape, order=order, copy=False))
        except ValueError:
            if order == "C" and not self.flags.c_contiguous:
                return self.copy().reshape(shape)
            raise

    def ravel(self):
        """The elements in row-major order, in one dimension."""
        return self.reshape(-1)

    def __len__(self):
        return len(self.layout)

    def __getitem__(self, key):
        if _is_basic(key):
            return self.seen_as(self.layout[key if type(key) is tuple and Ellipsis in key else _with_ellipsis(key)])
        raise OnHost("indexing with an array")

    def __setitem__(self, key, value):
        copyto(self[key], value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # ---- elements --------------------------------------------------------------------------------------------------------

    def copy(self, order="C"):
        """A copy: row-major, or with the order of dimensions as they lie in memory (``order="K"``)."""
        out = empty_like(self) if order == "K" else empty(self.shape, self.dtype, self.device)
        copyto(out, self)
        return out

    def astype(self, dtype, order="K", casting="unsafe", copy=True):
        """The elements converted to ``dtype``; itself where it is that already and ``copy`` is False."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        out = empty_like(self, dtype) if order == "K" else empty(self.shape, dtype, self.device)
        copyto(out, self)
        return out

    def fill(self, value):
        """Sets every element to ``value``."""
        copyto(self, value)

    def on_host(self):
        """A copy of the elements as an ndarray; waits for the device."""
        return to_host(self)

    def item(self):
        """The only element as a Python number; waits for the device."""
        return self.on_host().item()

    def tolist(self):
        """The elements as nested lists; waits for the device."""
        return self.on_host().tolist()

    def __bool__(self):
        return bool(self.on_host())

    def _reduced(self, name, *args, **kwargs):
        raise OnHost(f"ndarray.{name}")

    def __int__(self):
        return int(self.on_host())

    def __float__(self):
        return float(self.on_host())

    def __getattr__(self, name):
        if name in _REDUCTIONS:
            from . import _cuda_numpy

            return functools.partial(_cuda_numpy.METHODS[name], self)
        if name in _UNBUILT:
            return functools.partial(self._reduced, name)
        raise AttributeError(f"'DeviceArray' object has no attribute {name!r}", name=name, obj=self)

    @property
    def _numba_type_(self):
        raise OnHost("a CPU kernel's arguments")

    # ---- NumPy's protocols -----------------------------------------------------------------------------------------------

    def __array__(self, dtype=None, copy=None):
        raise OnHost("a conversion to an ndarray")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        from . import pointwise_cuda

        return pointwise_cuda.ufunc(ufunc, method, inputs, out, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if function in _FUNCTIONS:
            return _FUNCTIONS[function](*args, **kwargs)
        if function in _MAKERS:
            return _MAKERS[function](*args, like=self, **kwargs)
        if function in _REDUCING and isinstance(args[0], DeviceArray):
            from . import _cuda_numpy

            return _cuda_numpy.METHODS[function.__name__](*args, **kwargs)
        raise OnHost(f"numpy.{function.__name__}")

    def __deepcopy__(self, memo):
        return self.copy(order="K")

    def __reduce__(self):
        return from_host, (self.on_host(), self.device)

    def __repr__(self):
        return f"<DeviceArray {self.dtype}{list(self.shape)} on cuda:{self.device}>"


_UNBUILT = frozenset("argsort choose clip compress conj cumprod dot nonzero partition put repeat round searchsorted sort std "
                     "take trace var byteswap tobytes flat".split())
_REDUCTIONS = frozenset("all any argmax argmin cumsum max mean min prod sum".split())
_REDUCING = frozenset({np.all, np.any, np.argmax, np.argmin, np.cumsum, np.max, np.mean, np.min, np.prod, np.sum,
                       np.count_nonzero})


def _is_basic(key):
    return all(k is None or k is Ellipsis or isinstance(k, (int, slice, np.integer)) and type(k) is not bool
               for k in (key if type(key) is tuple else (key,)))


def _with_ellipsis(key):
    """An index that gives an array where NumPy would read an element."""
    return (*key, Ellipsis) if type(key) is tuple else key if key is Ellipsis else (key, Ellipsis)


# ---- making arrays -----------------------------------------------------------------------------------------------------

def empty(shape, dtype, device=None):
    """An unset contiguous array on ``device`` (None: the current one)."""
    driver = _driver.current()
    if device is None:
        device = driver.device()
    if type(shape) is not tuple:
        shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple([int(n) for n in shape])
    if type(dtype) is not np.dtype:
        dtype = np.dtype(dtype)
    array = new(DeviceArray)
    stream = driver.stream() if device == driver.device() else 0
    array.block = block = pool.allocate(math.prod(shape) * dtype.itemsize, device, stream)
    array.ptr, array.shape, array.dtype, array.base = block.address, shape, dtype, None
    array._strides = array._lies = None
    array._flags = _ROWS if len(shape) > 1 else _VECTOR
    return array


_ROWS, _VECTOR = _Flags(True, False), _Flags(True, True)


def empty_like(array, dtype=None, order="K", subok=True, shape=None, *, device=None):
    """An unset array of the shape and order in memory of ``array``, on its device."""
    dtype, shape = array.dtype if dtype is None else np.dtype(dtype), array.shape if shape is None else tuple(shape)
    device = array.device if device is None else device
    if order == "C" or array.flags.c_contiguous or shape != array.shape:
        return empty(shape, dtype, device)
    order = order_in_memory(array)
    return _seen_in_order(empty([shape[d] for d in order], dtype, device), order)


def order_in_memory(array):
    """The dimensions from the one with the largest strides to the one with the smallest."""
    return np.argsort([-abs(s) for s in array.strides], kind="stable").tolist()


def _seen_in_order(dense, order):
    """``dense``, whose dimensions are in the given order, with the dimensions in their own."""
    if order == list(range(dense.ndim)):
        return dense
    found = dense.transpose(*np.argsort(order).tolist())
    if isinstance(found, DeviceArray):
        found.base = None
    return found


def full(shape, value, dtype, device=None):
    """An array of one value."""
    out = empty(shape, dtype, device)
    copyto(out, value)
    return out


def from_host(array, device=None, non_blocking=False):
    """A copy of an ndarray on ``device`` (None: the current one), row-major; see ``put_host``."""
    found = empty(array.shape, array.dtype, device)
    put_host(found, array, non_blocking)
    return found


def put_host(target, array, non_blocking=False):
    """Copies an ndarray of the shape and dtype of ``target`` into it, a contiguous array.

    Ordinary memory may change at once after this; page-locked memory too, unless ``non_blocking``: then it is still being read.
    """
    source = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if source.size:
        driver = _driver.current()
        with on_device(target.device):
            driver.copy_in(target.ptr, source.ctypes.data, source.nbytes, driver.stream())
            _in_use(source, driver.stream())
            if not non_blocking and pool.is_pinned(source.ctypes.data):
                driver.synchronize_stream(driver.stream())


def copied_to(array, device, non_blocking=False):
    """A copy on ``device`` of an array that is on another or in the host's memory, with the same order of dimensions."""
    if isinstance(array, DeviceArray):
        out = empty_like(array, device=device)
        copyto(out, array)
        return out
    order = order_in_memory(array)
    return _seen_in_order(from_host(array.transpose(order), device, non_blocking), order)


def to_host(array, non_blocking=False):
    """A copy as an ndarray with the same order of dimensions; ``non_blocking``: into page-locked memory, perhaps under way."""
    order = order_in_memory(array)
    dense = array.transpose(*order) if array.ndim > 1 else array
    dense = dense if dense.flags.c_contiguous else dense.copy()
    found = pinned_empty(dense.shape, dense.dtype) if non_blocking else np.empty(dense.shape, dense.dtype)
    if found.size:
        driver = _driver.current()
        with on_device(array.device):
            driver.copy_out(found.ctypes.data, dense.ptr, found.nbytes, driver.stream())
            if non_blocking:
                _in_use(found, driver.stream())
            else:
                from . import _cuda_errors

                _cuda_errors.synchronize(array.device, driver.stream())
    return _seen_in_order(found, order)


def pinned_empty(shape, dtype):
    """An unset ndarray in page-locked host memory."""
    dtype = np.dtype(dtype)
    return np.ndarray(shape, dtype, pool.pinned(math.prod(shape) * dtype.itemsize))


def _in_use(array, stream):
    """Keeps page-locked memory of an ndarray from being reused before what ``stream`` has been given is done with it."""
    while isinstance(array, np.ndarray):
        array = array.base
    block = getattr(array, "block", None)
    if block is not None:
        pool.record_stream(block, stream)


def record_stream(array, stream):
    """Keeps the memory of a DeviceArray from being reused before what ``stream`` has been given is done with it."""
    if not isinstance(array.block, _Borrowed):
        pool.record_stream(array.block, stream)


def is_capturing():
    """Whether what the calling thread does goes into a CUDA graph."""
    driver = _driver.current()
    return driver.is_capturing(driver.stream())


def is_pinned(array):
    """Whether an ndarray begins in memory that ``pinned_empty`` gave."""
    return pool.is_pinned(array.ctypes.data)


class _Borrowed:
    """A block of device memory that something else owns."""

    __slots__ = ("address", "nbytes", "device", "owner")


def borrowed(owner, address, shape, strides, dtype, device):
    """A DeviceArray on memory that ``owner`` keeps alive."""
    block = _Borrowed()
    reach = dtype.itemsize + sum((n - 1) * s for n, s in zip(shape, strides)) if 0 not in shape else 0
    block.address, block.nbytes, block.device, block.owner = address, reach, device, owner
    array = new(DeviceArray)
    array.ptr, array.shape, array.dtype, array.block, array.base = address, shape, dtype, block, None
    array._strides, array._lies, array._flags = tuple(strides), None, None
    return array


def copyto(target, source, casting="same_kind", where=True):
    """numpy.copyto where the target, the source or both are on a device: broadcasts and converts."""
    if where is not True:
        raise OnHost("numpy.copyto with a mask")
    if not isinstance(target, DeviceArray):
        np.copyto(target, to_host(source), casting="unsafe")
        return
    if not isinstance(source, DeviceArray):
        source = np.asarray(source)
        if not source.ndim:
            from . import copy

            copy.fill(target, source)
            return
        source = from_host(source.astype(target.dtype, copy=False), target.device)
    if not target.size:
        return
    from . import copy

    copy.copy(source, target)


# ---- NumPy's functions -------------------------------------------------------------------------------------------------

def _of_layout(function):
    """A function of NumPy that returns a view, for DeviceArrays."""
    def view(array, *args, **kwargs):
        return array.seen_as(function(array.layout, *args, **kwargs))
    return view


def _new_like(value):
    def make(shape, dtype=float, order="C", *, like=None, **kwargs):
        out = empty(shape, dtype, like.device)
        if value is not None:
            copyto(out, value)
        return out
    return make


def _filled_like(value):
    def make(array, dtype=None, order="K", subok=True, shape=None):
        out = empty_like(array, dtype, order, shape=shape)
        copyto(out, value)
        return out
    return make


def _full(shape, fill_value, dtype=None, order="C", *, device=None, like=None):
    return full(shape, fill_value, np.asarray(fill_value).dtype if dtype is None else dtype, like.device)


def _contiguous(array, dtype=None, *, like=None):
    """numpy.ascontiguousarray, which gives at least one dimension."""
    found = _as_array(array, dtype, like=like)
    found = found if found.flags.c_contiguous else found.copy()
    return found if found.ndim else found.reshape(1)


def _as_array(array, dtype=None, order=None, *, like=None, **kwargs):
    if not isinstance(array, DeviceArray):
        array = from_host(np.asarray(array, dtype), like.device)
    return array if dtype is None or array.dtype == dtype else array.astype(dtype)


def _host_made(function):
    """A function of NumPy that makes an array from numbers alone: made by NumPy, then copied to the device of ``like``."""
    def make(*args, like=None, **kwargs):
        return from_host(function(*args, **kwargs), like.device)
    return make


def _may_share_memory(a, b, max_work=None):
    if not (isinstance(a, DeviceArray) and isinstance(b, DeviceArray)) or a.block is not b.block:
        return False
    return np.may_share_memory(a.layout, b.layout)


def _concatenate(arrays, axis=0, out=None, **kwargs):
    arrays = list(arrays)
    first = arrays[0]
    axis = axis % first.ndim
    shape = list(first.shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    if out is None:
        out = empty(shape, np.result_type(*[a.dtype for a in arrays]), first.device)
    at = 0
    for a in arrays:
        out[(slice(None),) * axis + (slice(at, at + a.shape[axis]),)] = a
        at += a.shape[axis]
    return out


def _stack(arrays, axis=0, **kwargs):
    arrays = list(arrays)
    axis = axis % (arrays[0].ndim + 1)
    return _concatenate([a[(slice(None),) * axis + (None,)] for a in arrays], axis, **kwargs)


def _broadcast_arrays(*arrays, subok=False):
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(np.broadcast_to(a, shape) for a in arrays)


# functions that make arrays: called with like=, they make them on the device of that array
_MAKERS = {
    np.empty: _new_like(None), np.zeros: _new_like(0), np.ones: _new_like(1), np.full: _full,
    np.asarray: _as_array, np.ascontiguousarray: _contiguous, np.arange: _host_made(np.arange), np.eye: _host_made(np.eye),
    np.array: lambda value, dtype=None, *, copy=True, like=None, **kwargs: _as_array(np.array(value, dtype), like=like),
}
_FUNCTIONS = {
    np.copyto: copyto, np.empty_like: empty_like, np.zeros_like: _filled_like(0), np.ones_like: _filled_like(1),
    np.full_like: lambda array, value, *args, **kwargs: _filled_like(value)(array, *args, **kwargs),
    np.may_share_memory: _may_share_memory, np.shares_memory: _may_share_memory,
    np.concatenate: _concatenate, np.stack: _stack, np.broadcast_arrays: _broadcast_arrays,
    np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim, np.size: lambda a: a.size,
    np.ravel: lambda a, order="C": a.reshape(-1), np.copy: lambda a, **kwargs: a.copy(),
    np.reshape: lambda a, shape, **kwargs: a.reshape(shape),
    **{f: _of_layout(f) for f in (np.broadcast_to, np.moveaxis, np.swapaxes, np.transpose, np.expand_dims, np.squeeze, np.flip,
                                  np.diagonal, np.rollaxis)},
}


def strided_view(array, shape, strides, writeable=True):
    """A view of the memory of ``array``, an ndarray or a DeviceArray, with any shape and byte strides."""
    if array.__class__ is not DeviceArray:
        return np.lib.stride_tricks.as_strided(array, shape, strides, writeable=writeable)
    return array.seen_as(np.lib.stride_tricks.as_strided(array.layout, shape, strides))
