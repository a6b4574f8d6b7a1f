"""numtorch: PyTorch's programming model in plain Python, its kernels written in Numba.

``import numtorch as torch`` and go on as with PyTorch. Operations come from the registry ``op.OPS``; packages that a program
may not need (nn, optim, utils, vision ...) are imported at their first use.
"""
from importlib import import_module

from . import autograd, ops     # ops declares the operations on the classes of the others
from ._tensor_str import set_printoptions
from ._threads import get_num_threads, set_num_threads
from .autograd.grad_mode import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from .devices import device, get_default_device, set_default_device
from .dtypes import ALIASES, ALL, can_cast, dtype, finfo, get_default_dtype, iinfo, promote_types, set_default_dtype
from .op import INPLACE, OPS, name_publicly
from .random import Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from .shape import Size
from .shape import broadcast_shapes as _broadcast_shapes
from .shim import install_as_torch, no_attribute
from .storage import Storage
from .tensor import Tensor, channels_last, channels_last_3d, contiguous_format, layout, memory_format, preserve_format, strided
from .version import __version__

e, pi, tau = 2.718281828459045, 3.141592653589793, 6.283185307179586
inf, nan, newaxis = float("inf"), float("nan"), None

# imported at their first use: packages, and functions by the module that has them
_PACKAGES = frozenset(("accelerator", "amp", "backends", "cuda", "distributed", "fft", "hub", "jit", "kernels", "linalg",
                       "multiprocessing", "nn", "optim", "random", "return_types", "serialization", "special", "testing",
                       "utils", "version", "vision"))
_FUNCTIONS = {"get_float32_matmul_precision": "ops.matmul", "set_float32_matmul_precision": "ops.matmul",
              "set_default_tensor_type": "ops.legacy_types",
              **dict.fromkeys(("are_deterministic_algorithms_enabled", "get_deterministic_debug_mode",
                               "is_deterministic_algorithms_warn_only_enabled", "set_deterministic_debug_mode",
                               "use_deterministic_algorithms"), "_deterministic"),
              "OutOfMemoryError": "cuda", "from_dlpack": "utils.dlpack", "load": "serialization", "save": "serialization",
              **dict.fromkeys(("autocast", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
                               "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
                               "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled",
                               "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
                               "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype"), "amp.autocast_mode")}

globals().update({d._name: d for d in ALL if d._name != "bool"}, bool=ALL[0], **ALIASES)
globals().update({name: o.fn for name, o in OPS.items() if o.namespace == "torch"})
globals().update({name: fn for name, fn in INPLACE.items() if "." not in name})
globals().update(ops.legacy_types.CPU)
globals()["uint8"] = ALL[1]
name_publicly()


def broadcast_shapes(*shapes):
    """The shape that ``shapes`` (ints or tuples) broadcast to, as a Size; RuntimeError where they do not."""
    return Size(_broadcast_shapes(*(tuple(s) if isinstance(s, (tuple, list)) else (s,) for s in shapes)))


def __getattr__(name):
    if name in _PACKAGES:
        return import_module("." + name, __name__)
    if name in _FUNCTIONS:
        return globals().setdefault(name, getattr(import_module("." + _FUNCTIONS[name], __name__), name))
    raise no_attribute(__name__, name, __dir__())


def __dir__():
    return sorted({*globals(), *_PACKAGES, *_FUNCTIONS})
