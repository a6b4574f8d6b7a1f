"""softmax and log_softmax."""
import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import OPS, OUT, Op, explaining, grad_name, op, record
from .convert import to_dtype


def rows_of(a, dim):
    """``a`` as contiguous rows (m, n) along ``dim``, and the function that puts rows back into its shape."""
    if a.ndim == 0:
        return a.reshape(1, 1), lambda rows: rows.reshape(())
    n = a.shape[dim]
    if dim == a.ndim - 1:
        return np.ascontiguousarray(a).reshape(-1, n), lambda rows: rows.reshape(a.shape)
    moved = np.ascontiguousarray(np.moveaxis(a, dim, -1))
    return moved.reshape(-1, n), lambda rows: np.ascontiguousarray(np.moveaxis(rows.reshape(moved.shape), -1, dim))


def _over_rows(kernel, arrays, dim):
    if arrays[0].__class__ is DeviceArray:
        return _on_device(kernel, arrays, dim)
    half = arrays[0].dtype.itemsize == 2
    work = [a.astype(np.float32) for a in arrays] if half else arrays
    rows, back = zip(*(rows_of(a, dim) for a in work))
    out = np.empty_like(rows[0])
    if out.size:
        kernel(*rows, out)
    out = back[0](out)
    return out.astype(arrays[0].dtype) if half else out


def _on_device(kernel, arrays, dim):
    """The kernel over ``dim`` of arrays as they lie, each as (outer, n, inner); halves are computed in float32 by the kernel."""
    shape = arrays[0].shape
    out = np.empty(shape, arrays[0].dtype, like=arrays[0])
    if out.size:
        seen = (1, 1, 1) if not shape else (shapes.numel(shape[:dim]), shape[dim], shapes.numel(shape[dim + 1:]))
        kernel(*(np.ascontiguousarray(a, like=a).reshape(seen) for a in arrays), out.reshape(seen))
    return out


def _prepare(input, dim, dtype, name):
    if dtype is not None:
        input = to_dtype(input, dtype)
    if input.dtype.category != dtypes.FLOATING:
        raise NotImplementedError(f'"{name}" not implemented for \'{_name(input)}\'')
    return input, shapes.wrap_dim(dim, input._a.ndim)


def _name(input):
    from ..op import type_name

    return type_name(input.dtype)


@op(method=True, out=True)
def softmax(input, dim, dtype=None):
    """``e^x / sum(e^x)`` along ``dim``.

    Args:
        input (Tensor): floating point, of any shape.
        dim (int): along which the results add up to 1.
        dtype: convert to it first.

    >>> import numtorch as torch
    >>> torch.softmax(torch.zeros(4), 0)
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    input, dim = _prepare(input, dim, dtype, "softmax_lastdim_kernel_impl")
    return record(_over_rows(K.softmax.softmax_forward, [input._a], dim), softmax_backward, (input,), (OUT,), dim=dim)


def softmax_backward(node, g):
    """d softmax = y (g - sum(g y))."""
    y, = node.saved_tensors
    return softmax_grad(g, y, node.ctx["dim"])


def softmax_grad(g, y, dim):
    """The gradient of softmax, itself differentiable."""
    return record(_over_rows(K.softmax.softmax_backward, [g._a, y._a], dim), softmax_grad_backward, (g, y), (g, y), dim=dim)


@grad_name("SoftmaxBackwardBackward0")
def softmax_grad_backward(node, gg):
    """d (y (g - s)) with s = sum(g y): y (gg - sum(gg y)) dg + (gg (g - s) - g sum(gg y)) dy."""
    g, y = node.saved_tensors
    dim = node.ctx["dim"]
    inner = (gg * y).sum(dim, True)
    return softmax_grad(gg, y, dim), gg * (g - (g * y).sum(dim, True)) - g * inner


@op(method=True, out=True)
def log_softmax(input, dim, dtype=None):
    """``x - ln(sum(e^x))`` along ``dim``: the logarithm of softmax, exact where that would round to 0."""
    input, dim = _prepare(input, dim, dtype, "log_softmax_lastdim_kernel_impl")
    return record(_over_rows(K.softmax.log_softmax_forward, [input._a], dim), log_softmax_backward, (input,), (OUT,), dim=dim)


def log_softmax_backward(node, g):
    """d log_softmax = g - e^y sum(g)."""
    y, = node.saved_tensors
    return log_softmax_grad(g, y, node.ctx["dim"])


def log_softmax_grad(g, y, dim):
    """The gradient of log_softmax, itself differentiable."""
    return record(_over_rows(K.softmax.log_softmax_backward, [g._a, y._a], dim), log_softmax_grad_backward, (g, y), (g, y),
                  dim=dim)


@grad_name("LogSoftmaxBackwardBackward0")
def log_softmax_grad_backward(node, gg):
    """d (g - e^y s) with s = sum(g): (gg - sum(gg e^y)) dg - gg e^y s dy."""
    g, y = node.saved_tensors
    dim = node.ctx["dim"]
    p = gg * y.exp()
    return gg - p.sum(dim, True), -p * g.sum(dim, True)


def _implicit_dim(input):
    import warnings

    warnings.warn("Implicit dimension choice for softmax has been deprecated. Change the call to include dim=X as an argument.",
                  UserWarning, stacklevel=3)
    return 0 if input.ndim in (0, 1, 3) else 1


def _functional(fn):
    def call(input, dim=None, _stacklevel=3, dtype=None):
        return fn(input, _implicit_dim(input) if dim is None else dim, dtype=dtype)
    call.__name__ = call.__qualname__ = fn.__name__
    call.__doc__, call.__module__ = fn.__doc__, __name__
    return call


for _fn in (softmax, log_softmax):
    _key = _fn.__name__
    OPS[f"nn.functional.{_key}"] = Op(_key, explaining(_key, _functional(_fn)), "nn.functional", False, False, False)
    OPS[f"special.{_key}"] = Op(_key, explaining(f"special_{_key}", _fn), "special", False, False, False)


@op(namespace="nn.functional")
def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """``softmax(-x)`` along ``dim``."""
    return softmax(-input, _implicit_dim(input) if dim is None else dim, dtype=dtype)
