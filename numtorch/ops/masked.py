"""Elements chosen by a condition: where, masked_fill, masked_select, masked_scatter, nonzero."""
import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import INPLACE, grad_name, op, record, type_name
from ..tensor import Tensor, wrap
from ._devices import apart, beside, check_devices, two_devices
from .indexing import number_as, written
from .inplace import check_writable, without_overlap

_VALUES = (Tensor, int, float, complex, np.generic)
BLOCK = 1 << 16         # elements of a mask that one task compacts


# ---- where -------------------------------------------------------------------------------------------------------------------

def operands(*values):
    """Two ``values`` (Tensors or numbers) as arrays of their common dtype, promoted by torch's ranks."""
    x, y = values
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x._a.dtype == y._a.dtype:
        return x._a, y._a
    tensors = [v.dtype for v in values if isinstance(v, Tensor) and v._a.ndim]
    zero_dims = [v.dtype for v in values if isinstance(v, Tensor) and not v._a.ndim]
    numbers = [dtypes.scalar_dtype(v) for v in values if not isinstance(v, Tensor)]
    want = dtypes.result_dtype(tensors, zero_dims, numbers)._np
    return [v._a.astype(want, copy=False) if isinstance(v, Tensor) else np.array(v, want) for v in values]


def _condition(name, tensor):
    if tensor._a.dtype == np.bool_:
        return tensor._a
    if tensor._a.dtype == np.uint8:
        return tensor._a.astype(np.bool_)
    raise RuntimeError(f"{name} expected condition to be a boolean tensor, but got a tensor with dtype "
                       f"{type_name(tensor.dtype)}")


@op(method=False, out=True)
def where(condition, input=None, other=None):
    """``input`` where ``condition``, else ``other``; with the condition alone, the indices of its True elements.

    Args:
        condition (Tensor): bool.
        input (Tensor or number): broadcast against the others.
        other (Tensor or number): broadcast against the others.

    Returns:
        A Tensor of the common shape and dtype; or a tuple of int64 Tensors, one a dim.

    Raises:
        RuntimeError: the condition is not bool, or the shapes do not broadcast.

    >>> import numtorch as torch
    >>> torch.where(torch.tensor([True, False]), torch.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if not (isinstance(input, _VALUES) and isinstance(other, _VALUES)):
        raise TypeError("where() received an invalid combination of arguments - got "
                        f"(Tensor, {type(input).__name__}, {type(other).__name__}), but expected one of:\n"
                        " * (Tensor condition)\n * (Tensor condition, Tensor input, Tensor other, *, Tensor out = None)\n"
                        " * (Tensor condition, Number self, Tensor other)\n * (Tensor condition, Tensor input, Number other)"
                        "\n * (Tensor condition, Number self, Number other)")
    c = _condition("where", condition)
    x, y = operands(input, other)
    if c.__class__ is DeviceArray or x.__class__ is DeviceArray or y.__class__ is DeviceArray:
        out = _where_on_device(c, x, y)
        input, other = beside(input, wrap(out)), beside(other, wrap(out))
    elif c.shape == x.shape == y.shape and c.flags.c_contiguous and x.flags.c_contiguous and y.flags.c_contiguous:
        out = np.empty(c.shape, x.dtype)
        raw = K.indexing.raw
        K.indexing.where(c.reshape(-1), raw(x.reshape(-1)), raw(y.reshape(-1)), raw(out.reshape(-1)))
    else:
        shapes.broadcast_shapes(c.shape, x.shape, y.shape)
        out = np.where(c, x, y)
    return record(out, where_backward, (input if isinstance(input, Tensor) else None,
                                        other if isinstance(other, Tensor) else None), (condition,))


def _where_on_device(c, x, y):
    """where with arrays on a CUDA device, or numbers of no dims in the host's memory."""
    from ._pointwise import same_device

    same_device("where", [wrap(a) for a in (c, x, y)])
    if c.__class__ is not DeviceArray:      # one condition for all
        c = np.full((), c.item(), np.bool_, like=x if x.__class__ is DeviceArray else y)
    out = np.empty(shapes.broadcast_shapes(c.shape, x.shape, y.shape), x.dtype, like=c)
    K._cuda_masks.choose(c, x, y, out)
    return out


def where_backward(node, g):
    """Gradient of where: each side has its own elements."""
    condition, = node.saved_tensors
    return (where(condition, g, 0) if node.needs[0] else None, where(condition, 0, g) if node.needs[1] else None)


Tensor.where = lambda self, condition, other: where(condition, self, other)


# ---- masks -------------------------------------------------------------------------------------------------------------------

def _fill_value(value):
    if isinstance(value, Tensor) and value._a.ndim:
        raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value._a.ndim} dimension(s).")
    return value


def _fill_run(x, mask, fill, out):
    """out = fill[0] where mask else x; out has their common shape, and may be x."""
    if x.__class__ is DeviceArray:
        K._cuda_masks.choose(mask, fill.reshape(()), x, out)
        return
    if x.flags.c_contiguous and x.shape == out.shape and mask.flags.c_contiguous and out.flags.c_contiguous:
        rest = x.shape[x.ndim - mask.ndim:]
        if mask.shape == rest and (mask.size >= 16 or mask.size == x.size > 0):
            raw, flat = K.indexing.raw, (-1, mask.size)
            K.indexing.masked_fill(raw(x).reshape(flat), mask.reshape(1, -1), raw(fill), raw(out).reshape(flat))
            return
    if out is not x:
        out[...] = x
    np.copyto(out, fill[0], where=mask)


def _check_mask(name, mask):
    if mask._a.dtype != np.bool_:
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype {_c_type(mask)}")


def _c_type(tensor):
    return {"int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char", "uint8": "unsigned char",
            "float32": "float", "float64": "double"}.get(tensor._a.dtype.name, tensor._a.dtype.name)


@op(method=True, out=True)
def masked_fill(input, mask, value):
    """``value`` where ``mask``, else ``input``.

    Args:
        input (Tensor): of any dtype.
        mask (Tensor): bool, broadcast against ``input``.
        value (number or 0-dim Tensor): converted to ``input``'s dtype.

    Raises:
        RuntimeError: the mask is not bool, the shapes do not broadcast, or ``value`` does not fit the dtype.

    >>> import numtorch as torch
    >>> torch.tensor([1.0, 2.0]).masked_fill(torch.tensor([True, False]), -1)
    tensor([-1.,  2.])
    """
    _check_mask("masked_fill_", mask)
    value = beside(_fill_value(value), input)
    a, fill = input._a, number_as(value, input._a.dtype)
    shape = a.shape if a.shape == mask._a.shape else shapes.broadcast_shapes(mask._a.shape, a.shape)
    if apart(a, mask._a):
        raise two_devices("masked_fill", a, mask._a)
    out = np.empty(shape, a.dtype, like=a)
    _fill_run(a, mask._a, fill, out)
    return _record_fill(out, input, mask, value)


def _record_fill(out, input, mask, value):
    if isinstance(value, Tensor):
        return record(out, _masked_fill_tensor_backward, (input, value), (mask,))
    return record(out, masked_fill_backward, (input,), (mask,))


def masked_fill_backward(node, g):
    """Gradient of masked_fill: none where it was filled."""
    mask, = node.saved_tensors
    return masked_fill(g, mask, 0)


@grad_name("MaskedFillBackward1")
def _masked_fill_tensor_backward(node, g):
    """Gradient of masked_fill with a tensor value: what was filled, added up."""
    mask, = node.saved_tensors
    return masked_fill(g, mask, 0) if node.needs[0] else None, where(mask, g, 0).sum() if node.needs[1] else None


def masked_fill_(self, mask, value):
    """``masked_fill``, written into the tensor itself, which is returned; the mask may not be larger than it."""
    check_writable(self, "masked_fill_", [value] if isinstance(value, Tensor) else [])
    _check_mask("masked_fill_", mask)
    return fill_where(self, mask, value, _masked_fill_tensor_backward if isinstance(value, Tensor) else masked_fill_backward)


def fill_where(self, mask, value, backward):
    """Writes ``value`` into the tensor where ``mask``, recorded with ``backward``; returns the tensor."""
    value = beside(_fill_value(value), self)
    fill = number_as(value, self._a.dtype)
    check_devices("masked_fill_", self, mask)
    shape = shapes.broadcast_shapes(self._a.shape, mask._a.shape)
    if shape != self._a.shape:
        raise RuntimeError(f"output with shape {list(self._a.shape)} doesn't match the broadcast shape {list(shape)}")
    _fill_run(self._a, mask._a, fill, self._a)
    return written(self, backward, (self, value) if isinstance(value, Tensor) else (self,), (mask,), {})


Tensor.masked_fill_ = INPLACE["masked_fill_"] = masked_fill_


def _ends(mask):
    """The running number of True elements of a flat mask at the end of each block."""
    ends = np.empty(max(1, -(-mask.size // BLOCK)), np.int64)
    K.indexing.count_nonzero_blocks(mask, BLOCK, ends)
    return ends


def compress(x, mask):
    """The elements of ``x`` where ``mask``, in order; arrays of one shape."""
    if x.__class__ is DeviceArray:
        return K._cuda_masks.compress(x, mask)
    flat = np.ascontiguousarray(mask).reshape(-1)
    ends = _ends(flat)
    out = np.empty(int(ends[-1]), x.dtype)
    raw = K.indexing.raw
    K.indexing.masked_select(flat, raw(np.ascontiguousarray(x).reshape(-1)), BLOCK, ends, raw(out))
    return out


@op(method=True, out=True)
def masked_select(input, mask):
    """The elements of ``input`` where ``mask``, as a vector, in the order they lie in.

    Args:
        input (Tensor): of any dtype.
        mask (Tensor): bool, broadcast against ``input``.

    Raises:
        RuntimeError: the mask is not bool, or the shapes do not broadcast.

    >>> import numtorch as torch
    >>> x = torch.tensor([[1, 5], [7, 2]])
    >>> torch.masked_select(x, x > 3)
    tensor([5, 7])
    """
    if mask._a.dtype != np.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    check_devices("masked_select", input, mask)
    shape = shapes.broadcast_shapes(input._a.shape, mask._a.shape)
    x, m = np.broadcast_to(input._a, shape), np.broadcast_to(mask._a, shape)
    return record(compress(x, m), masked_select_backward, (input,), (mask,), shape=shape)


def masked_select_backward(node, g):
    """Gradient of masked_select: back to the places of the mask, zeros elsewhere."""
    mask, = node.saved_tensors
    return masked_scatter_zeros(g, np.broadcast_to(mask._a, node.ctx["shape"]))


def masked_scatter_zeros(g, mask):
    """Zeros of the mask's shape with the elements of ``g``, a vector, where the mask is True."""
    out = np.zeros(mask.shape, g._a.dtype, like=g._a)
    if out.__class__ is DeviceArray:
        K._cuda_masks.scatter(out, mask, g._a, out, "masked_select")
    else:
        out[mask] = g._a
    return record(out, _masked_scatter_zeros_backward, (g,), (), mask=mask)


@grad_name("MaskedScatterBackward0")
def _masked_scatter_zeros_backward(node, g):
    """Gradient of masked_scatter_zeros: masked_select."""
    return masked_select(g, wrap(node.ctx["mask"]))


def _scatter_run(x, mask, source, out):
    """out = x, but where mask the next element of source; out C-contiguous, perhaps x itself."""
    if out.__class__ is DeviceArray:
        K._cuda_masks.scatter(x, mask, source, out, "masked_scatter")
        return
    flat = np.ascontiguousarray(mask).reshape(-1)
    ends = _ends(flat)
    if int(ends[-1]) > source.size:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    raw = K.indexing.raw
    values = raw(np.ascontiguousarray(source).reshape(-1))
    K.indexing.masked_scatter(flat, values, BLOCK, ends, raw(np.ascontiguousarray(x).reshape(-1)), raw(out).reshape(-1))


def _check_scatter(input, mask, source):
    _check_mask("masked_scatter_", mask)
    check_devices("masked_scatter", input, mask, source)
    if input._a.dtype != source._a.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got"
                           f"{type_name(input.dtype)} and {type_name(source.dtype)}")


@op(method=True)
def masked_scatter(input, mask, source):
    """A copy of ``input`` in which the elements where ``mask`` are those of ``source``, in order.

    Args:
        input (Tensor): of any dtype.
        mask (Tensor): bool, broadcast against ``input``.
        source (Tensor): of ``input``'s dtype, at least as many elements as the mask has True.

    Raises:
        RuntimeError: dtypes or shapes do not fit, or ``source`` has too few elements.

    >>> import numtorch as torch
    >>> torch.zeros(3).masked_scatter(torch.tensor([True, False, True]), torch.tensor([4.0, 5.0]))
    tensor([4., 0., 5.])
    """
    _check_scatter(input, mask, source)
    shape = shapes.broadcast_shapes(input._a.shape, mask._a.shape)
    out = np.empty(shape, input._a.dtype, like=input._a)
    _scatter_run(np.broadcast_to(input._a, shape), np.broadcast_to(mask._a, shape), source._a, out)
    return record(out, masked_scatter_backward, (input, source), (mask,), shape=source._a.shape)


def masked_scatter_backward(node, g):
    """Gradient of masked_scatter: none where it was written; those elements for the source."""
    mask, = node.saved_tensors
    shape = node.ctx["shape"]
    gs = None
    if node.needs[1]:
        gs = masked_select(g, mask)
        spare = shapes.numel(shape) - gs._a.size
        if spare:
            from .join import cat

            gs = cat([gs, wrap(np.zeros(spare, gs._a.dtype, like=gs._a))])
        gs = gs.reshape(shape)
    return masked_fill(g, mask, 0) if node.needs[0] else None, gs


def masked_scatter_(self, mask, source):
    """``masked_scatter``, written into the tensor itself, which is returned; the mask may not be larger than it."""
    check_writable(self, "masked_scatter_", (source,))
    _check_scatter(self, mask, source)
    shape = shapes.broadcast_shapes(self._a.shape, mask._a.shape)
    if shape != self._a.shape:
        raise RuntimeError(f"output with shape {list(self._a.shape)} doesn't match the broadcast shape {list(shape)}")
    target = self._a if self._a.flags.c_contiguous else np.empty(shape, self._a.dtype, like=self._a)
    _scatter_run(self._a, np.broadcast_to(mask._a, shape), without_overlap(source._a, target), target)
    if target is not self._a:
        self._a[...] = target
    return written(self, masked_scatter_backward, (self, source), (mask,), {"shape": source._a.shape})


Tensor.masked_scatter_ = INPLACE["masked_scatter_"] = masked_scatter_


# ---- nonzero -----------------------------------------------------------------------------------------------------------------

def coordinates(a):
    """The coordinates of the elements of ``a`` that are not zero: int64 (count, ndim)."""
    mask = a if a.dtype == np.bool_ else a != 0
    if not mask.ndim:
        return np.empty((int(mask.item()), 0), np.int64, like=a)
    if a.__class__ is DeviceArray:
        return K._cuda_masks.coordinates(mask)
    flat = np.ascontiguousarray(mask).reshape(-1)
    ends = _ends(flat)
    out = np.empty((int(ends[-1]), mask.ndim), np.int64)
    if out.size:
        K.indexing.nonzero(flat, np.array(mask.shape), BLOCK, ends, out)
    return out


@op(method=True, out=True)
def nonzero(input, *, as_tuple=False):
    """The indices of the elements that are not zero, in row-major order.

    Args:
        input (Tensor): of any dtype.
        as_tuple (bool): one vector a dim, as indexing takes them, instead of one matrix.

    Returns:
        An int64 Tensor (count, ndim), or a tuple of ndim vectors.

    >>> import numtorch as torch
    >>> torch.nonzero(torch.tensor([[0, 7], [8, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    if as_tuple:
        a = input._a.reshape(1) if not input._a.ndim else input._a
        found = coordinates(a)
        return tuple(wrap(np.ascontiguousarray(found[:, d], like=a)) for d in range(a.ndim))
    return wrap(coordinates(input._a))


@op(method=True)
def argwhere(input):
    """``nonzero(input)``: an int64 Tensor (count, ndim)."""
    return nonzero(input)
