"""The functions behind the transforms, on Pillow images and on tensors (..., c, h, w): torchvision.transforms.functional.

Each function looks at what it was given and calls its twin in _pil, or in _tensor, _color or _warp.
"""
import math
import numbers
import warnings
from enum import Enum

import numpy as np
from PIL import Image

from ...tensor import Tensor
from . import _color, _pil, _tensor, _warp
from ._checks import pair
from ._convert import convert_image_dtype, normalize, pil_to_tensor, to_pil_image, to_tensor

__all__ = ["InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
           "adjust_sharpness", "affine", "autocontrast", "center_crop", "convert_image_dtype", "crop", "elastic_transform",
           "equalize", "erase", "five_crop", "gaussian_blur", "get_dimensions", "get_image_num_channels", "get_image_size",
           "hflip", "invert", "normalize", "pad", "perspective", "pil_modes_mapping", "pil_to_tensor", "posterize", "resize",
           "resized_crop", "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_grayscale", "to_pil_image", "to_tensor",
           "vflip"]


class InterpolationMode(Enum):
    """How pixels between pixels are made; tensors have NEAREST, NEAREST_EXACT, BILINEAR and BICUBIC."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


pil_modes_mapping = {InterpolationMode.NEAREST: 0, InterpolationMode.NEAREST_EXACT: 0, InterpolationMode.LANCZOS: 1,
                     InterpolationMode.BILINEAR: 2, InterpolationMode.BICUBIC: 3, InterpolationMode.BOX: 4,
                     InterpolationMode.HAMMING: 5}
_BY_NUMBER = {number: mode for mode, number in pil_modes_mapping.items() if mode is not InterpolationMode.NEAREST_EXACT}


def _interpolation(mode):
    """The InterpolationMode that is meant: one of them, or Pillow's number."""
    if isinstance(mode, InterpolationMode):
        return mode
    if not isinstance(mode, int):
        raise TypeError("Argument interpolation should be a InterpolationMode or a corresponding Pillow integer constant")
    if mode not in _BY_NUMBER:
        raise ValueError(f"Argument interpolation should be one of Pillow's integer constants 0 to 5, got {int(mode)}")
    return _BY_NUMBER[mode]


def _twin(img, on_tensors=_tensor):
    """The module with the functions for this kind of image."""
    if isinstance(img, Tensor):
        return on_tensors
    if not isinstance(img, Image.Image):
        raise TypeError(f"img should be PIL Image. Got {type(img)}")
    return _pil


def _mode_for(img, interpolation):
    """The interpolation as the image's kind takes it: Pillow's number, or the name that ``interpolate`` knows."""
    mode = _interpolation(interpolation)
    return mode.value if isinstance(img, Tensor) else pil_modes_mapping[mode]


# ---- sizes -------------------------------------------------------------------------------------------------------------

def get_dimensions(img):
    """[channels, height, width] of an image."""
    if isinstance(img, Tensor):
        return _tensor.get_dimensions(img)
    if not isinstance(img, Image.Image):
        raise TypeError(f"Unexpected type {type(img)}")
    return _pil.get_dimensions(img)


def get_image_size(img):
    """[width, height] of an image."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img):
    """The number of channels of an image."""
    return get_dimensions(img)[0]


def resize(img, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """The image in another size.

    Args:
        img (PIL Image or Tensor): of (..., h, w).
        size (int or ints): (height, width), or the length of the shorter side, which keeps the proportions.
        interpolation (InterpolationMode or int): how pixels are made.
        max_size (int): of the longer side, where ``size`` is one number; the shorter one gives way.
        antialias (bool): when shrinking a tensor, weigh all pixels that a new one covers; Pillow always does.

    Raises:
        ValueError: ``size`` has more than two numbers, or ``max_size`` does not go with it.
        TypeError: not an image, or not an interpolation.

    >>> import numtorch as torch
    >>> resize(torch.tensor([[[0., 2., 4., 6.]]]), [1, 2])
    tensor([[[1.4286, 4.5714]]])
    """
    mode = _mode_for(img, interpolation)
    if isinstance(size, (list, tuple)):
        if len(size) not in (1, 2):
            raise ValueError(f"Size must be an int or a 1 or 2 element tuple/list, not a {len(size)} element tuple/list")
        if max_size is not None and len(size) != 1:
            raise ValueError("max_size should only be passed if size specifies the length of the smaller edge, i.e. size should "
                             "be an int or a sequence of length 1 in torchscript mode.")
    old = get_dimensions(img)[1:]
    new = _new_size(old, list(size) if isinstance(size, (list, tuple)) else [size], max_size)
    if new == old:
        return img
    if isinstance(img, Tensor):
        return _tensor.resize(img, new, mode, antialias)
    if antialias is False:
        warnings.warn("Anti-alias option is always applied for PIL Image input. Argument antialias is ignored.", stacklevel=2)
    return _pil.resize(img, new, mode)


def _new_size(old, size, max_size):
    if len(size) == 2:
        return size
    shorter = size[0]
    longer = int(shorter * max(old) / min(old))
    if max_size is not None:
        if max_size <= shorter:
            raise ValueError(f"max_size = {max_size} must be strictly greater than the requested size for the smaller edge size "
                             f"= {size}")
        if longer > max_size:
            shorter, longer = int(max_size * shorter / longer), max_size
    return [longer, shorter] if old[1] <= old[0] else [shorter, longer]


def pad(img, padding, fill=0, padding_mode="constant"):
    """The image with more pixels around it.

    Args:
        img (PIL Image or Tensor): of (..., h, w).
        padding (int or ints): all four sides; or [left and right, top and bottom]; or [left, top, right, bottom].
        fill (number, or numbers for each channel of a PIL image): color of the new pixels.
        padding_mode (str): "constant", "edge" (the nearest pixel), "reflect" or "symmetric" (repeats the edge).
    """
    return _twin(img).pad(img, padding, fill, padding_mode)


def crop(img, top, left, height, width):
    """The part of height x width pixels whose upper left corner is (top, left); beyond the image it is black."""
    return _twin(img).crop(img, top, left, height, width)


def center_crop(img, output_size):
    """The middle of an image, (height, width) or a square; an image that is smaller gets a black frame."""
    height, width = pair(output_size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        more_h, more_w = max(height - h, 0), max(width - w, 0)
        img = pad(img, [more_w // 2, more_h // 2, (more_w + 1) // 2, (more_h + 1) // 2])
        h, w = h + more_h, w + more_w
        if (h, w) == (height, width):
            return img
    return crop(img, int(round((h - height) / 2)), int(round((w - width) / 2)), height, width)


def resized_crop(img, top, left, height, width, size, interpolation=InterpolationMode.BILINEAR, antialias=True):
    """A part of an image, as ``crop`` takes it, in another size, as ``resize`` makes it."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def five_crop(img, size):
    """The four corners (upper left, upper right, lower left, lower right) and the middle, each of ``size``."""
    height, width = size = pair(size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        raise ValueError(f"Requested crop size {size} is bigger than input size {(h, w)}")
    corners = [crop(img, top, left, height, width) for top in (0, h - height) for left in (0, w - width)]
    return (*corners, center_crop(img, [height, width]))


def ten_crop(img, size, vertical_flip=False):
    """The five parts of ``five_crop``, and those of the image mirrored (or with ``vertical_flip`` upside down)."""
    size = pair(size)
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


# ---- places ------------------------------------------------------------------------------------------------------------

def hflip(img):
    """The image mirrored, left to right."""
    return _twin(img).hflip(img)


def vflip(img):
    """The image upside down."""
    return _twin(img).vflip(img)


def _get_inverse_affine_matrix(center, angle, translate, scale, shear, inverted=True):
    """The first two rows of T(translate) C R(angle) S(scale) Sh(shear) C^-1, or of its inverse; angles in degrees."""
    turn, sx, sy = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    (cx, cy), (tx, ty) = center, translate
    a = math.cos(turn - sy) / math.cos(sy)
    b = -math.cos(turn - sy) * math.tan(sx) / math.cos(sy) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -math.sin(turn - sy) * math.tan(sx) / math.cos(sy) + math.cos(turn)
    if inverted:        # the determinant of [[a, b], [c, d]] is 1
        a, b, c, d = d / scale, -b / scale, -c / scale, a / scale
        before, after = (-cx - tx, -cy - ty), (cx, cy)
    else:
        a, b, c, d = a * scale, b * scale, c * scale, d * scale
        before, after = (-cx, -cy), (cx + tx, cy + ty)
    return [a, b, a * before[0] + b * before[1] + after[0], c, d, c * before[0] + d * before[1] + after[1]]


def rotate(img, angle, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=None):
    """The image turned counter-clockwise.

    Args:
        img (PIL Image or Tensor): of (..., c, h, w).
        angle (number): in degrees.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR for tensors.
        expand (bool): make the result as large as the turned image needs; else it keeps the size.
        center ((x, y)): what stays in place; default the middle.
        fill (number, or numbers for each channel): color of what comes from outside.
    """
    mode = _mode_for(img, interpolation)
    if not isinstance(angle, (int, float)):
        raise TypeError("Argument angle should be int or float")
    middle = _from_middle(img, center)
    if not isinstance(img, Tensor):
        return _twin(img).rotate(img, angle, mode, expand, center, fill)
    matrix = _get_inverse_affine_matrix(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    return _warp.rotate(img, matrix, mode, expand, fill)


def _from_middle(img, center):
    """A place (x, y) counted from the image's middle, as the tensors' functions count."""
    if center is None:
        return [0.0, 0.0]
    if not isinstance(center, (list, tuple)):
        raise TypeError("Argument center should be a sequence")
    _, h, w = get_dimensions(img)
    return [center[0] - w * 0.5, center[1] - h * 0.5]


def affine(img, angle, translate, scale, shear, interpolation=InterpolationMode.NEAREST, fill=None, center=None):
    """The image turned, shifted, scaled and sheared.

    Args:
        img (PIL Image or Tensor): of (..., c, h, w).
        angle (number): in degrees, clockwise.
        translate ((x, y)): in pixels.
        scale (float): above 1 enlarges.
        shear (number or (x, y)): in degrees.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel): color of what comes from outside.
        center ((x, y)): what turning, scaling and shearing leave in place; default the middle.
    """
    mode = _mode_for(img, interpolation)
    if not isinstance(angle, (int, float)):
        raise TypeError("Argument angle should be int or float")
    if not isinstance(translate, (list, tuple)):
        raise TypeError("Argument translate should be a sequence")
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    if not isinstance(shear, (numbers.Number, list, tuple)):
        raise TypeError("Shear should be either a single value or a sequence of two values")
    shear = [shear, 0.0] if isinstance(shear, numbers.Number) else list(shear) * (2 if len(shear) == 1 else 1)
    if len(shear) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    middle = _from_middle(img, center)
    if not isinstance(img, Tensor):
        center = [img.width * 0.5, img.height * 0.5] if center is None else center
        return _twin(img).affine(img, _get_inverse_affine_matrix(center, angle, translate, scale, shear), mode, fill)
    return _warp.affine(img, _get_inverse_affine_matrix(middle, angle, translate, scale, shear), mode, fill)


def _get_perspective_coeffs(startpoints, endpoints):
    """(a, ..., h) with x = (a X + b Y + c) / (g X + h Y + 1), y = (d X + e Y + f) / (g X + h Y + 1) from end (X, Y) to start."""
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise ValueError(f"Please provide exactly four corners, got {len(startpoints)} startpoints and {len(endpoints)} "
                         "endpoints.")
    rows = []
    for (x, y), (x0, y0) in zip(endpoints, startpoints):
        rows += [[x, y, 1, 0, 0, 0, -x0 * x, -x0 * y], [0, 0, 0, x, y, 1, -y0 * x, -y0 * y]]
    found = np.linalg.lstsq(np.array(rows, np.float64), np.array(startpoints, np.float64).reshape(8), rcond=None)[0]
    return found.astype(np.float32).tolist()


def perspective(img, startpoints, endpoints, interpolation=InterpolationMode.BILINEAR, fill=None):
    """The image as a plane seen from elsewhere.

    Args:
        img (PIL Image or Tensor): of (..., c, h, w).
        startpoints, endpoints (four (x, y)): corners in the image, and where they go: upper left, upper right, lower right,
            lower left.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR for tensors.
        fill (number, or numbers for each channel): color of what comes from outside.
    """
    coefficients = _get_perspective_coeffs(startpoints, endpoints)
    return _twin(img, _warp).perspective(img, coefficients, _mode_for(img, interpolation), fill)


def elastic_transform(img, displacement, interpolation=InterpolationMode.BILINEAR, fill=None):
    """The image with each pixel taken from a place nearby.

    Args:
        img (PIL Image or Tensor): of (..., c, h, w).
        displacement (Tensor): (1, h, w, 2), (x, y) in half widths and half heights of the image.
        interpolation (InterpolationMode or int): NEAREST or BILINEAR.
        fill (number, or numbers for each channel): color of what comes from outside.
    """
    mode = _interpolation(interpolation).value
    if not isinstance(displacement, Tensor):
        raise TypeError("Argument displacement should be a Tensor")
    pixels = _pixels(img)
    shape = (1, *pixels.shape[-2:], 2)
    if tuple(displacement.shape) != shape:
        raise ValueError(f"Argument displacement shape should be {shape}, but given {displacement.shape}")
    return _like(img, _warp.elastic_transform(pixels, displacement, mode, fill))


def gaussian_blur(img, kernel_size, sigma=None):
    """The image blurred with a Gaussian bell, and mirrored at its edges.

    Args:
        img (PIL Image or Tensor): of (..., c, h, w).
        kernel_size (int or (x, y)): odd numbers of pixels.
        sigma (number or (x, y)): standard deviations; default 0.15 kernel_size + 0.35.
    """
    if not isinstance(kernel_size, (int, list, tuple)):
        raise TypeError(f"kernel_size should be int or a sequence of integers. Got {type(kernel_size)}")
    if isinstance(kernel_size, int):
        kernel_size = [kernel_size, kernel_size]
    if len(kernel_size) != 2:
        raise ValueError(f"If kernel_size is a sequence its length should be 2. Got {len(kernel_size)}")
    if any(k % 2 == 0 or k < 0 for k in kernel_size):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {kernel_size}")
    if sigma is None:
        sigma = [k * 0.15 + 0.35 for k in kernel_size]
    if not isinstance(sigma, (int, float, list, tuple)):
        raise TypeError(f"sigma should be either float or sequence of floats. Got {type(sigma)}")
    sigma = [float(sigma)] * 2 if isinstance(sigma, (int, float)) else list(sigma) * (2 if len(sigma) == 1 else 1)
    if len(sigma) != 2:
        raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(sigma)}")
    if any(s <= 0.0 for s in sigma):
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    return _like(img, _warp.gaussian_blur(_pixels(img), kernel_size, sigma))


def _pixels(img):
    if isinstance(img, Tensor):
        return img
    if not isinstance(img, Image.Image):
        raise TypeError(f"img should be PIL Image or Tensor. Got {type(img)}")
    return pil_to_tensor(img)


def _like(img, pixels):
    """A result as a tensor or as a PIL image, whichever ``img`` is."""
    return pixels if isinstance(img, Tensor) else to_pil_image(pixels, img.mode)


# ---- colors ------------------------------------------------------------------------------------------------------------

def adjust_brightness(img, brightness_factor):
    """The image darker (factor below 1; 0 is black) or brighter (above 1)."""
    return _twin(img, _color).adjust_brightness(img, brightness_factor)


def adjust_contrast(img, contrast_factor):
    """The image with less contrast (factor below 1; 0 is its mean gray) or more (above 1)."""
    return _twin(img, _color).adjust_contrast(img, contrast_factor)


def adjust_saturation(img, saturation_factor):
    """The image with weaker colors (factor below 1; 0 is grays) or stronger ones (above 1)."""
    return _twin(img, _color).adjust_saturation(img, saturation_factor)


def adjust_hue(img, hue_factor):
    """The image with its colors turned around the circle of hues, by -0.5 to 0.5 of it."""
    return _twin(img, _color).adjust_hue(img, hue_factor)


def adjust_gamma(img, gamma, gain=1):
    """gain * x ** gamma of each value x from 0 to 1: above 1 makes shadows darker, below 1 lighter."""
    return _twin(img, _color).adjust_gamma(img, gamma, gain)


def adjust_sharpness(img, sharpness_factor):
    """The image blurred (factor below 1) or sharpened (above 1)."""
    return _twin(img, _color).adjust_sharpness(img, sharpness_factor)


def rgb_to_grayscale(img, num_output_channels=1):
    """Grays, 0.2989 R + 0.587 G + 0.114 B, in one channel or the same in three."""
    return _twin(img, _color).rgb_to_grayscale(img, num_output_channels)


def to_grayscale(img, num_output_channels=1):
    """Grays of a PIL image of any mode, in one channel or the same in three."""
    if not isinstance(img, Image.Image):
        raise TypeError("Input should be PIL Image")
    return _pil.rgb_to_grayscale(img, num_output_channels)


def invert(img):
    """The negative of an image."""
    return _twin(img, _color).invert(img)


def posterize(img, bits):
    """Bytes of which only the highest ``bits`` (0 to 8) are kept."""
    if not 0 <= bits <= 8:
        raise ValueError(f"The number if bits should be between 0 and 8. Got {bits}")
    return _twin(img, _color).posterize(img, bits)


def solarize(img, threshold):
    """The negative of all values from ``threshold`` on."""
    return _twin(img, _color).solarize(img, threshold)


def autocontrast(img):
    """Each channel stretched so that its darkest value becomes black and its lightest white."""
    return _twin(img, _color).autocontrast(img)


def equalize(img):
    """Bytes with the levels of each channel spread so that all are about as frequent."""
    return _twin(img, _color).equalize(img)


def erase(img, i, j, h, w, v, inplace=False):
    """A tensor (..., c, h, w) with ``v`` in the h x w pixels whose upper left corner is (i, j)."""
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    return _tensor.erase(img, i, j, h, w, v, inplace)
