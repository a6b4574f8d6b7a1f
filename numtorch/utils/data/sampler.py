"""Samplers: the order in which a DataLoader asks for indices. They draw what torch's draw, in the same order."""
import itertools
from typing import Generic, TypeVar

import numpy as np

from ... import random as generators
from ...tensor import Tensor, wrap

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler", "WeightedRandomSampler"]

_T_co = TypeVar("_T_co", covariant=True)


class Sampler(Generic[_T_co]):
    """Base of samplers: a subclass has ``__iter__`` over indices (or lists of them), and ``__len__`` where it is known."""

    def __iter__(self):
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """0, 1, ... ``len(data_source) - 1``."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices at random.

    Args:
        data_source (sized): what is sampled.
        replacement (bool): draw each index anew, instead of going through permutations.
        num_samples (int): how many; default ``len(data_source)``.
        generator (Generator): default, each time a new one seeded from the global one.

    Raises:
        TypeError: ``replacement`` is not a bool.
        ValueError: ``num_samples`` is not a positive integer.
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self):
        """How many indices an iteration gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self):
        n, generator = len(self.data_source), self.generator
        if generator is None:
            generator = generators.Generator()
            generator.manual_seed(generators.draw_int64())
        if self.replacement:
            for start in range(0, self.num_samples, 32):
                yield from generators.draw_integers(generator, 0, n, min(32, self.num_samples - start)).tolist()
        else:
            for _ in range(self.num_samples // n):
                yield from generators.draw_permutation(generator, n).tolist()
            # torch draws one more permutation even if it takes nothing from it; a generator shared with others shows it.
            yield from generators.draw_permutation(generator, n).tolist()[:self.num_samples % n]

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The elements of ``indices`` in random order, without replacement."""

    def __init__(self, indices, generator=None):
        self.indices = indices
        self.generator = generator

    def __iter__(self):
        generator = generators.chosen(self.generator, "randperm")
        for i in generators.draw_permutation(generator, len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self):
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices 0 .. len(weights) - 1 with probabilities in proportion to ``weights``.

    Args:
        weights (sequence): weights, which need not add up to 1.
        num_samples (int): how many indices to draw.
        replacement (bool): whether an index can come again.
        generator (Generator): default the global one.

    Raises:
        ValueError: ``num_samples`` is not a positive integer, ``replacement`` not a bool, or ``weights`` not 1-D.
        RuntimeError: when iterated: more samples than weights without replacement, or weights that are no distribution.
    """

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        array = np.asarray(weights._a if isinstance(weights, Tensor) else weights, dtype=np.float64)
        if array.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {array.shape}")
        self.weights = wrap(array)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self):
        generator, weights = generators.chosen(self.generator, "multinomial"), np.ascontiguousarray(self.weights._a)
        if not self.replacement and self.num_samples > weights.size:
            raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
        drawn = generators.draw_multinomial(generator, weights.reshape(1, -1), self.num_samples, self.replacement)
        yield from drawn[0].tolist()

    def __len__(self):
        return self.num_samples


class BatchSampler(Sampler[list]):
    """Lists of ``batch_size`` indices of another sampler.

    Args:
        sampler (iterable): gives indices.
        batch_size (int): indices in a batch.
        drop_last (bool): leave out a last batch that is not full.

    Raises:
        ValueError: ``batch_size`` is not a positive integer, or ``drop_last`` not a bool.

    >>> list(BatchSampler(SequentialSampler(range(10)), batch_size=4, drop_last=False))
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    def __init__(self, sampler, batch_size, drop_last):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self):
        indices = iter(self.sampler)
        while True:
            batch = list(itertools.islice(indices, self.batch_size))
            if not batch or (self.drop_last and len(batch) < self.batch_size):
                return
            yield batch

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else (n + self.batch_size - 1) // self.batch_size
