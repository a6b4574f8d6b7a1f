"""Factorisations of matrices and systems of equations: by LAPACK, through numpy.linalg; on a CUDA device by cuSOLVER.

Arrays are (..., m, n) of float32, float64, complex64 or complex128. ``info`` is int32 (...): 0 where a matrix could be
factored. numpy.linalg.LinAlgError is raised where an iteration does not converge.
"""
import functools

import numpy as np

from ._device import DeviceArray, from_host


def ready(a):
    """Raises OnHost for an array on a CUDA device where cuSOLVER is not installed."""
    if a.__class__ is DeviceArray:
        _on_device().CUSOLVER.load()


def _on_device():
    from . import solver_cuda

    return solver_cuda


def _with_twin(function):
    """``function``, done by its namesake in solver_cuda.py for arrays on a CUDA device; of empty ones only the shapes count."""
    @functools.wraps(function)
    def call(a, *args):
        if a.__class__ is not DeviceArray:
            return function(a, *args)
        ready(a)
        if a.size:
            return getattr(_on_device(), function.__name__)(a, *args)
        found = function(*[np.empty(x.shape, x.dtype) if isinstance(x, DeviceArray) else x for x in (a, *args)])
        moved = [from_host(np.asarray(x), a.device) for x in (found if isinstance(found, tuple) else (found,))]
        return tuple(moved) if isinstance(found, tuple) else moved[0]
    return call


# ---- LU ----------------------------------------------------------------------------------------------------------------------

@_with_twin
def inverse(a):
    """(inverses, info) of square matrices; info is the place, from 1, of a zero pivot, whose matrix is left nan."""
    try:
        return np.linalg.inv(a), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        out, info = np.full(a.shape, np.nan, a.dtype), np.zeros(a.shape[:-2], np.int32)
    for i, (one, matrix) in enumerate(zip(_each(out), _each(a))):
        try:
            one[...] = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            info.reshape(-1)[i] = _first_zero_pivot(matrix)
    return out, info


def _each(a):
    """The matrices of a batch."""
    return a.reshape(-1, *a.shape[-2:])


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


@_with_twin
def solve(a, b):
    """(x, info) with a x = b, b (..., n, k), whose leading dimensions broadcast with those of a; info as of ``inverse``.

    Where any info is not 0, all of x is nan.
    """
    try:
        return np.ascontiguousarray(np.linalg.solve(a, b)), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return np.full((*batch, *b.shape[-2:]), np.nan, a.dtype), inverse(a)[1]


@_with_twin
def det(a):
    """Determinants (...) of square matrices."""
    return np.asarray(np.linalg.det(a))


@_with_twin
def slogdet(a):
    """(signs, logarithms of the absolute values) of determinants."""
    sign, log = np.linalg.slogdet(a)
    return np.asarray(sign, a.dtype), np.asarray(log, a.real.dtype)


# ---- Cholesky ----------------------------------------------------------------------------------------------------------------

@_with_twin
def cholesky(a):
    """(L, info) with a = L L^H, of which the lower triangle is read; info is the order of the first leading minor that is not
    positive-definite, whose L means nothing.
    """
    try:
        return np.linalg.cholesky(a), np.zeros(a.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        out, info = np.zeros(a.shape, a.dtype), np.zeros(a.shape[:-2], np.int32)
    for i, (one, matrix) in enumerate(zip(_each(out), _each(a))):
        try:
            one[...] = np.linalg.cholesky(matrix)
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


# ---- orthogonal factors ------------------------------------------------------------------------------------------------------

@_with_twin
def qr(a, mode):
    """(q, r) with a = q r: q (..., m, k) and r (..., k, n) with k = min(m, n), or m in ``mode`` "complete"; with "r", r alone."""
    found = np.linalg.qr(a, mode)
    return found if mode == "r" else tuple(found)


@_with_twin
def svd(a, full):
    """(u, s, vh) with a = u diag(s) vh, s descending; ``full``: u and vh are square."""
    return tuple(np.linalg.svd(a, full_matrices=full))


@_with_twin
def svdvals(a):
    """Singular values, descending."""
    return np.linalg.svd(a, compute_uv=False)


# ---- eigenvalues -------------------------------------------------------------------------------------------------------------

@_with_twin
def eigh(a, triangle):
    """(values, vectors) of Hermitian matrices, values ascending; ``triangle`` "L" or "U" is read."""
    return tuple(np.linalg.eigh(a, triangle))


@_with_twin
def eigvalsh(a, triangle):
    """Eigenvalues of Hermitian matrices, ascending."""
    return np.linalg.eigvalsh(a, triangle)


@_with_twin
def eig(a):
    """(values, vectors) of square matrices, complex, the vectors of norm 1."""
    values, vectors = np.linalg.eig(a)
    want = np.result_type(a.dtype, np.complex64)
    return values.astype(want, copy=False), vectors.astype(want, copy=False)
