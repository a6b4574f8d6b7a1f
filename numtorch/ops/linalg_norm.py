"""Norms of vectors and matrices, and what is made of them: norm, cond's norms, dist, cdist."""
import math

import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..kernels._device import DeviceArray
from ..op import OUT, op, record, type_name
from ..tensor import wrap
from ._one_node import one_node
from .linalg_eig import svdvals
from .reduce import reduce_array

# ---- vectors -----------------------------------------------------------------------------------------------------------------

def _float_only(name, input, dtype):
    if dtype is not None:
        if not (dtype.is_floating_point or dtype.is_complex):
            raise RuntimeError(f"{name}: dtype should be floating point or complex. Got {type_name(dtype)}")
        return input if input.dtype is dtype else input.to(dtype)
    if input._a.dtype.kind in "biu":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(input.dtype)}")
    return input


def _vector_norm_array(a, p, dims, keepdim):
    """The p-norm of ``a`` (float32, float64, complex) over ``dims``."""
    if type(a) is DeviceArray:
        return _vector_norm_on_device(a, p, dims, keepdim)
    if p == 2 and len(dims) == a.ndim and a.flags.c_contiguous and a.dtype.kind == "f":
        flat = a.reshape(-1)
        with np.errstate(over="ignore"):
            total = np.dot(flat, flat)          # BLAS: one pass, no temporary
        if _in_range(total):
            return np.sqrt(total).reshape((1,) * a.ndim if keepdim else ())
    x = np.abs(a) if p != 2 or a.dtype.kind == "c" else a
    if p == math.inf:
        return x.max(dims, keepdims=keepdim)
    if p == -math.inf:
        return x.min(dims, keepdims=keepdim)
    if p == 0:
        return (x != 0).sum(dims, keepdims=keepdim).astype(x.dtype)
    if p == 1:
        return x.sum(dims, keepdims=keepdim)
    if p == 2:
        last = _last_rows(x, dims)
        with np.errstate(over="ignore"):
            total = (x * x).sum(dims) if last is None else np.einsum("ij,ij->i", last, last)
        if total.dtype == np.float32 and not _in_range(total):
            total = (x.astype(np.float64) ** 2).sum(dims)
        return np.sqrt(total).astype(x.dtype, copy=False).reshape(shapes.reduced_shape(x.shape, dims, keepdim))
    with np.errstate(divide="ignore"):
        return (x ** x.dtype.type(p)).sum(dims, keepdims=keepdim) ** x.dtype.type(1 / p)


def _vector_norm_on_device(a, p, dims, keepdim):
    """The same by reductions. Squares are added up in the dtype of ``a``: to look for overflow would wait for the device."""
    x, shape = wrap(a) if p == 2 and a.dtype.kind == "f" else wrap(a).abs(), shapes.reduced_shape(a.shape, dims, keepdim)
    if not all(a.shape[d] for d in dims):
        return np.zeros(shape, x._a.dtype, like=a)
    if abs(p) == math.inf:
        return reduce_array("amax" if p > 0 else "amin", x._a, dims).reshape(shape)
    if p == 2:
        return wrap(reduce_array("squares", x._a, dims)).sqrt()._a.reshape(shape)
    terms = (x != 0).to(x.dtype) if p == 0 else x if p == 1 else x ** p
    total = reduce_array("sum", terms._a, dims)
    return (total if p in (0, 1) else (wrap(total) ** (1 / p))._a).reshape(shape)


def _in_range(squares):
    """Whether sums of squares have neither overflowed nor lost digits below the smallest normal number."""
    return squares.size == 0 or bool(np.min(squares) > 1e-30) and bool(np.isfinite(np.max(squares)))


def _last_rows(x, dims):
    """``x`` as rows of its last dims, if these are ``dims``; else None."""
    first = x.ndim - len(dims)
    if not dims or not first or dims[0] != first or not x.flags.c_contiguous or not x.size:
        return None
    return x.reshape(shapes.numel(x.shape[:first]), shapes.numel(x.shape[first:]))


@op("vector_norm", namespace="linalg", out=True)
def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """The norm (sum |x|^ord)^(1 / ord) of the elements along ``dim``, read as one vector.

    Args:
        x (Tensor): of a floating or complex dtype.
        ord (number): also inf (the greatest), -inf (the least), 0 (how many are not 0).
        dim (int or ints): the dims; default all.
        keepdim (bool): keep the dims with size 1.
        dtype (dtype): convert to it first.

    Raises:
        RuntimeError: an integer dtype, or an extreme of nothing.

    >>> import numtorch as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = _float_only("linalg.vector_norm", x, dtype)
    a, p = x._a, float(ord)
    dims = shapes.wrap_dims(None if dim == () or dim == [] else dim, a.ndim)
    if not all(a.shape[d] for d in dims) and (p < 0 or p == math.inf):
        what = "inf" if p == math.inf else "-inf" if p == -math.inf else f"{p:g}"
        if dim is None:
            raise RuntimeError(f"linalg.vector_norm cannot compute the {what} norm on an empty tensor because the operation "
                               f"does not have an identity")
        d = next(d for d in dims if not a.shape[d])
        raise RuntimeError(f"linalg.vector_norm cannot compute the {what} norm on the dimension {d} because this dimension is "
                           "empty and the operation does not have an identity")
    wide = a.astype(np.float32) if a.dtype.itemsize == 2 else a
    out = np.asarray(_vector_norm_array(wide, p, dims, keepdim), like=a)
    want = a.dtype if a.dtype.kind != "c" else a.real.dtype
    return record(out.astype(want, copy=False), linalg_vector_norm_backward, (x,), (x, OUT), p=p, dims=dims, keepdim=keepdim)


def linalg_vector_norm_backward(node, g):
    """Gradient of a norm: x |x|^(p - 2) / norm^(p - 1); 0 where the norm is; equal extremes share."""
    x, norm = node.saved_tensors
    p, dims = node.ctx["p"], node.ctx["dims"]
    if not node.ctx["keepdim"]:
        shape = [1 if d in dims else n for d, n in enumerate(x._a.shape)]
        g, norm = g.reshape(shape), norm.reshape(shape)
    if p == 0:
        return wrap(np.zeros_like(x._a))
    if p == 1:
        return x.sgn() * g
    if p == 2:
        return g * (x / norm).masked_fill(norm == 0, 0)
    if abs(p) == math.inf:
        hit = (x.abs() == norm) | (x.isnan() & norm.isnan())
        count = hit.sum(dims, keepdim=True) if dims else hit.to(dtypes.int64)
        return x.sgn() * (g / count) * hit
    if p < 1:
        return (x.sgn() * x.abs().pow(p - 1)).masked_fill(x == 0, 0) * (g * norm.pow(1 - p))
    scale = (g / norm.pow(p - 1)).masked_fill(norm == 0, 0)
    if p < 2:
        return (x.sgn() * x.abs().pow(p - 1)).masked_fill(x == 0, 0) * scale
    return x * x.abs().pow(p - 2) * scale


# ---- matrices ----------------------------------------------------------------------------------------------------------------

@op("matrix_norm", namespace="linalg", out=True)
def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """The norm of matrices.

    Args:
        A (Tensor): of a floating or complex dtype, at least two dims.
        ord: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 and -2 (greatest, least singular value),
            1 and -1 (greatest, least sum of a column), inf and -inf (of a row).
        dim (two ints): the dims of the matrices.
        keepdim (bool): keep them with size 1.
        dtype (dtype): convert to it first.

    Raises:
        RuntimeError: another ``ord``, or not two different dims.

    >>> import numtorch as torch
    >>> torch.linalg.matrix_norm(torch.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
    tensor(6.)
    """
    A = _float_only("linalg.matrix_norm", A, dtype)
    if A._a.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    dims = tuple(dim)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {', '.join(map(str, dims))}")
    dims = tuple(shapes.wrap_dim(d, A._a.ndim) for d in dims)
    if dims[0] == dims[1]:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dims[0]}, {dims[1]})")
    if ord == "fro":
        return vector_norm(A, 2, dims, keepdim)
    if ord not in ("nuc", 2, -2, 1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if ord in ("nuc", 2, -2):
        s = svdvals(A.movedim(dims, (-2, -1)))
        found = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
    else:
        row, column = dims if abs(ord) == 1 else dims[::-1]
        sums = A.abs().sum(row, keepdim=True)
        found = (sums.amax(column, True) if ord > 0 else sums.amin(column, True)).squeeze(dims)
    return _with_dims(found, dims) if keepdim else found


def _with_dims(x, dims):
    for d in sorted(dims):
        x = x.unsqueeze(d)
    return x


@op("norm", namespace="linalg", out=True)
def linalg_norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """``vector_norm`` or ``matrix_norm``: of a matrix for two dims, or for a 2-dim tensor with an ``ord``.

    Args:
        A (Tensor): of a floating or complex dtype.
        ord: as of these; None: the root of the sum of squares.
        dim (int or two ints): the dims; default all.
        keepdim (bool): keep them with size 1.
        dtype (dtype): convert to it first.

    >>> import numtorch as torch
    >>> torch.linalg.norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 2)
    tensor(4.)
    """
    if dim is not None:
        dims = (dim,) if isinstance(dim, int) else tuple(dim)
        if len(dims) not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    elif ord is not None and not isinstance(ord, str) and A._a.ndim not in (1, 2):
        raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                           f"{A._a.ndim}D.")
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if isinstance(ord, str) or (len(dims) if dim is not None else A._a.ndim) == 2:
        return matrix_norm(A, ord, dims if dim is not None else (-2, -1), keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


@op("norm", method=True, out=True)
def norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    """The norm of all elements, or along ``dim``; see ``linalg.vector_norm``.

    Args:
        input (Tensor): of a floating or complex dtype.
        p: a number, inf, "fro" (2), or "nuc": the sum of singular values, of matrices.
        dim (int or ints): the dims; default all.
        keepdim (bool): keep them with size 1.
        dtype (dtype): convert to it first.

    >>> import numtorch as torch
    >>> torch.norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if isinstance(p, str) and p != "fro":
        return matrix_norm(input, p, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(input, 2 if p is None or p == "fro" else p, dim, keepdim, dtype=dtype)


@op(out=True)
def nuclear_norm(input, dim=(-2, -1), keepdim=False):
    """The sum of a matrix's singular values."""
    return matrix_norm(input, "nuc", dim, keepdim)


@op(out=True)
def frobenius_norm(input, dim, keepdim=False):
    """The root of the sum of squares over ``dim``."""
    return vector_norm(input, 2, dim, keepdim)


# ---- distances ---------------------------------------------------------------------------------------------------------------

@op(method=True)
@one_node("DistBackward0")
def dist(input, other, p=2):
    """The p-norm of ``input - other``.

    >>> import numtorch as torch
    >>> torch.dist(torch.tensor([1.0, 1.0]), torch.tensor([4.0, 5.0]))
    tensor(5.)
    """
    return vector_norm(input - other, p)


@op()
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distance of every row of ``x1`` to every row of ``x2``.

    Args:
        x1 (Tensor): (..., m, d), of a floating dtype.
        x2 (Tensor): (..., n, d).
        p (float): at least 0; inf takes the largest difference, 0 counts the different ones.
        compute_mode (str): one of torch's three; distances are always summed directly, never through a matrix product.

    Returns:
        A Tensor (..., m, n).

    Raises:
        RuntimeError: shapes do not fit, or a negative ``p``.

    >>> import numtorch as torch
    >>> torch.cdist(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    a, b, p = x1._a, x2._a, float(p)
    for which, t in (("X1", a), ("X2", b)):
        if t.dtype.kind not in "fV":
            raise RuntimeError(f"cdist only supports floating-point dtypes, {which} got: {t.dtype}")
        if t.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {which} got: {t.ndim}D")
    if a.shape[-1] != b.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {a.shape[-1]} X2: {b.shape[-1]}")
    if not p >= 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    batch = shapes.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    common = dtypes.promote_types(x1.dtype, x2.dtype)
    x1 = x1 if x1.dtype is common else x1.to(common)
    x2 = x2 if x2.dtype is common else x2.to(common)
    x, y = _points(x1._a, batch), _points(x2._a, batch)
    out = np.zeros((*batch, a.shape[-2], b.shape[-2]), x.dtype, like=x)
    if out.size and x.shape[-1]:
        K.linalg.cdist(x, y, p, out.reshape(len(x), x.shape[1], y.shape[1]))
    return record(out.astype(common._np, copy=False), cdist_backward, (x1, x2), (x1, x2, OUT), p=p)


def _points(a, batch):
    """``a`` broadcast to ``batch`` as (batch, rows, columns) that kernels take."""
    wide = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    wide = np.ascontiguousarray(wide, np.float32 if a.dtype.itemsize == 2 else a.dtype, like=a)
    return wide.reshape(shapes.numel(batch), *a.shape[-2:])


def cdist_backward(node, g):
    """Gradient of cdist: by kernels, or, where it is to be differentiated again, by ops on all differences."""
    x1, x2, out = node.saved_tensors
    p = node.ctx["p"]
    if p == 0 or not x1._a.shape[-1] or not out._a.size:
        return wrap(np.zeros_like(x1._a)), wrap(np.zeros_like(x2._a))
    if mode.enabled and (g._rg or x1._rg or x2._rg):
        diff = x1.unsqueeze(-2) - x2.unsqueeze(-3)
        if p == math.inf:
            share = diff.sgn() * (diff.abs() == out.detach().unsqueeze(-1))
        else:
            share = diff.sgn() * (diff.abs() / out.unsqueeze(-1)).masked_fill(out.unsqueeze(-1) == 0, 0).pow(p - 1)
            share = share.masked_fill(diff == 0, 0)
        share = share * g.unsqueeze(-1)
        return share.sum(-2), -share.sum(-3)
    batch = out._a.shape[:-2]
    x, y = _points(x1._a, batch), _points(x2._a, batch)
    far, gy = (np.ascontiguousarray(t._a, x.dtype, like=x).reshape(len(x), x.shape[1], y.shape[1]) for t in (out, g))
    found = []
    for need, here, there, grads, apart in ((node.needs[0], x, y, gy, far),
                                            (node.needs[1], y, x, gy.swapaxes(1, 2), far.swapaxes(1, 2))):
        if not need:
            found.append(None)
            continue
        gx = np.empty_like(here)
        K.linalg.cdist_backward(here, there, np.ascontiguousarray(grads, like=x),
                                  np.ascontiguousarray(apart, like=x), p, gx)
        found.append(wrap(gx.reshape(*batch, *here.shape[1:])))
    return tuple(found)
