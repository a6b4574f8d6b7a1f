"""Random generators, their seeds and states, and draws into arrays; the numbers are those of torch's generators.

The CPU's engine is MT19937 (``numtorch.kernels.random``). A state is saved in torch's layout of 5056 bytes, so that the bytes of
``torch.get_rng_state()`` can be loaded here and those of ``get_rng_state()`` there. The engine of CUDA devices is Philox
(``numtorch.kernels.random_cuda``), whose state is a seed and an offset, 16 bytes.
"""
import contextlib
import os

import numpy as np

from . import devices
from . import kernels as K
from .kernels import _cuda_graphs, _driver
from .kernels._device import is_capturing
from .tensor import Tensor, wrap

__all__ = ["Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed",
           "set_rng_state"]

_DEFAULT_SEED = 67280421310721      # torch's c10::detail::default_rng_seed_val

_LAYOUT = np.dtype([
    ("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("words", "<u8", (624,)),
    ("normal_x", "<f8"), ("normal_y", "<f8"), ("normal_rho", "<f8"), ("normal_is_valid", "<i4"), ("pad", "<i4"),
    ("float_normal", "<f4"), ("float_is_valid", "?"), ("end", "V3")])


class Generator:
    """A stream of random numbers.

    Args:
        device: where it draws; a CUDA device gives a generator of another engine.

    A new generator starts from torch's fixed default seed, 67280421310721.

    >>> Generator().manual_seed(1729).initial_seed()
    1729
    """

    __slots__ = ("_seed", "_words", "cache", "__weakref__")

    def __new__(cls, device="cpu"):
        return object.__new__(cls if devices.device(device).type == "cpu" else _CudaGenerator)

    def __init__(self, device="cpu"):
        devices.check(device)
        self._restart(_DEFAULT_SEED)

    def _restart(self, seed):
        self._seed, self._words, self.cache = seed, None, np.zeros(2)

    @property
    def state(self):
        """The engine as the kernels take it: uint32[626]. Seeded at its first use, which imports Numba."""
        words = self._words
        if words is None:
            words = np.empty(626, np.uint32)
            K.random.seed(words, np.uint32(self._seed & 0xffffffff))
            self._words = words
        return words

    @property
    def device(self):
        """The device it draws on."""
        return devices.cpu

    def manual_seed(self, seed):
        """Starts again from ``seed``, an integer in [-2^63, 2^64); returns the generator.

        Only the low 32 bits reach the engine, as in torch.

        Raises:
            RuntimeError: ``seed`` is not an integer.
            ValueError: ``seed`` does not fit 64 bits.
        """
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        seed = seed.__index__()
        if not -2 ** 63 <= seed < 2 ** 64:
            raise ValueError(f"Overflow when unpacking long long: manual_seed expected an integer in [-2**63, 2**64), "
                             f"but got {seed}")
        self._restart(seed % 2 ** 64)
        return self

    def seed(self):
        """Starts again from 64 bits of the system's randomness, which are returned."""
        value = int.from_bytes(os.urandom(8), "little")
        self._restart(value)
        return value

    def initial_seed(self):
        """The seed that it started from, as an unsigned 64-bit integer."""
        return self._seed

    def get_state(self):
        """The state as a uint8 tensor, in torch's layout: of 5056 elements, or of 16 for a CUDA device."""
        record = np.zeros((), _LAYOUT)
        words = self.state
        record["seed"], record["seeded"], record["words"] = self._seed, 1, words[:624]
        record["left"], record["next"] = words[624], words[625]
        if self.cache[1]:
            record["normal_y"], record["normal_is_valid"] = self.cache[0], 1
        return wrap(np.frombuffer(record.tobytes(), np.uint8).copy())

    def set_state(self, new_state):
        """Continues from ``new_state``, a uint8 tensor that ``get_state`` (or torch's) gave.

        Raises:
            TypeError: it is not a uint8 tensor.
            RuntimeError: it has another size, or is not a state of this engine.
        """
        array = _bytes_of(new_state)
        if array.size != _LAYOUT.itemsize:
            raise RuntimeError(f"Expected a CPUGeneratorImplState of size {_LAYOUT.itemsize} but found the input RNG state "
                               f"size to be {array.size}")
        record = np.frombuffer(array.tobytes(), _LAYOUT)[0]
        if record["seeded"] != 1 or not 0 < record["left"] <= 624 or record["next"] > 624:
            raise RuntimeError("Invalid mt19937 state")
        words = np.empty(626, np.uint32)
        words[:624], words[624], words[625] = record["words"], record["left"], record["next"]
        self._seed, self._words = int(record["seed"]), words
        self.cache = np.array([record["normal_y"], 1.0]) if record["normal_is_valid"] else np.zeros(2)

    def clone_state(self):
        """A new generator in the same state, which then goes its own way."""
        found = Generator()
        found.set_state(self.get_state())
        return found

    def get_offset(self):
        """Always an error: only counter-based CUDA generators have an offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset):
        """Always an error: only counter-based CUDA generators have an offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self):
        return _rebuild, (self.get_state()._a.tobytes(),)


def _bytes_of(state):
    if not isinstance(state, Tensor):
        raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
    if state._a.dtype != np.uint8 or type(state._a) is not np.ndarray:
        raise TypeError("RNG state must be a torch.ByteTensor")
    return state._a


def _rebuild(state, device="cpu"):
    found = Generator(device)
    found.set_state(wrap(np.frombuffer(state, np.uint8)))
    return found


class _CudaGenerator(Generator):
    """A stream of random numbers on a CUDA device: counters from an offset on, under a seed as key."""

    __slots__ = ("_device", "_offset")

    def __init__(self, device="cuda"):
        self._device = devices.check(device)
        self._restart(_DEFAULT_SEED)

    def _restart(self, seed):
        if not _capturing():
            self._seed, self._offset = seed, 0
        elif seed != self._seed:
            raise RuntimeError("CUDAGeneratorImpl::set_current_seed can be called during stream capture only if new seed is the "
                               "same as the original seed.")

    @property
    def state(self):
        """Always an error: only the CPU's engine has one for kernels."""
        raise RuntimeError("Expected a 'cpu' device type for generator but found 'cuda'")

    cache = state

    @property
    def device(self):
        """The device it draws on."""
        return self._device

    def reserve(self, n):
        """What kernels take for the next n words of each thread, n rounded up to a multiple of 4.

        Returns:
            (seed, offset, None, 0); while a CUDA graph is captured (0, offset, state, 1), where state is an array of the graph's
            with the seed and the offset of a replay, from which its own offset counts.
        """
        n, graph = (n + 3) // 4 * 4, _cuda_graphs.capture(self._device.index)
        if graph is not None:
            state, offset = graph.draw(self, n)
            return 0, offset, state, 1
        return *self.take(n), None, 0

    def take(self, n):
        """(seed, offset) of the next n words of each thread, a multiple of 4."""
        found = self._seed, self._offset
        self._offset += n
        return found

    def get_state(self):
        """The state as a uint8 tensor of 16 elements on the CPU, in torch's layout: seed and offset."""
        _refuse_in_capture("get_state")
        return wrap(np.array([self._seed, self._offset], np.uint64).view(np.uint8))

    def set_state(self, new_state):
        """Continues from ``new_state``, a uint8 tensor that ``get_state`` (or torch's) gave; one of 8 elements has offset 0.

        Raises:
            TypeError: it is not a uint8 tensor on the CPU.
            RuntimeError: it has another size, or an offset that is no multiple of 4.
        """
        array = _bytes_of(new_state)
        if array.size not in (8, 16):
            raise RuntimeError("RNG state is wrong size")
        seed, offset = (*np.frombuffer(array.tobytes(), np.uint64).tolist(), 0)[:2]
        self.set_offset(offset)
        self._seed = seed

    def get_offset(self):
        """How many words each thread has taken."""
        _refuse_in_capture("get_offset")
        return self._offset

    def set_offset(self, offset):
        """Goes on after ``offset`` words of each thread, a multiple of 4; RuntimeError for another number."""
        _refuse_in_capture("set_offset")
        if offset % 4 or offset < 0:
            raise RuntimeError("offset must be a multiple of 4")
        self._offset = int(offset)

    def clone_state(self):
        """A new generator in the same state, which then goes its own way."""
        return _rebuild(self.get_state()._a.tobytes(), self._device)

    def __reduce__(self):
        return _rebuild, (self.get_state()._a.tobytes(), self._device)


def _capturing():
    return _driver.in_use() and is_capturing()


def _refuse_in_capture(name):
    """RuntimeError for a question about a state that a CUDA graph would answer anew at every replay."""
    if _capturing():
        raise RuntimeError(f"Cannot call CUDAGeneratorImpl::{name} during CUDA graph capture.")


_cuda_generators = {}       # number of a device -> its default generator
_cuda_seed = None           # the last manual_seed, for generators that are made after it


def cuda_generator(index):
    """The default generator of a CUDA device."""
    found = _cuda_generators.get(index)
    if found is None:
        found = _cuda_generators[index] = Generator(devices.device("cuda", index))
        found.seed() if _cuda_seed is None else found.manual_seed(_cuda_seed)
    return found


def generator_of(index, generator):
    """The generator that a draw on CUDA device ``index`` takes: its own for the CPU's default one, else ``generator``.

    Raises:
        RuntimeError: ``generator`` is of another device.
    """
    if generator is default_generator:
        return cuda_generator(index)
    if generator.device.type != "cuda":
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if generator.device.index != index:
        raise RuntimeError(f"Expected a 'cuda:{index}' generator device but found '{generator.device}'")
    return generator


default_generator = Generator()
default_generator.seed()


def chosen(generator, op):
    """The generator that ``op`` draws from: ``generator``, or the default one for None; TypeError for anything else."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"{op}(): argument 'generator' must be torch.Generator, not {type(generator).__name__}")
    return generator


def manual_seed(seed):
    """Starts the default generators of all devices again from ``seed``, an integer in [-2^63, 2^64); returns the CPU's.

    Raises:
        ValueError: ``seed`` does not fit 64 bits.

    >>> manual_seed(-1).initial_seed() == 2 ** 64 - 1
    True
    """
    default_generator.manual_seed(int(seed))
    _seed_cuda(default_generator.initial_seed())
    return default_generator


def _seed_cuda(seed):
    """Starts the CUDA devices' default generators from ``seed``: those that there are now, and later ones."""
    global _cuda_seed
    _cuda_seed = seed
    for generator in _cuda_generators.values():
        generator.manual_seed(seed)


def seed():
    """Starts the default generators of all devices again from 64 bits of the system's randomness, which are returned."""
    value = default_generator.seed()
    _seed_cuda(value)
    return value


def initial_seed():
    """The seed that the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state: a uint8 tensor of 5056 elements, in torch's layout."""
    return default_generator.get_state()


def set_rng_state(new_state):
    """Continues the default generator from ``new_state``, a uint8 tensor that ``get_rng_state`` (or torch's) gave."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices=None, enabled=True, _caller="fork_rng", _devices_kw="devices", device_type="cuda"):
    """A with-block after which the default generators are as they were before.

    Args:
        devices: CUDA devices (numbers, names or ``torch.device``) whose generators to restore beside the CPU's; default all.
        enabled (bool): False makes the block do nothing.
        device_type (str): the kind of ``devices``: "cuda"; "meta" makes the block do nothing, as in torch.

    >>> state = get_rng_state()
    >>> with fork_rng():
    ...     _ = manual_seed(0)
    >>> bool((get_rng_state() == state).all())
    True
    """
    global _cuda_seed
    if not enabled or device_type == "meta":
        yield
        return
    if device_type not in (None, "cuda", "cpu"):
        raise RuntimeError(f"{_caller}: torch has no module of `{device_type}`")
    states = {k: _cuda_state(k) for k in (tuple(_cuda_generators) if devices is None else map(_index, devices))}
    state, pending = get_rng_state(), _cuda_seed
    try:
        yield
    finally:
        set_rng_state(state)
        if devices is None:
            _cuda_seed = pending
            for made in _cuda_generators.keys() - states.keys():
                del _cuda_generators[made]
        for k, (seed, offset) in states.items():
            cuda_generator(k)._seed, cuda_generator(k)._offset = seed, offset


def _index(device):
    found = devices.check(devices.device("cuda", device) if isinstance(device, int) else device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return found.index


def _cuda_state(index):
    generator = cuda_generator(index)
    return generator.initial_seed(), generator.get_offset()


# ---- draws into arrays: for the ops, the samplers and the DataLoader ----------------------------------------------------

def draw_int64(generator=None):
    """One integer in [0, 2^63), as ``torch.empty((), dtype=torch.int64).random_()``: the seed of samplers and workers."""
    out = np.empty(1, np.uint64)
    K.random.words64(chosen(generator, "random_").state, out)
    return int(out[0]) & (2 ** 63 - 1)


def draw_integers(generator, low, high, n):
    """``n`` integers in [low, high) as int64; low and high fit 64 bits with sign, low < high.

    From a range of 2^28 on torch draws 64 bits for each, so that the remainder is not skewed by more than 5 %.
    """
    out, span = np.empty(n, np.int64), high - low
    if span < 1 << 28:
        K.random.integers32(generator.state, span, low, out)
    else:
        K.random.integers64(generator.state, np.uint64(span % 2 ** 64), low, out)
    return out


def draw_permutation(generator, n):
    """A permutation of 0 .. n-1 as int64."""
    out = np.empty(n, np.int64)
    K.random.permutation(generator.state, out)
    return out


_NO_WEIGHTS = "invalid multinomial distribution (sum of probabilities <= 0)"


def draw_multinomial(generator, p, samples, replacement):
    """``samples`` categories for each row of the floating weights ``p`` (m, n); (m, samples) int64.

    Without replacement (or for one sample) the largest p / q are taken, where q is exponential of rate 1.

    Raises:
        RuntimeError: a weight is negative, infinite or NaN, or a row has none above zero.
    """
    out = np.empty((p.shape[0], samples), np.int64)
    if not out.size:
        return out
    if not p.size:
        raise RuntimeError(_NO_WEIGHTS)
    work = p.dtype if p.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    if replacement and samples > 1:
        weights = np.ascontiguousarray(p, work)
        for wrong, why in ((~(weights >= 0), "encountering probability entry < 0"),
                           (weights == np.inf, "encountering probability entry = infinity or NaN"),
                           (weights.sum(1) == 0, "sum of probabilities <= 0")):
            if wrong.any():
                raise RuntimeError(f"invalid multinomial distribution ({why})")
        K.random.multinomial(generator.state, weights, np.empty(p.shape[1], work), out)
        return out
    if not (p.max() < np.inf and p.min() >= 0):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (p.sum(1) == 0).any():
        raise RuntimeError(_NO_WEIGHTS)
    q = np.empty(p.size, work)
    K.random.exponential(generator.state, 1.0, q)
    with np.errstate(all="ignore"):
        score = p / q.reshape(p.shape).astype(p.dtype)
    if samples == 1:
        out[:, 0] = score.argmax(1)
    else:
        out[:] = np.argsort(-score, axis=1, kind="stable")[:, :samples]
    return out
