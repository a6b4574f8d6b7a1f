"""DistributedSampler: the share of a dataset that one of several training processes sees."""
import math

from ... import random as generators
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler):
    """Every ``num_replicas``-th index from ``rank`` on, of a permutation that is the same in all processes.

    Args:
        dataset (sized): what is sampled.
        num_replicas (int): number of processes; default those of the default process group.
        rank (int): number of this process; default that in the default process group.
        shuffle (bool): permute, with a generator seeded by ``seed + epoch``.
        seed (int): the same in all processes.
        drop_last (bool): cut the indices to a multiple of ``num_replicas``, instead of repeating the first ones.

    Call ``set_epoch`` before each epoch, or all have the same order.

    Raises:
        ValueError: ``rank`` is not in [0, num_replicas - 1].
        ValueError: ``num_replicas`` or ``rank`` is None, and there is no default process group.
    """

    def __init__(self, dataset, num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False):
        if num_replicas is None or rank is None:
            from ...distributed import get_rank, get_world_size

            num_replicas = get_world_size() if num_replicas is None else num_replicas
            rank = get_rank() if rank is None else rank
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        n = len(dataset)
        if drop_last and n % num_replicas:
            self.num_samples = math.ceil((n - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self):
        n = len(self.dataset)
        if self.shuffle:
            generator = generators.Generator().manual_seed(self.seed + self.epoch)
            indices = generators.draw_permutation(generator, n).tolist()
        else:
            indices = list(range(n))
        if self.drop_last:
            indices = indices[:self.total_size]
        else:
            repeats = math.ceil(self.total_size / max(n, 1))
            indices = (indices * repeats)[:self.total_size]
        return iter(indices[self.rank:self.total_size:self.num_replicas])

    def __len__(self):
        return self.num_samples

    def set_epoch(self, epoch):
        """Sets the epoch, which changes the order where ``shuffle`` is on."""
        self.epoch = epoch
