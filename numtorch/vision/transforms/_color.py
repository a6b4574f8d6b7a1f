"""Color functions on tensors (..., 1 or 3, h, w): floats from 0 to 1, integers from 0 to the largest of their type."""
import numpy as np

from ... import float32, from_numpy, full, maximum, minimum, stack, uint8, where
from ...nn import functional as nnf
from ._checks import must_be_in, must_not_be_negative
from ._tensor import as_batch, convert_image_dtype, max_value, must_be_image, must_have_channels, real


def _blend(img, other, ratio):
    """ratio * img + (1 - ratio) * other, kept between black and white; ``other`` None is black."""
    ratio = float(ratio)
    mixed = ratio * img if other is None else ratio * img + (1.0 - ratio) * other
    return mixed.clamp(0, max_value(img.dtype)).to(img.dtype)


def rgb_to_grayscale(img, num_output_channels=1):
    must_have_channels(img, [1, 3], least=3)
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    if img.shape[-3] == 3:
        r, g, b = img.unbind(-3)
        gray = (0.2989 * r + 0.587 * g + 0.114 * b).to(img.dtype).unsqueeze(-3)     # the luma of ITU-R BT.601
    else:
        gray = img.clone()
    return gray.expand(img.shape) if num_output_channels == 3 else gray


def adjust_brightness(img, brightness_factor):
    must_not_be_negative("brightness_factor", brightness_factor)
    must_have_channels(img, [1, 3])
    return _blend(img, None, brightness_factor)


def adjust_contrast(img, contrast_factor):
    must_not_be_negative("contrast_factor", contrast_factor)
    must_have_channels(img, [3, 1])
    gray = rgb_to_grayscale(img) if img.ndim > 2 and img.shape[-3] == 3 else img
    return _blend(img, gray.to(real(img)).mean((-3, -2, -1), keepdim=True), contrast_factor)


def adjust_saturation(img, saturation_factor):
    must_not_be_negative("saturation_factor", saturation_factor)
    must_have_channels(img, [1, 3])
    if img.ndim == 2 or img.shape[-3] == 1:
        return img
    return _blend(img, rgb_to_grayscale(img), saturation_factor)


def adjust_hue(img, hue_factor):
    must_be_in("hue_factor", hue_factor, -0.5, 0.5)
    must_have_channels(img, [1, 3])
    if img.ndim == 2 or img.shape[-3] == 1:
        return img
    hue, saturation, value = _rgb_to_hsv(convert_image_dtype(img, float32))
    return convert_image_dtype(_hsv_to_rgb((hue + hue_factor) % 1.0, saturation, value), img.dtype)


def _rgb_to_hsv(img):
    """Hue (a turn around the circle is 1), saturation and value; A. R. Smith, Color gamut transform pairs, 1978."""
    r, g, b = img.unbind(-3)
    value, low = maximum(maximum(r, g), b), minimum(minimum(r, g), b)
    gray = value == low         # has no hue and no saturation: a divisor of 1 gives both 0, and finite gradients
    spread = value - low
    saturation = spread / where(gray, 1.0, value)
    divisor = where(gray, 1.0, spread)
    r_low, g_low, b_low = ((value - c) / divisor for c in (r, g, b))
    sixths = where(value == r, b_low - g_low, where(value == g, 2.0 + r_low - b_low, 4.0 + g_low - r_low))
    return (sixths / 6.0 + 1.0).fmod(1.0), saturation, value


def _hsv_to_rgb(hue, saturation, value):
    channels = []
    for start in (5.0, 3.0, 1.0):
        # through the six sectors a channel falls from value, stays low for two, rises, and stays high for two
        k = (hue * 6.0 + start) % 6.0
        channels.append(value * (1.0 - saturation * minimum(k, 4.0 - k).clamp(0.0, 1.0)))
    return stack(channels, -3)


def adjust_gamma(img, gamma, gain=1):
    must_have_channels(img, [1, 3])
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    x = img if img.is_floating_point() else convert_image_dtype(img, float32)
    return convert_image_dtype((gain * x.pow(gamma)).clamp(0, 1), img.dtype)


def adjust_sharpness(img, sharpness_factor):
    must_not_be_negative("sharpness_factor", sharpness_factor)
    must_have_channels(img, [1, 3])
    if min(img.shape[-2:]) <= 2:
        return img
    batch, back = as_batch(img, real(img))
    kernel = full((3, 3), 1 / 13, dtype=batch.dtype, device=img.device)
    kernel[1, 1] = 5 / 13
    channels = batch.shape[1]
    smooth = img.clone()        # its border stays as it is
    smooth[..., 1:-1, 1:-1] = back(nnf.conv2d(batch, kernel.expand(channels, 1, 3, 3), groups=channels))
    return _blend(img, smooth, sharpness_factor)


def invert(img):
    must_have_channels(img, [1, 3], least=3)
    return max_value(img.dtype) - img


def posterize(img, bits):
    must_have_channels(img, [1, 3], least=3)
    _must_be_bytes(img)
    return img & (256 - 2 ** (8 - bits))


def solarize(img, threshold):
    must_have_channels(img, [1, 3], least=3)
    if threshold > max_value(img.dtype):
        raise TypeError("Threshold should be less than bound of img.")
    return where(img >= threshold, invert(img), img)


def autocontrast(img):
    must_have_channels(img, [1, 3], least=3)
    bound = max_value(img.dtype)
    low, high = (v.to(real(img)) for v in (img.amin((-2, -1), keepdim=True), img.amax((-2, -1), keepdim=True)))
    scale = bound / (high - low)
    varied = scale.isfinite()       # a channel of one color stays as it is
    return ((img - where(varied, low, 0.0)) * where(varied, scale, 1.0)).clamp(0, bound).to(img.dtype)


def equalize(img):
    must_be_image(img)
    if img.ndim not in (3, 4):
        raise TypeError(f"Input image tensor should have 3 or 4 dimensions, but found {img.ndim}")
    _must_be_bytes(img)
    must_have_channels(img, [1, 3])
    pixels = img.cpu().numpy()
    equal = np.empty(pixels.shape, np.uint8)
    for place in np.ndindex(pixels.shape[:-2]):
        equal[place] = _equalized(pixels[place])
    return from_numpy(equal).to(img.device)


def _equalized(plane):
    """One channel with its levels spread so that each is as frequent as any; in integers, as Pillow counts."""
    counts = np.bincount(plane.reshape(-1), minlength=256)
    step = (plane.size - counts[plane.max()]) // 255        # the lightest level needs no room above it
    if step == 0:
        return plane
    darker = counts.cumsum() - counts
    return np.minimum((darker + step // 2) // step, 255).astype(np.uint8)[plane]


def _must_be_bytes(img):
    if img.dtype is not uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
