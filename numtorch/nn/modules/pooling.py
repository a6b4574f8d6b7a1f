"""Pooling layers in one to three dimensions."""
from .. import functional as F
from .module import Module


class _MaxPool(Module):
    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input):
        return self.function(input, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode,
                             return_indices=self.return_indices)

    def extra_repr(self):
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
                f"ceil_mode={self.ceil_mode}")


class MaxPool1d(_MaxPool):
    """The largest number of each window; with ``return_indices`` also its place."""

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest number of each window; with ``return_indices`` also its place."""

    function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest number of each window; with ``return_indices`` also its place."""

    function = staticmethod(F.max_pool3d)


class _AvgPool(Module):
    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return self.function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                             self.divisor_override)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """The mean of each window."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        self.kernel_size, self.stride, self.padding = (v if isinstance(v, tuple) else (v,) for v in (
            kernel_size, kernel_size if stride is None else stride, padding))
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input):
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window."""

    function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window."""

    function = staticmethod(F.avg_pool3d)


class _AdaptivePool(Module):
    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input):
        return self.function(input, self.output_size, **({"return_indices": True} if self.return_indices else {}))

    def extra_repr(self):
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_AdaptivePool):
    def __init__(self, output_size):
        super().__init__(output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of windows chosen so that the output has ``output_size``."""

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveMaxPool1d(_AdaptivePool):
    """Largest numbers of windows chosen so that the output has ``output_size``."""

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means of windows chosen so that the output has ``output_size``."""

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveMaxPool2d(_AdaptivePool):
    """Largest numbers of windows chosen so that the output has ``output_size``."""

    function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of windows chosen so that the output has ``output_size``."""

    function = staticmethod(F.adaptive_avg_pool3d)


class AdaptiveMaxPool3d(_AdaptivePool):
    """Largest numbers of windows chosen so that the output has ``output_size``."""

    function = staticmethod(F.adaptive_max_pool3d)


class _LPPool(Module):
    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input):
        return self.function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self):
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


class _MaxUnpool(Module):
    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        n = self.n
        as_tuple = lambda v: tuple(v) if isinstance(v, (tuple, list)) else (v,) * n     # noqa: E731
        self.kernel_size, self.padding = as_tuple(kernel_size), as_tuple(padding)
        self.stride = as_tuple(kernel_size if stride is None else stride)

    def forward(self, input, indices, output_size=None):
        return self.function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class LPPool1d(_LPPool):
    """The norm of order ``norm_type`` of each window."""

    function = staticmethod(F.lp_pool1d)


class MaxUnpool1d(_MaxUnpool):
    """Puts numbers back where ``MaxPool1d`` found them."""

    n, function = 1, staticmethod(F.max_unpool1d)


class LPPool2d(_LPPool):
    """The norm of order ``norm_type`` of each window."""

    function = staticmethod(F.lp_pool2d)


class MaxUnpool2d(_MaxUnpool):
    """Puts numbers back where ``MaxPool2d`` found them."""

    n, function = 2, staticmethod(F.max_unpool2d)


class LPPool3d(_LPPool):
    """The norm of order ``norm_type`` of each window."""

    function = staticmethod(F.lp_pool3d)


class MaxUnpool3d(_MaxUnpool):
    """Puts numbers back where ``MaxPool3d`` found them."""

    n, function = 3, staticmethod(F.max_unpool3d)
