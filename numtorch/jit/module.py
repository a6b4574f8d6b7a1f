"""What trace and script give: ScriptFunction, and ScriptModule with its compiled methods."""
import types as pytypes

from ..nn.modules import _hooks as hooks
from ..nn.modules import container
from ..nn.modules.module import Module
from . import types as T
from .annotations import tracing as _tracing
from .printing import python_code

CONTAINERS = (container.ModuleList, container.Sequential, container.ModuleDict, container.ParameterList, container.ParameterDict)


class Method:
    """A compiled method: graph, schema, and, once it was called, the Python function that runs it."""

    __slots__ = ("name", "graph", "schema", "run")

    def __init__(self, name, graph, schema):
        self.name, self.graph, self.schema = name, graph, schema
        self.run = self._first

    def _first(self, module, *args, **kwargs):
        from .executor import compile_graph
        from .passes import inlined

        self.run = compile_graph(inlined(self.graph, module), self.schema)
        return self.run(module, *args, **kwargs)

    def call(self, module, args, kwargs):
        """Runs the method; torch's RuntimeError for arguments that do not fit."""
        try:
            return self.run(module, *args, **kwargs)
        except TypeError as error:
            complaint = _complaint(self.schema, error, len(args) + 1, kwargs)
            if complaint is None:
                raise
            raise complaint from None

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError("a ScriptModule cannot be pickled: use torch.jit.save")


def _complaint(schema, error, given, kwargs):
    """The error for a call whose arguments do not fit; None where the TypeError came from inside."""
    frames = error.__traceback__
    depth = 0
    while frames is not None:
        depth += frames.tb_frame.f_code.co_filename.startswith("<numtorch.jit")
        frames = frames.tb_next
    return None if depth else schema.complain(given, kwargs)


class ScriptMethod:
    """A compiled method of one module, to be called."""

    __slots__ = ("owner", "_method")

    def __init__(self, owner, method):
        self.owner, self._method = owner, method

    def __call__(self, *args, **kwargs):
        from .tracer import recorded_call

        return recorded_call(self._method.call, self.owner, self._method, args, kwargs)

    name = property(lambda self: self._method.name, doc="The method's name.")
    graph = property(lambda self: self._method.graph, doc="The graph.")
    schema = property(lambda self: self._method.schema, doc="Names and types of arguments and result.")
    code = property(lambda self: python_code(self._method.graph, self._method.schema)[0], doc="The graph as Python-like text.")

    @property
    def inlined_graph(self):
        """The graph with the calls in it replaced by what they call."""
        from .passes import inlined

        return inlined(self._method.graph, self.owner)


class ScriptFunction:
    """A compiled function. It is called as the function that it was made from.

    Args:
        graph (Graph). schema (Schema). fn: the Python function, or None for one that was loaded.
    """

    def __init__(self, graph, schema, fn=None):
        self.graph, self.schema = graph, schema
        self.name = self.__name__ = schema.name
        self.qualified_name = T.qualified_name(fn) if fn is not None else f"__torch__.{schema.name}"
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__wrapped__ = fn
        self._run = self._first
        if fn is None:
            del self.__wrapped__

    def _first(self, *args, **kwargs):
        from .executor import compile_graph

        self._run = compile_graph(self.inlined_graph, self.schema)
        return self._run(*args, **kwargs)

    def __call__(self, *args, **kwargs):
        if _tracing[0] is not None:
            from .tracer import recorded_call

            return recorded_call(lambda _, a, k: self._run(*a, **k), None, self, args, kwargs)
        try:
            return self._run(*args, **kwargs)
        except TypeError as error:
            complaint = _complaint(self.schema, error, len(args), kwargs)
            if complaint is None:
                raise
            raise complaint from None

    def __get__(self, owner, kind=None):
        return self if owner is None else pytypes.MethodType(self, owner)

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError("a ScriptFunction cannot be pickled: use torch.jit.save")

    @property
    def code(self):
        """The graph as Python-like text."""
        return python_code(self.graph, self.schema)[0]

    @property
    def code_with_constants(self):
        """``code``, and the tensors that it names CONSTANTS.c0 ..."""
        return python_code(self.graph, self.schema)

    @property
    def inlined_graph(self):
        """The graph with the calls in it replaced by what they call."""
        from .passes import inlined

        return inlined(self.graph)

    def save(self, f, _extra_files=None):
        """Writes the function to a file; see ``jit.save``."""
        from .saving import save

        save(self, f, _extra_files)

    def save_to_buffer(self, _extra_files=None):
        """The bytes of the file that ``save`` writes."""
        from .saving import to_bytes

        return to_bytes(self, _extra_files)


class _Stub:
    """A method that ``script_method`` marked."""

    def __init__(self, fn):
        self.fn = fn


def script_method(fn):
    """Decorator for methods of a ScriptModule's class: they are compiled when an instance has been made."""
    return _Stub(fn)


class _ScriptMeta(type):
    """Classes of the older style: their marked methods are compiled at the end of the constructor."""

    def __new__(meta, name, bases, namespace, **kwargs):
        stubs = {n: namespace.pop(n).fn for n in list(namespace) if isinstance(namespace[n], _Stub)}
        cls = super().__new__(meta, name, bases, namespace, **kwargs)
        inherited = {}
        for base in reversed(cls.__mro__):
            inherited.update(base.__dict__.get("_script_stubs", {}))
        cls._script_stubs = {**inherited, **stubs}
        for n in stubs:
            setattr(cls, n, _Compiled(n))
        return cls

    def __call__(cls, *args, **kwargs):
        found = super().__call__(*args, **kwargs)
        if cls._script_stubs:
            from .script import finish_script_module

            finish_script_module(found, cls._script_stubs)
        return found


class _Compiled:
    """``module.forward``: the compiled method of a name."""

    def __init__(self, name):
        self.name = name

    def __get__(self, owner, kind=None):
        if owner is None:
            return self
        method = owner._methods.get(self.name)
        if method is None:
            raise AttributeError(f"'{type(owner).__name__}' object has no attribute '{self.name}'")
        return ScriptMethod(owner, method)


class ScriptModule(Module, metaclass=_ScriptMeta):
    """A module whose methods are graphs. Subclass it to mark methods with ``script_method``; ``jit.script`` is the usual way.

    Its parameters, buffers and submodules are those of any Module: ``state_dict``, ``to``, ``train``, hooks and the rest work.
    """

    _type_name, _container = None, False

    def __init__(self):
        super().__init__()
        own = self.__dict__
        own["_methods"], own["_script_attributes"] = {}, {}
        own["_type_name"] = T.qualified_name(type(self))

    forward = _Compiled("forward")

    def __call__(self, *args, **kwargs):
        method = self._methods.get("forward")
        if method is None or self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks \
                or hooks.forward or hooks.forward_pre or hooks.backward or hooks.backward_pre or _tracing[0] is not None:
            return super().__call__(*args, **kwargs)
        try:
            return method.run(self, *args, **kwargs)
        except TypeError as error:
            complaint = _complaint(method.schema, error, len(args) + 1, kwargs)
            if complaint is None:
                raise
            raise complaint from None

    def __getattr__(self, name):
        method = self.__dict__.get("_methods", {}).get(name)
        if method is not None:
            return ScriptMethod(self, method)
        return super().__getattr__(name)

    def __setattr__(self, name, value):
        if name in self.__dict__.get("_modules", ()) and self._methods and not isinstance(value, ScriptModule):
            raise RuntimeError(f"Cannot re-assign modules in a ScriptModule with non-scripted module, tried to replace existing "
                               f"module '{name}': {value}")
        super().__setattr__(name, value)

    @property
    def original_name(self):
        """The name of the class that the module was made from."""
        return (self._type_name or type(self).__name__).rpartition(".")[2]

    @property
    def graph(self):
        """The graph of forward."""
        return self._forward_method().graph

    @property
    def schema(self):
        """Names and types of forward's arguments and result."""
        return self._forward_method().schema

    @property
    def inlined_graph(self):
        """The graph of forward with the calls in it replaced by what they call."""
        return ScriptMethod(self, self._forward_method()).inlined_graph

    @property
    def code(self):
        """The graph of forward as Python-like text."""
        return ScriptMethod(self, self._forward_method()).code

    @property
    def code_with_constants(self):
        """``code``, and the tensors that it names CONSTANTS.c0 ..."""
        method = self._forward_method()
        return python_code(method.graph, method.schema)

    def _forward_method(self):
        method = self._methods.get("forward")
        if method is None:
            raise AttributeError(f"'{self.original_name}' has no compiled forward")
        return method

    def define(self, src):
        """NotImplementedError: methods in text are not built."""
        raise NotImplementedError("ScriptModule.define: methods given as text are not built; write them into the class")

    def save(self, f, _extra_files=None):
        """Writes the module to a file; see ``jit.save``."""
        from .saving import save

        save(self, f, _extra_files)

    def save_to_buffer(self, _extra_files=None):
        """The bytes of the file that ``save`` writes."""
        from .saving import to_bytes

        return to_bytes(self, _extra_files)


class RecursiveScriptModule(ScriptModule):
    """What ``jit.script`` and ``jit.load`` give. It shares parameters and buffers with the module that it was made from."""

    @classmethod
    def _of(cls, original):
        """An empty one for modules of the class ``original``, or of a class by torch's name."""
        found = cls()
        if isinstance(original, str):
            found.__dict__["_type_name"] = original
        else:
            found.__dict__["_type_name"] = T.qualified_name(original)
            found.__dict__["_container"] = issubclass(original, CONTAINERS)
        return found

    # ---- ModuleList, Sequential, ModuleDict: as Python sees them ---------------------------------------------------------

    def _elements(self):
        if not self._container:
            raise TypeError(f"'{self.original_name}' object is no container of modules")
        return self._modules or self._parameters

    def __bool__(self):
        return True

    def __len__(self):
        return len(self._elements())

    def __iter__(self):
        elements = self._elements()
        return iter(elements if self.original_name.endswith("Dict") else elements.values())

    def __contains__(self, key):
        return key in self._elements()

    def __getitem__(self, key):
        elements = self._elements()
        if isinstance(key, str):
            return elements[key]
        return list(elements.values())[key]

    def keys(self):
        """The names of a container's elements."""
        return self._elements().keys()

    def values(self):
        """A container's elements."""
        return self._elements().values()

    def items(self):
        """(name, element) of a container."""
        return self._elements().items()

    def _get_name(self):
        return "RecursiveScriptModule"

    def extra_repr(self):
        """The name of the class that the module was made from."""
        return f"original_name={self.original_name}"


class TracedModule(ScriptModule):
    """A submodule of what ``jit.trace`` gives."""

    _of = RecursiveScriptModule.__dict__["_of"]

    extra_repr = RecursiveScriptModule.extra_repr

    def _get_name(self):
        return self.original_name


class TopLevelTracedModule(TracedModule):
    """What ``jit.trace`` gives for a module."""
