"""The fused kernels of recurrent layers and cells against their definition, one operation a step, and finite differences."""
import pytest

import numtorch as torch
from numtorch.autograd import gradcheck, gradgradcheck
from numtorch.ops import rnn
from numtorch.ops._rnn_steps import STEPS, layer_by_steps

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}
SIZES = [[3, 3, 3, 3], [5, 4, 4, 2, 1], [2], [40] * 3, [0, 0]]


def case(mode, sizes, size_in=3, hidden=5, bias=True, dtype=torch.float64):
    """x, the first state and the weights of a layer, all leaves that want gradients."""
    gates = GATES[mode] * hidden

    def leaf(*shape):
        return torch.randn(*shape, dtype=dtype).mul_(0.5).requires_grad_()
    state = [leaf(sizes[0], hidden) for _ in range(2 if mode == "LSTM" else 1)]
    weights = [leaf(gates, size_in), leaf(gates, hidden), *([leaf(gates), leaf(gates)] if bias else [None, None])]
    return leaf(sum(sizes), size_in), state, weights


def outputs_and_gradients(run, mode, sizes, x, state, weights, reverse):
    """All results of a layer, and the gradients of a weighted sum of them."""
    y, last = run(mode, x, sizes, tuple(state), (*weights, None), reverse)
    leaves = [t for t in (x, *state, *weights) if t is not None]
    total = sum((t * torch.linspace(-1, 2, t.numel(), dtype=t.dtype).view_as(t)).sum() for t in (y, *last))
    return [y, *last, *torch.autograd.grad(total, leaves)]


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("mode", GATES)
def test_a_layer_follows_its_definition(mode, sizes, reverse):
    """Outputs, last states and gradients for sequences of one and of several lengths, for blocks of any size and for none."""
    for bias, hidden in ((True, 5), (False, 33)):
        x, state, weights = case(mode, sizes, hidden=hidden, bias=bias)
        found = outputs_and_gradients(rnn.layer, mode, sizes, x, state, weights, reverse)
        wanted = outputs_and_gradients(layer_by_steps, mode, sizes, x, state, weights, reverse)
        for a, b in zip(found, wanted):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", GATES)
def test_gradients_of_a_layer(mode):
    """First and second derivatives against finite differences."""
    sizes = [3, 2]
    x, state, weights = case(mode, sizes, 2, 3)

    def run(x, *rest):
        y, last = rnn.layer(mode, x, sizes, rest[:len(state)], (*rest[len(state):], None), False)
        return y, *last
    assert gradcheck(run, (x, *state, *weights))
    assert gradgradcheck(run, (x, *state, *weights))


@pytest.mark.parametrize("mode", GATES)
def test_a_cell_follows_its_definition(mode):
    """Next states, first and second derivatives of one step; a gradient of one of an LSTM's two states alone."""
    _, state, weights = case(mode, [4])
    gx, gh = (torch.randn(4, 5 * GATES[mode], dtype=torch.float64).requires_grad_() for _ in range(2))
    for a, b in zip(rnn.cell(mode, gx, gh, tuple(state)), STEPS[mode](gx, gh, tuple(state))):
        assert torch.allclose(a, b, rtol=1e-12)

    def run(gx, gh, *state):
        return rnn.cell(mode, gx, gh, state)
    assert gradcheck(run, (gx, gh, *state)) and gradgradcheck(run, (gx, gh, *state))
    only = torch.autograd.grad(run(gx, gh, *state)[-1].sum(), gx)[0]
    assert torch.allclose(only, torch.autograd.grad(STEPS[mode](gx, gh, tuple(state))[-1].sum(), gx)[0])


def test_threads_and_single_precision():
    """Enough work for several threads, in float32, gives what the definition gives; views are taken as inputs."""
    sizes = [37] * 4
    x, state, weights = case("LSTM", sizes, 8, 64, dtype=torch.float32)
    with torch.no_grad():
        wide = torch.stack([x, x], 2)[:, :, 0]
        turned = [w.T.contiguous().T if w.dim() == 2 else w for w in weights]
        y, last = rnn.layer("LSTM", wide, sizes, tuple(state), (*turned, None), False)
        expected, _ = layer_by_steps("LSTM", x, sizes, tuple(state), (*weights, None), False)
    assert torch.allclose(y, expected, atol=1e-6) and torch.equal(y[-37:], last[0])


def test_saved_tensors_are_watched_and_freed():
    """Writing the outputs before backward, and a second backward, are torch's errors."""
    layer = torch.nn.LSTM(3, 4)
    y, _ = layer(torch.ones(2, 1, 3))
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    x, state, weights = case("GRU", [2])
    y, _ = rnn.layer("GRU", x, [2], tuple(state), (*weights, None), False)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
