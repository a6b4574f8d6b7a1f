"""Calls and attributes in scripts: what a name behind a dot means, and what a call of it does."""
import ast
import enum
import inspect
import types

from ..tensor import Tensor
from . import annotations, builtin_calls, functions, results
from . import graph as G
from . import types as T
from ._natives import ATTRIBUTES
from .errors import NotSupportedError
from .graph import Value
from .indexing import Subscripts
from .schema import NOTHING
from .sugar import Items, Method, Module, Python, Super, Undefined

_BY_NAME = {"List": list, "Dict": dict, "str": str}


class Calls(Subscripts):
    """The part of the Compiler that resolves attributes and calls."""

    # ---- attributes --------------------------------------------------------------------------------------------------

    def attribute(self, owner, name, node):
        """``owner.name``."""
        if isinstance(owner, Undefined):
            owner.as_value(self, node)
        if isinstance(owner, Module):
            return self.module_attribute(owner, name, node)
        if isinstance(owner, Super):
            return self.session.super_method(self, owner, name, node)
        if isinstance(owner, Python):
            return self.python_attribute(owner, name, node)
        if isinstance(owner, Items):
            if owner.keys is not None and name in ("keys", "values", "items"):
                return Method(owner, name)
            raise self.error(f"a sequence of modules has no attribute '{name}'", node)
        value = self.value(owner, node)
        kind = value.type.name
        if kind == "Tensor":
            return self.tensor_attribute(value, name, node)
        if kind == "NamedTuple" and name in value.type.fields:
            return self.element_at(value, value.type.fields.index(name), node)
        if kind == "str" and name == "format":
            return Method(value, name)
        if kind in _BY_NAME and functions.by_kind(f"{_BY_NAME[kind].__name__}::{name}") is not None:
            return Method(value, name)
        if kind == "Device" and name in ("type", "index"):
            return self.operation(f"prim::{name}", (value,), {}, node)
        if kind == "Enum" and name in ("value", "name") and value.constant()[0]:
            return self.constant(getattr(value.constant()[1], name), node)
        if kind == "Future" and name in ("wait", "value"):
            return Method(value, "wait")
        if kind == "complex" and name in ("real", "imag"):
            return self.emit_value(f"prim::{name}", (value,), T.FLOAT, node)
        hint = " Did you forget to unwrap the Optional with 'is not None'?" if kind == "Optional" else ""
        raise self.error(f"'{value.type!r}' object has no attribute or method '{name}'.{hint}", node)

    def tensor_attribute(self, value, name, node):
        """A property or method of a Tensor."""
        if name == "shape":
            return self.operation("aten::size", (value,), {}, node)
        if name == "ndim":
            return self.operation("aten::dim", (value,), {}, node)
        if name in ATTRIBUTES and name not in ("type", "index") or name in ("T", "mT", "H", "mH", "data", "grad"):
            return self.operation(f"prim::{name}", (value,), {}, node)
        if functions.method(name) is not None or name in ("to", "type", "size", "cuda", "numpy", "new_tensor"):
            return Method(value, name)
        inferred = " (inferred)" if value in self.graph.params else ""
        raise self.error(f"'Tensor{inferred}' object has no attribute or method '{name}'.", node)

    def python_attribute(self, owner, name, node):
        """An attribute of a Python object that is known while compiling."""
        try:
            found = getattr(owner.obj, name)
        except AttributeError:
            kind = "module" if isinstance(owner.obj, types.ModuleType) else f"python value of type '{type(owner.obj).__name__}'"
            raise self.error(f"{kind} {getattr(owner.obj, '__name__', '')!r} has no attribute '{name}'", node) from None
        constant = isinstance(owner.obj, (types.ModuleType, enum.Enum)) or owner.usable
        return Python(found, usable=constant)

    def module_attribute(self, owner, name, node):
        """An attribute of a module: a parameter, buffer, submodule, method, constant or attribute of the program."""
        if name in ("named_children", "children", "named_modules", "modules", "named_parameters", "parameters", "named_buffers",
                    "buffers", "items", "values", "keys") and not self.session.defines(owner, name):
            return Method(owner, name)
        return self.session.attribute(self, owner, name, node)

    def set_attribute(self, owner, name, value, node):
        """``self.name = value``."""
        kind = self.session.attribute_type(owner, name)
        if kind is None:
            raise self.error(f"Tried to set nonexistent attribute: {name}. Did you forget to initialize it in __init__()?", node)
        if not T.is_subtype(value.type, kind):
            raise self.error(f"Wrong type for attribute assignment. Expected {kind!r} but got {value.type!r}", node)
        self.emit(G.SET_ATTR, (owner.value, value), (), node, name=name)

    def module_items(self, owner, node):
        """The submodules of a container, one by one."""
        children = list(owner.module._modules.items())
        items = [self.session.attribute(self, owner, name, node) for name, _ in children]
        if not children and owner.module._parameters:        # a ParameterList
            names = list(owner.module._parameters)
            return Items([self.session.attribute(self, owner, n, node) for n in names], names)
        kind = owner.module.original_name
        if not self.session.is_container(owner):
            raise self.error(f"'{kind}' object is not iterable: only ModuleList, Sequential, ModuleDict and ParameterList "
                             "are", node)
        return Items(items, [name for name, _ in children])

    # ---- calls -------------------------------------------------------------------------------------------------------

    def arguments(self, node):
        """(positional, keyword) arguments of a call: what stands for them."""
        args, kwargs = [], {}
        for a in node.args:
            if isinstance(a, ast.Starred):
                found = self.expression(a.value)
                if isinstance(found, Value) and found.type.name == "List":
                    args.append(Spread(found))
                    continue
                args += self.items_of(found, 0, a)
            else:
                args.append(self.expression(a))
        for k in node.keywords:
            if k.arg is None:
                raise NotSupportedError(self.source(node), "keyword-arg expansion is not supported")
            kwargs[k.arg] = self.expression(k.value)
        return args, kwargs

    def call(self, node):
        """A call."""
        callee = self.expression(node.func)
        if isinstance(callee, Python):
            special = builtin_calls.find(callee.obj)
            if special is not None:
                return special(self, node)
        args, kwargs = self.arguments(node)
        if isinstance(callee, Python):
            return self.call_python(callee.obj, args, kwargs, node)
        if isinstance(callee, Method):
            if isinstance(callee.owner, (Module, Items)):
                return self.call_module_method(callee, args, kwargs, node)
            return self.call_value_method(callee.owner, callee.name, args, kwargs, node)
        if isinstance(callee, Module):
            return self.session.call_method(self, callee, "forward", args, kwargs, node)
        if isinstance(callee, Value) and callee.type == T.FUNCTION and callee.constant()[0]:
            return self.call_python(callee.constant()[1], args, kwargs, node)
        raise self.error(f"'{ast.unparse(node.func)}' cannot be called", node)

    def call_value_method(self, value, name, args, kwargs, node):
        """A method of a Tensor, list, dict or string."""
        kind = value.type.name
        if kind == "str" and name == "format":
            values = [self.value(a, node) for a in args]
            packed = self.emit_value("prim::TupleConstruct", values, T.tuple_of(*[v.type for v in values]), node)
            return self.emit_value("aten::format", (value, packed), T.STR, node)
        if kind in _BY_NAME:
            kind = f"{_BY_NAME[kind].__name__}::{name}"
            if name in ("append", "insert", "extend"):
                self._check_element(value, args[-1], name, node)
            return self.operation(kind, (value, *args), kwargs, node)
        if kind == "Future":
            return self.emit_value("aten::wait", (value,), value.type.args[0], node)
        if name in ("numpy", "new_tensor", "cuda"):
            raise self.error(f"Tensor.{name} is not supported in a script", node)
        return self.call_operation(functions.method(name) or functions.by_kind(f"aten::{name}"), [value, *args], kwargs, node)

    def _check_element(self, value, found, name, node):
        item = self.value(found, node)
        element = value.type.args[0]
        wanted = value.type if name == "extend" else element
        if name != "extend" and not T.is_subtype(item.type, element):
            made = value.node
            if made is not None and made.kind_ == "prim::ListConstruct" and not made.args and element == T.TENSOR:
                hint = " (an empty list is a list of Tensors: write torch.jit.annotate(List[...], []))"
            else:
                hint = ""
            raise self.error(f"\nCould not match type {item.type!r} to {wanted!r} in argument 'el' of "
                             f"{name}{hint}", node)

    def call_module_method(self, method, args, kwargs, node):
        """A method of a module that is compiled, or one that walks over modules."""
        owner, name = method.owner, method.name
        if method.function is None and name in ("items", "values", "keys", "children", "named_children", "modules",
                                                "named_modules", "parameters", "named_parameters", "buffers", "named_buffers"):
            return self.session.walk(self, owner, name, node)
        return self.session.call_method(self, owner, name, args, kwargs, node, method.function)

    def call_python(self, obj, args, kwargs, node):
        """A call of a Python object."""
        from .module import ScriptFunction

        if isinstance(obj, ScriptFunction):
            return self.call_function(obj, args, kwargs, node)
        mode = annotations.mode_of(obj)
        if mode is not None:
            return self.session.ignored(self, obj, None, args, kwargs, node, mode)
        function = functions.find(obj)
        if function is not None:
            return self.call_operation(function, args, kwargs, node)
        if inspect.isclass(obj):
            return self.call_class(obj, args, kwargs, node)
        if isinstance(obj, types.FunctionType):
            if obj.__module__.startswith("numtorch.") and not obj.__module__.startswith(("numtorch.vision", "numtorch.jit")):
                raise self.error(f"'{obj.__module__}.{obj.__name__}' cannot be called from a script", node)
            return self.call_function(self.session.function(obj, self, node), args, kwargs, node)
        if isinstance(obj, types.MethodType):
            raise self.error(f"a bound method of '{type(obj.__self__).__name__}' cannot be called from a script", node)
        raise self.error(f"'{getattr(obj, '__name__', type(obj).__name__)}' cannot be called from a script: it is no function "
                         "that "
                         "scripts know", node)

    def call_class(self, cls, args, kwargs, node):
        """A call of a class: named tuples are made."""
        if T.is_named_tuple(cls):
            kind = T.from_annotation(cls)
            try:
                bound = inspect.signature(cls.__new__).bind(None, *args, **kwargs)
            except TypeError as error:
                raise self.error(f"{cls.__name__}(): {error}", node) from None
            values = [bound.arguments[f] if f in bound.arguments else self.constant(cls._field_defaults[f]) for f in cls._fields]
            values = [self.value(v, node) for v in values]
            for v, t, f in zip(values, kind.args, cls._fields):
                if not T.is_subtype(v.type, t):
                    raise self.error(f"{cls.__name__}(): Expected a value of type '{t!r}' for argument '{f}' but instead found "
                                     f"type '{v.type!r}'.\n", node)
            return self.emit_value("prim::TupleConstruct", values, kind, node)
        if issubclass(cls, Tensor):
            raise self.error(f"torch.{cls.__name__} cannot be made in a script: use torch.tensor, torch.zeros or the like", node)
        raise self.error(f"the class '{cls.__name__}' cannot be used in a script: classes are not compiled; use a NamedTuple, "
                         "or keep "
                         "the values in variables", node)

    def call_function(self, function, args, kwargs, node):
        """A CallFunction node."""
        values = self.fit(function.schema, args, kwargs, node)
        returns = function.schema.returns
        return self.emit_value(G.CALL_FUNCTION, values, returns, node, function=function)

    def fit(self, schema, args, kwargs, node, skip=0):
        """The values of a call's arguments in the order of a schema, checked; ``skip`` leaves out self."""
        wanted, values = schema.arguments[skip:], []
        positional = [a for a in wanted if not a.keyword_only]
        args, kwargs = list(args), dict(kwargs)
        if len(args) > len(positional):
            raise self.error(f"\n{schema}:\nExpected at most {len(positional)} arguments but found {len(args)} positional "
                             "arguments.\n", node)
        for k, a in enumerate(wanted):
            if k < len(args) and not a.keyword_only:
                found = args[k]
            elif a.name in kwargs:
                found = kwargs.pop(a.name)
            elif a.default is not NOTHING:
                found = self.constant(a.default, node, a.type if a.type.name in ("List", "Dict") else None)
            else:
                raise self.error(f"\n{schema}:\nArgument {a.name} not provided.\n", node)
            value = self.value(found, node)
            if not T.is_subtype(value.type, a.type):
                raise self.error(f"\n{schema}:\nExpected a value of type '{a.type!r}' for argument '{a.name}' but instead "
                                 f"found type '{value.type!r}'.\n", node)
            values.append(value)
        for name in kwargs:
            raise self.error(f"\n{schema}:\nUnknown keyword argument '{name}'.\n", node)
        return values

    # ---- operations --------------------------------------------------------------------------------------------------

    def call_operation(self, function, args, kwargs, node):
        """A node that calls an operation."""
        args = [a if isinstance(a, Spread) else self.value(a, node) for a in args]
        kwargs = {k: self.value(v, node) for k, v in kwargs.items()}
        out = kwargs.pop("out", None)
        if out is not None and out.type == T.NONE:
            out = None
        try:
            function, bound = functions.bind(function, args, kwargs, lambda v: v.type)
        except TypeError as error:
            raise self.error(f"\nArguments for call are not valid.\nThe following variants are available:\n  \n  {function.kind}"
                             f"({', '.join(function.names)}):\n  {str(error).capitalize()}.\n\nThe original call "
                             "is", node) from None
        inplace = bound.get("inplace")
        if isinstance(inplace, Value) and inplace.constant()[0]:
            bound = {**bound, "inplace": inplace.constant()[1]}
        function, bound = functions.canonical(function, bound)
        first = next(iter(bound.values()), None)
        if function.kind.startswith("aten::") and isinstance(first, Value) and function.names[0] in ("input", "self"):
            if first.type.name == "Optional" and first.type.args[0] == T.TENSOR:
                raise self.error(f"\nArguments for call are not valid.\nThe following variants are available:\n  \n  "
                                 f"{function.kind}"
                                 f"({', '.join(function.names)}):\n  Expected a value of type 'Tensor' for argument "
                                 f"'{function.names[0]}' but instead found type 'Optional[Tensor]'.\n\nThe original call "
                                 "is", node)
            if first.type in (T.INT, T.FLOAT, T.BOOL) and functions.by_kind("math::" + function.kind[6:]) is not None:
                return self.operation("math::" + function.kind[6:], tuple(bound.values()), {}, node)
        values = [self.parameter_value(function, p, bound, node) for p in function.parameters]
        if out is not None:
            values.append(out)
        made = self.emit(function.kind, values, (results.result(function, bound),), node)
        if out is not None:
            made.attrs["out"] = True
        return made.outs[0]

    def parameter_value(self, function, p, bound, node):
        """The value of a parameter: what was given, or the default."""
        if p.name not in bound:
            return self.constant((), node) if p.kind is p.VAR_POSITIONAL else self.constant(
                p.default, node, T.of_value(p.default) or T.ANY)
        found = bound[p.name]
        if p.kind is p.VAR_POSITIONAL:
            if len(found) == 1 and isinstance(found[0], Spread):
                return found[0].value
            if len(found) == 1 and found[0].type.name in ("List", "Tuple") and functions.takes_list(function):
                return found[0]
            if any(isinstance(v, Spread) for v in found):
                raise self.error("'*' of a list isn't supported beside other arguments", node)
            kind = T.unify_all([v.type for v in found]) if found else T.INT
            if kind is None:
                return self.emit_value("prim::TupleConstruct", found, T.tuple_of(*[v.type for v in found]), node)
            return self.emit_value("prim::ListConstruct", found, T.list_of(kind), node)
        if isinstance(found, Spread):
            raise self.error("'*' of a list isn't supported here", node)
        return found if isinstance(found, Value) else self.constant(found, node)

    def function_value(self, obj, node):
        """A Python function as a constant value."""
        return self.constant(obj, node, T.FUNCTION)

    # ---- what conditions show, and with ------------------------------------------------------------------------------

    def narrowing(self, node):
        """The condition of a call of isinstance or hasattr; None for other calls."""
        callee = self.expression(node.func)
        if isinstance(callee, Python) and callee.obj in (isinstance, annotations.isinstance_of):
            return builtin_calls.isinstance_condition(self, node)
        return None

    def context(self, node):
        """The context manager of a with statement."""
        call = isinstance(node, ast.Call)
        found = self.expression(node.func if call else node)
        name = getattr(found.obj, "__name__", "") if isinstance(found, Python) else ""
        from .executor import CONTEXTS

        if CONTEXTS.get(name) is not getattr(found, "obj", None) or not call:
            raise self.error("With item expression must be torch.no_grad(), enable_grad(), set_grad_enabled() or "
                             "inference_mode()",
                             node)
        args, kwargs = self.arguments(node)
        if kwargs:
            args += kwargs.values()
        return self.emit_value("prim::Context", [self.value(a, node) for a in args], T.Type("Context"), node, name=name)


class Spread:
    """``*values`` in a call, of a list whose length is not known."""

    type = T.Type("Spread")

    def __init__(self, value):
        self.value = value


