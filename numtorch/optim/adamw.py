"""AdamW."""
from .adam import Adam


class AdamW(Adam):
    """AdamW, arXiv:1711.05101: Adam whose weight decay shrinks p by lr weight_decay and does not pass
    through the means.

    Args as for ``Adam``; ``weight_decay`` is 0.01 if left out.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
                 maximize=False, foreach=None, capturable=False, differentiable=False, fused=None):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused,
                         decoupled_weight_decay=True)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True      # also in a checkpoint of Adam
