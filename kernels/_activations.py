"""Formulas of the activation functions, forward above backward; see pointwise.py."""
from ._math import erf, exp, expm1, log1p, tanh

SQRT_HALF, SQRT_2_OVER_PI, SQRT_1_OVER_2PI = 0.7071067811865476, 0.7978845608028654, 0.3989422804014327


def sigmoid(x):
    return type(x)(1) / (type(x)(1) + exp(-x))


def sigmoid_grad(g, y):
    return g * (type(g)(1) - y) * y


def logsigmoid(x):
    return min(x, type(x)(0)) - log1p(exp(-abs(x)))


def relu(x):
    return type(x)(0) if x <= 0 else x


def relu_grad(g, y):
    return type(g)(0) if y <= 0 else g


def threshold(x, limit, value):
    return value if x <= limit else x


def threshold_grad(g, x, limit):
    return type(g)(0) if x <= limit else g


def leaky_relu(x, slope):
    return x if x > 0 else x * slope


def leaky_relu_grad(g, x, slope):
    return g if x > 0 else g * slope


def elu(x, alpha, scale, input_scale):
    return x * scale if x > 0 else expm1(x * input_scale) * (alpha * scale)


def elu_grad(g, x, alpha, scale, input_scale):
    return g * scale if x > 0 else g * (input_scale * alpha * scale) * exp(x * input_scale)


def gelu(x):
    return x * type(x)(0.5) * (type(x)(1) + erf(x * type(x)(SQRT_HALF)))


def gelu_grad(g, x):
    half = type(x)(0.5)
    cdf = half * (type(x)(1) + erf(x * type(x)(SQRT_HALF)))
    return g * (cdf + x * type(x)(SQRT_1_OVER_2PI) * exp(-half * x * x))


def gelu_tanh(x):
    inner = type(x)(SQRT_2_OVER_PI) * (x + type(x)(0.044715) * x * x * x)
    return type(x)(0.5) * x * (type(x)(1) + tanh(inner))


def gelu_tanh_grad(g, x):
    one, half, k = type(x)(1), type(x)(0.5), type(x)(0.044715)
    t = tanh(type(x)(SQRT_2_OVER_PI) * (x + k * x * x * x))
    slope = type(x)(SQRT_2_OVER_PI) * (one + type(x)(3) * k * x * x)
    return g * (half * (one + t) + half * x * (one - t * t) * slope)


def silu(x):
    return x / (type(x)(1) + exp(-x))


def silu_grad(g, x):
    s = type(x)(1) / (type(x)(1) + exp(-x))
    return g * s * (type(x)(1) + x * (type(x)(1) - s))


def softplus(x, beta, limit):
    return x if x * beta > limit else log1p(exp(x * beta)) / beta


def softplus_grad(g, x, beta, limit):
    if x * beta > limit:
        return g
    return g / (type(g)(1) + exp(-x * beta))


def mish(x):
    return x * tanh(log1p(exp(x)) if x < 20 else x)


def hardtanh_grad(g, x, low, high):
    return g if x > low and x < high else type(g)(0)


def hardsigmoid(x):
    return min(max(x + type(x)(3), type(x)(0)), type(x)(6)) / type(x)(6)


def hardsigmoid_grad(g, x):
    return g / type(g)(6) if x > -3 and x < 3 else type(g)(0)


def hardswish(x):
    return x * min(max(x + type(x)(3), type(x)(0)), type(x)(6)) / type(x)(6)


def hardswish_grad(g, x):
    if x <= -3:
        return type(g)(0)
    return g if x >= 3 else g * (x / type(g)(3) + type(g)(0.5))


def softsign(x):
    return x / (type(x)(1) + abs(x))


def softshrink(x, limit):
    if x != x:
        return x
    return x - limit if x > limit else (x + limit if x < -limit else type(x)(0))


def hardshrink(x, limit):
    return type(x)(0) if x >= -limit and x <= limit else x


def shrink_grad(g, x, limit):
    return type(g)(0) if x >= -limit and x <= limit else g
