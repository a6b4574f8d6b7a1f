"""What stands for a name or expression while compiling, beside graph values: Python objects, modules, methods, sequences."""
import enum
import types

from .. import devices, dtypes
from ..tensor import Tensor, layout, memory_format
from . import types as T
from .errors import compile_error

_USABLE = (devices.device, dtypes.dtype, layout, memory_format, type(None))


class Sugar:
    """The base: a thing that may have attributes and be called, but is no value unless it says so."""

    def as_value(self, compiler, node):
        """The graph value, for where one is needed."""
        raise compiler.error(f"{self.describe()} cannot be used as a value", node)

    def describe(self):
        """Its name in errors."""
        return type(self).__name__


class Undefined(Sugar):
    """A variable that has no value on some way to here.

    Args:
        reason (str): says so, for the error if it is used.
    """

    def __init__(self, reason):
        self.reason = reason

    def as_value(self, compiler, node):
        raise compile_error(f"\n{self.reason}\nand was used here", compiler.source(node))


class Python(Sugar):
    """A Python object that is known while compiling: a function, a class, a module of Python, a constant.

    Args:
        obj: the object. usable (bool): whether a number, string or the like may become a graph value.
    """

    def __init__(self, obj, usable=False):
        self.obj, self.usable = obj, usable

    def as_value(self, compiler, node):
        obj = self.obj
        if isinstance(obj, enum.Enum):
            return compiler.constant(obj, node, T.Type("Enum", (), type(obj).__name__))
        if isinstance(obj, _USABLE) or self.usable and not isinstance(obj, Tensor) and T.of_value(obj) is not None:
            return compiler.constant(obj, node)
        if isinstance(obj, types.FunctionType):
            return compiler.function_value(obj, node)
        if isinstance(obj, types.ModuleType) or isinstance(obj, type):
            raise compiler.error(f"python value of type '{type(obj).__name__}' cannot be used as a value", node)
        raise compiler.error(
            f"python value of type '{type(obj).__name__}' cannot be used as a value. Perhaps it is a closed over global "
            "variable? "
            "If so, please consider passing it in as an argument or use a local variable instead.", node)

    def describe(self):
        return f"python value of type '{type(self.obj).__name__}'"


class Module(Sugar):
    """A module of the program.

    Args:
        module (ScriptModule): what it is compiled into. value (Value): the graph's handle of it.
        builder (ModuleBuilder or None): compiles its methods; None for a module that is compiled already.
    """

    def __init__(self, module, value, builder=None):
        self.module, self.value, self.builder = module, value, builder

    @property
    def type(self):
        """The module's Type."""
        return T.module_type(self.module)

    def as_value(self, compiler, node):
        return self.value

    def describe(self):
        return f"module '{self.module.original_name}'"


class Method(Sugar):
    """A method of a value or of a module.

    Args:
        owner (Value or Module). name (str). function: of a module, the Python function; None for one that is compiled.
    """

    def __init__(self, owner, name, function=None):
        self.owner, self.name, self.function = owner, name, function

    def as_value(self, compiler, node):
        raise compiler.error(f"the method '{self.name}' cannot be used as a value; call it", node)


class Items(Sugar):
    """A sequence whose length is known: a loop over it is written out.

    Args:
        items (list): what stands for its elements. keys (list or None): of a dict of modules, the names.
    """

    def __init__(self, items, keys=None):
        self.items, self.keys = items, keys

    def as_value(self, compiler, node):
        values = [compiler.value(item, node) for item in self.items]
        return compiler.emit_value("prim::TupleConstruct", values, T.tuple_of(*[v.type for v in values]), node)


class Iteration(Sugar):
    """What a loop can go through: a length (a Value; None where it has no end) and the element at an index.

    Args:
        length (Value or None): the number of elements. element (callable): index Value -> what stands for the element.
        as_list (callable or None): makes the list Value of all elements.
    """

    def __init__(self, length, element, as_list=None):
        self.length, self.element, self.as_list = length, element, as_list

    def as_value(self, compiler, node):
        if self.as_list is None:
            raise compiler.error("an iterator cannot be used as a value; loop over it", node)
        return self.as_list()


class Super(Sugar):
    """``super()`` of a method: looks methods up behind ``cls`` in the order of classes."""

    def __init__(self, owner, cls):
        self.owner, self.cls = owner, cls
