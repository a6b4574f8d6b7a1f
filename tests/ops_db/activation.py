"""Rows of the activation functions."""
import math

import numpy as np

from . import Row, S, T, V
from .pointwise import LOOSE, SPECIAL, erf, sigmoid

F = "nn.functional."


def softplus(x, beta=1, threshold=20):
    return np.where(x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, threshold))) / beta)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def leaky(x, slope=0.01):
    return np.where(x > 0, x, x * slope)


def row(name, reference, *more, special=True, low=-3, high=3, **options):
    samples = [S(T(3, 4, low=low, high=high)), *([S(SPECIAL)] if special else []), *more]
    return Row(name, samples, _quiet(reference), pointwise=True, tol=LOOSE, **options)


def _quiet(fn):
    def call(*args, **kwargs):
        with np.errstate(all="ignore"):
            return fn(*args, **kwargs)
    return call


def relu(x):
    return np.where(x <= 0, 0.0, x)


def shrink(x, lambd=0.5):
    return np.where(np.abs(x) <= lambd, 0.0, x)


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def threshold(x, limit, value):
    return np.where(x <= limit, value, x)


def selu(x):
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def prelu(x, w):
    return np.where(x > 0, x, x * w.reshape((1, -1) + (1,) * (x.ndim - 2) if x.ndim > 1 and w.size > 1 else w.shape if w.size > 1 else ()))


def _prelu_row(name):
    return Row(name, [S(T(2, 3), T(3)), S(T(2, 3, 2), T(1)), S(T(4), T(1))], prelu, tol=LOOSE,
               errors=[(S(T(2, 3), T(4)), RuntimeError, "Mismatch of parameter numbers and input channel size")])


ROWS = [
    row("relu", relu, special=True), row(F + "relu", relu),
    Row("threshold", [S(T(3, 4), 0.3, 0.7)], threshold), Row(F + "threshold", [S(T(3, 4), 0.3, 0.7)], threshold),
    row(F + "leaky_relu", leaky, S(T(3), 0.2)), _prelu_row("prelu"), _prelu_row(F + "prelu"),
    row(F + "hardtanh", lambda x, a=-1.0, b=1.0: np.clip(x, a, b), S(T(3, low=-4, high=4), -2.0, 0.5)),
    row(F + "relu6", lambda x: np.clip(x, 0, 6), high=8), row(F + "elu", elu, S(T(3), 0.5)),
    row("selu", selu), row(F + "selu", selu), row("celu", celu, S(T(3), 0.5)), row(F + "celu", celu, S(T(3), 0.5)),
    row(F + "gelu", gelu, S(T(3), approximate="tanh"), special=False,
        errors=[(S(T(3), approximate="fast"), RuntimeError, "approximate argument must be either none or tanh")]),
    row(F + "silu", lambda x: x * sigmoid(x), special=False), row(F + "softplus", softplus, S(T(3), 2.0, 1.0), special=False),
    row(F + "logsigmoid", lambda x: -softplus(-x), special=False), row(F + "mish", lambda x: x * np.tanh(softplus(x)), special=False),
    Row(F + "hardsigmoid", [S(T(3, 4, low=-3, high=5)), S(SPECIAL)], lambda x: np.clip(x + 3, 0, 6) / 6, pointwise=True,
        tol={**LOOSE, "float64": (1e-7, 1e-8)}, note="torch's slope in float64 is 1 / 6 rounded to float32"), row(F + "hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6,
                                                                           special=False, low=-4, high=4),
    row(F + "softsign", lambda x: x / (1 + np.abs(x))), row(F + "tanhshrink", lambda x: x - np.tanh(x), special=False),
    row(F + "softshrink", lambda x, l=0.5: np.sign(x) * np.maximum(np.abs(x) - l, 0), S(T(3), 0.2), special=False,
        errors=[(S(T(3), -1.0), RuntimeError, r"lambda must be in range \[0, 3.40282e\+38\] for input dtype Float, but found -1")]),
    row("hardshrink", shrink), row(F + "hardshrink", shrink), row(F + "sigmoid", sigmoid), row(F + "tanh", np.tanh),
    Row("_relu_grad", [S(T(3), T(3))], lambda g, y: np.where(y <= 0, 0, g), torch=False),
    Row("_gelu", [S(T(3))], gelu, torch=False, tol=LOOSE), Row("_gelu_tanh", [S(T(3))], lambda x: gelu(x, "tanh"), torch=False, tol=LOOSE),
    Row("_gelu_grad", [S(T(3), V([0.0, 1.0, -1.0]))], lambda g, x: g * np.array([0.5, 1.0833154705876864, -0.08331547058768639]),
        torch=False, tol=LOOSE, gradgrad=True),
    Row("_gelu_tanh_grad", [S(T(3), V([0.0, 1.0, -1.0]))], lambda g, x: g * np.array([0.5, 1.0829640838457826, -0.08296408384578255]),
        torch=False, tol=LOOSE),
    Row("_silu", [S(T(3))], lambda x: x * sigmoid(x), torch=False, tol=LOOSE),
    Row("_silu_grad", [S(T(3), T(3))], lambda g, x: g * sigmoid(x) * (1 + x * (1 - sigmoid(x))), torch=False, tol=LOOSE),
    Row("_mish", [S(T(3))], lambda x: x * np.tanh(softplus(x)), torch=False, tol=LOOSE),
    Row("_hardsigmoid", [S(T(3))], lambda x: np.clip(x + 3, 0, 6) / 6, torch=False, tol=LOOSE),
    Row("_hardswish", [S(T(3))], lambda x: x * np.clip(x + 3, 0, 6) / 6, torch=False, tol=LOOSE),
    Row("_hardswish_grad", [S(T(3), V([-4.0, 1.0, 4.0]))], lambda g, x: g * np.array([0, 1 / 3 + 0.5, 1]), torch=False, tol=LOOSE),
]
