"""torch.cuda: devices, streams, events, memory, graphs and generators of NVIDIA GPUs.

The driver is looked for at the first question that needs it. Where there is none, ``is_available()`` is False, and what needs a
device raises RuntimeError with the reason.
"""
from importlib import import_module

from ..kernels._pool import OutOfMemoryError
from ..shim import no_attribute
from ._devices import (
    can_device_access_peer,
    current_device,
    device,
    device_count,
    device_of,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    init,
    ipc_collect,
    is_available,
    is_bf16_supported,
    is_initialized,
    is_tf32_supported,
    set_device,
    synchronize,
)
from .graphs import CUDAGraph, graph, graph_pool_handle, is_current_stream_capturing, make_graphed_callables
from .memory import (
    empty_cache,
    get_per_process_memory_fraction,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_snapshot,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from .random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .streams import (
    Event,
    ExternalStream,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    get_stream_from_external,
    set_stream,
    stream,
)


def __getattr__(name):
    if name == "amp":
        return import_module(".amp", __name__)
    if name.endswith("Tensor"):         # torch.cuda.FloatTensor and its kin
        from ..ops.legacy_types import CUDA

        if name in CUDA:
            return CUDA[name]
    raise no_attribute(__name__, name, globals())
