"""The types of tensors from before there were dtypes and devices: torch.FloatTensor, torch.cuda.LongTensor and their kin."""
from .. import devices, dtypes
from .._legacy import legacy
from ..kernels import _driver
from ..tensor import Tensor
from .create import legacy_new

DTYPES = {"FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
          "BFloat16Tensor": dtypes.bfloat16, "ByteTensor": dtypes.uint8, "CharTensor": dtypes.int8,
          "ShortTensor": dtypes.int16, "IntTensor": dtypes.int32, "LongTensor": dtypes.int64, "BoolTensor": dtypes.bool,
          "ComplexFloatTensor": dtypes.complex64, "ComplexDoubleTensor": dtypes.complex128}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class _Type(type):
    """The class of these types: a dtype on a kind of device."""

    def __instancecheck__(cls, value):
        return isinstance(value, Tensor) and value.dtype is cls.dtype and value.device.type == cls.device.type

    def __call__(cls, *args, device=None):
        module = cls.__module__.replace("numtorch", "torch")
        legacy(f"{module}.{cls.__name__}(...) is an old spelling: use torch.tensor(data, dtype={cls.dtype}) or "
               f"torch.empty(sizes, dtype={cls.dtype})")
        return legacy_new(Tensor, args, devices.check(cls._available() if device is None else device), cls.dtype)

    def __repr__(cls):
        return f"<class '{cls.__module__.replace('numtorch', 'torch')}.{cls.__name__}'>"

    def _available(cls):
        """The type's device; TypeError where there is none."""
        if cls.device.type == "cuda" and not _driver.available():
            raise TypeError(f"type torch.cuda.{cls.__name__} not available: {_driver.why_not()}")
        return cls.device


def types(module, device):
    """{name: type} of all dtypes on a device."""
    return {name: _Type(name, (), {"dtype": dtype, "device": device, "__doc__": f"Tensors of {dtype} on {device}.",
                                   "__module__": module})
            for name, dtype in DTYPES.items()}


CPU = types("numtorch", devices.cpu)
CUDA = types("numtorch.cuda", devices.device("cuda"))


def named(name):
    """The type of a name like "torch.cuda.FloatTensor"; ValueError for other text."""
    module, _, short = name.rpartition(".")
    found = {"torch": CPU, "torch.cuda": CUDA}.get(module, {}).get(short)
    if found is None:
        raise ValueError(f"invalid type: '{name}'")
    return found


def _type(self, dtype=None, non_blocking=False):
    """The name of this tensor's type, such as torch.cuda.FloatTensor; or the tensor converted to ``dtype``.

    Args:
        dtype (dtype, type or str): a type such as torch.cuda.FloatTensor, or its name, also says on which kind of device.
        non_blocking (bool): do not wait for a copy out of page-locked memory.

    Raises:
        ValueError: no such name.
        TypeError: the type's device is not there.

    >>> import numtorch as torch
    >>> torch.ones(2).type(), torch.ones(2).type("torch.LongTensor")
    ('torch.FloatTensor', tensor([1, 1]))
    """
    if dtype is None:
        return f"torch{'' if self.device.type == 'cpu' else '.' + self.device.type}.{_NAMES[self.dtype]}"
    kind = named(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(kind, _Type):
        return self.to(dtype if isinstance(dtype, dtypes.dtype) else dtype.dtype)
    if kind.device.type == self.device.type:
        return self.to(kind.dtype)
    return self.to(kind._available(), kind.dtype, non_blocking)


def _type_as(self, other):
    """This tensor with the dtype, and on the device, of ``other``."""
    return self.to(other.device, other.dtype)


def set_default_tensor_type(t):
    """Sets the dtype and the device of tensors that name none, by a type such as torch.cuda.FloatTensor or its name.

    Raises:
        TypeError: it is no floating-point type.

    >>> import numtorch as torch
    >>> torch.set_default_tensor_type(torch.DoubleTensor); torch.zeros(1).dtype
    torch.float64
    >>> torch.set_default_tensor_type("torch.FloatTensor")
    """
    kind = named(t) if isinstance(t, str) else t
    if not isinstance(kind, _Type):
        raise TypeError("invalid type object")
    if not kind.dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    device = kind._available()
    dtypes.set_default_dtype(kind.dtype)
    devices.set_default_device(device)


Tensor.type = _type
Tensor.type_as = _type_as
