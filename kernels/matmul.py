"""Matrix products. Floating and complex ones run on NumPy's BLAS, which takes transposed views without a copy.

NumPy has no BLAS for integers, and its own loop walks down columns: ``multiply_integers`` walks along rows.
"""
import numpy as np
from numba import prange

from ._jit import kernel


@kernel(grain=16384)
def multiply_integers(a, b, out):
    """out[i, m, n] = sum over k of a[i, m, k] * b[i, k, n], modulo 2^bits; b is read once for each row of a."""
    for row in prange(a.shape[0] * a.shape[1]):
        i, m = row // a.shape[1], row % a.shape[1]
        target = out[i, m]
        target[:] = 0
        for k in range(a.shape[2]):
            factor, source = a[i, m, k], b[i, k]
            for n in range(target.size):
                target[n] += factor * source[n]


def _for_blas(a):
    """``a`` with one of its last two strides equal to an element, as BLAS wants it; a copy if need be."""
    strides, size = a.strides, a.itemsize
    if strides[-1] == size and strides[-2] >= size * a.shape[-1] or strides[-2] == size and strides[-1] >= size * a.shape[-2]:
        return a
    return np.ascontiguousarray(a)


def matmul(a, b):
    """The matrix products of two stacks of matrices (at least 2-d), whose leading dimensions broadcast.

    float16 and bfloat16 are multiplied in float32 and rounded once at the end.
    """
    kind = a.dtype.kind
    if kind in "fc" and a.itemsize > 2:
        return np.matmul(_for_blas(a), _for_blas(b))
    if kind in "biu":
        return _integer_matmul(a, b)
    return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)


def _integer_matmul(a, b):
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
    if out.size:
        a, b = (np.ascontiguousarray(np.broadcast_to(x, lead + x.shape[-2:])).reshape(-1, *x.shape[-2:]) for x in (a, b))
        multiply_integers(a, b, out.reshape(-1, *out.shape[-2:]))
    return out


def linear(x, w, bias):
    """x (rows, columns) times w (out, columns) transposed, plus bias (out) or None."""
    y = matmul(x, w.T)
    if bias is not None:
        np.add(y, bias, out=y)
    return y
