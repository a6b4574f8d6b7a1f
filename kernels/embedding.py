"""Looking rows up in a table, and adding gradients to the rows that were looked up."""
from numba import prange

from ._jit import kernel


@kernel
def embedding_backward(g, indices, padding, scale, out):
    """out[indices[i]] += g[i] scale[i] for g (m, n), rows of index ``padding`` left out; out (rows, n) starts as zeros.

    Threads share the columns, so that a row that was looked up twice has one writer; scale (0,) stands for ones.
    """
    m, n = g.shape
    block = 64
    for b in prange((n + block - 1) // block):
        low, high = b * block, min(n, (b + 1) * block)
        for i in range(m):
            row = indices[i]
            if row == padding:
                continue
            source, target = g[i, low:high], out[row, low:high]
            s = scale[i] if scale.shape[0] else g.dtype.type(1)
            for j in range(high - low):
                target[j] += source[j] * s
