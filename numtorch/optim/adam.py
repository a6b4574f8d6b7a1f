"""Adam."""
from ..tensor import Tensor
from .optimizer import Fused, check_betas, check_not_negative, check_rate, rate, scalar, zeros_like


class Adam(Fused):
    """Adam, arXiv:1412.6980: steps of size lr, scaled by running means of the gradient and of its square.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p -= lr m' / (sqrt(v') + eps), where m' and
    v' are m and v over 1 - beta^t.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): learning rate.
        betas (pair): decay rates of the two means, in [0, 1).
        eps (float): keeps the quotient finite.
        weight_decay (float): added to the gradient as weight_decay p, or with ``decoupled_weight_decay``
            taken from p directly.
        amsgrad (bool): divide by the largest v so far.
        maximize (bool): climb instead.
        foreach: accepted; the step is always one fused kernel.
        fused (bool): on CUDA nothing waits for the device: what the rates depend on is there, and ``GradScaler``
            leaves the choice of a step to the kernel.
        capturable (bool): for CUDA graphs: step counts are on the parameters' device.
        differentiable: True is not built.

    >>> import numtorch as torch
    >>> w = torch.ones(1, requires_grad=True)
    >>> optimizer = torch.optim.Adam([w], lr=0.1)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *,
                 foreach=None,
                 maximize=False, capturable=False, differentiable=False, fused=None,
                 decoupled_weight_decay=False):
        check_rate(lr, foreach and not capturable)
        check_not_negative(epsilon=eps)
        check_betas(betas)
        check_not_negative(weight_decay=weight_decay)
        if isinstance(betas[0], Tensor) != isinstance(betas[1], Tensor):
            raise ValueError("betas must be either both floats or both Tensors")
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      amsgrad=amsgrad,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay))

    def _step_group(self, group):
        amsgrad, (beta1, beta2) = group["amsgrad"], group["betas"]
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")

        def start(p, near):
            return {"step": scalar(0.0, near), **{name: zeros_like(p) for name in names}}

        self._run("adam", self._columns(group, names, ("step",), start), 2 + len(names), 1, rate(group),
            float(beta1),
            float(beta2), float(group["eps"]), float(group["weight_decay"]),
            bool(group["decoupled_weight_decay"]), -1.0 if group["maximize"] else 1.0, bool(amsgrad))
