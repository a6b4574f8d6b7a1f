"""What constructors of layers share."""
from ...ops import create
from ..parameter import Parameter


def _ntuple(n):
    def parse(x):
        return tuple(x) if hasattr(x, "__iter__") else (x,) * n
    parse.__doc__ = f"``x`` as a tuple: its elements, or {n} times itself."
    return parse


_single, _pair, _triple, _quadruple, _sextuple = (_ntuple(n) for n in (1, 2, 3, 4, 6))


def parameter(shape, device, dtype):
    """A Parameter of a shape whose values are not set."""
    return Parameter(create.empty(shape, device=device, dtype=dtype))


def bias_bound(fan_in):
    """The bound of the uniform distribution that biases are drawn from: 1 / sqrt(fan_in)."""
    return fan_in ** -0.5 if fan_in > 0 else 0
