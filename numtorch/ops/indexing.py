"""Gather, scatter, and selecting or writing entries of one dim by index.

A tensor and a dim are seen by the kernels as (outer, n, inner). Operations that write by index are declared once, by
``writes``, as a function that writes into an array: applied to a copy it is the operation, applied to the tensor's own memory
its in-place form.

On a CUDA device several sources of one place are added up in any order, and where they overwrite it any one of them stays. An
index out of range is passed over there, and reported as a RuntimeError by the next call that waits for the device.
"""
import functools
import inspect
import math

import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import INPLACE, attach, explaining, grad_name, needs_grad, op, record
from ..tensor import Tensor, storage_of, wrap
from ._devices import apart, check_devices, two_devices
from .inplace import check_writable, rebase, without_overlap

_INDEX_KINDS = {np.dtype(np.int64), np.dtype(np.int32)}


# ---- helpers of all index operations -----------------------------------------------------------------------------------------

def fold(a, dim):
    """``a`` as a C-contiguous (outer, n, inner) around ``dim``."""
    if not a.flags.c_contiguous:
        a = np.ascontiguousarray(a, like=a)
    shape = a.shape
    if len(shape) == 2:
        return a[:, :, None] if dim else a[None]
    if len(shape) == 1:
        return a[None, :, None]
    if not shape:
        return a.reshape(1, 1, 1)
    return a.reshape(shapes.numel(shape[:dim]), shape[dim], shapes.numel(shape[dim + 1:]))


def index_array(index, name, like, dtypes_text="int32/int64"):
    """An index tensor's elements as int64, contiguous in the host's memory; ``like``: the indexed array, of the same device."""
    a = index._a
    if (a.__class__ is not np.ndarray or like.__class__ is not np.ndarray) and apart(a, like):
        raise two_devices(name, like, a)
    if a.dtype == np.int64 and (a.flags.c_contiguous or a.__class__ is DeviceArray):
        return a
    if a.dtype not in _INDEX_KINDS:
        raise RuntimeError(f"{name}(): Expected dtype {dtypes_text} for index")
    return np.ascontiguousarray(a, np.int64, like=a).reshape(a.shape)


def check_range(index, n, dim, error=RuntimeError):
    """Raises ``error`` with torch's text unless every element is in [0, n). On a CUDA device kernels check, and report later."""
    if index.size and index.__class__ is not DeviceArray and K.indexing.classify(index.reshape(-1), n):
        raise out_of_range(index, n, dim, error)


def out_of_range(index, n, dim, error=RuntimeError):
    """The error of an index array that has an element outside [0, n)."""
    bad = index[(index < 0) | (index >= n)].reshape(-1)[0]
    return error(f"index {bad} is out of bounds for dimension {dim} with size {n}")


def arithmetic(a):
    """``a`` in the dtype that kernels add in: halves as float32, integers and bool as int64."""
    kind = a.dtype.kind
    if kind in "biu":
        return a.astype(np.int64, copy=False)
    return a.astype(np.float32) if a.dtype.itemsize == 2 else a


def add_into(out, kernel, *args):
    """Runs ``kernel(*args, sums)`` on ``out``, C-contiguous, in the dtype that it adds in; returns what it returns."""
    sums = arithmetic(out)
    bad = kernel(*args, sums)
    if sums is not out:
        out[...] = sums
    return bad


def number_as(value, np_dtype):
    """A one-element array of ``value`` (a number or a Tensor of one element); RuntimeError where it does not fit."""
    if isinstance(value, Tensor):
        return value._a.reshape(1).astype(np_dtype)
    if np_dtype.kind == "f" and type(value) is not complex:
        return np.array((value,), np_dtype)
    try:
        if np_dtype.kind in "iu" and isinstance(value, float) and not math.isfinite(value):
            raise OverflowError
        if np_dtype.kind != "c" and isinstance(value, complex):
            raise RuntimeError(f"value cannot be converted to type {_c_name(np_dtype)} without overflow")
        if np_dtype.kind in "iu" and not isinstance(value, complex):
            limits = np.iinfo(np_dtype)
            if not (limits.min or -limits.max) <= int(value) <= limits.max:
                raise OverflowError
        return np.array([value]).astype(np_dtype)
    except (OverflowError, ValueError):
        raise RuntimeError(f"value cannot be converted to type {_c_name(np_dtype)} without overflow") from None


def _c_name(np_dtype):
    return {"float32": "float", "float64": "double", "bool": "bool", "float16": "at::Half",
            "bfloat16": "at::BFloat16"}.get(np_dtype.name, np_dtype.name + "_t")


def writes(name=None, out=True):
    """Declares an operation that copies its first argument and writes into the copy; and its in-place form.

    The decorated function gets the array to write into, then the operation's own arguments; it returns what ``record`` takes:
    backward, inputs (the written tensor first), saved tensors, ctx. It checks everything before it writes.
    """
    def declare(fn):
        own = name or fn.__name__

        @functools.wraps(fn)
        def functional(input, *args, **kwargs):
            target = input._a.copy()
            backward, inputs, saved, ctx = fn(target, input, *args, **kwargs)
            return record(target, backward, inputs, saved, **ctx)

        def in_place(self, *args, **kwargs):
            check_writable(self, own + "_", [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)])
            target = self._a if self._a.flags.c_contiguous or self._a.__class__ is DeviceArray else np.ascontiguousarray(self._a)
            backward, inputs, saved, ctx = fn(target, self, *args, **kwargs)
            if target is not self._a:
                self._a[...] = target.reshape(self._a.shape)
            return written(self, backward, inputs, saved, ctx)

        signature = inspect.signature(fn)
        functional.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        in_place.__name__ = in_place.__qualname__ = own + "_"
        in_place.__doc__ = f"``{own}``, written into the tensor itself, which is returned."
        in_place = explaining(own + "_", in_place, 1, functional)
        setattr(Tensor, own + "_", in_place)
        INPLACE[own + "_"] = in_place
        return op(own, method=True, out=out)(functional)
    return declare


def written(tensor, backward, inputs, saved, ctx):
    """Records an in-place write that has just been done to ``tensor``, the first of ``inputs``; returns the tensor."""
    if needs_grad(*inputs):
        result = wrap(tensor._a)
        attach((result,), backward, inputs, saved, ctx)
        if result._fn is not None:
            rebase(tensor, result._fn)
            return tensor
    storage_of(tensor).version += 1
    return tensor


# ---- gather and scatter ------------------------------------------------------------------------------------------------------

def _check_shapes(name, input, dim, index, src=None):
    """The wrapped dim, after torch's checks of gather's and scatter's shapes."""
    shape, want = input._a.shape, index._a.shape
    dim = shapes.wrap_dim(dim, len(shape))
    if not index._a.size:
        return dim
    if max(len(shape), 1) != max(len(want), 1):
        what = "Index tensor must have the same number of dimensions as "
        raise RuntimeError(what + ("input tensor" if name == "gather" else "self tensor"))
    if src is not None and max(src._a.ndim, 1) != max(len(want), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    bad = -1
    for d, (n, m) in enumerate(zip(want, shape)):
        if n > m and d != dim:
            bad = d
            break
    if src is None and bad >= 0:
        raise RuntimeError(f"Size does not match at dimension {bad} expected index {list(want)} to be no larger than self "
                           f"{list(shape)} apart from dimension {dim}")
    if src is not None:
        for n, m in zip(want, src._a.shape):
            if n > m:
                bad = 0
        if bad >= 0:
            raise RuntimeError(f"Expected index {list(want)} to be no larger than self {list(shape)} apart from dimension "
                               f"{dim} and to be no larger size than src {list(src._a.shape)}")
    return dim


def _part(a, shape, dim=None):
    """The leading part of ``a`` that has ``shape``, ``dim`` left whole."""
    if a.shape == shape:
        return a
    a, shape = a if a.ndim else a.reshape(1), shape or (1,)
    for d, n in enumerate(shape):
        if n != a.shape[d] and d != dim:
            return a[tuple([slice(None if e == dim else m) for e, m in enumerate(shape)])]
    return a


@op(method=True, out=True)
def gather(input, dim, index, *, sparse_grad=False):
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on: elements picked along ``dim``.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim along which is picked.
        index (Tensor): int64, as many dims as ``input``, no larger than it in the other dims.
        sparse_grad (bool): accepted; the gradient is always dense.

    Returns:
        A Tensor of ``index``'s shape.

    Raises:
        RuntimeError: shapes do not fit, or an index is out of bounds.

    >>> import numtorch as torch
    >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    a = input._a
    i = index_array(index, "gather", a)
    dim = _check_shapes("gather", input, dim, index)
    out = np.empty(i.shape, a.dtype, like=a)
    if a.__class__ is DeviceArray:
        K.indexing_cuda.take(a, dim, i, out, "gather")
    elif i.size:
        raw, part = K.indexing.raw, _part(a, i.shape, dim)
        if i.ndim == 2 and dim == 1:
            bad = K.indexing.gather_rows(i, raw(part if part.flags.c_contiguous else np.ascontiguousarray(part)), raw(out))
        else:
            bad = K.indexing.gather(fold(i, dim), raw(fold(part, dim)), raw(fold(out, dim)))
        if bad:
            raise out_of_range(i, a.shape[dim] if a.ndim else 1, dim)
    return record(out, gather_backward, (input,), (index,), dim=dim, shape=a.shape)


def gather_backward(node, g):
    """Gradient of gather: added up where it was picked."""
    index, = node.saved_tensors
    return _scatter_add_zeros(g, node.ctx["shape"], node.ctx["dim"], index)


def _scatter_add_zeros(g, shape, dim, index):
    out = np.zeros(shape, g._a.dtype, like=g._a)
    _scatter_run(out, dim, index_array(index, "scatter_add", out), g._a, "add")
    return record(out, _scatter_add_zeros_backward, (g,), (index,), dim=dim)


@grad_name("ScatterAddBackward0")
def _scatter_add_zeros_backward(node, g):
    """Gradient of adding into zeros by index: gather."""
    index, = node.saved_tensors
    return gather(g, node.ctx["dim"], index)


def _scatter_run(out, dim, index, source, how):
    """Combines ``source`` with the part of ``out`` that ``index``'s shape reaches: by "set", "add", "prod", "amax" or "amin".

    Raises where an index is out of range.
    """
    if not index.size:
        return
    if out.__class__ is DeviceArray:
        K.indexing_cuda.put(how, out, dim, index, source, "scatter")
        return
    part = _part(out, index.shape, dim)
    whole = part if part.flags.c_contiguous else np.ascontiguousarray(part)
    source, kernels = fold(_part(source, index.shape), dim), K.indexing
    if how == "set":
        bad = kernels.scatter(fold(index, dim), kernels.raw(source), kernels.raw(fold(whole, dim)))
    else:
        kernel = kernels.scatter_add if how == "add" else kernels.scatter_prod if how == "prod" else kernels.scatter_extreme
        bad = add_into(fold(whole, dim), kernel, fold(index, dim), arithmetic(source),
                       *((how == "amax",) if kernel is kernels.scatter_extreme else ()))
    if bad:
        raise out_of_range(index, whole.shape[dim] if whole.ndim else 1, dim)
    if whole is not part:
        part[...] = whole


def _filled(value, like, shape):
    """``value`` as an array of ``shape`` and ``like``'s dtype."""
    if like.__class__ is DeviceArray:
        shape = ()
    return np.full(shape, number_as(value, like.dtype)[0], like.dtype, like=like)


@writes()
def scatter(out, input, dim, index, src=None, *, value=None, reduce=None):
    """A copy of ``input`` with out[index[i][j]][j] = src[i][j] for dim 0, and so on; of several sources the last one stays.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim along which is written.
        index (Tensor): int64, no larger than ``src``, nor than ``input`` in the other dims.
        src (Tensor or number): the elements, of ``input``'s dtype; or ``value``, one number for all.
        reduce (str): "add" or "multiply": combine with what is there.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or an index is out of bounds.

    >>> import numtorch as torch
    >>> torch.zeros(3).scatter(0, torch.tensor([2, 0]), torch.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    if src is not None and not isinstance(src, Tensor):
        src, value = None, src
    if src is None and value is None:
        raise TypeError("scatter() missing 1 required positional arguments: \"src\"")
    if reduce is not None and reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    i = index_array(index, "scatter", out)
    dim = _check_shapes("scatter", input, dim, index, src)
    if src is not None:
        check_devices("scatter", input, src)
    if src is not None and src._a.dtype != out.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    source = without_overlap(src._a, out) if src is not None else _filled(value, out, i.shape)
    inputs, ctx = (input,), {"dim": dim}
    if src is not None:
        inputs, ctx["shape"] = (input, src), src._a.shape
    if reduce is None:
        _scatter_run(out, dim, i, source, "set")
        return scatter_backward if src is not None else _scatter_value_backward, inputs, (index,), ctx
    if reduce == "add":
        _scatter_run(out, dim, i, source, "add")
        return scatter_add_backward, inputs, (index,), ctx
    _scatter_run(out, dim, i, source, "prod")
    return _scatter_multiply_backward, inputs, (), {}


def _scatter_multiply_backward(node, g):
    """torch has no gradient here either."""
    raise RuntimeError("derivative for aten::scatter with reduce='multiply' is not implemented; use scatter_reduce with 'prod'")


def scatter_backward(node, g):
    """Gradient of scatter: the written places belong to the source."""
    index, = node.saved_tensors
    dim = node.ctx["dim"]
    return (scatter(g, dim, index, value=0) if node.needs[0] else None,
            _source_gradient(g, dim, index, node.ctx["shape"]) if node.needs[1] else None)


def _source_gradient(g, dim, index, shape):
    """The gathered gradient; a source larger than the index has zeros where it was not used."""
    found = gather(g, dim, index)
    if index._a.shape == shape:
        return found
    from .view import slice_scatter_zeros

    return slice_scatter_zeros(found, shape, tuple(slice(0, n) for n in index._a.shape))


@grad_name("ScatterBackward1")
def _scatter_value_backward(node, g):
    """Gradient of scattering a number: none where it was written."""
    index, = node.saved_tensors
    return scatter(g, node.ctx["dim"], index, value=0)


@writes()
def scatter_add(out, input, dim, index, src):
    """A copy of ``input`` with out[index[i][j]][j] += src[i][j] for dim 0, and so on, in the order of i.

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim along which is added.
        index (Tensor): int64, no larger than ``src``, nor than ``input`` in the other dims.
        src (Tensor): of ``input``'s dtype.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or an index is out of bounds.

    >>> import numtorch as torch
    >>> torch.zeros(2).scatter_add(0, torch.tensor([1, 1]), torch.tensor([5.0, 6.0]))
    tensor([ 0., 11.])
    """
    i = index_array(index, "scatter", out)
    dim = _check_shapes("scatter_add", input, dim, index, src)
    check_devices("scatter_add", input, src)
    if src._a.dtype != out.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    _scatter_run(out, dim, i, without_overlap(src._a, out), "add")
    return scatter_add_backward, (input, src), (index,), {"dim": dim, "shape": src._a.shape}


def scatter_add_backward(node, g):
    """Gradient of scatter_add: g for the input, gathered for the source."""
    index, = node.saved_tensors
    if len(node.edges) == 1:
        return g
    return g, _source_gradient(g, node.ctx["dim"], index, node.ctx["shape"]) if node.needs[1] else None


@writes()
def scatter_reduce(out, input, dim, index, src, reduce, *, include_self=True):
    """A copy of ``input`` in which the sources of each place are combined: "sum", "prod", "mean", "amax" or "amin".

    Args:
        input (Tensor): of any dtype.
        dim (int): the dim along which is written.
        index (Tensor): int64, no larger than ``src``, nor than ``input`` in the other dims.
        src (Tensor): of ``input``'s dtype.
        reduce (str): how elements are combined.
        include_self (bool): whether ``input``'s own element takes part.

    Raises:
        RuntimeError: shapes or dtypes do not fit, an index is out of bounds, or ``reduce`` is none of the five.

    >>> import numtorch as torch
    >>> torch.ones(2).scatter_reduce(0, torch.tensor([1, 1]), torch.tensor([5.0, 6.0]), "amax")
    tensor([1., 6.])
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    i = index_array(index, "scatter", out)
    dim = _check_shapes("scatter_reduce", input, dim, index, src)
    check_devices("scatter_reduce", input, src)
    if src._a.dtype != out.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    check_range(i, out.shape[dim] if out.ndim else 1, dim)
    source, saved_input = without_overlap(src._a, out), input
    if out is input._a and needs_grad(input, src):
        saved_input = wrap(input._a.copy())       # backward needs the values before the write
    if not include_self:
        _scatter_run(out, dim, i, _filled(_neutral(reduce, out.dtype), out, i.shape), "set")
    _scatter_run(out, dim, i, source, "add" if reduce in ("sum", "mean") else reduce)
    if reduce == "mean":
        counts = np.full(out.shape, int(include_self), np.int64, like=out)
        _scatter_run(counts, dim, i, _filled(1, counts, i.shape), "add")
        counts = wrap(counts).clamp_min(1)._a
        if out.dtype.kind not in "iu":
            out[...] = (wrap(out) / wrap(counts))._a
        elif out.__class__ is DeviceArray:
            K.pointwise_cuda.run("div_floor_integral", ("int64",) * 3, [out.astype(np.int64), counts], counts)
            out[...] = counts
        else:
            out[...] = out // counts
    result = wrap(out.copy()) if reduce in ("amax", "amin") and needs_grad(input, src) else None
    return scatter_reduce_backward, (input, src), (saved_input, index, src, result), {
        "dim": dim, "reduce": reduce, "include_self": include_self}


_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def _neutral(reduce, np_dtype):
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    largest = reduce == "amin"
    if np_dtype.kind == "b":
        return largest
    if np_dtype.kind in "iu":
        limits = np.iinfo(np_dtype)
        return int(limits.max if largest else limits.min)
    return float("inf") if largest else float("-inf")


def scatter_reduce_backward(node, g):
    """Gradient of scatter_reduce, as torch's ``scatter_reduce_backward``: equal extremes share."""
    input, index, src, _ = node.saved_tensors
    dim, reduce, include_self = node.ctx["dim"], node.ctx["reduce"], node.ctx["include_self"]
    shape, used = src._a.shape, tuple(slice(0, n) for n in index._a.shape)
    if shape != index._a.shape:
        src = src[used]
    gi, gs = _REDUCE_BACKWARD[reduce](node, g, input, src, index, dim, include_self)
    if shape != index._a.shape:
        from .view import slice_scatter_zeros

        gs = slice_scatter_zeros(gs, shape, used)
    if not include_self and gi is not None:
        gi = scatter(gi, dim, index, value=0)
    return gi, gs


def _reduce_sum_backward(node, g, input, src, index, dim, include_self):
    return g, gather(g, dim, index)


def _reduce_mean_backward(node, g, input, src, index, dim, include_self):
    counts = wrap(np.full(g._a.shape, int(include_self), g._a.dtype, like=g._a)).scatter_add(
        dim, index, wrap(np.ones_like(src._a)))
    counts = counts.masked_fill(counts == 0, 1)
    return g / counts, gather(g, dim, index) / gather(counts, dim, index)


def _reduce_extreme_backward(node, g, input, src, index, dim, include_self):
    result = node.saved_tensors[3]
    mine, theirs = (input == result).to(g.dtype), (src == gather(result, dim, index)).to(g.dtype)
    share = g / scatter_add(mine, dim, index, theirs)
    return mine * share, theirs * gather(share, dim, index)


def _reduce_prod_backward(node, g, input, src, index, dim, include_self):
    without = input.masked_fill(input == 0, 1)
    gi = g * scatter_reduce(without, dim, index, src, "prod", include_self=include_self) / without
    zero = src == 0
    zeros = gather(_scatter_add_zeros(zero.to(src.dtype), input._a.shape, dim, index), dim, index)
    single = zero & (zeros == 1)
    others = scatter_reduce(input, dim, index, src.masked_fill(single, 1), "prod", include_self=include_self)
    result = scatter_reduce(input, dim, index, src, "prod", include_self=include_self)
    from .masked import where

    gs = where(single, gather(g * others, dim, index), gather(g * result, dim, index) / src.masked_fill(zero, 1))
    return gi, gs


_REDUCE_BACKWARD = {"sum": _reduce_sum_backward, "mean": _reduce_mean_backward, "amax": _reduce_extreme_backward,
                    "amin": _reduce_extreme_backward, "prod": _reduce_prod_backward}


from .join import cat, stack  # noqa: E402, F401 - ops.view takes them from here
