"""Image functions on Pillow images: the twins of those on tensors in _tensor, _color and _warp, under the same names."""
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ._checks import check_border, must_be_in, sides


def get_dimensions(img):
    return [len(img.getbands()), img.height, img.width]


def from_array(array, mode):
    """An image on a copy of the array's elements; ``Image.fromarray`` would guess the mode from the array's type."""
    if mode == "1":
        return Image.fromarray(array)
    return Image.frombytes(mode, array.shape[1::-1], np.ascontiguousarray(array).tobytes())


# ---- places ------------------------------------------------------------------------------------------------------------

def hflip(img):
    return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def vflip(img):
    return img.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def crop(img, top, left, height, width):
    return img.crop((left, top, left + width, top + height))


def resize(img, size, interpolation):
    return img.resize((size[1], size[0]), interpolation)


def pad(img, padding, fill=0, padding_mode="constant"):
    check_border(padding, fill, padding_mode, sequences=True)
    left, right, top, bottom = sides(padding)
    if padding_mode == "constant":
        padded = ImageOps.expand(img, (left, top, right, bottom), _color(fill, img))
        if img.mode == "P":
            padded.putpalette(img.getpalette())
        return padded
    if min(left, right, top, bottom) < 0:
        img = img.crop((max(-left, 0), max(-top, 0), img.width - max(-right, 0), img.height - max(-bottom, 0)))
    pixels = np.asarray(img)
    widths = [(max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))] + [(0, 0)] * (pixels.ndim - 2)
    padded = from_array(np.pad(pixels, widths, padding_mode), img.mode)
    if img.mode == "P":
        padded.putpalette(img.getpalette())
    return padded


def affine(img, matrix, interpolation, fill=None):
    return img.transform(img.size, Image.Transform.AFFINE, matrix, interpolation, fillcolor=_color(fill, img))


def rotate(img, angle, interpolation, expand=False, center=None, fill=None):
    return img.rotate(angle, interpolation, expand, center, fillcolor=_color(fill, img))


def perspective(img, coefficients, interpolation, fill=None):
    return img.transform(img.size, Image.Transform.PERSPECTIVE, coefficients, interpolation, fillcolor=_color(fill, img))


def _color(fill, img):
    """The color of new pixels, as Pillow wants it: a number for one channel, else a tuple."""
    channels = len(img.getbands())
    if fill is None:
        fill = 0
    if not isinstance(fill, (list, tuple)):
        fill = [fill]
    if len(fill) == 1:
        fill = fill * channels
    if len(fill) != channels:
        raise ValueError("The number of elements in 'fill' does not match the number of channels of the image "
                         f"({len(fill)} != {channels})")
    if img.mode != "F":
        fill = [int(x) for x in fill]
    return fill[0] if channels == 1 else tuple(fill)


# ---- colors ------------------------------------------------------------------------------------------------------------

def adjust_brightness(img, brightness_factor):
    return ImageEnhance.Brightness(img).enhance(brightness_factor)


def adjust_contrast(img, contrast_factor):
    return ImageEnhance.Contrast(img).enhance(contrast_factor)


def adjust_saturation(img, saturation_factor):
    return ImageEnhance.Color(img).enhance(saturation_factor)


def adjust_sharpness(img, sharpness_factor):
    return ImageEnhance.Sharpness(img).enhance(sharpness_factor)


def adjust_hue(img, hue_factor):
    must_be_in("hue_factor", hue_factor, -0.5, 0.5)
    if img.mode in ("L", "1", "I", "F"):
        return img
    hue, saturation, value = img.convert("HSV").split()
    turned = np.asarray(hue) + np.array(hue_factor * 255).astype(np.int32).astype(np.uint8)     # around the circle, modulo 256
    return Image.merge("HSV", (from_array(turned, "L"), saturation, value)).convert(img.mode)


def adjust_gamma(img, gamma, gain=1):
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    curve = [int((255 + 1 - 1e-3) * gain * pow(level / 255, gamma)) for level in range(256)]
    return img.convert("RGB").point(curve * 3).convert(img.mode)


def rgb_to_grayscale(img, num_output_channels=1):
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    gray = img.convert("L")
    return gray if num_output_channels == 1 else Image.merge("RGB", [gray] * 3)


def invert(img):
    return ImageOps.invert(img)


def posterize(img, bits):
    return ImageOps.posterize(img, bits)


def solarize(img, threshold):
    return ImageOps.solarize(img, threshold)


def autocontrast(img):
    return ImageOps.autocontrast(img)


def equalize(img):
    return ImageOps.equalize(img)
