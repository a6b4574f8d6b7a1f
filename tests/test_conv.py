"""Convolution, pooling, padding and resampling: block borders, edge values, names of nodes; against plain NumPy and torch."""
import itertools

import numpy as np
import pytest
from numtorch.kernels import _conv_planes as planes
from numtorch.kernels import _tasks, conv_weight
from numtorch.kernels import conv as kernels

import numtorch as torch
from numtorch.op import OPS

F = {name[len("nn.functional."):]: op.fn for name, op in OPS.items() if name.startswith("nn.functional.")}


def naive(x, w, b, stride, padding, dilation, groups):
    """conv3d by its definition, in float64; padding in front, as much behind."""
    x = np.pad(x.astype(float), [(0, 0), (0, 0), *((p, p) for p in padding)])
    n, o, c = x.shape[0], w.shape[0], w.shape[1]
    out = [(s - d * (k - 1) - 1) // t + 1 for s, k, t, d in zip(x.shape[2:], w.shape[2:], stride, dilation)]
    y = np.zeros((n, o, *out))
    for tap in itertools.product(*map(range, w.shape[2:])):
        at = tuple(slice(t * d, t * d + s * (m - 1) + 1, s) for t, d, s, m in zip(tap, dilation, stride, out))
        seen = x[(slice(None), slice(None), *at)]
        for g in range(groups):
            rows = slice(g * o // groups, (g + 1) * o // groups)
            y[:, rows] += np.einsum("ncdhw,oc->nodhw", seen[:, g * c:(g + 1) * c], w[(rows, slice(None), *tap)])
    return y + b.reshape(-1, 1, 1, 1)


# n, groups, channels and outputs per group, sizes, kernel, stride, padding, dilation
CASES = [(2, 1, 3, 6, (1, 9, 8), (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
         (1, 2, 2, 13, (1, 7, 40), (1, 2, 5), (1, 2, 1), (0, 0, 4), (1, 2, 2)),
         (3, 1, 1, 1, (1, 1, 1200), (1, 1, 7), (1, 1, 3), (0, 0, 2), (1, 1, 4)),
         (1, 3, 1, 1, (4, 5, 6), (3, 2, 3), (2, 1, 2), (1, 1, 0), (1, 1, 1)),
         (2, 1, 5, 3, (3, 4, 5), (2, 2, 2), (1, 3, 3), (1, 0, 1), (2, 1, 1)),
         (1, 1, 2, 25, (1, 30, 33), (1, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
         (1, 1, 4, 4, (1, 6, 6), (1, 1, 1), (1, 4, 4), (0, 0, 0), (1, 1, 1)),
         (3, 1, 33, 13, (1, 9, 19), (1, 3, 3), (1, 2, 1), (0, 1, 1), (1, 1, 1)),
         (1, 2, 47, 5, (3, 8, 20), (2, 2, 3), (1, 1, 2), (1, 0, 2), (1, 2, 1)),
         (4, 1, 32, 26, (1, 8, 16), (1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
         (2, 1, 64, 14, (1, 1, 50), (1, 1, 5), (1, 1, 1), (0, 0, 2), (1, 1, 1))]


def made(case, dtype):
    n, groups, c, o, size, kernel, *steps = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, groups * c, *size)).astype(dtype)
    w = rng.standard_normal((groups * o, c, *kernel)).astype(dtype)
    return x, w, rng.standard_normal(groups * o).astype(dtype), (*steps, groups)


@pytest.fixture(params=["plain", "small blocks", "threads"])
def blocks(request, monkeypatch):
    """Runs a test as it is, with tiny blocks so that every border between blocks is crossed, and always in parallel."""
    if request.param == "small blocks":
        for name, value in (("CACHE_ELEMENTS", 64), ("BLOCK_WIDTH", 11), ("BLOCK_POSITIONS", 1)):
            monkeypatch.setattr(planes, name, value)
    if request.param == "threads":
        monkeypatch.setattr(_tasks, "PARALLEL_WORK", 0)
        monkeypatch.setattr(kernels, "PARALLEL_PACK", 0)
    for plan in (planes.forward_plan, planes.input_plans, conv_weight._weigh_plan):
        plan.cache_clear()
    yield
    for plan in (planes.forward_plan, planes.input_plans, conv_weight._weigh_plan):
        plan.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_kernels_follow_the_definition(case, dtype, blocks):
    """Forward equals the definition; both gradients are its adjoints: <y, conv(x, w)> = <x, spread(y, w)> = <w, weigh(x, y)>."""
    x, w, b, steps = made(case, dtype)
    want = naive(x, w, b, *steps)
    y, gx, gw, gb = np.full(want.shape, np.nan, dtype), np.full_like(x, np.nan), np.full_like(w, np.nan), np.empty_like(b)
    kernels.conv_forward(x, w, b, y, *steps)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(y, want, rtol=rtol, atol=rtol * 10)
    gy = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    kernels.conv_input_grad(gy, w, None, gx, *steps)
    kernels.conv_weight_grad(x, gy, gw, *steps)
    kernels.conv_bias_grad(gy, gb)
    direction = np.random.default_rng(2)
    for given, gradient, other in ((x, gx, lambda v: naive(v, w, 0 * b, *steps)), (w, gw, lambda v: naive(x, v, 0 * b, *steps))):
        for _ in range(3):
            v = direction.standard_normal(given.shape)
            np.testing.assert_allclose((gradient.astype(float) * v).sum(), (gy * other(v)).sum(), rtol=rtol * 10, atol=rtol * 100)
    np.testing.assert_allclose(gb, gy.astype(float).sum((0, 2, 3, 4)), rtol=rtol, atol=rtol * 10)


def test_infinity_and_nan_stay_in_their_windows():
    """An inf or nan of the input reaches the outputs whose windows hold it, and no other."""
    x = torch.ones(1, 1, 6, 6)
    x[0, 0, 0, 5], x[0, 0, 5, 0] = float("inf"), float("nan")
    y = torch.conv2d(x, torch.ones(1, 1, 3, 3)).numpy()[0, 0]
    assert np.isinf(y[0, 3]) and np.isnan(y[3, 0])
    assert np.isfinite(np.delete(y.ravel(), [3, 12])).all()


def test_inputs_of_any_layout_are_read_right():
    """Permuted, sliced and expanded inputs and weights give what their contiguous copies give."""
    x, w = torch.randn(2, 8, 9, 3), torch.randn(3, 3, 4, 3)
    views = [(x.permute(0, 3, 1, 2), w.permute(2, 3, 0, 1)), (x.permute(0, 3, 1, 2)[:, :, ::2], w.permute(2, 3, 0, 1)),
             (x[:1, :, :, :1].permute(0, 3, 1, 2).expand(2, 3, 8, 9), w.permute(2, 3, 0, 1))]
    for a, b in views:
        assert torch.equal(torch.conv2d(a, b, padding=1), torch.conv2d(a.contiguous(), b.contiguous(), padding=1))


def test_same_padding_puts_the_odd_one_behind():
    """padding="same" keeps the size; with an even kernel the extra zero is behind, and gradients agree with explicit padding."""
    x, w = torch.randn(1, 2, 5, 6, requires_grad=True), torch.randn(3, 2, 2, 4, requires_grad=True)
    with pytest.warns(UserWarning, match="may require a zero-padded copy"):
        y = torch.conv2d(x, w, padding="same")
    explicit = torch.conv2d(F["pad"](x, (1, 2, 0, 1)), w)
    assert y.shape == (1, 3, 5, 6)
    g = torch.randn(1, 3, 5, 6)
    for a, b in zip(torch.autograd.grad(y, (x, w), g), torch.autograd.grad(explicit, (x, w), g)):
        assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(y, explicit, atol=1e-5)


def test_only_wanted_gradients_are_computed(monkeypatch):
    """A convolution whose input needs no gradient does not compute one."""
    monkeypatch.setattr(kernels, "conv_input_grad", lambda *args: pytest.fail("the input's gradient was computed"))
    w = torch.randn(2, 1, 3, 3, requires_grad=True)
    torch.conv2d(torch.randn(1, 1, 5, 5), w).sum().backward()
    assert w.grad.shape == w.shape


def test_names_of_nodes_are_torchs():
    """grad_fn prints as in torch."""
    x, w = torch.randn(1, 1, 4, 4, requires_grad=True), torch.randn(1, 1, 3, 3)
    for tensor, name in ((torch.conv2d(x, w), "ConvolutionBackward0"), (torch.conv_transpose2d(x, w), "ConvolutionBackward0"),
                         (F["max_pool2d"](x, 2), "MaxPool2DWithIndicesBackward0"), (F["avg_pool2d"](x, 2), "AvgPool2DBackward0"),
                         (F["max_pool2d"](x, 3, 1), "MaxPool2DWithIndicesBackward0"), (F["pad"](x, (1, 1)), "ConstantPadNdBackward0"),
                         (F["adaptive_avg_pool2d"](x, 2), "AdaptiveAvgPool2DBackward0"), (F["unfold"](x, 2), "Im2ColBackward0"),
                         (F["interpolate"](x, size=3, mode="bilinear"), "UpsampleBilinear2DBackward0"),
                         (F["pad"](x, (1, 1, 1, 1), mode="reflect"), "ReflectionPad2DBackward0")):
        assert tensor.grad_fn.name() == name


def test_half_types_are_computed_in_float32():
    """A long sum in float16 is rounded once: 4096 ones give 4096, where a float16 accumulator would stop at 2048."""
    x = torch.ones(1, 4096, 1, dtype=torch.float16)
    assert torch.conv1d(x, torch.ones(1, 4096, 1, dtype=torch.float16)).item() == 4096


# ---- pooling -----------------------------------------------------------------------------------------------------------

def awkward(*shape):
    """Few distinct values, so ties abound; infinities and nan among them."""
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 2, shape).astype(np.float32)
    x[rng.random(shape) < 0.15] = np.nan
    x[rng.random(shape) < 0.15] = -np.inf
    return x


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (3, 7, 5), (1, 2, 2, 2), (4, 1, 3, 33)])
def test_max_pool_2x2_is_the_general_kernel(shape):
    """The fast path for 2 x 2 windows chooses the same elements as the general kernel, nan, ties and odd sizes included."""
    x = torch.from_numpy(awkward(*shape)).requires_grad_()
    fast = F["max_pool2d"](x, 2)
    general, indices = F["max_pool2d"](x, 2, return_indices=True)
    g = torch.arange(1.0, fast.numel() + 1).view(fast.shape)
    np.testing.assert_array_equal(fast.detach().numpy(), general.detach().numpy())
    np.testing.assert_array_equal(*(torch.autograd.grad(y, x, g)[0].numpy() for y in (fast, general)))
    flat = x.detach().numpy().reshape(*shape[:-2], -1)
    np.testing.assert_array_equal(np.take_along_axis(flat, indices.numpy().reshape(*shape[:-2], -1), -1),
                                  fast.detach().numpy().reshape(*shape[:-2], -1))


@pytest.mark.parametrize("options", [dict(kernel_size=2), dict(kernel_size=3, stride=2, padding=1, ceil_mode=True),
                                     dict(kernel_size=2, stride=1, dilation=2)])
def test_max_pool_chooses_torchs_elements(options):
    """Values and indices are torch's among ties, nan and infinities."""
    reference = pytest.importorskip("torch")
    x = awkward(2, 2, 7, 9)
    ours = F["max_pool2d"](torch.from_numpy(x), return_indices=True, **options)
    theirs = reference.nn.functional.max_pool2d(reference.from_numpy(x), return_indices=True, **options)
    for a, b in zip(ours, theirs):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_unpool_undoes_pool():
    """max_unpool2d puts every maximum back where max_pool2d found it."""
    x = torch.randn(2, 3, 6, 6)
    y, indices = F["max_pool2d"](x, 2, return_indices=True)
    back = F["max_unpool2d"](y, indices, 2)
    kept = back != 0
    assert torch.equal(back[kept], x[kept]) and kept.sum().item() == y.numel()


def test_avg_pool_counts():
    """count_include_pad divides by the window with its padding; without, by the elements inside; the override replaces both."""
    x = torch.ones(1, 1, 2, 2)
    corner = [F["avg_pool2d"](x, 2, padding=1, **options)[0, 0, 0, 0].item()
              for options in ({}, dict(count_include_pad=False), dict(divisor_override=2))]
    assert corner == [0.25, 1.0, 0.5]


# ---- folding and resampling --------------------------------------------------------------------------------------------

def test_unfold_and_matmul_are_a_convolution():
    """The columns of unfold times the flattened weight give conv2d, with stride, padding and dilation."""
    x, w = torch.randn(2, 3, 7, 8), torch.randn(4, 3, 3, 2)
    steps = dict(stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    y = torch.conv2d(x, w, **steps)
    columns = F["unfold"](x, (3, 2), **steps)
    assert torch.allclose((w.view(4, -1) @ columns).view(y.shape), y, atol=1e-4)


def test_fold_counts_the_windows_over_each_pixel():
    """fold(unfold(x)) is x times the number of windows that hold the pixel."""
    x = torch.randn(1, 2, 5, 5)
    count = F["fold"](F["unfold"](torch.ones(1, 2, 5, 5), 3), (5, 5), 3)
    assert torch.allclose(F["fold"](F["unfold"](x, 3), (5, 5), 3), x * count, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolation_keeps_a_constant_image(mode):
    """The weights of every output sum to 1, also when shrinking with and without antialiasing."""
    x = torch.full((1, 1, 9, 7), 3.0)
    for size, antialias in (((4, 3), True), ((4, 3), False), ((20, 15), True)):
        assert torch.allclose(F["interpolate"](x, size=size, mode=mode, antialias=antialias), torch.tensor(3.0))


def test_grid_sample_of_the_identity_is_the_image():
    """affine_grid of the identity reads every pixel where it is."""
    x = torch.randn(2, 3, 4, 5)
    theta = torch.eye(2, 3).expand(2, 2, 3)
    for align in (True, False):
        grid = F["affine_grid"](theta, (2, 3, 4, 5), align_corners=align)
        assert torch.allclose(F["grid_sample"](x, grid, align_corners=align), x, atol=1e-5)
