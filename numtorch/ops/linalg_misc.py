"""Matrix functions and small things: matrix_power, matrix_exp, trace, cross, vander, tensorinv, tensorsolve, cov, corrcoef."""
import math

import numpy as np

from .. import dtypes
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import op, record
from ..tensor import wrap
from ._one_node import one_node
from .linalg import check_matrix, inv
from .linalg_solve import solve

# ---- functions of matrices ---------------------------------------------------------------------------------------------------

@op(namespace="linalg", out=True)
def matrix_power(A, n):
    """A multiplied ``n`` times with itself, by repeated squaring; the inverse for a negative ``n``.

    Args:
        A (Tensor): (..., m, m).
        n (int): the exponent.

    >>> import numtorch as torch
    >>> torch.linalg.matrix_power(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    if A._a.dtype.kind in "biu" and A._a.ndim >= 2 and A._a.shape[-1] == A._a.shape[-2]:
        if n < 0:
            check_matrix("linalg.inv", A, square=True)
    else:
        check_matrix("linalg.matrix_power", A, square=True)
    if n == 0:
        from .create import eye

        return eye(A._a.shape[-1], dtype=A.dtype, device=A.device).expand(A._a.shape).clone()
    if n < 0:
        A, n = inv(A), -n
    found = None
    while n:
        if n & 1:
            found = A if found is None else found @ A
        n >>= 1
        if n:
            A = A @ A
    return found.clone() if found is A else found


@op("matrix_power", method=True, out=True)
def _matrix_power_of(input, n):
    """``linalg.matrix_power(input, n)``."""
    return matrix_power(input, n)


_PADE_13 = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
            670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1)


def _expm(a):
    """exp of matrices by scaling, the Pade approximant of degree 13, and squaring (Higham, 2005); computed in float64."""
    if type(a) is DeviceArray:
        return _expm_by_products(wrap(a))._a
    wide = np.asarray(a, np.complex128 if a.dtype.kind == "c" else np.float64)
    norms = np.abs(wide).sum(-2).max(-1, initial=0.0)
    finite = np.where(np.isfinite(norms), norms, 0)
    squarings = np.maximum(0, np.ceil(np.log2(np.maximum(finite, 1e-300) / 5.371920351148152))).astype(int)
    x = wide / (2.0 ** squarings)[..., None, None]
    one, b = np.eye(a.shape[-1]), _PADE_13
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    u = x @ (x6 @ (b[13] * x6 + b[11] * x4 + b[9] * x2) + b[7] * x6 + b[5] * x4 + b[3] * x2 + b[1] * one)
    v = x6 @ (b[12] * x6 + b[10] * x4 + b[8] * x2) + b[6] * x6 + b[4] * x4 + b[2] * x2 + b[0] * one
    found = np.linalg.solve(v - u, v + u)
    for k in range(int(squarings.max(initial=0))):
        found = np.where((squarings > k)[..., None, None], found @ found, found)
    return found.astype(a.dtype)


def _expm_by_products(A):
    """The same without a system to solve: scaling to a norm of 1/2, the Taylor polynomial of degree 16 (Paterson and Stockmeyer,
    1973), and squaring."""
    from .create import eye

    x = A.to(dtypes.complex128 if A._a.dtype.kind == "c" else dtypes.float64)
    norms = x.abs().sum(-2).amax(-1)
    squarings = (norms.masked_fill(norms.isfinite().logical_not(), 0).clamp(min=1e-300).log2() + 1).ceil().clamp(min=0)
    x = x / (2.0 ** squarings)[..., None, None]
    one, x2 = eye(x._a.shape[-1], dtype=x.dtype, device=x.device), x @ x
    x3, x4 = x2 @ x, x2 @ x2
    found = x4 / math.factorial(16)
    for k in (12, 8, 4, 0):
        part = one / math.factorial(k) + x / math.factorial(k + 1) + x2 / math.factorial(k + 2) + x3 / math.factorial(k + 3)
        found = part + (found if k == 12 else x4 @ found)
    for k in range(int(squarings.max())):
        found = (found @ found).where((squarings > k)[..., None, None], found)
    return found.to(A.dtype)


@op(namespace="linalg")
def matrix_exp(A):
    """The exponential of square matrices.

    Args:
        A (Tensor): (..., n, n), float32, float64 or complex.

    >>> import numtorch as torch
    >>> torch.linalg.matrix_exp(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    a = check_matrix("linalg.matrix_exp", A, square=True)
    return record(_expm(a) if a.size else a.copy(), linalg_matrix_exp_backward, (A,), (A,))


def linalg_matrix_exp_backward(node, g):
    """Gradient of exp: the upper right block of exp([[A^H, g], [0, A^H]]) (Al-Mohy and Higham, 2009)."""
    from .join import cat

    A, = node.saved_tensors
    n = A._a.shape[-1]
    zero = wrap(np.zeros_like(A._a))
    block = cat([cat([A.mH, g], -1), cat([zero, A.mH], -1)], -2)
    return matrix_exp(block).narrow(-2, 0, n).narrow(-1, n, n)


@op("matrix_exp", method=True)
def _matrix_exp_of(input):
    """``linalg.matrix_exp(input)``."""
    return matrix_exp(input)


# ---- products and sums -------------------------------------------------------------------------------------------------------

@op(method=True)
@one_node("TraceBackward0")
def trace(input):
    """The sum of a matrix's diagonal.

    Raises:
        RuntimeError: not a matrix.

    >>> import numtorch as torch
    >>> torch.trace(torch.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if input._a.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input._a.ndim}")
    return input.diagonal().sum()


@op("cross", namespace="linalg", out=True)
@one_node("LinalgCrossBackward0")
def linalg_cross(input, other, *, dim=-1):
    """The cross product of vectors of three components along ``dim``.

    Args:
        input, other (Tensor): of equal number of dims, broadcast against each other.
        dim (int): the dim of the components.

    Raises:
        RuntimeError: another number of components.

    >>> import numtorch as torch
    >>> torch.linalg.cross(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    a, b = input._a, other._a
    if a.ndim != b.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    d = shapes.wrap_dim(dim, a.ndim)
    if a.shape[d] != 3 or b.shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {a.shape[d]} and {b.shape[d]}")
    x, y = [input.select(d, i) for i in range(3)], [other.select(d, i) for i in range(3)]
    from .join import stack

    return stack([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]], d)


@op(method=True, out=True)
def cross(input, other, dim=None):
    """``linalg.cross`` along ``dim``; default the first dim of three components.

    Raises:
        RuntimeError: there is none.
    """
    if dim is None:
        dim = next((d for d, n in enumerate(input._a.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg_cross(input, other, dim=dim)


@op("vander", namespace="linalg")
def linalg_vander(x, *, N=None):
    """The matrix of powers 0 to N - 1 of vectors: (..., n) gives (..., n, N); N defaults to n.

    >>> import numtorch as torch
    >>> torch.linalg.vander(torch.tensor([2, 3]))
    tensor([[1, 2],
            [1, 3]])
    """
    from .create import ones_like
    from .join import cat

    if not x._a.ndim:
        raise RuntimeError("x must be a tensor with at least one dimension.")
    n = x._a.shape[-1] if N is None else N
    if N is not None and N <= 1:
        raise RuntimeError("N must be greater than 1.")
    x = x.to(dtypes.int64) if x._a.dtype.kind in "biu" else x
    column = x.unsqueeze(-1)
    powers = column.expand((*x._a.shape, n - 1)).cumprod(-1)
    return cat([ones_like(column), powers], -1)


@op()
def vander(x, N=None, increasing=False):
    """The matrix of powers of a vector: N columns, the highest power first unless ``increasing``."""
    if x._a.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    found = linalg_vander(x, N=N)
    return found if increasing else found.flip(-1)


@op(namespace="linalg", out=True)
def tensorinv(A, ind=2):
    """The inverse of ``A`` as a map from its last dims to its first ``ind`` dims.

    Raises:
        RuntimeError: the two groups of dims hold different numbers of elements.
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, last = A._a.shape[:ind], A._a.shape[ind:]
    if shapes.numel(first) != shapes.numel(last):
        raise RuntimeError(f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but "
                           f"got {shapes.numel(last)} != {shapes.numel(first)}")
    n = shapes.numel(first)
    return inv(A.reshape(n, n)).reshape((*last, *first))


@op(namespace="linalg", out=True)
def tensorsolve(A, B, dims=None):
    """X with tensordot(A, X, X.ndim) = B.

    Args:
        A (Tensor): B's shape, then X's.
        B (Tensor): the right-hand side.
        dims (ints): dims of ``A`` to move to its end first.
    """
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A._a.ndim - len(dims), A._a.ndim)))
    shape, n = A._a.shape[B._a.ndim:], B._a.size
    if shapes.numel(shape) != n:
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
                           f"prod(self.shape[:other.ndim]), but got {shapes.numel(shape)} != {n}")
    return solve(A.reshape(n, n), B.reshape(-1)).reshape(shape)


@op("diagonal", namespace="linalg")
def linalg_diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """``torch.diagonal`` of the last two dims: a view."""
    return A.diagonal(offset, dim1, dim2)


# ---- statistics --------------------------------------------------------------------------------------------------------------

@op(method=True)
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables in rows and observations in columns.

    Args:
        input (Tensor): (variables, observations), or one variable.
        correction (int): the divisor is the number of observations less this.
        fweights (Tensor): how often each observation counts; integers.
        aweights (Tensor): how much it weighs.

    Raises:
        RuntimeError: more than two dims, or weights that do not fit.

    >>> import numtorch as torch
    >>> torch.cov(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input._a.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input._a.ndim} "
                           "dimensions")
    if input._a.dtype == np.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input._a.ndim < 2 else input
    n, weights = x._a.shape[1], None
    for name, w, kinds in (("fweights", fweights, "iu"), ("aweights", aweights, "fV")):
        if w is None:
            continue
        if w._a.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {w._a.ndim} "
                               f"dimensions")
        if w._a.dtype.kind not in kinds:
            raise RuntimeError(f"cov(): expected {name} to have {'integral' if kinds == 'iu' else 'floating point'} dtype but "
                               f"got {name} with {w._a.dtype} dtype")
        if w._a.size != n:
            raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations in the input but got "
                               f"{w._a.size} != {n}")
        if w._a.size and w.min().item() < 0:
            raise RuntimeError(f"cov(): {name} cannot be negative")
        weights = w if weights is None else weights * w
    if x._a.dtype.kind in "iu":
        x = x.to(dtypes.get_default_dtype())
    if weights is None:
        total, mean = n, x.mean(1, keepdim=True)
        factor = n - correction
    else:
        total = weights.sum()
        mean = (x * weights).sum(1, keepdim=True) / total
        used = (weights * aweights).sum() / total if aweights is not None else 1
        factor = total - correction * used if correction else total
    centred = x - mean
    other = centred if weights is None else centred * weights
    factor = max(factor, 0) if weights is None else factor.clamp(min=0)
    found = (centred @ other.mH) / factor
    return found.squeeze() if input._a.ndim < 2 or found._a.size == 1 else found


@op(method=True)
def corrcoef(input):
    """The matrix of correlation coefficients of variables in rows and observations in columns; in [-1, 1].

    >>> import numtorch as torch
    >>> torch.corrcoef(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input._a.ndim > 2:
        raise RuntimeError(f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input._a.ndim} "
                           "dimensions")
    c = cov(input)
    if not c._a.ndim:
        return c / c
    d = c.diagonal()
    scale = (d.real if c._a.dtype.kind == "c" else d).sqrt()
    found = c / scale.unsqueeze(-1) / scale.unsqueeze(0)
    return found if c._a.dtype.kind == "c" else found.clamp(-1, 1)
