"""Rows of linear algebra. Spectra are kept apart, so that decompositions are differentiable and unique up to signs."""
import numpy as np

from . import C, I, Row, S, T, V

INF = float("inf")
TOL = {"float32": (2e-4, 2e-4), "complex64": (2e-4, 2e-4), "float64": (1e-8, 1e-9), "complex128": (1e-8, 1e-9)}


def good(a):
    """A matrix far from singular."""
    return a + 3 * np.eye(*a.shape[-2:])


def positive(a):
    return a @ np.conj(np.swapaxes(a, -1, -2)) + np.eye(a.shape[-1])


def symmetric(f, a, *args, **kwargs):
    return f((a + a.mH) / 2 if a.shape[-1] == a.shape[-2] else a, *args, **kwargs)


def M(*shape, make=good, kind=T):
    return kind(*shape, make=make)


def P(*shape, kind=T):
    return kind(*shape, make=positive)


SQUARE = [S(M(3, 3)), S(M(2, 3, 3)), S(M(1, 1)), S(M(0, 3, 3)), S(M(3, 3, kind=C))]
NOT_SQUARE = (S(T(2, 3)), RuntimeError, "A must be batches of square matrices, but they are 2 by 3 matrices")
VECTOR = (S(T(3)), RuntimeError, "must have at least 2 dimensions")
INTEGER = (S(I(2, 2)), RuntimeError, "Expected a floating point or complex tensor as input. Got Long")
SINGULAR = (S(V([[1.0, 2.0], [2.0, 4.0]])), RuntimeError,
            "The diagonal element 2 is zero, the inversion could not be completed because the input matrix is singular")
NOT_POSITIVE = (S(V([[1.0, 0.0], [0.0, -1.0]])), RuntimeError, r"leading minor of order 2 is not positive-definite")


def adjoint(a):
    return np.conj(np.swapaxes(a, -1, -2))


def triangle(x, upper, unit=False):
    x = np.triu(x) if upper else np.tril(x)
    return x - np.einsum("...i,ij->...ij", np.diagonal(x, 0, -2, -1), np.eye(x.shape[-1])) + np.eye(x.shape[-1]) if unit else x


def np_solve_triangular(A, B, upper, left=True, unitriangular=False):
    A = triangle(A, upper, unitriangular)
    return np.linalg.solve(A, B) if left else np.swapaxes(np.linalg.solve(np.swapaxes(A, -1, -2), np.swapaxes(B, -1, -2)),
            -1, -2)


def np_expm(a):
    out, term = np.eye(a.shape[-1]) + a * 0, np.eye(a.shape[-1]) + a * 0
    for k in range(1, 60):
        term = term @ a / k
        out = out + term
    return out


def np_cdist(x, y, p=2.0):
    diff = np.abs(x[..., :, None, :] - y[..., None, :, :])
    return diff.max(-1) if p == INF else (diff != 0).sum(-1).astype(float) if p == 0 else (diff ** p).sum(-1) ** (1 / p)


def np_vector_norm(x, ord=2, dim=None, keepdim=False):
    a = np.abs(x)
    dim = tuple(dim) if isinstance(dim, (tuple, list)) else dim
    if ord == INF:
        return a.max(dim, keepdims=keepdim)
    if ord == -INF:
        return a.min(dim, keepdims=keepdim)
    return (a != 0).sum(dim, keepdims=keepdim) if ord == 0 else (a ** ord).sum(dim, keepdims=keepdim) ** (1 / ord)


def square(x):
    return (x * x.conj()).real if x.is_complex() else x * x


def svd_parts(f, a, *args, **kwargs):
    """What does not depend on the signs of singular vectors."""
    U, S, Vh = f(a, *args, **kwargs)
    return square(U), S, square(Vh)


def eigh_parts(f, a, *args, **kwargs):
    values, vectors = f((a + a.mT.conj()) / 2 if a.shape[-1] == a.shape[-2] else a, *args, **kwargs)
    return values, square(vectors)


def eig_parts(f, a):
    found = f(a)
    values = found if not isinstance(found, tuple) else found[0]
    return square(values).sum(), (values * values).sum().real


VECTOR_NORMS = [S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), 3, (0, 2)), S(T(5), INF), S(T(5), -INF), S(T(3, 4), 2, 0, True),
    S(T(), 2), S(T(3, 4), 1.5, 1),
                S(T(3, low=0.5), 0.5), S(C(3, 2), 2), S(T(0, 3), 2, 0), S(T(3, 4), -1, 0)]

ROWS = [
    Row("linalg.inv", SQUARE, np.linalg.inv, tol=TOL, errors=[NOT_SQUARE, VECTOR, INTEGER, SINGULAR]),
    Row("linalg.inv_ex", SQUARE, lambda a: (np.linalg.inv(a), np.zeros(a.shape[:-2], int)), tol=TOL),
    Row("inverse", SQUARE[:2], np.linalg.inv, tol=TOL, errors=[NOT_SQUARE]),
    Row("linalg.det", SQUARE, np.linalg.det, tol=TOL, errors=[NOT_SQUARE, VECTOR, INTEGER]),
    Row("det", SQUARE[:2], np.linalg.det, tol=TOL),
    Row("linalg.slogdet", SQUARE[:4], lambda a: tuple(np.linalg.slogdet(a)), tol=TOL, errors=[NOT_SQUARE]),
    Row("slogdet", SQUARE[:2], lambda a: tuple(np.linalg.slogdet(a)), tol=TOL),
    Row("logdet", [S(P(3, 3)), S(P(2, 3, 3))], lambda a: np.linalg.slogdet(a)[1], tol=TOL),
    Row("linalg.solve", [S(M(3, 3), T(3)), S(M(3, 3), T(3, 2)), S(M(2, 3, 3), T(2, 3, 1)), S(M(2, 3, 3), T(3, 2)), S(M(3, 3,
        kind=C), C(3, 2)), S(M(3, 3), T(3, 0))],
        lambda A, B: np.linalg.solve(A, B), tol=TOL,
        errors=[(S(V([[0.0, 0.0], [0.0, 0.0]]), T(2)), RuntimeError, "The solver failed because the input matrix is singular"),
                (S(M(2, 2), T(3)), RuntimeError, r"Incompatible shapes of A and B for the equation AX = B \(2x2 and 3x1\)"),
                (S(T(2, 3), T(3)), RuntimeError, "A must be batches of square matrices")]),
    Row("linalg.solve", [S(M(3, 3), T(2, 3), left=False)], lambda A, B, left: np.linalg.solve(A.T, B.T).T, tol=TOL),
    Row("linalg.solve_ex", [S(M(3, 3), T(3, 2))], lambda A, B: (np.linalg.solve(A, B), np.array(0)), tol=TOL),
    Row("linalg.solve_triangular", [S(M(3, 3), T(3, 2), upper=True), S(M(3, 3), T(3, 2), upper=False), S(M(2, 3, 3), T(3, 2),
        upper=False, unitriangular=True),
                                    S(M(3, 3), T(2, 3), upper=True, left=False), S(M(3, 3, kind=C), C(3, 2), upper=True)],
                                    np_solve_triangular, tol=TOL,
        errors=[(S(M(3, 3), T(2, 3), upper=True), RuntimeError,
            r"Incompatible shapes of A and B for the equation AX = B \(3x3 and 2x3\)"),
                (S(M(3, 3), T(3), upper=True), RuntimeError, "The input tensor B must have at least 2 dimensions")]),
    Row("triangular_solve", [S(T(3, 2), M(3, 3)), S(T(3, 2), M(3, 3), False), S(T(3, 2), M(3, 3), True, True)],
        lambda b, A, upper=True, transpose=False: (np.linalg.solve(triangle(A, upper).T if transpose else triangle(A, upper),
            b), A), tol=TOL),
    Row("linalg.cholesky", [S(P(3, 3)), S(P(2, 3, 3)), S(P(3, 3), upper=True), S(P(1, 1)), S(P(0, 2, 2))], call=symmetric,
        tol=TOL,
        reference=lambda a, upper=False: adjoint(np.linalg.cholesky(a)) if upper else np.linalg.cholesky(a), out=False,
        errors=[NOT_SQUARE, NOT_POSITIVE]),
    Row("linalg.cholesky_ex", [S(P(3, 3))], lambda a: (np.linalg.cholesky(a), np.array(0)), call=symmetric, tol=TOL),
    Row("cholesky", [S(P(3, 3)), S(P(2, 2, 2), True)], call=symmetric, tol=TOL, out=False, errors=[NOT_POSITIVE]),
    Row("cholesky_solve", [S(T(3, 2), M(3, 3)), S(T(3, 2), M(3, 3), True)], tol=TOL,
        call=lambda f, b, L, *upper: f(b, L.triu() if upper else L.tril(), *upper),
        reference=lambda b, L, upper=False: np.linalg.solve(triangle(L, True).T @ triangle(L, True) if upper else triangle(L,
            False) @ triangle(L, False).T, b)),
    Row("cholesky_inverse", [S(M(3, 3)), S(M(3, 3), True)], tol=TOL, out=False,
        call=lambda f, L, *upper: f(L.triu() if upper else L.tril(), *upper),
        reference=lambda L, upper=False: np.linalg.inv(triangle(L, True).T @ triangle(L, True) if upper else triangle(L,
            False) @ triangle(L, False).T)),
    Row("linalg.pinv", [S(T(3, 2)), S(T(2, 3)), S(T(2, 3, 2)), S(M(3, 3)), S(C(3, 2)), S(T(3, 0))], np.linalg.pinv, tol=TOL),
    Row("linalg.pinv", [S(P(3, 3), hermitian=True)], lambda a, hermitian: np.linalg.inv(a), call=symmetric, tol=TOL),
    Row("pinverse", [S(T(3, 2))], np.linalg.pinv, tol=TOL),
    Row("linalg.lstsq", [S(T(4, 2), T(4, 3)), S(T(2, 4), T(2, 1)), S(T(4, 2), T(4)), S(T(2, 4, 2), T(2, 4, 3))], tol=TOL,
        call=lambda f, A, B: f(A, B).solution, reference=lambda A, B: np.linalg.pinv(A) @ B),
    Row("linalg.lstsq", [S(T(4, 2), T(4, 3), driver=d) for d in ("gels", "gelsd", "gelss")], grad=False, tol=TOL,
        skip={"gradcheck": "above"},
        errors=[(S(T(3, 2), T(3, 1), driver="foo"), RuntimeError, "parameter `driver` should be one of"),
                (S(T(3, 2), T(4, 1)), RuntimeError, r"input.size\(-2\) should match other.size\(-2\)")]),
    Row("linalg.svd", [S(T(3, 2)), S(T(2, 3)), S(M(3, 3))], call=lambda f, a: svd_parts(f, a, full_matrices=False), tol=TOL,
        errors=[VECTOR, INTEGER, (S(V([[float("nan")]])), RuntimeError, "the input matrix contained non-finite values")],
            out=False,
        skip={"forms": "signs"}),
    Row("linalg.svd", [S(T(3, 2)), S(T(2, 3))], call=lambda f, a: f(a)[1], reference=lambda a: np.linalg.svd(a)[1], tol=TOL,
        skip={"forms": "signs"}),
    Row("linalg.svd", [S(C(3, 2)), S(C(2, 3)), S(C(2, 2, 2))], tol=TOL, skip={"forms": "signs"},
        call=lambda f, a: (lambda U, s, Vh: (square(U), s, square(Vh), (U * (s * s).unsqueeze(-2)) @ Vh))(*f(a,
            full_matrices=False))),
    Row("linalg.svdvals", [S(T(3, 2)), S(M(2, 3, 3)), S(C(2, 3))], lambda a: np.linalg.svd(a, compute_uv=False), tol=TOL),
    Row("svd", [S(T(3, 2)), S(T(2, 3))], call=svd_parts, tol=TOL, skip={"forms": "signs"}),
    Row("linalg.matrix_rank", [S(T(3, 2)), S(V([[1.0, 2.0], [2.0, 4.0]])), S(V([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0,
        0.0]]]))], np.linalg.matrix_rank,
        grad=False, errors=[VECTOR]),
    Row("linalg.matrix_rank", [S(V([[5.0, 0.0], [0.0, 1.0]]), atol=2.0), S(V([[5.0, 0.0], [0.0, 1.0]]), rtol=0.5), S(P(2, 2),
        hermitian=True)], grad=False),
    Row("linalg.qr", [S(M(3, 3)), S(T(4, 2)), S(T(2, 4)), S(M(2, 3, 3)), S(C(3, 2)), S(C(2, 3))],
        lambda a: tuple(np.linalg.qr(a)), tol=TOL,
        errors=[VECTOR, INTEGER, (S(T(2, 2), "foo"), RuntimeError, "qr received unrecognized mode 'foo'")]),
    Row("linalg.qr", [S(T(4, 2), mode="complete"), S(T(4, 2), mode="r")], grad=False, tol=TOL,
        skip={"gradcheck": "torch has none either"}),
    Row("qr", [S(T(4, 2))], lambda a: tuple(np.linalg.qr(a)), tol=TOL),
    Row("linalg.eigh", [S(T(3, 3)), S(T(2, 3, 3)), S(T(3, 3), "U"), S(C(3, 3))], call=eigh_parts, tol=TOL,
        skip={"forms": "signs"},
        errors=[NOT_SQUARE, (S(T(2, 2), UPLO="A"), RuntimeError, "Expected UPLO argument to be 'L' or 'U', but got A")]),
    Row("linalg.eigvalsh", [S(T(3, 3)), S(C(2, 3, 3))], lambda a: np.linalg.eigvalsh((a + adjoint(a)) / 2), call=symmetric,
        tol=TOL, out=False),
    Row("linalg.eig", [S(T(3, 3)), S(C(3, 3))], call=eig_parts, tol=TOL, skip={"forms": "order"},
        errors=[NOT_SQUARE, (S(V([[float("nan")]])), RuntimeError, "input tensor should not contain infs or NaNs")]),
    Row("linalg.eig", [S(C(3, 3))], tol=TOL, skip={"forms": "order", "torch": "phases"}, call=lambda f, a: (lambda w,
        v: square(v))(*f(a))),
    Row("linalg.eigvals", [S(T(3, 3)), S(M(2, 3, 3))], call=eig_parts, tol=TOL, skip={"forms": "order"}),
    Row("linalg.cond", [S(M(3, 3)), S(T(3, 2)), *(S(M(3, 3), p) for p in (-2, 1, -1, INF, -INF, "fro", "nuc"))],
        np.linalg.cond, tol=TOL,
        skip={"torch": "torch writes in place what its backward needs"},
        errors=[(S(T(2, 3), 1), RuntimeError, r"linalg.cond\(ord=1\): A must be batches of square matrices")]),
    Row("linalg.vector_norm", VECTOR_NORMS, np_vector_norm, tol=TOL, also=("bfloat16",),
        errors=[(S(I(3)), RuntimeError, "Expected a floating point or complex tensor as input. Got Long"),
                (S(T(0), INF), RuntimeError, "cannot compute the inf norm on an empty tensor")]),
    Row("linalg.vector_norm", [S(T(3, 4), 0)], np_vector_norm, skip={"torch": "torch gives None, not zeros",
        "gradgradcheck": "constant"}),
    Row("linalg.matrix_norm", [S(T(3, 4), o) for o in ("fro", "nuc", 2, -2, 1, -1, INF, -INF)] + [S(T(2, 3, 4), 1, (0, 2),
        True), S(T(2, 3, 4), 2, keepdim=True)],
        lambda a, ord="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(a, ord, dim, keepdim), tol=TOL,
        errors=[VECTOR, (S(T(2, 2), "foo"), RuntimeError, "linalg.matrix_norm: Order foo not supported")]),
    Row("linalg.norm", [S(T(3, 4)), S(T(2, 3, 4)), S(T(3, 4), "nuc"), S(T(3, 4), 2), S(T(5), 3), S(T(2, 3, 4), 3, 1), S(T(2,
        3, 4), 1, (0, 1), True), S(T(3, 4), None, 1)],
        np.linalg.norm, tol=TOL, errors=[(S(T(2, 2, 2), 2, (0, 1, 2)), RuntimeError, "it must be of length 1 or 2")]),
    Row("norm", [S(T(3, 4)), S(T(3, 4), 1), S(T(2, 3, 4), 3, (0, 2)), S(T(3, 4), INF, 0, True), S(T(), 2)],
        lambda x, p=2, dim=None, keepdim=False: np_vector_norm(x, p, dim, keepdim), tol=TOL),
    Row("norm", [S(T(3, 4), "fro"), S(T(3, 4), "nuc"), S(T(3, 4), "fro", 1)], tol=TOL,
        errors=[(S(T(2, 2), "foo"), RuntimeError, "linalg.matrix_norm: Order foo not supported")]),
    Row("nuclear_norm", [S(T(3, 4))], lambda x: np.linalg.norm(x, "nuc"), tol=TOL),
    Row("frobenius_norm", [S(T(3, 4), (0, 1)), S(T(3, 4), 1, True)], lambda x, dim, keepdim=False: np_vector_norm(x, 2, dim,
        keepdim), tol=TOL),
    Row("dist", [S(T(3), T(3)), S(T(2, 3), T(3), 1), S(T(3), T(3), INF), S(T(3), T(3), 3)], lambda x, y,
        p=2: np_vector_norm(x - y, p), tol=TOL),
    Row("cdist", [S(T(3, 2), T(4, 2)), S(T(2, 3, 2), T(4, 2)), *(S(T(3, 2), T(4, 2, low=3, high=5), p) for p in (1.0, 1.5,
        3.0, INF)), S(T(0, 2), T(3, 2))],
        np_cdist, tol=TOL,
        errors=[(S(T(3), T(3)), RuntimeError, "cdist only supports at least 2D tensors, X1 got: 1D"),
                (S(T(2, 3), T(2, 2)), RuntimeError, "must have the same number of columns. X1: 3 X2: 2"),
                (S(T(2, 3), T(2, 3), -1.0), RuntimeError, "cdist only supports non-negative p values")]),
    Row("cdist", [S(T(3, 2), T(4, 2), 0.0)], np_cdist, skip={"gradcheck": "constant", "gradgradcheck": "constant"}),
    Row("linalg.matrix_power", [S(M(3, 3), 3), S(M(2, 3, 3), -2), S(M(3, 3), 1)], np.linalg.matrix_power, tol=TOL,
        errors=[(S(T(2, 3), 2), *NOT_SQUARE[1:])]),
    Row("linalg.matrix_power", [S(M(3, 3), 0)], np.linalg.matrix_power, grad=False,
        skip={"torch": "torch records a gradient of zeros"}),
    Row("matrix_power", [S(M(3, 3), 4)], np.linalg.matrix_power, tol=TOL),
    Row("linalg.matrix_exp", [S(T(3, 3)), S(T(2, 2, 2)), S(T(1, 1)), S(C(2, 2)), S(T(2, 2, low=-9, high=9))], np_expm,
        tol={**TOL, "float32": (1e-3, 1e-3)}, errors=[NOT_SQUARE]),
    Row("matrix_exp", [S(T(2, 2))], np_expm, tol=TOL),
    Row("trace", [S(T(3, 3)), S(T(2, 4)), S(I(3, 3))], np.trace, errors=[(S(T(3)), RuntimeError,
        "trace: expected a matrix, but got tensor with dim 1")]),
    Row("linalg.cross", [S(T(2, 3), T(2, 3)), S(T(3), T(3)), S(T(1, 3), T(2, 3)), S(I(3), I(3))], np.cross,
        errors=[(S(T(2, 3), T(3)), RuntimeError, "inputs must have the same number of dimensions"),
                (S(T(2, 2), T(2, 2)), RuntimeError, "inputs dimension -1 must have length 3. Got 2 and 2")]),
    Row("linalg.cross", [S(T(3, 2), T(3, 2), dim=0)], lambda x, y, dim: np.cross(x, y, axis=dim)),
    Row("cross", [S(T(3, 2), T(3, 2), 0), S(T(2, 3), T(2, 3), -1)], lambda x, y, dim: np.cross(x, y, axis=dim)),
    Row("linalg.vander", [S(T(3)), S(T(2, 3), N=4), S(I(3))], lambda x, N=None: x[..., None] ** np.arange(N or x.shape[-1])),
    Row("vander", [S(T(3)), S(T(3), 4, True), S(I(3), 2)], np.vander,
        skip={"torch": "torch writes in place what its backward needs"}),
    Row("linalg.tensorinv", [S(T(4, 4, make=lambda a: good(a).reshape(2, 2, 4))), S(T(4, 4, make=lambda a: good(a).reshape(4,
        2, 2)), ind=1)],
        lambda a, ind=2: np.linalg.tensorinv(a, ind), tol=TOL),
    Row("linalg.tensorsolve", [S(T(4, 4, make=lambda a: good(a).reshape(2, 2, 4)), T(2, 2))], np.linalg.tensorsolve, tol=TOL),
    Row("linalg.diagonal", [S(T(3, 3)), S(T(2, 3, 4), offset=1)], lambda a, offset=0: np.diagonal(a, offset, -2, -1)),
    Row("cov", [S(T(3, 4)), S(T(5)), S(T(3, 4), correction=0), S(T(3, 4), fweights=V([1, 2, 1, 3])), S(T(3, 3), aweights=T(3,
        low=0.5, grad=False))],
        lambda x, correction=1, fweights=None, aweights=None: np.cov(x, ddof=correction, fweights=fweights,
            aweights=aweights), tol=TOL,
        errors=[(S(T(2, 2, 2)), RuntimeError,
            "expected input to have two or fewer dimensions but got an input with 3 dimensions")]),
    Row("corrcoef", [S(T(3, 4)), S(T(5))], np.corrcoef, tol=TOL),
]
