"""That operands are on one device."""
from .. import devices
from ..kernels._device import DeviceArray
from ..tensor import Tensor


def apart(a, b):
    """Whether two arrays are on different devices."""
    return a.__class__ is not b.__class__ or a.__class__ is DeviceArray and a.device != b.device


def two_devices(name, a, b):
    """torch's error for arrays that should be on one device."""
    return RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, {devices.of(a)} and "
                        f"{devices.of(b)}! (when checking arguments of {name})")


def check_devices(name, *tensors):
    """RuntimeError unless all ``tensors`` are on one device."""
    first = tensors[0]._a
    for t in tensors:
        if apart(t._a, first):
            raise two_devices(name, first, t._a)


def check_arguments(name, tree):
    """RuntimeError unless all Tensors in nested arguments are on one device; those of 0 dimensions on the host may be beside any.

    Operations call it where something has gone wrong that this may explain.
    """
    tensors = []

    def look(part):
        if isinstance(part, Tensor):
            if part._a.ndim or part._a.__class__ is DeviceArray:
                tensors.append(part)
        elif isinstance(part, (tuple, list, dict)):
            for inner in part.values() if isinstance(part, dict) else part:
                look(inner)
    look(tree)
    if tensors:
        check_devices(name, *tensors)


def beside(value, tensor):
    """A Tensor on the device of ``tensor``, to which its gradient finds its way back; a number as it is."""
    return value.to(tensor.device) if hasattr(value, "_a") and apart(value._a, tensor._a) else value
