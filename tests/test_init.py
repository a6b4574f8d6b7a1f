"""nn.init: values against torch from the same seed, what the schemes promise, errors, and the tape."""
import math

import numpy as np
import pytest

import numtorch
from numtorch.nn import init

SHAPES = [(4, 6), (6, 4), (16, 3, 5, 5), (8, 4, 3), (4, 4, 3, 3, 3)]
RANDOM = ("uniform_", "normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def both(torch, call, tolerance=0.0):
    """``call(library)`` gives equal numbers in both libraries from one seed, and leaves both generators in one state."""
    numtorch.manual_seed(5)
    torch.manual_seed(5)
    got, want = call(numtorch).numpy(), call(torch).numpy()
    assert got.shape == want.shape and got.dtype == want.dtype
    assert np.allclose(got, want, rtol=tolerance, atol=tolerance)
    assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ("float32", "float64", "float16"))
@pytest.mark.parametrize("name", RANDOM)
def test_random_schemes_equal_torch(torch, name, dtype, shape):
    """Uniform and normal schemes are equal to the bit."""
    both(torch, lambda lib: getattr(lib.nn.init, name)(lib.empty(shape, dtype=getattr(lib, dtype))))


@pytest.mark.parametrize("mode", ("fan_in", "fan_out"))
@pytest.mark.parametrize("nonlinearity", ("relu", "leaky_relu", "tanh", "selu", "linear", "sigmoid"))
def test_kaiming_arguments_equal_torch(torch, mode, nonlinearity):
    """Both fan modes with every nonlinearity and a slope."""
    for name in ("kaiming_uniform_", "kaiming_normal_"):
        both(torch, lambda lib: getattr(lib.nn.init, name)(lib.empty(16, 3, 5, 5), 0.2, mode, nonlinearity))


@pytest.mark.parametrize("shape", SHAPES)
def test_fixed_and_composed_schemes_equal_torch(torch, shape):
    """orthogonal_ (to rounding of the QR), sparse_, dirac_, eye_, constant_, on dense and on transposed tensors."""
    both(torch, lambda lib: lib.nn.init.orthogonal_(lib.empty(shape), gain=1.5), 5e-6)
    both(torch, lambda lib: lib.nn.init.constant_(lib.empty(shape), 0.3))
    if len(shape) == 2:
        both(torch, lambda lib: lib.nn.init.sparse_(lib.empty(shape), 0.3))
        both(torch, lambda lib: lib.nn.init.eye_(lib.empty(shape)))
        both(torch, lambda lib: lib.nn.init.xavier_uniform_(lib.empty(shape).t()))
        both(torch, lambda lib: lib.nn.init.trunc_normal_(lib.empty(shape).t()))
    else:
        both(torch, lambda lib: lib.nn.init.dirac_(lib.empty(shape)))
        both(torch, lambda lib: lib.nn.init.dirac_(lib.empty(shape), 2))


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize("bounds", ((0, 1, -1, 1), (0, 1, 2, 3), (0, 0.02, -2, 2), (5, 1, -2, 2), (0, 1, -0.1, 0.1),
                                    (3, 0.5, 0, 2)))
def test_trunc_normal(torch, bounds):
    """Both ways of drawing, near and far from the mean: within the bounds, and torch's numbers."""
    mean, std, a, b = bounds
    both(torch, lambda lib: lib.nn.init.trunc_normal_(lib.empty(40, 30), mean, std, a, b), 1e-6)
    x = init.trunc_normal_(numtorch.empty(1000), mean, std, a, b)
    assert x.min().item() >= np.float32(a) and x.max().item() <= np.float32(b)


def test_trunc_normal_warns_far_from_the_mean():
    """A mean more than 2 std outside of the bounds is reported, as in torch."""
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        init.trunc_normal_(numtorch.empty(3), mean=10.0, a=-1, b=1)


def test_variances():
    """Kaiming keeps fan-in variance 2 / fan, Xavier averages the fans, within 5 % over 300,000 numbers."""
    w = numtorch.empty(1000, 300)
    for name, variance in (("kaiming_normal_", 2 / 300), ("kaiming_uniform_", 2 / 300), ("xavier_normal_", 2 / 1300),
                           ("xavier_uniform_", 2 / 1300)):
        kwargs = {"nonlinearity": "relu"} if "kaiming" in name else {}
        getattr(init, name)(w, **kwargs)
        assert abs(w.numpy().var() / variance - 1) < 0.05, name


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_is_orthogonal(shape):
    """Rows or columns, whichever are fewer, have unit length and right angles."""
    w = init.orthogonal_(numtorch.empty(shape, dtype=numtorch.float64)).numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert np.allclose(product, np.eye(len(product)), atol=1e-12)


def test_dirac_hands_on_its_input():
    """The weight picks, for each output channel, the middle of the window of the input channel of its number."""
    w = init.dirac_(numtorch.empty(4, 2, 3, 3), groups=2).numpy()
    assert w.sum() == 4
    assert all(w[i, i % 2, 1, 1] == 1 for i in range(4))


def test_sparse_zeroes_a_share_of_each_column():
    """ceil(sparsity * rows) zeros in every column."""
    w = init.sparse_(numtorch.empty(10, 7), 0.25).numpy()
    assert ((w == 0).sum(0) == 3).all()


def test_calculate_gain():
    """torch's table of gains."""
    assert init.calculate_gain("linear") == init.calculate_gain("conv_transpose3d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    assert init.calculate_gain("leaky_relu", 1) == 1
    with pytest.raises(ValueError, match="Unsupported nonlinearity swish"):
        init.calculate_gain("swish")
    for param in (True, "a"):
        with pytest.raises(ValueError, match=f"negative_slope {param} not a valid number"):
            init.calculate_gain("leaky_relu", param)


def test_fans():
    """(inputs, outputs) times the kernel's size; one dimension has none."""
    assert init._calculate_fan_in_and_fan_out(numtorch.empty(5, 3)) == (3, 5)
    assert init._calculate_fan_in_and_fan_out(numtorch.empty(16, 3, 5, 2)) == (30, 160)
    with pytest.raises(ValueError, match="Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"):
        init.xavier_uniform_(numtorch.empty(3))


def test_errors():
    """Wrong numbers of dimensions, groups, modes and dtypes."""
    for call, error, message in (
            (lambda: init.eye_(numtorch.empty(3)), ValueError, "Only tensors with 2 dimensions are supported"),
            (lambda: init.sparse_(numtorch.empty(3), 0.1), ValueError, "Only tensors with 2 dimensions are supported"),
            (lambda: init.dirac_(numtorch.empty(3, 3)), ValueError, "Only tensors with 3, 4, or 5 dimensions are supported"),
            (lambda: init.dirac_(numtorch.empty(3, 3, 3), 2), ValueError, "dim 0 must be divisible by groups"),
            (lambda: init.orthogonal_(numtorch.empty(3)), ValueError, "Only tensors with 2 or more dimensions are supported"),
            (lambda: init.kaiming_normal_(numtorch.empty(2, 2), mode="fan_avg"), ValueError, "Mode fan_avg not supported"),
            (lambda: init.uniform_(numtorch.empty(2, dtype=numtorch.int64)), NotImplementedError,
             "not implemented for 'Long'"),
            (lambda: init.orthogonal_(numtorch.empty(2, 2, dtype=numtorch.float16)), NotImplementedError, "torch.float16")):
        with pytest.raises(error, match=message):
            call()


def test_empty_tensors():
    """Nothing to write is not an error; kaiming warns."""
    for name in ("uniform_", "normal_", "xavier_uniform_", "orthogonal_", "zeros_", "trunc_normal_"):
        assert getattr(init, name)(numtorch.empty(0, 3)).shape == (0, 3)
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        init.kaiming_uniform_(numtorch.empty(0, 3))


def test_parameters_are_written_outside_the_tape():
    """A leaf that requires a gradient can be initialised, stays a leaf, and counts a version."""
    for call in (init.uniform_, init.normal_, init.zeros_, init.ones_, init.xavier_normal_, init.orthogonal_, init.eye_,
                 init.trunc_normal_, lambda w: init.sparse_(w, 0.5), lambda w: init.constant_(w, 2.0)):
        w = numtorch.empty(3, 4, requires_grad=True)
        version = w._version
        assert call(w) is w
        assert w.is_leaf and w.requires_grad and w.grad_fn is None
        assert w._version > version


def test_generator_is_used():
    """generator= draws the numbers, and the global one stays where it was."""
    state = numtorch.get_rng_state().tolist()
    for name in (*RANDOM, "trunc_normal_", "orthogonal_"):
        first, second = (getattr(init, name)(numtorch.empty(4, 5), generator=numtorch.Generator().manual_seed(3)).tolist()
                         for _ in range(2))
        assert first == second
    assert numtorch.get_rng_state().tolist() == state


def test_old_names_warn():
    """Each name without underscore does the same with a FutureWarning."""
    for name in ("uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform",
                 "kaiming_normal", "orthogonal", "sparse"):
        w = numtorch.empty(2, 2, 3) if name == "dirac" else numtorch.empty(2, 2)
        args = {"constant": (1.0,), "sparse": (0.5,)}.get(name, ())
        with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`"):
            assert getattr(init, name)(w, *args) is w
