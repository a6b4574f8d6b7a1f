"""The functions of formulas on CUDA: libdevice's where it has one, else formulas that neither branch much nor use local memory.

The CPU's are made for vector lanes, and mostly compute in float64, of which a consumer GPU does one operation for 64 in float32.
Here a float32 function contains no float64 instruction. ``REPLACE`` says what the compiler takes for each original; the
simulator runs the originals. Nothing here imports a CUDA package: ``cuda`` is the placeholder of ``_cuda.py``.

Errors of libdevice's functions are in the CUDA C++ Programming Guide, "Mathematical Functions": at most 2 ulp in float32 but
for erfc, pow and acosh (4), hypot, asinh, atanh, atan2 and sinh (3), and lgamma (6, more between -10.001 and -2.264).
"""
import math

import numpy as np

from . import _math, _powers, _special, _trigonometry, pointwise
from ._cuda import cuda
from ._math import F, exp, log
from ._powers import hypot
from ._trigonometry import atan2, cos, cosh, quarters, sin, sinh, tan


class Choice:
    """A function for CUDA by the type of its arguments: float32, complex, and all others."""

    def __init__(self, single, double=None, complex_=None):
        self.single, self.double, self.complex_ = single, double or single, complex_

    def of(self, *types):
        """The function for arguments of these types (names); None where there is none."""
        if types[0].startswith("complex"):
            return self.complex_
        return self.single if all(t == "float32" for t in types) else self.double


def fma(x, y, z):
    """x y + z in one rounding."""
    return cuda.fma(x, y, z)


# ---- sine, cosine, tangent: libdevice's keep an array in local memory, for large arguments, and compute that case in float64 ---

TWO_OVER_PI = F(0.636619772)
HALF_PI_HIGH, HALF_PI_MIDDLE, HALF_PI_LOW = F(1.57079601), F(3.13916473e-07), F(5.39030253e-15)     # pi / 2 in 72 digits
LARGEST_BY_PARTS = F(105615)
TURN_UNIT = F(2 * math.pi / 2**64)


def _reduce(x):
    """(q, r) with x = q pi / 2 + r, modulo 2 pi, and |r| <= pi / 4.

    Below 105615 by subtracting q times pi / 2 in three parts (Cody and Waite, 1980); above in integers, as on the CPU.
    """
    n = np.rint(x * TWO_OVER_PI)
    r = fma(n, -HALF_PI_HIGH, x)
    r = fma(n, -HALF_PI_MIDDLE, r)
    r = fma(n, -HALF_PI_LOW, r)
    q = np.int32(n)
    if abs(x) > LARGEST_BY_PARTS:
        turn, rest = quarters(abs(x))
        q, r = np.int32(turn), F(rest) * TURN_UNIT
        q, r = (-q, -r) if x < F(0) else (q, r)
    return q, r


def _sin_near(r):
    """sin r for |r| <= pi / 4 (Cephes sinf)."""
    z = r * r
    p = fma(fma(F(-1.9515295891e-4), z, F(8.3321608736e-3)), z, F(-1.6666654611e-1))
    return fma(p * z, r, r)


def _cos_near(r):
    """cos r for |r| <= pi / 4 (Cephes cosf)."""
    z = r * r
    p = fma(fma(F(2.443315711809948e-5), z, F(-1.388731625493765e-3)), z, F(4.166664568298827e-2))
    return fma(z * z, p, fma(F(-0.5), z, F(1)))


def _sin(x):
    """sin x; -0 stays."""
    q, r = _reduce(x)
    y = _cos_near(r) if q & np.int32(1) else _sin_near(r)
    y = -y if q & np.int32(2) else y
    y = x if x == F(0) else y
    return y if abs(x) < F(np.inf) else x - x


def _cos(x):
    """cos x."""
    q, r = _reduce(x)
    y = _sin_near(r) if q & np.int32(1) else _cos_near(r)
    y = -y if (q + np.int32(1)) & np.int32(2) else y
    return y if abs(x) < F(np.inf) else x - x


def _tan(x):
    """tan x (Cephes tanf), from cot in odd quadrants."""
    q, r = _reduce(x)
    z = r * r
    p = fma(fma(F(9.38540185543e-3), z, F(3.11992232697e-3)), z, F(2.44301354525e-2))
    p = fma(fma(fma(p, z, F(5.34112807005e-2)), z, F(1.33387994085e-1)), z, F(3.33331568548e-1))
    y = fma(p * z, r, r)
    y = F(-1) / y if q & np.int32(1) else y
    y = x if x == F(0) else y
    return y if abs(x) < F(np.inf) else x - x


# ---- derivatives of the logarithm of the gamma function -------------------------------------------------------------------

def _digamma_of_fraction(t):
    """psi(1 + t) for 0 <= t <= 1: (t - root) times a rational function (Boost, digamma_imp_1_2 for 24 digits)."""
    g = (t - F(484056 / 1048576)) - F(0.3700660185912626595e-6)
    p = fma(fma(F(-0.61041765350579073e-1), t, F(-0.43916936919946835)), t, F(-0.44981331915268368))
    q = fma(fma(F(0.63851690523355715e-1), t, F(0.65341249856146947)), t, F(1.5890202430554952))
    p, q = fma(p, t, F(0.25479851023250261)), fma(q, t, F(1))
    return fma(g, F(0.99558162689208984), g * (p / q))


def _digamma_above(x):
    """psi(x) for x > 0: by recurrence on [1, 2] below 3, then the asymptotic series with a fitted polynomial in 1 / x^2."""
    if x < F(1):
        return _digamma_of_fraction(x) - F(1) / x
    if x < F(2):
        return _digamma_of_fraction(x - F(1))
    if x < F(3):
        return _digamma_of_fraction(x - F(2)) + F(1) / (x - F(1))
    r = F(1) / x
    z = r * r
    p = fma(fma(F(0.0032323224004358053), z, F(-0.008286381140351295)), z, F(0.08333241194486618))
    return log(x) - fma(p, z, F(0.5) * r)


def _digamma(x):
    """psi(x); for x < 0 psi(-x) - 1 / x + pi cot(-pi x), whose terms cancel near its zeros there."""
    if x == F(0):
        return math.copysign(F(math.inf), -x)
    if x > F(0) or x != x:
        return _digamma_above(x)
    a = -x
    f = a - np.rint(a)
    if f == F(0):
        return F(math.nan)
    return _digamma_above(a) + F(1) / a + F(math.pi) * cuda.libdevice.cospif(f) / cuda.libdevice.sinpif(f)


def _trigamma_above(x):
    """psi'(x) for x > 0: recurrence up to 2, then the asymptotic series with a fitted polynomial in 1 / x^2."""
    total = F(0)
    while x < F(2):
        total = fma(F(1) / x, F(1) / x, total)
        x = x + F(1)
    r = F(1) / x
    z = r * r
    p = fma(fma(F(0.01701626367866993), z, F(-0.023402176797389984)), z, F(0.022848132997751236))
    p = fma(fma(p, z, F(-0.03328900411725044)), z, F(0.16666598618030548))
    return fma(p * z, r, F(0.5) * z) + r + total


def _trigamma(x):
    """psi'(x); for x <= 0 pi^2 / sin^2(pi x) - psi'(1 - x)."""
    if x > F(0) or x != x:
        return _trigamma_above(x)
    s = cuda.libdevice.sinpif(x - np.rint(x)) * F(1 / math.pi)
    return F(1) / (s * s) - _trigamma_above(F(1) - x)


# ---- complex numbers: the formulas of CPython's cmath, special values as in Numba's ------------------------------------------

def _is_finite(x):
    return abs(x) < math.inf


def _times(x, y):
    """x y; 0 for y = 0 also where x is infinite or nan."""
    if y == 0 and not _is_finite(x):
        return -y if x < 0 else y
    return x * y


def _exp_complex(z):
    """e^a (cos b + i sin b)."""
    a, b = z.real, z.imag
    if a != a:
        return complex(a, a if b != 0 else b)
    if not _is_finite(b):
        if _is_finite(a):
            return complex(b - b, b - b)
        return complex(a, b - b) if a > 0 else complex(type(a)(0), type(a)(0))
    size = exp(a)
    return complex(_times(size, cos(b)), _times(size, sin(b)))


def _log_complex(z):
    """ln |z| + i angle."""
    return complex(log(hypot(z.real, z.imag)), atan2(z.imag, z.real))


def _sqrt_complex(z):
    """Algorithm 312 (CACM, 1967), with both parts divided by 4 where the size might overflow."""
    a, b = z.real, z.imag
    half = type(a)(0.5)
    if a == 0 and b == 0:
        return complex(abs(b), b)
    if abs(b) == math.inf:
        return complex(abs(b), b)
    if a != a:
        return complex(a, a)
    if abs(a) == math.inf:
        return complex(abs(b - b), math.copysign(a, b)) if a < 0 else complex(a, math.copysign(b - b, b))
    large = abs(a) * half > type(a)(1e38) or abs(b) * half > type(a)(1e38)
    if large:
        a, b = a * type(a)(0.25), b * type(a)(0.25)
    t = math.sqrt((abs(a) + hypot(a, b)) * half)
    other = abs(b) / (t + t)
    real, imag = (t, math.copysign(other, b)) if a >= 0 else (other, math.copysign(t, b))
    return complex(real + real, imag + imag) if large else complex(real, imag)


def _sinh_cosh(x, y):
    """The products of which sinh and cosh of x + i y consist: sinh x cos y, cosh x sin y, cosh x cos y, sinh x sin y."""
    s, c = sin(y), cos(y)
    if abs(x) == math.inf and not _is_finite(y):
        c = type(x)(1)          # C99: an infinite x stays so whatever the angle
    up, even = sinh(x), cosh(x)
    return _times(up, c), _times(even, s), _times(even, c), _times(up, s)


def _sin_complex(z):
    """sin a cosh b + i cos a sinh b."""
    odd, even, _, _ = _sinh_cosh(z.imag, z.real)
    return complex(even, odd)


def _cos_complex(z):
    """cos a cosh b - i sin a sinh b."""
    _, _, even, odd = _sinh_cosh(z.imag, z.real)
    return complex(even, -odd)


def _tanh_complex(z):
    """(t (1 + u^2) + i u / cosh^2 a) / (1 + t^2 u^2) with t = tanh a and u = tan b."""
    a, b = z.real, z.imag
    one, zero = type(a)(1), type(a)(0)
    if abs(a) == math.inf:
        return complex(math.copysign(one, a), math.copysign(zero, sin(b + b)) if _is_finite(b) else zero)
    t, u, c = math.tanh(a), tan(b), one / cosh(a)
    bottom = one + t * u * t * u
    return complex(t * (one + u * u) / bottom, u / bottom * c * c)


def _power_complex(x, y):
    """|x|^c e^(-angle d) (cos + i sin)(angle c + ln |x| d) for y = c + i d (CPython's complex power)."""
    zero, one, nan = type(x.real)(0), type(x.real)(1), type(x.real)(math.nan)
    if y.real == 0 and y.imag == 0:
        return complex(one, zero)
    if x.real == 0 and x.imag == 0:
        return complex(nan, nan) if y.imag != 0 or y.real < 0 else complex(zero, zero)
    size, angle = hypot(x.real, x.imag), atan2(x.imag, x.real)
    length, phase = math.pow(size, y.real), angle * y.real
    if y.imag != 0:
        length, phase = length / exp(angle * y.imag), phase + y.imag * log(size)
    return complex(length * cos(phase), length * sin(phase))


def _direction(z):
    """z / |z|; 0 of 0."""
    size = hypot(z.real, z.imag)
    return z if size == 0 else complex(z.real / size, z.imag / size)


# ---- the table -----------------------------------------------------------------------------------------------------------

REPLACE = {     # original -> Choice
    _math.bits: Choice(lambda x: cuda.libdevice.float_as_int(x)),
    _math.from_bits: Choice(lambda x: cuda.libdevice.int_as_float(x)),
    _math.wide_bits: Choice(lambda x: cuda.libdevice.double_as_longlong(x)),
    _math.from_wide_bits: Choice(lambda x: cuda.libdevice.longlong_as_double(x)),
    _math.exp: Choice(lambda x: math.exp(x), complex_=_exp_complex),
    _math.log: Choice(lambda x: math.log(x), complex_=_log_complex),
    _math.log1p: Choice(lambda x: math.log1p(x)),
    _math.expm1: Choice(lambda x: math.expm1(x)),
    _math.tanh: Choice(lambda x: math.tanh(x), complex_=_tanh_complex),
    _math.erf: Choice(lambda x: math.erf(x)),
    _math.divide: Choice(lambda x, y: x / y, complex_=_math._divide_complex),
    _powers.exp2: Choice(lambda x: cuda.libdevice.exp2f(x), lambda x: cuda.libdevice.exp2(x)),
    _powers.log2: Choice(lambda x: math.log2(x)),
    _powers.log10: Choice(lambda x: math.log10(x)),
    _powers.power: Choice(lambda x, y: math.pow(x, y), complex_=_power_complex),
    _powers.hypot: Choice(lambda x, y: math.hypot(x, y)),
    _powers.fmod: Choice(lambda x, y: math.fmod(x, y)),
    _trigonometry.sin: Choice(_sin, lambda x: cuda.libdevice.sin(x), _sin_complex),
    _trigonometry.cos: Choice(_cos, lambda x: cuda.libdevice.cos(x), _cos_complex),
    _trigonometry.tan: Choice(_tan, lambda x: cuda.libdevice.tan(x)),
    _trigonometry.asin: Choice(lambda x: math.asin(x)),
    _trigonometry.acos: Choice(lambda x: math.acos(x)),
    _trigonometry.atan: Choice(lambda x: math.atan(x)),
    _trigonometry.atan2: Choice(lambda x, y: math.atan2(x, y)),
    _trigonometry.sinh: Choice(lambda x: math.sinh(x)),
    _trigonometry.cosh: Choice(lambda x: math.cosh(x)),
    _trigonometry.asinh: Choice(lambda x: math.asinh(x)),
    _trigonometry.acosh: Choice(lambda x: math.acosh(x)),
    _trigonometry.atanh: Choice(lambda x: math.atanh(x)),
    _special._inverse: Choice(lambda x: cuda.libdevice.erfinvf(x), lambda x: cuda.libdevice.erfinv(x)),
    _special._complement: Choice(lambda x: math.erfc(x)),
    _special._log_gamma: Choice(lambda x: math.lgamma(x)),
    _special._digamma: Choice(_digamma, _special._digamma_double),
    _special.trigamma: Choice(_trigamma, _special.trigamma),
    pointwise.sqrt_complex: Choice(_sqrt_complex, complex_=_sqrt_complex),
    pointwise.sgn_complex: Choice(_direction, complex_=_direction),
    np.rint: Choice(lambda x: cuda.libdevice.rintf(x), lambda x: cuda.libdevice.rint(x)),
    np.trunc: Choice(lambda x: cuda.libdevice.truncf(x), lambda x: cuda.libdevice.trunc(x)),
    np.floor: Choice(lambda x: cuda.libdevice.floorf(x), lambda x: cuda.libdevice.floor(x)),
    np.ceil: Choice(lambda x: cuda.libdevice.ceilf(x), lambda x: cuda.libdevice.ceil(x)),
}
# where formulas call them directly, math's are the same as these
REPLACE |= {getattr(math, name): REPLACE[getattr(_trigonometry, name)] for name in ("sin", "cos", "tan")}
