"""RNN, LSTM, GRU and their cells, built from matrix products and element-wise operations.

The input's share of all steps is one matrix product; then each step adds the state's share.
"""
import math

from .. import functional as F
from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module
from ...ops import create
from ...ops.join import cat, stack


def rnn_step(x, h, w, b, act):
    """``act(x + W h + b)``, x being the input's share."""
    return act(x + F.linear(h, w, b))


def lstm_step(x, state, w, b, projection=None):
    """One step of an LSTM: gates i, f, g, o of ``x + W h + b``; c' = f c + i g; h' = o tanh(c')."""
    h, c = state
    i, f, g, o = (x + F.linear(h, w, b)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if projection is None else F.linear(h, projection)), c


def gru_step(x, h, w, b):
    """One step of a GRU: n = tanh(x_n + r (W_n h + b_n)); h' = (1 - z) n + z h."""
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = F.linear(h, w, b).chunk(3, -1)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    n = (xn + r * hn).tanh()
    return n + z * (h - n)


class RNNBase(Module):
    """What RNN, LSTM and GRU share: parameters, layers, directions, packed sequences.

    Args:
        input_size, hidden_size, num_layers (int): sizes.
        bias, batch_first, bidirectional (bool): as torch's.
        dropout (float): between layers, when training.
        proj_size (int): of an LSTM's projected state; 0 for none.
    """

    def __init__(self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
                 proj_size=0, device=None, dtype=None):
        super().__init__()
        if not isinstance(hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
        if dropout > 0 and num_layers == 1:
            import warnings

            warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                          f"greater than 1, but got dropout={dropout} and num_layers={num_layers}", UserWarning, stacklevel=3)
        if proj_size < 0 or proj_size >= hidden_size:
            raise ValueError("proj_size should be a positive integer or zero to disable projections" if proj_size < 0 else
                             "proj_size has to be smaller than hidden_size")
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        gates = {"LSTM": 4, "GRU": 3}.get(mode, 1) * hidden_size
        out, directions = proj_size or hidden_size, 2 if bidirectional else 1
        self._flat_weights_names, self._all_weights = [], []
        for layer in range(num_layers):
            for direction in range(directions):
                width = input_size if layer == 0 else out * directions
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                shapes = {f"weight_ih{suffix}": (gates, width), f"weight_hh{suffix}": (gates, out)}
                if bias:
                    shapes.update({f"bias_ih{suffix}": (gates,), f"bias_hh{suffix}": (gates,)})
                if proj_size:
                    shapes[f"weight_hr{suffix}"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    setattr(self, name, Parameter(create.empty(shape, device=device, dtype=dtype)))
                self._flat_weights_names += list(shapes)
                self._all_weights.append(list(shapes))
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all parameters anew, uniform in ``+-1 / sqrt(hidden_size)``."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Does nothing: there is no library that wants parameters in one piece."""

    @property
    def all_weights(self):
        """The parameters of each layer and direction, as lists."""
        return [[getattr(self, n) for n in names] for names in self._all_weights]

    def _step(self, x, state, names):
        w = getattr(self, names[1])
        b = getattr(self, names[3]) if self.bias else None
        if self.mode == "LSTM":
            return lstm_step(x, state, w, b, getattr(self, names[-1]) if self.proj_size else None)
        if self.mode == "GRU":
            return gru_step(x, state, w, b)
        return rnn_step(x, state, w, b, F.relu if self.mode == "RNN_RELU" else F.tanh)

    def _run(self, x, sizes, state, names, reverse):
        """One direction of one layer over packed steps ``x`` (sum of sizes, width); returns outputs and the last states.

        ``sizes`` are the batch sizes of the steps, which never grow: sequences are sorted by length.
        """
        x = F.linear(x, getattr(self, names[0]), getattr(self, names[2]) if self.bias else None)
        starts = [0]
        for n in sizes:
            starts.append(starts[-1] + n)
        pair = self.mode == "LSTM"
        full = state
        cut = (lambda s, a, b: tuple(t[a:b] for t in s)) if pair else (lambda s, a, b: s[a:b])
        join = (lambda p, q: tuple(cat(t) for t in zip(p, q))) if pair else (lambda p, q: cat((p, q)))
        outputs, finished, order = [None] * len(sizes), [], range(len(sizes))
        state = cut(full, 0, sizes[-1] if reverse else sizes[0])
        for t in reversed(order) if reverse else order:
            n = sizes[t]
            have = (state[0] if pair else state).size(0)
            if n > have:                        # backward in time: sequences that begin here
                state = join(state, cut(full, have, n))
            elif n < have:                      # forward in time: sequences that have ended
                finished.append(cut(state, n, have))
                state = cut(state, 0, n)
            state = self._step(x[starts[t]:starts[t + 1]], state, names)
            outputs[t] = state[0] if pair else state
        finished.append(state)
        last = finished.pop()
        while finished:
            last = join(last, finished.pop())
        return cat(outputs), last

    def _check_state(self, h, batch, name, width):
        want = (self.num_layers * (2 if self.bidirectional else 1), batch, width)
        if tuple(h.shape) != want:
            raise RuntimeError(f"Expected {name} size {want}, got {list(h.shape)}")

    def forward(self, input, hx=None):
        packed = isinstance(input, PackedSequence)
        if packed:
            x, sizes = input.data, input.batch_sizes.tolist()
            batch, single = sizes[0], False
        else:
            if input.ndim not in (2, 3):
                raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D tensor instead")
            single = input.ndim == 2
            steps = input.unsqueeze(1) if single else (input.transpose(0, 1) if self.batch_first else input)
            if steps.size(0) == 0:
                raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
            batch, sizes = steps.size(1), [steps.size(1)] * steps.size(0)
            x = steps.reshape(-1, steps.size(2))
        if x.size(-1) != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.size(-1)}")
        hx = self._initial(x, hx, batch, single, input if packed else None)
        directions, finals = 2 if self.bidirectional else 1, []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                k = layer * directions + direction
                state = tuple(h[k] for h in hx) if self.mode == "LSTM" else hx[k]
                out, last = self._run(x, sizes, state, self._all_weights[k], bool(direction))
                outputs.append(out)
                finals.append(last)
            x = outputs[0] if directions == 1 else cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        final = tuple(stack(t) for t in zip(*finals)) if self.mode == "LSTM" else stack(finals)
        return self._result(x, final, input, packed, single, len(sizes), batch)

    def _initial(self, x, hx, batch, single, packed):
        layers = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[:2 if self.mode == "LSTM" else 1]
        if hx is None:
            hx = tuple(x.new_zeros(layers, batch, w) for w in widths)
        else:
            hx = tuple(hx) if self.mode == "LSTM" else (hx,)
            if single:
                hx = tuple(h.unsqueeze(1) for h in hx)
            for h, w, name in zip(hx, widths, ("hidden[0]", "hidden[1]") if self.mode == "LSTM" else ("hidden",)):
                self._check_state(h, batch, name, w)
            if packed is not None and packed.sorted_indices is not None:
                hx = tuple(h.index_select(1, packed.sorted_indices) for h in hx)
        return hx if self.mode == "LSTM" else hx[0]

    def _result(self, x, final, input, packed, single, steps, batch):
        parts = final if self.mode == "LSTM" else (final,)
        if packed:
            out = PackedSequence(x, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
            if input.unsorted_indices is not None:
                parts = tuple(h.index_select(1, input.unsorted_indices) for h in parts)
        else:
            out = x.reshape(steps, batch, -1)
            if single:
                out, parts = out.squeeze(1), tuple(h.squeeze(1) for h in parts)
            elif self.batch_first:
                out = out.transpose(0, 1)
        return out, (parts if self.mode == "LSTM" else parts[0])

    def extra_repr(self):
        parts = [f"{self.input_size}, {self.hidden_size}"]
        for name, default in (("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0),
                              ("bidirectional", False)):
            value = getattr(self, name)
            if value != default:
                parts.append(f"{name}={value}")
        return ", ".join(parts)


class RNN(RNNBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`` over a sequence; ``nonlinearity`` "tanh" or "relu". See ``RNNBase``."""

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", *args, **kwargs):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory over a sequence (Hochreiter & Schmidhuber, 1997). See ``RNNBase``.

    Called with (L, N, input_size) - or (N, L, ...) with ``batch_first``, (L, ...), or a PackedSequence - and perhaps (h, c);
    returns outputs and (h, c).
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units over a sequence (Cho et al., 2014). See ``RNNBase``."""

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share: one step's parameters."""

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        options = dict(device=device, dtype=dtype)
        self.weight_ih = Parameter(create.empty((num_chunks * hidden_size, input_size), **options))
        self.weight_hh = Parameter(create.empty((num_chunks * hidden_size, hidden_size), **options))
        for name in ("bias_ih", "bias_hh"):
            if bias:
                setattr(self, name, Parameter(create.empty(num_chunks * hidden_size, **options)))
            else:
                self.register_parameter(name, None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all parameters anew, uniform in ``+-1 / sqrt(hidden_size)``."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _states(self, input, hx, n):
        if input.ndim not in (1, 2):
            raise ValueError(f"{self._get_name()}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        single = input.ndim == 1
        x = input.unsqueeze(0) if single else input
        if hx is None:
            states = [x.new_zeros(x.size(0), self.hidden_size) for _ in range(n)]
        else:
            states = [h.unsqueeze(0) if single else h for h in ((hx,) if n == 1 else hx)]
        return F.linear(x, self.weight_ih, self.bias_ih), states, (lambda t: t.squeeze(0)) if single else (lambda t: t)

    def extra_repr(self):
        parts = [f"{self.input_size}, {self.hidden_size}"] + (["bias=False"] if not self.bias else [])
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            parts.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join(parts)


class RNNCell(RNNCellBase):
    """One step of an RNN."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        x, (h,), back = self._states(input, hx, 1)
        act = {"tanh": F.tanh, "relu": F.relu}.get(self.nonlinearity)
        if act is None:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return back(rnn_step(x, h, self.weight_hh, self.bias_hh, act))


class LSTMCell(RNNCellBase):
    """One step of an LSTM; returns (h, c)."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        x, states, back = self._states(input, hx, 2)
        h, c = lstm_step(x, states, self.weight_hh, self.bias_hh)
        return back(h), back(c)


class GRUCell(RNNCellBase):
    """One step of a GRU."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        x, (h,), back = self._states(input, hx, 1)
        return back(gru_step(x, h, self.weight_hh, self.bias_hh))
