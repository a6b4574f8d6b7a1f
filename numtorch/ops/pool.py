"""Pooling in 1, 2 and 3 dimensions: the largest element or the average of windows.

Every kind is a rule for the windows of each axis and one kernel: on the CPU it is given tables of the windows, on a CUDA device
the rules. The gradient of a maximum puts g where the maximum was, the gradient of that picks from the same places.
"""
from functools import lru_cache

import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray, empty
from ..op import grad_name, op, record
from ..tensor import wrap
from .matmul import must_be_tensors

# ---- windows -----------------------------------------------------------------------------------------------------------


def out_size(size, kernel, stride, padding, dilation, ceil_mode):
    """The number of windows along an axis; with ceil_mode, one that starts inside may end outside."""
    out = (size + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil_mode else 0)) // stride + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


@lru_cache(4096)
def _windows(size, out, kernel, stride, padding, dilation, count_padding):
    """(first, stop, count) of each window, cut off at the borders; the arguments are the rule of an axis."""
    start = np.arange(out) * stride - padding
    stop = np.minimum(start + dilation * (kernel - 1) + 1, size + padding)
    counted = stop - start
    first = start + dilation * -(np.minimum(start, 0) // dilation)
    stop = np.minimum(stop, size)
    return np.stack([first, stop, counted if count_padding else stop - first], 1)


@lru_cache(4096)
def _shares(size, out):
    """(first, stop, count) of each window of adaptive pooling: ``size`` elements in ``out`` runs that may overlap by one."""
    o = np.arange(out)
    first, stop = o * size // out, -((-(o + 1) * size) // out)
    return np.stack([first, stop, stop - first], 1)


_ONE, _ONE_TABLE = (1, 1, 1, 1, 0, 1, False), np.array([[0, 1, 1]])


def _tables(rules):
    """The tables of the windows of three axes."""
    return [*[_ONE_TABLE] * (3 - len(rules)), *[_shares(*r) if len(r) == 2 else _windows(*r) for r in rules]]


def _axes(rules):
    """The rules of three axes, which on a CUDA device take the place of the tables."""
    return [*[_ONE] * (3 - len(rules)), *rules]


def planes_of(array, n):
    """The array as (planes, depth, height, width), contiguous and in a dtype that the CPU's kernels take."""
    shape = array.shape
    dtype = array.dtype if array.itemsize > 2 or array.dtype.kind in "iu" else np.float32
    spatial = shape[len(shape) - n:]
    return np.ascontiguousarray(array, dtype).reshape(shapes.numel(shape[:len(shape) - n]), *[1] * (3 - n), *spatial)


def ready(a, dtype=None):
    """A DeviceArray, contiguous and of ``dtype`` (None: its own): itself where it is."""
    if a.flags.c_contiguous and (dtype is None or a.dtype == dtype):
        return a
    return np.ascontiguousarray(a, dtype, like=a)


def each(value, n, message):
    """``value`` as a tuple of n ints; RuntimeError with ``message`` otherwise."""
    if isinstance(value, int):
        return (value,) * n
    value = tuple(value)
    if len(value) == 1:
        return value * n
    if len(value) != n:
        raise RuntimeError(message)
    return value


WORDS = {1: "one int", 2: "two ints", 3: "three ints"}


def _settings(name, n, kernel_size, stride, padding, dilation=1):
    def say(what):
        return f"{name}: {what} must either be a single int, or a tuple of {WORDS[n]}"
    kernel = each(kernel_size, n, say("kernel_size"))
    if stride is None or isinstance(stride, (tuple, list)) and not stride:
        stride = kernel
    else:
        stride = each(stride, n, say("stride"))
    padding, dilation = each(padding, n, say("padding")), each(dilation, n, say("dilation"))
    if any(s == 0 for s in stride):
        raise RuntimeError("stride should not be zero")
    if any(k <= 0 for k in kernel):
        raise RuntimeError(f"kernel size should be greater than zero, but got {list(kernel)}")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"stride should be greater than zero, but got {list(stride)}")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")
    for p, k, d in zip(padding, kernel, dilation):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            if n == 1:
                raise RuntimeError(f"{name}() padding should be at most half of kernel size, but got padding={p} and "
                                   f"kernel_size={k}")
            raise RuntimeError(f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                               f"dilation={d}")
    return kernel, stride, padding, dilation


def _check_input(name, n, a):
    if a.dtype.kind in "bc":
        raise NotImplementedError(f'"{name}" not implemented for \'{"Bool" if a.dtype.kind == "b" else "ComplexFloat"}\'')
    if a.ndim not in (n + 1, n + 2) or 0 in a.shape[a.ndim - n - 1:]:
        if n == 1:
            raise RuntimeError(f"{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
                               f"got:{list(a.shape)}")
        if a.ndim not in (n + 1, n + 2):
            raise RuntimeError(f"non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for input")
        raise RuntimeError(f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but "
                           f"got:{list(a.shape)}")


def _sizes(name, a, n, kernel, stride, padding, dilation, ceil_mode):
    spatial = a.shape[a.ndim - n:]
    out = tuple(out_size(i, k, s, p, d, ceil_mode) for i, k, s, p, d in zip(spatial, kernel, stride, padding, dilation))
    if any(o < 1 for o in out):
        if n == 1 and name == "max_pool1d":
            raise RuntimeError(f"max_pool1d() Invalid computed output size: {out[0]}")
        c = a.shape[a.ndim - n - 1]
        raise RuntimeError(f"Given input size: ({'x'.join(map(str, (c, *spatial)))}). Calculated output size: "
                           f"({'x'.join(map(str, (c, *out)))}). Output size is too small")
    return out


# ---- maximum -----------------------------------------------------------------------------------------------------------

def largest(input, n, rules, steps, backward):
    """The largest element of each window, recorded with ``backward``, and its index in the plane as an int64 tensor."""
    a = input._a
    shape = (*a.shape[:a.ndim - n], *[r[1] for r in rules])
    if type(a) is DeviceArray:
        y, indices = empty(shape, a.dtype, a.device), empty(shape, np.int64, a.device)
        if y.size:
            K.pool_cuda.max_pool(ready(a), *_axes(rules), y, indices)
        return record(y, backward, (input,), indices=indices, shape=a.shape, rules=rules), wrap(indices)
    x, tables = planes_of(a, n), _tables(rules)
    y = np.empty((x.shape[0], *(len(t) for t in tables)), x.dtype)
    indices = np.empty(y.shape, np.int64)
    if y.size:
        K.pool.max_pool(x, *tables, *[*[1] * (3 - n), *steps], y, indices)
    return (record(y.astype(a.dtype, copy=False).reshape(shape), backward, (input,), indices=_rows(indices), shape=a.shape,
                   rules=rules),
            wrap(indices.reshape(shape)))


def _rows(array):
    """(planes, d, h, w) as (planes, d * h * w), also where there are no planes."""
    return array.reshape(array.shape[0], shapes.numel(array.shape[1:]))


def put_planes(g, indices, shape, n, rules=None):
    """A tensor of ``shape`` with each element of g added at its index (planes, elements) in its plane.

    The gradient of a maximum over the windows of ``rules``; without rules, of an unpooling's.
    """
    a = g._a
    if type(a) is DeviceArray:
        gx = empty(shape, a.dtype, a.device)
        if gx.size:
            if rules:
                K.pool_cuda.max_pool_grad(ready(a), indices, gx, _axes(rules))
            else:
                K.pool_cuda.scatter_planes(ready(a), indices, gx, shapes.numel(shape[:len(shape) - n]))
    else:
        x = _rows(planes_of(a, n))
        gx = np.empty((indices.shape[0], shapes.numel(shape[len(shape) - n:])), x.dtype)
        if gx.size:
            K.pool.scatter_planes(x, indices, gx)
        gx = gx.astype(a.dtype, copy=False).reshape(shape)
    return record(gx, put_planes_backward, (g,), indices=indices, shape=a.shape, n=n, rules=rules)


def put_planes_backward(node, g):
    """Gradient of put_planes: the elements at the indices."""
    return pick_planes(g, node.ctx["indices"], node.ctx["shape"], node.ctx["n"], node.ctx["rules"])


def pick_planes(x, indices, shape, n, rules=None):
    """A tensor of ``shape`` with the elements of x at the indices in its planes."""
    a = x._a
    if type(a) is DeviceArray:
        y = empty(shape, a.dtype, a.device)
        if y.size:
            K.pool_cuda.gather_planes(ready(a), indices, y, shapes.numel(shape[:len(shape) - n]))
    else:
        planes = _rows(planes_of(a, n))
        y = np.empty(indices.shape, planes.dtype)
        if y.size:
            K.pool.gather_planes(planes, indices, y)
        y = y.astype(a.dtype, copy=False).reshape(shape)
    return record(y, pick_planes_backward, (x,), indices=indices, shape=a.shape, n=n, rules=rules)


def pick_planes_backward(node, g):
    """Gradient of pick_planes: g at the indices."""
    return put_planes(g, node.ctx["indices"], node.ctx["shape"], node.ctx["n"], node.ctx["rules"])


def max_backward(name):
    """The backward function of a maximum under torch's ``name`` for it."""
    @grad_name(name)
    def backward(node, g):
        rules = node.ctx["rules"]
        return put_planes(g, node.ctx["indices"], node.ctx["shape"], len(rules), rules)
    return backward


_MAX_BACKWARD = {1: max_backward("SqueezeBackward1"), 2: max_backward("MaxPool2DWithIndicesBackward0"),
                 3: max_backward("MaxPool3DWithIndicesBackward0")}


def _max_pool(name, n, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    must_be_tensors(name, input=input)
    kernel, stride, padding, dilation = _settings(name, n, kernel_size, stride, padding, dilation)
    a = input._a
    _check_input(name, n, a)
    out = _sizes(name, a, n, kernel, stride, padding, dilation, ceil_mode)
    if not return_indices and n == 2 and kernel == stride == (2, 2) and padding == (0, 0) and dilation == (1, 1) \
            and a.dtype in (np.float32, np.float64) and out == (a.shape[-2] // 2, a.shape[-1] // 2):
        return _max_pool_2x2(input, out)
    rules = [*zip(a.shape[a.ndim - n:], out, kernel, stride, padding, dilation, (False,) * n)]
    y, indices = largest(input, n, rules, dilation, _MAX_BACKWARD[n])
    return (y, indices) if return_indices else y


def _max_pool_2x2(input, out):
    a = input._a
    if type(a) is DeviceArray:
        shape = (*a.shape[:-2], *out)
        y, taps = empty(shape, a.dtype, a.device), empty(shape, np.uint8, a.device)
        K.pool_cuda.max_pool_2x2(ready(a), y, taps)
    else:
        x = np.ascontiguousarray(a).reshape(-1, *a.shape[-2:]) if a.size else a.reshape(0, *a.shape[-2:])
        y = np.empty((x.shape[0], *out), a.dtype)
        taps = np.empty(y.shape, np.uint8)
        K.pool.max_pool_2x2(x, y, taps)
        y = y.reshape(*a.shape[:-2], *out)
    return record(y, _max_pool_2x2_backward, (input,), taps=taps, shape=a.shape)


@grad_name("MaxPool2DWithIndicesBackward0")
def _max_pool_2x2_backward(node, g):
    return _put_2x2(g, node.ctx["taps"], node.ctx["shape"])


def _put_2x2(g, taps, shape):
    a = g._a
    if type(a) is DeviceArray:
        gx = empty(shape, a.dtype, a.device)
        K.pool_cuda.max_pool_2x2_grad(ready(a), taps, gx)
    else:
        gx = np.empty((taps.shape[0], *shape[-2:]), a.dtype)
        K.pool.max_pool_2x2_grad(np.ascontiguousarray(a).reshape(taps.shape), taps, gx)
        gx = gx.reshape(shape)
    return record(gx, _put_2x2_backward, (g,), taps=taps, shape=a.shape)


def _put_2x2_backward(node, g):
    taps, shape, a = node.ctx["taps"], node.ctx["shape"], g._a
    if type(a) is DeviceArray:
        y = empty(shape, a.dtype, a.device)
        K.pool_cuda.max_pool_2x2_pick(ready(a), taps, y)
    else:
        y = np.empty(taps.shape, a.dtype)
        K.pool.max_pool_2x2_pick(np.ascontiguousarray(a).reshape(taps.shape[0], *a.shape[-2:]), taps, y)
        y = y.reshape(shape)
    return record(y, _pick_2x2_backward, (g,), taps=taps, shape=a.shape)


def _pick_2x2_backward(node, g):
    return _put_2x2(g, node.ctx["taps"], node.ctx["shape"])


@op(namespace="nn.functional")
def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of each window of a signal (n, c, length) or (c, length); see ``max_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.max_pool1d(torch.tensor([[1., 3., 2., 0.]]), 2)
    tensor([[3., 2.]])
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@op(namespace="nn.functional")
def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of each window of an image; a window with a nan gives nan.

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w).
        kernel_size (int or two ints): the window.
        stride (int or two ints): step between windows; default the window.
        padding (int or two ints): of minus infinity, on each side, at most half a window.
        dilation (int or two ints): step between a window's elements.
        ceil_mode (bool): also a last window that ends outside.
        return_indices (bool): also return where each largest element is, as h * width + w.

    Returns:
        Tensor of (n, c, (h + 2 padding - dilation (kernel - 1) - 1) // stride + 1, ...), or (Tensor, int64 Tensor).

    >>> import numtorch as torch
    >>> torch.nn.functional.max_pool2d(torch.arange(16.).view(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@op(namespace="nn.functional")
def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of each window of a volume (n, c, d, h, w) or (c, d, h, w); see ``max_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.max_pool3d(torch.arange(8.).view(1, 2, 2, 2), 2).item()
    7.0
    """
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


# ---- average -----------------------------------------------------------------------------------------------------------

def average(input, n, rules, divisor, backward):
    """The average over each window, recorded with ``backward``; a divisor that is not 0 replaces the windows' counts."""
    a = input._a
    shape = (*a.shape[:a.ndim - n], *[r[1] for r in rules])
    if type(a) is DeviceArray:
        y = empty(shape, a.dtype, a.device)
        if y.size:
            K.pool_cuda.avg_pool(ready(a), *_axes(rules), divisor, y)
    else:
        x, tables = planes_of(a, n), _tables(rules)
        y = np.empty((x.shape[0], *(len(t) for t in tables)), x.dtype)
        if y.size:
            K.pool.avg_pool(x, *tables, divisor, y)
        y = y.astype(a.dtype, copy=False).reshape(shape)
    return record(y, backward, (input,), rules=rules, divisor=divisor, shape=a.shape, n=n)


def _share_out(g, rules, divisor, shape, n):
    """The gradient of an average: every element of g, divided by its count, added to its window."""
    a = g._a
    if type(a) is DeviceArray:
        gx = empty(shape, a.dtype, a.device)
        if gx.size:
            K.pool_cuda.avg_pool_grad(ready(a), *_axes(rules), divisor, gx)
    else:
        x = planes_of(a, n)
        gx = np.empty((x.shape[0], *[1] * (3 - n), *shape[len(shape) - n:]), x.dtype)
        if gx.size:
            K.pool.avg_pool_grad(x, *_tables(rules), divisor, gx)
        gx = gx.astype(a.dtype, copy=False).reshape(shape)
    return record(gx, _share_out_backward, (g,), rules=rules, divisor=divisor, n=n)


def _share_out_backward(node, g):
    ctx = node.ctx
    return average(g, ctx["n"], ctx["rules"], ctx["divisor"], _AVG_BACKWARD[ctx["n"]])


def avg_backward(name):
    """The backward function of an average under torch's ``name`` for it."""
    @grad_name(name)
    def backward(node, g):
        ctx = node.ctx
        return _share_out(g, ctx["rules"], ctx["divisor"], ctx["shape"], ctx["n"])
    return backward


_AVG_BACKWARD = {1: avg_backward("SqueezeBackward1"), 2: avg_backward("AvgPool2DBackward0"),
                 3: avg_backward("AvgPool3DBackward0")}


def avg_pool_of(name, n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
    """``avg_pool<n>d``, under the name that errors show."""
    must_be_tensors(name, input=input)
    kernel, stride, padding, dilation = _settings(name, n, kernel_size, stride, padding)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    a = input._a
    _check_input(name, n, a)
    out = _sizes(name, a, n, kernel, stride, padding, dilation, ceil_mode)
    rules = [*zip(a.shape[a.ndim - n:], out, kernel, stride, padding, (1,) * n, (bool(count_include_pad),) * n)]
    return average(input, n, rules, divisor_override or 0, _AVG_BACKWARD[n])


@op(namespace="nn.functional")
def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The average of each window of a signal (n, c, length) or (c, length); see ``avg_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.avg_pool1d(torch.tensor([[1., 3., 2., 0.]]), 2)
    tensor([[2., 1.]])
    """
    return avg_pool_of("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@op(namespace="nn.functional")
def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """The average of each window of an image.

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w).
        kernel_size, stride, padding, ceil_mode: as of ``max_pool2d``, the padding of zeros.
        count_include_pad (bool): divide by the window's size, padding included; else by the elements inside.
        divisor_override (int): divide by this instead.

    >>> import numtorch as torch
    >>> torch.nn.functional.avg_pool2d(torch.arange(4.).view(1, 2, 2), 2).item()
    1.5
    """
    return avg_pool_of("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@op(namespace="nn.functional")
def avg_pool3d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    """The average of each window of a volume (n, c, d, h, w) or (c, d, h, w); see ``avg_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.avg_pool3d(torch.arange(8.).view(1, 2, 2, 2), 2).item()
    3.5
    """
    return avg_pool_of("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
