"""Padding layers."""
from .. import functional as F
from .conv import ntuple
from .module import Module


class _Pad(Module):
    mode = "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = ntuple(padding, 2 * self.n)

    def forward(self, input):
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self):
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """Pads the last 1 dimension with a constant."""

    n = 1


class ZeroPad1d(_ZeroPad):
    """Pads the last 1 dimension with zeros."""

    n = 1


class ReflectionPad1d(_Pad):
    """Pads the last 1 dimension with its reflection."""

    n = 1
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """Pads the last 1 dimension with its border."""

    n = 1
    mode = "replicate"


class CircularPad1d(_Pad):
    """Pads the last 1 dimension with its other end."""

    n = 1
    mode = "circular"


class ConstantPad2d(_ConstantPad):
    """Pads the last 2 dimensions with a constant."""

    n = 2


class ZeroPad2d(_ZeroPad):
    """Pads the last 2 dimensions with zeros."""

    n = 2


class ReflectionPad2d(_Pad):
    """Pads the last 2 dimensions with its reflection."""

    n = 2
    mode = "reflect"


class ReplicationPad2d(_Pad):
    """Pads the last 2 dimensions with its border."""

    n = 2
    mode = "replicate"


class CircularPad2d(_Pad):
    """Pads the last 2 dimensions with its other end."""

    n = 2
    mode = "circular"


class ConstantPad3d(_ConstantPad):
    """Pads the last 3 dimensions with a constant."""

    n = 3


class ZeroPad3d(_ZeroPad):
    """Pads the last 3 dimensions with zeros."""

    n = 3


class ReflectionPad3d(_Pad):
    """Pads the last 3 dimensions with its reflection."""

    n = 3
    mode = "reflect"


class ReplicationPad3d(_Pad):
    """Pads the last 3 dimensions with its border."""

    n = 3
    mode = "replicate"


class CircularPad3d(_Pad):
    """Pads the last 3 dimensions with its other end."""

    n = 3
    mode = "circular"
