"""Elements in other places: flip, roll, rot90, triangles, diagonals, repeat_interleave."""
import numpy as np

from .. import devices
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import grad_name, op, record, type_name
from ..tensor import Tensor, wrap
from ._devices import check_devices
from ._one_node import one_node
from .index_dim import index_select
from .indexing import fold
from .view import diagonal_backward
from .view_parts import diagonal_of

# ---- turning -----------------------------------------------------------------------------------------------------------------

@op(method=True)
def flip(input, *dims):
    """The order of the entries of ``dims`` reversed; a copy.

    >>> import numtorch as torch
    >>> torch.flip(torch.tensor([[1, 2], [3, 4]]), (0, 1))
    tensor([[4, 3],
            [2, 1]])
    """
    dims = shapes.wrap_dims(shapes.as_sizes(dims), input._a.ndim)
    return record(_flipped(input._a, dims), flip_backward, (input,), dims=dims)


def _flipped(a, dims):
    if len(dims) == 1 and a.size and a.__class__ is not DeviceArray:
        out = np.empty(a.shape, a.dtype)
        K.indexing.flip(K.indexing.raw(fold(a, dims[0])), K.indexing.raw(fold(out, dims[0])))
        return out
    return np.flip(a, dims).copy() if a.ndim else a.copy()


def flip_backward(node, g):
    """Gradient of flip: flipped back."""
    return flip(g, node.ctx["dims"])


@op(method=True)
def fliplr(input):
    """``flip`` along dim 1; RuntimeError below two dims."""
    if input._a.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@op(method=True)
def flipud(input):
    """``flip`` along dim 0; RuntimeError for a tensor without dims."""
    if input._a.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@op(method=True)
def roll(input, shifts, dims=None):
    """Entries moved ``shifts`` places along ``dims``, those beyond the end to the front.

    Args:
        input (Tensor): of any shape.
        shifts (int or ints): how far.
        dims (int or ints): along which dims; default: the tensor read as one long vector.

    >>> import numtorch as torch
    >>> torch.roll(torch.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) > 1 or dims and len(dims) != len(shifts):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    dims = tuple(shapes.wrap_dim(d, input._a.ndim) for d in dims)
    a = input._a
    if a.__class__ is DeviceArray:
        out = _rolled(a, shifts, dims) if dims else _rolled(a.reshape(-1), shifts, (0,))
    else:
        out = np.roll(a, shifts, dims) if dims and a.ndim else np.roll(a, shifts[0]) if not dims else a.copy()
    return record(np.ascontiguousarray(out, like=a).reshape(a.shape), roll_backward, (input,), shifts=shifts, dims=dims)


def _rolled(a, shifts, dims):
    """A copy with the entries moved, in parts that stay together: two along each dim."""
    places, out = [((), ())], np.empty(a.shape, a.dtype, like=a)
    if not a.size:
        return out
    for d, n in enumerate(a.shape):
        shift = sum(s for s, e in zip(shifts, dims) if e == d) % n
        cuts = [(slice(0, n - shift), slice(shift, n))]
        if shift:
            cuts.append((slice(n - shift, n), slice(0, shift)))
        places = [((*source, s), (*target, t)) for source, target in places for s, t in cuts]
    for source, target in places:
        out[target] = a[source]
    return out


def roll_backward(node, g):
    """Gradient of roll: rolled back."""
    return roll(g, tuple(-s for s in node.ctx["shifts"]), node.ctx["dims"] or None)


@op(method=True)
@one_node("Rot90Backward0")
def rot90(input, k=1, dims=(0, 1)):
    """Turned ``k`` times by 90 degrees in the plane of two dims, from the first towards the second.

    Raises:
        RuntimeError: not two different dims, or fewer than two in the tensor.

    >>> import numtorch as torch
    >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    dims, n = tuple(dims), input._a.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == n:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    for d, which in zip(dims, (0, 1)):
        if not -n <= d < n:
            raise RuntimeError(f"Rotation dim{which} out of range, dim{which} = {d}")
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return flip(input, dims)
    return flip(input, (dims[1],)).transpose(*dims) if k == 1 else flip(input, (dims[0],)).transpose(*dims)


# ---- triangles and diagonals -------------------------------------------------------------------------------------------------

def _triangle(input, diagonal, lower):
    a = input._a
    if a.ndim < 2:
        raise RuntimeError(f"{'tril' if lower else 'triu'}: input tensor must have at least 2 dimensions")
    x = np.ascontiguousarray(a, like=a)
    out = np.empty_like(x)
    if x.size:
        flat = (-1, *x.shape[-2:])
        K.indexing.triangle(K.indexing.raw(x).reshape(flat), int(diagonal), lower, K.indexing.raw(out).reshape(flat))
    return out


@op(method=True, inplace=True, out=True)
def tril(input, diagonal=0):
    """The lower triangle of matrices, zeros above: entries (i, j) with j <= i + ``diagonal``.

    Raises:
        RuntimeError: fewer than two dims.

    >>> import numtorch as torch
    >>> torch.tril(torch.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return record(_triangle(input, diagonal, True), tril_backward, (input,), diagonal=diagonal)


def tril_backward(node, g):
    """Gradient of tril: its lower triangle."""
    return tril(g, node.ctx["diagonal"])


@op(method=True, inplace=True, out=True)
def triu(input, diagonal=0):
    """The upper triangle of matrices, zeros below: entries (i, j) with j >= i + ``diagonal``.

    Raises:
        RuntimeError: fewer than two dims.

    >>> import numtorch as torch
    >>> torch.triu(torch.ones(2, 2))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return record(_triangle(input, diagonal, False), triu_backward, (input,), diagonal=diagonal)


def triu_backward(node, g):
    """Gradient of triu: its upper triangle."""
    return triu(g, node.ctx["diagonal"])


def _triangle_indices(row, col, offset, lower, dtype, device):
    if row < 0 or col < 0:
        name, n = ("row", row) if row < 0 else ("col", col)
        raise RuntimeError(f"{name} must be non-negative, got{n}")
    place = devices.check(device)
    if place.type == "cuda":
        found = K._cuda_rearrange.triangle_indices(row, col, offset, lower, place.index)
        return wrap(found if dtype is None else found.astype(dtype._np))
    inside = np.tri(row, col, offset if lower else offset - 1, bool)
    found = np.array(np.nonzero(inside if lower else ~inside))
    return wrap(found if dtype is None else found.astype(dtype._np))


@op()
def tril_indices(row, col, offset=0, *, dtype=None, layout=None, device=None):
    """The row and column numbers of the lower triangle of a (row, col) matrix: a (2, n) int64 Tensor.

    >>> import numtorch as torch
    >>> torch.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle_indices(row, col, offset, True, dtype, device)


@op()
def triu_indices(row, col, offset=0, *, dtype=None, layout=None, device=None):
    """The row and column numbers of the upper triangle of a (row, col) matrix: a (2, n) int64 Tensor.

    >>> import numtorch as torch
    >>> torch.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle_indices(row, col, offset, False, dtype, device)


@op(method=True, out=True)
def diag(input, diagonal=0):
    """A vector on the diagonal of a matrix of zeros; of a matrix, a copy of its diagonal.

    Raises:
        RuntimeError: neither a vector nor a matrix.

    >>> import numtorch as torch
    >>> torch.diag(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if input._a.ndim == 1:
        return diag_embed(input, diagonal)
    if input._a.ndim == 2:
        a = input._a
        return record(a.diagonal(diagonal).copy(), _diag_backward, (input,), at=(diagonal, 0, 1), shape=a.shape)
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input._a.ndim}D")


@grad_name("DiagonalBackward0_copy")
def _diag_backward(node, g):
    """Gradient of the copied diagonal of a matrix."""
    return diagonal_backward(node, g)


@op(method=True)
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """Matrices of zeros with the last dim of ``input`` on their diagonals.

    Args:
        input (Tensor): (..., n).
        offset (int): which diagonal: 0 the main one, 1 the one above.
        dim1, dim2 (int): the dims of the matrices in the result.

    >>> import numtorch as torch
    >>> torch.diag_embed(torch.tensor([[1, 2], [3, 4]])).shape
    torch.Size([2, 2, 2])
    """
    a = input._a
    dim1, dim2 = shapes.wrap_dim(dim1, a.ndim + 1), shapes.wrap_dim(dim2, a.ndim + 1)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = (a.shape[-1] if a.ndim else 1) + abs(offset)
    shape = list(a.shape[:-1])
    for d in sorted((dim1, dim2)):
        shape.insert(d, n)
    out = np.zeros(shape, a.dtype, like=a)
    diagonal_of(out, offset, dim1, dim2)[...] = a
    return record(out, diag_embed_backward, (input,), at=(offset, dim1, dim2))


@grad_name("DiagEmbedBackward0")
def diag_embed_backward(node, g):
    """Gradient of diag_embed: the diagonal."""
    return g.diagonal(*node.ctx["at"])


@op(method=True)
def diagflat(input, offset=0):
    """A matrix with all elements of ``input`` on its diagonal.

    >>> import numtorch as torch
    >>> torch.diagflat(torch.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(input.reshape(-1), offset)


# ---- repeating ---------------------------------------------------------------------------------------------------------------

@op(method=True)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each entry of ``dim`` several times in a row.

    Args:
        input (Tensor): of any shape; alone it is read as ``repeats`` of 0, 1, 2 ...
        repeats (int or Tensor): how often, for all or for each entry.
        dim (int): the dim; default: the tensor read as one long vector.
        output_size (int): the sum of ``repeats``; checked.

    Raises:
        RuntimeError: negative repeats, or a number of them that does not fit.

    >>> import numtorch as torch
    >>> torch.repeat_interleave(torch.tensor([1, 2]), torch.tensor([1, 3]))
    tensor([1, 2, 2, 2])
    """
    if repeats is None:
        return wrap(_repeated(input, input._a.size, output_size))
    whole = output_size
    if dim is None:
        input, dim = input.reshape(-1), 0
    n = input._a.shape[shapes.wrap_dim(dim, input._a.ndim)] if input._a.ndim else 1
    if isinstance(repeats, Tensor):
        if repeats._a.ndim > 1:
            raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
        check_devices("repeat_interleave", input, repeats)
        if repeats._a.size not in (1, n):
            raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = "
                               f"{repeats._a.size} and input.size({dim}) = {n}")
        times = repeats if repeats._a.size == n else repeats.reshape(1).expand(n)
    else:
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        times, whole = wrap(np.full(n, repeats, np.int64, like=input._a)), repeats * n
        if output_size not in (None, whole):
            raise RuntimeError("allocated size does not match required size")
    return index_select(input, dim, wrap(_repeated(times, n, whole)))


def _repeated(repeats, n, output_size):
    a = repeats._a
    if a.dtype not in (np.dtype(np.int64), np.dtype(np.int32)):
        raise NotImplementedError(f"\"repeat_interleave_cpu\" not implemented for '{type_name(repeats.dtype)}'")
    if a.ndim > 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if a.__class__ is DeviceArray:
        return K._cuda_rearrange.repeated(a, output_size)
    if a.size and a.min() < 0:
        raise RuntimeError("repeats can not be negative")
    found = np.repeat(np.arange(n, dtype=np.int64), a)
    if output_size is not None and output_size != found.size:
        raise RuntimeError("allocated size does not match required size")
    return found
