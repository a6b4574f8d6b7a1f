"""Random numbers on a (simulated) CUDA device: Philox against its published vectors, the generator's state, and each distribution."""
import copy
import functools
import math
import pickle
import warnings

import numpy as np
import pytest
import simulator
from numtorch.kernels import random_cuda
from simulator import arrays

import numtorch as torch
from numtorch import _on_host, nn
from numtorch import random as generators

FULL = 0xFFFFFFFF


@pytest.fixture(autouse=True)
def driver():
    """A device that holds one block, so that threads take several numbers; nothing goes through the host's memory."""
    _on_host._said.clear()
    with simulator.installed(seed=1, multi_processor_count=1) as found, warnings.catch_warnings():
        warnings.simplefilter("error")
        found.properties = functools.partial(one_block, found.properties)
        yield found


def one_block(properties, device):
    """A device's properties, but of one block of 256 threads."""
    known = properties(device)
    known.max_threads_per_multi_processor = 256
    return known


@arrays.kernel("I* I*")
def block_of(numbers, out):
    """The block of words of a counter and a key."""
    out[0], out[1], out[2], out[3] = random_cuda.philox(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])


@pytest.mark.parametrize("numbers, want", [
    ((0, 0, 0, 0, 0, 0), (0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8)),
    ((FULL,) * 6, (0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd)),
    ((0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0), (0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1))])
def test_philox(driver, numbers, want):
    """The known answers of Random123's Philox4x32-10."""
    out = np.zeros(4, np.uint32)
    arrays.launch(driver, block_of, 1, 1, np.array(numbers, np.uint32), out)
    assert tuple(out.tolist()) == want


def test_numbers_of_torch():
    """What torch prints on any CUDA device for seed 0."""
    torch.manual_seed(0)
    assert torch.allclose(torch.rand(5, device="cuda").cpu(), torch.tensor([0.3990, 0.5167, 0.0249, 0.9401, 0.9459]), atol=6e-5)
    torch.manual_seed(0)
    want = torch.tensor([-0.9247, -0.4253, -2.6438, 0.1452, -0.1209])
    assert torch.allclose(torch.randn(5, device="cuda").cpu(), want, atol=6e-5)


def test_generators():
    """Seeds, offsets and states; copies; of which device; the CPU's goes its own way."""
    g = torch.Generator(device="cuda:1")
    assert isinstance(g, torch.Generator) and g.device == torch.device("cuda:1") and g.initial_seed() == 67280421310721
    x = torch.rand(3, device="cuda:1", generator=g.manual_seed(2 ** 40 + 7))
    state = g.get_state()
    assert state.device.type == "cpu" and state.tolist()[:8] == [7, 0, 0, 0, 0, 1, 0, 0] and g.get_offset() == 4
    twins = [g.clone_state(), pickle.loads(pickle.dumps(g)), copy.deepcopy(g)]
    y = torch.rand(3, device="cuda:1", generator=g)
    assert not torch.equal(x.cpu(), y.cpu())
    for twin in twins:
        assert torch.equal(torch.rand(3, device="cuda:1", generator=twin).cpu(), y.cpu())
    g.set_state(state)
    assert torch.equal(torch.rand(3, device="cuda:1", generator=g).cpu(), y.cpu())
    g.set_offset(0)
    assert torch.equal(torch.rand(3, device="cuda:1", generator=g).cpu(), x.cpu())
    for wrong, error in ((torch.zeros(3, dtype=torch.uint8), RuntimeError), (torch.zeros(16), TypeError)):
        with pytest.raises(error):
            g.set_state(wrong)
    with pytest.raises(RuntimeError, match="multiple of 4"):
        g.set_offset(3)
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        torch.rand(3, generator=g)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.rand(3, device="cuda", generator=torch.Generator())
    with pytest.raises(RuntimeError, match="Expected a 'cuda:0' generator device but found 'cuda:1'"):
        torch.rand(3, device="cuda:0", generator=g)


def test_seeds_and_forks():
    """manual_seed seeds all devices, also those used later; fork_rng restores all, or those that are named."""
    generators._cuda_generators.clear()
    torch.manual_seed(5)
    want = torch.rand(4, device="cuda").tolist(), torch.rand(4, device="cuda:1").tolist()
    assert torch.cuda.initial_seed() == 5 and want[0] == want[1]
    torch.cuda.manual_seed(5)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.rand(3, device="cuda")
    assert torch.rand(4, device="cuda").tolist() == want[0]
    torch.cuda.manual_seed_all(5)
    with torch.random.fork_rng(devices=["cuda:1"]):
        torch.rand(3, device="cuda")
        torch.rand(3, device="cuda:1")
    assert torch.rand(4, device="cuda").tolist() != want[0] and torch.rand(4, device="cuda:1").tolist() == want[1]
    states = torch.cuda.get_rng_state_all()
    x = torch.rand(2, device="cuda:1").tolist()
    torch.cuda.set_rng_state_all(states)
    assert torch.rand(2, device="cuda:1").tolist() == x
    assert torch.seed() == torch.cuda.initial_seed()


def close(x, mean, variance, fourth=None):
    """Mean and variance lie within five standard errors."""
    x, n = x.detach().cpu().double(), x.numel()
    assert abs(float(x.mean()) - mean) < 5 * math.sqrt(variance / n)
    kurtosis = 3 * variance ** 2 if fourth is None else fourth
    assert abs(float(x.var()) - variance) < 6 * math.sqrt((kurtosis - variance ** 2) / n) + 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_distributions(dtype):
    """Moments; of float32 so many numbers that each thread takes more than four."""
    n = 1100 if dtype is torch.float32 else 500

    def empty():
        return torch.empty(n, dtype=dtype, device="cuda")
    torch.manual_seed(3)
    u = torch.rand(n, dtype=dtype, device="cuda")
    close(u, 0.5, 1 / 12, 1 / 80)
    assert 0 <= float(u.min()) and float(u.max()) < 1 and len(set(u.tolist())) > (100 if dtype is torch.bfloat16 else 350)
    close(empty().uniform_(-3, 1), -1, 16 / 12, 256 / 80)
    close(torch.randn(n, dtype=dtype, device="cuda"), 0, 1)
    close(empty().normal_(2, 0.5), 2, 0.25)
    close(empty().bernoulli_(0.3), 0.3, 0.21, 0.21 * (0.3 ** 3 + 0.7 ** 3))
    if dtype is torch.bfloat16:
        return
    close(empty().exponential_(2), 0.5, 0.25, 9 / 16)
    close(empty().geometric_(0.5), 2, 2, 2 * 2 * (9 + 0.5))
    close(empty().log_normal_(0, 0.25), math.exp(1 / 32), (math.exp(1 / 16) - 1) * math.exp(1 / 16), 0.03)
    close(torch.bernoulli(torch.full((n,), 0.3, dtype=dtype, device="cuda")), 0.3, 0.21, 0.21 * (0.3 ** 3 + 0.7 ** 3))
    assert abs(float(empty().cauchy_(1, 2).double().median()) - 1) < 5 * math.pi / 2 * 2 / math.sqrt(n)
    assert empty()[:9].bernoulli_(1).min() == 1 and empty()[:9].bernoulli_(0).max() == 0


def test_integers():
    """Each number of a small range comes about as often; ranges of 64 bits; dtypes that draw as int64."""
    torch.manual_seed(4)
    counts = torch.bincount(torch.randint(3, 8, (1250,), device="cuda")).tolist()
    assert counts[:3] == [0] * 3 and all(abs(c - 250) < 5 * 14.2 for c in counts[3:])
    x = torch.empty(600, dtype=torch.int64, device="cuda").random_()
    assert x.min() >= 0 and x.max() > 2 ** 62
    assert torch.empty(100, dtype=torch.int64, device="cuda").random_(-2 ** 63, None).min() < 0
    for dtype, top in ((torch.uint8, 255), (torch.int8, 127), (torch.bool, 1), (torch.float16, 2 ** 11)):
        x = torch.empty(200, dtype=dtype, device="cuda").random_().double()
        assert x.min() >= 0 and top * 0.9 < x.max() <= top
    assert torch.randint_like(torch.zeros(3, 2, device="cuda"), 4, 6).shape == (3, 2)


def test_poisson():
    """Both methods' moments; a rate of 0 gives 0, one below is refused."""
    torch.manual_seed(5)
    for rate in (0.5, 4.0, 30.0, 1e5):
        close(torch.poisson(torch.full((300,), rate, dtype=torch.float64, device="cuda")), rate, rate, 3 * rate ** 2 + rate)
    assert torch.poisson(torch.zeros(3, device="cuda")).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        torch.poisson(torch.tensor([1.0, -1.0], device="cuda"))


def test_multinomial():
    """As often as the weights say, never one of weight 0; without replacement none comes twice."""
    torch.manual_seed(6)
    weights = torch.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 2.0]], device="cuda")
    for p in (weights, weights.double(), weights.half()):
        drawn = torch.multinomial(p, 160, replacement=True)
        for row, want in zip(drawn.cpu(), ([0, 40, 120, 0], [80, 0, 0, 80])):
            assert all(abs(c - w) < 5 * math.sqrt(w) + 0.5 for c, w in zip(torch.bincount(row, minlength=4).tolist(), want))
    for _ in range(5):
        assert sorted(torch.multinomial(weights[0], 2).tolist()) == [1, 2]
        assert int(torch.multinomial(weights[0], 1)) in (1, 2)
    for wrong in ([1.0, -1.0], [math.nan, 1.0], [0.0, 0.0]):
        with pytest.raises(RuntimeError, match="probability tensor contains|invalid multinomial"):
            torch.multinomial(torch.tensor(wrong, device="cuda"), 1)


def test_permutations():
    """Of every length all numbers once, and not the same ones again."""
    for n in (0, 1, 2, 100):
        x = torch.randperm(n, device="cuda")
        assert x.is_cuda and sorted(x.tolist()) == list(range(n))
    assert torch.randperm(100, device="cuda").tolist() != x.tolist() != list(range(100))
    assert torch.randperm(5, device="cuda", dtype=torch.int32).dtype is torch.int32


def test_dropout():
    """Elements stay with probability 1 - p, scaled; the gradient takes the same mask; vectors, remainders and other layouts."""
    torch.manual_seed(7)
    for shape, dtype in (((1200,), torch.float32), ((7, 41), torch.float32), ((400,), torch.bfloat16), ((400,), torch.float64)):
        for turn in (False,) if len(shape) == 1 else (False, True):
            x = torch.full(shape, 3.0, dtype=dtype, device="cuda").requires_grad_()
            y = nn.Dropout(0.25)(x.t() if turn else x)
            y.backward(torch.ones_like(y))
            kept = (y != 0).double()
            close(kept, 0.75, 0.1875, 0.1875 * (0.25 ** 3 + 0.75 ** 3))
            assert torch.equal((y.t() if turn else y).detach(), x.grad * 3) and float(y.max()) == float(torch.tensor(4.0, dtype=dtype))
    x = torch.ones(4, 10, 5, device="cuda")
    y = nn.functional.feature_alpha_dropout(x, 0.5, True)
    assert (y == y[:, :, :1]).all() and len(set(y.flatten().tolist())) == 2
    assert nn.functional.dropout(x, 1.0).max() == 0 and nn.functional.dropout(x, 0.5, False) is x
    y = nn.functional.dropout2d(x.unsqueeze(-1), 0.5)
    assert set(y.flatten().tolist()) == {0.0, 2.0}
    close(nn.functional.alpha_dropout(torch.randn(600, device="cuda"), 0.3, True), 0, 1, 4)
    assert len(set(nn.functional.rrelu(-x, training=True).flatten().tolist())) > 100


def test_layouts_and_parameters():
    """Fills of transposed tensors, complex numbers, ``out=``, the default device, and initialised modules."""
    torch.manual_seed(8)
    x = torch.zeros(20, 30, device="cuda").t()
    x.normal_()
    close(x, 0, 1)
    torch.manual_seed(8)
    like = torch.randn_like(x)
    assert like.stride() == x.stride() and torch.equal(like, x)
    close(torch.view_as_real(torch.randn(400, dtype=torch.complex64, device="cuda")), 0, 0.5)
    out = torch.empty(0, device="cuda")
    assert torch.rand(3, out=out) is out and out.is_cuda and out.shape == (3,)
    with torch.device("cuda"):
        assert torch.rand(2).is_cuda and torch.randperm(3).is_cuda and nn.Linear(3, 4).weight.is_cuda
    assert torch.rand_like(torch.ones(3, 2).t(), device="cuda").is_cuda and not torch.rand_like(out, device="cpu").is_cuda
    w = nn.Parameter(torch.empty(30, 20, device="cuda"))
    nn.init.kaiming_normal_(w)
    close(w, 0, 0.1)
    assert not torch.rand(5, device="cuda").requires_grad and torch.rand(5, device="cuda", requires_grad=True).requires_grad
