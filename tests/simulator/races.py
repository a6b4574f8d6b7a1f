"""Finds data races in shared memory: two threads, one of them writing, and nothing between that orders them.

Barriers of the block order all threads, syncwarp the lanes that take part in it (kept as a vector clock for each lane);
shuffles and votes do not order memory in CUDA, and so not here. Atomic operations do not race with each other.
"""
from .memory import Array

READ, WRITE, ATOMIC = range(3)
_WORDS = ("read", "written", "changed atomically")


class Race(Exception):
    """Two threads access one element without an order, and one of them writes it."""


class Watch:
    """What was done to each element of one array since the last barrier, by which thread."""

    def __init__(self, cuda, name):
        self.cuda, self.name, self.cells = cuda, name, {}

    def note(self, i, kind):
        """The running thread accesses element ``i``; raises Race."""
        cuda = self.cuda
        me, epoch, clocks = cuda.first + cuda.laneid, cuda.block.epoch, cuda.block.clocks
        cell = self.cells.get(i)
        if cell is None or cell[0] != epoch:
            cell = self.cells[i] = (epoch, ({}, {}, {}))
        for other_kind in ((WRITE, ATOMIC), (READ, WRITE, ATOMIC), (READ, WRITE))[kind]:
            for other, when in cell[1][other_kind].items():
                if other != me and (other >> 5 != me >> 5 or clocks[me][other & 31] <= when):
                    raise Race(f"element {i} of {self.name} was {_WORDS[other_kind]} by thread {cuda.indices[other]} and is "
                               f"{_WORDS[kind]} by thread {cuda.indices[me]} with no barrier between")
        cell[1][kind][me] = clocks[me][me & 31]


def join(clocks, members):
    """Orders what the threads ``members`` did before this against what they do after it."""
    for t in members:
        clocks[t][t & 31] += 1
    latest = [max(column) for column in zip(*(clocks[t] for t in members))]
    for t in members:
        clocks[t] = latest[:]


def watched(kind, cache={}):  # noqa: B006 - one class for each class of arrays
    """The class of arrays ``kind`` with a Watch: ``watch``, and ``step``, by which an index is multiplied for it."""
    found = cache.get(kind)
    if found is None:
        def load(self, i):
            self.watch.note(i * self.step, READ)
            return kind.load(self, i)

        def store(self, i, value):
            self.watch.note(i * self.step, WRITE)
            kind.store(self, i, value)

        def exchange(self, i, change):
            self.watch.note(i * self.step, ATOMIC)
            old = kind.load(self, i)
            kind.store(self, i, change(old))
            return old

        own = {"__slots__": ("watch", "step"), "load": load, "store": store, "exchange": exchange, "load_vector": Array.load_each}
        if kind.load is kind.__getitem__:
            own.update(__getitem__=load)
        if kind.store is kind.__setitem__:
            own.update(__setitem__=store)
        found = cache[kind] = type("Watched" + kind.__name__, (kind,), own)
    return found
