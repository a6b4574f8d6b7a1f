"""RMSprop."""
from .optimizer import Fused, check_not_negative, check_rate, rate, scalar, zeros_like


class RMSprop(Fused):
    """RMSprop (Hinton's course, lecture 6e): s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps).

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): learning rate.
        alpha, eps, weight_decay, momentum (float): at least 0.
        centered (bool): divide by the standard deviation, s less the square of the mean gradient
            (arXiv:1308.0850).
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.
        foreach: accepted; the step is always one fused kernel.
        maximize (bool): climb instead.
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
                 capturable=False, foreach=None, maximize=False, differentiable=False):
        check_rate(lr, foreach and not capturable)
        check_not_negative(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(params, dict(lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered,
                                      weight_decay=weight_decay, capturable=capturable, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable))

    def _step_group(self, group):
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")

        def start(p, near):
            return {"step": scalar(0.0, near), **{name: zeros_like(p) for name in names}}

        self._run("rmsprop", self._columns(group, names, ("step",), start), 2 + len(names), 1, rate(group),
            float(group["alpha"]), float(group["eps"]), float(group["weight_decay"]),
            float(group["momentum"]), bool(group["centered"]), -1.0 if group["maximize"] else 1.0)
