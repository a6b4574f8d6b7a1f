"""RAdam."""
from .optimizer import Fused, check_betas, check_not_negative, check_rate, rate, scalar, zeros_like


class RAdam(Fused):
    """RAdam, arXiv:1908.03265: Adam whose adaptive rate is rectified by its variance, and left out in the
    first steps.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor), betas (pair), eps, weight_decay (float), decoupled_weight_decay (bool): as for
            ``Adam``.
        foreach: accepted; the step is always one fused kernel.
        maximize (bool): climb instead.
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
                 decoupled_weight_decay=False, *,
                 foreach=None, maximize=False, capturable=False, differentiable=False):
        check_rate(lr, foreach and not capturable)
        check_not_negative(epsilon=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      decoupled_weight_decay=decoupled_weight_decay,
                                      differentiable=differentiable))

    def _step_group(self, group):
        columns = self._columns(group, ("exp_avg", "exp_avg_sq"), ("step",), _start)
        self._run("radam", columns, 4, 1, rate(group), *map(float, group["betas"]), float(group["eps"]),
            float(group["weight_decay"]), bool(group["decoupled_weight_decay"]),
            -1.0 if group["maximize"] else 1.0)


def _start(p, near):
    return {"step": scalar(0.0, near), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}
