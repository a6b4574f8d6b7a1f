"""Recurrent networks: a cell's step, and a stack of layers in one or two directions."""
from ..op import OPS
from ..ops import rnn
from ..ops.join import cat, stack

linear, dropout = OPS["nn.functional.linear"].fn, OPS["dropout"].fn


def cell(mode, x, state, w_ih, w_hh, b_ih, b_hh):
    """One step of one sequence each: x (N, I) and the state, a tuple of (N, H), to the next state."""
    _check_places(x, state, (w_ih, w_hh, b_ih, b_hh))
    return rnn.cell(mode, linear(x, w_ih, b_ih), linear(state[0], w_hh, b_hh), state)


def run(mode, x, sizes, state, weights, layers, rate, training, bidirectional):
    """All layers.

    Args:
        x (Tensor): (rows, I), as ``rnn.layer`` takes it. sizes (list of ints): rows of each step.
        state: tuple of (layers directions, N, H).
        weights: for each layer and direction what ``rnn.layer`` takes.
        rate (float): dropout behind all layers but the last, while ``training``.

    Returns:
        The outputs (rows, H directions), and the tuple of last states, shaped as ``state``.
    """
    _check_places(x, state, *weights)
    directions = 2 if bidirectional else 1
    last = []
    for i in range(layers):
        outputs = []
        for d in range(directions):
            k = i * directions + d
            out, now = rnn.layer(mode, x, sizes, tuple(s[k] for s in state), weights[k], d == 1)
            outputs.append(out)
            last.append(now)
        x = outputs[0] if directions == 1 else cat(outputs, 1)
        if rate and training and i < layers - 1:
            x = dropout(x, rate, True)
    return x, tuple(stack([now[j] for now in last]) for j in range(len(state)))


def _check_places(x, state, *weights):
    """torch's RuntimeError unless states and weights are on the device of the input."""
    place = x.device
    for what, tensors in (("hidden", state), *[("parameter", own) for own in weights]):
        for t in tensors:
            if t is not None and t.device != place:
                raise RuntimeError(f"Input and {what} tensors are not at the same device, found input tensor at {place} and "
                                   f"{what} tensor at {t.device}")
