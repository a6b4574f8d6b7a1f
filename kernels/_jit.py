"""The only place that touches Numba's decorators: flags, cache folder, serial and parallel twins, the notice of a compile.

A CPU kernel is written once, with ``prange`` for its outer loop, and compiled up to twice: the serial twin (``prange`` is
then ``range``) for small inputs, forked children and calls that meet another thread's parallel kernel; the parallel twin for
large inputs. Both are compiled at first use and cached on disk.
"""
import os
import sys
import threading
import time
import types as python_types
import warnings

import numba
from numba.core import event

from . import _cache, _settings
from ._device import DeviceArray
from ._driver import OnHost

# Full fastmath assumes that nan and inf do not occur. These flags keep both, and signed zeros.
CONTRACT = {"contract"}                 # a * b + c may be one fma: pointwise formulas, where reassociation costs accuracy
REASSOCIATE = {"contract", "reassoc"}   # sums in vector lanes: reductions and products

_parallel_lock = threading.Lock()       # one parallel kernel at a time: the workqueue layer dies of two
_forked = False                         # OpenMP kills a forked child that enters a parallel region
_num_threads = _settings.THREADS


def _after_fork():
    global _forked, _parallel_lock
    _forked = True
    _parallel_lock = threading.Lock()   # the parent may have held it while it forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_num_threads():
    """Threads that a parallel kernel may use."""
    return _num_threads


def set_num_threads(n):
    """Sets the threads of parallel kernels, at least 1; more than Numba was started with are cut to that number."""
    global _num_threads
    _num_threads = n


def may_fork_out():
    """True when a parallel twin may be entered: more than one thread, and not in a forked child."""
    return _num_threads > 1 and not _forked


def enter_parallel():
    """Takes the right to run a parallel kernel without waiting; False tells the caller to run the serial twin."""
    if _num_threads == 1 or _forked or not _parallel_lock.acquire(False):
        return False
    if numba.get_num_threads() != _num_threads:
        numba.set_num_threads(min(_num_threads, numba.config.NUMBA_NUM_THREADS))
    return True


def leave_parallel():
    """Gives back the right that ``enter_parallel`` took."""
    _parallel_lock.release()


# ---- compiling ---------------------------------------------------------------------------------------------------------

class _Notice(event.Listener):
    """Says once, when compiling has taken more than a second in this process, what is going on."""

    def __init__(self):
        self.spent, self.started, self.depth, self.said = 0.0, 0.0, 0, _settings.QUIET
        self.lock = threading.RLock()

    def on_start(self, event_):
        dispatcher = event_.data.get("dispatcher")
        if dispatcher is not None and dispatcher.py_func.__module__.startswith("numtorch."):
            self.enter(dispatcher.py_func.__name__)

    def on_end(self, event_):
        dispatcher = event_.data.get("dispatcher")
        if dispatcher is not None and dispatcher.py_func.__module__.startswith("numtorch."):
            self.leave()

    def enter(self, name):
        with self.lock:
            self.depth += 1
            if self.depth > 1 or self.said:
                return
            self.started = time.perf_counter()
            self.timer = threading.Timer(max(0.0, 1.0 - self.spent), self.say, (name,))
            self.timer.daemon = True
            self.timer.start()

    def leave(self):
        with self.lock:
            self.depth -= 1
            if self.depth == 0 and not self.said:
                self.timer.cancel()
                self.spent += time.perf_counter() - self.started

    def say(self, name):
        with self.lock:
            if self.said or self.depth == 0:
                return
            self.said = True
        print(f"numtorch: compiling kernels for their first use ({name} ...); they are cached in {_cache.root()}",
              file=sys.stderr)


_notice = _Notice()
event.register("numba:compile", _notice)
warnings.filterwarnings("ignore", category=numba.NumbaPerformanceWarning, module=r"numtorch\.kernels")


class _own_cache_folder:
    """Points Numba's cache at our folder while a dispatcher is made, and leaves the user's setting as it was."""

    lock = threading.Lock()

    def __init__(self, fn):
        family = fn.__module__.rpartition(".")[2]
        if "._generated." in fn.__module__:
            family = "_reduce" if family.startswith("reduce_") else "_pointwise"
        self.folder = _cache.folder(family)

    def __enter__(self):
        self.lock.acquire()
        self.old = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(self.folder)

    def __exit__(self, *exc):
        numba.config.CACHE_DIR = self.old
        self.lock.release()


def compile_function(fn, *, fastmath=CONTRACT, parallel=False, nogil=False, cache=True, **how):
    """An njit dispatcher of ``fn`` with numtorch's flags, NumPy's rule for division by zero, and the disk cache."""
    with _own_cache_folder(fn):
        return numba.njit(fn, cache=cache, fastmath=fastmath, parallel=parallel, nogil=nogil, error_model="numpy", **how)


def function(fn=None, *, fastmath=CONTRACT, inline="never", forceinline=False, cache=True):
    """Decorator for a helper that kernels call: scalars or arrays in, a value out, no loop over threads.

    ``forceinline=True`` has LLVM inline it whatever its size, without which a loop around two or three polynomials does not
    vectorise (gelu's derivative over 1e6 float32: 4.0 ms, and with it 0.4 ms); ``inline="always"`` is Numba's own, earlier
    and dearer to compile. ``cache=False`` suits one that has a single caller: the caller's cached code holds it already.
    """
    if fn is None:
        return lambda f: function(f, fastmath=fastmath, inline=inline, forceinline=forceinline, cache=cache)
    return compile_function(fn, fastmath=fastmath, inline=inline, forceinline=forceinline, cache=cache)


def compile_callback(fn, signature, *, fastmath=CONTRACT):
    """The address of ``fn`` compiled as a C function of ``signature``; the caller keeps the second value alive."""
    _notice.enter(fn.__name__)
    try:
        with _own_cache_folder(fn):
            callback = numba.cfunc(signature, cache=True, fastmath=fastmath, error_model="numpy")(fn)
    finally:
        _notice.leave()
    return callback.address, callback


def _twin_name(fn, suffix):
    """A copy of ``fn`` under another name: Numba's cache is keyed by name, not by flags."""
    copy = python_types.FunctionType(fn.__code__, fn.__globals__, fn.__name__ + suffix, fn.__defaults__, fn.__closure__)
    copy.__qualname__ = fn.__qualname__ + suffix
    copy.__module__ = fn.__module__
    copy.__doc__ = fn.__doc__
    return copy


def parallel_twin(fn, fastmath=CONTRACT):
    """The dispatcher of ``fn`` with its prange loops in threads; enter it only after ``enter_parallel``."""
    return compile_function(_twin_name(fn, "_parallel"), fastmath=fastmath, parallel=True, nogil=True)


class Kernel:
    """A CPU kernel: called with arrays, outputs last, it runs the serial or the parallel twin.

    The parallel twin runs when the first argument has at least ``grain`` elements (``grain=None``: never). Where the first
    argument is on a CUDA device, the twin that ``on_device`` named runs.
    """

    def __init__(self, fn, grain, fastmath):
        self.py_func, self.__name__, self.__doc__ = fn, fn.__name__, fn.__doc__
        self.grain, self.fastmath, self._parallel, self._on_device = grain, fastmath, None, None
        self.serial = compile_function(fn, fastmath=fastmath)
        KERNELS[f"{fn.__module__}.{fn.__name__}"] = self

    @property
    def parallel(self):
        """The parallel twin's dispatcher, made at its first use."""
        if self._parallel is None:
            self._parallel = parallel_twin(self.py_func, self.fastmath)
        return self._parallel

    def on_device(self, launch):
        """Decorator: ``launch`` does this kernel's work on DeviceArrays, with the same arguments."""
        self._on_device = launch
        return launch

    def __call__(self, *args):
        if args[0].__class__ is DeviceArray:
            if self._on_device is None:
                raise OnHost(self.__name__)
            return self._on_device(*args)
        if self.grain is None or args[0].size < self.grain or not enter_parallel():
            return self.serial(*args)
        try:
            return (self._parallel or self.parallel)(*args)
        finally:
            leave_parallel()

    def __repr__(self):
        return f"<kernel {self.__name__}>"


KERNELS = {}        # every Kernel by its dotted name: for warmup, the profiler and the tests


def kernel(fn=None, *, grain=32768, fastmath=CONTRACT):
    """Decorator for a CPU kernel; see ``Kernel``. ``fastmath=REASSOCIATE`` lets sums run in vector lanes."""
    if fn is None:
        return lambda f: kernel(f, grain=grain, fastmath=fastmath)
    return Kernel(fn, grain, fastmath)
