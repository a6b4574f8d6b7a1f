"""Kernels whose tiles are large, or of which there is one for each dtype or width, at the borders of their blocks.

The calls that the other tests leave to do for tests/simulator/tried.py: each launches several blocks, the last one partly filled.
"""
import pytest
import simulator
from numtorch.kernels import _cuda_conv_tiles, _cuda_rows, conv_cuda, matmul
from simulator import sizes
from test_cuda_conv import conv, same
from test_cuda_matmul import check as check_product
from test_cuda_matmul import force, numbers, on_device
from test_cuda_nn import attention, check, drawn, heads

import numtorch as torch
from numtorch import nn

F = nn.functional
HALVES = (torch.float16, torch.bfloat16)
BY_WIDTH = (torch.float32, torch.float64, torch.float16)        # 4, 2 and 8 elements of an access; rows of odd length: 1
by_width = pytest.mark.parametrize("dtype", BY_WIDTH, ids=lambda d: str(d).partition(".")[2])


@pytest.fixture(autouse=True)
def device():
    with simulator.installed(seed=1) as driver:
        driver.log = []
        yield driver


@pytest.fixture
def tiny():
    with sizes.tiny():
        yield


@pytest.mark.parametrize("size", (64, 128))
@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "tf32"))
def test_products_on_tensor_cores(monkeypatch, dtype, size):
    """Two tiles of rows, either operand transposed."""
    kind = "float32" if dtype == "tf32" else dtype
    monkeypatch.setattr(matmul, "_precision", ["high" if dtype == "tf32" else "highest"])
    force(monkeypatch, size)
    for flipped_a in (False, True):
        for flipped_b in (False, True):
            check_product(on_device(numbers((size + 8, 8), kind), flipped_a), on_device(numbers((8, 8), kind), flipped_b), kind=dtype)


@pytest.mark.parametrize("tile", [*_cuda_conv_tiles.TILES, *_cuda_conv_tiles.DOUBLE_TILES],
                         ids=lambda t: t.convolution.__name__.partition("_")[2])
def test_tiles_of_convolutions(monkeypatch, tile):
    """More outputs, and more weights, than a tile has columns, and a channel more than it has rows."""
    for kind in ("TILES", "DOUBLE_TILES"):
        monkeypatch.setattr(_cuda_conv_tiles, kind, [tile])
    conv_cuda._plan.cache_clear()
    conv_cuda._weight_plan.cache_clear()
    dtype = torch.float32 if "float32" in tile.convolution.T else torch.float64
    with simulator.installed(seed=3):
        conv(F.conv1d, (1, 5, tile.columns + 3), (tile.rows + 1, 5, 1), dtype=dtype)
        conv(F.conv1d, (1, tile.columns + 1, 5), (5, tile.columns + 1, 1), dtype=dtype)


@pytest.mark.parametrize("dtype", (torch.float32, *HALVES), ids=lambda d: str(d).partition(".")[2])
@pytest.mark.parametrize("size", (16, 32, 64, 128))
def test_tiles_of_attention(size, dtype):
    """Two tiles of queries and of keys, the second with few of them."""
    check(attention(), heads((66, size), (66, size), (66, size)), dtype)


@by_width
@pytest.mark.parametrize("n", (16, 7))
def test_rows_of_warps(tiny, dtype, n):
    """Blocks of one warp with a row, or several, for each."""
    x, w = drawn(37, n), drawn(n, seed=1)
    check(lambda x: F.softmax(x, 1), [x], dtype)
    check(lambda x, w, b: F.layer_norm(x, (n,), w, b), [x, w, w], dtype)
    check(lambda x: F.cross_entropy(x, torch.arange(37, device=x.device) % n), [x], dtype)
    check(lambda w: F.embedding(torch.arange(70, device=w.device) % 37, w), [x], dtype)
    check(lambda x, w: F.group_norm(x, 1, w, w), [drawn(5, 5, n), drawn(5)], dtype)


@by_width
@pytest.mark.parametrize("n", (16, 15))
def test_rows_of_blocks(tiny, monkeypatch, dtype, n):
    """Rows that a block shares, which all blocks have alike."""
    monkeypatch.setattr(_cuda_rows, "SHORT", 8)
    monkeypatch.setattr(_cuda_rows, "block_threads", lambda n, hold: 64)
    check(lambda x: F.cross_entropy(x, torch.tensor([1, -100, 0], device=x.device)), [drawn(3, n)], dtype)
    check(lambda x, w: F.group_norm(x, 1, w, w), [drawn(3, 5, n), drawn(5)], dtype)


@by_width
@pytest.mark.parametrize("n", (16, 15))
def test_channels(tiny, dtype, n):
    """More channels than a block has, and stretches that end within one."""
    check(lambda x, w: F.batch_norm(x, None, None, w, w, training=True), [drawn(20, 5, 2 * n), drawn(5)], dtype)
    check(lambda x, w: F.batch_norm(x, w * 0, w * 0 + 1, w, w), [drawn(1, 70, n), drawn(70)], dtype)


@pytest.mark.parametrize("dtype", ("float32", "float64", "int64", "complex64"))
def test_runs_of_products(tiny, dtype):
    """Sums of the runs of long rows."""
    with simulator.installed(seed=2):
        check_product(on_device(numbers((9, 2100), dtype)), on_device(numbers((2100, 1), dtype)))


def test_bags_and_counts(tiny):
    index = torch.arange(70) % 9
    check(lambda w: F.embedding_bag(index.to(w.device), w, torch.arange(0, 70, 2, device=w.device), mode="sum"), [drawn(9, 5)])
    check(lambda w: F.embedding_bag(index.to(w.device).reshape(35, 2), w, mode="max"), [drawn(9, 5)])
    table = drawn(70, 5).float()
    want, got = table.clone(), table.cuda()
    F.embedding(torch.arange(33), want, max_norm=1.0)
    F.embedding(torch.arange(33).cuda(), got, max_norm=1.0)
    assert (got.cpu() - want).abs().max() < 1e-5
    assert torch.bincount(index.cuda()).tolist() == torch.bincount(index).tolist()
    assert (index.cuda() * 0 + 1).nonzero().shape == (70, 1)
    upper = torch.eye(20) * 3 + torch.ones(20, 20).triu()
    want = torch.linalg.solve_triangular(upper, torch.ones(20, 40), upper=True)
    got = torch.linalg.solve_triangular(upper.cuda(), torch.ones(20, 40).cuda(), upper=True)
    assert (got.cpu() - want).abs().max() < 1e-5


def test_pools_and_grids(tiny):
    x = drawn(2, 3, 6, 6)
    check(lambda x: F.max_pool2d(x, 2), [x[:, :, :, :5]])
    check(lambda x: F.max_pool2d(x, 3, 2, return_indices=True)[0], [x])
    check(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), [x])
    same(lambda x: F.max_pool2d(x, 2), x.float(), twice=True)
    same(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), x.float(), twice=True)
    for mode in ("nearest", "bilinear"):
        check(lambda x, g, mode=mode: F.grid_sample(x, g.tanh(), mode, align_corners=False), [x, drawn(2, 3, 3, 2)])
    whole = torch.arange(3 * 24).reshape(1, 3, 6, 4)
    assert (F.avg_pool2d(whole.cuda(), 2, 1).cpu() == F.avg_pool2d(whole, 2, 1)).all()
    rows = drawn(70, 5).float()
    assert (rows.cuda().median(1).values.cpu() == rows.median(1).values).all()


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_random_numbers(tiny, dtype):
    """Every thread writes: no nan of unwritten memory is left, and the numbers of two blocks differ."""
    fills = ("uniform_", "normal_", "log_normal_", "exponential_", "cauchy_")
    for fill in fills:
        x = getattr(torch.empty(75, dtype=dtype, device="cuda"), fill)().cpu()
        assert not x.isnan().any() and len(set(x.tolist())) > 60, fill
    x = torch.empty(75, dtype=dtype, device="cuda").geometric_(0.3).cpu()
    assert not x.isnan().any() and x.min() >= 1
    assert set(torch.empty(75, dtype=dtype, device="cuda").bernoulli_(0.5).tolist()) == {0, 1}
    assert 0 <= torch.randint(0, 9, (75,), device="cuda").min() and torch.randint(0, 1 << 40, (75,), device="cuda").max() < 1 << 40
    for size in (75, 76):
        dropped = F.dropout(torch.ones(size, dtype=dtype, device="cuda"), 0.5).tolist()
        assert set(dropped) == {0, 2}
