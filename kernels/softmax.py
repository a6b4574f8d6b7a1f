"""softmax and log_softmax over rows, forward and backward.

The largest number of a row is taken away first, so that e^x does not overflow. On the CPU rows are taken in blocks that stay in
the first-level cache, and e^x runs over a whole block as one loop: for rows of 100 numbers, whose ends do not fill the vector
lanes, that halves the time. What runs on a GPU is in ``softmax_cuda.py``.
"""
import numpy as np
from numba import prange

from ._jit import function, kernel
from ._lanes import dot, largest, total
from ._math import exp, log

BLOCK = 4096        # elements: 16 KB of float32 in, 16 KB out


@function
def block_rows(n):
    """How many rows of n numbers make a block."""
    return max(1, BLOCK // n)


@function
def exp_all(x, out):
    """out = e^x over two rows of the same length, apart in memory."""
    for j in range(x.shape[0]):
        out[j] = exp(x[j])


@function
def exp_in_place(x):
    """x = e^x over a row: of two arguments that are the same memory LLVM would not know that."""
    for j in range(x.shape[0]):
        x[j] = exp(x[j])


@kernel(grain=16384)
def softmax_forward(x, out):
    """y = e^(x - max) / sum, over the rows of (m, n): reads x and writes y once; four passes over y in the cache."""
    m, n = x.shape
    high, flat = block_rows(n), out.reshape(out.size)
    for b in prange((m + high - 1) // high):
        first, last = b * high, min(m, (b + 1) * high)
        for i in range(first, last):
            row, y = x[i], out[i]
            top = largest(row)
            for j in range(n):
                y[j] = row[j] - top
        exp_in_place(flat[first * n:last * n])
        for i in range(first, last):
            y = out[i]
            s = 1 / total(y)
            for j in range(n):
                y[j] *= s


@kernel(grain=16384)
def softmax_backward(g, y, out):
    """gx = y (g - sum(g y)), over the rows of (m, n): reads g and y, writes gx."""
    for i in prange(g.shape[0]):
        gy, yy, gx = g[i], y[i], out[i]
        s = dot(gy, yy)
        for j in range(gy.shape[0]):
            gx[j] = yy[j] * (gy[j] - s)


@kernel(grain=16384)
def log_softmax_forward(x, out):
    """y = x - max - ln(sum(e^(x - max))), over the rows of (m, n): as softmax_forward, with e^(x - max) kept for a block."""
    m, n = x.shape
    high = block_rows(n)
    for b in prange((m + high - 1) // high):
        first, last = b * high, min(m, (b + 1) * high)
        power = np.empty((last - first, n), x.dtype)
        for i in range(first, last):
            row, y = x[i], out[i]
            top = largest(row)
            for j in range(n):
                y[j] = row[j] - top
        exp_all(out.reshape(out.size)[first * n:last * n], power.reshape(power.size))
        for i in range(first, last):
            y, s = out[i], log(total(power[i - first]))
            for j in range(n):
                y[j] -= s


@kernel(grain=16384)
def log_softmax_backward(g, y, out):
    """gx = g - e^y sum(g), over the rows of (m, n): reads g and y, writes gx."""
    m, n = g.shape
    high = block_rows(n)
    for b in prange((m + high - 1) // high):
        first, last = b * high, min(m, (b + 1) * high)
        exp_all(y.reshape(y.size)[first * n:last * n], out.reshape(out.size)[first * n:last * n])
        for i in range(first, last):
            gy, gx = g[i], out[i]
            s = total(gy)
            for j in range(n):
                gx[j] = gy[j] - gx[j] * s


def _on_device(name, *arrays):
    from . import softmax_cuda  # at the first use on a GPU: nothing on the CPU needs it

    getattr(softmax_cuda, name)(*arrays)


@softmax_forward.on_device
def softmax_forward_on_device(x, out):
    """The same over rows (m, n), or over n of (outer, n, inner)."""
    _on_device("forward", x, out, False)


@log_softmax_forward.on_device
def log_softmax_forward_on_device(x, out):
    """The same over rows (m, n), or over n of (outer, n, inner)."""
    _on_device("forward", x, out, True)


@softmax_backward.on_device
def softmax_backward_on_device(g, y, out):
    """The same over rows (m, n), or over n of (outer, n, inner)."""
    _on_device("backward", g, y, out, False)


@log_softmax_backward.on_device
def log_softmax_backward_on_device(g, y, out):
    """The same over rows (m, n), or over n of (outer, n, inner)."""
    _on_device("backward", g, y, out, True)
