"""Reductions and scans on a simulated CUDA device, in blocks of two warps, so that small arrays cross all borders.

tests/test_cuda_ops.py runs the same operations on the samples of the op table.
"""
import re
import warnings

import ml_dtypes
import numpy as np
import pytest
import simulator
from numtorch.kernels import _cuda, _cuda_loops, _cuda_numpy, _device, reduce_cuda, scan_cuda

import numtorch
from numtorch import _on_host

TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-12, "complex128": 1e-12}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 64 threads, of which a device is to have 256: rows of a few thousand elements are cut into parts."""
    for module in (_cuda_loops, scan_cuda):
        monkeypatch.setattr(module, "THREADS", 64)
    for module in (reduce_cuda, scan_cuda):
        monkeypatch.setattr(module, "RESIDENT", 256)
        monkeypatch.setattr(module, "_made", {})
    generated = _generated()
    _forget()
    yield
    _forget()
    for name in _generated():
        del _cuda.KERNELS[name]
    _cuda.KERNELS.update(generated)


def _generated():
    """The kernels that are made on demand, of which these tests make others."""
    return {name: kernel for name, kernel in _cuda.KERNELS.items() if kernel.source is not None}


def _forget():
    for cached in (reduce_cuda._planned, scan_cuda.plan_rows, scan_cuda.plan_columns):
        cached.cache_clear()


def device(seed=1, **options):
    """A simulated device with one multiprocessor."""
    return simulator.installed(seed=seed, multi_processor_count=1, **options)


def numpy_dtype(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def drawn(shape, dtype, rng):
    """Numbers of a dtype, integers of one digit."""
    a = np.asarray(rng.normal(size=shape) * 1.5)
    if dtype.startswith("complex"):
        return (a + 1j * rng.normal(size=shape)).astype(dtype)
    a = a if "float" in dtype else np.abs(np.round(a)) if dtype in ("uint8", "bool") else np.round(a)
    return np.asarray(a.astype(numpy_dtype(dtype)))


def close(got, want, dtype, what):
    """Two arrays are equal within what the dtype allows, on the scale of the largest number."""
    tolerance = TOLERANCE.get(dtype, 3e-5)
    scale = max([1.0, *np.abs(want[np.isfinite(want)]).reshape(-1)])
    np.testing.assert_allclose(got.astype(want.dtype), want, rtol=tolerance, atol=tolerance * scale, err_msg=what)


# ---- reductions ----------------------------------------------------------------------------------------------------------

EXTREME = {"argmax": "max", "argmin": "min", "amax": "max", "amin": "min"}
WIDE = {"f": np.float64, "V": np.float64, "E": np.float64, "c": np.complex128}


def reference(name, a, dims):
    """What NumPy makes of it in float64, as a list."""
    x = a.astype(WIDE.get(a.dtype.kind, np.int64))
    if name in ("argmax", "argmin"):
        return [getattr(x, EXTREME[name])(dims), getattr(x, name)(dims[0])]
    if name in ("var", "std"):
        return [getattr(x, name)(dims), x.mean(dims)]
    if name in ("any", "all", "count_nonzero"):
        return [np.asarray(getattr(np, name)(x, dims))]
    if name == "logsumexp":
        return [np.log(np.exp(x).sum(dims))]
    if name == "squares":
        return [(x * x).sum(dims)]
    return [getattr(np, EXTREME.get(name, name))(x, dims)]


def check_reduction(name, a, dims, array=None):
    """``reduced`` of ``a``, or of ``array``, which holds the same numbers in another layout, against NumPy."""
    dtype = a.dtype.name
    n = int(np.prod([a.shape[d] for d in dims]))
    got = reduce_cuda.reduced(name, _device.from_host(a) if array is None else array, dims, n)
    for found, want in zip(got if isinstance(got, list) else [got], reference(name, a, dims)):
        assert found.shape == want.shape
        close(_device.to_host(found), np.asarray(want), dtype, f"{name} {a.dtype} {a.shape} {dims}")


def dtypes_of(name):
    return [d for d, kind in reduce_cuda.KINDS.items() if kind in reduce_cuda.REDUCTIONS[name].kinds]


# (shape, dims): one thread a row, a part of a warp, a warp, a block, several blocks; rows in two dimensions; segments; columns, few
# and many, alone and behind each other, in one block and in several; nothing to add; a copy
SHAPES = [((5,), (0,)), ((7, 3), (1,)), ((3, 70), (1,)), ((2, 1100), (1,)), ((4500,), (0,)), ((3, 4, 5, 6), (1, 3)), ((6, 3, 11), (0, 2)),
          ((9, 2), (0,)), ((40, 130), (0,)), ((50, 3, 4), (1,)), ((7, 5, 40), (1,)), ((2, 33, 3), (1,)), ((600, 5), (0,)), ((3, 1, 4), (1,)), ((2, 3, 2, 3, 2, 3), (0, 2, 4))]


@pytest.mark.parametrize("name", reduce_cuda.REDUCTIONS)
def test_reduction(name):
    """Every reduction in float32 on every way that its kernels go, and in its other dtypes on some."""
    rng = np.random.default_rng(0)
    small = 0.1 if name == "prod" else 1        # products near 1
    with device(races=name in ("sum", "argmax", "var")):
        for dtype in dtypes_of(name):
            for shape, dims in SHAPES if dtype == "float32" else SHAPES[2:10:6]:
                if len(dims) > 1 and name.startswith("arg"):
                    continue
                a = drawn(shape, dtype, rng)
                if name == "prod":
                    a = (1 + small * a.real).astype(a.dtype) if a.dtype.kind not in "iub" else (a * 0 + 1).astype(a.dtype)
                check_reduction(name, a, dims)


LAYOUTS = {
    "transposed": lambda a, put: (a.T, put(a).T), "middle first": lambda a, put: (a.transpose(1, 0, 2), put(a).transpose(1, 0, 2)),
    "gaps": lambda a, put: (a[:, 1:, :], put(a)[:, 1:, :]), "unaligned": lambda a, put: (a[..., 1:], put(a)[..., 1:]),
    "every second": lambda a, put: (a[..., ::2], put(a)[..., ::2]), "backwards": lambda a, put: (a[:, ::-1], put(a)[:, ::-1]),
    "expanded": lambda a, put: (np.broadcast_to(a[:, :1], a.shape), np.broadcast_to(put(a)[:, :1], a.shape))}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    """Arrays are walked as they lie, whatever is reduced; and the result has its dimensions in the order of the array's."""
    rng = np.random.default_rng(1)
    with device():
        for dtype in ("float32", "int8", "float64"):
            a, array = LAYOUTS[layout](drawn((4, 9, 6), dtype, rng), _device.from_host)
            for dims in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)):
                check_reduction("sum", a, dims, array)
                if len(dims) == 1:
                    check_reduction("argmax", a, dims, array)


@pytest.mark.parametrize("offset", range(5))
def test_alignment(offset):
    """Rows that begin, and end, anywhere: what lies around them is not touched."""
    rng = np.random.default_rng(2)
    with device():
        a = drawn((3, 4, 37), "float16", rng)
        for begin, end in ((offset, 37), (0, 37 - offset), (offset, offset + 3), (offset, offset + 9)):
            part = slice(begin, end)
            check_reduction("sum", a[..., part], (2,), _device.from_host(a)[..., part])
            check_reduction("amax", a[..., part], (1,), _device.from_host(a)[..., part])
            check_reduction("argmin", a[..., part], (2,), _device.from_host(a)[..., part])


def test_places():
    """The first of equals, whichever thread has it; nan is largest and smallest."""
    with device(seed=None) as driver:
        for seed in (None, 1, 2):
            driver.seed = seed
            for shape, dims in (((1, 4500), (1,)), ((70, 6), (0,)), ((300, 2), (0,))):
                flat = np.zeros(shape, np.float32)
                assert not reduce_cuda.reduced("argmax", _device.from_host(flat), dims)[1].on_host().any()
                assert not reduce_cuda.reduced("argmin", _device.from_host(flat), dims)[1].on_host().any()
                x = np.moveaxis(np.random.default_rng(3).normal(size=shape).astype(np.float32), dims[0], 0)
                x[[17, 40, len(x) - 1]] = np.nan
                array = _device.from_host(np.ascontiguousarray(np.moveaxis(x, 0, dims[0])))
                for name in ("argmax", "argmin"):
                    values, places = reduce_cuda.reduced(name, array, dims)
                    assert (places.on_host() == 17).all() and np.isnan(values.on_host()).all()


def test_spread_is_stable():
    """A variance of 1 around a mean of 10,000, which the difference of two sums would lose in float32."""
    a = (1e4 + np.random.default_rng(4).normal(size=(2, 3000))).astype(np.float32)
    with device():
        for array, dims in ((a, (1,)), (np.ascontiguousarray(a.T), (0,))):
            found, means = reduce_cuda.reduced("var", _device.from_host(array), dims, 2999)
            np.testing.assert_allclose(found.on_host(), array.astype(np.float64).var(dims, ddof=1), rtol=1e-4)
            np.testing.assert_allclose(means.on_host(), array.astype(np.float64).mean(dims), rtol=1e-7)


def test_logsumexp_of_infinities():
    inf, nan = np.inf, np.nan
    a = np.array([[-inf] * 5, [1, inf, 2, -inf, 900], [nan, 1, 2, inf, 3], [1000, 1000, -inf, 0, 1], [-1000] * 5], np.float32)
    want = [-inf, inf, nan, 1000 + np.log(2), -1000 + np.log(5)]
    with device():
        np.testing.assert_allclose(reduce_cuda.reduced("logsumexp", _device.from_host(a), (1,)).on_host(), want, rtol=1e-6)
        np.testing.assert_allclose(reduce_cuda.reduced("logsumexp", _device.from_host(a.T), (0,)).on_host(), want, rtol=1e-6)


def test_same_result_in_every_run():
    """Bit for bit, in whatever order blocks, warps and lanes are run."""
    rng = np.random.default_rng(5)
    rows, columns = (rng.normal(size=s).astype(np.float32) for s in ((9000,), (300, 5)))
    found = set()
    for seed in (None, 1, 2, 3):
        with device(seed):
            results = [reduce_cuda.reduced("sum", _device.from_host(rows), (0,)), reduce_cuda.reduced("sum", _device.from_host(columns), (0,))]
            out = _device.empty((1, 9000, 1), np.float32)
            scan_cuda.run("cumsum", (_device.from_host(rows.reshape(1, -1, 1)),), (out,))
            found.add(b"".join(r.on_host().tobytes() for r in (*results, out)))
    assert len(found) == 1


# ---- scans ---------------------------------------------------------------------------------------------------------------

def extreme(x, largest):
    """Running extremes along dim 1, and where they stand, one by one."""
    values, places = x.copy(), np.zeros(x.shape, np.int64)
    for k in range(1, x.shape[1]):
        best, v = values[:, k - 1], x[:, k]
        later = (v != v) | ((best == best) & ((v >= best) if largest else (v <= best)))
        values[:, k], places[:, k] = np.where(later, v, best), np.where(later, k, places[:, k - 1])
    return [values, places]


def scanned(name, inputs):
    """The scan along dim 1 in float64."""
    x = inputs[0]
    if name in ("cummax", "cummin"):
        return extreme(x, name == "cummax")
    if name == "recurrence":
        y, before = np.zeros_like(x), 0
        for k in range(x.shape[1]):
            y[:, k] = before = inputs[1][:, k] + x[:, k] * before
        return [y]
    return [{"cumsum": np.cumsum, "cumprod": np.cumprod, "logcumsumexp": np.logaddexp.accumulate}[name](x, 1)]


def check_scan(name, dtype, shape, reverse, rng):
    """One scan of random numbers against NumPy."""
    scan, inputs = scan_cuda.SCANS[name], []
    for _ in range(scan.inputs):
        a = drawn(shape, dtype, rng)
        if name in ("cumprod", "recurrence"):
            size = np.maximum(np.abs(a.astype(WIDE.get(a.dtype.kind, np.int64))), 1e-3)
            a = np.sign(a) + (a == 0) if a.dtype.kind in "iu" else a / size * (1 if name == "cumprod" else 0.9)
        elif name == "cumsum" and a.dtype.itemsize == 1:
            a = a * (rng.uniform(size=shape) < 0.05)
        inputs.append(a.astype(numpy_dtype(dtype)))
    wide = [a.astype(WIDE.get(a.dtype.kind, np.int64)) for a in inputs]
    want = scanned(name, [a[:, ::-1] for a in wide] if reverse else wide)
    outs = [_device.empty(shape, inputs[0].dtype if letter == reduce_cuda.same(dtype) else letter) for letter in scan.outs(dtype)]
    scan_cuda.run(name, [_device.from_host(a) for a in inputs], outs, reverse)
    for found, right in zip(outs, want):
        close(found.on_host(), right[:, ::-1] if reverse else right, dtype, f"{name} {dtype} {shape} {'reverse' * reverse}")


@pytest.mark.parametrize("name", scan_cuda.SCANS)
def test_scan(name):
    """Every scan in float32 on every way that its kernels go, forwards and backwards, and in its other dtypes on some."""
    rng = np.random.default_rng(6)
    kinds = scan_cuda.SCANS[name].kinds
    with device(races=name == "cumsum"):
        for dtype, kind in reduce_cuda.KINDS.items():
            if kind in kinds:
                shapes = [(3, 5, 1), (2, 40, 1), (2, 130, 3), (1, 2061, 1)]
                for shape in [*shapes, (1, 1, 1), (1, 512, 1), (2, 300, 1), (1, 1536, 1)] if dtype == "float32" else shapes[1:3]:
                    for reverse in (False, True) if name not in ("cummax", "cummin") else (False,):
                        check_scan(name, dtype, shape, reverse, rng)


# ---- operations ----------------------------------------------------------------------------------------------------------

OPERATIONS = {
    "sum": lambda x: x.sum(1), "mean": lambda x: x.mean((0, 2)), "nansum": lambda x: x.nansum(2), "prod": lambda x: x.prod(1),
    "amax": lambda x: x.amax((0, 1)), "amin": lambda x: x.amin(2, keepdim=True), "max": lambda x: x.max(1).values, "min": lambda x: x.min(),
    "var": lambda x: x.var(1), "std": lambda x: x.std((0, 2), keepdim=True), "var_mean": lambda x: sum(numtorch.var_mean(x, 0)),
    "std_mean": lambda x: sum(numtorch.std_mean(x, 1)), "logsumexp": lambda x: x.logsumexp((1, 2)), "cumsum": lambda x: x.cumsum(1), "cumprod": lambda x: x.cumprod(-1),
    "cummax": lambda x: x.cummax(0).values, "logcumsumexp": lambda x: x.logcumsumexp(2), "diff": lambda x: x.diff(dim=1),
    "aminmax": lambda x: sum(x.aminmax(dim=2)), "norm": lambda x: x.norm(dim=1)}
PLAIN = {
    "argmax": lambda x: x.argmax(1), "argmin": lambda x: x.argmin(), "any": lambda x: (x > 1.9).any(2), "all": lambda x: (x < 1.9).all((0, 2)),
    "count_nonzero": lambda x: (x > 0).count_nonzero(1), "equal": lambda x: x.equal(x + 0), "allclose": lambda x: x.allclose(x * (1 + 1e-6)),
    "isclose": lambda x: x.isclose(x.flip(0)), "unravel_index": lambda x: numtorch.unravel_index((x * 3).long().abs(), (2, 4))[0],
    "empty": lambda x: x[:0].sum() + x[:, :0].prod(1).sum() + x[:0].cumsum(0).sum(), "0-dim": lambda x: x.sum().sum() + x.sum().cumsum(0),
    "any of nothing": lambda x: x[:0].any(0), "int": lambda x: (x * 5).int().sum(1) + (x * 5).to(numtorch.int8).cumsum(1)[:, -1],
    "int8": lambda x: (x * 5).to(numtorch.int8).amax(1), "bool": lambda x: (x > 1).sum(2) + (x > 1).max().long() + (x > 0).cumsum(2).sum(2)}


@pytest.mark.parametrize("dtype, layout", [("float32", "rows"), ("float32", "permuted"), ("float64", "rows"), ("float16", "permuted")])
def test_operations(dtype, layout):
    """Results and gradients are the CPU's, and nothing goes through the host."""
    x = numtorch.from_numpy(np.random.default_rng(7).permutation(3 * 17 * 6).reshape(3, 17, 6) / 100 - 1.5).to(getattr(numtorch, dtype))
    x = x if layout == "rows" else x.permute(2, 0, 1)
    _on_host._said.clear()
    with device(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, fn in OPERATIONS.items():
            results = []
            for place in ("cpu", "cuda"):
                leaf = x.detach().to(place).requires_grad_()
                y = fn(leaf)
                y.backward(numtorch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y))
                results.append([t.detach().cpu().float().numpy() for t in (y, leaf.grad)])
            for want, got in zip(*results):
                close(got, want, dtype if name != "cumprod" else "float16", f"{name} {dtype}")
        for name, fn in PLAIN.items():
            want, got = fn(x), fn(x.cuda())
            if isinstance(want, bool):
                assert got == want, name
            else:
                assert got.dtype == want.dtype and got.shape == want.shape, name
                close(got.cpu().float().numpy(), want.float().numpy(), dtype, f"{name} {dtype}")


def test_numpys_methods():
    """ndarray's methods, which the op layer asks for sizes and ranges."""
    rng = np.random.default_rng(8)
    with device(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")         # NumPy's, of means of nothing
        for dtype in ("float32", "int16", "bool", "uint8"):
            for shape in ((3, 4), (), (2, 0, 3)):
                a = drawn(shape, dtype, rng)
                for name, method in _cuda_numpy.METHODS.items():
                    for how in ({}, {"axis": 0}, {"axis": (0, 1), "keepdims": True}):
                        if how and (not shape or name in ("argmax", "argmin", "cumsum") and len(how) == 2):
                            continue
                        try:
                            want = np.asarray(getattr(np, name)(a, **how))
                        except ValueError:
                            with pytest.raises(ValueError):
                                method(_device.from_host(a), **how)
                            continue
                        got = method(_device.from_host(a), **how).on_host() if a.size or name != "mean" else want
                        assert got.shape == want.shape and got.dtype.kind in want.dtype.kind + "i", f"{name} {dtype} {shape} {how}"
                        np.testing.assert_allclose(got, want, rtol=1e-5)


# ---- the kernels' text ---------------------------------------------------------------------------------------------------

def without_barrier(kernel, number):
    """The kernel less its barrier of that number."""
    places = [m.start() for m in re.finditer(r"cuda\.syncthreads\(\)", kernel.source)]
    text = kernel.source[:places[number]] + "pass" + kernel.source[places[number] + len("cuda.syncthreads()"):]
    space = dict(kernel.fn.__globals__)
    exec(compile(text, "<less a barrier>", "exec"), space)
    return _cuda.DeviceKernel(space[kernel.fn.__name__], " ".join(kernel.words), kernel.T, (), kernel.threads, source=text)


@pytest.mark.parametrize("form, shape", [("rows", (1, 600)), ("columns", (40, 130)), ("join", (600, 40))])
def test_barriers_of_reductions(form, shape):
    """Each is needed: without it, threads are found to race."""
    a = np.ones(shape, np.float32)
    with device(races=True):
        kernel = reduce_cuda.kernel(form, "sum", "float32")
        for number in range(kernel.source.count("syncthreads")):
            broken = without_barrier(kernel, number)
            x, out = _device.from_host(a), _device.empty((shape[form == "columns"],), np.float32)
            with pytest.raises(simulator.KernelError, match="Race"):
                if form == "rows":
                    broken.launch(1, 64, x, out, None, 0, 1, 1, 0, 0, 1, 600, 600, 600, 6, 6)
                elif form == "columns":
                    broken.launch(2, 64, x, out, None, 130, 40, 130, 130, 130, 5, 40, 0)
                else:
                    broken.launch(1, 64, x, out, _device.from_host(a.reshape(-1)), 1, 24000, 6)
    assert number == 0


def test_barriers_of_scans():
    """Each is needed: without it, threads are found to race."""
    with device(races=True):
        kernel = scan_cuda.kernel("rows", "cumsum", "float32")
        x, out, totals = _device.from_host(np.ones((1, 4096, 1), np.float32)), _device.empty((1, 4096, 1), np.float32), _device.empty((4,), np.float32)
        count = kernel.source.count("syncthreads")
        for number in range(count):
            with pytest.raises(simulator.KernelError, match="Race"):
                for grid, write in (((1, 3), 0), ((1, 4), 1)):
                    without_barrier(kernel, number).launch(grid, 64, x, out, totals, 1, 4096, 1024, 4, 0, 1, write)
    assert count == 2
