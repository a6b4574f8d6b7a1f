"""Image functions on tensors (..., c, h, w): sizes, places on the grid of pixels, and value ranges."""
import numpy as np

from ... import as_tensor, float32, float64, int8, int16, int32, int64, tensor, uint8
from ...nn import functional as nnf
from ._checks import check_border, sides

_MAX = {uint8: 255, int8: 127, int16: 32767, int32: 2147483647, int64: 9223372036854775807}
_INTS = (uint8, int8, int16, int32, int64)


def must_be_image(img):
    if img.ndim < 2:
        raise TypeError("Tensor is not a torch image.")


def get_dimensions(img):
    must_be_image(img)
    return [1 if img.ndim == 2 else img.shape[-3], img.shape[-2], img.shape[-1]]


def must_have_channels(img, permitted, least=2):
    """TypeError unless the image has one of ``permitted`` numbers of channels, and ``least`` dimensions."""
    must_be_image(img)
    if img.ndim < least:
        raise TypeError(f"Input image tensor should have at least {least} dimensions, but found {img.ndim}")
    channels = get_dimensions(img)[0]
    if channels not in permitted:
        raise TypeError(f"Input image tensor permitted channel values are {permitted}, but found {channels}")


def max_value(dtype):
    """White: the largest integer, or 1 for floats."""
    return _MAX.get(dtype, 1)


def real(img):
    """The image's own dtype if it is a floating one, else float32."""
    return img.dtype if img.is_floating_point() else float32


def as_batch(img, dtype):
    """The image as (n, c, h, w) in a dtype that can be averaged, and the function that takes a result back."""
    must_be_image(img)
    lead, back_to = img.shape[:-2], img.dtype
    batch = img.reshape(-1, *(lead[-1:] or (1,)), *img.shape[-2:]).to(dtype)

    def back(y):
        y = y.reshape(*lead, *y.shape[-2:])
        if back_to is dtype:
            return y
        return (y.round() if back_to in _INTS else y).to(back_to)

    return batch, back


# ---- places ------------------------------------------------------------------------------------------------------------

def hflip(img):
    must_be_image(img)
    return img.flip(-1)


def vflip(img):
    must_be_image(img)
    return img.flip(-2)


def crop(img, top, left, height, width):
    _, h, w = get_dimensions(img)
    right, bottom = left + width, top + height
    inside = img[..., max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)]
    if left >= 0 and top >= 0 and right <= w and bottom <= h:
        return inside
    # what lies beyond the image is 0; a window that misses it altogether is all 0
    return pad(inside, [max(min(0, right) - left, 0), max(min(0, bottom) - top, 0), max(right - max(w, left), 0),
                        max(bottom - max(h, top), 0)])


def pad(img, padding, fill=0, padding_mode="constant"):
    must_be_image(img)
    check_border(padding, fill, padding_mode, sequences=False)
    around = sides(padding)
    if padding_mode == "constant":
        return nnf.pad(img, around, value=float(fill or 0))
    if padding_mode == "symmetric":
        return _mirrored(img, around)
    lead = img.shape[:-2]
    y = nnf.pad(img.reshape(1, -1, *img.shape[-2:]), around, mode="replicate" if padding_mode == "edge" else padding_mode)
    return y.reshape(*lead, *y.shape[-2:])


def _mirrored(img, around):
    """Padded with the image's reflection, which repeats the pixels at the edge; negative numbers crop."""
    left, right, top, bottom = around
    for dim, before, after in (-2, top, bottom), (-1, left, right):
        n = img.shape[dim]
        if max(before, after) > n:
            raise IndexError(f"pad: symmetric padding of {max(before, after)} reaches beyond the reflection of {n} pixels")
        places = np.arange(-before, n + after)
        places = np.where(places < 0, -1 - places, np.where(places >= n, 2 * n - 1 - places, places))
        img = img.index_select(dim, tensor(places))
    return img


def resize(img, size, interpolation, antialias=True):
    smooth = interpolation in ("bilinear", "bicubic")
    batch, back = as_batch(img, img.dtype if img.dtype in (float32, float64) else float32)
    y = nnf.interpolate(batch, size=size, mode=interpolation, align_corners=False if smooth else None,
                        antialias=bool(antialias) and smooth)
    if interpolation == "bicubic" and img.dtype is uint8:
        y = y.clamp(0, 255)     # cubic weights are negative here and there
    return back(y)


# ---- values ------------------------------------------------------------------------------------------------------------

def convert_image_dtype(image, dtype=float32):
    source = image.dtype
    if source is dtype:
        return image
    if source.is_floating_point:
        if dtype.is_floating_point:
            return image.to(dtype)
        if (source, dtype) in ((float32, int32), (float32, int64), (float64, int64)):
            raise RuntimeError(f"The cast from {source} to {dtype} cannot be performed safely.")
        # nearly max + 1, so that every integer stands for an equal part of 0..1, and 1.0 does not overflow
        return image.mul(max_value(dtype) + 1.0 - 1e-3).to(dtype)
    if dtype.is_floating_point:
        return image.to(dtype) / max_value(source)
    if max_value(source) > max_value(dtype):
        return image.div((max_value(source) + 1) // (max_value(dtype) + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((max_value(dtype) + 1) // (max_value(source) + 1))


def normalize(img, mean, std, inplace=False):
    must_be_image(img)
    if not img.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {img.dtype}.")
    if img.ndim < 3:
        raise ValueError(f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {img.size()}")
    mean, std = (as_tensor(v, dtype=img.dtype, device=img.device) for v in (mean, std))
    if 0 in std.reshape(-1).tolist():
        raise ValueError(f"std evaluated to zero after conversion to {img.dtype}, leading to division by zero.")
    mean, std = (v.view(-1, 1, 1) if v.ndim == 1 else v for v in (mean, std))
    if inplace:
        return img.sub_(mean).div_(std)
    centred = img.sub(mean)
    if centred.shape != img.shape:      # more means than channels
        raise RuntimeError(f"output with shape {list(img.shape)} doesn't match the broadcast shape {list(centred.shape)}")
    return centred.div_(std)


def erase(img, i, j, h, w, v, inplace=False):
    must_be_image(img)
    if not inplace:
        img = img.clone()
    img[..., i:i + h, j:j + w] = v
    return img
