"""Losses against class indices: picking log-probabilities, and the gradient of softmax followed by it."""
from numba import prange

from ._jit import kernel
from ._math import exp


@kernel(grain=None)
def nll_forward(logp, target, weight, ignore, out, weights):
    """out_i = -weight[t_i] logp[i, t_i] and weights_i = weight[t_i], both 0 where t_i is ``ignore``.

    logp (m, c), target (m,), weight (c,) or (0,) for ones. Returns the first target out of range, or -1.
    """
    c, bad = logp.shape[1], -1
    for i in range(logp.shape[0]):
        t = target[i]
        if t == ignore:
            out[i] = 0
            weights[i] = 0
        elif t < 0 or t >= c:
            if bad < 0:
                bad = i
        else:
            w = weight[t] if weight.shape[0] else logp.dtype.type(1)
            weights[i] = w
            out[i] = -w * logp[i, t]
    return bad


@kernel(grain=16384)
def cross_entropy_backward(logp, target, scale, out):
    """gx[i, j] = scale_i (e^logp[i, j] - [j = t_i]) over (m, c); scale_i is 0 for an ignored row."""
    for i in prange(logp.shape[0]):
        row, gx, s = logp[i], out[i], scale[i]
        for j in range(row.shape[0]):
            gx[j] = exp(row[j]) * s
        if s != 0:
            gx[target[i]] -= s
