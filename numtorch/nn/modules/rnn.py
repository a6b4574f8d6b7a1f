"""RNN, LSTM, GRU and their cells."""
import math
import numbers
import warnings

from .. import _recurrent as recurrent
from .. import init
from ..utils.rnn import PackedSequence
from .module import Module
from .utils import parameter

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _check_constructor(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size):
    if not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1 or isinstance(dropout, bool):
        raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
    if dropout > 0 and num_layers == 1:
        warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                      f"greater than 1, but got dropout={dropout} and num_layers={num_layers}", stacklevel=4)
    for name, value, kind in (("bias", bias, bool), ("batch_first", batch_first, bool), ("input_size", input_size, int),
                              ("hidden_size", hidden_size, int)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")
    if mode not in _GATES:
        raise ValueError("Unrecognized RNN mode: " + mode)


class RNNBase(Module):
    """What RNN, LSTM and GRU share.

    Args:
        mode (str): RNN_TANH, RNN_RELU, LSTM or GRU.
        input_size, hidden_size (int): sizes of the input and the state.
        num_layers (int): layers, each of which reads the outputs of the one before.
        bias (bool): whether there are biases.
        batch_first (bool): inputs and outputs are (N, L, ...) instead of (L, N, ...).
        dropout (float): behind all layers but the last.
        bidirectional (bool): also a layer from the end to the beginning.
        proj_size (int): of an LSTM, the size that its output is projected to; 0: no projection.
        device, dtype: of the parameters, which are uniform in +-1/sqrt(hidden_size).
    """

    __constants__ = ["mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
                     "proj_size"]

    def __init__(self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, proj_size=0, device=None, dtype=None):
        super().__init__()
        _check_constructor(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._all_weights = []
        directions, gates, out = 2 if bidirectional else 1, _GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[:directions]:
                shapes = {"weight_ih": (gates, out * directions if layer else input_size), "weight_hh": (gates, out)}
                if bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (gates,)
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, parameter(shape, device, dtype))
                self._all_weights.append(list(names))
        self.reset_parameters()

    def reset_parameters(self):
        """Draws the parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Does nothing: the parameters need not lie side by side."""

    @property
    def all_weights(self):
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self):
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self):
        return [getattr(self, name, None) for name in self._flat_weights_names]

    def __getstate__(self):
        # torch's forward reads these, so a saved module has them
        return {**super().__getstate__(), "_flat_weights_names": self._flat_weights_names, "_flat_weights": self._flat_weights}

    def __setstate__(self, state):
        lists = ("_flat_weights_names", "_flat_weights")        # torch's, which are properties here
        super().__setstate__({name: value for name, value in state.items() if name not in lists})

    def _weights(self):
        """The parameters of each layer and direction as recurrent.layer takes them."""
        found = []
        for names in self._all_weights:
            values = [getattr(self, name) for name in names]
            projection = values.pop() if self.proj_size else None
            found.append((*values[:2], *(values[2:] or (None, None)), projection))
        return found

    def check_input(self, input, batch_sizes):
        """Raises unless dtype, number of dimensions and last size are what the layer takes."""
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if input.dtype != dtype:
            raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert input: "
                             f"input.to({dtype}), or convert model: model.to({input.dtype})")
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}")

    def _expected_size(self, input, batch_sizes, size):
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0) if self.batch_first else input.size(1)
        return (self.num_layers * (2 if self.bidirectional else 1), batch, size)

    def get_expected_hidden_size(self, input, batch_sizes):
        """The shape of the state h."""
        return self._expected_size(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"):
        """RuntimeError unless the state has its shape."""
        if hx.size() != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raises unless input and state have their shapes."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The state with its sequences in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    def extra_repr(self):
        """Sizes, and what differs from the defaults."""
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
        shown = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *shown])

    # ---- forward: h and c are handled alike, as the tuple ``states`` ---------------------------------------------------

    def _states(self, hx):
        """What the user passed, as a tuple."""
        return (hx,)

    def _state(self, states):
        """A tuple of states as the user gets it."""
        return states[0]

    def _sizes(self):
        """The sizes of the states."""
        return (self.hidden_size,)

    def _zeros(self, input, batch):
        layers = self.num_layers * (2 if self.bidirectional else 1)
        return tuple(input.new_zeros(layers, batch, size) for size in self._sizes())

    def forward(self, input, hx=None):
        """Runs the whole sequence.

        Args:
            input (Tensor or PackedSequence): (L, N, input_size), (N, L, input_size) with ``batch_first``, or (L, input_size).
            hx: the first state, (layers directions, N, hidden_size), or without N; for an LSTM the pair (h, c); default zeros.

        Returns:
            The outputs of the last layer (L, N, directions hidden_size), packed if the input was, and the last state.
        """
        packed = isinstance(input, PackedSequence)
        order = restored = sizes = None
        if packed:
            input, batch_sizes, order, restored = input
            sizes = batch_sizes.tolist()
            states = self._zeros(input, sizes[0]) if hx is None else self._states(self.permute_hidden(hx, order))
        else:
            name, batch_dim = self.mode.split("_")[0], 0 if self.batch_first else 1
            if input.dim() not in (2, 3):
                got = "D tensor instead" if name == "RNN" else "D instead"
                raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}{got}")
            batched = input.dim() == 3
            if hx is not None:
                self._check_state_dims(self._states(hx), batched)
            if not batched:
                input = input.unsqueeze(batch_dim)
            batch = input.size(batch_dim)
            if hx is None:
                states = self._zeros(input, batch)
            else:
                states = self._states(hx) if batched else tuple(s.unsqueeze(1) for s in self._states(hx))
        self.check_forward_args(input, self._state(states), None if sizes is None else batch_sizes)
        if not packed:
            if self.batch_first:
                input = input.transpose(0, 1)
            steps = input.size(0)
            if steps == 0:
                raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
            input, sizes = input.reshape(steps * batch, -1), [batch] * steps
        output, states = recurrent.run(self.mode, input, sizes, states, self._weights(), self.num_layers, self.dropout,
                                       self.training, self.bidirectional)
        if packed:
            found = PackedSequence(output, batch_sizes, order, restored)
            return found, self.permute_hidden(self._state(states), restored)
        output = output.reshape(steps, batch, -1)
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output, states = output.squeeze(batch_dim), tuple(s.squeeze(1) for s in states)
        return output, self._state(states)

    def _check_state_dims(self, states, batched):
        dim, what = (3, "batched 3-D") if batched else (2, "unbatched 2-D")
        if any(s.dim() != dim for s in states):
            got = f"({states[0].dim()}-D, {states[1].dim()}-D) tensors" if len(states) == 2 else f"{states[0].dim()}-D tensor"
            which = "hx and cx" if len(states) == 2 else "hx"
            raise RuntimeError(f"For {what} input, {which} should also be {dim}-D but got {got}")


class RNN(RNNBase):
    """Elman network: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Args:
        nonlinearity (str): "tanh" or "relu"; the fourth positional argument.
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as those of RNNBase.
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + self.nonlinearity.upper(), *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit (Cho et al., 2014): ``h' = (1 - z) n + z h``, gates r, z, n in this order in the weights.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as those of RNNBase.
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997): ``c' = f c + i g``, ``h' = o tanh(c')``, gates i, f, g, o in
    this order in the weights. The state is the pair (h, c).

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype: as those of
            RNNBase.

    >>> import numtorch as torch
    >>> out, (h, c) = torch.nn.LSTM(10, 20, 2)(torch.zeros(5, 3, 10))
    >>> out.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def _states(self, hx):
        return tuple(hx)

    def _state(self, states):
        return states

    def _sizes(self):
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def get_expected_cell_size(self, input, batch_sizes):
        """The shape of the state c."""
        return self._expected_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raises unless input and states have their shapes."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden[0], self.get_expected_hidden_size(input, batch_sizes),
                               "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], self.get_expected_cell_size(input, batch_sizes),
                               "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx, permutation):
        """The states with their sequences in another order."""
        return hx if permutation is None else tuple(s.index_select(1, permutation) for s in hx)


class RNNCellBase(Module):
    """What the cells share: one step of a layer.

    Args:
        input_size, hidden_size (int): sizes of the input and the state.
        bias (bool): whether there are biases.
        num_chunks (int): number of gates.
        device, dtype: of the parameters, which are uniform in +-1/sqrt(hidden_size).
    """

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = num_chunks * hidden_size
        self.weight_ih = parameter((gates, input_size), device, dtype)
        self.weight_hh = parameter((gates, hidden_size), device, dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, parameter((gates,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws the parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self):
        """Sizes, and what differs from the defaults."""
        shown = [] if self.bias is True else [f"bias={self.bias}"]
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            shown.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *shown])

    def _step(self, mode, input, states, names):
        """The next states, with a batch dimension added for the step where the input has none."""
        kind = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{kind}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for name, state in zip(names, states or ()):
            if state.dim() not in (1, 2):
                raise ValueError(f"{kind}: Expected {name} to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if states is None:
            states = (input.new_zeros(input.size(0), self.hidden_size),) * len(names)
        elif not batched:
            states = tuple(s.unsqueeze(0) for s in states)
        if input.size(1) != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.size(1)} expected {self.input_size}")
        for state in states:
            if state.size(0) != input.size(0):
                raise RuntimeError(f"Input batch size {input.size(0)} doesn't match hidden0 batch size {state.size(0)}")
            if state.size(1) != self.hidden_size:
                raise RuntimeError(f"hidden0 has inconsistent hidden_size: got {state.size(1)}, expected {self.hidden_size}")
        found = recurrent.cell(mode, input, states, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return found if batched else tuple(s.squeeze(0) for s in found)


class RNNCell(RNNCellBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Args:
        input_size, hidden_size, bias, device, dtype: as those of RNNCellBase.
        nonlinearity (str): "tanh" or "relu".
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        """(N, input_size) and (N, hidden_size), or without N, -> (N, hidden_size)."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step("RNN_" + self.nonlinearity.upper(), input, None if hx is None else (hx,), ("hidden",))[0]


class LSTMCell(RNNCellBase):
    """``c' = f c + i g``, ``h' = o tanh(c')``; arguments as those of RNNCellBase."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        """(N, input_size) and a pair of (N, hidden_size), or without N, -> the pair (h', c')."""
        return self._step("LSTM", input, hx, ("hx[0]", "hx[1]"))


class GRUCell(RNNCellBase):
    """``h' = (1 - z) n + z h``; arguments as those of RNNCellBase."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        """(N, input_size) and (N, hidden_size), or without N, -> (N, hidden_size)."""
        return self._step("GRU", input, None if hx is None else (hx,), ("hidden",))[0]
