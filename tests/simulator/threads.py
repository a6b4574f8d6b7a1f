"""The threads of a simulated block: greenlets that run one at a time, switched at barriers and at warp operations.

A warp runs as far as it can, to a barrier of the block or to its end, before the next warp does, and a lane as far as the
next operation of its warp before the next lane: a schedule that is the worst for code that forgot to synchronise.
"""
import threading

import numpy as np
from greenlet import getcurrent, greenlet

from .races import join

WARP, FULL, BARRIER = 32, 0xFFFFFFFF, "barrier"
DONE = object()


class KernelError(AssertionError):
    """A kernel did what it must not; the message names kernel, block and thread."""


class Divergence(Exception):
    """Threads that must arrive together at a barrier or warp operation do not."""


class Worker(greenlet):
    """A greenlet that runs one thread of a block after another; ``cuda.task`` is what a thread does."""

    __slots__ = ("cuda", "index", "lane", "answer")

    def __init__(self, cuda):
        super().__init__(self._life)
        self.cuda = cuda

    def _life(self, _):
        np.seterr(all="ignore")     # a greenlet has a context of its own
        while True:
            try:
                self.cuda.task()
                result = DONE
            except Exception as error:      # for the scheduler, which names the thread
                result = error
            self.cuda.back(result)


class _Idle(threading.local):
    """Workers that wait for a task; a greenlet belongs to the thread that made it."""

    def __init__(self):
        self.workers = []


_idle = _Idle()


def turned(items, rng):
    """The items in another order, cheaply: from a random one on, forwards or backwards."""
    k = rng.randrange(2 * len(items))
    return items[k:] + items[:k] if k < len(items) else items[k - len(items)::-1] + items[:k - len(items):-1]


def run_block(cuda, indices, rng):
    """Runs ``cuda.task`` for each thread of a block; ``rng`` shuffles warps and lanes, None keeps them in order."""
    count = len(indices)
    spare = _idle.workers
    workers = [spare.pop() if spare else Worker(cuda) for _ in range(count)]
    for number, (t, index) in enumerate(zip(workers, indices)):
        t.index, t.lane, t.answer = index, number & 31, None
    warps = [Warp(workers[k:k + WARP], k, rng) for k in range(0, count, WARP)]
    cuda.back = getcurrent().switch
    try:
        while True:
            if rng:
                rng.shuffle(warps)
            arrived = []
            for warp in warps:
                warp.run(cuda, arrived, rng)
            if not arrived:
                break
            _release(cuda, arrived)
    except BaseException:
        for t in workers:
            if not t.dead:
                t.throw()           # ends it, wherever it waits
        raise
    spare += workers


class Warp:
    """32 threads from number ``first``, or what is left of a block: ``ready`` can run, ``alive`` (a mask) have not ended."""

    def __init__(self, lanes, first, rng):
        self.lanes, self.first, self.ready, self.alive = lanes, first, lanes[:], (1 << len(lanes)) - 1
        if rng:
            rng.shuffle(self.ready)

    def run(self, cuda, arrived, rng):
        """Runs until each lane has ended or is at a barrier; ``arrived`` takes (lane, which barrier, what it brought)."""
        ready, self.ready, groups, cuda.first = self.ready, [], {}, self.first
        while ready:
            last, values = None, None
            for t in ready:
                cuda.threadIdx = t.index
                cuda.laneid = lane = t.lane
                result = t.switch(t.answer)
                if type(result) is not tuple:
                    if result is not DONE:
                        raise result
                    self.alive &= ~(1 << lane)
                    continue
                key, value = result
                if key is not last and key != last:
                    if key[0] == BARRIER:
                        arrived.append((t, key, value))
                        self.ready.append(t)
                        continue
                    last, values = key, groups.setdefault(key, {})      # (operation, mask): lane -> what it brought
                values[lane] = value
            if not groups:
                return
            ready = self._released(cuda, groups, rng)

    def _released(self, cuda, groups, rng):
        """The lanes of all warp operations at which every lane of the mask that has not ended waits."""
        ready = []
        for key, values in list(groups.items()):
            needed = key[1] & self.alive
            if len(values) == needed.bit_count() and (needed == FULL or all(needed >> lane & 1 for lane in values)):
                del groups[key]
                members = [self.lanes[lane] for lane in values]
                for t in members:
                    t.answer = values
                ready += turned(members, rng) if rng else members
                if key[0] == "syncwarp" and cuda.block.clocks:
                    join(cuda.block.clocks, [self.first + lane for lane in values])
        if not ready:
            _report_warp(cuda, groups, self)
        return ready


def _report_warp(cuda, groups, warp):
    """Says which lanes wait at which warp operation for which others."""
    said = []
    for (what, mask), values in groups.items():
        missing = sum(1 << t.lane for t in warp.lanes if mask & warp.alive & ~sum(1 << k for k in values) & 1 << t.lane)
        said.append(f"lanes {_lanes(sum(1 << k for k in values))} wait at {what} with mask {mask:#x} for lanes {_lanes(missing)}")
        cuda.threadIdx = warp.lanes[next(iter(values))].index
    raise Divergence("; ".join(said) + ", which do not take part")


def _lanes(mask):
    return ", ".join(str(k) for k in range(WARP) if mask >> k & 1)


def _release(cuda, arrived):
    """All threads of the block that have not ended are at a barrier: checks that it is the same one, gives each the result."""
    barrier, values = arrived[0][1], []
    for t, where, value in arrived:
        if where != barrier:
            cuda.threadIdx = t.index
            raise Divergence(f"a divergent barrier: this thread is at {_said(where)}, {arrived[0][0].index} at {_said(barrier)}")
        values.append(bool(value))
    count = {"syncthreads": None, "syncthreads_count": sum, "syncthreads_and": all, "syncthreads_or": any}[barrier[1]]
    result = count and int(count(values))
    for t, _, _ in arrived:
        t.answer = result
    cuda.block.epoch += 1


def _said(barrier):
    _, kind, line, code, _ = barrier
    return f"{kind} in line {line} of {code.co_name}"
