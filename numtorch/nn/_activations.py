"""Activation functions as nn.functional has them: with ``inplace``, and those composed of others."""
import inspect
import warnings

from .. import dtypes
from ..op import INPLACE, OPS, inplace_twin
from ..ops import create
from ..ops._one_node import one_node


def _forms(name):
    """An activation's plain and in-place function."""
    return inspect.unwrap(OPS[f"nn.functional.{name}"].fn), INPLACE[f"nn.functional.{name}_"]


_threshold, threshold_ = _forms("threshold")
_leaky_relu, leaky_relu_ = _forms("leaky_relu")
_hardtanh, hardtanh_ = _forms("hardtanh")
_relu6, _relu6_ = _forms("relu6")
_elu, elu_ = _forms("elu")
_selu, selu_ = _forms("selu")
_celu, celu_ = _forms("celu")
_silu, _silu_ = _forms("silu")
_mish, _mish_ = _forms("mish")
_hardsigmoid, _hardsigmoid_ = _forms("hardsigmoid")
_hardswish, _hardswish_ = _forms("hardswish")


def threshold(input, threshold, value, inplace=False):
    """``input`` where it is above ``threshold``, else ``value``; written into ``input`` if ``inplace``."""
    return threshold_(input, threshold, value) if inplace else _threshold(input, threshold, value)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """``input`` where it is positive, ``negative_slope * input`` elsewhere; written into ``input`` if ``inplace``."""
    return leaky_relu_(input, negative_slope) if inplace else _leaky_relu(input, negative_slope)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """``input`` kept within [min_val, max_val]; written into ``input`` if ``inplace``."""
    return hardtanh_(input, min_val, max_val) if inplace else _hardtanh(input, min_val, max_val)


def relu6(input, inplace=False):
    """``min(max(0, input), 6)``; written into ``input`` if ``inplace``."""
    return _relu6_(input) if inplace else _relu6(input)


def elu(input, alpha=1.0, inplace=False):
    """``input`` where it is positive, ``alpha * (e^input - 1)`` elsewhere; written into ``input`` if ``inplace``."""
    return elu_(input, alpha) if inplace else _elu(input, alpha)


def selu(input, inplace=False):
    """Scaled ``elu`` (Klambauer et al., 2017); written into ``input`` if ``inplace``."""
    return selu_(input) if inplace else _selu(input)


def celu(input, alpha=1.0, inplace=False):
    """``max(0, x) + min(0, alpha * (e^(x / alpha) - 1))``; written into ``input`` if ``inplace``."""
    return celu_(input, alpha) if inplace else _celu(input, alpha)


def silu(input, inplace=False):
    """``input * sigmoid(input)``; written into ``input`` if ``inplace``."""
    return _silu_(input) if inplace else _silu(input)


def mish(input, inplace=False):
    """``input * tanh(softplus(input))`` (Misra, 2019); written into ``input`` if ``inplace``."""
    return _mish_(input) if inplace else _mish(input)


def hardsigmoid(input, inplace=False):
    """``relu6(input + 3) / 6``; written into ``input`` if ``inplace``."""
    return _hardsigmoid_(input) if inplace else _hardsigmoid(input)


def hardswish(input, inplace=False):
    """``input * relu6(input + 3) / 6``; written into ``input`` if ``inplace``."""
    return _hardswish_(input) if inplace else _hardswish(input)


@one_node("GluBackward0")
def glu(input, dim=-1):
    """Gated linear unit: ``a * sigmoid(b)``, a and b being the halves of ``input`` along ``dim`` (Dauphin et al., 2017).

    Raises:
        RuntimeError: the size of ``dim`` is odd, or ``input`` has no dimension.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}")
    a, b = input.split(size // 2, dim)
    return a * b.sigmoid()


def _rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    if not training:
        return _leaky_relu(input, (lower + upper) / 2)
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got lower={lower}, upper={upper}")
    if input.is_cuda:
        drawn = create.empty_like(input, requires_grad=False).uniform_(lower, upper)
        return input * drawn.masked_fill_(input.detach().gt(0), 1.0)
    # torch draws one number in double precision for each element that is not positive
    x = input._a
    falls = x <= 0
    slopes = create.ones(x.shape, dtype=input.dtype)
    drawn = create.empty(int(falls.sum()), dtype=dtypes.float64).uniform_(lower, upper)
    slopes._a[falls] = drawn._a
    return input * slopes


rrelu_ = inplace_twin("rrelu", _rrelu)


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """``leaky_relu`` with a random slope for each element (Xu et al., 2015).

    Args:
        input (Tensor): of any shape.
        lower, upper (float): between which the slopes are drawn; when not training, all are their mean.
        training (bool): draw slopes.
        inplace (bool): write into ``input``.
    """
    return rrelu_(input, lower, upper, training) if inplace else _rrelu(input, lower, upper, training)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A sample of the Gumbel-softmax distribution (Jang et al., 2017): ``softmax((logits + gumbel noise) / tau)``.

    Args:
        logits (Tensor): log-probabilities that need not be normalised, of any shape.
        tau (float): temperature.
        hard (bool): one-hot values, whose gradient is that of the soft ones.
        eps: ignored, as in torch.
        dim (int): along which the softmax is computed.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -create.empty(tuple(logits.shape), dtype=logits.dtype, device=logits.device).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return create.zeros_like(soft.detach()).scatter_(dim, index, 1.0) - soft.detach() + soft
