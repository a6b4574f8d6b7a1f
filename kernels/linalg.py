"""Triangular systems and distances between points. The factorisations themselves are LAPACK's, through numpy.linalg."""
import math

from numba import prange

from ._jit import REASSOCIATE, function, kernel


@kernel(grain=4096)
def solve_triangular(a, b, upper, unit, out):
    """out = a^-1 b by substitution; a (batch, n, n), of which only one triangle is read, b and out (batch, n, k).

    ``unit``: the diagonal counts as ones and is not read. n^2 k multiplications; a zero on the diagonal gives inf and nan.
    """
    batch, n, k = b.shape
    for s in prange(batch):
        for r in range(n):
            i = n - 1 - r if upper else r
            for c in range(k):
                out[s, i, c] = b[s, i, c]
            for j in range(i + 1 if upper else 0, n if upper else i):
                factor = a[s, i, j]
                for c in range(k):
                    out[s, i, c] -= factor * out[s, j, c]
            if not unit:
                pivot = a[s, i, i]
                for c in range(k):
                    out[s, i, c] /= pivot


@function(fastmath=REASSOCIATE)
def _square_distance(x, y):
    total = x.dtype.type(0)
    for d in range(x.size):
        total += (x[d] - y[d]) * (x[d] - y[d])
    return total


@function(fastmath=REASSOCIATE)
def _distance_1(x, y):
    total = x.dtype.type(0)
    for d in range(x.size):
        total += abs(x[d] - y[d])
    return total


@function
def _distance(x, y, p):
    """The p-norm of x - y for p other than 1 and 2: 0 counts differing elements, inf takes the largest difference."""
    total = x.dtype.type(0)
    if p == 0.0:
        for d in range(x.size):
            total += x[d] != y[d]
        return total
    if p == math.inf:
        for d in range(x.size):
            total = max(total, abs(x[d] - y[d]))
        return total
    for d in range(x.size):
        total += x.dtype.type(abs(x[d] - y[d]) ** p)
    return x.dtype.type(total ** (1.0 / p))


@kernel(grain=1024)
def cdist(x, y, p, out):
    """out[s, i, j] = the p-norm of x[s, i] - y[s, j]; x (batch, m, d), y (batch, n, d), out (batch, m, n). m n d steps."""
    batch, m, n = out.shape
    for task in prange(batch * m):
        s = task // m
        i = task - s * m
        for j in range(n):
            if p == 2.0:
                out[s, i, j] = math.sqrt(_square_distance(x[s, i], y[s, j]))
            elif p == 1.0:
                out[s, i, j] = _distance_1(x[s, i], y[s, j])
            else:
                out[s, i, j] = _distance(x[s, i], y[s, j], p)


@kernel(grain=1024)
def cdist_backward(x, y, g, out, p, gx):
    """gx[s, i] = sum over j of g[s, i, j] d out[s, i, j] / d x[s, i]; shapes as in cdist. Equal points get 0; p > 0.

    d out / d x = sign(diff) |diff|^(p - 1) / out^(p - 1); for p = inf the sign where |diff| == out.
    """
    batch, m, n = out.shape
    zero = x.dtype.type(0)
    for task in prange(batch * m):
        s = task // m
        i = task - s * m
        for d in range(x.shape[2]):
            gx[s, i, d] = zero
        for j in range(n):
            far = out[s, i, j]
            if far == 0:
                continue
            scale = g[s, i, j]
            for d in range(x.shape[2]):
                diff = x[s, i, d] - y[s, j, d]
                if p == 2.0:
                    gx[s, i, d] += scale * diff / far
                elif diff == 0:
                    continue
                elif p == math.inf:
                    if abs(diff) == far:
                        gx[s, i, d] += scale if diff > 0 else -scale
                else:
                    part = scale if p == 1.0 else scale * x.dtype.type((abs(diff) / far) ** (p - 1.0))
                    gx[s, i, d] += part if diff > 0 else -part


# ---- on a GPU ----------------------------------------------------------------------------------------------------------

@solve_triangular.on_device
def solve_triangular_on_device(a, b, upper, unit, out):
    """The same for 32 unknowns at a time."""
    from . import linalg_cuda  # at the first use on a GPU: nothing on the CPU needs it

    linalg_cuda.solve_triangular(a, b, upper, unit, out)


@cdist.on_device
def cdist_on_device(x, y, p, out):
    """The same by tiles of points."""
    from . import linalg_cuda

    linalg_cuda.cdist(x, y, p, out)


@cdist_backward.on_device
def cdist_backward_on_device(x, y, g, out, p, gx):
    """The same, a block for each point."""
    from . import linalg_cuda

    linalg_cuda.cdist_backward(x, y, g, out, p, gx)
