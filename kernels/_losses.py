"""Formulas of element-wise losses l(x, y), x the input and y the target, above their gradients g dl/dx; see pointwise.py."""
from ._math import exp, log, log1p


def squared_error(x, y):
    return (x - y) * (x - y)


def squared_error_grad(g, x, y):
    return type(g)(2) * g * (x - y)


def smooth_l1(x, y, beta):
    size = abs(x - y)
    return type(x)(0.5) * size * size / beta if size < beta else size - type(x)(0.5) * beta


def smooth_l1_grad(g, x, y, beta):
    d = x - y
    inside = g * d / beta
    return -g if d <= -beta else g if d >= beta else inside


def huber(x, y, delta):
    size = abs(x - y)
    return type(x)(0.5) * size * size if size <= delta else delta * (size - type(x)(0.5) * delta)


def huber_grad(g, x, y, delta):
    d = x - y
    return -g * delta if d <= -delta else g * delta if d >= delta else g * d


def cross_entropy_of_probability(x, y):
    """Logarithms below -100 count as -100, so that 0 and 1 have finite losses."""
    low, one = type(x)(-100), type(x)(1)
    off, on = log1p(-x), log(x)
    off, on = low if off < low else off, low if on < low else on
    return (y - one) * off - y * on


def cross_entropy_of_probability_grad(g, x, y):
    spread = (type(x)(1) - x) * x
    least = type(x)(1e-12)
    return g * (x - y) / (least if spread < least else spread)


def cross_entropy_of_logit(x, y, positive):
    """(1 - y) x + (1 + (positive - 1) y) ln(1 + e^-x), the logarithm without overflow."""
    one, zero = type(x)(1), type(x)(0)
    rest = log1p(exp(-abs(x))) + (zero if x > zero else -x)
    return (one - y) * x + ((positive - one) * y + one) * rest


def cross_entropy_of_logit_grad(g, x, y, positive):
    one = type(x)(1)
    t = positive * y
    return g * ((t + one - y) / (one + exp(-x)) - t)


def soft_margin(x, y):
    return log1p(exp(-y * x))


def soft_margin_grad(g, x, y):
    return -y * g / (type(x)(1) + exp(y * x))
