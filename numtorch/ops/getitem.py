"""``tensor[key]`` and ``tensor[key] = value``, index_put.

A key is read in two steps, as torch does. Integers, slices, None and Ellipsis come first and give one view, made by one basic
NumPy index. Index tensors and masks are left in their dims and are then applied to that view together: adjacent ones put
their common shape where they stand, separated ones put it in front. (NumPy differs: there an integer next to an index array
counts as an index array.)
"""
import warnings

import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..op import INPLACE, grad_name, needs_grad, op, record
from ..tensor import Tensor, storage_of, wrap
from .index_dim import add_rows, wrapped_index
from .indexing import number_as, written
from .inplace import check_writable, without_overlap
from .masked import compress, coordinates
from .view import select_backward, slice_backward, view_of

_ALL = slice(None)
SMALL = 1 << 14         # elements of tensor times indices


# ---- reading a key -----------------------------------------------------------------------------------------------------------

def getitem(self, key):
    """``self[key]``: a view for integers, slices, None and Ellipsis; a copy where index tensors or masks take part."""
    kind, a = type(key), self._a
    if kind is int:
        try:
            return view_of(self, a[key, ...], select_backward, shape=a.shape, key=(key, ...))
        except IndexError:
            raise _out_of_bounds(a, (key,)) from None
    if kind is slice:
        return view_of(self, a[_slice(key)], slice_backward, shape=a.shape, key=(key,))
    if kind is tuple:
        full, plain = key, True
        for k in key:
            t = type(k)
            if not (t is int or k is None or t is slice and (k.step is None or _slice(k))):
                plain = False
                break
        if plain:
            full = (*key, ...)
            try:
                part = a[full]
            except IndexError:
                raise _out_of_bounds(a, [k for k in key if k is not None]) from None
            return view_of(self, part, _last_step(key), shape=a.shape, key=full)
    elif kind is Tensor and a.ndim:
        i = key._a
        if i.dtype == np.int64 and i.ndim:
            return index(self, [i])
        if i.dtype == np.bool_ and i.shape == a.shape and not needs_grad(self):
            return wrap(compress(a, i))
    if kind is tuple and len(key) <= a.ndim:
        for k in key:
            if type(k) is not Tensor or k._a.dtype != np.int64 or not k._a.ndim:
                break
        else:
            return index(self, [k._a for k in key])
    basic, indices = parse(key, a)
    view = self if basic is None else _basic(self, basic)
    return view if indices is None else index(view, indices)


def _basic(self, key):
    """The view of a basic key that ``parse`` made; its node is named after the last kind of step, as torch's chain ends."""
    a = self._a
    try:
        part = a[key]
    except IndexError:
        raise _out_of_bounds(a, [k for k in key if k is not None and k is not Ellipsis]) from None
    return view_of(self, part, _last_step(key), shape=a.shape, key=key)


def _last_step(key):
    """The backward of a basic key's view, named after the last entry that does something, as the last of torch's chain."""
    for k in reversed(key):
        if type(k) is int:
            return select_backward
        if k is None:
            return _new_dim_backward
        if k is not Ellipsis and (k.start is not None or k.stop is not None or k.step is not None):
            return slice_backward
    return _alias_backward


@grad_name("UnsqueezeBackward0")
def _new_dim_backward(node, g):
    """Gradient of a key that ends in None."""
    return slice_backward(node, g)


@grad_name("AliasBackward0")
def _alias_backward(node, g):
    """Gradient of ``x[:]`` and ``x[...]``."""
    return g


def _out_of_bounds(a, key):
    """The IndexError of a basic key without None and Ellipsis in it."""
    if not a.ndim:
        return IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert "
                          "a 0-dim tensor to a number")
    if len(key) > a.ndim:
        return IndexError(f"too many indices for tensor of dimension {a.ndim}")
    for d, (k, n) in enumerate(zip(key, a.shape)):
        if isinstance(k, int) and not -n <= k < n:
            return IndexError(f"index {k} is out of bounds for dimension {d} with size {n}")
    return IndexError(f"too many indices for tensor of dimension {a.ndim}")


def _slice(k):
    """A slice of plain ints; torch's errors for steps that are not positive."""
    if k.step is not None:
        step = k.step.__index__() if hasattr(k.step, "__index__") else k.step
        if step == 0:
            raise ValueError("slice step cannot be zero")
        if step < 0:
            raise ValueError("step must be greater than zero")
    for bound in (k.start, k.stop):
        if bound is not None and not hasattr(bound, "__index__"):
            raise TypeError("slice indices must be integers or None or have an __index__ method")
    return k


def parse(key, a):
    """``key`` as (a basic NumPy key or None, index arrays or None).

    The index arrays are a list with one entry a dim of the view that the basic key gives: integer arrays, not yet checked, or
    None for a whole dim.
    """
    if type(key) is list and len(key) < 32 and any(
            k is None or k is Ellipsis or isinstance(k, (slice, Tensor, list, tuple, range, np.ndarray)) for k in key):
        warnings.warn("Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of "
                      "x[seq]", UserWarning, stacklevel=3)
        key = tuple(key)
    items = key if isinstance(key, tuple) else (key,)
    items = [_item(k) for k in items]
    used = sum(_dims(k) for k in items)
    if used > a.ndim:
        if not a.ndim and type(items[0]) is int:
            raise _out_of_bounds(a, items)
        raise IndexError(f"too many indices for tensor of dimension {a.ndim}")
    basic, indices, dim, plain = [], [], 0, True
    for k in items:
        if k is None:
            basic.append(None)
            indices.append(None)
        elif k is Ellipsis:
            span = a.ndim - used
            used = a.ndim
            basic += [_ALL] * span
            indices += [None] * span
            dim += span
        elif type(k) is int:
            n = a.shape[dim]
            if not -n <= k < n:
                raise IndexError(f"index {k} is out of bounds for dimension {dim} with size {n}")
            basic.append(k)
            dim += 1
        elif type(k) is slice:
            basic.append(_slice(k))
            indices.append(None)
            dim += 1
        elif type(k) is bool:
            basic.append(None)
            indices.append(np.zeros(1 if k else 0, np.int64))
            plain = False
        else:
            plain = False
            if k.dtype == np.bool_ and k.ndim == 0:
                basic.append(None)
                indices.append(np.zeros(1 if k else 0, np.int64))
                continue
            basic += [_ALL] * _dims(k)
            if k.dtype == np.bool_:
                _check_mask(k, a.shape, dim, len(indices))
                found = coordinates(k)
                indices += [np.ascontiguousarray(found[:, d]) for d in range(k.ndim)]
            else:
                indices.append(k)
            dim += _dims(k)
    if plain:
        return (*basic, ...), None
    while indices and indices[-1] is None:
        indices.pop()
    return (None if all(k is _ALL or k == _ALL for k in basic) else (*basic, ...)), indices


def _item(k):
    """One entry of a key as None, Ellipsis, int, bool, slice, or an int64-like or bool array."""
    kind = type(k)
    if k is None or k is Ellipsis or kind is int or kind is slice or kind is bool:
        return k
    if isinstance(k, Tensor):
        k = k._a
    elif isinstance(k, (list, tuple, range)):
        k = _array(k)
    elif not isinstance(k, (np.ndarray, np.generic)):
        if hasattr(k, "__index__"):
            return k.__index__()
        if isinstance(k, str):
            raise TypeError("new(): invalid data type 'str'")
        raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
                         f"{kind.__name__})")
    if k.dtype == np.uint8:
        warnings.warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.", UserWarning,
                      stacklevel=4)
        return k.astype(np.bool_)
    if k.dtype.kind not in "biu":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if not k.ndim and k.dtype != np.bool_:
        return int(k)
    return bool(k) if not k.ndim else k


def _array(sequence):
    """A nested sequence of ints, bools and 0-dim tensors as an array; an empty one counts as integers."""
    def plain(s):
        return [plain(e) if isinstance(e, (list, tuple, range)) else e._a if isinstance(e, Tensor) else e for e in s]
    found = np.array(plain(sequence))
    return found if found.size else found.astype(np.int64)


def _dims(k):
    """How many dims of the tensor an entry of a key uses."""
    if k is None or k is Ellipsis or type(k) is bool:
        return 0
    if type(k) is int or type(k) is slice:
        return 1
    return k.ndim if k.dtype == np.bool_ else 1


def _check_mask(mask, shape, dim, at):
    for d, n in enumerate(mask.shape):
        if n != shape[dim + d]:
            raise IndexError(f"The shape of the mask {list(mask.shape)} at index {d} does not match the shape of the indexed "
                             f"tensor {list(shape)} at index {at + d}")


# ---- index tensors -----------------------------------------------------------------------------------------------------------

class Plan:
    """Index arrays applied to a tensor of some shape: which dims, where the result's dims go, and the flat row numbers."""

    __slots__ = ("adjacent", "common", "count", "first", "indices", "rows", "shape")

    def __init__(self, shape, indices):
        dims = [d for d, i in enumerate(indices) if i is not None]
        indices = [i if i is None else wrapped_index(np.ascontiguousarray(i, np.int64).reshape(i.shape), shape[d], d)
                   for d, i in enumerate(indices)]
        arrays = [indices[d] for d in dims]
        try:
            self.common = np.broadcast_shapes(*(i.shape for i in arrays))
        except ValueError:
            raise IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes "
                             + ", ".join(str(list(i.shape)) for i in arrays)) from None
        self.shape, self.indices, self.first, self.count = shape, indices, dims[0], len(dims)
        self.adjacent = dims[-1] - dims[0] + 1 == len(dims)
        rows = None
        for d, i in zip(dims, arrays):
            rows = i if rows is None else rows * shape[d] + i
        self.rows = np.ascontiguousarray(np.broadcast_to(rows, self.common)).reshape(-1)

    def key(self):
        """The NumPy key."""
        return tuple(_ALL if i is None else i for i in self.indices)

    def out_shape(self):
        """The shape of the result."""
        rest = [n for d, n in enumerate(self.shape) if d >= len(self.indices) or self.indices[d] is None]
        at = self.first if self.adjacent else 0
        return (*rest[:at], *self.common, *rest[at:])

    def folded(self, a):
        """``a``, contiguous and with adjacent index dims, as (outer, rows, inner)."""
        end = self.first + self.count
        return a.reshape(shapes.numel(a.shape[:self.first]), shapes.numel(a.shape[self.first:end]), shapes.numel(a.shape[end:]))

    def read(self, a):
        """The indexed elements of ``a`` as a new array."""
        if not self.adjacent or not a.flags.c_contiguous:
            return np.ascontiguousarray(a[self.key()])
        out = np.empty(self.out_shape(), a.dtype)
        if out.size:
            raw = K.indexing.raw
            outer = shapes.numel(a.shape[:self.first])
            K.indexing.index_select(raw(self.folded(a)), self.rows, raw(out.reshape(outer, self.rows.size, -1)))
        return out

    def add(self, out, values):
        """out[indices] += values, of the result's shape; equal places add up in order."""
        if not values.size:
            return
        self.first + self.count
        if self.adjacent and out.flags.c_contiguous:
            target, back = self.folded(out), None
        else:       # index dims in front
            dims = [d for d, i in enumerate(self.indices) if i is not None]
            back = np.moveaxis(out, dims, range(len(dims)))
            whole = np.ascontiguousarray(back)
            target = whole.reshape(1, shapes.numel(whole.shape[:len(dims)]), -1)
            if self.adjacent:
                values = np.moveaxis(values, range(self.first, self.first + len(self.common)), range(len(self.common)))
        add_rows(target, np.ascontiguousarray(values).reshape(target.shape[0], self.rows.size, -1), self.rows, 1)
        if back is not None:
            back[...] = whole


def index(self, indices):
    """``self`` at index arrays (see ``parse``): a new tensor.

    Small ones are left to NumPy, which takes 1 us where a plan and a kernel take 8.
    """
    a, size = self._a, 0
    for i in indices:
        if i is not None:
            size = max(size, i.size)
    if size * a.size > SMALL:
        plan = Plan(a.shape, indices)
        return record(plan.read(a), index_backward, (self,), (), plan=plan)
    try:
        out = a[tuple([_ALL if i is None else i for i in indices])]
    except IndexError:
        Plan(a.shape, indices)      # raises with torch's text
        raise
    return record(out if out.flags.c_contiguous else np.ascontiguousarray(out), index_backward, (self,), (), plan=None,
                  shape=a.shape, indices=indices)


def index_backward(node, g):
    """Gradient of index: added up where the elements came from."""
    return _index_add_zeros(g, node.ctx["plan"] or Plan(node.ctx["shape"], node.ctx["indices"]))


def _index_add_zeros(g, plan):
    out = np.zeros(plan.shape, g._a.dtype)
    plan.add(out, g._a)
    return record(out, _index_add_zeros_backward, (g,), (), plan=plan)


@grad_name("IndexPutBackward0")
def _index_add_zeros_backward(node, g):
    """Gradient of adding into zeros by index: index."""
    plan = node.ctx["plan"]
    return record(plan.read(g._a), index_backward, (g,), (), plan=plan)


# ---- assignment --------------------------------------------------------------------------------------------------------------

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
        from ..op import type_name

        raise TypeError(f"can't assign a {type(value).__name__} to a torch.{type_name(self.dtype)}Tensor")
    if type(key) is int or type(key) is slice:
        basic, indices = ((key, ...) if type(key) is int else (_slice(key),)), None
        if not a.ndim or type(key) is int and not -len(a) <= key < len(a):
            raise _out_of_bounds(a, (key,))
    else:
        basic, indices = parse(key, a)
    if indices is not None:
        view = self if basic is None else _basic(self, basic)
        _put(view, indices, value if isinstance(value, Tensor) else wrap(number_as(value, a.dtype).reshape(())), False)
        return
    if plain:
        check_writable(self, "copy_")
        _assign(a[basic], value)
        storage_of(self).version += 1
        return
    view = _basic(self, basic)
    source = value if isinstance(value, Tensor) else wrap(number_as(value, a.dtype).reshape(()))
    check_writable(view, "copy_", (source,))
    shape = _stripped(source._a.shape, view._a.shape)
    if shape != source._a.shape:
        source = source.reshape(shape)
    _assign(view._a, source)
    written(view, copy_backward, (view, source), (), {})


@grad_name("CopyBackwards")
def copy_backward(node, g):
    """Gradient of overwriting: none for what was there, g for the source."""
    return wrap(np.zeros(g._a.shape, g._a.dtype)) if node.needs[0] else None, g if node.needs[1] else None


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
        return RuntimeError(f"The number of sizes provided ({len(target)}) must be greater or equal to the number of dimensions "
                            f"in the tensor ({len(shape)})")
    extra = len(target) - len(shape)
    for d in range(len(shape) - 1, -1, -1):
        if shape[d] != 1 and shape[d] != target[extra + d]:
            return RuntimeError(f"The expanded size of the tensor ({target[extra + d]}) must match the existing size ({shape[d]}) "
                                f"at non-singleton dimension {extra + d}.  Target sizes: {list(target)}.  Tensor sizes: "
                                f"{list(shape)}")
    raise AssertionError(f"{shape} expands to {target}")


def _put_into(out, plan, value, accumulate):
    """out[indices] = value or += value, broadcast to the indexed shape."""
    shape = plan.out_shape()
    stripped = _stripped(value.shape, shape)
    try:
        values = np.broadcast_to(value.reshape(stripped), shape)
    except ValueError:
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result "
                           f"of shape {list(shape)}") from None
    if accumulate:
        plan.add(out, values)
    else:
        out[plan.key()] = values


def _put(self, indices, value, accumulate):
    """Writes by index into ``self``, recorded; returns it."""
    check_writable(self, "index_put_", (value,))
    if value._a.dtype != self._a.dtype:
        value = value.to(self.dtype)
    plan = Plan(self._a.shape, indices)
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
    out = np.array(g._a, order="C")
    out[plan.key()] = 0
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
            _check_mask(k, input._a.shape, dim, dim)
            places = coordinates(k)
            found += [np.ascontiguousarray(places[:, d]) for d in range(k.ndim)]
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
    plan = Plan(input._a.shape, found)
    out = np.array(input._a, order="C")
    _put_into(out, plan, values._a, accumulate)
    return record(out, index_put_backward, (input, values), (), plan=plan, accumulate=accumulate)


def _check_put_dtype(input, values):
    if input._a.dtype != values._a.dtype:
        from ..op import type_name

        raise RuntimeError("Index put requires the source and destination dtypes match, got "
                           f"{type_name(input.dtype)} for the destination and {type_name(values.dtype)} for the source.")


def index_put_(self, indices, values, accumulate=False):
    """``index_put``, written into the tensor itself, which is returned."""
    _check_put_dtype(self, values)
    return _put(self, _parse_indices(self, indices, "index_put_"), values, accumulate)


Tensor.index_put_ = INPLACE["index_put_"] = index_put_
Tensor.__getitem__ = getitem
Tensor.__setitem__ = setitem
