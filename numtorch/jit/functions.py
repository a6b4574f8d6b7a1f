"""Which Python function a node's kind means, and which kind a Python function is recorded as.

Built at the first use of jit from the registry of operations, Tensor's methods, and nn.functional. A kind is ``aten::`` and the
name of the operation; ``nn::`` is for a function of nn.functional that differs from torch's function of the same name.
"""
import inspect
import types

from .. import op as _op
from ..nn.utils import rnn
from ..op import INPLACE, OPS
from ..tensor import Tensor
from . import types as T

_OP = vars(_op)
_EMPTY = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# of Tensor, what is no operation: it runs as it is while tracing, or means something of its own there
_NOT_RECORDED = frozenset("dim ndimension get_device is_floating_point is_complex is_signed is_contiguous is_set_to is_inference "
                          "is_shared is_pinned element_size storage untyped_storage storage_offset stride data_ptr backward "
                          "register_hook register_post_accumulate_grad_hook retain_grad item tolist numpy cuda "
                          "share_memory_ set_ new_tensor".split())
_RECORDED_PROPERTIES = ("T", "H", "mT", "mH", "data", "grad")


class Function:
    """An operation as graphs know it.

    Attributes:
        kind (str): the kind of its nodes.
        call: the Python function.
        public: the same with ``out=``, where it has that.
        parameters (tuple of inspect.Parameter): one for each input of a node; ``out``, where given, is one more input.
    """

    __slots__ = ("kind", "call", "public", "parameters", "names")

    def __init__(self, kind, call, public, parameters):
        self.kind, self.call, self.public = kind, call, public
        self.parameters = tuple(p for p in _without_rest(kind, parameters) if p.name != "out")
        self.names = tuple(p.name for p in self.parameters)

    def __repr__(self):
        return f"<{self.kind}>"

    def bind(self, args, kwargs):
        """The arguments of a call by parameter: a dict in the order of ``parameters``, without those left to defaults.

        Raises:
            TypeError: they do not fit.
        """
        for p in self.parameters:
            if p.kind is p.VAR_POSITIONAL and p.name in kwargs:
                kwargs = dict(kwargs)
                args = (*args, kwargs.pop(p.name))
        return _signature(self).bind(*args, **kwargs).arguments


def _parameter(name, default=_EMPTY, kind=inspect.Parameter.POSITIONAL_OR_KEYWORD):
    return inspect.Parameter(name, kind, default=default)


def _parameters(call, names):
    """The parameters that a line such as ``"input dim= *rest"`` names; defaults are those of ``call`` where it has any."""
    try:
        known = inspect.signature(call).parameters
    except ValueError:                          # written in C
        known = {}
    for name in names.split():
        if name.startswith("*"):
            yield _parameter(name[1:], kind=inspect.Parameter.VAR_POSITIONAL)
        elif name.endswith("="):
            default = known[name[:-1]].default if name[:-1] in known else None
            yield _parameter(name[:-1], None if default is _EMPTY else default)
        else:
            yield _parameter(name)


def _without_rest(kind, parameters):
    """The parameters with names in place of ``**options``."""
    parameters = list(parameters)
    if kind.endswith("_with_indices"):          # that of the plain pooling, by its own default
        plain = OPS["nn.functional." + kind[len("aten::"):-len("_with_indices")]].fn
        parameters = [p.replace(default=True) if p.name == "return_indices" else p
                      for p in inspect.signature(plain).parameters.values()]
    elif kind == "aten::rrelu_":
        parameters = [_parameter("input"), _parameter("lower", 0.125), _parameter("upper", 1 / 3), _parameter("training", False)]
    for p in parameters:
        if p.kind is not p.VAR_KEYWORD:
            yield p
        elif p.name == "options":
            for name, default in (("layout", None), ("device", None), ("requires_grad", False), ("pin_memory", False)):
                yield _parameter(name, default, inspect.Parameter.KEYWORD_ONLY)


_signatures = {}


def _signature(function):
    found = _signatures.get(function.kind)
    if found is None:
        found = _signatures[function.kind] = inspect.Signature(function.parameters)
    return found


class _Table:
    """All functions: ``kinds`` maps a kind to its Function, ``raw`` the id of a Python function to its Function.

    ``originals`` holds those Python functions, whose calls a trace records.
    """

    def __init__(self):
        self.kinds, self.raw, self.methods, self.originals = {}, {}, {}, {}
        for op in OPS.values():
            if op.namespace == "torch":
                self.add("aten::" + op.name, op.fn)
        for op in OPS.values():
            if op.namespace == "Tensor":
                self.add("aten::" + op.name, op.fn)
            elif op.namespace not in ("torch", "nn.functional"):
                self.add(f"aten::{op.namespace.replace('.', '_')}_{op.name}", op.fn)
        for key, twin in INPLACE.items():
            if "." not in key:
                self.add_twin("aten::" + key, twin, "aten::" + key[:-1])
        self._functional()
        self._tensor()
        for name in ("pack_padded_sequence", "pad_packed_sequence", "pack_sequence", "pad_sequence", "invert_permutation"):
            self.add("aten::" + name, getattr(rnn, name))
        from . import _natives

        for kind, (call, names) in _natives.KINDS.items():
            replaced = self.kinds.get(kind)
            function = self.kinds[kind] = Function(kind, call, call, _parameters(call, names))
            for key in [k for k, f in self.raw.items() if f is replaced and replaced is not None]:
                self.raw[key] = function
            for name in [n for n, f in self.methods.items() if f is replaced and replaced is not None]:
                self.methods[name] = function
            if getattr(call, "__module__", None) == _natives.__name__:
                self.note(call, function)
        for name in "dim item tolist is_contiguous stride element_size storage_offset get_device backward".split():
            self.methods[name] = self.kinds["aten::" + name]
        self.methods.update(ndimension=self.kinds["aten::dim"], nelement=self.kinds["aten::numel"])

    def add(self, kind, fn):
        raw = unwrap(fn)
        known = self.raw.get(id(raw))
        if known is not None:                   # an alias
            self.kinds.setdefault(kind, known)
        elif kind not in self.kinds:
            self.kinds[kind] = self.note(raw, Function(kind, raw, fn, inspect.signature(fn).parameters.values()))
        return self.raw.get(id(raw))

    def note(self, raw, function):
        """Says that calls of ``raw`` are calls of ``function``."""
        self.raw[id(raw)], self.originals[id(raw)] = function, raw
        return function

    def add_twin(self, kind, fn, plain):
        """An in-place form, whose signature may be that of the plain function."""
        raw = unwrap(fn)
        if id(raw) in self.raw or kind in self.kinds:
            self.kinds.setdefault(kind, self.raw.get(id(raw)))
            return
        parameters = list(inspect.signature(fn).parameters.values())
        if any(p.kind in _VARIADIC for p in parameters) and plain in self.kinds:
            parameters = self.kinds[plain].parameters
        self.kinds[kind] = self.note(raw, Function(kind, raw, fn, parameters))

    def _functional(self):
        from ..nn import functional as F

        own = {n: f for n, f in vars(F).items() if isinstance(f, types.FunctionType) and not n.startswith("_")}
        for op in OPS.values():                 # the plain forms of the activations that F extends by ``inplace``
            if op.namespace == "nn.functional" and "aten::" + op.name not in self.kinds:
                raw = unwrap(op.fn)
                if own.get(op.name) is not None and unwrap(own[op.name]) is not raw:
                    self.add("aten::" + op.name, op.fn)
        for key, twin in INPLACE.items():
            if key.startswith("nn.functional."):
                name = key.rpartition(".")[2]
                self.add_twin("aten::" + name, twin, "aten::" + name[:-1])
        for name, fn in {**own, "_canonical_mask": F._canonical_mask}.items():
            taken = "aten::" + name in self.kinds and self.kinds["aten::" + name].call is not unwrap(fn)
            self.add(("nn::" if taken else "aten::") + name, fn)

    def _tensor(self):
        for name, fn in vars(Tensor).items():
            if isinstance(fn, types.FunctionType):
                raw = unwrap(fn)
                if id(raw) in self.raw:
                    self.methods[name] = self.raw[id(raw)]
                elif not name.startswith("_") and name not in _NOT_RECORDED:
                    taken = self.kinds.get("aten::" + name)
                    if taken is not None:       # the operation by its function's name, which a method wraps
                        self.methods[name] = taken
                        self.note(raw, taken)
                    elif name.endswith("_"):
                        self.add_twin("aten::" + name, fn, "aten::" + name[:-1])
                        self.methods[name] = self.kinds["aten::" + name]
                    else:
                        self.methods[name] = self.add("aten::" + name, fn)
            elif isinstance(fn, property) and name in _RECORDED_PROPERTIES:
                parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
                self.kinds["prim::" + name] = self.note(fn.fget, Function("prim::" + name, fn.fget, fn.fget, parameters))


_table = None


def table():
    """The table of all functions, made at the first call."""
    global _table
    if _table is None:
        _table = _Table()
    return _table


def by_kind(kind):
    """The Function of a kind; None where there is none."""
    return table().kinds.get(kind)


def unwrap(fn):
    """The function inside those that ``op`` puts around one, for ``out=`` and for errors."""
    while fn.__globals__ is _OP and hasattr(fn, "__wrapped__"):
        fn = fn.__wrapped__
    return fn


def find(fn):
    """The Function that a Python function is recorded as; None where it is none of the library's."""
    if not isinstance(fn, types.FunctionType):
        return None
    return table().raw.get(id(unwrap(fn)))


def method(name):
    """The Function of a Tensor method; None where there is none."""
    return table().methods.get(name)


def bind(function, args, kwargs, type_of):
    """The arguments of a call by parameter, where the form of the call depends on what they are.

    Args:
        function (Function): what is called. args (list), kwargs (dict): with what. type_of (callable): the Type of an argument.

    Returns:
        (Function, dict): what is called in fact, and its arguments.
    """
    name, n = function.kind, len(args)
    if name == "aten::to":
        function, args, kwargs = _arranged_to(function, list(args), dict(kwargs), type_of)
    elif name in ("aten::max", "aten::min") and n == 2 and type_of(args[1]) == T.TENSOR:
        args, kwargs = args[:1], {**kwargs, "other": args[1]}
    elif name == "aten::randint" and "low" not in kwargs and n + ("high" in kwargs) + ("size" in kwargs) < 3:
        args = (0, *args)
    elif name == "aten::randint_like" and "low" not in kwargs and n + ("high" in kwargs) < 3:
        args = (args[0], 0, *args[1:])
    return function, function.bind(args, kwargs)


def _arranged_to(function, args, kwargs, type_of):
    self, *rest = args
    for name in ("dtype", "device", "other", "copy", "memory_format"):
        if name in kwargs and type_of(kwargs[name]) == T.NONE and name != "copy":
            del kwargs[name]
    flags = []
    for a in rest:
        kind = T.unwrap(type_of(a))
        if kind == T.TENSOR:
            kwargs["other"] = a
        elif kind in (T.DTYPE, T.DEVICE, T.STR):
            kwargs["dtype" if kind == T.DTYPE else "device"] = a
        elif kind == T.BOOL:
            flags.append(a)
        elif kind == T.INT and "device" not in kwargs:
            kwargs["device"] = a
        elif kind != T.NONE:
            raise TypeError(f"to() received an invalid combination of arguments - got {kind!r}")
    kwargs.pop("non_blocking", None)            # there is nothing to wait for
    if len(flags) > 1:
        kwargs["copy"] = flags[1]
    if "other" in kwargs:
        function = by_kind("aten::to_other")
    return function, (self,), kwargs


def takes_list(function):
    """Whether ``f(*values)`` may be called as ``f(list)``."""
    return function.kind != "aten::einsum"


def canonical(function, bound):
    """A call of a function of nn.functional as one of the plain operation, where its arguments allow that.

    ``relu(x, inplace=True)`` becomes ``relu_(x)``, ``softmax(x, 1, _stacklevel=3)`` becomes ``softmax(x, 1)``.

    Args:
        function (Function): what is called.
        bound (dict): its arguments by parameter; ``inplace`` is a bool where it is known.

    Returns:
        (Function, dict), perhaps others.
    """
    extra = [n for n in ("inplace", "_stacklevel") if n in function.names]
    if not extra or not isinstance(bound.get("inplace", False), bool):
        return function, bound
    name = function.kind.partition("::")[2]
    plain = by_kind("aten::" + name + ("_" if bound.get("inplace") else ""))
    if plain is None or plain is function:
        return function, bound
    rest = {n: v for n, v in bound.items() if n not in extra}
    ours = [n for n in function.names if n not in extra]
    theirs = list(plain.names)
    if ours == theirs:
        return plain, rest
    renamed = dict(zip(ours, theirs))           # ``training`` of F.dropout is ``train`` of torch.dropout
    if len(ours) == len(theirs):
        for n, parameter in zip(ours, function.parameters):
            if n not in rest and parameter.default is not _EMPTY:
                rest[n] = parameter.default
        return plain, {renamed[n]: rest[n] for n in ours if n in rest}
    return function, bound
