"""Fourier transforms and linear algebra on a CUDA device by NVIDIA's libraries, which are stand-ins (simulator/vendor.py).

Nothing may go through the host here: warnings are errors.
"""
import threading
import warnings

import numpy as np
import ops_db
import pytest
import simulator
from numtorch.kernels import _driver, _vendor, fft_cuda, solver_cuda
from simulator import vendor
from test_cuda_ops import LAYOUTS, ON_HOST, check
from test_ops import drawn_samples

import numtorch as nt
from numtorch import _on_host, fft

la = nt.linalg
ROWS = [row for row in ops_db.rows() if row.id in ON_HOST]
DTYPES = ("float32", "float64", "complex64", "complex128")


@pytest.fixture
def libraries(monkeypatch):
    """A simulated device with both libraries, and no way to the host; blocks are small, so that arrays have several."""
    monkeypatch.setattr(solver_cuda, "THREADS", 32)
    with simulator.installed(seed=1) as driver, vendor.installed(driver) as found, warnings.catch_warnings():
        warnings.filterwarnings("error", "[^:]*: there is no CUDA kernel")
        yield found


def random(*shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype[0] == "c" else 0)
    return nt.from_numpy(a.astype(dtype))


def same(got, want, tol=None):
    assert got.is_cuda and got.shape == want.shape and got.dtype is want.dtype
    single = want.dtype in (nt.float32, nt.complex64)
    np.testing.assert_allclose(got.detach().cpu().numpy(), want.detach().numpy(), rtol=tol or (2e-4 if single else 1e-9),
                               atol=tol or (2e-4 if single else 1e-9))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_rows(row, libraries):
    """Each row of the op table that needs a library: results and gradients are the CPU's."""
    for number, (what, drawn) in enumerate(drawn_samples(row)):
        for k, dtype in enumerate(("float32", *(d for d in row.also if not number))):
            _driver.current().seed = 1 + k
            check(row, drawn, dtype, LAYOUTS[(number + k) % 3], f"{what} {dtype}")


# ---- Fourier transforms --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims, norm", [((0,), "backward"), ((2,), "ortho"), ((1, 2), "forward"), ((2, 0), "backward"),
                                        ((0, 1, 2), "ortho"), ((3, 1, 0, 2), "forward"), ((0, 1, 2, 3), "backward")], ids=str)
def test_transforms_of_any_dims(dims, norm, dtype, libraries):
    """Complex and real ones, of each precision, along one to four dimensions in any order, and back; odd and even sizes."""
    x = random(3, 4, 5, 2, dtype=dtype)
    same(fft.fftn(x.cuda(), dim=dims, norm=norm), fft.fftn(x, dim=dims, norm=norm))
    same(fft.ifftn(x.cuda(), dim=dims, norm=norm), fft.ifftn(x, dim=dims, norm=norm))
    same(fft.irfftn(x.cuda(), dim=dims, norm=norm), fft.irfftn(x, dim=dims, norm=norm))
    same(fft.irfftn(x.cuda(), s=(5,) * len(dims), dim=dims, norm=norm), fft.irfftn(x, s=(5,) * len(dims), dim=dims, norm=norm))
    same(fft.fft(x.cuda(), dim=dims[0], norm=norm), fft.fft(x, dim=dims[0], norm=norm))
    if dtype[0] == "f":
        same(fft.rfftn(x.cuda(), dim=dims, norm=norm), fft.rfftn(x, dim=dims, norm=norm))
        same(fft.ifft(x.cuda(), dim=dims[0], norm=norm), fft.ifft(x, dim=dims[0], norm=norm))


def test_inputs_stay_as_they_are(libraries):
    """cuFFT may write into what it makes real numbers of, and takes real numbers only where complex ones could be."""
    x = random(3, 4, dtype="complex128").cuda()
    before = x.clone()
    fft.irfft(x)
    assert (x == before).all()
    y = nt.arange(7, dtype=nt.float32)
    same(fft.rfft(y.cuda()[1:]), fft.rfft(y[1:]))


def test_transforms_of_nothing(libraries):
    """A batch of no signals has no transforms, and needs no plan; nor do signals of one point, which are their own."""
    x, dims = random(3, 1, 1, dtype="complex64"), {"dim": (1, 2)}
    for f in (fft.fft, fft.rfft, fft.irfft):
        assert f(nt.ones(0, 4, device="cuda")).shape[0] == 0
    for f, given, more in ((fft.fft, x, {}), (fft.fft, x.real, {}), (fft.rfft, x.real, {}), (fft.irfft, x, {"n": 1}), (fft.fftn, x, dims),
                           (fft.rfftn, x.real, dims), (fft.irfftn, x, {"s": (1, 1), **dims})):
        same(f(given.cuda(), **more), f(given, **more))
    assert libraries["cufft"].called == []


def test_plans_are_kept_and_given_back(libraries, monkeypatch):
    """A transform of the same sizes takes the same plan; beyond the limit the one that was used longest ago is destroyed."""
    monkeypatch.setattr(fft_cuda, "KEPT", 2)
    for n in (4, 5, 4, 6, 4, 5):
        fft.fft(random(2, n).cuda().to(nt.complex64))
    called = libraries["cufft"].called
    assert called.count("cufftCreate") == 4 and called.count("cufftDestroy") == 2
    assert [sizes for _, _, sizes, _ in fft_cuda._plans] == [(4,), (5,)]


# ---- linear algebra ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (2, 3, 4, 4)], ids=str)
def test_square_matrices(shape, dtype, libraries):
    """Inverse, determinant, systems, and the factors of Hermitian matrices, of each dtype, alone and in batches."""
    A = random(*shape, dtype=dtype)
    H, B = A @ A.mH + nt.eye(shape[-1]), random(*shape[:-1], 3, dtype=dtype, seed=1)
    a, h, b = A.cuda(), H.cuda(), B.cuda()
    same(la.inv(a), la.inv(A))
    same(la.det(a), la.det(A))
    for got, want in zip(la.slogdet(a), la.slogdet(A)):
        same(got, want)
    same(la.solve(a, b), la.solve(A, B))
    same(la.solve(a, b.mT, left=False), la.solve(A, B.mT, left=False))
    for upper in (False, True):
        same(la.cholesky(h, upper=upper), la.cholesky(H, upper=upper))
    same(nt.cholesky_inverse(la.cholesky(h)), nt.cholesky_inverse(la.cholesky(H)))
    for triangle in ("L", "U"):
        values, vectors = la.eigh(a, triangle)      # the other triangle is not read
        same(values, la.eigh(A, triangle).eigenvalues)
        whole = A.tril() + A.tril(-1).mH if triangle == "L" else A.triu() + A.triu(1).mH
        whole = whole - 1j * whole.diagonal(0, -2, -1).imag.diag_embed() if whole.is_complex() else whole
        same(whole.cuda() @ vectors, (vectors * values.unsqueeze(-2)).cpu())
    values, vectors = la.eig(a)
    same(a.to(values.dtype) @ vectors, (vectors * values.unsqueeze(-2)).cpu())
    same(vectors.abs().square().sum(-2), nt.ones(*shape[:-1], dtype=A.abs().dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 6, 2), (2, 2, 6)], ids=str)
def test_matrices_of_any_shape(shape, dtype, libraries):
    """Singular values and orthogonal factors, reduced and full: unitary, and their product is the matrix."""
    A = random(*shape, dtype=dtype)
    a, m, n = A.cuda(), *shape[-2:]
    one = [nt.eye(k, dtype=A.dtype).expand(*shape[:-2], k, k) for k in range(7)]
    for full in (False, True):
        U, S, Vh = la.svd(a, full_matrices=full)
        k, p, q = min(m, n), U.shape[-1], Vh.shape[-2]
        assert (p, q) == ((m, n) if full else (k, k))
        same(S, la.svdvals(A))
        same(U.mH @ U, one[p])
        same(Vh @ Vh.mH, one[q])
        same((U[..., :k] * S.unsqueeze(-2)) @ Vh[..., :k, :], A)
    for mode in ("reduced", "complete"):
        Q, R = la.qr(a, mode)
        same(Q.mH @ Q, one[Q.shape[-1]])
        same(Q @ R, A)
        same(R, R.triu().cpu())
        assert (Q.shape, R.shape) == tuple(x.shape for x in la.qr(A, mode))
    same(la.qr(a, "r").R, la.qr(A, "r").R)
    same(la.pinv(a), la.pinv(A), 1e-3 if A.abs().dtype is nt.float32 else None)
    assert la.matrix_rank(a).cpu().tolist() == la.matrix_rank(A).tolist()


def test_one_factorisation_for_many_right_sides(libraries):
    """Leading dimensions broadcast; a matrix is factored once, however many systems it is in."""
    A, B = random(2, 1, 3, 3), random(4, 3, 2, seed=1)
    same(la.solve(A.cuda(), B.cuda()), la.solve(A, B))
    assert libraries["cusolver"].called.count("cusolverDnXgetrf") == 2
    assert libraries["cusolver"].called.count("cusolverDnXgetrs") == 8


def test_failures_are_the_hosts(libraries):
    """What is singular, not positive-definite or not finite raises what it raises on the host, and names the matrix and place."""
    eye, zero = nt.eye(3), nt.zeros(3, 3)
    low = nt.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 1.0]])
    wrong = eye * nt.tensor([1.0, -1.0, 1.0])
    for call, given in ((la.inv, low), (la.inv, nt.stack([eye, zero])), (lambda a: la.solve(a, eye.to(a.device)), nt.stack([eye, zero])),
                        (la.cholesky, nt.stack([eye, wrong])), (nt.cholesky, -eye), (la.svd, eye * float("nan")),
                        (la.eig, eye * float("inf")), (la.inv, eye.half()), (la.eigh, eye.bfloat16())):
        with pytest.raises((RuntimeError, NotImplementedError)) as want:
            call(given)
        with pytest.raises(type(want.value)) as got:
            call(given.cuda())
        assert str(got.value) == str(want.value)
    found = la.inv_ex(nt.stack([eye, zero, eye]).cuda())
    assert found.info.tolist() == [0, 1, 0] and found.info.dtype is nt.int32
    assert found.inverse.isnan().flatten(1).all(1).tolist() == [False, True, False] and (found.inverse[2].cpu() == eye).all()
    assert la.cholesky_ex(nt.stack([eye, wrong]).cuda()).info.tolist() == [0, 2]
    assert la.solve_ex(nt.stack([eye, zero]).cuda(), eye.cuda()).info.tolist() == [0, 1]
    assert la.det(nt.stack([zero, eye]).cuda()).tolist() == [0, 1] and la.slogdet(zero.cuda()).logabsdet.item() == -float("inf")


def test_operands_of_two_devices(libraries):
    """One in the host's memory and one on the device are an error, as are two devices."""
    a, b = nt.eye(2, device="cuda:0"), nt.ones(2, 1)
    for call in (la.solve, la.lstsq, lambda A, B: la.solve_triangular(A, B, upper=True)):
        for A, B in ((a, b), (a.cpu(), b.cuda()), (a, b.to("cuda:1"))):
            with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
                call(A, B)


def test_what_does_not_converge(libraries, monkeypatch):
    """An info that says so is an error in torch's words, of the right matrix."""
    for name, call, values in (("gesvd", la.svd, "singular values"), ("syevd", la.eigh, "eigenvalues"), ("geev", la.eig, "eigenvalues")):
        own, counted = getattr(libraries["cusolver"], name), iter(range(3))
        monkeypatch.setattr(libraries["cusolver"], name, lambda *args, own=own, counted=counted: own(*args) or 2 * next(counted))
        with pytest.raises(la.LinAlgError, match=f"has too many repeated {values} .error code: 2 of batch element 1"):
            call(nt.eye(3, device="cuda").expand(3, 3, 3))


def test_empty_matrices(libraries):
    """Matrices of no elements need no library, and have the host's results."""
    for shape in ((0, 3, 3), (2, 0, 0), (3, 0), (0, 3)):
        A = nt.empty(*shape)
        square = shape[-1] == shape[-2]
        for call in (la.svd, la.svdvals, la.qr, la.pinv, *((la.inv, la.det, la.slogdet, la.eigh, la.eig, la.cholesky) if square else ())):
            got, want = call(A.cuda()), call(A)
            for g, w in zip(*((x if isinstance(x, tuple) else (x,)) for x in (got, want))):
                same(g, w)
    assert la.solve(nt.eye(3, device="cuda"), nt.empty(3, 0, device="cuda")).shape == (3, 0)
    assert not any("X" in name for name in libraries["cusolver"].called if "getrf" not in name)


# ---- streams, devices, libraries -----------------------------------------------------------------------------------------

def test_in_the_order_of_a_stream():
    """Work of the libraries waits for what comes before it on its stream, of any device, and working memory lasts until it is done."""
    A, x = random(4, 4), random(3, 8)
    with simulator.installed(seed=3, lazy=True) as driver, vendor.installed(driver):
        for device in ("cuda:0", "cuda:1"):
            stream = nt.cuda.Stream(device)
            with nt.cuda.stream(stream):
                a, b = A.to(device) * 2, x.to(device) + 1
                found = [la.inv(a), la.det(a), fft.rfft(b), fft.irfft(b.to(nt.complex128)), la.qr(a).Q @ la.qr(a).R]
                del a, b
                again = [nt.full((k,), float("nan"), device=device, dtype=nt.float64) for k in range(0, 300, 3)]
            stream.synchronize()
            assert all(t.device == found[0].device for t in (*found, *again))
            for got, want in zip(found, (la.inv(A * 2), la.det(A * 2), fft.rfft(x + 1), fft.irfft((x + 1).to(nt.complex128)), A * 2)):
                same(got, want)


def test_in_a_graph(libraries):
    """A transform whose plan is made is captured, with its working memory, and replayed on other numbers."""
    x = random(2, 6)
    given = x.cuda()
    fft.rfft(given)
    graph = nt.cuda.CUDAGraph()
    with nt.cuda.graph(graph):
        found = fft.rfft(given)
    others = [nt.full((k,), float("nan"), device="cuda") for k in range(0, 3000, 100)]
    given.copy_(x + 1)
    graph.replay()
    same(found, fft.rfft(x + 1))
    assert all(t.isnan().all() for t in others)


def test_threads_at_once(libraries):
    """Threads, each with a stream of its own, share handles and plans: a call is made of several that belong together."""
    wrong, A, x = [], random(3, 3), random(2, 8)

    def work(k):
        with nt.cuda.stream(nt.cuda.Stream()):
            for _ in range(5):
                a, b = (A + k).cuda(), (x + k).cuda()
                for got, want in ((la.inv(a), la.inv(A + k)), (fft.rfft(b), fft.rfft(x + k))):
                    if not np.allclose(got.cpu().numpy(), want.numpy()):
                        wrong.append(k)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(libraries["cufft"].plans) == 1 and len(libraries["cusolver"].handles) == 1


@pytest.mark.parametrize("missing, call, name", [("cufft", fft.rfft, "cuFFT"), ("cusolver", la.inv, "cuSOLVER")])
def test_without_a_library(missing, call, name):
    """It is done in the host's memory, which one warning says with what to install."""
    _on_host._said.clear()
    A = random(3, 3)
    with simulator.installed(seed=1) as driver, vendor.installed(driver, (missing,)), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            same(call(A.cuda()), call(A))
    said = [str(w.message) for w in caught]
    assert len(said) == 1 and f"without {name} (pip install 'numtorch[cuda-math]')" in said[0]


def test_an_older_library(libraries, monkeypatch):
    """What a function of a newer version is needed for goes through the host; all else is done by the library."""
    _on_host._said.clear()
    monkeypatch.delattr(libraries["cusolver"], "cusolverDnXgeev_bufferSize")
    A = random(3, 3)
    with pytest.warns(UserWarning, match="eigvals: there is no CUDA kernel for this without a newer cuSOLVER"):
        got = la.eigvals(A.cuda())
    same(got.abs().sum(), la.eigvals(A).abs().sum())
    same(la.inv(A.cuda()), la.inv(A))


def test_a_status_is_an_error(libraries, monkeypatch):
    """A call that fails names the function and the status."""
    def fail(*args):
        raise AssertionError("on purpose")
    monkeypatch.setattr(libraries["cufft"], "MakePlanMany64", fail)
    with pytest.raises(RuntimeError, match="CUDA error: CUFFT_SETUP_FAILED when calling cufftMakePlanMany64"):
        fft.fft(random(3).cuda())
    assert libraries["cufft"].plans == {} and not fft_cuda._plans
    libraries["cufft"].failures.clear()


def test_declarations_are_nvidias():
    """The letters of every declared function say what NVIDIA's prototype says."""
    for library in (fft_cuda.CUFFT, solver_cuda.CUSOLVER):
        for name, letters in library.functions.items():
            assert [_vendor._LETTERS[x] for x in letters.replace(" ", "")] == vendor.argument_types(vendor.PROTOTYPES)[name], name
