"""Factorisations of matrices and systems of equations on a CUDA device, by cuSOLVER: twins of ``solver.py``.

cuSOLVER's matrices are column-major: a row-major (m, n) matrix is to it the (n, m) transpose. It factors in place, so each
function works on a copy: of the transposes (``_columns``), which cuSOLVER takes for the matrices themselves, or of the matrices
(``_rows``), which it takes for their transposes, where that is as good. A batch is done matrix by matrix in the same working
memory. What went wrong is read back once for a batch.
"""
import contextlib
import ctypes
import math

import numpy as np

from . import _driver, indexing, pointwise_cuda
from ._cuda import REAL, A, blocks, cuda, device_kernel, load, store
from ._device import empty, from_host, to_host
from ._vendor import Library

THREADS = 256
NORMAL, TRANSPOSED = 0, 1                                               # cublasOperation_t
LOWER, UPPER = 0, 1                                                     # cublasFillMode_t
NO_VECTORS, VECTORS = 0, 1                                              # cusolverEigMode_t
_TYPES = {"float32": 0, "float64": 1, "complex64": 4, "complex128": 5}  # cudaDataType
_LETTERS = {"float32": "Sor", "float64": "Dor", "complex64": "Cun", "complex128": "Zun"}    # before gqr, as LAPACK has it
_handles = {}           # device -> (handle, parameters: cuSOLVER's defaults)

_ASKED, _GIVEN = "pp", "pzpzp"          # where two sizes are put; two pieces of working memory, and the info
CUSOLVER = Library("cusolver", "cuSOLVER", {
    "cusolverDnCreate": "p", "cusolverDnCreateParams": "p", "cusolverDnSetStream": "pp",
    "cusolverDnXgetrf_bufferSize": "pp qq ipq i" + _ASKED, "cusolverDnXgetrf": "pp qq ipq p i" + _GIVEN,
    "cusolverDnXgetrs": "pp i qq ipq p ipq p",
    "cusolverDnXpotrf_bufferSize": "pp i q ipq i" + _ASKED, "cusolverDnXpotrf": "pp i q ipq i" + _GIVEN,
    "cusolverDnXgeqrf_bufferSize": "pp qq ipq ip i" + _ASKED, "cusolverDnXgeqrf": "pp qq ipq ip i" + _GIVEN,
    **{f"cusolverDn{letters}gqr_bufferSize": "p iii pi p p" for letters in _LETTERS.values()},
    **{f"cusolverDn{letters}gqr": "p iii pi p pi p" for letters in _LETTERS.values()},
    "cusolverDnXgesvd_bufferSize": "pp bb qq ipq ip ipq ipq i" + _ASKED, "cusolverDnXgesvd": "pp bb qq ipq ip ipq ipq i" + _GIVEN,
    "cusolverDnXsyevd_bufferSize": "pp ii q ipq ip i" + _ASKED, "cusolverDnXsyevd": "pp ii q ipq ip i" + _GIVEN,
    "cusolverDnXgeev_bufferSize": "pp ii q ipq ip ipq ipq i" + _ASKED, "cusolverDnXgeev": "pp ii q ipq ip ipq ipq i" + _GIVEN,
}, {1: "CUSOLVER_STATUS_NOT_INITIALIZED", 2: "CUSOLVER_STATUS_ALLOC_FAILED", 3: "CUSOLVER_STATUS_INVALID_VALUE",
    4: "CUSOLVER_STATUS_ARCH_MISMATCH", 5: "CUSOLVER_STATUS_MAPPING_ERROR", 6: "CUSOLVER_STATUS_EXECUTION_FAILED",
    7: "CUSOLVER_STATUS_INTERNAL_ERROR", 8: "CUSOLVER_STATUS_MATRIX_TYPE_NOT_SUPPORTED", 9: "CUSOLVER_STATUS_NOT_SUPPORTED",
    10: "CUSOLVER_STATUS_ZERO_PIVOT", 11: "CUSOLVER_STATUS_INVALID_LICENSE", 31: "CUSOLVER_STATUS_INVALID_WORKSPACE"})


# ---- calling -----------------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def _solver(device):
    """A block in which cuSOLVER works on the current stream of ``device``; gives the handles that its functions take first."""
    with CUSOLVER.on(device) as stream:
        found = _handles.get(device)
        if found is None:
            handle, parameters = ctypes.c_void_p(), ctypes.c_void_p()
            CUSOLVER("cusolverDnCreate", ctypes.byref(handle))
            CUSOLVER("cusolverDnCreateParams", ctypes.byref(parameters))
            found = _handles[device] = handle.value, parameters.value
        CUSOLVER("cusolverDnSetStream", found[0], stream)
        yield found


def _factor(handles, name, stack, arguments, asked=None):
    """Calls cusolverDnX``name`` for each matrix of a stack; gives the info of each.

    arguments(i): those of matrix i, up to the working memory. asked: those that its size is asked with, where they are others.
    """
    device, host = ctypes.c_size_t(), ctypes.c_size_t()
    CUSOLVER(f"cusolverDnX{name}_bufferSize", *handles, *(asked or arguments(0)), ctypes.byref(device), ctypes.byref(host))
    work, info = empty(device.value, np.uint8, stack.device), empty(len(stack), np.int32, stack.device)
    spare = ctypes.create_string_buffer(host.value) if host.value else None
    for i in range(len(stack)):
        CUSOLVER(f"cusolverDnX{name}", *handles, *arguments(i), work.ptr, device.value, spare, host.value, _at(info, i))
    return info


def _at(stack, i):
    """The address of entry ``i`` of the first dimension of a contiguous array."""
    return stack.ptr + i * (stack.nbytes // len(stack))


def _columns(a):
    """The matrices of ``a`` for cuSOLVER: a copy (batch, n, m) of (..., m, n), column by column."""
    return a.swapaxes(-1, -2).copy().reshape(math.prod(a.shape[:-2]), a.shape[-1], a.shape[-2])


def _rows(a):
    """The transposes of the matrices of ``a`` for cuSOLVER: a copy (batch, m, n) of (..., m, n)."""
    return a.copy().reshape(math.prod(a.shape[:-2]), *a.shape[-2:])


def _back(stack, batch):
    """The matrices (*batch, m, n) that cuSOLVER has left in a stack (.., n, m), column by column: no copy."""
    found = stack.reshape(*batch, *stack.shape[1:]).swapaxes(-1, -2)
    found.base = None
    return found


def _converged(info):
    """Waits for the device; numpy.linalg.LinAlgError unless every ``info`` is 0."""
    found = to_host(info)
    if found.any():
        at = int(np.flatnonzero(found)[0])
        raise np.linalg.LinAlgError(f"error code: {found[at]} of batch element {at}")


# ---- LU ----------------------------------------------------------------------------------------------------------------------

def _lu(handles, a):
    """(factors, pivots, info) of square matrices, the factors column by column. The info of a singular matrix is the place of the
    first zero pivot, from 1; what comes after it can be nan.
    """
    stack, n, kind = _columns(a), a.shape[-1], _TYPES[a.dtype.name]
    pivots = empty((len(stack), n), np.int64, a.device)
    info = _factor(handles, "getrf", stack, lambda i: (n, n, kind, _at(stack, i), n, _at(pivots, i), kind),
                   (n, n, kind, stack.ptr, n, kind))
    return stack, pivots, info


def _substitute(handles, how, lu, pivots, numbers, right):
    """Solves ``right[i]``, column-major, for matrix numbers[i] or (``how``) its transpose, in place."""
    n, columns, kind, unused = lu.shape[-1], right.shape[1], _TYPES[lu.dtype.name], empty(1, np.int32, lu.device)
    for i, k in enumerate(numbers):
        CUSOLVER("cusolverDnXgetrs", *handles, how, n, columns, kind, _at(lu, k), n, _at(pivots, k), kind, _at(right, i), n,
                 unused.ptr)


def inverse(a):
    """Twin of ``solver.inverse``: a^T y = 1, for the columns of y are the rows of the inverse."""
    n = a.shape[-1]
    with _solver(a.device) as handles:
        lu, pivots, info = _lu(handles, a)
        out = empty(lu.shape, a.dtype, a.device)
        out[...] = from_host(np.eye(n, dtype=a.dtype), a.device)
        _substitute(handles, TRANSPOSED, lu, pivots, range(len(lu)), out)
        _mark(out, info, np.nan)
    return out.reshape(a.shape), info.reshape(a.shape[:-2])


def _mark(out, info, value):
    """Sets those entries of a stack to ``value`` whose info is not 0."""
    bad, name = (info != 0).reshape(len(info), *[1] * (out.ndim - 1)), out.dtype.name
    pointwise_cuda.run("where", ("bool", name, name, name), [bad, out.dtype.type(value), out], out)


def solve(a, b):
    """Twin of ``solver.solve``: where b has more leading dimensions than a, each matrix of a is factored once."""
    batch, k = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), b.shape[-1]
    right = _columns(np.broadcast_to(b, (*batch, *b.shape[-2:])))
    numbers = np.broadcast_to(np.arange(math.prod(a.shape[:-2])).reshape(a.shape[:-2]), batch).reshape(-1).tolist()
    with _solver(a.device) as handles:
        lu, pivots, info = _lu(handles, a)
        if k:
            _substitute(handles, NORMAL, lu, pivots, numbers, right)
    return _back(right, batch), info.reshape(a.shape[:-2])


def _signed(a):
    """(d, info): the diagonals (batch, n) of U, negated where the pivots exchange two rows: their products are determinants."""
    with _solver(a.device) as handles:
        lu, pivots, info = _lu(handles, a)
    turned = pivots != np.arange(1, a.shape[-1] + 1, like=a)
    return lu.diagonal(0, -2, -1) * (1 - 2 * turned.astype(a.real.dtype)), info


def det(a):
    """Twin of ``solver.det``."""
    signed, info = _signed(a)
    found = signed.prod(-1)
    _mark(found, info, 0)
    return found.reshape(a.shape[:-2])


def slogdet(a):
    """Twin of ``solver.slogdet``."""
    signed, info = _signed(a)
    name, real = a.dtype.name, a.real.dtype
    sign, size = empty(signed.shape, a.dtype, a.device), empty(signed.shape, real, a.device)
    pointwise_cuda.run("sgn_complex" if a.dtype.kind == "c" else "sign", (name, name), [signed], sign)
    pointwise_cuda.run("absolute", (name, real.name), [signed], size)
    sign, log = sign.prod(-1), np.log(size).sum(-1)
    _mark(sign, info, 0)
    _mark(log, info, -np.inf)
    return sign.reshape(a.shape[:-2]), log.reshape(a.shape[:-2])


# ---- Cholesky ----------------------------------------------------------------------------------------------------------------

def cholesky(a):
    """Twin of ``solver.cholesky``: the transpose of a, of which a's lower triangle is the upper one, is (L^T)^H L^T."""
    stack, n, kind = _rows(a), a.shape[-1], _TYPES[a.dtype.name]
    with _solver(a.device) as handles:
        info = _factor(handles, "potrf", stack, lambda i: (UPPER, n, kind, _at(stack, i), n, kind))
    out = empty(stack.shape, a.dtype, a.device)
    indexing.triangle(stack, 0, True, out)
    return out.reshape(a.shape), info.reshape(a.shape[:-2])


# ---- orthogonal factors ------------------------------------------------------------------------------------------------------

def qr(a, mode):
    """Twin of ``solver.qr``: Householder reflections, whose vectors take the place of q's columns and are then made into them."""
    m, n = a.shape[-2:]
    k, kind, batch = min(m, n), _TYPES[a.dtype.name], a.shape[:-2]
    wide = m if mode == "complete" else k           # columns of q
    stack = empty((math.prod(batch), max(n, wide), m), a.dtype, a.device)
    stack[:, :n] = a.swapaxes(-1, -2).reshape(-1, n, m)
    tau = empty((len(stack), k), a.dtype, a.device)
    with _solver(a.device) as handles:
        _factor(handles, "geqrf", stack, lambda i: (m, n, kind, _at(stack, i), m, kind, _at(tau, i), kind))
        above = stack[:, :n].swapaxes(-1, -2)[:, :wide].copy()
        r = empty(above.shape, a.dtype, a.device)
        indexing.triangle(above, 0, False, r)
        r = r.reshape(*batch, wide, n)
        if mode == "r":
            return r
        _reflect(handles[0], stack, tau, m, wide, k)
    q = stack[:, :wide].swapaxes(-1, -2).reshape(*batch, m, wide)
    q.base = None
    return q, r


def _reflect(handle, stack, tau, m, columns, k):
    """The first ``columns`` columns of the products of k reflections, in place of the vectors of these."""
    name, size = f"cusolverDn{_LETTERS[stack.dtype.name]}gqr", ctypes.c_int()
    CUSOLVER(name + "_bufferSize", handle, m, columns, k, stack.ptr, m, tau.ptr, ctypes.byref(size))
    work, unused = empty(size.value, stack.dtype, stack.device), empty(1, np.int32, stack.device)
    for i in range(len(stack)):
        CUSOLVER(name, handle, m, columns, k, _at(stack, i), m, _at(tau, i), work.ptr, size.value, unused.ptr)


def _gesvd(a, job):
    """(u, s, vh) for cuSOLVER's ``job`` "A" (square), "S" (reduced) or "N" (s alone; u and vh mean nothing).

    It takes no matrix of more columns than rows; of such a one the transpose conj(v) s u^T, which is how it lies in memory.
    """
    m, n = a.shape[-2:]
    tall, batch, kind = m >= n, a.shape[:-2], _TYPES[a.dtype.name]
    stack, rows, k = (_columns if tall else _rows)(a), max(m, n), min(m, n)
    real, count = a.real.dtype, math.prod(batch)
    s = empty((count, k), real, a.device)
    left = empty((count, rows if job == "A" else k, rows) if job != "N" else (count, 1), a.dtype, a.device)
    right = empty((count, k, k) if job != "N" else (count, 1), a.dtype, a.device)
    with _solver(a.device) as handles:
        info = _factor(handles, "gesvd", stack, lambda i: (
            ord(job), ord(job), rows, k, kind, _at(stack, i), rows, _TYPES[real.name], _at(s, i), kind, _at(left, i), rows, kind,
            _at(right, i), k, kind))
        _converged(info)
    if tall or job == "N":
        u, vh = left, right
    else:
        u, vh = right, left
    return u, s.reshape(*batch, k), vh, tall


def svd(a, full):
    """Twin of ``solver.svd``."""
    u, s, vh, tall = _gesvd(a, "A" if full else "S")
    batch = a.shape[:-2]
    if tall:
        return _back(u, batch), s, _back(vh, batch)
    return u.reshape(*batch, *u.shape[1:]), s, vh.reshape(*batch, *vh.shape[1:])


def svdvals(a):
    """Twin of ``solver.svdvals``."""
    return _gesvd(a, "N")[1]


# ---- eigenvalues -------------------------------------------------------------------------------------------------------------

def _syevd(a, triangle, vectors):
    stack, n, kind, real = _columns(a), a.shape[-1], _TYPES[a.dtype.name], a.real.dtype
    values = empty((len(stack), n), real, a.device)
    with _solver(a.device) as handles:
        _converged(_factor(handles, "syevd", stack, lambda i: (
            vectors, UPPER if triangle == "U" else LOWER, n, kind, _at(stack, i), n, _TYPES[real.name], _at(values, i), kind)))
    return values.reshape(*a.shape[:-2], n), stack


def eigh(a, triangle):
    """Twin of ``solver.eigh``."""
    values, stack = _syevd(a, triangle, VECTORS)
    return values, _back(stack, a.shape[:-2])


def eigvalsh(a, triangle):
    """Twin of ``solver.eigvalsh``."""
    return _syevd(a, triangle, NO_VECTORS)[0]


def eig(a):
    """Twin of ``solver.eig``; cuSOLVER has it since CUDA 12.8."""
    n, kind, complex_ = a.shape[-1], _TYPES[a.dtype.name], np.result_type(a.dtype, np.complex64)
    with _solver(a.device) as handles:
        stack = _columns(a)
        values, vectors = empty((len(stack), n), complex_, a.device), empty(stack.shape, a.dtype, a.device)
        _converged(_factor(handles, "geev", stack, lambda i: (
            NO_VECTORS, VECTORS, n, kind, _at(stack, i), n, _TYPES[complex_.name], _at(values, i), kind, None, n, kind,
            _at(vectors, i), n, kind)))
    if a.dtype != complex_:
        found = empty(vectors.shape, complex_, a.device)
        join_pairs.launch(blocks(found.size, THREADS), THREADS, vectors, values.view(a.dtype), found.view(a.dtype), n, found.size)
        vectors = found
    return values.reshape(*a.shape[:-2], n), _back(vectors, a.shape[:-2])


@device_kernel("T* T* T* q q", T=REAL, threads=THREADS)
def join_pairs(packed, values, out, n, count):
    """The eigenvectors of real matrices, one a row of n: out[j] = packed[j] for a real value, for a pair of values that are each
    other's conjugates packed[j] + i packed[j + 1] and its conjugate. Complex numbers lie as two real ones; 6 s bytes an element.
    """
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= count:
        return
    turn = load(values, 2 * (i // n) + 1)
    if turn > 0:
        real, imaginary = load(packed, i), load(packed, i + n)
    elif turn < 0:
        real, imaginary = load(packed, i - n), -load(packed, i)
    else:
        real, imaginary = load(packed, i), A(0)
    store(out, 2 * i, real)
    store(out, 2 * i + 1, imaginary)


_driver.on_change.append(_handles.clear)
