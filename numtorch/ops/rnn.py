"""Recurrent layers and cells as recorded operations on the fused kernels of ``kernels/rnn.py`` and ``kernels/rnn_cuda.py``."""
import numpy as np

from .. import kernels as K
from ..autograd.grad_mode import mode as grad_mode
from ..kernels._device import DeviceArray
from ..op import OUT, record
from ..tensor import wrap
from ._one_node import gradients
from ._rnn_steps import STEPS, layer_by_steps

MODES = ("RNN_TANH", "RNN_RELU", "GRU", "LSTM")     # by the kernels' numbers
REAL = (np.dtype(np.float32), np.dtype(np.float64))


def _fused(tensors):
    """Whether the kernels take these tensors, which are on one device: all float32, or all float64; on CUDA also half types."""
    x = tensors[0]
    dtype = x._a.dtype
    return (dtype in REAL or x.is_cuda and x.is_floating_point()) and all(t is None or t._a.dtype == dtype for t in tensors)


def _owned(t):
    """A contiguous copy of a tensor's array."""
    return t._a.copy(order="C")


def _dense(a):
    """An array itself if it is contiguous, else a copy."""
    return np.ascontiguousarray(a, like=a)


def _added(a, b):
    """The sum of two arrays of one shape."""
    return _on_device().add(a, b) if a.__class__ is DeviceArray else a + b


def _zeros_or(g, a, copy=False):
    """The contiguous array of a gradient, for None zeros like the array ``a``; one of its own with ``copy``."""
    if g is None:
        return np.zeros(a.shape, a.dtype, like=a)
    return _owned(g) if copy else _dense(g._a)


# ---- the kernels on arrays -----------------------------------------------------------------------------------------------

def _run(mode, gates, state, table, w_hh=None, reverse=False, bias=None, more=None):
    """All steps: (outputs, last states, what backward needs); ``gates`` becomes the gates' values.

    Args:
        w_hh: the recurrent weights (G, H); None for one step of complete sums.
        bias, more: of a GRU, what is added to the state's part of the sums, and that part where there are no weights.
    """
    dtype, last = gates.dtype, [_owned(s) for s in state]
    hidden = last[0].shape[1]
    y = np.empty((len(gates), hidden), dtype, like=gates)
    kept = np.empty((len(gates) if mode in ("GRU", "LSTM") else 0, hidden), dtype, like=gates)
    if gates.__class__ is DeviceArray:
        _on_device().forward(mode, gates, bias, more, w_hh, table, reverse, last[0], last[-1], y, kept)
        return y, last, kept
    bias = np.zeros(gates.shape[1], dtype) if bias is None else bias
    more = np.empty((0, 0), dtype) if more is None else more
    packed, starts, product = _packed(None if w_hh is None else w_hh.T, dtype)
    K.rnn.forward(gates, bias, more, packed, starts, table, MODES.index(mode), reverse,
                  K.rnn.sequences_a_task(table[0, 0], gates), product, last[0], last[-1], y, kept)
    return y, last, kept


def _run_back(mode, gy, dstate, y, gates, kept, state, table, w_hh=None, reverse=False):
    """Gradients of the input's and of the state's part of the sums, and the states that the steps began with.

    ``dstate``, the gradients of the last states, become those of the first; the other arguments are as those of ``_run``.
    """
    first, gy = [_dense(s._a) for s in state], _zeros_or(gy, y)
    dgates, before = np.empty_like(gates), np.empty_like(y)
    dmore = np.empty_like(gates) if mode == "GRU" else dgates
    if gates.__class__ is DeviceArray:
        _on_device().backward(mode, gates, gy, y, kept, first[0], first[-1], w_hh, table, reverse, dstate[0], dstate[-1], dgates,
                              dmore, before)
        return dgates, dmore, before
    packed, starts, product = _packed(w_hh, gates.dtype)
    K.rnn.backward(gates, gy, y, kept, first[0], first[-1], packed, starts, table, MODES.index(mode), reverse,
                   K.rnn.sequences_a_task(table[0, 0], gates), product, dstate[0], dstate[-1], dgates, dmore, before)
    return dgates, dmore, before


def _packed(right, dtype):
    """Of a right factor the elements and row starts as ``strips`` packs them, and the product's address; for None nothing."""
    if right is None:
        return np.empty(0, dtype), np.empty(0, np.int64), 0
    return *K.rnn.strips(right), K.rnn.product(dtype)[0]


def _on_device():
    """The module of recurrent layers on a GPU; not loaded where there is none."""
    return K.rnn_cuda


def _one_step(gates):
    return np.array([[len(gates)], [0]])


def _where_needed(node, makers):
    """The gradients that are wanted, each made by a function of no arguments."""
    return tuple([wrap(make()) if needed else None for make, needed in zip(makers, node.needs)])


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
    bias = None if b_ih is None else b_ih._a if mode == "GRU" else _added(b_ih._a, b_hh._a)
    gates = K.matmul.matmul(x._a, w_ih._a.T, bias)
    table = np.array([sizes, np.cumsum([0, *sizes[:-1]])])
    y, last, kept = _run(mode, gates, state, table, _dense(w_hh._a), reverse, None if b_hh is None else _dense(b_hh._a))
    y, *last = record((y, *last), _layer_backward, inputs, (*inputs, (OUT, 0), wrap(gates), wrap(kept)), mode=mode,
                      sizes=sizes, table=table, reverse=reverse)
    return y, tuple(last)


def _layer_backward(node, gy, *last):
    """Gradients of a layer: the kernel's of the sums, from which those of weights and inputs are one matrix product each."""
    if grad_mode.enabled:
        return _recorded_backward(node, gy, *last)
    x, w_ih, w_hh, _, _, *state, y, gates, kept = node.saved_tensors
    ctx = node.ctx
    dstate = [_zeros_or(g, s._a, copy=True) for g, s in zip(last, state)]
    dgates, dmore, before = _run_back(ctx["mode"], gy, dstate, y._a, gates._a, kept._a, state, ctx["table"], _dense(w_hh._a),
                                      ctx["reverse"])
    return _where_needed(node, (
        lambda: K.matmul.matmul(dgates, w_ih._a), lambda: K.matmul.matmul(dgates.T, x._a),
        lambda: K.matmul.matmul(dmore.T, before), lambda: K.matmul.column_sum(dgates), lambda: K.matmul.column_sum(dmore),
        *(lambda d=d: d for d in dstate)))


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
    gates, more = (_owned(gx), _dense(gh._a)) if mode == "GRU" else (_dense(_added(gx._a, gh._a)), None)
    y, (_, *c), kept = _run(mode, gates, state, _one_step(gates), more=more)
    return record((y, *c), _cell_backward, inputs, (*inputs, (OUT, 0), wrap(gates), wrap(kept)), mode=mode)


def _cell_backward(node, gy, *last):
    """Gradients of a cell: those of a layer of one step, without its products."""
    if grad_mode.enabled:
        inputs = node.saved_tensors[:len(node.edges)]
        found = STEPS[node.ctx["mode"]](*inputs[:2], inputs[2:])
        return gradients(found, inputs, (gy, *last), node.needs, create_graph=True)
    _, _, *state, y, gates, kept = node.saved_tensors
    y, gates, kept = y._a, gates._a, kept._a
    dstate = [_zeros_or(g, y, copy=True) for g in (None, *last)]
    dgates, dmore, _ = _run_back(node.ctx["mode"], gy, dstate, y, gates, kept, state, _one_step(gates))
    return _where_needed(node, (lambda: dgates, lambda: dmore, *(lambda d=d: d for d in dstate)))
