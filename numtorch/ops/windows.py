"""Windows for Fourier transforms of pieces of a signal (``stft``): 0 or little at the ends, 1 in the middle."""
import math

import numpy as np

from .. import dtypes
from ..op import op
from ..tensor import strided
from .create import arange, empty, ones, tensor


def _window(name, formula, window_length, periodic, dtype, layout, device, requires_grad, pin_memory):
    """``formula(n, last)`` for n = 0 ... window_length - 1; ``last``: where the window ends, one later if ``periodic``."""
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    if not (kind.is_floating_point or kind.is_complex):
        raise RuntimeError(f"{name} expects floating point dtypes, got: {kind}")
    if kind.is_complex:
        raise NotImplementedError(f'"{name}" not implemented for {kind}: make one of a real dtype, and convert it')
    if window_length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")
    options = dict(dtype=kind, layout=layout, device=device, pin_memory=pin_memory)
    if window_length < 2:
        made = (ones if window_length else empty)(window_length, **options)
    else:
        made = formula(arange(window_length, **options), window_length - (not periodic))
    return made.requires_grad_(requires_grad)


def _raised_cosine(alpha, beta):
    """The formula of alpha - beta cos(2 pi n / last)."""
    return lambda n, last: (n * (2 * math.pi / last)).cos() * -beta + alpha


@op()
def hann_window(window_length, periodic=True, *, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False):
    """(1 - cos(2 pi n / N)) / 2 for n = 0 ... ``window_length`` - 1.

    Args:
        window_length (int): how many numbers.
        periodic (bool): N is ``window_length``, for Fourier transforms; False: one less, and the window is symmetric.
        dtype (dtype): floating; default the default dtype.

    Raises:
        RuntimeError: the dtype is not floating, or the length negative.

    >>> import numtorch as torch
    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window("hann_window", _raised_cosine(0.5, 0.5), window_length, periodic, dtype, layout, device, requires_grad,
                   pin_memory)


@op()
def hamming_window(window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, layout=strided, device=None,
                   requires_grad=False, pin_memory=False):
    """``alpha`` - ``beta`` cos(2 pi n / N); the arguments are those of ``hann_window``.

    >>> import numtorch as torch
    >>> torch.hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    return _window("hamming_window", _raised_cosine(alpha, beta), window_length, periodic, dtype, layout, device, requires_grad,
                   pin_memory)


@op()
def blackman_window(window_length, periodic=True, *, dtype=None, layout=strided, device=None, requires_grad=False,
                    pin_memory=False):
    """0.42 - cos(2 pi n / N) / 2 + 0.08 cos(4 pi n / N); the arguments are those of ``hann_window``.

    >>> import numtorch as torch
    >>> torch.blackman_window(6)[1:]
    tensor([0.1300, 0.6300, 1.0000, 0.6300, 0.1300])
    """
    def formula(n, last):
        return (n * (4 * math.pi / last)).cos() * 0.08 - (n * (2 * math.pi / last)).cos() * 0.5 + 0.42
    return _window("blackman_window", formula, window_length, periodic, dtype, layout, device, requires_grad, pin_memory)


@op()
def bartlett_window(window_length, periodic=True, *, dtype=None, layout=strided, device=None, requires_grad=False,
                    pin_memory=False):
    """1 - |2 n / N - 1|, a triangle; the arguments are those of ``hann_window``.

    >>> import numtorch as torch
    >>> torch.bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    def formula(n, last):
        x = n * (2 / last)
        return x.minimum(2 - x)
    return _window("bartlett_window", formula, window_length, periodic, dtype, layout, device, requires_grad, pin_memory)


@op()
def kaiser_window(window_length, periodic=True, beta=12.0, *, dtype=None, layout=strided, device=None, requires_grad=False,
                  pin_memory=False):
    """i0(beta sqrt(1 - (2 n / N - 1)^2)) / i0(beta) (Kaiser and Schafer, 1980); the other arguments are those of ``hann_window``.

    >>> import numtorch as torch
    >>> torch.kaiser_window(4, beta=5.0)
    tensor([0.0367, 0.5529, 1.0000, 0.5529])
    """
    def formula(n, last):
        x = np.arange(n.size(0)) * (2 / last) - 1
        return tensor(np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta), dtype=n.dtype, device=n.device)
    return _window("kaiser_window", formula, window_length, periodic, dtype, layout, device, requires_grad, pin_memory)
