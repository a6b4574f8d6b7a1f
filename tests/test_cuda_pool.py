"""Pooling, padding, resampling, sampling and unfolding on a simulated CUDA device, against the CPU.

Blocks of one warp let small arrays cross their borders. tests/test_cuda_ops.py runs the samples of the op table; here is what they
leave out: ties and nan, layouts, more elements than 32 bits count, tables that are kept, bad indices.
"""
import contextlib
import math

import pytest
import simulator
from numtorch.kernels import _cuda_errors, _cuda_grids, _cuda_tables, pool_cuda, sampling_cuda
from test_cuda_conv import drawn, same

import numtorch as torch

F = torch.nn.functional
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for module in (pool_cuda, _cuda_grids, sampling_cuda):
        monkeypatch.setattr(module, "THREADS", 32)


@pytest.fixture(params=[None, 1, 2])
def device(request):
    with simulator.installed(seed=request.param):
        yield


@contextlib.contextmanager
def few_at_a_time(monkeypatch, module, most):
    """Only ``most`` elements in a launch, where otherwise as many as 31 bits count."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST", most)
        yield


def run(fn, *shapes, dtype=torch.float32, twice=False, **options):
    same(lambda *t: fn(*t, **options), *drawn(*shapes, dtype=dtype), twice=twice)


# ---- pooling -----------------------------------------------------------------------------------------------------------

def test_pooling(device):
    shape = (2, 3, 7, 6)
    run(F.max_pool2d, shape, kernel_size=3, stride=2, padding=1, return_indices=True)
    run(F.max_pool2d, shape, kernel_size=2, stride=1, dilation=2, padding=1)
    run(F.max_pool2d, shape, kernel_size=2)
    run(F.avg_pool2d, shape, kernel_size=3, stride=2, padding=1)
    run(F.avg_pool2d, shape, kernel_size=(2, 3), ceil_mode=True, count_include_pad=False, padding=1)
    run(F.adaptive_avg_pool2d, shape, output_size=(4, 9))
    run(F.adaptive_max_pool2d, shape, output_size=(3, 4))


def test_gradients_of_gradients():
    with simulator.installed():
        for kind, options in ((F.max_pool2d, dict(kernel_size=2)), (F.max_pool2d, dict(kernel_size=3, stride=1)),
                              (F.avg_pool2d, dict(kernel_size=2, stride=1)), (F.adaptive_max_pool2d, dict(output_size=3))):
            run(kind, (1, 2, 4, 5), twice=True, **options)
        for mode in ("reflect", "replicate", "circular", "constant"):
            run(F.pad, (1, 2, 4), pad=(2, 1), mode=mode, twice=True)
        run(F.interpolate, (1, 1, 3, 4), size=(5, 3), mode="bilinear", twice=True)
        run(F.unfold, (1, 2, 4, 4), kernel_size=2, padding=1, stride=2, twice=True)


@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_pooling_dtypes(dtype):
    with simulator.installed():
        run(F.max_pool2d, (1, 2, 5, 4), kernel_size=2, dtype=dtype)
        run(F.max_pool1d, (1, 2, 9), kernel_size=3, stride=2, dtype=dtype)
        run(F.avg_pool1d, (1, 2, 9), kernel_size=3, stride=2, dtype=dtype)
        run(F.adaptive_avg_pool1d, (1, 2, 9), output_size=2, dtype=dtype)


def test_pooling_of_integers():
    with simulator.installed():
        for dtype in (torch.int64, torch.int32, torch.uint8):
            x = torch.arange(36).reshape(1, 1, 6, 6).to(dtype)
            same(lambda x: F.max_pool2d(x, 3, 2), x, tol=0)
            same(lambda x: F.max_pool2d(x, 2), x, tol=0)
            same(lambda x: F.avg_pool2d(x, 3, 2), x, tol=0)


@pytest.mark.parametrize("kernel", [2, 3])
def test_the_largest_of_equal_ones_and_of_nan(kernel):
    """The first of equal elements wins, and the last nan; so do zeros of either sign, and infinities."""
    values = torch.tensor([1.0, 1, -math.inf, math.nan, 0.0, -0.0, math.inf, 1, math.nan, math.nan, 2, 2])
    torch.manual_seed(0)
    x = values[torch.randint(0, len(values), (6 * 9,))].reshape(1, 6, 9)
    with simulator.installed():
        for stride in (1, 2, kernel):
            same(lambda x: F.max_pool2d(x, kernel, stride, return_indices=True), x, tol=0)
            same(lambda x: F.max_pool2d(x, kernel, stride), x, tol=0)


def test_pooling_of_layouts_and_of_nothing():
    with simulator.installed():
        x, = drawn((2, 6, 4, 3))
        same(lambda x: F.max_pool2d(x.permute(0, 3, 2, 1), 2), x)
        same(lambda x: F.avg_pool2d(x[:, ::2, 1:], 2), x)
        same(lambda x: F.max_pool1d(x[:, 0].expand(-1, 4, -1), 3), drawn((2, 1, 3))[0][:, None])
        for shape in ((0, 2, 4, 4), (0, 2, 5, 5)):
            run(F.max_pool2d, shape, kernel_size=2)
            run(F.avg_pool2d, shape, kernel_size=3)


def test_pooling_in_turns(monkeypatch):
    with simulator.installed() as driver, few_at_a_time(monkeypatch, pool_cuda, 40):
        driver.log = []
        run(F.max_pool2d, (2, 3, 4, 5), kernel_size=3, stride=1)
        run(F.avg_pool2d, (2, 3, 4, 5), kernel_size=2)
        assert len([name for name in driver.log if "max_windows" in name]) > 2


def test_unpooling():
    x, places = torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor([[[[0, 2], [8, 10]]]])
    with simulator.installed():
        same(lambda x, i: F.max_unpool2d(x, i, 2), x, places, twice=True)
        same(lambda x, i: F.max_unpool2d(x.transpose(2, 3), i, 2, output_size=(5, 4)), x, places)
        F.max_unpool2d(x.cuda(), places.cuda() + 6, 2)
        with pytest.raises(RuntimeError, match="max_unpool2d: index 16 is out of bounds"):
            _cuda_errors.check(0)


def test_sums_of_any_indices():
    """Without windows that say who may have written where, additions are atomic."""
    with simulator.installed(seed=1):
        x, places = torch.arange(1.0, 5)[None], torch.tensor([[0, 0, 2, 6]])
        found = []
        for device in ("cpu", "cuda"):
            y = torch.zeros(1, 4, device=device, requires_grad=True)
            g = torch.zeros(1, 8, device=device, requires_grad=True)
            once, = torch.autograd.grad(F.max_unpool1d(y, places.to(device), 2), y, g, create_graph=True)
            found.append(torch.autograd.grad(once, g, x.to(device))[0].tolist())
        assert found[0] == found[1] == [[3, 0, 3, 0, 0, 0, 4, 0]]


# ---- padding, resampling, sampling -------------------------------------------------------------------------------------

def test_padding(device):
    for mode in ("constant", "reflect", "replicate", "circular"):
        run(F.pad, (2, 3, 5), pad=(1, 2), mode=mode)
        run(F.pad, (1, 2, 3, 4, 3), pad=(1, 0, 2, 1, 0, 2), mode=mode)
    run(F.pad, (2, 2, 3, 2), pad=(-1, 1, 0, 0, 2, -1), value=2.5)
    run(F.pad, (2, 3, 4), pad=(0, 0, 1, 1))


def test_padding_of_all_kinds():
    with simulator.installed():
        for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128):
            x = (torch.arange(6).reshape(1, 2, 3) - 2).to(dtype)
            for options in (dict(value=1), dict(mode="reflect"), dict(mode="circular")):
                same(lambda x: F.pad(x, (1, 2), **options), x, tol=0)
        run(F.pad, (2, 1, 2, 1, 2), pad=(1, 1) * 5)              # more dimensions than the kernel has
        run(F.pad, (0, 3), pad=(1, 1))
        same(lambda x: F.pad(x.t(), (1, 1), value=-1), drawn((3, 4))[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_resampling(dtype):
    with simulator.installed(seed=2):
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
            run(F.interpolate, (1, 2, 4, 3), size=(6, 2), mode=mode, dtype=dtype)
        run(F.interpolate, (1, 1, 7, 6), size=(3, 4), mode="bicubic", antialias=True, dtype=dtype)


def test_resampling_axis_by_axis(monkeypatch):
    """With many taps an output, one pass for each axis; and all at once the same."""
    torch.manual_seed(0)
    x = torch.randn(1, 2, 3, 4)
    with simulator.installed() as driver:
        for most, launches in ((1, 4), (1000, 2)):
            monkeypatch.setattr(_cuda_grids, "MOST_TAPS", most)
            driver.log = []
            same(lambda x: F.interpolate(x, size=(5, 9), mode="bilinear", align_corners=True), x)
            assert sum("resample" in name for name in driver.log) == launches


def test_resampling_of_integers():
    with simulator.installed():
        x = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
        same(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), x, tol=0)


def test_tables_are_kept(monkeypatch):
    monkeypatch.setattr(_cuda_tables, "_kept", {})
    with simulator.installed():
        x = torch.ones(1, 1, 5, device="cuda")
        for _ in range(3):
            F.pad(x, (1, 1), mode="reflect")
            F.pad(x.double(), (1, 1), mode="reflect")
        assert len(_cuda_tables._kept) == 2         # of the axis that is padded, and of the others


def test_tables_are_not_made_in_a_capture():
    with simulator.installed():
        x, graph = torch.ones(1, 1, 5, device="cuda"), torch.cuda.CUDAGraph()
        with pytest.raises(RuntimeError, match="run the operation once before its capture"), torch.cuda.graph(graph):
            F.pad(x, (2, 1), mode="reflect")


def test_grids_in_turns(monkeypatch):
    with simulator.installed(), few_at_a_time(monkeypatch, _cuda_grids, 30):
        run(F.pad, (3, 2, 4), pad=(1, 2), mode="circular")
        run(F.pad, (3, 2, 4), pad=(1, 2))
        run(F.interpolate, (3, 1, 3, 4), size=(4, 5), mode="bilinear")


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("outside", ["zeros", "border", "reflection"])
def test_sampling(mode, outside):
    torch.manual_seed(0)
    image, places = torch.randn(2, 2, 3, 4), torch.rand(2, 5, 2, 2) * 3 - 1.5
    with simulator.installed(seed=1):
        for align in (True, False):
            same(lambda x, g: F.grid_sample(x, g, mode, outside, align), image, places, tol=2e-5)
        if mode != "bicubic":
            same(lambda x, g: F.grid_sample(x, g, mode, outside, False), torch.randn(1, 2, 2, 3, 3), torch.rand(1, 3, 2, 2, 3) * 3 - 1.5,
                 tol=2e-5)


def test_sampling_of_one_operand_and_of_layouts():
    torch.manual_seed(0)
    image, places = torch.randn(1, 3, 4, 2), torch.rand(1, 2, 3, 3)
    with simulator.installed():
        same(lambda x: F.grid_sample(x.permute(0, 3, 1, 2), places[:, :, :, :2].to(x.device), align_corners=False), image)
        same(lambda g: F.grid_sample(image.to(g.device), g.transpose(1, 3)[:, :, :, :2] * 2 - 1, align_corners=True), places)
        for place in (math.inf, -1e30, math.nan):       # nothing is read
            F.grid_sample(image.cuda(), torch.full((1, 1, 1, 2), place, device="cuda"), align_corners=True)


# ---- windows as columns, shuffles --------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.complex64])
def test_unfold_and_fold(dtype):
    with simulator.installed(seed=1):
        for shape, options in (((1, 2, 5, 4), dict(kernel_size=(3, 2), dilation=2, padding=1, stride=(2, 1))),
                               ((2, 4, 5), dict(kernel_size=2))):
            x = torch.arange(math.prod(shape)).reshape(shape).to(dtype) / (1 if dtype == torch.int64 else 7)
            x = x.to(dtype)
            same(lambda x: F.unfold(x, **options), x, tol=0 if dtype != torch.float16 else 2e-3)
            columns = F.unfold(x, **options)
            same(lambda y: F.fold(y, shape[-2:], **options), columns, tol=1e-3 if dtype == torch.float16 else 1e-6)


def test_shuffles():
    with simulator.installed():
        run(F.pixel_shuffle, (2, 8, 2, 3), upscale_factor=2, twice=True)
        run(F.pixel_unshuffle, (2, 2, 4, 6), downscale_factor=2, twice=True)
        run(F.channel_shuffle, (2, 6, 2, 2), groups=3, twice=True)
