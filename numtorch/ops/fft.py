"""Discrete Fourier transforms: pocketfft does them, through numpy.fft, in the input's precision; on CUDA cuFFT, if installed.

Three transforms are recorded: complex to complex, real to complex, complex to real; the public ones are made of them as in torch.
Each is linear, so its gradient is its adjoint, with the same scale: again a transform, recorded like any other.
"""
import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..op import grad_name, op, put_out, record, type_name
from ..tensor import wrap
from .convert import to_dtype
from .create import finish, np_dtype
from .pad import constant_pad
from .rearrange import roll
from .view_parts import basic_view

# ---- the three transforms ------------------------------------------------------------------------------------------------
#
# ``scale`` is what a transform of n points in all is multiplied by: "none" (1), "root" (1 / sqrt(n)) or "n" (1 / n).


def fft_c2c(x, dims, scale, forward):
    """Complex to complex along ``dims``, with exp(-2 pi i k n / N) forward and its conjugate inverse."""
    return record(K.fft.c2c(x._a, dims, scale, forward), fft_c2c_backward, (x,), dims=dims, scale=scale, forward=forward)


@grad_name("FftC2CBackward0")
def fft_c2c_backward(node, g):
    """Gradient of fft_c2c: the transform in the other direction."""
    ctx = node.ctx
    return fft_c2c(g, ctx["dims"], ctx["scale"], not ctx["forward"])


def fft_r2c(x, dims, scale, onesided=True):
    """Real to complex along ``dims``, forward; ``onesided``: of the last of them only the n // 2 + 1 not negative frequencies."""
    y = K.fft.r2c(x._a, dims, scale, onesided)
    return record(y, fft_r2c_backward, (x,), dims=dims, scale=scale, size=x._a.shape[dims[-1]])


@grad_name("FftR2CBackward0")
def fft_r2c_backward(node, g):
    """Gradient of fft_r2c: zeros for the frequencies that are not there, the inverse transform, its real part."""
    dims, size = node.ctx["dims"], node.ctx["size"]
    K.fft.ready(g._a)
    return fft_c2c(_resized(g, dims[-1:], (size,)), dims, node.ctx["scale"], False).real


def fft_c2r(x, dims, scale, size):
    """The inverse of a one-sided fft_r2c that had ``size`` points along the last of ``dims``."""
    return record(K.fft.c2r(x._a, dims, scale, size), fft_c2r_backward, (x,), dims=dims, scale=scale)


@grad_name("FftC2RBackward0")
def fft_c2r_backward(node, g):
    """Gradient of fft_c2r: the one-sided transform, twice where a frequency stands for its negative one, too."""
    dims = node.ctx["dims"]
    y = fft_r2c(g, dims, node.ctx["scale"])
    last, n = dims[-1], y._a.shape[dims[-1]]
    times = np.ones([n if d == last else 1 for d in range(y._a.ndim)], g._a.dtype)
    times.reshape(-1)[1:1 + g._a.shape[last] - n] = 2
    return y * wrap(np.asarray(times, like=g._a))


# ---- arguments -----------------------------------------------------------------------------------------------------------

def _scale(norm, forward):
    """The scale that torch's ``norm`` means for a direction."""
    if norm is not None and not isinstance(norm, str):
        raise TypeError(f"argument 'norm' must be str, not {type(norm).__name__}")
    if norm not in (None, "backward", "ortho", "forward"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return "root" if norm == "ortho" else "n" if (norm == "forward") is forward else "none"


def in_floating(x, complex_=False):
    """``x`` in a dtype that is transformed: integers as the default dtype; complex where the transform is."""
    kind = x.dtype
    if kind in dtypes.HALVES:
        raise RuntimeError(f"Unsupported dtype {type_name(kind)}")
    if kind.category < dtypes.FLOATING:
        kind = dtypes.get_default_dtype()
    return to_dtype(x, kind.to_complex() if complex_ else kind)


def _must_be_real(name, x):
    if x.is_complex():
        raise RuntimeError(f"{name} input tensor, but got {type_name(x.dtype)}")


def _points(n):
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _resized(x, dims, sizes):
    """``x`` with ``sizes`` along ``dims``: cut off, or with zeros added, at the end."""
    a = x._a
    for d, n in zip(dims, sizes):
        if n < a.shape[d]:
            x = basic_view(x, (slice(None),) * d + (slice(n), ...))
    missing = {d: n - a.shape[d] for d, n in zip(dims, sizes) if n > a.shape[d]}
    if not missing:
        return x
    return constant_pad(x, [w for d in range(a.ndim - 1, min(missing) - 1, -1) for w in (0, missing.get(d, 0))], 0)


def _one(x, n, dim):
    """``x`` with ``n`` points (None: as many as there are) along ``dim``, and that dim as a tuple."""
    dims = (shapes.wrap_dim(dim, x._a.ndim, allow_scalar=False),)
    n = _points(x._a.shape[dims[0]] if n is None else shapes.as_int("n", n))
    return _resized(x, dims, (n,)), dims


def _one_half(x, n, dim):
    """``x`` with the n // 2 + 1 frequencies of ``n`` real points (None: an even number) along ``dim``; that dim, and n."""
    dims = (shapes.wrap_dim(dim, x._a.ndim, allow_scalar=False),)
    n = _points(2 * (x._a.shape[dims[0]] - 1) if n is None else shapes.as_int("n", n))
    return _resized(x, dims, (n // 2 + 1,)), dims, n


def _several(x, s, dim, name=None):
    """(dims, sizes) of a transform of several dimensions; ``name``: of one that needs at least one."""
    shape = x._a.shape
    if dim is not None:
        dims = (dim,) if isinstance(dim, int) else tuple(dim)
        dims = tuple([shapes.wrap_dim(d, len(shape), allow_scalar=False) for d in dims])
        if len(set(dims)) < len(dims):
            raise RuntimeError("FFT dims must be unique")
    if s is not None:
        s = shapes.as_sizes((s,))
        if dim is not None and len(dims) != len(s):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if len(s) > len(shape):
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {len(shape)} dimensions.")
    if dim is None:
        dims = tuple(range(len(shape) - len(shape if s is None else s), len(shape)))
    sizes = [_points(shape[d] if n == -1 else n) for d, n in zip(dims, [-1] * len(dims) if s is None else s)]
    if name and not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    return dims, sizes


def _several_half(x, s, dim, name):
    """(dims, sizes of the input, real points along the last dim) of an inverse transform to real numbers."""
    dims, sizes = _several(x, s, dim, name)
    given = shapes.as_sizes((s,))[-1] if s is not None else -1
    n = _points(2 * (x._a.shape[dims[-1]] - 1) if given == -1 else given)
    return dims, (*sizes[:-1], n // 2 + 1), n


def _two(name, dim):
    if not isinstance(dim, (int, tuple, list)):
        raise TypeError(f"fft_{name}(): argument 'dim' must be tuple of ints, not {type(dim).__name__}")
    return dim


# ---- one dimension -------------------------------------------------------------------------------------------------------

@op(namespace="fft", out=True)
def fft(input, n=None, dim=-1, norm=None):
    """The discrete Fourier transform X[k] = sum over t of x[t] exp(-2 pi i k t / n).

    Args:
        input (Tensor): real or complex; integers are read as the default dtype.
        n (int): points along ``dim``: the input is cut off or filled with zeros; default: its size.
        dim (int): along which dimension.
        norm (str): "backward" (the default: no scale; the inverse divides by n), "ortho" (both divide by sqrt(n)), "forward"
            (this one divides by n).

    Returns:
        A complex Tensor.

    Raises:
        RuntimeError: n < 1, float16 or bfloat16, or an unknown norm.

    >>> import numtorch as torch
    >>> torch.fft.fft(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j, -2.-2.j])
    """
    x, dims = _one(in_floating(input), n, dim)
    if x.is_complex():
        return fft_c2c(x, dims, _scale(norm, True), True)
    return fft_r2c(x, dims, _scale(norm, True), onesided=False)


@op(namespace="fft", out=True)
def ifft(input, n=None, dim=-1, norm=None):
    """The inverse of ``fft``, with the same arguments; it divides by n unless ``norm`` says otherwise."""
    x, dims = _one(in_floating(input), n, dim)
    if x.is_complex():
        return fft_c2c(x, dims, _scale(norm, False), False)
    return fft_r2c(x, dims, _scale(norm, False), onesided=False).conj()


@op(namespace="fft", out=True)
def rfft(input, n=None, dim=-1, norm=None):
    """The first n // 2 + 1 frequencies of ``fft`` of a real tensor; the others are their conjugates.

    >>> import numtorch as torch
    >>> torch.fft.rfft(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j])
    """
    _must_be_real("rfft expects a real", input)
    x, dims = _one(in_floating(input), n, dim)
    return fft_r2c(x, dims, _scale(norm, True))


@op(namespace="fft", out=True)
def irfft(input, n=None, dim=-1, norm=None):
    """The inverse of ``rfft``: ``n`` real numbers (default 2 (m - 1)) from their m = n // 2 + 1 frequencies."""
    x, dims, n = _one_half(in_floating(input, True), n, dim)
    return fft_c2r(x, dims, _scale(norm, False), n)


@op(namespace="fft", out=True)
def hfft(input, n=None, dim=-1, norm=None):
    """The ``fft``, which is real, of a signal that is Hermitian in time, given by its first n // 2 + 1 elements."""
    x, dims, n = _one_half(in_floating(input, True), n, dim)
    return fft_c2r(x.conj(), dims, _scale(norm, True), n)


@op(namespace="fft", out=True)
def ihfft(input, n=None, dim=-1, norm=None):
    """The inverse of ``hfft``: the first n // 2 + 1 elements of the Hermitian signal whose spectrum is real."""
    _must_be_real("ihfft expects a real", input)
    x, dims = _one(in_floating(input), n, dim)
    return fft_r2c(x, dims, _scale(norm, False)).conj()


# ---- several dimensions --------------------------------------------------------------------------------------------------

@op(namespace="fft", out=True)
def fftn(input, s=None, dim=None, norm=None):
    """``fft`` along several dimensions.

    Args:
        input (Tensor): real or complex.
        s (ints): the points along each dimension, -1 for the input's size; default: the input's sizes.
        dim (ints): which dimensions; default: the last ``len(s)``, or all.
        norm (str): as ``fft``'s; n is the number of points in all.

    >>> import numtorch as torch
    >>> torch.fft.fftn(torch.ones(2, 2))
    tensor([[4.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]])
    """
    dims, sizes = _several(input, s, dim)
    return fft_c2c(_resized(in_floating(input, True), dims, sizes), dims, _scale(norm, True), True)


@op(namespace="fft", out=True)
def ifftn(input, s=None, dim=None, norm=None):
    """The inverse of ``fftn``, with the same arguments."""
    dims, sizes = _several(input, s, dim)
    return fft_c2c(_resized(in_floating(input, True), dims, sizes), dims, _scale(norm, False), False)


@op(namespace="fft", out=True)
def rfftn(input, s=None, dim=None, norm=None):
    """``fftn`` of a real tensor; of the last of ``dim`` only the n // 2 + 1 not negative frequencies."""
    _must_be_real("rfftn expects a real-valued", input)
    dims, sizes = _several(input, s, dim, "rfftn")
    return fft_r2c(_resized(in_floating(input), dims, sizes), dims, _scale(norm, True))


@op(namespace="fft", out=True)
def irfftn(input, s=None, dim=None, norm=None):
    """The inverse of ``rfftn``; ``s`` are the sizes of the result, the last by default 2 (m - 1) for m frequencies."""
    dims, sizes, n = _several_half(input, s, dim, "irfftn")
    return fft_c2r(_resized(in_floating(input, True), dims, sizes), dims, _scale(norm, False), n)


@op(namespace="fft", out=True)
def hfftn(input, s=None, dim=None, norm=None):
    """The ``fftn``, which is real, of a Hermitian signal: ``hfft`` along the last of ``dim``, ``fft`` along the others."""
    dims, sizes, n = _several_half(input, s, dim, "hfftn")
    x, scale = _resized(in_floating(input, True), dims, sizes), _scale(norm, True)
    if len(dims) > 1:
        x = fft_c2c(x, dims[:-1], scale, True)
    return fft_c2r(x.conj(), dims[-1:], scale, n)


@op(namespace="fft", out=True)
def ihfftn(input, s=None, dim=None, norm=None):
    """The inverse of ``hfftn`` for a real tensor: ``ihfft`` along the last of ``dim``, ``ifft`` along the others."""
    dims, sizes = _several(input, s, dim, "ihfftn")
    if input.is_complex():
        raise RuntimeError(f"Only supports floating-point dtypes, but found: {type_name(input.dtype)}")
    scale = _scale(norm, False)
    x = fft_r2c(_resized(in_floating(input), dims, sizes), dims[-1:], scale).conj()
    return fft_c2c(x, dims[:-1], scale, False) if len(dims) > 1 else x


# ---- two dimensions ------------------------------------------------------------------------------------------------------

@op(namespace="fft", out=True)
def fft2(input, s=None, dim=(-2, -1), norm=None):
    """``fftn`` along the last two dimensions."""
    return fftn(input, s, _two("fft2", dim), norm)


@op(namespace="fft", out=True)
def ifft2(input, s=None, dim=(-2, -1), norm=None):
    """``ifftn`` along the last two dimensions."""
    return ifftn(input, s, _two("ifft2", dim), norm)


@op(namespace="fft", out=True)
def rfft2(input, s=None, dim=(-2, -1), norm=None):
    """``rfftn`` along the last two dimensions."""
    return rfftn(input, s, _two("rfft2", dim), norm)


@op(namespace="fft", out=True)
def irfft2(input, s=None, dim=(-2, -1), norm=None):
    """``irfftn`` along the last two dimensions."""
    return irfftn(input, s, _two("irfft2", dim), norm)


@op(namespace="fft", out=True)
def hfft2(input, s=None, dim=(-2, -1), norm=None):
    """``hfftn`` along the last two dimensions."""
    return hfftn(input, s, _two("hfft2", dim), norm)


@op(namespace="fft", out=True)
def ihfft2(input, s=None, dim=(-2, -1), norm=None):
    """``ihfftn`` along the last two dimensions."""
    return ihfftn(input, s, _two("ihfft2", dim), norm)


# ---- frequencies, and their order ----------------------------------------------------------------------------------------

def _frequencies(name, steps, n, d, out, dtype, **options):
    """The integers ``steps``, divided by ``n`` d, as a tensor of the floating ``dtype``."""
    if out is not None and dtype is not None and out.dtype is not dtype:
        raise RuntimeError(f"dtype {type_name(dtype)} does not match dtype of out parameter ({type_name(out.dtype)})")
    kind = np_dtype(dtype) if out is None else out._a.dtype
    if kind.kind in "biu":
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    if kind.kind == "c":
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{type_name(dtypes.from_numpy_dtype(kind))}'")
    work = np.promote_types(kind, np.float32)
    with np.errstate(all="ignore"):
        array = (steps.astype(work) * (np.float64(1) / np.float64(n * d)).astype(work)).astype(kind)
    if out is None:
        return finish(array, **options)
    put_out(name, out, array)
    return out


def _count(n):
    n = shapes.as_int("n", n)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    return n


@op(namespace="fft")
def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """The frequencies of the elements of an ``fft`` of ``n`` points, ``d`` apart: 0, 1 ... then the negative ones, over n d.

    >>> import numtorch as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    n = _count(n)
    steps = np.arange(n)
    steps[(n + 1) // 2:] -= n
    return _frequencies("fftfreq", steps, n, d, out, dtype, device=device, requires_grad=requires_grad, pin_memory=pin_memory,
                        layout=layout)


@op(namespace="fft")
def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """The frequencies of the elements of an ``rfft`` of ``n`` points, ``d`` apart: 0, 1 ... n // 2, over n d.

    >>> import numtorch as torch
    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    n = _count(n)
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, out, dtype, device=device, requires_grad=requires_grad,
                        pin_memory=pin_memory, layout=layout)


def _shifted(input, dim, extra):
    shape = input._a.shape
    dims = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = [shapes.wrap_dim(d, len(shape), allow_scalar=False) for d in dims]
    return roll(input, [(shape[d] + extra) // 2 for d in dims], dims)


@op(namespace="fft")
def fftshift(input, dim=None):
    """The spectrum with frequency 0 moved from the front to the middle of ``dim`` (an int or ints; default: all).

    >>> import numtorch as torch
    >>> torch.fft.fftshift(torch.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted(input, dim, 0)


@op(namespace="fft")
def ifftshift(input, dim=None):
    """The inverse of ``fftshift``: frequency 0 moved from the middle to the front."""
    return _shifted(input, dim, 1)
