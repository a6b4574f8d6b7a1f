"""Writing by index in one order, the same in every run: the elements that meet in a place are taken as they come in the index.

The kernels of indexing_cuda.py leave it to chance which of several sums first, or writes last. Where ``fixed`` is set they only
find the places; these are sorted, with equal ones in their order, and one thread does all that goes to one place, as a loop on
the CPU would. That costs a sort, and time in proportion to the most crowded place.
"""
import numpy as np

from ._cuda import BITS, blocks, cuda, device_kernel, load, store
from ._cuda_errors import PASSED
from ._device import empty

THREADS = 256
SUMS = ("float32", "float64", "int64", "complex64", "complex128")

fixed = False       # whether ``torch.use_deterministic_algorithms`` has asked for it


def _in_order(act, doc, T):
    """The kernel that has one thread do ``act(so far, source)`` for all elements of a place."""
    def kernel(base, places, order, ats, source, count):
        i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if i >= count:
            return
        place = places[i]
        if place == PASSED or i > 0 and places[i - 1] == place:
            return
        value = load(base, place)
        while i < count and places[i] == place:
            value = act(value, load(source, ats[order[i]]))
            i += 1
        store(base, place, value)
    kernel.__name__, kernel.__qualname__, kernel.__doc__ = act.__name__, act.__qualname__, doc
    return device_kernel("T~ q* q* q* T~ q", T=T, threads=THREADS)(kernel)


def add_in_order(so_far, x):
    return so_far + x


def multiply_in_order(so_far, x):
    return so_far * x


def write_in_order(so_far, x):
    return x


add = _in_order(add_in_order, "base[place] += each of its sources, in their order; a thread for each place.", SUMS)
multiply = _in_order(multiply_in_order, "base[place] *= each of its sources, in their order; a thread for each place.", SUMS[:3])
write = _in_order(write_in_order, "base[place] = the last of its sources; a thread for each place.", BITS)


def run(kernel, base, places, ats, source):
    """``kernel`` on places of ``base`` and where the source of each lies, in elements: int64 arrays of one length."""
    from .sort_cuda import argsort

    count = places.size
    found, order = (empty((1, count), np.int64, places.device) for _ in range(2))
    argsort(places.reshape(1, count), False, found, order)
    kernel.launch(blocks(count, THREADS), THREADS, base, found.reshape(count), order.reshape(count), ats, source, count)
