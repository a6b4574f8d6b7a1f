"""Rows of running results."""
import numpy as np

from . import B, C, D, I, Row, S, T, V

NAN, INF = float("nan"), float("inf")
MANY = [S(T(3, 4), 1), S(T(3, 4), 0), S(T(2, 3, 4), -2), S(T(5), 0), S(T(), 0), S(T(0, 3), 0), S(T(3, 0), 0), S(T(2, 70), 0)]


def np_extreme(better):
    def reference(x, dim):
        if not x.ndim:
            return x, np.array(0)
        values, index = np.moveaxis(np.array(x), dim, 0), np.zeros(np.moveaxis(x, dim, 0).shape, int)
        for k in range(1, len(values)):
            keep = ~((better(values[k], values[k - 1]) & (values[k - 1] == values[k - 1])) | (values[k] != values[k]))
            values[k] = np.where(keep, values[k - 1], values[k])
            index[k] = np.where(keep, index[k - 1], k)
        return np.moveaxis(values, 0, dim), np.moveaxis(index, 0, dim)
    return reference


def np_logcumsumexp(x, dim):
    return np.logaddexp.accumulate(x, dim) if x.ndim else x


ROWS = [
    Row("cumsum", [*MANY, S(I(3, 4), 1), S(B(4), 0), S(C(3, 2), 0), S(T(3), 0, dtype=D("float64"))],
        lambda x, dim, dtype=None: np.cumsum(x, dim) if x.ndim else x, also=("float16", "bfloat16"),
        errors=[(S(T(2, 3), 4), IndexError, "Dimension out of range")]),
    Row("cumprod", [*MANY, S(I(3, 4), 1), S(C(3, 2), 0), S(V([[2.0, 0.0, 3.0, 0.0], [0.0, 1.0, 2.0, 3.0]], grad=True), 1)],
        lambda x, dim: np.cumprod(x, dim) if x.ndim else x, also=("float16",)),
    Row("cummax", [*MANY, S(I(3, 9), 1)], np_extreme(np.greater_equal)),
    Row("cummax", [S(V([1.0, 3.0, 3.0, 2.0, NAN, 5.0, NAN]), 0), S(B(6), 0)], np_extreme(np.greater_equal), grad=False,
        skip={"gradcheck": "it has one"}),
    Row("cummin", [*MANY, S(I(3, 9), 1)], np_extreme(np.less_equal)),
    Row("cummin", [S(V([1.0, 3.0, 1.0, 2.0, NAN, -5.0]), 0)], np_extreme(np.less_equal), grad=False,
        skip={"gradcheck": "it has one"}),
    Row("logcumsumexp", MANY, np_logcumsumexp, tol={"float32": (1e-5, 1e-5)}),
    Row("logcumsumexp", [S(V([-INF, -INF, 1.0, 700.0, 800.0]), 0), S(V([INF, 1.0, NAN]), 0)], grad=False,
        skip={"gradcheck": "it has one"}),
    Row("diff", [S(T(3, 4)), S(T(3, 4), 2), S(T(3, 4), 1, 0), S(T(4), 9), S(T(3, 4), 1, 1, T(3, 1), T(3, 2)), S(I(5)),
        S(T(3), 0)],
        lambda x, n=1, dim=-1, prepend=None, append=None: np.diff(np.concatenate([t for t in (prepend, x,
            append) if t is not None], dim), n, dim),
        errors=[(S(T()), RuntimeError, "diff expects input to be at least one-dimensional")]),
    Row("diff", [S(B(6))], np.diff, grad=False),
]
