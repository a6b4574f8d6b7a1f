"""Sorting and searching on a (simulated) CUDA device: rows in one block, in parts of several blocks, and by radix, against the CPU."""
import inspect
import re
import warnings

import numpy as np
import pytest
import simulator
from numtorch.kernels import _cuda, sort_cuda

import numtorch as torch
from numtorch import _on_host

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks that hold few elements, so that small rows need several; nothing goes through the host's memory."""
    monkeypatch.setattr(sort_cuda, "TILE", 64)
    monkeypatch.setattr(sort_cuda, "SMALL", 64)
    monkeypatch.setattr(sort_cuda, "THREADS", 64)
    monkeypatch.setattr(sort_cuda, "ITEMS", 1)
    _on_host._said.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def numbers(shape, dtype, seed=0):
    """Numbers of which many are equal; floating ones with nan, infinities and both zeros."""
    rng = np.random.default_rng(seed)
    if dtype in ("float32", "float64", "float16", "bfloat16"):
        x = rng.standard_normal(shape)
        x[rng.random(shape) < 0.3] = 0.5
        for value in (np.nan, np.inf, -np.inf, 0.0, -0.0):
            x[rng.random(shape) < 0.04] = value
    else:
        x = rng.integers(0 if dtype in ("uint8", "bool") else -100, 2 if dtype == "bool" else 100, shape)
    return torch.tensor(x).to(getattr(torch, dtype))


def same(got, want):
    """Results on the device equal those on the CPU, to the bit of each nan but for its sign."""
    for g, w in zip(got if isinstance(got, tuple) else [got], want if isinstance(want, tuple) else [want]):
        assert g.is_cuda and g.dtype == w.dtype and g.shape == w.shape
        np.testing.assert_array_equal(g.cpu().double().numpy(), w.double().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
def test_sort(dtype):
    """All dtypes, both directions, rows of one block, and of three tiles of a radix sort."""
    with simulator.installed(seed=DTYPES.index(dtype) or None):
        for shape, dim, descending in (((5, 9), 1, True), ((1, 130), 1, dtype in ("float16", "int8")), ((2, 20), 0, False)):
            x = numbers(shape, dtype)
            same(x.cuda().sort(dim, descending), x.sort(dim, descending))


@pytest.mark.parametrize("dtype", ["float32", "int64", "bfloat16"])
def test_topk(dtype):
    """The first of rows that take several blocks, once and twice over; more of them than a part has, by radix."""
    x = numbers((2, 300), dtype)
    with simulator.installed(seed=3):
        for k, largest in ((3, True), (16, False), (0, True)):
            same(x.cuda().topk(k, 1, largest), x.topk(k, 1, largest))
        same(x[:, :70].cuda().topk(65, 1), x[:, :70].topk(65, 1))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "bool"])
def test_order_statistics(dtype):
    """The places are the first (of a mode the last) of equal elements, as on the CPU; with and without nan."""
    x = numbers((6, 40), dtype)
    with simulator.installed(seed=4):
        y = x.cuda()
        same(y.kthvalue(7, 1), x.kthvalue(7, 1))
        for dim in (0, 1):
            same(y.median(dim), x.median(dim))
            same(y.nanmedian(dim), x.nanmedian(dim))
            same(y.mode(dim), x.mode(dim))
        same(y[0].median(), x[0].median())
        if dtype != "bool":
            same(y[:0].median(), x[:0].median())


def test_gradients_and_layouts():
    """Values carry gradients back to where they were; transposed, expanded, 0-dim and empty inputs."""
    x = torch.randn(4, 5)
    with simulator.installed(seed=5):
        for fn in (lambda t: t.sort(0)[0], lambda t: t.topk(2, 0)[0], lambda t: t.t().median(1)[0], lambda t: t.kthvalue(2, 0)[0]):
            grads = []
            for device in ("cpu", "cuda"):
                leaf = x.to(device).detach().requires_grad_()
                y = fn(leaf)
                (y * torch.arange(y.numel(), device=device).reshape(y.shape)).sum().backward()
                grads.append(leaf.grad.cpu())
            assert torch.equal(*grads)
        for t in (x.t(), x[:1].expand(3, 5), x[0, 0], x[:0], x[:, :0]):
            same(t.cuda().sort(), t.sort())


def test_sets():
    """unique, unique_consecutive and isin: elements, rows, inverse and counts."""
    x, f = numbers((3, 30), "int32"), numbers((90,), "float32")
    rows = torch.tensor([[1, 2], [0, 5], [1, 2], [1, 1], [0, 5]])
    with simulator.installed(seed=6):
        for t in (x, f, numbers((9,), "bool"), x[:0]):
            same(t.cuda().unique(return_inverse=True, return_counts=True), t.unique(return_inverse=True, return_counts=True))
            same(t.cuda().unique_consecutive(return_inverse=True, return_counts=True),
                 t.unique_consecutive(return_inverse=True, return_counts=True))
        for dim in (0, 1):
            same(rows.cuda().unique(dim=dim, return_inverse=True, return_counts=True),
                 rows.unique(dim=dim, return_inverse=True, return_counts=True))
        same(torch.isin(x.cuda(), x[0, :5].cuda()), torch.isin(x, x[0, :5]))
        same(torch.isin(f.cuda(), f[:9].cuda(), invert=True), torch.isin(f, f[:9], invert=True))


def test_search():
    """searchsorted in one row or many, both sides, with a sorter, in mixed dtypes; bucketize, histc and bincount."""
    edges, x = numbers((3, 20), "float32").sort()[0], numbers((3, 25), "float32", 1)
    with simulator.installed(seed=7):
        for right in (False, True):
            same(torch.searchsorted(edges.cuda(), x.cuda(), right=right), torch.searchsorted(edges, x, right=right))
            same(torch.bucketize(x.cuda(), edges[0].cuda(), right=right, out_int32=True),
                 torch.bucketize(x, edges[0], right=right, out_int32=True))
        whole = numbers((20,), "int16")
        order = whole.argsort()
        same(torch.searchsorted(whole.cuda(), x.cuda(), sorter=order.cuda()), torch.searchsorted(whole, x, sorter=order))
        with pytest.raises(RuntimeError, match="sorter index out of range"):
            torch.searchsorted(whole.cuda(), x.cuda(), sorter=order.cuda() + 1)
        with pytest.raises(RuntimeError, match="should have same device type"):
            torch.searchsorted(whole.cuda(), x)
        same(torch.histc(x[0, :9].cuda().nan_to_num(0, 3, -3), 5), torch.histc(x[0, :9].nan_to_num(0, 3, -3), 5))
        same(torch.bincount(numbers((9,), "uint8").cuda()), torch.bincount(numbers((9,), "uint8")))


def without(fn, number):
    """A kernel's function less its barrier of that number; None if it has not so many."""
    text = inspect.getsource(fn)
    text = text[text.index("def "):]
    places = list(re.finditer(r"cuda\.sync(threads|warp)\(\)", text))
    if number == len(places):
        return None
    text = text[:places[number].start()] + "pass" + text[places[number].end():]
    space = dict(fn.__globals__)
    exec(compile(text, "<less a barrier>", "exec"), space)
    return space[fn.__name__]


@pytest.mark.parametrize("name, tile, count", [("sort_rows", 256, 3), ("count_digits", 64, 2), ("move_by_digit", 64, 6),
                                               ("most_frequent", 256, 1)])
def test_barriers(monkeypatch, name, tile, count):
    """Blocks of several warps race nowhere; and each barrier is needed: without it a race is reported."""
    monkeypatch.setattr(sort_cuda, "TILE", tile)
    monkeypatch.setattr(sort_cuda, "SMALL", 256)
    monkeypatch.setattr(sort_cuda, "ITEMS", 2)
    kernel, number = _cuda.KERNELS["sort_cuda." + name], 0
    x = numbers((1, 200) if tile == 64 else (2, 100), "float32")
    with simulator.installed(seed=8, races=True):
        same(x.cuda().mode(1), x.mode(1))
    while (broken := without(kernel.fn, number)) is not None:
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "fn", broken)
            with simulator.installed(seed=9, races=True), pytest.raises(simulator.KernelError, match="Race"):
                x.cuda().mode(1).values.cpu()
        number += 1
    assert number == count
