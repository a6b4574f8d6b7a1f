"""Copies: clone, contiguous, copy_, and filling memory."""
import warnings

import numpy as np

from .. import shape as shapes
from ..op import needs_grad, op, record
from ..tensor import Tensor, contiguous_format, preserve_format, storage_of, wrap
from ._devices import apart, beside
from ._layout import empty_in
from .inplace import check_writable, without_overlap


def clone_backward(node, g):
    """The identity."""
    return g


@op(method=True)
def clone(input, *, memory_format=preserve_format):
    """A copy with memory of its own, recorded as the identity.

    Args:
        input (Tensor): of any shape.
        memory_format: ``preserve_format`` keeps the order of dense strides, ``contiguous_format`` is row-major.
    """
    a = input._a
    if memory_format is preserve_format and a.flags.c_contiguous:
        array = a.copy()
    else:
        array = empty_in(a.shape, a.dtype, a, memory_format)
        array[...] = a
    return record(array, clone_backward, (input,))


@op(method=True)
def contiguous(input, *, memory_format=contiguous_format):
    """The tensor itself if its elements lie in row-major order, else a copy where they do."""
    if input.is_contiguous(memory_format):
        return input
    return clone(input, memory_format=contiguous_format if memory_format is preserve_format else memory_format)


def copy_backward(node, g):
    """What was there is gone; the source gets the gradient, where it is."""
    return None, g.to(node.ctx["source"]) if "source" in node.ctx else g


def _copy_(self, src, non_blocking=False):
    """Copies ``src``, broadcast and converted to this tensor's dtype, into this tensor; returns it.

    Args:
        src (Tensor): of a shape that broadcasts to this tensor's.
    """
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    if src is self:
        return self
    check_writable(self, "copy_", (src,))
    target, source = self._a, src._a
    if source.shape != target.shape:
        shape = shapes.broadcast_shapes(target.shape, source.shape)
        if shape != target.shape:
            raise RuntimeError(f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(shape)}")
    if source.dtype.kind == "c" and target.dtype.kind not in "cb":
        warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=2)
        source = source.real
    np.copyto(target, without_overlap(source, target), casting="unsafe")
    ctx = {"source": src.device} if apart(self._a, src._a) else {}
    return written(self, copy_backward, (self, src), **ctx)


def written(tensor, backward, inputs, saved=(), **ctx):
    """Says that an operation has just written ``tensor`` (``inputs[0]``) in place, and records it where need be."""
    if needs_grad(*inputs):
        from .inplace import rebase

        result = record(wrap(tensor._a), backward, inputs, saved, **ctx)
        rebase(tensor, result._fn)
    else:
        storage_of(tensor).version += 1
    return tensor


def fill_backward(node, g):
    """What was there is gone; a tensor that filled gets the sum."""
    return None, g.sum() if node.edges[1] is not None else None


def _fill_(self, value):
    """Sets every element to ``value``, a number or a 0-dim tensor; returns the tensor."""
    check_writable(self, "fill_")
    if isinstance(value, Tensor):
        if value._a.ndim:
            raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value._a.ndim} dimensions.")
        value = beside(value, self)
        np.copyto(self._a, value._a, casting="unsafe")
        return written(self, fill_backward, (self, value))
    np.copyto(self._a, np.asarray(value), casting="unsafe")
    return written(self, fill_backward, (self, None))


Tensor.copy_ = _copy_
Tensor.fill_ = _fill_
Tensor.zero_ = lambda self: _fill_(self, 0)
Tensor.zero_.__doc__ = "Sets every element to 0; returns the tensor."


def _set_data(self, source):
    """Makes this tensor show the memory of ``source``."""
    self._a, self._storage = source._a, storage_of(source)
    storage_of(self).version += 1
    return self


Tensor.set_ = _set_data


def _resize_(self, *sizes):
    """Changes the sizes; elements in row-major order stay, new ones are uninitialised."""
    from .. import shape as shapes

    shape = shapes.as_sizes(sizes)
    if self._rg:
        raise RuntimeError("cannot resize variables that require grad")
    n = shapes.numel(shape)
    old = np.ascontiguousarray(self._a, like=self._a).reshape(-1)
    if n <= old.size:
        self._a = old[:n].reshape(shape)
    else:
        self._a = np.empty(shape, old.dtype, like=old)
        self._a.reshape(-1)[:old.size] = old
        self._storage = None
    storage_of(self).version += 1
    return self


Tensor.resize_ = _resize_
Tensor.resize_as_ = lambda self, other: _resize_(self, other._a.shape)
