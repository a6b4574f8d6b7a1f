"""embedding and embedding_bag: rows of a table by index."""
import numpy as np

from .. import kernels as K
from ..kernels._device import DeviceArray
from ..op import grad_name, op, record
from ..tensor import storage_of, wrap

F = "nn.functional"


def _check_indices(indices, rows, name):
    if indices._a.dtype not in (np.int64, np.int32):
        from ..op import type_name

        raise RuntimeError("Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but "
                           f"got torch.{type_name(indices.dtype)}Tensor instead (while checking arguments for {name})")
    i = indices._a
    if i.__class__ is DeviceArray:
        return      # an index out of range gives nan: to raise an error, the host would have to wait
    if i.size and (i.min() < 0 or i.max() >= rows):
        raise IndexError("index out of range in self")


def _renormalize(weight, indices, max_norm, norm_type):
    """Scales the rows looked up whose norm is over ``max_norm``, in place."""
    if weight._a.__class__ is DeviceArray:
        table = weight._a if weight._a.flags.c_contiguous else weight._a.copy()
        if table.size and indices._a.size:
            K.embedding_cuda.limit_norms(table, _flat(indices), max_norm, norm_type)
        if table is not weight._a:
            weight._a[...] = table
        storage_of(weight).version += 1
        return
    rows = np.unique(indices._a)
    found = weight._a[rows]
    norms = np.linalg.norm(found.astype(np.float64), norm_type, axis=1)
    over = norms > max_norm
    weight._a[rows[over]] = (found[over] * (max_norm / (norms[over] + 1e-7))[:, None]).astype(weight._a.dtype)
    storage_of(weight).version += 1


def _embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """Rows ``indices`` of ``weight``.

    Args:
        weight (Tensor): (rows, columns).
        indices (Tensor): int64 or int32, of any shape; the result has one more dimension, of the columns.
        padding_idx (int): a row that gets no gradient; -1 for none.
        scale_grad_by_freq (bool): divide each row's gradient by how often it was looked up.

    Raises:
        IndexError: an index that is no row. NotImplementedError: ``sparse``.
    """
    if sparse:
        raise NotImplementedError("embedding: sparse gradients are not built; use sparse=False")
    if weight._a.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    _check_indices(indices, weight._a.shape[0], "embedding")
    out = _rows_of(weight._a, indices)
    return record(out, embedding_backward, (weight,), (indices,), padding=padding_idx, by_count=scale_grad_by_freq,
                  rows=weight._a.shape[0])


def _flat(indices):
    """Indices as a contiguous row of int64."""
    return np.ascontiguousarray(indices._a, like=indices._a).reshape(-1).astype(np.int64, copy=False)


def _rows_of(table, indices):
    """The rows of an array (rows, columns) that ``indices``, a Tensor, names."""
    if table.__class__ is not DeviceArray:
        return np.take(table, indices._a, axis=0)
    if table.dtype.kind not in "fV":
        return wrap(table).index_select(0, indices.reshape(-1))._a.reshape(*indices._a.shape, table.shape[1])
    out = np.empty((*indices._a.shape, table.shape[1]), table.dtype, like=table)
    if out.size:
        K.embedding_cuda.take(np.ascontiguousarray(table, like=table), _flat(indices), out.reshape(-1, table.shape[1]))
    return out


embedding_op = op("embedding")(_embedding)


def embedding_backward(node, g):
    """Gradients added up in the rows that were looked up."""
    indices, = node.saved_tensors
    return embedding_grad(g, indices, node.ctx["rows"], node.ctx["padding"], node.ctx["by_count"])


def embedding_grad(g, indices, rows, padding, by_count):
    """The table's gradient, itself differentiable."""
    flat = _flat(indices)
    if g._a.__class__ is DeviceArray:
        return _grad_on_device(g, indices, flat, rows, padding, by_count)
    wide = g._a.astype(np.float32) if g._a.dtype.itemsize == 2 else g._a
    source = np.ascontiguousarray(wide).reshape(flat.size, wide.shape[-1])
    out = np.zeros((rows, g._a.shape[-1]), source.dtype)
    scale = np.empty(0, source.dtype)
    if by_count:
        scale = (1 / np.bincount(flat, minlength=rows)[flat]).astype(source.dtype)
    if source.size:
        K.embedding.embedding_backward(source, flat, padding, scale, out)
    return record(out.astype(g._a.dtype, copy=False), embedding_grad_backward, (g,), (indices,), padding=padding, scale=scale)


def _grad_on_device(g, indices, flat, rows, padding, by_count):
    """The same by a kernel that reads halves as they are and adds them up in float32."""
    a = g._a
    computed = np.dtype(np.float32) if a.dtype.itemsize == 2 else a.dtype
    out, scale = np.zeros((rows, a.shape[-1]), computed, like=a), np.empty(0, computed, like=a)
    if a.size:
        if by_count:
            scale = K.embedding_cuda.inverse_frequencies(flat, rows, computed)
        source = np.ascontiguousarray(a, like=a).reshape(flat.size, a.shape[-1])
        K.embedding_cuda.add(source, flat, padding, scale if by_count else None, out)
    return record(out.astype(a.dtype, copy=False), embedding_grad_backward, (g,), (indices,), padding=padding, scale=scale)


def embedding_grad_backward(node, gg):
    """The rows again; none of the padding row."""
    indices, = node.saved_tensors
    found = _embedding(gg, indices)
    padding, scale = node.ctx["padding"], node.ctx["scale"]
    if padding >= 0:
        found = found * wrap((indices._a != padding)[..., None].astype(gg._a.dtype))
    return found * wrap(scale.reshape(*indices._a.shape, 1)) if scale.size else found


@op("embedding", namespace=F)
def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """Rows ``input`` of the table ``weight``.

    Args:
        input (Tensor): int64 or int32 indices of any shape.
        weight (Tensor): (rows, columns).
        padding_idx (int): a row that gets no gradient.
        max_norm (float): rows of a larger norm are first scaled down, in place.
        norm_type (float): of that norm.
        scale_grad_by_freq (bool): divide each row's gradient by how often it was looked up.

    Raises:
        IndexError: an index that is no row.
    """
    if padding_idx is not None:
        rows = weight._a.shape[0]
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx = padding_idx + rows if padding_idx < 0 else padding_idx
    if max_norm is not None:
        _check_indices(input, weight._a.shape[0], "embedding")
        _renormalize(weight, input, max_norm, norm_type)
    return _embedding(weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq, sparse)


@op(namespace=F)
def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean", sparse=False,
                  per_sample_weights=None, include_last_offset=False, padding_idx=None):
    """The sum, mean or maximum of the rows of each bag of indices.

    Args:
        input (Tensor): (bags, size) indices; or (n,) with ``offsets``, where each bag begins.
        weight (Tensor): (rows, columns).
        mode (str): "sum", "mean" or "max".
        per_sample_weights (Tensor): a factor for each index; for mode "sum".

    Raises:
        ValueError: offsets missing or not wanted, or an unknown mode.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError("embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
                                  f"mode='sum' (got mode='{mode}'). Please open a feature request on GitHub.")
    if input.ndim not in (1, 2):
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if input.ndim == 2 and offsets is not None:
        raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                         "sequences. However, found offsets of type " + str(type(offsets)))
    if input.ndim == 1 and offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    rows = embedding(input.reshape(-1), weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    padding = None if padding_idx is None else padding_idx % weight._a.shape[0]
    bags = _bags_on_device if weight._a.__class__ is DeviceArray else _bags
    return bags(rows, input, offsets, mode, include_last_offset, padding)


def _bags(rows, input, offsets, mode, include_last_offset, padding):
    """The rows of each bag joined by ``mode``."""
    from .join import cat, stack

    if input.ndim == 2:
        bounds = np.arange(0, input._a.size + 1, input._a.shape[1]) if input._a.shape[1] else np.zeros(len(input) + 1, int)
    else:
        bounds = offsets._a.astype(np.int64)
        if bounds.size and bounds[0] != 0:
            raise ValueError(f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
                             f"However, got {bounds[0]}")
        if not include_last_offset:
            bounds = np.append(bounds, input._a.size)
    keep = np.ones(input._a.size, bool)
    if padding is not None:
        keep = input._a.reshape(-1) != padding
    bags = []
    for low, high in zip(bounds[:-1], bounds[1:]):
        live = low + np.flatnonzero(keep[low:high])
        part = rows[low:high] if len(live) == high - low else rows[wrap(live)]
        if not len(live):
            bags.append(rows.new_zeros(rows._a.shape[1]))
        elif mode == "max":
            bags.append(part.max(0)[0])
        else:
            bags.append(part.sum(0) if mode == "sum" else part.mean(0))
    return stack(bags) if bags else cat([rows[:0]])


# ---- bags on a device ------------------------------------------------------------------------------------------------------

_MODES = {"sum": 0, "mean": 1, "max": 2}


def _bags_on_device(rows, input, offsets, mode, include_last_offset, padding):
    """The same by a kernel; the offsets are not checked, for which the host would have to wait."""
    columns = rows._a.shape[1]
    if input.ndim == 2:
        count, starts = len(input), None
    else:
        count, starts = offsets._a.size - include_last_offset, _flat(offsets)
    if not rows._a.size or count <= 0:
        return rows.new_zeros((max(count, 0), columns))
    indices, padding = _flat(input), -1 if padding is None else padding
    if mode != "max":
        return _joined(rows, indices, starts, count, padding, _MODES[mode])
    places = np.empty((count, columns), np.int64, like=indices)
    K.embedding_cuda.bags_of(_dense(rows), indices, starts, count, padding, _MODES[mode], None, places)
    places = wrap(places)
    return rows.gather(0, places.clamp(min=0)).masked_fill(places.lt(0), 0)


def _dense(t):
    return np.ascontiguousarray(t._a, like=t._a)


def _joined(rows, indices, starts, count, padding, mode):
    """Sums or means of bags of rows."""
    out = np.empty((count, rows._a.shape[1]), rows._a.dtype, like=rows._a)
    K.embedding_cuda.bags_of(_dense(rows), indices, starts, count, padding, mode, out, None)
    return record(out, bags_backward, (rows,), bags=(indices, starts, padding, mode), rows=len(rows))


@grad_name("EmbeddingBagBackward0")
def bags_backward(node, g):
    """The gradient of each bag to its rows, for means over their number."""
    return _dealt(g, *node.ctx["bags"], node.ctx["rows"])


def _dealt(g, indices, starts, padding, mode, rows):
    """The gradient of ``_joined``, itself differentiable."""
    out = np.empty((rows, g._a.shape[1]), g._a.dtype, like=g._a)
    K.embedding_cuda.bags_backward(_dense(g), indices, starts, padding, mode, out)
    return record(out, dealt_backward, (g,), bags=(indices, starts, padding, mode), count=len(g))


def dealt_backward(node, gg):
    """Bags again."""
    indices, starts, padding, mode = node.ctx["bags"]
    return _joined(gg, indices, starts, node.ctx["count"], padding, mode)
