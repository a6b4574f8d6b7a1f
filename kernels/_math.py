"""exp, log, tanh, erf for formulas: in float32 written so that loops of them vectorise, else the C library's.

A call of the C library keeps LLVM from vectorising a loop: exp of 1e6 float32 takes 2.6 ms through ``math.exp`` and 0.4 ms
through the polynomial here, on one thread. The float32 versions have no branches (both sides are computed and one selected),
take nan, infinities and denormals as IEEE 754 asks, and are within 3 ulp (erf 8), as tests/test_math.py checks against float64.
They rely on a * b + c being at most contracted, never reassociated (``CONTRACT``). The same holds of ``_powers.py``,
``_trigonometry.py`` and ``_special.py``, which compute inside in float64, where a plain polynomial is right to 1 ulp of float32.

The functions also run as plain Python, on Python floats.
"""
import cmath
import math

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from ._jit import CONTRACT

F = np.float32
LOG2E, LN2_HIGH, LN2_LOW = F(1.44269504088896341), F(0.693359375), F(-2.12194440e-4)
ROUND, ROUND_BITS = F(12582912.0), np.int32(0x4B400000)     # 1.5 * 2^23: adding it rounds, its low bits hold the integer


def _reinterpret(source, target):
    """An intrinsic: the number of type ``target`` with the bits of one of type ``source``."""
    @intrinsic
    def same_bits(typing, x):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(target))
        return target(source), codegen
    return same_bits


bits, from_bits = _reinterpret(types.float32, types.int32), _reinterpret(types.int32, types.float32)
wide_bits, from_wide_bits = _reinterpret(types.float64, types.int64), _reinterpret(types.int64, types.float64)

# two polynomials in one loop are past LLVM's own limit for inlining, and a call keeps the loop from vectorising
_INLINED = {"forceinline": True, "fastmath": CONTRACT, "error_model": "numpy"}


def define(name, single, double, complex_=None):
    """A function of one number that formulas call: ``single`` for float32, ``complex_``, or ``double`` for all else."""
    def fn(x):
        return complex_(x) if isinstance(x, complex) else double(x)

    @overload(fn, jit_options=_INLINED)
    def choose(x):
        if x == types.float32:
            return single
        return complex_ if isinstance(x, types.Complex) else double
    return _named(fn, name, single)


def define_two(name, single, double):
    """A function of two numbers of one type that formulas call: ``single`` for float32, ``double`` for all else."""
    def fn(x, y):
        return double(x, y)

    @overload(fn, jit_options=_INLINED)
    def choose(x, y):
        return single if x == types.float32 and y == types.float32 else double
    return _named(fn, name, single)


def _named(fn, name, single):
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = single.__doc__
    return fn


def _exp(x):
    """e^x: x = n ln 2 + r with |r| <= ln(2) / 2, a polynomial in r (Cephes expf), and 2^n in two factors."""
    x = F(-104) if x < F(-104) else x
    x = F(89) if x > F(89) else x
    t = x * LOG2E + ROUND
    n = t - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * (r * r) + r + F(1)
    i = bits(t) - ROUND_BITS
    half = i >> np.int32(1)
    rest = i - half
    return p * from_bits((half + np.int32(127)) << np.int32(23)) * from_bits((rest + np.int32(127)) << np.int32(23))


def _log(x):
    """ln x: x = 2^e m with m in [sqrt(1/2), sqrt(2)), and a polynomial in m - 1 (Cephes logf)."""
    tiny = x < F(1.17549435e-38)
    i = bits(x * F(8388608) if tiny else x)
    e = (i - np.int32(0x3F3504F3)) >> np.int32(23)
    f = from_bits(i - (e << np.int32(23))) - F(1)
    n = F(e) - (F(23) if tiny else F(0))
    z = f * f
    p = F(7.0376836292e-2)
    p = p * f + F(-1.1514610310e-1)
    p = p * f + F(1.1676998740e-1)
    p = p * f + F(-1.2420140846e-1)
    p = p * f + F(1.4249322787e-1)
    p = p * f + F(-1.6668057665e-1)
    p = p * f + F(2.0000714765e-1)
    p = p * f + F(-2.4999993993e-1)
    p = p * f + F(3.3333331174e-1)
    y = p * f * z + n * LN2_LOW
    y = y - F(0.5) * z
    y = f + y + n * LN2_HIGH
    y = F(-np.inf) if x == F(0) else y
    y = F(np.nan) if x < F(0) else y
    return y if x < F(np.inf) else x


def _log1p(x):
    """ln(1 + x): the logarithm of the rounded sum, times what the rounding changed."""
    u = F(1) + x
    d = u - F(1)
    y = log(u) * (x / (F(1) if d == F(0) else d))
    y = x if d == F(0) else y
    return y if u > F(0) and u < F(np.inf) else log(u)


def _expm1(x):
    """e^x - 1: a Taylor polynomial for |x| < 1/2, where the difference would cancel."""
    p = F(2.4801587e-5)
    p = p * x + F(1.9841270e-4)
    p = p * x + F(1.3888889e-3)
    p = p * x + F(8.3333333e-3)
    p = p * x + F(4.1666667e-2)
    p = p * x + F(1.6666667e-1)
    p = p * x + F(0.5)
    near = math.copysign(p * (x * x) + x, x)                # -0 + 0 is 0
    return near if abs(x) < F(0.5) else exp(x) - F(1)


def _tanh(x):
    """tanh x: a polynomial for |x| < 0.625 (Cephes tanhf), else 1 - 2 / (e^2|x| + 1) with the sign of x."""
    size = abs(x)
    z = x * x
    p = F(-5.70498872745e-3)
    p = p * z + F(2.06390887954e-2)
    p = p * z + F(-5.37397155531e-2)
    p = p * z + F(1.33314422036e-1)
    p = p * z + F(-3.33332819422e-1)
    near = p * z * x + x
    far = F(1) - F(2) / (exp(size + size) + F(1))
    return math.copysign(near if size < F(0.625) else far, x)


def _erf(x):
    """erf x as x P(x^2) / Q(x^2) on |x| <= 3.8325, beyond which it rounds to 1 (the approximation of Eigen and XLA)."""
    limit = F(3.832506856900711)
    c = limit if x > limit else x
    c = -limit if c < -limit else c
    z = c * c
    p = F(-2.72614225801306e-10)
    p = p * z + F(2.77068142495902e-08)
    p = p * z + F(-2.10102402082508e-06)
    p = p * z + F(-5.69250639462346e-05)
    p = p * z + F(-7.34990630326855e-04)
    p = p * z + F(-2.95459980854025e-03)
    p = p * z + F(-1.60960333262415e-02)
    q = F(-1.45660718464996e-05)
    q = q * z + F(-2.13374055278905e-04)
    q = q * z + F(-1.68282697438203e-03)
    q = q * z + F(-7.37332916720468e-03)
    q = q * z + F(-1.42647390514189e-02)
    return c * (p / q)                                      # c * p is denormal for small c


exp = define("exp", _exp, lambda x: math.exp(x), lambda x: cmath.exp(x))
log = define("log", _log, lambda x: math.log(x), lambda x: cmath.log(x))
log1p = define("log1p", _log1p, lambda x: math.log1p(x))
expm1 = define("expm1", _expm1, lambda x: math.expm1(x))
tanh = define("tanh", _tanh, lambda x: math.tanh(x), lambda x: cmath.tanh(x))
erf = define("erf", _erf, lambda x: math.erf(x))


def divide(x, y):
    """x / y of two numbers of one type; of complex numbers by 0 what C gives, where Numba's own operator would raise."""
    return x / y


@overload(divide, jit_options=_INLINED)
def _compiled_divide(x, y):
    return _divide_complex if isinstance(x, types.Complex) else divide


def _divide_complex(x, y):
    """Smith's method (1962)."""
    a, b, c, d = x.real, x.imag, y.real, y.imag
    if c == 0 and d == 0:
        return complex(a / abs(c), b / abs(c))
    if abs(c) >= abs(d):
        ratio = d / c
        scale = c + d * ratio
        return complex((a + b * ratio) / scale, (b - a * ratio) / scale)
    ratio = c / d
    scale = c * ratio + d
    return complex((a * ratio + b) / scale, (b * ratio - a) / scale)
