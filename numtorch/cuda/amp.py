"""torch.cuda.amp: the older names of ``amp.autocast`` and ``amp.GradScaler``, for CUDA."""
import warnings

from .. import amp, dtypes
from . import is_available


def _say(old, now):
    warnings.warn(f"`torch.cuda.amp.{old}(args...)` is deprecated. Please use `torch.amp.{now}` instead.", FutureWarning,
                  stacklevel=3)


class autocast(amp.autocast):
    """``amp.autocast("cuda", ...)`` under its older name."""

    def __init__(self, enabled=True, dtype=dtypes.float16, cache_enabled=True):
        _say("autocast", "autocast('cuda', args...)")
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """``amp.GradScaler("cuda", ...)`` under its older name."""

    def __init__(self, init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000, enabled=True):
        _say("GradScaler", "GradScaler('cuda', args...)")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


def custom_fwd(fwd=None, *, cast_inputs=None):
    """``amp.custom_fwd`` for CUDA under its older name."""
    _say("custom_fwd", "custom_fwd(args..., device_type='cuda')")
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd):
    """``amp.custom_bwd`` for CUDA under its older name."""
    _say("custom_bwd", "custom_bwd(args..., device_type='cuda')")
    return amp.custom_bwd(bwd, device_type="cuda")


def amp_definitely_not_available():
    """True where there is no CUDA device."""
    return not is_available()
