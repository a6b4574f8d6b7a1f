"""The order in memory of results: that of the operands, as torch's TensorIterator chooses it."""
import numpy as np

from .. import shape as shapes
from ..kernels._device import strided_view
from ..tensor import channels_last, contiguous_format, preserve_format


def empty_as(shape, np_dtype, *arrays):
    """An unset, dense array of ``shape`` whose order of dimensions in memory is that of ``arrays`` (broadcast to it)."""
    if all([a.flags.c_contiguous for a in arrays]):
        return np.empty(shape, np_dtype, like=_one_on_a_device(arrays))
    first = arrays[0]
    if first.shape == shape and 0 not in first.strides:
        for a in arrays:
            if a.size != 1 and (a.strides != first.strides or a.shape != shape):
                break
        else:
            return np.empty_like(first, np_dtype)
    strides = shapes.result_strides(shape, [(a.shape, a.strides) for a in arrays])
    if strides is None:
        return np.empty(shape, np_dtype, like=_one_on_a_device(arrays))
    if first.__class__ is not np.ndarray:
        return _strided(shape, np_dtype, strides, first)
    return np.ndarray(shape, np_dtype, strides=[s * np_dtype.itemsize for s in strides])


def _one_on_a_device(arrays):
    return next((a for a in arrays if a.__class__ is not np.ndarray), None)


def _strided(shape, np_dtype, strides, like):
    """An unset, dense array on a device with the given strides, in elements."""
    memory = np.empty(shapes.numel(shape), np_dtype, like=like)
    found = strided_view(memory, shape, [s * np_dtype.itemsize for s in strides])
    found.base = None
    return found


def empty_in(shape, np_dtype, array, memory_format):
    """An unset array of ``shape`` in ``memory_format``, of which ``preserve_format`` (or None) is the order of ``array``."""
    if memory_format is None or memory_format is preserve_format:
        return empty_as(shape, np_dtype, array)
    if memory_format is contiguous_format:
        return np.empty(shape, np_dtype, like=array)
    if memory_format is not channels_last:
        raise NotImplementedError(f"memory format {memory_format} is not built; use torch.contiguous_format")
    if len(shape) != 4:
        raise RuntimeError("required rank 4 tensor to use channels_last format")
    n, c, h, w = shape
    return np.empty((n, h, w, c), np_dtype, like=array).transpose(0, 3, 1, 2)
