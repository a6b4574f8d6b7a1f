"""Rprop."""
import numpy as np

from ..tensor import wrap
from .optimizer import Fused, check_rate, scalar, zeros_like


class Rprop(Fused):
    """Rprop (Riedmiller and Braun 1993): steps along the sign of the gradient, of a size that each element
    adapts.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): first step size.
        etas (pair): factors of the step size where the sign changed, and where it stayed; 0 < etas[0] < 1 <
            etas[1].
        step_sizes (pair): least and largest step size.
        foreach: accepted; the step is always one fused kernel.
        maximize (bool): climb instead.
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.
    """

    def __init__(self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, capturable=False,
                 foreach=None, maximize=False, differentiable=False):
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes, foreach=foreach,
                                      maximize=maximize,
                                      differentiable=differentiable, capturable=capturable))

    def _step_group(self, group):
        def start(p, near):
            lr = float(group["lr"])
            size = np.full(p._a.shape, complex(lr, lr) if p.is_complex() else lr, p._a.dtype, like=p._a)
            return {"step": scalar(0.0, near), "prev": zeros_like(p), "step_size": wrap(size)}

        self._run("rprop", self._columns(group, ("prev", "step_size"), ("step",), start), 4, 1,
            *map(float, group["etas"]), *map(float, group["step_sizes"]), -1.0 if group["maximize"] else 1.0)
