"""Tasks: C functions that are compiled once and run by threads, for kernels too large to be compiled twice.

Numba compiles a callee anew into every caller that it is linked to, and a parallel loop into four modules. A task is a
function of one signature behind a pointer: (task, left, right, extra, five tables, out), all but the first the addresses of
arrays. ``run_tasks`` is the only loop, serial and parallel, for all of them.
"""
from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import float32, float64, int64, prange, types
from numba.extending import intrinsic

from ._jit import compile_callback, get_num_threads, kernel, may_fork_out

PARALLEL_WORK = 1 << 19         # multiply-adds from which threads pay

REAL = {np.dtype(np.float32): float32, np.dtype(np.float64): float64}
EMPTY = {dtype: np.zeros(1, dtype) for dtype in REAL}       # for a task that needs no such operand
NO_TABLE = np.zeros(1, np.int64)


@intrinsic
def call_task(typing, address, task, left, right, extra, geometry, depths, origins, starts, taps, out):
    """Calls the C function at ``address`` with ``task`` and the addresses of the arrays' first elements."""
    arrays = left, right, extra, geometry, depths, origins, starts, taps, out

    def generate(context, builder, signature, args):
        data = [context.make_array(t)(context, builder, v).data for t, v in zip(arrays, args[2:])]
        kind = ir.FunctionType(ir.VoidType(), [args[1].type] + [pointer.type for pointer in data])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]] + data)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, *arrays), generate


@kernel(grain=0)
def run_tasks(left, right, extra, geometry, depths, origins, starts, taps, out, tasks, address):
    """Runs task 0 ... tasks - 1 of the C function at ``address``, which share no output, on all threads."""
    for task in prange(tasks):
        call_task(address, task, left, right, extra, geometry, depths, origins, starts, taps, out)


@lru_cache(None)
def compiled(task, dtype):
    """(address of the task's C function for arrays of ``dtype``, what keeps it alive)."""
    reals, integers = types.CPointer(REAL[dtype]), types.CPointer(int64)
    return compile_callback(task, types.void(types.intp, reals, reals, reals, *[integers] * 5, reals))


def threads_for(work):
    """The threads that ``work`` multiply-adds are worth."""
    return get_num_threads() if work >= PARALLEL_WORK and may_fork_out() else 1


def launch(task, count, threads, left, right, extra, tables, out):
    """Runs ``count`` tasks on 1-d arrays, in parallel if ``threads`` is more than 1."""
    address, _ = compiled(task, out.dtype)
    loop = run_tasks if threads > 1 else run_tasks.serial
    loop(left, right, extra, *tables, out, count, address)
