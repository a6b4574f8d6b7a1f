"""Pooling in one to three dimensions."""
from .. import functional as F
from .module import Module
from .utils import _ntuple

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
           "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
           "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]


def _shown(module, *names):
    return ", ".join(f"{name}={getattr(module, name)}" for name in names)


class _MaxPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"]

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride if stride is not None else kernel_size
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input):
        """The largest element of each window; with ``return_indices``, also its place."""
        return self._function(input, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode,
                              return_indices=self.return_indices)

    def extra_repr(self):
        """The window."""
        return _shown(self, "kernel_size", "stride", "padding", "dilation", "ceil_mode")


class MaxPool1d(_MaxPoolNd):
    """The largest element of each window of (N, C, L).

    Args:
        kernel_size (int or ints): size of the windows.
        stride (int or ints): step of the windows; default ``kernel_size``.
        padding (int or ints): minus infinity on either side.
        dilation (int or ints): step between the elements of a window.
        return_indices (bool): also return the places of the maxima, as MaxUnpool takes them.
        ceil_mode (bool): also windows that reach beyond the end.
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """The largest element of each window of (N, C, H, W); arguments as those of MaxPool1d."""

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """The largest element of each window of (N, C, D, H, W); arguments as those of MaxPool1d."""

    _function = staticmethod(F.max_pool3d)


class _MaxUnpoolNd(Module):
    _dims = None

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        each = _ntuple(self._dims)
        self.kernel_size, self.padding = each(kernel_size), each(padding)
        self.stride = each(stride if stride is not None else kernel_size)

    def forward(self, input, indices, output_size=None):
        """The input's elements at the places ``indices`` of the output, zeros elsewhere."""
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self):
        """The window."""
        return _shown(self, "kernel_size", "stride", "padding")


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts maxima back where MaxPool1d took them from.

    Args:
        kernel_size, stride, padding (int or ints): those of the pooling.
    """

    _dims, _function = 1, staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts maxima back where MaxPool2d took them from; arguments as those of MaxUnpool1d."""

    _dims, _function = 2, staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts maxima back where MaxPool3d took them from; arguments as those of MaxUnpool1d."""

    _dims, _function = 3, staticmethod(F.max_unpool3d)


class AvgPool1d(Module):
    """The mean of each window of (N, C, L).

    Args:
        kernel_size, stride, padding (int): of the windows; the stride is ``kernel_size`` by default, padding is by zeros.
        ceil_mode (bool): also windows that reach beyond the end.
        count_include_pad (bool): the padding counts in the divisor.
    """

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        each = _ntuple(1)
        self.kernel_size, self.padding = each(kernel_size), each(padding)
        self.stride = each(stride if stride is not None else kernel_size)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input):
        """The means."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self):
        """The window."""
        return _shown(self, "kernel_size", "stride", "padding")


class _AvgPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"]

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride if stride is not None else kernel_size
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        """The means."""
        return self._function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                              self.divisor_override)

    def extra_repr(self):
        """The window."""
        return _shown(self, "kernel_size", "stride", "padding")


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of (N, C, H, W); arguments as those of AvgPool1d, and

    Args:
        divisor_override (int): divides the sums, instead of the number of elements.
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of (N, C, D, H, W); arguments as those of AvgPool2d."""

    _function = staticmethod(F.avg_pool3d)


class _LPPoolNd(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input):
        """The norms."""
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self):
        """The norm and the window."""
        return _shown(self, "norm_type", "kernel_size", "stride", "ceil_mode")


class LPPool1d(_LPPoolNd):
    """``(sum x^p)^(1/p)`` of each window of (N, C, L).

    Args:
        norm_type (float): p.
        kernel_size, stride (int): of the windows; the stride is ``kernel_size`` by default.
        ceil_mode (bool): also windows that reach beyond the end.
    """

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPoolNd):
    """``(sum x^p)^(1/p)`` of each window of (N, C, H, W); arguments as those of LPPool1d."""

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPoolNd):
    """``(sum x^p)^(1/p)`` of each window of (N, C, D, H, W); arguments as those of LPPool1d."""

    _function = staticmethod(F.lp_pool3d)


class _AdaptiveMaxPoolNd(Module):
    __constants__ = ["output_size", "return_indices"]

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input):
        """The maxima; with ``return_indices``, also their places."""
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self):
        """The size of the output."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The maxima of ``output_size`` windows that cover (N, C, L).

    Args:
        output_size (int or ints): spatial size of the output; None keeps the input's.
        return_indices (bool): also return the places of the maxima.
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The maxima of windows that cover (N, C, H, W); arguments as those of AdaptiveMaxPool1d."""

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The maxima of windows that cover (N, C, D, H, W); arguments as those of AdaptiveMaxPool1d."""

    _function = staticmethod(F.adaptive_max_pool3d)


class _AdaptiveAvgPoolNd(Module):
    __constants__ = ["output_size"]

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        """The means."""
        return self._function(input, self.output_size)

    def extra_repr(self):
        """The size of the output."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of ``output_size`` windows that cover (N, C, L).

    Args:
        output_size (int or ints): spatial size of the output; None keeps the input's.
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of windows that cover (N, C, H, W); arguments as those of AdaptiveAvgPool1d."""

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of windows that cover (N, C, D, H, W); arguments as those of AdaptiveAvgPool1d."""

    _function = staticmethod(F.adaptive_avg_pool3d)
