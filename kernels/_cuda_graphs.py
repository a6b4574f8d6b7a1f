"""What a CUDA graph keeps beside its memory: tables that its kernels read, and the generators from which it draws numbers.

``CUDAGraph`` (numtorch/cuda/graphs.py) opens a ``Kept`` for a capture, and holds it as long as there is the graph. Its arrays
are no memory of the graph, which only the graph's own work may write: they are set outside of it.
"""
import numpy as np

from . import _driver
from ._device import borrowed, pinned_empty, put_host
from ._driver import on as on_device
from ._pool import pool

_captures = {}      # device -> Kept of the capture that is under way


class Kept:
    """What the kernels of one graph read at each replay.

    tables: (array, the values that it gets at the end of the capture).
    draws: generator -> [its seed and offset on the device, which each replay sets anew; words of a thread that a replay takes].
    sources: page-locked ndarrays that each replay copies to the device.
    """

    def __init__(self, device):
        self.device, self.tables, self.draws, self.sources = device, [], {}, []

    def table(self, values):
        """An array that holds ``values``, an ndarray, as soon as the capture has ended."""
        array = self._empty(values.shape, values.dtype)
        self.tables.append((array, values))
        return array

    def pinned(self, values):
        """A page-locked copy of an ndarray, from which replays can copy."""
        copy = pinned_empty(values.shape, values.dtype)
        copy[...] = values
        self.sources.append(copy)
        return copy

    def _empty(self, shape, dtype):
        found = np.empty(shape, dtype)
        block = pool.allocate(found.nbytes, self.device, 0)
        return borrowed(block, block.address, found.shape, found.strides, found.dtype, self.device)

    def draw(self, generator, n):
        """Where a kernel finds the generator's state, and its own n words after that: (state, offset from the state's)."""
        found = self.draws.get(generator)
        if found is None:
            found = self.draws[generator] = [self._empty(2, np.uint64), 0]
        state, start = found
        found[1] += n
        return state, start

    def fill(self):
        """Gives the tables their values, once the capture is over."""
        driver = _driver.current()
        stream = driver.stream()
        driver.set_stream(0)                # whose earlier work may have had the memory
        try:
            for array, values in self.tables:
                put_host(array, values)
            driver.synchronize_stream(0)    # replays, and what sets the states before them, may be on any stream
        finally:
            driver.set_stream(stream)

    def renew(self, stream):
        """Sets the states for a replay on ``stream``, the current one, and advances the generators by what it takes."""
        from .random_cuda import set_state

        for array, _ in (*self.tables, *self.draws.values()):
            pool.record_stream(array.block.owner, stream)
        for generator, (state, words) in self.draws.items():
            set_state.launch(1, 1, state, *generator.take(words))


def begin(device):
    """The ``Kept`` of a capture that begins on ``device``."""
    found = _captures[device] = Kept(device)
    return found


def end(device):
    """The capture on ``device`` is over."""
    _captures.pop(device, None)


def capture(device):
    """The ``Kept`` of the graph that what the calling thread does on ``device`` goes into; None where it is done at once.

    Raises:
        RuntimeError: another library captures the current stream.
    """
    driver = _driver.current()
    if driver.device() == device:
        stream = driver.stream()
    else:
        with on_device(device):
            stream = driver.stream()
    if not driver.is_capturing(stream):
        return None
    found = _captures.get(device)
    if found is None:
        raise RuntimeError("the current stream is being captured, but not by torch.cuda.CUDAGraph: what the graph needs at its "
                           "replays cannot be kept with it")
    return found


_driver.on_change.append(_captures.clear)
