"""Operations made of others that torch shows as one node: names, first and second derivatives, what is watched and freed."""
import pytest

import numtorch as torch
from numtorch.autograd import gradcheck, gradgradcheck
from numtorch.nn import functional as F
from numtorch.ops._one_node import one_node

CALLS = {
    "NativeGroupNormBackward0": lambda x: F.group_norm(x.reshape(2, 4, 3), 2),
    "SmoothL1LossBackward0": lambda x: F.smooth_l1_loss(x, torch.zeros(4, 6, dtype=x.dtype)),
    "HuberLossBackward0": lambda x: F.huber_loss(x, torch.zeros(4, 6, dtype=x.dtype), delta=0.3),
    "BinaryCrossEntropyBackward0": lambda x: F.binary_cross_entropy(x.sigmoid(), torch.full((4, 6), 0.3, dtype=x.dtype)),
    "BinaryCrossEntropyWithLogitsBackward0":
        lambda x: F.binary_cross_entropy_with_logits(x, torch.full((4, 6), 0.3, dtype=x.dtype), pos_weight=torch.arange(6.0).double()),
    "SoftMarginLossBackward0": lambda x: F.soft_margin_loss(x, torch.ones(4, 6, dtype=x.dtype), reduction="none"),
    "MultiMarginLossBackward0": lambda x: F.multi_margin_loss(x, torch.tensor([0, 1, 2, 3]), p=2),
    "MultilabelMarginLossBackward0": lambda x: F.multilabel_margin_loss(x, torch.tensor([[0, 3, -1, 0, 0, 0]] * 4)),
    "GluBackward0": F.glu, "PdistBackward0": F.pdist, "CeluBackward0": F.celu, "Rot90Backward0": torch.rot90,
    "TraceBackward0": torch.trace, "RenormBackward0": lambda x: torch.renorm(x, 2, 0, 0.5), "DistBackward0": lambda x: x.dist(x * 2),
    "StdMeanBackward0": lambda x: torch.std_mean(x, 1)[0], "VarMeanBackward0": lambda x: torch.var_mean(x)[1],
    "LinalgCrossBackward0": lambda x: torch.linalg.cross(x[:, :3], x[:, 3:]), "PowBackward2": lambda x: 2.0 ** x,
    "ProdBackward1": lambda x: x.prod(1), "ProdBackward0": lambda x: x.prod(), "ClampBackward1": lambda x: x.clamp(0.2, 0.7),
    "ClampBackward0": lambda x: x.clamp(torch.tensor(0.2, dtype=x.dtype)), "ClampMinBackward0": lambda x: x.clamp_min(0.3),
    "PreluKernelBackward0": lambda x: F.prelu(x - 0.5, torch.tensor([0.2], dtype=x.dtype)),
    "GridSampler2DBackward0": lambda x: F.grid_sample(x.reshape(1, 2, 3, 4), torch.rand(1, 2, 2, 2, dtype=x.dtype) - 0.5,
                                                      align_corners=False),
    "AffineGridGeneratorBackward0": lambda x: F.affine_grid(x.reshape(4, 2, 3), (4, 1, 3, 2), align_corners=False),
}


@pytest.fixture
def x():
    return (torch.rand(4, 6, dtype=torch.float64) + torch.arange(24).view(4, 6) % 5 * 0.01).requires_grad_()


@pytest.mark.parametrize("name", CALLS)
def test_names_and_derivatives(name, x):
    """The node has torch's name; first and second derivatives agree with finite differences."""
    def run(x):
        torch.manual_seed(1)
        return CALLS[name](x)
    assert run(x).grad_fn.name() == name
    assert gradcheck(run, (x,)) and gradgradcheck(run, (x,))


def test_a_second_backward_needs_retain_graph(x):
    """What the node keeps is freed by backward, unless it is told not to."""
    y = F.glu(x).sum()
    y.backward(retain_graph=True)
    once = x.grad.clone()
    y.backward()
    assert torch.equal(x.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_writes_to_inputs_and_results_are_noticed():
    """Inside the node the operations watch the memory that they share with the tensors outside."""
    @one_node("HalvedExpBackward0")
    def halved_exp(x):
        return (x * 0.5).exp()
    x = torch.ones(3, requires_grad=True) * 1
    y = halved_exp(x)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_targets_with_gradients():
    """The gradient of a target: the input's, negated, for losses of the difference; else through the definition."""
    for loss in (F.mse_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        x, y = (torch.rand(3, 2, dtype=torch.float64).mul(0.8).add(0.1).requires_grad_() for _ in range(2))
        assert gradcheck(loss, (x, y)), loss.__name__


def test_losses_at_the_ends_of_their_range():
    """Probabilities 0 and 1, logits far out and infinities give torch's finite losses and gradients, with no nan."""
    x = torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(x, torch.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [0, 0, 100, 100] and torch.isfinite(x.grad).all()
    z = torch.tensor([-200.0, 200.0, -200.0, 200.0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(z, torch.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [0, 0, 200, 200] and z.grad.tolist() == [0, 0, -1, 1]
    assert F.mse_loss(torch.ones(0), torch.ones(0)).isnan() and F.mse_loss(torch.ones(0), torch.ones(0), reduction="sum") == 0


def test_targets_of_another_dtype():
    """Losses of a difference promote, as torch's do; cross entropies name the dtype that they expected."""
    x = torch.tensor([1.0, 2.5], requires_grad=True)
    loss = F.mse_loss(x, torch.tensor([1, 2]))
    loss.backward()
    assert loss == 0.125 and loss.dtype is torch.float32 and loss.grad_fn.name() == "MseLossBackward0" and x.grad.tolist() == [0, 0.5]
    assert F.huber_loss(x, torch.zeros(2, dtype=torch.float64)).dtype is torch.float64
    with pytest.raises(RuntimeError, match="Found dtype Long but expected Float"):
        F.binary_cross_entropy(x.sigmoid(), torch.tensor([0, 1]))
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        F.binary_cross_entropy_with_logits(x, torch.tensor([0, 1]))
    with pytest.raises(RuntimeError, match="kl_div: Integral inputs not supported"):
        F.kl_div(x, torch.tensor([0, 1]), reduction="sum")
