"""Recurrent layers: all time steps of a layer in one kernel, for tanh, relu, GRU and LSTM units.

What the input contributes to the gates is one matrix product for all steps, made before. The rest of a step needs the state
of the step before, but no other sequence's: a task takes some sequences through all steps, with no thread waiting for another.
Its products with the recurrent weights run on register tiles; the weights are packed once a call, by ``strips``.

Rows: step t has ``table[0, t]`` sequences, never more than step t - 1, whose rows begin at row ``table[1, t]``. H is the size
of the state, G that of all gates: H, 3 H (r, z, n) or 4 H (i, f, g, o).
"""
from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import carray, int64, prange, types
from numba.extending import intrinsic

from . import _activations
from ._jit import compile_callback, function, get_num_threads, kernel
from ._math import tanh
from ._tasks import REAL
from ._tile import SLACK, TILE_ROWS, product_tile, tile_rows

TANH, RELU, GRU, LSTM = range(4)
GRAIN = 1 << 14         # elements of all gates from which threads pay

sigmoid = function(_activations.sigmoid, cache=False, forceinline=True)


def lanes(dtype):
    """Columns of a strip: what a register tile computes of a row."""
    return SLACK * 4 // dtype.itemsize


def strips(right):
    """``right`` (inner, columns) as tiles read it, (strips, inner, lanes), the last one padded with zeros; and its row starts."""
    inner, columns = right.shape
    width = lanes(right.dtype)
    packed = np.zeros((-(-columns // width), inner, width), right.dtype)
    whole = columns // width
    packed[:whole] = right[:, :whole * width].reshape(inner, whole, width).swapaxes(0, 1)
    if columns % width:
        packed[whole, :, :columns % width] = right[:, whole * width:]
    return packed.reshape(-1), np.arange(inner) * width


def sequences_a_task(count, gates):
    """How many sequences a task takes: all, or a thread's share."""
    return max(1, -(-count // get_num_threads()) if gates.size >= GRAIN else count)


def add_product(source, rows, packed, starts, inner, out, columns):
    """out[r] += source[r] @ packed for r < rows; packed is (inner, columns) in strips."""
    real = carray(source, 1)
    width = SLACK * 4 // real.itemsize
    left, tile = np.empty(TILE_ROWS * inner, real.dtype), np.empty(TILE_ROWS * width, real.dtype)
    first = 0
    while first < rows:
        height = tile_rows(rows - first)
        used = min(height, rows - first)
        for k in range(inner * height):
            left[k] = 0
        for r in range(used):
            for k in range(inner):
                left[k * height + r] = source[(first + r) * inner + k]
        for j in range(0, columns, width):
            product_tile(height, left, 0, packed, j * inner, starts, inner, tile, 0, width)
            for r in range(used):
                for k in range(min(width, columns - j)):
                    out[(first + r) * columns + j + k] += tile[r * width + k]
        first += height


@lru_cache(None)
def product(dtype):
    """(address of ``add_product`` for arrays of ``dtype``, what keeps it alive): compiled once, where four kernels call it.

    Linked into each of them, the five tiles took 12 of the 13 s that a layer's first call took.
    """
    reals = types.CPointer(REAL[dtype])
    return compile_callback(add_product, types.void(reals, int64, reals, types.CPointer(int64), int64, reals, int64))


@intrinsic
def call_product(typing, address, source, first, rows, packed, starts, out, at):
    """``add_product`` at ``address`` on rows ``first`` on of ``source`` and rows ``at`` on of ``out``, both C-contiguous."""
    def generate(context, builder, signature, args):
        arrays = {k: context.make_array(t)(context, builder, args[k]) for k, t in enumerate(signature.args)
                  if isinstance(t, types.Array)}

        def columns(k):
            return builder.extract_value(arrays[k].shape, 1)

        def row(k, r):
            return builder.gep(arrays[k].data, [builder.mul(r, columns(k))])
        given = [row(1, args[2]), args[3], arrays[4].data, arrays[5].data, columns(1), row(6, args[7]), columns(6)]
        kind = ir.FunctionType(ir.VoidType(), [v.type for v in given])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), given)
        return context.get_dummy_value()

    return types.void(address, source, types.intp, types.intp, packed, starts, out, types.intp), generate


# ---- one step of one sequence: gates come as sums and become what backward needs ------------------------------------------

@function(forceinline=True)
def lstm_row(gates, c, cell, h, y):
    """c' = f c + i g and h' = o tanh(c') with i, f, o = sigmoid, g = tanh of their sums (Hochreiter & Schmidhuber, 1997)."""
    n = c.size
    i, f, g, o = gates[:n], gates[n:2 * n], gates[2 * n:3 * n], gates[3 * n:]
    for j in range(n):
        i[j] = sigmoid(i[j])
    for j in range(n):
        f[j] = sigmoid(f[j])
    for j in range(n):
        g[j] = tanh(g[j])
    for j in range(n):
        o[j] = sigmoid(o[j])
    for j in range(n):
        c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(n):
        y[j] = o[j] * tanh(c[j])
    for j in range(n):      # an assignment of arrays takes 2 s to compile
        cell[j] = c[j]
        h[j] = y[j]


@function(forceinline=True)
def gru_row(gates, more, kept, h, y):
    """h' = n + z (h - n), r, z = sigmoid, n = tanh(x_n + r h_n) (Cho et al., 2014); ``more`` is the state's part of the sums."""
    n = h.size
    r, z, new = gates[:n], gates[n:2 * n], gates[2 * n:]
    for j in range(n):
        r[j] = sigmoid(r[j] + more[j])
    more_z, more_n = more[n:2 * n], more[2 * n:]
    for j in range(n):
        z[j] = sigmoid(z[j] + more_z[j])
    for j in range(n):
        new[j] = tanh(new[j] + r[j] * more_n[j])
    for j in range(n):
        y[j] = new[j] + z[j] * (h[j] - new[j])
    for j in range(n):
        kept[j] = more_n[j]
        h[j] = y[j]


@function(forceinline=True)
def plain_row(mode, sums, h, y):
    """h' = tanh or relu of the sums."""
    zero = y.dtype.type(0)
    if mode == TANH:
        for j in range(h.size):
            y[j] = tanh(sums[j])
    else:
        for j in range(h.size):
            y[j] = zero if sums[j] <= zero else sums[j]
    for j in range(h.size):
        h[j] = y[j]


@kernel(grain=GRAIN)
def forward(gates, bias, more, packed, starts, table, mode, reverse, share, address, h, c, y, kept):
    """All steps of one layer in one direction.

    Args:
        gates (rows, G): the input's part of the sums; becomes the gates' values (of tanh and relu units: the sums).
        bias (G,): of a GRU, added to the state's part.
        more (rows, G): the state's part where ``packed`` is empty: a GRU's cell; for other modes it is in ``gates``.
        packed, starts: the recurrent weights (H, G) from ``strips``; empty: one step, whose sums are complete.
        share: sequences a task. address: of ``product``.
        h, c (N, H): the first states; become the last. c only of an LSTM.
        y (rows, H): the outputs. kept (rows, H): of an LSTM the cells, of a GRU the state's part of n.

    A step reads the weights once for every 12 sequences, and its rows of ``gates`` twice.
    """
    steps, count = table.shape[1], h.shape[0]
    for task in prange(-(-count // share)):
        first = task * share
        sums = np.empty((share if mode == GRU else 0, gates.shape[1]), gates.dtype)
        for step in range(steps):
            t = steps - 1 - step if reverse else step
            rows = min(share, table[0, t] - first)
            if rows <= 0:
                continue
            at = table[1, t] + first
            if mode == GRU:
                for r in range(rows):
                    start = bias if packed.size else more[at + r]
                    for j in range(start.size):
                        sums[r, j] = start[j]
            if packed.size:
                if mode == GRU:
                    call_product(address, h, first, rows, packed, starts, sums, 0)
                else:
                    call_product(address, h, first, rows, packed, starts, gates, at)
            for r in range(rows):
                if mode == LSTM:
                    lstm_row(gates[at + r], c[first + r], kept[at + r], h[first + r], y[at + r])
                elif mode == GRU:
                    gru_row(gates[at + r], sums[r], kept[at + r], h[first + r], y[at + r])
                else:
                    plain_row(mode, gates[at + r], h[first + r], y[at + r])


# ---- gradients -------------------------------------------------------------------------------------------------------------

@function(forceinline=True)
def lstm_row_gradient(gates, cell, before, dh, dc, dgates):
    """Gradients of the sums from those of h' and c'; dc becomes that of c, dh 0: h acts through the sums only."""
    n, one = cell.size, cell.dtype.type(1)
    i, f, g, o = gates[:n], gates[n:2 * n], gates[2 * n:3 * n], gates[3 * n:]
    di, df, dg, do = dgates[:n], dgates[n:2 * n], dgates[2 * n:3 * n], dgates[3 * n:]
    for j in range(n):
        bent = tanh(cell[j])
        do[j] = dh[j] * bent * o[j] * (one - o[j])
        dc[j] += dh[j] * o[j] * (one - bent * bent)
    for j in range(n):
        di[j] = dc[j] * g[j] * i[j] * (one - i[j])
    for j in range(n):
        dg[j] = dc[j] * i[j] * (one - g[j] * g[j])
    for j in range(n):
        df[j] = dc[j] * before[j] * f[j] * (one - f[j])
    for j in range(n):
        dc[j] *= f[j]
        dh[j] = 0


@function(forceinline=True)
def gru_row_gradient(gates, kept, before, dh, dgates, dmore):
    """Gradients of the input's and of the state's part of the sums from that of h'; dh becomes z dh, its direct part."""
    n, one = kept.size, kept.dtype.type(1)
    r, z, new = gates[:n], gates[n:2 * n], gates[2 * n:]
    dr, dz, dn, dmore_n = dgates[:n], dgates[n:2 * n], dgates[2 * n:], dmore[2 * n:]
    for j in range(n):
        dn[j] = dh[j] * (one - z[j]) * (one - new[j] * new[j])
    for j in range(n):
        dz[j] = dh[j] * (before[j] - new[j]) * z[j] * (one - z[j])
    for j in range(n):
        dr[j] = dn[j] * kept[j] * r[j] * (one - r[j])
    for j in range(n):
        dmore_n[j] = dn[j] * r[j]
    for j in range(2 * n):
        dmore[j] = dgates[j]
    for j in range(n):
        dh[j] *= z[j]


@function(forceinline=True)
def plain_row_gradient(mode, y, dh, dsums):
    """Gradient of the sums from that of h' and h' itself; dh becomes 0."""
    one, zero = y.dtype.type(1), y.dtype.type(0)
    if mode == TANH:
        for j in range(y.size):
            dsums[j] = dh[j] * (one - y[j] * y[j])
    else:
        for j in range(y.size):
            dsums[j] = zero if y[j] <= zero else dh[j]
    for j in range(y.size):
        dh[j] = 0


@kernel(grain=GRAIN)
def backward(gates, dy, y, kept, h0, c0, packed, starts, table, mode, reverse, share, address, dh, dc, dgates, dmore, before):
    """Gradients of ``forward``, whose arguments these are, step by step from the last to the first.

    Args:
        dy (rows, H): gradient of the outputs.
        packed, starts: the recurrent weights (G, H) from ``strips``, or empty.
        dh, dc (N, H): gradients of the last states; become those of the first.
        dgates (rows, G): gradient of the input's part of the sums; dmore (rows, G): of a GRU, that of the state's part.
        before (rows, H): the state that each row started from, for the gradient of the recurrent weights.
    """
    steps, count = table.shape[1], h0.shape[0]
    for task in prange(-(-count // share)):
        first = task * share
        for step in range(steps):
            t = step if reverse else steps - 1 - step
            rows = min(share, table[0, t] - first)
            if rows <= 0:
                continue
            at, earlier = table[1, t] + first, t + 1 if reverse else t - 1
            known = min(rows, table[0, earlier] - first) if 0 <= earlier < steps else 0
            for r in range(rows):
                row = at + r
                source = table[1, earlier] + first + r if r < known else 0
                state, target, more = y[source] if r < known else h0[first + r], dh[first + r], dy[row]
                for j in range(target.size):
                    before[row, j] = state[j]
                    target[j] += more[j]
                if mode == LSTM:
                    cell = kept[source] if r < known else c0[first + r]
                    lstm_row_gradient(gates[row], kept[row], cell, target, dc[first + r], dgates[row])
                elif mode == GRU:
                    gru_row_gradient(gates[row], kept[row], before[row], target, dgates[row], dmore[row])
                else:
                    plain_row_gradient(mode, y[row], target, dgates[row])
            if packed.size:
                call_product(address, dmore if mode == GRU else dgates, at, rows, packed, starts, dh, first)
