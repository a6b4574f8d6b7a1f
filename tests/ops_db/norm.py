"""Rows of the normalisations."""
import numpy as np

from . import Row, S, T, V

F = "nn.functional."
TOL = {"float32": (2e-5, 1e-5), "float64": (1e-8, 1e-9)}


def normalized(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def around(v, ndim):
    return v.reshape((1, -1) + (1,) * (ndim - 2))


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    y = normalized(x, tuple(range(x.ndim - len(shape), x.ndim)), eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        y = normalized(x, tuple(d for d in range(x.ndim) if d != 1), eps)
    else:
        y = (x - around(mean, x.ndim)) / np.sqrt(around(var, x.ndim) + eps)
    return y * (1 if weight is None else around(weight, x.ndim)) + (0 if bias is None else around(bias, x.ndim))


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    y = normalized(x.reshape(x.shape[0], groups, -1), -1, eps).reshape(x.shape)
    return y * (1 if weight is None else around(weight, x.ndim)) + (0 if bias is None else around(bias, x.ndim))


def rms_norm(x, shape, weight=None, eps=None):
    return x / np.sqrt((x * x).mean(tuple(range(x.ndim - len(shape), x.ndim)), keepdims=True) + eps) * (1 if weight is None else weight)


FIXED = (V(np.array([0.1, -0.2, 0.3])), V(np.array([0.5, 1.0, 2.0])))
WB = (T(3, low=0.5, high=2), T(3))

ROWS = [
    Row(F + "layer_norm", [S(T(4, 5), (5,)), S(T(2, 3, 4), (3, 4), T(3, 4), T(3, 4)), S(T(2, 3, 4), (4,), T(4)), S(T(2, 40), (40,), None, T(40))],
        layer_norm, tol=TOL, also=("float16",),
        errors=[(S(T(4, 5), (4,)), RuntimeError, r"Given normalized_shape=\[4\], expected input with shape \[\*, 4\], but got input of size\[4, 5\]"),
                (S(T(4, 5), (5,), T(4)), RuntimeError, "Expected weight to be of same shape as normalized_shape")]),
    Row(F + "batch_norm", [S(T(4, 3), None, None, training=True), S(T(4, 3, 5), None, None, *WB, True), S(T(2, 3, 2, 2), None, None, *WB, True),
                           S(T(2, 3, 4), *FIXED, *WB), S(T(2, 3), *FIXED)], batch_norm, tol=TOL,
        errors=[(S(T(1, 3), None, None, training=True), ValueError, "Expected more than 1 value per channel when training"),
                (S(T(2, 4), *FIXED), RuntimeError, "running_mean should contain 4 elements not 3")]),
    Row(F + "group_norm", [S(T(2, 6, 4), 3), S(T(2, 6), 2, T(6), T(6)), S(T(2, 4, 3, 2), 4, T(4), T(4))], group_norm, tol=TOL,
        errors=[(S(T(2, 6), 4), RuntimeError, "Expected number of channels in input to be divisible by num_groups")]),
    Row(F + "instance_norm", [S(T(2, 3, 4)), S(T(2, 3, 4), None, None, *WB), S(T(2, 3, 2, 2), None, None, *WB)],
        lambda x, m=None, v=None, weight=None, bias=None: group_norm(x, x.shape[1], weight, bias), tol=TOL,
        errors=[(S(T(2, 3, 1)), ValueError, "Expected more than 1 spatial element when training")]),
    Row(F + "rms_norm", [S(T(4, 5), (5,), eps=1e-5), S(T(2, 3, 4), (3, 4), T(3, 4), 1e-6)], rms_norm, tol=TOL),
    Row(F + "local_response_norm", [S(T(2, 6, 5), 3), S(T(2, 4, 3, 3), 2, alpha=0.1, beta=0.5, k=2.0)], None, tol=TOL),
]
