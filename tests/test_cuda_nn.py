"""softmax, normalisations, losses, embeddings and attention on a simulated CUDA device, against the CPU in float64.

tests/test_cuda_ops.py runs the same operations on the samples of the op table; here are the sizes that other kernels serve, which
are made small for it, all floating dtypes, and what the device does without waiting.
"""
import copy
import functools
import inspect
import math
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import simulator
from numtorch.kernels import (
    _cuda_attention_tiles,
    _cuda_rows,
    attention_cuda,
    batch_norm_cuda,
    embedding_cuda,
    loss_cuda,
    norm_cuda,
    softmax_cuda,
)
from simulator import names

import numtorch as torch
from numtorch import nn

F = nn.functional
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-11, torch.float16: 1e-2, torch.bfloat16: 8e-2}
by_kernel = pytest.mark.parametrize("dtype", DTYPES[:3], ids=lambda d: str(d).partition(".")[2])      # one for each width
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).partition(".")[2])


@pytest.fixture(autouse=True)
def nothing_on_the_host():
    """An operation that goes through the host's memory fails its test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def device():
    """A device whose threads run in shuffled order."""
    with simulator.installed(seed=1) as driver:
        driver.log = []
        yield driver


@pytest.fixture
def block_rows(monkeypatch):
    """Rows of more than 8 numbers are shared by blocks of 64 threads."""
    monkeypatch.setattr(_cuda_rows, "SHORT", 8)
    monkeypatch.setattr(_cuda_rows, "block_threads", lambda n, hold: 64)


@pytest.fixture
def long_rows(monkeypatch):
    """Rows of more than 8 numbers are too long for registers; 16 of them fit into shared memory."""
    monkeypatch.setattr(norm_cuda, "LONG_SUMS", 8)
    for width in (1, 2, 4, 8):
        monkeypatch.setitem(_cuda_rows.LONG, width, 8)
    for module in (softmax_cuda, norm_cuda):
        monkeypatch.setattr(module, "MOST_THREADS", 64)
        monkeypatch.setattr(module, "kept_numbers", lambda n, itemsize, width, arrays, device: 16)


def drawn(*shape, seed=0):
    return torch.tensor(np.random.default_rng((*shape, seed)).standard_normal(shape) * 2 + 0.5)


def outcome(fn, tensors, place, dtype, create_graph=False):
    """Results of ``fn`` and its gradients, in float64 on the host."""
    own = [t if t is None or not t.is_floating_point() else t.to(dtype) for t in tensors]
    own = [None if t is None else t.to(place).detach().requires_grad_(t.is_floating_point()) for t in own]
    y = fn(*own)
    g = torch.tensor(np.linspace(-1, 1, y.numel()).reshape(y.shape), dtype=y.dtype).to(place)
    inputs = [t for t in own if t is not None and t.requires_grad]
    found = [y, *torch.autograd.grad(y, inputs, g, create_graph=create_graph)]
    if create_graph:
        again = torch.autograd.grad(sum((t * t).sum() for t in found[1:]), inputs, allow_unused=True)
        found += [t for t in again if t is not None]
    assert all(t.device.type == place for t in found)
    return [t.detach().cpu().double().numpy() for t in found]


def check(fn, tensors, dtype=torch.float32, create_graph=False):
    """``fn`` and its gradients on the device are those of float64 on the CPU."""
    want = outcome(fn, tensors, "cpu", torch.float64, create_graph)
    got = outcome(fn, tensors, "cuda", dtype, create_graph)
    for k, (a, b) in enumerate(zip(want, got)):
        assert a.shape == b.shape
        scale = max(1, np.abs(a[np.isfinite(a)]).max(initial=0))
        np.testing.assert_allclose(b / scale, a / scale, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=f"result {k}")


# ---- softmax ---------------------------------------------------------------------------------------------------------------

def check_softmax(shape, dim, dtype, lay=lambda x: x):
    for fn in (torch.softmax, torch.log_softmax):
        check(lambda x, fn=fn: fn(lay(x), dim), [drawn(*shape)], dtype)


@dtypes
def test_softmax_of_rows(device, dtype):
    for shape in ((5, 10), (3, 40), (9, 1), (2, 264)):
        check_softmax(shape, 1, dtype)
    check_softmax((3, 3, 4), 2, dtype, lambda x: x.transpose(0, 1)[:, 1:])


@by_kernel
def test_softmax_of_columns(device, dtype):
    check_softmax((2, 9, 5), 1, dtype)
    check_softmax((3, 70), 0, dtype)
    check_softmax((70, 2), 0, dtype)


@by_kernel
def test_softmax_by_blocks(device, block_rows, dtype):
    check_softmax((2, 24), 1, dtype)
    check_softmax((2, 75), 1, dtype)
    assert {name for name in device.log if "softmax" in name} == {
        f"softmax_cuda.softmax_row{way}_{width}" for way in ("", "_backward") for width in (1, 16 // dtype.itemsize)}


@by_kernel
def test_softmax_of_long_rows(device, long_rows, dtype):
    check_softmax((2, 560), 1, dtype)
    check_softmax((2, 75), 1, dtype)
    assert {name for name in device.log if "softmax" in name} == {
        f"softmax_cuda.softmax_long{way}_{width}" for way in ("", "_backward") for width in (1, 16 // dtype.itemsize)}


@pytest.mark.parametrize("shape, dim", [((5, 12), 1), ((4, 5, 3), 1)])
def test_softmax_of_what_is_not_finite(device, shape, dim):
    inf, nan = math.inf, math.nan
    rows = np.zeros(shape)
    for k, values in enumerate(((-inf, 0.0, 1.0), (-inf,) * 3, (inf, 0.0, 1.0), (nan, 0.0, -inf))):
        rows[(k, *np.unravel_index(np.arange(3), shape[1:]))] = values
    rows[1] = -inf
    x = torch.tensor(rows, dtype=torch.float32)
    for fn in (torch.softmax, torch.log_softmax):
        np.testing.assert_allclose(fn(x.cuda(), dim).cpu().numpy(), fn(x, dim).numpy(), rtol=1e-6, atol=1e-6)


def test_softmax_of_nothing_and_of_one(device):
    assert torch.softmax(torch.ones(0, 3, device="cuda"), 1).shape == (0, 3)
    assert torch.softmax(torch.ones(3, 0, device="cuda"), 1).shape == (3, 0)
    check(lambda x: torch.softmax(x, 0), [torch.tensor(2.0, dtype=torch.float64)])
    check(lambda x: F.softmin(x, 0), [drawn(4)])


# ---- normalisation of rows -------------------------------------------------------------------------------------------------

def layer_norm(x, weight, bias):
    return F.layer_norm(x, next(p for p in (weight, bias, x[0]) if p is not None).shape, weight, bias)


def rms_norm(x, weight):
    return F.rms_norm(x, weight.shape, weight, 1e-6)


@dtypes
def test_layer_norm(device, dtype):
    check(layer_norm, [drawn(7, 10), drawn(10), drawn(10)], dtype)
    check(layer_norm, [drawn(2, 3, 16), drawn(16), None], dtype)
    check(layer_norm, [drawn(3, 4, 3), None, drawn(4, 3)], dtype)
    check(layer_norm, [drawn(3, 5), None, None], dtype)
    check(rms_norm, [drawn(5, 12), drawn(12)], dtype)


@by_kernel
def test_layer_norm_by_blocks(device, block_rows, monkeypatch, dtype):
    monkeypatch.setattr(norm_cuda, "PARTS", 2)      # blocks that have several rows
    check(layer_norm, [drawn(5, 40), drawn(40), drawn(40)], dtype)
    check(layer_norm, [drawn(3, 11), drawn(11), None], dtype)
    check(rms_norm, [drawn(3, 40), drawn(40)], dtype)


@by_kernel
def test_layer_norm_of_long_rows(device, long_rows, dtype):
    check(layer_norm, [drawn(2, 136), drawn(136), drawn(136)], dtype)
    check(layer_norm, [drawn(9, 11), drawn(11), None], dtype)
    check(rms_norm, [drawn(2, 40), drawn(40)], dtype)


@by_kernel
def test_norm_of_groups(device, dtype):
    def group_norm(groups):
        return lambda x, weight, bias: F.group_norm(x, groups, weight, bias)

    for shape, groups in (((3, 4, 5), 2), ((2, 4, 8), 2), ((3, 4), 1), ((3, 4), 2), ((2, 4, 2, 2), 4)):
        check(group_norm(groups), [drawn(*shape), drawn(4), drawn(4)], dtype)
    check(lambda x, weight: F.instance_norm(x, None, None, weight), [drawn(2, 3, 4, 4), drawn(3)], dtype)


def test_norm_of_large_groups(device, long_rows):
    check(lambda x, weight, bias: F.group_norm(x, 2, weight, bias), [drawn(2, 4, 40), drawn(4), drawn(4)])


def test_gradients_of_norms_again(device):
    check(layer_norm, [drawn(3, 5), drawn(5), drawn(5)], create_graph=True)
    check(rms_norm, [drawn(3, 5), drawn(5)], create_graph=True)
    check(lambda x, weight, bias: F.group_norm(x, 2, weight, bias), [drawn(2, 4, 3), drawn(4), drawn(4)], create_graph=True)
    check(lambda x, weight: F.batch_norm(x, None, None, weight, None, True), [drawn(3, 2, 3), drawn(2)], create_graph=True)


def test_halves_with_parameters_in_float32(device):
    x, weight = drawn(4, 8), drawn(8)
    want = F.layer_norm(x, (8,), weight)
    found = F.layer_norm(x.half().cuda(), (8,), weight.float().cuda())
    assert found.dtype == torch.float16
    np.testing.assert_allclose(found.cpu().double().numpy(), want.numpy(), atol=2e-2)


# ---- batch_norm ------------------------------------------------------------------------------------------------------------

SHAPES = ((9, 5), (4, 3, 5), (3, 2, 4, 4), (3, 3, 40), (2, 3, 5, 7), (2, 2, 300))


@by_kernel
def test_batch_norm(device, monkeypatch, dtype):
    monkeypatch.setattr(batch_norm_cuda, "REPEAT", 2)
    for shape in SHAPES:
        channels = shape[1]
        check(lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, True), [drawn(*shape), drawn(channels),
                                                                                       drawn(channels)], dtype)


def test_batch_norm_with_fixed_statistics(device):
    for shape in ((9, 5), (2, 3, 5, 7)):
        def evaluated(x, weight, bias):
            mean, var = (torch.linspace(a, 2, x.shape[1], dtype=x.dtype).to(x.device) for a in (-1, 0.5))
            return F.batch_norm(x, mean, var, weight, bias)
        channels = shape[1]
        check(evaluated, [drawn(*shape), drawn(channels), drawn(channels)])
        check(evaluated, [drawn(*shape), None, None])


def test_modules_of_norms(device):
    for module, shape in ((nn.BatchNorm1d(4), (5, 4)), (nn.BatchNorm2d(4, affine=False), (2, 4, 6, 6)),
                          (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (2, 4, 3, 3)), (nn.RMSNorm(4), (3, 4))):
        other, x = copy.deepcopy(module).cuda(), drawn(*shape).float()
        for training in (True, True, False):
            module.train(training)
            other.train(training)
            np.testing.assert_allclose(other(x.cuda()).detach().cpu().numpy(), module(x).detach().numpy(), rtol=1e-4, atol=1e-5)
        for (name, a), b in zip(module.state_dict().items(), other.state_dict().values()):
            np.testing.assert_allclose(b.cpu().numpy(), a.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def test_statistics_of_numbers_far_from_zero(device):
    """Squares of deviations, not differences of squares."""
    x = torch.tensor(1e4 + np.random.default_rng(0).standard_normal((4, 2, 40)), dtype=torch.float32)
    found = F.batch_norm(x.cuda(), None, None, training=True).cpu().double()
    want = F.batch_norm(x.double(), None, None, training=True)
    assert float((found - want).abs().max()) < 2e-3


# ---- losses against classes ------------------------------------------------------------------------------------------------

def targets(shape):
    classes = shape[1] if len(shape) > 1 else shape[0]
    left = shape[:1] + shape[2:] if len(shape) > 1 else ()
    return torch.arange(int(np.prod(left))).reshape(left) % classes


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_against_classes(device, dtype, reduction):
    for shape in ((7, 5), (3, 8), (5,), (2, 5, 3), (2, 270)):
        classes = shape[1] if len(shape) > 1 else shape[0]
        for weight in (None, torch.linspace(0.5, 2, classes, dtype=torch.float64)):
            def cross_entropy(x):
                kind = torch.float32 if x.dtype.itemsize == 2 else x.dtype
                own = None if weight is None else weight.to(kind).to(x.device)
                return F.cross_entropy(x, targets(shape).to(x.device), own, ignore_index=2, reduction=reduction)
            check(cross_entropy, [drawn(*shape)], dtype)
        check(lambda x: F.nll_loss(x, targets(shape).to(x.device), ignore_index=1, reduction=reduction), [drawn(*shape)], dtype)


def test_losses_of_many_targets(device, monkeypatch):
    monkeypatch.setattr(loss_cuda, "SHARE", 64)
    check(lambda x: F.cross_entropy(x, targets((200, 3)).to(x.device)), [drawn(200, 3)])
    check(lambda x: F.cross_entropy(x, targets((2, 3, 9, 9)).to(x.device)), [drawn(2, 3, 9, 9)])


def test_cross_entropy_by_blocks(device, block_rows):
    check(lambda x: F.cross_entropy(x, targets((3, 75)).to(x.device)), [drawn(3, 75)])
    check(lambda x: F.cross_entropy(x, targets((40, 70, 2)).to(x.device)), [drawn(40, 70, 2)])


def test_gradients_of_losses_again(device):
    for shape in ((4, 5), (2, 3, 4)):
        for reduction in ("mean", "none"):
            t = targets(shape)
            check(lambda x: F.cross_entropy(x, t.to(x.device), reduction=reduction), [drawn(*shape)], create_graph=True)
    check(lambda x: F.nll_loss(x * x, targets((4, 5)).to(x.device)), [drawn(4, 5)], create_graph=True)


def test_smoothed_and_soft_targets(device):
    for reduction in ("mean", "none"):
        check(lambda x: F.cross_entropy(x, targets((4, 5)).to(x.device), ignore_index=2, label_smoothing=0.1,
                                        reduction=reduction), [drawn(4, 5)])
    check(lambda x: F.cross_entropy(x, torch.softmax(drawn(4, 5).to(x), 1)), [drawn(4, 5)])


def test_a_target_that_is_no_class_makes_the_loss_nan(device):
    x, t = torch.zeros(3, 4, device="cuda"), torch.tensor([0, 7, -3], device="cuda")
    assert F.cross_entropy(x, t, reduction="none").isnan().tolist() == [False, True, True]
    assert F.nll_loss(x, t).isnan().item()
    assert F.cross_entropy(x, torch.full((3,), -100, device="cuda")).isnan().item()
    assert F.cross_entropy(x[:0], t[:0], reduction="sum").item() == 0
    assert F.cross_entropy(x[:0], t[:0]).isnan().item()


# ---- other losses ----------------------------------------------------------------------------------------------------------

def test_elementwise_losses(device):
    probabilities = torch.tensor(np.random.default_rng(0).uniform(0.1, 0.9, (3, 5)))
    for fn in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, functools.partial(F.kl_div, log_target=True, reduction="sum"),
               functools.partial(F.mse_loss, reduction="none"), functools.partial(F.huber_loss, delta=0.3, reduction="sum")):
        check(fn, [drawn(3, 5), drawn(3, 5, seed=1)])
    for fn in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        check(lambda x, fn=fn: fn(x, probabilities.to(x)), [probabilities])
        check(lambda x, fn=fn: fn(x, probabilities.to(x), weight=probabilities.to(x)), [probabilities])
    signs = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]])
    check(lambda x: F.soft_margin_loss(x, signs.to(x).expand(3, 5)), [drawn(3, 5)])
    assert F.mse_loss(*[torch.ones(0, device="cuda")] * 2).isnan().item()
    assert F.binary_cross_entropy(torch.tensor([2.0], device="cuda"), torch.tensor([1.0], device="cuda")).isnan().item()


def test_losses_of_margins_and_distances(device):
    check(functools.partial(F.triplet_margin_loss, swap=True), [drawn(3, 4, seed=k) for k in range(3)])
    check(F.cosine_similarity, [drawn(3, 4), drawn(3, 4, seed=1)])
    check(F.normalize, [drawn(3, 4)])
    labels = torch.tensor([[3, 0, -1, 1], [2, -1, 0, 0]])
    check(lambda x: F.multilabel_margin_loss(x, labels.to(x.device)), [drawn(2, 4)])
    check(lambda x: F.multi_margin_loss(x, targets((3, 4)).to(x.device)), [drawn(3, 4)])


# ---- embedding -------------------------------------------------------------------------------------------------------------

INDICES = torch.tensor([[0, 2, 2], [5, 0, 1]])


@dtypes
@pytest.mark.parametrize("n", [3, 8])
def test_embedding(device, dtype, n):
    table = [drawn(7, n)]
    check(lambda w: F.embedding(INDICES.to(w.device), w), table, dtype)
    check(lambda w: F.embedding(INDICES.int().to(w.device), w, padding_idx=2, scale_grad_by_freq=True), table, dtype)
    for norm in (2.0, 1.0, 3.0, math.inf):
        check(lambda w, norm=norm: F.embedding(INDICES.to(w.device), w * 1, max_norm=2.0, norm_type=norm), table, dtype)


@by_kernel
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_embeddings(device, dtype, mode):
    table, flat = [drawn(7, 5)], torch.tensor([0, 2, 5, 1])

    def offsets(numbers, **options):
        return lambda w: F.embedding_bag(flat.to(w.device), w, torch.tensor(numbers).to(w.device), mode=mode, **options)
    check(lambda w: F.embedding_bag(INDICES.to(w.device), w, mode=mode, padding_idx=2), table, dtype)
    check(offsets([0, 3, 3]), table, dtype)
    check(offsets([0, 3, 3, 4], include_last_offset=True), table, dtype)
    if mode == "sum":
        weights = torch.linspace(0, 1, 6, dtype=torch.float64).reshape(2, 3)
        check(lambda w, s: F.embedding_bag(INDICES.to(w.device), w, mode=mode, per_sample_weights=s), [*table, weights], dtype)


def test_gradients_of_embeddings_again(device):
    check(lambda w: F.embedding(INDICES.to(w.device), w * w), [drawn(7, 3)], create_graph=True)
    for mode in ("sum", "mean"):
        check(lambda w: F.embedding_bag(INDICES.to(w.device), w * w, mode=mode), [drawn(7, 3)], create_graph=True)


def test_an_index_that_is_no_row_gives_nan(device):
    w = torch.ones(4, 3, device="cuda", requires_grad=True)
    y = F.embedding(torch.tensor([9, 1, -1], device="cuda"), w)
    assert y.isnan().all(1).tolist() == [True, False, True]
    y.nansum().backward()
    assert w.grad.sum(1).tolist() == [0, 3, 0, 0]
    assert F.embedding(torch.tensor([3], device="cuda"), torch.arange(12, device="cuda").reshape(4, 3)).tolist() == [[9, 10, 11]]
    assert F.embedding(torch.ones(0, 2, dtype=torch.int64, device="cuda"), w).shape == (0, 2, 3)


# ---- attention -------------------------------------------------------------------------------------------------------------

def attention(mask=None, lay=lambda t: t, **options):
    def fn(q, k, v):
        own = mask if mask is None or mask.dtype == torch.bool else mask.to(q.dtype)
        return F.scaled_dot_product_attention(lay(q), lay(k), lay(v), own if own is None else own.to(q.device), **options)
    return fn


def heads(*shapes):
    return [drawn(*shape, seed=k) * 0.5 for k, shape in enumerate(shapes)]


def test_attention(device):
    check(attention(), heads((35, 8), (18, 8), (18, 5)))
    check(attention(is_causal=True, scale=0.7), heads((33, 6), (35, 6), (35, 6)))
    assert {name for name in device.log if "attention" in name} == {
        f"attention_cuda.attention_{name}" for name in ("16", "delta", "queries_16", "keys_16")}


def test_attention_with_masks(device):
    rng = np.random.default_rng(0)
    visible = torch.tensor(rng.uniform(size=(5, 18)) < 0.5)
    visible[3] = False                                          # sees nothing
    check(attention(visible), heads((5, 4), (18, 4), (18, 4)))
    added = torch.tensor(rng.standard_normal((2, 1, 1, 18)))
    check(attention(added), heads((2, 1, 5, 4), (2, 1, 18, 4), (2, 1, 18, 4)))
    hidden = torch.zeros(3, 4, dtype=torch.float64)
    hidden[1] = -math.inf
    check(attention(hidden), heads((3, 4), (4, 4), (4, 4)))


def test_attention_in_other_layouts(device):
    check(attention(lay=lambda t: t.permute(1, 2, 0, 3)), heads((5, 1, 2, 8), (3, 1, 2, 8), (3, 1, 2, 8)))
    check(attention(lay=lambda t: t.transpose(1, 2), is_causal=True), heads((1, 8, 5), (1, 8, 5), (1, 8, 5)))
    check(attention(), heads((2, 1, 3, 4), (1, 3, 4), (3, 4)))
    check(attention(torch.ones(2, 1, 1, 3, 4, dtype=torch.bool)), heads((2, 1, 1, 3, 4), (2, 1, 1, 4, 4), (2, 1, 1, 4, 4)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_attention_of_halves(device, dtype):
    """On tensor cores where vectors are aligned."""
    check(attention(), heads((5, 7), (6, 7), (6, 7)), dtype)
    assert not any("mma" in name for name in device.log)
    if dtype == torch.float16:
        check(attention(), heads((2, 8), (66, 8), (66, 8)), dtype)
        check(attention(drawn(6)), heads((2, 16), (6, 16), (6, 16)), dtype)
    else:
        check(attention(is_causal=True), heads((66, 8), (5, 8), (5, 8)), dtype)
        check(attention(is_causal=True), heads((3, 8), (70, 8), (70, 8)), dtype)      # the last keys are seen by no query
        visible = torch.tensor(np.random.default_rng(0).uniform(size=(5, 6)) < 0.5)
        check(attention(visible), heads((5, 16), (6, 16), (6, 8)), dtype)
    assert {name for name in device.log if "mma" in name} == {
        f"attention_cuda.attention_{way}16_mma_{str(dtype)[6:]}" for way in ("", "queries_", "keys_")}


@pytest.mark.parametrize("size, dtype", [(68, torch.float32), (40, torch.float16)])
def test_attention_with_larger_heads(size, dtype):
    with simulator.installed():
        check(attention(is_causal=True), heads((2, size), (3, size), (3, size)), dtype)


def test_attention_by_other_operations(device):
    check(attention(), heads((2, 4), (3, 4), (3, 4)), torch.float64)
    check(attention(torch.zeros(2, 3, dtype=torch.float64)), heads((2, 4), (3, 4), (3, 4)), torch.float64)
    check(lambda q, m: F.scaled_dot_product_attention(q, q, q, m), heads((3, 4), (3, 3)))
    q = torch.zeros(1, 2, 130, device="cuda")
    assert F.scaled_dot_product_attention(q, q, q).shape == (1, 2, 130)
    assert F.scaled_dot_product_attention(q[:, :0], q, q).shape == (1, 0, 130)
    assert not any("attention" in name for name in device.log)


def test_gradients_of_attention_again(device):
    check(attention(is_causal=True), heads((2, 2), (3, 2), (3, 2)), create_graph=True)
    check(lambda q: F.scaled_dot_product_attention(q, q, q), heads((2, 2)), create_graph=True)


def test_attention_module(device):
    module, x = nn.MultiheadAttention(8, 2), drawn(3, 2, 8).float()
    padding = torch.tensor([[False, False, False], [False, True, True]])
    other = copy.deepcopy(module).cuda()
    want = module(x, x, x, key_padding_mask=padding, need_weights=False)[0].detach().numpy()
    found = other(x.cuda(), x.cuda(), x.cuda(), key_padding_mask=padding.cuda(), need_weights=False)[0]
    np.testing.assert_allclose(found.detach().cpu().numpy(), want, atol=1e-5)
    assert "attention_cuda.attention_16" in device.log


# ---- what holds for all ----------------------------------------------------------------------------------------------------

def step(seed, **options):
    """All gradients of a small network on a device of its own, as bytes."""
    with simulator.installed(seed=seed, **options) as driver:
        x, w = drawn(6, 4, 5).float().cuda(), drawn(4).float().cuda().requires_grad_()
        q = drawn(5, 4).float().cuda().requires_grad_()
        driver.copy_out = None              # nothing waits for a result
        y = F.batch_norm(x * w.reshape(4, 1), None, None, w, w, True)
        y = F.layer_norm(F.group_norm(y, 2, w, w).transpose(1, 2), (4,), w) + F.scaled_dot_product_attention(q, q, q)
        loss = F.cross_entropy(y, torch.arange(24, device="cuda").reshape(6, 4) % 5) + F.nll_loss(
            F.log_softmax(y.reshape(-1, 20), 1), torch.arange(6, device="cuda"))
        loss.backward()
        del driver.copy_out
        return [t.cpu().numpy().tobytes() for t in (loss.detach(), w.grad, q.grad)]


def test_results_do_not_depend_on_the_order_of_threads():
    assert step(None) == step(1)


MODULES = (softmax_cuda, norm_cuda, batch_norm_cuda, loss_cuda, _cuda_rows, attention_cuda, _cuda_attention_tiles, embedding_cuda)


def barriers():
    """(file, line) of each barrier of these kernels."""
    return [pytest.param(module.__file__, n, id=f"{Path(module.__file__).name}:{n}") for module in MODULES
            for n, line in enumerate(inspect.getsource(module).splitlines(), 1)
            if re.match(r"\s+cuda\.sync(threads|warp)\(\)", line)]


def columns():
    check_softmax((1, 9, 2), 1, torch.float32)
    check(lambda x: F.cross_entropy(x, targets((1, 2, 5)).to(x.device)), [drawn(1, 2, 5)])


def rows():
    check(layer_norm, [drawn(3, 75), drawn(75), None])
    check(lambda x: F.nll_loss(x, targets((70, 2)).to(x.device)), [drawn(70, 2)])


USES = {"softmax_cuda.py": columns, "_cuda_rows.py": rows, "norm_cuda.py": lambda: check(layer_norm, [drawn(40, 4), drawn(4), None]),
        "batch_norm_cuda.py": lambda: [check(lambda x: F.batch_norm(x, None, None, None, None, True), [drawn(*shape)])
                                       for shape in ((6, 2), (3, 1, 96))],
        "attention_cuda.py": lambda: [check(attention(), heads((2, 3), (33, 3), (33, 3))),
                                       check(attention(), heads((2, 8), (3, 8), (3, 8)), torch.float16)]}
USES["_cuda_attention_tiles.py"] = USES["attention_cuda.py"]


@pytest.mark.parametrize("use", [*USES][:-1])
def test_no_races(block_rows, monkeypatch, use):
    """In launches of every kernel with a barrier, in sizes for which it is needed."""
    monkeypatch.setattr(norm_cuda, "PARTS", 2)
    with simulator.installed(seed=1, races=True):
        USES[use]()


@pytest.mark.parametrize("path, line", barriers())
def test_each_barrier_is_needed(monkeypatch, block_rows, path, line):
    """Without it there is a race, or a wrong result."""
    monkeypatch.setattr(norm_cuda, "PARTS", 2)
    for name in ("syncthreads", "syncwarp"):
        whole = getattr(names.Cuda, name)

        def less(self, *args, whole=whole):
            frame = sys._getframe(1)
            if (frame.f_code.co_filename, frame.f_lineno) != (path, line):
                whole(self, *args)
        monkeypatch.setattr(names.Cuda, name, less)
    with simulator.installed(seed=1, races=True), pytest.raises((AssertionError, simulator.KernelError)):
        USES[Path(path).name]()
