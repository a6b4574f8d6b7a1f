"""What a compiled function takes and gives: its arguments' names, types and defaults, and the checks of a call."""
from ..shape import Size
from ..tensor import Tensor
from . import types as T


class _Nothing:
    def __repr__(self):
        return "<no default>"

    def __deepcopy__(self, memo):
        return self


NOTHING = _Nothing()


class Argument:
    """One argument.

    Args:
        name (str). type (Type). default: NOTHING where it must be given.
        inferred (bool): there was no annotation, so that it is a Tensor.
        keyword_only (bool): it cannot be given by position.
    """

    __slots__ = ("name", "type", "default", "inferred", "keyword_only")

    def __init__(self, name, type, default=NOTHING, inferred=False, keyword_only=False):
        self.name, self.type, self.default, self.inferred, self.keyword_only = name, type, default, inferred, keyword_only

    def has_default(self):
        """Whether it may be left out."""
        return self.default is not NOTHING

    def __str__(self):
        return f"{self.type} {self.name}" + (f"={self.default}" if self.has_default() else "")


class Schema:
    """Arguments and result of a compiled function.

    Args:
        name (str). arguments (list of Arguments): a method's first is ``self``. returns (Type).
    """

    __slots__ = ("name", "arguments", "returns")

    def __init__(self, name, arguments, returns):
        self.name, self.arguments, self.returns = name, arguments, returns

    def __str__(self):
        returns = f"({self.returns})" if self.returns.name in ("Tuple", "NamedTuple") else str(self.returns)
        return f"{self.name}({', '.join(map(str, self.arguments))}) -> {returns}"

    __repr__ = __str__

    def __deepcopy__(self, memo):
        return self

    def convert(self, value, argument):
        """An argument's value as its type: a list as a list of its own, an int as a float where that is wanted.

        Raises:
            RuntimeError: in torch's words, where it is of another type.
        """
        try:
            return convert(value, argument.type)
        except _Misfit:
            raise RuntimeError(self.misfit(value, argument)) from None

    def misfit(self, value, argument):
        """torch's message about an argument of another type."""
        expected = argument.type.annotation() + (" (inferred)" if argument.inferred else "")
        found = T.of_value(value)
        kind = type(value).__name__ if found is None else found.annotation()
        text = (f"{self.name}() Expected a value of type '{expected}' for argument '{argument.name}' but instead found type "
                f"'{kind}'.\n")
        if argument.inferred:
            text += (f"Inferred '{argument.name}' to be of type 'Tensor' because it was not annotated with an explicit type.\n")
        place = [a for a in self.arguments if a.type.name != "Module"].index(argument)
        return (text + f"Position: {place}\nValue: {value!r}\nDeclaration: {self}\n"
                f"Cast error details: Unable to cast {value!r} to {argument.type!r}")

    def complain(self, given, names):
        """The RuntimeError for a call that does not fit, with ``given`` arguments by position and ``names`` by name; or None."""
        arguments = [a for a in self.arguments]
        by_position = [a for a in arguments if not a.keyword_only]
        if given + len(names) > len(arguments):
            return RuntimeError(f"{self.name}() expected at most {len(arguments)} argument(s) but received {given + len(names)} "
                                f"argument(s). Declaration: {self}")
        known = {a.name for a in arguments}
        for name in names:
            if name not in known:
                return RuntimeError(f"Unknown keyword argument '{name}' for operator '{self.name}'. Schema: {self}")
        for name in names:
            if name in {a.name for a in by_position[:given]}:
                return RuntimeError(f"{self.name}() got multiple values for argument '{name}'. Declaration: {self}")
        for a in [*by_position[given:], *(a for a in arguments if a.keyword_only)]:
            if a.name not in names and not a.has_default():
                return RuntimeError(f"{self.name}() is missing value for argument '{a.name}'. Declaration: {self}")
        return None


class _Misfit(Exception):
    pass


def convert(value, kind):
    """``value`` as a value of the Type ``kind``; raises where it is none."""
    name = kind.name
    if name == "Tensor":
        if isinstance(value, Tensor):
            return value
    elif name == "float":
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif name == "int":
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value)
    elif name in ("bool", "str", "complex"):
        if isinstance(value, {"bool": bool, "str": str, "complex": (complex, float, int)}[name]):
            return value if name != "complex" else complex(value)
    elif name == "NoneType":
        if value is None:
            return value
    elif name == "Optional":
        return None if value is None else convert(value, kind.args[0])
    elif name == "List":
        if isinstance(value, (list, Size)) or isinstance(value, tuple) and kind.args[0] in (T.INT, T.FLOAT, T.TENSOR):
            return [convert(v, kind.args[0]) for v in value]
    elif name in ("Tuple", "NamedTuple"):
        if isinstance(value, tuple) and len(value) == len(kind.args):
            inside = [convert(v, t) for v, t in zip(value, kind.args)]
            return type(value)(*inside) if hasattr(value, "_make") else tuple(inside)
    elif name == "Dict":
        if isinstance(value, dict):
            return {convert(k, kind.args[0]): convert(v, kind.args[1]) for k, v in value.items()}
    elif name == "number":
        if isinstance(value, (int, float, complex)):
            return value
    elif name in ("Any", "Module", "Function", "Enum"):
        return value
    elif name == "Device":
        from ..devices import device

        return value if isinstance(value, device) else device(value)
    elif name == "Future":
        if isinstance(value, T.Future):
            return value
    elif T.of_value(value) == kind:
        return value
    raise _Misfit
