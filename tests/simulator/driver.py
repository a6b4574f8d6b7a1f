"""``StandInDriver``: a CUDA driver without a GPU, with the methods of the real one in kernels/_driver.py.

Device memory is host memory behind addresses that the host cannot dereference. Every address is checked to lie in memory that
is allocated, on the right device; memory is filled with 0xFF, which is nan, when it is allocated and when it is freed, and an
address is never used twice.
"""
import bisect
import ctypes
import itertools
import random
import threading
import time
from types import SimpleNamespace

import numpy as np

from . import tried
from .arithmetic import numpy_dtype, scalar_type
from .launch import CUDA, Linked, run
from .memory import from_bytes
from .names import dim3

_FIRST, _APART, _ALIGNED = 0x7000_0000_0000, 1 << 40, 512
_NOTHING = np.empty(0, np.uint8)


class Allocation:
    """Memory of a device: ``address`` and ``data``, its bytes."""

    __slots__ = ("address", "data", "device")

    def __init__(self, address, nbytes, device):
        self.address, self.device, self.data = address, device, np.full(nbytes, 0xFF, np.uint8)


class Stream:
    """Work in order. ``queue`` holds what a lazy driver has not done yet, ``recording`` the graph that is captured."""

    def __init__(self, number, device):
        self.number, self.device, self.queue, self.recording = number, device, [], None


class Mark:
    """One recording of an event: reached when the stream's work before it is done."""

    def __init__(self, stream):
        self.stream, self.time = stream, None
        self.graph = self.work = None       # of a recording in a capture: how much of the stream's work comes before it


class Wait:
    """In a stream's queue: nothing after it is done before ``mark`` is reached."""

    def __init__(self, mark):
        self.mark = mark


class Event:
    """An event of a device; ``mark`` is its last recording, or None."""

    def __init__(self, device, timing):
        self.device, self.timing, self.mark = device, timing, None


class StandInDriver:
    """Simulated GPUs.

    seed: shuffles blocks, warps and lanes, and lazy streams, the same way in every run; None keeps the order.
    races: report data races in shared memory (slower).
    lazy: work waits in its stream until something synchronises with it.
    log: set it to a list, and the names of launched kernels are appended; ``launches`` counts them, ``blocks`` has the most
        blocks of a launch of each. A graph's kernels are launched when they are captured.
    """

    checks = True

    def __init__(self, devices=2, *, total_memory=1 << 30, multi_processor_count=132, seed=None, races=False, lazy=False):
        self.devices, self.total_memory, self.multi_processor_count = devices, total_memory, multi_processor_count
        self.seed, self.races, self.lazy, self.log, self.launches = seed, races, lazy, None, 0
        self.blocks = {}            # name of a kernel -> the most blocks of its launches
        self._lock = threading.RLock()
        self._here = threading.local()
        self._memory = [{} for _ in range(devices)]             # address -> Allocation, live ones
        self._sorted = [[] for _ in range(devices)]             # their addresses
        self._next = [_FIRST + d * _APART for d in range(devices)]
        self._used = [0] * devices
        self._streams = {}
        self._defaults = [Stream(0, d) for d in range(devices)]
        self._events, self._graphs, self._pinned, self._linked = {}, {}, {}, {}
        self._numbers = itertools.count(1)

    @property
    def seed(self):
        """What the order of threads is drawn from; None for their own order."""
        return self._seed

    @seed.setter
    def seed(self, seed):
        self._seed = seed
        self._rng = None if seed is None else random.Random(seed)

    # ---- devices ---------------------------------------------------------------------------------------------------------

    def count(self):
        """How many devices there are."""
        return self.devices

    def properties(self, device):
        """What the driver knows of a device."""
        self._known(device)
        return SimpleNamespace(
            name="Simulated GPU", major=9, minor=0, total_memory=self.total_memory, warp_size=32,
            multi_processor_count=self.multi_processor_count, max_threads_per_block=1024,
            max_threads_per_multi_processor=2048, regs_per_multiprocessor=65536, shared_memory_per_block=48 << 10,
            shared_memory_per_block_optin=227 << 10, shared_memory_per_multiprocessor=228 << 10, L2_cache_size=50 << 20,
            is_integrated=False, is_multi_gpu_board=False, pci_bus_id=device, pci_device_id=0, pci_domain_id=0,
            clock_rate=1980000, memory_clock_rate=2619000, memory_bus_width=5120,
            uuid=f"00000000-0000-0000-0000-{device:012x}")

    def device(self):
        """The calling thread's device."""
        return getattr(self._here, "device", 0)

    def set_device(self, device):
        """Makes ``device`` the calling thread's."""
        self._known(device)
        self._here.device = device

    def _known(self, device):
        if not 0 <= device < self.devices:
            raise RuntimeError(f"CUDA error: invalid device ordinal (device {device} of {self.devices})")

    def can_access_peer(self, device, other):
        """Whether kernels on ``device`` can be given access to the memory of ``other``: never, here."""
        self._known(device)
        self._known(other)
        return False

    def memory_info(self, device):
        """(free, total) bytes."""
        self._known(device)
        return self.total_memory - self._used[device], self.total_memory

    # ---- memory ----------------------------------------------------------------------------------------------------------

    def allocate(self, nbytes, device, stream):
        """The address of new memory; MemoryError where the device has not so much."""
        self._known(device)
        self._stream(stream, device)
        with self._lock:
            if nbytes > self.total_memory - self._used[device]:
                raise MemoryError(f"the simulated device {device} has {self.total_memory - self._used[device]} bytes left, "
                                  f"not {nbytes}")
            address = self._next[device]
            self._next[device] += -(-nbytes // _ALIGNED) * _ALIGNED + _ALIGNED
            self._used[device] += nbytes
            self._memory[device][address] = Allocation(address, nbytes, device)
            self._sorted[device].append(address)
            return address

    def free(self, address, device, stream):
        """Gives memory back when all of the device's work is done."""
        self._known(device)
        with self._lock:
            found = self._memory[device].get(address)
            assert found is not None, f"{address:#x} is freed, which is not allocated on device {device}"
            self.synchronize(device)
            found.data.fill(0xFF)
            self._used[device] -= found.data.size
            del self._memory[device][address]
            addresses = self._sorted[device]
            del addresses[bisect.bisect_left(addresses, address)]

    def _find(self, address, nbytes, device):
        """(allocation, offset) of ``nbytes`` bytes at an address of a device."""
        with self._lock:
            addresses = self._sorted[device]
            k = bisect.bisect_right(addresses, address) - 1
            found = self._memory[device][addresses[k]] if k >= 0 else None
        if found is None or address > found.address + found.data.size:
            raise AssertionError(f"{address:#x} is not in memory that is allocated on device {device}")
        offset = address - found.address
        assert offset + nbytes <= found.data.size, (f"{nbytes} bytes at {address:#x} reach beyond their allocation, "
                                                    f"{found.data.size} bytes at {found.address:#x} of device {device}")
        return found, offset

    def _bytes(self, address, nbytes, device):
        found, offset = self._find(address, nbytes, device)
        return found.data[offset:offset + nbytes]

    def _owner(self, address):
        """The device of an address."""
        device = (address - _FIRST) // _APART
        assert 0 <= device < self.devices, f"{address:#x} is not an address of a device"
        return device

    def copy_in(self, address, host_address, nbytes, stream):
        """From the host; of memory that is not pinned, what it holds now."""
        stream = self._stream(stream)
        self._find(address, nbytes, stream.device)
        kept = None
        if not self._now(stream) and not self._is_pinned(host_address, nbytes):
            kept = ctypes.create_string_buffer(ctypes.string_at(host_address, nbytes), nbytes)
            host_address = ctypes.addressof(kept)

        def act(kept=kept):         # which lives as long
            ctypes.memmove(self._bytes(address, nbytes, stream.device).ctypes.data, host_address, nbytes)
        self._do(stream, act)

    def copy_out(self, host_address, address, nbytes, stream):
        """To the host, whose memory holds 0xFF until it is done."""
        stream = self._stream(stream)
        self._find(address, nbytes, stream.device)
        if not self._now(stream) and stream.recording is None:
            ctypes.memset(host_address, 0xFF, nbytes)
        self._do(stream, lambda: ctypes.memmove(host_address, self._bytes(address, nbytes, stream.device).ctypes.data, nbytes))

    def copy(self, to, source, nbytes, stream):
        """From device to device, one of them the stream's."""
        stream = self._stream(stream)
        near, far = self._owner(to), self._owner(source)
        assert stream.device in (near, far), f"a copy from device {far} to {near} on a stream of device {stream.device}"
        self._find(to, nbytes, near)
        self._find(source, nbytes, far)

        def act():
            self._bytes(to, nbytes, near)[:] = self._bytes(source, nbytes, far)
        self._do(stream, act)

    def fill(self, address, byte, nbytes, stream):
        """Sets bytes."""
        stream = self._stream(stream)
        self._find(address, nbytes, stream.device)
        self._do(stream, lambda: self._bytes(address, nbytes, stream.device).fill(byte & 255))

    def pin(self, nbytes):
        """New page-locked host memory."""
        data = np.full(max(nbytes, 1), 0xFF, np.uint8)
        self._pinned[data.ctypes.data] = data
        return data.ctypes.data

    def unpin(self, address):
        """Gives page-locked memory back."""
        assert self._pinned.pop(address, None) is not None, f"{address:#x} is unpinned, which is not pinned"

    def _is_pinned(self, address, nbytes):
        return any(a <= address and address + nbytes <= a + data.size for a, data in self._pinned.items())

    # ---- streams ---------------------------------------------------------------------------------------------------------

    def _stream(self, number, device=None):
        """The Stream of a handle; the default stream of ``device``, or the current one, for 0."""
        if number == 0:
            return self._defaults[self.device() if device is None else device]
        found = self._streams.get(number)
        assert found is not None, f"there is no stream {number!r}"
        return found

    def stream(self):
        """The calling thread's stream of its device."""
        return self._current(self.device())

    def _current(self, device):
        return getattr(self._here, "streams", {}).get(device, 0)

    def set_stream(self, stream):
        """Makes ``stream`` the calling thread's, of its device."""
        assert self._stream(stream).device == self.device(), f"stream {stream} is not of the current device {self.device()}"
        if not hasattr(self._here, "streams"):
            self._here.streams = {}
        self._here.streams[self.device()] = stream

    def new_stream(self, device, priority=0):
        """A stream that waits for no other."""
        self._known(device)
        number = 0x5000 + next(self._numbers)
        self._streams[number] = Stream(number, device)
        return number

    def destroy_stream(self, stream):
        """Ends a stream when its work is done."""
        assert stream != 0, "the default stream cannot be destroyed"
        found = self._stream(stream)
        assert found.recording is None, f"stream {stream} is destroyed while it is captured"
        self._drain(lambda: not found.queue)
        del self._streams[stream]

    def query_stream(self, stream):
        """Whether all of a stream's work is done."""
        found = self._stream(stream)
        self._not_capturing(found, "query_stream")
        self._perhaps()
        return not found.queue

    def synchronize_stream(self, stream):
        """Returns when all of a stream's work is done."""
        found = self._stream(stream)
        self._not_capturing(found, "synchronize_stream")
        self._drain(lambda: not found.queue)

    def synchronize(self, device):
        """Returns when all of a device's work is done."""
        self._known(device)
        own = [s for s in (*self._defaults, *self._streams.values()) if s.device == device]
        for stream in own:
            self._not_capturing(stream, "synchronize")
        self._drain(lambda: not any(s.queue for s in own))

    def wait_event(self, stream, event):
        """The stream's later work waits for what the event recorded last."""
        found, mark = self._stream(stream), self._event(event).mark
        if mark is None:
            return
        graph = mark.graph
        if graph is not None and graph is mark.stream.recording:
            assert found.recording in (None, graph), f"stream {stream} waits for an event of another capture"
            if found.recording is None:
                found.recording = graph
                graph.work.setdefault(found, 0)
            graph.joined[mark.stream] = max(graph.joined.get(mark.stream, 0), mark.work)
            return
        assert graph is None, f"stream {stream} waits for an event that was recorded in a capture, which has ended"
        assert found.recording is None, "a captured stream waits for an event that was recorded outside of the capture"
        if mark.time is None:
            found.queue.append(Wait(mark))

    @staticmethod
    def _not_capturing(stream, what):
        assert stream.recording is None, f"{what} of stream {stream.number}, which is being captured"

    def _do(self, stream, act):
        """Does ``act`` in the order of a stream: now, later, or in a graph."""
        if self._now(stream):
            act()
        elif stream.recording is None:
            stream.queue.append(act)
        else:
            stream.recording.add(stream, act)

    def _now(self, stream):
        return not (self.lazy or stream.queue or stream.recording)

    def _drain(self, finished):
        """Does queued work, of streams in shuffled order, until ``finished()``."""
        with self._lock:
            while not finished():
                self._step()

    def _perhaps(self):
        """Does some queued work, or none: what a device may have done by itself meanwhile."""
        with self._lock:
            if self._rng is not None and any(self._ready()) and self._rng.random() < 0.5:
                self._step()

    def _ready(self):
        for stream in (*self._defaults, *self._streams.values()):
            if stream.queue and not (isinstance(stream.queue[0], Wait) and stream.queue[0].mark.time is None):
                yield stream

    def _step(self):
        ready = list(self._ready())
        assert ready, "deadlock: every stream waits for an event that is never recorded"
        stream = ready[0] if self._rng is None else self._rng.choice(ready)
        first = stream.queue.pop(0)
        if not isinstance(first, Wait):
            first()

    # ---- events ----------------------------------------------------------------------------------------------------------

    def _event(self, number):
        found = self._events.get(number)
        assert found is not None, f"there is no event {number!r}"
        return found

    def new_event(self, timing=False, blocking=False):
        """An event of the current device."""
        number = 0x9000 + next(self._numbers)
        self._events[number] = Event(self.device(), timing)
        return number

    def destroy_event(self, event):
        """Ends an event."""
        self._event(event)
        del self._events[event]

    def record_event(self, event, stream):
        """The event is reached when the stream's work up to now is done."""
        found, stream = self._event(event), self._stream(stream)
        assert found.device == stream.device, f"an event of device {found.device} on a stream of device {stream.device}"
        mark = found.mark = Mark(stream)

        def act():
            mark.time = time.perf_counter()
        self._do(stream, act)
        if stream.recording is not None:
            mark.graph, mark.work = stream.recording, stream.recording.work[stream]

    def query_event(self, event):
        """Whether the event is reached; True for one that was never recorded."""
        mark = self._event(event).mark
        self._perhaps()
        return mark is None or mark.time is not None

    def synchronize_event(self, event):
        """Returns when the event is reached."""
        mark = self._event(event).mark
        if mark is not None:
            self._not_capturing(mark.stream, "synchronize_event")
            self._drain(lambda: mark.time is not None)

    def elapsed(self, start, end):
        """Milliseconds from one event to another."""
        marks = []
        for number in (start, end):
            event = self._event(number)
            assert event.timing, f"event {number} was made without timing"
            assert event.mark is not None, f"event {number} was never recorded"
            assert event.mark.time is not None, f"event {number} is not reached yet"
            marks.append(event.mark.time)
        return (marks[1] - marks[0]) * 1e3

    # ---- kernels ---------------------------------------------------------------------------------------------------------

    def prepare(self, kernel, t, u, device):
        """What ``launch`` takes: a specialisation of a DeviceKernel for a device."""
        self._known(device)
        found = self._linked.get((kernel, t, u))
        if found is None:
            found = self._linked[kernel, t, u] = Linked(kernel, t, u)
        return found, device

    def launch(self, function, grid, block, shared, values, arrays=None):
        """Runs a kernel on the calling thread's stream of the device that it was prepared for.

        ``arrays``, the arguments of which ``values`` were made, tells how far each array reaches; without it they reach to the
        end of the allocation that they are in.
        """
        linked, device = function
        name = linked.name
        grid, block = dim3(grid), dim3(block)
        self._check_sizes(linked, grid, block, shared)
        stream, extents = self._stream(self._current(device), device), [_extent(a) for a in arrays or values]

        def arguments():
            return linked.arguments(values, lambda address, k: self._array(linked, k, address, extents[k], device))

        count = grid.x * grid.y * grid.z

        def act():
            with tried.launch(name, count):
                run(linked, grid, block, shared, arguments(), self._rng, self.races)
        if not self._now(stream):
            arguments()         # for what is wrong with them
        with self._lock:
            self.launches += 1
            self.blocks[name] = max(self.blocks.get(name, 0), count)
            if self.log is not None:
                self.log.append(name)
        self._do(stream, act)

    @staticmethod
    def _check_sizes(linked, grid, block, shared):
        name, threads = linked.name, block.x * block.y * block.z
        assert min(grid.x, grid.y, grid.z, block.x, block.y, block.z) > 0, f"{name}: grid {grid} of blocks {block}"
        assert grid.x < 1 << 31 and grid.y < 1 << 16 and grid.z < 1 << 16, f"{name}: a grid of {grid} blocks"
        limit = min(linked.kernel.threads, 1024)
        assert threads <= limit and block.z <= 64, f"{name}: a block of {block}, {threads} threads, where {limit} are declared"
        assert 0 <= shared <= 227 << 10, f"{name}: {shared} bytes of dynamic shared memory"

    def _array(self, linked, k, address, extent, device):
        """Argument ``k``, an array, for the kernel."""
        dtype = numpy_dtype(scalar_type(linked.types[k][:-1]))
        name = f"argument {linked.kernel.fn.__code__.co_varnames[k]}"
        if address == 0:
            return from_bytes(_NOTHING, dtype, 0, name + " (no array)")
        found, offset = self._find(int(address), 0, device)
        assert offset % dtype.itemsize == 0, f"{linked.name}: {name} at {address:#x} is not aligned for {dtype}"
        if extent is not None:
            low, high = extent[0] - found.address, extent[1] - found.address
            assert 0 <= low <= high <= found.data.size, f"{linked.name}: {name} reaches beyond its allocation"
        else:
            low, high = 0 if linked.kernel.words[k].endswith("~") else offset, found.data.size      # ~: strides may be negative
        array = from_bytes(found.data[low:high], dtype, found.address + low, name, (offset - low) // dtype.itemsize)
        return tried.watched(array, CUDA)

    def pointer(self, address, dtype):
        """What a kernel of the current device finds at an address that it read from a table."""
        found, offset = self._find(int(address), 0, self.device())
        assert offset % dtype.itemsize == 0, f"{address:#x}, from a table, is not aligned for {dtype}"
        return tried.watched(from_bytes(found.data[offset:], dtype, found.address + offset, "what a table points to"), CUDA)

    # ---- graphs ----------------------------------------------------------------------------------------------------------

    def begin_capture(self, stream, mode):
        """From now on the stream's work goes into a graph, and is not done."""
        assert stream != 0, "the default stream cannot be captured"
        assert mode in ("global", "thread_local", "relaxed"), f"there is no mode {mode!r} of capturing"
        found = self._stream(stream)
        self._not_capturing(found, "begin_capture")
        found.recording = Graph(found)

    def end_capture(self, stream):
        """The graph of what was captured."""
        found = self._stream(stream)
        graph = found.recording
        assert graph is not None and next(iter(graph.work)) is found, f"stream {stream} does not capture"
        for other in graph.work:
            other.recording = None
        apart = [other.number for other, work in graph.work.items() if other is not found and graph.joined.get(other, -1) < work]
        assert not apart, f"the capture ends before streams {apart} are joined to it again"
        number = 0xB000 + next(self._numbers)
        self._graphs[number] = graph
        return number

    def is_capturing(self, stream):
        """Whether the stream's work goes into a graph."""
        return stream != 0 and self._stream(stream).recording is not None

    def launch_graph(self, graph, stream):
        """Does what was captured."""
        assert graph in self._graphs, f"there is no graph {graph!r}"
        stream = self._stream(stream)
        for act in self._graphs[graph].acts:
            self._do(stream, act)

    def destroy_graph(self, graph):
        """Ends a graph."""
        assert self._graphs.pop(graph, None) is not None, f"there is no graph {graph!r}"


class Graph:
    """Captured work, in the order in which it was captured.

    work: stream -> how many pieces of work came from it, the stream of the capture first.
    joined: stream -> how many of them another stream has waited for.
    """

    def __init__(self, stream):
        self.acts, self.work, self.joined = [], {stream: 0}, {}

    def add(self, stream, act):
        """Notes work of a captured stream."""
        self.work[stream] += 1
        self.acts.append(act)


def _extent(array):
    """(first, last + 1) address that belongs to a DeviceArray; None for what does not say."""
    if not hasattr(array, "ptr") or not hasattr(array, "shape"):
        return None
    if 0 in array.shape:
        return array.ptr, array.ptr
    steps = [(n - 1) * stride for n, stride in zip(array.shape, array.strides)]
    return array.ptr + sum(s for s in steps if s < 0), array.ptr + sum(s for s in steps if s > 0) + array.dtype.itemsize
