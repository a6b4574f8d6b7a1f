"""What the threads of a CUDA block do together: sums and extremes through shuffles within a warp and shared memory across.

A block has whole warps. All threads must call these, and all get the result. The order of additions depends on the block's size
alone, so that results are the same in every run.
"""
from ._cuda import FULL, WARP, A, cuda


def larger(x, y):
    """The larger number; nan if one is."""
    return x if x > y or x != x else y


def smaller(x, y):
    """The smaller number; nan if one is."""
    return x if x < y or x != x else y


def warp_sum(v):
    """The sum of ``v`` over the lanes of a warp."""
    for k in (16, 8, 4, 2, 1):
        v = v + cuda.shfl_xor_sync(FULL, v, k)
    return v


def warp_max(v):
    """The largest ``v`` of a warp's lanes; nan if one is."""
    for k in (16, 8, 4, 2, 1):
        v = larger(v, cuda.shfl_xor_sync(FULL, v, k))
    return v


def warp_min(v):
    """The smallest ``v`` of a warp's lanes; nan if one is."""
    for k in (16, 8, 4, 2, 1):
        v = smaller(v, cuda.shfl_xor_sync(FULL, v, k))
    return v


def block_sum(v):
    """The sum of ``v`` over the threads of a block; the barrier at the end is for the next call, which uses the same memory."""
    partial = cuda.shared.array(WARP, A)
    thread, warps = cuda.threadIdx.x, cuda.blockDim.x // WARP
    v = warp_sum(v)
    if thread % WARP == 0:
        partial[thread // WARP] = v
    cuda.syncthreads()
    lane = thread % WARP
    v = warp_sum(partial[lane] if lane < warps else A(0))
    cuda.syncthreads()
    return v


def block_max(v):
    """The largest ``v`` of a block's threads; nan if one is. Before the next call a barrier is needed: ``block_sum`` has one."""
    partial = cuda.shared.array(WARP, A)
    thread, warps = cuda.threadIdx.x, cuda.blockDim.x // WARP
    v = warp_max(v)
    if thread % WARP == 0:
        partial[thread // WARP] = v
    cuda.syncthreads()
    lane = thread % WARP
    v = warp_max(partial[lane] if lane < warps else v)
    return v
