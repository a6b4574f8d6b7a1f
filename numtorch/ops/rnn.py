"""Recurrent layers and cells as recorded operations on the fused kernels of ``kernels/rnn.py``."""
import numpy as np

from .. import kernels as K
from ..autograd.grad_mode import mode as grad_mode
from ..op import OUT, record
from ..tensor import wrap
from ._one_node import gradients
from ._rnn_steps import STEPS, layer_by_steps

MODES = ("RNN_TANH", "RNN_RELU", "GRU", "LSTM")     # by the kernels' numbers
REAL = (np.dtype(np.float32), np.dtype(np.float64))


def _fused(tensors):
    """Whether the kernels take these tensors: all float32, or all float64."""
    dtype = tensors[0]._a.dtype
    return dtype in REAL and all(t is None or t._a.dtype == dtype for t in tensors)


def _owned(t):
    """A contiguous copy of a tensor's array."""
    return np.array(t._a, order="C")


def _zeros_or(g, shape, dtype, copy=False):
    """The contiguous array of a gradient, for None zeros; one of its own with ``copy``."""
    if g is None:
        return np.zeros(shape, dtype)
    return _owned(g) if copy else np.ascontiguousarray(g._a)


# ---- a layer -----------------------------------------------------------------------------------------------------------

def layer(mode, x, sizes, state, weights, reverse):
    """All steps of one layer in one direction.

    Args:
        mode (str): one of MODES.
        x (Tensor): (rows, I), the rows of step 0, then those of step 1, and so on.
        sizes (list of ints): how many rows each step has; never more than the step before.
        state: tuple of (N, H), the first state of each sequence.
        weights: (w_ih, w_hh, b_ih, b_hh, w_hr), of which the last three may be None.
        reverse (bool): from the last step to the first.

    Returns:
        The outputs (rows, H), and the last state of each sequence.
    """
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    inputs = (x, w_ih, w_hh, b_ih, b_hh, *state)
    if w_hr is not None or not _fused(inputs):
        return layer_by_steps(mode, x, sizes, state, weights, reverse)
    dtype, hidden, gated = x._a.dtype, w_hh._a.shape[1], mode in ("GRU", "LSTM")
    bias = None if b_ih is None else b_ih._a if mode == "GRU" else b_ih._a + b_hh._a
    gates = K.matmul.matmul(x._a, w_ih._a.T, bias)
    rows = len(gates)
    table = np.array([sizes, np.cumsum([0, *sizes[:-1]])])
    last = [_owned(s) for s in state]
    y, kept = np.empty((rows, hidden), dtype), np.empty((rows if gated else 0, hidden), dtype)
    inner_bias = np.zeros(gates.shape[1], dtype) if b_hh is None else np.ascontiguousarray(b_hh._a)
    K.rnn.forward(gates, inner_bias, np.empty((0, 0), dtype), *K.rnn.strips(w_hh._a.T), table, MODES.index(mode), reverse,
                  K.rnn.sequences_a_task(sizes[0], gates), K.rnn.product(dtype)[0], last[0], last[-1], y, kept)
    y, *last = record((y, *last), _layer_backward, inputs, (*inputs, (OUT, 0), wrap(gates), wrap(kept)), mode=mode,
                      sizes=sizes, table=table, reverse=reverse)
    return y, tuple(last)


def _layer_backward(node, gy, *last):
    """Gradients of a layer: the kernel's of the sums, from which those of weights and inputs are one matrix product each."""
    if grad_mode.enabled:
        return _recorded_backward(node, gy, *last)
    x, w_ih, w_hh, b_ih, b_hh, *state, y, gates, kept = (None if t is None else t._a for t in node.saved_tensors)
    mode, table, dtype = node.ctx["mode"], node.ctx["table"], gates.dtype
    dstate = [_zeros_or(g, s.shape, dtype, copy=True) for g, s in zip(last, state)]
    first = [np.ascontiguousarray(s) for s in state]
    dgates, dmore = np.empty_like(gates), np.empty((len(gates) if mode == "GRU" else 0, gates.shape[1]), dtype)
    before = np.empty_like(y)
    K.rnn.backward(gates, _zeros_or(gy, y.shape, dtype), y, kept, first[0], first[-1], *K.rnn.strips(w_hh), table,
                   MODES.index(mode), node.ctx["reverse"], K.rnn.sequences_a_task(table[0, 0], gates),
                   K.rnn.product(dtype)[0], dstate[0], dstate[-1], dgates, dmore, before)
    inner = dmore if mode == "GRU" else dgates
    return _where_needed(node, (
        lambda: K.matmul.matmul(dgates, w_ih), lambda: K.matmul.matmul(dgates.T, x), lambda: K.matmul.matmul(inner.T, before),
        lambda: np.add.reduce(dgates, 0), lambda: np.add.reduce(inner, 0), *(lambda d=d: d for d in dstate)))


def _where_needed(node, makers):
    """The gradients that are wanted, each made by a function of no arguments."""
    return tuple([wrap(make()) if needed else None for make, needed in zip(makers, node.needs)])


def _recorded_backward(node, *given):
    """The same through ``layer_by_steps``, whose own backward is recorded."""
    x, w_ih, w_hh, b_ih, b_hh, *state = inputs = node.saved_tensors[:len(node.edges)]
    ctx = node.ctx
    y, last = layer_by_steps(ctx["mode"], x, ctx["sizes"], state, (w_ih, w_hh, b_ih, b_hh, None), ctx["reverse"])
    return gradients((y, *last), inputs, given, node.needs, create_graph=True)


# ---- a cell ------------------------------------------------------------------------------------------------------------

def cell(mode, gx, gh, state):
    """One step of one sequence each, from what the input and the state contribute to the gates.

    Args:
        mode (str): one of MODES.
        gx, gh (Tensor): (N, G), from the input and from the state.
        state: tuple of (N, H).

    Returns:
        The next state, a tuple of (N, H).
    """
    inputs = (gx, gh, *state)
    if not _fused(inputs):
        return STEPS[mode](gx, gh, state)
    dtype, gru = gx._a.dtype, mode == "GRU"
    gates = _owned(gx) if gru else np.ascontiguousarray(gx._a + gh._a)
    h, *c = [_owned(s) for s in state]
    y, kept = np.empty_like(h), np.empty(h.shape if gru or c else (0, h.shape[1]), dtype)
    K.rnn.forward(gates, np.empty(0, dtype), np.ascontiguousarray(gh._a) if gru else np.empty((0, 0), dtype), *_no_weights(dtype),
                  _one_step(h), MODES.index(mode), False, K.rnn.sequences_a_task(len(h), gates), 0, h, c[0] if c else h, y, kept)
    return record((y, *c), _cell_backward, inputs, (*inputs, (OUT, 0), wrap(gates), wrap(kept)), mode=mode)


def _no_weights(dtype):
    return np.empty(0, dtype), np.empty(0, np.int64)


def _one_step(h):
    return np.array([[len(h)], [0]])


def _cell_backward(node, gy, *last):
    """Gradients of a cell: those of a layer of one step, without its products."""
    if grad_mode.enabled:
        inputs = node.saved_tensors[:len(node.edges)]
        found = STEPS[node.ctx["mode"]](*inputs[:2], inputs[2:])
        return gradients(found, inputs, (gy, *last), node.needs, create_graph=True)
    _, _, *state, y, gates, kept = (t._a for t in node.saved_tensors)
    mode, dtype = node.ctx["mode"], gates.dtype
    first = [np.ascontiguousarray(s) for s in state]
    dstate = [np.zeros(y.shape, dtype), *(_zeros_or(g, y.shape, dtype, copy=True) for g in last)]
    dgates, dmore = np.empty_like(gates), np.empty((len(gates) if mode == "GRU" else 0, gates.shape[1]), dtype)
    K.rnn.backward(gates, _zeros_or(gy, y.shape, dtype), y, kept, first[0], first[-1], *_no_weights(dtype), _one_step(y),
                   MODES.index(mode), False, K.rnn.sequences_a_task(len(y), gates), 0, dstate[0], dstate[-1], dgates, dmore,
                   np.empty_like(y))
    return _where_needed(node, (lambda: dgates, lambda: dmore if mode == "GRU" else dgates, *(lambda d=d: d for d in dstate)))
