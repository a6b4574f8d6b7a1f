"""Device memory for arrays, kept for the next ones: the driver takes tens of microseconds for what a list does in one half.

Memory comes in a few sizes: multiples of 512 bytes to 4 KiB, above in eighths of the power of two below, and from 10 MiB in
multiples of 2 MiB. So about an eighth is unused at most, and arrays that differ a little (the last batch, a growing sequence)
use each other's memory. Free pieces of one size, of one device and one stream, lie on a ``Shelf``. A stream does its work in
order, so a piece can be used again on its own stream at once, while the kernels that used it before may not even have started.
For other streams see ``record_stream``.

New pieces are cut from segments, which is what the driver is asked for: pieces up to 1 MiB from segments of 2 MiB, pieces below
10 MiB from 20 MiB (torch's numbers, for its reason: the driver's own grain is 2 MiB); larger ones are segments of their own.

To allocate from a shelf and to put back takes no lock: ``list.pop`` and ``list.append`` are one step under Python's lock, and no
other code can run between the reading and the writing of ``x.n += k``. Everything else happens under ``Pool._lock``. A block may
be dropped anywhere, even by the garbage collector in the middle of this module: ``Block.__del__`` only appends to a list.
"""
import ctypes
import threading

from . import _driver

SMALL, MIDDLE, GRAIN = 1 << 20, 10 << 20, 2 << 20
SMALL_SEGMENT, MIDDLE_SEGMENT = 2 << 20, 20 << 20
ROUTES = 10_000         # sizes, as asked, whose shelves are remembered


class OutOfMemoryError(RuntimeError):
    """A device has not enough memory."""


def size_of(nbytes):
    """The size of the piece that ``nbytes`` are given."""
    if nbytes <= 4096:
        return max(nbytes + 511 & -512, 512)
    step = 1 << ((nbytes - 1).bit_length() - 4)
    return _up(_up(nbytes, step), GRAIN if nbytes >= MIDDLE else 512)


def _up(n, step):
    return -(-n // step) * step


class Block:
    """Memory in use, of a device or (``device`` None) page-locked memory of the host; given back when the block is dropped."""

    __slots__ = ("address", "asked", "device", "shelf", "counted", "streams")

    def __init__(self, address, asked, device, shelf, counted):
        self.address, self.asked, self.device, self.shelf, self.counted = address, asked, device, shelf, counted
        self.streams = None         # other streams that use it: {(device, stream)}

    @property
    def nbytes(self):
        """Bytes that it really has."""
        return self.shelf.nbytes

    @property
    def stream(self):
        """The stream that it was allocated for."""
        return self.shelf.stream

    @property
    def pool(self):
        """The pool that it came from."""
        return self.shelf.pool

    def __del__(self):
        shelf = self.shelf
        shelf.stats.allocated -= self.counted
        if self.streams is None:
            shelf.pieces.append(self.address)
        else:
            shelf.used_elsewhere.append((self.address, shelf, self.counted, self.streams))

    def __repr__(self):
        return f"<Block of {self.nbytes} bytes at {self.address:#x} on {'host' if self.device is None else self.device}>"


class Shelf:
    """The free pieces of one size on one stream."""

    __slots__ = ("pieces", "nbytes", "device", "stream", "stats", "pool", "used_elsewhere", "cut")

    def __init__(self, nbytes, device, stream, pool):
        self.pieces, self.nbytes, self.device, self.stream, self.pool = [], nbytes, device, stream, pool
        self.stats, self.used_elsewhere = pool.stats(device), pool._used_elsewhere
        self.cut = 0                # how many pieces of this size there are, free or not


class _Segment:
    """Memory as the driver gave it, and the pieces that have been cut from it."""

    __slots__ = ("address", "nbytes", "used", "pieces")

    def __init__(self, address, nbytes):
        self.address, self.nbytes, self.used, self.pieces = address, nbytes, 0, []


class _Arena:
    """All memory for one stream, or for one stream within the graphs of one private pool."""

    __slots__ = ("device", "stream", "graphs", "shelves", "segments")

    def __init__(self, device, stream, graphs):
        self.device, self.stream, self.graphs, self.shelves, self.segments = device, stream, graphs, {}, []


class Level:
    """A quantity that rises and falls: its present value, its peak, and the sums of all rises and falls."""

    __slots__ = ("current", "peak", "allocated", "freed")

    def __init__(self):
        self.current = self.peak = self.allocated = self.freed = 0

    def rise(self, n):
        """Adds ``n``."""
        self.current, self.allocated = self.current + n, self.allocated + n
        self.peak = max(self.peak, self.current)

    def fall(self, n):
        """Takes ``n`` away."""
        self.current, self.freed = self.current - n, self.freed + n


class Stats:
    """What the pool counts for a device; bytes of arrays are rounded up to 512, as torch counts them."""

    __slots__ = ("allocated", "peak", "total", "count", "forgotten", "forgotten_blocks", "waiting", "active_peak", "reserved",
                 "segments", "retries", "ooms")

    def __init__(self):
        self.allocated = self.peak = 0          # bytes in use now, and at most
        self.total = self.count = 0             # bytes and blocks that were ever allocated
        self.forgotten = self.forgotten_blocks = 0          # in use when those two were last set to 0
        self.waiting = self.active_peak = 0     # bytes that no one holds but another stream may still use; most of all active
        self.reserved, self.segments = Level(), Level()
        self.retries = self.ooms = 0


class Pool:
    """The memory of all devices, and page-locked memory of the host."""

    def __init__(self):
        self._lock = threading.RLock()
        self._next_graphs = 1
        self.reset()

    def reset(self):
        """Forgets everything: the driver has been replaced. Blocks still in use go back to shelves that no one looks at."""
        with self._lock:
            self._routes = {}               # (bytes as asked, device, stream) -> (shelf, bytes as counted)
            self._arenas = {}               # (device, stream, number of a graphs' pool or None) -> arena
            self._stats, self._limits = {}, {}
            self._used_elsewhere = []       # dropped blocks that other streams use, no event recorded there yet
            self._waiting = []              # and with the events: (address, shelf, counted, [(event, where it goes back)])
            self._events = {}               # (device, timing, blocking) -> events that no one uses
            self._captures = {}             # device -> (stream under capture, number of its graphs' pool)
            self._holders = {}              # number of a graphs' pool -> how many graphs use its memory
            self._pinned, self._pinned_shelves = {}, {}

    # ---- allocating ----

    def allocate(self, nbytes, device, stream):
        """A block of at least ``nbytes`` on ``device``, to be used on ``stream``.

        Raises:
            OutOfMemoryError: not even without the cached memory is there so much.
        """
        try:
            shelf, counted = self._routes[nbytes, device, stream]
            address = shelf.pieces.pop()
        except (KeyError, IndexError):
            shelf, counted, address = self._find(nbytes, device, stream)
        stats = shelf.stats
        stats.allocated = now = stats.allocated + counted
        if now > stats.peak:
            stats.peak = now
        stats.total += counted
        stats.count += 1
        return Block(address, nbytes, device, shelf, counted)

    def _find(self, nbytes, device, stream):
        with self._lock:
            graphs, counted = self._graphs_of(device, stream) if self._captures else None, _up(nbytes, 512)
            arena = self._arenas.get((device, stream, graphs))
            if arena is None:
                arena = self._arenas[device, stream, graphs] = _Arena(device, stream, graphs)
            size = size_of(nbytes)
            shelf = arena.shelves.get(size)
            if shelf is None:
                shelf = arena.shelves[size] = Shelf(size, device, stream, self)
            if not shelf.pieces:
                self.settle()
            address = _popped(shelf.pieces)
            if address is None:
                address = self._cut(arena, shelf, nbytes)
            if _driver.current().checks:    # in the tests, what was left in memory shall not pass for a result
                with _driver.on(device):
                    _driver.current().fill(address, 0xFF, size, stream)
            elif not self._captures:        # during one, a stream may join it at any time
                if len(self._routes) >= ROUTES:
                    self._routes.clear()
                self._routes[nbytes, device, stream] = shelf, counted
            return shelf, counted, address

    def _cut(self, arena, shelf, nbytes):
        """The address of a new piece."""
        size = shelf.nbytes
        wanted = SMALL_SEGMENT if size <= SMALL else MIDDLE_SEGMENT if size < MIDDLE else size
        segment = next((s for s in arena.segments if s.nbytes - s.used >= size and s.nbytes == wanted), None)
        if segment is None:
            segment = self._reserve(arena, wanted, size, nbytes)
        address = segment.address + segment.used
        segment.used += size
        segment.pieces.append(address)
        shelf.cut += 1
        return address

    def _reserve(self, arena, wanted, least, asked):
        """A new segment of ``wanted`` bytes, or of ``least`` where there are not so many even without the cached memory."""
        device, stats, driver = arena.device, self.stats(arena.device), _driver.current()
        for attempt, nbytes in enumerate((wanted, wanted, least) if least < wanted else (wanted, wanted)):
            if attempt == 1:
                stats.retries += 1
                if not self._captures:      # a capture allows neither waiting nor freeing
                    driver.synchronize(device)
                    self.empty_cache(device)
            if stats.reserved.current + nbytes > self._limits.get(device, float("inf")):
                continue
            try:
                segment = _Segment(driver.allocate(nbytes, device, arena.stream), nbytes)
            except MemoryError:
                continue
            arena.segments.append(segment)
            stats.reserved.rise(nbytes)
            stats.segments.rise(1)
            return segment
        stats.ooms += 1
        raise OutOfMemoryError(self._why(driver, device, stats, asked))

    def _why(self, driver, device, stats, asked):
        free, total = driver.memory_info(device)
        allowed, kept = self._limits.get(device, float("inf")), stats.reserved.current - stats.allocated
        return (f"CUDA out of memory. Tried to allocate {format_size(asked)}. GPU {device} has a total capacity of "
                f"{format_size(total)} of which {format_size(free)} is free. "
                + (f"{format_size(allowed)} allowed; " if allowed < float("inf") else "")
                + f"Of the allocated memory {format_size(stats.allocated)} is allocated by numtorch, and {format_size(kept)} is "
                "reserved by numtorch but unallocated.")

    # ---- streams and events ----

    def record_stream(self, block, stream, device=None):
        """Says that work on another stream (of ``device``; None: of the block's) uses ``block``: once dropped, it is used again
        only when what is on that stream by then is done. ``block`` may also be what ``pinned`` gave.
        """
        block = getattr(block, "block", block)
        if device is None:
            device = _driver.current().device() if block.device is None else block.device
        if block.device != device or block.stream != stream:
            block.streams = (block.streams or set()) | {(device, stream)}

    def settle(self):
        """Puts pieces on their shelves that other streams are done with. Not during a capture, which forbids to ask."""
        with self._lock:
            if self._captures:
                return
            while (dropped := _popped(self._used_elsewhere)) is not None:
                address, shelf, counted, streams = dropped
                shelf.stats.waiting += counted
                shelf.stats.active_peak = max(shelf.stats.active_peak, shelf.stats.allocated + shelf.stats.waiting)
                self._waiting.append((address, shelf, counted, [self._recorded(*where) for where in streams]))
            query, still = (_driver.current().query_event if self._waiting else None), []
            for address, shelf, counted, events in self._waiting:
                while events and query(events[-1][0]):
                    event, home = events.pop()
                    home.append(event)
                if events:
                    still.append((address, shelf, counted, events))
                else:
                    shelf.stats.waiting -= counted
                    shelf.pieces.append(address)
            self._waiting = still

    def _recorded(self, device, stream):
        event, home = self.take_event(device)
        with _driver.on(device):
            _driver.current().record_event(event, stream)
        return event, home

    def take_event(self, device, timing=False, blocking=False):
        """An event of ``device``, and the list to append it to when it is no longer used: events are never destroyed."""
        with self._lock:
            home = self._events.setdefault((device, timing, blocking), [])
        event = _popped(home)
        if event is None:
            with _driver.on(device):
                event = _driver.current().new_event(timing, blocking)
        return event, home

    # ---- giving back ----

    def empty_cache(self, device=None):
        """Gives the segments back to the driver of which no piece is in use, of one device or (None) of all; during a capture,
        which forbids it, none.
        """
        with self._lock:
            if self._captures:
                return
            self.settle()
            for arena in list(self._arenas.values()):
                if arena.segments and device in (None, arena.device) and not self._holders.get(arena.graphs):
                    self._empty(arena)

    def _empty(self, arena):
        free = {}                           # address -> the shelf that it was taken from
        for shelf in arena.shelves.values():
            while (address := _popped(shelf.pieces)) is not None:
                free[address] = shelf
        unused = [s for s in arena.segments if all(address in free for address in s.pieces)]
        if unused:
            driver, stats = _driver.current(), self.stats(arena.device)
            driver.synchronize(arena.device)            # kernels may still be under way in it
            for segment in unused:
                for address in segment.pieces:
                    free.pop(address).cut -= 1
                arena.segments.remove(segment)
                driver.free(segment.address, arena.device, arena.stream)
                stats.reserved.fall(segment.nbytes)
                stats.segments.fall(1)
        for address, shelf in free.items():
            shelf.pieces.append(address)

    def set_limit(self, device, nbytes):
        """The most bytes that may be reserved on ``device``; None: all of them."""
        self._limits[device] = float("inf") if nbytes is None else nbytes

    # ---- graphs ----

    def new_graphs(self):
        """The number of a new private pool of memory, for graphs."""
        with self._lock:
            self._next_graphs += 1
            return self._next_graphs - 1

    def begin_capture(self, device, stream, graphs):
        """From here on, what is allocated on ``stream``, and on streams that join its capture, belongs to the pool ``graphs``:
        a replay writes to the same addresses, so nothing else may have them before ``release``.
        """
        with self._lock:
            if device in self._captures:
                raise RuntimeError(f"a graph is already being captured on device {device}: one at a time")
            self.settle()
            self._captures[device] = stream, graphs
            self._holders[graphs] = self._holders.get(graphs, 0) + 1
            self._routes.clear()

    def end_capture(self, device):
        """The capture on ``device`` is over; its memory stays the graph's."""
        with self._lock:
            self._captures.pop(device, None)
            self._routes.clear()

    def release(self, graphs):
        """One graph with memory of the pool ``graphs`` is no more; after the last, ``empty_cache`` may give the memory back."""
        with self._lock:
            if graphs in self._holders:     # not if the driver has changed meanwhile
                self._holders[graphs] -= 1

    def _graphs_of(self, device, stream):
        under_capture, graphs = self._captures.get(device, (None, None))
        return graphs if stream == under_capture or graphs and _driver.current().is_capturing(stream) else None

    # ---- counting ----

    def stats(self, device):
        """The ``Stats`` of a device."""
        found = self._stats.get(device)
        return found if found is not None else self._stats.setdefault(device, Stats())

    def in_use(self, device):
        """How many blocks of ``device`` are in use, and how many of these are not held, but used by other streams still."""
        with self._lock:
            self.settle()
            shelves = [s for arena in self._arenas.values() if arena.device == device for s in arena.shelves.values()]
            waiting = sum(shelf.device == device for _, shelf, *_ in (*self._waiting, *self._used_elsewhere))
            return sum(s.cut - len(s.pieces) for s in shelves), waiting

    # ---- page-locked memory of the host ----

    def pinned(self, nbytes):
        """``nbytes`` of page-locked host memory as a writable buffer, whose attribute ``block`` is for ``record_stream``.

        Sizes are powers of two: to lock pages takes the driver about a millisecond a time.
        """
        size = max(1 << (nbytes - 1).bit_length(), 512) if nbytes else 512
        shelf = self._pinned_shelves.get(size)
        address = None if shelf is None else _popped(shelf.pieces)
        if address is None:
            shelf, address = self._pin(size)
        shelf.stats.allocated += size
        buffer = (ctypes.c_char * nbytes).from_address(address)
        buffer.block = Block(address, nbytes, None, shelf, size)
        return buffer

    def _pin(self, size):
        with self._lock:
            shelf = self._pinned_shelves.get(size)
            if shelf is None:
                shelf = self._pinned_shelves[size] = Shelf(size, None, None, self)
            self.settle()
            address = _popped(shelf.pieces)
            if address is None:
                try:
                    address = _driver.current().pin(size)
                except MemoryError:
                    self.empty_pinned()
                    try:
                        address = _driver.current().pin(size)
                    except MemoryError:
                        raise OutOfMemoryError(f"{format_size(size)} of the host's memory could not be page-locked") from None
                self._pinned[address] = size
            return shelf, address

    def empty_pinned(self):
        """Gives page-locked memory that is not in use back to the driver."""
        with self._lock:
            self.settle()
            for shelf in self._pinned_shelves.values():
                while (address := _popped(shelf.pieces)) is not None:
                    del self._pinned[address]
                    _driver.current().unpin(address)

    def is_pinned(self, address):
        """Whether an address of the host is in page-locked memory of this pool."""
        with self._lock:
            return any(start <= address < start + size for start, size in self._pinned.items())


def _popped(items):
    """The last of ``items``, taken off; None where there is none. Another thread may take it between a look and a pop."""
    try:
        return items.pop()
    except IndexError:
        return None


def format_size(n):
    """Bytes as torch writes them: 1024 bytes, 20.00 MiB."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n > unit:
            return f"{n / unit:.2f} {name}"
    return f"{n} bytes"


pool = Pool()
_driver.on_change.append(pool.reset)
