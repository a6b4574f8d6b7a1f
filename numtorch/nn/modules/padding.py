"""Padding in one to three dimensions."""
from .. import functional as F
from .module import Module
from .utils import _ntuple

__all__ = ["CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
           "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d",
           "ZeroPad1d", "ZeroPad2d", "ZeroPad3d"]


class _PadNd(Module):
    """``_sides`` is twice the number of dimensions that are padded."""

    __constants__ = ["padding"]
    _mode = _sides = None

    def __init__(self, padding):
        super().__init__()
        self.padding = _ntuple(self._sides)(padding)

    def _check_input_dim(self, input):
        """What a subclass may require of the input."""

    def forward(self, input):
        """The input, padded."""
        self._check_input_dim(input)
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        """The padding."""
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def _check_input_dim(self, input):
        n = self._sides // 2 + 1
        if input.dim() not in (n, n + 1):
            raise ValueError(f"expected {n}D or {n + 1}D input (got {input.dim()}D input)")


class CircularPad1d(_CircularPadNd):
    """Goes on with the other end.

    Args:
        padding (int or ints): left and right of the last dimension, then of the one before, and so on.
    """

    _sides = 2


class CircularPad2d(_CircularPadNd):
    """CircularPad1d for two dimensions."""

    _sides = 4


class CircularPad3d(_CircularPadNd):
    """CircularPad1d for three dimensions."""

    _sides = 6


class _ConstantPadNd(Module):
    __constants__ = ["padding", "value"]
    _sides = None

    def __init__(self, padding, value):
        super().__init__()
        self.value, self.padding = value, _ntuple(self._sides)(padding)

    def forward(self, input):
        """The input, padded."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        """Padding and value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Puts a number on the sides.

    Args:
        padding (int or ints): left and right of the last dimension, then of the one before, and so on.
        value (float): the number.
    """

    _sides = 2


class ConstantPad2d(_ConstantPadNd):
    """ConstantPad1d for two dimensions."""

    _sides = 4


class ConstantPad3d(_ConstantPadNd):
    """ConstantPad1d for three dimensions."""

    _sides = 6


class _Zeros:
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        """The padding."""
        return f"{self.padding}"


class ZeroPad1d(_Zeros, ConstantPad1d):
    """Puts zeros on the sides.

    Args:
        padding (int or ints): left and right of the last dimension, then of the one before, and so on.
    """


class ZeroPad2d(_Zeros, ConstantPad2d):
    """ZeroPad1d for two dimensions."""


class ZeroPad3d(_Zeros, ConstantPad3d):
    """ZeroPad1d for three dimensions."""


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors the input at its last element.

    Args:
        padding (int or ints): left and right of the last dimension, then of the one before, and so on.
    """

    _sides = 2


class ReflectionPad2d(_ReflectionPadNd):
    """ReflectionPad1d for two dimensions."""

    _sides = 4


class ReflectionPad3d(_ReflectionPadNd):
    """ReflectionPad1d for three dimensions."""

    _sides = 6


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the element at the edge.

    Args:
        padding (int or ints): left and right of the last dimension, then of the one before, and so on.
    """

    _sides = 2


class ReplicationPad2d(_ReplicationPadNd):
    """ReplicationPad1d for two dimensions."""

    _sides = 4


class ReplicationPad3d(_ReplicationPadNd):
    """ReplicationPad1d for three dimensions."""

    _sides = 6
