"""In-place writes and autograd: which are allowed, and how they rewrite the history of a tensor, its base and its views."""
import numpy as np

from .. import dtypes
from ..autograd.grad_mode import mode
from ..autograd.node import new, next_number, node_class
from ..op import grad_name, record, type_name
from ..tensor import edge_of, grad_fn_of, storage_of


def check_writable(tensor, name, others=()):
    """Raises torch's error if an in-place operation may not write ``tensor``."""
    if mode.enabled:
        if tensor._rg and grad_fn_of(tensor) is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if tensor._base is not None and tensor._base._rg and grad_fn_of(tensor._base) is None:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
        if tensor._made and (tensor._rg or tensor._base._rg or any(t._rg for t in others)):
            raise RuntimeError(_not_written_on_the_tape(tensor))
        if tensor._inference and not mode.inference and any(t._rg for t in others):
            raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone "
                               "to get a normal tensor before doing inplace update.")
    array = tensor._a
    if not array.flags.writeable:
        raise RuntimeError(f"{name}: the tensor's memory is read-only; clone() the tensor before performing the operation")
    if array.size and 0 in array.strides and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape)):
        raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single memory "
                           "location. Please clone() the tensor before performing the operation.")


def _not_written_on_the_tape(view):
    """torch's words for the write to a view whose place in its base the tape does not know."""
    node = grad_fn_of(view)
    of = ("A view was created in no_grad mode and is being modified inplace with grad mode enabled. " if node is None else
          f"Output {view._nr} of {node.name().removesuffix('Backward0')} is a view and is being modified inplace. ")
    if view._made == "many":
        return of + ("This view is the output of a function that returns multiple views. Such functions do not allow the output "
                     "views to be modified inplace. You should replace the inplace operation by an out-of-place one.")
    return of + ("Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving "
                 "both the view and the inplace either both inside the no_grad block (if you don't want the inplace to be "
                 "tracked) or both outside (if you want the inplace to be tracked).")


def without_overlap(array, target):
    """``array``, or a copy of it where it shares memory with ``target`` other than element for element."""
    if array is target or not np.may_share_memory(array, target):
        return array
    if array.shape == target.shape and array.strides == target.strides and array.ctypes.data == target.ctypes.data:
        return array
    return array.copy()


def assign(tensor, result, name):
    """Writes ``result`` (a Tensor, perhaps on the tape) into ``tensor`` and gives ``tensor`` its history; returns it."""
    target, array = tensor._a, result._a
    if array.shape != target.shape:
        raise RuntimeError(f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(array.shape)}")
    if array.dtype != target.dtype:
        have, want = dtypes._from_np[array.dtype], tensor.dtype
        if not dtypes.can_cast(have, want):
            raise RuntimeError(f"result type {type_name(have)} can't be cast to the desired output type {type_name(want)}")
    np.copyto(target, array, casting="unsafe")
    if result._fn is not None:
        if array.dtype != target.dtype:
            from .convert import to_numpy_dtype

            result = to_numpy_dtype(result, target.dtype)
        rebase(tensor, result._fn, result._nr)
    else:
        storage_of(tensor).version += 1
    return tensor


def rebase(tensor, node, number=0):
    """Says that ``node`` wrote ``tensor`` in place: it becomes its history, through the base if it is a view."""
    storage = storage_of(tensor)
    storage.version += 1
    storage.rebased += 1
    if tensor._base is None:
        tensor._fn, tensor._nr, tensor._rg = node, number, True
        return
    base = tensor._base
    write = new(CopySlices)
    previous = edge_of(base)
    write.edges = (previous, *node.edges[1:])
    write.numbers = (base._nr, *node.numbers[1:])
    write.fixes = ((base._a.shape, base._a.dtype), *node.fixes[1:]) if node.fixes is not None else None
    write.seq, write.saved, write.versions, write.outs, write.hooks, write.stack = next_number(), (), (), 1, None, None
    write.ctx = {"inner": node, "geometry": geometry(tensor), "canvas": canvas(base._a), "number": number}
    base._fn, base._nr, base._rg = write, 0, True
    tensor._rg = True


def geometry(view):
    """(shape, strides, offset) of a view in elements, from its base's first element."""
    base = view._base._a
    size = base.itemsize
    return (view._a.shape, tuple(s // size for s in view._a.strides), (view._a.ctypes.data - base.ctypes.data) // size)


def canvas(base):
    """None for a contiguous array; else (elements that it spans, shape, strides in elements): its gradient is laid out so too."""
    if base.flags.c_contiguous:
        return None
    strides = tuple(s // base.itemsize for s in base.strides)
    return 1 + sum((n - 1) * s for n, s in zip(base.shape, strides)), base.shape, strides


def regenerate(view):
    """Gives a view a new node that reads it from its base, whose history has changed."""
    view._seen_rebased = view._storage.rebased
    base = view._base
    if not base._rg or base._fn is None:
        return
    from .view import as_strided_backward

    view._rg = True
    previous, mode.enabled = mode.enabled, True
    try:
        if base._a.flags.c_contiguous:
            record(view, as_strided_backward, (base,), geometry=geometry(view), base_shape=base._a.shape)
        else:
            record(view, strided_base_backward, (base,), geometry=geometry(view), canvas=canvas(base._a))
    finally:
        mode.enabled = previous
    view._nr = 0


@grad_name("AsStridedBackward0")
def strided_base_backward(node, g):
    """Gradient of a view of a base that is not contiguous."""
    from .view import as_strided
    from .view_parts import spread_over

    span, *lying = node.ctx["canvas"]
    return as_strided(spread_over(g, (span,), node.ctx["geometry"]), *lying)


def _copy_slices(node, g):
    """The gradient of a base of which ``inner`` has rewritten a part: inner's gradient in that part, ``g`` elsewhere."""
    from .view import as_strided, as_strided_scatter
    from .view_parts import spread_over

    inner, (shape, strides, offset) = node.ctx["inner"], node.ctx["geometry"]
    span, *lying = node.ctx["canvas"] or (None,)
    g = spread_over(g, (span,), (*lying, 0)) if lying else g.contiguous()
    part = as_strided(g, shape, strides, offset).clone()
    if inner.outs > 1:
        gs = [None] * inner.outs
        gs[node.ctx["number"]] = part
        results = inner.backward_function(inner, *gs)
    else:
        results = inner.backward_function(inner, part)
    results = results if isinstance(results, tuple) else (results,)
    whole = None
    if node.edges[0] is not None:
        own = results[0] if results[0] is not None else part.new_zeros(shape)
        whole = as_strided_scatter(g, own, shape, strides, offset)
        if lying:
            whole = as_strided(whole, *lying)
    return (whole, *results[1:])


CopySlices = node_class(_copy_slices, "CopySlices")


