"""Adagrad."""
import numpy as np

from ..tensor import wrap
from .optimizer import Fused, check_not_negative, check_rate, near, rate, scalar


class Adagrad(Fused):
    """Adagrad (Duchi, Hazan, Singer 2011): s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): learning rate.
        lr_decay, weight_decay, initial_accumulator_value, eps (float): at least 0; s starts at
            initial_accumulator_value.
        foreach: accepted; the step is always one fused kernel.
        fused (bool): on CUDA nothing waits for the device: what the rates depend on is there, and ``GradScaler``
            leaves the choice of a step to the kernel.
        maximize (bool): climb instead.
        differentiable: True is not built.
    """

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
                 foreach=None, *, maximize=False, differentiable=False, fused=None):
        check_rate(lr)
        check_not_negative(lr_decay=lr_decay, weight_decay=weight_decay,
                           initial_accumulator_value=initial_accumulator_value, epsilon=eps)
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
                                      initial_accumulator_value=initial_accumulator_value, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, fused=fused))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].update(self._start(p, near(group, p), group))

    def _start(self, p, near, group):
        value = group["initial_accumulator_value"]
        if p.is_complex():
            value = complex(value, value)
        return {"step": scalar(0.0, near), "sum": wrap(np.full(p._a.shape, value, p._a.dtype, like=p._a))}

    def share_memory(self):
        """Moves the sums to memory that processes share, for training by several of them."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _step_group(self, group):
        columns = self._columns(group, ("sum",), ("step",), lambda p, near: self._start(p, near, group))
        self._run("adagrad", columns, 3, 1, rate(group), float(group["lr_decay"]),
            float(group["weight_decay"]), float(group["eps"]), -1.0 if group["maximize"] else 1.0)
