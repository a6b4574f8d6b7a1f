"""The elementary functions in float32 beside float64: how many ulp they are off, and what they make of special values."""
import math
import warnings

import numba
import numpy as np
import pytest
from numtorch.kernels import _jit, pointwise

import numtorch

RNG = np.random.default_rng(11)
TINY, LARGEST = np.float32(1e-45), np.finfo(np.float32).max
SPECIAL = np.array([0.0, 1.0, 0.5, 2.0, 3.0, 2.5, 1.5, 7.0, math.inf, TINY, 1e-40, 1.17549435e-38, 1e-30, LARGEST, 88.7, 88.8,
                    103.9, 104.0, 126.0, 127.99999, 128.0, 149.0, 149.5, 150.0, 10.05, 10.06, 8388607.5, 8388608.0, 16777216.0,
                    1e10, 0.99999994, 1.0000001, 1.9999999, 2.4999998, 5.5, 2.0**64, 2.0**64 - 2.0**40], np.float32)
SPECIAL = np.concatenate([SPECIAL, -SPECIAL, [np.float32(math.nan)]])


def uniform(low, high, n=4000):
    return RNG.uniform(low, high, n).astype(np.float32)


def any_bits(n=12000):
    """float32 numbers of any sign and exponent, with some nan among them."""
    return RNG.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)


ONE = np.concatenate([SPECIAL, any_bits(), uniform(-1, 1), uniform(-10, 10), uniform(-100, 100), 1 + uniform(-0.01, 0.01),
                      2 + uniform(-0.01, 0.01)])
FIRST = np.concatenate([np.repeat(SPECIAL, len(SPECIAL)), any_bits(), uniform(0, 4), any_bits(4000), uniform(-9, 9),
                        1 + uniform(-0.001, 0.001)])
SECOND = np.concatenate([np.tile(SPECIAL, len(SPECIAL)), any_bits(), uniform(-30, 30), np.round(uniform(-40, 40)), uniform(-9, 9),
                         uniform(-50000, 50000)])


@pytest.fixture(autouse=True)
def no_warnings():
    """The references overflow and divide by zero on purpose."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def ours(name, *arrays):
    return getattr(numtorch, name)(*[numtorch.from_numpy(a) for a in arrays]).numpy()


def check(got, want, bound, arrays, slack=0.0):
    """``got`` (float32) is nan, infinite and 0 (with its sign) where ``want`` (float64) is, else off by ``bound`` ulp at most."""
    want = np.where(np.abs(want) > 2.0**128 * (1 + 2.0**-21), np.copysign(math.inf, want), want)
    edge = np.abs(np.abs(want) / 2.0**128 - 1) < 2.0**-20           # within the bound of the largest number and of infinity
    near = want.astype(np.float32)
    finite = np.isfinite(want) & np.isfinite(got)
    error = np.abs(got.astype(np.float64) - want)[finite]
    ulp = np.spacing(np.minimum(np.abs(near[finite]), LARGEST)).astype(np.float64)
    wrong = (np.isnan(got) != np.isnan(want)) | (np.isinf(got) & (np.sign(got) != np.sign(want)))
    wrong |= (np.isinf(got) != np.isinf(want)) & ~edge
    wrong |= (got == 0) & (near == 0) & (np.signbit(got) != np.signbit(near))
    wrong[finite] |= error > bound * ulp + slack
    shown = [(*[a[i] for a in arrays], got[i], want[i]) for i in np.flatnonzero(wrong)[:5]]
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size}: arguments, got, expected: {shown}"


def each(fn, otherwise=math.nan):
    """A function of the math module on an array of float64."""
    def call(x):
        found = np.empty(x.shape)
        for i, v in enumerate(x):
            try:
                found[i] = fn(v)
            except (ValueError, OverflowError):
                found[i] = otherwise
        return found
    return call


def sinc(x):
    """torch's: pi x is rounded to float32 before its sine is taken."""
    a = (np.float32(math.pi) * x.astype(np.float32)).astype(np.float64)
    return np.where(a == 0, 1.0, np.sin(a) / a)


BOUNDS = {
    # in ulp; kernels/_math.py
    "exp": (3, np.exp), "log": (3, np.log), "log1p": (3, np.log1p), "expm1": (3, np.expm1), "tanh": (3, np.tanh),
    "erf": (8, each(math.erf)),
    # kernels/_powers.py
    "exp2": (1, np.exp2), "log2": (1, np.log2), "log10": (1, np.log10),
    # kernels/_trigonometry.py
    "sin": (1, np.sin), "cos": (1, np.cos), "tan": (1, np.tan), "asin": (1, np.arcsin), "acos": (1, np.arccos),
    "atan": (1, np.arctan), "sinh": (1, np.sinh), "cosh": (1, np.cosh), "asinh": (1, np.arcsinh), "acosh": (1, np.arccosh),
    "atanh": (1, np.arctanh), "sinc": (2, sinc),
    # kernels/_special.py
    "erfc": (1, each(math.erfc)),
    # kernels/pointwise.py
    "round": (0, np.rint), "trunc": (0, np.trunc), "floor": (0, np.floor), "ceil": (0, np.ceil),
    "frac": (0, lambda x: x - np.trunc(x)), "sign": (0, lambda x: np.where(np.isnan(x), 0.0, np.sign(x) + 0.0)),
}
BOUNDS_OF_TWO = {"pow": (1, np.power), "atan2": (1, np.arctan2), "hypot": (1, np.hypot), "fmod": (0, np.fmod),
                 "copysign": (0, np.copysign)}


@pytest.mark.parametrize("name", BOUNDS)
def test_one_number(name):
    """Any exponent, the usual ranges, nan, infinities, denormals and signed zeros: within the bound that the source claims."""
    bound, reference = BOUNDS[name]
    check(ours(name, ONE), reference(ONE.astype(np.float64)), bound, (ONE,))


@pytest.mark.parametrize("name", BOUNDS_OF_TWO)
def test_two_numbers(name):
    """The same of functions of two numbers, with each special value beside each."""
    bound, reference = BOUNDS_OF_TWO[name]
    check(ours(name, FIRST, SECOND), reference(FIRST.astype(np.float64), SECOND.astype(np.float64)), bound, (FIRST, SECOND))


def test_sine_and_cosine_know_where_they_are():
    """The float32 numbers nearest to multiples of pi / 2, where the reduction cancels most, and the largest of all."""
    near = [np.float32(k * math.pi / 2) for k in range(1, 2000)] + [np.float32(1.6367e29 * s) for s in (1, -1)]
    x = np.array([*near, 5.3371e8, 6.3812e21, 3.0e38, LARGEST, -LARGEST], np.float32)
    for name, reference in (("sin", np.sin), ("cos", np.cos), ("tan", np.tan)):
        check(ours(name, x), reference(x.astype(np.float64)), 1, (x,))


def test_powers_that_are_exact():
    """Integers to integer powers, powers and logarithms of 2 and of 10: no rounding where none is needed."""
    x, y = (a.ravel().astype(np.float32) for a in np.meshgrid(np.arange(-15, 16), np.arange(0, 6)))
    assert (ours("pow", x, y) == x.astype(np.float64) ** y).all()
    k = np.arange(-149, 128).astype(np.float32)
    assert (ours("exp2", k) == 2.0 ** k.astype(np.float64)).all()
    assert (ours("log2", (2.0 ** k.astype(np.float64)).astype(np.float32)) == k).all()
    assert (ours("log10", (10.0 ** np.arange(11)).astype(np.float32)) == np.arange(11)).all()


def test_remainders():
    """remainder has the divisor's sign and floor_divide floors, also where x / y rounds to the next integer, and far from 1."""
    x = np.concatenate([any_bits(), uniform(-9, 9), np.arange(-40, 41, dtype=np.float32)])
    y = np.concatenate([any_bits(), uniform(-9, 9), np.full(81, 0.1, np.float32)])
    wide = x.astype(np.float64), y.astype(np.float64)
    check(ours("remainder", x, y), np.mod(*wide), 0.5, (x, y))
    near = np.abs(wide[0]) < 2.0**20 * np.abs(wide[1])          # where float32 holds the quotient before it is rounded
    x, y = x[near], y[near]
    check(ours("floor_divide", x, y), np.floor_divide(x.astype(np.float64), y.astype(np.float64)), 0, (x, y))


def test_erfinv():
    """erf's inverse: the result is a root of erf(y) = x, found by Newton's method in float64 (erfc where erf is near 1)."""
    ends = np.array([0.99999994, -0.99999994, 0.0, -0.0, TINY, 1e-30], np.float32)
    x = np.concatenate([uniform(-1, 1), np.float32(1) - uniform(1e-7, 1e-4), ends])
    got = ours("erfinv", x)
    want = got.astype(np.float64)
    for _ in range(3):
        y = np.abs(want)
        rest = np.where(y < 0.5, each(math.erf)(y) - np.abs(x), (1 - np.abs(x.astype(np.float64))) - each(math.erfc)(y))
        want = want - np.sign(want) * rest / (2 / math.sqrt(math.pi) * np.exp(-want * want))
    check(got, want, 1, (x,))
    edges = np.array([1.0, -1.0, 1.0000001, -2.0, math.inf, math.nan], np.float32)
    np.testing.assert_array_equal(ours("erfinv", edges), [math.inf, -math.inf, math.nan, math.nan, math.nan, math.nan])
    double = ours("erfinv", x.astype(np.float64))
    np.testing.assert_allclose(double, want, rtol=1e-14)


def test_lgamma():
    """ln |gamma|: 1 ulp for x > 0, its zeros at 1 and 2 included; for x < 0, where terms cancel at the zeros, 1 ulp + 1e-10."""
    want = each(math.lgamma, math.inf)(ONE.astype(np.float64))
    positive = ~(ONE < 0)
    check(ours("lgamma", ONE[positive]), want[positive], 1, (ONE[positive],))
    check(ours("lgamma", ONE[~positive]), want[~positive], 1, (ONE[~positive],), slack=1e-10)


def digamma(x):
    """By recurrence up to 20, the asymptotic series, and below 0 reflection."""
    if x == 0 or x == math.inf:
        return math.copysign(math.inf, -x) if x == 0 else x
    if x < 0:
        f = x - math.floor(x + 0.5)
        return math.nan if f == 0 else digamma(1 - x) - math.pi / math.tan(math.pi * f)
    total = 0.0
    while x < 20:
        total -= 1 / x
        x += 1
    z = 1 / (x * x)
    return total + math.log(x) - 0.5 / x - z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132))))


def test_digamma():
    """lgamma's derivative, poles and reflection included: 1 ulp + 1e-10, for its zeros."""
    check(ours("digamma", ONE), each(digamma)(ONE.astype(np.float64)), 1, (ONE,), slack=1e-10)


def test_limits():
    """clamp keeps nan, takes a nan limit, and gives the upper limit where the limits cross."""
    x = np.array([-3.0, -0.5, 0.0, 0.5, 3.0, math.inf, -math.inf, math.nan], np.float32)
    t = numtorch.from_numpy(x)
    for low, high in ((-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (-1.0, math.nan), (-math.inf, math.inf)):
        both = np.minimum(np.maximum(x, np.float32(low)), np.float32(high))
        np.testing.assert_array_equal(t.clamp(low, high).numpy(), both)
        np.testing.assert_array_equal(t.clamp(min=low).numpy(), np.maximum(x, np.float32(low)))
        np.testing.assert_array_equal(t.clamp(max=high).numpy(), np.minimum(x, np.float32(high)))


PLAIN = {"exponential": math.exp, "exponential_minus_1": math.expm1, "logarithm": math.log, "logarithm_plus_1": math.log1p,
         "hyperbolic_tangent": math.tanh, "error_function": math.erf, "error_function_complement": math.erfc, "sine": math.sin,
         "cosine": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan, "sinh": math.sinh,
         "cosh": math.cosh, "asinh": math.asinh, "atanh": math.atanh, "log2": math.log2, "log10": math.log10,
         "lgamma": math.lgamma, "exp2": lambda x: 2.0 ** x, "digamma": digamma, "round_half_even": round, "trunc": math.trunc}


@pytest.mark.parametrize("name", PLAIN)
def test_formulas_run_as_python(name):
    """Without a compiler the formulas are ordinary functions of Python floats."""
    assert getattr(pointwise, name)(0.625) == pytest.approx(PLAIN[name](0.625), rel=1e-13)


def test_formulas_of_two_run_as_python():
    """The same of two floats; and erfinv and acosh, which are undone by erf and cosh."""
    for name, fn in (("pow", math.pow), ("atan2", math.atan2), ("hypot", math.hypot), ("fmod", math.fmod),
                     ("remainder", lambda x, y: x % y), ("div_floor", lambda x, y: x // y)):
        assert getattr(pointwise, name)(2.25, -0.75) == fn(2.25, -0.75)
    assert math.erf(pointwise.erfinv(0.625)) == pytest.approx(0.625, rel=1e-14)
    assert math.cosh(pointwise.acosh(1.625)) == pytest.approx(1.625, rel=1e-14)


@pytest.mark.parametrize("name", ["sine", "atan2", "pow", "fmod", "lgamma"])
def test_loops_vectorise(name):
    """The machine code of a loop over float32 works on vectors: no branch and no call of the C library is left in it."""
    formula = getattr(pointwise, name)
    two = formula.__code__.co_argcount == 2
    fn = _jit.function(formula, cache=False, forceinline=True)

    @numba.njit(fastmath=_jit.CONTRACT, error_model="numpy")
    def loop(x, y, out):
        for i in range(out.shape[0]):
            out[i] = fn(x[i], y[i]) if two else fn(x[i])

    array = numba.float32[::1]
    loop.compile((array, array, array))
    text = loop.inspect_llvm(loop.signatures[0])
    assert "x float>" in text and "x double>" in text
