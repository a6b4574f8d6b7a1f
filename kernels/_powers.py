"""Powers, logarithms to any base, hypot and fmod for formulas: in float32 loops that vectorise; see _math.py.

``wide_exp2`` and ``wide_log2`` are the two polynomials in float64 that most float32 functions here, in ``_trigonometry.py`` and
in ``_special.py`` are made of: with 35 right bits and the exponents of float64, neither rounding nor overflow nor denormals of
float32 need care before the last conversion.
"""
import math

import numpy as np

from ._jit import function
from ._math import F, bits, define, define_two, from_bits, from_wide_bits, wide_bits

D = np.float64
LN2, LOG2E, LOG10_2 = 0.6931471805599453, 1.4426950408889634, 0.3010299956639812
ROUND = 6755399441055744.0              # 1.5 * 2^52: adding it rounds, the low bits of the sum hold the integer
ROUND_BITS = 0x4338000000000000
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


@function(forceinline=True, cache=False)
def from_small(n):
    """The float64 of an int64 below 2^51, without the conversion that AVX2 does not have."""
    return from_wide_bits(n + ROUND_BITS) - ROUND


@function(forceinline=True, cache=False)
def wide_exp2(t):
    """2^t in float64 to 2^-34; t is cut to [-160, 160], where float32 has long ended. 2^t = 2^n 2^r with |r| <= 1/2."""
    t = -160.0 if t < -160.0 else t
    t = 160.0 if t > 160.0 else t
    shifted = t + ROUND
    r = t - (shifted - ROUND)
    p = 0.00015469291552315588 + r * 1.5201934926500845e-05
    p = 0.009618027252230462 + r * (0.001333392249744133 + r * p)
    p = 0.2402265119816951 + r * (0.055504103535471846 + r * p)
    p = 0.9999999999616801 + r * (0.6931471807284053 + r * p)
    return p * from_wide_bits((wide_bits(shifted) + 1023) << 52)


@function(forceinline=True, cache=False)
def wide_log2(w):
    """log2 of a float64 in (0, inf) to 2^-37, relatively; of all others some number, for which the caller selects another.

    w = 2^n m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 atanh((m - 1) / (m + 1)).
    """
    i = wide_bits(w)
    n = (i - SQRT_HALF_BITS) >> 52
    m = from_wide_bits(i - (n << 52))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = 0.4116717451009583 + z * 0.3407489945443894
    p = 2.885390081790142 + z * (0.9617966732662578 + z * (0.5770836003400663 + z * p))
    return from_small(n) + s * p


@function(forceinline=True, cache=False)
def log_limits(y, x):
    """The logarithm y of a float32 x > 0, or what a logarithm is of every other x."""
    y = F(-np.inf) if x == F(0) else y
    y = F(np.nan) if x < F(0) else y
    return y if x < F(np.inf) else x


def _exp2(x):
    """2^x: x = n + r with |r| <= 1/2, a polynomial in r, and 2^n in two factors."""
    x = F(-151) if x < F(-151) else x
    x = F(129) if x > F(129) else x
    n = np.rint(x)
    r = x - n
    p = F(0.0013400428177615838) + r * F(0.0001546144469856913)
    p = F(0.05550327226670302) + r * (F(0.009618056678524637) + r * p)
    p = F(0.6931472067028326) + r * (F(0.24022650922288757) + r * p)
    p = p * r + F(1)
    i = bits(n + F(12582912.0)) - np.int32(0x4B400000)
    half = i >> np.int32(1)
    return p * from_bits((half + np.int32(127)) << np.int32(23)) * from_bits((i - half + np.int32(127)) << np.int32(23))


def _log2(x):
    """log2 x, exact for powers of two."""
    return log_limits(F(wide_log2(D(x))), x)


def _log10(x):
    """log10 x."""
    return log_limits(F(wide_log2(D(x)) * LOG10_2), x)


def _power(x, y):
    """x^y as 2^(y log2 |x|), with the sign of an odd power; the special cases are those of IEEE 754's pow."""
    size, infinite = abs(x), F(np.inf)
    exponent = wide_log2(D(size))
    exponent = -np.inf if size == F(0) else exponent
    exponent = exponent if size < infinite else D(size)
    p = F(wide_exp2(D(y) * exponent))
    half = y * F(0.5)
    whole = y == np.floor(y)
    p = -p if bits(x) < np.int32(0) and whole and half != np.floor(half) else p
    p = F(np.nan) if x < F(0) and not whole and size < infinite else p
    return F(1) if y == F(0) or x == F(1) or (size == F(1) and abs(y) == infinite) else p


def _hypot(x, y):
    """sqrt(x^2 + y^2), infinite where either is, even beside nan."""
    a, b = D(x), D(y)
    size = F(math.sqrt(a * a + b * b))
    return F(np.inf) if abs(x) == F(np.inf) or abs(y) == F(np.inf) else size


@function(forceinline=True, cache=False)
def subtract_multiple(a, b, inverse, unit):
    """a - q b for the multiple q of ``unit`` nearest to a / b."""
    q = (a * inverse + ROUND * unit) - ROUND * unit
    return a - q * b


def _fmod(x, y):
    """x - trunc(x / y) y, exact: ten times up to 29 digits of the quotient, which in float32 is at most 2^277.

    Each step leaves at most half its unit of b, so that the next q has at most 29 digits; b has 24, and with that q b and
    a - q b are exact in float64.
    """
    a, b = D(abs(x)), D(abs(y))
    inverse = 1.0 / b
    a = subtract_multiple(a, b, inverse, 2.0**261)
    a = subtract_multiple(a, b, inverse, 2.0**232)
    a = subtract_multiple(a, b, inverse, 2.0**203)
    a = subtract_multiple(a, b, inverse, 2.0**174)
    a = subtract_multiple(a, b, inverse, 2.0**145)
    a = subtract_multiple(a, b, inverse, 2.0**116)
    a = subtract_multiple(a, b, inverse, 2.0**87)
    a = subtract_multiple(a, b, inverse, 2.0**58)
    a = subtract_multiple(a, b, inverse, 2.0**29)
    a = subtract_multiple(a, b, inverse, 1.0)
    a = a + b if a < 0.0 else a
    rest = math.copysign(F(a), x)
    return x if abs(y) == F(np.inf) and abs(x) < F(np.inf) else rest


exp2 = define("exp2", _exp2, lambda x: 2.0 ** x)
log2 = define("log2", _log2, lambda x: math.log2(x))
log10 = define("log10", _log10, lambda x: math.log10(x))
power = define_two("power", _power, lambda x, y: x ** y)
hypot = define_two("hypot", _hypot, lambda x, y: math.hypot(x, y))
fmod = define_two("fmod", _fmod, lambda x, y: np.fmod(x, y))
