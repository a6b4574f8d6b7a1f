"""Transforms that change colors and values, and leave pixels where they are."""
import numbers
from collections.abc import Sequence

from ... import empty, float32, randperm, tensor
from ...nn import Module
from ...tensor import Tensor
from . import functional as F
from ._checks import check_scale_and_ratio, pair
from ._draws import WithChance, chance, integer, shapes_of_parts, uniform

__all__ = ["ColorJitter", "GaussianBlur", "Grayscale", "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize",
           "RandomErasing", "RandomGrayscale", "RandomInvert", "RandomPosterize", "RandomSolarize"]


class ColorJitter(Module):
    """Changes brightness, contrast, saturation and hue at random, in random order.

    Args:
        brightness, contrast, saturation (float or (low, high)): the range of the factors; a number is 1 - it to 1 + it.
        hue (float or (low, high)): the range of turns around the circle of hues, within -0.5 to 0.5.
    """

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        super().__init__()
        self.brightness = _range(brightness, "brightness")
        self.contrast = _range(contrast, "contrast")
        self.saturation = _range(saturation, "saturation")
        self.hue = _range(hue, "hue", 0, (-0.5, 0.5))

    @staticmethod
    def get_params(brightness, contrast, saturation, hue):
        """A random order of the four, as a Tensor, and for each a factor, or None where its range is None."""
        order = randperm(4)
        return (order, *(None if r is None else uniform(*r) for r in (brightness, contrast, saturation, hue)))

    def forward(self, img):
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for i in order.tolist():
            if factors[i] is not None:
                img = adjust[i](img, factors[i])
        return img

    def __repr__(self):
        return (f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, saturation={self.saturation}, "
                f"hue={self.hue})")


def _range(value, name, center=1, bound=(0, float("inf"))):
    """(low, high) of a factor, or None if it would always be ``center``, which changes nothing."""
    if isinstance(value, numbers.Number):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        low, high = center - float(value), center + float(value)
        if center == 1:
            low = max(low, 0.0)
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
    if not bound[0] <= low <= high <= bound[1]:
        raise ValueError(f"{name} values should be between {bound}, but got {[low, high]}.")
    return None if low == high == center else (low, high)


class Grayscale(Module):
    """Makes grays of colors.

    Args:
        num_output_channels (int): 1, or 3 for the same in each.
    """

    def __init__(self, num_output_channels=1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img):
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self):
        return f"{type(self).__name__}(num_output_channels={self.num_output_channels})"


class RandomGrayscale(WithChance):
    """Makes grays of colors, some of the time, in as many channels as there were.

    Args:
        p (float): how often.
    """

    def __init__(self, p=0.1):
        super().__init__(p)

    def forward(self, img):
        channels = F.get_image_num_channels(img)
        return F.rgb_to_grayscale(img, channels) if chance() < self.p else img


class RandomErasing(Module):
    """Covers a random rectangle of tensors (..., c, h, w), some of the time.

    Args:
        p (float): how often.
        scale ((float, float)): least and largest share of the area.
        ratio ((float, float)): least and largest height / width.
        value (number, numbers for each channel, or "random"): what to cover it with; "random" is normal noise.
        inplace (bool): write into the image.

    Source: Z. Zhong et al., Random Erasing Data Augmentation, 2017, https://arxiv.org/abs/1708.04896
    """

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False):
        super().__init__()
        if not isinstance(value, (numbers.Number, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        check_scale_and_ratio(scale, ratio)
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        if p < 0 or p > 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(img, scale, ratio, value=None):
        """(top, left, height, width, content) of a random rectangle; the whole image as it is if ten draws do not fit."""
        channels, h, w = img.shape[-3:]
        for width, height in shapes_of_parts(h * w, scale, ratio):
            if height >= h or width >= w:
                continue
            content = (empty([channels, height, width], dtype=float32).normal_() if value is None
                       else tensor(value)[:, None, None])
            return integer(0, h - height + 1), integer(0, w - width + 1), height, width, content
        return 0, 0, h, w, img

    def forward(self, img):
        if not chance() < self.p:
            return img
        if not isinstance(img, Tensor):
            raise TypeError(f"img should be Tensor Image. Got {type(img)}")
        value = None
        if not isinstance(self.value, str):
            value = [float(v) for v in self.value] if isinstance(self.value, (list, tuple)) else [float(self.value)]
            if len(value) not in (1, img.shape[-3]):
                raise ValueError("If value is a sequence, it should have either a single value or "
                                 f"{img.shape[-3]} (number of input channels)")
        return F.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)

    def __repr__(self):
        return (f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, "
                f"inplace={self.inplace})")


class GaussianBlur(Module):
    """Blurs images with a Gaussian bell of random width.

    Args:
        kernel_size (int or (x, y)): odd numbers of pixels.
        sigma (float or (low, high)): standard deviation, or the range of it.
    """

    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        super().__init__()
        self.kernel_size = pair(kernel_size, "Kernel size should be a tuple/list of two integers")
        if any(k <= 0 or k % 2 == 0 for k in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        if isinstance(sigma, numbers.Number):
            if sigma <= 0:
                raise ValueError("If sigma is a single number, it must be positive.")
            sigma = (sigma, sigma)
        elif not isinstance(sigma, Sequence) or len(sigma) != 2:
            raise ValueError("sigma should be a single number or a list/tuple with length 2.")
        elif not 0.0 < sigma[0] <= sigma[1]:
            raise ValueError("sigma values should be positive and of the form (min, max).")
        self.sigma = sigma

    @staticmethod
    def get_params(sigma_min, sigma_max):
        """A random standard deviation."""
        return uniform(sigma_min, sigma_max)

    def forward(self, img):
        sigma = self.get_params(*self.sigma)
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])

    def __repr__(self):
        return f"{type(self).__name__}(kernel_size={self.kernel_size}, sigma={self.sigma})"


class RandomInvert(WithChance):
    """Makes negatives, some of the time.

    Args:
        p (float): how often.
    """

    def forward(self, img):
        return F.invert(img) if chance().item() < self.p else img


class RandomPosterize(WithChance):
    """Keeps only the highest bits of bytes, some of the time.

    Args:
        bits (int): how many, 0 to 8.
        p (float): how often.
    """

    def __init__(self, bits, p=0.5):
        super().__init__(p)
        self.bits = bits

    def forward(self, img):
        return F.posterize(img, self.bits) if chance().item() < self.p else img

    def __repr__(self):
        return f"{type(self).__name__}(bits={self.bits},p={self.p})"


class RandomSolarize(WithChance):
    """Makes the negative of all values from a threshold on, some of the time.

    Args:
        threshold (float): the lowest value to change.
        p (float): how often.
    """

    def __init__(self, threshold, p=0.5):
        super().__init__(p)
        self.threshold = threshold

    def forward(self, img):
        return F.solarize(img, self.threshold) if chance().item() < self.p else img

    def __repr__(self):
        return f"{type(self).__name__}(threshold={self.threshold},p={self.p})"


class RandomAdjustSharpness(WithChance):
    """Blurs or sharpens images, some of the time.

    Args:
        sharpness_factor (float): below 1 blurs, above 1 sharpens.
        p (float): how often.
    """

    def __init__(self, sharpness_factor, p=0.5):
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def forward(self, img):
        return F.adjust_sharpness(img, self.sharpness_factor) if chance().item() < self.p else img

    def __repr__(self):
        return f"{type(self).__name__}(sharpness_factor={self.sharpness_factor},p={self.p})"


class RandomAutocontrast(WithChance):
    """Stretches each channel from black to white, some of the time.

    Args:
        p (float): how often.
    """

    def forward(self, img):
        return F.autocontrast(img) if chance().item() < self.p else img


class RandomEqualize(WithChance):
    """Spreads the levels of each channel so that all are about as frequent, some of the time.

    Args:
        p (float): how often.
    """

    def forward(self, img):
        return F.equalize(img) if chance().item() < self.p else img
