"""Order: sort, argsort, msort, topk, kthvalue, median, mode."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import grad_name, op, record
from ..return_types import return_type
from ..tensor import wrap
from .indexing import _scatter_add_zeros

_sort, _topk = return_type("sort", "values indices"), return_type("topk", "values indices")
_kthvalue, _mode = return_type("kthvalue", "values indices"), return_type("mode", "values indices")
_median, _nanmedian = return_type("median", "values indices"), return_type("nanmedian", "values indices")


def rows(a, dim):
    """``a`` as contiguous rows (m, n) of its entries along ``dim``, and the shape they have with ``dim`` last."""
    if not a.ndim:
        return a.reshape(1, 1), ()
    if dim == a.ndim - 1 and a.size:
        return np.ascontiguousarray(a, like=a).reshape(-1, a.shape[-1]), a.shape
    moved = np.moveaxis(a, dim, -1)
    shape = moved.shape
    return np.ascontiguousarray(moved, like=a).reshape(shapes.numel(shape[:-1]), shape[-1]), shape


def from_rows(a, shape, dim):
    """Rows (m, k) back as an array with ``dim`` in its place; ``shape`` is what ``rows`` returned."""
    if not shape:
        return a.reshape(())
    found = a.reshape(*shape[:-1], a.shape[-1])
    return found if dim == len(shape) - 1 else np.ascontiguousarray(np.moveaxis(found, -1, dim), like=a)


def _real(name, input):
    if input._a.dtype.kind == "c":
        raise RuntimeError(f"{name}(): does not support complex input" if name != "sort" else
                           "Sort does not support complex dtypes on CPU")


def _picked(values, indices, input, dim, backward, **ctx):
    """Recorded ``values``, picked out of ``input`` at ``indices`` along ``dim``, and the indices."""
    index = wrap(indices)
    return record(values, backward, (input,), (index,), dim=dim, shape=input._a.shape, **ctx), index


def _pick_backward(node, g):
    index, = node.saved_tensors
    return _scatter_add_zeros(g, node.ctx["shape"], node.ctx["dim"], index)


def sort_backward(node, g):
    """Gradient of sort: back to where the values were."""
    return _pick_backward(node, g)


def topk_backward(node, g):
    """Gradient of topk: back to where the values were."""
    return _pick_backward(node, g)


def _reduced_backward(node, g):
    """Gradient of a value picked from each row, whose dim was perhaps dropped."""
    index, = node.saved_tensors
    if not node.ctx["keepdim"] and node.ctx["shape"]:
        g, index = g.unsqueeze(node.ctx["dim"]), index.unsqueeze(node.ctx["dim"])
    return _scatter_add_zeros(g, node.ctx["shape"], node.ctx["dim"], index)


# ---- whole rows --------------------------------------------------------------------------------------------------------------

@op(method=True, out=True)
def sort(input, dim=-1, descending=False, stable=False):
    """The entries along ``dim`` in order, nan the greatest; always stable.

    Args:
        input (Tensor): of a real dtype.
        dim (int): the dim.
        descending (bool): the greatest first.
        stable (bool): accepted; equal entries always keep their order.

    Returns:
        A named tuple (values, indices).

    >>> import numtorch as torch
    >>> torch.sort(torch.tensor([3, 1, 2])).indices
    tensor([1, 2, 0])
    """
    if isinstance(dim, bool):       # sort(x, True): torch's older order of arguments
        dim, descending = -1, dim
    _real("sort", input)
    dim = shapes.wrap_dim(dim, input._a.ndim)
    x, shape = rows(input._a, dim)
    values, index = np.empty_like(x), np.empty(x.shape, np.int64, like=x)
    if x.size:
        K.sort.argsort(x, bool(descending), values, index)
    return _sort(_picked(from_rows(values, shape, dim), from_rows(index, shape, dim), input, dim, sort_backward))


@op(method=True)
def argsort(input, dim=-1, descending=False, stable=False):
    """The indices that sort ``input`` along ``dim``, as ``sort(...).indices``.

    >>> import numtorch as torch
    >>> torch.argsort(torch.tensor([3, 1, 2]), descending=True)
    tensor([0, 2, 1])
    """
    return sort(input, dim, descending, stable)[1]


@op(method=True, out=True)
def msort(input):
    """``input`` sorted along dim 0, in ascending order."""
    return sort(input, 0)[0]


@op(method=True, out=True)
def topk(input, k, dim=None, largest=True, sorted=True):
    """The ``k`` greatest (or least) entries along ``dim``, the best first.

    Args:
        input (Tensor): of a real dtype.
        k (int): how many.
        dim (int): the dim; default the last.
        largest (bool): the greatest, nan before all; else the least.
        sorted (bool): accepted; they always come in order.

    Returns:
        A named tuple (values, indices). Of equal entries the first ones are taken.

    Raises:
        RuntimeError: ``k`` is negative or larger than the dim.

    >>> import numtorch as torch
    >>> torch.topk(torch.tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """
    _real("topk", input)
    dim = shapes.wrap_dim(-1 if dim is None else dim, input._a.ndim)
    x, shape = rows(input._a, dim)
    m, n = x.shape
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if x.__class__ is DeviceArray:
        values, index = np.empty((m, k), x.dtype, like=x), np.empty((m, k), np.int64, like=x)
        K.sort.argsort(x, bool(largest), values, index)
    elif k * 8 <= n and k and m:
        index = np.empty((m, k), np.int64)
        bits, kind = K.sort.bits_of(x)
        kernel = K.sort.topk32 if bits.dtype == np.uint32 else K.sort.topk64
        K.sort.run(kernel, x)(bits, kind, bool(largest), index)
        values, raw = np.empty((m, k), x.dtype), K.indexing.raw
        K.indexing.gather_rows(index, raw(x), raw(values))
    else:
        values, index = np.empty_like(x), np.empty(x.shape, np.int64)
        if x.size:
            K.sort.argsort(x, bool(largest), values, index)
        values, index = values[:, :k], index[:, :k]
    if not shape and k == 0:
        raise RuntimeError("selected index k out of range")
    values, index = (from_rows(np.ascontiguousarray(v, like=v), shape, dim) for v in (values, index))
    return _topk(_picked(values, index, input, dim, topk_backward))


# ---- one entry of each row ---------------------------------------------------------------------------------------------------

def _not_empty(name, a, dim):
    if a.ndim and a.shape[dim] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")


def _order_statistic(x, k):
    """The k-th least (from 0) entry of every row of x (m, n), and its first place; nan is the greatest.

    np.partition is a vectorised introselect: 5.2 ms for one row of 1e6 float32, where torch's kthvalue takes 12.7 ms.
    """
    if x.__class__ is DeviceArray:
        return K.sort_cuda.order_statistic(x, K.sort_cuda.KTH, k)
    view = x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
    view = view.astype(np.int8) if view.dtype == np.bool_ else view
    values = np.ascontiguousarray(np.partition(view, k, axis=1)[:, k]) if x.size else np.empty(len(x), view.dtype)
    index = np.empty(len(x), np.int64)
    K.sort.run(K.sort.first_equal, view)(view, values, index)
    return values.astype(x.dtype, copy=False), index


def _keep(values, index, shape, dim, keepdim):
    """One value and index a row, as arrays without or with ``dim``."""
    if not shape:
        return values.reshape(()), index.reshape(())
    out = shape[:-1]
    values, index = values.reshape(out), index.reshape(out)
    return (np.expand_dims(values, dim), np.expand_dims(index, dim)) if keepdim else (values, index)


@op(method=True, out=True)
def kthvalue(input, k, dim=-1, keepdim=False):
    """The ``k``-th least entry (from 1) along ``dim``, and where it first stands.

    Args:
        input (Tensor): of a real dtype.
        k (int): 1 for the least.
        dim (int): the dim.
        keepdim (bool): keep the dim with size 1.

    Returns:
        A named tuple (values, indices).

    Raises:
        RuntimeError: ``k`` is not in [1, n]. IndexError: the dim is empty.

    >>> import numtorch as torch
    >>> torch.kthvalue(torch.tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    _real("kthvalue", input)
    a = input._a
    dim = shapes.wrap_dim(dim, a.ndim)
    _not_empty("kthvalue", a, dim)
    x, shape = rows(a, dim)
    if not 1 <= k <= x.shape[1]:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    values, index = _keep(*_order_statistic(x, k - 1), shape, dim, keepdim)
    return _kthvalue(_picked(values, index, input, dim, kthvalue_backward, keepdim=keepdim))


def kthvalue_backward(node, g):
    """Gradient of kthvalue: to where the value stands."""
    return _reduced_backward(node, g)


def _median_of(name, result, input, dim, keepdim, ignore_nan):
    _real(name, input)
    a = input._a
    if dim is None:
        return _median_of_all(name, input, ignore_nan)
    dim = shapes.wrap_dim(dim, a.ndim)
    _not_empty(name, a, dim)
    x, shape = rows(a, dim)
    values, index = _medians(x, ignore_nan)
    values, index = _keep(values, index, shape, dim, keepdim)
    backward = _nanmedian_dim_backward if ignore_nan else _median_dim_backward
    return result(_picked(values, index, input, dim, backward, keepdim=keepdim))


def _medians(x, ignore_nan):
    """The median of every row of x (m, n), and its first place."""
    n = x.shape[1]
    if not n:
        return np.empty(len(x), x.dtype, like=x), np.empty(len(x), np.int64, like=x)
    if x.__class__ is DeviceArray:
        return K.sort_cuda.order_statistic(x, K.sort_cuda.NANMEDIAN if ignore_nan else K.sort_cuda.MEDIAN, 0)
    values, index = _order_statistic(x, (n - 1) // 2)
    if x.dtype.kind not in "biu" and x.size:
        for i in np.flatnonzero(np.isnan(x).any(1)):     # rows with nan are rare: one at a time
            place = np.flatnonzero(np.isnan(x[i]))
            if not ignore_nan or place.size == n:
                values[i], index[i] = x[i, place[0]], place[0]
            else:
                values[i:i + 1], index[i:i + 1] = _order_statistic(x[i:i + 1], (n - place.size - 1) // 2)
    return values, index


def _median_of_all(name, input, ignore_nan):
    """The median of all elements; nan for none."""
    flat = input.reshape(-1)
    if not flat._a.size:
        if input._a.dtype.kind == "b":
            return wrap(np.array(True, like=input._a))
        if input._a.dtype.kind in "iu":
            return wrap(np.array(np.iinfo(input._a.dtype).min, input._a.dtype, like=input._a))
        return wrap(np.array(np.nan, input._a.dtype, like=input._a))
    found, index = _median_of(name, tuple, flat.detach(), 0, False, ignore_nan)
    backward = nanmedian_backward if ignore_nan else median_backward
    return record(found._a, backward, (flat,), (index,), dim=0, shape=flat._a.shape, keepdim=False)


@op(method=True, out=True)
def median(input, dim=None, keepdim=False):
    """The median: of an even number of entries the lower one; nan if there is one.

    Args:
        input (Tensor): of a real dtype.
        dim (int): the dim; default: all elements, and only the value is returned.
        keepdim (bool): keep the dim with size 1.

    Returns:
        A Tensor, or a named tuple (values, indices).

    Raises:
        IndexError: the dim is empty.

    >>> import numtorch as torch
    >>> torch.median(torch.tensor([3.0, 1.0, 2.0, 4.0]))
    tensor(2.)
    """
    return _median_of("median", _median, input, dim, keepdim, False)


@op(method=True, out=True)
def nanmedian(input, dim=None, keepdim=False):
    """``median`` of the entries that are not nan; nan where all are.

    >>> import numtorch as torch
    >>> torch.nanmedian(torch.tensor([3.0, float("nan"), 1.0]))
    tensor(1.)
    """
    return _median_of("nanmedian", _nanmedian, input, dim, keepdim, True)


def median_backward(node, g):
    """Gradient of median: to where the value stands."""
    return _reduced_backward(node, g)


def nanmedian_backward(node, g):
    """Gradient of nanmedian: to where the value stands."""
    return _reduced_backward(node, g)


@grad_name("MedianBackward1")
def _median_dim_backward(node, g):
    """Gradient of median along a dim: to where the values stand."""
    return _reduced_backward(node, g)


@grad_name("NanmedianBackward1")
def _nanmedian_dim_backward(node, g):
    """Gradient of nanmedian along a dim: to where the values stand."""
    return _reduced_backward(node, g)


@op(method=True, out=True)
def mode(input, dim=-1, keepdim=False):
    """The most frequent entry along ``dim``, the least of several, and its last place.

    Args:
        input (Tensor): of a real dtype.
        dim (int): the dim.
        keepdim (bool): keep the dim with size 1.

    Returns:
        A named tuple (values, indices).

    Raises:
        IndexError: the dim is empty.

    >>> import numtorch as torch
    >>> torch.mode(torch.tensor([1, 2, 2, 3])).values
    tensor(2)
    """
    _real("mode", input)
    a = input._a
    dim = shapes.wrap_dim(dim, a.ndim)
    _not_empty("mode", a, dim)
    x, shape = rows(a, dim)
    values, index = K.sort_cuda.mode(x) if x.__class__ is DeviceArray else _modes(x)
    values, index = _keep(values, index, shape, dim, keepdim)
    return _mode(_picked(values, index, input, dim, mode_backward, keepdim=keepdim))


def _modes(x):
    """The most frequent element of every row of x (m, n), and its last place."""
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x
    ordered, order = np.empty_like(wide), np.empty(x.shape, np.int64)
    values, index = np.empty(len(x), wide.dtype), np.empty(len(x), np.int64)
    if x.size:
        K.sort.argsort(wide, False, ordered, order)
        K.sort.run(K.sort.mode, wide)(wide, order, values, index)
    return values.astype(x.dtype, copy=False), index


def mode_backward(node, g):
    """Gradient of mode: to where the value stands."""
    return _reduced_backward(node, g)
