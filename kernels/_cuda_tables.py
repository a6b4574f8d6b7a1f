"""Small tables that kernels read, kept in a device's memory from their first use on: positions of padding, weights of resampling.

They are found by what they hold, and never given back: a captured graph knows their addresses, and there are as many as a program
has shapes, of some kilobytes each.
"""
import numpy as np

from . import _driver
from ._device import from_host, on_device

_kept = {}              # (device, maker, its arguments) -> what the maker made, as DeviceArrays


def kept(device, make, *arrays):
    """``make(*arrays)``, a tuple of ndarrays, as DeviceArrays on ``device``; arguments may be ndarrays and numbers."""
    key = (device, make, *[(a.dtype.char, a.shape, a.tobytes()) if isinstance(a, np.ndarray) else a for a in arrays])
    found = _kept.get(key)
    if found is None:
        with on_device(device):
            driver = _driver.current()
            stream = driver.stream()
            if driver.is_capturing(stream):
                raise RuntimeError("a table for these shapes is not on the device yet: run the operation once before its capture")
            found = _kept[key] = tuple([from_host(a, device) for a in make(*arrays)])
            driver.synchronize_stream(stream)       # other streams may read them next
    return found


_driver.on_change.append(_kept.clear)
