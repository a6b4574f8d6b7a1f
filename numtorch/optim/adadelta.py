"""Adadelta."""
from .optimizer import Fused, check_not_negative, check_rate, rate, scalar, zeros_like


class Adadelta(Fused):
    """Adadelta, arXiv:1212.5701: p -= lr d, d = g times the root mean square of earlier d over that of g.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): factor of the step, 1 in the paper.
        rho (float): decay rate of both means of squares, in [0, 1].
        eps (float): added to both means.
        weight_decay (float): at least 0.
        foreach: accepted; the step is always one fused kernel.
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.
        maximize (bool): climb instead.
    """

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *, capturable=False,
                 maximize=False, differentiable=False):
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(epsilon=eps, weight_decay=weight_decay)
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize,
                                      capturable=capturable, foreach=foreach, differentiable=differentiable))

    def _step_group(self, group):
        columns = self._columns(group, ("square_avg", "acc_delta"), ("step",), _start)
        self._run("adadelta", columns, 4, 1, rate(group), float(group["rho"]), float(group["eps"]),
            float(group["weight_decay"]), -1.0 if group["maximize"] else 1.0)


def _start(p, near):
    return {"step": scalar(0.0, near), "square_avg": zeros_like(p), "acc_delta": zeros_like(p)}
