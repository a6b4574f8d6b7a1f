"""dtypes, their promotion, finfo and iinfo.

Promotion has three ranks, as torch's: tensors with dimensions, 0-dim tensors, Python scalars. A lower rank changes the dtype
of a higher one only by its category (bool < integral < floating < complex).
"""
import builtins

import ml_dtypes
import numpy as np

BOOL, INTEGRAL, FLOATING, COMPLEX = range(4)


class dtype:
    """A tensor's element type; ``_np`` is NumPy's, ``_num`` indexes kernel tables (NumPy's type number)."""

    __slots__ = ("_name", "_np", "_num", "category", "itemsize", "is_floating_point", "is_complex", "is_signed")

    def __init__(self, name, np_dtype, category):
        self._name, self._np = name, np.dtype(np_dtype)
        self._num, self.itemsize, self.category = self._np.num, self._np.itemsize, category
        self.is_floating_point, self.is_complex = category == FLOATING, category == COMPLEX
        self.is_signed = name not in ("bool", "uint8")

    def __repr__(self):
        return f"torch.{self._name}"

    def __reduce__(self):
        return (_by_name, (self._name,))

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def to_complex(self):
        """The complex dtype of this precision."""
        return complex128 if self in (float64, complex128) else complex64

    def to_real(self):
        """The real dtype of this precision."""
        return {complex64: float32, complex128: float64}.get(self, self)


bool = dtype("bool", np.bool_, BOOL)
uint8 = dtype("uint8", np.uint8, INTEGRAL)
int8 = dtype("int8", np.int8, INTEGRAL)
int16 = dtype("int16", np.int16, INTEGRAL)
int32 = dtype("int32", np.int32, INTEGRAL)
int64 = dtype("int64", np.int64, INTEGRAL)
float16 = dtype("float16", np.float16, FLOATING)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOATING)
float32 = dtype("float32", np.float32, FLOATING)
float64 = dtype("float64", np.float64, FLOATING)
complex64 = dtype("complex64", np.complex64, COMPLEX)
complex128 = dtype("complex128", np.complex128, COMPLEX)

ALL = (bool, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128)
ALIASES = {"short": int16, "int": int32, "long": int64, "half": float16, "float": float32, "double": float64,
           "cfloat": complex64, "cdouble": complex128}
HALVES = (float16, bfloat16)        # computed in float32, stored in 16 bits

_names = {d._name: d for d in ALL}
# np.longlong is a second 64-bit integer with a number of its own; NumPy gives it for some C-sized results.
_from_np = {d._np: d for d in ALL}


def _by_name(name):
    return _names[name]


def from_numpy_dtype(np_dtype):
    """numtorch's dtype of a NumPy one; TypeError for one that tensors do not have."""
    found = _from_np.get(np_dtype)
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{np_dtype}. The only supported types are: float64, float32, "
            "float16, complex64, complex128, int64, int32, int16, int8, uint8, and bool.")
    return found


def own_numpy_dtype(np_dtype):
    """NumPy's dtype as the object that tensors here have: a pickled one is a copy, and operations compare by ``is``."""
    return from_numpy_dtype(np_dtype)._np


# ---- defaults ----------------------------------------------------------------------------------------------------------

_default = float32


def get_default_dtype():
    """The floating dtype of tensors made from Python floats (float32 until it is set)."""
    return _default


def set_default_dtype(d):
    """Sets the dtype that Python floats become.

    Args:
        d: a floating point dtype.

    Raises:
        TypeError: ``d`` is not a floating point dtype.
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, but got {d!r}")
    _default = d


# ---- promotion ---------------------------------------------------------------------------------------------------------

def _promote_pair(a, b):
    if a is b:
        return a
    if {a, b} == {float16, bfloat16}:
        return float32
    if a.category != b.category:
        low, high = (a, b) if a.category < b.category else (b, a)
        if high.category == COMPLEX and low is float64:
            return complex128
        return high
    return _from_np[np.promote_types(a._np, b._np)]


_table = {(a, b): _promote_pair(a, b) for a in ALL for b in ALL}


def promote_types(type1, type2):
    """The smallest dtype that both can be converted to without loss of category.

    >>> promote_types(int32, float16)
    torch.float16
    """
    return _table[type1, type2]


def can_cast(from_, to):
    """True when torch's rules let a result of dtype ``from_`` be written to a tensor of dtype ``to``.

    >>> can_cast(float64, int32)
    False
    """
    if from_.category > to.category:
        return False
    return from_.category == to.category or to is not bool


def scalar_dtype(value):
    """The dtype that a Python scalar promotes with: bool, int64, the default float, or its complex."""
    kind = type(value)
    if kind is float:
        return _default
    if kind is int:
        return int64
    if kind is _python_bool:
        return bool
    if kind is complex:
        return _default.to_complex()
    if isinstance(value, np.generic):
        return scalar_dtype(value.item())
    for base, found in ((_python_bool, bool), (int, int64), (float, _default), (complex, _default.to_complex())):
        if isinstance(value, base):
            return found
    raise TypeError(f"expected a number, but got {type(value).__name__}")


_python_bool = builtins.bool


def result_dtype(tensors, zero_dims, scalars):
    """The dtype of an operation on these dtypes, by rank: dimensioned tensors, 0-dim tensors, Python scalars."""
    best = None
    for rank in (tensors, zero_dims, scalars):
        here = None
        for d in rank:
            here = d if here is None else _table[here, d]
        if here is None:
            continue
        if best is None:
            best = here
        elif here.category > best.category:
            best = best.to_complex() if here.category == COMPLEX and best.category == FLOATING else here
    return best


class finfo:
    """Limits of a floating point dtype: bits, eps, max, min, tiny, smallest_normal, resolution.

    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type=None):
        d = type or _default
        if d.category < FLOATING:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.{d._name}'")
        real = d.to_real()
        info = ml_dtypes.finfo(real._np)
        self.dtype, self.bits = real._name, real.itemsize * 8
        for name in ("eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            setattr(self, name, float(getattr(info, name)))

    def __repr__(self):
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
                f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})")


class iinfo:
    """Limits of an integer dtype: bits, max, min.

    >>> iinfo(int8).max
    127
    """

    def __init__(self, type):
        if type.category != INTEGRAL:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.{type._name}'")
        info = np.iinfo(type._np)
        self.dtype, self.bits, self.max, self.min = type._name, info.bits, int(info.max), int(info.min)

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
