"""Recurrent layers as operations on one step after another: the definition that fused kernels follow.

Runs where the kernels of ``rnn`` do not: half precision, an LSTM's projection, and gradients that are differentiated again.
"""
from .join import cat
from .matmul import linear

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


# ---- one layer in one direction ----------------------------------------------------------------------------------------

def layer_by_steps(mode, x, sizes, state, weights, reverse):
    """All steps of one layer in one direction: what ``rnn.layer`` documents, an LSTM's projection w_hr included."""
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
