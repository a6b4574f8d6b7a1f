"""What optimisers compute from the step count: on the host, or on the device from counts that lie there.

A step count on the host costs no launch, and its rates travel to the device at each step. One on the device (capturable=True,
fused=True) is part of a CUDA graph: ``advance`` of a formula adds 1 to the count of each parameter and computes its rates, in
float64 as the host does, before the launch that updates the elements.

A formula takes the step count t from 1 on, the learning rate, two numbers x and y of the state, and four constants; it gives
four rates and the new x and y.
"""
import math

import numpy as np

from ._cuda import REAL, T, U, blocks, cuda, device_kernel, load, pointer, store
from ._device import DeviceArray

RATES, THREADS = 4, 32


# ---- formulas ----------------------------------------------------------------------------------------------------------------

def adam_rates(t, lr, x, y, beta1, beta2, decay, unused):
    """lr / (1 - beta1^t), sqrt(1 - beta2^t), what weight decay leaves of p."""
    return lr / (1.0 - beta1 ** t), math.sqrt(1.0 - beta2 ** t), 1.0 - lr * decay, 0.0, x, y


def adagrad_rates(t, lr, x, y, lr_decay, b, c, d):
    """lr / (1 + (t - 1) lr_decay)."""
    return lr / (1.0 + (t - 1.0) * lr_decay), 0.0, 0.0, 0.0, x, y


def adamax_rates(t, lr, x, y, beta1, b, c, d):
    """lr / (1 - beta1^t)."""
    return lr / (1.0 - beta1 ** t), 0.0, 0.0, 0.0, x, y


def nadam_rates(t, lr, product, y, beta1, beta2, decay, momentum_decay):
    """Rates of g and of m, 1 - beta2^t, what weight decay leaves of p; x is the product of all mu."""
    mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
    following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * momentum_decay))
    product = product * mu
    return (lr * (1.0 - mu) / (1.0 - product), lr * following / (1.0 - product * following), 1.0 - beta2 ** t, 1.0 - lr * decay,
            product, y)


def radam_rates(t, lr, x, y, beta1, beta2, decay, unused):
    """lr / (1 - beta1^t), the rectification or 0, what weight decay leaves of p."""
    limit, left = 2.0 / (1.0 - beta2) - 1.0, 1.0 - beta2 ** t
    rho = limit - 2.0 * t * beta2 ** t / left
    rectified = 0.0
    if rho > 5.0:
        rectified = math.sqrt((rho - 4.0) * (rho - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * rho) * left)
    return lr / (1.0 - beta1 ** t), rectified, 1.0 - lr * decay, 0.0, x, y


def asgd_rates(t, lr, eta, mu, lambd, alpha, t0, unused):
    """eta, mu, 1 - lambd eta of the step before; x and y are eta and mu."""
    return eta, mu, 1.0 - lambd * eta, 0.0, lr / (1.0 + lambd * lr * t) ** alpha, 1.0 / max(1.0, t - t0)


def no_rates(t, lr, x, y, a, b, c, d):
    """Nothing: the step count is kept for the state dict."""
    return 0.0, 0.0, 0.0, 0.0, x, y


# ---- on the host -------------------------------------------------------------------------------------------------------------

def rates_on_host(formula, rows, lr, constants):
    """Advances the counts of ``rows``, lists of 0-dim arrays with the count last; four rates for each."""
    found = []
    for *own, count in rows:
        count[...] = count.item() + 1.0
        x, y = [a.item() for a in own] + [0.0] * (2 - len(own))
        *four, x, y = formula(count.item(), lr, x, y, *constants)
        for a, new in zip(own, (x, y)):
            a[...] = new
        found += four
    return found


# ---- on the device -----------------------------------------------------------------------------------------------------------

def advancing(formula, states):
    """The kernel of a formula that keeps ``states`` numbers beside the count."""
    def kernel(table, like, width, first, rates, lr_at, listed, lr, a, b, c, d, skip, guarded, n):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i >= n or (guarded and skip[0] != 0):
            return
        at = i * width + first
        count = pointer(table[at + states], like)
        own, other = pointer(table[at], like), pointer(table[at + (states == 2)], like)
        t = load(count, 0) + T(1)
        store(count, 0, t)
        r0, r1, r2, r3, x, y = formula(np.float64(t), np.float64(load(lr_at, 0)) if listed else lr,
                                       np.float64(load(own, 0)), np.float64(load(other, 0)), a, b, c, d)
        if states > 0:
            store(own, 0, T(x))
        if states > 1:
            store(other, 0, T(y))
        store(rates, 4 * i, U(r0))
        store(rates, 4 * i + 1, U(r1))
        store(rates, 4 * i + 2, U(r2))
        store(rates, 4 * i + 3, U(r3))
    kernel.__name__ = kernel.__qualname__ = formula.__name__ + "_cuda"
    kernel.__doc__ = f"""Adds 1 to step counts and computes the rates of ``{formula.__name__}``: one thread a parameter.

    table: int64 addresses, a row of ``width`` a parameter, its scalars from ``first`` on, of the type of like, the count last;
    rates (n, 4); lr, or lr_at[0] if listed. Nothing happens if guarded and skip[0] is not 0: a gradient has overflowed.
    """
    return device_kernel("q* T~ q q U* T* q d d d d d f* q q", T=REAL, U=REAL, threads=THREADS)(kernel)


ADVANCE = {formula: advancing(formula, states) for formula, states in (
    (adam_rates, 0), (adagrad_rates, 0), (adamax_rates, 0), (nadam_rates, 1), (radam_rates, 0), (asgd_rates, 2), (no_rates, 0))}


def rates_on_device(formula, table, width, first, rates, like, lr, constants, skip):
    """Advances the counts that rows of ``table`` name, and fills ``rates`` (n, 4); skip: None, or an array, see above."""
    n = rates.shape[0]
    ADVANCE[formula].launch(blocks(n, THREADS), THREADS, table, like, width, first, rates, *one_of(lr, like.dtype), *constants,
                            skip, int(skip is not None), n)


def one_of(lr, dtype):
    """A learning rate, a float, an array or None, as kernels take it: (array of ``dtype`` or None, whether it is that, float)."""
    if isinstance(lr, DeviceArray):
        return lr.astype(dtype, copy=False), 1, 0.0
    return None, 0, lr or 0.0
