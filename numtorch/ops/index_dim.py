"""Selecting and writing whole entries of one dim: index_select, index_add, index_copy, index_fill; take and put; one_hot."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import grad_name, op, record
from ..tensor import Tensor, wrap
from ._devices import apart, beside, check_devices, two_devices
from .indexing import add_into, arithmetic, check_range, fold, gather, index_array, number_as, writes
from .inplace import without_overlap


def _vector(index, name, like):
    """A 0- or 1-dim index tensor as an int64 vector; ``like``: the indexed array."""
    a = index_array(index, name, like, "int32 or int64")
    if a.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    return a.reshape(-1)


@op(method=True, out=True)
def index_select(input, dim, index):
    """The entries ``index`` of ``dim``, in that order.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim of which entries are taken.
        index (Tensor): int64 or int32, a vector of k entries.

    Returns:
        A Tensor of ``input``'s shape, but k entries in ``dim``.

    Raises:
        IndexError: an entry is out of range, or ``index`` is not a vector.

    >>> import numtorch as torch
    >>> torch.index_select(torch.tensor([[1, 2], [3, 4]]), 0, torch.tensor([1, 1]))
    tensor([[3, 4],
            [3, 4]])
    """
    a = input._a
    dim, i = shapes.wrap_dim(dim, a.ndim), _vector(index, "index_select", a)
    n = a.shape[dim] if a.ndim else 1
    if i.size and i.__class__ is not DeviceArray and K.indexing.classify(i, n):
        raise IndexError("index out of range in self")
    out = np.empty((*a.shape[:dim], i.size, *a.shape[dim + 1:]) if a.ndim else (), a.dtype, like=a)
    select_into(out, a, dim, i)
    return record(out, index_select_backward, (input,), (index,), dim=dim, shape=a.shape)


def select_into(out, a, dim, index):
    """out = a's entries ``index`` (checked) of ``dim``; out is C-contiguous."""
    if a.__class__ is DeviceArray:
        K.indexing_cuda.take(a, dim, index, out, "index_select")
    elif out.size:
        K.indexing.index_select(K.indexing.raw(fold(a, dim)), index, K.indexing.raw(fold(out, dim)))


def index_select_backward(node, g):
    """Gradient of index_select: entries added up where they came from."""
    index, = node.saved_tensors
    return index_add_zeros(g, node.ctx["shape"], node.ctx["dim"], index)


def index_add_zeros(g, shape, dim, index):
    """zeros(shape).index_add(dim, index, g), in one pass less."""
    out = np.zeros(shape, g._a.dtype, like=g._a)
    add_rows(out, dim, _vector(index, "index_add", out), g._a, 1)
    return record(out, _index_add_zeros_backward, (g,), (index,), dim=dim)


@grad_name("IndexAddBackward0")
def _index_add_zeros_backward(node, g):
    """Gradient of adding into zeros by index: index_select."""
    index, = node.saved_tensors
    return index_select(g, node.ctx["dim"], index)


def add_rows(out, dim, index, x, alpha):
    """out[..., index[j], ...] += alpha x[..., j, ...] along ``dim``; out is C-contiguous in the host's memory."""
    if not x.size:
        return
    if out.__class__ is DeviceArray:
        if alpha != 1:
            x = arithmetic(x)
            x = (wrap(x) * number_as(alpha, x.dtype)[0].item())._a
        K.indexing_cuda.put("add", out, dim, index, x, "index_add")
        return
    x = arithmetic(fold(x, dim))
    add_into(fold(out, dim), K.indexing.index_add, x, index, number_as(alpha, x.dtype), K.indexing.parts(x.size))


def write_rows(out, dim, index, x):
    """out[..., index[j], ...] = x[..., j, ...] along ``dim``; out is C-contiguous in the host's memory."""
    if not x.size:
        return
    if out.__class__ is DeviceArray:
        K.indexing_cuda.put("set", out, dim, index, x, "index_copy")
        return
    x = fold(x, dim)
    K.indexing.index_copy(K.indexing.raw(x), index, K.indexing.parts(x.size), K.indexing.raw(fold(out, dim)))


def _check_source(name, out, dim, index, source, error):
    if source._a.dtype != out.dtype:
        from ..op import type_name

        if name == "index_add":
            raise RuntimeError("index_add_(): self and source expected to have the same dtype, but got (self) "
                               f"{type_name(wrap(out).dtype)} and (source) {type_name(source.dtype)}")
        raise RuntimeError(f"{name}_(): self and source expected to have the same dtype, but got (self) "
                           f"{type_name(wrap(out).dtype)} and (source) {type_name(source.dtype)}")
    have = source._a.shape[dim] if source._a.ndim else 1
    if have != index.size:
        raise error
    mine = out.shape[:dim] + out.shape[dim + 1:]
    theirs = source._a.shape[:dim] + source._a.shape[dim + 1:]
    if mine != theirs:
        if name == "index_add":
            raise RuntimeError(f"source tensor shape must match self tensor shape, excluding the specified dimension. Got "
                               f"self.shape = {list(out.shape)} source.shape = {list(source._a.shape)}")
        raise RuntimeError(f"{name}_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
                           f"{list(mine)} at dimension {dim} and source slice shape: {list(theirs)} at dimension {dim}.")


@writes()
def index_add(out, input, dim, index, source, *, alpha=1):
    """A copy of ``input`` with out[index[j]] += alpha source[j] along ``dim``, in the order of j.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim whose entries are added to.
        index (Tensor): int64 or int32, a vector.
        source (Tensor): of ``input``'s dtype and shape, but as many entries in ``dim`` as ``index``.
        alpha (number): the factor.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or an entry is out of bounds.

    >>> import numtorch as torch
    >>> torch.zeros(2).index_add(0, torch.tensor([1, 1]), torch.tensor([2.0, 3.0]), alpha=10)
    tensor([ 0., 50.])
    """
    dim, i = shapes.wrap_dim(dim, out.ndim), _vector(index, "index_add", out)
    check_devices("index_add", input, source)
    have = source._a.shape[dim] if source._a.ndim > dim else 1
    _check_source("index_add", out, dim, i, source, RuntimeError(
        f"index_add_(): Number of indices ({i.size}) should be equal to source.size(dim): ({have}), for dim: {dim}"))
    check_range(i, out.shape[dim] if out.ndim else 1, dim)
    add_rows(out, dim, i, without_overlap(source._a, out), alpha)
    return index_add_backward, (input, source), (index,), {"dim": dim, "alpha": alpha}


def index_add_backward(node, g):
    """Gradient of index_add: g for the input, its selected entries times alpha for the source."""
    index, = node.saved_tensors
    gs = None
    if node.needs[1]:
        gs = index_select(g, node.ctx["dim"], index)
        gs = gs if node.ctx["alpha"] == 1 else gs * node.ctx["alpha"]
    return g, gs


@writes()
def index_copy(out, input, dim, index, source):
    """A copy of ``input`` with out[index[j]] = source[j] along ``dim``; of equal entries the last stays.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim whose entries are written.
        index (Tensor): int64 or int32, a vector.
        source (Tensor): of ``input``'s dtype and shape, but as many entries in ``dim`` as ``index``.

    Raises:
        IndexError: an entry is out of bounds, or the number of entries differs.
        RuntimeError: shapes or dtypes do not fit.

    >>> import numtorch as torch
    >>> torch.zeros(3).index_copy(0, torch.tensor([2, 0]), torch.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    dim, i = shapes.wrap_dim(dim, out.ndim), _vector(index, "index_copy", out)
    check_devices("index_copy", input, source)
    have = source._a.shape[dim] if source._a.ndim > dim else 1
    _check_source("index_copy", out, dim, i, source, IndexError(
        f"index_copy_(): Number of indices ({i.size}) should be equal to source.size(dim) ({have})"))
    check_range(i, out.shape[dim] if out.ndim else 1, dim, IndexError)
    write_rows(out, dim, i, without_overlap(source._a, out))
    return index_copy_backward, (input, source), (index,), {"dim": dim}


def index_copy_backward(node, g):
    """Gradient of index_copy: none for the entries that were written, those for the source."""
    index, = node.saved_tensors
    dim = node.ctx["dim"]
    return (index_fill(g, dim, index, 0) if node.needs[0] else None,
            index_select(g, dim, index) if node.needs[1] else None)


@writes()
def index_fill(out, input, dim, index, value):
    """A copy of ``input`` in which the entries ``index`` of ``dim`` are ``value``.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim whose entries are filled.
        index (Tensor): int64 or int32, a vector; negative entries count from the end.
        value (number or 0-dim Tensor): what they are filled with.

    Raises:
        IndexError: an entry is out of bounds.

    >>> import numtorch as torch
    >>> torch.zeros(3).index_fill(0, torch.tensor([0, 2]), 7)
    tensor([7., 0., 7.])
    """
    dim, i = shapes.wrap_dim(dim, out.ndim), _vector(index, "index_fill", out)
    if isinstance(value, Tensor) and value._a.ndim:
        raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value._a.ndim} dimension(s).")
    value = beside(value, input)
    fill = number_as(value, out.dtype)
    if out.__class__ is DeviceArray:
        fill = fill.reshape(()) if fill.__class__ is DeviceArray else np.full((), fill[0], out.dtype, like=out)
        K.indexing_cuda.put("set", out, dim, i, fill, "index_fill", wrap=True)
        return _filled_at(input, dim, index, value)
    i = wrapped_index(i, out.shape[dim] if out.ndim else 1, dim)
    if out.ndim:
        out[(slice(None),) * dim + (i,)] = fill[0]
    elif i.size:
        out[...] = fill[0]
    return _filled_at(input, dim, index, value)


def _filled_at(input, dim, index, value):
    if isinstance(value, Tensor):
        return index_fill_backward, (input, value), (index,), {"dim": dim}
    return index_fill_backward, (input,), (index,), {"dim": dim}


def index_fill_backward(node, g):
    """Gradient of index_fill: none for the entries that were filled; their sum for the value."""
    index, = node.saved_tensors
    dim = node.ctx["dim"]
    gi = index_fill(g, dim, index, 0) if node.needs[0] else None
    if len(node.edges) == 1:
        return gi
    n = g._a.shape[dim] if g._a.ndim else 1
    positive = wrap(wrapped_index(_vector(index, "index_fill", g._a), n, dim))
    return gi, index_select(g, dim, positive).sum() if node.needs[1] else None


def wrapped_index(index, n, dim):
    """``index`` with negative entries counted from the end; IndexError unless all are in [-n, n)."""
    if index.__class__ is DeviceArray:
        return K.indexing_cuda.wrapped(index, n, "index")
    kind = K.indexing.classify(index.reshape(-1), n) if index.size else 0
    if kind == 2:
        flat = index.reshape(-1)
        bad = flat[(flat < -n) | (flat >= n)][0]
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {n}")
    return np.where(index < 0, index + n, index) if kind else index


# ---- the tensor as one long vector -------------------------------------------------------------------------------------------

def _flat_index(name, index, input):
    a, n = index._a, input._a.size
    if apart(a, input._a):
        raise two_devices(name, input._a, a)
    if a.dtype != np.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {_kind(index)}")
    i = a.reshape(-1)
    i = i if i.flags.c_contiguous else i.copy()
    if i.size:
        if n == 0:
            raise IndexError(f"{name}(): tried to take from an empty tensor" if name == "take" else
                             f"{name}_(): tried to put elements into an empty tensor")
        if i.__class__ is DeviceArray:
            return K.indexing_cuda.wrapped(i, n, name)
        kind = K.indexing.classify(i, n)
        if kind == 2:
            bad = i[(i < -n) | (i >= n)][0]
            raise IndexError(f"out of range: tried to access index {bad} on a tensor of {n} elements.")
        if kind:
            i = np.where(i < 0, i + n, i)
    return i


def _kind(tensor):
    from ..op import type_name

    return type_name(tensor.dtype)


@op(method=True, out=True)
def take(input, index):
    """The elements at ``index`` of ``input`` read as one long vector.

    Args:
        input (Tensor): of any shape and dtype.
        index (Tensor): int64, of any shape; negative ones count from the end.

    Returns:
        A Tensor of ``index``'s shape.

    Raises:
        IndexError: an index is out of range.

    >>> import numtorch as torch
    >>> torch.take(torch.tensor([[1, 2], [3, 4]]), torch.tensor([3, 0]))
    tensor([4, 1])
    """
    a = input._a
    i = _flat_index("take", index, input)
    out = np.empty(index._a.shape, a.dtype, like=a)
    select_into(out.reshape(-1), a.reshape(-1), 0, i)
    return record(out, take_backward, (input,), (), shape=a.shape, index=i)


def take_backward(node, g):
    """Gradient of take: added up where it was taken."""
    shape = node.ctx["shape"]
    return index_add_zeros(g.reshape(-1), (shapes.numel(shape),), 0, wrap(node.ctx["index"])).reshape(shape)


@writes(out=False)
def put(out, input, index, source, accumulate=False):
    """A copy of ``input``, read as one long vector, with out[index[j]] = source[j], or += where ``accumulate``.

    Args:
        input (Tensor): of any shape.
        index (Tensor): int64; negative ones count from the end.
        source (Tensor): as many elements as ``index``, of ``input``'s dtype.
        accumulate (bool): add instead of overwrite.

    Raises:
        IndexError: an index is out of range.
        RuntimeError: the numbers of elements or the dtypes differ.

    >>> import numtorch as torch
    >>> torch.zeros(2, 2).put(torch.tensor([3, 0]), torch.tensor([5.0, 6.0]))
    tensor([[6., 0.],
            [0., 5.]])
    """
    if source._a.dtype != out.dtype:
        raise RuntimeError("put_(): self and source expected to have the same dtype, but got self.dtype = "
                           f"{_kind(wrap(out))} and source.dtype = {_kind(source)}")
    if index._a.size != source._a.size:
        raise IndexError(f"put_(): Expected source and index to have the same number of elements, but got source.numel() = "
                           f"{source._a.size}, index.numel() = {index._a.size}")
    i = _flat_index("put", index, input)
    check_devices("put", input, source)
    values, flat = without_overlap(source._a, out).reshape(-1), out.reshape(-1)
    if accumulate:
        add_rows(flat, 0, i, values, 1)
    else:
        write_rows(flat, 0, i, values)
    if not out.flags.c_contiguous:      # on a CUDA device
        out[...] = flat.reshape(out.shape)
    return put_backward, (input, source), (), {"index": i, "accumulate": accumulate, "shape": source._a.shape}


def put_backward(node, g):
    """Gradient of put: as of index_add or index_copy on the long vector."""
    flat, index = g.reshape(-1), wrap(node.ctx["index"])
    gi = g if node.ctx["accumulate"] else index_fill(flat, 0, index, 0).reshape(g._a.shape)
    return gi, index_select(flat, 0, index).reshape(node.ctx["shape"])


@op(method=True, out=True)
def take_along_dim(input, indices, dim=None):
    """gather with broadcasting: the elements of ``input`` at ``indices`` along ``dim``, as argsort and topk give them.

    Args:
        input (Tensor): of any dtype.
        indices (Tensor): int64; broadcast against ``input`` in the other dims.
        dim (int or None): the dim; None reads both as long vectors.

    Raises:
        RuntimeError: not int64, shapes do not broadcast, or an index is out of bounds.

    >>> import numtorch as torch
    >>> x = torch.tensor([[3, 1], [2, 4]])
    >>> torch.take_along_dim(x, x.argmax(dim=1, keepdim=True), dim=1)
    tensor([[3],
            [4]])
    """
    if indices._a.dtype != np.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {_kind(indices)}")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input._a.ndim != indices._a.ndim:
        raise RuntimeError("torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
                           f"{input._a.ndim} dimensions for input, and {indices._a.ndim} dimensions for indices")
    dim = shapes.wrap_dim(dim, input._a.ndim)
    mine, theirs = list(input._a.shape), list(indices._a.shape)
    common = list(shapes.broadcast_shapes([1 if d == dim else n for d, n in enumerate(mine)],
                                          [1 if d == dim else n for d, n in enumerate(theirs)]))
    wide = [n if d == dim else m for d, (n, m) in enumerate(zip(mine, common))]
    wide_index = [n if d == dim else m for d, (n, m) in enumerate(zip(theirs, common))]
    return gather(input.expand(wide), dim, indices.expand(wide_index))


@op(namespace="nn.functional")
def one_hot(tensor, num_classes=-1):
    """A new last dim with 1 at the class and 0 elsewhere.

    Args:
        tensor (Tensor): int64 class numbers, of any shape.
        num_classes (int): how many classes; -1: one more than the largest.

    Returns:
        An int64 Tensor of ``tensor``'s shape with ``num_classes`` appended.

    Raises:
        RuntimeError: not int64, a negative class, or one too large.

    >>> import numtorch as torch
    >>> torch.nn.functional.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    a = tensor._a
    if a.dtype != np.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not a.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return wrap(np.zeros((*a.shape, num_classes), np.int64, like=a))
    if a.__class__ is DeviceArray:
        return _one_hot_on_device(tensor, num_classes)
    low, high = int(a.min()), int(a.max())
    if low < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    if high >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    out = np.zeros((a.size, num_classes), np.int64)
    out[np.arange(a.size), a.reshape(-1)] = 1
    return wrap(out.reshape(*a.shape, num_classes))


def _one_hot_on_device(tensor, num_classes):
    """one_hot without a look at the classes where their number is given: those out of range are reported later."""
    if num_classes == -1:
        num_classes = tensor.max().item() + 1
    if num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    out = np.zeros((*tensor._a.shape, num_classes), np.int64, like=tensor._a)
    K.indexing_cuda.put("set", out, tensor._a.ndim, tensor._a[..., None], np.ones((), np.int64, like=out), "one_hot")
    return wrap(out)
