"""Systems of equations: det, inv, solve, cholesky, pinv, lstsq, triangular systems. LAPACK does them, through numpy.linalg.

Backward functions follow Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), and torch's FunctionsManual; written with ops, so that they can be differentiated again.
"""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..op import OUT, op, record, type_name
from ..return_types import return_type
from ..tensor import wrap

_LINALG_DTYPES = {np.dtype(d) for d in ("f4", "f8", "c8", "c16")}


class _LinAlgError(RuntimeError):
    """A matrix that a function of linalg cannot work with: singular, not positive-definite, not convergent."""


LinAlgError = _LinAlgError      # torch prints the first name, and exports the second


# ---- checks ------------------------------------------------------------------------------------------------------------------

def check_matrix(name, A, what="A", square=False):
    """Raises torch's error unless ``A`` is a (square) matrix or a batch of them, of a dtype that LAPACK knows."""
    a = A._a
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {what} must have at least 2 dimensions.")
    if a.dtype not in _LINALG_DTYPES:
        if a.dtype.kind in "biu":
            raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(A.dtype)}")
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(A.dtype)}")
    if square and a.shape[-1] != a.shape[-2]:
        raise RuntimeError(f"{name}: {what} must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} "
                           "matrices")
    return a


def check_same_dtype(name, A, B):
    """Raises torch's error unless both have one dtype."""
    if A._a.dtype != B._a.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(A.dtype)} and B of "
                           f"type {type_name(B.dtype)} instead")


def _first_zero_pivot(a):
    """The place (from 1) of the first zero pivot of a singular matrix's LU factors."""
    lu = np.array(a)
    for k in range(len(lu)):
        p = k + int(np.argmax(np.abs(lu[k:, k])))
        if lu[p, k] == 0:
            return k + 1
        lu[[k, p]] = lu[[p, k]]
        lu[k + 1:, k + 1:] -= np.outer(lu[k + 1:, k] / lu[k, k], lu[k, k + 1:])
    return len(lu)


def _in_batch(a, index):
    return f"(Batch element {index}): " if a.ndim > 2 else ""


def _each(a):
    """The matrices of a batch, in order."""
    return enumerate(a.reshape(-1, *a.shape[-2:]))


# ---- inverses and determinants -----------------------------------------------------------------------------------------------

def _inverse(a):
    """(inverse, info): info is 0, or the place of a zero pivot, whose matrix is left nan."""
    try:
        return np.linalg.inv(a), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        out, info = np.full(a.shape, np.nan, a.dtype), np.zeros(a.shape[:-2], np.int32)
    for i, (one, matrix) in enumerate(zip(out.reshape(-1, *a.shape[-2:]), a.reshape(-1, *a.shape[-2:]))):
        try:
            one[...] = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            info.reshape(-1)[i] = _first_zero_pivot(matrix)
    return out, info


@op(namespace="linalg", out=True)
def inv(A):
    """The inverse of square matrices.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.

    Raises:
        LinAlgError: a matrix is singular. RuntimeError: not square.

    >>> import numtorch as torch
    >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    a = check_matrix("linalg.inv", A, square=True)
    out, info = _inverse(a)
    if info.any():
        at = int(np.flatnonzero(info.reshape(-1))[0])
        raise LinAlgError(f"linalg.inv: {_in_batch(a, at)}The diagonal element {info.reshape(-1)[at]} is zero, the inversion "
                          "could not be completed because the input matrix is singular.")
    return record(out, linalg_inv_ex_backward, (A,), (OUT,))


def linalg_inv_ex_backward(node, g):
    """Gradient of the inverse y: -y^H g y^H."""
    y, = node.saved_tensors
    return -(y.mH @ g @ y.mH)


@op(namespace="linalg")
def inv_ex(A, *, check_errors=False):
    """``inv`` that does not raise: (inverse, info), info not 0 where a matrix is singular."""
    if check_errors:
        return _inv_ex((inv(A), wrap(np.zeros(A._a.shape[:-2], np.int32))))
    out, info = _inverse(check_matrix("linalg.inv", A, square=True))
    return _inv_ex((record(out, linalg_inv_ex_backward, (A,), (OUT,)), wrap(info)))


_inv_ex = return_type("linalg_inv_ex", "inverse info")


@op(method=True, out=True)
def inverse(input):
    """``linalg.inv(input)``."""
    return inv(input)


@op(namespace="linalg", out=True)
def det(A):
    """The determinant of square matrices.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.

    Returns:
        A Tensor (...).

    >>> import numtorch as torch
    >>> torch.linalg.det(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.)
    """
    a = check_matrix("linalg.det", A, square=True)
    return record(np.asarray(np.linalg.det(a)), linalg_det_backward, (A,), (A, OUT))


def linalg_det_backward(node, g):
    """Gradient of det: g conj(det) A^-H; of a singular matrix its cofactors, from the singular values."""
    A, d = node.saved_tensors
    if (d._a != 0).all():
        return (g * d.conj())[..., None, None] * inv(A).mH if d._a.dtype.kind == "c" else (g * d)[..., None, None] * inv(A).mT
    from .join import stack
    from .linalg_eig import svd

    U, S, Vh = svd(A)
    n = S._a.shape[-1]
    others = stack([_product([S[..., j] for j in range(n) if j != i], S) for i in range(n)], -1)
    signs = (det(U.detach()) * det(Vh.detach()))
    cofactors = (U * others.unsqueeze(-2).to(U.dtype)) @ Vh
    return (g * (signs.conj() if signs._a.dtype.kind == "c" else signs))[..., None, None] * cofactors


def _product(factors, like):
    from .create import ones_like

    found = ones_like(like[..., 0])
    for f in factors:
        found = found * f
    return found


@op("det", method=True)
def _det(input):
    """``linalg.det(input)``."""
    return det(input)


@op("slogdet", namespace="linalg")
def slogdet(A):
    """(sign, logabsdet): the sign of the determinant and the logarithm of its absolute value, without overflow.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.

    >>> import numtorch as torch
    >>> torch.linalg.slogdet(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sign
    tensor(-1.)
    """
    return _linalg_slogdet(_slogdet(A))


_linalg_slogdet = return_type("linalg_slogdet", "sign logabsdet")
_torch_slogdet = return_type("slogdet", "sign logabsdet")


def _slogdet(A):
    a = check_matrix("linalg.slogdet", A, square=True)
    sign, log = (np.asarray(v) for v in np.linalg.slogdet(a))
    return record((sign.astype(a.dtype), log.astype(a.real.dtype)), linalg_slogdet_backward, (A,), (A, (OUT, 0)))


def linalg_slogdet_backward(node, g_sign, g_log):
    """Gradient of slogdet: g A^-H; the sign of a real determinant has none, that of a complex one turns."""
    A, sign = node.saved_tensors
    scale = g_log
    if sign._a.dtype.kind == "c" and g_sign is not None:
        turn = (g_sign.conj() * sign).imag * -1j
        scale = turn if scale is None else scale + turn
    if scale is None:
        return None
    return scale[..., None, None] * inv(A).mH


@op("slogdet", method=True)
def _slogdet_of(input):
    """(sign, logabsdet) of the determinant; see ``linalg.slogdet``."""
    return _torch_slogdet(_slogdet(input))


@op(method=True)
def logdet(input):
    """The logarithm of the determinant: -inf where it is 0, nan where it is negative."""
    sign, log = _slogdet(input)
    if input._a.dtype.kind == "c":
        return sign.log() + log
    return log.masked_fill(sign == -1, float("nan"))


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
    check_same_dtype("linalg.solve", A, B)
    vector = _is_vector(a, B._a)
    if not left:
        if vector:
            return solve(A.mT, B)
        return solve(A.mT, B.mT).mT
    b = B._a[..., None] if vector else B._a
    if b.shape[-2] != a.shape[-1]:
        raise RuntimeError(f"linalg.solve: Incompatible shapes of A and B for the equation AX = B ({a.shape[-2]}x{a.shape[-1]} "
                           f"and {b.shape[-2]}x{b.shape[-1]})")
    batch = shapes.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    try:
        x = np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        at = next(i for i, info in enumerate(_inverse(a)[1].reshape(-1)) if info)
        raise LinAlgError(f"torch.linalg.solve: {_in_batch(a, at)}The solver failed because the input matrix is singular."
                          ) from None
    x = np.ascontiguousarray(x.reshape(*batch, *x.shape[-2:]))
    return record(x[..., 0] if vector else x, linalg_solve_ex_backward, (A, B), (A, OUT), vector=vector)


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
    check_same_dtype(name, A, B)
    if a.shape[-1] != b.shape[-2 if left else -1]:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {equation} ({a.shape[-2]}x{a.shape[-1]} and "
                           f"{b.shape[-2]}x{b.shape[-1]})")
    if not left:
        return solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    batch = shapes.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    n, k = b.shape[-2:]
    x = np.empty((*batch, n, k), b.dtype)
    if x.size:
        wide = np.ascontiguousarray(np.broadcast_to(a, (*batch, n, n))).reshape(-1, n, n)
        K.linalg.solve_triangular(wide, np.ascontiguousarray(np.broadcast_to(b, x.shape)).reshape(-1, n, k), bool(upper),
                                  bool(unitriangular), x.reshape(-1, n, k))
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

def _cholesky(a):
    """(L, info): info is 0, or the order of the first leading minor that is not positive-definite."""
    try:
        return np.linalg.cholesky(a), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        out, info = np.zeros(a.shape, a.dtype), np.zeros(a.shape[:-2], np.int32)
    for i, matrix in _each(a):
        try:
            out.reshape(-1, *a.shape[-2:])[i] = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            info.reshape(-1)[i] = _bad_minor(matrix)
    return out, info


def _bad_minor(a):
    low, high = 1, len(a)
    while low < high:       # a minor is positive-definite if all smaller ones are: bisect
        middle = (low + high) // 2
        try:
            np.linalg.cholesky(a[:middle, :middle])
            low = middle + 1
        except np.linalg.LinAlgError:
            high = middle
    return low


def _checked_cholesky(A, upper, name):
    a = check_matrix("linalg.cholesky", A, square=True)
    L, info = _cholesky(np.conj(np.swapaxes(a, -1, -2)) if upper else a)
    if info.any():
        at = int(np.flatnonzero(info.reshape(-1))[0])
        raise LinAlgError(f"{name}: {_in_batch(a, at)}The factorization could not be completed because the input is not "
                          f"positive-definite (the leading minor of order {info.reshape(-1)[at]} is not positive-definite).")
    found = record(L, linalg_cholesky_ex_backward, (A,), (OUT,))
    return found.mH if upper else found


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
        return _cholesky_ex((cholesky(A, upper=upper), wrap(np.zeros(A._a.shape[:-2], np.int32))))
    a = check_matrix("linalg.cholesky", A, square=True)
    L, info = _cholesky(np.conj(np.swapaxes(a, -1, -2)) if upper else a)
    found = record(L, linalg_cholesky_ex_backward, (A,), (OUT,))
    return _cholesky_ex((found.mH if upper else found, wrap(info)))


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

    return cholesky_solve(eye(L._a.shape[-1], dtype=L.dtype), L, upper)


# ---- least squares -----------------------------------------------------------------------------------------------------------

def _tolerances(a, atol, rtol):
    """torch's default: rtol = max(m, n) eps unless a tolerance is given."""
    if rtol is None:
        rtol = max(a.shape[-2:]) * np.finfo(a.dtype).eps if atol is None or not np.any(_number(atol)) else 0.0
    return _number(0.0 if atol is None else atol), _number(rtol)


def _number(value):
    return value._a if hasattr(value, "_a") else value


@op(namespace="linalg", out=True)
def pinv(A, *, atol=None, rtol=None, hermitian=False):
    """The Moore-Penrose inverse; singular values up to max(atol, rtol sigma_1) count as 0.

    Args:
        A (Tensor): (..., m, n), float32, float64 or complex.
        atol, rtol (float or Tensor): tolerances; default 0 and max(m, n) eps.
        hermitian (bool): A is Hermitian; its lower triangle is used.

    >>> import numtorch as torch
    >>> torch.linalg.pinv(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    a = A._a
    if a.ndim < 2 or a.dtype not in _LINALG_DTYPES:
        raise RuntimeError(f"linalg.pinv({type_name(A.dtype)}{{{list(a.shape)}}}): expected a tensor with 2 or more dimensions of "
                           "float, double, cfloat or cdouble types")
    if not a.size:
        return record(np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype), linalg_pinv_backward, (A,), (OUT, A))
    if hermitian:
        values, u = np.linalg.eigh(a)
        s, v = np.abs(values), u * np.sign(values)[..., None, :]
        order_max = s.max(-1, keepdims=True)
        vh = np.conj(np.swapaxes(v, -1, -2))
    else:
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        order_max = s[..., :1]
    atol, rtol = _tolerances(a, atol, rtol)
    cut = np.maximum(np.asarray(atol)[..., None] if np.ndim(atol) else atol,
                     (np.asarray(rtol)[..., None] if np.ndim(rtol) else rtol) * order_max)
    inverse_s = np.where(s > cut, 1 / np.where(s > cut, s, 1), 0).astype(s.dtype)
    out = (np.conj(np.swapaxes(vh, -1, -2)) * inverse_s[..., None, :]) @ np.conj(np.swapaxes(u, -1, -2))
    return record(np.ascontiguousarray(out), linalg_pinv_backward, (A,), (OUT, A))


def linalg_pinv_backward(node, g):
    """Gradient of pinv for constant rank (Golub and Pereyra, 1973)."""
    P, A = node.saved_tensors
    return _pinv_gradient(g, P, A)


def _pinv_gradient(g, P, A):
    Ph, gh = P.mH, g.mH
    if A._a.shape[-2] <= A._a.shape[-1]:
        k = gh @ P
        kp = k @ Ph
        return -((P @ k).mH) + kp - (A @ P) @ kp + (Ph @ P) @ (gh - k @ A)
    k = P @ gh
    pk = Ph @ k
    return -((k @ P).mH) + (gh - A @ k) @ P @ Ph + pk - (pk @ P) @ A


@op(method=True)
def pinverse(input, rcond=1e-15):
    """``linalg.pinv(input, rtol=rcond)``."""
    return pinv(input, rtol=rcond)


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
    tensor([[2.]])
    """
    a = check_matrix("torch.linalg.lstsq", A, what="input")
    check_same_dtype("torch.linalg.lstsq", A, B)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError("torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vector = _is_vector(a, B._a)
    b = B._a[..., None] if vector else B._a
    m, n = a.shape[-2:]
    if b.ndim < 2 or b.shape[-2] != m:
        raise RuntimeError("torch.linalg.lstsq: input.size(-2) should match other.size(-2)" if not vector else
                           "torch.linalg.lstsq: input.size(-2) should match other.size(-1)")
    P = pinv(A, rtol=rcond)
    X = P._a @ b
    solution = record(X[..., 0] if vector else X, linalg_lstsq_backward, (A, B), (A, B, P.detach()), vector=vector)
    s = np.linalg.svd(a, compute_uv=False)
    cut = (max(m, n) * np.finfo(a.dtype).eps if rcond is None else rcond) * s[..., :1] if s.shape[-1] else 0
    rank = np.asarray((s > cut).sum(-1), np.int64)
    residuals = np.empty(0, a.real.dtype)
    if m > n and (rank == n).all() and driver != "gelsy" and driver is not None:
        residuals = (np.abs(a @ X - b) ** 2).sum(-2)
    singular = s if driver in ("gelsd", "gelss") else np.empty(0, a.real.dtype)
    rank = rank if driver != "gels" else np.empty(0, np.int64)
    return _lstsq((solution, wrap(residuals), wrap(rank), wrap(singular)))


def linalg_lstsq_backward(node, g):
    """Gradient of lstsq: B's is pinv(A)^H g; A's that of pinv for g B^H."""
    A, B, _ = node.saved_tensors
    if node.ctx["vector"]:
        g, B = g.unsqueeze(-1), B.unsqueeze(-1)
    P = pinv(A)
    gB = P.mH @ g
    gA = _pinv_gradient(g @ B.mH, P, A) if node.needs[0] else None
    return gA, gB.squeeze(-1) if node.ctx["vector"] else gB
