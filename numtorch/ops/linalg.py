"""Systems of equations: det, inv, solve, cholesky, pinv, lstsq, triangular systems. LAPACK does them, through numpy.linalg.

Backward functions follow Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), and torch's FunctionsManual; written with ops, so that they can be differentiated again.
"""
import numpy as np

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
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(A.dtype)} and B "
                           f"of type {type_name(B.dtype)} instead")


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


def in_batch(a, index):
    return f"(Batch element {index}): " if a.ndim > 2 else ""


def each(a):
    """The matrices of a batch, in order."""
    return enumerate(a.reshape(-1, *a.shape[-2:]))


# ---- inverses and determinants -----------------------------------------------------------------------------------------------

def inverse_or_info(a):
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
    out, info = inverse_or_info(a)
    if info.any():
        at = int(np.flatnonzero(info.reshape(-1))[0])
        raise LinAlgError(f"linalg.inv: {in_batch(a, at)}The diagonal element {info.reshape(-1)[at]} is zero, the inversion "
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
        return _inv_ex((inv(A), wrap(np.zeros(A._a.shape[:-2], np.int32, like=A._a))))
    out, info = inverse_or_info(check_matrix("linalg.inv", A, square=True))
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


# ---- pseudo-inverse ----------------------------------------------------------------------------------------------------------

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
        raise RuntimeError(f"linalg.pinv({type_name(A.dtype)}{{{list(a.shape)}}}): expected a tensor with 2 or more "
                           f"dimensions of float, double, cfloat or cdouble types")
    if not a.size:
        return record(np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype, like=a), linalg_pinv_backward, (A,), (OUT, A))
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
    return pinv_gradient(g, P, A)


def pinv_gradient(g, P, A):
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
