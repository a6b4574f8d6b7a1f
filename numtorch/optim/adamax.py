"""Adamax."""
from .optimizer import Fused, check_betas, check_not_negative, check_rate, rate, scalar, zeros_like


class Adamax(Fused):
    """Adamax, arXiv:1412.6980 section 7: Adam with the decayed largest gradient in place of the root mean
    square.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor), betas (pair), eps, weight_decay (float): as for ``Adam``.
        foreach: accepted; the step is always one fused kernel.
        maximize (bool): climb instead.
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.
    """

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *,
                 maximize=False, differentiable=False, capturable=False):
        check_rate(lr, foreach and not capturable)
        check_not_negative(epsilon=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      foreach=foreach,
                                      maximize=maximize, differentiable=differentiable,
                                      capturable=capturable))

    def _step_group(self, group):
        columns = self._columns(group, ("exp_avg", "exp_inf"), ("step",), _start)
        self._run("adamax", columns, 4, 1, rate(group), *map(float, group["betas"]), float(group["eps"]),
            float(group["weight_decay"]), -1.0 if group["maximize"] else 1.0)


def _start(p, near):
    return {"step": scalar(0.0, near), "exp_avg": zeros_like(p), "exp_inf": zeros_like(p)}
