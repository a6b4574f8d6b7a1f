"""Numbers of simulated kernels: NumPy's scalars, with Numba's rule for small integers, and functions that never raise.

Numba computes integers in at least 64 bits: uint32 + uint32 is uint64, int8 * int8 int64, and int64 with uint64 int64. NumPy
stays in the type and wraps around. So the integers here are subclasses of NumPy's that widen; a kernel that forgets to cut a
product back to 32 bits goes wrong in the simulator as on the device.
"""
import cmath
import math
import operator
import types

import ml_dtypes
import numpy as np
from numtorch.kernels import _math, _powers, _special, _trigonometry
from numtorch.kernels._relink import Relinker, relink

_LARGEST, _SPAN = (1 << 63) - 1, 1 << 64


def wrap64(n):
    """A Python int as int64, modulo 2^64."""
    n &= _SPAN - 1
    return np.int64(n - _SPAN if n > _LARGEST else n)


_SIGNED = {int: True, bool: True, np.bool_: True, **{t: True for t in (np.int8, np.int16, np.int32, np.int64)},
           **{t: False for t in (np.uint8, np.uint16, np.uint32, np.uint64)}}      # type of an integer -> whether it has a sign


def _binary(fn, exact, reflected):
    def compute(self, other):
        signed = _SIGNED.get(type(other))
        if signed is None:
            mine = self.plain(self)
            return fn(other, mine) if reflected else fn(mine, other)
        a, b = (int(other), int(self)) if reflected else (int(self), int(other))
        if signed or self.signed:
            return wrap64(exact(a - _SPAN if a > _LARGEST else a, b - _SPAN if b > _LARGEST else b))
        return UINT64(exact(a, b))
    return compute


def _comparison(fn):
    def compare(self, other):
        return fn(int(self), int(other)) if type(other) in _SIGNED else fn(self.plain(self), other)
    return compare


def _quotient(a, b):
    """a / b: of two integers in float64, of one and another number in NumPy's type for the two."""
    if type(a) in _SIGNED and type(b) in _SIGNED:
        return np.float64(int(a)) / np.float64(int(b))
    return (a.plain(a) if type(a) in _SIGNED else a) / (b.plain(b) if type(b) in _SIGNED else b)


def _divided(fn):
    return lambda a, b: fn(a, b) if b else 0        # on the device any number


def _shift(fn, reflected):
    """A shift: of the sign that its left operand has."""
    def compute(self, other):
        x, by = (other, self) if reflected else (self, other)
        n = fn(int(x), min(int(by), 64)) if by >= 0 else 0
        return wrap64(n) if _SIGNED[type(x)] else UINT64(n)
    return compute


# in the dict of each class: NumPy 2.4 recurses without end where a subclass of its scalars has them from a base before NumPy's
_METHODS = {
    "__slots__": (), "__array_ufunc__": None,       # NumPy's own scalars leave mixed operations to these
    "__neg__": lambda self: type(self)(-int(self)),
    "__invert__": lambda self: type(self)(~int(self)),
    "__abs__": lambda self: self if int(self) >= 0 else -self,
    "__truediv__": _quotient,
    "__rtruediv__": lambda self, other: _quotient(other, self),
    "__hash__": lambda self: hash(int(self)),
    "__reduce__": lambda self: (type(self), (int(self),))}
_METHODS |= {f"__{name}__": _comparison(getattr(operator, name)) for name in ("lt", "le", "eq", "ne", "ge", "gt")}
for _name in ("add", "sub", "mul", "and_", "or_", "xor", "floordiv", "mod"):
    _fn = getattr(operator, _name)
    for _side in ("", "r"):
        _METHODS[f"__{_side}{_name.rstrip('_')}__"] = _binary(_fn, _divided(_fn) if _name in ("floordiv", "mod") else _fn, _side)
for _side in ("", "r"):
    _METHODS |= {f"__{_side}lshift__": _shift(operator.lshift, _side), f"__{_side}rshift__": _shift(operator.rshift, _side)}


def _integer(plain):
    low, high = int(np.iinfo(plain).min), int(np.iinfo(plain).max)
    make, span = plain.__new__, high - low + 1

    def new(cls, value=0):
        """A number converted as C does: towards zero, modulo the width of the type."""
        if type(value) not in _SIGNED and not abs(value) < _SPAN:
            return make(cls, low)
        n = int(value)
        return make(cls, n if low <= n <= high else (n - low) % span + low)

    made = type(plain.__name__, (plain,), _METHODS | {
        "plain": plain, "signed": low < 0, "__new__": new})
    _SIGNED[made] = made.signed
    return made


INT8, INT16, INT32, UINT8, UINT16, UINT32, UINT64 = map(
    _integer, (np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32, np.uint64))


class INT64(np.int64):
    """What np.int64 is in kernels: makes NumPy's own int64, of any number."""

    plain, low = np.int64, -_LARGEST - 1

    def __new__(cls, value=0):
        if type(value) not in _SIGNED and not abs(value) < _SPAN:
            return np.int64(cls.low)
        return wrap64(int(value))


INTEGERS = {t.plain: t for t in (INT8, INT16, INT32, UINT8, UINT16, UINT32, UINT64)}
_SEEN = {**INTEGERS, np.int64: INT64}
_TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64, "bool": bool,
          "int64": INT64, "complex64": np.complex64, "complex128": np.complex128,
          **{plain.__name__: made for plain, made in INTEGERS.items()}}


def scalar_type(name):
    """The type of a kernel's numbers of the dtype ``name``."""
    return _TYPES[name]


def numpy_dtype(kind):
    """The NumPy dtype of an element type: one of the simulator's or NumPy's types, or an object with a name."""
    kind = getattr(kind, "plain", kind)
    return np.dtype(kind if isinstance(kind, type) else getattr(kind, "name", kind))


def constant(value):
    """A module's constant, or type of numbers, as kernels see it."""
    if isinstance(value, type):
        return _SEEN.get(value, value)
    made = INTEGERS.get(type(value))
    return value if made is None else made(value)


# ---- functions ---------------------------------------------------------------------------------------------------------

def _number(x):
    """A Python number, or an integer, as the float that C's functions take."""
    if isinstance(x, (float, int, np.integer)) and not isinstance(x, np.inexact):
        return np.float64(x)
    return np.complex128(x) if isinstance(x, complex) and not isinstance(x, np.inexact) else x


def _ufunc(fn):
    def of_one(x):
        return fn(x) if isinstance(x, np.inexact) else fn(_number(x))
    return of_one


def _ufunc_of_two(fn):
    return lambda x, y: fn(_number(x), _number(y))


def _whole(fn):
    """math.floor and its like return an int64 in Numba; what is no integer any number."""
    def rounded(x):
        y = fn(_number(x))
        return wrap64(int(y)) if abs(y) < math.inf else np.int64(-_LARGEST - 1)
    return rounded


def _scalar(fn, pole=math.inf):
    """A function that NumPy does not have, by Python's; where that raises, ``pole``."""
    def of_one(x):
        x = _number(x)
        try:
            return type(x)(fn(float(x)))
        except (ValueError, OverflowError):
            return type(x)(pole)
    return of_one


def _copysign(x, y):
    x = _number(x)
    return np.copysign(x, type(x)(y))


def divide(x, y):
    """x / y; of complex numbers by 0 what C gives."""
    x, y = _number(x), _number(y)
    return type(x + y)(_divide_complex(x, y)) if isinstance(x, np.complexfloating) else x / y


def make_complex(real, imag=0):
    """complex(real, imag), complex64 where both parts are float32."""
    kind = np.complex64 if isinstance(real, np.float32) and isinstance(imag, np.float32) else np.complex128
    return kind(complex(real, imag))


_FUNCTIONS = {name: _ufunc(getattr(np, name)) for name in (
    "sqrt", "exp", "log", "log2", "log10", "log1p", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp2", "cbrt",
    "isnan", "isinf", "isfinite", "degrees", "radians")}
_FUNCTIONS |= {name: _ufunc(getattr(np, "arc" + name[1:])) for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh")}
_FUNCTIONS |= {name: _ufunc_of_two(fn) for name, fn in (
    ("atan2", np.arctan2), ("fmod", np.fmod), ("pow", np.power), ("hypot", np.hypot), ("ldexp", np.ldexp))}
_FUNCTIONS |= {name: _whole(getattr(np, name)) for name in ("floor", "ceil", "trunc")}
_FUNCTIONS |= {"fabs": _ufunc(np.abs), "copysign": _copysign, "erf": _scalar(math.erf), "erfc": _scalar(math.erfc),
               "lgamma": _scalar(math.lgamma), "gamma": _scalar(math.gamma, math.nan)}
_CONSTANTS = {name: getattr(math, name) for name in ("pi", "e", "tau", "inf", "nan")}

MATH = types.SimpleNamespace(**_FUNCTIONS, **_CONSTANTS)


class _NumPy:
    """NumPy, its small integers replaced by those that widen."""

    def __getattr__(self, name):
        value = constant(getattr(np, name))
        setattr(self, name, value)
        return value


def _viewed(source, target):
    return lambda x: constant(source(x).view(target))


REPLACE = {
    math: MATH, cmath: MATH, np: _NumPy(), complex: make_complex, float: np.float64, _math.divide: divide,
    _math.bits: _viewed(np.float32, np.int32), _math.wide_bits: _viewed(np.float64, np.int64),
    _math.from_bits: lambda i: np.int32(INT32(i)).view(np.float32),
    _math.from_wide_bits: lambda i: wrap64(int(i)).view(np.float64),
    **{getattr(_math, name): _FUNCTIONS[name] for name in ("exp", "log", "log1p", "expm1", "tanh", "erf")},
    **{getattr(_powers, name): _FUNCTIONS[name] for name in ("exp2", "log2", "log10", "hypot", "fmod")},
    _powers.power: _FUNCTIONS["pow"],
    **{getattr(_trigonometry, name): _FUNCTIONS[name] for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh")},
    _special._complement: _FUNCTIONS["erfc"], _special._log_gamma: _FUNCTIONS["lgamma"],
}
_divide_complex = relink(_math._divide_complex, {}, REPLACE)


def _in_double(fn):
    """A formula written for float64, its result in the type of its argument."""
    linked = Relinker({}, REPLACE)(fn)

    def of_one(x):
        x = _number(x)
        return type(x)(linked(np.float64(x)))
    return of_one


REPLACE[_special._inverse] = _in_double(_special._erfinv_double)
REPLACE[_special._digamma] = _in_double(_special._digamma_double)
