"""The sizes of tensors while a trace runs: ints and floats that remember which value of the graph they are."""
from .annotations import tracing

_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floordiv", "mod": "remainder"}
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")


class Traced:
    """What traced numbers share: arithmetic is recorded; as a bool, int or float they become constants, with a warning."""

    __slots__ = ()

    def plain(self):
        """The number alone."""
        return self._kind(self)

    def __bool__(self):
        _warn("boolean")
        return bool(self.plain())

    def __int__(self):
        _warn("integer")
        return int(self.plain())

    def __float__(self):
        _warn("float")
        return float(self.plain())

    def __neg__(self):
        return _record("neg", -self.plain(), self)

    def __pos__(self):
        return self

    def __abs__(self):
        return _record("abs", abs(self.plain()), self, domain="math")

    def __divmod__(self, other):
        return self // other, self % other

    def __pow__(self, other):
        return _record("pow", float(self.plain()) ** plain(other), self, other, domain="math")

    def item(self):
        """The number, as a constant."""
        _warn("number")
        return self.plain()

    def __repr__(self):
        return repr(self.plain())

    __str__ = __repr__

    def __format__(self, spec):
        return format(self.plain(), spec)

    def __hash__(self):
        return hash(self.plain())

    def __reduce__(self):
        return (type(self.plain()), (self.plain(),))


class TracedInt(Traced, int):
    """An int of a trace."""

    _kind = int

    def plain(self):
        """The int alone."""
        return int.__index__(self)


class TracedFloat(Traced, float):
    """A float of a trace."""

    __slots__ = ()
    _kind = float

    def plain(self):
        """The float alone."""
        return float.__add__(self, 0.0)


class TracedBool(TracedInt):
    """The result of a comparison of a trace's numbers: 0 or 1, of which ``if`` makes a constant."""

    def plain(self):
        """The bool alone."""
        return int.__index__(self) == 1


def plain(value):
    """A number without its place in the graph; anything else as it is."""
    return value.plain() if isinstance(value, Traced) else value


def wrap(value):
    """A number as a traced one."""
    if isinstance(value, bool):
        return TracedBool(value)
    return TracedFloat(value) if isinstance(value, float) else TracedInt(value)


def _warn(kind):
    state = tracing[0]
    if state is not None and not state.depth:
        state.warn_conversion(kind)


def _record(name, result, *args, domain="aten"):
    state = tracing[0]
    if state is None or state.depth or not state.is_here():
        return result
    return state.record_number(f"{domain}::{name}", args, wrap(result))


def _binary(name, kind, reflected):
    operator = f"__{name}__"

    def method(self, other):
        a, b = self.plain(), plain(other)
        if not isinstance(b, (int, float)):
            return NotImplemented
        a, b = (b, a) if reflected else (a, b)
        result = getattr(a, operator)(b)
        if result is NotImplemented:
            result = getattr(float(a), operator)(float(b))
        if result is NotImplemented:
            return result
        return _record(kind, result, *((other, self) if reflected else (self, other)))
    return method


for _name, _kind in _BINARY.items():
    setattr(Traced, f"__{_name}__", _binary(_name, _kind, False))
    setattr(Traced, f"__r{_name}__", _binary(_name, _kind, True))
for _name in _COMPARE:
    setattr(Traced, f"__{_name}__", _binary(_name, _name, False))
