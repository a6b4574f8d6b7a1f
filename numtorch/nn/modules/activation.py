"""Activation functions as modules."""
import warnings

from .. import functional as F
from .. import init
from .attention import MultiheadAttention  # noqa: F401 - torch has it here
from .module import Module
from .utils import parameter

__all__ = ["CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
           "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin",
           "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold"]


class _Activation(Module):
    """An element-wise function without parameters of its own."""

    def forward(self, input):
        """The function of every element."""
        return self._function(input)


class _Inplace(Module):
    """An element-wise function that can write into its input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        """The function of every element; the input itself, changed, if ``inplace``."""
        return self._function(input, self.inplace)

    def extra_repr(self):
        """Whether it writes into its input."""
        return "inplace=True" if self.inplace else ""


class Threshold(Module):
    """``x`` where it is above ``threshold``, else ``value``.

    Args:
        threshold, value (float): the limit, and what takes the place of what is not above it.
        inplace (bool): write into the input.
    """

    __constants__ = ["threshold", "value", "inplace"]

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input):
        """The function of every element."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self):
        """The two numbers."""
        return f"threshold={self.threshold}, value={self.value}{', inplace=True' if self.inplace else ''}"


class ReLU(_Inplace):
    """``max(0, x)``; in place if ``inplace``."""

    def forward(self, input):
        """The function of every element."""
        return F.relu(input, self.inplace)


class RReLU(Module):
    """``x`` where it is positive, a random multiple of it elsewhere (Xu et al., 2015).

    Args:
        lower, upper (float): between which the multiple is drawn in training; else it is their mean.
        inplace (bool): write into the input.
    """

    __constants__ = ["lower", "upper", "inplace"]

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input):
        """The function of every element."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self):
        """The bounds."""
        return f"lower={self.lower}, upper={self.upper}{', inplace=True' if self.inplace else ''}"


class Hardtanh(Module):
    """``x`` kept within [min_val, max_val].

    Args:
        min_val, max_val (float): the limits; ``min_value`` and ``max_value`` are their older names.
        inplace (bool): write into the input.
    """

    __constants__ = ["min_val", "max_val", "inplace"]

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        super().__init__()
        if min_value is not None:
            warnings.warn("keyword argument `min_value` is deprecated and renamed to `min_val`", FutureWarning, stacklevel=2)
            min_val = min_value
        if max_value is not None:
            warnings.warn("keyword argument `max_value` is deprecated and renamed to `max_val`", FutureWarning, stacklevel=2)
            max_val = max_value
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace
        if self.max_val <= self.min_val:
            raise AssertionError(f"max_val ({max_val}) must be greater than min_val ({min_val})")

    def forward(self, input):
        """The function of every element."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self):
        """The limits."""
        return f"min_val={self.min_val}, max_val={self.max_val}{', inplace=True' if self.inplace else ''}"


class ReLU6(Hardtanh):
    """``min(max(0, x), 6)``; in place if ``inplace``."""

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        """Whether it writes into its input."""
        return "inplace=True" if self.inplace else ""


class Sigmoid(_Activation):
    """``1 / (1 + e^-x)``."""

    _function = staticmethod(F.sigmoid)


class Tanh(_Activation):
    """``tanh(x)``."""

    _function = staticmethod(F.tanh)


class LogSigmoid(_Activation):
    """``ln(1 / (1 + e^-x))``."""

    _function = staticmethod(F.logsigmoid)


class Softsign(_Activation):
    """``x / (1 + |x|)``."""

    _function = staticmethod(F.softsign)


class Tanhshrink(_Activation):
    """``x - tanh(x)``."""

    _function = staticmethod(F.tanhshrink)


class Hardsigmoid(_Inplace):
    """``relu6(x + 3) / 6``; in place if ``inplace``."""

    _function = staticmethod(F.hardsigmoid)

    def extra_repr(self):
        """Nothing, as in torch."""
        return ""


class Hardswish(Hardsigmoid):
    """``x relu6(x + 3) / 6``; in place if ``inplace``."""

    _function = staticmethod(F.hardswish)


class SiLU(_Inplace):
    """``x sigmoid(x)``, or swish; in place if ``inplace``."""

    _function = staticmethod(F.silu)


class Mish(_Inplace):
    """``x tanh(softplus(x))`` (Misra, 2019); in place if ``inplace``."""

    _function = staticmethod(F.mish)


class SELU(_Inplace):
    """Scaled exponential linear unit (Klambauer et al., 2017); in place if ``inplace``."""

    _function = staticmethod(F.selu)


class ELU(Module):
    """``x`` where it is positive, ``alpha (e^x - 1)`` elsewhere (Clevert et al., 2015).

    Args:
        alpha (float): minus the limit for small x.
        inplace (bool): write into the input.
    """

    __constants__ = ["alpha", "inplace"]
    _function = staticmethod(F.elu)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input):
        """The function of every element."""
        return self._function(input, self.alpha, self.inplace)

    def extra_repr(self):
        """alpha."""
        return f"alpha={self.alpha}{', inplace=True' if self.inplace else ''}"


class CELU(ELU):
    """``max(0, x) + min(0, alpha (e^(x / alpha) - 1))`` (Barron, 2017); arguments as those of ELU."""

    _function = staticmethod(F.celu)


class GLU(Module):
    """``a sigmoid(b)`` of the two halves of the input (Dauphin et al., 2017).

    Args:
        dim (int): the dimension that is halved.
    """

    __constants__ = ["dim"]

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        """The gated half."""
        return F.glu(input, self.dim)

    def extra_repr(self):
        """The dimension."""
        return f"dim={self.dim}"


class GELU(Module):
    """``x Phi(x)`` (Hendrycks & Gimpel, 2016).

    Args:
        approximate (str): "none", or "tanh" for the approximation by tanh.
    """

    __constants__ = ["approximate"]

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        """The function of every element."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        """The form."""
        return f"approximate={self.approximate!r}"


class _Shrink(Module):
    __constants__ = ["lambd"]

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        """The function of every element."""
        return self._function(input, self.lambd)

    def extra_repr(self):
        """lambd."""
        return str(self.lambd)


class Hardshrink(_Shrink):
    """``x`` where ``|x| > lambd``, else 0."""

    _function = staticmethod(F.hardshrink)


class Softshrink(_Shrink):
    """``x`` moved towards 0 by ``lambd``, and not beyond."""

    _function = staticmethod(F.softshrink)


class LeakyReLU(Module):
    """``x`` where it is positive, ``negative_slope x`` elsewhere.

    Args:
        negative_slope (float): the slope below 0.
        inplace (bool): write into the input.
    """

    __constants__ = ["inplace", "negative_slope"]

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input):
        """The function of every element."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self):
        """The slope."""
        return f"negative_slope={self.negative_slope}{', inplace=True' if self.inplace else ''}"


class Softplus(Module):
    """``ln(1 + e^(beta x)) / beta``; x itself where ``beta x > threshold``."""

    __constants__ = ["beta", "threshold"]

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input):
        """The function of every element."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        """The two numbers."""
        return f"beta={self.beta}, threshold={self.threshold}"


class PReLU(Module):
    """``x`` where it is positive, ``a x`` elsewhere, with a learned ``a`` (He et al., 2015).

    Args:
        num_parameters (int): 1, or one ``a`` for each channel.
        init (float): its first value.
        device, dtype: of the parameter.
    """

    __constants__ = ["num_parameters"]

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        self.num_parameters = num_parameters
        super().__init__()
        self.init = init
        self.weight = parameter((num_parameters,), device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Sets every ``a`` to its first value."""
        init.constant_(self.weight, self.init)

    def forward(self, input):
        """The function of every element."""
        return F.prelu(input, self.weight)

    def extra_repr(self):
        """The number of parameters."""
        return f"num_parameters={self.num_parameters}"


class _AlongDim(Module):
    __constants__ = ["dim"]

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault("dim", None)

    def forward(self, input):
        """The function along ``dim``."""
        return self._function(input, self.dim, _stacklevel=5)

    def extra_repr(self):
        """The dimension."""
        return f"dim={self.dim}"


class Softmin(_AlongDim):
    """``e^-x / sum e^-x`` along ``dim``."""

    _function = staticmethod(F.softmin)


class Softmax(_AlongDim):
    """``e^x / sum e^x`` along ``dim``.

    >>> import numtorch as torch
    >>> torch.nn.Softmax(dim=0)(torch.zeros(2))
    tensor([0.5000, 0.5000])
    """

    _function = staticmethod(F.softmax)


class LogSoftmax(_AlongDim):
    """``x - ln sum e^x`` along ``dim``."""

    _function = staticmethod(F.log_softmax)


class Softmax2d(Module):
    """Softmax over the channels of each pixel of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        """The softmax along dimension -3."""
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3, _stacklevel=5)
