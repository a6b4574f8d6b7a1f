"""Runs CUDA kernels in Python: ``Linked`` is one with the simulator's names in it, ``run`` runs its grid."""
import functools
import random
import threading

import numpy as np
from numtorch.kernels._relink import Relinker

from .arithmetic import REPLACE, constant, scalar_type
from .names import TOGETHER, Block, Cuda, Dim3, dim3, indices, placeholders
from .threads import KernelError, run_block, turned

CUDA = Cuda()               # one for all: it holds which thread runs
_running = threading.RLock()


class Linked:
    """One specialisation of a DeviceKernel: its function with the simulator's names, and the types of its arguments."""

    def __init__(self, kernel, t, u):
        self.kernel, self.name, self.types = kernel, kernel.name, kernel.argument_types(t, u)
        halves = any(kind.startswith(("float16", "bfloat16")) for kind in self.types)
        relinker = Relinker(placeholders(CUDA, t, u, halves), REPLACE, constant=constant)
        self.fn = relinker(kernel.fn)
        self.together = bool(relinker.used & TOGETHER)
        self.shares = "shared" in relinker.used
        self.makers = [_maker(kind) for kind in self.types]     # None for arrays

    def arguments(self, values, array):
        """The arguments for the driver's ``values``; ``array(address, k)`` makes those of arrays."""
        if len(values) != len(self.types):
            raise KernelError(f"{self.name} takes {len(self.types)} arguments, not {len(values)}")
        return [array(value, k) if make is None else make(value) for k, (make, value) in enumerate(zip(self.makers, values))]


def _maker(kind):
    if kind.endswith("*"):
        return None
    wanted = np.dtype(kind)
    made = int if kind == "int64" else scalar_type(kind)

    def make(value):
        if not isinstance(value, int if kind == "int64" else wanted.type):
            raise KernelError(f"a number of {type(value).__name__} where {kind} is declared")
        return made(value)
    return make


@functools.lru_cache(maxsize=256)
def _orders(x, y, z, shuffled):
    """The places of a grid or block: in order, or in a few random orders."""
    places = indices(Dim3(x, y, z))
    return [random.Random(k).sample(places, len(places)) for k in range(4)] if shuffled else [places]


def _order(size, rng):
    if rng is None:
        return _orders(size.x, size.y, size.z, False)[0]
    return turned(rng.choice(_orders(size.x, size.y, size.z, True)), rng)


def run(linked, grid, block, dynamic, args, rng=None, races=False):
    """Runs a grid: the blocks one after the other, the threads of each as ``threads.py`` says.

    ``rng`` shuffles blocks, warps and lanes; None keeps their order. ``races=True`` reports races in shared memory.
    """
    grid, block = dim3(grid), dim3(block)
    blocks, threads = _order(grid, rng), _order(block, None)
    with _running:
        CUDA.gridDim, CUDA.blockDim, CUDA.indices = grid, block, threads
        try:
            if linked.together or (races and linked.shares):
                CUDA.task = functools.partial(linked.fn, *args)
                for CUDA.blockIdx in blocks:
                    CUDA.block = Block(dynamic, len(threads), races)
                    run_block(CUDA, threads, rng)
            else:
                _run_apart(linked, blocks, _order(block, rng), dynamic, args)
        except Exception as error:
            raise KernelError(f"{linked.name}, block {CUDA.blockIdx}, thread {CUDA.threadIdx}: "
                              f"{type(error).__name__}: {error}") from error


def _run_apart(linked, blocks, threads, dynamic, args):
    """A kernel without barriers: each thread is a call."""
    cuda, fn, shares = CUDA, linked.fn, linked.shares
    with np.errstate(all="ignore"):
        for cuda.blockIdx in blocks:
            if shares:
                cuda.block = Block(dynamic, len(threads), False)
            for t in threads:
                cuda.threadIdx = t
                cuda.laneid = None
                fn(*args)
