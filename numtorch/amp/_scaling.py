"""The arithmetic of gradient scaling, on the device of the tensors."""
from ..op import OPS

where = OPS["where"].fn


def unscale(grads, found_inf, inv_scale):
    """Multiplies gradients of one device by ``inv_scale`` in place, and sets ``found_inf`` to 1 if an element is not finite.

    Args:
        grads (list of Tensors). found_inf, inv_scale (Tensor): 0-dim float32.
    """
    for g in grads:
        found_inf.copy_(where(g.isfinite().all(), found_inf, 1.0))
        g.mul_(inv_scale)


def update_scale(scale, growth_tracker, found_inf, growth, backoff, interval):
    """The factor and the count of good steps after an iteration, in place: a smaller factor if ``found_inf``, a larger one after
    ``interval`` steps without, if that is finite."""
    good, steps = found_inf == 0, growth_tracker + 1
    grown = scale * growth
    full_interval = steps == interval
    scale.copy_(where(good, where(full_interval & grown.isfinite(), grown, scale), scale * backoff))
    growth_tracker.copy_(where(good & ~full_interval, steps, 0))
