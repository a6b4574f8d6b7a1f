"""Rearrangements of channels: PixelShuffle, PixelUnshuffle, ChannelShuffle."""
from .. import functional as F
from .module import Module

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """(N, C r^2, H, W) -> (N, C, H r, W r) (Shi et al., 2016).

    Args:
        upscale_factor (int): r.
    """

    __constants__ = ["upscale_factor"]

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        """The input, rearranged."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        """r."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(N, C, H r, W r) -> (N, C r^2, H, W).

    Args:
        downscale_factor (int): r.
    """

    __constants__ = ["downscale_factor"]

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        """The input, rearranged."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        """r."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """(N, g C, ...) with its channels interleaved: those of the g groups alternate (Zhang et al., 2017).

    Args:
        groups (int): g.
    """

    __constants__ = ["groups"]

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        """The input, rearranged."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        """g."""
        return f"groups={self.groups}"
