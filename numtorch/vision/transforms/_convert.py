"""Pillow images, ndarrays and tensors made of each other, and the range of a tensor's values."""
import numpy as np
from PIL import Image

from ... import dtypes, from_numpy
from ...tensor import Tensor, wrap
from . import _pil, _tensor

_WORDS = ("I;16", "I;16L", "I;16B", "I;16N")
_MODES = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F"}      # of one channel, by the array's type
_PERMITTED = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}


def to_tensor(pic):
    """A tensor (c, h, w) of a PIL image or an ndarray (h, w) or (h, w, c); bytes become floats from 0 to 1.

    Raises:
        TypeError: neither a PIL image nor an ndarray.
        ValueError: an ndarray that does not have 2 or 3 dimensions.

    >>> import numpy as np
    >>> to_tensor(np.array([[0, 51], [102, 255]], np.uint8))
    tensor([[[0.0000, 0.2000],
             [0.4000, 1.0000]]])
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        pixels = _channels_first(pic)
        if pixels.dtype != np.uint8:
            return from_numpy(pixels)
    elif isinstance(pic, Image.Image):
        pixels = _array(pic)
        pixels = _channels_first(pixels * np.uint8(255) if pic.mode == "1" else pixels)
        if pixels.dtype != np.uint8:
            return wrap(pixels.astype(np.int16 if pixels.dtype == np.uint16 else pixels.dtype))
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    scaled = pixels.astype(dtypes.get_default_dtype()._np)
    scaled /= scaled.dtype.type(255)
    return wrap(scaled)


def pil_to_tensor(pic):
    """A tensor (c, h, w) with a copy of a PIL image's values, in their own type.

    Raises:
        TypeError: not a PIL image.
        NotImplementedError: an image of unsigned 16-bit values: tensors have no such type.
    """
    if not isinstance(pic, Image.Image):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    pixels = _array(pic)
    if pixels.dtype == np.uint16:
        raise NotImplementedError(f"pil_to_tensor: numtorch has no uint16 for an image of mode {pic.mode}; to_tensor gives its "
                                  "values as int16, and pic.convert('I') makes them int32")
    return wrap(np.array(_channels_first(pixels)))


def _array(pic):
    pixels = np.asarray(pic)        # read-only
    return pixels.astype(np.uint16) if pic.mode in _WORDS else pixels


def _channels_first(pixels):
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None])


def to_pil_image(pic, mode=None):
    """A PIL image of a tensor (c, h, w) or (h, w), or of an ndarray (h, w, c) or (h, w).

    Args:
        pic (Tensor or ndarray): floats, whose 0 to 1 become bytes, or integers as they are.
        mode (str, optional): Pillow's name of what the channels mean; default by their number and type: L, I;16, I, F, LA,
            RGB, RGBA.

    Raises:
        TypeError: not a tensor or ndarray, or of a type that images cannot hold.
        ValueError: the wrong number of dimensions or channels, or a mode that does not go with them.
    """
    if isinstance(pic, Tensor):
        pixels = pic.numpy(force=True)
        if pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
    elif isinstance(pic, np.ndarray):
        pixels = pic
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pixels.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pixels.ndim} dimensions.")
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if not 1 <= channels <= 4:
        raise ValueError(f"pic should not have > 4 channels. Got {channels} channels.")
    if np.issubdtype(pixels.dtype, np.floating) and mode != "F":
        pixels = (pixels * 255).astype(np.uint8)
    if channels == 1:
        expected = _MODES.get(pixels.dtype.name)
        if mode is not None and mode != expected:
            raise ValueError(f"Incorrect mode ({mode}) supplied for input type {pixels.dtype}. Should be {expected}")
        mode, pixels = expected, pixels.reshape(pixels.shape[:2])
    elif mode is not None and mode not in _PERMITTED[channels]:
        raise ValueError(f"Only modes {[*_PERMITTED[channels]]} are supported for {channels}D inputs")
    elif mode is None and pixels.dtype == np.uint8:
        mode = _PERMITTED[channels][0]
    if mode is None:
        raise TypeError(f"Input type {pixels.dtype} is not supported")
    return _pil.from_array(pixels, mode)


def convert_image_dtype(image, dtype=dtypes.float32):
    """A tensor image in another dtype, its values scaled: floats go from 0 to 1, integers to the largest of their type.

    Raises:
        TypeError: not a tensor.
        RuntimeError: float32 to int32 or int64, or float64 to int64, whose large integers floats do not have.

    >>> import numtorch as torch
    >>> convert_image_dtype(torch.tensor([0., .5, 1.]), torch.uint8)
    tensor([  0, 127, 255], dtype=torch.uint8)
    """
    if not isinstance(image, Tensor):
        raise TypeError("Input img should be Tensor Image")
    return _tensor.convert_image_dtype(image, dtype)


def normalize(tensor, mean, std, inplace=False):
    """(x - mean) / std for each channel of a float tensor (..., c, h, w).

    Args:
        tensor (Tensor): the image or images.
        mean, std (numbers): one for each channel, or one for all.
        inplace (bool): write into ``tensor``.

    Raises:
        TypeError: not a float tensor.
        ValueError: fewer than 3 dimensions, or a ``std`` of 0.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    return _tensor.normalize(tensor, mean, std, inplace)
