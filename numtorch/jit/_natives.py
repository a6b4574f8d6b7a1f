"""Functions that graphs call beside the registry's operations: parts of indexing, recurrent layers, Python's own functions.

``KINDS`` maps a kind to (callable, names of its parameters, with ``=`` where one may be left out). They take plain arguments
where the user's form is more than a function's signature can say (``x.max(1)``, ``x.max(y)``).
"""
import builtins
import math
import operator
import warnings

from ..autograd.grad_mode import is_grad_enabled
from ..nn.modules.rnn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from ..ops import random, reduce
from ..ops.create import tensor
from ..tensor import Tensor
from .types import Future

_random_ = Tensor.random_
_max, _min, _randint, _randint_like = reduce.max, reduce.min, random.randint, random.randint_like


# ---- tensors -----------------------------------------------------------------------------------------------------------

def size(input, dim=None):
    """The sizes as a list, or one of them."""
    return list(input._a.shape) if dim is None else input.size(dim)


def slice_(input, dim=0, start=None, end=None, step=1):
    """``input[start:end:step]`` along ``dim``, which counts from the end if negative."""
    part = slice(start, end, step)
    if dim >= 0:
        return input[(slice(None),) * dim + (part,)]
    return input[(..., part) + (slice(None),) * (-1 - dim)]


def index(input, indices):
    """``input[indices]``, a list with a Tensor for each dimension, or None for a whole one."""
    return input[tuple([slice(None) if i is None else i for i in indices])]


def assign_index_(input, indices, value):
    """``input[indices] = value``; returns ``input``."""
    input[tuple([slice(None) if i is None else i for i in indices])] = value
    return input


def assign_(input, value):
    """``input[...] = value``, a Tensor or number; returns ``input``."""
    input[...] = value
    return input


def max_(input, dim=None, keepdim=False, other=None):
    """``max`` with its arguments by name."""
    if other is not None:
        return _max(input, other)
    return _max(input) if dim is None else _max(input, dim, keepdim)


def min_(input, dim=None, keepdim=False, other=None):
    """``min`` with its arguments by name."""
    if other is not None:
        return _min(input, other)
    return _min(input) if dim is None else _min(input, dim, keepdim)


def randint_(low, high, size, generator=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """``randint`` with its arguments by name."""
    options = {"generator": generator, "dtype": dtype, "device": device, "requires_grad": requires_grad}
    return _randint(low, high, size, **options)


def randint_like_(input, low, high, dtype=None, device=None, requires_grad=False):
    """``randint_like`` with its arguments by name."""
    return _randint_like(input, low, high, dtype=dtype, device=device, requires_grad=requires_grad)


def random_(self, from_=(), to=(), generator=None):
    """``Tensor.random_`` with its arguments by name; () is what is not given, for None is a bound."""
    bounds = [b for b in (from_, to) if b != ()]
    return _random_(self, *bounds, generator=generator)


def to(input, dtype=None, device=None, copy=False, memory_format=None):
    """``Tensor.to`` with its arguments by name."""
    return input.to(dtype=dtype, device=device, copy=copy, memory_format=memory_format)


def to_other(input, other, copy=False, memory_format=None):
    """``input.to(other)``: as the dtype of a Tensor."""
    return input.to(dtype=other.dtype, copy=copy, memory_format=memory_format)


def num_to_tensor(number):
    """A number as a 0-dim Tensor."""
    return tensor(number)




# ---- recurrent layers: the forward of the modules, with the parameters as arguments -----------------------------------------

def _standing_for(cls):
    """A class with the methods of the recurrent layer ``cls`` but none of a Module's upkeep."""
    def __init__(self, **attributes):
        self.__dict__.update(attributes)
    return type("_" + cls.__name__, (cls,), {"__init__": __init__, "_weights": lambda self: self.groups})


_STACKS = {"LSTM": _standing_for(LSTM), "GRU": _standing_for(GRU), "RNN_TANH": _standing_for(RNN), "RNN_RELU": _standing_for(RNN)}
_CELLS = {"LSTM": _standing_for(LSTMCell), "GRU": _standing_for(GRUCell), "RNN_TANH": _standing_for(RNNCell),
          "RNN_RELU": _standing_for(RNNCell)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def recurrent(mode, input, hx, weights, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    """All layers of a recurrent network; ``weights`` is the flat list of each layer's and direction's parameters."""
    count = num_layers * (2 if bidirectional else 1)
    each = len(weights) // count
    plain, groups = 4 if has_biases else 2, []
    for k in builtins.range(0, len(weights), each):
        own = weights[k:k + each]
        groups.append((own[0], own[1], *(own[2:4] if has_biases else (None, None)), own[-1] if each > plain else None))
    hidden = weights[0]._a.shape[0] // _GATES[mode]
    layer = _STACKS[mode](mode=mode, groups=groups, _all_weights=[["first"]], first=weights[0], num_layers=num_layers,
                          input_size=weights[0]._a.shape[1], hidden_size=hidden, batch_first=batch_first, dropout=dropout,
                          proj_size=weights[each - 1]._a.shape[0] if each > plain else 0,
                          training=train, bidirectional=bidirectional)
    return layer.forward(input, hx)


def lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    """nn.LSTM: (output, (h, c)) as three tensors; ``hx`` is None or the pair of first states."""
    output, (h, c) = recurrent("LSTM", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
    return output, h, c


def gru(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    """nn.GRU: (output, h)."""
    return recurrent("GRU", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def rnn_tanh(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    """nn.RNN: (output, h)."""
    return recurrent("RNN_TANH", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def rnn_relu(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    """nn.RNN with relu: (output, h)."""
    return recurrent("RNN_RELU", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def _cell(mode, input, hx, w_ih, w_hh, b_ih, b_hh):
    cell = _CELLS[mode](input_size=w_ih._a.shape[1], hidden_size=w_hh._a.shape[1], weight_ih=w_ih, weight_hh=w_hh, bias_ih=b_ih,
                        bias_hh=b_hh, nonlinearity="relu" if mode == "RNN_RELU" else "tanh")
    return cell.forward(input, hx)


def lstm_cell(input, hx, w_ih, w_hh, b_ih, b_hh):
    """nn.LSTMCell: (h, c)."""
    return _cell("LSTM", input, hx, w_ih, w_hh, b_ih, b_hh)


def gru_cell(input, hx, w_ih, w_hh, b_ih, b_hh):
    """nn.GRUCell: h."""
    return _cell("GRU", input, hx, w_ih, w_hh, b_ih, b_hh)


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih, b_hh):
    """nn.RNNCell: h."""
    return _cell("RNN_TANH", input, hx, w_ih, w_hh, b_ih, b_hh)


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih, b_hh):
    """nn.RNNCell with relu: h."""
    return _cell("RNN_RELU", input, hx, w_ih, w_hh, b_ih, b_hh)


# ---- Python ------------------------------------------------------------------------------------------------------------

def set_item(container, key, value):
    """``container[key] = value``."""
    container[key] = value


def delete(container, key):
    """``del container[key]``."""
    del container[key]


def format_(text, *values):
    """``text`` with its ``{}`` replaced by ``values`` in order; no other form of braces means anything."""
    parts = text.split("{}")
    if len(parts) - 1 > len(values):
        raise RuntimeError(f"Too few arguments for format string: {text}")
    return parts[0] + "".join(str(v) + p for v, p in zip(values, parts[1:]))


def warn(message):
    """``warnings.warn(message)``."""
    warnings.warn(message, UserWarning, stacklevel=3)


def round_(a):
    """``round(a)`` of a script, which is a float."""
    return float(round(a))


def range_length(start, stop, step):
    """``len(range(start, stop, step))``."""
    return len(builtins.range(start, stop, step))


def derive_index(index, start, step):
    """``range(start, ...)[index]``."""
    return start + index * step


def list_range(start, stop, step):
    """``list(range(...))``."""
    return list(builtins.range(start, stop, step))


class Raised(Exception):
    """An exception raised by a scripted program: the message, and the class that the program named."""


def raise_exception(message, kind="RuntimeError"):
    """Ends the program."""
    raise Raised(message, kind)


_RECURRENT = "input hx params has_biases num_layers dropout train bidirectional batch_first"
KINDS = {
    "prim::fork": (Future, "a"), "aten::wait": (Future.wait, "future"), "aten::is_grad_enabled": (is_grad_enabled, ""),
    "aten::__range_length": (range_length, "start stop step"), "aten::__derive_index": (derive_index, "index start step"),
    "aten::size": (size, "input dim="), "aten::slice": (slice_, "input dim= start= end= step="),
    "aten::index": (index, "input indices"), "aten::assign_index_": (assign_index_, "input indices value"),
    "aten::assign_": (assign_, "input value"),
    "aten::max": (max_, "input dim= keepdim= other="), "aten::min": (min_, "input dim= keepdim= other="),
    "aten::randint": (randint_, "low high size generator= dtype= layout= device= requires_grad= pin_memory="),
    "aten::randint_like": (randint_like_, "input low high dtype= device= requires_grad="),
    "aten::random_": (random_, "self from_= to= generator="),
    "aten::to": (to, "input dtype= device= copy= memory_format="),
    "aten::to_other": (to_other, "input other copy= memory_format="),
    "prim::NumToTensor": (num_to_tensor, "number"),
    "aten::lstm": (lstm, _RECURRENT), "aten::gru": (gru, _RECURRENT), "aten::rnn_tanh": (rnn_tanh, _RECURRENT),
    "aten::rnn_relu": (rnn_relu, _RECURRENT),
    **{f"aten::{f.__name__}": (f, "input hx w_ih w_hh b_ih b_hh") for f in (lstm_cell, gru_cell, rnn_tanh_cell, rnn_relu_cell)},
    "aten::Int": (int, "a"), "aten::Float": (float, "a"), "aten::Bool": (bool, "a"), "aten::Complex": (complex, "a b="),
    "aten::str": (str, "a"), "aten::len": (len, "a"), "aten::ord": (ord, "a"), "aten::chr": (chr, "a"), "aten::hash": (hash, "a"),
    "aten::__not__": (operator.not_, "a"), "aten::__is__": (operator.is_, "a b"), "aten::__isnot__": (operator.is_not, "a b"),
    "aten::__and__": (operator.and_, "a b"), "aten::__or__": (operator.or_, "a b"), "aten::__xor__": (operator.xor, "a b"),
    "aten::__lshift__": (operator.lshift, "a b"), "aten::__rshift__": (operator.rshift, "a b"),
    "aten::floordiv": (operator.floordiv, "a b"), "aten::__getitem__": (operator.getitem, "a b"),
    "aten::__contains__": (operator.contains, "a b"), "aten::_set_item": (set_item, "a b c"), "aten::Delete": (delete, "a b"),
    "aten::format": (format_, "a *b"), "aten::percentFormat": (operator.mod, "a b"), "prim::warn": (warn, "a"),
    "math::invert": (operator.invert, "a"), "math::round": (round_, "a"), "math::divmod": (divmod, "a b"),
    "math::abs": (builtins.abs, "a"), "math::max": (builtins.max, "a *b"), "math::min": (builtins.min, "a *b"),
    "math::sum": (builtins.sum, "a"), "math::any": (builtins.any, "a"), "math::all": (builtins.all, "a"),
    "list::sorted": (sorted, "a"), "list::list": (list, "a"), "list::range": (list_range, "a b c"), "dict::dict": (dict, "a="),
    "aten::dim": (Tensor.dim, "input"), "aten::item": (Tensor.item, "input"), "aten::tolist": (Tensor.tolist, "input"),
    "aten::is_contiguous": (Tensor.is_contiguous, "input memory_format="), "aten::element_size": (Tensor.element_size, "input"),
    "aten::stride": (lambda input, dim=None: list(input.stride()) if dim is None else input.stride(dim), "input dim="),
    "aten::storage_offset": (Tensor.storage_offset, "input"), "aten::get_device": (Tensor.get_device, "input"),
    "aten::backward": (Tensor.backward, "input gradient= retain_graph= create_graph="),
    "prim::RaiseException": (raise_exception, "message kind="), "prim::Print": (print, "*a"),
    "math::exp": (math.exp, "a"), "math::log": (math.log, "a b="), "math::pow": (math.pow, "a b"),
}
for _name in ("sqrt log2 log10 log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh floor ceil trunc gamma "
              "lgamma "
              "erf erfc fabs degrees radians isnan isinf isfinite factorial").split():
    KINDS[f"math::{_name}"] = (getattr(math, _name), "a")
for _name in "atan2 fmod copysign gcd ldexp hypot".split():
    KINDS[f"math::{_name}"] = (getattr(math, _name), "a b")
# methods of lists, dicts and strings, with their parameters
METHODS = {
    list: "append:x extend:x insert:i,x pop:i= remove:x clear: index:x count:x reverse: sort:reverse= copy:",
    dict: "keys: values: items: get:k,d= pop:k,d= popitem: clear: update:x setdefault:k,d= copy:",
    str: "upper: lower: strip:c= lstrip:c= rstrip:c= split:c=,n= rsplit:c=,n= splitlines: join:x replace:a,b,n= startswith:x "
         "endswith:x find:x,a=,b= rfind:x,a=,b= index:x,a=,b= count:x,a=,b= title: capitalize: swapcase: isdigit: isalpha: "
         "isalnum: isupper: islower: isspace: isdecimal: isnumeric: isidentifier: isprintable: istitle: zfill:n center:n,c= "
         "ljust:n,c= rjust:n,c= expandtabs:n= partition:x rpartition:x casefold:",
}
for _type, _methods in METHODS.items():
    for _entry in _methods.split():
        _name, _, _parameters = _entry.partition(":")
        KINDS[f"{_type.__name__}::{_name}"] = (getattr(_type, _name), "self " + _parameters.replace(",", " "))
KINDS["list::sort"] = (lambda self, reverse=False: self.sort(reverse=reverse), "self reverse=")
for _name in ("keys", "values", "items"):       # a script's dict gives lists
    KINDS[f"dict::{_name}"] = (lambda self, _name=_name: list(getattr(self, _name)()), "self")
ATTRIBUTES = ("dtype", "device", "layout", "requires_grad", "is_cuda", "is_cpu", "is_sparse", "is_quantized", "is_mkldnn",
              "is_meta", "is_mps", "is_xpu", "is_nested", "is_leaf", "itemsize", "nbytes", "names", "real", "imag",
              "type", "index")
for _name in ATTRIBUTES:
    KINDS[f"prim::{_name}"] = (operator.attrgetter(_name), "a")
