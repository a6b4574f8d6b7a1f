"""Transforms that move pixels: sizes, parts, flips, turns, other views."""
from collections.abc import Sequence

from ... import concat, rand
from ...nn import Module
from ...tensor import Tensor
from . import functional as F
from ._checks import angles, check_scale_and_ratio, filling, must_be_sequence, pair
from ._draws import WithChance, chance, integer, shapes_of_parts, uniform
from .functional import InterpolationMode, _interpolation

__all__ = ["CenterCrop", "ElasticTransform", "FiveCrop", "InterpolationMode", "Pad", "RandomAffine", "RandomCrop",
           "RandomHorizontalFlip", "RandomPerspective", "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip", "Resize",
           "TenCrop"]


def _fill_for(img, fill):
    """The color as the image's kind takes it: for tensors a float for each channel."""
    if not isinstance(img, Tensor):
        return fill
    return [float(fill)] * F.get_image_num_channels(img) if isinstance(fill, (int, float)) else [float(f) for f in fill]


class Resize(Module):
    """Brings images to another size.

    Args:
        size (int or ints): (height, width), or the length of the shorter side, which keeps the proportions.
        interpolation (InterpolationMode or int): how pixels are made.
        max_size (int, optional): of the longer side, where ``size`` is one number.
        antialias (bool): when shrinking a tensor, weigh all pixels that a new one covers; Pillow always does.
    """

    def __init__(self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
        super().__init__()
        if not isinstance(size, (int, Sequence)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.max_size, self.antialias = size, max_size, antialias
        self.interpolation = _interpolation(interpolation)

    def forward(self, img):
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self):
        return (f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation.value}, max_size={self.max_size}, "
                f"antialias={self.antialias})")


class _Part(Module):
    """Base of what takes parts of one size."""

    def __init__(self, size):
        super().__init__()
        self.size = pair(size)

    def __repr__(self):
        return f"{type(self).__name__}(size={self.size})"


class CenterCrop(_Part):
    """Takes the middle of images; smaller ones get a black frame.

    Args:
        size (int or ints): (height, width), or the side of a square.
    """

    def forward(self, img):
        return F.center_crop(img, self.size)


class FiveCrop(_Part):
    """Makes a tuple of five images: the four corners and the middle.

    Args:
        size (int or ints): (height, width), or the side of a square.
    """

    def forward(self, img):
        return F.five_crop(img, self.size)


class TenCrop(_Part):
    """Makes a tuple of ten images: those of FiveCrop, and those of the mirrored image.

    Args:
        size (int or ints): (height, width), or the side of a square.
        vertical_flip (bool): upside down instead of mirrored.
    """

    def __init__(self, size, vertical_flip=False):
        super().__init__(size)
        self.vertical_flip = vertical_flip

    def forward(self, img):
        return F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self):
        return f"{type(self).__name__}(size={self.size}, vertical_flip={self.vertical_flip})"


class Pad(Module):
    """Puts pixels around images.

    Args:
        padding (int or ints): all four sides; or [left and right, top and bottom]; or [left, top, right, bottom].
        fill (number, or numbers for each channel of a PIL image): color of the new pixels.
        padding_mode (str): "constant", "edge", "reflect" or "symmetric".
    """

    def __init__(self, padding, fill=0, padding_mode="constant"):
        super().__init__()
        if not isinstance(padding, (int, float, tuple, list)):
            raise TypeError("Got inappropriate padding arg")
        if not isinstance(fill, (int, float, tuple, list)):
            raise TypeError("Got inappropriate fill arg")
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
        if isinstance(padding, Sequence) and len(padding) not in (1, 2, 4):
            raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple")
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img):
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self):
        return f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode})"


class RandomCrop(Module):
    """Takes a part of images at a random place.

    Args:
        size (int or ints): (height, width), or the side of a square.
        padding (int or ints, optional): put pixels around the image first, as Pad does.
        pad_if_needed (bool): and more of them, where the image is still smaller than ``size``.
        fill (number, or numbers for each channel of a PIL image): color of the new pixels.
        padding_mode (str): "constant", "edge", "reflect" or "symmetric".
    """

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant"):
        super().__init__()
        self.size = tuple(pair(size))
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = padding, pad_if_needed, fill, padding_mode

    @staticmethod
    def get_params(img, output_size):
        """(top, left, height, width) of a random part of ``output_size``."""
        _, h, w = F.get_dimensions(img)
        height, width = output_size
        if h < height or w < width:
            raise ValueError(f"Required crop size {(height, width)} is larger than input image size {(h, w)}")
        if (h, w) == (height, width):
            return 0, 0, h, w
        return integer(0, h - height + 1), integer(0, w - width + 1), height, width

    def forward(self, img):
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            _, h, w = F.get_dimensions(img)
            for missing in [self.size[1] - w, 0], [0, self.size[0] - h]:
                if max(missing) > 0:
                    img = F.pad(img, missing, self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self):
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class RandomResizedCrop(Module):
    """Takes a part of random area, proportions and place, and brings it to one size.

    Args:
        size (int or ints): (height, width), or the side of a square.
        scale ((float, float)): least and largest share of the area.
        ratio ((float, float)): least and largest width / height.
        interpolation (InterpolationMode or int): how pixels are made.
        antialias (bool): when shrinking a tensor, weigh all pixels that a new one covers.

    Source: C. Szegedy et al., Going Deeper with Convolutions, 2014, section 6.
    """

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation=InterpolationMode.BILINEAR, antialias=True):
        super().__init__()
        self.size = pair(size)
        check_scale_and_ratio(scale, ratio)
        self.scale, self.ratio, self.antialias = scale, ratio, antialias
        self.interpolation = _interpolation(interpolation)

    @staticmethod
    def get_params(img, scale, ratio):
        """(top, left, height, width) of a random part; the largest one in the middle if ten draws do not fit."""
        _, h, w = F.get_dimensions(img)
        for height, width in shapes_of_parts(h * w, scale, ratio):
            if 0 < width <= w and 0 < height <= h:
                return integer(0, h - height + 1), integer(0, w - width + 1), height, width
        height, width = h, w
        if w / h < min(ratio):
            height = int(round(w / min(ratio)))
        elif w / h > max(ratio):
            width = int(round(h * max(ratio)))
        return (h - height) // 2, (w - width) // 2, height, width

    def forward(self, img):
        part = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *part, self.size, self.interpolation, antialias=self.antialias)

    def __repr__(self):
        scale, ratio = (tuple(round(v, 4) for v in limits) for limits in (self.scale, self.ratio))
        return (f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
                f"interpolation={self.interpolation.value}, antialias={self.antialias})")


class RandomHorizontalFlip(WithChance):
    """Mirrors images, some of the time.

    Args:
        p (float): how often.
    """

    def forward(self, img):
        return F.hflip(img) if chance() < self.p else img


class RandomVerticalFlip(WithChance):
    """Turns images upside down, some of the time.

    Args:
        p (float): how often.
    """

    def forward(self, img):
        return F.vflip(img) if chance() < self.p else img


class RandomPerspective(WithChance):
    """Shows images as planes seen from elsewhere, some of the time.

    Args:
        distortion_scale (float): how far corners move, as a share of half the image.
        p (float): how often.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel): color of what comes from outside.
    """

    def __init__(self, distortion_scale=0.5, p=0.5, interpolation=InterpolationMode.BILINEAR, fill=0):
        super().__init__(p)
        self.distortion_scale, self.interpolation, self.fill = distortion_scale, _interpolation(interpolation), filling(fill)

    @staticmethod
    def get_params(width, height, distortion_scale):
        """The image's four corners, and where each goes: [x, y] from the upper left one, clockwise."""
        x, y = int(distortion_scale * (width // 2)), int(distortion_scale * (height // 2))
        left, right = (0, x + 1), (width - x - 1, width)
        top, bottom = (0, y + 1), (height - y - 1, height)
        ends = [[integer(*h), integer(*v)] for h, v in ((left, top), (right, top), (right, bottom), (left, bottom))]
        return [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], ends

    def forward(self, img):
        _, h, w = F.get_dimensions(img)
        if not chance() < self.p:
            return img
        return F.perspective(img, *self.get_params(w, h, self.distortion_scale), self.interpolation, _fill_for(img, self.fill))


class RandomRotation(Module):
    """Turns images by a random angle.

    Args:
        degrees (number or (low, high)): counter-clockwise; a number is -degrees to degrees.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR for tensors.
        expand (bool): make the result as large as the turned image needs.
        center ((x, y), optional): what stays in place; default the middle.
        fill (number, or numbers for each channel): color of what comes from outside.
    """

    def __init__(self, degrees, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=0):
        super().__init__()
        self.interpolation, self.degrees = _interpolation(interpolation), angles(degrees, "degrees")
        if center is not None:
            must_be_sequence(center, "center", (2,))
        self.center, self.expand, self.fill = center, expand, filling(fill)

    @staticmethod
    def get_params(degrees):
        """A random angle."""
        return uniform(float(degrees[0]), float(degrees[1]))

    def forward(self, img):
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, _fill_for(img, self.fill))

    def __repr__(self):
        center = "" if self.center is None else f", center={self.center}"
        return (f"{type(self).__name__}(degrees={self.degrees}, interpolation={self.interpolation.value}, expand={self.expand}"
                f"{center}, fill={self.fill})")


class RandomAffine(Module):
    """Turns, shifts, scales and shears images at random, about their middle.

    Args:
        degrees (number or (low, high)): clockwise; a number is -degrees to degrees.
        translate ((x, y), optional): largest shifts, as shares of the width and the height.
        scale ((low, high), optional): factors.
        shear (number, (low, high) or (low x, high x, low y, high y), optional): degrees.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel): color of what comes from outside.
        center ((x, y), optional): what turning, scaling and shearing leave in place; default the middle.
    """

    def __init__(self, degrees, translate=None, scale=None, shear=None, interpolation=InterpolationMode.NEAREST, fill=0,
                 center=None):
        super().__init__()
        self.interpolation, self.degrees = _interpolation(interpolation), angles(degrees, "degrees")
        if translate is not None:
            must_be_sequence(translate, "translate", (2,))
            if not all(0.0 <= t <= 1.0 for t in translate):
                raise ValueError("translation values should be between 0 and 1")
        if scale is not None:
            must_be_sequence(scale, "scale", (2,))
            if min(scale) <= 0:
                raise ValueError("scale values should be positive")
        self.translate, self.scale = translate, scale
        self.shear = None if shear is None else angles(shear, "shear", (2, 4))
        self.fill = filling(fill)
        if center is not None:
            must_be_sequence(center, "center", (2,))
        self.center = center

    @staticmethod
    def get_params(degrees, translate, scale_ranges, shears, img_size):
        """A random (angle, (x, y) in pixels, scale, (shear x, shear y)); ``img_size`` is (width, height)."""
        angle = uniform(float(degrees[0]), float(degrees[1]))
        shift = (0, 0)
        if translate is not None:
            shift = tuple(int(round(uniform(-float(t * n), float(t * n)))) for t, n in zip(translate, img_size))
        scale = 1.0 if scale_ranges is None else uniform(*scale_ranges)
        x = y = 0.0
        if shears is not None:
            x = uniform(*shears[:2])
            y = uniform(*shears[2:]) if len(shears) == 4 else 0.0
        return angle, shift, scale, (x, y)

    def forward(self, img):
        _, h, w = F.get_dimensions(img)
        drawn = self.get_params(self.degrees, self.translate, self.scale, self.shear, [w, h])
        return F.affine(img, *drawn, interpolation=self.interpolation, fill=_fill_for(img, self.fill), center=self.center)

    def __repr__(self):
        shown = [f"degrees={self.degrees}"]
        shown += [f"{name}={value}" for name in ("translate", "scale", "shear") if (value := getattr(self, name)) is not None]
        if self.interpolation is not InterpolationMode.NEAREST:
            shown.append(f"interpolation={self.interpolation.value}")
        if self.fill != 0:
            shown.append(f"fill={self.fill}")
        if self.center is not None:
            shown.append(f"center={self.center}")
        return f"{type(self).__name__}({', '.join(shown)})"


class ElasticTransform(Module):
    """Displaces pixels at random, each nearly as its neighbours, like what lies under water.

    Args:
        alpha (float or (x, y)): how far, in pixels if it were not for the blur.
        sigma (float or (x, y)): how smoothly: the blur of the displacements, in pixels.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR.
        fill (number, or numbers for each channel): color of what comes from outside.

    Source: P. Simard et al., Best Practices for Convolutional Neural Networks, 2003.
    """

    def __init__(self, alpha=50.0, sigma=5.0, interpolation=InterpolationMode.BILINEAR, fill=0):
        super().__init__()
        self.alpha, self.sigma = _two_floats(alpha, "alpha"), _two_floats(sigma, "sigma")
        self.interpolation = _interpolation(interpolation)
        if not isinstance(fill, (int, float, list, tuple)):
            raise TypeError(f"fill should be int or float or a list or tuple of them. Got {type(fill)}")
        self.fill = [float(f) for f in fill] if isinstance(fill, (list, tuple)) else [float(fill)]

    @staticmethod
    def get_params(alpha, sigma, size):
        """A displacement field (1, h, w, 2) for an image of ``size`` [h, w]."""
        fields = []
        for strength, smooth, n in zip(alpha, sigma, size[::-1]):
            field = rand(1, 1, *size) * 2 - 1
            if smooth > 0.0:
                k = int(8 * smooth + 1) | 1
                field = F.gaussian_blur(field, [k, k], sigma)
            fields.append(field * strength / n)
        return concat(fields, 1).permute(0, 2, 3, 1)

    def forward(self, tensor):
        _, h, w = F.get_dimensions(tensor)
        return F.elastic_transform(tensor, self.get_params(self.alpha, self.sigma, [h, w]), self.interpolation, self.fill)

    def __repr__(self):
        return (f"{type(self).__name__}(alpha={self.alpha}, sigma={self.sigma}, interpolation={self.interpolation}, "
                f"fill={self.fill})")


def _two_floats(value, name):
    if isinstance(value, float):
        return [value, value]
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} should be float or a sequence of floats. Got {type(value)}")
    if len(value) != 2:
        raise ValueError(f"If {name} is a sequence its length should be 2. Got {len(value)}")
    for element in value:
        if not isinstance(element, float):
            raise TypeError(f"{name} should be a sequence of floats. Got {type(element)}")
    return value
