"""Reductions to truth values, and spreads: variance, standard deviation, logsumexp."""
import builtins
import math

import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import OUT, op, record
from ..tensor import wrap
from ._one_node import one_node
from .convert import to_dtype
from .reduce import _dims, amax, mean, mean_backward, restore, sum

# ---- logic: NumPy's C loops stop at the first answer, which a kernel could not beat -----------------------------------------

def _logic(fn, input, dim, keepdim):
    dims = _dims(input, dim)
    if input._a.__class__ is DeviceArray:
        return wrap(_logic_on_device(fn.__name__, input._a, dims, keepdim))
    out = fn(input._a, axis=dims if input._a.ndim else None, keepdims=keepdim)
    return wrap(np.asarray(out, np.uint8 if input._a.dtype == np.uint8 else np.bool_))


def _logic_on_device(name, a, dims, keepdim):
    shape = shapes.reduced_shape(a.shape, dims, keepdim)
    if not shapes.numel([a.shape[d] for d in dims]):
        out = np.full(shape, name == "all", np.int64 if name == "count_nonzero" else np.bool_, like=a)
    else:
        out = K.reduce_cuda.reduced(name, a, dims).reshape(shape)
    return out.view(np.uint8) if a.dtype == np.uint8 and name != "count_nonzero" else out


@op(method=True, out=True)
def any(input, dim=None, keepdim=False):
    """True where an element (along ``dim``) is not 0."""
    return _logic(np.any, input, dim, keepdim)


@op(method=True, out=True)
def all(input, dim=None, keepdim=False):
    """True where no element (along ``dim``) is 0."""
    return _logic(np.all, input, dim, keepdim)


@op(method=True)
def count_nonzero(input, dim=None):
    """How many elements (along ``dim``) are not 0."""
    if input._a.__class__ is DeviceArray:
        return wrap(_logic_on_device("count_nonzero", input._a, _dims(input, dim), False))
    return wrap(np.asarray(np.count_nonzero(input._a, axis=_dims(input, dim) if input._a.ndim else None), np.int64))


# ---- spreads -----------------------------------------------------------------------------------------------------------

def _correction(unbiased, correction):
    if correction is not None:
        return correction
    return 1 if unbiased or unbiased is None else 0


def _spread_arguments(dim, unbiased):
    """``var(False)`` means unbiased=False, not dim=False."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


def _squares(a, dims):
    """The sums of squared deviations from the mean over ``dims``, in float64."""
    if a.dtype.itemsize == 2:
        a = a.astype(np.float32)
    kept = [d for d in range(a.ndim) if d not in dims]
    n = shapes.numel([a.shape[d] for d in dims])
    shape = [a.shape[d] for d in kept]
    if n == 0 or shapes.numel(shape) == 0:
        return np.full(shape, np.nan)
    x = np.ascontiguousarray(a.transpose(*kept, *dims)).reshape(-1, n)
    mean_, m2 = np.empty(x.shape[0], a.dtype), np.empty(x.shape[0])
    K.reduce.moments_rows(x, mean_, m2)
    return m2.reshape(shape)


def _var(input, dim, unbiased, keepdim, correction, name):
    """(variances or deviations, means where they come with these, dims, n, correction)."""
    dim, unbiased = _spread_arguments(dim, unbiased)
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    if input.is_complex():
        raise NotImplementedError(f"{name} of complex tensors is not built; use the variances of real and imag")
    a, dims, c = input._a, _dims(input, dim), _correction(unbiased, correction)
    n, shape = shapes.numel([a.shape[d] for d in dims]), shapes.reduced_shape(a.shape, dims, keepdim)
    if n - c <= 0:
        import warnings

        warnings.warn(f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
                      "(input numel divided by output numel).", UserWarning, stacklevel=4)
    if a.__class__ is DeviceArray:
        if not n:
            return *[np.full(shape, np.nan, a.dtype, like=a) for _ in range(2)], dims, n, c
        return *[out.reshape(shape) for out in K.reduce_cuda.reduced(name, a, dims, builtins.max(n - c, 0))], dims, n, c
    with np.errstate(all="ignore"):
        v = _squares(a, dims) / np.float64(builtins.max(n - c, 0))
        v = np.sqrt(v) if name == "std" else v
    return np.asarray(v.reshape(shape), a.dtype), None, dims, n, c


@op(method=True, out=True)
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The variance of all elements, or over dimensions.

    Args:
        input (Tensor): floating point.
        dim (int or ints): over which; default all.
        unbiased (bool): divide by n - 1, the default, not by n.
        correction (int): divide by n - correction.

    Formula: sum((x - mean)^2) / (n - correction).
    """
    v, _, dims, n, c = _var(input, dim, unbiased, keepdim, correction, "var")
    return record(v, var_backward, (input,), (input,), dims=dims, keepdim=keepdim, scale=(n, c))


def var_backward(node, g):
    """d var = 2 (x - mean) / (n - c) dx."""
    x, = node.saved_tensors
    dims, (n, c) = node.ctx["dims"], node.ctx["scale"]
    g = restore(g, x._a.shape, dims, node.ctx["keepdim"])
    scale = 2.0 / (n - c) if n - c > 0 else math.inf
    return g * ((x - mean(x, dims or None, True)) * scale)


@op(method=True, out=True)
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The standard deviation: the square root of ``var``."""
    v, _, dims, n, c = _var(input, dim, unbiased, keepdim, correction, "std")
    return record(v, std_backward, (input,), (input, OUT), dims=dims, keepdim=keepdim,
                  scale=(n, c))


def std_backward(node, g):
    """d std = (x - mean) / ((n - c) std) dx; 0 where std is 0."""
    from .masked import where

    x, y = node.saved_tensors
    dims, (n, c) = node.ctx["dims"], node.ctx["scale"]
    g, y = (restore(t, x._a.shape, dims, node.ctx["keepdim"]) for t in (g, y))
    scale = 1.0 / (n - c) if n - c > 0 else math.inf
    return where(y == 0, 0.0, g / y) * ((x - mean(x, dims or None, True)) * scale)


def _with_mean(name, input, dim, unbiased, keepdim, correction):
    """Both from one pass over a DeviceArray."""
    v, means, dims, n, c = _var(input, dim, unbiased, keepdim, correction, name)
    backward, saved = (var_backward, (input,)) if name == "var" else (std_backward, (input, OUT))
    first = record(v, backward, (input,), saved, dims=dims, keepdim=keepdim, scale=(n, c))
    return first, record(means, mean_backward, (input,), shape=input._a.shape, dims=dims, keepdim=keepdim, n=n)


@op()
@one_node("VarMeanBackward0")
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(variance, mean) over the same dimensions."""
    if input._a.__class__ is DeviceArray:
        return _with_mean("var", input, dim, unbiased, keepdim, correction)
    d, u = _spread_arguments(dim, unbiased)
    return var(input, d, u, keepdim, correction=correction), mean(input, d, keepdim)


@op()
@one_node("StdMeanBackward0")
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(standard deviation, mean) over the same dimensions."""
    if input._a.__class__ is DeviceArray:
        return _with_mean("std", input, dim, unbiased, keepdim, correction)
    d, u = _spread_arguments(dim, unbiased)
    return std(input, d, u, keepdim, correction=correction), mean(input, d, keepdim)


@op(method=True, out=True)
def logsumexp(input, dim, keepdim=False):
    """``ln(sum(e^x))`` over dimensions ``dim``, without overflow."""
    if input.dtype.category < dtypes.FLOATING:
        input = to_dtype(input, dtypes.get_default_dtype())
    dims = _dims(input, dim)
    a = input._a
    if not shapes.numel([a.shape[d] for d in dims]):
        out = np.full(shapes.reduced_shape(a.shape, dims, keepdim), -np.inf, a.dtype, like=a)
    elif a.__class__ is DeviceArray:
        out = K.reduce_cuda.reduced("logsumexp", a, dims).reshape(shapes.reduced_shape(a.shape, dims, keepdim))
    else:
        x = input.detach()
        top = amax(x, dims, True)
        top._a[~np.isfinite(top._a.astype(np.float32))] = 0
        out = (sum((x - top).exp(), dims or None, True).log() + top)._a
        out = out.reshape(shapes.reduced_shape(a.shape, dims, keepdim))
    return record(out, logsumexp_backward, (input,), (input, OUT), dims=dims, keepdim=keepdim)


def logsumexp_backward(node, g):
    """Gradient of logsumexp: softmax times g."""
    x, y = node.saved_tensors
    dims, keepdim = node.ctx["dims"], node.ctx["keepdim"]
    g, y = restore(g, x._a.shape, dims, keepdim), restore(y, x._a.shape, dims, keepdim)
    return g * (x - y).exp()
