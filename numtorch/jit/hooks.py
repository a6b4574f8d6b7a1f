"""What is done, while a trace runs, with each call of the library's functions: most are recorded, some mean more."""
import types

import numpy as np

from .. import op as op_module
from ..autograd.function import Function as AutogradFunction
from ..nn.modules.module import Module
from ..op import put_out
from ..shape import Size
from ..tensor import Tensor
from . import functions, library, numbers
from . import types as T
from .annotations import tracing
from .indexing import plan
from .tracer import CONVERSION, _plain, tensor_type

_TRANSPARENT = frozenset(("aten::triplet_margin_with_distance_loss", "aten::new"))
_CONSTANTS = ("tensor", "as_tensor", "from_numpy", "asarray", "frombuffer")
_REGISTERED = ("{} results are registered as constants in the trace. You can safely ignore this warning if you use this "
               "function to "
               "create tensors out of constant variables that would be the same every time you call this function. In any other "
               "case, this might cause the trace to be incorrect.")
_ITERATION = ("Iterating over a tensor might cause the trace to be incorrect. Passing a tensor of different shape won't change "
              "the "
              "number of iterations executed (and might lead to errors or silently give incorrect results).")
_LENGTH = ("Using len to get tensor shape might cause the trace to be incorrect. Recommended usage would be tensor.shape[0]. "
           "Passing "
           "a tensor of different shape might lead to errors or silently give incorrect results.")
_CONVERSIONS = {"__bool__": "boolean", "__int__": "integer", "__float__": "float", "__complex__": "complex", "__index__": "index",
                "item": "number", "tolist": "list"}
_OPAQUE = ("__repr__", "__format__", "__deepcopy__", "__reduce_ex__", "backward", "__contains__")


def handlers():
    """(function, handler) of everything that a trace looks at."""
    found, seen = [], set()

    def add(fn, handler):
        if id(fn) not in seen:
            seen.add(id(fn))
            found.append((fn, _guarded(handler)))
    add(Module.__call__, _module)
    add(op_module.write_out, _out)
    add(AutogradFunction.apply.__func__, _autograd_function)
    own = vars(Tensor)
    for name, handler in (("__getitem__", _getitem), ("__setitem__", _setitem), ("__iter__", _iter), ("__len__", _len),
                          ("size", _size), ("numel", _numel), ("numpy", _numpy), ("__array__", _numpy)):
        add(own[name], handler)
    add(own["shape"].fget, _shape)
    for name, kind in _CONVERSIONS.items():
        add(own[name], _converting(kind))
    for name in _OPAQUE:
        add(own[name], lambda state, original, args, kwargs: state.run(original, args, kwargs))
    for name in _CONSTANTS:
        add(functions.by_kind("aten::" + name).call, _constant("torch." + name))
    add(functions.by_kind("aten::numel").call, _numel)
    for key, fn in functions.table().originals.items():
        function = functions.table().raw[key]
        if isinstance(fn, types.FunctionType) and function.kind not in _TRANSPARENT:
            add(fn, _recording(function))
    return found


def _guarded(handler):
    """A handler that is passed by outside the trace: inside operations, and in other threads."""
    def guarded(original, args, kwargs):
        state = tracing[0]
        if state is None or state.depth or not state.is_here():
            return original(*args, **kwargs)
        return handler(state, original, args, kwargs)
    return guarded


def _recording(function):
    return lambda state, original, args, kwargs: state.record(function, original, args, kwargs)


# ---- modules, autograd functions, out= -----------------------------------------------------------------------------------

_REPLACED = None


def _module(state, original, args, kwargs):
    """A call of a module. Layers whose forward looks at sizes are run by the forward that scripts use."""
    global _REPLACED
    module, *rest = args
    if _REPLACED is None:
        from .. import nn
        from ..nn.modules import instancenorm

        _REPLACED = (*library.recurrent_classes, instancenorm._InstanceNorm, nn.Transformer, nn.TransformerEncoder,
                     nn.TransformerDecoder)
    replaced = None
    if isinstance(module, _REPLACED) and rest and "forward" not in module.__dict__:
        replaced = library.method(type(module), "forward")
    if replaced is None:
        return state.enter(module, original, rest, kwargs)
    module.__dict__["forward"] = types.MethodType(replaced, module)
    try:
        return state.enter(module, original, rest, kwargs)
    finally:
        del module.__dict__["forward"]


def _autograd_function(state, original, args, kwargs):
    """A user's autograd.Function: one node that calls it, which cannot be saved."""
    cls, *rest = args
    result = state.run(original, args, kwargs)
    state.depth += 1
    values = [state.value(a) for a in rest]
    state.output_of_python(cls.apply, cls.__name__, values, result)
    state.depth -= 1
    return result


def _out(state, original, args, kwargs):
    """``f(..., out=t)``: the operation, and a copy of its result into ``t``."""
    name, fn, arguments, options, out = args
    result = fn(*arguments, **options)
    targets, sources = (out, result) if isinstance(out, (tuple, list)) else ((out,), (result,))
    for target, source in zip(targets, sources):
        resized = target.shape != source.shape
        state.depth += 1
        put_out(name, target, source._a)
        state.write(target, source, resized)
        state.depth -= 1
    return out


# ---- what Python makes of a tensor -----------------------------------------------------------------------------------------

def _converting(kind):
    def handler(state, original, args, kwargs):
        state.warn_conversion(kind)
        return state.run(original, args, kwargs)
    return handler


def _numpy(state, original, args, kwargs):
    state.warn(CONVERSION.format("NumPy array").replace("Python NumPy", "NumPy"))
    return state.run(original, args, kwargs)


def _constant(shown):
    def handler(state, original, args, kwargs):
        found = state.run(original, args, kwargs)
        if not (args and args[0] is found):
            state.warn(_REGISTERED.format(shown))
        return found
    return handler


def _sized(state, t, k, d):
    """A size of a tensor as a traced number."""
    number = numbers.TracedInt(d)
    return state.record_number("aten::size", (t, k), number)


def _shape(state, original, args, kwargs):
    t, = args
    return tuple.__new__(Size, [_sized(state, t, k, d) for k, d in enumerate(t._a.shape)])


def _size(state, original, args, kwargs):
    plain = state.run(original, args, kwargs)
    if isinstance(plain, Size):
        return _shape(state, original, args[:1], {})
    dim = numbers.plain(kwargs.get("dim", args[1] if len(args) > 1 else None))
    return _sized(state, args[0], dim, plain)


def _numel(state, original, args, kwargs):
    t = args[0] if args else kwargs["input"]
    return state.record_number("aten::numel", (t,), numbers.TracedInt(t._a.size))


def _len(state, original, args, kwargs):
    state.warn(_LENGTH)
    return state.run(original, args, kwargs)


def _iter(state, original, args, kwargs):
    t, = args
    if t._a.ndim:
        state.warn(_ITERATION)
    return iter(t.unbind(0)) if t._a.ndim else original(t)


# ---- indexing --------------------------------------------------------------------------------------------------------------

def _entries(key):
    """The entries of a key as ``plan`` takes them, and their payloads."""
    kinds, payloads = [], []
    if isinstance(key, list) and any(isinstance(k, (slice, Tensor, list, tuple, type(None))) for k in key):
        key = tuple(key)
    for k in key if isinstance(key, tuple) else (key,):
        if k is None or k is Ellipsis:
            kinds.append("none" if k is None else "ellipsis")
        elif isinstance(k, slice):
            kinds.append("full" if k.start is k.stop is k.step is None else "slice")
        elif isinstance(k, numbers.Traced) or isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            kinds.append("int")
            k = int(k) if isinstance(k, np.integer) else k
        elif isinstance(k, Tensor) and not k._a.ndim and k._a.dtype.kind in "iu":
            kinds.append("int")
        else:
            kinds.append("tensor")
            if isinstance(k, (bool, np.ndarray, np.bool_, range)):
                k = _as_index(k)
        payloads.append(k)
    return kinds, payloads


def _as_index(k):
    from ..ops.create import as_tensor

    return as_tensor(list(k) if isinstance(k, range) else k)


def _indexed(state, value, key):
    """The Value of the view that a key's plain entries make, and of its index tensors, or None."""
    kinds, payloads = _entries(key)
    steps, indices = plan(kinds)
    for name, dim, place in steps:
        dim, entry = state.constant(dim), payloads[place]
        if name == "select":
            index = state.value(entry)
            if isinstance(entry, Tensor):
                index = state.emit("aten::Int", (index,), T.INT)
            value = state.emit("aten::select", (value, dim, index), T.TENSOR)
        elif name == "slice":
            bounds = [entry.start, entry.stop, 1 if entry.step is None else entry.step]
            bounds = [(b, state.value(b)) for b in bounds]
            bounds = [state.emit("aten::Int", (v,), T.INT) if isinstance(b, Tensor) else v for b, v in bounds]
            value = state.emit("aten::slice", (value, dim, *bounds), T.TENSOR)
        else:
            value = state.emit("aten::unsqueeze", (value, dim), T.TENSOR)
    if indices is None:
        return value, None
    entries = [state.constant(i, T.ANY) if i is Ellipsis else state.constant(None) if i is None else state.value(payloads[i])
               for i in indices]
    return value, state.emit("prim::ListConstruct", entries, T.list_of(T.optional(T.TENSOR)))


def _getitem(state, original, args, kwargs):
    t, key = args
    result = state.run(original, (t, key), {})
    state.depth += 1
    try:
        start = state.value(t)
        value, indices = _indexed(state, start, key)
        if indices is not None:
            value = state.emit("aten::index", (value, indices), T.TENSOR)
        elif value is start:                    # x[...]: a view of the whole
            value = state.emit("aten::slice", (value, state.constant(0), state.constant(None), state.constant(None),
                                               state.constant(1)), T.TENSOR) if t._a.ndim else state.emit(
                "aten::view", (value, state.constant([])), T.TENSOR)
        value.type = tensor_type(result)
        state.bind(result, value)
    finally:
        state.depth -= 1
    return result


def _setitem(state, original, args, kwargs):
    t, key, found = args
    state.depth += 1
    try:
        start = state.writable(t)               # before it is written
        original(t, *_plain((key, found)))
        source = state.value(_as_index(found) if isinstance(found, np.ndarray) else found)
        value, indices = _indexed(state, start, key)
        if indices is None:
            made = state.emit("aten::assign_", (value, source), T.TENSOR)
        else:
            made = state.emit("aten::assign_index_", (value, indices, source), T.TENSOR)
        if value is start:
            state.bind(t, made)
    finally:
        state.depth -= 1


