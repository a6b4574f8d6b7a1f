"""Every row of the op table on a CUDA device, which is simulated: kernels run thread by thread, in shuffled order, on poisoned memory.

The CPU's result is the oracle, which tests/test_ops.py compares with float64 NumPy and torch. What has no CUDA kernel is listed in
ON_HOST and goes through the host's memory; nothing else may. Blocks and tiles are tiny, so that the samples cross their borders;
those that are too small for it are listed in ONE_BLOCK; simulator/tried.py asks for the borders of each kernel.
"""
import warnings

import ops_db
import pytest
import simulator
from device_rows import LAYOUTS, check
from simulator import sizes
from test_ops import drawn_samples

from numtorch import _on_host

# rows (by id) of Fourier transforms, decompositions, and what is computed with them: without NVIDIA's libraries, which
# tests/test_cuda_vendor.py has stand-ins for, no kernel is written for these
ON_HOST = frozenset("""
    cholesky det fft.fft fft.fft2 fft.fftn fft.hfft fft.hfft2 fft.hfftn fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.ihfft2
    fft.ihfftn fft.irfft fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftn inverse istft linalg.cholesky linalg.cholesky_ex
    linalg.cond linalg.det linalg.eig linalg.eig-2 linalg.eigh linalg.eigvals linalg.eigvalsh linalg.inv linalg.inv_ex
    linalg.lstsq linalg.lstsq-2 linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_rank-2 linalg.norm
    linalg.pinv linalg.pinv-2 linalg.qr linalg.qr-2 linalg.slogdet linalg.solve linalg.solve-2 linalg.solve_ex linalg.svd
    linalg.svd-2 linalg.svd-3 linalg.svdvals linalg.tensorinv linalg.tensorsolve logdet norm-2 nuclear_norm pinverse qr slogdet
    stft svd
""".split())
# rows whose samples are no larger than the tiniest blocks: 2 threads with 16 bytes each of element-wise kernels, 4 threads of
# kernels that move elements, and a warp where threads work together
ONE_BLOCK = frozenset("""
    Tensor.view _gelu _gelu_grad _gelu_tanh _gelu_tanh_grad _hardsigmoid _hardswish _hardswish_grad _mish _relu_grad _round
    _sigmoid_grad _silu _silu_grad _tanh_grad _trigamma allclose as_strided_scatter bincount bitwise_not bucketize cdist-2
    clone contiguous cummin-2 diagflat equal float_power full_like kaiser_window linalg.cross-2 linalg.matrix_rank-2
    linalg.solve-2 linalg.solve_ex linalg.tensorsolve logcumsumexp-2 nanmedian-2 nanquantile-2 nn.functional.embedding-2
    nn.functional.max_unpool1d nn.functional.max_unpool2d nn.functional.max_unpool3d nn.functional.one_hot nuclear_norm ones
    ones_like pinverse positive qr quantile-2 ravel remainder-2 reshape_as round-2 squeeze sub-2 t take triu_indices
    unflatten vdot view_as view_as_complex view_as_real vsplit where-2
""".split())
SHARED = "pointwise_cuda.identity_float64_float32_0"        # a kernel that the test itself needs


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """The sizes of blocks and tiles with which the samples, which are tiny, cross their borders."""
    with sizes.tiny():
        yield


@pytest.mark.parametrize("row", ops_db.rows(), ids=lambda row: row.id)
def test_on_a_device(row):
    """Each sample, laid out in turn row-major, transposed and with gaps, in float32 and the row's further dtypes.

    Float32 under two orders of threads, of which the further dtypes take turns.
    """
    _on_host._said.clear()
    with simulator.installed() as driver, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number, (what, drawn) in enumerate(drawn_samples(row)):
            for k, dtype in enumerate(("float32", *(d for d in row.also if not number))):
                seeds = (1 + k % 2,) if k else (1, 2)
                check(row, drawn, dtype, LAYOUTS[(number + k) % 3], f"{what} {dtype}", seeds)
    hosted = [str(w.message) for w in caught if "there is no CUDA kernel" in str(w.message)]
    assert bool(hosted) == (row.id in ON_HOST), hosted or "the row is listed in ON_HOST, and does not go by the host"
    crosses = any(n > 1 for name, n in driver.blocks.items() if name != SHARED)
    assert crosses or row.id in ONE_BLOCK or not driver.blocks, f"blocks of each kernel: {driver.blocks}"
