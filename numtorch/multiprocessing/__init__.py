"""The standard ``multiprocessing``, whose queues, pipes and arguments share tensors with other processes.

``import numtorch.multiprocessing as mp`` in place of ``import multiprocessing`` is all that a program changes: a tensor that is
sent to another process moves to shared memory, and the receiver works on that memory, not on a copy. Writes are seen on both
sides. ``Tensor.share_memory_`` and ``Module.share_memory`` move tensors there before processes are forked.

The memory has no name, and is gone with the last process that maps it, however that process ends.

>>> import numtorch as torch
>>> import numtorch.multiprocessing as mp
>>> queue, x = mp.SimpleQueue(), torch.zeros(2)
>>> queue.put(x)
>>> y = queue.get()
>>> _ = y.fill_(7)
>>> x
tensor([7., 7.])
"""
import multiprocessing
from multiprocessing import *  # noqa: F403

from . import _memory
from .reductions import init_reductions
from .spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = ["set_sharing_strategy", "get_sharing_strategy", "get_all_sharing_strategies", "spawn", "start_processes",
           "ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException", "SpawnContext",
           *multiprocessing.__all__]


def set_sharing_strategy(new_strategy):
    """Sets how memory for tensors that are shared from here on is laid on files.

    Args:
        new_strategy (str): "file_descriptor" gives each tensor of more than 64 KiB a file of its own, whose memory is free
            as soon as no process uses that tensor. "file_system" lays tensors of up to 64 MiB on common files, for programs
            that share so many that the limit of open files is reached; such a file is freed with the last tensor on it.

    Raises:
        AssertionError: another name.
    """
    if new_strategy not in _memory.POOLED:
        raise AssertionError(f"invalid sharing strategy {new_strategy!r}, expected one of {get_all_sharing_strategies()}")
    _memory.strategy = new_strategy


def get_sharing_strategy():
    """The strategy that ``set_sharing_strategy`` chose; "file_descriptor" at first."""
    return _memory.strategy


def get_all_sharing_strategies():
    """The names that ``set_sharing_strategy`` takes."""
    return set(_memory.POOLED)


init_reductions()
