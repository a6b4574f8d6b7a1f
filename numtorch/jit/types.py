"""The types of graph values: Tensor, numbers, strings, None, and lists, tuples, dicts and optionals of them."""
import enum
import inspect
import types
import typing

from .. import devices, dtypes
from ..nn.modules.module import Module
from ..nn.utils.rnn import PackedSequence
from ..random import Generator
from ..shape import Size
from ..tensor import Tensor, layout, memory_format

_GRAPH_NAMES = {"Dtype": "int", "Layout": "int", "MemoryFormat": "int", "number": "Scalar"}
_PYTHON_NAMES = {"NoneType": "None", "number": "number", **{k: "int" for k in ("Dtype", "Layout", "MemoryFormat")}}


class Type:
    """What is known of a value before the program runs.

    Args:
        name (str): Tensor, int, float, bool, complex, number, str, NoneType, Device, Dtype, Any, List, Tuple, Dict, Optional,
            Future, Module, Function ...
        args (tuple of Types): of a container, the types inside.
        label (str): the class name of a Module or NamedTuple; how a traced Tensor is shown (then it is not compared).
        fields (tuple of str): the names of a NamedTuple's elements.
    """

    __slots__ = ("name", "args", "label", "fields")

    def __init__(self, name, args=(), label=None, fields=()):
        self.name, self.args, self.label, self.fields = name, tuple(args), label, tuple(fields)

    def _key(self):
        return self.name, self.args, self.fields, None if self.name == "Tensor" else self.label

    def __eq__(self, other):
        return self is other or isinstance(other, Type) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __deepcopy__(self, memo):
        return self

    def __str__(self):
        """As printed in graphs: ``Tensor[]``, ``(int, Tensor)``, ``Dict(str, int)``, ``Tensor?``."""
        if self.label is not None and self.name in ("Tensor", "Module", "NamedTuple"):
            return self.label
        inside = ", ".join(map(str, self.args))
        if self.name == "List":
            return f"{inside}[]"
        if self.name == "Optional":
            return f"{inside}?"
        if self.name in ("Tuple", "NamedTuple"):
            return f"({inside})"
        return f"{self.name}({inside})" if self.args else _GRAPH_NAMES.get(self.name, self.name)

    def annotation(self):
        """As written in Python: ``List[Tensor]``, ``Optional[int]``."""
        if self.name in ("Module", "NamedTuple") and self.label is not None:
            return self.label
        name = "Tuple" if self.name == "NamedTuple" else self.name
        if name == "Tuple" and not self.args:
            return "Tuple[()]"
        if not self.args:
            return _PYTHON_NAMES.get(name, name)
        return f"{name}[{', '.join(a.annotation() for a in self.args)}]"

    annotation_str = property(annotation)

    def __repr__(self):
        return self.annotation()

    def kind(self):
        """torch's name for the sort of type, such as TensorType."""
        return {"int": "IntType", "float": "FloatType", "bool": "BoolType", "str": "StringType", "number": "NumberType",
                "NoneType": "NoneType", "Module": "ClassType"}.get(self.name, self.name + "Type")


TENSOR, INT, FLOAT, BOOL, COMPLEX = Type("Tensor"), Type("int"), Type("float"), Type("bool"), Type("complex")
NUMBER, STR, NONE, ANY, DEVICE, DTYPE = Type("number"), Type("str"), Type("NoneType"), Type("Any"), Type("Device"), Type("Dtype")
LAYOUT, MEMORY_FORMAT, GENERATOR, UNKNOWN = Type("Layout"), Type("MemoryFormat"), Type("Generator"), Type("Unknown")
FUNCTION = Type("Function")
NUMBERS = frozenset((INT, FLOAT, BOOL, COMPLEX, NUMBER))
_SIMPLE = {int: INT, float: FLOAT, bool: BOOL, complex: COMPLEX, str: STR, type(None): NONE, None: NONE, devices.device: DEVICE,
           dtypes.dtype: DTYPE, layout: LAYOUT, memory_format: MEMORY_FORMAT, Generator: GENERATOR, typing.Any: ANY}


def list_of(t):
    """List[t]."""
    return Type("List", (t,))


def tuple_of(*args):
    """Tuple[args]."""
    return Type("Tuple", args)


def optional(t):
    """Optional[t]; itself where None is allowed already."""
    return t if t.name in ("Optional", "NoneType", "Any") else Type("Optional", (t,))


def unwrap(t):
    """What an Optional holds when it is not None."""
    return t.args[0] if t.name == "Optional" else t


INTS, TENSORS = list_of(INT), list_of(TENSOR)


def named_tuple(label, fields, args):
    """The type of a named tuple."""
    return Type("NamedTuple", args, label, fields)


PACKED = named_tuple("PackedSequence", PackedSequence._fields, (TENSOR, TENSOR, optional(TENSOR), optional(TENSOR)))


class Future:
    """The result of ``jit.fork``, which has run already; ``Future[T]`` is its annotation."""

    def __init__(self, value=None):
        self._value = value

    def wait(self):
        """The result."""
        return self._value

    value = wait

    def done(self):
        """True."""
        return True

    def __class_getitem__(cls, item):
        return types.GenericAlias(cls, (item,))


def is_named_tuple(cls):
    """True for a class made by NamedTuple or namedtuple."""
    return inspect.isclass(cls) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def from_annotation(annotation):
    """The Type that a Python annotation means; None where it means none that a graph can hold."""
    if isinstance(annotation, Type):
        return annotation
    try:
        found = _SIMPLE.get(annotation)
    except TypeError:                               # not hashable
        return None
    if found is not None:
        return found
    if inspect.isclass(annotation) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, Tensor):
            return TENSOR
        if issubclass(annotation, Size):
            return INTS
        if annotation is PackedSequence:
            return PACKED
        if is_named_tuple(annotation):
            hints = typing.get_type_hints(annotation)
            args = [from_annotation(hints.get(f, Tensor)) for f in annotation._fields]
            return None if None in args else named_tuple(annotation.__name__, annotation._fields, args)
        if issubclass(annotation, enum.Enum):
            return Type("Enum", (), annotation.__name__)
        if annotation is Future:
            return Type("Future", (TENSOR,))
        return {list: list_of(TENSOR), tuple: None, dict: None}.get(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Final:
        return from_annotation(args[0])
    if origin in (typing.Union, types.UnionType):
        inside = [from_annotation(a) for a in args]
        if None in inside:
            return None
        plain = [t for t in inside if t != NONE]
        if len(plain) > 1:
            return NUMBER if set(plain) <= NUMBERS and len(plain) == len(inside) else None
        return optional(plain[0])
    if origin is tuple and args == ((),):
        args = ()
    if any(a is Ellipsis for a in args):
        return None
    inside = [from_annotation(a) for a in args]
    if None in inside:
        return None
    return {list: lambda: list_of(inside[0] if inside else TENSOR), tuple: lambda: tuple_of(*inside),
            dict: lambda: Type("Dict", inside), Future: lambda: Type("Future", inside)}.get(origin, lambda: None)()


def of_value(value):
    """The Type of a Python value; None where a graph cannot hold it. Empty lists are lists of Tensors, as in torch."""
    if isinstance(value, Tensor):
        return TENSOR
    found = _SIMPLE.get(type(value))
    if found is not None:
        return found
    if isinstance(value, (bool, int, float)):
        return BOOL if isinstance(value, bool) else INT if isinstance(value, int) else FLOAT
    if isinstance(value, str):
        return STR
    if isinstance(value, Module):
        return module_type(value)
    if isinstance(value, Size):
        return INTS
    if isinstance(value, (list, tuple)):
        inside = [of_value(v) for v in value]
        if None in inside:
            return None
        if isinstance(value, list):
            element = TENSOR if not inside else unify_all(inside)
            return element and list_of(element)
        return named_tuple(type(value).__name__, value._fields, inside) if hasattr(value, "_fields") else tuple_of(*inside)
    if isinstance(value, dict):
        if not value:
            return Type("Dict", (STR, TENSOR))
        key, element = unify_all([of_value(k) for k in value]), unify_all([of_value(v) for v in value.values()])
        return None if key is None or element is None else Type("Dict", (key, element))
    if isinstance(value, Future):
        return Type("Future", (of_value(value._value) or ANY,))
    return None


def module_type(module):
    """The type of a module: its class, by torch's name."""
    return Type("Module", (), module.__dict__.get("_type_name") or qualified_name(type(module)))


def qualified_name(value):
    """torch's name for a function or class: ``__torch__.``, the module unless it is the main program, the name."""
    module = "" if value.__module__ == "__main__" else value.__module__ + "."
    module = "torch" + module[len("numtorch"):] if module.startswith("numtorch.") else module
    name = value.__name__ if value.__name__ != "<lambda>" else "_lambda"
    return f"__torch__.{module}{name}"


def is_subtype(a, b):
    """Whether a value of type ``a`` may stand where one of type ``b`` is expected."""
    if a == b or b == ANY or a == UNKNOWN:
        return True
    if b.name == "Optional":
        return a == NONE or is_subtype(unwrap(a), b.args[0])
    if b == NUMBER:
        return a in NUMBERS
    if a.name in ("Tuple", "NamedTuple") and b.name == "Tuple" and len(a.args) == len(b.args):
        return all(map(is_subtype, a.args, b.args))
    return a.name == b.name == "Future" and is_subtype(a.args[0], b.args[0])


def unify(a, b):
    """The narrowest type that holds values of both; None where there is none short of Any."""
    if a == UNKNOWN or is_subtype(a, b):
        return b
    if b == UNKNOWN or is_subtype(b, a):
        return a
    if NONE in (a, b):
        return optional(b if a == NONE else a)
    if "Optional" in (a.name, b.name):
        inside = unify(unwrap(a), unwrap(b))
        return inside and optional(inside)
    if {a.name, b.name} <= {"Tuple", "NamedTuple"} and len(a.args) == len(b.args):
        inside = [unify(x, y) for x, y in zip(a.args, b.args)]
        return None if None in inside else tuple_of(*inside)
    return None


def unify_all(found):
    """``unify`` of a list of types, of which None is any that is not known."""
    result = found[0]
    for t in found[1:]:
        result = None if result is None or t is None else unify(result, t)
    return result


def leaves(tree):
    """The elements of nested tuples and lists."""
    for branch in tree if isinstance(tree, (tuple, list)) else ():
        yield from leaves(branch)
    if not isinstance(tree, (tuple, list)):
        yield tree


def bare(t):
    """A type without the shapes that a trace has seen."""
    if t.name == "Tensor":
        return TENSOR
    return Type(t.name, map(bare, t.args), t.label, t.fields) if t.args else t


def to_json(t):
    """A type as nested lists."""
    return [t.name, [to_json(a) for a in t.args], t.label, list(t.fields)]


def from_json(data):
    """The type that ``to_json`` wrote."""
    name, args, label, fields = data
    return Type(str(name), [from_json(a) for a in args], label, fields)
