"""That operands are on one device."""
from .. import devices
from ..kernels._device import DeviceArray


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


def beside(value, tensor):
    """A Tensor on the device of ``tensor``, to which its gradient finds its way back; a number as it is."""
    return value.to(tensor.device) if hasattr(value, "_a") and apart(value._a, tensor._a) else value
