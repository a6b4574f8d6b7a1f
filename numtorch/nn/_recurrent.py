"""Recurrent networks: one step of each kind, a layer, and a stack of layers in one or two directions."""
from ..op import OPS
from ..ops.join import cat, stack

linear, dropout = OPS["nn.functional.linear"].fn, OPS["dropout"].fn


# ---- one step: from what the input and the last state contribute to the gates ------------------------------------------

def rnn_tanh_step(gx, gh, state):
    """``tanh(gx + gh)``."""
    h = (gx + gh).tanh()
    return (h,)


def rnn_relu_step(gx, gh, state):
    """``relu(gx + gh)``."""
    h = (gx + gh).relu()
    return (h,)


def gru_step(gx, gh, state):
    """``h' = (1 - z) n + z h`` with r, z = sigmoid(gx + gh), ``n = tanh(gx_n + r gh_n)`` (Cho et al., 2014)."""
    h, = state
    xr, xz, xn = gx.chunk(3, 1)
    hr, hz, hn = gh.chunk(3, 1)
    n = (xn + (xr + hr).sigmoid() * hn).tanh()
    return ((h - n) * (xz + hz).sigmoid() + n,)


def lstm_step(gx, gh, state):
    """``c' = f c + i g``, ``h' = o tanh(c')`` with i, f, o = sigmoid(gx + gh), g = tanh(gx + gh)
    (Hochreiter & Schmidhuber, 1997)."""
    c = state[1]
    i, f, g, o = (gx + gh).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


STEPS = {"RNN_TANH": rnn_tanh_step, "RNN_RELU": rnn_relu_step, "GRU": gru_step, "LSTM": lstm_step}


def cell(mode, x, state, w_ih, w_hh, b_ih, b_hh):
    """One step of one sequence each: x (N, I) and the state, a tuple of (N, H), to the next state."""
    return STEPS[mode](linear(x, w_ih, b_ih), linear(state[0], w_hh, b_hh), state)


# ---- one layer in one direction ----------------------------------------------------------------------------------------

def layer(mode, x, sizes, state, weights, reverse):
    """All steps of one layer.

    Args:
        x (Tensor): (rows, I), the rows of step 0, then those of step 1, and so on.
        sizes (list of ints): how many rows each step has; never more than the step before.
        state: tuple of (N, H), the first state of each sequence.
        weights: (w_ih, w_hh, b_ih, b_hh, w_hr), of which the last three may be None.
        reverse (bool): from the last step to the first.

    Returns:
        The outputs (rows, H), and the last state of each sequence.
    """
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    step, gx = STEPS[mode], linear(x, w_ih, b_ih).split(sizes)
    outputs, ended = [None] * len(sizes), []
    now = tuple(s[:sizes[-1]] for s in state) if reverse and sizes[-1] < sizes[0] else state
    for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        n, had = sizes[t], now[0].shape[0]
        if n < had:         # forward: some sequences have ended
            ended.append(tuple(s[n:] for s in now))
            now = tuple(s[:n] for s in now)
        elif n > had:       # backward: some begin
            now = tuple(cat([s, first[had:n]]) for s, first in zip(now, state))
        now = step(gx[t], linear(now[0], w_hh, b_hh), now)
        if w_hr is not None:
            now = (linear(now[0], w_hr), *now[1:])
        outputs[t] = now[0]
    if ended:
        now = tuple(cat([s, *(e[k] for e in reversed(ended))]) for k, s in enumerate(now))
    return cat(outputs), now


# ---- a stack of layers -------------------------------------------------------------------------------------------------

def run(mode, x, sizes, state, weights, layers, rate, training, bidirectional):
    """All layers.

    Args:
        x (Tensor): (rows, I), as ``layer`` takes it. sizes (list of ints): rows of each step.
        state: tuple of (layers directions, N, H).
        weights: for each layer and direction what ``layer`` takes.
        rate (float): dropout behind all layers but the last, while ``training``.

    Returns:
        The outputs (rows, H directions), and the tuple of last states, shaped as ``state``.
    """
    directions = 2 if bidirectional else 1
    last = []
    for i in range(layers):
        outputs = []
        for d in range(directions):
            k = i * directions + d
            out, now = layer(mode, x, sizes, tuple(s[k] for s in state), weights[k], d == 1)
            outputs.append(out)
            last.append(now)
        x = outputs[0] if directions == 1 else cat(outputs, 1)
        if rate and training and i < layers - 1:
            x = dropout(x, rate, True)
    return x, tuple(stack([now[j] for now in last]) for j in range(len(state)))
