"""Rows of the reductions."""
import math

import numpy as np

from . import B, C, I, Row, S, T, V

EMPTY_MAX = r"\(\): Expected reduction dim to be specified for input.numel\(\) == 0"
TOL = {"float32": (1e-5, 1e-5)}


def over(fn):
    def reference(x, dim=None, keepdim=False, **kwargs):
        with np.errstate(all="ignore"):
            return fn(np.asarray(x), axis=tuple(dim) if isinstance(dim, (list, tuple)) else dim, keepdims=keepdim, **kwargs)
    return reference


DIMS = [dict(), dict(dim=0), dict(dim=-1, keepdim=True), dict(dim=1)]
SHAPES = [T(2, 3, 4), T(3, 200), T(5, 3)]


def many(*, tuples=True, scalar=True, empty=True, extra=()):
    found = [S(t, **d) for t in SHAPES for d in DIMS]
    if tuples:
        found += [S(T(2, 3, 4), dim=(0, 2)), S(T(2, 3, 4), dim=(0, 1), keepdim=True)]
    if scalar:
        found += [S(T())]
    if empty:
        found += [S(T(0, 3)), S(T(0, 3), dim=1), S(T(0, 3), dim=0)]
    return found + list(extra)


def places(fn):
    def reference(x, dim=None, keepdim=False):
        return np.asarray(fn(x) if dim is None else fn(x, axis=dim, keepdims=keepdim))
    return reference


def spread(fn):
    def reference(x, dim=None, unbiased=True, keepdim=False, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = int(unbiased) if correction is None else correction
        return fn(x, axis=tuple(dim) if isinstance(dim, (list, tuple)) else dim, ddof=ddof, keepdims=keepdim)
    return reference


SPREADS = [S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), (0, 2), keepdim=True), S(T(3, 4), False), S(T(3, 4), 0, False),
           S(T(3, 5), dim=1, correction=2), S(T(2, 300), 1)]
NAN = V([[1.0, math.nan, 3.0], [2.0, 5.0, 5.0]])


def max_(fn, arg):
    def reference(x, dim=None, keepdim=False):
        if dim is None:
            return fn(x)
        return fn(x, axis=dim, keepdims=keepdim), np.asarray(arg(x, axis=dim, keepdims=keepdim))
    return reference


def logsumexp(x, dim, keepdim=False):
    axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
    with np.errstate(all="ignore"):
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdim))


EXTREME_SAMPLES = [S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), 1, True), S(T(2, 3, 4), dim=-1), S(T(), 0), S(I(3, 40, high=100), 1),
                   S(NAN), S(B(3, 4)), S(T(2, 0, 3), 2)]

ROWS = [
    Row("sum", many(extra=[S(C(2, 3)), S(I(2, 3), dim=0), S(B(3, 4)), S(V([1.0, math.inf]))]), over(np.sum), tol=TOL, also=("float16", "bfloat16"),
        errors=[(S(T(3), dim=2), IndexError, "Dimension out of range"),
                (S(T(3, 3), dim=(0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims")]),
    Row("nansum", [S(T(3, 4)), S(NAN), S(NAN, dim=1), S(I(3))], over(np.nansum), tol=TOL),
    Row("mean", many(empty=False, extra=[S(C(2, 3))]), over(np.mean), tol=TOL, also=("float16",),
        errors=[(S(I(3)), RuntimeError, r"could not infer output dtype. Input dtype must be either a floating point or complex")]),
    Row("nanmean", [S(T(3, 4)), S(NAN), S(NAN, dim=1)], over(np.nanmean), tol=TOL),
    Row("prod", [S(T(3, 4)), S(T(2, 3, 4), dim=1), S(T(5), dim=0, keepdim=True), S(T()), S(I(4, low=1)), S(T(0)), S(V([[0.0, 2.0], [3.0, 0.0]])),
                 S(V([0.0, 2.0, 3.0], grad=True))], over(np.prod), tol=TOL),
    Row("amax", many(empty=False, extra=[S(NAN, dim=1), S(I(3, 4), dim=0), S(B(3)), S(V([1.0, 1.0, 0.0]))]), over(np.amax),
        errors=[(S(T(0)), RuntimeError, "amax" + EMPTY_MAX)]),
    Row("amin", many(empty=False, extra=[S(NAN, dim=1), S(I(3, 4), dim=0), S(B(3))]), over(np.amin),
        errors=[(S(T(0)), RuntimeError, "amin" + EMPTY_MAX)]),
    Row("max", EXTREME_SAMPLES, max_(np.max, np.argmax),
        errors=[(S(T(0)), RuntimeError, "max" + EMPTY_MAX), (S(T(2, 0), 1), IndexError, "Expected reduction dim 1 to have non-zero size")]),
    Row("max", [S(T(3, 4), T(4))], np.maximum), Row("min", [S(T(3, 4), T(4))], np.minimum),
    Row("min", EXTREME_SAMPLES, max_(np.min, np.argmin), errors=[(S(T(0)), RuntimeError, "min" + EMPTY_MAX)]),
    Row("argmax", [S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), 1, True), S(T()), S(NAN, 1), S(I(3, 50, high=9), 1)], places(np.argmax), grad=False,
        errors=[(S(T(0)), IndexError, "argmax" + EMPTY_MAX)]),
    Row("argmin", [S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), 0, True), S(T()), S(NAN, 1)], places(np.argmin), grad=False),
    Row("aminmax", [S(T(3, 4)), S(T(3, 4), dim=1, keepdim=True)],
        lambda x, dim=None, keepdim=False: (np.min(x, axis=dim, keepdims=keepdim), np.max(x, axis=dim, keepdims=keepdim))),
    Row("any", [S(B(3, 4)), S(B(3, 4), 1), S(I(3, 4, high=2), 0, True), S(T(3)), S(T(0)), S(V([math.nan, 0.0]))], over(np.any), grad=False),
    Row("all", [S(B(3, 4)), S(B(3, 4), 1), S(I(3, 4, high=2), 0, True), S(T(3)), S(T(0))], over(np.all), grad=False),
    Row("count_nonzero", [S(I(3, 4, high=2)), S(I(3, 4, high=2), 1), S(B(3, 4), dim=0)],
        lambda x, dim=None: np.asarray(np.count_nonzero(x, axis=dim)), grad=False),
    Row("var", SPREADS, spread(np.var), tol=TOL, errors=[(S(I(3)), RuntimeError, "only support floating point and complex dtypes")]),
    Row("std", SPREADS, spread(np.std), tol=TOL),
    Row("var_mean", SPREADS[:5], lambda x, *a, **k: (spread(np.var)(x, *a, **k), np.mean(
        x, axis=a[0] if a and not isinstance(a[0], bool) else None, keepdims=k.get("keepdim", False))), tol=TOL),
    Row("std_mean", SPREADS[:5], lambda x, *a, **k: (spread(np.std)(x, *a, **k), np.mean(
        x, axis=a[0] if a and not isinstance(a[0], bool) else None, keepdims=k.get("keepdim", False))), tol=TOL),
    Row("logsumexp", [S(T(3, 4), 1), S(T(2, 3, 4), (0, 2), keepdim=True), S(T(3), 0), S(V([[-math.inf, -math.inf], [0.0, math.inf]]), 1)],
        logsumexp, tol=TOL),
]
