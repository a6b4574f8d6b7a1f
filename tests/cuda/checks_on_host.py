"""What ``test_on_host.py`` has a process of its own do: ``python checks_on_host.py NAME`` runs one of these on the host's processor."""
import cmath
import math
import sys
import warnings

import host_machine
import ml_dtypes
import numpy as np
import sample_kernels as samples
from numtorch.kernels import _special, pointwise_cuda
from numtorch.kernels._cuda import ALL, FLOATING, NUMBERS

RNG = np.random.default_rng(3)


def dtype(name):
    return np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)


def numbers(name, n):
    """Small whole numbers, exact in every dtype; complex ones with two parts."""
    found = RNG.integers(0, 9, n) * (1 if name in ("uint8", "bool") else RNG.choice([-1, 1], n))
    if name.startswith("complex"):
        found = found + 1j * RNG.integers(-9, 9, n)
    return host_machine.aligned(found.astype(dtype(name)))


def zeros(name, n):
    return host_machine.aligned(np.zeros(n, dtype(name)))


def same(got, want, what):
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and (got == want).all(), (what, got, want)


def copies():
    """Elements and vectors of every dtype and width arrive, and nothing beside them is written."""
    for kernel, per in ((samples.copy, 1), (samples.copy_2, 2), (samples.copy_4, 4), (samples.copy_8, 8), (samples.copy_16, 16)):
        for t, _ in kernel.specialisations():
            x, out = numbers(t, 96), zeros(t, 112)
            host_machine.compile(kernel, t)(1, 96 // per + 1, x, out, 96)
            same(out[:96], x, (kernel, t))
            assert not out[96:].any()


def addresses():
    """Arrays that a table of addresses names, of every dtype."""
    for t in ALL:
        arrays = [numbers(t, 24) for _ in range(3)]
        table, out = host_machine.aligned(np.array([a.ctypes.data for a in arrays])), zeros(t, 72)
        host_machine.compile(samples.join, t)(1, 80, table, out, 3, 24)
        same(out, np.concatenate(arrays), t)


def halves():
    """float16 and bfloat16 are read exactly and rounded to the nearest, ties to even: every pattern, ties, nan, infinities."""
    for t in ("float16", "bfloat16"):
        every = host_machine.aligned(np.arange(1 << 16, dtype=np.uint16).view(dtype(t)))
        wide = zeros("float32", 1 << 16)
        host_machine.compile(samples.convert, t, "float32")(256, 256, every, wide, 1 << 16)
        np.testing.assert_array_equal(wide, every.astype(np.float32))
        ties = (wide.view(np.uint32)[:, None] + np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001], np.uint32)).ravel()
        x = host_machine.aligned(ties.view(np.float32))
        out = zeros(t, x.size)
        host_machine.compile(samples.convert, "float32", t)(x.size // 256, 256, x, out, x.size)
        with np.errstate(all="ignore"):
            want = x.astype(dtype(t))
        number = ~np.isnan(x)
        np.testing.assert_array_equal(out.view(np.uint16)[number], want.view(np.uint16)[number])
        assert np.isnan(out[~number].astype(np.float32)).all()


def atomics():
    """Atomic operations on every dtype: sums, extremes with nan, and exactly one thread that claims a place."""
    for t in ALL:
        x, index, out, old = numbers(t, 200), host_machine.aligned(RNG.integers(0, 13, 200).astype(np.int32)), numbers(t, 13), zeros(t, 200)
        want = out.copy()
        before = []
        for v, i in zip(x, index):
            before.append(want[i])
            want[i] = want[i] + v
        host_machine.compile(samples.scatter_add, t)(2, 128, x, index, out, old, 200)
        same(out, want, t)
        same(old, np.array(before, old.dtype), t)
    for t in (*NUMBERS, "bool"):
        x, index = numbers(t, 200), host_machine.aligned(RNG.integers(0, 13, 200).astype(np.int32))
        high, low = numbers(t, 13), numbers(t, 13)
        if t in FLOATING:
            x[17] = high[3] = np.nan
        most, least = high.copy(), low.copy()
        with np.errstate(all="ignore"):
            np.maximum.at(most, index, x)
            np.minimum.at(least, index, x)
        host_machine.compile(samples.scatter_extremes, t)(2, 128, x, index, high, low, 200)
        np.testing.assert_array_equal(high.astype("f8"), most.astype("f8"), str(t))
        np.testing.assert_array_equal(low.astype("f8"), least.astype("f8"), str(t))
        owner, x = zeros(t, 16), host_machine.aligned((np.arange(64) % 100 + 1).astype(dtype(t)))
        host_machine.compile(samples.claim, t)(1, 64, owner, x, 64)
        first = (np.arange(64) % 100 + 1).astype(dtype(t))
        same(owner, first[::4], t)
        same(x, np.where(np.arange(64) % 4 == 0, np.zeros_like(first), first[np.arange(64) // 4 * 4]), t)


def limits():
    """min and max as Python's, on all dtypes; nan as first argument stays."""
    for t in NUMBERS:
        x, out = numbers(t, 64), zeros(t, 64)
        if t in FLOATING:
            x[5] = np.nan
        wide = x.astype("f8")
        host_machine.compile(samples.limit, t)(1, 64, x, out, 5, 64)
        np.testing.assert_array_equal(out.astype("f8"), np.where(np.isnan(wide), wide, np.clip(wide, 0, 5)), t)


def _run(name, types, *inputs):
    """A formula's flat kernel on arrays."""
    out = zeros(types[-1], inputs[0].size)
    arguments = []
    for x in inputs:
        arguments += [x, pointwise_cuda.ARRAY, *([0] * (2 if x.dtype.kind == "c" else 1))]
    host_machine.compile(pointwise_cuda.kernel(name, types))(inputs[0].size // 256 + 1, 256, *arguments, out, out.size)
    return out


def spread(n=4000):
    """float32 numbers of any sign and exponent, of the usual sizes, and the special ones."""
    special = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, math.inf, -math.inf, math.nan, 1e-45, 1e-30, 3e38, -3e38, 105615.0, 105616.0, 88.8, -104.0]
    return np.concatenate([np.array(special, np.float32), RNG.integers(0, 2**32, n, dtype=np.uint32).view(np.float32),
                           RNG.uniform(-4, 4, n), RNG.uniform(-100, 100, n)]).astype(np.float32)


ERRORS = {      # formula: (ulp of float32, reference)
    "sine": (2, np.sin), "cosine": (2, np.cos), "tan": (4, np.tan), "exponential": (2, np.exp), "logarithm": (2, np.log),
    "exp2": (2, np.exp2), "log2": (2, np.log2), "log10": (2, np.log10), "hyperbolic_tangent": (2, np.tanh), "sinh": (3, np.sinh),
    "cosh": (2, np.cosh), "asin": (2, np.arcsin), "acos": (2, np.arccos), "atan": (2, np.arctan), "asinh": (3, np.arcsinh),
    "acosh": (4, np.arccosh), "atanh": (3, np.arctanh), "exponential_minus_1": (2, np.expm1), "logarithm_plus_1": (2, np.log1p),
    "round_half_even": (0, np.rint), "trunc": (0, np.trunc), "floor": (0, np.floor), "ceil": (0, np.ceil), "sqrt": (0.5, np.sqrt),
}


def functions():
    """Functions of float32 and float64 beside NumPy's in float64; what is libdevice's is here the C library's."""
    x = host_machine.aligned(spread())
    wide = x.astype(np.float64)
    for name, (bound, reference) in ERRORS.items():
        want = reference(wide)
        got = _run(name, ("float32",) * 2, x)
        near = want.astype(np.float32)
        ulp = np.spacing(np.minimum(np.abs(near), 3e38)).astype(np.float64)
        finite = np.isfinite(near) & np.isfinite(got)
        error = np.abs(got - want)[finite] / ulp[finite]
        assert (np.isnan(got) == np.isnan(near)).all() and error.max() <= bound, (name, error.max(), x[finite][error.argmax()])
        double = _run(name, ("float64",) * 2, host_machine.aligned(wide))
        np.testing.assert_allclose(double, want, rtol=1e-14, err_msg=name)


def complex_functions():
    """Functions of complex64 and complex128 beside cmath."""
    x = host_machine.aligned(RNG.normal(size=400) * 3 + 1j * RNG.normal(size=400) * 3)
    for name, reference in (("exponential", cmath.exp), ("logarithm", cmath.log), ("hyperbolic_tangent", cmath.tanh), ("sine", cmath.sin),
                            ("cosine", cmath.cos), ("sqrt_complex", cmath.sqrt), ("sgn_complex", lambda z: z / abs(z))):
        want = np.array([reference(v) for v in x])
        np.testing.assert_allclose(_run(name, ("complex128",) * 2, x), want, rtol=1e-13, err_msg=name)
        want = np.array([reference(complex(v)) for v in x.astype(np.complex64)])
        got = _run(name, ("complex64",) * 2, host_machine.aligned(x.astype(np.complex64)))
        assert (np.abs(got - want) / np.abs(want)).max() < 1e-6, name
    y = host_machine.aligned(x[::-1].copy())
    for name, want in (("div", x / y), ("pow", x ** y), ("mul", x * y)):
        np.testing.assert_allclose(_run(name, ("complex128",) * 3, x, y), want, rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(_run("absolute", ("complex128", "float64"), x), np.abs(x), rtol=1e-15)


def gamma_functions():
    """digamma and trigamma in float32 beside their float64 formulas."""
    x = host_machine.aligned(np.concatenate([RNG.uniform(0.01, 30, 3000), 10.0 ** RNG.uniform(-9, 9, 500)]).astype(np.float32))
    for name, formula in (("digamma", _special._digamma_double), ("trigamma", _special.trigamma)):
        want = np.array([formula(np.float64(v)) for v in x])
        near = np.abs(x - 1.4616321) > (1e-3 if name == "digamma" else -1)          # there the float64 formula cancels as well
        error = np.abs(_run(name, ("float32",) * 2, x) - want) / np.spacing(np.abs(want).astype(np.float32))
        assert error[near].max() <= 4, (name, error[near].max(), x[near][error[near].argmax()])


CHECKS = (copies, addresses, halves, atomics, limits, functions, complex_functions, gamma_functions)

if __name__ == "__main__":
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        {check.__name__: check for check in CHECKS}[sys.argv[1]]()
