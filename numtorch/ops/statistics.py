"""Quantiles, histograms, trapezoids, and two small relatives: unravel_index, renorm."""
import numpy as np

from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import op, type_name
from ..return_types import return_type
from ..tensor import Tensor, wrap
from ._one_node import one_node
from .linalg_norm import vector_norm
from .reduce import aminmax
from .search import bincount, searchsorted
from .sort import sort

_histogram = return_type("histogram", "hist bin_edges")
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


# ---- quantiles ---------------------------------------------------------------------------------------------------------------

def _quantile(name, input, q, dim, keepdim, interpolation, ignore_nan):
    if input._a.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
        q = wrap(np.array(q, input._a.dtype, like=input._a))
    if q._a.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q._a.dtype != input._a.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if not input._a.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if q._a.__class__ is not DeviceArray and q._a.size and not (q._a.min() >= 0 and q._a.max() <= 1):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if interpolation not in _METHODS:
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
                           f"{interpolation}")
    whole = dim is None
    dim = 0 if whole else shapes.wrap_dim(dim, input._a.ndim)
    x = input.reshape(-1) if whole or not input._a.ndim else input.movedim(dim, -1)
    ordered = sort(x, -1)[0]
    found = _at_ranks(ordered, _ranks(ordered, q.reshape(-1), ignore_nan), interpolation)
    if keepdim:
        found = found.reshape((1,) * input._a.ndim + (-1,)) if whole else found.unsqueeze(dim if input._a.ndim else 0)
        found = found if input._a.ndim else found.reshape(-1)
    return found.movedim(-1, 0) if q._a.ndim else found.squeeze(-1)


def _ranks(ordered, q, ignore_nan):
    """Where the quantiles lie in each ordered row, from 0; where nan is not ignored and there is one, at it."""
    missing = ordered.isnan()
    n = ordered._a.shape[-1]
    if ignore_nan:
        return (q * ((~missing).sum(-1, keepdim=True) - 1)).clamp(min=0)
    return (q * (n - 1)).expand((*ordered._a.shape[:-1], q._a.size)).masked_fill(missing.narrow(-1, n - 1, 1), n - 1)


def _at_ranks(ordered, ranks, interpolation):
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = wrap(ranks._a.astype(np.int64))
    found = ordered.gather(-1, below)
    if interpolation not in ("linear", "midpoint"):
        return found
    weight = ranks - below if interpolation == "linear" else wrap(np.full_like(ranks._a, 0.5))
    above = wrap(ranks.ceil()._a.astype(np.int64))
    return found.lerp(ordered.gather(-1, above), weight)


@op(method=True, out=True)
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The value below which a part ``q`` of the entries along ``dim`` lies; nan if there is one.

    Args:
        input (Tensor): float32 or float64, not empty.
        q (float or Tensor): in [0, 1]; a vector of them gives a new first dim.
        dim (int): the dim; default all elements.
        keepdim (bool): keep the dim with size 1.
        interpolation (str): between neighbours: "linear", "lower", "higher", "midpoint" or "nearest".

    Raises:
        RuntimeError: another dtype, an empty tensor, or ``q`` out of range.

    >>> import numtorch as torch
    >>> torch.quantile(torch.tensor([1.0, 2.0, 4.0]), 0.75)
    tensor(3.)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@op(method=True, out=True)
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """``quantile`` of the entries that are not nan; nan where all are.

    >>> import numtorch as torch
    >>> torch.nanquantile(torch.tensor([1.0, float("nan"), 3.0]), 0.5)
    tensor(2.)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# ---- histogram ---------------------------------------------------------------------------------------------------------------

@op(method=True)
def histogram(input, bins, *, range=None, weight=None, density=False):
    """How many elements, or how much of their weight, lies between neighbouring edges; the last bin is closed.

    Args:
        input (Tensor): float32 or float64.
        bins (int or Tensor): the number of equal bins, or ascending edges.
        range (two floats): of equal bins; default the least and the greatest element.
        weight (Tensor): one for each element.
        density (bool): divide by the sum and by each bin's width.

    Returns:
        A named tuple (hist, bin_edges) of ``input``'s dtype.

    >>> import numtorch as torch
    >>> torch.histogram(torch.tensor([1.0, 2.0, 1.0]), bins=2, range=(0.0, 3.0)).hist
    tensor([2., 1.])
    """
    a = input._a
    if a.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{type_name(input.dtype)}'")
    if weight is not None and weight._a.shape != a.shape:
        raise RuntimeError("torch.histogram(): if weight tensor is provided it should have the same shape as the input tensor "
                           f"excluding its innermost dimension, got input with shape {list(a.shape)} and weight with shape "
                           f"{list(weight._a.shape)}")
    if isinstance(bins, Tensor):
        if range is not None:
            raise TypeError("histogram() got both edges and a range")
        if bins._a.dtype != a.dtype:
            raise RuntimeError("torch.histogram(): input tensor and bins tensor should have the same dtype, but got input "
                               f"dtype {type_name(input.dtype)} and bins dtype {type_name(bins.dtype)}")
        edges = bins._a
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
        low, high = range if range is not None else [t.cpu()._a[()] for t in aminmax(input.detach())] if a.size else (0, 0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.asarray(np.linspace(low, high, bins + 1).astype(a.dtype), like=a)
    if a.__class__ is DeviceArray:
        return _histogram(_histogram_on_device(input.detach().reshape(-1), wrap(edges.copy()), weight, density))
    w = None if weight is None else weight._a.reshape(-1)
    inside = a.reshape(-1)[~np.isnan(a.reshape(-1))] if w is None else a.reshape(-1)
    found = np.histogram(inside, edges, weights=w)[0].astype(a.dtype)
    if density:
        found = found / (found.sum() * np.diff(edges))
    return _histogram((wrap(found), wrap(edges.copy())))


def _histogram_on_device(x, edges, weight, density):
    """(counts or weights of the bins, edges), by binary search for each element."""
    bins, inside = edges._a.size - 1, (x >= edges[0]) & (x <= edges[-1])
    place = (searchsorted(edges, x, right=True) - 1).clamp(max=bins - 1)
    found = bincount(place[inside], None if weight is None else weight.detach().reshape(-1)[inside], bins).to(x.dtype)
    return found / (found.sum() * edges.diff()) if density else found, edges


# ---- trapezoids --------------------------------------------------------------------------------------------------------------

def _trapezoids(y, x, dx, dim):
    """The areas of the trapezoids between neighbours along ``dim``."""
    if not y._a.ndim:
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    dim = shapes.wrap_dim(dim, y._a.ndim)
    n = y._a.shape[dim]
    pairs = y.narrow(dim, 1, max(n - 1, 0)) + y.narrow(dim, 0, max(n - 1, 0)) if n else y
    if x is None:
        return pairs * (dx / 2)
    steps = x.diff() if x._a.ndim == 1 else x.diff(dim=dim)
    if x._a.ndim == 1:
        if x._a.size != n:
            raise RuntimeError("trapezoid: There must be one `x` value for each sample point")
        steps = steps.reshape([-1] + [1] * (y._a.ndim - dim - 1))
    return pairs * steps / 2


@op()
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """The integral along ``dim`` by the trapezoidal rule.

    Args:
        y (Tensor): values.
        x (Tensor): where they lie, a vector or of ``y``'s shape.
        dx (number): the distance of neighbours, without ``x``.
        dim (int): the dim.

    >>> import numtorch as torch
    >>> torch.trapezoid(torch.tensor([1.0, 3.0, 5.0]))
    tensor(6.)
    """
    return _trapezoids(y, x, dx, dim).sum(dim)


@op()
def trapz(y, x=None, *, dx=1, dim=-1):
    """``trapezoid(y, x, dx=dx, dim=dim)``."""
    return trapezoid(y, x, dx=dx, dim=dim)


@op()
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """The running integral along ``dim`` by the trapezoidal rule: one entry less than ``y``.

    >>> import numtorch as torch
    >>> torch.cumulative_trapezoid(torch.tensor([1.0, 3.0, 5.0]))
    tensor([2., 6.])
    """
    return _trapezoids(y, x, dx, dim).cumsum(dim)


# ---- places and lengths ------------------------------------------------------------------------------------------------------

@op()
def unravel_index(indices, shape):
    """The coordinates of places in a tensor of ``shape`` read as one long vector.

    Args:
        indices (Tensor): integers.
        shape (int or ints): the tensor's shape.

    Returns:
        A tuple of int64 Tensors, one a dim; the first one counts on beyond the tensor's end, as in torch.

    >>> import numtorch as torch
    >>> torch.unravel_index(torch.tensor([5, 0]), (2, 3))
    (tensor([1, 0]), tensor([2, 0]))
    """
    if indices._a.dtype.kind not in "iu":
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    rest, found = wrap(indices._a.astype(np.int64)), []
    for n in reversed(shapes.as_sizes((shape,))):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))


@op(method=True, inplace=True)
@one_node("RenormBackward0")
def renorm(input, p, dim, maxnorm):
    """Entries of ``dim`` whose p-norm exceeds ``maxnorm`` shortened to it.

    Args:
        input (Tensor): of a floating or complex dtype, at least two dims.
        p (float): of the norm, positive.
        dim (int): the dim whose entries are measured.
        maxnorm (float): the greatest norm.

    >>> import numtorch as torch
    >>> torch.renorm(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input._a.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input._a.ndim} dimensions")
    dim = shapes.wrap_dim(dim, input._a.ndim)
    others = tuple(d for d in range(input._a.ndim) if d != dim)
    lengths = vector_norm(input, p, others, True)
    factor = maxnorm / (lengths + 1e-7)
    return input * factor.masked_fill(lengths <= maxnorm, 1.0).to(input.dtype)
