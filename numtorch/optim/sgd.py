"""Stochastic gradient descent, with momentum."""
import numpy as np

from ..tensor import Tensor, wrap
from .optimizer import Fused, advance_version, check_no_capture, check_not_negative, check_rate, rate


class SGD(Fused):
    """Stochastic gradient descent: p -= lr b with b = momentum b + (1 - dampening) g, g including
    weight_decay p.

    With ``nesterov``, g + momentum b is subtracted in place of b. The first step sets b = g. Source:
    Sutskever et al. 2013, in torch's form, where lr multiplies the momentum as well.

    Args:
        params: tensors, (name, tensor) pairs, or dicts that define groups.
        lr (float or Tensor): learning rate.
        momentum, dampening, weight_decay (float): at least 0, no upper bound.
        nesterov (bool): needs momentum, and no dampening.
        maximize (bool): climb instead.
        foreach: accepted; the step is always one fused kernel.
        fused (bool): on CUDA nothing waits for the device: what the rates depend on is there, and ``GradScaler``
            leaves the choice of a step to the kernel.
        differentiable: True is not built.

    >>> import numtorch as torch
    >>> w = torch.ones(2, requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000, 0.8000], requires_grad=True)
    """

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *,
                 maximize=False, foreach=None, differentiable=False, fused=None):
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        check_rate(lr)
        check_not_negative(momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening,
                                      weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize, foreach=foreach,
                                      differentiable=differentiable, fused=fused))

    def _step_group(self, group):
        hyper = rate(group), float(group["weight_decay"]), -1.0 if group["maximize"] else 1.0
        momentum, arrays = float(group["momentum"]), []
        if momentum == 0:
            for p in group["params"]:
                grad = p._grad
                if grad is not None:
                    arrays += (p._a, grad._a)
                    advance_version(p)
            self._run("sgd", arrays, 2, 0, *hyper)
            return
        fresh, state = [], self.state
        for p in group["params"]:
            grad = p._grad
            if grad is None:
                continue
            own = state[p]
            buffer = own.get("momentum_buffer")
            if buffer is None:
                check_no_capture(self)
                buffer = own["momentum_buffer"] = wrap(np.zeros(p._a.shape, p._a.dtype, like=p._a))
                fresh += (p._a, grad._a, buffer._a)
            else:
                arrays += (p._a, grad._a, buffer._a)
            advance_version(p)
        nesterov = bool(group["nesterov"])
        # b = 0: the first b is g itself
        self._run("sgd_momentum", fresh, 3, 0, *hyper, momentum, 0.0, nesterov)
        self._run("sgd_momentum", arrays, 3, 0, *hyper, momentum, float(group["dampening"]), nesterov)
