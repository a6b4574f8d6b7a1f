"""Fourier transforms beyond the op table: round trips, adjoints, names of nodes, dtypes, out=, and spectra that are known."""
import math
import warnings

import numpy as np
import pytest
import simulator

import numtorch as nt
from numtorch import _on_host, fft

PAIRS = [("fft", "ifft", {}), ("fftn", "ifftn", {}), ("fft2", "ifft2", {}), ("rfft", "irfft", {"n": 5}), ("ihfft", "hfft", {"n": 5}),
         ("rfftn", "irfftn", {"s": (3, 4, 5)}), ("rfft2", "irfft2", {"s": (4, 5)}), ("ihfftn", "hfftn", {"s": (3, 4, 5)}),
         ("ihfft2", "hfft2", {"s": (4, 5)})]


def random(*shape, complex_=False):
    a = np.random.default_rng(3).standard_normal((2, *shape))
    return nt.from_numpy(a[0] + 1j * a[1] if complex_ else a[0])


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("there, back, sizes", PAIRS, ids=lambda p: p if isinstance(p, str) else "")
def test_inverses_give_the_signal_back(there, back, sizes, norm):
    """Each transform undone by its inverse, of the same norm."""
    x = random(3, 4, 5)
    y = getattr(fft, back)(getattr(fft, there)(x, norm=norm), norm=norm, **sizes)
    np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-12)


def test_a_wave_is_one_frequency():
    """The spectrum of exp(2 pi i 3 t / 16) is 16 at its frequency, 3 / 16, and 0 elsewhere."""
    t = nt.arange(16, dtype=nt.float64)
    y = fft.fft(nt.polar(nt.ones_like(t), 2 * math.pi * 3 * t / 16)).abs()
    assert fft.fftfreq(16)[y.argmax()].item() == 3 / 16 and y.max().item() == pytest.approx(16) and y.sum().item() == pytest.approx(16)


def test_ortho_keeps_lengths():
    """Parseval: with norm="ortho" a signal and its spectrum have the same norm."""
    x = random(4, 6, complex_=True)
    for y in (fft.fft(x, norm="ortho"), fft.fftn(x, norm="ortho"), fft.ifft(x, norm="ortho")):
        assert y.norm().item() == pytest.approx(x.norm().item())


def test_nodes_have_torchs_names():
    """The graph is made of the nodes that torch's is made of."""
    x, c = random(4, 6).requires_grad_(), random(4, 6, complex_=True).requires_grad_()

    def names(y):
        node, found = y.grad_fn, []
        while node is not None and node.next_functions:
            found.append(node.name())
            node = node.next_functions[0][0]
        return found
    assert names(fft.fft(x)) == ["FftR2CBackward0"]
    assert names(fft.ifft(x, 9)) == ["ConjBackward0", "FftR2CBackward0", "ConstantPadNdBackward0"]
    assert names(fft.fft(c, 3)) == ["FftC2CBackward0", "SliceBackward0"]
    assert names(fft.fft2(x, (5, 3))) == ["FftC2CBackward0", "ConstantPadNdBackward0", "SliceBackward0", "ToCopyBackward0"]
    assert names(fft.irfft(c, 9)) == ["FftC2RBackward0", "SliceBackward0"]
    assert names(fft.hfftn(c)) == ["FftC2RBackward0", "ConjBackward0", "FftC2CBackward0"]
    assert names(fft.fftshift(x)) == ["RollBackward0"]


def test_the_precision_is_the_inputs():
    """float32 stays in single precision; integers are read as the default dtype."""
    x = nt.tensor([1, 2, 3])
    assert fft.fft(x).dtype is nt.complex64 and fft.irfft(x).dtype is nt.float32
    assert fft.rfft(x.double()).dtype is nt.complex128 and fft.irfftn(x.double()).dtype is nt.float64
    nt.set_default_dtype(nt.float64)
    assert fft.fft(x).dtype is nt.complex128 and fft.fftfreq(3).dtype is nt.float64


def test_results_are_of_their_own_memory():
    """A transform along no dimensions is a copy."""
    x = random(2, complex_=True)
    fft.fftn(x, dim=()).zero_()
    assert x.abs().min().item() > 0


def test_out_of_frequencies_gives_the_dtype():
    """fftfreq(out=) takes the dtype of out, and refuses another one beside it."""
    out = nt.empty(0, dtype=nt.float64)
    assert fft.fftfreq(4, out=out) is out and out.tolist() == [0, 0.25, -0.5, -0.25]
    with pytest.raises(RuntimeError, match=r"dtype Float does not match dtype of out parameter \(Double\)"):
        fft.rfftfreq(4, out=out, dtype=nt.float32)
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type Double"):
        fft.fft(random(3), out=out)


@pytest.mark.parametrize("hop", [1, 2, 3])
def test_istft_inverts_stft(hop):
    """The signal comes back from its spectra wherever windows reach."""
    x, window = random(2, 20), nt.from_numpy(np.hanning(9)[:8])
    y = nt.istft(nt.stft(x, 8, hop, window=window, return_complex=True), 8, hop, window=window, length=18)
    np.testing.assert_allclose(y.numpy(), x.numpy()[:, :18], atol=1e-12)


def test_windows_of_an_odd_rest_are_aligned():
    """align_to_window with n_fft - win_length odd, where torch reads beyond its buffer: the first window begins with the signal."""
    x, window = random(9), nt.ones(3, dtype=nt.float64)
    y = nt.stft(x, 6, 2, 3, window, False, align_to_window=True, return_complex=True)
    np.testing.assert_allclose(y[0].numpy(), [x[k:k + 3].sum().item() for k in (0, 2, 4, 6)], atol=1e-12)


def test_on_a_device_one_warning_and_out():
    """Transforms of device tensors run on the host and say so once; results, gradients and out= are on the device."""
    _on_host._said.clear()
    x = random(4)
    with simulator.installed(seed=1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        leaf, out = x.cuda().requires_grad_(), nt.empty(0, dtype=nt.complex128, device="cuda")
        for _ in range(2):
            y = fft.rfft(leaf)
            y.abs().sum().backward()
        assert fft.rfft(leaf.detach(), out=out) is out and out.is_cuda and y.is_cuda and leaf.grad.is_cuda
        np.testing.assert_allclose(out.cpu().numpy(), np.fft.rfft(x.numpy()), atol=1e-12)
        assert fft.fftfreq(4, device="cuda").is_cuda and fft.fftshift(leaf).is_cuda
    said = [str(w.message).partition(":")[0] for w in caught if "there is no CUDA kernel" in str(w.message)]
    assert said == ["rfft"]
