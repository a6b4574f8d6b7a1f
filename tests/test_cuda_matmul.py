"""Products of matrices, triangular systems and distances on a CUDA device, which is simulated, against NumPy and the CPU."""
import inspect
import sys
import warnings

import ml_dtypes
import numpy as np
import pytest
import simulator
from numtorch.kernels import _cuda_gemm, _cuda_gemv, _cuda_mma, _device, _driver, linalg_cuda, matmul, matmul_cuda
from simulator import names

import numtorch as torch

TYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 3e-6, "float64": 1e-14, "float16": 1e-3, "bfloat16": 1e-2, "complex64": 3e-6, "tf32": 1e-3}


@pytest.fixture
def driver():
    """A device whose threads run in shuffled order."""
    with simulator.installed(seed=1) as driver:
        yield driver


@pytest.fixture(params=[None, 2], ids=["in order", "shuffled"])
def watched(request):
    """A device whose threads run in order, and one that shuffles them and looks for races."""
    with simulator.installed(seed=request.param, races=request.param is not None) as driver:
        yield driver


@pytest.fixture(autouse=True)
def nothing_on_the_host():
    """An operation that goes through the host's memory fails its test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def numbers(shape, dtype="float32", seed=0):
    """Random numbers, small integers where they are to be exact."""
    rng = np.random.default_rng((*shape, seed))
    dtype = np.dtype(TYPES.get(dtype, dtype))
    if dtype.kind in "iu":
        return rng.integers(0, 9, shape).astype(dtype)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.kind == "c" else x).astype(dtype)


def wide(x):
    """On the host, in the type that the reference is computed in."""
    x = x.on_host() if isinstance(x, _device.DeviceArray) else x
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.int64 if x.dtype.kind in "iu" else np.float64)


def on_device(x, flipped=False):
    """``x`` on the device, ``flipped`` with the last two dimensions the other way round in memory."""
    x = np.swapaxes(x, -1, -2) if flipped else x
    found = _device.from_host(np.ascontiguousarray(x))
    return found.swapaxes(-1, -2) if flipped else found


def check(a, b, d=None, alpha=1, beta=1, kind=None):
    """alpha a b + beta d of arrays on the device is what NumPy gives in float64."""
    kind = kind or a.dtype.name
    got = matmul_cuda.affine(a, b, d, alpha, beta)
    want = np.matmul(wide(a), wide(b)) * alpha + (0 if d is None else wide(d) * beta)
    assert got.shape == want.shape and got.dtype == a.dtype and got.flags.c_contiguous
    if want.size and want.dtype.kind in "iu":
        assert np.array_equal(wide(got), want.astype(a.dtype).astype(np.int64))
    elif want.size:
        scale = np.abs(wide(a)).max(initial=1) * np.abs(wide(b)).max(initial=1) * max(a.shape[-1], 1) ** 0.5
        assert np.abs(wide(got) - want).max() <= TOLERANCE.get(kind, 1e-14) * abs(alpha) * (scale + np.abs(want).max())


def force(monkeypatch, name, run=None):
    """Makes one kind of tile serve all products, with runs of ``run`` inner indices."""
    def plan(m, n, k, *rest):
        length = run or max(k, 1)
        return name, length, max(-(-k // length), 1)
    monkeypatch.setattr(matmul_cuda, "plan", plan)
    matmul_cuda._recipe.cache_clear()


# ---- tiles -------------------------------------------------------------------------------------------------------------

TILES = [(name, dtype) for name, kernel in _cuda_gemm.PRODUCTS.items() for dtype in kernel.T]


@pytest.mark.parametrize("name, dtype", TILES)
def test_tiles(driver, monkeypatch, name, dtype):
    """Results and slices that end within a tile, by vectors and element by element, either operand transposed."""
    rows, columns, depth = _cuda_gemm.SHAPES[name][:3]
    force(monkeypatch, name)
    a, b = numbers((rows + 1, depth + 4), dtype), numbers((depth + 4, columns), dtype)
    check(on_device(a), on_device(b, True))
    a, b = numbers((rows, depth + 1), dtype), numbers((depth + 1, columns // 2 + 1), dtype)
    check(on_device(a, True), on_device(b), on_device(b[0]), 2, 0.5)


def test_tiles_in_any_order(watched):
    """The smallest tile in all layouts."""
    for flipped_a in (False, True):
        for flipped_b in (False, True):
            for m, n, k in ((18, 5, 19), (16, 4, 20)):
                check(on_device(numbers((m, k)), flipped_a), on_device(numbers((k, n)), flipped_b))


def test_runs_are_added_up(watched, monkeypatch):
    """An inner dimension that several blocks share; what is added is added once."""
    force(monkeypatch, "product_16", 16)
    a, b = numbers((2, 5, 35)), numbers((35, 6))
    check(on_device(a), on_device(b), on_device(numbers((2, 1, 6))), -1, 2)
    check(on_device(a, True), on_device(b, True))


def test_stacks(driver):
    """Leading dimensions that broadcast, are permuted, or are too many for the kernel's two."""
    a, b = on_device(numbers((2, 3, 4, 5))), on_device(numbers((3, 5, 2)))
    check(a, b)
    check(a.transpose(1, 0, 2, 3), b[:, None], on_device(numbers((3, 1, 1, 2))))
    check(np.broadcast_to(a[0], (2, 3, 4, 5)), b)
    check(on_device(numbers((2, 1, 2, 1, 3, 5))), on_device(numbers((2, 1, 2, 5, 2))), on_device(numbers((2,))))
    check(a[0, ::2, ::2, ::-1], b[::2])
    check(a[0, :, :, ::2], on_device(numbers((3, 2)))[:, ::2])


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 2, 0), (1, 1, 0), (4, 1, 0)])
def test_nothing_to_multiply(driver, shape):
    """Empty results, and sums of nothing, which are what is added."""
    m, n, k = shape
    a, b = on_device(numbers((m, k))), on_device(numbers((k, n)))
    check(a, b)
    check(a, b, on_device(numbers((n,))), 2, 3)


def test_two_devices(driver):
    """Operands that are not all on one device are refused, and named."""
    x = torch.ones(2, 2)
    for a, b in ((x.cuda(), x), (x, x.cuda()), (x.cuda(0), x.cuda(1))):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, but found at least two devices"):
            a @ b


def test_what_is_not_read(driver):
    """With beta = 0, nan in what would be added do not spread."""
    a, b, d = torch.ones(2, 3, device="cuda"), torch.ones(3, 2, device="cuda"), torch.full((2, 2), float("nan"), device="cuda")
    assert torch.addmm(d, a, b, beta=0).cpu().tolist() == [[3, 3], [3, 3]]


# ---- tensor cores ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, flipped_a, flipped_b", [("bfloat16", False, False), *(
    (dtype, flipped_a, flipped_b) for dtype in ("float16", "tf32") for flipped_a in (False, True) for flipped_b in (False, True))])
def test_tensor_cores(driver, monkeypatch, dtype, flipped_a, flipped_b):
    """Two slices; with copies of operands whose rows are not aligned, where only one is transposed."""
    kind = "float32" if dtype == "tf32" else dtype
    monkeypatch.setattr(matmul, "_precision", ["high" if dtype == "tf32" else "highest"])
    m, n, k = (8, 24, 20 if dtype == "tf32" else 40) if flipped_a == flipped_b else (18, 5, 19 if dtype == "tf32" else 35)
    a, b = numbers((m, k), kind), numbers((k, n), kind)
    check(on_device(a, flipped_a), on_device(b, flipped_b), on_device(numbers((n,), kind)), 2, 0.5, kind=dtype)


def test_more_tiles_and_slices_than_places(driver):
    """Tiles with edges, and slices that take the places of those before."""
    check(on_device(numbers((66, 136), "float16")), on_device(numbers((136, 5), "float16")))


def test_tensor_cores_in_any_order(watched, monkeypatch):
    """Stacks and runs on tensor cores."""
    force(monkeypatch, 64, 32)
    a, b = on_device(numbers((2, 1, 5, 40), "float16")), on_device(numbers((1, 40, 4), "float16"), True)
    check(a, b, on_device(numbers((5, 1), "float16")), 0.5, -1)


def test_large_tensor_core_tiles(driver, monkeypatch):
    """Tiles of 128 x 128."""
    force(monkeypatch, 128)
    check(on_device(numbers((130, 8), "bfloat16")), on_device(numbers((8, 20), "bfloat16")))


def test_half_types_without_tensor_cores(driver, monkeypatch):
    """Before compute capability 8.0 half types are multiplied in float32."""
    properties = simulator.StandInDriver.properties

    def older(self, device):
        found = properties(self, device)
        found.major, found.minor = 7, 5
        return found
    monkeypatch.setattr(simulator.StandInDriver, "properties", older)
    matmul_cuda._recipe.cache_clear()
    assert _driver.current().properties(0).major == 7
    check(on_device(numbers((5, 9), "bfloat16")), on_device(numbers((9, 4), "bfloat16")))


# ---- vectors -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "int16", "complex64"])
def test_vectors(driver, dtype):
    """Rows and columns without gaps and with, one warp and several, sums that are cut into runs."""
    for m, k, flipped in ((9, 35, False), (1, 2051, False), (131, 9, True)):
        a, x = numbers((m, k), dtype), numbers((k, 1), dtype)
        check(on_device(a, flipped), on_device(x))
        check(on_device(x).swapaxes(0, 1), on_device(a, flipped).swapaxes(0, 1))
    a, x = on_device(numbers((2, 3, 4, 8), dtype)), on_device(numbers((3, 16, 1), dtype))
    check(a, x[:, ::2], on_device(numbers((4, 1), dtype)), 2, 3)
    check(a[..., ::2], x[:, :4])


def test_vectors_in_any_order(watched):
    """The kernels of rows and of columns."""
    check(on_device(numbers((9, 35))), on_device(numbers((35, 1))))
    check(on_device(numbers((9, 35)), True), on_device(numbers((35, 1))))


@pytest.mark.parametrize("dtype", ["int64", "int8", "complex64"])
def test_exact_products(watched, dtype):
    """Integers, which wrap around, and complex numbers."""
    a, b = numbers((2, 3, 18), dtype), numbers((18, 17), dtype)
    check(on_device(a, True), on_device(b), on_device(numbers((17,), dtype)), 2, 3)


# ---- each barrier is needed --------------------------------------------------------------------------------------------

def _barriers():
    """(file, line) of each barrier, and what comes by it twice at least."""
    for kernel, use in (
            (_cuda_gemm.PRODUCTS["product_16"], lambda: check(on_device(numbers((5, 40))), on_device(numbers((40, 3))))),
            (_cuda_gemv.COLUMNS[4], lambda: check(on_device(numbers((9, 35)), True), on_device(numbers((35, 1))))),
            (_cuda_gemv.exact_product, lambda: check(on_device(numbers((5, 40), "int8")), on_device(numbers((40, 3), "int8")))),
            (_cuda_mma.PRODUCTS["float16", 64, True, False],
             lambda: check(on_device(numbers((40, 100), "float16")), on_device(numbers((100, 8), "float16")))),
            (linalg_cuda.substitute, lambda: solve("float32", False, False)),
            (linalg_cuda.distances, lambda: distances(2.0)), (linalg_cuda.distances_gradient, lambda: distances(2.0))):
        text, first = inspect.getsourcelines(kernel.fn)
        for line, code in enumerate(text, first):
            if "cuda.syncthreads()" in code:
                yield pytest.param(kernel.fn.__code__.co_filename, line, use, id=f"{kernel.__name__}-{line}")


@pytest.mark.parametrize("path, line, use", list(_barriers()))
def test_each_barrier_is_needed(monkeypatch, path, line, use):
    """Without it there is a race."""
    kept, passed = names.Cuda.syncthreads, []

    def syncthreads(self):
        frame = sys._getframe(1)
        if frame.f_lineno != line or frame.f_code.co_filename != path:
            kept(self)
        else:
            passed.append(self)
    monkeypatch.setattr(names.Cuda, "syncthreads", syncthreads)
    with simulator.installed(seed=1, races=True), pytest.raises((simulator.KernelError, AssertionError)):
        use()
    assert passed


# ---- plans -------------------------------------------------------------------------------------------------------------

def test_plans():
    """Large tiles where they keep an H200 busy, small ones or several runs where there are few results; never an empty run."""
    assert matmul_cuda.plan(4096, 4096, 4096, 1, "float32", 132) == ("product_128", 4096, 1)
    assert matmul_cuda.plan(8192, 8192, 8192, 1, "float16", 132) == (128, 8192, 1)
    assert matmul_cuda.plan(4, 4, 4, 1, "float64", 132) == ("product_16", 16, 1)
    for m, n, k, count in ((64, 10, 784, 1), (100, 100, 100_000, 1), (512, 512, 512, 1), (5, 5, 0, 3), (300, 200, 1000, 7)):
        for kind, tiles in matmul_cuda._TILES.items():
            name, run, runs = matmul_cuda.plan(m, n, k, count, kind, 132)
            depth = next(tile[3] for tile in tiles if tile[0] == name)
            assert run % depth == 0 and runs >= 1 and (runs - 1) * run < max(k, 1) <= max(runs * run, 1)


# ---- operations --------------------------------------------------------------------------------------------------------

def compare(fn, *arguments, tolerance=1e-4):
    """``fn`` of leaves on the CPU and on the device: results and gradients."""
    found = []
    for device in ("cpu", "cuda"):
        leaves = [torch.tensor(a).to(device).requires_grad_(a.dtype.kind in "fcV") for a in arguments]
        out = fn(*leaves)
        outs = out if isinstance(out, tuple) else (out,)
        assert all(t.device.type == device for t in outs)
        wanted = [t for t in leaves if t.requires_grad]
        if wanted:
            loss = [torch.ones_like(t) * 0.5 for t in outs]
            outs = (*outs, *torch.autograd.grad(outs, wanted, loss))
        found.append([t.detach().cpu() for t in outs])
    for cpu, cuda in zip(*found):
        assert cpu.shape == cuda.shape and cpu.dtype == cuda.dtype
        assert torch.allclose(cpu.to(torch.float64) if not cpu.is_complex() else cpu, cuda.to(torch.float64) if not cuda.is_complex()
                              else cuda, rtol=tolerance, atol=tolerance), (cpu, cuda)


def test_products(driver):
    """Operations and their gradients, which are products as well."""
    x, w, b, v, stack = (numbers(shape) for shape in ((3, 5), (4, 5), (4,), (5,), (2, 5, 3)))
    F = torch.nn.functional
    for fn, *arguments in (
            (lambda x, w: torch.mm(x, w.mT), x, w), (F.linear, x, w, b), (F.linear, numbers((2, 3, 5)), w, b), (torch.mv, x, v),
            (torch.dot, v, v), (torch.outer, b, v), (torch.matmul, stack.swapaxes(1, 2), x.T),
            (torch.bmm, stack, stack.swapaxes(1, 2)), (lambda b, x, w: torch.addmm(b, x, w.mT, beta=0.5, alpha=2), b, x, w),
            (torch.addmv, numbers((3,)), x, v), (lambda d, b, v: torch.addr(d, b, v, alpha=3), numbers((5,)), b, v)):
        compare(fn, *arguments)
    compare(F.linear, *(a.astype(ml_dtypes.bfloat16) for a in (x, w, b)), tolerance=4e-2)


def test_other_products(driver):
    """What is made of products, and integers and complex numbers."""
    compare(lambda x, y: torch.einsum("bij,bkj->bik", x, y), numbers((2, 3, 5)), numbers((2, 4, 5)))
    compare(lambda x, y: torch.tensordot(x, y, 2), numbers((2, 3, 4)), numbers((3, 4, 2)))
    compare(lambda *ts: torch.linalg.multi_dot(ts), numbers((3, 4)), numbers((4, 5)), numbers((5, 2)))
    compare(lambda x: torch.linalg.matrix_power(x, 3), numbers((3, 3)))
    compare(torch.vdot, numbers((5,), "complex64"), numbers((5,), "complex64"))
    compare(torch.mm, numbers((3, 5), "complex64"), numbers((5, 2), "complex64"))
    compare(torch.matmul, numbers((3, 5), "int64"), numbers((5, 2), "int64"))


def solve(dtype, upper, unit):
    """A system of more unknowns than a tile has, of which only one triangle is to be read."""
    n = 33
    a, b = numbers((1, n, n), dtype) / 8 + 2 * np.eye(n, dtype=dtype), numbers((1, n, 2), dtype)
    read = np.triu(a) if upper else np.tril(a)
    read = read - read * np.eye(n) + np.eye(n) if unit else read
    out = _device.empty(b.shape, b.dtype)
    linalg_cuda.solve_triangular(on_device(a), on_device(b), upper, unit, out)
    assert np.abs(read @ out.on_host() - b).max() < 1e-3


@pytest.mark.parametrize("dtype, upper, unit", [("float32", False, False), ("float32", True, True), ("complex64", True, False)])
def test_triangular_systems(driver, dtype, upper, unit):
    """From the first row on and from the last, with a diagonal that counts as ones."""
    solve(dtype, upper, unit)


def distances(p, m=1, size=18):
    """Distances of ``m`` points from three, and the gradient, against NumPy in float64."""
    x, y, g = numbers((1, m, size)), numbers((1, 3, size)), numbers((1, m, 3))
    far, gx = _device.empty(g.shape, np.float32), _device.empty(x.shape, np.float32)
    linalg_cuda.cdist(on_device(x), on_device(y), p, far)
    apart = x[:, :, None].astype(np.float64) - y[:, None]
    want = np.linalg.norm(apart.reshape(-1, size), p, axis=1).reshape(g.shape)
    assert np.abs(far.on_host() - want).max() < 1e-4
    if p:
        linalg_cuda.cdist_backward(on_device(x), on_device(y), on_device(g), far, p, gx)
        share = np.abs(apart) / want[..., None]
        share = (share > 1 - 1e-6) if p == np.inf else share ** (p - 1)
        assert np.abs(gx.on_host() - (np.sign(apart) * share * g[..., None]).sum(2)).max() < 1e-3


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_distances(driver, p):
    """More points and coordinates than a tile has, and coordinates that are few."""
    distances(p, 1, 34)
    if p > 1:
        distances(p, 33, 2)


def test_distances_and_systems_as_operations(driver):
    """cdist and solve_triangular with their gradients."""
    compare(lambda x, y: torch.cdist(x, y, 3.0), numbers((3, 4)), numbers((2, 4)))
    compare(lambda x, y: torch.cdist(x, y), numbers((2, 3, 4)), numbers((2, 4)))
    a = numbers((3, 3)) + 3 * np.eye(3, dtype=np.float32)
    compare(lambda a, b: torch.linalg.solve_triangular(a, b, upper=True), a, numbers((3, 2)))


def test_norms(driver):
    """vector_norm of every order, over all dimensions and some."""
    x = numbers((3, 5))
    for p in (2, 1, 3, 0.5, float("inf"), -float("inf")):
        compare(lambda x: torch.linalg.vector_norm(x, p), x)
        compare(lambda x: torch.linalg.vector_norm(x, p, 0, True), x)
    compare(lambda x: torch.linalg.norm(x), numbers((4,), "complex64"))
    compare(lambda x: torch.linalg.matrix_norm(x, 1), x)
    compare(lambda x: torch.norm(x), numbers((4,), "float16"), tolerance=1e-2)
