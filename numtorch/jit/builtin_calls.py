"""Python's own functions, and those of torch.jit, as they are called in scripts."""
import ast
import collections
import math
import typing
import warnings

from .. import devices
from ..autograd.grad_mode import is_grad_enabled
from ..shape import Size
from . import annotations
from . import types as T
from .errors import NotSupportedError
from .graph import Value
from .sugar import Items, Iteration, Module, Python, Super


def find(obj):
    """The handler of a call of ``obj``, called with the compiler and the syntax of the call; None where it is nothing special."""
    try:
        found = _HANDLERS.get(obj)
    except TypeError:                           # not hashable
        return None
    if found is None and getattr(obj, "__module__", None) == "math" and f"math::{obj.__name__}" in _math_kinds():
        return lambda compiler, node: _math(compiler, node, obj.__name__)
    return found


def _math_kinds():
    from . import functions

    return functions.table().kinds


def _values(compiler, node):
    args, kwargs = compiler.arguments(node)
    return [compiler.value(a, node) for a in args], {k: compiler.value(v, node) for k, v in kwargs.items()}


def _math(compiler, node, name):
    args, kwargs = _values(compiler, node)
    known = [a.constant() for a in args]
    if known and all(k and isinstance(v, (int, float)) for k, v in known) and not kwargs:
        return compiler.constant(getattr(math, name)(*[v for _, v in known]), node)
    if any(a.type == T.TENSOR for a in args):
        args = [compiler.emit_value("aten::Float", (a,), T.FLOAT, node) if a.type == T.TENSOR else a for a in args]
    return compiler.operation(f"math::{name}", args, kwargs, node)


def _print(compiler, node):
    args, kwargs = _values(compiler, node)
    if kwargs:
        raise NotSupportedError(compiler.source(node), "print doesn't accept any keyword arguments in a script")
    compiler.emit("prim::Print", args, (), node)
    return compiler.constant(None)


def _len(compiler, node):
    args, _ = compiler.arguments(node)
    found = args[0]
    if isinstance(found, Module):
        found = compiler.module_items(found, node)
    if isinstance(found, Items):
        return compiler.constant(len(found.items))
    if isinstance(found, Iteration):
        return found.length
    value = compiler.unwrapped(compiler.value(found, node), node)
    if value.type.name in ("Tuple", "NamedTuple"):
        return compiler.constant(len(value.type.args))
    if value.type.name not in ("Tensor", "List", "Dict", "str"):
        raise compiler.error(f"object of type '{value.type!r}' has no len()", node)
    return compiler.emit_value("aten::len", (value,), T.INT, node)


def _number(kind, type):
    def handler(compiler, node):
        args, _ = _values(compiler, node)
        if not args:
            return compiler.constant({"Int": 0, "Float": 0.0, "Bool": False}[kind])
        value = compiler.unwrapped(args[0], node)
        known, constant = value.constant()
        if kind == "Bool":
            return compiler.boolean(value, node)
        if known and isinstance(constant, (int, float)):
            return compiler.constant({"Int": int, "Float": float}[kind](constant), node)
        if value.type == type:
            return value
        if value.type not in T.NUMBERS and value.type not in (T.TENSOR, T.STR):
            raise compiler.error(f"Could not cast value of type {value.type!r} to {type!r}", node)
        return compiler.emit_value(f"aten::{kind}", (value,), type, node)
    return handler


def _complex(compiler, node):
    args, _ = _values(compiler, node)
    return compiler.emit_value("aten::Complex", (*args, *[compiler.constant(0)] * (2 - len(args))), T.COMPLEX, node)


def _str(compiler, node):
    args, _ = _values(compiler, node)
    if not args:
        return compiler.constant("")
    return args[0] if args[0].type == T.STR else compiler.emit_value("aten::str", (args[0],), T.STR, node)


def _range(compiler, node):
    args, _ = _values(compiler, node)
    args = [compiler.emit_value("aten::Int", (a,), T.INT, node) if a.type == T.TENSOR else a for a in args]
    if not args or len(args) > 3 or any(a.type != T.INT for a in args):
        raise compiler.error("range expects one to three ints, but got "
                             + ", ".join(a.type.annotation() for a in args), node)
    start, step = compiler.constant(0), compiler.constant(1)
    if len(args) == 1:
        stop, = args
    else:
        start, stop, step = (*args, step)[:3]
    as_list = lambda: compiler.operation("list::range", (start, stop, step), {}, node)     # noqa: E731
    if start.constant() == (True, 0) and step.constant() == (True, 1):
        return Iteration(stop, lambda index: index, as_list)
    length = compiler.emit_value("aten::__range_length", (start, stop, step), T.INT, node)

    def element(index):
        return compiler.emit_value("aten::__derive_index", (index, start, step), T.INT, node)
    return Iteration(length, element, as_list)


def _enumerate(compiler, node):
    args, kwargs = compiler.arguments(node)
    start = kwargs.get("start", args[1] if len(args) > 1 else compiler.constant(0))
    start = compiler.value(start, node)
    found = compiler.iteration(args[0], node)
    if isinstance(found, Items):
        known, first = start.constant()
        if not known:
            raise compiler.error("the start of enumerate over a tuple or modules must be a compile time constant", node)
        return Items([Items([compiler.constant(first + k), item]) for k, item in enumerate(found.items)])

    def element(index):
        number = index if start.constant() == (True, 0) else compiler.emit_value("aten::add", (index, start), T.INT, node)
        return Items([number, found.element(index)])
    return Iteration(found.length, element)


def _zip(compiler, node):
    args, _ = compiler.arguments(node)
    parts = [compiler.iteration(a, node) for a in args]
    fixed = [p for p in parts if isinstance(p, Items)]
    if fixed:
        n = min(len(p.items) for p in fixed)
        rows = []
        for k in range(n):
            rows.append(Items([p.items[k] if isinstance(p, Items) else p.element(compiler.constant(k)) for p in parts]))
        return Items(rows)
    length = parts[0].length
    for p in parts[1:]:
        length = compiler.operation("math::min", (length, p.length), {}, node)
    return Iteration(length, lambda index: Items([p.element(index) for p in parts]))


def _reversed(compiler, node):
    args, _ = compiler.arguments(node)
    found = compiler.iteration(args[0], node)
    if isinstance(found, Items):
        return Items(found.items[::-1], found.keys and found.keys[::-1])

    def element(index):
        last = compiler.emit_value("aten::sub", (found.length, compiler.constant(1)), T.INT, node)
        return found.element(compiler.emit_value("aten::sub", (last, index), T.INT, node))
    return Iteration(found.length, element)


def _isinstance(compiler, node):
    return isinstance_condition(compiler, node)[0]


def isinstance_condition(compiler, node):
    """(bool Value, types where it is true, types where it is false) of ``isinstance(value, types)``."""
    if len(node.args) != 2:
        raise compiler.error("isinstance expects two arguments", node)
    found, target = compiler.expression(node.args[0]), node.args[1]
    kinds = [compiler.code.evaluate(t) for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
    kinds = [k for kind in kinds for k in (kind if isinstance(kind, tuple) else (kind,))]
    if isinstance(found, Module):
        builder = found.builder
        cls = type(builder.original) if builder is not None else None
        return compiler.constant(cls is not None and any(isinstance(k, type) and issubclass(cls, k) for k in kinds)), {}, {}
    if isinstance(found, Python):
        return compiler.constant(isinstance(found.obj, tuple(k for k in kinds if isinstance(k, type)))), {}, {}
    value = compiler.value(found, node)
    if value.type.name == "Any":
        raise compiler.error("isinstance of a value of type Any is not supported", node)
    possible = [value.type.args[0], T.NONE] if value.type.name == "Optional" else [value.type]
    matches = [any(_matches(p, k) for k in kinds) for p in possible]
    if all(matches) or not any(matches):
        return compiler.constant(matches[0]), {}, {}
    kind = "aten::__isnot__" if matches[0] else "aten::__is__"
    is_some = compiler.emit_value(kind, (value, compiler.constant(None)), T.BOOL, node)
    if not isinstance(node.args[0], ast.Name):
        return is_some, {}, {}
    name = node.args[0].id
    yes, no = possible if matches[0] else possible[::-1]
    return is_some, {name: yes}, {name: no}


def _matches(kind, cls):
    if cls in (list, tuple, dict):
        return kind.name in {list: ("List",), tuple: ("Tuple", "NamedTuple"), dict: ("Dict",)}[cls]
    wanted = T.from_annotation(cls)
    return wanted is not None and (kind == wanted or wanted != T.ANY and T.is_subtype(kind, wanted) and wanted.name != "number")


def _hasattr(compiler, node):
    found = compiler.expression(node.args[0])
    known, name = compiler.value(compiler.expression(node.args[1]), node).constant()
    if not known:
        raise compiler.error("hasattr's second argument must be a string literal", node)
    if isinstance(found, Module):
        return compiler.constant(compiler.session.has_attribute(found, name))
    if isinstance(found, Python):
        return compiler.constant(hasattr(found.obj, name))
    value = compiler.value(found, node)
    return compiler.constant(value.type.name == "NamedTuple" and name in value.type.fields)


def _getattr(compiler, node):
    owner = compiler.expression(node.args[0])
    known, name = compiler.value(compiler.expression(node.args[1]), node).constant()
    if not known or not isinstance(name, str):
        raise compiler.error("getattr's second argument must be a string literal", node)
    if len(node.args) == 3 and isinstance(owner, Module) and not compiler.session.has_attribute(owner, name):
        return compiler.expression(node.args[2])
    return compiler.attribute(owner, name, node)


def _super(compiler, node):
    if compiler.owner is None:
        raise compiler.error("super() outside a method", node)
    cls = compiler.code.names.get("__class__")
    if node.args:
        cls = compiler.expression(node.args[0]).obj
    if cls is None:
        raise compiler.error("super(): its class is not known", node)
    return Super(compiler.env[compiler.code.tree.args.args[0].arg], cls)


def _extremum(name):
    def handler(compiler, node):
        args, kwargs = _values(compiler, node)
        if kwargs:
            raise NotSupportedError(compiler.source(node), f"keyword arguments of {name} aren't supported")
        if len(args) == 1 and args[0].type == T.TENSOR or len(args) == 2 and T.TENSOR in (args[0].type, args[1].type):
            return compiler.operation(f"aten::{name}", args, {}, node)
        return compiler.operation(f"math::{name}", args, {}, node)
    return handler


def _scalar(name, tensor=None):
    def handler(compiler, node):
        args, kwargs = _values(compiler, node)
        if tensor is not None and args and args[0].type == T.TENSOR:
            return compiler.operation(tensor, args, kwargs, node)
        return compiler.operation(name, args, kwargs, node)
    return handler


def _pow(compiler, node):
    args, _ = _values(compiler, node)
    return compiler.operator("pow", *args, node)


def _list(compiler, node):
    args, _ = compiler.arguments(node)
    if not args:
        return compiler.emit_value("prim::ListConstruct", (), T.TENSORS, node)
    found = args[0]
    if isinstance(found, Value) and found.type.name == "Tuple":
        found = Items(compiler.elements(found, node))
    if isinstance(found, Items):
        values = [compiler.value(v, node) for v in found.items]
        kind = T.unify_all([v.type for v in values]) if values else T.TENSOR
        if kind is None:
            raise compiler.error("list() of elements of several types", node)
        return compiler.emit_value("prim::ListConstruct", values, T.list_of(kind), node)
    if isinstance(found, Iteration) and found.as_list is None:
        raise compiler.error("list() of enumerate or zip is not supported; write a list comprehension", node)
    value = compiler.value(found, node)
    if value.type == T.TENSOR:
        return compiler.operation("aten::unbind", (value,), {}, node)
    return compiler.operation("list::list", (value,), {}, node)


def _tuple(compiler, node):
    args, _ = compiler.arguments(node)
    found = args[0] if args else Items([])
    if isinstance(found, Items):
        return found.as_value(compiler, node)
    value = compiler.value(found, node)
    if value.type.name in ("Tuple", "NamedTuple"):
        return value
    raise compiler.error("tuple() of something whose length is not known is not supported", node)


def _dict(compiler, node):
    args, kwargs = _values(compiler, node)
    if not args:
        keys = [compiler.constant(k) for k in kwargs]
        kind = T.unify_all([v.type for v in kwargs.values()]) if kwargs else T.TENSOR
        inputs = [x for pair in zip(keys, kwargs.values()) for x in pair]
        return compiler.emit_value("prim::DictConstruct", inputs, T.Type("Dict", (T.STR, kind)), node)
    if args[0].type.name != "Dict":
        raise compiler.error("dict() of something that is no dict is not supported; write a dict comprehension", node)
    return compiler.operation("dict::dict", args, {}, node)


def _constant_bool(value):
    return lambda compiler, node: compiler.constant(value)


def _annotate(compiler, node):
    kind = compiler.code.type_of(node.args[0])
    found = compiler.value(compiler.expression(node.args[1], kind), node)
    if not T.is_subtype(found.type, kind):
        raise compiler.error(f"expected an expression of type {kind!r} but found {found.type!r}", node)
    return compiler.cast(found, kind, node)


def _unwrap_optional(compiler, node):
    args, _ = _values(compiler, node)
    value, = args
    if value.type.name != "Optional":
        return value
    return compiler.emit_value("prim::unchecked_cast", (value,), T.unwrap(value.type), node)


def _fork(compiler, node):
    inner = ast.copy_location(ast.Call(node.args[0], node.args[1:], node.keywords), node)
    value = compiler.value(compiler.call(inner), node)
    return compiler.emit_value("prim::fork", (value,), T.Type("Future", (value.type,)), node)


def _wait(compiler, node):
    args, _ = _values(compiler, node)
    return compiler.call_value_method(args[0], "wait", [], {}, node)


def _warn(compiler, node):
    compiler.emit("prim::warn", (compiler.message(node.args[0]),), (T.NONE,), node)
    return compiler.constant(None)


def _size(compiler, node):
    args, _ = _values(compiler, node)
    return args[0]


def _device(compiler, node):
    args, _ = _values(compiler, node)
    known = [a.constant() for a in args]
    if not all(k for k, _ in known):
        raise compiler.error("torch.device of something that is not a constant", node)
    return compiler.constant(devices.device(*[v for _, v in known]), node)


def _type(compiler, node):
    found = compiler.expression(node.args[0])
    if isinstance(found, Module) and found.builder is not None:
        return Python(type(found.builder.original))
    raise NotSupportedError(compiler.source(node), "type() isn't supported, except of a module")


_HANDLERS = {
    print: _print, len: _len, int: _number("Int", T.INT), float: _number("Float", T.FLOAT), bool: _number("Bool", T.BOOL),
    complex: _complex, str: _str, range: _range, enumerate: _enumerate, zip: _zip, reversed: _reversed, isinstance: _isinstance,
    hasattr: _hasattr, getattr: _getattr, super: _super, type: _type, min: _extremum("min"), max: _extremum("max"),
    abs: _scalar("math::abs", "aten::abs"), round: _scalar("math::round", "aten::round"), sum: _scalar("math::sum", "aten::sum"),
    any: _scalar("math::any", "aten::any"), all: _scalar("math::all", "aten::all"), divmod: _scalar("math::divmod"), pow: _pow,
    sorted: _scalar("list::sorted"), ord: _scalar("aten::ord"), chr: _scalar("aten::chr"), hash: _scalar("aten::hash"),
    list: _list, tuple: _tuple, dict: _dict, collections.OrderedDict: _dict, Size: _size, devices.device: _device,
    annotations.is_scripting: _constant_bool(True), annotations.is_tracing: _constant_bool(False),
    annotations.annotate: _annotate, typing.cast: _annotate, annotations.isinstance_of: _isinstance, annotations.fork: _fork,
    annotations.wait: _wait, annotations.unwrap_optional: _unwrap_optional, warnings.warn: _warn,
    is_grad_enabled: lambda compiler, node: compiler.emit_value("aten::is_grad_enabled", (), T.BOOL, node),
}
