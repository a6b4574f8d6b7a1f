"""Inverses, determinants, pseudo-inverses. LAPACK does them, through numpy.linalg; on CUDA cuSOLVER, if it is installed.

Backward functions follow Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), and torch's FunctionsManual; written with ops, so that they can be differentiated again.
"""
import numpy as np

from .. import kernels as K
from ..kernels._device import to_host
from ..op import OUT, op, record, type_name
from ..return_types import return_type
from ..tensor import Tensor, wrap
from ._pointwise import same_device

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


def check_alike(name, A, B):
    """Raises torch's error unless both are on one device and have one dtype."""
    same_device(name, (A, B))
    if A._a.dtype != B._a.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type {type_name(A.dtype)} and B "
                           f"of type {type_name(B.dtype)} instead")


def in_batch(a, index):
    return f"(Batch element {index}): " if a.ndim > 2 else ""


def first_failure(info):
    """(which matrix, its info) of the first that is not 0, or None; waits for the device."""
    found = (info if isinstance(info, np.ndarray) else to_host(info)).reshape(-1)
    if not found.any():
        return None
    at = int(np.flatnonzero(found)[0])
    return at, int(found[at])


def iterated(name, values, function, *args):
    """``function(*args)``, an iteration; LinAlgError in torch's words where it does not converge."""
    try:
        return function(*args)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"{name}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
                          f"repeated {values} ({error}).") from None


# ---- inverses and determinants -----------------------------------------------------------------------------------------------

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
    out, info = K.solver.inverse(a)
    failed = first_failure(info)
    if failed:
        raise LinAlgError(f"linalg.inv: {in_batch(a, failed[0])}The diagonal element {failed[1]} is zero, the inversion could "
                          "not be completed because the input matrix is singular.")
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
    out, info = K.solver.inverse(check_matrix("linalg.inv", A, square=True))
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
    return record(K.solver.det(a), linalg_det_backward, (A,), (A, OUT))


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
    return record(K.solver.slogdet(a), linalg_slogdet_backward, (A,), (A, (OUT, 0)))


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

def tolerances(a, atol, rtol):
    """torch's default: rtol = max(m, n) eps unless a tolerance is given."""
    if rtol is None:
        rtol = max(a.shape[-2:]) * np.finfo(a.dtype).eps if atol is None or not _any(atol) else 0.0
    return 0.0 if atol is None else atol, rtol


def _any(tolerance):
    return (tolerance != 0).any().item() if isinstance(tolerance, Tensor) else tolerance != 0


def cut_off(top, atol, rtol):
    """max(atol, rtol top), for numbers or Tensors (...) as tolerances, and the greatest singular values (..., 1)."""
    cut = top * (rtol.unsqueeze(-1) if isinstance(rtol, Tensor) else rtol)
    return cut.maximum(atol.unsqueeze(-1)) if isinstance(atol, Tensor) else cut.clamp(min=atol)


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
        values, U = (wrap(x) for x in iterated("linalg.pinv", "eigenvalues", K.solver.eigh, a, "L"))
        S, V = values.abs(), U * values.sgn().unsqueeze(-2).to(U.dtype)
        top = S.amax(-1, True)
    else:
        U, S, Vh = (wrap(x) for x in iterated("linalg.pinv", "singular values", K.solver.svd, a, False))
        V, top = Vh.mH, S[..., :1]
    kept = S > cut_off(top, *tolerances(a, atol, rtol))
    out = (V * (1 / S).masked_fill(kept.logical_not(), 0).unsqueeze(-2).to(V.dtype)) @ U.mH
    return record(np.ascontiguousarray(out._a, like=a), linalg_pinv_backward, (A,), (OUT, A))


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
