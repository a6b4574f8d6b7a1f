"""Fused optimiser steps on CUDA: one launch for all parameters of a group that share a dtype and a device.

``run`` makes a table of addresses, a row a parameter, as ``optim.run`` does on the CPU, and a list of pieces; a block takes a
piece, and reads where it lies from both (``_cuda_addresses``). Each step reads and writes each array once: in float32 4 bytes an
element and access. While parameters, gradients and state stay where they are, nothing but rates is copied to the device.

What depends on the step count is computed in float64, where the step counts are: ``_cuda_rates``. The arithmetic of an element
is that of the CPU's kernel, rounding for rounding.
"""
import math

import numpy as np

from ._cuda import FLOATING, A, cuda, device_kernel, load, pointer, store
from ._cuda_addresses import THREADS, table_of
from ._cuda_graphs import capture
from ._cuda_rates import (
    RATES,
    adagrad_rates,
    adam_rates,
    adamax_rates,
    asgd_rates,
    nadam_rates,
    no_rates,
    one_of,
    radam_rates,
    rates_on_device,
    rates_on_host,
)
from ._device import DeviceArray, copied_to, empty, from_host

# ---- an element's arithmetic ---------------------------------------------------------------------------------------------

def decayed(x, g, decay):
    """The gradient of an element with weight decay."""
    return cuda.fma(decay, x, g) if decay != A(0) else g


def lerp(a, b, weight):
    """a + weight (b - a), from the nearer end."""
    if abs(weight) < A(0.5):
        return cuda.fma(weight, b - a, a)
    return cuda.fma(weight - A(1), b - a, b)


def larger_of(old, new):
    """The larger number; nan if the old one is."""
    return old if old > new or old != old else new


# ---- the steps -----------------------------------------------------------------------------------------------------------
# table: int64 addresses, a row of ``width`` a parameter; pieces: row, first element, end, a block each; rates: four of a row.
# If guarded and skip[0] is not 0 nothing is done: a gradient has overflowed. The learning rate is lr, or lr_at[0] if listed.

def step_kernel(signature):
    """Decorator for the kernel of a step; ``signature``: its arguments after table, pieces, like, width, skip and guarded."""
    return device_kernel("q* q* T~ q f* q " + signature, T=FLOATING, resident=4)     # 64 registers; alone, ptxas takes too few


def piece(pieces, width, skip, guarded):
    """For kernels: (the parameter's number, this thread's first element, the end, the parameter's row of the table) of the
    block's piece, which is empty where nothing is to be done."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    if guarded and skip[0] != 0:
        end = at
    return i, at, end, i * width


@step_kernel("A* q A A A")
def sgd_cuda(table, pieces, like, width, skip, guarded, lr_at, listed, lr, decay, sign):
    """p -= lr (sign g + decay p). Columns p, g; 12 bytes an element in float32."""
    _, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    if listed:
        lr = lr_at[0]
    while at < end:
        x = load(p, at)
        store(p, at, cuda.fma(-lr, decayed(x, sign * load(g, at), decay), x))
        at += THREADS


@step_kernel("A* q A A A A A q")
def sgd_momentum_cuda(table, pieces, like, width, skip, guarded, lr_at, listed, lr, decay, sign, momentum, share, nesterov):
    """b = momentum b + share d; p -= lr (d + momentum b if nesterov else b). Columns p, g, b; 20 bytes an element."""
    _, at, end, row = piece(pieces, width, skip, guarded)
    p, g, b = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    if listed:
        lr = lr_at[0]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = cuda.fma(share, d, momentum * load(b, at))
        store(b, at, y)
        store(p, at, cuda.fma(-lr, cuda.fma(momentum, y, d) if nesterov else y, x))
        at += THREADS


@step_kernel("A* A A A A A A q")
def adam_cuda(table, pieces, like, width, skip, guarded, rates, decay, sign, w1, b2, w2, eps, amsgrad):
    """Adam as in ``optim.adam``; rates: lr / (1 - beta1^t), sqrt(1 - beta2^t). Columns p, g, m, v, [maximum of v]; 28 bytes."""
    i, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, v = pointer(table[row + 2], like), pointer(table[row + 3], like)
    top = pointer(table[row + 4], like) if amsgrad else v
    rate, root, shrink = rates[4 * i], rates[4 * i + 1], rates[4 * i + 2]
    while at < end:
        x = load(p, at) * shrink
        d = decayed(x, sign * load(g, at), decay)
        y = lerp(load(m, at), d, w1)
        z = cuda.fma(w2 * d, d, b2 * load(v, at))
        store(m, at, y)
        store(v, at, z)
        if amsgrad:
            z = larger_of(load(top, at), z)
            store(top, at, z)
        store(p, at, x - rate * y / (math.sqrt(z) / root + eps))
        at += THREADS


@step_kernel("A* A A A")
def adagrad_cuda(table, pieces, like, width, skip, guarded, rates, decay, eps, sign):
    """s += g^2; p -= rate g / (sqrt(s) + eps). Columns p, g, s; 20 bytes an element."""
    i, at, end, row = piece(pieces, width, skip, guarded)
    p, g, s = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    rate = rates[4 * i]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = cuda.fma(d, d, load(s, at))
        store(s, at, y)
        store(p, at, x - rate * d / (math.sqrt(y) + eps))
        at += THREADS


@step_kernel("A* q A A A A A A A q q")
def rmsprop_cuda(table, pieces, like, width, skip, guarded, lr_at, listed, lr, keep, share, eps, decay, momentum, sign, moves,
                 centered):
    """RMSprop as in ``optim.rmsprop``. Columns p, g, s, [b], [a]; 20 to 36 bytes an element."""
    _, at, end, row = piece(pieces, width, skip, guarded)
    p, g, s = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    b = pointer(table[row + 3], like) if moves else s
    a = pointer(table[row + 3 + moves], like) if centered else s
    if listed:
        lr = lr_at[0]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = cuda.fma(share * d, d, keep * load(s, at))
        store(s, at, y)
        if centered:
            mean = lerp(load(a, at), d, share)
            store(a, at, mean)
            y = cuda.fma(-mean, mean, y)
        below = math.sqrt(y) + eps
        if moves:
            step = momentum * load(b, at) + d / below
            store(b, at, step)
            store(p, at, cuda.fma(-lr, step, x))
        else:
            store(p, at, x - lr * d / below)
        at += THREADS


@step_kernel("A* q A A A A A A")
def adadelta_cuda(table, pieces, like, width, skip, guarded, lr_at, listed, lr, keep, share, eps, decay, sign):
    """Adadelta as in ``optim.adadelta``. Columns p, g, s, a; 28 bytes an element."""
    _, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    s, a = pointer(table[row + 2], like), pointer(table[row + 3], like)
    if listed:
        lr = lr_at[0]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y, z = cuda.fma(share * d, d, keep * load(s, at)), load(a, at)
        step = math.sqrt(z + eps) / math.sqrt(y + eps) * d
        store(s, at, y)
        store(a, at, cuda.fma(share * step, step, keep * z))
        store(p, at, cuda.fma(-lr, step, x))
        at += THREADS


@step_kernel("A* A A A A A")
def adamax_cuda(table, pieces, like, width, skip, guarded, rates, w1, b2, eps, decay, sign):
    """Adamax as in ``optim.adamax``; rate: lr / (1 - beta1^t). Columns p, g, m, u; 28 bytes an element."""
    i, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, u = pointer(table[row + 2], like), pointer(table[row + 3], like)
    rate = rates[4 * i]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = lerp(load(m, at), d, w1)
        top = larger_of(b2 * load(u, at), abs(d) + eps)
        store(m, at, y)
        store(u, at, top)
        store(p, at, x - rate * y / top)
        at += THREADS


@step_kernel("A* A A A A A A")
def nadam_cuda(table, pieces, like, width, skip, guarded, rates, decay, sign, w1, b2, w2, eps):
    """NAdam as in ``optim.nadam``; rates: of g, of m, 1 - beta2^t. Columns p, g, m, v; 28 bytes an element."""
    i, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, v = pointer(table[row + 2], like), pointer(table[row + 3], like)
    g_rate, m_rate, correction, shrink = rates[4 * i], rates[4 * i + 1], rates[4 * i + 2], rates[4 * i + 3]
    while at < end:
        x = load(p, at) * shrink
        d = decayed(x, sign * load(g, at), decay)
        y = lerp(load(m, at), d, w1)
        z = cuda.fma(w2 * d, d, b2 * load(v, at))
        store(m, at, y)
        store(v, at, z)
        below = math.sqrt(z / correction) + eps
        store(p, at, x - g_rate * d / below - m_rate * y / below)
        at += THREADS


@step_kernel("A* A A A A A A")
def radam_cuda(table, pieces, like, width, skip, guarded, rates, decay, sign, w1, b2, w2, eps):
    """RAdam as in ``optim.radam``; rates: lr / (1 - beta1^t), the rectification or 0. Columns p, g, m, v; 28 bytes."""
    i, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, v = pointer(table[row + 2], like), pointer(table[row + 3], like)
    rate, rectified, shrink = rates[4 * i], rates[4 * i + 1], rates[4 * i + 2]
    while at < end:
        x = load(p, at) * shrink
        d = decayed(x, sign * load(g, at), decay)
        y = lerp(load(m, at), d, w1)
        z = cuda.fma(w2 * d, d, b2 * load(v, at))
        store(m, at, y)
        store(v, at, z)
        step = rate * y
        if rectified != A(0):
            step = step * (rectified / (math.sqrt(z) + eps))
        store(p, at, x - step)
        at += THREADS


@step_kernel("A A A A A")
def rprop_cuda(table, pieces, like, width, skip, guarded, down, up, low, high, sign):
    """Rprop as in ``optim.rprop``. Columns p, g, previous g, s; 28 bytes an element."""
    _, at, end, row = piece(pieces, width, skip, guarded)
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    old, s = pointer(table[row + 2], like), pointer(table[row + 3], like)
    while at < end:
        d = sign * load(g, at)
        turn, size = d * load(old, at), load(s, at)
        if turn > A(0):
            size = size * up
        elif turn < A(0):
            size = size * down
            d = A(0)
        size = min(max(size, low), high)
        store(s, at, size)
        store(old, at, d)
        if d > A(0):
            store(p, at, load(p, at) - size)
        elif d < A(0):
            store(p, at, load(p, at) + size)
        at += THREADS


@step_kernel("A* A A")
def asgd_cuda(table, pieces, like, width, skip, guarded, rates, decay, sign):
    """ASGD as in ``optim.asgd``; rates: eta, mu, 1 - lambd eta. Columns p, g, a; 20 bytes an element."""
    i, at, end, row = piece(pieces, width, skip, guarded)
    p, g, a = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    eta, mu, shrink = rates[4 * i], rates[4 * i + 1], rates[4 * i + 2]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        x = cuda.fma(-eta, d, x * shrink)
        store(p, at, x)
        mean = load(a, at)
        store(a, at, x if mu == A(1) else mean + mu * (x - mean))
        at += THREADS


# ---- what a step takes -------------------------------------------------------------------------------------------------------
# Each takes the hyperparameters of the CPU's kernel; gives the kernel, its formula of rates or None, the learning rate or
# None, the formula's constants, and the kernel's own numbers.

def _sgd(lr, weight_decay, sign):
    return sgd_cuda, None, lr, (), (weight_decay, sign)


def _sgd_momentum(lr, weight_decay, sign, momentum, dampening, nesterov):
    return sgd_momentum_cuda, None, lr, (), (weight_decay, sign, momentum, 1.0 - dampening, int(nesterov))


def _adam(lr, beta1, beta2, eps, weight_decay, decoupled, sign, amsgrad):
    taken, added = _decays(weight_decay, decoupled)
    return adam_cuda, adam_rates, lr, (beta1, beta2, taken, 0.0), (added, sign, *_shares(beta1, beta2), eps, int(amsgrad))


def _decays(weight_decay, decoupled):
    """(weight decay that shrinks p, weight decay that is added to the gradient)."""
    return (weight_decay, 0.0) if decoupled else (0.0, weight_decay)


def _shares(beta1, beta2):
    return 1.0 - beta1, beta2, 1.0 - beta2


def _adagrad(lr, lr_decay, weight_decay, eps, sign):
    return adagrad_cuda, adagrad_rates, lr, (lr_decay, 0.0, 0.0, 0.0), (weight_decay, eps, sign)


def _rmsprop(lr, alpha, eps, weight_decay, momentum, centered, sign):
    return rmsprop_cuda, no_rates, lr, _NONE, (alpha, 1.0 - alpha, eps, weight_decay, momentum, sign, int(momentum > 0),
                                               int(centered))


def _adadelta(lr, rho, eps, weight_decay, sign):
    return adadelta_cuda, no_rates, lr, _NONE, (rho, 1.0 - rho, eps, weight_decay, sign)


def _adamax(lr, beta1, beta2, eps, weight_decay, sign):
    return adamax_cuda, adamax_rates, lr, (beta1, 0.0, 0.0, 0.0), (1.0 - beta1, beta2, eps, weight_decay, sign)


def _nadam(lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled, sign):
    taken, added = _decays(weight_decay, decoupled)
    return nadam_cuda, nadam_rates, lr, (beta1, beta2, taken, momentum_decay), (added, sign, *_shares(beta1, beta2), eps)


def _radam(lr, beta1, beta2, eps, weight_decay, decoupled, sign):
    taken, added = _decays(weight_decay, decoupled)
    return radam_cuda, radam_rates, lr, (beta1, beta2, taken, 0.0), (added, sign, *_shares(beta1, beta2), eps)


def _rprop(eta_minus, eta_plus, step_min, step_max, sign):
    return rprop_cuda, no_rates, None, _NONE, (eta_minus, eta_plus, step_min, step_max, sign)


def _asgd(lr, lambd, alpha, t0, weight_decay, sign):
    return asgd_cuda, asgd_rates, lr, (lambd, alpha, t0, 0.0), (weight_decay, sign)


_NONE = (0.0, 0.0, 0.0, 0.0)
STEPS = {"sgd": _sgd, "sgd_momentum": _sgd_momentum, "adam": _adam, "adagrad": _adagrad, "rmsprop": _rmsprop,
         "adadelta": _adadelta, "adamax": _adamax, "nadam": _nadam, "radam": _radam, "rprop": _rprop, "asgd": _asgd}


# ---- running a step ------------------------------------------------------------------------------------------------------

def run(name, arrays, vectors, scalars, *hyper, skip=None):
    """The step ``name`` on all parameters of a group; arguments as of ``optim.run``.

    Where the scalars of a parameter are on the device, so is what depends on them, and a learning rate may be a DeviceArray.
    skip: None, or a float32 on a device, which is not 0 where nothing is to be done; waited for if the scalars are on the host.
    """
    width, groups = vectors + scalars, {}
    for i in range(0, len(arrays), width):
        own = arrays[i:i + width]
        for a in own[:vectors]:
            if a.shape != own[0].shape:
                raise RuntimeError(f"optimizer step: expected gradient and state of shape {list(own[0].shape)}, as the parameter,"
                                   f" but got {list(a.shape)}")
            if not isinstance(a, DeviceArray) or a.device != own[0].device:
                raise RuntimeError("Expected all tensors to be on the same device: a parameter is on cuda:"
                                   f"{own[0].device}, and its gradient or state is not")
        groups.setdefault((own[0].device, own[0].dtype, _kind_on_device(own[vectors:], own[0].device)), []).append(own)
    for (_, dtype, kind), rows in groups.items():
        _run_alike(STEPS[name](*hyper), dtype, rows, vectors, kind, skip)


def _kind_on_device(scalars, device):
    """The dtype of a parameter's scalars, if all are on its device; None where they are on the host, or there are none."""
    if not scalars or any(not isinstance(a, DeviceArray) or a.device != device or a.dtype.kind != "f" or a.dtype.itemsize < 4
                          or a.dtype != scalars[0].dtype for a in scalars):
        return None
    return scalars[0].dtype


def _run_alike(step, dtype, rows, vectors, kind, skip):
    """A step on parameters of one dtype and device; kind: the dtype of scalars on the device."""
    kernel, formula, lr, constants, numbers = step
    columns, back = [], []
    for row in rows:
        flat = []
        for k, a in enumerate(row[:vectors]):
            whole = a if a.flags.c_contiguous and a.dtype == dtype else a.astype(dtype, order="C")
            if whole is not a and k != 1:
                back.append((a, whole))
            flat.append(whole.view(whole.real.dtype) if dtype.kind == "c" else whole)
        columns.append([*flat, *row[vectors:]] if kind else flat)
    like = columns[0][0]
    computed = np.dtype(np.float64 if like.dtype == np.float64 else np.float32)
    table, pieces = table_of(columns)
    width, rates = len(columns[0]), None
    if skip is not None and skip.device != like.device:
        skip = copied_to(skip, like.device)
    if kind:
        rates = empty((len(rows), RATES), computed, like.device)
        rates_on_device(formula, table, width, vectors, rates, columns[0][-1], lr, constants, skip)
    elif formula is not None:
        if skip is not None and skip.item():
            return
        if capture(like.device) is not None:
            raise RuntimeError(f"{kernel.name}: step counts on the host cannot be part of a CUDA graph, whose replays would "
                               "repeat them: give the optimizer capturable=True or, where it has not that, fused=True")
        own = [[a if isinstance(a, np.ndarray) else _HostScalar(a) for a in row[vectors:]] for row in rows]
        found = rates_on_host(formula, own, lr.item() if isinstance(lr, DeviceArray) else lr, constants)
        rates = None if formula is no_rates else from_host(np.array(found, computed), like.device)
    if lr is None:
        given = ()
    elif formula in (None, no_rates):
        given = one_of(lr, computed)
    else:
        given = rates,
    if pieces.size:
        kernel.launch(pieces.shape[0], THREADS, table, pieces, like, width, skip, int(skip is not None), *given, *numbers)
    for a, whole in back:
        a[...] = whole


class _HostScalar:
    """A 0-dim state array on a device, read and written from the host: one of several, others of which are on the host."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype

    def item(self):
        return self.array.item()

    def __setitem__(self, key, value):
        self.array[...] = np.asarray(value)
