"""Gradient scaling: a loss multiplied by a large factor, so that small gradients do not vanish in float16."""
import warnings
from collections import abc, defaultdict
from enum import Enum

from .. import cuda, dtypes
from ..autograd.grad_mode import no_grad
from ..ops.create import full
from ..tensor import Tensor
from ._scaling import unscale, update_scale

__all__ = ["OptState", "GradScaler"]

_NOT_SCALED = "This may indicate your script did not use scaler.scale(loss or outputs) earlier in the iteration."


class OptState(Enum):
    """How far an optimiser is in this iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh():
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Scales losses, unscales gradients, leaves out steps whose gradients have overflowed, and adapts the factor.

    The factor and the marks of overflow stay on the device. ``step`` looks at a mark once; an optimiser with ``fused=True``
    leaves a step out by itself, so that nothing waits for the device, and a CUDA graph can hold all of it.

    Args:
        device (str): "cuda" or "cpu": the device type of the losses.
        init_scale (float): the first factor.
        growth_factor (float): multiplies the factor after ``growth_interval`` steps without inf or nan; more than 1.
        backoff_factor (float): multiplies it after an inf or nan; less than 1.
        growth_interval (int): as above.
        enabled (bool): False makes it do nothing: ``step`` is the optimiser's.

    >>> import numtorch as torch
    >>> w = torch.ones(1, requires_grad=True)
    >>> optimizer, scaler = torch.optim.SGD([w], lr=0.1), torch.amp.GradScaler("cpu")
    >>> scaler.scale((2 * w).sum()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    def __init__(self, device="cuda", init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000,
                 enabled=True):
        self._device, self._enabled = device, enabled
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale, self._init_growth_tracker = init_scale, 0
        self._scale = self._growth_tracker = None       # tensors on the device of the first loss
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._per_optimizer_states = defaultdict(_fresh)

    # ---- scale -------------------------------------------------------------------------------------------------------------

    def _scale_on(self, device):
        """The factor as a tensor on a device."""
        if self._scale is None:
            self._scale = full((), self._init_scale, dtype=dtypes.float32, device=device)
            self._growth_tracker = full((), self._init_growth_tracker, dtype=dtypes.int32, device=device)
        return self._scale.to(device, non_blocking=True)

    def scale(self, outputs):
        """``outputs`` (a Tensor, or nested iterables of them) multiplied by the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs.device)
        if isinstance(outputs, abc.Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _must_have_scaled(self, name):
        if self._scale is None:
            raise AssertionError(f"Attempted {name} but _scale is None.  " + _NOT_SCALED)

    # ---- unscale -----------------------------------------------------------------------------------------------------------

    def _unscale_grads_(self, optimizer, inv_scale, found_inf, allow_fp16):
        """Multiplies the gradients by ``inv_scale``; the marks of overflow by device."""
        grads = defaultdict(list)
        for group in optimizer.param_groups:
            for p in group["params"]:
                if not isinstance(p, Tensor):
                    raise AssertionError(f"expected param to be torch.Tensor, got {type(p).__name__}")
                if p.grad is None:
                    continue
                if not allow_fp16 and p.grad.dtype is dtypes.float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                grads[p.grad.device].append(p.grad)
        marks = {}
        with no_grad():
            for device, own in grads.items():
                marks[device] = found_inf.to(device, copy=True)
                unscale(own, marks[device], inv_scale.to(device))
        return marks

    def unscale_(self, optimizer):
        """Divides an optimiser's gradients by the factor, for clipping them, say, before ``step``; once between two updates.

        Raises:
            RuntimeError: they have been unscaled already, or ``step`` has been called.
            ValueError: a gradient is float16.
        """
        if not self._enabled:
            return
        self._must_have_scaled("unscale_")
        own = self._per_optimizer_states[id(optimizer)]
        if own["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if own["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inv_scale = self._scale.double().reciprocal().float()
        own["found_inf_per_device"] = self._unscale_grads_(optimizer, inv_scale, self._no_inf(), False)
        own["stage"] = OptState.UNSCALED

    def _no_inf(self):
        return full((), 0.0, dtype=dtypes.float32, device=self._scale.device)

    def _check_inf_per_device(self, optimizer):
        """Looks for inf and nan in an optimiser's gradients, and leaves them as they are."""
        self._must_have_scaled("_check_inf_per_device")
        one = full((), 1.0, dtype=dtypes.float32, device=self._scale.device)
        found = self._unscale_grads_(optimizer, one, self._no_inf(), True)
        self._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = found
        return found

    def _found_inf_per_device(self, optimizer):
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]

    # ---- step and update ---------------------------------------------------------------------------------------------------

    def step(self, optimizer, *args, **kwargs):
        """Unscales the gradients if need be, and calls ``optimizer.step(*args, **kwargs)`` unless one is inf or nan.

        Returns:
            What the optimiser's step returns, or None.

        Raises:
            RuntimeError: for the second call before ``update``, or with a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._must_have_scaled("step")
        own = self._per_optimizer_states[id(optimizer)]
        if own["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            result = self._step_of_its_own(optimizer, own, args, kwargs)
        else:
            if own["stage"] is OptState.READY:
                self.unscale_(optimizer)
            if not own["found_inf_per_device"]:
                raise AssertionError("No inf checks were recorded for this optimizer.")
            result = self._maybe_opt_step(optimizer, own, *args, **kwargs)
        own["stage"] = OptState.STEPPED
        return result

    def _maybe_opt_step(self, optimizer, optimizer_state, *args, **kwargs):
        """The optimiser's step, unless a gradient has overflowed: the one look at the device."""
        if not sum(found.item() for found in optimizer_state["found_inf_per_device"].values()):
            return optimizer.step(*args, **kwargs)
        return None

    def _step_of_its_own(self, optimizer, own, args, kwargs):
        """The step of an optimiser that unscales itself: it finds ``grad_scale`` and ``found_inf`` among its attributes."""
        if own["stage"] is OptState.READY:
            self._check_inf_per_device(optimizer)
        found = sum(t.to(self._scale.device) for t in own["found_inf_per_device"].values())
        before = getattr(optimizer, "grad_scale", None)
        if own["stage"] is OptState.READY:
            before = self._scale * (1 if before is None else before)
        optimizer.grad_scale, optimizer.found_inf = before, found
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    def update(self, new_scale=None):
        """Adapts the factor to what the steps of this iteration found, or sets it.

        Args:
            new_scale (float or Tensor): the factor from now on.
        """
        if not self._enabled:
            return
        self._must_have_scaled("update")
        if isinstance(new_scale, float):
            self._scale.fill_(new_scale)
        elif new_scale is not None:
            if new_scale.device.type != self._device or new_scale.numel() != 1 or new_scale.requires_grad:
                raise AssertionError("new_scale should be a float or a 1-element torch.cuda.FloatTensor or torch.FloatTensor "
                                     "with requires_grad=False.")
            self._scale.copy_(new_scale)
        else:
            found = [t.to(self._scale.device) for own in self._per_optimizer_states.values()
                     for t in own["found_inf_per_device"].values()]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            update_scale(self._scale, self._growth_tracker, sum(found[1:], found[0]), self._growth_factor, self._backoff_factor,
                         self._growth_interval)
        self._per_optimizer_states = defaultdict(_fresh)

    # ---- settings and state ------------------------------------------------------------------------------------------------

    def _get_scale_async(self):
        return self._scale

    def get_scale(self):
        """The factor as a Python float, for which the device is waited for; 1.0 if not enabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def _get_growth_tracker(self):
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

    def get_growth_factor(self):
        """The growth factor."""
        return self._growth_factor

    def set_growth_factor(self, new_factor):
        """Sets the growth factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self):
        """The backoff factor."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor):
        """Sets the backoff factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self):
        """The growth interval."""
        return self._growth_interval

    def set_growth_interval(self, new_interval):
        """Sets the growth interval."""
        self._growth_interval = new_interval

    def is_enabled(self):
        """Whether it does anything."""
        return self._enabled

    def state_dict(self):
        """What a checkpoint keeps, as Python numbers; empty if not enabled. Ask for it after ``update``."""
        if not self._enabled:
            return {}
        return {"scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._get_growth_tracker()}

    def load_state_dict(self, state_dict):
        """Takes over a dict that ``state_dict`` made; RuntimeError for that of a scaler that was not enabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance of "
                               "GradScaler.")
        self._init_scale, self._init_growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]

    def __getstate__(self):
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError("A GradScaler instance may only be pickled at the beginning of an iteration, or at the end "
                                     "after scaler.update().")
            state["_init_scale"], state["_init_growth_tracker"] = self.get_scale(), self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state
