"""Automatic casts: regions of a program in which operations run in the type that suits them."""
import functools
import warnings
from collections import abc

import numpy as np

from .. import cuda, devices, dtypes
from ..tensor import Tensor
from . import _hooks
from ._casts import state

__all__ = ["autocast_decorator", "autocast", "is_autocast_available", "custom_fwd", "custom_bwd"]

_KINDS = ("cpu", "cuda")


# ---- the thread's settings -------------------------------------------------------------------------------------------------

def _kind(device_type, name):
    """A device type that has autocast.

    Raises:
        TypeError, RuntimeError: it is no string, no device type, or one without autocast.
    """
    if not isinstance(device_type, str):
        raise TypeError(f"{name}(): argument 'device_type' (position 1) must be str, not {_type_name(device_type)}")
    if not is_autocast_available(device_type):
        raise RuntimeError(f"autocast is not available for device type {device_type!r}: numtorch has it on 'cpu' and 'cuda'")
    return device_type


def _type_name(value):
    return "torch.device" if isinstance(value, devices.device) else type(value).__name__


def is_autocast_available(device_type):
    """True for the device types that have autocast: "cpu" and "cuda"; RuntimeError for what is no device type."""
    return device_type in _KINDS or devices.device(device_type).type in _KINDS


def is_autocast_enabled(device_type="cuda"):
    """True where operations on tensors of this device type are cast, in this thread."""
    return state.enabled[_kind(device_type, "is_autocast_enabled")]


def set_autocast_enabled(device_type, enabled=None):
    """Turns autocast for a device type on or off in this thread; with one argument, for CUDA."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _hooks.switch(_kind(device_type, "set_autocast_enabled"), bool(enabled))


def get_autocast_dtype(device_type):
    """The lower precision of a device type: float16 on CUDA and bfloat16 on the CPU, unless it has been set."""
    return state.dtypes[_kind(device_type, "get_autocast_dtype")]


def set_autocast_dtype(device_type, dtype):
    """Sets the lower precision of a device type, in this thread."""
    state.dtypes[_kind(device_type, "set_autocast_dtype")] = dtype


def is_autocast_cache_enabled():
    """True where casts of weights are kept until the outermost context ends."""
    return state.cache_enabled


def set_autocast_cache_enabled(enabled):
    """Sets whether casts of weights are kept, in this thread."""
    state.cache_enabled = bool(enabled)


def clear_autocast_cache():
    """Forgets the casts of weights that have been kept in this thread."""
    state.cache.clear()


def autocast_increment_nesting():
    """Counts a context that begins; returns the depth."""
    state.nesting += 1
    return state.nesting


def autocast_decrement_nesting():
    """Counts a context that ends; returns the depth."""
    state.nesting -= 1
    return state.nesting


def _older(name, fn, now):
    """``fn`` under a name that torch has deprecated."""
    def call(*args):
        warnings.warn(f"torch.{name}({'' if len(args) == 0 else args[0]}) is deprecated. Please use torch.{now} instead.",
                      DeprecationWarning, stacklevel=2)
        return fn(*args)
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"The older name of ``{now}``."
    return call


is_autocast_cpu_enabled = _older("is_autocast_cpu_enabled", lambda: is_autocast_enabled("cpu"), "is_autocast_enabled('cpu')")
set_autocast_cpu_enabled = _older("set_autocast_cpu_enabled", lambda enabled: set_autocast_enabled("cpu", enabled),
                                  "set_autocast_enabled('cpu', enabled)")
get_autocast_cpu_dtype = _older("get_autocast_cpu_dtype", lambda: get_autocast_dtype("cpu"), "get_autocast_dtype('cpu')")
set_autocast_cpu_dtype = _older("set_autocast_cpu_dtype", lambda dtype: set_autocast_dtype("cpu", dtype),
                                "set_autocast_dtype('cpu', dtype)")
get_autocast_gpu_dtype = _older("get_autocast_gpu_dtype", lambda: get_autocast_dtype("cuda"), "get_autocast_dtype('cuda')")
set_autocast_gpu_dtype = _older("set_autocast_gpu_dtype", lambda dtype: set_autocast_dtype("cuda", dtype),
                                "set_autocast_dtype('cuda', dtype)")


# ---- the context -----------------------------------------------------------------------------------------------------------

def autocast_decorator(autocast_instance, func):
    """``func``, called inside ``autocast_instance``."""
    @functools.wraps(func)
    def decorate_autocast(*args, **kwargs):
        with autocast_instance:
            return func(*args, **kwargs)
    return decorate_autocast


class autocast:
    """A with-block, or a decorator, in which operations run in the type that suits them: products of matrices in a half type,
    which is faster; what would lose too much in float32.

    Casts are recorded, so gradients have the types of the tensors they belong to. The setting is the thread's own.

    Args:
        device_type (str): "cuda" or "cpu": whose tensors are cast.
        dtype (dtype): the lower precision; default float16 on CUDA and bfloat16 on the CPU.
        enabled (bool): False turns it off inside another context.
        cache_enabled (bool): weights are cast once in the outermost context; default True.

    Raises:
        ValueError, RuntimeError: ``device_type`` is no string, no device type, or one without autocast.

    >>> import numtorch as torch
    >>> a = torch.ones(2, 2)
    >>> with torch.autocast("cpu"):
    ...     (a @ a).dtype, (a + a).dtype
    (torch.bfloat16, torch.float32)
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda" and not cuda.is_available():
            warnings.warn("CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and device_type == "cuda" and self.fast_dtype is dtypes.bfloat16 and not cuda.is_bf16_supported():
            raise RuntimeError("Current CUDA Device does not support bfloat16. Please switch dtype to float16.")
        elif enabled and device_type == "cpu" and self.fast_dtype not in (dtypes.bfloat16, dtypes.float16):
            warnings.warn("In CPU autocast, but the target dtype is not supported. Disabling autocast.\nCPU Autocast only "
                          "supports dtypes of torch.bfloat16, torch.float16 currently.", stacklevel=2)
            enabled = False
        self._enabled = enabled

    def __enter__(self):
        self.prev_cache_enabled, self.prev = state.cache_enabled, state.enabled[self.device]
        self.prev_fastdtype = state.dtypes[self.device]
        set_autocast_enabled(self.device, self._enabled)
        set_autocast_dtype(self.device, self.fast_dtype)
        autocast_increment_nesting()
        set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *exc):
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        set_autocast_enabled(self.device, self.prev)
        set_autocast_dtype(self.device, self.prev_fastdtype)
        set_autocast_cache_enabled(self.prev_cache_enabled)
        return False

    def __call__(self, func):
        if not callable(func):
            raise TypeError(f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast "
                            "as a context manager? For example:\n    with torch.autocast(device_type=...):\n"
                            "        output = model(input)")
        return autocast_decorator(self, func)


# ---- autograd functions ----------------------------------------------------------------------------------------------------

def _cast(value, device_type, dtype):
    """Nested arguments with their floating tensors of that device, but float64, as ``dtype``."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type and value.dtype is not dtypes.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    if isinstance(value, abc.Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, abc.Iterable):
        parts = (_cast(v, device_type, dtype) for v in value)
        return type(value)(parts) if isinstance(value, (list, tuple)) else parts
    return value


def _must_be_str(device_type):
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(fwd=None, *, device_type, cast_inputs=None):
    """Decorator for ``forward`` of an autograd.Function: fixes what autocast does inside.

    Args:
        device_type (str): "cuda" or "cpu".
        cast_inputs (dtype): under autocast, floating tensors are cast to it, and autocast is off inside; None: forward runs with
            autocast as it is.
    """
    _must_be_str(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorate_fwd(*args, **kwargs):
        ctx, on = args[0], is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))
    return decorate_fwd


def custom_bwd(bwd=None, *, device_type):
    """Decorator for ``backward`` of an autograd.Function: it runs with autocast as ``forward`` did.

    Args:
        device_type (str): "cuda" or "cpu".
    """
    _must_be_str(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorate_bwd(*args, **kwargs):
        with autocast(device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)
    return decorate_bwd
