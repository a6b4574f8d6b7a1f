"""Tensors put together: cat, stack and their kin, tile, repeat, meshgrid, combinations."""
import itertools

import numpy as np
from numpy import ndarray

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import op, record
from ..tensor import Tensor, wrap
from ._devices import check_devices


def _list(name, tensors):
    """A tuple of Tensors from an argument; torch's TypeErrors."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, (tuple, list)):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    return tuple(tensors)


def _promoted(arrays):
    """The dtype that the arrays are promoted to."""
    want = arrays[0].dtype
    for a in arrays:
        if a.dtype != want:
            want = dtypes.promote_types(dtypes._from_np[want], dtypes._from_np[a.dtype])._np
    return want


def _joined(arrays, axis):
    """The arrays side by side along ``axis``, in their promoted dtype. np.concatenate copies whole rows: memory-bound."""
    want = _promoted(arrays)
    arrays = [a if a.dtype == want else a.astype(want) for a in arrays]
    if DeviceArray not in map(type, arrays):
        return np.concatenate(arrays, axis)
    check_devices("cat", *[wrap(a) for a in arrays])
    return K.copy.concatenate(arrays, axis)


@op(out=True, aliases=("concat", "concatenate"))
def cat(tensors, dim=0):
    """The tensors side by side along ``dim``.

    Args:
        tensors (tuple of Tensors): of equal shape but in ``dim``; empty vectors are passed over.
        dim (int): the dim along which they are joined.

    Raises:
        RuntimeError: shapes do not fit, or a tensor has no dims. ValueError: no tensors.

    >>> import numtorch as torch
    >>> torch.cat((torch.tensor([1, 2]), torch.tensor([3.0])))
    tensor([1., 2., 3.])
    """
    tensors = _list("cat", tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    arrays = [t._a for t in tensors]
    first = arrays[0]
    for a in arrays:
        if a.ndim != first.ndim or a.dtype != first.dtype or not a.ndim or a.__class__ is not ndarray:
            return _cat_unlike(tensors, dim)
    dim = shapes.wrap_dim(dim, first.ndim)
    try:
        out = np.concatenate(arrays, dim)
    except ValueError:
        return _cat_unlike(tensors, dim)
    return record(out, cat_backward, tensors, dim=dim, shapes=[a.shape for a in arrays])


def _cat_unlike(tensors, dim):
    """cat of tensors with different dtypes, or with empty vectors among them, or that do not fit."""
    for i, t in enumerate(tensors):
        if not t._a.ndim:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    first = next((t._a for t in tensors if t._a.shape != (0,)), tensors[0]._a)
    dim = shapes.wrap_dim(dim, first.ndim)
    for i, t in enumerate(tensors):
        a = t._a
        if a.shape == (0,):
            continue
        if a.ndim != first.ndim:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and {a.ndim}")
        for d, (n, m) in enumerate(zip(first.shape, a.shape)):
            if d != dim and n != m:
                raise RuntimeError(f"Sizes of tensors must match except in dimension {dim}. Expected size {n} but got size {m} "
                                   f"for tensor number {i} in the list.")
    arrays = [t._a if t._a.shape != (0,) else np.empty((*first.shape[:dim], 0, *first.shape[dim + 1:]), t._a.dtype, like=t._a)
              for t in tensors]
    return record(_joined(arrays, dim), cat_backward, tensors, dim=dim, shapes=[t._a.shape for t in tensors])


def cat_backward(node, g):
    """Gradient of cat: the piece of each tensor."""
    dim, start, found = node.ctx["dim"], 0, []
    for edge, shape in zip(node.edges, node.ctx["shapes"]):
        if shape == (0,):
            found.append(wrap(np.zeros(0, g._a.dtype, like=g._a)) if edge is not None else None)
            continue
        found.append(g.narrow(dim, start, shape[dim]) if edge is not None else None)
        start += shape[dim]
    return tuple(found)


@op(out=True)
def stack(tensors, dim=0):
    """The tensors side by side along a new dim.

    Args:
        tensors (tuple of Tensors): of equal shape.
        dim (int): where the new dim is.

    Raises:
        RuntimeError: shapes differ, or no tensors.

    >>> import numtorch as torch
    >>> torch.stack((torch.tensor([1, 2]), torch.tensor([3, 4])), dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    tensors = _list("stack", tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0]._a.shape
    for i, t in enumerate(tensors):
        if t._a.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(t._a.shape)} at entry {i}")
    dim = shapes.wrap_dim(dim, len(shape) + 1)
    key = (slice(None),) * dim + (None,)
    return record(_joined([t._a[key] for t in tensors], dim), stack_backward, tensors, dim=dim)


def stack_backward(node, g):
    """Gradient of stack: the entry of each tensor."""
    dim = node.ctx["dim"]
    return tuple(g.select(dim, i) if edge is not None else None for i, edge in enumerate(node.edges))


def _columns(name, tensors, dims, dim):
    from .view import atleast_1d, atleast_2d, atleast_3d

    tensors = _list(name, tensors)
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    lift = (atleast_1d, atleast_2d, atleast_3d)[dims - 1]
    return cat(tuple(lift(t) for t in tensors), dim)


@op(out=True)
def hstack(tensors):
    """The tensors side by side: along dim 1, vectors along dim 0."""
    tensors = _list("hstack", tensors)
    if not tensors:
        raise RuntimeError("hstack expects a non-empty TensorList")
    from .view import atleast_1d

    tensors = tuple(atleast_1d(t) for t in tensors)
    return cat(tensors, 0 if tensors[0]._a.ndim == 1 else 1)


@op(out=True, aliases=("row_stack",))
def vstack(tensors):
    """The tensors one below the other: along dim 0, vectors as rows."""
    return _columns("vstack", tensors, 2, 0)


@op(out=True)
def dstack(tensors):
    """The tensors behind one another: along dim 2, vectors and matrices with dims added."""
    return _columns("dstack", tensors, 3, 2)


@op(out=True)
def column_stack(tensors):
    """The tensors side by side along dim 1, vectors and numbers as columns."""
    tensors = _list("column_stack", tensors)
    return hstack(tuple(t.reshape(t._a.size, 1) if t._a.ndim <= 1 else t for t in tensors))


@op()
def block_diag(*tensors):
    """A matrix with the tensors (of at most two dims, read as matrices) along its diagonal, zeros elsewhere.

    >>> import numtorch as torch
    >>> torch.block_diag(torch.tensor([[1]]), torch.tensor([2, 3]))
    tensor([[1, 0, 0],
            [0, 2, 3]])
    """
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    for i, t in enumerate(tensors):
        if t._a.ndim > 2:
            raise RuntimeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t._a.ndim} "
                               "dimensions")
    if not tensors:
        return wrap(np.zeros((1, 0), dtypes.get_default_dtype()._np))
    check_devices("block_diag", *tensors)
    wide = [t._a.reshape(1, -1) if t._a.ndim < 2 else t._a for t in tensors]
    out = np.zeros((sum(w.shape[0] for w in wide), sum(w.shape[1] for w in wide)), _promoted(wide), like=wide[0])
    places, r, c = [], 0, 0
    for w in wide:
        places.append((slice(r, r + w.shape[0]), slice(c, c + w.shape[1])))
        out[places[-1]] = w
        r, c = r + w.shape[0], c + w.shape[1]
    return record(out, block_diag_backward, tuple(tensors), places=places, shapes=[t._a.shape for t in tensors])


def block_diag_backward(node, g):
    """Gradient of block_diag: the block of each tensor."""
    return tuple(g[place].reshape(shape) if edge is not None else None
                 for place, shape, edge in zip(node.ctx["places"], node.ctx["shapes"], node.edges))


# ---- copies of one tensor ----------------------------------------------------------------------------------------------------

def repeat(self, *repeats):
    """The tensor repeated along each dim, new dims in front.

    Args:
        repeats (ints): how often along each dim; at least as many as the tensor has dims.

    Raises:
        RuntimeError: too few or negative repeats.

    >>> import numtorch as torch
    >>> torch.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    repeats, a = shapes.as_sizes(repeats), self._a
    if len(repeats) < a.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(r < 0 for r in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}")
    wide = (1,) * (len(repeats) - a.ndim) + a.shape
    pairs = [n for pair in zip(repeats, wide) for n in pair]
    single = [n for s in wide for n in (1, s)]
    out = np.broadcast_to(a.reshape(single), pairs).copy().reshape([r * s for r, s in zip(repeats, wide)])
    return record(out, repeat_backward, (self,), pairs=pairs, shape=a.shape)


def repeat_backward(node, g):
    """Gradient of repeat: the copies added up."""
    pairs = node.ctx["pairs"]
    if not pairs:
        return g
    return g.reshape(pairs).sum(tuple(range(0, len(pairs), 2))).reshape(node.ctx["shape"])


Tensor.repeat = repeat


@op(method=True)
def tile(input, *dims):
    """``repeat``, but missing repeats in front are 1."""
    dims = shapes.as_sizes(dims)
    return repeat(input, (1,) * (input._a.ndim - len(dims)) + dims)


@op()
def meshgrid(*tensors, indexing=None):
    """For vectors of n, m ... elements, tensors of shape (n, m, ...): the k-th varies along dim k as the k-th vector.

    Args:
        tensors (Tensors or one tuple of them): vectors or numbers of one dtype.
        indexing (str): "ij" (default), or "xy": the first two dims exchanged.

    Returns:
        A tuple of expanded views.

    >>> import numtorch as torch
    >>> torch.meshgrid(torch.tensor([1, 2]), torch.tensor([3, 4]), indexing="ij")[0]
    tensor([[1, 1],
            [2, 2]])
    """
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in tensors:
        if t._a.ndim > 1:
            raise RuntimeError("torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: "
                               + "".join(f" {n}" for n in t._a.shape))
        if t._a.dtype != tensors[0]._a.dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f"torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {indexing}")
    swap = indexing == "xy" and len(tensors) > 1
    tensors = (tensors[1], tensors[0], *tensors[2:]) if swap else tensors
    shape = [t._a.size for t in tensors]
    grids = [t.reshape([1] * i + [-1] + [1] * (len(tensors) - i - 1)).expand(shape) for i, t in enumerate(tensors)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@op()
def cartesian_prod(*tensors):
    """All tuples of one element of each vector, as rows in lexical order; one vector as it is.

    >>> import numtorch as torch
    >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    for t in tensors:
        if t._a.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t._a.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@op()
def combinations(input, r=2, with_replacement=False):
    """All choices of ``r`` elements of a vector, as rows in the order of itertools.

    >>> import numtorch as torch
    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if input._a.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._a.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return wrap(np.empty(0, input._a.dtype, like=input._a))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input._a.size), r)), np.int64).reshape(-1, r)
    return input.index_select(0, wrap(rows.reshape(-1)).to(input.device)).reshape(rows.shape)
