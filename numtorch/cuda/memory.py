"""How much of the devices' memory is in use; the figures are those of ``numtorch.kernels._pool``."""
import collections
import warnings

from ..kernels import _driver
from ..kernels._pool import pool
from ._devices import get_device_properties, index_of

__all__ = ["empty_cache", "get_per_process_memory_fraction", "max_memory_allocated", "max_memory_cached", "max_memory_reserved",
           "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved", "memory_snapshot", "memory_stats",
           "memory_stats_as_nested_dict", "memory_summary", "reset_accumulated_memory_stats", "reset_max_memory_allocated",
           "reset_max_memory_cached", "reset_peak_memory_stats", "set_per_process_memory_fraction"]


def empty_cache():
    """Gives memory that no tensor uses back to the driver, for other programs; numtorch itself has no more of it by that.

    Waits for the devices, because kernels that use such memory may still be under way.
    """
    if _driver.in_use():
        pool.empty_cache()


def mem_get_info(device=None):
    """Free and total bytes of a device's memory (None: the current device's), as the driver sees them."""
    return _driver.current().memory_info(index_of(device, optional=True))


def memory_stats_as_nested_dict(device=None):
    """What ``memory_stats`` gives, nested: ``["allocated_bytes"]["all"]["peak"]``."""
    if not _driver.in_use():
        return {}
    device = index_of(device, optional=True)
    blocks, waiting = pool.in_use(device)
    s = pool.stats(device)
    held = blocks - waiting
    active = s.allocated + s.waiting
    count = {"current": held, "allocated": s.count, "freed": s.count + s.forgotten_blocks - held}
    byte = {"current": s.allocated, "peak": s.peak, "allocated": s.total, "freed": s.total + s.forgotten - s.allocated}
    return {"allocation": {"all": count}, "allocated_bytes": {"all": byte},
            "active": {"all": {"current": blocks}},
            "active_bytes": {"all": {"current": active, "peak": max(s.active_peak, s.peak, active)}},
            "reserved_bytes": {"all": _level(s.reserved)}, "segment": {"all": _level(s.segments)},
            "num_alloc_retries": s.retries, "num_ooms": s.ooms,
            "num_device_alloc": s.segments.allocated, "num_device_free": s.segments.freed}


def _level(level):
    return {name: getattr(level, name) for name in ("current", "peak", "allocated", "freed")}


def memory_stats(device=None):
    """Figures of a device's memory (None: the current device's) by name; empty where CUDA has not been used.

    ``allocated_bytes.all.current``, ``.peak``, ``.allocated`` and ``.freed`` (the sums of all allocations and frees), the same
    of ``reserved_bytes`` and ``segment`` (what the driver was asked for); ``allocation`` counts tensors' blocks; ``active``
    adds blocks that were dropped while other streams used them. ``num_alloc_retries``, ``num_ooms``, ``num_device_alloc`` and
    ``num_device_free``. Of torch's figures there are those of ``all`` sizes, and no peak of ``allocation`` and ``active``.
    """
    return collections.OrderedDict(sorted(_flat("", memory_stats_as_nested_dict(device))))


def _flat(prefix, figures):
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value


def memory_allocated(device=None):
    """Bytes that tensors on a device (None: the current one) occupy, each rounded up to 512; 0 before CUDA is used."""
    return pool.stats(index_of(device, optional=True)).allocated if _driver.in_use() else 0


def max_memory_allocated(device=None):
    """The most bytes that tensors on a device (None: the current one) occupied since ``reset_peak_memory_stats``."""
    return pool.stats(index_of(device, optional=True)).peak if _driver.in_use() else 0


def memory_reserved(device=None):
    """Bytes of a device (None: the current one) that are kept for tensors, in use or not."""
    return pool.stats(index_of(device, optional=True)).reserved.current if _driver.in_use() else 0


def max_memory_reserved(device=None):
    """The most bytes of a device (None: the current one) that were kept for tensors since ``reset_peak_memory_stats``."""
    return pool.stats(index_of(device, optional=True)).reserved.peak if _driver.in_use() else 0


def memory_cached(device=None):
    """The older name of ``memory_reserved``."""
    warnings.warn("`torch.cuda.memory_cached` has been renamed to `torch.cuda.memory_reserved`", FutureWarning, stacklevel=2)
    return memory_reserved(device)


def max_memory_cached(device=None):
    """The older name of ``max_memory_reserved``."""
    warnings.warn("`torch.cuda.max_memory_cached` has been renamed to `torch.cuda.max_memory_reserved`", FutureWarning,
                  stacklevel=2)
    return max_memory_reserved(device)


def reset_peak_memory_stats(device=None):
    """Starts the peaks of a device (None: the current one) again from the present values."""
    stats = pool.stats(index_of(device, optional=True))
    stats.peak, stats.active_peak = stats.allocated, stats.allocated + stats.waiting
    for level in (stats.reserved, stats.segments):
        level.peak = level.current


def reset_accumulated_memory_stats(device=None):
    """Starts the sums of a device (None: the current one) again from 0: ``allocated``, ``freed``, retries and errors."""
    device = index_of(device, optional=True)
    blocks, waiting = pool.in_use(device)
    stats = pool.stats(device)
    stats.total = stats.count = stats.retries = stats.ooms = 0
    stats.forgotten, stats.forgotten_blocks = stats.allocated, blocks - waiting
    for level in (stats.reserved, stats.segments):
        level.allocated = level.freed = 0


def _renamed(name, device):
    warnings.warn(f"torch.cuda.{name} now calls torch.cuda.reset_peak_memory_stats, which resets /all/ peak memory stats.",
                  FutureWarning, stacklevel=3)
    reset_peak_memory_stats(device)


def reset_max_memory_allocated(device=None):
    """The older name of ``reset_peak_memory_stats``."""
    _renamed("reset_max_memory_allocated", device)


def reset_max_memory_cached(device=None):
    """The older name of ``reset_peak_memory_stats``."""
    _renamed("reset_max_memory_cached", device)


def memory_snapshot(mempool_id=None, include_traces=True):
    """Not built: the pool keeps no history of its blocks."""
    raise NotImplementedError("torch.cuda.memory_snapshot is not built: numtorch keeps no history of its blocks; "
                              "memory_stats and memory_summary have the figures")


_fractions = {}
_driver.on_change.append(_fractions.clear)


def set_per_process_memory_fraction(fraction, device=None):
    """Lets numtorch reserve at most a part of a device's memory; beyond it OutOfMemoryError is raised.

    Args:
        fraction (float): the part, from 0 to 1.
        device (int, str or torch.device): whose; None is the current device.
    """
    index = index_of(device, optional=True)
    if not isinstance(fraction, float):
        raise TypeError("Invalid type for fraction argument, must be `float`")
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    _fractions[index] = fraction
    pool.set_limit(index, int(fraction * get_device_properties(index).total_memory))


def get_per_process_memory_fraction(device=None):
    """The part of a device's memory (None: the current device's) that numtorch may reserve."""
    return _fractions.get(index_of(device, optional=True), 1.0)


def memory_summary(device=None, abbreviated=False):
    """A table of the figures of a device's memory (None: the current device's), to print.

    ``abbreviated`` makes no difference: torch's longer table has rows for pools that numtorch does not have.
    """
    index = index_of(device, optional=True)
    _driver.current()
    stats, bar, rule = memory_stats(index), "=" * 75, "-" * 75
    lines = [bar, f"{' ' * 18}numtorch CUDA memory summary, device ID {index:<17d}", rule,
             f"  {'':9} CUDA OOMs: {stats['num_ooms']:<12d} | {'':6} cudaMalloc retries: {stats['num_alloc_retries']:<8d}  ", bar,
             "        Metric         | Cur Usage  | Peak Usage | Tot Alloc  | Tot Freed  "]
    for key, name, unit in _ROWS:
        cells = [_cell(stats.get(f"{key}.all.{kind}"), unit) for kind in ("current", "peak", "allocated", "freed")]
        lines += [rule, f" {name:<21} | {' | '.join(cells)} "]
    return "".join(f"|{line:<75}|\n" for line in (*lines, bar))


_BYTES, _COUNTS = (1024, ("B  ", "KiB", "MiB", "GiB", "TiB")), (1000, ("  ", "K ", "M "))
_ROWS = (("allocated_bytes", "Allocated memory", _BYTES), ("active_bytes", "Active memory", _BYTES),
         ("reserved_bytes", "GPU reserved memory", _BYTES), ("allocation", "Allocations", _COUNTS),
         ("active", "Active allocs", _COUNTS), ("segment", "GPU reserved segments", _COUNTS))


def _cell(value, unit):
    """A figure in ten characters: of at most six or seven digits, with a unit."""
    step, names = unit
    digits = 10 - len(names[0]) - (step == 1024)
    if value is None:
        return " " * 9 + "-"
    power = 0
    while value >= 768 * step and power < len(names) - 1:
        value, power = value // step, power + 1
    return f"{value:{digits}d}{' ' if step == 1024 else ''}{names[power]}"
