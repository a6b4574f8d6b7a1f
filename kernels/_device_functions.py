"""NumPy's functions for DeviceArrays: those that make arrays, join them, or return views; the others raise ``OnHost``."""
import numpy as np

from . import _layouts
from ._cuda import apart
from ._device import DeviceArray, copies, copyto, empty, empty_like, from_host, full, share_memory
from ._driver import OnHost


def _of_layout(function):
    """A function of NumPy that returns a view, for DeviceArrays."""
    def view(array, *args, **kwargs):
        return array.seen_as(function(array.layout, *args, **kwargs))
    return view


def _broadcast_to(array, shape, subok=False):
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    strides = _layouts.broadcast(array.shape, array.strides, shape)
    if strides is None:
        raise ValueError(f"cannot broadcast an array of shape {array.shape} to shape {shape}")
    return array._seen(shape, strides)


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
    """numpy.ascontiguousarray, which gives at least one dimension; of an operand, so no array of the host's becomes one."""
    if isinstance(array, np.ndarray) and array.ndim:
        apart((like, array))
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


def _concatenate(arrays, axis=0, out=None, **kwargs):
    arrays = list(arrays)
    if out is not None:
        raise OnHost("numpy.concatenate with out=")
    like = next(a for a in arrays if isinstance(a, DeviceArray))
    dtype = np.result_type(*[a.dtype for a in arrays])
    return copies().concatenate([_as_array(a, dtype, like=like) for a in arrays], axis % like.ndim)


def _stack(arrays, axis=0, **kwargs):
    arrays = list(arrays)
    axis = axis % (arrays[0].ndim + 1)
    return _concatenate([a[(slice(None),) * axis + (None,)] for a in arrays], axis, **kwargs)


def _broadcast_arrays(*arrays, subok=False):
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(np.broadcast_to(a, shape) for a in arrays)


# functions that make arrays: called with like=, they make them on the device of that array
MAKERS = {
    np.empty: _new_like(None), np.zeros: _new_like(0), np.ones: _new_like(1), np.full: _full,
    np.asarray: _as_array, np.ascontiguousarray: _contiguous, np.arange: _host_made(np.arange), np.eye: _host_made(np.eye),
    np.array: lambda value, dtype=None, *, copy=True, like=None, **kwargs: _as_array(np.array(value, dtype), like=like),
}
FUNCTIONS = {
    np.copyto: copyto, np.empty_like: empty_like, np.zeros_like: _filled_like(0), np.ones_like: _filled_like(1),
    np.full_like: lambda array, value, *args, **kwargs: _filled_like(value)(array, *args, **kwargs),
    np.may_share_memory: share_memory, np.shares_memory: share_memory,
    np.concatenate: _concatenate, np.stack: _stack, np.broadcast_arrays: _broadcast_arrays,
    np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim, np.size: lambda a: a.size,
    np.ravel: lambda a, order="C": a.reshape(-1), np.copy: lambda a, **kwargs: a.copy(),
    np.broadcast_to: _broadcast_to, np.swapaxes: lambda a, *axes: a.swapaxes(*axes),
    np.transpose: lambda a, axes=None: a.T if axes is None else a.transpose(axes),
    np.reshape: lambda a, shape, **kwargs: a.reshape(shape),
    **{f: _of_layout(f) for f in (np.moveaxis, np.expand_dims, np.squeeze, np.flip,
                                  np.diagonal, np.rollaxis)},
}
