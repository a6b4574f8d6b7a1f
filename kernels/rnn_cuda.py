"""Recurrent layers on a GPU: for each step a product with the recurrent weights, and one kernel for all that follows it.

What the input contributes to the gates is one product for all steps, made before. A step's product adds the state's part to the
step's rows of the gates where they lie; the kernel of the step then has a thread for each element of the state, and
neighbouring threads have neighbouring elements. Rows, sizes and the order of gates are those of ``rnn.py``.
"""
from . import pointwise_cuda
from ._activations import sigmoid
from ._cuda import FLOATING, A, blocks, cuda, device_kernel, load, store
from ._device import empty
from ._math import tanh
from .matmul_cuda import affine

BLOCK = (32, 4)         # threads of a block: along a row of the state, and rows; small blocks, since states are small


def place():
    """A thread's sequence and element of the state."""
    return cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x


# ---- forward: gates come as sums and become what backward needs ----------------------------------------------------------

@device_kernel("T* T* T* T* T* q q q", T=FLOATING, threads=128)
def lstm_step(gates, c, kept, h, y, first, rows, hidden):
    """c' = f c + i g and h' = o tanh(c') with i, f, o = sigmoid, g = tanh of their sums (Hochreiter & Schmidhuber, 1997).

    ``gates`` (.., 4 hidden), ``kept`` and ``y`` (.., hidden) from row ``first`` on, the states ``c`` and ``h`` (rows, hidden).
    An element: reads 4 gates and c; writes the gates, c twice and h twice.
    """
    r, j = place()
    if r >= rows or j >= hidden:
        return
    own, out = r * hidden + j, (first + r) * hidden + j
    at = (first + r) * 4 * hidden + j
    i, f = sigmoid(load(gates, at)), sigmoid(load(gates, at + hidden))
    g, o = tanh(load(gates, at + 2 * hidden)), sigmoid(load(gates, at + 3 * hidden))
    cell = f * load(c, own) + i * g
    state = o * tanh(cell)
    store(gates, at, i)
    store(gates, at + hidden, f)
    store(gates, at + 2 * hidden, g)
    store(gates, at + 3 * hidden, o)
    store(c, own, cell)
    store(kept, out, cell)
    store(h, own, state)
    store(y, out, state)


@device_kernel("T* T* T* T* T* q q q", T=FLOATING, threads=128)
def gru_step(gates, more, kept, h, y, first, rows, hidden):
    """h' = n + z (h - n), r, z = sigmoid, n = tanh(x_n + r h_n) (Cho et al., 2014).

    ``gates`` (.., 3 hidden), the input's part of the sums, ``kept`` and ``y`` from row ``first`` on; ``more`` (rows, 3 hidden),
    the state's part, of which ``kept`` gets that of n. An element: reads 6 sums and h; writes 3 gates, kept and h twice.
    """
    row, j = place()
    if row >= rows or j >= hidden:
        return
    own, out = row * hidden + j, (first + row) * hidden + j
    at, there = (first + row) * 3 * hidden + j, row * 3 * hidden + j
    r = sigmoid(load(gates, at) + load(more, there))
    z = sigmoid(load(gates, at + hidden) + load(more, there + hidden))
    more_n = load(more, there + 2 * hidden)
    n = tanh(load(gates, at + 2 * hidden) + r * more_n)
    state = n + z * (load(h, own) - n)
    store(gates, at, r)
    store(gates, at + hidden, z)
    store(gates, at + 2 * hidden, n)
    store(kept, out, more_n)
    store(h, own, state)
    store(y, out, state)


@device_kernel("T* T* T* q q q q", T=FLOATING, threads=128)
def plain_step(gates, h, y, relu, first, rows, hidden):
    """h' = tanh of the sums, or relu. An element: reads a sum, writes h twice."""
    r, j = place()
    if r >= rows or j >= hidden:
        return
    out = (first + r) * hidden + j
    total = load(gates, out)
    if relu:
        state = A(0) if total <= A(0) else total
    else:
        state = tanh(total)
    store(h, r * hidden + j, state)
    store(y, out, state)


# ---- gradients -----------------------------------------------------------------------------------------------------------

def state_before(y, h0, source, r, known, j, hidden):
    """An element of what the step began with: the row of the step before, or the first state where there is none."""
    return load(y, (source + r) * hidden + j) if r < known else load(h0, r * hidden + j)


@device_kernel("T* T* T* T* T* T* T* T* T* T* q q q q q", T=FLOATING, threads=128)
def lstm_step_gradient(gates, dy, y, kept, h0, c0, dh, dc, dgates, before, first, source, known, rows, hidden):
    """Gradients of a step's sums from those of h', ``dh`` + ``dy``, and of c'; dc becomes that of c, ``before`` the state h.

    The first ``known`` sequences began with the rows of ``y`` and ``kept`` from ``source`` on, the others with h0 and c0.
    An element: reads 4 gates, two cells, a state and three gradients; writes 4 gradients of sums, dc and before.
    """
    r, j = place()
    if r >= rows or j >= hidden:
        return
    own, out = r * hidden + j, (first + r) * hidden + j
    at = (first + r) * 4 * hidden + j
    store(before, out, state_before(y, h0, source, r, known, j, hidden))
    cell = state_before(kept, c0, source, r, known, j, hidden)
    g_h, one = load(dh, own) + load(dy, out), A(1)
    i, f, g, o = load(gates, at), load(gates, at + hidden), load(gates, at + 2 * hidden), load(gates, at + 3 * hidden)
    bent = tanh(load(kept, out))
    g_c = load(dc, own) + g_h * o * (one - bent * bent)
    store(dgates, at, g_c * g * i * (one - i))
    store(dgates, at + hidden, g_c * cell * f * (one - f))
    store(dgates, at + 2 * hidden, g_c * i * (one - g * g))
    store(dgates, at + 3 * hidden, g_h * bent * o * (one - o))
    store(dc, own, g_c * f)


@device_kernel("T* T* T* T* T* T* T* T* T* q q q q q", T=FLOATING, threads=128)
def gru_step_gradient(gates, dy, y, kept, h0, dh, dgates, dmore, before, first, source, known, rows, hidden):
    """Gradients of the input's and of the state's part of a step's sums from that of h'; dh becomes z dh, its direct part.

    The rest as in ``lstm_step_gradient``. An element: reads 3 gates, what forward kept, a state and two gradients; writes 6
    gradients of sums, dh and before.
    """
    row, j = place()
    if row >= rows or j >= hidden:
        return
    own, out = row * hidden + j, (first + row) * hidden + j
    at = (first + row) * 3 * hidden + j
    state = state_before(y, h0, source, row, known, j, hidden)
    store(before, out, state)
    g_h, one = load(dh, own) + load(dy, out), A(1)
    r, z, n = load(gates, at), load(gates, at + hidden), load(gates, at + 2 * hidden)
    g_n = g_h * (one - z) * (one - n * n)
    g_r, g_z = g_n * load(kept, out) * r * (one - r), g_h * (state - n) * z * (one - z)
    store(dgates, at, g_r)
    store(dgates, at + hidden, g_z)
    store(dgates, at + 2 * hidden, g_n)
    store(dmore, at, g_r)
    store(dmore, at + hidden, g_z)
    store(dmore, at + 2 * hidden, g_n * r)
    store(dh, own, g_h * z)


@device_kernel("T* T* T* T* T* T* q q q q q q", T=FLOATING, threads=128)
def plain_step_gradient(dy, y, h0, dh, dgates, before, relu, first, source, known, rows, hidden):
    """Gradient of a step's sums from those of h', ``dh`` + ``dy``, and h' itself; the rest as in ``lstm_step_gradient``.

    An element: reads two states and two gradients; writes the gradient of the sum and before.
    """
    r, j = place()
    if r >= rows or j >= hidden:
        return
    out = (first + r) * hidden + j
    store(before, out, state_before(y, h0, source, r, known, j, hidden))
    state, g_h = load(y, out), load(dh, r * hidden + j) + load(dy, out)
    if relu:
        store(dgates, out, A(0) if state <= A(0) else g_h)
    else:
        store(dgates, out, g_h * (A(1) - state * state))


# ---- all steps -----------------------------------------------------------------------------------------------------------

def add(a, b):
    """The sum of two arrays of one shape, bfloat16 included, which is none of NumPy's numbers."""
    out = empty(a.shape, a.dtype, a.device)
    pointwise_cuda.run("add", (a.dtype.name,) * 3, (a, b), out)
    return out


def _grid(rows, hidden):
    return blocks(rows, BLOCK[1]), blocks(hidden, BLOCK[0])


def forward(mode, gates, bias, more, w_hh, table, reverse, h, c, y, kept):
    """All steps of a layer in one direction: the arguments are those of ``rnn.forward``, but for the weights.

    Args:
        mode (str): RNN_TANH, RNN_RELU, GRU or LSTM.
        w_hh (G, H): the recurrent weights; None for one step, whose sums are complete.
        more (rows, G): of a GRU without ``w_hh``, the state's part of the sums.
    """
    hidden, (sizes, starts) = h.shape[1], table.tolist()
    right = None if w_hh is None else w_hh.T
    for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        rows, first = sizes[t], starts[t]
        if not rows:
            continue
        grid, left = _grid(rows, hidden), h[:rows]
        if right is not None and mode == "GRU":
            more = affine(left, right, bias, 1, 1)
        elif right is not None:
            sums = gates[first:first + rows]
            affine(left, right, sums, 1, 1, sums)
        if mode == "LSTM":
            lstm_step.launch(grid, BLOCK, gates, c, kept, h, y, first, rows, hidden)
        elif mode == "GRU":
            gru_step.launch(grid, BLOCK, gates, more, kept, h, y, first, rows, hidden)
        else:
            plain_step.launch(grid, BLOCK, gates, h, y, mode == "RNN_RELU", first, rows, hidden)


def backward(mode, gates, dy, y, kept, h0, c0, w_hh, table, reverse, dh, dc, dgates, dmore, before):
    """Gradients of ``forward``, step by step from the last to the first: ``rnn.backward``, but for the weights (G, H) or None."""
    hidden, (sizes, starts) = y.shape[1], table.tolist()
    steps = len(sizes)
    for t in range(steps) if reverse else reversed(range(steps)):
        rows, first, earlier = sizes[t], starts[t], t + 1 if reverse else t - 1
        if not rows:
            continue
        known, source = (min(rows, sizes[earlier]), starts[earlier]) if 0 <= earlier < steps else (0, 0)
        geometry = first, source, known, rows, hidden
        if mode == "LSTM":
            lstm_step_gradient.launch(_grid(rows, hidden), BLOCK, gates, dy, y, kept, h0, c0, dh, dc, dgates, before, *geometry)
        elif mode == "GRU":
            gru_step_gradient.launch(_grid(rows, hidden), BLOCK, gates, dy, y, kept, h0, dh, dgates, dmore, before, *geometry)
        else:
            plain_step_gradient.launch(_grid(rows, hidden), BLOCK, dy, y, h0, dh, dgates, before, mode == "RNN_RELU", *geometry)
        if w_hh is not None:
            target, sums = dh[:rows], dmore if mode == "GRU" else dgates
            affine(sums[first:first + rows], w_hh, target if mode == "GRU" else None, 1, 1, target)
        elif mode != "GRU":
            dh.fill(0)          # h acts through the sums only
