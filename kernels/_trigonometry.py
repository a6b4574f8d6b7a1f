"""Trigonometric and hyperbolic functions and their inverses for formulas: in float32 loops that vectorise; see _math.py."""
import cmath
import math

import numpy as np

from ._jit import function
from ._math import F, bits, define, define_two, from_wide_bits, wide_bits
from ._powers import LN2, LOG2E, ROUND, D, from_small, wide_log2

U = np.uint64
PI, HALF_PI = 3.141592653589793, 1.5707963267948966
# 23 zeros and then the binary digits of 1 / (2 pi) after the point, in words of 64
TURN_0, TURN_1 = U(0x517CC1B727), U(0x220A94FE13ABE8FA)
TURN_2, TURN_3 = U(0x9A6EE06DB14ACC9E), U(0x21C820FF28B1D5EF)
TURN_UNIT = 2 * PI / 2**64


@function(forceinline=True, cache=False)
def quarters(size):
    """(q, rest) with size = q pi / 2 + rest 2 pi / 2^64, for a float32 size >= 1; exact reduction (Payne and Hanek, 1983).

    size is m 2^k with an integer m of 24 digits. Turns are a fraction, so the digits of 1 / (2 pi) above 2^-k do not matter
    and the 96 below give size / (2 pi) modulo 1 to 2^-64, far below the distance of any float32 from a multiple of pi / 2.
    """
    i = bits(size)
    m = U((i & np.int32(0x7FFFFF)) | np.int32(0x800000))
    shift = U(((i >> np.int32(23)) - np.int32(127)) & np.int32(63))
    high = size >= F(18446744073709551616.0)
    a = TURN_1 if high else TURN_0
    b = TURN_2 if high else TURN_1
    c = TURN_3 if high else TURN_2
    back = U(63) - shift
    first = (a << shift) | ((b >> U(1)) >> back)
    rest = ((b << shift) | ((c >> U(1)) >> back)) >> U(32)
    turns = m * first + ((m * rest) >> U(32))
    q = (turns + U(1 << 61)) >> U(62)
    return q, np.int64(turns - (q << U(62)))


@function(forceinline=True, cache=False)
def quadrant(size):
    """(q, r) with size = q pi / 2 + r and |r| < 1, for a float32 size >= 0."""
    q, rest = quarters(size)
    r = D(rest) * TURN_UNIT
    small = size < F(1)
    return (U(0) if small else q), (D(size) if small else r)


@function(forceinline=True, cache=False)
def wide_sin(r):
    """sin r for |r| <= 1, to 2^-34."""
    z = r * r
    p = 0.008333316053659431 + z * (-0.00019836115107526382 + z * 2.694809889105574e-06)
    return r + r * z * (-0.1666666648546653 + z * p)


@function(forceinline=True, cache=False)
def wide_cos(r):
    """cos r for |r| <= 1, to 2^-30."""
    z = r * r
    p = 0.041666429009144884 + z * (-0.001388254549496695 + z * 2.4100706577634062e-05)
    return 0.9999999992967167 + z * (-0.49999996821481724 + z * p)


def _sin(x):
    """sin x."""
    q, r = quadrant(abs(x))
    y = F(wide_cos(r) if q & U(1) else wide_sin(r))
    y = -y if (q & U(2) != U(0)) != (bits(x) < np.int32(0)) else y
    return y if abs(x) < F(np.inf) else x - x


def _cos(x):
    """cos x."""
    q, r = quadrant(abs(x))
    y = F(wide_sin(r) if q & U(1) else wide_cos(r))
    y = -y if (q + U(1)) & U(2) else y
    return y if abs(x) < F(np.inf) else x - x


def _tan(x):
    """tan x = sin x / cos x."""
    q, r = quadrant(abs(x))
    s, c = wide_sin(r), wide_cos(r)
    odd = q & U(1) != U(0)
    y = F((c if odd else s) / (s if odd else c))
    y = -y if odd != (bits(x) < np.int32(0)) else y
    return y if abs(x) < F(np.inf) else x - x


@function(forceinline=True, cache=False)
def wide_atan(t):
    """atan t for 0 <= t <= 1, to 2^-34."""
    z = t * t
    p = 0.004926314774567919 + z * -0.0006979497070687893
    p = 0.0344757370914403 + z * (-0.01629934937189631 + z * p)
    p = 0.07259431821509618 + z * (-0.054515849631016376 + z * p)
    p = 0.11094503238453354 + z * (-0.0898543696402141 + z * p)
    p = 0.19999927241615642 + z * (-0.14284167184605678 + z * p)
    return t + t * z * (-0.33333332133757276 + z * p)


def _atan(x):
    """atan x; beyond 1, pi / 2 - atan(1 / x)."""
    a = D(abs(x))
    inverted = a > 1.0
    y = wide_atan((1.0 if inverted else a) / (a if inverted else 1.0))
    return math.copysign(F(HALF_PI - y if inverted else y), x)


def _atan2(x, y):
    """The angle of the point (y, x), signed zeros and infinities as IEEE 754's atan2."""
    a, b = D(abs(x)), D(abs(y))
    steep = a > b
    low, high = (b if steep else a), (a if steep else b)
    t = low / high
    t = 0.0 if low == 0.0 and high == 0.0 else t
    t = 1.0 if low == np.inf and high == np.inf else t
    angle = wide_atan(t)
    angle = HALF_PI - angle if steep else angle
    angle = PI - angle if bits(y) < np.int32(0) else angle
    return math.copysign(F(angle), x)


@function(forceinline=True, cache=False)
def wide_asin(a):
    """asin s for s = a where 0 <= a <= 1/2, else s = sqrt((1 - a) / 2), to 2^-31: then asin a is pi / 2 - 2 asin s."""
    small = a <= 0.5
    u = a * a if small else 0.5 - 0.5 * a
    s = a if small else math.sqrt(u)
    p = 0.03180773764777433 + u * (0.014438538391683221 + u * 0.03751653564115785)
    p = 0.1666665999113008 + u * (0.07500504197425867 + u * (0.044516952701213586 + u * p))
    return s + s * u * p


def _asin(x):
    """asin x."""
    a = D(abs(x))
    y = wide_asin(a)
    return math.copysign(F(y if a <= 0.5 else HALF_PI - (y + y)), x)


def _acos(x):
    """acos x = pi / 2 - asin x; near 1 and -1 without the difference."""
    a = D(abs(x))
    y = wide_asin(a)
    far = PI - (y + y) if x < F(0) else y + y
    near = HALF_PI + y if x < F(0) else HALF_PI - y
    return F(near if a <= 0.5 else far)


@function(forceinline=True, cache=False)
def wide_halves(x):
    """(sinh x, cosh x) of a float32 in float64, to 2^-34, cut where float32 has ended.

    With x = (n + r) ln 2 and |r| <= 1/2: from the odd and the even half of 2^r, so that nothing cancels for small x.
    """
    t = D(x) * LOG2E
    t = -160.0 if t < -160.0 else t
    t = 160.0 if t > 160.0 else t
    shifted = t + ROUND
    r = t - (shifted - ROUND)
    n = wide_bits(shifted)
    up, down = from_wide_bits((n + 1022) << 52), from_wide_bits((1022 - n) << 52)         # 2^n / 2, 2^-n / 2
    z = r * r
    odd = 0.05550410906162433 + z * (0.0013333478635414692 + z * 1.530366096860655e-05)
    odd = r * (0.6931471805568568 + z * odd)
    even = 0.24022651205758627 + z * (0.009618026424347675 + z * 0.00015469517065789376)
    even = 0.9999999999606525 + z * even
    return (up - down) * even + (up + down) * odd, (up + down) * even + (up - down) * odd


def _sinh(x):
    """sinh x."""
    sinh, _ = wide_halves(x)
    return math.copysign(F(sinh), x)


def _cosh(x):
    """cosh x."""
    _, cosh = wide_halves(x)
    return F(cosh)


def _asinh(x):
    """asinh x = ln(|x| + sqrt(x^2 + 1)) with the sign of x; below 2^-12 two terms of the series."""
    a = D(abs(x))
    far = wide_log2(a + math.sqrt(a * a + 1.0)) * LN2
    y = F(a - a * a * a * (1 / 6) if a < 2.0**-12 else far)
    return math.copysign(y, x) if abs(x) < F(np.inf) else x


def _acosh(x):
    """acosh x = ln(x + sqrt(x^2 - 1)), nan below 1."""
    a = D(x)
    y = F(wide_log2(a + math.sqrt(a * a - 1.0)) * LN2)
    y = F(np.nan) if x < F(1) else y
    return y if x < F(np.inf) else x


def _atanh(x):
    """atanh x = (n ln 2 + ln m) / 2 for (1 + x) / (1 - x) = 2^n m; ln m as in ``wide_log2``, without dividing first."""
    a = D(abs(x))
    n = (wide_bits(1.0 + a) - wide_bits(1.0 - a) + (1 << 51)) >> 52
    c = from_wide_bits((n + 1023) << 52)
    s = ((1.0 - c) + a * (1.0 + c)) / ((1.0 + c) + a * (1.0 - c))
    z = s * s
    p = 0.14286603252046629 + z * (0.11067184852936422 + z * 0.10065530342369396)
    p = s + s * z * (0.3333333335561322 + z * (0.19999992182243598 + z * p))
    y = math.copysign(F(from_small(n) * (0.5 * LN2) + p), x)
    y = math.copysign(F(np.inf), x) if a == 1.0 else y
    return y if a <= 1.0 else F(np.nan)


sin = define("sin", _sin, lambda x: math.sin(x), lambda x: cmath.sin(x))
cos = define("cos", _cos, lambda x: math.cos(x), lambda x: cmath.cos(x))
tan = define("tan", _tan, lambda x: math.tan(x))
asin = define("asin", _asin, lambda x: math.asin(x))
acos = define("acos", _acos, lambda x: math.acos(x))
atan = define("atan", _atan, lambda x: math.atan(x))
atan2 = define_two("atan2", _atan2, lambda x, y: math.atan2(x, y))
sinh = define("sinh", _sinh, lambda x: math.sinh(x))
cosh = define("cosh", _cosh, lambda x: math.cosh(x))
asinh = define("asinh", _asinh, lambda x: math.asinh(x))
acosh = define("acosh", _acosh, lambda x: math.acosh(x))
atanh = define("atanh", _atanh, lambda x: math.atanh(x))
