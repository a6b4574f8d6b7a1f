"""Conversions between dtypes, devices and Python."""
import warnings

import numpy as np

from .. import devices, dtypes
from ..kernels import _device, _driver
from ..op import grad_name, record
from ..tensor import Tensor, preserve_format, wrap

_default_format = preserve_format


@grad_name("ToCopyBackward0")
def to_copy_backward(node, g):
    """Back to the input's dtype, which the engine converts to, and device."""
    device = node.ctx.get("device")
    return g if device is None else g.to(device)


def to_numpy_dtype(input, np_dtype):
    """``input`` converted to a NumPy dtype; a copy, recorded."""
    a = input._a
    if a.dtype.kind == "c" and np_dtype.kind != "c":
        if np_dtype.kind != "b":
            warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=3)
            a = a.real
        else:
            a = a != 0
    with np.errstate(all="ignore"):
        return record(a.astype(np_dtype), to_copy_backward, (input,))


def to_dtype(input, dtype, copy=False):
    """``input`` as ``dtype``: itself if it is that already and no copy is asked for."""
    if input._a.dtype == dtype._np:
        return input.clone() if copy else input
    return to_numpy_dtype(input, dtype._np)


def to_device(input, device, non_blocking=False):
    """A copy of ``input`` on another device (a checked one), recorded; its order in memory is kept.

    A copy to the host waits for the device, unless ``non_blocking``: then a copy into page-locked memory that is under way.
    """
    a = input._a
    out = _device.to_host(a, non_blocking) if device.type == "cpu" else _device.copied_to(a, device.index, non_blocking)
    return record(out, to_copy_backward, (input,), device=input.device)


def _to(self, *args, **kwargs):
    """This tensor with another dtype or device; itself if it has them already.

    Args:
        args: a dtype; a device and perhaps a dtype; or another Tensor, whose dtype and device are taken.
        copy (bool): always a new tensor.
        non_blocking (bool), memory_format: as torch's.

    Raises:
        RuntimeError: the device is not there.
    """
    dtype, device, copy, memory_format, non_blocking = parse_to(*args, **kwargs)
    found = self
    if device is not None and (device.type != "cpu" or type(self._a) is not np.ndarray):
        device = devices.check(device)
        if device != self.device:
            found = to_device(self, device, non_blocking)
            copy = False
    if dtype is not None and dtype._np != self._a.dtype:
        found = to_numpy_dtype(found, dtype._np)
    elif copy:
        found = self.clone()
    if memory_format is not None and not found.is_contiguous(memory_format):
        found = found.contiguous(memory_format=memory_format)
    return found


def parse_to(*args, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None):
    """(dtype, device, copy, memory_format, non_blocking) of the arguments of ``Tensor.to``; TypeError for others."""
    args = list(args)
    if args and isinstance(args[0], Tensor):
        other = args.pop(0)
        dtype, device = other.dtype, other.device
    elif args and isinstance(args[0], dtypes.dtype):
        dtype = args.pop(0)
    elif args and (args[0] is None or isinstance(args[0], (str, int, devices.device)) and not isinstance(args[0], bool)):
        device = args.pop(0)
        if args and (args[0] is None or isinstance(args[0], dtypes.dtype)):
            dtype = args.pop(0)
    if args and isinstance(args[0], bool):
        non_blocking = args.pop(0)
    if args and isinstance(args[0], bool):
        copy = args.pop(0)
    if args:
        raise TypeError(f"to() received an invalid combination of arguments - got {type(args[0]).__name__}, but expected a "
                        "dtype, a device or a Tensor")
    if device is not None:
        device = devices.device(device)
    return dtype, device, copy, memory_format, non_blocking


Tensor.to = _to


def _caster(name, dtype):
    def cast(self, memory_format=_default_format):
        return to_dtype(self, dtype)
    cast.__name__, cast.__doc__ = name, f"This tensor as {dtype}; itself if it is that already."
    return cast


for _name, _dtype in {"float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
                      "int": dtypes.int32, "long": dtypes.int64, "short": dtypes.int16, "char": dtypes.int8,
                      "byte": dtypes.uint8, "bool": dtypes.bool, "cfloat": dtypes.complex64,
                      "cdouble": dtypes.complex128}.items():
    setattr(Tensor, _name, _caster(_name, _dtype))

def _cpu(self, memory_format=_default_format):
    """This tensor in the host's memory: itself if it is there."""
    return self if type(self._a) is np.ndarray else to_device(self, devices.cpu)


def _cuda(self, device=None, non_blocking=False, memory_format=_default_format):
    """This tensor on a CUDA device, the current one by default; RuntimeError where there is none."""
    return _to(self, devices.device("cuda" if device is None else device), non_blocking=non_blocking)


def _pin_memory(self, device=None):
    """A copy in page-locked memory, from which copies to a CUDA device run beside the program; itself where there is no device.

    Raises:
        RuntimeError: the tensor is on a device.
    """
    if type(self._a) is not np.ndarray:
        raise RuntimeError(f"cannot pin '{self.type().replace('torch.', 'torch.cuda.')}' only dense CPU tensors can be pinned")
    if not _driver.available() or self.is_pinned():
        return self
    order = _device.order_in_memory(self._a)
    array = _device.pinned_empty([self._a.shape[d] for d in order], self._a.dtype).transpose(np.argsort(order))
    np.copyto(array, self._a)
    return wrap(array)


def _is_pinned(self, device=None):
    """True for a tensor in page-locked memory."""
    return type(self._a) is np.ndarray and _device.is_pinned(self._a)


def _record_stream(self, stream):
    """Says that work on ``stream`` uses this CUDA tensor: its memory, once free, is used again only when that is done."""
    if type(self._a) is not np.ndarray:
        _device.record_stream(self._a, stream.cuda_stream)


Tensor.cpu, Tensor.cuda, Tensor.pin_memory, Tensor.is_pinned = _cpu, _cuda, _pin_memory, _is_pinned
Tensor.record_stream = _record_stream


