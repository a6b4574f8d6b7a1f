"""DataLoader: batches of a dataset, made in this process or in worker processes."""
import itertools
import multiprocessing
import os
import signal
import time
import warnings
import weakref
from multiprocessing import connection
from typing import Generic, TypeVar

from ... import cuda
from ... import random as generators
from ..._legacy import legacy
from . import _transport, _worker
from ._collate import default_collate, default_convert, pinned
from ._fetch import ITERABLE, MAP, create_fetcher
from ._worker import get_worker_info
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

JOIN_SECONDS = 5.0      # how long a worker may take to finish its last batch before it is terminated

_T_co = TypeVar("_T_co", covariant=True)
_live = weakref.WeakSet()       # iterators with workers: a forked worker closes its copies of their ends of pipes


class _Endless:
    """The sampler of an IterableDataset: asks for nothing in particular, for ever."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader(Generic[_T_co]):
    """Gives the batches of a dataset, one epoch an iteration.

    Args:
        dataset (Dataset): map-style (``__getitem__`` and ``__len__``) or an IterableDataset.
        batch_size (int): items in a batch; None gives single items, or what ``sampler`` asks for at once.
        shuffle (bool): a new random order each epoch.
        sampler (iterable): the order of indices, instead of ``shuffle``.
        batch_sampler (iterable): gives a batch's list of indices, instead of batch_size, shuffle, sampler and drop_last.
        num_workers (int): processes that make batches; 0 makes them in this one.
        collate_fn (callable): makes a batch of a list of items; default ``default_collate`` (``default_convert`` of single
            items where ``batch_size`` is None).
        pin_memory (bool): put the batches' tensors in page-locked memory, where there is a CUDA device; a warning says if not.
        drop_last (bool): leave out a last batch that is not full.
        timeout (float): seconds to wait for a worker's batch, 0 for ever.
        worker_init_fn (callable): called with the worker's number in each worker, after it is seeded.
        multiprocessing_context (str or context): how workers start: "fork", "spawn" or "forkserver"; default Python's.
        generator (Generator): draws the order and the workers' seeds; default the global one.
        prefetch_factor (int): batches that each worker makes ahead; default 2.
        persistent_workers (bool): keep the workers from one epoch to the next.
        pin_memory_device (str): page-locked memory serves all devices, whichever is named.
        in_order (bool): give batches in the order of the sampler, and not as they are ready.

    Worker i is seeded with s + i (numtorch, ``random``; NumPy from both), where s is drawn when an iteration begins: the
    order and the seeds equal torch's from the same generator state.

    Raises:
        ValueError: arguments that exclude each other or are out of range.
        RuntimeError: (iterating) a worker died or did not answer within ``timeout``. An exception in a worker is raised
            here with its type, its traceback in the message.

    >>> list(DataLoader(range(5), batch_size=2))
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    _fixed = False
    _FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")

    def __init__(self, dataset, batch_size=1, shuffle=None, sampler=None, batch_sampler=None, num_workers=0, collate_fn=None,
                 pin_memory=False, drop_last=False, timeout=0, worker_init_fn=None, multiprocessing_context=None,
                 generator=None, *, prefetch_factor=None, persistent_workers=False, pin_memory_device="", in_order=True):
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError("prefetch_factor option could only be specified in multiprocessing. Let num_workers > 0 to "
                             "enable multiprocessing, otherwise set prefetch_factor to None.")
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, "
                                     f"but got {name}={value}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.multiprocessing_context = multiprocessing_context
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self._kind = ITERABLE if iterable else MAP
        self._reported_length = None        # of an IterableDataset, once len() was asked for
        self._iterator = None
        self._fixed = True
        self.check_worker_number_rationality()

    def __setattr__(self, name, value):
        if self._fixed and name in self._FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        """How workers are started: a multiprocessing context, or None for Python's default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            if self.num_workers == 0:
                raise ValueError("multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                                 f"but got num_workers={self.num_workers}")
            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError("multiprocessing_context option should specify a valid start method in "
                                     f"{methods!r}, but got multiprocessing_context={context!r}")
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError("multiprocessing_context option should be a valid context object or a string specifying the "
                                f"start method, but got multiprocessing_context={context}")
        self._context = context

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self):
        if self.num_workers == 0:
            return _SingleProcessIterator(self)
        if not self.persistent_workers:
            return _MultiProcessIterator(self)
        if self._iterator is None or self._iterator.closed:
            self._iterator = _MultiProcessIterator(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self):
        if self._kind == MAP:
            return len(self._index_sampler)
        # Whether the dataset keeps to the length it reports cannot be known; iterators warn when it does not.
        n = self._reported_length = len(self.dataset)
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def check_worker_number_rationality(self):
        """Warns when there are to be more workers than cores."""
        if hasattr(os, "sched_getaffinity"):
            cores = len(os.sched_getaffinity(0))
        else:
            cores = os.cpu_count() or 1
        if self.num_workers > cores:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number of "
                f"worker in current system is {cores}, which is smaller than what this DataLoader is going to create. "
                "Please be aware that excessive worker creation might get DataLoader running slow or even freeze, lower the "
                "worker number to avoid potential slowness/freeze if necessary.", stacklevel=3)


# ---- iterators ---------------------------------------------------------------------------------------------------------

class _Iterator:
    """One epoch. What it draws, and when, is torch's: the workers' seed at once, the order with the first batch."""

    def __init__(self, loader):
        self._dataset, self._kind, self._index_sampler = loader.dataset, loader._kind, loader._index_sampler
        self._pins = loader.pin_memory and cuda.is_available()
        if loader.pin_memory and not self._pins:
            warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't "
                          "be used.", stacklevel=3)
        self._begin(loader)
        self._base_seed = generators.draw_int64(loader.generator)

    def _begin(self, loader):
        self._indices = iter(self._index_sampler)
        self._reported_length, self._yielded = loader._reported_length, 0

    def __iter__(self):
        return self

    def __len__(self):
        return len(self._index_sampler)

    def _count(self, hint=""):
        self._yielded += 1
        if self._reported_length is not None and self._yielded > self._reported_length:
            warnings.warn(f"Length of IterableDataset {self._dataset} was reported to be {self._reported_length}(when "
                          f"accessing len(dataloader)), but {self._yielded} samples have been fetched. {hint}", stacklevel=3)

    def next(self):
        """``next(iterator)``, as Python 2 spelled it."""
        legacy("iterator.next() is an old spelling: use next(iterator)")
        return next(self)

    def __reduce__(self):
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _SingleProcessIterator(_Iterator):
    def __init__(self, loader):
        super().__init__(loader)
        if loader.timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        self._fetcher = create_fetcher(loader._kind, loader.dataset, loader._auto_collation, loader.collate_fn,
                                       loader.drop_last)

    def __next__(self):
        data = self._fetcher.fetch(next(self._indices))
        self._count()
        return pinned(data) if self._pins else data


class _MultiProcessIterator(_Iterator):
    """Hands index lists to workers in turn and takes their batches back, at most ``prefetch_factor`` each under way."""

    def __init__(self, loader):
        super().__init__(loader)
        if loader.prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        self._timeout, self._in_order, self._persistent = loader.timeout, loader.in_order, loader.persistent_workers
        self._limit = loader.prefetch_factor * loader.num_workers
        context = loader.multiprocessing_context or multiprocessing.get_context()
        self._done, self._workers, self._inboxes = context.Event(), [], []
        self._close = weakref.finalize(self, _close, os.getpid(), self._done, self._workers, self._inboxes)
        forks = context.get_start_method() == "fork"
        for i in range(loader.num_workers):
            task = _worker.Task(loader._kind, loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last,
                                self._base_seed, loader.worker_init_fn, i, loader.num_workers)
            ours, theirs = context.Pipe(duplex=True)
            self._inboxes.append(_transport.Inbox(ours))
            others = [inbox for it in (*_live, self) for inbox in it._inboxes] if forks else []
            worker = context.Process(target=_worker.worker_loop, args=(task, theirs, self._done, others), daemon=True)
            worker.start()
            theirs.close()
            self._workers.append(worker)
        _live.add(self)
        self._begin(loader)     # a second time, as torch does: a sampler whose __iter__ draws at once shows it
        self._fill()

    @property
    def closed(self):
        """True when the workers were told to end."""
        return not self._close.alive

    def _fill(self):
        n = len(self._workers)
        self._sent, self._next, self._owner = 0, 0, {}      # _owner: number of a batch under way -> its worker
        self._active, self._load, self._turns = [True] * n, [0] * n, itertools.cycle(range(n))
        for _ in range(self._limit):
            self._order()

    def restart(self, loader):
        """Begins a new epoch with the same workers; batches of a previous one still under way are dropped."""
        for inbox in self._inboxes:
            self._say(inbox, "resume", None)
        for i in range(len(self._workers)):
            while self._receive([i])[2] != _transport.RESUMED:
                pass
        self._begin(loader)
        self._fill()

    def _say(self, inbox, number, indices):
        try:
            inbox.conn.send((number, indices, inbox.count))
        except (BrokenPipeError, ConnectionResetError):
            self._raise_dead()

    def _order(self):
        """Gives the next list of indices to the next worker in turn that still has items."""
        try:
            indices = next(self._indices)
        except StopIteration:
            return
        for i in itertools.islice(self._turns, len(self._workers)):
            if self._active[i] and (self._in_order or self._load[i] < self._limit // sum(self._active)):
                break
        else:
            return
        self._owner[self._sent] = i
        self._load[i] += 1
        self._sent += 1
        self._say(self._inboxes[i], self._sent - 1, indices)

    def _raise_dead(self):
        ended = connection.wait([w.sentinel for w in self._workers], 1)     # a broken pipe is seen before its process ends
        for w in self._workers:
            if w.sentinel in ended:
                w.join(1)
        dead = [w for w in self._workers if not w.is_alive()] or self._workers
        pids = ", ".join(str(w.pid) for w in dead)
        code = dead[0].exitcode
        how = ""
        if code is not None:
            how = f": killed by {signal.Signals(-code).name}" if code < 0 else f": exit code {code}"
        self._close()
        raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly{how}")

    def _receive(self, workers):
        """A message from one of ``workers``: (worker, number, kind, data). RuntimeError when one died or time is up."""
        conns = {self._inboxes[i].conn: i for i in workers}
        sentinels = [w.sentinel for i, w in enumerate(self._workers) if self._active[i] or i in workers]
        ready = connection.wait([*conns, *sentinels], self._timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        for conn in ready:
            if conn in conns:
                try:
                    i = conns[conn]
                    return (i, *self._inboxes[i].receive())
                except (EOFError, ConnectionResetError):
                    break
        self._raise_dead()

    def _under_way(self, number):
        """False for a batch that was given out of order, or ordered from a worker whose share of items has ended."""
        return number in self._owner and self._active[self._owner[number]]

    def __next__(self):
        if self.closed:
            raise StopIteration
        while True:
            while self._next < self._sent and not self._under_way(self._next):
                self._owner.pop(self._next, None)
                self._next += 1
            if self._next == self._sent:
                if not self._persistent:
                    self._close()
                raise StopIteration
            if self._in_order:
                workers = [self._owner[self._next]]
            else:
                workers = {i for i in self._owner.values() if self._active[i]}
            worker, number, kind, data = self._receive(workers)
            self._load[worker] -= 1
            if kind == _transport.END:
                self._active[worker] = False
                self._order()
                continue
            del self._owner[number]
            self._order()
            if kind == _transport.ERROR:
                data.reraise()
            self._count("For multiprocessing data-loading, this could be caused by not properly configuring the "
                        "IterableDataset replica at each worker. Please see https://pytorch.org/docs/stable/data.html"
                        "#torch.utils.data.IterableDataset for examples.")
            return pinned(data) if self._pins else data


def _close(pid, done, workers, inboxes):
    """Ends workers: their loops see ``done`` or the closed pipe; one that is still busy after a while is terminated."""
    if os.getpid() != pid:
        return      # a forked copy of the iterator: the workers are not its own
    done.set()
    for inbox in inboxes:
        inbox.close()
    deadline = time.monotonic() + JOIN_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    for stop in ("terminate", "kill"):
        alive = [w for w in workers if w.is_alive()]
        for worker in alive:
            getattr(worker, stop)()
        for worker in alive:
            worker.join(1)
