"""Linear algebra beyond the op table: identities, batches, errors of singular matrices, gauge-free gradients, named results."""
import math

import numpy as np
import pytest

import numtorch as nt
from numtorch.autograd import gradcheck, gradgradcheck

la = nt.linalg
INF = float("inf")


def random(*shape, dtype=nt.float64, seed=0, complex_=False):
    r = np.random.default_rng(seed)
    a = r.standard_normal(shape)
    if complex_:
        a = a + 1j * r.standard_normal(shape)
        dtype = nt.complex128
    return nt.from_numpy(a).to(dtype)


def close(a, b, tol=1e-9):
    np.testing.assert_allclose(np.array(a.detach().tolist()), np.array(b.detach().tolist()) if isinstance(b,
        nt.Tensor) else b, rtol=tol, atol=tol)


SHAPES = [(4, 4), (2, 3, 5, 5)]
BOTH = pytest.mark.parametrize("complex_", [False, True], ids=["real", "complex"])


@BOTH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decompositions_multiply_back(shape, complex_):
    """svd, qr, eigh, eig and cholesky of single matrices and batches give factors of the promised form and product."""
    A = random(*shape, complex_=complex_)
    n = shape[-1]
    H = A @ A.mH + nt.eye(n, dtype=A.dtype)
    U, S, Vh = la.svd(A)
    close((U * S.unsqueeze(-2).to(U.dtype)) @ Vh, A)
    assert (S.diff() <= 0).all() and not S.is_complex()
    Q, R = la.qr(A)
    close(Q @ R, A)
    close(Q.mH @ Q, nt.eye(n, dtype=A.dtype).expand(*shape))
    close(R, R.triu())
    L, V = la.eigh(H)
    close((V * L.unsqueeze(-2).to(V.dtype)) @ V.mH, H)
    w, v = la.eig(A)
    close(A.to(w.dtype) @ v, v * w.unsqueeze(-2))
    C = la.cholesky(H)
    close(C @ C.mH, H)
    close(la.cholesky(H, upper=True), C.mH)


@BOTH
def test_systems(complex_):
    """solve, inv, triangular and Cholesky systems satisfy their equations, from the left and the right, with broadcasting."""
    A, B = random(2, 4, 4, complex_=complex_) + 4 * nt.eye(4), random(4, 3, complex_=complex_, seed=1)
    close(A @ la.solve(A, B), B.expand(2, 4, 3))
    close(la.solve(A, B.mT, left=False) @ A, B.mT.expand(2, 3, 4))
    close(A @ la.inv(A), nt.eye(4, dtype=A.dtype).expand(2, 4, 4))
    for upper in (True, False):
        for unit in (True, False):
            T = A.triu() if upper else A.tril()
            T = T - T.diagonal(0, -2, -1).diag_embed() + nt.eye(4, dtype=A.dtype) if unit else T
            close(T @ la.solve_triangular(A, B, upper=upper, unitriangular=unit), B.expand(2, 4, 3))
            close(la.solve_triangular(A, B.mT, upper=upper, unitriangular=unit, left=False) @ T, B.mT.expand(2, 3, 4))
    H = A @ A.mH
    L = la.cholesky(H)
    close(H @ nt.cholesky_solve(B.expand(2, 4, 3), L), B.expand(2, 4, 3))
    close(nt.cholesky_inverse(L), la.inv(H))


def test_vectors_as_right_hand_sides():
    """solve and lstsq take B as vectors where its shape is A's without the last dim."""
    A, b = random(2, 3, 3), random(2, 3, seed=1)
    close((A @ la.solve(A, b).unsqueeze(-1)).squeeze(-1), b)
    assert la.lstsq(random(5, 2), random(5)).solution.shape == (2,)


def test_singular_matrices_name_the_place():
    """inv, solve and cholesky say which matrix of a batch fails and where, as a LinAlgError that is a RuntimeError."""
    ok, zero = nt.eye(3), nt.zeros(3, 3)
    low = nt.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 1.0]])
    assert issubclass(la.LinAlgError, RuntimeError)
    for call, text in (
            (lambda: la.inv(low),
                "linalg.inv: The diagonal element 3 is zero, the inversion could not be completed because the input matrix is "
                "singular."),
            (lambda: la.inv(nt.stack([ok, zero])), "linalg.inv: (Batch element 1): The diagonal element 1 is zero"),
            (lambda: la.solve(nt.stack([ok, zero]), ok),
                "torch.linalg.solve: (Batch element 1): The solver failed because the input matrix is singular."),
            (lambda: la.cholesky(nt.stack([ok, ok * nt.tensor([1.0, -1.0, 1.0])])),
                "linalg.cholesky: (Batch element 1): The factorization could not be "
             "completed because the input is not positive-definite (the leading minor of order 2 is not positive-definite)."),
            (lambda: nt.cholesky(-ok),
                "cholesky: The factorization could not be completed because the input is not positive-definite (the leading "
                "minor of "
             "order 1 is not positive-definite).")):
        with pytest.raises(la.LinAlgError) as caught:
            call()
        assert str(caught.value).startswith(text)


def test_ex_functions_report_instead():
    """inv_ex and cholesky_ex return an info per matrix; check_errors raises."""
    batch = nt.stack([nt.eye(2), nt.zeros(2, 2)])
    assert la.inv_ex(batch).info.tolist() == [0, 1] and la.inv_ex(batch).info.dtype is nt.int32
    assert la.cholesky_ex(nt.stack([nt.eye(2), -nt.eye(2)])).info.tolist() == [0, 1]
    with pytest.raises(la.LinAlgError):
        la.cholesky_ex(-nt.eye(2), check_errors=True)


def test_determinant_of_singular_matrices():
    """det of a singular matrix is 0, and its gradient the matrix of cofactors (torch gives zeros in float32)."""
    A = nt.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=nt.float64, requires_grad=True)
    d = la.det(A)
    assert abs(d.item()) < 1e-12
    d.backward()
    close(A.grad, [[4.0, -2.0], [-2.0, 1.0]])
    assert la.slogdet(nt.zeros(2, 2)).logabsdet.item() == -INF and math.isnan(nt.logdet(nt.diag(nt.tensor([1.0, -1.0]))).item())


def test_least_squares():
    """lstsq solves over- and underdetermined and rank-deficient systems by the shortest minimiser; residuals and rank are
    right."""
    A, B = random(6, 3), random(6, 2, seed=1)
    found = la.lstsq(A, B, driver="gelsd")
    want = np.linalg.lstsq(A.numpy(), B.numpy(), rcond=None)
    close(found.solution, want[0])
    close(found.residuals, want[1])
    close(found.singular_values, want[3])
    assert found.rank.item() == 3 and found.solution.requires_grad is False
    A[:, 2] = A[:, 0]
    assert la.lstsq(A, B).rank.item() == 2
    close(la.lstsq(A, B).solution, np.linalg.lstsq(A.numpy(), B.numpy(), rcond=None)[0])


@BOTH
def test_gradients_that_do_not_depend_on_the_gauge(complex_):
    """Functions of projectors, in which signs and phases cancel, have right first and second gradients."""
    A = random(3, 3, complex_=complex_).requires_grad_()
    B = random(3, 2, complex_=complex_, seed=2).requires_grad_()

    def from_eigh(a):
        values, vectors = la.eigh(a + a.mH)
        return (vectors[:, :1] @ vectors[:, :1].mH) * values[1]

    def from_svd(b):
        U, S, Vh = la.svd(b, full_matrices=False)
        return U[:, :1] @ Vh[:1] * S[1]

    def from_qr(b):
        Q, R = la.qr(b)
        return Q @ Q.mH + (R.mH @ R).sum()
    for f, x in ((from_eigh, A), (from_svd, B), (from_svd, B.detach().mT.contiguous().requires_grad_()), (from_qr, B)):
        assert gradcheck(f, (x,)) and gradgradcheck(f, (x,))


def test_full_matrices_have_the_gradient_of_the_reduced():
    """svd with full_matrices differentiates the part that belongs to singular values."""
    A = random(4, 2).requires_grad_()

    def f(a):
        U, S, Vh = la.svd(a)
        return (U[:, :1] @ Vh[:1]) * S[0]
    assert gradcheck(f, (A,))


def test_undifferentiable_modes_say_so():
    """qr's complete and r modes raise torch's error in backward."""
    A = random(4, 2).requires_grad_()
    with pytest.raises(RuntimeError, match="not differentiable when mode='complete' and nrows > ncols"):
        la.qr(A, "complete").R.sum().backward()
    with pytest.raises(RuntimeError, match="depends on Q, which is not computed when mode='r'"):
        la.qr(A, "r").R.sum().backward()


def test_matrix_functions():
    """matrix_exp obeys exp(a) exp(-a) = 1 also for large norms; matrix_power takes negative and zero exponents."""
    for scale in (1e-6, 0.1, 1.0, 200.0):
        A = random(3, 4, 4) * scale
        A = A - A.mT if scale > 1 else A        # the exponential of a skew matrix is orthogonal, however large
        close(nt.matrix_exp(A) @ nt.matrix_exp(-A), nt.eye(4, dtype=A.dtype).expand(3, 4, 4), 1e-9)
    A = random(4, 4)
    close(la.matrix_power(A, -3) @ A @ A @ A, nt.eye(4, dtype=A.dtype), 1e-8)
    close(la.matrix_power(A, 0), nt.eye(4, dtype=A.dtype))
    skew = nt.tensor([[0.0, -math.pi], [math.pi, 0.0]])
    close(nt.matrix_exp(skew), [[-1.0, 0.0], [0.0, -1.0]], 1e-6)


def test_norms_of_extremes():
    """Norms do not overflow or underflow where float32's squares would; zeros have a zero gradient."""
    for scale in (1e30, 1e-30):
        x = nt.tensor([3.0, 4.0]) * scale
        np.testing.assert_allclose(x.norm().item(), 5 * scale, rtol=1e-6)
        np.testing.assert_allclose(nt.stack([x, x]).norm(dim=1).tolist(), [5 * scale] * 2, rtol=1e-6)
    x = nt.zeros(3, requires_grad=True)
    for p in (1, 1.5, 2, 3, INF):
        assert nt.autograd.grad(la.vector_norm(x, p), x)[0].tolist() == [0, 0, 0]
    assert math.isnan(nt.tensor([1.0, float("nan")]).norm().item()) and nt.tensor([1.0, INF]).norm().item() == INF


def test_norm_ties_share():
    """The gradient of an infinity norm is shared by all extremes."""
    x = nt.tensor([2.0, -2.0, 1.0], requires_grad=True)
    assert nt.autograd.grad(la.vector_norm(x, INF), x)[0].tolist() == [0.5, -0.5, 0.0]


def test_cdist_of_equal_points():
    """Equal points are at distance 0 exactly, with gradient 0, for every p and twice differentiated elsewhere."""
    x = random(4, 3)
    for p in (1.0, 2.0, 3.0, INF):
        leaf = x.clone().requires_grad_()
        d = nt.cdist(leaf, x, p)
        assert (d.diagonal() == 0).all()
        d.diagonal().sum().backward()
        assert (leaf.grad == 0).all()
    y = (random(3, 3, seed=5) + 9).requires_grad_()
    assert gradgradcheck(lambda a, b: nt.cdist(a, b, 3.0), (x.requires_grad_(), y))


def test_named_results():
    """Results have torch's names and fields."""
    A = nt.eye(2)
    for found, name, fields in ((la.svd(A), "linalg_svd", "U S Vh"), (nt.svd(A), "svd", "U S V"), (la.qr(A), "linalg_qr",
            "Q R"), (nt.qr(A), "qr", "Q R"),
                                (la.eigh(A), "linalg_eigh", "eigenvalues eigenvectors"), (la.eig(A), "linalg_eig",
                                    "eigenvalues eigenvectors"),
                                (la.slogdet(A), "linalg_slogdet", "sign logabsdet"), (nt.slogdet(A), "slogdet",
                                    "sign logabsdet"),
                                (la.lstsq(A, A), "linalg_lstsq", "solution residuals rank singular_values"), (la.inv_ex(A),
                                    "linalg_inv_ex", "inverse info"),
                                (la.cholesky_ex(A), "linalg_cholesky_ex", "L info"),
                                (nt.triangular_solve(A, A), "triangular_solve", "solution cloned_coefficient")):
        assert type(found).__name__ == name and " ".join(type(found)._fields) == fields


def test_empty_matrices():
    """Matrices without elements and batches without matrices work."""
    E = nt.zeros(0, 0)
    assert la.det(E).item() == 1 and la.inv(E).shape == (0, 0) and la.cholesky(E).shape == (0, 0)
    assert la.solve(nt.zeros(0, 3, 3), nt.zeros(0, 3, 2)).shape == (0, 3, 2) and la.svdvals(nt.zeros(0, 2, 3)).shape == (0, 2)
    assert la.pinv(nt.zeros(3, 0)).shape == (0, 3) and la.matrix_rank(nt.zeros(2,
        0)).item() == 0 and nt.matrix_exp(E).shape == (0, 0)
    assert nt.cdist(nt.zeros(0, 3), nt.zeros(2, 3)).shape == (0, 2) and nt.cdist(nt.zeros(2, 0), nt.zeros(3,
        0)).tolist() == [[0.0] * 3] * 2


def test_what_is_not_built_names_the_way_out():
    """linalg functions that are missing raise NotImplementedError that says what to use."""
    with pytest.raises(NotImplementedError, match=r"linalg.lu is not built; use linalg.qr or linalg.solve"):
        la.lu(nt.eye(2))


def test_dtypes_that_lapack_does_not_know():
    """Integers and halves raise torch's errors instead of numpy's."""
    with pytest.raises(RuntimeError, match="linalg.inv: Low precision dtypes not supported. Got Half"):
        la.inv(nt.eye(2, dtype=nt.float16))
    with pytest.raises(RuntimeError, match="Expected a floating point or complex tensor as input. Got Long"):
        la.det(nt.eye(2, dtype=nt.int64))
    with pytest.raises(NotImplementedError, match="\"linalg_eigh_cpu\" not implemented for 'Long'"):
        la.eigh(nt.eye(2, dtype=nt.int64))
    with pytest.raises(RuntimeError,
        match="Expected A and B to have the same dtype, but found A of type Float and B of type Double"):
        la.solve(nt.eye(2), nt.ones(2, dtype=nt.float64))
