"""Kernels on ndarrays, for tests: what a kernel is, and what its launch does, in one line each."""
import numpy as np
from numtorch.kernels import _cuda


def kernel(signature, threads=256, **types):
    """Decorator: a DeviceKernel that is not registered, so that nothing that is done to all kernels is done to it."""
    def declare(fn):
        made = _cuda.device_kernel(signature, threads=threads, **types)(fn)
        del _cuda.KERNELS[made.name]
        return made
    return declare


def on_device(driver, array):
    """The address of a copy of an ndarray on the current device."""
    address = driver.allocate(array.nbytes, driver.device(), 0)
    driver.copy_in(address, array.ctypes.data, array.nbytes, 0)
    return address


def to_host(driver, address, array):
    """Fills an ndarray with what is at an address, once the current stream has come so far."""
    driver.copy_out(array.ctypes.data, address, array.nbytes, driver.stream())
    driver.synchronize_stream(driver.stream())
    return array


def launch(driver, kernel, grid, block, *args, shared=0):
    """Runs a kernel on ndarrays, which it changes, and numbers; each array has an allocation of its own size."""
    t, u = (None if k is None else args[k].dtype.name for k in kernel.free)
    values = [on_device(driver, a) if isinstance(a, np.ndarray) else a for a in args]
    driver.launch(driver.prepare(kernel, t, u, driver.device()), grid, block, shared, values)
    for a, value in zip(args, values):
        if isinstance(a, np.ndarray):
            to_host(driver, value, a)
            driver.free(value, driver.device(), 0)
