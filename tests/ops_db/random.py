"""Random ops and dropout. Each call is seeded alike in both libraries, so torch itself is the reference."""
import numpy as np

from . import D, I, Row, S, T, V

EPS = {"float32": 1e-6, "float64": 1e-12}


def draws(name, samples, **options):
    return Row(name, samples, None, grad=options.pop("grad", False), seed=True, tol=EPS, **options)


def fills(name, samples, **options):
    """An in-place fill: its gradient with respect to what was there is zero."""
    return Row(f"Tensor.{name}", samples, None, grad=True, gradgrad=False, seed=True, tol=EPS, **options)


ROWS = [
    draws("rand", [S(()), S(3, 5), S((2, 0)), S(20, dtype=D("float64")), S(3, dtype=D("float16")), S(size=(4,))],
          errors=[(S(3, dtype=D("int64")), NotImplementedError, "check_uniform_bounds. not implemented for 'Long'"),
                  (S(-1), RuntimeError, "Trying to create tensor with negative dimension -1"),
                  (S(2.0), TypeError, "argument 'size' .position 1. must be tuple of ints, not float")]),
    draws("randn", [S(()), S(3, 5), S((2, 0)), S(40, dtype=D("float64")), S(3, dtype=D("complex64")), S(17)],
          errors=[(S(3, dtype=D("int64")), NotImplementedError, "normal_kernel_cpu. not implemented for 'Long'")]),
    draws("rand_like", [S(T(2, 3)), S(T()), S(T(2, 3), dtype=D("float64")), S(T(0, 2))]),
    draws("randn_like", [S(T(2, 3)), S(T()), S(T(2, 3), dtype=D("float64")), S(T(0, 2))]),
    draws("randint", [S(10, (3, 4)), S(-5, 5, (20,)), S(0, 2 ** 40, (4,)), S(high=7, size=(3,)),
                      S(3, (2,), dtype=D("float32"))],
          errors=[(S(5, 3, (2,)), RuntimeError, "random_ expects 'from' to be less than 'to', but got from=5 >= to=3"),
                  (S(0, 300, (2,), dtype=D("uint8")), RuntimeError, "to - 1 is out of bounds for unsigned char"),
                  (S(5, 2), TypeError, "argument 'size' .position 2. must be tuple of ints, not int")]),
    draws("randint_like", [S(T(2, 3), 10), S(I(4), -3, 3), S(T(2), 2, 9, dtype=D("int64"))]),
    draws("randperm", [S(0), S(1), S(10), S(700), S(5, dtype=D("int32")), S(5, dtype=D("float32"))],
          errors=[(S(-1), RuntimeError, "Trying to create tensor with negative dimension -1"),
                  (S(300, dtype=D("uint8")), RuntimeError, "cannot be converted to type uint8_t without overflow"),
                  (S(3000, dtype=D("float16")), RuntimeError, "n cannot be greater than 2049 for Half type")]),
    draws("normal", [S(T(3, 4), 0.5), S(0.0, T(20, low=0.1)), S(T(3, 1), T(1, 5, low=0.1)), S(1.0, 2.0, (2, 3)),
                     S(T(3))], grad=True, gradgrad=False,
          skip={"gradcheck": "torch defines its gradient as zero", "gradgradcheck": "torch defines its gradient as zero"},
          errors=[(S(0.0, V([1.0, -1.0])), RuntimeError, "normal expects all elements of std >= 0.0"),
                  (S(V([1.0, 2.0]), -1.0), RuntimeError, "normal expects std >= 0.0, but found std -1"),
                  (S(V([1.0, 2.0]), V([1.0, 2.0, 3.0])), RuntimeError, "must match the size of tensor b")]),
    draws("bernoulli", [S(T(3, 5, low=0, high=1)), S(T(3, 5, grad=False), 0.3), S(T(0))], grad=True, gradgrad=False,
          errors=[(S(V([0.5, 2.0])), RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true, but got false"),
                  (S(V([0.5]), 1.5), RuntimeError, "bernoulli_ expects p to be in .0, 1., but got p=1.5"),
                  (S(V([1, 0])), NotImplementedError, "bernoulli_tensor_cpu_p_. not implemented for 'Long'")],
          skip={"gradcheck": "a step function of its input"}),
    draws("poisson", [S(T(3, 4, low=0, high=30)), S(T(0)), S(T(low=0, high=3))], grad=True, gradgrad=False,
          errors=[(S(V([1.0, -1.0])), RuntimeError, "invalid Poisson rate, expected rate to be non-negative"),
                  (S(V([1, 1])), NotImplementedError, "poisson_cpu. not implemented for 'Long'")],
          skip={"gradcheck": "a step function of its input"}),
    draws("multinomial", [S(T(6, low=0.1, high=1), 3), S(T(6, low=0.1, high=1), 20, True), S(T(2, 6, low=0.1, high=1), 1),
                          S(T(2, 6, low=0.1, high=1), 4, replacement=True), S(T(0, 3, low=0.1, high=1), 2)],
          errors=[(S(V([1.0, 2.0]), 3), RuntimeError, "cannot sample n_sample > prob_dist.size"),
                  (S(V([1.0, 2.0]), 0), RuntimeError, "cannot sample n_sample <= 0 samples"),
                  (S(V([0.0, 0.0]), 1), RuntimeError, "sum of probabilities <= 0"),
                  (S(V([1.0, -1.0]), 1), RuntimeError, "probability tensor contains either .inf., .nan. or element < 0"),
                  (S(V([1.0, np.nan]), 2, True), RuntimeError, "encountering probability entry < 0"),
                  (S(V([1.0, np.inf]), 2, True), RuntimeError, "encountering probability entry = infinity or NaN"),
                  (S(V([0.0, 0.0]), 2, True), RuntimeError, "sum of probabilities <= 0"),
                  (S(V([1.0, np.nan]), 1, True), RuntimeError, "probability tensor contains either"),
                  (S(V(1.0), 1), RuntimeError, "prob_dist must be 1 or 2 dim"),
                  (S(V([1, 2]), 1), RuntimeError, "multinomial only supports floating-point dtypes for input, got: Long")]),

    fills("uniform_", [S(T(3, 4)), S(T(3, 4), -1.0, 5.0), S(T(), 2, 3)],
          errors=[(S(V([1.0]), 2.0, 1.0), RuntimeError,
                   "uniform_ expects to return a .from, to. range, but found from=2 > to=1"),
                  (S(V([1]),), NotImplementedError, "check_uniform_bounds. not implemented for 'Long'")]),
    fills("normal_", [S(T(3, 4)), S(T(3, 5), 1.0, 3.0), S(T())],
          errors=[(S(V([1.0]), 0.0, -1.0), RuntimeError, "normal expects std >= 0.0, but found std -1")]),
    fills("random_", [S(T(3, 4), 7), S(T(3, 4), -3, 50), S(T(3)), S(I(6)), S(I(6), 2 ** 33)],
          errors=[(S(V([1.0]), 5, 3), RuntimeError, "random_ expects 'from' to be less than 'to', but got from=5 >= to=3")]),
    fills("bernoulli_", [S(T(3, 4)), S(T(3, 4), 0.2), S(T(3, 4), V([0.1, 0.5, 0.9, 1.0])), S(I(5), 0.5)],
          errors=[(S(V([1.0]), 2), RuntimeError, "bernoulli_ expects p to be in .0, 1., but got p=2"),
                  (S(V([1.0, 2.0]), V([0.5, 0.5, 0.5])), RuntimeError, "The expanded size of the tensor")]),
    fills("exponential_", [S(T(3, 4)), S(T(3, 4), 2.5)],
          errors=[(S(V([1.0]), -1.0), RuntimeError, "exponential_ expects lambda > 0.0, but found lambda=-1"),
                  (S(V([1])), RuntimeError, "dtype must be a floating point but you specified Long")]),
    fills("geometric_", [S(T(3, 4), 0.3), S(I(5), 0.1)],
          errors=[(S(V([1.0]), 1.0), RuntimeError, "geometric_ expects p to be in .0, 1., but got p=1")]),
    fills("cauchy_", [S(T(3, 4)), S(T(3, 4), 1.0, 2.0)],
          errors=[(S(V([1.0]), 0.0, -1.0), RuntimeError, "cauchy_ expects sigma > 0.0, but found sigma=-1")]),
    fills("log_normal_", [S(T(3, 4)), S(T(3, 4), 0.5, 0.25)],
          errors=[(S(V([1.0]), 0.0, 0.0), RuntimeError, "log_normal_ expects std > 0.0, but found std=0"),
                  (S(V([1])), NotImplementedError, "log_normal_cpu. not implemented for 'Long'")]),
]


def _drop(name, shapes, p=0.4, **options):
    """Rows of ``torch.<name>(x, p, train)`` and its in-place form."""
    samples = [S(T(*shape), q, train) for shape in shapes for q, train in ((p, True), (1.0, True), (p, False))]
    errors = [(S(V([[1.0]]), 2.0, True), RuntimeError, "dropout probability has to be between 0 and 1")]
    return [Row(name + suffix, samples, None, seed=True, tol=EPS, errors=errors, **options) for suffix in ("", "_")]


ELEMENTS, CHANNELS = [(4, 5), (), (0, 3)], [(2, 3, 4), (3, 4)]
ROWS += [
    *_drop("dropout", ELEMENTS), *_drop("alpha_dropout", ELEMENTS),
    *_drop("feature_dropout", CHANNELS), *_drop("feature_alpha_dropout", CHANNELS),
    Row("_masked_scale", [S(T(3, 4), V(np.arange(12).reshape(3, 4) % 3 > 0), 2.0)],
        lambda x, mask, scale: x * mask * scale, torch=False),
]


def _functional(name, *shapes):
    samples = [S(T(*shape), p, training=training) for shape in shapes for p, training in ((0.4, True), (0.4, False))]
    return Row(f"nn.functional.{name}", [*samples, S(T(*shapes[0]), 0.0, True)], None, seed=True, tol=EPS,
               errors=[(S(V(np.ones(shapes[0])), 2.0), ValueError,
                        "dropout probability has to be between 0 and 1, but got 2")])


ROWS += [_functional("dropout", (4, 5), (), (0, 3)), _functional("alpha_dropout", (4, 5)),
         _functional("feature_alpha_dropout", (2, 3, 4)), _functional("dropout1d", (2, 3, 4), (3, 4)),
         _functional("dropout2d", (2, 3, 2, 2)), _functional("dropout3d", (2, 3, 2, 2, 2), (3, 2, 2, 2))]
