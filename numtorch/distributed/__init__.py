"""Processes of one machine that work on one problem: collective operations on their tensors, over memory that they share.

Every process calls ``init_process_group`` and then the same operations in the same order. A process that ends early, is late or
calls another operation ends the others with an error. More than one machine needs a backend that reaches it; one is added
with ``Backend.register_backend`` and inherits from ``ProcessGroup``.

>>> import numtorch as torch
>>> import numtorch.distributed as dist
>>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
>>> x = torch.ones(2)
>>> dist.all_reduce(x)
>>> x, dist.get_rank(), dist.get_world_size()
(tensor([1., 1.]), 0, 1)
>>> dist.destroy_process_group()
"""
from . import distributed_c10d
from .distributed_c10d import *  # noqa: F403

__all__ = [name for name in distributed_c10d.__all__ if not name.startswith("_")]
