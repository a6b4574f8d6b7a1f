"""Rows of Fourier transforms; the references are numpy.fft's in float64, for those it has not, sums of exponentials."""
import numpy as np

from . import C, D, I, Row, S, T, V


def of_one(fn):
    return lambda x, n=None, dim=-1, norm=None: fn(x, n, dim, norm)


def np_dims(x, s, dim):
    """(sizes, dims) as NumPy wants them."""
    if dim is None:
        dim = tuple(range(x.ndim)) if s is None else tuple(range(x.ndim - len(np.atleast_1d(s)), x.ndim))
    dim = tuple(np.atleast_1d(dim).tolist())
    s = [-1] * len(dim) if s is None else np.atleast_1d(s).tolist()
    return s, dim


def of_several(fn, dims=None, half=False):
    """A reference with torch's arguments; ``half``: s[-1] counts the real points of an inverse transform."""
    def reference(x, s=None, dim=dims, norm=None):
        s, dim = np_dims(x, s, dim)
        sizes = [x.shape[d] if n == -1 else n for d, n in zip(dim, s)]
        if half and s[-1] == -1:
            sizes[-1] = 2 * (x.shape[dim[-1]] - 1)
        return fn(x, sizes, dim, norm) if dim else x + 0j
    return reference


SWAPPED = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def np_hfftn(x, s, dim, norm):
    return np.fft.irfftn(x.conj(), s, dim, SWAPPED[norm])


def np_ihfftn(x, s, dim, norm):
    return np.fft.rfftn(x, s, dim, SWAPPED[norm]).conj()


TOL = {"float32": (1e-5, 1e-5), "complex64": (1e-5, 1e-5)}
NORMS = ("backward", "ortho", "forward")
NO_POINTS = [(S(T(3), 0), RuntimeError, r"Invalid number of data points \(0\) specified"),
             (S(T(3, 0)), RuntimeError, r"Invalid number of data points \((0|-2)\) specified")]
ONE_ERRORS = [*NO_POINTS, (S(T(3), -1), RuntimeError, r"Invalid number of data points \(-1\) specified"),
              (S(T(3), None, 1), IndexError, r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)"),
              (S(T()), IndexError, "Dimension specified as -1 but tensor has no dimensions"),
              (S(T(3), norm="half"), RuntimeError, 'Invalid normalization mode: "half"'),
              (S(T(3), norm=2), TypeError, "argument 'norm' must be str, not int"),
              (S(T(3), 2.5), TypeError, "must be int, not float"),
              (S([1.0]), TypeError, r"argument 'input' \(position 1\) must be Tensor, not list"),
              (S(T(3, dtype="float16")), RuntimeError, "Unsupported dtype Half"),
              (S(T(3, dtype="bfloat16")), RuntimeError, "Unsupported dtype BFloat16")]
SEVERAL_ERRORS = [(S(T(2, 3), (2,), (0, 1)), RuntimeError, "When given, dim and shape arguments must have the same length"),
                  (S(T(2, 3), (2, 0)), RuntimeError, r"Invalid number of data points \(0\) specified"),
                  (S(T(2, 3), (2, -2)), RuntimeError, r"Invalid number of data points \(-2\) specified"),
                  (S(T(2, 3), dim=(0, -2)), RuntimeError, "FFT dims must be unique"),
                  (S(T(2, 3), dim=(0, 2)), IndexError, r"expected to be in range of \[-2, 1\], but got 2"),
                  (S(T(2, 3), norm="half"), RuntimeError, 'Invalid normalization mode: "half"'),
                  (S(T(2, 3, dtype="float16")), RuntimeError, "Unsupported dtype Half")]
N_ERRORS = [*SEVERAL_ERRORS, (S(T(2, 3), (2, 2, 2)), RuntimeError, "Got shape with 3 values but input tensor only has 2 dimensions")]
TWO_ERRORS = [*SEVERAL_ERRORS, (S(T()), IndexError, "Dimension specified as -2 but tensor has no dimensions"),
              (S(T(2, 3), dim=None), TypeError, "argument 'dim' must be tuple of ints, not NoneType")]


def no_axis(name):
    return (S(T(2, 3), dim=()), RuntimeError, f"{name} must transform at least one axis")


def samples(kinds, integers=True):
    """Samples of a transform along one dimension: sizes odd, even and 1, cut off and filled up, each norm, each dimension."""
    K = kinds[0]
    more = [S(K(3, 4, 2), dim=1), S(K(5, 2), n=3, dim=0, norm="ortho"), *(S(K(4), norm=n) for n in NORMS), S(K(3), 1)]
    return [s for k in kinds for s in (S(k(4)), S(k(2, 5)), S(k(3), 6), S(k(6), 3), S(k(6), 4))] + more + (
        [S(I(5)), S(I(4, dtype="bool", high=2))] if integers else [])


def several(kinds):
    """The same along several dimensions."""
    K = kinds[0]
    more = [S(K(2, 3, 4), dim=(0, 2)), S(K(3, 2), dim=(1, 0)), S(K(3, 4), (2, -1)), S(K(3, 2), (2, 5), norm="ortho"),
            *(S(K(2, 3), norm=n) for n in NORMS), S(K(3, 4), dim=(1,)), S(K(3, 4), dim=0), S(I(2, 3))]
    return [s for k in kinds for s in (S(k(3, 4)), S(k(2, 2, 3)), S(k(2, 5), (3, 3)), S(k(4, 3), s=(4, 4), dim=(0, 1)))] + more


def in_all(kinds):
    """And where all dimensions are the default."""
    K = kinds[0]
    return several(kinds) + [S(K(5)), S(K(2, 3, 4), (4,)), S(K(2, 3, 4), (3, 2)), S(K(3, 4), 3)]


def np_stft(x, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
            onesided=None, return_complex=None, align_to_window=None):
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    window = np.ones(width) if window is None else window
    before = (n_fft - width) // 2
    ends = (n_fft // 2,) * 2 if center else (before, n_fft - width - before) if align_to_window else (0, 0)
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [ends], {"replicate": "edge"}.get(pad_mode, pad_mode) if center else "constant")
    window = np.pad(window, (before, n_fft - width - before))
    frames = np.stack([x[..., k:k + n_fft] * window for k in range(0, x.shape[-1] - n_fft + 1, hop)], -2)
    y = np.fft.fft(frames, norm="ortho" if normalized else None).swapaxes(-1, -2)
    if onesided is not False and not np.iscomplexobj(frames):
        y = y[..., :n_fft // 2 + 1, :]
    return np.stack([y.real, y.imag], -1) if return_complex is False else y


def np_istft(X, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None, length=None,
             return_complex=False):
    hop, width = hop_length or n_fft // 4, win_length or n_fft
    before = (n_fft - width) // 2
    window = np.pad(np.ones(width) if window is None else window, (before, n_fft - width - before))
    X = X.swapaxes(-1, -2)
    frames = np.fft.ifft(X) if return_complex else np.fft.irfft(X[..., :n_fft // 2 + 1], n_fft)
    frames = frames * (n_fft ** 0.5 if normalized else 1)
    total = n_fft + hop * (X.shape[-2] - 1)
    y, squares = np.zeros((*X.shape[:-2], total), frames.dtype), np.zeros(total)
    for k in range(X.shape[-2]):
        y[..., k * hop:k * hop + n_fft] += frames[..., k, :] * window
        squares[k * hop:k * hop + n_fft] += window ** 2
    start = n_fft // 2 if center else 0
    end = total - start if length is None else start + length
    y = y[..., start:end] / squares[start:end]
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, max(end - total, 0))])


def W(n, kind=T):
    return kind(n, low=0.5, high=1.5)


BOTH, REAL, COMPLEX_FIRST = (T, C), (T,), (C, T)

ROWS = [
    Row("fft.fft", samples(BOTH), of_one(np.fft.fft), tol=TOL, errors=ONE_ERRORS),
    Row("fft.ifft", samples(BOTH), of_one(np.fft.ifft), tol=TOL, errors=ONE_ERRORS),
    Row("fft.rfft", samples(REAL), of_one(np.fft.rfft), tol=TOL,
        errors=[*ONE_ERRORS, (S(C(3)), RuntimeError, "rfft expects a real input tensor, but got ComplexFloat")]),
    Row("fft.irfft", samples(COMPLEX_FIRST), of_one(np.fft.irfft), tol=TOL, errors=ONE_ERRORS),
    Row("fft.hfft", samples(COMPLEX_FIRST), of_one(np.fft.hfft), tol=TOL, errors=ONE_ERRORS),
    Row("fft.ihfft", samples(REAL), of_one(np.fft.ihfft), tol=TOL,
        errors=[*ONE_ERRORS, (S(C(3)), RuntimeError, "ihfft expects a real input tensor, but got ComplexFloat")]),
    Row("fft.fftn", [*in_all(BOTH), S(T(2, 3), dim=()), S(T())], of_several(np.fft.fftn), tol=TOL, errors=N_ERRORS),
    Row("fft.ifftn", [*in_all(BOTH), S(C(2, 3), dim=())], of_several(np.fft.ifftn), tol=TOL, errors=N_ERRORS),
    Row("fft.rfftn", in_all(REAL), of_several(np.fft.rfftn), tol=TOL,
        errors=[*N_ERRORS, no_axis("rfftn"),
                (S(C(2, 3)), RuntimeError, "rfftn expects a real-valued input tensor, but got ComplexFloat")]),
    Row("fft.irfftn", in_all(COMPLEX_FIRST), of_several(np.fft.irfftn, half=True), tol=TOL,
        errors=[*N_ERRORS, no_axis("irfftn")]),
    Row("fft.hfftn", in_all(COMPLEX_FIRST), of_several(np_hfftn, half=True), tol=TOL, errors=[*N_ERRORS, no_axis("hfftn")]),
    Row("fft.ihfftn", in_all(REAL), of_several(np_ihfftn), tol=TOL,
        errors=[*N_ERRORS, no_axis("ihfftn"),
                (S(C(2, 3)), RuntimeError, "Only supports floating-point dtypes, but found: ComplexFloat")]),
    Row("fft.fft2", several(BOTH), of_several(np.fft.fftn, (-2, -1)), tol=TOL, errors=TWO_ERRORS),
    Row("fft.ifft2", several(BOTH), of_several(np.fft.ifftn, (-2, -1)), tol=TOL, errors=TWO_ERRORS),
    Row("fft.rfft2", several(REAL), of_several(np.fft.rfftn, (-2, -1)), tol=TOL, errors=[*TWO_ERRORS, no_axis("rfftn")]),
    Row("fft.irfft2", several(COMPLEX_FIRST), of_several(np.fft.irfftn, (-2, -1), half=True), tol=TOL,
        errors=[*TWO_ERRORS, no_axis("irfftn")]),
    Row("fft.hfft2", several(COMPLEX_FIRST), of_several(np_hfftn, (-2, -1), half=True), tol=TOL,
        errors=[*TWO_ERRORS, no_axis("hfftn")]),
    Row("fft.ihfft2", several(REAL), of_several(np_ihfftn, (-2, -1)), tol=TOL, errors=[*TWO_ERRORS, no_axis("ihfftn")]),
    Row("fft.fftfreq", [S(5), S(4, 0.3), S(1), S(0), S(7, d=2.0, dtype=D("float64")), S(5, dtype=D("float32"))],
        lambda n, d=1.0, dtype=None: np.fft.fftfreq(n, d) if n else np.zeros(0), grad=False,
        errors=[(S(-1), RuntimeError, r"Trying to create tensor with negative dimension -1: \[-1\]"),
                (S(5.0), TypeError, "must be int, not float"),
                (S(5, dtype=D("int64")), RuntimeError, "fftfreq requires a floating point or complex dtype"),
                (S(5, dtype=D("complex64")), NotImplementedError, "\"arange_cpu\" not implemented for 'ComplexFloat'")]),
    Row("fft.fftfreq", [S(6, dtype=D("float16")), S(5, 0.3, dtype=D("bfloat16")), S(4, 0.0)], grad=False),
    Row("fft.rfftfreq", [S(5), S(4, 0.3), S(1), S(7, d=2.0, dtype=D("float64")), S(5, dtype=D("float32"))],
        lambda n, d=1.0, dtype=None: np.fft.rfftfreq(n, d), grad=False,
        errors=[(S(5.0), TypeError, "must be int, not float"),
                (S(5, dtype=D("bool")), RuntimeError, "rfftfreq requires a floating point or complex dtype")]),
    Row("fft.fftshift", [S(T(5)), S(T(4)), S(T(3, 4)), S(T(3, 4), 0), S(T(3, 4, 2), (2, 0)), S(T(3, 4), dim=-1), S(C(3, 2)), S(I(5)),
                         S(T(0, 3))], lambda x, dim=None: np.fft.fftshift(x, dim), also=("float16", "bfloat16"),
        errors=[(S(T(3), 1), IndexError, r"expected to be in range of \[-1, 0\], but got 1"),
                (S(T()), RuntimeError, "`shifts` required"),
                (S(T(), 0), IndexError, "Dimension specified as 0 but tensor has no dimensions")]),
    Row("fft.ifftshift", [S(T(5)), S(T(4)), S(T(3, 4)), S(T(3, 4), 0), S(T(3, 4, 2), (2, 0)), S(T(3, 4), dim=-1), S(C(3, 2)), S(I(5)),
                          S(V([3.0]))], lambda x, dim=None: np.fft.ifftshift(x, dim), also=("float16", "bfloat16"),
        errors=[(S(T(3), 1), IndexError, r"expected to be in range of \[-1, 0\], but got 1")]),
    Row("stft", [S(T(9), 4, window=W(4), return_complex=True), S(T(2, 9), 4, 2, window=W(4), return_complex=True),
                 S(T(9), 5, 2, 3, W(3), return_complex=True), S(T(9), 4, return_complex=True),
                 S(T(9), 4, 2, 3, return_complex=True), S(T(9), 4, window=W(4), center=False, return_complex=True),
                 S(T(9), 6, 2, 4, W(4), False, align_to_window=True, return_complex=True),
                 S(T(9), 4, 3, None, W(4), True, "constant", True, return_complex=True),
                 S(T(9), 4, 3, window=W(4), pad_mode="replicate", return_complex=True),
                 S(T(9), 4, 2, window=W(4), onesided=False, return_complex=True),
                 S(T(9), 4, 2, window=W(4), return_complex=False), S(C(9), 4, 2, window=W(4)),
                 S(T(9), 4, 2, window=W(4, C), center=False)], np_stft, tol=TOL,
        errors=[(S(T(9), 4), RuntimeError, "stft requires the return_complex parameter be given for real inputs"),
                (S(T(9), 4, align_to_window=True), RuntimeError, "stft align_to_window should only be set when center = false"),
                (S(T(3), 4, center=False, return_complex=True), RuntimeError, "expected 0 < n_fft < 3, but got n_fft=4"),
                (S(T(3), 8, return_complex=True), RuntimeError, "Padding size should be less than the corresponding input dimension"),
                (S(T(9), 4, 0, return_complex=True), RuntimeError, "expected hop_length > 0, but got hop_length=0"),
                (S(T(9), 4, win_length=5, return_complex=True), RuntimeError,
                 "expected 0 < win_length <= n_fft, but got win_length=5"),
                (S(T(9), 4, window=T(3), return_complex=True), RuntimeError,
                 r"of size equal to win_length=4, but got window with size \[3\]"),
                (S(T(1, 1, 9), 4, center=False, return_complex=True), RuntimeError, "expected a 1D or 2D tensor"),
                (S(I(9), 4, center=False, return_complex=True), RuntimeError, "a tensor of floating point or complex values"),
                (S(C(9), 4, onesided=True), RuntimeError, "Cannot have onesided output if window or input is complex")]),
    Row("istft", [S(C(3, 4), 4, window=W(4)), S(C(2, 3, 4), 4, 2, window=W(4)), S(C(3, 4), 5, 2, 3, W(3)), S(C(3, 4), 4),
                  S(C(3, 4), 4, 2, window=W(4), center=False), S(C(3, 4), 4, 2, window=W(4), normalized=True),
                  S(C(4, 3), 4, 2, window=W(4)), S(C(4, 3), 4, 2, window=W(4), onesided=False, return_complex=True),
                  S(C(3, 4), 4, 2, window=W(4), length=5), S(C(3, 4), 4, 2, window=W(4), length=11)], np_istft, tol=TOL,
        errors=[(S(T(3, 4), 4), RuntimeError, "istft requires a complex-valued input tensor matching the output from stft"),
                (S(C(3, 0), 4), RuntimeError, "input tensor cannot be empty"),
                (S(C(1, 1, 3, 4), 4), RuntimeError, "expected a tensor with 3 or 4 dimensions, but got 5"),
                (S(C(4, 4), 4, onesided=True), RuntimeError, "to match n_fft / 2 \\+ 1 when onesided=True, but got 4"),
                (S(C(3, 4), 4, onesided=False), RuntimeError, "to match n_fft when onesided=False, but got 3"),
                (S(C(3, 4), 4, 5), RuntimeError, "expected 0 < hop_length <= win_length"),
                (S(C(3, 4), 4, 1, 5), RuntimeError, "expected 0 < win_length <= n_fft"),
                (S(C(3, 4), 4, window=T(3)), RuntimeError, "Invalid window shape. window has to be 1D and length of `win_length`"),
                (S(C(3, 4), 4, return_complex=True), RuntimeError, "Cannot have onesided output if window or input is complex"),
                (S(C(3, 4), 4, window=C(4)), RuntimeError, "Complex windows are incompatible with return_complex=False"),
                (S(C(3, 4), 4, window=V([0.0] * 4)), RuntimeError, "window overlap add min")]),
]
