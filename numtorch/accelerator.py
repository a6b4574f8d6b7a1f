"""torch.accelerator: the device that computes fastest, under names that do not say whose it is. Here that is CUDA's."""
from . import cuda
from .cuda import (
    current_stream,
    device_count,
    empty_cache,
    is_available,
    max_memory_allocated,
    max_memory_reserved,
    memory_allocated,
    memory_reserved,
    memory_stats,
    reset_accumulated_memory_stats,
    reset_peak_memory_stats,
    set_stream,
    synchronize,
)
from .devices import device

__all__ = ["current_accelerator", "current_device_index", "current_stream", "device_count", "device_index", "empty_cache",
           "get_memory_info", "is_available", "max_memory_allocated", "max_memory_reserved", "memory_allocated",
           "memory_reserved", "memory_stats", "reset_accumulated_memory_stats", "reset_peak_memory_stats",
           "set_device_index", "set_stream", "synchronize"]

get_memory_info = cuda.mem_get_info
current_device_index = cuda.current_device
set_device_index = cuda.set_device
device_index = cuda.device


def current_accelerator(check_available=False):
    """device("cuda"); None where there is none, as with torch's build for the CPU.

    Args:
        check_available (bool): the same either way: whether there is a device is always asked.

    >>> import numtorch as torch
    >>> torch.accelerator.current_accelerator(True) is None or torch.accelerator.is_available()
    True
    """
    return device("cuda") if is_available() else None
