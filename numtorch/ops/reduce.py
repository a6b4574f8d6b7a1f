"""Reductions: sums, products, extremes, means and spreads over all or some dimensions."""
from functools import lru_cache

import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import OUT, also_named, grad_name, op, record, type_name
from ..return_types import return_type
from ..tensor import Tensor, wrap
from .convert import to_dtype


def reduce_array(name, a, dims):
    """The reduction ``name`` of an array over sorted ``dims``, which are dropped; none of them may be empty."""
    if a.__class__ is DeviceArray:
        return K.reduce_cuda.reduced(name, a, dims)
    if a.dtype.kind != "c" and a.dtype.itemsize == 2 and a.dtype.kind not in "iu":
        return reduce_array(name, a.astype(np.float32), dims).astype(a.dtype)
    if len(dims) == a.ndim and a.flags.c_contiguous:
        out = np.empty((), a.dtype)
        K._reduce.reduction(name)[0](a.reshape(1, -1), out.reshape(1))
        return out
    kept = [d for d in range(a.ndim) if d not in dims]
    out = np.empty([a.shape[d] for d in kept], a.dtype)
    if not out.size:
        return out
    rows, columns = K._reduce.reduction(name)
    x, inner = as_block(a, dims)
    if inner == 1:
        rows(x.reshape(-1, x.shape[1]), out.reshape(-1))
    else:
        columns(x, out.reshape(x.shape[0], inner))
    return out


def as_block(a, dims):
    """``a`` as (outer, n, inner) with n running over ``dims``, and inner; a copy only where dims are not together."""
    if not dims:
        return np.ascontiguousarray(a).reshape(-1, 1, 1), 1
    first, last = dims[0], dims[-1]
    if last - first + 1 != len(dims) or not a.flags.c_contiguous:
        inside = set(dims)
        kept = [d for d in range(a.ndim) if d not in inside]
        if len(dims) == a.ndim and a.T.flags.c_contiguous and a.ndim > 1:
            return a.T.reshape(1, -1, 1), 1
        a = np.ascontiguousarray(a.transpose(*kept, *dims))
        return a.reshape(-1, shapes.numel(a.shape[len(kept):]), 1), 1
    inner = shapes.numel(a.shape[last + 1:])
    return a.reshape(shapes.numel(a.shape[:first]), shapes.numel(a.shape[first:last + 1]), inner), inner


def _dims(input, dim):
    if isinstance(dim, (tuple, list)) and not dim:
        dim = None
    return shapes.wrap_dims(dim, input._a.ndim)


def restore(t, shape, dims, keepdim):
    """A reduced tensor with its dropped dimensions back as size 1, so that it broadcasts to ``shape``."""
    return t if keepdim or len(dims) == len(shape) and not t.ndim else t.reshape(shapes.reduced_shape(shape, dims, True))


# ---- sums --------------------------------------------------------------------------------------------------------------

def _sum_dtype(input, dtype):
    if dtype is not None:
        return dtype
    return dtypes.int64 if input.dtype.category < dtypes.FLOATING else input.dtype


def _as_added(input, target):
    """``input`` in the dtype ``target``; integers on a device stay what they are, whose kernels add them up in int64."""
    a = input._a
    stays = a.__class__ is DeviceArray and a.dtype.kind in "biu" and target is dtypes.int64 and a.ndim and a.size
    return input if stays else to_dtype(input, target)


def _sum(input, dim, keepdim, dtype, name, backward, extra=()):
    a = input._a
    if dim is None and dtype is None and not keepdim and a.dtype.kind == "f" and a.ndim and a.size:
        dims = tuple(range(a.ndim))
        return record(reduce_array(name, a, dims), backward, (input,), extra, shape=a.shape, dims=dims, keepdim=False)
    dims, target = _dims(input, dim), _sum_dtype(input, dtype)
    source = input if input._a.dtype == target._np else _as_added(input, target)
    a = source._a
    n = shapes.numel([a.shape[d] for d in dims])
    if n == 0 or not a.ndim:
        out = np.zeros(shapes.reduced_shape(a.shape, dims, False), a.dtype, like=a) if n == 0 else a.copy()
        if n and name == "nansum":
            out = reduce_array(name, a.reshape(1), (0,))
    else:
        out = reduce_array(name, a, dims)
    if keepdim:
        out = out.reshape(shapes.reduced_shape(a.shape, dims, True))
    return record(out, backward, (source,), extra or (), shape=a.shape, dims=dims, keepdim=keepdim)


@op(method=True, out=True)
def sum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum of all elements, or over dimensions.

    Args:
        input (Tensor): of any shape; integers are added in int64.
        dim (int or ints): over which; default all.
        keepdim (bool): keep them with size 1.
        dtype: convert to it first.

    >>> import numtorch as torch
    >>> torch.ones(2, 3).sum(1)
    tensor([3., 3.])
    """
    return _sum(input, dim, keepdim, dtype, "sum", sum_backward if dim is None else sum_dim_backward)


def sum_backward(node, g):
    """Gradient of a sum: the same to every element."""
    shape = node.ctx["shape"]
    return restore(g, shape, node.ctx["dims"], node.ctx["keepdim"]).expand(shape)


@grad_name("SumBackward1")
def sum_dim_backward(node, g):
    """Gradient of a sum over dimensions, which torch names apart."""
    return sum_backward(node, g)


def sum_to_size(input, shape):
    """``input`` summed down to ``shape``, which broadcasts to its shape."""
    a = input._a
    extra = a.ndim - len(shape)
    dims = tuple(d for d in range(a.ndim) if d < extra or shape[d - extra] == 1 and a.shape[d] != 1)
    found = _sum(input, dims, True, None, "sum", sum_backward) if dims else input
    return found.reshape(shape) if extra else found


def _sum_to_size_method(self, *size):
    """The sum over broadcast dimensions that leaves ``size``."""
    size = shapes.as_sizes(size)
    if shapes.broadcast_shapes(size, self._a.shape) != self._a.shape:
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(self.shape)}}}.")
    return sum_to_size(self, size)


Tensor.sum_to_size = _sum_to_size_method


@op(method=True, out=True)
def nansum(input, dim=None, keepdim=False, *, dtype=None):
    """``sum`` with nan counted as 0."""
    if input.is_complex():
        raise RuntimeError("nansum on CPU does not support complex inputs")
    if input.dtype.category < dtypes.FLOATING:
        return sum(input, dim, keepdim, dtype=dtype)
    return _sum(input, dim, keepdim, dtype, "nansum", nansum_backward, (input,))


def nansum_backward(node, g):
    """Gradient of nansum: to every number that is one."""
    x, = node.saved_tensors
    return sum_backward(node, g) * x.isnan().logical_not().to(g.dtype)


@op(method=True, out=True)
def mean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean of all elements, or over dimensions.

    Args:
        input (Tensor): floating point or complex, or ``dtype`` is given.

    Raises:
        RuntimeError: an integer tensor without ``dtype``.

    >>> import numtorch as torch
    >>> torch.tensor([1., 2., 6.]).mean()
    tensor(3.)
    """
    if dtype is None and input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                           f"Got: {type_name(input.dtype)}")
    source = input if dtype is None else to_dtype(input, dtype)
    a, dims = source._a, _dims(source, dim)
    n = a.size if len(dims) == a.ndim else shapes.numel([a.shape[d] for d in dims])
    if not n or not a.ndim:
        out = np.full(shapes.reduced_shape(a.shape, dims, False), np.nan, a.dtype, like=a) if a.ndim else a.copy()
    elif a.__class__ is DeviceArray:
        out = K.reduce_cuda.reduced("mean", a, dims, n)
    elif a.dtype.itemsize == 2:
        out = (reduce_array("sum", a.astype(np.float32), dims) / np.float32(n)).astype(a.dtype)
    else:
        out = reduce_array("sum", a, dims)
        np.divide(out, _count(n, a.dtype), out)
    if keepdim:
        out = out.reshape(shapes.reduced_shape(a.shape, dims, True))
    return record(out, mean_backward if dim is None else mean_dim_backward, (source,), shape=a.shape, dims=dims, keepdim=keepdim,
                  n=n)


@lru_cache(1000)
def _count(n, np_dtype):
    return np_dtype.type(n)


def mean_backward(node, g):
    """Gradient of a mean: 1 / n of it to every element."""
    return sum_backward(node, g / node.ctx["n"] if node.ctx["n"] else g)


@grad_name("MeanBackward1")
def mean_dim_backward(node, g):
    """Gradient of a mean over dimensions, which torch names apart."""
    return mean_backward(node, g)


@op(method=True)
def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean of the elements that are not nan."""
    return nansum(input, dim, keepdim, dtype=dtype) / input.isnan().logical_not().sum(dim, keepdim)


@op(method=True, out=True)
def prod(input, dim=None, keepdim=False, *, dtype=None):
    """The product of all elements, or over dimension ``dim``."""
    target = _sum_dtype(input, dtype)
    source = _as_added(input, target)
    a = source._a
    dims = _dims(source, dim)
    if not a.ndim:
        out = a.copy()
    elif shapes.numel([a.shape[d] for d in dims]) == 0:
        out = np.ones(shapes.reduced_shape(a.shape, dims, False), a.dtype, like=a)
    else:
        out = reduce_array("prod", a, dims)
    out = out.reshape(shapes.reduced_shape(a.shape, dims, keepdim))
    backward = prod_backward if dim is None else _prod_dim_backward
    return record(out, backward, (source,), (source, OUT), dims=dims, keepdim=keepdim)


def prod_backward(node, g):
    """Gradient of a product: the product of the others; by exclusive products where a factor is 0."""
    x, y = node.saved_tensors
    dims, keepdim = node.ctx["dims"], node.ctx["keepdim"]
    g, y = restore(g, x._a.shape, dims, keepdim), restore(y, x._a.shape, dims, keepdim)
    if _has_no_zero(x._a):
        return g * (y / x)
    return g * _products_of_others(x, dims)


def _has_no_zero(a):
    if a.__class__ is DeviceArray:
        return not a.size or K.reduce_cuda.reduced("all", a, tuple(range(a.ndim))).item()
    return (a != 0).all()


_prod_dim_backward = also_named("ProdBackward1", prod_backward)


def _products_of_others(x, dims):
    from .join import cat

    kept = [d for d in range(x.ndim) if d not in dims]
    order = (*kept, *dims)
    flat = x.permute(order).reshape(*(x._a.shape[d] for d in kept), -1)
    one = flat.new_ones((*flat._a.shape[:-1], 1))
    before = cat((one, flat[..., :-1]), -1).cumprod(-1)
    after = cat((one, flat.flip(-1)[..., :-1]), -1).cumprod(-1).flip(-1)
    inverse = [0] * len(order)
    for i, d in enumerate(order):
        inverse[d] = i
    return (before * after).reshape([x._a.shape[d] for d in order]).permute(inverse)


# ---- extremes ----------------------------------------------------------------------------------------------------------

def _check_some(name, a, dims, dim):
    if shapes.numel([a.shape[d] for d in dims]) == 0:
        if dim is None or dim == () or dim == []:
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                               "dim with the 'dim' argument.")
        named = dim if isinstance(dim, (tuple, list)) else (dim,)
        empty = next(d for d in named if a.shape[d] == 0)
        raise IndexError(f"{name}(): Expected reduction dim {empty} to have non-zero size.")


def _check_real(name, input):
    if input.is_complex():
        raise RuntimeError(f'"{name}" not implemented for \'{type_name(input.dtype)}\'')


def _extreme(kernel, name, input, dim, keepdim, backward):
    _check_real(name, input)
    a, dims = input._a, _dims(input, dim)
    _check_some(name, a, dims, dim)
    if a.ndim and dims:
        out = reduce_array(kernel, a.view(np.uint8) if a.dtype.kind == "b" else a, dims).view(
            np.bool_ if a.dtype.kind == "b" else a.dtype)
    else:
        out = a.copy()
    if keepdim:
        out = out.reshape(shapes.reduced_shape(a.shape, dims, True))
    return record(out, backward, (input,), (input, OUT), dims=dims, keepdim=keepdim)


def _even_share(node, g):
    x, y = node.saved_tensors
    dims, keepdim = node.ctx["dims"], node.ctx["keepdim"]
    g, y = restore(g, x._a.shape, dims, keepdim), restore(y, x._a.shape, dims, keepdim)
    mask = (x == y).to(g.dtype)
    return g * (mask / mask.sum(dims or None, True)) if mask.ndim else g * mask


def amax_backward(node, g):
    """Gradient of amax: shared evenly among equals."""
    return _even_share(node, g)


def amin_backward(node, g):
    """Gradient of amin: shared evenly among equals."""
    return _even_share(node, g)


def max_backward(node, g):
    """Gradient of max over everything: shared evenly among equals."""
    return _even_share(node, g)


def min_backward(node, g):
    """Gradient of min over everything: shared evenly among equals."""
    return _even_share(node, g)


grad_name("MaxBackward1")(max_backward)
grad_name("MinBackward1")(min_backward)


@op(method=True, out=True)
def amax(input, dim=(), keepdim=False):
    """The largest element over dimensions ``dim`` (default all); the gradient is shared among equals."""
    return _extreme("amax", "amax", input, dim, keepdim, amax_backward)


@op(method=True, out=True)
def amin(input, dim=(), keepdim=False):
    """The smallest element over dimensions ``dim`` (default all); the gradient is shared among equals."""
    return _extreme("amin", "amin", input, dim, keepdim, amin_backward)


def extreme_and_place(kind, input, dim, name):
    """(values, indices) of the largest ("max") or smallest ("min") along ``dim``, which is kept with size 1."""
    _check_real(name, input)
    a = input._a
    if a.dtype.kind == "b":
        a = a.view(np.uint8)
    if not a.ndim:
        return input._a.copy(), np.zeros((), np.int64, like=a)
    if a.__class__ is DeviceArray:
        values, indices = K.reduce_cuda.reduced(f"arg{kind}", a, (dim,))
        shape = shapes.reduced_shape(a.shape, (dim,), True)
        return values.view(input._a.dtype).reshape(shape), indices.reshape(shape)
    if a.dtype.itemsize == 2 and a.dtype.kind not in "iu":
        a = a.astype(np.float32)
    x, inner = as_block(a, (dim,))
    shape = shapes.reduced_shape(a.shape, (dim,), True)
    values, indices = np.empty(shape, a.dtype), np.empty(shape, np.int64)
    if values.size:
        if not a.flags.c_contiguous:
            permuted = [d for d in range(a.ndim) if d != dim]
            values, indices = (np.empty([a.shape[d] for d in permuted], v.dtype) for v in (values, indices))
        if inner == 1:
            getattr(K.reduce, f"arg{kind}_rows")(x.reshape(-1, x.shape[1]), values.reshape(-1), indices.reshape(-1))
        else:
            getattr(K.reduce, f"arg{kind}_columns")(x, values.reshape(-1, inner), indices.reshape(-1, inner))
    return values.reshape(shape).astype(input._a.dtype, copy=False), indices.reshape(shape)


def _with_indices(kind, input, dim, keepdim, result):
    dim = shapes.wrap_dim(dim, input._a.ndim)
    _check_some(kind, input._a, (dim,) if input._a.ndim else (), dim)
    values, indices = extreme_and_place(kind, input, dim, kind)
    kept = wrap(indices)
    if input._a.ndim and not keepdim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    values = record(values, max_dim_backward if kind == "max" else min_dim_backward, (input,), (kept,), dim=dim,
                    shape=input._a.shape)
    return result((values, wrap(indices)))


def _select_backward(node, g):
    from .indexing import scatter

    kept, = node.saved_tensors
    shape, dim = node.ctx["shape"], node.ctx["dim"]
    if not shape:
        return g
    return scatter(g.new_zeros(shape), dim, kept, g.reshape(kept._a.shape))


@grad_name("MaxBackward0")
def max_dim_backward(node, g):
    """Gradient of max along a dimension: to the element that was taken."""
    return _select_backward(node, g)


@grad_name("MinBackward0")
def min_dim_backward(node, g):
    """Gradient of min along a dimension: to the element that was taken."""
    return _select_backward(node, g)


_max_result, _min_result = return_type("max", "values indices"), return_type("min", "values indices")


def _max_or_min(kind, input, args, keepdim, out, dim, other):
    if args and isinstance(args[0], Tensor):
        other = args[0]
    elif args:
        dim = args[0]
        keepdim = args[1] if len(args) > 1 else keepdim
    if other is not None:
        from .pointwise import maximum, minimum

        return (maximum if kind == "max" else minimum)(input, other, out=out)
    if dim is None:
        found = _extreme("amax" if kind == "max" else "amin", kind, input, None, False,
                         max_backward if kind == "max" else min_backward)
        return found if out is None else out.copy_(found)
    found = _with_indices(kind, input, dim, keepdim, _max_result if kind == "max" else _min_result)
    if out is not None:
        for o, f in zip(out, found):
            o.resize_(f._a.shape).copy_(f)
        return out
    return found


@op(method=True)
def max(input, *args, keepdim=False, out=None, dim=None, other=None):
    """The largest element; along ``dim``, with its place; or the larger of two tensors.

    ``max(input)`` is a 0-dim tensor; ``max(input, dim, keepdim=False)`` a tuple (values, indices);
    ``max(input, other)`` is ``maximum``. nan counts as largest.

    Raises:
        RuntimeError: no elements. IndexError: an empty dimension.

    >>> import numtorch as torch
    >>> torch.tensor([[1., 5.], [7., 2.]]).max(1).indices
    tensor([1, 0])
    """
    return _max_or_min("max", input, args, keepdim, out, dim, other)


@op(method=True)
def min(input, *args, keepdim=False, out=None, dim=None, other=None):
    """The smallest element; along ``dim``, with its place; or the smaller of two tensors. See ``max``."""
    return _max_or_min("min", input, args, keepdim, out, dim, other)


def _place(kind, input, dim, keepdim):
    name = "arg" + kind
    if dim is None:
        if not input._a.size:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                             "dim with the 'dim' argument.")
        found = extreme_and_place(kind, input.detach().reshape(-1), 0, name)[1].reshape(())
        return wrap(found.reshape((1,) * input.ndim) if keepdim else found)
    dim = shapes.wrap_dim(dim, input._a.ndim)
    _check_some(name, input._a, (dim,) if input._a.ndim else (), dim)
    indices = extreme_and_place(kind, input, dim, name)[1]
    return wrap(indices if keepdim or not input._a.ndim else indices.squeeze(dim))


@op(method=True, out=True)
def argmax(input, dim=None, keepdim=False):
    """The place of the largest element: in the flattened tensor, or along ``dim``; the first of equals."""
    return _place("max", input, dim, keepdim)


@op(method=True, out=True)
def argmin(input, dim=None, keepdim=False):
    """The place of the smallest element: in the flattened tensor, or along ``dim``; the first of equals."""
    return _place("min", input, dim, keepdim)


_aminmax_result = return_type("aminmax", "min max")


@op(method=True)
def aminmax(input, *, dim=None, keepdim=False):
    """(smallest, largest) of all elements or along ``dim``."""
    return _aminmax_result((amin(input, () if dim is None else dim, keepdim), amax(input, () if dim is None else dim, keepdim)))


# the rest of the family, built on what is above
from . import spread  # noqa: E402, F401
