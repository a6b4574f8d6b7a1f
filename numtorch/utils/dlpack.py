"""DLPack, by which array libraries hand each other memory without copying it: to_dlpack and from_dlpack.

The structures are those of DLPack's header dlpack.h, version 0.8 (the capsules called "dltensor").
"""
import ctypes

import numpy as np

from .. import dtypes
from ..kernels import _driver
from ..kernels._device import DeviceArray, borrowed
from ..tensor import wrap

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]

CPU, CUDA, PINNED = 1, 2, 3
_CODES = {"i": 0, "u": 1, "f": 2, "V": 4, "c": 5, "b": 6}       # bfloat16 is of NumPy's kind V
_NAMES = {(0, 8): "int8", (0, 16): "int16", (0, 32): "int32", (0, 64): "int64", (1, 8): "uint8", (2, 16): "float16",
          (2, 32): "float32", (2, 64): "float64", (4, 16): "bfloat16", (5, 64): "complex64", (5, 128): "complex128",
          (6, 8): "bool"}


class DLDeviceType:
    """The kinds of devices that DLPack numbers, those that tensors can be on."""

    kDLCPU, kDLCUDA, kDLCUDAHost = CPU, CUDA, PINNED


class _DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class _DLManagedTensor(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_DLManagedTensor))
_DLManagedTensor._fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_api = ctypes.pythonapi
_new_capsule = _api.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, _Destructor]
_is_valid = _api.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]
_pointer = _api.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
_rename = _api.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]

_lent = {}      # address of a DLManagedTensor -> it, its shape and strides, and the array whose memory it shows


@_Deleter
def _give_back(managed):
    _lent.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _drop(capsule):
    """Called when a capsule goes: if nobody has taken its tensor over, gives it back."""
    if _is_valid(capsule, b"dltensor"):
        address = _pointer(capsule, b"dltensor")
        ctypes.cast(address, ctypes.POINTER(_DLManagedTensor)).contents.deleter(
            ctypes.cast(address, ctypes.POINTER(_DLManagedTensor)))


# ---- lending -----------------------------------------------------------------------------------------------------------

def device_of(tensor):
    """(device type, device number) of a tensor, in DLPack's numbers: Tensor.__dlpack_device__."""
    return (CUDA, tensor._a.device) if type(tensor._a) is DeviceArray else (CPU, 0)


def to_dlpack(tensor, stream=None):
    """A capsule through which another library can use the tensor's memory: Tensor.__dlpack__.

    Args:
        tensor (Tensor): of any dtype; requires no gradient.
        stream (int): of a CUDA tensor, the consumer's stream, which is made to wait for what is under way; None or 1 is the
            default stream, -1 asks for no waiting.

    Raises:
        RuntimeError: the tensor requires a gradient.
    """
    if tensor._rg:
        raise RuntimeError("Can't export tensors that require gradient, use tensor.detach()")
    array = tensor._a
    if type(array) is DeviceArray and stream != -1:
        _wait(0 if stream in (None, 1) else stream)
    managed, n = _DLManagedTensor(), array.ndim
    shape = (ctypes.c_int64 * n)(*array.shape)
    strides = (ctypes.c_int64 * n)(*tensor.stride())
    t = managed.tensor
    t.data, (t.device_type, t.device_id), t.ndim = array.ctypes.data, device_of(tensor), n
    t.code, t.bits, t.lanes = _CODES[array.dtype.kind], 8 * array.itemsize, 1
    t.shape, t.strides = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _give_back
    _lent[ctypes.addressof(managed)] = managed, shape, strides, array
    return _new_capsule(ctypes.addressof(managed), b"dltensor", _drop)


def _wait(stream):
    """Makes ``stream`` wait for what the current stream has been given."""
    driver = _driver.current()
    if stream != driver.stream():
        event = driver.new_event()
        driver.record_event(event, driver.stream())
        driver.wait_event(stream, event)
        driver.destroy_event(event)


# ---- borrowing ---------------------------------------------------------------------------------------------------------

class _Loan:
    """A tensor of another library, given back when nobody here uses its memory any more."""

    def __init__(self, managed):
        self.managed = managed

    def __del__(self):
        if self.managed.contents.deleter:
            self.managed.contents.deleter(self.managed)


def from_dlpack(ext_tensor):
    """A tensor on the memory of another library's, or of a DLPack capsule.

    Args:
        ext_tensor: an object with ``__dlpack__`` and ``__dlpack_device__``, or a capsule.

    Raises:
        TypeError: something else. RuntimeError: a capsule that has been used. BufferError: a device or dtype that numtorch has
            not.

    >>> import numpy
    >>> from_dlpack(numpy.arange(3))
    tensor([0, 1, 2])
    """
    if hasattr(ext_tensor, "__dlpack__"):
        kind = ext_tensor.__dlpack_device__()[0]
        capsule = ext_tensor.__dlpack__(stream=_driver.current().stream() or 1) if kind == CUDA else ext_tensor.__dlpack__()
    else:
        capsule = ext_tensor
    if type(capsule).__name__ != "PyCapsule":
        raise TypeError(f"from_dlpack(): expected an object with __dlpack__ or a DLPack capsule, got {type(ext_tensor).__name__}")
    if not _is_valid(id(capsule), b"dltensor"):
        raise RuntimeError("from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so "
                           "you might have already constructed a tensor from it once.")
    managed = ctypes.cast(_pointer(id(capsule), b"dltensor"), ctypes.POINTER(_DLManagedTensor))
    t = managed.contents.tensor
    name = _NAMES.get((t.code, t.bits))
    if name is None or t.lanes != 1 or t.device_type not in (CPU, CUDA, PINNED):
        raise BufferError(f"from_dlpack: numtorch has no tensors of DLPack's type code {t.code} with {t.bits} bits and {t.lanes} "
                          f"lanes on its device type {t.device_type}")
    _rename(capsule, b"used_dltensor")
    dtype = dtypes._names[name]._np
    shape = tuple(t.shape[:t.ndim])
    steps = t.strides[:t.ndim] if t.strides else [int(np.prod(shape[d + 1:], dtype=int)) for d in range(t.ndim)]
    return wrap(_seen(_Loan(managed), (t.data or 0) + t.byte_offset, shape, [s * dtype.itemsize for s in steps], dtype,
                      t.device_id if t.device_type == CUDA else None))


def _seen(owner, address, shape, strides, dtype, device):
    """An array on memory that ``owner`` keeps alive: an ndarray, or a DeviceArray where ``device`` is a number."""
    if device is not None:
        return borrowed(owner, address, shape, strides, dtype, device)
    extent = dtype.itemsize + sum((n - 1) * s for n, s in zip(shape, strides)) if 0 not in shape else 0
    memory = (ctypes.c_char * max(extent, 1)).from_address(address) if address else ctypes.create_string_buffer(1)
    memory.owner = owner
    return np.ndarray(shape, dtype, memory, 0, strides)


# ---- __cuda_array_interface__ --------------------------------------------------------------------------------------------

def cuda_array_interface(tensor):
    """The attributes of a CUDA tensor as Numba, CuPy and others read them (version 3); AttributeError for other tensors."""
    array = tensor._a
    if type(array) is not DeviceArray:
        raise AttributeError("Can't get __cuda_array_interface__ on non-CUDA tensor type: "
                             f"{tensor.type()} If CUDA data is required use tensor.cuda() to copy tensor to device memory.")
    if tensor._rg:
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad. If gradients aren't required, use "
                           "var.detach() to get Variable that doesn't require grad.")
    kind = "<V2" if array.dtype.kind == "V" else array.dtype.str
    return {"typestr": kind, "shape": array.shape, "data": (array.ptr if array.size else 0, False), "version": 3,
            "strides": None if array.flags.c_contiguous else array.strides,
            "stream": _driver.current().stream() or 1}


def from_cuda_array_interface(value):
    """A tensor on the device memory of an object with ``__cuda_array_interface__``."""
    given = value.__cuda_array_interface__
    dtype, shape = dtypes.from_numpy_dtype(np.dtype(given["typestr"]))._np, tuple(given["shape"])
    strides = given.get("strides") or [dtype.itemsize * int(np.prod(shape[d + 1:], dtype=int)) for d in range(len(shape))]
    return wrap(_seen(value, given["data"][0], shape, list(strides), dtype, _driver.current().device()))
