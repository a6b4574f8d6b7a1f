"""Decompositions: svd, qr, eigh, eig, and what follows from them.

LAPACK does them, through numpy.linalg; on CUDA cuSOLVER, if it is installed.

Gradients as in torch's FunctionsManual: of singular and eigenvectors they are finite only where the values differ.
"""
import numpy as np

from .. import dtypes
from .. import kernels as K
from ..op import OUT, needs_grad, op, record, type_name
from ..return_types import return_type
from ..tensor import wrap
from .linalg import LinAlgError, check_matrix, cut_off, inv, iterated, tolerances
from .linalg_solve import solve, solve_triangular


def _finite(A):
    """Whether all elements are finite numbers."""
    return not A._a.size or wrap(A._a).isfinite().all().item()


def _differences(values):
    """E[..., i, j] = values[j] - values[i], ones on the diagonal."""
    apart = values.unsqueeze(-2) - values.unsqueeze(-1)
    return apart + wrap(np.eye(values._a.shape[-1], dtype=values._a.dtype, like=values._a))


def _diagonal(x):
    return x.diagonal(0, -2, -1)


# ---- singular values ---------------------------------------------------------------------------------------------------------

_svd_type, _old_svd = return_type("linalg_svd", "U S Vh"), return_type("svd", "U S V")


@op(namespace="linalg", out=True)
def svd(A, full_matrices=True, *, driver=None):
    """A = U diag(S) Vh, the singular values in descending order.

    Args:
        A (Tensor): (..., m, n), float32, float64 or complex.
        full_matrices (bool): square U and Vh; else only the min(m, n) columns and rows that belong to S.
        driver (str): "gesvd", "gesvdj" or "gesvda" for a CUDA tensor, which are all done by gesvd; else it must be None.

    Returns:
        A named tuple (U, S, Vh).

    Raises:
        LinAlgError: nan or inf in a matrix.

    >>> import numtorch as torch
    >>> torch.linalg.svd(torch.tensor([[0.0, 2.0], [1.0, 0.0]])).S
    tensor([2., 1.])
    """
    _check_driver(A, driver)
    return _svd_type(_svd(A, full_matrices))


def _check_driver(A, driver):
    if driver is not None and not A.is_cuda:
        raise RuntimeError("torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER "
                           "backend.")
    if driver not in (None, "gesvd", "gesvdj", "gesvda"):
        raise RuntimeError(f"torch.linalg.svd: unknown svd driver {driver} in svd_cusolver computation. svd driver could be "
                           "chosen from: gesvd, gesvdj, gesvda")


def _to_be_decomposed(A):
    a = check_matrix("linalg.svd", A)
    K.solver.ready(a)
    if not _finite(A):
        raise LinAlgError("linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values.")
    return a


def _svd(A, full_matrices):
    found = iterated("linalg.svd", "singular values", K.solver.svd, _to_be_decomposed(A), bool(full_matrices))
    return record(found, linalg_svd_backward, (A,), ((OUT, 0), (OUT, 1), (OUT, 2)))


def linalg_svd_backward(node, gU, gS, gVh):
    """Gradient of svd: U [(skew(U^H gU) / E) S + S (skew(V^H gV) / E) + gS] V^H, and what lies outside their spaces."""
    U, S, Vh = node.saved_tensors
    m, n, k = U._a.shape[-2], Vh._a.shape[-1], S._a.shape[-1]
    if gU is None and gS is None and gVh is None:
        return None
    if U._a.shape[-1] > k:
        U, gU = U.narrow(-1, 0, k), None if gU is None else gU.narrow(-1, 0, k)
    if Vh._a.shape[-2] > k:
        Vh, gVh = Vh.narrow(-2, 0, k), None if gVh is None else gVh.narrow(-2, 0, k)
    if gU is None and gVh is None:
        return (U * gS.unsqueeze(-2).to(U.dtype)) @ Vh
    E, inner = _differences(S * S), None
    if gU is not None:
        skew = U.mH @ gU
        skew = skew - skew.mH
        inner = (skew / E) * S.unsqueeze(-2)
        if skew._a.dtype.kind == "c":
            inner = inner + (_diagonal(skew) / (2 * S)).diag_embed()
    if gVh is not None:
        skew = Vh @ gVh.mH
        skew = skew - skew.mH
        term = S.unsqueeze(-1) * (skew / E)
        inner = term if inner is None else inner + term
    if gS is not None:
        inner = inner + gS.to(inner.dtype).diag_embed()
    found = U @ inner @ Vh
    if gU is not None and m > k:
        outside = gU / S.unsqueeze(-2)
        found = found + (outside - U @ (U.mH @ outside)) @ Vh
    if gVh is not None and n > k:
        outside = gVh / S.unsqueeze(-1)
        found = found + U @ (outside - (outside @ Vh.mH) @ Vh)
    return found


@op(namespace="linalg", out=True)
def svdvals(A, *, driver=None):
    """The singular values, in descending order.

    Args:
        A (Tensor): (..., m, n), float32, float64 or complex.
        driver (str): as of ``svd``.

    >>> import numtorch as torch
    >>> torch.linalg.svdvals(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    tensor([2., 1.])
    """
    _check_driver(A, driver)
    if needs_grad(A):
        return _svd(A, False)[1]
    return wrap(iterated("linalg.svd", "singular values", K.solver.svdvals, _to_be_decomposed(A)))


@op("svd", method=True)
def _svd_of(input, some=True, compute_uv=True):
    """(U, S, V) with input = U diag(S) V^H; the older form of ``linalg.svd``.

    Args:
        input (Tensor): (..., m, n).
        some (bool): only the first min(m, n) columns of U and V.
        compute_uv (bool): False gives zeros for U and V.
    """
    if not compute_uv:
        a = check_matrix("linalg.svd", input)
        m, n = a.shape[-2:]
        return _old_svd((wrap(np.zeros((*a.shape[:-2], m, m), a.dtype, like=a)), svdvals(input),
                         wrap(np.zeros((*a.shape[:-2], n, n), a.dtype, like=a))))
    U, S, Vh = _svd(input, not some)
    return _old_svd((U, S, Vh.mH))


@op(namespace="linalg")
def matrix_rank(A, tol=None, *, atol=None, rtol=None, hermitian=False):
    """The number of singular values above max(atol, rtol sigma_1).

    Args:
        A (Tensor): (..., m, n), float32, float64 or complex.
        tol, atol (float or Tensor): absolute tolerance.
        rtol (float or Tensor): relative tolerance; default max(m, n) eps, or 0 if an absolute one is given.
        hermitian (bool): A is Hermitian.

    >>> import numtorch as torch
    >>> torch.linalg.matrix_rank(torch.ones(3, 3))
    tensor(1)
    """
    a = A._a
    if a.ndim < 2:
        raise RuntimeError("torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions.")
    if a.dtype.kind not in "fc" or a.dtype.itemsize == 2:
        raise RuntimeError("This function doesn't handle types other than float and double")
    if atol is None and tol is not None:
        atol, rtol = tol, 0.0 if rtol is None else rtol
    if hermitian:
        S = wrap(iterated("linalg.matrix_rank", "eigenvalues", K.solver.eigvalsh, a, "L")).abs()
    else:
        S = wrap(iterated("linalg.matrix_rank", "singular values", K.solver.svdvals, a))
    if not S._a.shape[-1]:
        return S.sum(-1).to(dtypes.int64)
    return (S > cut_off(S.amax(-1, True), *tolerances(a, atol, rtol))).sum(-1)


# ---- QR ----------------------------------------------------------------------------------------------------------------------

_qr_type, _old_qr = return_type("linalg_qr", "Q R"), return_type("qr", "Q R")


@op(namespace="linalg", out=True)
def qr(A, mode="reduced"):
    """A = Q R, Q with orthonormal columns, R upper triangular.

    Args:
        A (Tensor): (..., m, n), float32, float64 or complex.
        mode (str): "reduced", "complete" (square Q), or "r" (Q empty).

    Returns:
        A named tuple (Q, R).

    >>> import numtorch as torch
    >>> torch.linalg.qr(torch.tensor([[3.0], [4.0]])).R
    tensor([[-5.]])
    """
    return _qr_type(_qr(A, mode))


def _qr(A, mode):
    a = check_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
                           f"'complete'")
    if mode == "r":
        found = np.empty(0, a.dtype, like=a), K.solver.qr(a, "r")
    else:
        found = K.solver.qr(a, mode)
    return record(found, linalg_qr_backward, (A,), ((OUT, 0), (OUT, 1)), mode=mode)


def linalg_qr_backward(node, gQ, gR):
    """Gradient of qr (Roberts and Roberts, 2020): for m >= n [gQ + Q syminvadj(triu(gR R^H - Q^H gQ))] R^-H."""
    Q, R = node.saved_tensors
    mode = node.ctx["mode"]
    m, n = (Q._a.shape[-2] if mode != "r" else 0), R._a.shape[-1]
    if mode == "r":
        raise RuntimeError("The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
                           "linalg.qr(A, mode='reduced') if you are going to require gradients.")
    if mode == "complete" and m > n:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols. Please use "
                           "linalg.qr(A, mode='reduced') if you are going to require gradients")
    if m >= n:
        inner = None if gR is None else gR @ R.mH
        if gQ is not None:
            inner = -(Q.mH @ gQ) if inner is None else inner - Q.mH @ gQ
        inner = inner.triu()
        inner = inner + inner.triu(1).mH
        if inner._a.dtype.kind == "c":
            inner = inner - (1j * _diagonal(inner).imag).diag_embed()
        found = Q @ inner
        found = found if gQ is None else found + gQ
        return solve_triangular(R.mH, found, upper=False, left=False)
    inner = None if gQ is None else Q.mH @ gQ
    if gR is not None:
        inner = -(gR @ R.mH) if inner is None else inner - gR @ R.mH
    skew = (inner - inner.mH).tril(-1)
    if inner._a.dtype.kind == "c":
        skew = skew + (1j * _diagonal(inner).imag).diag_embed()
    left = solve_triangular(R.narrow(-1, 0, m).mH, Q @ skew, upper=False, left=False)
    from .join import cat

    zeros = wrap(np.zeros((*R._a.shape[:-2], m, n - m), R._a.dtype, like=R._a))
    found = cat([left, zeros], -1)
    return found if gR is None else found + Q @ gR


@op("qr", method=True)
def _qr_of(input, some=True):
    """(Q, R) with input = Q R; the older form of ``linalg.qr``: ``some=False`` gives a square Q."""
    return _old_qr(_qr(input, "reduced" if some else "complete"))


# ---- eigenvalues -------------------------------------------------------------------------------------------------------------

_eigh_type = return_type("linalg_eigh", "eigenvalues eigenvectors")
_eig_type = return_type("linalg_eig", "eigenvalues eigenvectors")


@op(namespace="linalg", out=True)
def eigh(A, UPLO="L"):
    """A = V diag(L) V^H of Hermitian matrices, the eigenvalues in ascending order.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.
        UPLO (str): "L" or "U": the triangle that is read.

    Returns:
        A named tuple (eigenvalues, eigenvectors); the eigenvalues are real.

    >>> import numtorch as torch
    >>> torch.linalg.eigh(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    found = iterated("linalg.eigh", "eigenvalues", K.solver.eigh, *_hermitian(A, UPLO))
    return _eigh_type(record(found, linalg_eigh_backward, (A,), ((OUT, 0), (OUT, 1))))


def _hermitian(A, UPLO):
    """The array and the triangle of it that is read."""
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    if A._a.ndim >= 2 and (A._a.dtype.kind in "biu" or A._a.dtype.itemsize == 2):
        raise NotImplementedError(f"\"linalg_eigh_cpu\" not implemented for '{type_name(A.dtype)}'")
    return check_matrix("linalg.eigh", A, square=True), UPLO.upper()


def linalg_eigh_backward(node, gL, gV):
    """Gradient of eigh: V (diag(gL) + skew(V^H gV) / E) V^H, E[i, j] = L[j] - L[i]."""
    L, V = node.saved_tensors
    if gL is None and gV is None:
        return None
    if gV is None:
        return (V * gL.unsqueeze(-2).to(V.dtype)) @ V.mH
    inner = V.mH @ gV
    inner = (inner - inner.mH) * 0.5 / _differences(L)      # skew: eigenvectors stay orthonormal
    if gL is not None:
        inner = inner + gL.to(V.dtype).diag_embed()
    return V @ inner @ V.mH


@op(namespace="linalg", out=True)
def eigvalsh(A, UPLO="L"):
    """The eigenvalues of Hermitian matrices, in ascending order; see ``eigh``."""
    if needs_grad(A):
        return eigh(A, UPLO)[0]
    return wrap(iterated("linalg.eigh", "eigenvalues", K.solver.eigvalsh, *_hermitian(A, UPLO)))


def _eig(A, name):
    if A._a.ndim >= 2 and A._a.dtype.kind in "biu":
        raise RuntimeError(f"Unknown Complex ScalarType for {type_name(A.dtype)}")
    if A._a.ndim >= 2 and A._a.dtype.itemsize == 2:
        raise NotImplementedError(f"\"linalg_eig_out_cpu\" not implemented for '{type_name(A.dtype)}'")
    a = check_matrix(name, A, square=True)
    K.solver.ready(a)
    if not _finite(A):
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    return record(iterated(name, "eigenvalues", K.solver.eig, a), linalg_eig_backward, (A,), ((OUT, 0), (OUT, 1)),
                  real=a.dtype.kind != "c")


def linalg_eig_backward(node, gL, gV):
    """Gradient of eig: V^-H (diag(gL) + (V^H gV - V^H V diag(Re(V^H gV))) / conj(E)) V^H (Boeddeker et al., 2017)."""
    L, V = node.saved_tensors
    if gL is None and gV is None:
        return None
    if gV is None:
        inner = gL.diag_embed()
    else:
        through = V.mH @ gV
        inner = through - (V.mH @ V) * _diagonal(through).real.to(V.dtype).unsqueeze(-2)
        inner = (inner - _diagonal(inner).diag_embed()) / _differences(L).conj()
        if gL is not None:
            inner = inner + gL.diag_embed()
    found = solve(V.mH, inner @ V.mH)
    return found.real if node.ctx["real"] else found


@op(namespace="linalg", out=True)
def eig(A):
    """A V = V diag(L) of square matrices; L and V are complex.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.

    Returns:
        A named tuple (eigenvalues, eigenvectors), the eigenvectors of norm 1.

    Raises:
        RuntimeError: nan or inf in a matrix.

    >>> import numtorch as torch
    >>> torch.linalg.eig(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([2.+0.j, 1.+0.j])
    """
    return _eig_type(_eig(A, "linalg.eig"))


@op(namespace="linalg", out=True)
def eigvals(A):
    """The eigenvalues of square matrices, complex; see ``eig``."""
    return _eig(A, "linalg.eigvals")[0]


@op(namespace="linalg", out=True)
def cond(A, p=None):
    """The condition number |A| |A^-1| in the norm ``p``.

    Args:
        A (Tensor): (..., m, n); square but for p = None, 2 and -2.
        p: None or 2 (sigma_1 / sigma_n), -2, 1, -1, inf, -inf, "fro", "nuc".

    >>> import numtorch as torch
    >>> torch.linalg.cond(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor(2.)
    """
    if A._a.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if p is None or p in (2, -2):
        s = svdvals(A)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    from .linalg_norm import matrix_norm

    check_matrix(f"linalg.cond(ord={p})", A, square=True)
    return matrix_norm(A, p) * matrix_norm(inv(A), p)
