"""The functions that CUDA kernels compute with instead of the CPU's: complete, and as accurate as their source says.

They are run as plain Python on NumPy's scalars, with libdevice's functions of a line each; tests/cuda runs them compiled.
"""
import cmath
import math
from types import SimpleNamespace

import numpy as np
import pytest
from numtorch.kernels import _cuda_math, _math, _powers, _relink, _special, _trigonometry, pointwise

F = np.float32
RNG = np.random.default_rng(5)
LARGEST = np.finfo(F).max


LIBDEVICE = SimpleNamespace(float_as_int=lambda x: F(x).view(np.int32), sinpif=lambda x: F(math.sin(math.pi * float(x))),
                            cospif=lambda x: F(math.cos(math.pi * float(x))))
CUDA = SimpleNamespace(fma=lambda x, y, z: F(np.float64(x) * np.float64(y) + np.float64(z)), libdevice=LIBDEVICE)
PLAIN = {_math.bits: LIBDEVICE.float_as_int, _math.exp: np.exp, _math.log: np.log, _powers.hypot: np.hypot,
         _trigonometry.atan2: np.arctan2, _trigonometry.sin: np.sin, _trigonometry.cos: np.cos, _trigonometry.tan: np.tan,
         _trigonometry.sinh: np.sinh, _trigonometry.cosh: np.cosh}


def plain(fn):
    """A function of ``_cuda_math`` that runs on NumPy's scalars."""
    return _relink.relink(fn, {"cuda": CUDA}, PLAIN)


@pytest.fixture(autouse=True)
def no_warnings():
    with np.errstate(all="ignore"):
        yield


def check(original, x, reference, bound, slack=0.0):
    """The float32 function for ``original`` is off ``reference`` (float64) by ``bound`` ulp at most, and nan or infinite with it."""
    fn = plain(_cuda_math.REPLACE[original].single)
    x = np.asarray(x, F)
    got = np.array([fn(v) for v in x], F)
    want = np.array([reference(float(v)) for v in x])
    near = want.astype(F)
    finite = np.isfinite(near)
    wrong = ~((got == near) | (np.isnan(got) & np.isnan(near)))
    wrong |= (got == 0) & (near == 0) & (np.signbit(got) != np.signbit(near))
    ulp = np.spacing(np.abs(near[finite])).astype(np.float64)
    wrong[finite] &= np.abs(got[finite] - want[finite]) > bound * ulp + slack
    assert not wrong.any(), [(x[i], got[i], want[i]) for i in np.flatnonzero(wrong)[:5]]


def spread(n=1500):
    """float32 of any sign and exponent, and special values."""
    special = [0.0, -0.0, 1.0, 0.5, 2.0, 3.0, math.inf, -math.inf, math.nan, 1e-45, 1e-30, LARGEST, -LARGEST, 105615.0, 105616.0,
               2.0**64, 2.0**63, 2.0**31]
    return np.concatenate([np.array(special, F), RNG.integers(0, 2**32, n, dtype=np.uint32).view(F), RNG.uniform(-4, 4, n),
                           RNG.uniform(-2e5, 2e5, n)]).astype(F)


def nan_outside(fn):
    return lambda v: fn(v) if math.isfinite(v) else math.nan


@pytest.mark.parametrize("name, bound", [("sin", 2), ("cos", 2), ("tan", 4)])
def test_sine_cosine_tangent(name, bound):
    """Any argument: reduced by three parts of pi / 2, or in integers; also the numbers nearest to multiples of pi / 2."""
    near = [np.float32(k * math.pi / 2) for k in [*range(1, 300), *range(70_000, 70_200)]] + [1.6367e29, 5.3371e8, 6.3812e21]
    check(getattr(_trigonometry, name), np.concatenate([spread(), near]), nan_outside(getattr(math, name)), bound)


def series(x, order):
    """psi (order 0) and its derivative (1) of x > 0: by recurrence to 20 and the asymptotic series."""
    total = 0.0
    while x < 20:
        total += 1 / x**2 if order else -1 / x
        x += 1
    z = 1 / (x * x)
    if order:
        return total + 1 / x + z / 2 + z / x * (1 / 6 - z * (1 / 30 - z * (1 / 42 - z / 30)))
    return total + math.log(x) - 0.5 / x - z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z / 240)))


def digamma(x):
    if x == 0 or math.isinf(x) or math.isnan(x):
        return math.copysign(math.inf, -x) if x == 0 else x if x > 0 else math.nan
    if x > 0:
        return series(x, 0)
    f = x - round(x)
    return math.nan if f == 0 else series(1 - x, 0) - math.pi / math.tan(math.pi * f)


def trigamma(x):
    if x == 0 or math.isinf(x) or math.isnan(x):
        return math.inf if x == 0 else 0.0 if x > 0 else math.nan
    if x > 0:
        return series(x, 1)
    f = x - round(x)
    return math.inf if f == 0 else (math.pi / math.sin(math.pi * f)) ** 2 - series(1 - x, 1)


GAMMA_POINTS = np.concatenate([[0.0, -0.0, 1.0, 2.0, 3.0, -1.0, -2.0, -0.5, math.inf, -math.inf, math.nan, 1e-30, 1e30, -1e-30],
                               RNG.uniform(0, 4, 1500), RNG.uniform(4, 50, 200), 10.0 ** RNG.uniform(-10, 10, 300),
                               1.46163214 + RNG.uniform(-1e-3, 1e-3, 200)]).astype(F)
REFLECTED = RNG.uniform(-20, 0, 1000).astype(F)


def test_digamma():
    """3 ulp for x > 0, its root included; for x < 0, where terms cancel at the roots, of the largest term."""
    check(_special._digamma, GAMMA_POINTS, digamma, 3)
    check(_special._digamma, REFLECTED, digamma, 4, slack=2e-6)


def test_trigamma():
    """3 ulp; for x < 0 of the largest term."""
    check(_special.trigamma, GAMMA_POINTS[GAMMA_POINTS > -1e-9], trigamma, 3)
    check(_special.trigamma, REFLECTED, trigamma, 6, slack=2e-6)


# ---- complex numbers -----------------------------------------------------------------------------------------------------

EDGES = [complex(a, b) for a in (0.0, -0.0, 1.5, -1.5, math.inf, -math.inf, math.nan) for b in (0.0, -0.0, 2.0, -2.0, math.inf, math.nan)]
POINTS = [complex(*v) for v in RNG.normal(size=(300, 2)) * 3]
COMPLEX = {_math.exp: cmath.exp, _math.log: cmath.log, _math.tanh: cmath.tanh, _trigonometry.sin: cmath.sin,
           _trigonometry.cos: cmath.cos, pointwise.sqrt_complex: cmath.sqrt}


@pytest.mark.parametrize("original", COMPLEX, ids=lambda fn: fn.__name__)
def test_complex_functions(original):
    """As CPython's cmath to 1e-14 of the size; infinities and nan too, where C99 leaves no choice and CPython raises nothing."""
    fn = plain(_cuda_math.REPLACE[original].complex_)
    for z in POINTS + EDGES:
        try:
            want = COMPLEX[original](z)
        except ValueError:
            continue
        got = fn(np.complex128(z))
        if not cmath.isfinite(z):
            for g, w in ((got.real, want.real), (got.imag, want.imag)):
                if not math.isnan(w) and w != 0:
                    infinite = math.isinf(g) and math.isinf(w) and not math.isfinite(z.real) and not math.isfinite(z.imag)
                    assert infinite or g == pytest.approx(w, rel=1e-14), (z, got, want)     # of any sign, C99 says
            continue
        assert abs(got - want) <= 1e-14 * abs(want), (z, got, want)
        assert math.copysign(1, got.imag) == math.copysign(1, want.imag), (z, got, want)


def test_complex_square_root_of_extremes():
    """Neither overflow nor a lost part at the ends of float32's and float64's ranges."""
    fn = plain(_cuda_math._sqrt_complex)
    for z in (3e38 + 3e38j, 1e-38 + 1e-38j, -3e38 + 1j):
        single = np.complex64(z)
        assert fn(single) == pytest.approx(cmath.sqrt(complex(single)), rel=1e-6)
    assert fn(np.complex128(1e308 + 1e308j)) == pytest.approx(cmath.sqrt(1e308 + 1e308j), rel=1e-15)


def test_complex_power():
    """As Python's power; 0 to a negative or complex power is nan where Python raises."""
    fn = plain(_cuda_math.REPLACE[_powers.power].complex_)
    for x, y in zip(POINTS, reversed(POINTS)):
        assert fn(np.complex128(x), np.complex128(y)) == pytest.approx(x ** y, rel=1e-12)
    assert fn(np.complex128(0), np.complex128(2)) == 0 and fn(np.complex128(3 + 1j), np.complex128(0)) == 1
    assert cmath.isnan(fn(np.complex128(0), np.complex128(-1))) and cmath.isnan(fn(np.complex128(0), np.complex128(1j)))


def test_direction():
    """z / |z| of numbers whose squares overflow, and of 0."""
    fn = plain(_cuda_math.REPLACE[pointwise.sgn_complex].complex_)
    assert fn(np.complex128(3e300 + 4e300j)) == pytest.approx(0.6 + 0.8j) and fn(np.complex128(0)) == 0


# ---- the table -----------------------------------------------------------------------------------------------------------

def test_every_function_of_formulas_has_a_counterpart():
    """What ``define``, ``define_two`` and ``_reinterpret`` make cannot be compiled for a GPU as it is."""
    for module in (_math, _powers, _trigonometry, _special):
        for name, value in vars(module).items():
            made = getattr(getattr(value, "__code__", None), "co_name", "") == "fn"
            if made or type(value).__name__ == "_Intrinsic":
                assert value in _cuda_math.REPLACE, f"{module.__name__}.{name} has no counterpart in _cuda_math.REPLACE"


def test_a_choice_is_by_type():
    """float32 takes the first function, complex numbers their own, all else the second."""
    choice = _cuda_math.Choice(min, max, sum)
    assert [choice.of(t, t) for t in ("float32", "float64", "int32", "complex64")] == [min, max, max, sum]
    assert choice.of("float32", "float64") is max
    assert _cuda_math.Choice(min).of("float64") is min and _cuda_math.Choice(min).of("complex128") is None
