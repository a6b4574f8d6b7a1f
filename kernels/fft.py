"""Discrete Fourier transforms: by pocketfft, through numpy.fft, in the input's precision; of arrays on a CUDA device by cuFFT.

``scale`` is what a transform of n points in all is multiplied by: "none" (1), "root" (1 / sqrt(n)) or "n" (1 / n).
"""
import numpy as np

from ._device import DeviceArray

# NumPy names a scale by direction: its forward transforms call "none" backward, and its inverse ones call it forward
_NORMS = {("none", True): "backward", ("root", True): "ortho", ("n", True): "forward",
          ("none", False): "forward", ("root", False): "ortho", ("n", False): "backward"}


def ready(a):
    """Raises OnHost for an array on a CUDA device where cuFFT is not installed."""
    if a.__class__ is DeviceArray:
        _on_device().CUFFT.load()


def c2c(a, dims, scale, forward):
    """Complex to complex along ``dims``, with exp(-2 pi i k n / N) forward and its conjugate inverse; no dims: a copy."""
    if not dims:
        return a.copy()
    if a.__class__ is DeviceArray:
        return _on_device().c2c(a, dims, scale, forward)
    return (np.fft.fftn if forward else np.fft.ifftn)(a, axes=dims, norm=_NORMS[scale, forward])


def r2c(a, dims, scale, onesided=True):
    """Real to complex along ``dims``, forward; ``onesided``: of the last of them only the n // 2 + 1 not negative frequencies."""
    if a.__class__ is DeviceArray:
        return _on_device().r2c(a, dims, scale, onesided)
    return (np.fft.rfftn if onesided else np.fft.fftn)(a, axes=dims, norm=_NORMS[scale, True])


def c2r(a, dims, scale, size):
    """The inverse of a one-sided ``r2c`` that had ``size`` points along the last of ``dims``.

    Of a frequency that a real signal has only a real part of, the imaginary part counts as 0.
    """
    if a.__class__ is DeviceArray:
        return _on_device().c2r(a, dims, scale, size)
    return np.fft.irfftn(a, (*(a.shape[d] for d in dims[:-1]), size), dims, _NORMS[scale, False])


def _on_device():
    from . import fft_cuda

    return fft_cuda
