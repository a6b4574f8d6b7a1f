"""Rows of sorting, order statistics, sets, search and counts."""
import numpy as np

from . import B, I, Row, S, T, V

NAN = float("nan")
MIXED = V([3.0, NAN, 1.0, 2.0, 1.0, NAN, -0.0, 0.0, float("inf"), float("-inf")])


def np_sort(x, dim=-1, descending=False, stable=False):
    if not x.ndim:
        return x, np.array(0)
    order = np.argsort(x, dim, kind="stable")
    if descending:
        order = np.flip(np.flip(x, dim).shape[dim] - 1 - np.argsort(np.flip(x, dim), dim, kind="stable"), dim)
    return np.take_along_axis(x, order, dim), order


def np_topk(x, k, dim=-1, largest=True, sorted=True):
    values, order = np_sort(x, dim, largest)
    return (np.take(values, range(k), dim), np.take(order, range(k), dim)) if x.ndim else (values, order)


def np_kth(x, k, dim=-1, keepdim=False):
    values, order = np_sort(x, dim)
    found = [np.take(v, [k - 1], dim) if x.ndim else v for v in (values, order)]
    return found if keepdim or not x.ndim else [np.squeeze(f, dim) for f in found]


def np_median(x, dim=None, keepdim=False):
    if dim is None:
        return np.sort(x, None)[(x.size - 1) // 2]
    if not x.ndim:
        return x, np.array(0)
    return np_kth(x, (x.shape[dim] + 1) // 2, dim, keepdim)


SORTED = [S(T(3, 4)), S(T(3, 4), 0), S(T(2, 3, 4), 1, True), S(T(5), -1, True), S(T()), S(T(0, 3)), S(T(3, 0)), S(T(2, 300)),
          S(I(2, 300, low=-9, high=9)), S(I(3, 4)), S(MIXED), S(MIXED, 0, True), S(B(7)), S(B(7), 0, True)]
ONE = [S(T(3, 5), 1), S(T(3, 5), 0), S(T(2, 3, 4), -2, keepdim=True), S(T(5), 0), S(T(), 0)]

ROWS = [
    Row("sort", SORTED, np_sort, torch=lambda x, dim=-1, descending=False: __import__("torch").sort(x, dim=dim,
        descending=descending, stable=True),
        also=("float16", "bfloat16"), errors=[(S(T(2, 3), 2), IndexError, "Dimension out of range")]),
    Row("argsort", SORTED, lambda *a: np_sort(*a)[1], grad=False,
        torch=lambda x, dim=-1, descending=False: __import__("torch").argsort(x, dim=dim, descending=descending, stable=True)),
    Row("msort", [S(T(3, 4)), S(T(5)), S(I(3, 2))], lambda x: np.sort(x, 0)),
    Row("topk", [S(T(3, 40), 2), S(T(3, 4), 3), S(T(40, 3), 4, 0, False), S(T(5), 5), S(T(), 1), S(T(3, 4), 0), S(T(2, 300),
        30), S(T(2, 300), 100)],
        np_topk,
        errors=[(S(T(2, 3), 4), RuntimeError, "selected index k out of range")]),
    Row("kthvalue", [S(T(3, 5), 2), S(T(3, 5), 1, 0), S(T(2, 3, 4), 4, keepdim=True), S(T(5), 5), S(T(), 1)], np_kth,
        errors=[(S(T(2, 3), 9), RuntimeError, r"kthvalue\(\): selected number k out of range for dimension 1"),
                (S(T(2, 0), 1, 1), IndexError, r"kthvalue\(\): Expected reduction dim 1 to have non-zero size")]),
    Row("median", [S(T(3, 4)), S(T(5)), S(T()), *ONE], np_median,
        errors=[(S(T(0, 3), 0), IndexError, r"median\(\): Expected reduction dim 0 to have non-zero size")]),
    Row("nanmedian", [S(T(3, 4)), *ONE], np_median),
    Row("median", [S(I(3, 5, low=-3), 1), S(I(3, 4))], call=lambda f, *a: f(*a)[0] if len(a) > 1 else f(*a), grad=False),
    Row("nanmedian", [S(V([[1.0, NAN, 3.0, 2.0], [NAN, NAN, NAN, NAN]], grad=False), 1), S(V([NAN, 1.0, 2.0]))], grad=False,
        call=lambda f, *a: f(*a)[0] if len(a) > 1 else f(*a), skip={"gradcheck": "nan"}),
    Row("mode", ONE, grad=True, skip={"layouts": "equal rows: which index is free"}),
    Row("mode", [S(I(3, 9, high=3), 1), S(I(9, 3, high=3), 0, True), S(B(9))], grad=False,
        errors=[(S(T(3, 0), 1), IndexError, r"mode\(\): Expected reduction dim 1 to have non-zero size")]),
    Row("unique", [S(I(9)), S(I(3, 4), return_inverse=True, return_counts=True), S(I(6, 2, high=2), dim=0,
        return_inverse=True, return_counts=True),
                   S(I(2, 6, low=-1, high=2), dim=1), S(T(3, 4)), S(MIXED), S(B(5), return_counts=True), S(I(0)), S(T(300),
                   return_inverse=True)],
        grad=False, also=("float16",)),
    Row("unique_consecutive", [S(I(9, high=2)), S(I(3, 4, high=2), return_inverse=True, return_counts=True), S(I(6, 2,
        high=2), dim=0, return_inverse=True),
                               S(T(4)), S(I(0))], grad=False),
    Row("isin", [S(I(3, 4), I(3)), S(I(3, 4), 2, invert=True), S(2, I(4)), S(T(4), T(3)), S(I(0), I(2))],
        lambda x, y, invert=False: np.isin(x, y, invert=invert), grad=False, method=False),
    Row("searchsorted", [S(V([1.0, 2.0, 2.0, 5.0]), V([0.0, 2.0, 9.0, NAN])), S(V([1.0, 2.0, 2.0, 5.0]), V([[0.0, 2.0], [9.0,
        5.0]]), right=True),
                         S(V([[1, 3], [2, 4]]), V([[2, 3, 4], [2, 3, 4]]), side="right"), S(V([1, 3]), 2), S(V([3, 1, 2]),
                         V([2]), sorter=V([1, 2, 0])),
                         S(V([1, 3]), V([2, 5]), out_int32=True), S(V([1.0, 3.0]), I(0))], grad=False, method=False,
        errors=[(S(T(3), T(2), side="foo"), RuntimeError, "side can only be 'left' or 'right' but got foo"),
                (S(T(2, 3), T(3)), RuntimeError, "boundaries tensor should be 1 dimension or the first N-1 dimensions")]),
    Row("bucketize", [S(V([0.0, 2.0, 9.0]), V([1.0, 2.0, 5.0])), S(V([[2, 5]]), V([1, 2, 5]), right=True), S(3, V([1, 3,
        5])), S(V([4]), V([1, 5]), out_int32=True)],
        lambda x, edges, right=False, out_int32=False: np.searchsorted(edges, x, "right" if right else "left"), grad=False,
            method=False,
        errors=[(S(T(3), T(2, 2)), RuntimeError, r"boundaries tensor must be 1 dimension, but got dim\(2\)")]),
    Row("histc", [S(T(20)), S(T(4, 5), 4, -1, 1), S(T(20), bins=3), S(V([1.0, 1.0]), 3), S(T(0), 3)], grad=False,
        errors=[(S(T(3), 0), RuntimeError, "bins must be > 0, but got 0"), (S(T(3), 3, 4, 2), RuntimeError,
            "max must be larger than min")]),
    Row("bincount", [S(I(9)), S(I(9), T(9, grad=False)), S(I(4), minlength=9), S(I(0)), S(V([1, 1]), V([1, 2]))],
        lambda x, w=None, minlength=0: np.bincount(x, w, minlength), grad=False,
        errors=[(S(V([-1])), RuntimeError, "bincount only supports 1-d non-negative integral inputs"),
                (S(I(3), T(2)), RuntimeError, "weights should be 1-d and have the same length as input")]),
    Row("quantile", [S(T(7), 0.3), S(T(3, 5), 0.5, 1), S(T(3, 5), V([0.1, 0.9, 1.0]), 0, True), S(T(3, 5), V([0.25])), S(T(),
        0.5)] +
        [S(T(3, 5), 0.3, 1, interpolation=m) for m in ("lower", "higher", "midpoint", "nearest")],
        lambda x, q, dim=None, keepdim=False, interpolation="linear": np.quantile(x, q, dim, keepdims=keepdim,
            method=interpolation),
        errors=[(S(T(3), 2.0), RuntimeError, r"quantile\(\) q must be in the range \[0, 1\] but got 2"),
                (S(I(3), 0.5), RuntimeError, "input tensor must be either float or double dtype"),
                (S(T(3), 0.5, interpolation="foo"), RuntimeError,
                    "interpolation must be one of linear, lower, higher, midpoint or nearest, but got foo"),
                (S(T(0), 0.5), RuntimeError, "input tensor must be non-empty")]),
    Row("nanquantile", [S(T(7), 0.3), S(T(3, 5), V([0.1, 0.9]), 1)], lambda x, q, dim=None: np.nanquantile(x, q, dim)),
    Row("nanquantile", [S(V([[1.0, NAN, 3.0], [NAN, NAN, NAN]]), 0.5, 1)], lambda x, q, dim: np.nanquantile(x, q, dim),
        grad=False, skip={"gradcheck": "nan"}),
    Row("quantile", [S(V([[1.0, NAN, 3.0], [1.0, 2.0, 3.0]]), 0.5, 1)], lambda x, q, dim: np.quantile(x, q, dim), grad=False,
        skip={"gradcheck": "nan"}),
    Row("histogram", [S(T(20, grad=False), 4), S(T(4, 5, grad=False), 3, range=(-1.0, 1.0)), S(T(9, grad=False), V([-1.0,
        0.0, 0.5])),
                      S(T(9, grad=False), 3, weight=T(9, grad=False)), S(T(9, grad=False), 3, density=True)], grad=False),
    Row("trapezoid", [S(T(3, 4)), S(T(3, 4), dx=2.0), S(T(3, 4), T(4)), S(T(3, 4), T(3, 4), dim=0), S(T(3, 1))],
        lambda y, x=None, dx=1, dim=-1: np.trapezoid(y, x, dx, dim)),
    Row("trapz", [S(T(3, 4))], np.trapezoid),
    Row("cumulative_trapezoid", [S(T(3, 4)), S(T(3, 4), T(3), dim=0), S(T(3, 4), dx=0.5)]),
    Row("unravel_index", [S(V([5, 0]), (2, 3)), S(I(2, 2, high=24), (2, 3, 4))], lambda i, shape: np.unravel_index(i, shape),
        grad=False),
    Row("renorm", [S(T(3, 4), 2, 0, 1.0), S(T(3, 4), 1, 1, 2.0), S(T(2, 3, 2), 3, 1, 0.5)],
        errors=[(S(T(3), 2, 0, 1.0), RuntimeError, "renorm: input needs at least 2 dimensions, got 1 dimensions")]),
]
