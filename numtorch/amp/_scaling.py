"""The arithmetic of gradient scaling, on the device of the tensors."""
from collections import defaultdict

from .. import dtypes
from .. import kernels as K
from ..kernels._device import DeviceArray
from ..op import OPS
from ..ops.create import full

where = OPS["where"].fn


def unscale(grads, found_inf, inv_scale):
    """Multiplies gradients of one device by ``inv_scale`` in place, and sets ``found_inf`` to 1 if an element is not finite.

    Args:
        grads (list of Tensors). found_inf, inv_scale (Tensor): 0-dim float32.
    """
    if found_inf._a.__class__ is DeviceArray:
        K.amp_cuda.unscale([g._a for g in grads], inv_scale._a, found_inf._a)
        return
    for g in grads:
        found_inf.copy_(where(g.isfinite().all(), found_inf, 1.0))
        g.mul_(inv_scale)


def unscale_all(grads, inv_scale):
    """``unscale`` of gradients of any devices, whether they are finite or not."""
    by_device = defaultdict(list)
    for g in grads:
        by_device[g.device].append(g)
    for device, own in by_device.items():
        unscale(own, full((), 0.0, dtype=dtypes.float32, device=device), inv_scale.to(device))


def update_scale(scale, growth_tracker, found_inf, growth, backoff, interval):
    """The factor and the count of good steps after an iteration, in place: a smaller factor if ``found_inf``, a larger one after
    ``interval`` steps without, if that is finite."""
    if scale._a.__class__ is DeviceArray:
        K.amp_cuda.update_scale(scale._a, growth_tracker._a, found_inf._a, growth, backoff, interval)
        return
    good, steps = found_inf == 0, growth_tracker + 1
    grown = scale * growth
    full_interval = steps == interval
    scale.copy_(where(good, where(full_interval & grown.isfinite(), grown, scale), scale * backoff))
    growth_tracker.copy_(where(good & ~full_interval, steps, 0))
