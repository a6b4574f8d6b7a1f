"""Fused optimiser steps on CUDA: one launch for all parameters of a group that share a dtype and a device.

``run`` makes a table of addresses, a row a parameter, as ``optim.run`` does on the CPU, and a list of pieces of at most PIECE
elements; a block takes a piece, and reads where it lies from both. Each step reads and writes each array once: in float32 4
bytes an element and access. The tables of the last steps are kept on the device: while parameters, gradients and state stay where
they are, nothing is copied to it.

What depends on the step count is computed on the host in float64, from step counts that are kept there, as on the CPU; the
arithmetic of an element is that of the CPU's kernel, rounding for rounding.
"""
import math

import numpy as np

from . import _driver
from ._cuda import FLOATING, A, cuda, device_kernel, load, pointer, store
from ._device import DeviceArray, from_host, is_capturing, pinned_empty

PIECE, THREADS = 4096, 256
_tables = {}            # (device, addresses, sizes) -> (table, pieces): of the last steps
_captured = []          # tables of graphs: a replay copies them from the host again


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
# table: int64 addresses, a row of ``width`` a parameter; pieces: row, first element, end, a block each; rates: numbers of a row.

@device_kernel("q* q* T~ q A A A", T=FLOATING)
def sgd_cuda(table, pieces, like, width, lr, decay, sign):
    """p -= lr (sign g + decay p). Columns p, g; 12 bytes an element in float32."""
    k = 3 * cuda.blockIdx.x
    at, end, row = pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2], pieces[k] * width
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    while at < end:
        x = load(p, at)
        store(p, at, cuda.fma(-lr, decayed(x, sign * load(g, at), decay), x))
        at += THREADS


@device_kernel("q* q* T~ q A A A A A q", T=FLOATING)
def sgd_momentum_cuda(table, pieces, like, width, lr, decay, sign, momentum, share, nesterov):
    """b = momentum b + share d; p -= lr (d + momentum b if nesterov else b). Columns p, g, b; 20 bytes an element."""
    k = 3 * cuda.blockIdx.x
    at, end, row = pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2], pieces[k] * width
    p, g, b = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = cuda.fma(share, d, momentum * load(b, at))
        store(b, at, y)
        store(p, at, cuda.fma(-lr, cuda.fma(momentum, y, d) if nesterov else y, x))
        at += THREADS


@device_kernel("q* q* T~ q A* A A A A A A A q", T=FLOATING)
def adam_cuda(table, pieces, like, width, rates, shrink, decay, sign, w1, b2, w2, eps, amsgrad):
    """Adam as in ``optim.adam``; rates: lr / (1 - beta1^t), sqrt(1 - beta2^t). Columns p, g, m, v, [maximum of v]; 28 bytes."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    row = i * width
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, v = pointer(table[row + 2], like), pointer(table[row + 3], like)
    top = pointer(table[row + 4], like) if amsgrad else v
    rate, root = rates[2 * i], rates[2 * i + 1]
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


@device_kernel("q* q* T~ q A* A A A", T=FLOATING)
def adagrad_cuda(table, pieces, like, width, rates, decay, eps, sign):
    """s += g^2; p -= rate g / (sqrt(s) + eps). Columns p, g, s; 20 bytes an element."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    row = i * width
    p, g, s = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    rate = rates[i]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = cuda.fma(d, d, load(s, at))
        store(s, at, y)
        store(p, at, x - rate * d / (math.sqrt(y) + eps))
        at += THREADS


@device_kernel("q* q* T~ q A A A A A A A q q", T=FLOATING)
def rmsprop_cuda(table, pieces, like, width, lr, keep, share, eps, decay, momentum, sign, moves, centered):
    """RMSprop as in ``optim.rmsprop``. Columns p, g, s, [b], [a]; 20 to 36 bytes an element."""
    k = 3 * cuda.blockIdx.x
    at, end, row = pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2], pieces[k] * width
    p, g, s = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    b = pointer(table[row + 3], like) if moves else s
    a = pointer(table[row + 3 + moves], like) if centered else s
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


@device_kernel("q* q* T~ q A A A A A A", T=FLOATING)
def adadelta_cuda(table, pieces, like, width, lr, keep, share, eps, decay, sign):
    """Adadelta as in ``optim.adadelta``. Columns p, g, s, a; 28 bytes an element."""
    k = 3 * cuda.blockIdx.x
    at, end, row = pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2], pieces[k] * width
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    s, a = pointer(table[row + 2], like), pointer(table[row + 3], like)
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y, z = cuda.fma(share * d, d, keep * load(s, at)), load(a, at)
        step = math.sqrt(z + eps) / math.sqrt(y + eps) * d
        store(s, at, y)
        store(a, at, cuda.fma(share * step, step, keep * z))
        store(p, at, cuda.fma(-lr, step, x))
        at += THREADS


@device_kernel("q* q* T~ q A* A A A A A", T=FLOATING)
def adamax_cuda(table, pieces, like, width, rates, w1, b2, eps, decay, sign):
    """Adamax as in ``optim.adamax``; rate: lr / (1 - beta1^t). Columns p, g, m, u; 28 bytes an element."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    row = i * width
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, u = pointer(table[row + 2], like), pointer(table[row + 3], like)
    rate = rates[i]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        y = lerp(load(m, at), d, w1)
        top = larger_of(b2 * load(u, at), abs(d) + eps)
        store(m, at, y)
        store(u, at, top)
        store(p, at, x - rate * y / top)
        at += THREADS


@device_kernel("q* q* T~ q A* A A A A A A A", T=FLOATING)
def nadam_cuda(table, pieces, like, width, rates, shrink, decay, sign, w1, b2, w2, eps):
    """NAdam as in ``optim.nadam``; rates: of g, of m, 1 - beta2^t. Columns p, g, m, v; 28 bytes an element."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    row = i * width
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, v = pointer(table[row + 2], like), pointer(table[row + 3], like)
    g_rate, m_rate, correction = rates[3 * i], rates[3 * i + 1], rates[3 * i + 2]
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


@device_kernel("q* q* T~ q A* A A A A A A A", T=FLOATING)
def radam_cuda(table, pieces, like, width, rates, shrink, decay, sign, w1, b2, w2, eps):
    """RAdam as in ``optim.radam``; rates: lr / (1 - beta1^t), the rectification or 0. Columns p, g, m, v; 28 bytes."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    row = i * width
    p, g = pointer(table[row], like), pointer(table[row + 1], like)
    m, v = pointer(table[row + 2], like), pointer(table[row + 3], like)
    rate, rectified = rates[2 * i], rates[2 * i + 1]
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


@device_kernel("q* q* T~ q A A A A A", T=FLOATING)
def rprop_cuda(table, pieces, like, width, down, up, low, high, sign):
    """Rprop as in ``optim.rprop``. Columns p, g, previous g, s; 28 bytes an element."""
    k = 3 * cuda.blockIdx.x
    at, end, row = pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2], pieces[k] * width
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


@device_kernel("q* q* T~ q A* A A", T=FLOATING)
def asgd_cuda(table, pieces, like, width, rates, decay, sign):
    """ASGD as in ``optim.asgd``; rates: eta, mu, 1 - lambd eta. Columns p, g, a; 20 bytes an element."""
    k = 3 * cuda.blockIdx.x
    i, at, end = pieces[k], pieces[k + 1] + cuda.threadIdx.x, pieces[k + 2]
    row = i * width
    p, g, a = pointer(table[row], like), pointer(table[row + 1], like), pointer(table[row + 2], like)
    eta, mu, shrink = rates[3 * i], rates[3 * i + 1], rates[3 * i + 2]
    while at < end:
        x = load(p, at)
        d = decayed(x, sign * load(g, at), decay)
        x = cuda.fma(-eta, d, x * shrink)
        store(p, at, x)
        mean = load(a, at)
        store(a, at, x if mu == A(1) else mean + mu * (x - mean))
        at += THREADS


# ---- what depends on the step count, on the host ---------------------------------------------------------------------------
# Each takes the 0-dim state of each row and the kernel's hyperparameters; gives the kernel, the rates of each row, its arguments.

def _advanced(count):
    """A step count plus 1, in the precision in which it is kept."""
    count[...] = count.item() + 1.0
    return count.item()


def _sgd(rows, lr, weight_decay, sign):
    return sgd_cuda, None, (lr, weight_decay, sign)


def _sgd_momentum(rows, lr, weight_decay, sign, momentum, dampening, nesterov):
    return sgd_momentum_cuda, None, (lr, weight_decay, sign, momentum, 1.0 - dampening, int(nesterov))


def _adam(rows, lr, beta1, beta2, eps, weight_decay, decoupled, sign, amsgrad):
    rates = []
    for row in rows:
        t = _advanced(row[-1])
        rates += [lr / (1.0 - beta1 ** t), math.sqrt(1.0 - beta2 ** t)]
    return adam_cuda, rates, (*_decays(lr, weight_decay, decoupled), sign, 1.0 - beta1, beta2, 1.0 - beta2, eps, int(amsgrad))


def _decays(lr, weight_decay, decoupled):
    return (1.0 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)


def _adagrad(rows, lr, lr_decay, weight_decay, eps, sign):
    return adagrad_cuda, [lr / (1.0 + (_advanced(row[-1]) - 1.0) * lr_decay) for row in rows], (weight_decay, eps, sign)


def _rmsprop(rows, lr, alpha, eps, weight_decay, momentum, centered, sign):
    for row in rows:
        _advanced(row[-1])
    return rmsprop_cuda, None, (lr, alpha, 1.0 - alpha, eps, weight_decay, momentum, sign, int(momentum > 0), int(centered))


def _adadelta(rows, lr, rho, eps, weight_decay, sign):
    for row in rows:
        _advanced(row[-1])
    return adadelta_cuda, None, (lr, rho, 1.0 - rho, eps, weight_decay, sign)


def _adamax(rows, lr, beta1, beta2, eps, weight_decay, sign):
    return (adamax_cuda, [lr / (1.0 - beta1 ** _advanced(row[-1])) for row in rows],
            (1.0 - beta1, beta2, eps, weight_decay, sign))


def _nadam(rows, lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled, sign):
    rates = []
    for product, count in rows:
        t = _advanced(count)
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))
        following = beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * momentum_decay))
        kind = product.dtype.type
        product[...] = kind(product.item()) * kind(mu)
        c = product.item()
        rates += [lr * (1.0 - mu) / (1.0 - c), lr * following / (1.0 - c * following), 1.0 - beta2 ** t]
    return nadam_cuda, rates, (*_decays(lr, weight_decay, decoupled), sign, 1.0 - beta1, beta2, 1.0 - beta2, eps)


def _radam(rows, lr, beta1, beta2, eps, weight_decay, decoupled, sign):
    rates, limit = [], 2.0 / (1.0 - beta2) - 1.0
    for row in rows:
        t = _advanced(row[-1])
        left = 1.0 - beta2 ** t
        rho = limit - 2.0 * t * beta2 ** t / left
        rates += [lr / (1.0 - beta1 ** t),
                  math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho) * left) if rho > 5.0 else 0.0]
    return radam_cuda, rates, (*_decays(lr, weight_decay, decoupled), sign, 1.0 - beta1, beta2, 1.0 - beta2, eps)


def _rprop(rows, eta_minus, eta_plus, step_min, step_max, sign):
    for row in rows:
        _advanced(row[-1])
    return rprop_cuda, None, (eta_minus, eta_plus, step_min, step_max, sign)


def _asgd(rows, lr, lambd, alpha, t0, weight_decay, sign):
    rates = []
    for eta, mu, count in rows:
        t = _advanced(count)
        rates += [eta.item(), mu.item(), 1.0 - lambd * eta.item()]
        eta[...] = lr / (1.0 + lambd * lr * t) ** alpha
        mu[...] = 1.0 / max(1.0, t - t0)
    return asgd_cuda, rates, (weight_decay, sign)


STEPS = {"sgd": _sgd, "sgd_momentum": _sgd_momentum, "adam": _adam, "adagrad": _adagrad, "rmsprop": _rmsprop,
         "adadelta": _adadelta, "adamax": _adamax, "nadam": _nadam, "radam": _radam, "rprop": _rprop, "asgd": _asgd}


# ---- running a step ------------------------------------------------------------------------------------------------------

def run(name, arrays, vectors, scalars, *hyper):
    """The step ``name`` on all parameters of a group; arguments as of ``optim.run``."""
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
        groups.setdefault((own[0].device, own[0].dtype), []).append(own)
    for (_, dtype), rows in groups.items():
        _run_alike(STEPS[name], dtype, rows, vectors, hyper)


def _run_alike(step, dtype, rows, vectors, hyper):
    """A step on parameters of one dtype and device."""
    columns, back = [], []
    for row in rows:
        flat = []
        for k, a in enumerate(row[:vectors]):
            whole = a if a.flags.c_contiguous and a.dtype == dtype else a.astype(dtype, order="C")
            if whole is not a and k != 1:
                back.append((a, whole))
            flat.append(whole.view(whole.real.dtype) if dtype.kind == "c" else whole)
        columns.append(flat)
    kernel, rates, numbers = step([[a if isinstance(a, np.ndarray) else _HostScalar(a) for a in row[vectors:]] for row in rows],
                                  *hyper)
    if rates is not None and is_capturing():
        raise RuntimeError(f"{kernel.name} has rates that depend on the number of steps, which a CUDA graph would repeat: "
                           "capture forward and backward, and call step() after the replay (SGD can be captured)")
    like = columns[0][0]
    table, pieces = _table(like.device, tuple([a.ptr for row in columns for a in row]), tuple([row[0].size for row in columns]))
    computed = np.float64 if like.dtype == np.float64 else np.float32
    given = () if rates is None else (from_host(np.array(rates, computed), like.device),)
    if pieces.size:
        kernel.launch(pieces.shape[0], THREADS, table, pieces, like, vectors, *given, *numbers)
    for a, whole in back:
        a[...] = whole


class _HostScalar:
    """A 0-dim state array on a device, read and written from the host: a step count that a program has moved there."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype

    def item(self):
        return self.array.item()

    def __setitem__(self, key, value):
        self.array[...] = np.asarray(value)


def _table(device, addresses, sizes):
    """The table and the pieces on the device."""
    key = device, addresses, sizes
    found = _tables.get(key)
    if found is None:
        pieces = [(i, start, min(start + PIECE, n)) for i, n in enumerate(sizes) for start in range(0, n, PIECE)]
        if len(_tables) >= 16:
            _tables.clear()
        found = _tables[key] = tuple([_placed(np.array(values, np.int64), device) for values in (addresses, pieces)])
    return found


def _placed(values, device):
    """A table on the device; of a step that is captured, its page-locked source is kept for the replays."""
    if is_capturing():
        values, source = pinned_empty(values.shape, values.dtype), values
        values[...] = source
        _captured.append(values)
    return from_host(values, device)


_driver.on_change += [_tables.clear, _captured.clear]
