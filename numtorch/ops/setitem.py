"""``tensor[key] = value`` and index_put: writing through the keys that getitem reads."""
import warnings

import numpy as np

from ..kernels._device import DeviceArray
from ..op import INPLACE, grad_name, needs_grad, op, record, type_name
from ..tensor import Tensor, storage_of, wrap
from ._devices import apart, beside, two_devices
from .getitem import basic_part, check_mask, columns, index_backward, out_of_bounds, parse, plain_slice, plan_for
from .indexing import number_as, written
from .inplace import check_writable, without_overlap
from .masked import coordinates, fill_where, where


def setitem(self, key, value):
    """``self[key] = value``, broadcast and converted to the tensor's dtype."""
    a = self._a
    if isinstance(value, Tensor):
        plain = not needs_grad(self, value)
        if plain and value._a.dtype.kind == "c" and a.dtype.kind != "c":
            warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=2)
    elif isinstance(value, (int, float, complex, np.generic)):
        plain = not (self._rg or self._base is not None) or not needs_grad(self)
    elif isinstance(value, np.ndarray):
        value, plain = wrap(value), not needs_grad(self)
    else:
        raise TypeError(f"can't assign a {type(value).__name__} to a torch.{type_name(self.dtype)}Tensor")
    if type(key) is int or type(key) is slice:
        basic, indices = ((key, ...) if type(key) is int else (plain_slice(key),)), None
        if not a.ndim or type(key) is int and not -len(a) <= key < len(a):
            raise out_of_bounds(a, (key,))
    elif a.__class__ is DeviceArray and type(key) is Tensor and key._a.dtype == np.bool_ and key._a.ndim and \
            getattr(value, "ndim", 0) == 0:
        _put_where(self, key, value)
        return
    else:
        basic, indices = parse(key, a)
    if indices is not None:
        view = self if basic is None else basic_part(self, basic)
        _put(view, indices, value if isinstance(value, Tensor) else _number(value, a), False)
        return
    if plain:
        check_writable(self, "copy_")
        _assign(a[basic], value)
        storage_of(self).version += 1
        return
    view = basic_part(self, basic)
    source = value if isinstance(value, Tensor) else _number(value, a)
    check_writable(view, "copy_", (source,))
    shape = _stripped(source._a.shape, view._a.shape)
    if shape != source._a.shape:
        source = source.reshape(shape)
    _assign(view._a, source)
    written(view, copy_backward, (view, source), (), {"source": source.device})


def _number(value, a):
    """A number as a tensor without dims, of the dtype and on the device of the array ``a``."""
    number = number_as(value, a.dtype)
    return wrap(number.reshape(()) if a.__class__ is not DeviceArray else np.full((), number[0], a.dtype, like=a))


def _put_where(self, mask, value):
    """``self[mask] = value``, one element for all: on a CUDA device without waiting for the number of them."""
    check_writable(self, "index_put_", [value] if isinstance(value, Tensor) else [])
    a = self._a
    if mask._a.ndim > a.ndim:
        raise IndexError(f"too many indices for tensor of dimension {a.ndim}")
    check_mask(mask._a, a.shape, 0)
    mask = mask.to(self.device).reshape(mask._a.shape + (1,) * (a.ndim - mask._a.ndim))
    fill_where(self, mask, value, _put_where_backward)


@grad_name("IndexPutBackward0")
def _put_where_backward(node, g):
    """Gradient of overwriting by a mask: none where it was overwritten; the sum of that for the value."""
    mask, = node.saved_tensors
    gv = where(mask, g, 0).sum() if len(node.edges) > 1 and node.needs[1] else None
    return g.masked_fill(mask, 0) if node.needs[0] else None, gv


@grad_name("CopyBackwards")
def copy_backward(node, g):
    """Gradient of overwriting: none for what was there, g for the source."""
    return (wrap(np.zeros(g._a.shape, g._a.dtype, like=g._a)) if node.needs[0] else None,
            g.to(node.ctx["source"]) if node.needs[1] else None)


def _stripped(shape, target):
    """``shape`` without leading ones that ``target`` has no dim for."""
    while len(shape) > len(target) and shape[0] == 1:
        shape = shape[1:]
    return shape


def _assign(target, value):
    """target[...] = value, with torch's errors."""
    if not isinstance(value, Tensor):
        target[...] = number_as(value, target.dtype)[0]
        return
    v = value._a
    if v.__class__ is DeviceArray and target.__class__ is not DeviceArray:
        v = v.on_host()
    if v.ndim > target.ndim:
        v = v.reshape(_stripped(v.shape, target.shape))
    if v.dtype.kind == "f" and target.dtype.kind in "iu" or v.dtype.kind == "c":
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            v = v.astype(target.dtype)
    try:
        target[...] = v
    except ValueError:
        raise _cannot_expand(v.shape, target.shape) from None


def _cannot_expand(shape, target):
    if len(shape) > len(target):
        return RuntimeError(f"The number of sizes provided ({len(target)}) must be greater or equal to the number of "
                            f"dimensions in the tensor ({len(shape)})")
    extra = len(target) - len(shape)
    for d in range(len(shape) - 1, -1, -1):
        if shape[d] != 1 and shape[d] != target[extra + d]:
            return RuntimeError(f"The expanded size of the tensor ({target[extra + d]}) must match the existing size "
                                f"({shape[d]}) "
                                f"at non-singleton dimension {extra + d}.  Target sizes: {list(target)}.  Tensor sizes: "
                                f"{list(shape)}")
    raise AssertionError(f"{shape} expands to {target}")


def _put_into(out, plan, value, accumulate):
    """out[indices] = value or += value, broadcast to the indexed shape."""
    shape = plan.out_shape()
    if apart(value, out):
        raise two_devices("index_put_", out, value)
    stripped = _stripped(value.shape, shape)
    try:
        values = np.broadcast_to(value.reshape(stripped), shape)
    except ValueError:
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result "
                           f"of shape {list(shape)}") from None
    if accumulate:
        plan.add(out, values)
    else:
        plan.put(out, values)


def _put(self, indices, value, accumulate):
    """Writes by index into ``self``, recorded; returns it."""
    check_writable(self, "index_put_", (value,))
    if not value._a.ndim:
        value = beside(value, self)
    if value._a.dtype != self._a.dtype:
        value = value.to(self.dtype)
    plan = plan_for(self._a, indices)
    _put_into(self._a, plan, without_overlap(value._a, self._a), accumulate)
    return written(self, index_put_backward, (self, value), (), {"plan": plan, "accumulate": accumulate})


def index_put_backward(node, g):
    """Gradient of index_put: none where it was overwritten; the indexed elements for the value."""
    plan = node.ctx["plan"]
    gi = None
    if node.needs[0]:
        gi = g if node.ctx["accumulate"] else _index_zeroed(g, plan)
    return gi, record(plan.read(g._a), index_backward, (g,), (), plan=plan) if node.needs[1] else None


def _index_zeroed(g, plan):
    out = g._a.copy()
    plan.put(out, 0)
    return record(out, _index_zeroed_backward, (g,), (), plan=plan)


@grad_name("IndexPutBackward0")
def _index_zeroed_backward(node, g):
    """Gradient of zeroing by index: zeroing by index."""
    return _index_zeroed(g, node.ctx["plan"])


def _parse_indices(input, indices, name):
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"{name}(): argument 'indices' (position 1) must be tuple of Tensors, not {type(indices).__name__}")
    found, dim = [], 0
    for i in indices:
        if i is None:
            found.append(None)
            dim += 1
            continue
        k = i._a
        if k.dtype.kind not in "biu":
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        k = k.astype(np.bool_) if k.dtype == np.uint8 else k
        used = k.ndim if k.dtype == np.bool_ else 1
        if dim + used > input._a.ndim:
            raise IndexError(f"too many indices for tensor of dimension {input._a.ndim} (got {dim + used})")
        if k.dtype == np.bool_:
            check_mask(k, input._a.shape, dim)
            found += columns(coordinates(k))
        else:
            found.append(k)
        dim += used
    return found


@op(method=True)
def index_put(input, indices, values, accumulate=False):
    """A copy of ``input`` with out[indices] = values, or += where ``accumulate``.

    Args:
        input (Tensor): of any dtype.
        indices (tuple of Tensors or None): index tensors or masks, one for each leading dim; None: the whole dim.
        values (Tensor): of ``input``'s dtype, broadcast to the indexed shape.
        accumulate (bool): add, equal places several times, instead of overwrite.

    Raises:
        IndexError: an index is out of bounds, or shapes of indices do not match.
        RuntimeError: the dtypes differ, or ``values`` does not broadcast.

    >>> import numtorch as torch
    >>> torch.zeros(2).index_put((torch.tensor([1, 1]),), torch.tensor([2.0, 3.0]), accumulate=True)
    tensor([0., 5.])
    """
    found = _parse_indices(input, indices, "index_put")
    _check_put_dtype(input, values)
    plan = plan_for(input._a, found)
    out = input._a.copy()
    _put_into(out, plan, values._a, accumulate)
    return record(out, index_put_backward, (input, values), (), plan=plan, accumulate=accumulate)


def _check_put_dtype(input, values):
    if input._a.dtype != values._a.dtype:
        raise RuntimeError("Index put requires the source and destination dtypes match, got "
                           f"{type_name(input.dtype)} for the destination and {type_name(values.dtype)} for the source.")


def index_put_(self, indices, values, accumulate=False):
    """``index_put``, written into the tensor itself, which is returned."""
    _check_put_dtype(self, values)
    return _put(self, _parse_indices(self, indices, "index_put_"), values, accumulate)


Tensor.index_put_ = INPLACE["index_put_"] = index_put_
Tensor.__setitem__ = setitem
