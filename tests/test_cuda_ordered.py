"""torch.use_deterministic_algorithms on a (simulated) device: sums and writes by index come in the CPU's order, to the last bit."""
import numpy as np
import pytest
import simulator

import numtorch as torch

F = torch.nn.functional
RNG = np.random.default_rng(5)
N, PLACES = 300, 7
INDEX = torch.tensor(RNG.integers(0, PLACES, N))
VALUES = torch.tensor((RNG.standard_normal((N, 3)) * 10.0 ** RNG.integers(-6, 7, (N, 1))).astype(np.float32))


FACTORS = torch.tensor(RNG.uniform(0.9, 1.1, (N, 3)).astype(np.float32))


@pytest.fixture(autouse=True)
def ordered():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def gradient(fn, x):
    """Of the sum of fn(x) times some numbers, the same ones on each device."""
    x = x.detach().requires_grad_()
    y = fn(x)
    g = np.random.default_rng(7).standard_normal(y.shape) * 10.0 ** np.random.default_rng(8).integers(-6, 7, y.shape)
    y.backward(torch.tensor(g.astype(np.float32)).to(x.device))
    return x.grad


CALLS = {
    "index_add": lambda i, v: torch.ones(PLACES, 3, device=v.device).index_add(0, i, v),
    "index_add of the last dimension": lambda i, v: torch.ones(3, PLACES, device=v.device).index_add(1, i, v.t()),
    "scatter_add": lambda i, v: torch.ones(PLACES, 3, device=v.device).scatter_add(0, i[:, None].expand(-1, 3), v),
    "scatter": lambda i, v: torch.zeros(PLACES, 3, device=v.device).scatter(0, i[:, None].expand(-1, 3), v),
    "scatter_reduce prod": lambda i, v: torch.ones(PLACES, 3, device=v.device).scatter_reduce(
        0, i[:, None].expand(-1, 3), FACTORS.to(v.device), "prod"),
    "index_copy": lambda i, v: torch.zeros(PLACES, 3, device=v.device).index_copy(0, i, v),
    "index_put": lambda i, v: torch.zeros(PLACES, 3, device=v.device).index_put((i,), v),
    "index_put, accumulating": lambda i, v: torch.zeros(PLACES, 3, device=v.device).index_put((i,), v, accumulate=True),
    "two indices": lambda i, v: torch.zeros(PLACES, PLACES, device=v.device).index_put((i, i.flip(0)), v[:, 0], accumulate=True),
    "bincount": lambda i, v: torch.bincount(i, v[:, 0]),
    "gather's gradient": lambda i, v: gradient(lambda x: x.gather(0, i[:, None].expand(-1, 3)), v[:PLACES]),
    "index_select's gradient": lambda i, v: gradient(lambda x: x.index_select(0, i), v[:PLACES]),
    "embedding's gradient": lambda i, v: gradient(lambda x: F.embedding(i, x, padding_idx=2), v[:PLACES]),
    "embedding's gradient by frequency": lambda i, v: gradient(lambda x: F.embedding(i, x, scale_grad_by_freq=True), v[:PLACES]),
    "expand's gradient": lambda i, v: gradient(lambda x: x.as_strided((20, 3), (1, 1)), v.flatten()[:22]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_is_the_cpus(name, seed):
    """Numbers of very different sizes, many in a place: sums in any other order would differ."""
    want = CALLS[name](INDEX, VALUES)
    with simulator.installed(seed=seed):
        got = CALLS[name](INDEX.cuda(), VALUES.cuda()).cpu()
    exact = name != "embedding's gradient by frequency"         # which multiplies by a reciprocal
    torch.testing.assert_close(got, want, rtol=0 if exact else 1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.float16, torch.bool, torch.complex64])
def test_dtypes(dtype):
    """Sums and last writes of other dtypes."""
    values = (VALUES[:, 0] > 0 if dtype is torch.bool else (VALUES[:, 0].clamp(-9, 9) * 3).to(dtype))
    for how in ("index_copy_", "index_add_"):
        if dtype is torch.bool and how == "index_add_":
            continue
        want = getattr(torch.zeros(PLACES, dtype=dtype), how)(0, INDEX, values)
        with simulator.installed(seed=1):
            got = getattr(torch.zeros(PLACES, dtype=dtype, device="cuda"), how)(0, INDEX.cuda(), values.cuda()).cpu()
        assert torch.equal(got, want), (how, got, want)


def test_empty_and_bad_indices():
    """No index changes nothing; a bad one is passed over and reported as without an order."""
    with simulator.installed(seed=1):
        x = torch.ones(4, device="cuda")
        assert torch.equal(x.index_add(0, torch.empty(0, dtype=torch.int64, device="cuda"), torch.empty(0, device="cuda")), x)
        with pytest.raises(RuntimeError, match="index 9 is out of bounds|device-side assert"):
            x.index_add(0, torch.tensor([1, 9], device="cuda"), x[:2]).tolist()


def test_pooling():
    """The gradient of a pooling whose windows anything may have left."""
    x = torch.tensor(RNG.standard_normal((1, 2, 7, 9)).astype(np.float32))

    def adaptive(x):
        return F.adaptive_max_pool2d(x, (5, 7))
    want = gradient(adaptive, x)
    with simulator.installed(seed=1):
        torch.testing.assert_close(gradient(adaptive, x.cuda()).cpu(), want, rtol=0, atol=0)


def test_what_has_no_order():
    """The gradient of grid_sample raises torch's error, or warns."""
    def sampled():
        x, grid = torch.ones(1, 1, 3, 3, device="cuda", requires_grad=True), torch.zeros(1, 2, 2, 2, device="cuda")
        F.grid_sample(x, grid, align_corners=False).sum().backward()
    with simulator.installed(seed=1):
        with pytest.raises(RuntimeError, match="grid_sampler_2d_backward_cuda does not have a deterministic implementation"):
            sampled()
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="grid_sampler_2d_backward_cuda"):
            sampled()


def test_modes():
    """The two ways to ask, and what they answer."""
    for word, number in (("default", 0), ("warn", 1), ("error", 2)):
        for asked in (word, number):
            torch.set_deterministic_debug_mode(asked)
            assert torch.get_deterministic_debug_mode() == number
            assert torch.are_deterministic_algorithms_enabled() == (number > 0)
            assert torch.is_deterministic_algorithms_warn_only_enabled() == (number == 1)
    for wrong, error in ((3, RuntimeError), ("never", RuntimeError), (None, TypeError)):
        with pytest.raises(error, match="debug_mode"):
            torch.set_deterministic_debug_mode(wrong)
    with pytest.raises(TypeError, match="must be bool, not int"):
        torch.use_deterministic_algorithms(1)
