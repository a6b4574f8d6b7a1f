"""Convolutions on a simulated CUDA device, against the CPU's: results, gradients, and gradients of gradients.

Small tiles stand in for the real ones, so that small arrays cross the borders of tiles, spans and parts; the real ones are run
once each.
"""
import contextlib
import warnings

import pytest
import simulator
from numtorch.kernels import _cuda, _cuda_conv_direct, _cuda_conv_tiles, conv_cuda

import numtorch as torch
from numtorch.ops.conv import channel_sum

F = torch.nn.functional
TINY = _cuda_conv_tiles.made("tiny", (8, 16, 8, 2, 2, 2), 1.0, 0, ("float32", "float64"), span=32)
for _kernel in TINY[-2:]:
    del _cuda.KERNELS[_kernel.name]     # it is no kernel of the package
TOL = {torch.float32: 2e-5, torch.float64: 1e-12, torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.int64: 0}


def drawn(*shapes, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    if not dtype.is_floating_point:
        return [torch.randint(-9, 9, s) for s in shapes]
    return [torch.randn(*s, dtype=torch.float64).to(dtype) for s in shapes]


def difference(a, b):
    """The largest difference of two tensors, as a number; nan counts as equal to nan."""
    assert a.shape == b.shape and a.dtype == b.dtype and b.is_cuda
    if not a.numel():
        return 0
    a, b = (torch.view_as_real(t) if t.is_complex() else t.double() for t in (a.detach(), b.detach().cpu()))
    return torch.where((a == b) | a.isnan() & b.isnan(), torch.zeros_like(a), (a - b).abs()).max().item()


def derived(fn, tensors, twice):
    """Results of ``fn``, gradients of the first, and with ``twice`` the gradient of those with respect to the incoming one."""
    leaves = [t.detach().requires_grad_() if t.is_floating_point() else t for t in tensors]
    out = fn(*leaves)
    out = [*out] if isinstance(out, tuple) else [out]
    wanted = [t for t in leaves if t.requires_grad]
    if not wanted or not out[0].numel():
        return out
    torch.manual_seed(1)
    g = torch.randn(*out[0].shape, dtype=torch.float64).to(out[0].dtype).to(out[0].device).requires_grad_(twice)
    grads = torch.autograd.grad(out[0], wanted, g, create_graph=twice)
    if twice:
        h = [torch.randn(*t.shape, dtype=torch.float64).to(t.dtype).to(t.device) for t in grads]
        return [*out, *grads, *torch.autograd.grad(grads, g, h)]
    return [*out, *grads]


def same(fn, *tensors, tol=None, twice=False):
    """That ``fn`` gives the same on the device as on the CPU, and without going through the host."""
    tol = TOL[tensors[0].dtype] if tol is None else tol
    want = derived(fn, tensors, twice)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = derived(fn, [t.cuda() for t in tensors], twice)
    assert len(got) == len(want)
    for k, (a, b) in enumerate(zip(want, got)):
        scale = max(1, a.double().abs().nan_to_num(0, 0, 0).max().item()) if a.numel() and not a.is_complex() else 1
        assert difference(a, b) <= tol * scale, f"result {k}"


@contextlib.contextmanager
def device(seed=None, **options):
    """A simulated device that reports races."""
    with simulator.installed(seed=seed, races=True, **{"multi_processor_count": 2, **options}) as driver:
        yield driver


@pytest.fixture(autouse=True)
def no_plans():
    """Plans are made anew: the tests change what they depend on."""
    conv_cuda._plan.cache_clear()
    conv_cuda._weight_plan.cache_clear()


@pytest.fixture
def tiny(monkeypatch):
    """Small tiles, which are split wherever there are two slices."""
    monkeypatch.setattr(_cuda_conv_tiles, "TILES", [TINY])
    monkeypatch.setattr(_cuda_conv_tiles, "DOUBLE_TILES", [TINY])
    monkeypatch.setattr(conv_cuda, "LEAST_SLICES", 1)


def conv(kind, *shapes, dtype=torch.float32, twice=False, **options):
    same(lambda *t: kind(*t, **options), *drawn(*shapes, dtype=dtype), twice=twice)


CASES = {
    "two tiles of rows and columns": (F.conv2d, ((1, 5, 5, 5), (9, 5, 2, 2), (9,)), {}),
    "padding, stride, dilation": (F.conv2d, ((1, 6, 6, 5), (5, 6, 3, 3)), dict(stride=(2, 3), padding=(2, 0), dilation=(1, 2))),
    "groups": (F.conv2d, ((1, 10, 3, 4), (10, 5, 2, 2), (10,)), dict(groups=2)),
    "one dimension": (F.conv1d, ((2, 5, 17), (5, 5, 3), (5,)), dict(stride=2, padding=1)),
    "three dimensions": (F.conv3d, ((1, 5, 2, 3, 3), (6, 5, 2, 2, 1), (6,)), dict(padding=(1, 0, 0), dilation=(2, 1, 1))),
    "phases without taps": (F.conv2d, ((1, 5, 4, 4), (5, 5, 1, 1), (5,)), dict(stride=3)),
    "a stride that shares a factor with the dilation": (F.conv1d, ((1, 5, 12), (5, 5, 3)), dict(stride=4, dilation=2, padding=2)),
    "transposed": (F.conv_transpose2d, ((1, 6, 3, 2), (6, 5, 3, 2), (5,)), dict(stride=2, padding=1, output_padding=1)),
    "transposed with fewer outputs than phases": (F.conv_transpose1d, ((1, 5, 1), (5, 6, 1), (6,)), dict(stride=3)),
    "depthwise": (F.conv2d, ((2, 3, 5, 4), (3, 1, 3, 3), (3,)), dict(groups=3, padding=1)),
    "depthwise with a multiplier and a stride": (F.conv2d, ((1, 2, 5, 5), (4, 1, 2, 3)), dict(groups=2, stride=2, dilation=(2, 1))),
    "one output channel": (F.conv1d, ((1, 7, 9), (1, 7, 3), (1,)), dict(padding="same")),
}


@pytest.mark.parametrize("name", CASES)
def test_convolution(tiny, name):
    kind, shapes, options = CASES[name]
    with device(seed=len(name)):
        conv(kind, *shapes, **options)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_split_products(tiny, seed):
    with device(seed=seed, multi_processor_count=8) as driver:
        driver.log = []
        conv(F.conv1d, (1, 7, 16), (5, 7, 5), (5,))
        assert sum("add_parts" in name for name in driver.log) == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_dtypes(tiny, dtype):
    with device():
        conv(F.conv1d, (2, 5, 7), (5, 5, 3), (5,), dtype=dtype)
        conv(F.conv1d, (2, 2, 7), (2, 1, 3), dtype=dtype, groups=2)


def test_second_derivatives(tiny):
    with device():
        conv(F.conv1d, (1, 5, 6), (5, 5, 2), (5,), twice=True, stride=2)


@pytest.mark.parametrize("tile", [*_cuda_conv_tiles.TILES, *_cuda_conv_tiles.DOUBLE_TILES],
                         ids=lambda t: t.convolution.__name__.partition("_")[2])
def test_real_tiles(monkeypatch, tile):
    monkeypatch.setattr(_cuda_conv_tiles, "TILES", [tile])
    monkeypatch.setattr(_cuda_conv_tiles, "DOUBLE_TILES", [tile])
    dtype = torch.float32 if "float32" in tile.convolution.T else torch.float64
    with simulator.installed(seed=3):
        conv(F.conv2d, (1, 2, 3, 3), (7, 2, 2, 2), (7,), dtype=dtype, padding=1)


def test_layouts(tiny):
    x, w = drawn((2, 4, 5, 6), (5, 2, 2, 5))
    with device():
        same(lambda x, w: F.conv2d(x.permute(0, 3, 1, 2)[:, 1:, ::2], w.transpose(1, 3)), x, w)
        same(lambda x: F.conv1d(x[:, :1].expand(-1, 5, -1), torch.ones(5, 5, 2, device=x.device)), drawn((2, 3, 4))[0])


def test_nothing(tiny):
    with device():
        conv(F.conv2d, (0, 2, 4, 4), (3, 2, 2, 2), (3,))
        conv(F.conv1d, (2, 5), (6, 2, 3))


def test_more_elements_than_32_bits_count(tiny, monkeypatch):
    """The images are taken in turns; here already those of some hundred elements."""
    monkeypatch.setattr(conv_cuda, "MOST", 80)
    with device() as driver:
        driver.log = []
        conv(F.conv1d, (5, 5, 6), (5, 5, 3), (5,), padding=1)
        assert [sum(part in name for name in driver.log) for part in ("convolution_tiny", "weight_gradient_tiny")] == [6, 3]


def test_too_large_an_image(tiny, monkeypatch):
    monkeypatch.setattr(conv_cuda, "MOST", 16)
    with device(), pytest.raises(NotImplementedError, match="an image of 30 elements; at most 16"):
        F.conv1d(torch.ones(1, 5, 6, device="cuda"), torch.ones(1, 5, 1, device="cuda"))


def test_bias_gradient():
    """Vectors of four and single elements, splits, and channels that are few and many."""
    for shape in ((3, 5, 4), (1, 2, 7), (2, 3, 2, 2)):
        with device(seed=1, multi_processor_count=64):
            same(channel_sum, *drawn(shape))
    with device(multi_processor_count=64):
        same(channel_sum, *drawn((2, 1, 1100)))
        same(channel_sum, *drawn((1, 2, 4), dtype=torch.float16))


def test_tiles_are_chosen_by_shape():
    """Rows for rows, parts where there are too few tiles, none where there are enough."""
    f32, (large, medium, small) = torch.zeros(1)._a.dtype, _cuda_conv_tiles.TILES
    assert conv_cuda.choose(f32, 128, 1 << 20, 576, 1, 132) == (large, 1)
    assert conv_cuda.choose(f32, 64, 1 << 20, 576, 1, 132) == (medium, 1)
    assert conv_cuda.choose(f32, 6, 1 << 20, 75, 1, 132) == (small, 1)
    assert conv_cuda.choose(f32, 512, 49, 4608, 1, 132)[1] > 16
    assert conv_cuda.choose(f32, 64, 147, 400000, 1, 132)[1] == conv_cuda.MOST_SPLITS


def test_operands_on_two_devices():
    with device():
        x, w = torch.ones(1, 1, 3, device="cuda"), torch.ones(1, 1, 2)
        with pytest.raises(RuntimeError, match="Input type .* and weight type .* should be the same"):
            F.conv1d(x, w)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            F.conv1d(x, w.cuda(), torch.ones(1))


def test_direct_kernel():
    """More positions than a block has threads, so that a thread has several; more taps than are worked out at a time."""
    assert _cuda_conv_direct.EACH * 32 < 3 * 68 and _cuda_conv_direct.SPAN < 90 * 3
    with device():
        conv(F.conv1d, (3, 1, 70), (1, 1, 3), (1,))
        conv(F.conv1d, (1, 90, 5), (1, 90, 3))
