"""Random numbers: the engine, its states, and every distribution against NumPy's MT19937 and against torch."""
import copy
import math
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtorch
from numtorch import kernels as K
from numtorch.random import Generator, draw_int64, fork_rng

SEEDS = (0, 1, 1729, 2 ** 31, 2 ** 32 - 1, 2 ** 40 + 3, -1)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def words(seed, n):
    """The raw 32-bit outputs of NumPy's MT19937 with the legacy seeding: an independent oracle."""
    return np.random.RandomState(seed % 2 ** 32).randint(0, 2 ** 32, n, dtype=np.uint64).astype(np.uint32)


def doubles(seed, n):
    pairs = words(seed, 2 * n).astype(np.uint64).reshape(n, 2)
    return ((pairs[:, 0] << np.uint64(32) | pairs[:, 1]) & np.uint64(2 ** 53 - 1)).astype(np.float64) / 2 ** 53


# ---- the engine --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", SEEDS)
def test_engine_gives_the_words_of_mt19937(seed):
    """Words in one piece, and in pieces that end before, at and after the engine's refills, are NumPy's."""
    want = words(seed, 5000)
    whole = np.empty(5000, np.uint32)
    K.random.words32(Generator().manual_seed(seed).state, whole)
    assert np.array_equal(whole, want)
    generator, done = Generator().manual_seed(seed), 0
    for n in (1, 623, 1, 624, 625, 0, 1300, 1826):
        part = np.empty(n, np.uint32)
        K.random.words32(generator.state, part)
        assert np.array_equal(part, want[done:done + n])
        done += n


def test_known_numbers():
    """Numbers printed by torch 2.13, so that parity is tested where torch is not installed."""
    numtorch.manual_seed(1729)
    assert np.allclose(numtorch.rand(2, 2).tolist(), [[0.3126, 0.3791], [0.3087, 0.0736]], atol=5e-5)
    numtorch.manual_seed(0)
    assert np.allclose(numtorch.randn(3).tolist(), [1.5410, -0.2934, -2.1788], atol=5e-5)
    assert numtorch.randn(20).shape == (20,)
    numtorch.manual_seed(0)
    assert numtorch.randperm(4).tolist() == [0, 1, 3, 2]
    assert numtorch.manual_seed(0).initial_seed() == 0


@pytest.mark.parametrize("n", (1, 7, 600, 1300, 5000))
def test_uniform_numbers_are_scaled_words(n):
    """float32 takes 24 bits of a word and float64 53 bits of two, for all sizes around the kernels' blocks."""
    numtorch.manual_seed(5)
    assert np.array_equal(numtorch.rand(n).numpy(), (words(5, n) & 0xffffff) / np.float32(2 ** 24))
    numtorch.manual_seed(5)
    assert np.array_equal(numtorch.rand(n, dtype=numtorch.float64).numpy(), doubles(5, n))


def test_normals_below_16_elements_are_box_muller_in_float64_with_a_kept_second():
    """Three calls of one number use two pairs of uniforms: cosine, sine of the first, cosine of the second."""
    u = doubles(3, 4)
    radius, angle = np.sqrt(-2 * np.log1p(-u[1::2])), 2 * math.pi * u[::2]
    want = [radius[0] * math.cos(angle[0]), radius[0] * math.sin(angle[0]), radius[1] * math.cos(angle[1])]
    numtorch.manual_seed(3)
    got = [numtorch.randn((), dtype=numtorch.float64).item() for _ in range(3)]
    assert np.allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("n", (16, 17, 31, 32, 1040, 1041))
def test_normals_from_16_elements_on_are_blocks(n):
    """8 cosines then 8 sines of 16 uniforms; a rest of n mod 16 draws 16 more and writes the last 16 again."""
    u = (words(9, n + 16) & 0xffffff) / 2 ** 24
    want = np.empty(n)

    def block(v):
        radius, angle = np.sqrt(-2 * np.log(1 - v[:8])), 2 * math.pi * v[8:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    for i in range(0, n - n % 16, 16):
        want[i:i + 16] = block(u[i:i + 16])
    if n % 16:
        want[-16:] = block(u[n:n + 16])
    numtorch.manual_seed(9)
    assert np.allclose(numtorch.randn(n).numpy(), want, atol=2e-6)


# ---- against torch -----------------------------------------------------------------------------------------------------

def both(torch, call, seed=11):
    """``call(library)`` in both from one seed; results must be equal to the bit, and both generators in one state after."""
    numtorch.manual_seed(seed)
    torch.manual_seed(seed)
    got, want = call(numtorch), call(torch)
    assert str(got.dtype) == str(want.dtype) and tuple(got.shape) == tuple(want.shape)
    assert np.array_equal(np.array(got.tolist()), np.array(want.tolist()), equal_nan=True)
    assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())


DTYPES = ("float32", "float64", "float16", "bfloat16")
FILLS = {"uniform_": (-2.5, 7.0), "normal_": (1.0, 3.0), "random_": (), "bernoulli_": (0.2,), "exponential_": (2.0,),
         "geometric_": (0.3,), "cauchy_": (1.0, 2.0), "log_normal_": (0.1, 0.5)}


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_fills_equal_torch(torch, name, dtype):
    """Each fill in each floating dtype and many sizes: the bits, and what the generator has given out, are torch's."""
    for n in (0, 1, 15, 16, 17, 700):
        both(torch, lambda lib: getattr(lib.zeros(n, dtype=getattr(lib, dtype)), name)(*FILLS[name]))


@pytest.mark.parametrize("name", FILLS)
def test_fills_of_strided_tensors_equal_torch(torch, name):
    """Transposed, permuted, sliced and 0-dim tensors are filled in torch's order: that of their memory."""
    args = FILLS[name]
    for make in (lambda lib: lib.zeros(5, 7).t(), lambda lib: lib.zeros(5, 3, 4).permute(2, 0, 1),
                 lambda lib: lib.zeros(5, 8)[:, ::2], lambda lib: lib.zeros(5, 8)[:, ::2].t(), lambda lib: lib.zeros(())):
        both(torch, lambda lib: getattr(make(lib), name)(*args))


@pytest.mark.parametrize("dtype", (*DTYPES, "int64", "int32", "int16", "int8", "uint8", "bool"))
def test_random_integers_equal_torch(torch, dtype):
    """randint and random_ in all dtypes: 32-bit draws below a range of 2^28 and 64-bit draws from there on."""
    largest = {"bool": 2, "int8": 127, "uint8": 255}.get(dtype, 1000)
    both(torch, lambda lib: lib.zeros(40, dtype=getattr(lib, dtype)).random_())
    both(torch, lambda lib: lib.randint(0, largest, (50,), dtype=getattr(lib, dtype)))
    if dtype in ("int64", "float32", "float64"):
        for low, high in ((0, 2 ** 28 - 1), (0, 2 ** 28), (-2 ** 33, 2 ** 33), (-2 ** 62, 2 ** 62)):
            both(torch, lambda lib: lib.randint(low, high, (50,), dtype=getattr(lib, dtype)))
        both(torch, lambda lib: lib.zeros(9, dtype=getattr(lib, dtype)).random_(-2 ** 63, None))
        both(torch, lambda lib: lib.zeros(9, dtype=getattr(lib, dtype)).random_(**{"from": -5, "to": None}))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(-2 ** 63, 2 ** 64 - 1), plan=st.lists(st.tuples(st.sampled_from((
    "rand", "randn", "randperm", "randint", "double", "bernoulli", "exponential", "one")), st.integers(0, 700)), max_size=8))
def test_any_interleaving_equals_torch(seed, plan):
    """Any order of draws of any sizes from any seed: one stream of words, and one cached normal, are shared as in torch."""
    torch = pytest.importorskip("torch")
    numtorch.manual_seed(seed)
    torch.manual_seed(seed)
    for kind, n in plan:
        results = []
        for lib in (numtorch, torch):
            results.append({
                "rand": lambda: lib.rand(n), "randn": lambda: lib.randn(n), "randperm": lambda: lib.randperm(n),
                "randint": lambda: lib.randint(0, 77, (n,)), "double": lambda: lib.randn(n, dtype=lib.float64),
                "bernoulli": lambda: lib.empty(n).bernoulli_(0.4), "exponential": lambda: lib.empty(n).exponential_(),
                "one": lambda: lib.randn(())}[kind]().numpy())
        assert np.array_equal(*results), (kind, n)
    assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples, replacement", ((1, True), (1, False), (4, True), (4, False)))
def test_multinomial_equals_torch(torch, dtype, samples, replacement):
    """One row and several, with and without replacement, in each floating dtype."""
    weights = [[1.0, 2, 3, 4, 5, 6, 7], [7.0, 1, 1, 0, 2, 0.5, 3]]
    both(torch, lambda lib: lib.multinomial(lib.tensor(weights, dtype=getattr(lib, dtype)), samples, replacement))
    both(torch, lambda lib: lib.multinomial(lib.tensor(weights[0], dtype=getattr(lib, dtype)), samples, replacement))


def test_multinomial_never_draws_weight_zero_and_follows_the_weights():
    """Frequencies over 20,000 draws come within 4 standard deviations of the weights."""
    p = np.array([0.0, 0.1, 0.2, 0.7])
    n = 20000
    for replacement in (True, False):
        if replacement:
            drawn = numtorch.multinomial(numtorch.tensor(p), n, True).numpy()
        else:
            drawn = numtorch.multinomial(numtorch.tensor(p).expand(n, 4), 1).numpy().ravel()
        share = np.bincount(drawn, minlength=4) / n
        assert share[0] == 0
        assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / n))


def test_moments():
    """Mean and variance of every distribution over 200,000 numbers come within 5 standard errors."""
    n = 200000
    for fill, args, mean, variance in (
            ("uniform_", (2.0, 4.0), 3, 1 / 3), ("normal_", (1.0, 2.0), 1, 4), ("bernoulli_", (0.3,), 0.3, 0.21),
            ("exponential_", (2.0,), 0.5, 0.25), ("geometric_", (0.25,), 4, 12),
            ("log_normal_", (0.0, 0.5), math.exp(0.125), (math.exp(0.25) - 1) * math.exp(0.25))):
        x = getattr(numtorch.empty(n, dtype=numtorch.float64), fill)(*args).numpy()
        assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n), fill
        assert abs(x.var() / variance - 1) < 0.05, fill
    for rate in (0.5, 9.9, 10.0, 300.0):
        x = numtorch.poisson(numtorch.full((n,), rate, dtype=numtorch.float64)).numpy()
        assert abs(x.mean() - rate) < 5 * math.sqrt(rate / n)
        assert abs(x.var() / rate - 1) < 0.05
    median = np.median(numtorch.empty(n).cauchy_(3.0, 1.0).numpy())
    assert abs(median - 3) < 5 * math.pi / 2 / math.sqrt(n)


def test_uniform_does_not_reach_its_upper_end(torch):
    """In half precision many uniforms round up to 1; each becomes 0, as in torch."""
    for dtype in ("float16", "bfloat16"):
        x = numtorch.rand(100000, dtype=getattr(numtorch, dtype))
        assert x.float().max().item() < 1
    both(torch, lambda lib: lib.empty(50000, dtype=lib.bfloat16).uniform_(1.0, 1.5))
    # ends that are ties between two halves, once they are float32
    both(torch, lambda lib: lib.empty(50000, dtype=lib.float16).uniform_(-2.972991265622288, 34.54687470504601))


def test_permutations_hold_every_index_once():
    """randperm is a permutation in each dtype, and every first element occurs."""
    for dtype in ("int64", "int32", "float32"):
        assert sorted(numtorch.randperm(500, dtype=getattr(numtorch, dtype)).tolist()) == list(range(500))
    assert {numtorch.randperm(5)[0].item() for _ in range(200)} == set(range(5))


# ---- generators --------------------------------------------------------------------------------------------------------

def test_states_are_exchanged_with_torch(torch):
    """torch continues from numtorch's bytes and the other way round, in the middle of a block and with a kept normal."""
    numtorch.manual_seed(3)
    numtorch.rand(100)
    numtorch.randn(3)
    torch.set_rng_state(torch.from_numpy(numtorch.get_rng_state().numpy()))
    assert np.array_equal(numtorch.randn(5).numpy(), torch.randn(5).numpy())
    torch.randn(1)
    numtorch.set_rng_state(numtorch.from_numpy(torch.get_rng_state().numpy()))
    assert np.array_equal(numtorch.randn(5).numpy(), torch.randn(5).numpy())
    assert numtorch.initial_seed() == torch.initial_seed() == 3
    assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fresh_state_equals_torchs(torch, seed):
    """Before the first draw, too, the state has torch's counters."""
    assert np.array_equal(Generator().manual_seed(seed).get_state().numpy(),
                          torch.Generator().manual_seed(seed).get_state().numpy())
    assert Generator().initial_seed() == torch.Generator().initial_seed()


def test_copies_of_a_generator_go_on_alike():
    """clone_state, pickle, copy and set_state give a generator in the same state, which then goes its own way."""
    generator = Generator().manual_seed(4)
    numtorch.randn(3, generator=generator)
    copies = [generator.clone_state(), pickle.loads(pickle.dumps(generator)), copy.copy(generator), copy.deepcopy(generator)]
    state = generator.get_state()
    want = numtorch.randn(9, generator=generator).tolist()
    for other in copies:
        assert other is not generator
        assert numtorch.randn(9, generator=other).tolist() == want
    generator.set_state(state)
    assert numtorch.randn(9, generator=generator).tolist() == want


def test_a_state_is_a_copy():
    """Drawing does not change a state that was taken before, nor writing to it the generator."""
    generator = Generator()
    state = generator.get_state()
    before = state.tolist()
    numtorch.rand(5, generator=generator)
    assert state.tolist() == before
    state.zero_()
    assert numtorch.rand(3, generator=generator).shape == (3,)


def test_seeds():
    """Seeds of 64 bits, negative ones and numpy's are taken; what does not fit or is no integer is refused as in torch."""
    assert numtorch.manual_seed(-1).initial_seed() == 2 ** 64 - 1
    assert numtorch.manual_seed(2 ** 64 - 1).initial_seed() == 2 ** 64 - 1
    assert numtorch.manual_seed(np.int64(7)).initial_seed() == 7
    assert numtorch.manual_seed(1.9).initial_seed() == 1
    for seed in (2 ** 64, -2 ** 63 - 1):
        with pytest.raises(ValueError, match="Overflow when unpacking long long"):
            numtorch.manual_seed(seed)
    for seed in ("a", 1.5, True):
        with pytest.raises(RuntimeError, match="manual_seed expected a long, but got"):
            Generator().manual_seed(seed)
    value = numtorch.seed()
    assert numtorch.initial_seed() == value
    assert numtorch.seed() != value


def test_bad_states_are_refused():
    """Not a tensor, another dtype, another size, counters out of range: torch's errors, and the generator is unharmed."""
    generator = Generator()
    want = generator.get_state().tolist()
    for state, error, message in (
            (3, TypeError, "expected a torch.ByteTensor, but got int"),
            (numtorch.zeros(5056), TypeError, "RNG state must be a torch.ByteTensor"),
            (numtorch.zeros(3, dtype=numtorch.uint8), RuntimeError,
             "Expected a CPUGeneratorImplState of size 5056 but found .* 3"),
            (numtorch.zeros(5056, dtype=numtorch.uint8), RuntimeError, "Invalid mt19937 state")):
        with pytest.raises(error, match=message):
            generator.set_state(state)
    assert generator.get_state().tolist() == want
    with pytest.raises(RuntimeError, match="CPU Generator does not use offset"):
        generator.get_offset()
    with pytest.raises(RuntimeError, match="CUDA is not available"):
        Generator(device="cuda")
    with pytest.raises(TypeError, match="argument 'generator' must be torch.Generator, not int"):
        numtorch.rand(2, generator=3)


def test_fork_rng_restores_the_generator():
    """After the block, also one left by an exception, the stream goes on as if the block had not been."""
    numtorch.manual_seed(1)
    want = numtorch.rand(4).tolist()
    numtorch.manual_seed(1)
    with fork_rng():
        numtorch.manual_seed(99)
        numtorch.randn(3)
    with pytest.raises(KeyError), fork_rng():
        numtorch.rand(7)
        raise KeyError
    assert numtorch.rand(4).tolist() == want
    with fork_rng(enabled=False):
        numtorch.manual_seed(5)
    assert numtorch.initial_seed() == 5


def test_draw_int64_is_torchs_base_seed(torch):
    """The seed of samplers and DataLoader workers is ``torch.empty((), dtype=torch.int64).random_()``."""
    for seed in SEEDS:
        torch.manual_seed(seed)
        assert draw_int64(Generator().manual_seed(seed)) == torch.empty((), dtype=torch.int64).random_().item()


def test_threads_share_a_generator():
    """Eight threads that draw at once get every number of the stream once."""
    numtorch.manual_seed(2)
    want = sorted(numtorch.rand(8 * 50 * 100).tolist())
    numtorch.manual_seed(2)
    found = []

    def run():
        for _ in range(50):
            found.append(numtorch.rand(100).tolist())
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(x for part in found for x in part) == want


def test_unseeded_processes_differ():
    """Without a seed two processes draw different numbers, and importing numtorch alone does not import Numba."""
    code = "import sys, numtorch; assert 'numba' not in sys.modules; print(numtorch.rand(3).tolist())"
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ).stdout
            for _ in range(2)}
    assert len(runs) == 2


# ---- the tape, and options ---------------------------------------------------------------------------------------------

def test_a_fill_cuts_the_history_of_what_was_there():
    """The gradient with respect to the values before is zero, through views too; a leaf cannot be filled."""
    x = numtorch.ones(6, requires_grad=True)
    y = x * 3
    y.uniform_()
    assert repr(y.grad_fn).startswith("<UniformBackward0")
    y.sum().backward()
    assert x.grad.tolist() == [0] * 6
    x.grad = None
    y = x * 3
    y[2:4].normal_()
    y.sum().backward()
    assert x.grad.tolist() == [3, 3, 0, 0, 3, 3]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x.uniform_()
    with numtorch.no_grad():
        x.uniform_()
    version = y.detach()._version
    z = numtorch.zeros(3)
    z.random_(5)
    assert z._version == version * 0 + 1


def test_out_gets_the_numbers_and_gives_the_dtype(torch):
    """out= is resized, written in its own memory, and decides how many bits are drawn."""
    both(torch, lambda lib: lib.rand(5, out=lib.empty(5, dtype=lib.float64)))
    both(torch, lambda lib: lib.randperm(5, out=lib.empty(0, dtype=lib.int64)))
    memory = numtorch.empty(4)
    assert numtorch.randn(4, out=memory) is memory
    with pytest.raises(RuntimeError, match="dtype Float does not match dtype of out parameter .Double."):
        numtorch.rand(2, out=numtorch.empty(2, dtype=numtorch.float64), dtype=numtorch.float32)


def test_options():
    """requires_grad, device, default dtype and unknown keywords are treated as by other factories."""
    assert numtorch.rand(2, requires_grad=True).requires_grad
    assert numtorch.randn(2, device="cpu").device.type == "cpu"
    numtorch.set_default_dtype(numtorch.float64)
    assert numtorch.rand(1).dtype is numtorch.float64
    with pytest.raises(TypeError, match="rand.. got an unexpected keyword argument 'bogus'"):
        numtorch.rand(2, bogus=1)
    with pytest.raises(RuntimeError, match="CUDA is not available"):
        numtorch.rand(2, device="cuda")
    with pytest.raises(RuntimeError, match="[Oo]nly Tensors of floating point and complex dtype can require gradients"):
        numtorch.randperm(3, requires_grad=True)


def test_like_keeps_the_order_of_strides(torch):
    """rand_like of a transposed tensor is transposed in memory, and filled in that order."""
    x = numtorch.zeros(3, 5).t()
    assert numtorch.rand_like(x).stride() == x.stride()
    both(torch, lambda lib: lib.rand_like(lib.zeros(3, 5).t()))
    both(torch, lambda lib: lib.randn_like(lib.zeros(3, 1).expand(3, 7)))
    assert numtorch.rand_like(x, memory_format=numtorch.contiguous_format).is_contiguous()


# ---- dropout -----------------------------------------------------------------------------------------------------------

def test_dropout_mask_and_scale(torch):
    """What is dropped, the scale, and the order in memory are torch's, for all kinds and layouts."""
    for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"):
        for p in (0.3, 0.5, 1.0):
            both(torch, lambda lib: getattr(lib, name)(lib.ones(5, 6, 2), p, True))
            both(torch, lambda lib: getattr(lib, name)(lib.ones(5, 6, 2).permute(2, 0, 1), p, True))
            both(torch, lambda lib: getattr(lib, name + "_")(lib.ones(5, 6, 2), p, True))


def test_dropout_gradient_uses_the_same_mask():
    """The gradient is the scale where the element stayed and zero where not, to any order, and in place too."""
    x = numtorch.ones(1000, requires_grad=True)
    y = numtorch.dropout(x, 0.25, True)
    assert repr(y.grad_fn).startswith("<MulBackward0")
    g, = numtorch.autograd.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == y.tolist()
    assert abs((y.detach() != 0).float().mean().item() - 0.75) < 0.06
    z = x * 1
    assert numtorch.dropout_(z, 0.25, True) is z
    z.sum().backward()
    assert x.grad.tolist() == z.tolist()


def test_dropout_of_nan_and_inf_and_integers():
    """A dropped inf or NaN is NaN, as 0 times it; integers are refused with torch's message."""
    x = numtorch.tensor([float("inf"), float("nan"), 1.0])
    assert [math.isnan(v) for v in numtorch.dropout(x, 1.0, True).tolist()] == [True, True, False]
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        numtorch.dropout(numtorch.tensor([1, 2]), 0.5, True)
    with pytest.raises(NotImplementedError, match="not implemented for 'ComplexFloat'"):
        numtorch.dropout(numtorch.ones(2, dtype=numtorch.complex64), 0.5, True)


def test_dropout_gives_its_input_when_there_is_nothing_to_do():
    """p = 0, not training, and an empty tensor: the same object, and no draw."""
    state = numtorch.get_rng_state().tolist()
    x = numtorch.ones(3)
    assert numtorch.dropout(x, 0.0, True) is x and numtorch.dropout(x, 0.5, False) is x
    empty = numtorch.ones(0)
    assert numtorch.dropout(empty, 0.5, True) is empty
    assert numtorch.get_rng_state().tolist() == state
