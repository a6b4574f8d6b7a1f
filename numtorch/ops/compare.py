"""Comparisons, logic, extremes, and operations of several inputs, element by element."""
from .. import dtypes
from ..kernels._device import DeviceArray
from ..op import also_named, needs_grad, op, record
from ..tensor import Tensor, wrap
from ._pointwise import Rule, binary, call, unary
from .pointwise import OUT, X, Y, _doc, _two, add, div, mul, neg, sign, sub

# ---- comparisons and logic ---------------------------------------------------------------------------------------------

def _comparison(name, symbol, aliases=()):
    return binary(name, name, out="bool", aliases=aliases, numbers=(1,),
                  doc=_two("Comparison, a bool tensor", f"input {symbol} other"))


eq, ne = _comparison("eq", "=="), _comparison("ne", "!=", ("not_equal",))
lt, le = _comparison("lt", "<", ("less",)), _comparison("le", "<=", ("less_equal",))
gt, ge = _comparison("gt", ">", ("greater",)), _comparison("ge", ">=", ("greater_equal",))

logical_not = unary("logical_not", "logical_not", out="bool", doc=_doc("Logical not", "input == 0"))
logical_and = binary("logical_and", "logical_and", out="bool", numbers=(), doc=_two("Logical and", "input != 0 and other != 0"))
logical_or = binary("logical_or", "logical_or", out="bool", numbers=(), doc=_two("Logical or", "input != 0 or other != 0"))
logical_xor = binary("logical_xor", "logical_xor", out="bool", numbers=(),
                     doc=_two("Logical exclusive or", "(input != 0) != (other != 0)"))

isnan = unary("isnan", "isnan", out="bool", inplace=False, doc=_doc("Is not a number", "input != input"))
isinf = unary("isinf", {"bool": "logical_never", "int": "logical_never", "float": "isinf"}, out="bool", inplace=False,
              doc=_doc("Is infinite", "|input| == inf"))
isfinite = unary("isfinite", {"bool": "logical_always", "int": "logical_always", "float": "isfinite", "complex": "isfinite"},
                 out="bool", inplace=False, doc=_doc("Is finite", "|input| < inf"))
isposinf = unary("isposinf", {"bool": "logical_never", "int": "logical_never", "float": "isposinf"}, out="bool", inplace=False,
                 doc=_doc("Is plus infinity", "input == inf"))
isneginf = unary("isneginf", {"bool": "logical_never", "int": "logical_never", "float": "isneginf"}, out="bool", inplace=False,
                 doc=_doc("Is minus infinity", "input == -inf"))
signbit = unary("signbit", {"bool": "logical_never", "int": "signbit_integral", "float": "signbit"}, out="bool", inplace=False,
                doc=_doc("Has its sign bit set", "input < 0 or is -0.0"))

bitwise_not = unary("bitwise_not", {"bool": "logical_not", "int": "bitwise_not"}, doc=_doc("Bitwise not", "~input"))
bitwise_and = binary("bitwise_and", {"bool": "bitwise_and", "int": "bitwise_and"}, doc=_two("Bitwise and", "input & other"))
bitwise_or = binary("bitwise_or", {"bool": "bitwise_or", "int": "bitwise_or"}, doc=_two("Bitwise or", "input | other"))
bitwise_xor = binary("bitwise_xor", {"bool": "bitwise_xor", "int": "bitwise_xor"},
                     doc=_two("Bitwise exclusive or", "input ^ other"))
bitwise_left_shift = binary("bitwise_left_shift", {"int": "bitwise_left_shift"}, doc=_two("Shift left", "input << other"))
bitwise_right_shift = binary("bitwise_right_shift", {"int": "bitwise_right_shift"}, doc=_two("Shift right", "input >> other"))
gcd = binary("gcd", {"int": "gcd"}, numbers=(), doc=_two("Greatest common divisor", "gcd(input, other)"))
lcm = binary("lcm", {"int": "lcm"}, numbers=(), doc=_two("Least common multiple", "lcm(input, other)"))


# ---- extremes ----------------------------------------------------------------------------------------------------------

def maximum_backward(node, g):
    """To the larger; half to each of equals."""
    x, y = node.saved_tensors
    return _share(g, x, y, gt)


def _share(g, x, y, wins):
    half = mul(eq(x, y).to(g.dtype), 0.5)
    first = add(wins(x, y).to(g.dtype), half)
    return mul(g, first), mul(g, sub(1, first))


def minimum_backward(node, g):
    """To the smaller; half to each of equals."""
    x, y = node.saved_tensors
    return _share(g, x, y, lt)


_MAX_FORMS = {"bool": "bitwise_or", "int": "maximum", "float": "maximum"}
_MIN_FORMS = {"bool": "bitwise_and", "int": "minimum", "float": "minimum"}
maximum = binary("maximum", _MAX_FORMS, maximum_backward, (X, Y), inplace=False, numbers=(),
                 doc=_two("The larger; nan wins", "max"))
minimum = binary("minimum", _MIN_FORMS, minimum_backward, (X, Y), inplace=False, numbers=(),
                 doc=_two("The smaller; nan wins", "min"))


def fmax_backward(node, g):
    """To the one that was taken."""
    x, y = node.saved_tensors
    first = logical_or(ge(x, y), isnan(y)).to(g.dtype)
    return mul(g, first), mul(g, sub(1, first))


def fmin_backward(node, g):
    """To the one that was taken."""
    x, y = node.saved_tensors
    first = logical_or(le(x, y), isnan(y)).to(g.dtype)
    return mul(g, first), mul(g, sub(1, first))


fmax = binary("fmax", {"bool": "bitwise_or", "int": "fmax", "float": "fmax"}, fmax_backward, (X, Y), inplace=False,
              numbers=(), doc=_two("The larger; nan loses", "fmax"))
fmin = binary("fmin", {"bool": "bitwise_and", "int": "fmin", "float": "fmin"}, fmin_backward, (X, Y), inplace=False,
              numbers=(), doc=_two("The smaller; nan loses", "fmin"))


def copysign_backward(node, g):
    """The slope is -1 where the sign was turned; none at 0."""
    x, out = node.saved_tensors
    return mul(g, mul(sign(x), sign(out))), mul(g, 0) if node.edges[1] is not None else None


copysign = binary("copysign", {"float": "copysign"}, copysign_backward, (X, OUT), floats=True,
                  numbers=(1,), doc=_two("Size of one, sign of the other", "|input| with the sign of other"))
heaviside = binary("heaviside", {"int": "heaviside", "float": "heaviside"}, numbers=(), doc=_two("Step function",
                                                                                    "0, other at 0, or 1"))


# ---- several inputs ----------------------------------------------------------------------------------------------------

def _rule(name, formula):
    return Rule(name, formula, False, "same")


_CLAMP, _CLAMP_MIN, _CLAMP_MAX = (_rule("clamp", f) for f in ("clamp", "clamp_min", "clamp_max"))


def clamp_backward(node, g):
    """Passes within the limits; a limit that was taken gets the rest."""
    x, low, high = node.saved_tensors
    inside = gx = None
    below = lt(x, low) if low is not None else None
    above = gt(x, high) if high is not None else None
    for bad in (below, above):
        if bad is not None:
            inside = logical_not(bad) if inside is None else logical_and(inside, logical_not(bad))
    if node.edges[0] is not None:
        gx = mul(g, inside.to(g.dtype))
    i = 1
    found = [gx]
    for bad in (below, above):
        if bad is not None:
            found.append(mul(g, bad.to(g.dtype)) if node.edges[i] is not None else None)
            i += 1
    return tuple(found)


# torch's names where the limits are numbers (clamp), and of clamp_min and clamp_max for numbers and for tensors
_clamp_backward_1, _clamp_min_backward, _clamp_min_backward_1, _clamp_max_backward, _clamp_max_backward_1 = (
    also_named(name, clamp_backward) for name in ("ClampBackward1", "ClampMinBackward0", "ClampMinBackward1", "ClampMaxBackward0",
                                                  "ClampMaxBackward1"))


@op(method=True, inplace=True, out=True, aliases=("clip",))
def clamp(input, min=None, max=None):
    """Numbers below ``min`` become ``min``, those above ``max`` become ``max``; nan stays.

    Args:
        input (Tensor): of any shape.
        min, max (Tensor or number): one of them may be left out.

    Raises:
        RuntimeError: both are left out.

    >>> import numtorch as torch
    >>> torch.tensor([-2., 0.5, 3.]).clamp(0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    return _clamp(input, min, max, clamp_backward if isinstance(min, Tensor) or isinstance(max, Tensor) else _clamp_backward_1)


def _clamp(input, min, max, backward):
    limits = [v for v in (min, max) if v is not None]
    rule = _CLAMP if len(limits) == 2 else (_CLAMP_MIN if max is None else _CLAMP_MAX)
    found = call(rule, None, (), (input, *limits))
    if not needs_grad(input, *[v for v in limits if isinstance(v, Tensor)]):
        return found
    tensors = [v if isinstance(v, Tensor) else wrap_number(v, input) for v in limits]
    kept = [input] + [tensors.pop(0) if v is not None else None for v in (min, max)]
    return record(found, backward, (input, *(v if isinstance(v, Tensor) else None for v in limits)), kept)


def wrap_number(value, like):
    """A Python number as a 0-dim tensor of the dtype it takes beside ``like``."""
    import numpy as np

    return wrap(np.array(value).astype(dtypes.result_dtype([like.dtype], [], [dtypes.scalar_dtype(value)])._np))


@op(method=True, inplace=True, out=True)
def clamp_min(input, min):
    """``clamp(input, min=min)``."""
    return _clamp(input, min, None, _clamp_min_backward_1 if isinstance(min, Tensor) else _clamp_min_backward)


@op(method=True, inplace=True, out=True)
def clamp_max(input, max):
    """``clamp(input, max=max)``."""
    return _clamp(input, None, max, _clamp_max_backward_1 if isinstance(max, Tensor) else _clamp_max_backward)


_LERP, _ADDCMUL, _ADDCDIV = (_rule(n, n) for n in ("lerp", "addcmul", "addcdiv"))


def lerp_backward(node, g):
    """d (x + w (y - x)) = (1 - w) dx + w dy + (y - x) dw."""
    x, y, w = node.saved_tensors
    gw = mul(g, sub(y, x)) if node.edges[2] is not None else None
    return mul(g, sub(1, w)), mul(g, w), gw


@op(method=True, inplace=True, out=True)
def lerp(input, end, weight):
    """``input + weight * (end - input)``."""
    return call(_LERP, lerp_backward, (X, Y, (2, None)), (input, end, weight))


def addcmul_backward(node, g):
    """d (x + v y z) = dx + v z dy + v y dz."""
    y, z, v = node.saved_tensors
    g2 = mul(g, v)
    return g, mul(g2, z), mul(g2, y), None


@op(method=True, inplace=True, out=True)
def addcmul(input, tensor1, tensor2, *, value=1):
    """``input + value * tensor1 * tensor2``."""
    return call(_ADDCMUL, addcmul_backward, (Y, (2, None), (3, None)), (input, tensor1, tensor2, value))


def addcdiv_backward(node, g):
    """d (x + v y / z) = dx + v / z dy - v y / z^2 dz."""
    y, z, v = node.saved_tensors
    g2 = div(mul(g, v), z)
    return g, g2, neg(mul(g2, div(y, z))), None


@op(method=True, inplace=True, out=True)
def addcdiv(input, tensor1, tensor2, *, value=1):
    """``input + value * tensor1 / tensor2``; RuntimeError for integer tensors."""
    if all(t.dtype.category < dtypes.FLOATING for t in (tensor1, tensor2)):
        raise RuntimeError("Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform "
                           "a true division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as "
                           "(input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as "
                           "(input + value * tensor1 / tensor2) for float inputs.")
    return call(_ADDCDIV, addcdiv_backward, (Y, (2, None), (3, None)), (input, tensor1, tensor2, value))


def nan_to_num_backward(node, g):
    """Passes where the number was finite."""
    x, = node.saved_tensors
    return (mul(g, isfinite(x).to(g.dtype)), None, None, None)


_NAN_TO_NUM = Rule("nan_to_num", {"float": "nan_to_num"}, False, "same")


@op(method=True, inplace=True, out=True)
def nan_to_num(input, nan=None, posinf=None, neginf=None):
    """nan, inf and -inf replaced by numbers: 0, the largest and the smallest of the dtype unless given."""
    if input.dtype.category < dtypes.FLOATING:
        return input.clone()
    info = dtypes.finfo(input.dtype)
    return call(_NAN_TO_NUM, nan_to_num_backward, (X,), (input, 0.0 if nan is None else float(nan),
                info.max if posinf is None else float(posinf), info.min if neginf is None else float(neginf)))


_ISCLOSE = Rule("isclose", {"float": "isclose"}, True, "bool")


@op(method=True)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """``|input - other| <= atol + rtol * |other|``; infinities are close to themselves, nan to nan if ``equal_nan``."""
    if input._a.dtype != other._a.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    import numpy as np

    if input.is_complex() and input._a.__class__ is DeviceArray:
        return _isclose_complex(input, other, rtol, atol, equal_nan)
    if input.is_complex():
        return wrap(np.asarray(np.isclose(input._a, other._a, rtol, atol, equal_nan)))
    if input.dtype.category < dtypes.FLOATING:
        input, other = input.double(), other.double()
    with_limits = [wrap(np.array(v, input._a.dtype)) for v in (rtol, atol, float(equal_nan))]
    return call(_ISCLOSE, None, (), (input, other, *with_limits))


def _isclose_complex(input, other, rtol, atol, equal_nan):
    limit = add(mul(other.abs(), rtol), atol)
    close = logical_or(logical_and(le(sub(input, other).abs(), limit), isfinite(other)), eq(input, other))
    return logical_or(close, logical_and(isnan(input), isnan(other))) if equal_nan else close


@op(method=True)
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """True when all elements are close; see ``isclose``."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@op(method=True)
def equal(input, other):
    """True when shapes and all elements are equal."""
    import numpy as np

    if input._a.__class__ is DeviceArray:
        return input._a.shape == other._a.shape and bool(eq(input, other).all())
    return np.array_equal(input._a, other._a)
