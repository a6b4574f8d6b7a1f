"""A worker process of the DataLoader: its loop, its seeds, and its exceptions on their way to the caller."""
import multiprocessing
import os
import pickle
import random
import sys
import traceback
from dataclasses import dataclass

import numpy as np

from ... import kernels as K
from ...random import manual_seed
from ._fetch import ITERABLE, create_fetcher
from ._transport import DATA, END, ERROR, RESUMED, Outbox

CHECK_SECONDS = 1.0         # how often a waiting worker looks whether its parent still lives

@dataclass(frozen=True)
class WorkerInfo:
    """What ``get_worker_info`` tells: this worker's number, how many there are, its seed, and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: object


_info = None


def get_worker_info():
    """In a DataLoader's worker process its WorkerInfo (id, num_workers, seed, dataset); None elsewhere."""
    return _info


class WorkerError:
    """An exception of a worker on its way to the parent, with its traceback as text."""

    def __init__(self, worker_id):
        kind, value, trace = sys.exc_info()
        self.kind, self.worker_id = kind, worker_id
        self.text = "".join(traceback.format_exception(kind, value, trace))

    def __reduce__(self):
        try:
            pickle.dumps(self.kind)
        except Exception:       # a class made inside a function: known here only
            self.kind = RuntimeError
        return _rebuild_error, (self.kind, self.worker_id, self.text)

    def reraise(self):
        """Raises an exception of the same type, or RuntimeError for one that cannot be made from a message."""
        message = (f"Caught {self.kind.__name__} in DataLoader worker process {self.worker_id}.\n"
                   f"Original {self.text}")
        if self.kind is KeyError:
            message = _KeyText(message)
        try:
            exception = self.kind(message)
        except Exception:
            raise RuntimeError(message) from None
        try:
            raise exception
        finally:
            del exception       # this frame is in its traceback: a cycle, which would keep the iterator and its workers


def _rebuild_error(kind, worker_id, text):
    found = object.__new__(WorkerError)
    found.kind, found.worker_id, found.text = kind, worker_id, text
    return found


class _KeyText(str):
    """KeyError shows repr() of its argument, in which a traceback would be one long line."""

    __repr__ = str.__str__


# ---- seeds -------------------------------------------------------------------------------------------------------------

def numpy_seed(base_seed, worker_id):
    """The four 32-bit words that NumPy's legacy generator is seeded with in a worker.

    The mixing of ``numpy.random.SeedSequence`` (M. E. O'Neill's seed_seq) on the entropy (worker_id, low and high half of
    base_seed, 0), as in torch's ``_generate_state``.
    """
    mask, pool, constant = 0xffffffff, [], 0x43b0d7e5

    def scramble(value, multiplier):
        nonlocal constant
        value ^= constant
        constant = constant * multiplier & mask
        value = value * constant & mask
        return value ^ value >> 16

    for word in (worker_id, base_seed & mask, base_seed >> 32, 0):
        pool.append(scramble(word, 0x931e8875))
    for source in range(4):
        for target in range(4):
            if source != target:
                mixed = 0xca01f9dd * pool[target] - 0x4973f715 * scramble(pool[source], 0x931e8875) & mask
                pool[target] = mixed ^ mixed >> 16
    constant = 0x8b51f9dd
    return [scramble(word, 0x58f38ded) for word in pool]


# ---- the loop ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Task:
    """What a worker needs to know."""

    kind: int
    dataset: object
    auto_collation: bool
    collate_fn: object
    drop_last: bool
    base_seed: int
    init_fn: object
    worker_id: int
    num_workers: int


def orders(conn, done):
    """The parent's orders one after another, until it says stop, closes the pipe, or is no more."""
    started_by, parent = os.getppid(), multiprocessing.parent_process()
    while not done.is_set():
        try:
            if conn.poll(CHECK_SECONDS):
                order = conn.recv()
                if order is None or done.is_set():
                    return
                yield order
            elif os.getppid() != started_by or not parent.is_alive():
                return
        except (EOFError, ConnectionResetError):
            return


def worker_loop(task, conn, done, others):
    """Runs in the worker. An order is (number of a batch, its indices, messages received so far); with ("resume", None, ...) a
    new epoch begins, None ends the worker. ``others`` are copies, made by fork, of the parent's ends of all pipes.
    """
    global _info
    for inbox in others:
        inbox.close()       # an end counts as open while there is a copy of it
    try:
        K._jit.set_num_threads(1)
        seed = task.base_seed + task.worker_id
        random.seed(seed)
        manual_seed(seed)
        np.random.seed(numpy_seed(task.base_seed, task.worker_id))
        _info = WorkerInfo(task.worker_id, task.num_workers, seed, task.dataset)
        outbox = Outbox(conn)
        fetcher, ended = _prepare(task, task.init_fn), False
        for number, indices, outbox.taken in orders(conn, done):
            if number == "resume":
                outbox.put(number, RESUMED, None)
                ended = False
                if not isinstance(fetcher, WorkerError):
                    fetcher = _prepare(task, None)
            elif isinstance(fetcher, WorkerError):
                outbox.put(number, ERROR, fetcher)
            elif not ended:
                try:
                    outbox.put(number, DATA, fetcher.fetch(indices))
                except Exception as error:
                    ended = isinstance(error, StopIteration) and task.kind == ITERABLE
                    outbox.put(number, *((END, None) if ended else (ERROR, WorkerError(task.worker_id))))
        if not done.is_set():
            outbox.close()
    except KeyboardInterrupt:
        pass        # Ctrl-C reaches every process of the terminal; the parent raises it


def _prepare(task, init_fn):
    """The fetcher, after the user's ``init_fn``; what either raises, as a WorkerError."""
    try:
        if init_fn is not None:
            init_fn(task.worker_id)
        return create_fetcher(task.kind, task.dataset, task.auto_collation, task.collate_fn, task.drop_last)
    except Exception:
        return WorkerError(task.worker_id)
