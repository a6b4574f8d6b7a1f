"""Formulas of special functions: erf and its inverse, and the logarithm of the gamma function and its derivatives."""
import math

import numpy as np

from ._math import erf, erfc, exp, log, log1p

TWO_OVER_SQRT_PI = 1.1283791670955126


def error_function(x):
    return erf(x)


def error_function_complement(x):
    return erfc(x)


def erf_grad(g, x):
    return g * type(g)(TWO_OVER_SQRT_PI) * exp(-x * x)


def erfinv(x):
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
    y -= (math.erf(y) - x) / (slope * math.exp(-y * y))
    y -= (math.erf(y) - x) / (slope * math.exp(-y * y))
    return y * (half + half)


def lgamma(x):
    return type(x)(math.inf) if abs(x) == math.inf else math.lgamma(x)


def digamma(x):
    """Reflection below 0, recurrence up to 10, then the asymptotic series."""
    zero, one = type(x)(0), type(x)(1)
    if x == zero:
        return math.copysign(type(x)(math.inf), -x)
    shift = zero
    if x < zero:
        if x == np.floor(x):
            return type(x)(math.nan)
        shift = -type(x)(math.pi) / math.tan(type(x)(math.pi) * (x - np.floor(x)))
        x = one - x
    while x < 10:
        shift -= one / x
        x += one
    z = one / (x * x)
    tail = z * (type(x)(1 / 12) - z * (type(x)(1 / 120) - z * (type(x)(1 / 252) - z * (type(x)(1 / 240)
               - z * (type(x)(1 / 132) - z * (type(x)(691 / 32760) - z * type(x)(1 / 12)))))))
    return shift + log(x) - type(x)(0.5) / x - tail


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
