"""Rows of factories, copies and questions."""
import numpy as np

from . import C, D, I, Row, S, T, V


def like(fill):
    return lambda x, *v, dtype=None: np.full(np.shape(x), v[0] if v else fill, np.result_type(x))


def made(fn):
    """A factory's reference, which ignores dtypes: the harness compares those with torch's."""
    return lambda *a, dtype=None, **k: np.asarray(fn(*a, **k), float)


def sizes(fill):
    return lambda *s, dtype=None: np.full(s[0] if len(s) == 1 and isinstance(s[0], (tuple, list)) else s, fill, float)


def linspace(a, b, n, dtype=None):
    return np.linspace(a, b, n)


def window(n, periodic, formula):
    """A window's formula at n places of [0, 1); 1 itself is one of them if it is not periodic."""
    return np.ones(n) if n < 2 else formula(np.arange(n) / (n - (not periodic)))


NO_GRAD = dict(grad=False)
UNSET = {"values": "the elements are not set", "torch": "the elements are not set", "layouts": "the elements are not set",
         "forms": "the elements are not set"}

ROWS = [
    Row("clone", [S(T(2, 3)), S(I(3)), S(C(2)), S(T()), S(T(0, 3))], lambda x: x), Row("contiguous", [S(T(2, 3)), S(T())], lambda x: x,
                                                                                     torch=lambda x: x.contiguous()),
    Row("zeros", [S(2, 3), S((2, 3)), S(0, 2), S(3, dtype=D("int64"))], sizes(0), **NO_GRAD),
    Row("ones", [S(2, 3), S((2, 3)), S(3, dtype=D("bool"))], sizes(1), **NO_GRAD),
    Row("empty", [S(2, 3)], skip=UNSET, **NO_GRAD), Row("empty_like", [S(T(2, 3))], skip=UNSET, **NO_GRAD),
    Row("empty_strided", [S((2, 3), (1, 2))], skip=UNSET, **NO_GRAD),
    Row("zeros_like", [S(T(2, 3)), S(I(3))], like(0), **NO_GRAD), Row("ones_like", [S(T(2, 3)), S(I(3))], like(1), **NO_GRAD),
    Row("full", [S((2, 3), 7), S((2,), 1.5), S((2,), True), S((), 3.0)], lambda s, v: np.full(s, v, float), **NO_GRAD),
    Row("full_like", [S(T(2, 3), 2.5), S(I(3), 4)], like(0), **NO_GRAD),
    Row("scalar_tensor", [S(3), S(2.5)], lambda v: np.array(float(v)), **NO_GRAD),
    Row("arange", [S(5), S(2, 8, 3), S(0.0, 1.0, 0.25), S(5, 0, -2), S(0), S(5, dtype=D("float32"))], made(np.arange),
        errors=[(S(0, 5, 0), RuntimeError, "step must be nonzero"), (S(5, 0), RuntimeError, "inconsistent with step sign")], **NO_GRAD),
    Row("range", [S(1, 4), S(0, 1, 0.25)], lambda a, b, s=1: np.arange(a, b + 1e-9, s, float), **NO_GRAD),
    Row("linspace", [S(0, 1, 5), S(-1.5, 2.5, 9), S(3, 3, 1), S(0, 10, 4, dtype=D("int64"))],
        lambda a, b, n, dtype=None: np.trunc(np.linspace(a, b, n)) if dtype is not None else np.linspace(a, b, n),
        tol={"float32": 1e-6, "float64": 1e-6}, errors=[(S(0, 1, -1), RuntimeError, "number of steps must be non-negative")], **NO_GRAD),
    Row("logspace", [S(0, 2, 5), S(0, 3, 4, base=2.0)], lambda a, b, n, base=10.0: np.logspace(a, b, n, base=base),
        tol={"float32": 1e-5, "float64": 1e-5}, **NO_GRAD),
    Row("eye", [S(3), S(2, 4), S(3, dtype=D("int64"))], made(np.eye), errors=[(S(-1), RuntimeError, "n must be greater or equal to 0, got -1")], **NO_GRAD),
    *[Row(f"{name}_window", [S(0), S(1), S(2), S(7), S(8, False), S(9, True, *more), S(5, dtype=D("float64"))],
          made(formula), tol={"float32": 2e-6, "float64": 2e-6},
          errors=[(S(-1), RuntimeError, "requires non-negative window_length, got window_length=-1"),
                  (S(3, dtype=D("int64")), RuntimeError, f"{name}_window expects floating point dtypes")], **NO_GRAD)
      for name, formula, more in (
          ("hann", lambda n, periodic=True: window(n, periodic, lambda x: 0.5 - 0.5 * np.cos(2 * np.pi * x)), ()),
          ("hamming", lambda n, periodic=True, a=0.54, b=0.46: window(n, periodic, lambda x: a - b * np.cos(2 * np.pi * x)), (0.6, 0.3)),
          ("blackman", lambda n, periodic=True: window(
              n, periodic, lambda x: 0.42 - 0.5 * np.cos(2 * np.pi * x) + 0.08 * np.cos(4 * np.pi * x)), ()),
          ("bartlett", lambda n, periodic=True: window(n, periodic, lambda x: 1 - abs(2 * x - 1)), ()),
          ("kaiser", lambda n, periodic=True, beta=12.0: window(
              n, periodic, lambda x: np.i0(beta * np.sqrt(np.maximum(1 - (2 * x - 1) ** 2, 0))) / np.i0(beta)), (5.0,)))],
    Row("complex", [S(T(2, 3), T(2, 3))], lambda a, b: a + 1j * b), Row("polar", [S(T(2, 3, low=0.5, high=2), T(2, 3))],
                                                                       lambda r, a: r * np.exp(1j * a), tol={"complex64": 1e-5}),
    Row("tensor", [S([1, 2]), S([[1.0, 2.0], [3.0, 4.0]]), S(True), S(3.5), S([]), S([[], []])], lambda d: np.asarray(d, float),
        errors=[(S([[1, 2], [3]]), ValueError, r"expected sequence of length 2 at dim 1 \(got 1\)"),
                (S("a"), TypeError, "new\\(\\): invalid data type 'str'"), (S([1, "a"]), (TypeError, ValueError), "")], **NO_GRAD),
    Row("as_tensor", [S([1, 2]), S(2.5)], lambda d: np.asarray(d, float), **NO_GRAD),
    Row("asarray", [S([1, 2]), S(2.5)], lambda d: np.asarray(d, float), **NO_GRAD),
    Row("from_numpy", [S(np.arange(3.0)), S(np.ones((2, 2), np.int32))], lambda a: a,
        errors=[(S([1]), TypeError, r"expected np.ndarray \(got list\)")],
        **NO_GRAD),
    Row("frombuffer", [S(bytearray(b"abcd"), dtype=D("uint8"))], lambda b, dtype: np.frombuffer(b, np.uint8), **NO_GRAD),
    Row("is_tensor", [S(T(2)), S(3)], None, **NO_GRAD), Row("numel", [S(T(2, 3))], None, **NO_GRAD),
    Row("is_floating_point", [S(T(2)), S(I(2))], None, **NO_GRAD), Row("is_complex", [S(T(2)), S(C(2))], None, **NO_GRAD),
    Row("is_nonzero", [S(V([2.0])), S(V([0]))], None, **NO_GRAD), Row("result_type", [S(T(2), 3), S(I(2), 1.5)], None, **NO_GRAD),
]
