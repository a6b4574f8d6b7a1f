"""The process group of one machine: every process has a slot in memory that all of them map.

An operation copies what a process gives into its slot, tells the others, and reads the others' slots. There are two sets of
slots, used in turn: a process that begins the operation after the next has been told that all have finished this one.
What is larger than a slot goes in pieces.
"""
import threading
import time
from collections import deque

import numpy as np

from ..dtypes import bfloat16, float16
from ._mesh import LAST_WORDS, Mesh
from .constants import DistBackendError, DistStoreError, seconds
from .process_group import ProcessGroup, RedOpType, Work

SLOT = 1 << 22              # bytes that a process gives at a time
SMALL = 1 << 15             # bytes that every process reduces for itself, rather than each a part for all
_HALVES = (float16._np, bfloat16._np)
_BITS = {RedOpType.BAND: np.bitwise_and, RedOpType.BOR: np.bitwise_or, RedOpType.BXOR: np.bitwise_xor}
_COMBINE = {RedOpType.SUM: np.add, RedOpType.AVG: np.add, RedOpType.PRODUCT: np.multiply, RedOpType.MIN: np.minimum,
            RedOpType.MAX: np.maximum, **_BITS}


def flat(tensor):
    """The elements of a tensor as a flat array: its own memory, or a copy where that has gaps."""
    return np.ascontiguousarray(tensor._a.reshape(-1))


def _bytes(array):
    return array.view(np.uint8)


class _Filled:
    """The flat elements of ``tensor``, written back on exit where they had to be copied."""

    def __init__(self, tensors):
        self.tensors = tensors

    def __enter__(self):
        for tensor in self.tensors:
            if not tensor._a.flags.writeable:
                raise RuntimeError("distributed: a tensor that is to be written lies in read-only memory; clone() it first")
        self.arrays = [flat(tensor) for tensor in self.tensors]
        return self.arrays

    def __exit__(self, kind, *exc):
        if kind is None:
            for tensor, array in zip(self.tensors, self.arrays):
                if not np.may_share_memory(array, tensor._a):
                    tensor._a[...] = array.reshape(tensor._a.shape)


def check_reduction(op, dtype):
    """Raises an error where ``op`` is no reduction, or not one of such elements."""
    if not isinstance(op, RedOpType):
        raise TypeError(f"op must be a ReduceOp, such as ReduceOp.SUM, but got {type(op).__name__}")
    if op not in _COMBINE:
        raise NotImplementedError(f"ReduceOp.{op.name} is not built; multiply the tensor before a SUM")
    if op in _BITS and dtype.kind not in "iub":
        raise RuntimeError(f"Cannot use ReduceOp.{op.name} with non-integral dtype")
    if dtype.kind == "c" and op in (RedOpType.MIN, RedOpType.MAX):
        raise ValueError(f"all_reduce does not support {op} on complex tensors")


def combine(op, parts, out):
    """Writes the reduction of ``parts``, in their order, to ``out``, which may be the first of them."""
    combine_two, total = _COMBINE[op], out
    if out.dtype in _HALVES:
        total = parts[0].astype(np.float32)     # every partial sum would be rounded
    elif len(parts) == 1:
        out[:] = parts[0]
    first = total if total is not out else parts[0]
    for part in parts[1:]:
        combine_two(first, part, out=total)
        first = total
    if op is RedOpType.AVG:
        if out.dtype.kind in "iub":
            np.floor_divide(total, len(parts), out=total, casting="unsafe")
        else:
            np.divide(total, len(parts), out=total)
    if total is not out:
        out[:] = total


class ShmProcessGroup(ProcessGroup):
    """Processes of one machine.

    Args:
        mesh (Mesh): the sockets between them.
        timeout (timedelta): how long an operation may wait for the others.
        name (str): of the backend.
    """

    def __init__(self, mesh, timeout, name="shm"):
        super().__init__(mesh.rank, mesh.size, name)
        self._mesh, self._seconds, self._number = mesh, seconds(timeout, "init_process_group"), 0
        self._order, self._tasks, self._worker = threading.Condition(), deque(), None
        deadline = self._deadline()
        try:
            segment = mesh.share_segment(2 * self._size * SLOT, deadline)
        except TimeoutError:
            raise DistBackendError(f"rank {self._rank} has waited in vain for the memory of the process group") from None
        self._slots = np.ndarray((2, self._size, SLOT), np.uint8, segment)

    def set_timeout(self, timeout):
        """Sets how long an operation may wait for the others, a timedelta."""
        self._seconds = seconds(timeout, "set_timeout")

    def _deadline(self, timeout=None):
        return time.monotonic() + (self._seconds if timeout is None else seconds(timeout, "timeout"))

    # ---- the order of operations ---------------------------------------------------------------------------------------

    def _do(self, task, async_op, tensors=()):
        """Runs ``task()``: here and now, or after what was begun before in a thread."""
        if self._slots is None:
            raise DistBackendError(self._mesh.error)
        work = Work(tensors)
        with self._order:
            if not async_op and not self._tasks:
                task()
                work._finish()
                return work
            self._tasks.append((task, work))
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._run_tasks, daemon=True)
                self._worker.start()
            self._order.notify_all()
        return work

    def _run_tasks(self):
        while True:
            with self._order:
                if not self._tasks and not self._order.wait_for(lambda: self._tasks, 1.0):
                    self._worker = None
                    return
                task, work = self._tasks[0]
            error = None
            try:
                task()
            except Exception as raised:
                error = raised
            with self._order:
                self._tasks.popleft()       # only now: what is called meanwhile must not run at once
                self._order.notify_all()
            work._finish(error)

    def _pieces(self, text, nbytes, share=1):
        """For each piece of ``nbytes`` bytes: (from, to, this turn's slots, a function that waits for the others).

        ``share`` is by how many parts a process gives at a time.
        """
        step = SLOT // share // 64 * 64
        text = text.encode()

        def sync():
            mesh.sync(number, text, self._deadline())

        mesh = self._mesh
        mesh.doing = text.decode()
        for begin in range(0, max(nbytes, 1), step):
            number = self._number
            self._number += 1
            yield begin, min(begin + step, nbytes), self._slots[number % 2], sync
        mesh.doing = ""

    # ---- collective operations -----------------------------------------------------------------------------------------

    def allreduce(self, tensor, op, async_op=False):
        check_reduction(op, tensor._a.dtype)
        return self._do(lambda: self._reduce(tensor, op, None), async_op, [tensor])

    def reduce(self, tensor, dst, op, async_op=False):
        check_reduction(op, tensor._a.dtype)
        return self._do(lambda: self._reduce(tensor, op, dst), async_op, [tensor])

    def _reduce(self, tensor, op, dst):
        writes = dst is None or dst == self._rank
        text = f"{'all_reduce' if dst is None else 'reduce'}({op.name}, {_what(tensor)}{_to(dst)})"
        with _Filled([tensor] if writes else []) as arrays:
            array = arrays[0] if writes else flat(tensor)
            data, dtype = _bytes(array), array.dtype
            for begin, end, slots, sync in self._pieces(text, data.nbytes):
                n = end - begin
                slots[self._rank, :n] = data[begin:end]
                sync()
                if n <= SMALL or self._size == 1:
                    if writes:
                        combine(op, [slot[:n].view(dtype) for slot in slots], data[begin:end].view(dtype))
                    continue
                part = -(-n // self._size // 64) * 64
                mine = slice(min(part * self._rank, n), min(part * (self._rank + 1), n))
                combine(op, [slot[mine].view(dtype) for slot in slots], slots[0, mine].view(dtype))
                sync()
                if writes:
                    data[begin:end] = slots[0, :n]

    def broadcast(self, tensor, src, async_op=False):
        return self._do(lambda: self._broadcast(tensor, src), async_op, [tensor])

    def _broadcast(self, tensor, src):
        with _Filled([] if src == self._rank else [tensor]) as arrays:
            data = _bytes(arrays[0] if arrays else flat(tensor))
            for begin, end, slots, sync in self._pieces(f"broadcast({_what(tensor)}, src={src})", data.nbytes):
                if src == self._rank:
                    slots[src, :end - begin] = data[begin:end]
                sync()
                if src != self._rank:
                    data[begin:end] = slots[src, :end - begin]

    def allgather(self, outputs, tensor, async_op=False):
        return self._do(lambda: self._gather(outputs, tensor, None), async_op, outputs)

    def gather(self, outputs, tensor, dst, async_op=False):
        return self._do(lambda: self._gather(outputs or [], tensor, dst), async_op, outputs or [])

    def _gather(self, outputs, tensor, dst):
        data, writes = _bytes(flat(tensor)), dst is None or dst == self._rank
        text = f"{'all_gather' if dst is None else 'gather'}({_what(tensor)}{_to(dst)})"
        with _Filled(outputs) as arrays:
            targets = [_bytes(array) for array in arrays]
            for begin, end, slots, sync in self._pieces(text, data.nbytes):
                slots[self._rank, :end - begin] = data[begin:end]
                sync()
                if writes:
                    for target, slot in zip(targets, slots):
                        target[begin:end] = slot[:end - begin]

    def scatter(self, tensor, inputs, src, async_op=False):
        return self._do(lambda: self._scatter(tensor, inputs, src), async_op, [tensor])

    def _scatter(self, tensor, inputs, src):
        parts = [_bytes(flat(t)) for t in inputs] if src == self._rank else ()
        with _Filled([tensor]) as arrays:
            data = _bytes(arrays[0])
            for begin, end, slots, sync in self._pieces(f"scatter({_what(tensor)}, src={src})", data.nbytes):
                for slot, part in zip(slots, parts):
                    slot[:end - begin] = part[begin:end]
                sync()
                data[begin:end] = slots[self._rank, :end - begin]

    def reduce_scatter(self, output, inputs, op, async_op=False):
        check_reduction(op, output._a.dtype)
        return self._do(lambda: self._reduce_scatter(output, inputs, op), async_op, [output])

    def _reduce_scatter(self, output, inputs, op):
        parts, dtype = [_bytes(flat(t)) for t in inputs], output._a.dtype
        with _Filled([output]) as arrays:
            data, text = _bytes(arrays[0]), f"reduce_scatter({op.name}, {_what(output)})"
            for begin, end, slots, sync in self._pieces(text, data.nbytes, self._size):
                n, places = end - begin, self._places()
                for place, part in zip(places, parts):
                    slots[self._rank, place:place + n] = part[begin:end]
                sync()
                mine = slice(places[self._rank], places[self._rank] + n)
                combine(op, [slot[mine].view(dtype) for slot in slots], data[begin:end].view(dtype))

    def _places(self):
        """Where in a slot the part for each process begins."""
        return [SLOT // self._size // 64 * 64 * i for i in range(self._size)]

    def alltoall(self, outputs, inputs, async_op=False):
        return self._do(lambda: self._alltoall(outputs, inputs), async_op, outputs)

    def _alltoall(self, outputs, inputs):
        sizes = np.array([t._a.nbytes for t in inputs], np.int64)
        table = np.empty((self._size, self._size), np.int64)
        for _, _, slots, sync in self._pieces("all_to_all", sizes.nbytes):
            slots[self._rank, :sizes.nbytes] = _bytes(sizes)
            sync()
            table[:] = slots[:, :sizes.nbytes].view(np.int64)
        for source, output in enumerate(outputs):
            if output._a.nbytes != table[source, self._rank]:
                self._mesh.abort(f"all_to_all: rank {self._rank} expects {output._a.nbytes} bytes from rank {source}, but that "
                                 f"gives {table[source, self._rank]} bytes")
        parts = [_bytes(flat(t)) for t in inputs]
        with _Filled(outputs) as arrays:
            targets, places = [_bytes(array) for array in arrays], self._places()
            for begin, end, slots, sync in self._pieces("all_to_all", int(table.max()), self._size):
                for place, part in zip(places, parts):
                    piece = part[begin:end]
                    slots[self._rank, place:place + piece.size] = piece
                sync()
                for target, slot in zip(targets, slots):
                    piece = target[begin:end]
                    piece[:] = slot[places[self._rank]:places[self._rank] + piece.size]

    def barrier(self, timeout=None, async_op=False):
        return self._do(lambda: self._barrier(timeout), async_op)

    def _barrier(self, timeout):
        self._mesh.doing, number = "barrier", self._number
        self._number += 2       # the same slots again: this operation used none
        self._mesh.sync(number, b"barrier", self._deadline(timeout))
        self._mesh.doing = ""

    # ---- messages ------------------------------------------------------------------------------------------------------

    def send(self, tensor, dst, tag):
        self._mesh.post(dst, tag, _bytes(flat(tensor)))
        return _Sent(self, dst)

    def recv(self, tensor, src, tag):
        return _Received(self, tensor, src, tag)

    def shutdown(self):
        with self._order:
            self._order.wait_for(lambda: not self._tasks, LAST_WORDS)
        self._mesh.leave()
        self._slots = None      # who still holds the group does not hold its memory


class _Sent(Work):
    """A message that is on its way."""

    def __init__(self, group, dst):
        super().__init__()
        self._group, self._dst = group, dst

    def wait(self, timeout=None):
        """Waits until not too much is on its way to that process; returns True."""
        try:
            self._group._mesh.drained(self._dst, self._group._deadline(timeout))
        except TimeoutError:
            raise DistBackendError(f"send: rank {self._dst} did not take earlier messages in time") from None
        self._done.set()
        return True

    def is_completed(self):
        """True: the tensor may be changed."""
        return True

    is_success = is_completed


class _Received(Work):
    """A message that is awaited."""

    def __init__(self, group, tensor, src, tag):
        super().__init__([tensor])
        self._group, self._src, self._filled = group, src, _Filled([tensor])
        self._waiting = group._mesh.want(src, tag, _bytes(self._filled.__enter__()[0]))

    def wait(self, timeout=None):
        """Waits until the message is there; returns True."""
        mesh, waiting = self._group._mesh, self._waiting
        if not self._done.is_set():
            before, mesh.doing = mesh.doing, f"recv(src={'any' if self._src is None else self._src})"
            try:
                mesh.wait(lambda: waiting.done, self._group._deadline(timeout), self._src)
            except TimeoutError:
                waiting.done, waiting.error = True, f"recv: no message has come from rank {self._src} in time"
            except DistBackendError as error:
                self._finish(error)
                raise
            finally:
                mesh.doing = before
            self._take()
        return super().wait()

    def _take(self):
        error = self._waiting.error
        if error is None:
            self._filled.__exit__(None)
        self._finish(error and DistBackendError(error))

    def is_completed(self):
        """True when the message is there."""
        if not self._done.is_set():
            self._group._mesh.progress()
            if self._waiting.done:
                self._take()
        return self._done.is_set()

    def is_success(self):
        """True when the message is there and was of the right size."""
        return self.is_completed() and self._error is None

    def source_rank(self):
        """The rank from which the message came."""
        self.wait()
        return self._waiting.source


def _what(tensor):
    return f"{tensor.dtype}, {tensor._a.size} elements"


def _to(dst):
    return "" if dst is None else f", dst={dst}"


def create(name, store, rank, size, timeout):
    """A ShmProcessGroup of the processes that call this with one ``store``."""
    def address_of(other):
        try:
            return store.get(f"rank{other}").decode()
        except DistStoreError as error:
            raise DistStoreError(f"rank {rank} has waited in vain for rank {other} to join the process group of {size}: "
                                 f"{error}") from error
    deadline = time.monotonic() + seconds(timeout, "timeout")
    mesh = Mesh(rank, size, lambda address: store.set(f"rank{rank}", address), address_of, deadline)
    group = ShmProcessGroup(mesh, timeout, name)
    group.barrier().wait()
    return group
