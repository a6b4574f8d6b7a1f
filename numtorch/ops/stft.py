"""Short-time Fourier transforms: the spectra of windows that slide along a signal, and the signal from them."""
import warnings

import numpy as np

from .. import kernels as K
from ..op import op, type_name
from ..tensor import wrap
from .fft import fft_c2c, fft_c2r, fft_r2c, in_floating
from .pad import constant_pad
from .pad import pad as pad_
from .view import view_as_real


def _warn_of_no_window(name):
    warnings.warn(f"{name}: a window was not provided, so a rectangular one is applied, which leaks; give window=, or "
                  "torch.ones(win_length) to keep it", UserWarning, stacklevel=4)


def _in_middle(window, n_fft):
    """``window`` with zeros at both ends, so that it has ``n_fft`` elements."""
    missing = n_fft - window._a.shape[0]
    return constant_pad(window, (missing // 2, missing - missing // 2), 0) if missing else window


def _ones(n, like):
    return wrap(np.ones(n, like._a.real.dtype, like=like._a))


@op(method=True)
def stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
         onesided=None, return_complex=None, align_to_window=None):
    """The Fourier transforms of windows of a signal: X[f, t] = sum over k of window[k] x[t hop + k] exp(-2 pi i f k / n_fft).

    Args:
        input (Tensor): (n) or (batch, n), real or complex.
        n_fft (int): points of each transform.
        hop_length (int): from one window to the next; default n_fft // 4.
        win_length (int): elements of the window, which lies in the middle of n_fft points; default n_fft.
        window (Tensor): (win_length); default ones.
        center (bool): window t is centred at t hop, the signal being padded as ``pad_mode`` says; otherwise it begins there.
        normalized (bool): divide by sqrt(n_fft).
        onesided (bool): only the n_fft // 2 + 1 not negative frequencies; default: where signal and window are real.
        return_complex (bool): must be given where signal and window are real; False: the parts in a last dimension of 2.
        align_to_window (bool): without ``center``: the first window, not its n_fft points, begins with the signal.

    Returns:
        A Tensor ((batch,) frequencies, windows).

    Raises:
        RuntimeError: sizes that do not fit together, an integer signal, or return_complex missing.

    >>> import numtorch as torch
    >>> torch.stft(torch.ones(8), 4, window=torch.ones(4), center=False, return_complex=True)[:, 0]
    tensor([4.+0.j, 0.+0.j, 0.+0.j])
    """
    hop, width = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    x = input
    if center:
        shape = x._a.shape
        x = pad_(x.reshape(*[1] * (3 - len(shape)), *shape), (n_fft // 2, n_fft // 2), pad_mode)
        x = x.reshape(x._a.shape[x._a.ndim - len(shape):])
    is_complex = x.is_complex() or window is not None and window.is_complex()
    if not is_complex and return_complex is None:
        raise RuntimeError("stft requires the return_complex parameter be given for real inputs, and will further require that "
                           "return_complex=True in a future PyTorch release.")
    if x._a.dtype.kind in "biu":
        raise RuntimeError(f"stft: expected a tensor of floating point or complex values, but got {type_name(x.dtype)}")
    if x._a.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got one of {x._a.ndim} dimensions")
    n = x._a.shape[-1]
    if not 0 < n_fft <= n:
        raise RuntimeError(f"stft: expected 0 < n_fft < {n}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"stft: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"stft: expected 0 < win_length <= n_fft, but got win_length={width}")
    if window is not None and window._a.shape != (width,):
        raise RuntimeError(f"stft: expected a 1D window tensor of size equal to win_length={width}, but got window with size "
                           f"{list(window._a.shape)}")
    if is_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    K.fft.ready(x._a)
    if window is None:
        _warn_of_no_window("stft")
    if align_to_window:
        x = constant_pad(x, ((n_fft - width) // 2, n_fft - width - (n_fft - width) // 2), 0)
    frames = x.unfold(-1, n_fft, hop)
    if window is not None or width < n_fft:
        frames = frames * _in_middle(_ones(width, x) if window is None else window, n_fft)
    frames, scale, dims = in_floating(frames), "root" if normalized else "none", (x._a.ndim,)
    y = fft_c2c(frames, dims, scale, True) if is_complex else fft_r2c(frames, dims, scale, onesided is None or bool(onesided))
    y = y.transpose(-1, -2)
    return y if return_complex or return_complex is None else view_as_real(y)


@op(method=True)
def istft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None, length=None,
          return_complex=False):
    """The signal whose ``stft`` is nearest to ``input``: windows added where they overlap, over the sum of the windows' squares.

    D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform" (1984).

    Args:
        input (Tensor): complex ((batch,) frequencies, windows).
        n_fft, hop_length, win_length, window, center, normalized, onesided: as they were for ``stft``.
        length (int): of the signal; default: as far as the windows reach.
        return_complex (bool): the signal is complex.

    Returns:
        A Tensor ((batch,) n).

    Raises:
        RuntimeError: sizes that do not fit together, or a window whose squares do not add up to more than 0 everywhere.
    """
    hop, width = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    if not input.is_complex():
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if input._a.size == 0:
        raise RuntimeError("istft: input tensor cannot be empty.")
    if input._a.ndim not in (2, 3):
        raise RuntimeError(f"istft: expected a tensor with 3 or 4 dimensions, but got {input._a.ndim + 1} (the parts of its "
                           "complex numbers counted as one)")
    size, windows = input._a.shape[-2:]
    onesided = size != n_fft if onesided is None else onesided
    if size != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError("istft: expected the frequency dimension (3rd to the last) of the input tensor to match "
                           f"{'n_fft / 2 + 1' if onesided else 'n_fft'} when onesided={bool(onesided)}, but got {size}")
    if not 0 < hop <= width:
        raise RuntimeError("istft: expected 0 < hop_length <= win_length")
    if not 0 < width <= n_fft:
        raise RuntimeError("istft: expected 0 < win_length <= n_fft")
    if window is not None and window._a.shape != (width,):
        raise RuntimeError("istft: Invalid window shape. window has to be 1D and length of `win_length`")
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and window is not None and window.is_complex():
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    K.fft.ready(input._a)
    if window is None:
        _warn_of_no_window("istft")
    window = _in_middle(_ones(width, input) if window is None else window, n_fft)
    frames, scale, dims = input.transpose(-1, -2), "root" if normalized else "n", (input._a.ndim - 1,)
    if return_complex:
        frames = fft_c2c(frames, dims, scale, False)
    else:
        frames = fft_c2r(frames[..., :n_fft // 2 + 1], dims, scale, n_fft)
    total = n_fft + hop * (windows - 1)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - start
    y = _overlapping(frames * window, hop, total)[..., start:end]
    squares = _overlapping((window * window).expand(windows, n_fft), hop, total)[..., start:end]
    if not squares._a.size or squares.abs().min().item() < 1e-11:
        raise RuntimeError("istft: window overlap add min: the squares of the windows add up to 0 somewhere in the signal")
    y = y / squares
    if end <= total:
        return y
    warnings.warn("The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail. "
                  "Please check your center and hop_length settings.", UserWarning, stacklevel=3)
    return constant_pad(y, (0, end - total), 0)


def _overlapping(frames, hop, total):
    """The sums (..., total) of frames (..., windows, n) that begin ``hop`` elements apart."""
    *batch, windows, n = frames._a.shape
    places = (np.arange(windows)[:, None] * hop + np.arange(n)).reshape(-1)
    zeros, places = wrap(np.zeros((*batch, total), frames._a.dtype, like=frames._a)), wrap(np.asarray(places, like=frames._a))
    return zeros.index_add(-1, places, frames.reshape(*batch, windows * n))
