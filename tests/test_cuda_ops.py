"""Every row of the op table on a CUDA device, which is simulated: kernels run thread by thread, in shuffled order, on poisoned memory.

The CPU's result is the oracle, which tests/test_ops.py compares with float64 NumPy and torch. What has no CUDA kernel is listed in
ON_HOST and goes through the host's memory; nothing else may.
"""
import warnings

import ops_db
import pytest
import simulator
from numtorch.kernels import pointwise_cuda
from test_ops import (
    arguments,
    assert_same,
    contiguous,
    drawn_samples,
    flat,
    gradients,
    in_place_safe,
    leaves,
    ours,
    permuted,
    sliced,
    swap,
    tensors,
)

import numtorch
from numtorch import _on_host

LAYOUTS = (contiguous, permuted, sliced)
# Fourier transforms, decompositions, and what is computed with them: numtorch asks no library of the vendor's
ON_HOST = frozenset("""
    fft.fft fft.fft2 fft.fftn fft.hfft fft.hfft2 fft.hfftn fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.ihfft2 fft.ihfftn
    fft.irfft fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn istft stft
    cholesky det inverse linalg.cholesky linalg.cholesky_ex linalg.cond linalg.det linalg.eig linalg.eigh linalg.eigvals
    linalg.eigvalsh linalg.inv linalg.inv_ex linalg.lstsq linalg.matrix_exp linalg.matrix_norm linalg.matrix_power
    linalg.matrix_rank linalg.norm linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.solve_ex linalg.svd linalg.svdvals
    linalg.tensorinv linalg.tensorsolve logdet matrix_exp norm nuclear_norm pinverse qr slogdet svd
""".split())
ON_HOST_MEMORY = frozenset(("from_numpy", "frombuffer"))        # tensors on memory that the host has: not of the default device
UNSET = frozenset(("empty", "empty_like", "empty_strided", "empty_permuted"))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of one warp, so that the samples, which are tiny, cross their borders."""
    monkeypatch.setattr(pointwise_cuda, "THREADS", 32)
    monkeypatch.setattr(pointwise_cuda, "_made", {})


def on_device(tree, row, layout):
    """The arguments on the device, in another layout where the row allows it."""
    def move(t):
        leaf = t.detach().cuda()
        fits = "layouts" not in row.skip and not (layout is permuted and row.seed)
        leaf = layout(leaf).detach() if fits else leaf
        return leaf.requires_grad_() if t.requires_grad else leaf
    return swap(tree, numtorch.Tensor, move)


def check(row, drawn, dtype, layout, what):
    """One sample in one dtype: results, gradients, dtypes and shapes are the CPU's, and the results are on the device."""
    fn, grad = ours(row), row.grad and dtype in ("float32", "float64")
    args, kwargs = arguments(numtorch, drawn, dtype, grad)
    want, want_grads = gradients(fn, in_place_safe(row, args), kwargs)
    args, kwargs = on_device((args, kwargs), row, layout)
    if not leaves([*flat(args), *kwargs.values()], numtorch.Tensor):
        if "device" in kwargs or row.name in ON_HOST_MEMORY:
            return
        with numtorch.device("cuda"):
            got, got_grads = gradients(fn, args, kwargs)
    else:
        got, got_grads = gradients(fn, in_place_safe(row, args), kwargs)
    for t in tensors([got, got_grads]):
        assert t.is_cuda, f"{what}: a result is on {t.device}"
    if row.seed or row.name in UNSET:       # other random numbers: the device has a generator of its own
        assert [(t.shape, t.dtype) for t in tensors(got)] == [(t.shape, t.dtype) for t in tensors(want)]
        return
    assert_same(row, to_cpu(got), want, what, scale=4)
    assert_same(row, to_cpu(got_grads), want_grads, f"gradient of {what}", scale=4)


def to_cpu(tree):
    return [t.detach().cpu() if isinstance(t, numtorch.Tensor) else t for t in flat(tree)]


@pytest.mark.parametrize("row", ops_db.rows(), ids=lambda row: row.id)
def test_on_a_device(row):
    """Each sample, laid out in turn row-major, transposed and with gaps, in float32 and the row's further dtypes."""
    _on_host._said.clear()
    with simulator.installed(seed=1) as driver, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number, (what, drawn) in enumerate(drawn_samples(row)):
            for k, dtype in enumerate(("float32", *(d for d in row.also if not number))):
                driver.seed = 1 + k
                check(row, drawn, dtype, LAYOUTS[(number + k) % 3], f"{what} {dtype}")
    hosted = [str(w.message) for w in caught if "there is no CUDA kernel" in str(w.message)]
    assert not hosted or row.name in ON_HOST, hosted
