"""Functions of layers: torch.nn.functional. The operations come from the registry; the rest is composed of them."""
import warnings

from ..op import INPLACE, OPS
from . import _activations, _attention, _distances

globals().update({o.name: o.fn for o in OPS.values() if o.namespace == "nn.functional"})
globals().update({key.rpartition(".")[2]: fn for key, fn in INPLACE.items() if key.startswith("nn.functional.")})
globals().update({name: OPS[name].fn for name in (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")})
for _module in (_activations, _attention, _distances):
    globals().update({name: fn for name, fn in vars(_module).items() if getattr(fn, "__module__", None) == _module.__name__
                      and not name.startswith("_")})
rrelu_, _canonical_mask = _activations.rrelu_, _attention._canonical_mask
native_channel_shuffle = OPS["nn.functional.channel_shuffle"].fn


def _with_indices(name):
    pool = OPS[f"nn.functional.{name}"].fn

    def fn(input, *args, return_indices=True, **kwargs):
        return pool(input, *args, return_indices=True, **kwargs)
    fn.__name__ = fn.__qualname__ = name + "_with_indices"
    fn.__doc__ = f"``{name}`` with ``return_indices=True``: (maxima, their places)."
    return fn


for _name in ("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"):
    globals()[_name + "_with_indices"] = _with_indices(_name)


def conv_tbc(input, weight, bias, pad=0):
    """Convolution of a sequence laid out as (time, batch, channels).

    Args:
        input (Tensor): (T, N, C). weight (Tensor): (K, C, O). bias (Tensor): (O).
        pad (int): zeros on either side.
    """
    return OPS["conv1d"].fn(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """The older name of ``interpolate``."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return OPS["nn.functional.interpolate"].fn(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """``interpolate`` with ``mode="nearest"``."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return OPS["nn.functional.interpolate"].fn(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """``interpolate`` with ``mode="bilinear"`` and ``align_corners=True``."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return OPS["nn.functional.interpolate"].fn(input, size, scale_factor, mode="bilinear", align_corners=True)


def _not_built(name, way_out):
    def fn(*args, **kwargs):
        raise NotImplementedError(f"nn.functional.{name} is not built; {way_out}")
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"NotImplementedError: ``{name}`` is not built; {way_out}."
    return fn


ctc_loss = _not_built("ctc_loss", "compute it with another library, or align labels with inputs and use cross_entropy")
fractional_max_pool2d = _not_built("fractional_max_pool2d", "use adaptive_max_pool2d, whose regions are regular")
fractional_max_pool3d = _not_built("fractional_max_pool3d", "use adaptive_max_pool3d, whose regions are regular")
