"""Averaged stochastic gradient descent."""
import numpy as np

from ..tensor import wrap
from .optimizer import Fused, check_not_negative, check_rate, rate, scalar


class ASGD(Fused):
    """Averaged SGD (Polyak and Juditsky 1992): SGD with a falling rate, and the mean of p from step t0 on in
    ``state[p]["ax"]``.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): first learning rate; at step t it is lr / (1 + lambd lr t)^alpha.
        lambd, alpha, t0, weight_decay (float): decay of p, power of the rate, first step averaged, L2
            penalty.
        foreach: accepted; the step is always one fused kernel.
        maximize (bool): climb instead.
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.
    """

    def __init__(self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None,
                 maximize=False, differentiable=False, capturable=False):
        check_rate(lr)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay,
                                      foreach=foreach,
                                      maximize=maximize, differentiable=differentiable,
                                      capturable=capturable))

    def _step_group(self, group):
        def start(p, near):
            return {"step": scalar(0.0, near), "eta": scalar(float(group["lr"]), near), "mu": scalar(1.0, near),
                    "ax": wrap(np.zeros(p._a.shape, p._a.dtype, like=p._a))}

        self._run("asgd", self._columns(group, ("ax",), ("eta", "mu", "step"), start), 3, 3, rate(group),
            float(group["lambd"]), float(group["alpha"]), float(group["t0"]), float(group["weight_decay"]),
            -1.0 if group["maximize"] else 1.0)
