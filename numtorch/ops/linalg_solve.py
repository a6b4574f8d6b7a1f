"""Systems of equations: solve, triangular systems, Cholesky, least squares.

LAPACK does them, through numpy.linalg; on CUDA cuSOLVER, if it is installed, and triangular systems a kernel.
"""
import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..op import OUT, op, record
from ..return_types import return_type
from ..tensor import wrap
from .linalg import LinAlgError, check_alike, check_matrix, cut_off, first_failure, in_batch, iterated, pinv, pinv_gradient

# ---- systems -----------------------------------------------------------------------------------------------------------------

def _is_vector(a, b):
    """torch's rule: B is a batch of vectors if it is one, or has A's batch shape and length."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])


@op(namespace="linalg", out=True)
def solve(A, B, *, left=True):
    """X with A X = B (or X A = B).

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.
        B (Tensor): (..., n, k), or a vector (..., n); of ``A``'s dtype.
        left (bool): False solves X A = B.

    Raises:
        LinAlgError: a matrix is singular. RuntimeError: shapes do not fit.

    >>> import numtorch as torch
    >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    a = check_matrix("linalg.solve", A, square=True)
    check_alike("linalg.solve", A, B)
    vector = _is_vector(a, B._a)
    if not left:
        if vector:
            return solve(A.mT, B)
        return solve(A.mT, B.mT).mT
    b = B._a[..., None] if vector else B._a
    if b.shape[-2] != a.shape[-1]:
        raise RuntimeError(f"linalg.solve: Incompatible shapes of A and B for the equation AX = B ({a.shape[-2]}x{a.shape[-1]} "
                           f"and {b.shape[-2]}x{b.shape[-1]})")
    shapes.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x, info = K.solver.solve(a, b)
    failed = first_failure(info)
    if failed:
        raise LinAlgError(f"torch.linalg.solve: {in_batch(a, failed[0])}The solver failed because the input matrix is singular.")
    return record(x[..., 0] if vector else x, linalg_solve_ex_backward, (A, B), (A, OUT), vector=vector)


@op(namespace="linalg")
def solve_ex(A, B, *, left=True, check_errors=False):
    """``solve`` that does not raise: (result, info), info not 0 where a matrix is singular; its result is then nan."""
    info = K.solver.inverse(check_matrix("linalg.solve", A, square=True))[1]
    if check_errors or not first_failure(info):
        return _solve_ex((solve(A, B, left=left), wrap(info)))
    safe = A.masked_fill(wrap(info != 0)[..., None, None], float("nan"))
    return _solve_ex((solve(safe, B, left=left), wrap(info)))


_solve_ex = return_type("linalg_solve_ex", "result info")


def linalg_solve_ex_backward(node, g):
    """Gradient of solve: B's is A^-H g, A's is -gB X^H."""
    A, X = node.saved_tensors
    gB = solve(A.mH, g) if not node.ctx["vector"] else solve(A.mH, g.unsqueeze(-1)).squeeze(-1)
    if not node.needs[0]:
        return None, gB
    if node.ctx["vector"]:
        return -(gB.unsqueeze(-1) @ X.unsqueeze(-1).mH), gB
    return -(gB @ X.mH), gB


@op(namespace="linalg", out=True)
def solve_triangular(A, B, *, upper, left=True, unitriangular=False):
    """X with A X = B (or X A = B) for triangular A; the other triangle is not read.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.
        B (Tensor): (..., n, k), of ``A``'s dtype.
        upper (bool): which triangle A has.
        left (bool): False solves X A = B.
        unitriangular (bool): take A's diagonal for ones.

    Raises:
        RuntimeError: shapes do not fit. A zero on the diagonal gives inf and nan.

    >>> import numtorch as torch
    >>> torch.linalg.solve_triangular(torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.ones(2, 1), upper=False)
    tensor([[0.5000],
            [0.5000]])
    """
    name = "linalg.solve_triangular"
    a = check_matrix(name, A, square=True)
    b = check_matrix(name, B, what="B")
    check_alike(name, A, B)
    if a.shape[-1] != b.shape[-2 if left else -1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {equation} ({a.shape[-2]}x{a.shape[-1]} "
                           f"and {b.shape[-2]}x{b.shape[-1]})")
    if not left:
        return solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    batch = shapes.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    n, k = b.shape[-2:]
    x = np.empty((*batch, n, k), b.dtype, like=b)
    if x.size:
        wide, sides = (np.ascontiguousarray(np.broadcast_to(t, shape), like=t).reshape(-1, *shape[-2:])
                       for t, shape in ((a, (*batch, n, n)), (b, x.shape)))
        K.linalg.solve_triangular(wide, sides, bool(upper), bool(unitriangular), x.reshape(-1, n, k))
    return record(x, linalg_solve_triangular_backward, (A, B), (A, OUT), upper=upper, unit=unitriangular)


def linalg_solve_triangular_backward(node, g):
    """Gradient of a triangular system: as of solve, A's only in its triangle."""
    A, X = node.saved_tensors
    upper, unit = node.ctx["upper"], node.ctx["unit"]
    gB = solve_triangular(A.mH, g, upper=not upper, unitriangular=unit)
    if not node.needs[0]:
        return None, gB
    gA = -(gB @ X.mH)
    return (gA.triu(int(unit)) if upper else gA.tril(-int(unit))), gB


_triangular = return_type("triangular_solve", "solution cloned_coefficient")


@op(method=True)
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """(solution, cloned_coefficient) of A X = b for triangular A; the older form of ``linalg.solve_triangular``."""
    B = b
    C = A.mT if transpose else A
    return _triangular((solve_triangular(C, B, upper=upper != transpose, unitriangular=unitriangular), A.clone()))


# ---- Cholesky ----------------------------------------------------------------------------------------------------------------

def _factor(A, upper):
    """(L, info) of the triangle that ``upper`` names, L on the tape."""
    a = check_matrix("linalg.cholesky", A, square=True)
    L, info = K.solver.cholesky(A.detach().mH._a if upper else a)
    found = record(L, linalg_cholesky_ex_backward, (A,), (OUT,))
    return found.mH if upper else found, info


def _checked_cholesky(A, upper, name):
    L, info = _factor(A, upper)
    failed = first_failure(info)
    if failed:
        raise LinAlgError(f"{name}: {in_batch(A._a, failed[0])}The factorization could not be completed because the input is not "
                          f"positive-definite (the leading minor of order {failed[1]} is not positive-definite).")
    return L


@op(namespace="linalg", out=True)
def cholesky(A, *, upper=False):
    """The lower triangular L with A = L L^H of Hermitian positive-definite matrices.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex; only the lower (``upper``: the upper) triangle is read.
        upper (bool): give L^H.

    Raises:
        LinAlgError: a matrix is not positive-definite.

    >>> import numtorch as torch
    >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    return _checked_cholesky(A, upper, "linalg.cholesky")


def linalg_cholesky_ex_backward(node, g):
    """Gradient of L: half of L^-H phi L^-1, phi the lower triangle of L^H g made Hermitian."""
    L, = node.saved_tensors
    phi = (L.mH @ g).tril()
    phi = phi + phi.tril(-1).mH
    return solve_triangular(L, solve_triangular(L.mH, phi, upper=True), upper=False, left=False) * 0.5


@op(namespace="linalg")
def cholesky_ex(A, *, upper=False, check_errors=False):
    """``cholesky`` that does not raise: (L, info), info not 0 where a matrix is not positive-definite."""
    if check_errors:
        return _cholesky_ex((cholesky(A, upper=upper), wrap(np.zeros(A._a.shape[:-2], np.int32, like=A._a))))
    L, info = _factor(A, upper)
    return _cholesky_ex((L, wrap(info)))


_cholesky_ex = return_type("linalg_cholesky_ex", "L info")


@op("cholesky", method=True, out=True)
def _cholesky_of(input, upper=False):
    """``linalg.cholesky(input, upper=upper)``."""
    return _checked_cholesky(input, upper, "cholesky")


@op(method=True, out=True)
def cholesky_solve(B, L, upper=False):
    """X with A X = B, from the Cholesky factor L of A.

    Args:
        B (Tensor): (..., n, k).
        L (Tensor): (..., n, n), lower triangular, or upper if ``upper``.
    """
    first, second = (L.mH, L) if upper else (L, L.mH)
    return solve_triangular(second, solve_triangular(first, B, upper=False), upper=True)


@op(method=True, out=True)
def cholesky_inverse(L, upper=False):
    """The inverse of A from its Cholesky factor L."""
    from .create import eye

    return cholesky_solve(eye(L._a.shape[-1], dtype=L.dtype, device=L.device), L, upper)


# ---- least squares ---------------------------------------------------------------------------------------------------------

_lstsq = return_type("linalg_lstsq", "solution residuals rank singular_values")


@op(namespace="linalg")
def lstsq(A, B, rcond=None, *, driver=None):
    """X that minimises |A X - B|, the shortest of several.

    Args:
        A (Tensor): (..., m, n), float32, float64 or complex.
        B (Tensor): (..., m, k), or vectors (..., m).
        rcond (float): singular values up to rcond sigma_1 count as 0; default max(m, n) eps.
        driver (str): "gels", "gelsy" (default), "gelsd" or "gelss". All are solved by singular values here; the last two also
            return them.

    Returns:
        A named tuple (solution, residuals, rank, singular_values); residuals are empty unless m > n = rank.

    >>> import numtorch as torch
    >>> torch.linalg.lstsq(torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0], [3.0]])).solution
    tensor([[2.0000]])
    """
    a = check_matrix("torch.linalg.lstsq", A, what="input")
    check_alike("torch.linalg.lstsq", A, B)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError("torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vector = _is_vector(a, B._a)
    b = B._a[..., None] if vector else B._a
    m, n = a.shape[-2:]
    if b.ndim < 2 or b.shape[-2] != m:
        raise RuntimeError("torch.linalg.lstsq: input.size(-2) should match other.size(-2)" if not vector else
                           "torch.linalg.lstsq: input.size(-2) should match other.size(-1)")
    P = pinv(A, rtol=rcond)
    X = P.detach() @ wrap(b)
    solution = record(X._a[..., 0] if vector else X._a, linalg_lstsq_backward, (A, B), (A, B, P.detach()), vector=vector)
    S = wrap(iterated("torch.linalg.lstsq", "singular values", K.solver.svdvals, a))
    rank = (S > cut_off(S[..., :1], 0.0, max(m, n) * np.finfo(a.dtype).eps if rcond is None else rcond)).sum(-1)
    none = wrap(np.empty(0, S._a.dtype, like=a))
    residuals = none
    if m > n and driver not in (None, "gelsy") and (rank == n).all().item():
        residuals = ((A.detach() @ X - wrap(b)).abs() ** 2).sum(-2)
    return _lstsq((solution, residuals, rank if driver != "gels" else none.to(dtypes.int64),
                   S if driver in ("gelsd", "gelss") else none))


def linalg_lstsq_backward(node, g):
    """Gradient of lstsq: B's is pinv(A)^H g; A's that of pinv for g B^H."""
    A, B, _ = node.saved_tensors
    if node.ctx["vector"]:
        g, B = g.unsqueeze(-1), B.unsqueeze(-1)
    P = pinv(A)
    gB = P.mH @ g
    gA = pinv_gradient(g @ B.mH, P, A) if node.needs[0] else None
    return gA, gB.squeeze(-1) if node.ctx["vector"] else gB
