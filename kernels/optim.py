"""Fused optimiser steps: one pass over parameter, gradient and state, one kernel call for all parameters of
a group.

A step over the ten small parameters of LeNet is dominated by calls, so all parameters go in one call:
``run`` makes a table of the addresses of the array objects, one row a parameter, and the kernel reads data
pointers and sizes from NumPy's array headers (``_memory``). ``suits`` looks at every header before anything
is written; parameters that do not fit (16 bits, complex, not contiguous) go one by one through contiguous
copies in the dtype they are computed in.

Columns of a table: the parameter p, its gradient g, the state arrays of that shape, then 0-dim scalars such
as the step count. All updates are element-wise: a step reads and writes each array once, 4 bytes an element
and array in float32.

Roundings are torch's: ``fma`` stands where torch's vector loops fuse a product and a sum, and nowhere else
(``EXACT`` keeps LLVM from fusing more). So a run of SGD gives torch's parameters bit for bit where it has
the same gradients.
"""
import math

import numpy as np
from numba import prange
from numba.extending import intrinsic

from . import _jit
from ._device import DeviceArray
from ._jit import function, kernel
from ._memory import HEAD, WORD, data, get, is_contiguous, numel, pointer, put, word

BLOCK = 8192        # elements a thread takes at a time: three arrays of it stay in the second-level cache
GRAIN = 65536       # elements from which threads pay
F4, F8 = np.dtype(np.float32), np.dtype(np.float64)
EXACT = set()       # no fastmath flag at all
_WRITEABLE, _ALIGNED = 0x400, 0x100


# ---- the table -----------------------------------------------------------------------------------

@function
def _fits(array, descr, writeable):
    """True for a contiguous, aligned array of the dtype object at ``descr``; ``writeable`` as well where
    asked."""
    flags = word(array + HEAD + 6 * WORD)
    wanted = _ALIGNED | _WRITEABLE if writeable else _ALIGNED
    return word(array + HEAD + 5 * WORD) == descr and is_contiguous(array) and (flags & wanted) == wanted


@kernel(grain=None)
def suits(table, vectors, descr, scalar_descr):
    """Elements of all parameters, or -1 if an array of the table is not what a kernel can take as it
    lies."""
    total = 0
    for i in range(table.shape[0]):
        n = numel(table[i, 0])
        for k in range(table.shape[1]):
            if k < vectors:
                good = _fits(table[i, k], descr, k != 1) and numel(table[i, k]) == n
            else:
                good = _fits(table[i, k], scalar_descr, True) and numel(table[i, k]) == 1
            if not good:
                return -1
        total += n
    return total


@function
def _pieces(table):
    """The work cut in pieces of at most ``BLOCK`` elements: row, first element, end."""
    n_pieces = 0
    for i in range(table.shape[0]):
        n_pieces += (numel(table[i, 0]) + BLOCK - 1) // BLOCK
    pieces = np.empty((n_pieces, 3), np.int64)
    at = 0
    for i in range(table.shape[0]):
        n = numel(table[i, 0])
        for start in range(0, n, BLOCK):
            pieces[at, 0], pieces[at, 1], pieces[at, 2] = i, start, min(start + BLOCK, n)
            at += 1
    return pieces


@function
def _load(array, wide):
    """A scalar of the state: float64 if ``wide``, else float32."""
    if wide:
        return get(pointer(data(array), F8), 0)
    return np.float64(get(pointer(data(array), F4), 0))


@function
def _store(array, wide, value):
    """Writes a scalar of the state; returns it as it is kept."""
    if wide:
        put(pointer(data(array), F8), 0, value)
    else:
        put(pointer(data(array), F4), 0, np.float32(value))
    return _load(array, wide)


@function
def _advance(array, wide):
    """Adds 1 to a step count and returns it."""
    return _store(array, wide, _load(array, wide) + 1.0)


def run(step, arrays, vectors, scalars, *hyper, skip=None):
    """Runs the kernel ``step`` on all parameters of a group.

    Args:
        step: a kernel of this file.
        arrays: the columns of parameter 0, then of parameter 1, ... as a flat list of ndarrays.
        vectors, scalars: how many columns have the parameter's shape, and how many are 0-dim.
        hyper: floats and bools for the kernel.
        skip: None, or a 0-dim array: nothing is done where it is not 0.
    """
    if not arrays:
        return
    if any(a.__class__ is DeviceArray for a in arrays):
        from . import optim_cuda

        optim_cuda.run(step.__name__, arrays, vectors, scalars, *hyper, skip=skip)
        return
    if skip is not None and skip.item():
        return
    width = vectors + scalars
    table = np.array([id(a) for a in arrays], np.int64).reshape(-1, width)
    dtype, scalar_dtype = arrays[0].dtype, arrays[-1].dtype if scalars else F4
    total = -1
    if (dtype is F4 or dtype is F8) and (scalar_dtype is F4 or scalar_dtype is F8):
        total = suits.serial(table, vectors, id(dtype), id(scalar_dtype))
    if total < 0:
        for i in range(0, len(arrays), width):
            _run_copied(step, arrays[i:i + width], vectors, scalars, hyper)
        return
    like = _LIKE[dtype]
    if total < GRAIN or not _jit.enter_parallel():
        step.serial(table, like, scalar_dtype is F8, *hyper)
        return
    try:
        step.parallel(table, like, scalar_dtype is F8, *hyper)
    finally:
        _jit.leave_parallel()


_LIKE = {F4: np.empty(0, F4), F8: np.empty(0, F8)}


def _run_copied(step, arrays, vectors, scalars, hyper):
    """One parameter through contiguous float32 or float64 copies, complex numbers as pairs; copies back what
    was written."""
    first = arrays[0]
    wide = first.dtype in (F8, np.complex128)
    stored = np.promote_types(first.dtype, np.complex64) if first.dtype.kind == "c" else F8 if wide else F4
    copies = [np.array(a, stored, order="C", ndmin=1) for a in arrays[:vectors]]
    for a in arrays[1:vectors]:
        if a.shape != first.shape:
            raise RuntimeError(f"optimizer step: expected gradient and state of shape {list(first.shape)}, "
                               f"as the parameter, but got {list(a.shape)}")
    flat = [c.reshape(-1).view(F8 if wide else F4) for c in copies]
    scalar = F4 if all(a.dtype == F4 for a in arrays[vectors:]) else F8
    flat += [np.array(a, scalar, ndmin=1) for a in arrays[vectors:]]
    table = np.array([id(a) for a in flat], np.int64).reshape(1, -1)
    step.serial(table, _LIKE[F8 if wide else F4], scalar is F8, *hyper)
    for k, a in enumerate(arrays):
        if k != 1:
            a[...] = copies[k] if k < vectors else flat[k][0]


# ---- arithmetic ----------------------------------------------------------------------------------

@intrinsic
def fma(typing, a, b, c):
    """a b + c with one rounding."""
    def codegen(context, builder, signature, args):
        return builder.fma(*args)
    return a(a, a, a), codegen


@function(fastmath=EXACT)
def _lerp(a, b, weight):
    """a + weight (b - a), from the nearer end, as torch's lerp."""
    if abs(weight) < 0.5:
        return fma(weight, b - a, a)
    return fma(weight - 1, b - a, b)


# ---- the steps -----------------------------------------------------------------------------------
# Scalars that depend on the step count are computed in float64, as Python does for torch, and rounded once.

@kernel(fastmath=EXACT)
def sgd(table, like, wide, lr, weight_decay, sign):
    """p -= lr (sign g + weight_decay p). Columns p, g."""
    T = like.dtype.type
    pieces = _pieces(table)
    lr_, decay, sign_ = T(lr), T(weight_decay), T(sign)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        for j in range(start, end):
            x = get(p, j)
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            put(p, j, fma(-lr_, d, x))


@kernel(fastmath=EXACT)
def sgd_momentum(table, like, wide, lr, weight_decay, sign, momentum, dampening, nesterov):
    """b = momentum b + (1 - dampening) d with d as in ``sgd``; p -= lr (d + momentum b if nesterov else b).
    Columns p, g, b."""
    T = like.dtype.type
    pieces = _pieces(table)
    lr_, decay, sign_, mu, share = T(lr), T(weight_decay), T(sign), T(momentum), T(1.0 - dampening)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        b = pointer(data(table[i, 2]), like.dtype)
        for j in range(start, end):
            x = get(p, j)
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y = fma(share, d, mu * get(b, j))
            put(b, j, y)
            put(p, j, fma(-lr_, fma(mu, y, d) if nesterov else y, x))


@kernel(fastmath=EXACT)
def adam(table, like, wide, lr, beta1, beta2, eps, weight_decay, decoupled, sign, amsgrad):
    """Adam, arXiv:1412.6980; AdamW, arXiv:1711.05101, if ``decoupled``; AMSGrad, if ``amsgrad``, with v's
    maximum.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= lr / (1 - beta1^t) m / (sqrt(v / (1 -
    beta2^t)) + eps). Columns p, g, m, v, [maximum of v], t.
    """
    T = like.dtype.type
    pieces = _pieces(table)
    rates = np.empty((table.shape[0], 2))
    for i in range(table.shape[0]):
        t = _advance(table[i, table.shape[1] - 1], wide)
        rates[i, 0] = lr / (1.0 - beta1 ** t)
        rates[i, 1] = math.sqrt(1.0 - beta2 ** t)
    w1, b2, w2, eps_, sign_ = T(1.0 - beta1), T(beta2), T(1.0 - beta2), T(eps), T(sign)
    shrink = T(1.0 - lr * weight_decay) if decoupled else T(1)
    decay = T(0) if decoupled else T(weight_decay)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        m, v = pointer(data(table[i, 2]), like.dtype), pointer(data(table[i, 3]), like.dtype)
        top = pointer(data(table[i, 4 if amsgrad else 3]), like.dtype)
        rate, root = T(rates[i, 0]), T(rates[i, 1])
        for j in range(start, end):
            x = get(p, j) * shrink
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y = _lerp(get(m, j), d, w1)
            z = fma(w2 * d, d, b2 * get(v, j))
            put(m, j, y)
            put(v, j, z)
            if amsgrad:
                old = get(top, j)
                z = old if old > z or old != old else z
                put(top, j, z)
            put(p, j, x - rate * y / (math.sqrt(z) / root + eps_))


@kernel(fastmath=EXACT)
def adagrad(table, like, wide, lr, lr_decay, weight_decay, eps, sign):
    """Adagrad (Duchi et al. 2011): s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps). Columns
    p, g, s, t."""
    T = like.dtype.type
    pieces = _pieces(table)
    rates = np.empty(table.shape[0])
    for i in range(table.shape[0]):
        rates[i] = lr / (1.0 + (_advance(table[i, 3], wide) - 1.0) * lr_decay)
    decay, eps_, sign_ = T(weight_decay), T(eps), T(sign)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        s = pointer(data(table[i, 2]), like.dtype)
        rate = T(rates[i])
        for j in range(start, end):
            x = get(p, j)
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y = fma(d, d, get(s, j))
            put(s, j, y)
            put(p, j, x - rate * d / (math.sqrt(y) + eps_))


@function(fastmath=EXACT, inline="always")
def _rmsprop_row(p, g, s, b, a, start, end, lr, keep, share, eps, decay, mu, sign, moves, centered):
    """Elements start to end of one parameter; called with constants for the flags, so that each pair is a
    loop of its own."""
    for j in range(start, end):
        x = get(p, j)
        d = sign * get(g, j)
        if decay != 0:
            d = fma(decay, x, d)
        y = fma(share * d, d, keep * get(s, j))
        put(s, j, y)
        if centered:
            mean = _lerp(get(a, j), d, share)
            put(a, j, mean)
            y = fma(-mean, mean, y)
        below = math.sqrt(y) + eps
        if moves:
            step = mu * get(b, j) + d / below
            put(b, j, step)
            put(p, j, fma(-lr, step, x))
        else:
            put(p, j, x - lr * d / below)


@kernel(fastmath=EXACT)
def rmsprop(table, like, wide, lr, alpha, eps, weight_decay, momentum, centered, sign):
    """RMSprop (Hinton's lecture 6e): s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps).

    ``centered`` (Graves, arXiv:1308.0850) subtracts the square of the mean gradient a from s; with momentum,
    b = momentum b + the quotient is subtracted instead. Columns p, g, s, [b], [a], t.
    """
    T = like.dtype.type
    pieces = _pieces(table)
    for i in range(table.shape[0]):
        _advance(table[i, table.shape[1] - 1], wide)
    lr_, keep, share, eps_ = T(lr), T(alpha), T(1.0 - alpha), T(eps)
    decay, mu, sign_, moves = T(weight_decay), T(momentum), T(sign), momentum > 0
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        s = pointer(data(table[i, 2]), like.dtype)
        b = pointer(data(table[i, 3 if moves else 2]), like.dtype)
        a = pointer(data(table[i, (4 if moves else 3) if centered else 2]), like.dtype)
        if moves and centered:
            _rmsprop_row(p, g, s, b, a, start, end, lr_, keep, share, eps_, decay, mu, sign_, True, True)
        elif moves:
            _rmsprop_row(p, g, s, b, a, start, end, lr_, keep, share, eps_, decay, mu, sign_, True, False)
        elif centered:
            _rmsprop_row(p, g, s, b, a, start, end, lr_, keep, share, eps_, decay, mu, sign_, False, True)
        else:
            _rmsprop_row(p, g, s, b, a, start, end, lr_, keep, share, eps_, decay, mu, sign_, False, False)


@kernel(fastmath=EXACT)
def adadelta(table, like, wide, lr, rho, eps, weight_decay, sign):
    """Adadelta, arXiv:1212.5701: s = rho s + (1 - rho) g^2; d = sqrt(a + eps) / sqrt(s + eps) g; a = rho a +
    (1 - rho) d^2; p -= lr d. Columns p, g, s, a, t."""
    T = like.dtype.type
    pieces = _pieces(table)
    for i in range(table.shape[0]):
        _advance(table[i, 4], wide)
    lr_, keep, share, eps_, decay, sign_ = T(lr), T(rho), T(1.0 - rho), T(eps), T(weight_decay), T(sign)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        s, a = pointer(data(table[i, 2]), like.dtype), pointer(data(table[i, 3]), like.dtype)
        for j in range(start, end):
            x = get(p, j)
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y, z = fma(share * d, d, keep * get(s, j)), get(a, j)
            step = math.sqrt(z + eps_) / math.sqrt(y + eps_) * d
            put(s, j, y)
            put(a, j, fma(share * step, step, keep * z))
            put(p, j, fma(-lr_, step, x))


@kernel(fastmath=EXACT)
def adamax(table, like, wide, lr, beta1, beta2, eps, weight_decay, sign):
    """Adamax, arXiv:1412.6980 section 7: m as in Adam; u = max(beta2 u, |g| + eps); p -= lr / (1 - beta1^t)
    m / u. Columns p, g, m, u, t."""
    T = like.dtype.type
    pieces = _pieces(table)
    rates = np.empty(table.shape[0])
    for i in range(table.shape[0]):
        rates[i] = lr / (1.0 - beta1 ** _advance(table[i, 4], wide))
    w1, b2, eps_, decay, sign_ = T(1.0 - beta1), T(beta2), T(eps), T(weight_decay), T(sign)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        m, u = pointer(data(table[i, 2]), like.dtype), pointer(data(table[i, 3]), like.dtype)
        rate = T(rates[i])
        for j in range(start, end):
            x = get(p, j)
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y, old, new = _lerp(get(m, j), d, w1), b2 * get(u, j), abs(d) + eps_
            top = old if old > new or old != old else new
            put(m, j, y)
            put(u, j, top)
            put(p, j, x - rate * y / top)


@kernel(fastmath=EXACT)
def nadam(table, like, wide, lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled, sign):
    """NAdam (Dozat 2016): Adam with Nesterov momentum mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), c the
    product of all mu.

    p -= lr ((1 - mu_t) / (1 - c) g + mu_(t+1) / (1 - c mu_(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps).
    Columns p, g, m, v, c, t.
    """
    T = like.dtype.type
    pieces = _pieces(table)
    rates = np.empty((table.shape[0], 3))
    for i in range(table.shape[0]):
        t = _advance(table[i, 5], wide)
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * momentum_decay))
        c = _load(table[i, 4], wide)
        c = _store(table[i, 4], wide, c * mu if wide else np.float64(np.float32(c) * np.float32(mu)))
        rates[i, 0] = lr * (1.0 - mu) / (1.0 - c)
        rates[i, 1] = lr * mu_next / (1.0 - c * mu_next)
        rates[i, 2] = 1.0 - beta2 ** t
    w1, b2, w2, eps_, sign_ = T(1.0 - beta1), T(beta2), T(1.0 - beta2), T(eps), T(sign)
    shrink = T(1.0 - lr * weight_decay) if decoupled else T(1)
    decay = T(0) if decoupled else T(weight_decay)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        m, v = pointer(data(table[i, 2]), like.dtype), pointer(data(table[i, 3]), like.dtype)
        g_rate, m_rate, correction = T(rates[i, 0]), T(rates[i, 1]), T(rates[i, 2])
        for j in range(start, end):
            x = get(p, j) * shrink
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y = _lerp(get(m, j), d, w1)
            z = fma(w2 * d, d, b2 * get(v, j))
            put(m, j, y)
            put(v, j, z)
            below = math.sqrt(z / correction) + eps_
            put(p, j, x - g_rate * d / below - m_rate * y / below)


@kernel(fastmath=EXACT)
def radam(table, like, wide, lr, beta1, beta2, eps, weight_decay, decoupled, sign):
    """RAdam, arXiv:1908.03265: Adam whose adaptive rate is rectified by its variance, and left out while
    that is unbounded. Columns p, g, m, v, t."""
    T = like.dtype.type
    pieces = _pieces(table)
    rates = np.empty((table.shape[0], 2))
    limit = 2.0 / (1.0 - beta2) - 1.0
    for i in range(table.shape[0]):
        t = _advance(table[i, 4], wide)
        left = 1.0 - beta2 ** t
        rho = limit - 2.0 * t * beta2 ** t / left
        rates[i, 0], rates[i, 1] = lr / (1.0 - beta1 ** t), 0.0
        if rho > 5.0:
            rates[i, 1] = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho) * left)
    w1, b2, w2, eps_, sign_ = T(1.0 - beta1), T(beta2), T(1.0 - beta2), T(eps), T(sign)
    shrink = T(1.0 - lr * weight_decay) if decoupled else T(1)
    decay = T(0) if decoupled else T(weight_decay)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        m, v = pointer(data(table[i, 2]), like.dtype), pointer(data(table[i, 3]), like.dtype)
        rate, rectified = T(rates[i, 0]), T(rates[i, 1])
        for j in range(start, end):
            x = get(p, j) * shrink
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            y = _lerp(get(m, j), d, w1)
            z = fma(w2 * d, d, b2 * get(v, j))
            put(m, j, y)
            put(v, j, z)
            step = rate * y
            if rectified != 0:
                step *= rectified / (math.sqrt(z) + eps_)
            put(p, j, x - step)


@kernel(fastmath=EXACT)
def rprop(table, like, wide, eta_minus, eta_plus, step_min, step_max, sign):
    """Rprop (Riedmiller and Braun 1993): a step size s per element grows by eta_plus while the gradient
    keeps its sign; where the sign changed it shrinks by eta_minus and the element rests. Columns p, g,
    previous g, s, t."""
    T = like.dtype.type
    pieces = _pieces(table)
    for i in range(table.shape[0]):
        _advance(table[i, 4], wide)
    down, up, low, high, sign_, zero = T(eta_minus), T(eta_plus), T(step_min), T(step_max), T(sign), T(0)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        old, s = pointer(data(table[i, 2]), like.dtype), pointer(data(table[i, 3]), like.dtype)
        for j in range(start, end):
            d = sign_ * get(g, j)
            turn, size = d * get(old, j), get(s, j)
            if turn > 0:
                size *= up
            elif turn < 0:
                size *= down
                d = zero
            size = min(max(size, low), high)
            put(s, j, size)
            put(old, j, d)
            x = get(p, j)
            if d > 0:
                x -= size
            elif d < 0:
                x += size
            put(p, j, x)


@kernel(fastmath=EXACT)
def asgd(table, like, wide, lr, lambd, alpha, t0, weight_decay, sign):
    """ASGD (Polyak and Juditsky 1992): p = p (1 - lambd eta) - eta g, and a running average a of p from step
    t0 on. Columns p, g, a, eta, mu, t."""
    T = like.dtype.type
    pieces = _pieces(table)
    rates = np.empty((table.shape[0], 2))
    for i in range(table.shape[0]):
        t = _advance(table[i, 5], wide)
        rates[i, 0], rates[i, 1] = _load(table[i, 3], wide), _load(table[i, 4], wide)
        _store(table[i, 3], wide, lr / (1.0 + lambd * lr * t) ** alpha)
        _store(table[i, 4], wide, 1.0 / max(1.0, t - t0))
    decay, sign_ = T(weight_decay), T(sign)
    for k in prange(pieces.shape[0]):
        i, start, end = pieces[k]
        p, g = pointer(data(table[i, 0]), like.dtype), pointer(data(table[i, 1]), like.dtype)
        a = pointer(data(table[i, 2]), like.dtype)
        eta, mu, shrink = T(rates[i, 0]), T(rates[i, 1]), T(1.0 - lambd * rates[i, 0])
        for j in range(start, end):
            x = get(p, j)
            d = sign_ * get(g, j)
            if decay != 0:
                d = fma(decay, x, d)
            x = fma(-eta, d, x * shrink)
            put(p, j, x)
            mean = get(a, j)
            put(a, j, x if mu == 1 else mean + mu * (x - mean))
