"""A CUDA device in Python, for tests on machines without one: kernels run thread by thread, and what is wrong is reported.

    with simulator.installed(seed=1) as driver:
        x = numtorch.ones(3, device="cuda")

Kernels (``@device_kernel`` functions) see the names of ``names.py``; their threads are scheduled by ``threads.py`` in shuffled
order. Reported as KernelError, with kernel, block and thread: indices outside of an array, accesses that are not aligned,
barriers and warp operations at which threads are missing, too much shared memory and, with ``races=True``, threads that share
memory without a barrier. Memory that nothing has written holds nan. Of integers that are loaded, int64 are NumPy's scalars,
which wrap around; smaller ones widen to 64 bits in arithmetic, as in Numba; int64 arguments of kernels are Python's ints. A
float literal is Python's, and weak: that it makes float32 work in float64 on the device is what the tests of PTX look for.

``arrays.launch(driver, kernel, grid, block, *ndarrays_and_numbers)`` tries a kernel without the rest of the library.

Not simulated: blocks that wait for other blocks while these run (they run one after the other), and memory as it is seen
without threadfence.
"""
import contextlib

from numtorch.kernels import _driver

from .driver import StandInDriver
from .threads import KernelError

__all__ = ["KernelError", "StandInDriver", "installed"]

_installed = [None]     # the drivers in use, the innermost last; None is the real one


@contextlib.contextmanager
def installed(*, seed=None, devices=2, **options):
    """A StandInDriver (``options`` are its arguments) in the place of the driver that is in use."""
    driver = StandInDriver(devices, seed=seed, **options)
    _installed.append(driver)
    _driver.use(driver)
    try:
        yield driver
    finally:
        _installed.pop()
        _driver.use(_installed[-1])
