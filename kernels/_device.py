"""DeviceArray: an array in a CUDA device's memory with the part of ndarray's interface that the op layer uses.

Geometry is NumPy's: that of the views which programs make by the thousand comes from ``_layouts``. For all others a DeviceArray
makes, once, an ndarray of its layout that lies at its device address and is never read; NumPy computes the view of that, and
its address, shape and strides are those wanted. Whatever would have to read elements is a kernel here, or raises ``OnHost``.
"""
import ctypes
import functools
import math

import numpy as np

from . import _driver, _layouts
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

    __slots__ = ("ptr", "shape", "ndim", "size", "dtype", "device", "block", "base", "_strides", "_lies", "_flags")
    __hash__ = object.__hash__

    # ---- layout ----------------------------------------------------------------------------------------------------------

    @property
    def itemsize(self):
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def strides(self):
        """Bytes between neighbours, for each dimension."""
        if self._strides is None:
            return _layouts.row_strides(self.shape, self.dtype.itemsize)
        return self._strides

    @property
    def flags(self):
        """Whether the elements lie in row-major or column-major order without gaps."""
        if self._flags is None:
            shape, strides, itemsize = self.shape, self._strides, self.dtype.itemsize
            self._flags = _FLAGS[_layouts.is_dense(shape, strides, itemsize),
                                 _layouts.is_dense(shape[::-1], strides[::-1], itemsize)]
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
        view = self._seen(layout.shape, layout.strides)
        view.ptr = layout.__array_interface__["data"][0] if layout.size else self.ptr
        view.dtype, view._lies = layout.dtype, layout
        return view

    def _seen(self, shape, strides, offset=0):
        """The view of this array's memory with a shape and strides (None: contiguous), ``offset`` bytes further on."""
        view = new(DeviceArray)
        view.shape, view.ndim, view.size, view._strides = shape, len(shape), math.prod(shape), strides
        view.ptr = self.ptr + offset if view.size else self.ptr
        view.dtype, view.device, view.block = self.dtype, self.device, self.block
        view._lies, view._flags = None, None if strides is not None else _ROWS if view.ndim > 1 else _VECTOR
        view.base = self if self.base is None else self.base
        return view

    @property
    def T(self):
        """The dimensions in reverse order."""
        return self._seen(self.shape[::-1], self.strides[::-1])

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
        if len(axes) == 1:
            axes, = axes
            if axes.__class__ is int:
                axes = (axes,)
        if not axes:
            return self.T
        if len(axes) != len(self.shape):
            raise ValueError("axes don't match array")
        shape, strides = self.shape, self.strides
        return self._seen(tuple([shape[d] for d in axes]), tuple([strides[d] for d in axes]))

    def swapaxes(self, a, b):
        """Two dimensions exchanged."""
        axes = list(range(len(self.shape)))
        axes[a], axes[b] = axes[b], axes[a]
        return self.transpose(axes)

    def squeeze(self, axis=None):
        """Without the dimensions of size 1, or those of ``axis``."""
        return self.seen_as(self.layout.squeeze(axis))

    def diagonal(self, offset=0, axis1=0, axis2=1):
        """The diagonal of two dimensions, as the last one."""
        return self.seen_as(self.layout.diagonal(offset, axis1, axis2))

    def view(self, dtype):
        """The same bytes as another dtype."""
        dtype = np.dtype(dtype)
        if dtype.itemsize != self.dtype.itemsize:
            return self.seen_as(self.layout.view(dtype))
        view = self._seen(self.shape, self._strides)
        view.dtype = dtype
        return view

    def reshape(self, *shape, order="C"):
        """Another shape: a view where the strides allow it, else a copy."""
        if len(shape) == 1:
            shape = shape[0]
        if order == "C" and (self._strides is None or self.flags.c_contiguous):
            if shape == self.shape:
                return self
            found = _layouts.filled_in(shape, self.size)
            if found is not None:
                return self._seen(found, None)
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
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __getitem__(self, key):
        found = _layouts.taken(self.shape, self.strides, key)
        if found is not None:
            return self._seen(*found)
        if _is_basic(key):      # which NumPy refuses, in its words
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

    def __int__(self):
        return int(self.on_host())

    def __float__(self):
        return float(self.on_host())

    @property
    def flat(self):
        """What ndarray has to go over the elements one by one."""
        raise OnHost("ndarray.flat")

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
        own = _functions()
        if function in own.FUNCTIONS:
            return own.FUNCTIONS[function](*args, **kwargs)
        if function in own.MAKERS:
            return own.MAKERS[function](*args, like=self, **kwargs)
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


def _reduction(name):
    def method(self, *args, **kwargs):
        from . import _cuda_numpy

        return _cuda_numpy.METHODS[name](self, *args, **kwargs)
    return method


def _unbuilt(name):
    def method(self, *args, **kwargs):
        raise OnHost(f"ndarray.{name}")
    return method


# methods, not __getattr__: a class that has one pays for it at every attribute, 0.02 us where others pay 0.004
for _name in "all any argmax argmin cumsum max mean min prod sum".split():
    setattr(DeviceArray, _name, _reduction(_name))
for _name in ("argsort choose clip compress conj cumprod dot nonzero partition put repeat round searchsorted sort std take trace "
              "var byteswap tobytes").split():
    setattr(DeviceArray, _name, _unbuilt(_name))
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
    here = driver.device()
    if device is None:
        device = here
    if type(shape) is not tuple:
        shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple([int(n) for n in shape])
    if type(dtype) is not np.dtype:
        dtype = np.dtype(dtype)
    array = new(DeviceArray)
    array.size = n = math.prod(shape)
    array.block = block = pool.allocate(n * dtype.itemsize, device, driver.stream() if device == here else 0)
    array.ptr, array.shape, array.dtype, array.device = block.address, shape, dtype, device
    array.base = array._strides = array._lies = None
    array.ndim = ndim = len(shape)
    array._flags = _ROWS if ndim > 1 else _VECTOR
    return array


_FLAGS = {(c, f): _Flags(c, f) for c in (False, True) for f in (False, True)}
_ROWS, _VECTOR = _FLAGS[True, False], _FLAGS[True, True]


def several(count, shape, dtype, device):
    """``count`` unset contiguous arrays in one block of memory: that costs 1.9 us and 0.4 for each, where ``empty`` costs 1.4."""
    shape = shape if type(shape) is tuple else (shape,)
    step = math.prod(shape) * dtype.itemsize + 15 & -16
    memory, found = empty(count * step, _BYTES, device), []
    for k in range(count):
        array = memory._seen(shape, None)
        array.ptr, array.dtype, array.base = memory.ptr + k * step, dtype, None
        found.append(array)
    return found


_BYTES = np.dtype(np.uint8)


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


def from_host(array, device=None, non_blocking=False, constant=True):
    """A copy of an ndarray on ``device`` (None: the current one), row-major; see ``put_host``."""
    found = empty(array.shape, array.dtype, device)
    put_host(found, array, non_blocking, constant)
    return found


_UNPINNED = ("Cannot copy between CPU and CUDA tensors during CUDA graph capture unless the CPU tensor is pinned. Please use "
             "tensor.pin_memory() or allocate the tensor with pin_memory=True.")


def put_host(target, array, non_blocking=False, constant=True):
    """Copies an ndarray of the shape and dtype of ``target`` into it, a contiguous array.

    Ordinary memory may change at once after this; page-locked memory too, unless ``non_blocking``: then it is still being read.
    What a CUDA graph copies it copies again at each replay: a ``constant`` it keeps, other ordinary memory is an error.
    """
    source = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if source.size:
        driver = _driver.current()
        with on_device(target.device):
            stream, pinned = driver.stream(), pool.is_pinned(source.ctypes.data)
            capturing = driver.is_capturing(stream)
            if capturing and not pinned:
                if not constant:
                    raise RuntimeError(_UNPINNED)
                from ._cuda_graphs import capture

                source = capture(target.device).pinned(source)
            driver.copy_in(target.ptr, source.ctypes.data, source.nbytes, stream)
            _in_use(source, stream)
            if pinned and not non_blocking and not capturing:
                driver.synchronize_stream(stream)


def copied_to(array, device, non_blocking=False):
    """A copy on ``device`` of an array that is on another or in the host's memory, with the same order of dimensions."""
    if isinstance(array, DeviceArray):
        out = empty_like(array, device=device)
        copyto(out, array)
        return out
    order = order_in_memory(array)
    return _seen_in_order(from_host(array.transpose(order), device, non_blocking, constant=False), order)


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
    array.ndim, array.size, array.device = len(shape), math.prod(shape), device
    array._strides, array._lies, array._flags = tuple(strides), None, None
    return array


def copyto(target, source, casting="same_kind", where=True):
    """numpy.copyto where the target, the source or both are on a device: broadcasts and converts."""
    if where is not True:
        _copy_where(where, source, target)
        return
    if not isinstance(target, DeviceArray):
        np.copyto(target, to_host(source), casting="unsafe")
        return
    if not isinstance(source, DeviceArray):
        source = np.asarray(source)
        if not source.ndim:
            copies().fill(target, source)
            return
        source = from_host(source.astype(target.dtype, copy=False), target.device, constant=False)
    if not target.size:
        return
    copies().copy(source, target)


def _copy_where(mask, source, target):
    from . import _cuda_masks

    if not isinstance(target, DeviceArray) or not isinstance(mask, DeviceArray):
        raise OnHost("numpy.copyto with a mask in the host's memory")
    if isinstance(source, DeviceArray):
        source = source.astype(target.dtype, copy=share_memory(source, target))
    _cuda_masks.choose(mask, source, target, target)


@functools.cache
def _functions():
    """The module of NumPy's functions, which needs this one."""
    from . import _device_functions

    return _device_functions


@functools.cache
def copies():
    """The module of copies, which needs this one; an ``import`` in the function would cost each copy 0.3 us."""
    from . import copy

    return copy


def strided_view(array, shape, strides, writeable=True):
    """A view of the memory of ``array``, an ndarray or a DeviceArray, with any shape and byte strides."""
    if array.__class__ is not DeviceArray:
        return np.lib.stride_tricks.as_strided(array, shape, strides, writeable=writeable)
    return array._seen(tuple(shape), tuple(strides))


def share_memory(a, b, max_work=None):
    """numpy.may_share_memory where one is a DeviceArray."""
    if not (isinstance(a, DeviceArray) and isinstance(b, DeviceArray)) or a.block is not b.block:
        return False
    return np.may_share_memory(a.layout, b.layout)
