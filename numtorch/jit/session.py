"""What is being compiled: functions, and modules with their attributes, constants and methods."""
import functools
import inspect
import types
import weakref

from ..nn.modules.module import Module as NNModule
from ..tensor import Tensor
from . import annotations, library
from . import graph as G
from . import types as T
from .annotations import Attribute
from .compiler import Compiler
from .errors import compile_error
from .frontend import get_source
from .graph import Value
from .module import CONTAINERS, RecursiveScriptModule, ScriptFunction, ScriptModule
from .module import Method as CompiledMethod
from .schema import Schema
from .sugar import Items, Method, Module, Python

_MISSING = object()
_functions = weakref.WeakKeyDictionary()        # Python function -> ScriptFunction


@functools.lru_cache(1024)
def marked(cls):
    """The methods of a class that are marked with ``export``, ``ignore`` or ``unused``, by name."""
    found = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            found.pop(name, None)
            if isinstance(value, types.FunctionType) and hasattr(value, "_jit_mode"):
                found[name] = value
    return found


def own_class(cls):
    """Whether a class is one of the library's."""
    return cls.__module__.startswith("numtorch.") and not cls.__module__.startswith(("numtorch.vision", "numtorch.jit"))


class ModuleBuilder:
    """A module on its way to a ScriptModule.

    Args:
        session (Session). original (nn.Module): the user's. target (ScriptModule): what it is compiled into; may be the same.
    """

    def __init__(self, session, original, target):
        self.session, self.original, self.target = session, original, target
        self.constants, self.python, self.failed, self.running, self.variants = {}, {}, {}, [], {}
        cls = type(original)
        self.names = set()
        for base in cls.__mro__:
            self.names.update(base.__dict__.get("__constants__", ()))
        hints = {}
        for base in reversed(cls.__mro__):
            hints.update(inspect.get_annotations(base))
        self.hints = {}
        for name, hint in hints.items():
            self._hint(name, hint, cls)
        self._attributes()

    def _hint(self, name, hint, cls):
        if isinstance(hint, str):
            try:
                hint = eval(hint, dict(vars(inspect.getmodule(cls) or types)))
            except Exception:                   # an annotation that only a type checker reads
                return
        if hint is annotations.Final or str(hint).startswith("typing.Final"):
            self.names.add(name)
        else:
            kind = T.from_annotation(hint)
            if kind is not None:
                self.hints[name] = kind

    def _attributes(self):
        """Sorts the module's attributes: tensors and modules aside, into constants, attributes and what cannot be used."""
        tables = (self.original._parameters, self.original._buffers, self.original._modules)
        own = {n: v for n, v in vars(self.original).items() if not n.startswith("_") or self._looks_own(n)}
        for base in type(self.original).__mro__:
            if base is NNModule or base is ScriptModule:
                break
            for name, value in vars(base).items():
                if name not in own and not name.startswith("__") and not callable(value) and not isinstance(
                        value, (property, staticmethod, classmethod, types.MemberDescriptorType)):
                    own[name] = value
        for name, value in own.items():
            if name == "training" or any(name in table for table in tables):
                continue
            if isinstance(value, Attribute):
                kind, value = T.from_annotation(value.type), value.value
                self.target.__dict__[name] = value
                self.target._script_attributes[name] = kind
                continue
            self._sort(name, value)

    def _looks_own(self, name):
        return name not in _UPKEEP

    def _sort(self, name, value):
        library_made = any(own_class(c) and c is not NNModule for c in type(self.original).__mro__) and name not in self.hints
        kind = self.hints.get(name) or T.of_value(value)
        if name in self.names or library_made and own_class(type(self.original)):
            self.constants[name] = value
        elif callable(value) and not isinstance(value, (Tensor, type)):
            self.python[name] = value
        elif kind is None or kind.name in ("Module", "Enum"):
            self.failed[name] = value
        elif isinstance(value, Tensor):
            self.target.__dict__[name] = value
            self.target._script_attributes[name] = T.TENSOR
        else:
            self.target.__dict__[name] = value
            self.target._script_attributes[name] = kind

    def assumed(self, name, fn, args, kwargs):
        """(name, Types) of a call's variant of a method: by ``_overload_method``, or without annotations in the library's own.

        Each set of types makes a method of its own; other methods of users must say the types, as in torch.
        """
        declared = annotations.overloads.get((fn.__module__, fn.__qualname__), ()) if fn is not None else ()
        if not declared and (fn is None or not fn.__module__.startswith("numtorch.")):
            return name, None
        parameters = get_source(fn).parameters()[1:]
        given = dict(zip([p[0] for p in parameters], args), **kwargs)
        given = {n: v.type for n, v in given.items() if isinstance(v, Value)}
        if declared:
            for overload in declared:
                types_ = {n: kind or T.TENSOR for n, kind, *_ in get_source(overload).parameters()[1:]}
                if all(n in types_ and T.is_subtype(t, types_[n]) for n, t in given.items()):
                    break
            else:
                return name, None
        else:
            types_ = {p[0]: given[p[0]] for p in parameters if p[1] is None and given.get(p[0], T.TENSOR) != T.TENSOR}
        if not types_:
            return name, None
        key = name, tuple(types_.items())
        return self.variants.setdefault(key, f"{name}__{len(self.variants)}"), types_

    def method(self, name, fn=None, assumed=None):
        """The compiled method ``name``; ``assumed`` are Types of its parameters."""
        found = self.target._methods.get(name)
        if found is not None:
            return found
        if fn is None:
            fn = self.function(name)
        if name in self.running:
            raise RuntimeError(f"method '{name}' is called recursively. Recursive calls are not supported")
        self.running.append(name)
        try:
            code = get_source(fn)
            compiler = Compiler(code, self.session, Owner(self), assumed)
            graph, schema = compiler.compile()
        finally:
            self.running.remove(name)
        graph.name = f"{self.target.original_name}.{name}"
        found = self.target._methods[name] = CompiledMethod(name, graph, Schema(name, schema.arguments, schema.returns))
        return found

    def function(self, name):
        """The Python function of a method: the library's layers have some that are written for scripts."""
        cls = type(self.original)
        replaced = library.method(cls, name) or getattr(cls, "_script_stubs", {}).get(name)
        if replaced is not None:
            return replaced
        found = inspect.getattr_static(cls, name, None)
        if isinstance(found, (staticmethod, classmethod)):
            found = found.__func__
        return found


class Owner:
    """The module whose method is compiled."""

    def __init__(self, builder):
        self.builder, self.module = builder, builder.target

    @property
    def type(self):
        """The module's Type."""
        return T.module_type(self.module)


_UPKEEP = frozenset(("_parameters", "_buffers", "_modules", "_methods", "_script_attributes", "_type_name", "_container",
                     "_non_persistent_buffers_set", "_is_full_backward_hook", "_flat_weights", "_all_weights", "_backend",
                     "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
                     "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
                     "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_initializing"))


class Session:
    """Functions and modules that are compiled together."""

    def __init__(self):
        self.builders, self.running = {}, []

    # ---- functions ---------------------------------------------------------------------------------------------------

    def function(self, fn, compiler=None, node=None):
        """The ScriptFunction of a Python function."""
        fn = inspect.unwrap(getattr(fn, "__original_fn", fn))
        found = _functions.get(fn)
        if found is not None:
            return found
        if fn in self.running:
            message = f"function '{fn.__name__}' is called recursively. Recursive calls are not supported"
            raise compiler.error(message, node) if compiler else RuntimeError(message)
        self.running.append(fn)
        try:
            graph, schema = Compiler(get_source(fn), self).compile()
        finally:
            self.running.remove(fn)
        found = _functions[fn] = ScriptFunction(graph, schema, fn)
        return found

    # ---- modules -----------------------------------------------------------------------------------------------------

    def build(self, original, target=None):
        """The builder of a module, its submodules turned into ScriptModules."""
        known = self.builders.get(id(original))
        if known is not None:
            return known
        if (original._forward_hooks or original._forward_pre_hooks) and not isinstance(original, ScriptModule):
            raise NotImplementedError(f"jit.script: the hooks of '{type(original).__name__}' are not compiled; remove them, "
                                      "write "
                                      "what they do into forward, or use jit.trace")
        if target is None:
            target = RecursiveScriptModule._of(type(original))
        builder = self.builders[id(original)] = self.builders[id(target)] = ModuleBuilder(self, original, target)
        own = target.__dict__
        own["training"] = original.training
        if target is not original:
            for name, value in original._parameters.items():
                target._parameters[name] = value
            for name, value in original._buffers.items():
                target._buffers[name] = value
            target._non_persistent_buffers_set.update(original._non_persistent_buffers_set)
        for name, child in list(original._modules.items()):
            if child is not None and not isinstance(child, ScriptModule):
                child = self.build(child).target
            if target._modules.get(name, _MISSING) is not child:
                target._modules[name] = child
        for name, value in builder.python.items():
            if annotations.mode_of(value) is not None:
                own[name] = value
        for name, fn in marked(type(original)).items():
            if fn._jit_mode == "ignore" and target is not original:
                own[name] = functools.partial(fn, target)
        return builder

    def defines(self, owner, name):
        """Whether a module has a tensor, module or attribute of this name."""
        m = owner.module
        return name in m._parameters or name in m._buffers or name in m._modules or name in m._script_attributes

    def has_attribute(self, owner, name):
        """``hasattr(module, name)``."""
        if owner.builder is not None:
            return hasattr(owner.builder.original, name)
        return hasattr(owner.module, name)

    def is_container(self, owner):
        """Whether a module can be gone through element by element."""
        return owner.module._container or owner.builder is not None and isinstance(owner.builder.original, CONTAINERS)

    def attribute(self, compiler, owner, name, node):
        """``module.name``."""
        m, builder = owner.module, owner.builder
        if name in m._modules:
            child = m._modules[name]
            if child is None:
                return compiler.constant(None)
            value = compiler.emit_value(G.GET_ATTR, (owner.value,), T.module_type(child), node, name=name)
            value.name = name if name.isidentifier() else f"_{name}"
            inner = None
            if builder is not None:
                original = builder.original._modules.get(name)
                inner = self.builders.get(id(original)) if original is not None else None
            return Module(child, value, inner)
        for table in (m._parameters, m._buffers):
            if name in table:
                if table[name] is None:
                    return compiler.constant(None)
                return self._get(compiler, owner, name, T.TENSOR, node)
        if name == "training":
            return self._get(compiler, owner, name, T.BOOL, node)
        if name in m._script_attributes:
            return self._get(compiler, owner, name, m._script_attributes[name], node)
        if builder is None:
            if name in m._methods:
                return Method(owner, name)
            raise compiler.error(f"Module '{m.original_name}' has no attribute '{name}' ", node)
        return self._from_python(compiler, owner, builder, name, node)

    def _from_python(self, compiler, owner, builder, name, node):
        if name in builder.constants:
            value = builder.constants[name]
            if isinstance(value, types.FunctionType) or T.of_value(value) is None:
                return Python(value)
            return Python(value, usable=True) if T.of_value(value) is None else compiler.constant(
                value, node, builder.hints.get(name))
        if name in builder.python:
            return Python(builder.python[name])
        found = inspect.getattr_static(type(builder.original), name, _MISSING)
        found = getattr(type(builder.original), "_script_stubs", {}).get(name, found)
        if isinstance(found, staticmethod):
            return Python(found.__func__)
        if isinstance(found, property):
            return self._property(compiler, owner, builder, name, found, node)
        if isinstance(found, types.FunctionType):
            return Method(owner, name, found)
        if isinstance(found, type) or callable(found) and found is not _MISSING:
            return Python(found)
        if name in builder.failed:
            kind = type(builder.failed[name]).__name__
            raise compiler.error(
                f"Module '{owner.module.original_name}' has no attribute '{name}' (This attribute exists on the Python module, "
                "but we "
                f"failed to convert Python type: '{kind}' to a TorchScript type. Only tensors and (possibly nested) tuples of "
                "tensors, "
                f"lists, or dicts are supported as inputs or outputs of traced functions, but instead got value of type "
                f"{kind}.. Its "
                "type was inferred; try adding a type annotation for the attribute.)", node)
        raise compiler.error(f"Module '{owner.module.original_name}' has no attribute '{name}' ", node)

    def _property(self, compiler, owner, builder, name, found, node):
        if name == "_flat_weights":             # of recurrent layers: the parameters in order
            values = [self.attribute(compiler, owner, n, node) for n in builder.original._flat_weights_names]
            return compiler.emit_value("prim::ListConstruct", values, T.TENSORS, node)
        return self.call_method(compiler, owner, f"__{name}_getter", [], {}, node, found.fget)

    def _get(self, compiler, owner, name, kind, node):
        value = compiler.emit_value(G.GET_ATTR, (owner.value,), kind, node, name=name)
        value.name = name
        return value

    def attribute_type(self, owner, name):
        """The Type of what may be assigned to a module's attribute; None where there is none."""
        m = owner.module
        if m._buffers.get(name) is not None or m._parameters.get(name) is not None:
            return T.TENSOR
        return T.BOOL if name == "training" else m._script_attributes.get(name)

    def call_method(self, compiler, owner, name, args, kwargs, node, fn=None):
        """A CallMethod node."""
        builder = owner.builder
        if fn is not None and annotations.mode_of(fn) is not None:
            return self.ignored(compiler, fn, owner, args, kwargs, node, annotations.mode_of(fn))
        if builder is None:
            method = owner.module._methods.get(name)
            if method is None:
                raise compiler.error(f"Module '{owner.module.original_name}' has no method '{name}'", node)
        else:
            if fn is None and name == "forward" and not hasattr(builder.original, "forward"):
                raise compiler.error(f"module '{owner.module.original_name}' has no forward", node)
            fn = library.method(type(builder.original), name) or fn or builder.function(name)
            name, assumed = builder.assumed(name, fn, args, kwargs)
            try:
                method = builder.method(name, fn, assumed)
            except RuntimeError as error:
                if "recursively" in str(error) and node is not None and "HERE" not in str(error):
                    raise compile_error(str(error), compiler.source(node)) from None
                raise
        values = compiler.fit(method.schema, args, kwargs, node, skip=1)
        return compiler.emit_value(G.CALL_METHOD, (owner.value, *values), method.schema.returns, node, name=name)

    def super_method(self, compiler, owner, name, node):
        """``super().name`` of a method."""
        module = owner.owner
        mro = type(module.builder.original).__mro__
        for cls in mro[mro.index(owner.cls) + 1:]:
            fn = cls.__dict__.get(name)
            if isinstance(fn, types.FunctionType):
                fn = library.method(cls, name) or fn
                return Method(module, f"__{cls.__name__}_{name}", fn)
        raise compiler.error(f"'super' object has no attribute '{name}'", node)

    def walk(self, compiler, owner, name, node):
        """``module.children()`` and its like, as a sequence."""
        if isinstance(owner, Items):
            keys = [compiler.constant(k) for k in owner.keys]
            pairs = {"keys": keys, "values": owner.items, "items": [Items([k, v]) for k, v in zip(keys, owner.items)]}
            return Items(pairs[name])
        m = owner.module
        if name in ("parameters", "named_parameters", "buffers", "named_buffers"):
            table = m._parameters if "parameters" in name else m._buffers
            if m._modules:
                raise compiler.error(f"'{name}' of a module with submodules is not supported in a script", node)
            names = [n for n, v in table.items() if v is not None]
        elif name in ("modules", "named_modules"):
            raise compiler.error(f"'{name}' is not supported in a script; loop over 'children' or over a ModuleList", node)
        else:
            names = [n for n, v in m._modules.items() if v is not None] or list(m._parameters)
        items = [self.attribute(compiler, owner, n, node) for n in names]
        if name in ("values", "children", "parameters", "buffers"):
            return Items(items, names)
        keys = [compiler.constant(n) for n in names]
        return Items(keys if name == "keys" else [Items([k, v]) for k, v in zip(keys, items)])

    def ignored(self, compiler, fn, owner, args, kwargs, node, mode):
        """A call of a function marked with ``ignore`` or ``unused``."""
        code = get_source(fn)
        returns = code.returns() or T.TENSOR
        if mode == "unused":
            text = f"This Python function is annotated to be ignored and cannot be run: {fn.__name__}"
            compiler.emit("prim::RaiseException", (compiler.constant(text), compiler.constant("RuntimeError")), (), node)
            return compiler.emit_value("prim::Uninitialized", (), returns, node)
        parameters = [p for p in code.parameters()]
        schema_args = [_argument(p) for p in parameters[1 if owner is not None else 0:]]
        values = compiler.fit(Schema(fn.__name__, schema_args, returns), args, kwargs, node)
        if owner is not None:
            values.insert(0, owner.value)
        return compiler.emit_value("prim::PythonOp", values, returns, node, name=fn.__name__, callable=fn)


def _argument(parameter):
    from .schema import Argument

    name, kind, default, only, _ = parameter
    return Argument(name, kind or T.TENSOR, default, kind is None, only)


