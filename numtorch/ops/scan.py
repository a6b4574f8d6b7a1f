"""Running results along a dim: cumsum, cumprod, cummax, cummin, logcumsumexp, diff."""
import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import OUT, op, record, type_name
from ..return_types import return_type
from ..tensor import wrap
from .indexing import _scatter_add_zeros, fold

_cummax, _cummin = return_type("cummax", "values indices"), return_type("cummin", "values indices")
_ZERO = {"f": 0.0, "i": 0, "c": 0j}


def _prepared(input, dtype):
    """The input in the dtype of the result: ``dtype``, or int64 for integers and bool."""
    if dtype is None:
        dtype = dtypes.int64 if input._a.dtype.kind in "biu" else input.dtype
    return input if input.dtype is dtype else input.to(dtype)


def _wide(a):
    """Arrays as the kernels take them: on the CPU halves as float32."""
    if a.__class__ is DeviceArray:
        return a
    return a.astype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind not in "biu" else a


def _scan(kernel, a, dim, start, *flags):
    """A kernel's scan of ``a`` along ``dim``, in ``a``'s dtype."""
    x = fold(_wide(a), dim)
    if x.dtype.kind in "biu" and x.dtype != np.int64:
        x = x.astype(np.int64)
    out = np.empty_like(x)
    if x.size:
        _run(kernel, x)(x, start, *flags, out)
    return out.reshape(a.shape).astype(a.dtype, copy=False)


def _run(kernel, x):
    """The twin to run on x (outer, n, inner): one row is one task, for which threads would only be woken."""
    return kernel.serial if x.shape[0] == 1 == x.shape[2] and x.__class__ is np.ndarray else kernel


# ---- sums and products -------------------------------------------------------------------------------------------------------

@op(method=True, inplace=True, out=True)
def cumsum(input, dim, *, dtype=None):
    """Running sums along ``dim``; float32 is added up in float64.

    Args:
        input (Tensor): of any dtype; integers and bool give int64.
        dim (int): the dim.
        dtype (dtype): convert to it first.

    >>> import numtorch as torch
    >>> torch.cumsum(torch.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _cumsum(_prepared(input, dtype), shapes.wrap_dim(dim, input._a.ndim), False)


def _cumsum(input, dim, reverse):
    a = input._a
    out = _scan(K.scan.cumsum, a, dim, _ZERO.get(a.dtype.kind, 0.0), reverse)
    return record(out, cumsum_backward, (input,), (), dim=dim, reverse=reverse)


def cumsum_backward(node, g):
    """Gradient of cumsum: the sums from the other end."""
    return _cumsum(g, node.ctx["dim"], not node.ctx["reverse"])


@op(method=True, inplace=True, out=True)
def cumprod(input, dim, *, dtype=None):
    """Running products along ``dim``; float32 is multiplied in float64.

    Args:
        input (Tensor): of any dtype; integers and bool give int64.
        dim (int): the dim.
        dtype (dtype): convert to it first.

    >>> import numtorch as torch
    >>> torch.cumprod(torch.tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    input, dim = _prepared(input, dtype), shapes.wrap_dim(dim, input._a.ndim)
    start = _ZERO.get(input._a.dtype.kind, 0.0) + 1
    return record(_scan(K.scan.cumprod, input._a, dim, start), cumprod_backward, (input,), (input, OUT), dim=dim)


def cumprod_backward(node, g):
    """Gradient of cumprod, without a division and so right where factors are 0.

    gx[k] = p[k] s[k], with p[k] the product of x[:k], and s[k] = g[k] + x[k + 1] s[k + 1].
    """
    x, y = node.saved_tensors
    dim = node.ctx["dim"]
    if x._a.dtype.kind == "c":
        x, y = x.conj(), y.conj()
    return _shift(y, dim, 1, 1) * _recurrence(_shift(x, dim, -1, 0), g, dim, True)


def _shift(x, dim, by, fill):
    """The entries of ``dim`` moved one place up (by = 1) or down (-1), ``fill`` in the free place."""
    a = x._a
    if not a.ndim:
        return record(np.full((), fill, a.dtype, like=a), _shift_backward, (x,), (), dim=dim, by=by)
    out = np.empty_like(a, order="C")
    before = (slice(None),) * dim
    out[before + (slice(1, None) if by > 0 else slice(None, -1),)] = a[before + (slice(None, -1) if by > 0 else slice(1,
        None),)]
    if a.shape[dim]:
        out[before + (0 if by > 0 else -1,)] = fill
    return record(out, _shift_backward, (x,), (), dim=dim, by=by)


def _shift_backward(node, g):
    """Gradient of a shift: shifted back."""
    return _shift(g, node.ctx["dim"], -node.ctx["by"], 0)


def _recurrence(a, b, dim, reverse):
    """out[k] = b[k] + a[k] out[k - 1] along ``dim`` (reverse: out[k + 1]), from 0."""
    x, y = fold(_wide(a._a), dim), fold(_wide(b._a), dim)
    out = np.empty_like(y)
    if y.size:
        _run(K.scan.recurrence, y)(np.ascontiguousarray(x, like=x), y, _ZERO.get(y.dtype.kind, 0.0), reverse, out)
    out = out.reshape(b._a.shape).astype(b._a.dtype, copy=False)
    return record(out, _recurrence_backward, (a, b), (a, OUT), dim=dim, reverse=reverse)


def _recurrence_backward(node, g):
    """Gradient of a recurrence: t[k] = g[k] + a[k + 1] t[k + 1] for b, t[k] out[k - 1] for a; mirrored if reverse."""
    a, y = node.saved_tensors
    dim, reverse = node.ctx["dim"], node.ctx["reverse"]
    if a._a.dtype.kind == "c":
        a, y = a.conj(), y.conj()
    by = 1 if reverse else -1
    t = _recurrence(_shift(a, dim, by, 0), g, dim, not reverse)
    return t * _shift(y, dim, -by, 0), t


# ---- extremes ----------------------------------------------------------------------------------------------------------------

def _extreme(name, input, dim, largest, backward, result):
    a = input._a
    if a.dtype.kind == "c":
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(input.dtype)}'")
    dim = shapes.wrap_dim(dim, a.ndim)
    x = fold(_wide(a), dim)
    x = x.astype(np.int64) if x.dtype.kind in "biu" else x
    values, index = np.empty_like(x), np.empty(x.shape, np.int64, like=x)
    if x.size:
        _run(K.scan.cumulative_extreme, x)(x, largest, values, index)
    index = wrap(index.reshape(a.shape))
    values = values.reshape(a.shape).astype(a.dtype, copy=False)
    return result((record(values, backward, (input,), (index,), dim=dim, shape=a.shape), index))


@op(method=True, out=True)
def cummax(input, dim):
    """Running maxima along ``dim`` and where they stand: the latest of equals, from a nan on always that nan.

    Args:
        input (Tensor): of a real dtype.
        dim (int): the dim.

    Returns:
        A named tuple (values, indices).

    >>> import numtorch as torch
    >>> torch.cummax(torch.tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    return _extreme("cummax", input, dim, True, cummax_backward, _cummax)


@op(method=True, out=True)
def cummin(input, dim):
    """Running minima along ``dim`` and where they stand: the latest of equals, from a nan on always that nan.

    Args:
        input (Tensor): of a real dtype.
        dim (int): the dim.

    Returns:
        A named tuple (values, indices).

    >>> import numtorch as torch
    >>> torch.cummin(torch.tensor([3, 1, 2]), 0).indices
    tensor([0, 1, 1])
    """
    return _extreme("cummin", input, dim, False, cummin_backward, _cummin)


def cummax_backward(node, g):
    """Gradient of cummax: added up where the maxima stand."""
    index, = node.saved_tensors
    return _scatter_add_zeros(g, node.ctx["shape"], node.ctx["dim"], index)


def cummin_backward(node, g):
    """Gradient of cummin: added up where the minima stand."""
    return cummax_backward(node, g)


# ---- log-sum-exp, differences ------------------------------------------------------------------------------------------------

@op(method=True, out=True)
def logcumsumexp(input, dim):
    """Running log of the sum of exponentials along ``dim``, without overflow.

    Args:
        input (Tensor): of a floating dtype.
        dim (int): the dim.

    >>> import numtorch as torch
    >>> torch.logcumsumexp(torch.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    a = input._a
    if a.dtype.kind in "biuc":
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{type_name(input.dtype)}'")
    dim = shapes.wrap_dim(dim, a.ndim)
    x = fold(_wide(a), dim)
    out = np.empty_like(x)
    if x.size:
        _run(K.scan.logcumsumexp, x)(x, False, out)
    out = out.reshape(a.shape).astype(a.dtype, copy=False)
    return record(out, logcumsumexp_backward, (input,), (input, OUT), dim=dim)


def logcumsumexp_backward(node, g):
    """Gradient of logcumsumexp: gx[k] = exp(x[k] - y[k]) r[k], r[k] = g[k] + exp(y[k] - y[k + 1]) r[k + 1].

    y does not decrease, so no exponential exceeds 1.
    """
    x, y = node.saved_tensors
    dim = node.ctx["dim"]
    nothing = y == float("-inf")
    step = (y - _shift(y, dim, -1, float("inf"))).exp().masked_fill(nothing, 0)
    return (x - y).exp().masked_fill(nothing, 0) * _recurrence(step, g, dim, True)


@op(method=True, out=True)
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """Differences of neighbours along ``dim``, ``n`` times; of bool, whether neighbours differ.

    Args:
        input (Tensor): with at least one dim.
        n (int): how often.
        dim (int): the dim.
        prepend, append (Tensor): entries to put before or after first.

    Raises:
        RuntimeError: no dims, or a negative ``n``.

    >>> import numtorch as torch
    >>> torch.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    from .join import cat

    if not input._a.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = shapes.wrap_dim(dim, input._a.ndim)
    if prepend is not None or append is not None:
        input = cat([t for t in (prepend, input, append) if t is not None], dim)
    size = input._a.shape[dim]
    if n > size:
        return input.narrow(dim, 0, 0)
    for _ in range(n):
        size -= 1
        later, earlier = input.narrow(dim, 1, size), input.narrow(dim, 0, size)
        input = later.logical_xor(earlier) if input._a.dtype == np.bool_ else later - earlier
    return input if n else input.clone()
