"""Gradient scaling on CUDA: a launch unscales all gradients of a dtype, another adapts the factor; nothing waits."""
import numpy as np

from ._cuda import FLOATING, A, cuda, device_kernel, load, pointer, store
from ._cuda_addresses import THREADS, table_of


@device_kernel("q* q* T~ f* f*", T=FLOATING)
def unscale_cuda(table, pieces, like, factor, found):
    """g *= factor[0], and found[0] = 1 for an element that is not finite, of a table's gradients: 8 bytes an element."""
    k = 3 * cuda.blockIdx.x
    at, end, g = pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2], pointer(table[pieces[k]], like)
    scale, overflow = A(factor[0]), False
    while at < end:
        x = load(g, at)
        overflow = overflow or x - x != A(0)
        store(g, at, x * scale)
        at += THREADS
    if overflow:
        found[0] = 1


@device_kernel("f* i* f* f f q", threads=1)
def update_scale_cuda(scale, tracker, found, growth, backoff, interval):
    """The factor times backoff where found[0] is not 0, else times growth after ``interval`` steps, if that is finite.

    One thread.
    """
    steps = tracker[0] + 1
    if found[0] != 0:
        scale[0] = scale[0] * backoff
        steps = 0
    elif steps == interval:
        grown = scale[0] * growth
        if grown - grown == 0:
            scale[0] = grown
        steps = 0
    tracker[0] = np.int32(steps)


def unscale(gradients, factor, found):
    """Multiplies gradients of one device by a float32 there, and sets ``found``, another, to 1 if an element is not finite."""
    groups = {}
    for g in gradients:
        groups.setdefault(g.dtype, []).append(g)
    for dtype, own in groups.items():
        whole = [g if g.flags.c_contiguous else g.copy() for g in own]
        rows = [[g.view(g.real.dtype) if dtype.kind == "c" else g] for g in whole]
        table, pieces = table_of(rows)
        if pieces.size:
            unscale_cuda.launch(pieces.shape[0], THREADS, table, pieces, rows[0][0], factor, found)
        for g, new in zip(own, whole):
            if new is not g:
                g[...] = new


def update_scale(scale, tracker, found, growth, backoff, interval):
    """The factor and the count of good steps, 0-dim float32 and int32, after an iteration; ``found``: whether it overflowed."""
    update_scale_cuda.launch(1, 1, scale, tracker, found, growth, backoff, interval)
