"""Formulas of special functions: erf and its inverse, and the logarithm of the gamma function and its derivatives."""
import math

import numpy as np

from ._jit import function
from ._math import F, define, erf, exp, log, log1p
from ._powers import LN2, LOG2E, D, wide_exp2, wide_log2

TWO_OVER_SQRT_PI = 1.1283791670955126
LOG_PI, HALF_LOG_2PI = 1.1447298858494002, 0.9189385332046728


def _erfc(x):
    """1 - erf x, exact for large x: for a = |x| and u = 1 / (a + 3), u P(u) e^(-a^2)."""
    a = D(abs(x))
    u = 1.0 / (a + 3.0)
    t = 1.0 - 6.0 * u
    p = -0.0004843715857050232 + t * -0.00032595194191352845
    p = -0.0012258197585664472 + t * (0.0030800654084031293 + t * p)
    p = 0.11952896675681998 + t * (-0.026839588459180552 + t * p)
    p = 0.5902283045594795 + t * (-0.3104660461816895 + t * p)
    p = 1.0740069077011494 + t * (-0.8833944851411921 + t * p)
    y = u * p * wide_exp2(a * a * -LOG2E)
    return F(2.0 - y if x < F(0) else y)


def _erfinv(x):
    """x P(w) with w = -ln(1 - x^2), where w > 5 a polynomial in sqrt(w): the variables of Giles (2010)."""
    a = D(x)
    w = wide_log2(1.0 - a * a) * -LN2
    p = 2.210305880862252e-07 + w * -8.791020221691533e-09
    p = 3.983241460597006e-06 + w * (-1.976461988965286e-06 + w * p)
    p = -0.0001274816324667572 + w * (4.4565206041560317e-05 + w * p)
    p = 0.011548653911224303 + w * (-0.002334296198654215 + w * p)
    p = 0.8862269204951857 + w * (0.23201381803330767 + w * p)
    v = math.sqrt(w)
    q = -0.003800754009105934 + v * 0.00012896408315355129
    q = -0.369704069201101 + v * (0.04935711410819743 + v * q)
    q = -5.421952191926601 + v * (1.753124320505905 + v * q)
    q = -13.09735697769536 + v * (10.810792879286092 + v * q)
    q = -1.9202987856333342 + v * (9.291867733660737 + v * q)
    y = F(a * (p if w < 5.0 else q))
    y = math.copysign(F(np.inf), x) if abs(x) == F(1) else y
    return y if abs(x) <= F(1) else F(np.nan)


def _erfinv_double(x):
    """Giles' single-precision polynomial (2010), then two Newton steps in the type of x."""
    one, half = type(x)(1), type(x)(0.5)
    if abs(x) > one or x != x:
        return type(x)(math.nan)
    if abs(x) == one:
        return math.copysign(type(x)(math.inf), x)
    w = -log1p(-x * x)
    if w < 5:
        w = w - type(x)(2.5)
        p = type(x)(2.81022636e-08)
        p = type(x)(3.43273939e-07) + p * w
        p = type(x)(-3.5233877e-06) + p * w
        p = type(x)(-4.39150654e-06) + p * w
        p = type(x)(0.00021858087) + p * w
        p = type(x)(-0.00125372503) + p * w
        p = type(x)(-0.00417768164) + p * w
        p = type(x)(0.246640727) + p * w
        p = type(x)(1.50140941) + p * w
    else:
        w = math.sqrt(w) - type(x)(3)
        p = type(x)(-0.000200214257)
        p = type(x)(0.000100950558) + p * w
        p = type(x)(0.00134934322) + p * w
        p = type(x)(-0.00367342844) + p * w
        p = type(x)(0.00573950773) + p * w
        p = type(x)(-0.0076224613) + p * w
        p = type(x)(0.00943887047) + p * w
        p = type(x)(1.00167406) + p * w
        p = type(x)(2.83297682) + p * w
    y = p * x
    slope = type(x)(TWO_OVER_SQRT_PI)
    for _ in range(2):
        a = abs(y)
        rest = math.erf(a) - abs(x) if a < half else (one - abs(x)) - math.erfc(a)      # neither cancels
        y -= (rest if y >= 0 else -rest) / (slope * math.exp(-y * y))
    return y


@function(forceinline=True, cache=False)
def wide_sin_pi(f):
    """sin(pi f) for |f| <= 1/2, to 2^-35."""
    z = f * f
    p = -0.5992513261387781 + z * (0.08204645897881312 + z * -0.0070221290066367495)
    return f * (3.1415926535233054 + z * (-5.167712762106759 + z * (2.550163239996412 + z * p)))


def _lgamma(x):
    """ln |gamma(x)|: from 5.5 on Stirling's series, below a polynomial on [1.5, 2.5] and gamma's recurrence; reflection below 0.

    Near the zeros below 0, where the terms cancel, off by less than 1e-10, which may be more than an ulp.
    """
    a = D(abs(x))
    v, product = a, 1.0
    for _ in range(3):                                      # gamma(a) = gamma(v) product
        above = v > 2.5
        v = v - 1.0 if above else v
        product = product * v if above else product
    for _ in range(2):                                      # gamma(a) = gamma(v) / product
        below = v < 1.5
        product = product * v if below else product
        v = v + 1.0 if below else v
    t = v - 2.0
    large = a >= 5.5
    logarithm = wide_log2(a if large else product) * LN2
    p = -0.00021872470418767177 + t * (0.00011489058009363706 + t * -5.621909525833558e-05)
    p = -0.001193524006506028 + t * (0.0005057209521988343 + t * p)
    p = -0.0073854913526631705 + t * (0.002890944283915231 + t * p)
    p = -0.06735230274535839 + t * (0.02058078915815556 + t * p)
    p = 0.42278433510634733 + t * (0.3224670336614479 + t * p)
    small = t * p + (-logarithm if a < 1.5 else logarithm)
    r = 1.0 / a
    z = r * r
    series = r * (1 / 12 + z * (-1 / 360 + z * (1 / 1260 + z * (-1 / 1680))))
    y = (a - 0.5) * logarithm - a + HALF_LOG_2PI + series if large else small
    s = abs(wide_sin_pi(a - np.rint(a)))
    reflected = LOG_PI - wide_log2(a * s) * LN2 - y
    found = F(reflected if x < F(0) else y)
    pole = x == F(0) or (x < F(0) and s == 0.0) or abs(x) == F(np.inf)
    return F(np.inf) if pole else found


def _digamma_single(x):
    """psi(x): for a = |x| recurrence up to 6, as one fraction, then the asymptotic series; for x < 0 reflection.

    Near the zeros of psi, where the terms cancel, off by less than 1e-10, which may be more than an ulp.
    """
    a = D(abs(x))
    v, top, bottom = a, 0.0, 1.0
    for _ in range(6):                                      # psi(a) = psi(v) - top / bottom
        below = v < 6.0
        top = top * v + bottom if below else top
        bottom = bottom * v if below else bottom
        v = v + 1.0 if below else v
    r = 1.0 / v
    z = r * r
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132)))))
    y = wide_log2(v) * LN2 - 0.5 * r - series - top / bottom
    f = a - np.rint(a)
    reflected = y + 1.0 / a + math.pi * wide_sin_pi(0.5 - abs(f)) / wide_sin_pi(f)
    found = F(reflected if x < F(0) else y)
    found = F(np.nan) if x < F(0) and f == 0.0 else found
    found = math.copysign(F(np.inf), -x) if x == F(0) else found
    return x if x == F(np.inf) else found


def _digamma_double(x):
    """Reflection below 0, recurrence up to 10, then the asymptotic series."""
    zero, one = type(x)(0), type(x)(1)
    if x == zero:
        return math.copysign(type(x)(math.inf), -x)
    shift = zero
    if x < zero:
        if x == np.floor(x):
            return type(x)(math.nan)
        shift = -type(x)(math.pi) / math.tan(type(x)(math.pi) * (x - np.rint(x)))
        x = one - x
    while x < 10:
        shift -= one / x
        x += one
    z = one / (x * x)
    tail = z * (type(x)(1 / 12) - z * (type(x)(1 / 120) - z * (type(x)(1 / 252) - z * (type(x)(1 / 240)
               - z * (type(x)(1 / 132) - z * (type(x)(691 / 32760) - z * type(x)(1 / 12)))))))
    return shift + log(x) - type(x)(0.5) / x - tail


_inverse = define("erfinv", _erfinv, _erfinv_double)
_complement = define("erfc", _erfc, lambda x: math.erfc(x))
_log_gamma = define("lgamma", _lgamma, lambda x: type(x)(math.inf) if abs(x) == math.inf else math.lgamma(x))
_digamma = define("digamma", _digamma_single, _digamma_double)


def error_function(x):
    return erf(x)


def error_function_complement(x):
    return _complement(x)


def erf_grad(g, x):
    return g * type(g)(TWO_OVER_SQRT_PI) * exp(-x * x)


def erfinv(x):
    return _inverse(x)


def lgamma(x):
    return _log_gamma(x)


def digamma(x):
    return _digamma(x)


def trigamma(x):
    """Reflection below 1/2, recurrence up to 10, then the asymptotic series."""
    one = type(x)(1)
    sign, total = one, type(x)(0)
    if x < type(x)(0.5):
        s = math.sin(type(x)(math.pi) * x)
        total -= (type(x)(math.pi) * type(x)(math.pi)) / (s * s)
        sign = -one
        x = one - x
    while x < 10:
        total += one / (x * x) * one
        x += one
    z = one / (x * x)
    tail = (one + one / (type(x)(2) * x) + z * (type(x)(1 / 6) - z * (type(x)(1 / 30) - z * (type(x)(1 / 42)
            - z * type(x)(1 / 30))))) / x
    return sign * (total + tail) if sign > 0 else -total - tail
