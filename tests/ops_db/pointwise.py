"""Rows of the element-wise operations."""
import math

import numpy as np

from . import B, C, I, Row, S, T, V

LOOSE = {"float32": (2e-5, 5e-6)}
HALVES = ("float16", "bfloat16")
SPECIAL = V([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-30, -2.5, 3.5, 88.0, -88.0])
vec = np.vectorize


def one(name, reference, low=-2, high=2, *, special=True, grad=True, complex=False, tol=LOOSE, also=HALVES, integers=True, **more):
    samples = [S(T(3, 4, low=low, high=high))]
    if special:
        samples.append(S(SPECIAL))
    if complex:
        samples.append(S(C(2, 3, low=max(low, -2), high=min(high, 2))))
    if integers:
        samples.append(S(I(2, 3, low=1 if low > 0 else 0, high=4)))
    return Row(name, samples, _quiet(reference), grad=grad, pointwise=True, tol=tol, also=also, **more)


def _quiet(fn):
    def call(*args, **kwargs):
        with np.errstate(all="ignore"):
            return fn(*args, **kwargs)
    return call


def two(name, reference, low=-2, high=2, other=None, *, special=True, grad=True, integers=True, bools=False, complex=False, **more):
    low2, high2 = other or (low, high)
    a, b = dict(low=low, high=high), dict(low=low2, high=high2)
    samples = [S(T(3, 4, **a), T(3, 4, **b)), S(T(3, 4, **a), T(4, **b)), S(T(3, 1, **a), T(1, 4, **b)), S(T(2, 3, **a), T(**b))]
    if integers:
        samples += [S(I(2, 3, low=1, high=6), I(2, 3, low=1, high=4)), S(T(2, 3, **a), I(2, 3, low=1, high=3)),
                    S(I(3, low=1, high=5), 2), S(T(3, **a), 2)]
    if special:
        samples.append(S(SPECIAL, V([1.0] * 12)))
    if bools:
        samples.append(S(B(2, 3), B(2, 3)))
    if complex:
        samples.append(S(C(2, 3), C(2, 3)))
    return Row(name, samples, _quiet(reference), grad=grad, pointwise=True, tol=LOOSE, **more)


def _remainder_t(x, y):
    return np.fmod(x, y)


def _round_half_even(x, decimals=0):
    return np.round(x, decimals)


erf = vec(math.erf, otypes=[float])
erfc = vec(math.erfc, otypes=[float])


def _lgamma(x):
    def single(v):
        if v != v:
            return v
        return math.inf if abs(v) == math.inf or v == 0 or (v < 0 and v == int(v)) else math.lgamma(v)
    return vec(single, otypes=[float])(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


ARITHMETIC = [
    two("add", np.add, bools=True, complex=True), two("mul", np.multiply, bools=True, complex=True),
    two("multiply", np.multiply), two("sub", np.subtract, complex=True), two("subtract", np.subtract),
    Row("add", [S(T(3), T(3), alpha=2.5), S(I(3), I(3), alpha=3), S(T(2, 3), 2, alpha=3)],
        lambda x, y, alpha=1: x + alpha * y, inplace=False, out=False,
        errors=[(S(T(3), T(4)), RuntimeError, r"size of tensor a \(3\) must match the size of tensor b \(4\) at non-singleton")]),
    Row("sub", [S(T(3), T(3), alpha=2.5), S(I(3), 2, alpha=3)], lambda x, y, alpha=1: x - alpha * y, inplace=False, out=False),
    Row("rsub", [S(T(3), T(3)), S(T(3), 2.0), S(I(3), 2), S(T(3), T(3), alpha=2)], lambda x, y, alpha=1: y - alpha * x),
]
for _name in ("true_divide", "div", "divide"):
    ARITHMETIC.append(two(_name, np.true_divide, 0.5, 2, complex=_name == "div"))
ARITHMETIC += [
    Row("div", [S(T(3, 4), T(3, 4, low=0.5, high=2), rounding_mode=mode) for mode in ("trunc", "floor")]
        + [S(V([-7, 7, -6]), V([2, -2, 4]), rounding_mode=mode) for mode in ("trunc", "floor")],
        lambda x, y, rounding_mode: (np.trunc if rounding_mode == "trunc" else np.floor)(x / y), grad=False, inplace=False,
        out=False, errors=[(S(T(3), T(3), rounding_mode="up"), RuntimeError, "div expected rounding_mode to be one of")]),
    two("floor_divide", np.floor_divide, 0.5, 3, grad=False, special=False),
    two("remainder", np.mod, 0.5, 3, (0.7, 2.9), special=False, gradgrad=False),
    two("fmod", _remainder_t, 0.5, 3, (0.7, 2.9), special=False, gradgrad=False),
    Row("remainder", [S(V([-7, 7, -7, 6]), V([3, -3, -3, 3])), S(V([-7.5, 7.5, -7.5]), V([2.0, -2.0, -2.0]))], np.mod, grad=False,
        inplace=False, errors=[(S(I(3), 0), RuntimeError, "ZeroDivisionError")]),
    one("neg", np.negative, complex=True, tol={}), one("negative", np.negative, tol={}),
    one("abs", np.abs, complex=True), one("absolute", np.abs), one("sign", np.sign, grad=True, special=False),
    one("sgn", np.sign, special=False, complex=False, skip={"torch": "torch's zero gradient has no memory to compare"}), Row("positive", [S(T(3))], lambda x: x),
    one("reciprocal", np.reciprocal, 0.5, 2, integers=False, complex=False),
    Row("_conj", [S(C(2, 3))], np.conj, torch=False),
] + [Row(n, [S(C(2, 3)), S(T(3))], np.conj, torch="conj_physical", gradgrad=True) for n in ("conj", "conj_physical")] + [
    Row("resolve_conj", [S(C(2, 3)), S(T(3))], lambda x: x, gradgrad=True)]


def _pow_grad_free(x, y):
    return np.power(x, y)


POWERS = [
    two("pow", np.power, 0.5, 2, special=False, integers=False),
    Row("pow", [S(T(3, 4), 2), S(T(3), 3), S(T(3, low=0.5, high=2), 0.5), S(T(3, low=0.5, high=2), -1.5), S(T(3), 0),
                S(I(4, low=1, high=4), 3), S(2.0, T(3)), S(T(3, low=0.5, high=2), I(3))], np.power, inplace=False, out=False,
        tol=LOOSE, errors=[(S(I(3), -1), RuntimeError, "Integers to negative integer powers are not allowed")]),
    Row("float_power", [S(T(3, low=0.5, high=2), 2)], np.float_power, grad=True, out=False, tol={"float32": 1e-6}),
    one("square", np.square, complex=True), one("sqrt", np.sqrt, 0.2, 2), one("rsqrt", lambda x: 1 / np.sqrt(x), 0.2, 2),
]

EXPONENTIALS = [
    one("exp", np.exp, complex=True), one("exp2", np.exp2), one("expm1", np.expm1), one("log", np.log, 0.2, 3, complex=False),
    one("log2", np.log2, 0.2, 3), one("log10", np.log10, 0.2, 3), one("log1p", np.log1p, -0.5, 2),
    Row("xlogy", [S(T(3, 4), T(3, 4, low=0.2, high=2)), S(V([0.0, 0.0, 1.0]), V([0.0, math.nan, 0.0]))],
        _quiet(lambda x, y: np.where(np.isnan(y), y, np.where(x == 0, 0.0, x * np.log(y)))), pointwise=True),
    two("logaddexp", np.logaddexp, integers=False), two("logaddexp2", np.logaddexp2, integers=False),
    two("hypot", np.hypot, 0.5, 2, integers=False),
    Row("logit", [S(T(3, 4, low=0.1, high=0.9)), S(T(3, low=0.1, high=0.9), 0.2), S(T(3, low=0.1, high=0.9), eps=0.3)],
        lambda x, eps=None: (lambda c: np.log(c / (1 - c)))(x if eps is None else np.clip(x, eps, 1 - eps)), tol=LOOSE),
]

TRIGONOMETRY = [
    one("sin", np.sin, complex=True), one("cos", np.cos, complex=True), one("tan", np.tan, -1, 1), one("sinh", np.sinh),
    one("cosh", np.cosh), one("tanh", np.tanh, complex=False), one("atan", np.arctan), one("arctan", np.arctan),
    one("asin", np.arcsin, -0.9, 0.9), one("arcsin", np.arcsin, -0.9, 0.9), one("acos", np.arccos, -0.9, 0.9),
    one("arccos", np.arccos, -0.9, 0.9), one("asinh", np.arcsinh), one("arcsinh", np.arcsinh),
    one("acosh", np.arccosh, 1.2, 3), one("arccosh", np.arccosh, 1.2, 3), one("atanh", np.arctanh, -0.9, 0.9),
    one("arctanh", np.arctanh, -0.9, 0.9), one("sinc", np.sinc, 0.2, 2, special=False, gradgrad=False),
    two("atan2", np.arctan2, integers=False), two("arctan2", np.arctan2, integers=False),
    Row("_tanh_grad", [S(T(3), T(3))], lambda g, y: g * (1 - y * y), torch=False),
]

SPECIALS = [
    one("erf", erf, special=False), one("erfc", erfc, special=False), one("sigmoid", sigmoid, complex=False),
    Row("erfinv", [S(T(3, 4, low=-0.9, high=0.9)), S(V([0.0, 1.0, -1.0, 1.5, math.nan, 0.999]))], None, pointwise=True, tol=LOOSE),
    one("lgamma", _lgamma, 0.3, 5, gradgrad=True, special=False),
    Row("digamma", [S(T(3, 4, low=0.3, high=5)), S(V([0.0, -1.0, -0.5, 12.0, math.nan]))], None, gradgrad=False,
        tol={"float32": 2e-5, "float64": 1e-9}, pointwise=True),
    Row("_trigamma", [S(V([0.5, 1.0, 3.0, 12.5, -0.5]))], lambda x: np.array(
        [math.pi**2 / 2, math.pi**2 / 6, 0.3949340668482264, 0.08328522472, 8.934802200544679]), torch=False,
        tol={"float64": 1e-8, "float32": 1e-5}, skip={"gradcheck": "raises NotImplementedError", "gradgradcheck": "has no gradient"}),
    Row("_sigmoid_grad", [S(T(3), T(3))], lambda g, y: g * y * (1 - y), torch=False),
]

ROUNDING = [one(n, f, tol={}) for n, f in (("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("fix", np.trunc))] + [
    one("round", np.round, tol={}),
    Row("round", [S(V([0.5, 1.5, 2.5, -0.5, -1.5])), S(T(3), decimals=2)], _round_half_even, inplace=False, out=False,
        tol={"float32": 1e-5}),
    Row("_round", [S(T(3)), S(V([0.5, 1.5, 2.5, -0.5]))], np.round, torch=False), one("frac", lambda x: x - np.trunc(x), integers=False),
]

COMPARISONS = [two(n, f, grad=False, bools=True) for n, f in (
    ("eq", np.equal), ("ne", np.not_equal), ("not_equal", np.not_equal), ("lt", np.less), ("less", np.less), ("le", np.less_equal),
    ("less_equal", np.less_equal), ("gt", np.greater), ("greater", np.greater), ("ge", np.greater_equal),
    ("greater_equal", np.greater_equal), ("logical_and", np.logical_and), ("logical_or", np.logical_or),
    ("logical_xor", np.logical_xor))]
for _row in COMPARISONS:
    if _row.name.startswith("logical"):     # torch takes no numbers there
        _row.samples = [s for s in _row.samples if len(s.args) < 2 or not isinstance(s.args[1], int)]
COMPARISONS += [one(n, f, grad=False) for n, f in (
    ("logical_not", np.logical_not), ("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite),
    ("isposinf", np.isposinf), ("isneginf", np.isneginf))]
COMPARISONS.append(one("signbit", np.signbit, grad=False, also=()))
BITS = [Row(n, [S(I(2, 3, low=-8, high=8), I(2, 3, low=0, high=8)), *([S(I(3), 3)] if n[0] == "b" else []), *([S(B(2, 3), B(2, 3))] if b else [])], f, grad=False)
        for n, f, b in (("bitwise_and", np.bitwise_and, 1), ("bitwise_or", np.bitwise_or, 1), ("bitwise_xor", np.bitwise_xor, 1),
                        ("bitwise_left_shift", np.left_shift, 0), ("bitwise_right_shift", np.right_shift, 0),
                        ("gcd", np.gcd, 0), ("lcm", np.lcm, 0))]
BITS.append(Row("bitwise_not", [S(I(3, low=-4, high=4)), S(B(3))], np.invert, grad=False,
                errors=[(S(T(3)), (RuntimeError, NotImplementedError), "not implemented for 'Float'")]))

NAN_PAIR = S(V([1.0, math.nan, 2.0, math.nan]), V([math.nan, 1.0, 3.0, math.nan]))
EXTREMES = [Row(n, [S(T(3, 4), T(3, 4)), S(T(3, 4), T(4)), S(I(3), I(3)), S(B(3), B(3)), NAN_PAIR], f, pointwise=True, gradgrad=True)
            for n, f in (("maximum", np.maximum), ("minimum", np.minimum), ("fmax", np.fmax), ("fmin", np.fmin))]
EXTREMES += [
    Row("copysign", [S(T(3, 4), T(3, 4)), S(T(3), -1.0)], np.copysign, gradgrad=False, tol={}),
    Row("heaviside", [S(T(3, 4), T(3, 4)), S(V([0.0, -1.0, 2.0]), V([0.5, 0.5, 0.5]))], np.heaviside, grad=False),
]


def clip(x, min=None, max=None):
    if min is not None:
        x = np.where(np.isnan(x), x, np.maximum(x, min))
    return x if max is None else np.where(np.isnan(x), x, np.minimum(x, max))


def _clamps(name):
    return Row(name, [S(T(3, 4), -0.5, 0.5), S(T(3, 4), min=0.0), S(T(3, 4), max=0.3), S(T(3, 4), T(3, 4, low=-1, high=0), T(4, low=0, high=1)),
                      S(I(5), 1, 3), S(SPECIAL, -1.0, 1.0), S(T(3), min=T(3))], clip,
               errors=[(S(T(3)), RuntimeError, "At least one of 'min' or 'max' must not be None")])


SEVERAL = [
    _clamps("clamp"), _clamps("clip"),
    Row("clamp_min", [S(T(3, 4), 0.2), S(T(3), T(3))], np.maximum), Row("clamp_max", [S(T(3, 4), 0.2), S(T(3), T(3))], np.minimum),
    Row("lerp", [S(T(3, 4), T(3, 4), 0.3), S(T(3, 4), T(4), T(3, 4, low=0, high=1))], lambda x, y, w: x + w * (y - x), tol=LOOSE),
    Row("addcmul", [S(T(3, 4), T(3, 4), T(4)), S(T(3), T(3), T(3), value=0.5), S(I(3), I(3), I(3), value=2)],
        lambda x, y, z, value=1: x + value * y * z, tol=LOOSE),
    Row("addcdiv", [S(T(3, 4), T(3, 4), T(4, low=0.5, high=2)), S(T(3), T(3), T(3, low=0.5, high=2), value=0.5)],
        lambda x, y, z, value=1: x + value * y / z, tol=LOOSE),
    Row("nan_to_num", [S(T(3, 4)), S(V([math.nan, math.inf, -math.inf, 1.0]), 9.0, 8.0, 7.0), S(I(3))],
        lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)),
    Row("isclose", [S(T(3), T(3)), S(V([1.0, math.nan, math.inf]), V([1.0 + 1e-7, math.nan, math.inf]), equal_nan=True), S(I(3), I(3))],
        np.isclose, grad=False),
    Row("allclose", [S(V([1.0, 2.0]), V([1.0, 2.0]))], np.allclose, grad=False),
    Row("equal", [S(V([1.0, 2.0]), V([1.0, 2.0])), S(T(3), T(4))], np.array_equal, grad=False),
    Row("real", [S(C(2, 3)), S(T(3))], np.real, gradgrad=True), Row("imag", [S(C(2, 3))], np.imag,
        errors=[(S(T(3)), RuntimeError, "imag is not implemented for tensors with non-complex dtypes")]),
    Row("angle", [S(C(2, 3)), S(V([1.0, -1.0, math.nan]))], np.angle, gradgrad=False, tol=LOOSE),
]

ROWS = ARITHMETIC + POWERS + EXPONENTIALS + TRIGONOMETRY + SPECIALS + ROUNDING + COMPARISONS + BITS + EXTREMES + SEVERAL
