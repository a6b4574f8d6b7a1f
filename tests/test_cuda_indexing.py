"""Indexing, views, joins and copies on a CUDA device, which is simulated; the CPU's results are the oracle."""
import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest
import simulator
import test_autograd
import test_indexing
import test_tensor
from numtorch.kernels import (
    _cuda_errors,
    _cuda_masks,
    _cuda_places,
    _cuda_rearrange,
    _device,
    copy,
    indexing_cuda,
    pointwise_cuda,
)

import numtorch as torch
from numtorch import _on_host

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
          "complex128")


@pytest.fixture
def gpu(request, monkeypatch):
    """A simulated device with small blocks, on which nothing may go through the host's memory."""
    for module in (indexing_cuda, _cuda_masks, _cuda_rearrange, copy, pointwise_cuda):
        monkeypatch.setattr(module, "THREADS", 32)
    monkeypatch.setattr(pointwise_cuda, "_made", {})
    _on_host._said.clear()
    with simulator.installed(seed=getattr(request, "param", 1)) as driver, warnings.catch_warnings():
        warnings.filterwarnings("error", "there is no CUDA kernel")
        yield driver


in_any_order = pytest.mark.parametrize("gpu", [None, 2], indirect=True)         # of threads


def draw(shape, dtype="float32", seed=0):
    """A random tensor of small numbers."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-9, 9, shape) if dtype != "bool" else rng.random(shape) < 0.5
    if dtype.startswith("complex"):
        a = a + 1j * rng.integers(-9, 9, shape)
    elif dtype == "uint8":
        a = abs(a)
    return torch.tensor(a).to(getattr(torch, dtype))


def transposed(x):
    """The same elements, dimensions in another order in memory."""
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def with_gaps(x):
    """The same elements, each apart from the next in memory."""
    return x.new_zeros([2 * n for n in x.shape])[tuple(slice(1, None, 2) for _ in x.shape)].copy_(x)


def both(program, *tensors):
    """Runs a program on the CPU and on the device: results, gradients of those that require one, and the tensors, all equal."""
    found = []
    for place in ("cpu", "cuda"):
        own = [t.detach().clone().to(place).requires_grad_(t.requires_grad) for t in tensors]
        result = program(*own)
        results = [r for r in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(r, torch.Tensor)]
        assert all(r.device.type == place for r in results)
        loss = sum((r * torch.arange(1.0, r.numel() + 1, device=place).reshape(r.shape)).sum() for r in results
                   if r.requires_grad)
        if isinstance(loss, torch.Tensor):
            loss.backward()
        found.append([*results, *[t.grad for t in own], *[t.detach() for t in own]])
    for a, b in zip(*found):
        same(b, a)
    return found[1]


def same(a, b):
    """That two tensors have the same dtype, shape and elements."""
    assert (a is None) == (b is None)
    if a is not None:
        assert a.dtype == b.dtype and a.shape == b.shape, f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
        assert a.tolist() == b.tolist()


# ---- copies ------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float32", "complex64", "complex128"])
def test_copies_between_all_orders_of_dimensions(dtype, monkeypatch):
    monkeypatch.setattr(copy, "THREADS", 32)
    x, small = draw((35, 33), dtype)._a, draw((2, 3, 5), dtype)._a
    with simulator.installed(seed=1, races=True) as driver:
        driver.log = []
        assert (_device.from_host(x).T.copy().on_host() == x.T).all()
        assert driver.log == ["copy.transpose"]
        y = _device.from_host(np.stack([x[:9], x[9:18]]))
        assert (y.transpose(2, 0, 1).copy().on_host() == np.stack([x[:9], x[9:18]]).transpose(2, 0, 1)).all()
        assert driver.log == ["copy.transpose"] * 2
        y = _device.from_host(small)
        for order in itertools.permutations(range(3)):
            assert (y.transpose(order).copy().on_host() == small.transpose(order)).all()
        target = _device.empty((3, 9), x.dtype)
        target[:, 1:6] = y[1]
        assert (target[:, 1:6].on_host() == small[1]).all()
        assert (np.flip(y, (0, 2)).copy().on_host() == small[::-1, :, ::-1]).all()
        assert (np.broadcast_to(y[:, :1, 2:], (3, 2, 4, 3)).copy().on_host() == small[:, :1, 2:].repeat(4, 1)).all()
        assert set(driver.log[2:]) == {"copy.move"}


def test_rows_are_copied_in_words_of_16_bytes(gpu):
    gpu.log = []
    x = torch.zeros(4, 64, device="cuda")
    before = gpu.launches
    x[:, :32] = draw((4, 32)).cuda()
    assert gpu.launches == before + 1 and x.sum(0)[:32].tolist() == draw((4, 32)).sum(0).tolist()
    assert _cuda_places.widest(4, [4, 32], ([32, 1], [64, 1]), (0, 256)) == 4
    assert _cuda_places.widest(4, [4, 32], ([32, 1], [64, 1]), (0, 260)) == 1
    assert _cuda_places.widest(2, [4, 36], ([36, 1], [64, 1]), (0, 264)) == 4
    assert _cuda_places.widest(1, [4, 32], ([33, 1], [64, 1]), (0, 0)) == 1


def test_division_by_factors_is_exact():
    rng = np.random.default_rng(0)
    sizes = [1, 2, 3, 7, 8, 255, 256, 1000, 65537, 2**30, 2**31 - 1, *rng.integers(1, 2**31, 50).tolist()]
    for size in sizes:
        _, factor, shift = _cuda_places.division(size)
        for n in {0, 1, size - 1, min(size, 2**31 - 1), 2**31 - 1, *(2**31 // size * size + k for k in (-1, 0)),
                  *rng.integers(0, 2**31, 20).tolist()}:
            if 0 <= n < 2**31:
                assert (((n * factor) >> 32) + n) >> shift == n // size, (n, size)


def test_more_dimensions_and_elements_than_a_kernel_takes(gpu, monkeypatch):
    monkeypatch.setattr(_cuda_places, "MOST", 40)
    x = draw((2, 3, 2, 3, 2, 3))
    both(lambda x: x.permute(5, 3, 1, 4, 2, 0).contiguous(), x)
    both(lambda x: x[:, torch.tensor([2, 0])].permute(4, 2, 0, 3, 1, 5).contiguous(), x)
    both(lambda x, i: torch.gather(x, 1, i), draw((9, 11)), draw((9, 7)).long() % 11)
    both(lambda x, i, y: x.scatter_add(0, i, y), draw((9, 11)), draw((8, 11)).long() % 9, draw((8, 11)))


def test_copies_within_one_tensor(gpu):
    def program(x):
        x[1:] = x[:-1].clone()
        x[:, 1:] = x[:, :-1]
        x.T.copy_(x)
        return x
    both(program, draw((7, 7)))


def test_shapes_that_do_not_broadcast_are_refused(gpu):
    x = torch.zeros(2, 3, device="cuda")
    with pytest.raises(RuntimeError, match="expanded size of the tensor"):
        x[...] = torch.zeros(2, device="cuda")
    with pytest.raises(RuntimeError, match="The size of tensor a"):
        x.copy_(torch.zeros(2, device="cuda"))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_cat_of_many(gpu, dim):
    parts = [draw((3, 2, 4), seed=k).narrow(dim, 0, k % 3) for k in range(19)]
    parts[5] = draw((4, 2, 3)).transpose(0, 2).narrow(dim, 0, 1)
    whole = torch.cat([p.cuda() for p in parts], dim)
    same(whole, torch.cat(parts, dim))
    before = gpu.launches
    torch.stack([draw((3, 8)).cuda()] * 8, dim)
    assert gpu.launches == before + 1


# ---- x[...] ------------------------------------------------------------------------------------------------------------------

I, M = torch.tensor([2, -1, 0, 2]), torch.tensor([True, False, True])
KEYS = {
    "int": 1, "negative": -2, "slice": slice(1, None), "step": slice(None, None, 2), "ellipsis": ..., "none": None,
    "ints": (1, 2, 3), "mixed basic": (None, 0, ..., slice(1, 3)), "list": [2, 0], "vector": I, "row and vector": (1, I),
    "vector in the middle": (slice(None), I), "vector at the end": (..., I), "two vectors": (I, I),
    "two that broadcast": (I[:, None], torch.tensor([[0, 1]])), "apart": (I, slice(None), I), "three": (I, I, I),
    "matrix": torch.tensor([[0, 2], [1, -1]]), "mask": M, "mask and vector": (M, torch.tensor([1, 0])),
    "mask in the middle": (slice(None), M), "mask of two dims": draw((3, 3), "bool"), "mask of all": draw((3, 3, 4), "bool"),
    "bool": True, "no bool": False, "empty list": [], "empty mask": torch.zeros(3, dtype=torch.bool), "int32": I.to(torch.int32),
    "0-dim index": torch.tensor(1), "0-dim mask": torch.tensor(True), "none and vector": (None, I, None),
    "ints and lists": ([0, 1], 1, [[1], [2]]), "uint8": (I % 2).to(torch.uint8)[:3],
}


def moved(key, place):
    if isinstance(key, tuple):
        return tuple(moved(k, place) for k in key)
    return key.to(place) if isinstance(key, torch.Tensor) else key


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_getitem_and_setitem(gpu, key):
    x = draw((3, 3, 4))
    both(lambda x: x[key], x.double().requires_grad_())         # an index in the host's memory will do
    for layout in (torch.clone, transposed, with_gaps):
        shape = both(lambda x: layout(x)[moved(key, x.device)], x.clone().requires_grad_())[0].shape
        if _repeats(x, key):
            continue

        def assigned(x, value):
            x = layout(x)
            x[moved(key, x.device)] = value
            return x
        value = torch.tensor(7.0) if layout is transposed else draw(shape, seed=1)
        both(assigned, x.clone().requires_grad_(), value.requires_grad_())


def _repeats(x, key):
    """Whether a key names one element twice: which value stays is not said."""
    found = torch.arange(x.numel()).reshape(x.shape)[key].reshape(-1).tolist()
    return len(set(found)) < len(found)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_dtypes_are_moved(gpu, dtype):
    x, y = draw((5, 6), dtype), draw((4, 6), dtype, seed=1)
    rows, places = torch.tensor([3, 1, 4, 0]), torch.tensor([[1, 2, 3, 4, 0, 1], [2, 3, 4, 0, 1, 2]])
    both(lambda x, i: x[i], x, rows)
    both(lambda x, i, p: torch.gather(x, 0, p), x, rows, places)
    both(lambda x, y, i: x.index_copy(0, i, y), x, y, rows)
    both(lambda x, y, p: x.scatter(0, p, y[:2]), x, y, places)
    both(lambda x, i: x.index_fill(1, i, 1), x, rows)
    both(lambda x: x[x != 0], x)
    both(lambda x: torch.where(x == 0, x, 1), x)
    both(lambda x: x.masked_fill(x == 0, 3), x)
    both(lambda x, y: x.masked_scatter(x[:4] != 0, y) if x.shape == y.shape else x[:4].masked_scatter(x[:4] != 0, y), x, y)
    both(lambda x: (x.flip(0, 1), x.roll((1, -2), (0, 1)), x.roll(3), torch.rot90(x), x.tril(-1), x.triu(1)), x)
    both(lambda x: (x.repeat(2, 1, 2), x.repeat_interleave(2, 1), torch.cat([x, x], 1), torch.diag_embed(x)), x)
    both(lambda x, y, i: x.index_add(0, i, y), x, y, rows)
    both(lambda x, y, i: x.scatter_add(0, i[:, None].expand(4, 6), y), x, y, rows)
    both(lambda x, y, i: x.index_put((i,), y, True), x, y, rows)


@in_any_order
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(gpu, dtype, reduce):
    x, y = draw((4, 2), dtype) % 3 - 1, draw((17, 2), dtype, seed=2) % 3 - 1
    index = draw((17, 2), seed=3).long() % 4
    for include in (True, False):
        both(lambda x, y, i: x.scatter_reduce(0, i, y, reduce, include_self=include), x, y, index)
        if dtype == "float64":
            both(lambda x, y, i: x.scatter_reduce(0, i, y, reduce, include_self=include), x.clone().requires_grad_(),
                 y.clone().requires_grad_(), index)


def test_nan_wins_in_scatter_reduce(gpu):
    x, y = torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([float("nan"), 0.0, 5.0])
    for reduce in ("amax", "amin", "prod", "sum"):
        got = x.cuda().scatter_reduce(0, torch.tensor([0, 1, 2]).cuda(), y.cuda(), reduce)
        assert got.isnan().tolist() == [True, True, False]


@in_any_order
def test_products_of_zeros_of_both_signs(gpu):
    x, index = torch.ones(1), torch.zeros(6, dtype=torch.int64)
    y = torch.tensor([-1.0, 0.0, -1.0, 2.0, -0.0, float("inf")])
    assert x.cuda().scatter_reduce(0, index.cuda(), y.cuda(), "prod").isnan().item()


@in_any_order
def test_several_sources_meet(gpu):
    index = draw((100,)).long() % 5
    both(lambda x, y, i: x.index_add(0, i, y, alpha=2), draw((5, 3)), draw((100, 3)), index)
    both(lambda x, i: x[i], draw((5, 3)).requires_grad_(), index)
    both(lambda x, i: torch.take(x, i.reshape(20, 5)), draw((5, 3)).requires_grad_(), index)
    both(lambda x, y, i: x.put(i, y, True), draw((5, 3)), draw((100,)), index)
    both(lambda x, i: torch.take_along_dim(x, i.reshape(25, 4) % 3, 1), draw((25, 3)).requires_grad_(), index)


# ---- indices out of range ----------------------------------------------------------------------------------------------------

BAD = {
    "x[i]": lambda x, i: x[i], "x[i, i]": lambda x, i: x[i, i], "gather": lambda x, i: torch.gather(x, 1, i[:, None]),
    "index_select": lambda x, i: x.index_select(0, i), "x[i] = 0": lambda x, i: x.__setitem__(i, 0.0),
    "scatter_": lambda x, i: x.scatter_(1, i[:, None], 5.0), "scatter_add_": lambda x, i: x.scatter_add_(1, i[:, None], x),
    "index_add_": lambda x, i: x.index_add_(0, i, x.clone()), "index_copy_": lambda x, i: x.index_copy_(0, i, x.clone()),
    "index_fill_": lambda x, i: x.index_fill_(0, i, 3.0), "put_": lambda x, i: x.put_(i, x[:, 0]), "take": torch.take,
    "amax": lambda x, i: x.scatter_reduce_(1, i[:, None], x.clone(), "amax"), "one_hot": lambda x, i: torch.nn.functional.one_hot(
        i, 4), "put accumulate": lambda x, i: x.index_put_((i,), x.clone(), accumulate=True),
}


@pytest.mark.parametrize("bad", [99, -99])
@pytest.mark.parametrize("use", BAD.values(), ids=BAD)
def test_indices_out_of_range_touch_nothing_and_are_reported(gpu, use, bad):
    x, index = torch.zeros(3, 3, device="cuda"), torch.tensor([1, bad, 0]).cuda()
    use(x, index)
    with pytest.raises(RuntimeError, match=f"(?s)device-side assert triggered: .*index {bad} is out of bounds for dimension with "
                                           "size .*asynchronously"):
        _cuda_errors.check(0)
    _cuda_errors.check(0)       # only once


def test_negative_indices_are_no_indices_of_gather(gpu):
    torch.gather(torch.zeros(3, device="cuda"), 0, torch.tensor([-1]).cuda())
    with pytest.raises(RuntimeError, match="gather: index -1 is out of bounds for dimension with size 3"):
        _cuda_errors.synchronize(0, 0)


def test_operands_of_two_devices(gpu):
    x, i = torch.zeros(3, device="cuda"), torch.tensor([0])
    for use in (lambda: torch.gather(x, 0, i), lambda: x.index_select(0, i), lambda: x.scatter_add_(0, i, x[:1]),
                lambda: x.cpu().index_select(0, i.cuda()), lambda: x.masked_fill(i > 0, 1), lambda: torch.cat([x, x.cpu()]),
                lambda: torch.stack([x.cpu(), x]),
                lambda: torch.where(x.cpu() > 0, x, x), lambda: x.take(i), lambda: x.masked_select(torch.ones(3) > 0),
                lambda: torch.zeros(3, device="cuda:1").gather(0, i.cuda())):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, but found at least two devices"):
            use()
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        x.cpu()[i.cuda()]


# ---- masks -------------------------------------------------------------------------------------------------------------------

@in_any_order
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 600])
def test_masks_of_all_sizes(gpu, n):
    for p, offset in ((0.5, 0), (0.0, 0), (1.0, 1)) if n < 100 else ((0.3, 3),):
        mask = torch.tensor(np.random.default_rng(n).random(n + offset) < p)
        x = torch.arange(float(n))
        both(lambda x, m: x[m[offset:]], x, mask)
        both(lambda x, m: torch.masked_select(x, m[offset:]), x.clone().requires_grad_(), mask)
        both(lambda x, m: x.masked_scatter(m[offset:], x + 0.5), x, mask)
        both(lambda x, m: m[offset:].nonzero(), x, mask)


@pytest.mark.parametrize("shape", [(), (7,), (5, 40), (3, 0, 2), (2, 3, 4, 2), (2, 2, 2, 2, 2, 2, 3)])
def test_nonzero(gpu, shape):
    x = draw(shape) % 3
    both(lambda x: (x.nonzero(), torch.argwhere(x), *x.nonzero(as_tuple=True), *torch.where(x != 0)), x)
    both(lambda x: (x > 0).transpose(0, -1).nonzero() if x.ndim else x, x)


def test_long_masks_are_counted_by_one_block(gpu, monkeypatch):
    for n in (1, 255, 256, 8193):           # a thread has 8 at a time, a block up to 8192
        counts = _device.from_host(np.arange(n) % 5)
        _cuda_masks.accumulate(counts, "test")
        assert (counts.on_host() == np.cumsum(np.arange(n) % 5)).all()


def test_too_few_elements_for_a_mask(gpu):
    x = torch.zeros(5, device="cuda")
    got = x.masked_scatter(x == 0, torch.ones(3, device="cuda"))
    with pytest.raises(RuntimeError, match="masked_scatter: index [34] is out of bounds for dimension with size 3"):
        _cuda_errors.check(0)
    assert got.tolist() == [1, 1, 1, 0, 0]


def test_shared_memory_is_ordered(monkeypatch):
    monkeypatch.setattr(_cuda_masks, "THREADS", 64)
    with simulator.installed(seed=3, races=True):
        mask = torch.tensor(np.random.default_rng(0).random(1100) < 0.3)
        same(mask.cuda().nonzero(), mask.nonzero())
        x = torch.arange(1100.0)
        same(x.cuda()[mask.cuda()], x[mask])
        same(x.cuda().masked_scatter(mask.cuda(), -x.cuda()), x.masked_scatter(mask, -x))
        counts = _device.from_host(np.arange(8200) % 5)
        _cuda_masks.accumulate(counts, "test")
        assert (counts.on_host() == np.cumsum(np.arange(8200) % 5)).all()
        index = torch.tensor(np.random.default_rng(0).integers(0, 40, 900))
        found = _device.full(40, 0, np.int64)
        _cuda_rearrange.bincount(index.cuda()._a, found[:0], found)
        assert (found.on_host() == np.bincount(index._a, minlength=40)).all()


# ---- other places ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [(3, 4), (5, 2), (1, 1), (0, 3), (7, 9)])
def test_triangles(gpu, size):
    for k in (-9, -2, -1, 0, 1, 3, 9):
        both(lambda x: (x.tril(k), x.triu(k), x[:, None].expand(size[0], 3, size[1]).transpose(0, 1).tril(k)), draw(size))
        for make in (torch.tril_indices, torch.triu_indices):
            same(make(*size, k, device="cuda"), make(*size, k))


def test_repeat_interleave(gpu):
    times = torch.tensor([2, 0, 3, 1])
    both(lambda x, t: (x.repeat_interleave(t, 0), t.repeat_interleave(), x.repeat_interleave(t, 0, output_size=6)),
         draw((4, 3)).requires_grad_(), times)
    both(lambda x, t: x.repeat_interleave(t.expand(4), 0), draw((4, 3)), torch.tensor([40]))
    torch.repeat_interleave(torch.tensor([2, -1]).cuda(), output_size=1)
    with pytest.raises(RuntimeError, match="repeat_interleave: index -1 is out of bounds"):
        _cuda_errors.check(0)


def test_histograms(gpu):
    x, index = draw((500,)), abs(draw((500,))).long()
    for bins in (10, 5000):
        for weights, dtype in ((np.empty(0, np.int64), np.int64), (x._a, np.float32), (x.double()._a, np.float64)):
            want = np.bincount(index._a, weights if weights.size else None, bins).astype(dtype)
            out = _device.full(bins, 0, dtype)
            _cuda_rearrange.bincount(index.cuda()._a, _device.from_host(weights), out)
            assert (out.on_host() == want).all()
    out = _device.empty(6, np.float32)
    _cuda_rearrange.histc(x.cuda()._a, np.float32(-6), np.float32(6), out)
    assert (out.on_host() == np.histogram(x._a, 6, (-6, 6))[0]).all()


def test_fill_diagonal(gpu):
    for shape in ((3, 5), (9, 3), (4, 4, 4), (0, 3)):
        both(lambda x: x.fill_diagonal_(7), draw(shape))
        if len(shape) == 2:
            both(lambda x: x.fill_diagonal_(7, wrap=True), draw(shape))
            both(lambda x: (x * 1).fill_diagonal_(7, wrap=True), draw(shape).requires_grad_())


# ---- without waiting ---------------------------------------------------------------------------------------------------------

def test_only_results_of_unknown_size_wait_for_the_device(gpu, monkeypatch):
    waits = []
    monkeypatch.setattr(gpu, "synchronize_stream", lambda stream: waits.append(stream))
    x, i, m = torch.zeros(4, 4, device="cuda"), torch.tensor([1, 2]).cuda(), torch.zeros(4, 4, device="cuda") == 0
    _cuda_errors.note("warm up", 0)
    waits.clear()
    y = x.clone().requires_grad_()
    (y[i, i].sum() + y[i].sum() + y[:, i].index_select(1, i - 1).gather(0, i[:, None]).sum()).backward()
    x[i] = 1
    x[m] = 2
    x[m] = x[0, 0]
    x.masked_fill_(m, 1).scatter_(0, i[:, None], 1.0).index_put_((i, i), x[0, :2], accumulate=True)
    torch.where(m, x, 1).masked_scatter(m, x).tril().roll(1, 0).flip(0).repeat(2, 2).repeat_interleave(3, 1)
    torch.cat([x, x], 1).unfold(0, 2, 1).as_strided((2, 2), (1, 2)).clone()
    torch.nn.functional.one_hot(i, 5)
    assert not waits
    monkeypatch.undo()


# ---- views and writes in place -----------------------------------------------------------------------------------------------

def through_a_view(x):
    y = x * 1
    y[1].mul_(3)
    y[:, 0].zero_()
    return y


def views_of_views(x):
    y = x * 2
    v = y.t()[1:].view_as(y.t()[1:])
    v[0] = 5
    v.add_(y.t()[1:] * 2)
    return y, v


def a_view_is_regenerated(x):
    y = x * 1
    v = y[0]
    y.mul_(3)
    return v * v, y


def expanded_and_summed(x):
    y = x[0].expand(5, -1)
    return y * y, y.reshape(-1)[3:9]


def overlapping_windows(x):
    return x.reshape(-1).unfold(0, 3, 1) ** 2, x.as_strided((4, 3), (1, 1)) * 2


def strided_in_place(x):
    y = x * 1
    y.as_strided((2, 2), (1, 4), 1).mul_(7)
    y.diagonal().add_(1)
    return y


def transposed_in_place(x):
    y = (x * 1).t()
    y[1:].copy_(x.t()[:-1])
    y.unsqueeze_(0).squeeze_()
    return y


def split_and_joined(x):
    a, b = (x * 1).split(2)[:2]
    c, d = x.unbind(1)[:2]
    return torch.cat([b, a]), torch.stack([c, d * 2], 1), torch.tensor_split(x, 2, 1)[1]


def filled_by_a_tensor(x):
    y = x * 1
    y[0].fill_(x[1, 1])
    y[2:, 1:] = x[0, 0]
    y.masked_fill_(y > 3, x[0, 1])
    return y


def scatters(x):
    return (x.select_scatter(x[0] * 2, 0, 1), x.slice_scatter(x[:1], 0, 1, 2), x.diagonal_scatter(x[0, :3]),
            x.as_strided_scatter(x[:2, :2], (2, 2), (4, 1), 1), torch.block_diag(x, x[0]), torch.diag(x), torch.diag(x[0], 1))


def detached_shares(x):
    y = x.detach()
    y[0] = 9
    return y.clone(), x.data_ptr() == y.data_ptr() and x._version


def read_and_written(x):
    y = x * 1
    y[1:, :2] = y[:-1, 1:3] * 2
    y[y > 4] = y[0, 0] * 1
    y[:, torch.tensor([0, 2])] *= 2
    return y


PROGRAMS = [through_a_view, views_of_views, a_view_is_regenerated, expanded_and_summed, overlapping_windows, strided_in_place,
            transposed_in_place, split_and_joined, filled_by_a_tensor, scatters, detached_shares, read_and_written]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_views_behave_as_on_the_cpu(gpu, program):
    both(program, draw((3, 4)).double().requires_grad_(program is not detached_shares))


def cases(test):
    """A test of the CPU for each of its parameters."""
    marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    if not marks:
        return [pytest.param(test, {}, id=test.__name__)]
    (names, values), = [m.args for m in marks]
    names = names.split(", ") if isinstance(names, str) else names
    return [pytest.param(test, dict(zip(names, v if len(names) > 1 else [v])), id=f"{test.__name__}-{k}")
            for k, v in enumerate(values)]


OF_THE_CPU = (
    test_autograd.test_in_place_operations_are_recorded,
    test_autograd.test_writes_through_views_reach_the_base_and_its_other_views,
    test_autograd.test_versions_count_writes_and_are_shared_by_views,
    test_autograd.test_views_that_must_not_be_written,
    test_autograd.test_one_of_several_views_may_be_written_where_nothing_is_recorded,
    test_indexing.test_views_share_memory_and_copies_do_not,
    test_indexing.test_grad_fn_names_are_torchs,
    test_indexing.test_assignment_converts_and_strips_leading_ones,
    test_indexing.test_assignment_through_a_view_reaches_the_base,
    test_indexing.test_leaves_and_their_views_may_not_be_written,
    test_indexing.test_writes_count_versions,
    test_indexing.test_sources_that_alias_the_target,
    test_indexing.test_every_dtype_moves,
    test_indexing.test_empty_and_0_dim,
    test_indexing.test_source_larger_than_index_has_zero_gradient_where_unused,
    test_indexing.test_fill_diagonal,
    test_tensor.test_view_needs_compatible_strides_and_reshape_copies,
    test_tensor.test_in_place_operations,
)


@pytest.mark.parametrize("test, arguments", [case for test in OF_THE_CPU for case in cases(test)])
def test_of_the_cpu(gpu, test, arguments):
    """Tests of views and of writes in place, all of whose tensors are made on the device instead."""
    with torch.device("cuda"):
        test(**arguments)


def test_storage_is_shared_and_versions_count(gpu):
    x = torch.zeros(2, 3, device="cuda")
    v, w = x[1], x.t()[2]
    assert v.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() and v.storage_offset() == 3 and w.stride() == (3,)
    v.fill_(4)
    assert (x._version, v._version, w._version) == (1, 1, 1) and w.tolist() == [0, 4]
    y = x.clone().requires_grad_() * 1
    z = y * y
    y[0] = 3
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        torch.ones(2, device="cuda", requires_grad=True)[0] = 1
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.ones(2, device="cuda").expand(3, 2).zero_()


def test_copies_between_devices_keep_gradients_at_home(gpu):
    x, y = torch.ones(3, requires_grad=True), torch.zeros(4, device="cuda")
    z = y * 1
    z[1:] = x
    z.mul(2).sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [2, 2, 2]
    x.grad = None
    torch.zeros(3, device="cuda").copy_(x).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]
    host = torch.zeros(3)
    host[:2] = torch.ones(2, device="cuda")
    host.copy_(host.cuda() + 1)
    assert host.tolist() == [2, 2, 1]
    host.cuda().resize_(5)
    for write in (lambda y, m, v: y.masked_fill_(m, v), lambda y, m, v: y.__setitem__(m, v), lambda y, m, v: y.__setitem__(0, v),
                  lambda y, m, v: y.index_fill_(0, torch.tensor([1, 2]).cuda(), v), lambda y, m, v: y.fill_(v),
                  lambda y, m, v: y.add_(torch.where(m, y, v)), lambda y, m, v: y.add_(y.masked_fill(m, v)),
                  lambda y, m, v: y.__setitem__(torch.tensor([0, 1]), v)):
        v, y = torch.tensor(3.0, requires_grad=True), torch.zeros(4, device="cuda") * 1
        write(y, torch.tensor([True, False, True, False]).cuda(), v)
        y.sum().backward()
        assert v.grad.device.type == "cpu" and v.grad.item() == y.sum().item() / 3


def test_complex_views(gpu):
    both(lambda x: (torch.view_as_real(x), x.real, x.imag * 2, torch.view_as_complex(torch.view_as_real(x))[1:], x.mT.conj()),
         draw((3, 4), "complex64"))
    for x, match in ((torch.zeros(5)[1:].view(2, 2), "storage_offset divisible by 2"),
                     (torch.zeros(2, 3)[:, :2], "stride divisible by 2")):
        with pytest.raises(RuntimeError, match=match):
            torch.view_as_complex(x)


def test_bfloat16_elements_are_moved_as_they_are(gpu):
    bits = np.array([0x7FC1, 0xFFFF, 0x8000, 1], np.uint16)         # nan with a payload, -0, the smallest number
    x = torch.tensor(bits.view(np.int16)).view(torch.bfloat16)
    assert x._a.dtype == ml_dtypes.bfloat16
    got = x.cuda()[torch.tensor([3, 2, 1, 0]).cuda()].flip(0).roll(1).roll(-1).cpu()
    assert (got._a.view(np.uint16) == bits).all()
