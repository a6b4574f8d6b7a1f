"""Random chains of transforms whose choice was learned or needs no learning: AutoAugment and its successors."""
import math
from enum import Enum

import numpy as np

from ... import linspace, rand, randint
from ...nn import Module
from ...tensor import Tensor
from . import functional as F
from ._draws import dirichlet, integer
from .functional import InterpolationMode

__all__ = ["AugMix", "AutoAugment", "AutoAugmentPolicy", "RandAugment", "TrivialAugmentWide"]

_COLORS = ("Brightness", "Color", "Contrast", "Sharpness")
_MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_BOTH_WAYS = {*_COLORS, *_MOVES}
_ALL = ("Identity", *_MOVES, *_COLORS, "Posterize", "Solarize", "AutoContrast", "Equalize")


class AutoAugmentPolicy(Enum):
    """The data sets for which AutoAugment's transforms were learned."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# pairs of: name, how often, level 0 to 9 (- for none); tables 7 to 9 of the paper
_POLICIES = {
    AutoAugmentPolicy.IMAGENET: """
        Posterize .4 8 Rotate .6 9; Solarize .6 5 AutoContrast .6 -; Equalize .8 - Equalize .6 -; Posterize .6 7 Posterize .6 6;
        Equalize .4 - Solarize .2 4; Equalize .4 - Rotate .8 8; Solarize .6 3 Equalize .6 -; Posterize .8 5 Equalize 1 -;
        Rotate .2 3 Solarize .6 8; Equalize .6 - Posterize .4 6; Rotate .8 8 Color .4 0; Rotate .4 9 Equalize .6 -;
        Equalize 0 - Equalize .8 -; Invert .6 - Equalize 1 -; Color .6 4 Contrast 1 8; Rotate .8 8 Color 1 2;
        Color .8 8 Solarize .8 7; Sharpness .4 7 Invert .6 -; ShearX .6 5 Equalize 1 -; Color .4 0 Equalize .6 -;
        Equalize .4 - Solarize .2 4; Solarize .6 5 AutoContrast .6 -; Invert .6 - Equalize 1 -; Color .6 4 Contrast 1 8;
        Equalize .8 - Equalize .6 -""",
    AutoAugmentPolicy.CIFAR10: """
        Invert .1 - Contrast .2 6; Rotate .7 2 TranslateX .3 9; Sharpness .8 1 Sharpness .9 3; ShearY .5 8 TranslateY .7 9;
        AutoContrast .5 - Equalize .9 -; ShearY .2 7 Posterize .3 7; Color .4 3 Brightness .6 7; Sharpness .3 9 Brightness .7 9;
        Equalize .6 - Equalize .5 -; Contrast .6 7 Sharpness .6 5; Color .7 7 TranslateX .5 8; Equalize .3 - AutoContrast .4 -;
        TranslateY .4 3 Sharpness .2 6; Brightness .9 6 Color .2 8; Solarize .5 2 Invert 0 -; Equalize .2 - AutoContrast .6 -;
        Equalize .2 - Equalize .6 -; Color .9 9 Equalize .6 -; AutoContrast .8 - Solarize .2 8; Brightness .1 3 Color .7 0;
        Solarize .4 5 AutoContrast .9 -; TranslateY .9 9 TranslateY .7 9; AutoContrast .9 - Solarize .8 3;
        Equalize .8 - Invert .1 -; TranslateY .7 9 AutoContrast .9 -""",
    AutoAugmentPolicy.SVHN: """
        ShearX .9 4 Invert .2 -; ShearY .9 8 Invert .7 -; Equalize .6 - Solarize .6 6; Invert .9 - Equalize .6 -;
        Equalize .6 - Rotate .9 3; ShearX .9 4 AutoContrast .8 -; ShearY .9 8 Invert .4 -; ShearY .9 5 Solarize .2 6;
        Invert .9 - AutoContrast .8 -; Equalize .6 - Rotate .9 3; ShearX .9 4 Solarize .3 3; ShearY .8 8 Invert .7 -;
        Equalize .9 - TranslateY .6 6; Invert .9 - Equalize .6 -; Contrast .3 3 Rotate .8 4; Invert .8 - TranslateY 0 2;
        ShearY .7 6 Solarize .4 8; Invert .6 - Rotate .8 4; ShearY .3 7 TranslateX .9 3; ShearX .1 6 Invert .6 -;
        Solarize .7 2 TranslateY .6 7; ShearY .8 4 Invert .8 -; ShearX .7 9 TranslateY .8 3; ShearY .8 5 AutoContrast .7 -;
        ShearX .7 2 Invert .1 -""",
}


def _parsed(policy):
    """[((name, how often, level or None), (the same)), ...]"""
    pairs = []
    for pair in policy.split(";"):
        words = pair.split()
        steps = zip(words[::3], words[1::3], words[2::3])
        pairs.append(tuple((name, float(p), None if level == "-" else int(level)) for name, p, level in steps))
    return pairs


class _Augment(Module):
    """Base of the chains: how strong a step of some level is, and how it is done."""

    # the strongest step: sine of the shear, turn in degrees, change of a factor, bits that are taken away; bits at the weakest
    _shear, _turn, _factor, _bits, _all_bits = 0.3, 30.0, 0.9, 4, 8

    def __init__(self, interpolation, fill):
        super().__init__()
        self.interpolation, self.fill = interpolation, fill

    def _shift(self, n):
        """The largest shift of an image with n pixels along it."""
        return 150.0 / 331.0 * n

    def _strongest(self, name, size):
        """(weakest, strongest) of a kind of step for images of ``size`` (h, w); None where there is only one."""
        if name == "Solarize":
            return 255.0, 0.0
        if name in _COLORS:
            return 0.0, self._factor
        return {"ShearX": (0.0, self._shear), "ShearY": (0.0, self._shear), "TranslateX": (0.0, self._shift(size[1])),
                "TranslateY": (0.0, self._shift(size[0])), "Rotate": (0.0, self._turn)}.get(name)

    def _magnitude(self, name, level, bins, size):
        """How strong a step of ``level`` 0 to bins - 1 is, as torch computes it, in float32."""
        if name == "Posterize":
            return self._all_bits - int(np.round(np.float32(level) / np.float32((bins - 1) / self._bits)))
        return linspace(*self._strongest(name, size), bins)[level].item()

    def _has_levels(self, name):
        return name == "Posterize" or self._strongest(name, (1, 1)) is not None

    def _fill_for(self, img):
        if not isinstance(img, Tensor) or self.fill is None:
            return self.fill
        fill = self.fill
        return [float(fill)] * F.get_image_num_channels(img) if isinstance(fill, (int, float)) else [float(f) for f in fill]

    def _done(self, img, name, magnitude, fill):
        """The image after one step."""
        moved = {"interpolation": self.interpolation, "fill": fill}
        if name in ("ShearX", "ShearY"):
            degrees = math.degrees(math.atan(magnitude))    # affine shears by the angle, the paper by its tangent
            shear = [degrees, 0.0] if name == "ShearX" else [0.0, degrees]
            return F.affine(img, 0.0, [0, 0], 1.0, shear, center=[0, 0], **moved)
        if name in ("TranslateX", "TranslateY"):
            shift = [int(magnitude), 0] if name == "TranslateX" else [0, int(magnitude)]
            return F.affine(img, 0.0, shift, 1.0, [0.0, 0.0], **moved)
        if name == "Rotate":
            return F.rotate(img, magnitude, **moved)
        if name == "Posterize":
            return F.posterize(img, int(magnitude))
        if name == "Solarize":
            return F.solarize(img, magnitude)
        if name in _COLORS:
            adjust = {"Brightness": F.adjust_brightness, "Color": F.adjust_saturation, "Contrast": F.adjust_contrast,
                      "Sharpness": F.adjust_sharpness}[name]
            return adjust(img, 1.0 + magnitude)
        return {"AutoContrast": F.autocontrast, "Equalize": F.equalize, "Invert": F.invert, "Identity": lambda x: x}[name](img)

    def _random_step(self, img, names, level, bins, size, fill):
        """The image after a step of a random kind, one of ``names``; ``level()`` says of which level."""
        name = names[integer(0, len(names))]
        magnitude = self._magnitude(name, level(), bins, size) if self._has_levels(name) else 0.0
        if name in _BOTH_WAYS and integer(0, 2):
            magnitude = -magnitude
        return self._done(img, name, magnitude, fill)


class AutoAugment(_Augment):
    """Two transforms of a random pair out of 25, which were found by reinforcement learning.

    Args:
        policy (AutoAugmentPolicy): the data set for which they were found.
        interpolation (InterpolationMode): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel, optional): color of what comes from outside.

    Images are PIL images of mode L or RGB, or bytes (..., 1 or 3, h, w); so they are for the other three.

    Source: E. D. Cubuk et al., AutoAugment: Learning Augmentation Strategies from Data, 2018, https://arxiv.org/abs/1805.09501
    """

    def __init__(self, policy=AutoAugmentPolicy.IMAGENET, interpolation=InterpolationMode.NEAREST, fill=None):
        super().__init__(interpolation, fill)
        if policy not in _POLICIES:
            raise ValueError(f"The provided policy {policy} is not recognized.")
        self.policy, self.policies = policy, _parsed(_POLICIES[policy])

    @staticmethod
    def get_params(transform_num):
        """(number of a pair, two chances, two signs), random; the last two are Tensors."""
        return integer(0, transform_num), rand(2), randint(2, (2,))

    def forward(self, img):
        fill, size = self._fill_for(img), F.get_dimensions(img)[1:]
        chosen, chances, signs = self.get_params(len(self.policies))
        for (name, p, level), drawn, sign in zip(self.policies[chosen], chances.numpy(), signs.tolist()):
            if drawn <= p:
                magnitude = 0.0 if level is None else self._magnitude(name, level, 10, size)
                img = self._done(img, name, -magnitude if name in _BOTH_WAYS and sign == 0 else magnitude, fill)
        return img

    def __repr__(self):
        return f"{type(self).__name__}(policy={self.policy}, fill={self.fill})"


class RandAugment(_Augment):
    """A few random transforms of one strength.

    Args:
        num_ops (int): how many.
        magnitude (int): their level, 0 to num_magnitude_bins - 1.
        num_magnitude_bins (int): the number of levels.
        interpolation (InterpolationMode): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel, optional): color of what comes from outside.

    Source: E. D. Cubuk et al., RandAugment, 2019, https://arxiv.org/abs/1909.13719
    """

    def __init__(self, num_ops=2, magnitude=9, num_magnitude_bins=31, interpolation=InterpolationMode.NEAREST, fill=None):
        super().__init__(interpolation, fill)
        self.num_ops, self.magnitude, self.num_magnitude_bins = num_ops, magnitude, num_magnitude_bins

    def forward(self, img):
        fill, size = self._fill_for(img), F.get_dimensions(img)[1:]
        for _ in range(self.num_ops):
            img = self._random_step(img, _ALL, lambda: self.magnitude, self.num_magnitude_bins, size, fill)
        return img

    def __repr__(self):
        return (f"{type(self).__name__}(num_ops={self.num_ops}, magnitude={self.magnitude}, "
                f"num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, fill={self.fill})")


class TrivialAugmentWide(_Augment):
    """One random transform of random strength.

    Args:
        num_magnitude_bins (int): the number of levels.
        interpolation (InterpolationMode): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel, optional): color of what comes from outside.

    Source: S. G. Mueller and F. Hutter, TrivialAugment, 2021, https://arxiv.org/abs/2103.10158
    """

    _shear, _turn, _factor, _bits = 0.99, 135.0, 0.99, 6

    def __init__(self, num_magnitude_bins=31, interpolation=InterpolationMode.NEAREST, fill=None):
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def _shift(self, n):
        return 32.0

    def forward(self, img):
        bins = self.num_magnitude_bins
        return self._random_step(img, _ALL, lambda: integer(0, bins), bins, F.get_dimensions(img)[1:], self._fill_for(img))

    def __repr__(self):
        return (f"{type(self).__name__}(num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, "
                f"fill={self.fill})")


class AugMix(_Augment):
    """The image mixed with several random chains of transforms of itself.

    Args:
        severity (int): levels of the steps are below it, 1 to 10.
        mixture_width (int): the number of chains.
        chain_depth (int): steps of each; not positive: 1 to 3, random.
        alpha (float): concentration of the mixture's random weights.
        all_ops (bool): also brightness, color, contrast and sharpness, which tests of robustness may use.
        interpolation (InterpolationMode): NEAREST or BILINEAR.
        fill (number, or numbers for each channel, optional): color of what comes from outside.

    Source: D. Hendrycks et al., AugMix, 2019, https://arxiv.org/abs/1912.02781
    """

    _all_bits = 4

    def __init__(self, severity=3, mixture_width=3, chain_depth=-1, alpha=1.0, all_ops=True,
                 interpolation=InterpolationMode.BILINEAR, fill=None):
        super().__init__(interpolation, fill)
        if not 1 <= severity <= 10:
            raise ValueError(f"The severity must be between [1, 10]. Got {severity} instead.")
        self.severity, self.mixture_width, self.chain_depth = severity, mixture_width, chain_depth
        self.alpha, self.all_ops = alpha, all_ops

    def _shift(self, n):
        return n / 3.0

    def forward(self, orig_img):
        img = orig_img if isinstance(orig_img, Tensor) else F.pil_to_tensor(orig_img)
        fill, size = self._fill_for(orig_img), F.get_dimensions(orig_img)[1:]
        names = (*_MOVES, "Posterize", "Solarize", "AutoContrast", "Equalize", *(_COLORS if self.all_ops else ()))
        batch = img.view(*[1] * max(4 - img.ndim, 0), *img.shape)
        each = (len(batch), *[1] * (batch.ndim - 1))
        shares = dirichlet([self.alpha] * 2, len(batch))
        weights = dirichlet([self.alpha] * self.mixture_width, len(batch)) * shares[:, 1:]
        mix = shares[:, 0].view(each) * batch
        for i in range(self.mixture_width):
            step = batch
            for _ in range(self.chain_depth if self.chain_depth > 0 else integer(1, 4)):
                step = self._random_step(step, names, lambda: integer(0, self.severity), 10, size, fill)
            mix.add_(weights[:, i].view(each) * step)
        mix = mix.view(img.shape).to(img.dtype)
        return mix if isinstance(orig_img, Tensor) else F.to_pil_image(mix)

    def __repr__(self):
        return (f"{type(self).__name__}(severity={self.severity}, mixture_width={self.mixture_width}, "
                f"chain_depth={self.chain_depth}, alpha={self.alpha}, all_ops={self.all_ops}, "
                f"interpolation={self.interpolation}, fill={self.fill})")
