"""Every scalar formula, forward above backward. ``_pointwise.py`` makes the loops; CPU and CUDA share the formulas.

A formula takes and returns numbers of one dtype (``type(x)(2)`` keeps a constant in it: a bare 2.0 would make float32 work in
float64), except comparisons, which return bool. Extra parameters are arguments, so one loop serves all their values.
``f_grad(g, x)`` is g times f's derivative; where it is cheaper from f's result, the argument is called y.
"""
import math

import numpy as np

from . import _powers as powers
from . import _trigonometry as trigonometry
from ._activations import (  # noqa: F401 - formulas are found here by name
    elu,
    elu_grad,
    gelu,
    gelu_grad,
    gelu_tanh,
    gelu_tanh_grad,
    hardshrink,
    hardsigmoid,
    hardsigmoid_grad,
    hardswish,
    hardswish_grad,
    hardtanh_grad,
    leaky_relu,
    leaky_relu_grad,
    logsigmoid,
    mish,
    relu,
    relu_grad,
    shrink_grad,
    sigmoid,
    sigmoid_grad,
    silu,
    silu_grad,
    softplus,
    softplus_grad,
    softshrink,
    softsign,
    threshold,
    threshold_grad,
)
from ._losses import (  # noqa: F401
    cross_entropy_of_logit,
    cross_entropy_of_logit_grad,
    cross_entropy_of_probability,
    cross_entropy_of_probability_grad,
    huber,
    huber_grad,
    smooth_l1,
    smooth_l1_grad,
    soft_margin,
    soft_margin_grad,
    squared_error,
    squared_error_grad,
)
from ._math import divide, exp, expm1, log, log1p, tanh
from ._special import digamma, erf_grad, erfinv, error_function, error_function_complement, lgamma, trigamma  # noqa: F401

# ---- copies on a device ------------------------------------------------------------------------------------------------

def identity(x):
    return x


def is_nonzero(x):
    return x != 0


# ---- arithmetic --------------------------------------------------------------------------------------------------------

def add(x, y):
    return x + y


def logical_or_add(x, y):       # add of bools
    return x or y


def sub(x, y):
    return x - y


def mul(x, y):
    return x * y


def logical_and_mul(x, y):      # mul of bools
    return x and y


def div(x, y):
    return divide(x, y)


def div_trunc(x, y):
    return np.trunc(x / y)


def div_trunc_integral(x, y):
    q = x // y
    return q + 1 if q < 0 and q * y != x else q


def div_floor(x, y):
    """CPython's float floor division: exact where x / y rounds up to the next integer."""
    zero, one = type(x)(0), type(x)(1)
    mod = powers.fmod(x, y)
    q = (x - mod) / y
    q = q - one if mod != zero and (y < zero) != (mod < zero) else q
    whole = np.floor(q)
    whole = whole + one if q - whole > type(x)(0.5) else whole
    whole = math.copysign(zero, x / y) if q == zero else whole
    return x / y if y == zero else whole


def div_floor_integral(x, y):
    return x // y


def remainder(x, y):
    mod = powers.fmod(x, y)
    return mod + y if mod != 0 and (y < 0) != (mod < 0) else mod


def remainder_integral(x, y):
    return x % y


def fmod(x, y):
    return powers.fmod(x, y)


def fmod_integral(x, y):
    mod = x % y
    return mod - y if mod != 0 and (x < 0) != (mod < 0) else mod


def pow(x, y):
    return powers.power(x, y)


def pow_integral(x, y):
    """By squaring, modulo the width of the type; a negative power of 1 and -1 is itself an integer, of others 0."""
    one = type(x)(1)
    result, base, n = one, x, y
    if n < 0:
        if x == one:
            return one
        if x == -one:
            return one if n % 2 == 0 else x
        return type(x)(0)
    while n > 0:
        if n & 1:
            result = type(x)(result * base)
        base = type(x)(base * base)
        n >>= 1
    return result


def square(x):
    return x * x


def cube(x):
    return x * x * x


def lerp(x, y, weight):
    return x + weight * (y - x) if abs(weight) < 0.5 else y - (y - x) * (type(x)(1) - weight)


def addcmul(x, y, z, value):
    return x + value * y * z


def addcdiv(x, y, z, value):
    return x + value * divide(y, z)


def add_scaled(x, y, alpha):
    return x + alpha * y


def neg(x):
    return -x


def absolute(x):
    return abs(x)


def sign(x):
    return type(x)(1) if x > 0 else (type(x)(-1) if x < 0 else type(x)(0))


def sgn_complex(x):
    size = abs(x)
    return x / size if size != 0 else x


def reciprocal(x):
    return divide(type(x)(1), x)


def conj(x):
    return x.conjugate()


def angle(x):
    return math.atan2(x.imag, x.real)


def angle_real(x):
    return x if x != x else (type(x)(math.pi) if x < 0 else type(x)(0))


# ---- comparisons and selections ----------------------------------------------------------------------------------------

def eq(x, y):
    return x == y


def ne(x, y):
    return x != y


def lt(x, y):
    return x < y


def le(x, y):
    return x <= y


def gt(x, y):
    return x > y


def ge(x, y):
    return x >= y


def maximum(x, y):
    return x if x > y or x != x else y


def minimum(x, y):
    return x if x < y or x != x else y


def fmax(x, y):
    return x if x >= y or y != y else y


def fmin(x, y):
    return x if x <= y or y != y else y


def clamp(x, low, high):
    x = low if x < low or low != low else x
    return high if x > high or high != high else x


def clamp_min(x, low):
    return low if x < low or low != low else x


def clamp_max(x, high):
    return high if x > high or high != high else x


def clamp_grad(g, x, low, high):
    return g if x >= low and x <= high else type(g)(0)


def where(condition, x, y):
    return x if condition else y


def isnan(x):
    return x != x


def isinf(x):
    return abs(x) == math.inf


def isfinite(x):
    return abs(x) < math.inf


def isposinf(x):
    return x == math.inf


def isneginf(x):
    return x == -math.inf


def signbit(x):
    return math.copysign(type(x)(1), x) < 0


def signbit_integral(x):
    return x < 0


def nan_to_num(x, nan, posinf, neginf):
    if x != x:
        return nan
    return posinf if x == math.inf else (neginf if x == -math.inf else x)


def isclose(x, y, rtol, atol, equal_nan):
    if x == y:
        return True
    if x != x or y != y:
        return equal_nan != 0 and x != x and y != y
    return abs(y) < math.inf and abs(x) < math.inf and abs(x - y) <= atol + abs(rtol * y)


# ---- logic and bits ----------------------------------------------------------------------------------------------------

def logical_not(x):
    return x == 0


def logical_never(x):
    return False


def logical_always(x):
    return True


def logical_and(x, y):
    return x != 0 and y != 0


def logical_or(x, y):
    return x != 0 or y != 0


def logical_xor(x, y):
    return (x != 0) != (y != 0)


def bitwise_not(x):
    return ~x


def bitwise_and(x, y):
    return x & y


def bitwise_or(x, y):
    return x | y


def bitwise_xor(x, y):
    return x ^ y


def bitwise_left_shift(x, y):
    return x << y if y >= 0 and y < 64 else type(x)(0)


def bitwise_right_shift(x, y):
    return x >> y if y >= 0 and y < 64 else (type(x)(-1) if x < 0 else type(x)(0))


def gcd(x, y):
    a, b = abs(x), abs(y)
    while b:
        a, b = b, a % b
    return a


def lcm(x, y):
    a, b = abs(x), abs(y)
    while b:
        a, b = b, a % b
    return abs(x // a * y) if a else a


# ---- exponentials and logarithms ---------------------------------------------------------------------------------------

def exponential(x):
    return exp(x)


def exp2(x):
    return powers.exp2(x)


def exponential_minus_1(x):
    return expm1(x)


def logarithm(x):
    return log(x)


def log2(x):
    return powers.log2(x)


def log10(x):
    return powers.log10(x)


def logarithm_plus_1(x):
    return log1p(x)


def xlogy(x, y):
    return y if y != y else (type(x)(0) if x == 0 else x * log(y))


def logaddexp(x, y):
    if x == y and abs(x) == math.inf:
        return x
    top = x if x > y or x != x else y
    return top + log1p(exp(-abs(x - y)))


def logaddexp2(x, y):
    if x == y and abs(x) == math.inf:
        return x
    top = x if x > y or x != x else y
    return top + log1p(powers.exp2(-abs(x - y))) * type(x)(1.4426950408889634)


def sqrt(x):
    return math.sqrt(x)


def sqrt_complex(x):
    return x ** type(x)(0.5)


def sqrt_grad(g, y):
    return divide(g, y + y)


def rsqrt(x):
    return type(x)(1) / math.sqrt(x)


def rsqrt_grad(g, y):
    return type(g)(-0.5) * g * (y * y * y)


def hypot(x, y):
    return powers.hypot(x, y)


# ---- trigonometry ------------------------------------------------------------------------------------------------------

def sine(x):
    return trigonometry.sin(x)


def cosine(x):
    return trigonometry.cos(x)


def tan(x):
    return trigonometry.tan(x)


def tan_grad(g, y):
    return g * (type(g)(1) + y * y)


def asin(x):
    return trigonometry.asin(x)


def acos(x):
    return trigonometry.acos(x)


def asin_grad(g, x):
    return g / math.sqrt(type(g)(1) - x * x)


def atan(x):
    return trigonometry.atan(x)


def atan_grad(g, x):
    return g / (type(g)(1) + x * x)


def atan2(x, y):
    return trigonometry.atan2(x, y)


def sinh(x):
    return trigonometry.sinh(x)


def cosh(x):
    return trigonometry.cosh(x)


def hyperbolic_tangent(x):
    return tanh(x)


def tanh_grad(g, y):
    return g * (type(g)(1) - y * y)


def asinh(x):
    return trigonometry.asinh(x)


def acosh(x):
    return trigonometry.acosh(x)


def atanh(x):
    return trigonometry.atanh(x)


def sinc(x):
    a = type(x)(math.pi) * x
    y = trigonometry.sin(a) / a
    return type(x)(1) if x == 0 else y


# ---- rounding ----------------------------------------------------------------------------------------------------------

def add_zero(x):        # rounding an integer
    return x


def floor(x):
    return np.floor(x)


def ceil(x):
    return np.ceil(x)


def trunc(x):
    return np.trunc(x)


def frac(x):
    return x - np.trunc(x)


def round_half_even(x):
    return np.rint(x)


def copysign(x, y):
    return math.copysign(x, y)


def heaviside(x, y):
    return y if x == 0 else type(x)(x > 0)
