"""``tensor[key]`` and ``tensor[key] = value``, index_put.

A key is read in two steps, as torch does. Integers, slices, None and Ellipsis come first and give one view, made by one basic
NumPy index. Index tensors and masks are left in their dims and are then applied to that view together: adjacent ones put
their common shape where they stand, separated ones put it in front. (NumPy differs: there an integer next to an index array
counts as an index array.)
"""
import warnings

import numpy as np

from .. import devices
from .. import kernels as K
from .. import shape as shapes
from .._legacy import legacy
from ..kernels._device import DeviceArray, from_host
from ..kernels._driver import OnHost
from ..op import grad_name, needs_grad, record
from ..tensor import Tensor, wrap
from .index_dim import add_rows, wrapped_index
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
            if key == 0 and not a.ndim:
                return _legacy_item(self)
            raise out_of_bounds(a, (key,)) from None
    if kind is slice:
        if not a.ndim:
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        return view_of(self, a[plain_slice(key)], _last_step((key,)), shape=a.shape, key=(key,))
    if kind is tuple:
        full, plain = key, True
        for k in key:
            t = type(k)
            if not (t is int or k is None or t is slice and (k.step is None or plain_slice(k))):
                plain = False
                break
        if plain:
            full = (*key, ...)
            try:
                part = a[full]
            except IndexError:
                raise out_of_bounds(a, [k for k in key if k is not None]) from None
            return view_of(self, part, _last_step(key), shape=a.shape, key=full)
    elif kind is Tensor and a.ndim:
        i = key._a
        if i.dtype == np.int64 and i.ndim:
            return index(self, [i])
        if i.dtype == np.bool_ and i.shape == a.shape and i.__class__ is a.__class__ and not needs_grad(self):
            return wrap(compress(a, i))
    if kind is tuple and len(key) <= a.ndim:
        for k in key:
            if type(k) is not Tensor or k._a.dtype != np.int64 or not k._a.ndim:
                break
        else:
            return index(self, [k._a for k in key])
    basic, indices = parse(key, a)
    view = self if basic is None else basic_part(self, basic)
    return view if indices is None else index(view, indices)


def _legacy_item(self):
    """``loss.data[0]``, when losses had one dim: the number; the tensor itself where its gradient may be wanted."""
    legacy("tensor[0] of a 0-dim tensor is an old spelling: use tensor.item()")
    return self if needs_grad(self) else self.item()


def basic_part(self, key):
    """The view of a basic key that ``parse`` made; its node is named after the last kind of step, as torch's chain ends."""
    a = self._a
    try:
        part = a[key]
    except IndexError:
        raise out_of_bounds(a, [k for k in key if k is not None and k is not Ellipsis]) from None
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


def out_of_bounds(a, key):
    """The IndexError of a basic key without None and Ellipsis in it."""
    if not a.ndim and len(key) == 1:
        return IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                          "convert a 0-dim tensor to a number")
    if len(key) > a.ndim:
        return IndexError(f"too many indices for tensor of dimension {a.ndim}")
    for d, (k, n) in enumerate(zip(key, a.shape)):
        if isinstance(k, int) and not -n <= k < n:
            return IndexError(f"index {k} is out of bounds for dimension {d} with size {n}")
    return IndexError(f"too many indices for tensor of dimension {a.ndim}")


def plain_slice(k):
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
            raise out_of_bounds(a, items)
        raise IndexError(f"too many indices for tensor of dimension {a.ndim}")
    basic, indices, masks, dim, plain = [], [], [], 0, True
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
            basic.append(plain_slice(k))
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
                masks.append((k, len(indices)))
                indices += columns(coordinates(k))
            else:
                indices.append(k)
            dim += _dims(k)
    if plain:
        return (*basic, ...), None
    for mask, at in masks:
        check_mask(mask, a[(*basic, ...)].shape, at)
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
        raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                         f"(got {kind.__name__})")
    if k.dtype == np.uint8:
        warnings.warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.", UserWarning,
                      stacklevel=4)
        return k.astype(np.bool_)
    if k.dtype.kind not in "biu":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return k if k.ndim else k.item()


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


def check_mask(mask, shape, at):
    for d, n in enumerate(mask.shape):
        if n != shape[at + d]:
            raise IndexError(f"The shape of the mask {list(mask.shape)} at index {d} does not match the shape of the indexed "
                             f"tensor {list(shape)} at index {at + d}")


# ---- index tensors -----------------------------------------------------------------------------------------------------------

def columns(found):
    """The columns of a matrix of coordinates as index arrays."""
    return [np.ascontiguousarray(found[:, d], like=found) for d in range(found.shape[1])]


def plan_for(a, indices):
    """The Plan of index arrays (or None) for the array ``a``; those in the host's memory are brought to its CUDA device."""
    for i in indices:
        if i.__class__ is DeviceArray and (a.__class__ is not DeviceArray or i.device != a.device):
            raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor ({devices.of(a)})")
    if a.__class__ is not DeviceArray:
        return Plan(a.shape, indices)
    return K.indexing_cuda.Plan(a.shape, [from_host(i, a.device) if isinstance(i, np.ndarray) else i for i in indices])


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
        if self.adjacent and out.flags.c_contiguous:
            target, back = self.folded(out), None
        else:       # index dims in front
            dims = [d for d, i in enumerate(self.indices) if i is not None]
            back = np.moveaxis(out, dims, range(len(dims)))
            whole = np.ascontiguousarray(back)
            target = whole.reshape(1, shapes.numel(whole.shape[:len(dims)]), -1)
            if self.adjacent:
                values = np.moveaxis(values, range(self.first, self.first + len(self.common)), range(len(self.common)))
        add_rows(target, 1, self.rows, np.ascontiguousarray(values).reshape(target.shape[0], self.rows.size, -1), 1)
        if back is not None:
            back[...] = whole

    def put(self, out, values):
        """out[indices] = values, which broadcast to the result's shape."""
        out[self.key()] = values


def index(self, indices):
    """``self`` at index arrays (see ``parse``): a new tensor.

    Small ones are left to NumPy, which takes 1 us where a plan and a kernel take 8.
    """
    a, size = self._a, 0
    for i in indices:
        if i is not None:
            size = max(size, i.size)
    if size * a.size > SMALL or a.__class__ is DeviceArray:
        plan = plan_for(a, indices)
        return record(plan.read(a), index_backward, (self,), (), plan=plan)
    try:
        out = a[tuple([_ALL if i is None else i for i in indices])]
    except (IndexError, OnHost):
        plan_for(a, indices)        # raises with torch's text
        raise
    return record(out if out.flags.c_contiguous else np.ascontiguousarray(out), index_backward, (self,), (), plan=None,
                  shape=a.shape, indices=indices)


def index_backward(node, g):
    """Gradient of index: added up where the elements came from."""
    return _index_add_zeros(g, node.ctx["plan"] or Plan(node.ctx["shape"], node.ctx["indices"]))


def _index_add_zeros(g, plan):
    out = np.zeros(plan.shape, g._a.dtype, like=g._a)
    plan.add(out, g._a)
    return record(out, _index_add_zeros_backward, (g,), (), plan=plan)


@grad_name("IndexPutBackward0")
def _index_add_zeros_backward(node, g):
    """Gradient of adding into zeros by index: index."""
    plan = node.ctx["plan"]
    return record(plan.read(g._a), index_backward, (g,), (), plan=plan)


Tensor.__getitem__ = getitem
