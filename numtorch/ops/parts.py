"""Tensors cut into parts, and copies of which a part is replaced: tensor_split and its kin, *_scatter, fill_diagonal_."""
import numpy as np

from .. import shape as shapes
from ..kernels._device import DeviceArray, strided_view
from ..op import INPLACE, needs_grad, op, record
from ..tensor import Tensor, storage_of, wrap
from ._devices import check_devices
from .inplace import check_writable
from .view import basic_view, select, split
from .view_parts import diagonal_of


@op(method=True)
def tensor_split(input, indices_or_sections, dim=0):
    """Views of ``input`` cut along ``dim``: into so many parts of nearly equal size, or before the entries of a list.

    Args:
        input (Tensor): with at least one dim.
        indices_or_sections (int, ints or int64 Tensor): how many parts, or where to cut.
        dim (int): the dim.

    Returns:
        A tuple of views.

    Raises:
        RuntimeError: no dims, or fewer than one part.

    >>> import numtorch as torch
    >>> torch.tensor_split(torch.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    a = input._a
    if not a.ndim:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim, cuts = shapes.wrap_dim(dim, a.ndim), indices_or_sections
    n = a.shape[dim]
    if isinstance(cuts, Tensor):
        if cuts._a.dtype != np.int64 or cuts._a.ndim > 1:
            raise RuntimeError("tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional "
                               "long tensor")
        cuts = cuts._a.tolist()
    if isinstance(cuts, int):
        if cuts <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cuts}")
        size, spare = divmod(n, cuts)
        cuts = [k * size + min(k, spare) for k in range(1, cuts)]
    bounds = [slice(start, end) for start, end in zip([None, *cuts], [*cuts, None])]
    return tuple(basic_view(input, (slice(None),) * dim + (bound, ...)) for bound in bounds)


def _split_along(name, least, dim, input, sections):
    a = input._a
    if a.ndim < least:
        raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {a.ndim} "
                           "dimensions!")
    if isinstance(sections, int) and (sections <= 0 or a.shape[dim] % sections):
        raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension "
                           f"{a.shape[dim]} is not divisible by the split_size {sections}!")
    return tensor_split(input, sections, dim)


@op(method=True)
def hsplit(input, indices_or_sections):
    """``tensor_split`` along dim 1, of vectors along dim 0; a number of parts must divide the size."""
    return _split_along("hsplit", 1, 0 if input._a.ndim == 1 else 1, input, indices_or_sections)


@op(method=True)
def vsplit(input, indices_or_sections):
    """``tensor_split`` along dim 0 of at least two dims; a number of parts must divide the size."""
    return _split_along("vsplit", 2, 0, input, indices_or_sections)


@op(method=True)
def dsplit(input, indices_or_sections):
    """``tensor_split`` along dim 2 of at least three dims; a number of parts must divide the size."""
    return _split_along("dsplit", 3, 2, input, indices_or_sections)


@op(method=True)
def split_with_sizes(input, split_sizes, dim=0):
    """``split`` into parts of the given sizes."""
    return split(input, list(split_sizes), dim)


# ---- copies with another part ------------------------------------------------------------------------------------------------

def _with_part(input, src, find, backward, **ctx):
    """A copy of ``input`` whose part ``find(copy)`` is ``src``."""
    check_devices(backward.__name__.removesuffix("_backward"), input, src)
    out = input._a.copy()
    part = find(out)
    if part.shape != src._a.shape:
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src._a.shape)}, slice "
                           f"size = {list(part.shape)}")
    part[...] = src._a
    return record(out, backward, (input, src), (), **ctx)


def _keyed_backward(node, g):
    """Gradient of a replaced part: zeros there for the input, the part for the source."""
    key = node.ctx["key"]
    gi = None
    if node.needs[0]:
        gi = _with_part(g, wrap(np.zeros_like(g._a[key])), lambda a: a[key], _keyed_backward, key=key)
    return gi, basic_view(g, key) if node.needs[1] else None


def select_scatter_backward(node, g):
    """Gradient of select_scatter."""
    return _keyed_backward(node, g)


def slice_scatter_backward(node, g):
    """Gradient of slice_scatter."""
    return _keyed_backward(node, g)


@op(method=True)
def select_scatter(input, src, dim, index):
    """A copy of ``input`` in which entry ``index`` of ``dim`` is ``src``.

    Raises:
        RuntimeError: ``src`` does not have the entry's shape. IndexError: there is no such entry.

    >>> import numtorch as torch
    >>> torch.select_scatter(torch.zeros(2, 2), torch.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    select(input, dim, index)       # checks dim and index
    dim = shapes.wrap_dim(dim, input._a.ndim)
    key = (slice(None),) * dim + (index.__index__(), ...)
    return _with_part(input, src, lambda a: a[key], select_scatter_backward, key=key)


@op(method=True)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy of ``input`` in which entries ``start`` to ``end`` of ``dim`` are ``src``.

    Raises:
        RuntimeError: ``src`` does not have their shape, or ``step`` is not positive.

    >>> import numtorch as torch
    >>> torch.slice_scatter(torch.zeros(4), torch.ones(2), start=1, end=3)
    tensor([0., 1., 1., 0.])
    """
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    dim = shapes.wrap_dim(dim, input._a.ndim)
    key = (slice(None),) * dim + (slice(start, end, step), ...)
    return _with_part(input, src, lambda a: a[key], slice_scatter_backward, key=key)


@op(method=True)
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of ``input`` in which a diagonal of two dims is ``src``, its last dim along the diagonal.

    Raises:
        RuntimeError: ``src`` does not have the diagonal's shape.

    >>> import numtorch as torch
    >>> torch.diagonal_scatter(torch.zeros(2, 2), torch.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    at = (offset, shapes.wrap_dim(dim1, input._a.ndim), shapes.wrap_dim(dim2, input._a.ndim))
    return _with_part(input, src, lambda a: diagonal_of(a, *at), diagonal_scatter_backward, at=at)


def diagonal_scatter_backward(node, g):
    """Gradient of diagonal_scatter: zeros on the diagonal for the input, the diagonal for the source."""
    at = node.ctx["at"]
    gi = diagonal_scatter(g, wrap(np.zeros_like(g._a.diagonal(*at))), *at) if node.needs[0] else None
    return gi, g.diagonal(*at) if node.needs[1] else None


def _fill_diagonal(a, value, wrap):
    if a.__class__ is not DeviceArray:
        np.fill_diagonal(a, value, wrap)
        return
    step = a.shape[1] + 1 if wrap and a.ndim == 2 else max(a.shape)
    for first in range(0, min(a.shape) and a.shape[0], step):
        part = a[first:first + step]
        strided_view(part, (min(part.shape),), (sum(part.strides),))[...] = value


_plain = wrap       # torch's name for an argument hides it below


def fill_diagonal_(self, fill_value, wrap=False):
    """Writes a number to the main diagonal of a matrix, or of a tensor with equal dims; returns the tensor.

    Args:
        fill_value (number): what is written.
        wrap (bool): of a tall matrix, start again after n columns.

    Raises:
        RuntimeError: fewer than two dims, or more than two that differ.
    """
    from .indexing import number_as

    a = self._a
    check_writable(self, "fill_diagonal_")
    if a.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if a.ndim > 2 and len(set(a.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    if needs_grad(self):
        places = np.zeros(a.shape, np.bool_, like=a)
        _fill_diagonal(places, True, wrap)
        return self.masked_fill_(_plain(places), fill_value)
    _fill_diagonal(a, number_as(fill_value, a.dtype)[0], wrap)
    storage_of(self).version += 1
    return self


Tensor.fill_diagonal_ = INPLACE["fill_diagonal_"] = fill_diagonal_
