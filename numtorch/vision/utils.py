"""Pictures of images: many in one grid, files, boxes, masks and key points drawn on them (torchvision.utils)."""
import math
import os
import warnings
from pathlib import Path

import numpy as np

from .. import as_tensor, cat, float32, from_numpy, int64, no_grad, ones, stack, uint8, where
from .. import bool as bool_
from ..tensor import Tensor

# images and masks are looked at and drawn on with Pillow, which is imported where that happens

__all__ = ["draw_bounding_boxes", "draw_keypoints", "draw_segmentation_masks", "flow_to_image", "make_grid", "save_image"]


@no_grad()
def make_grid(tensor, nrow=8, padding=2, normalize=False, value_range=None, scale_each=False, pad_value=0.0):
    """Many images in one.

    Args:
        tensor (Tensor or list of Tensors): images (n, c, h, w), or a list of (c, h, w); one channel becomes three.
        nrow (int): images in a row.
        padding (int): pixels between them.
        normalize (bool): stretch the values to 0..1,
        value_range ((low, high), optional): from this range; default the least and the largest value,
        scale_each (bool): of each image, not of all.
        pad_value (float): of the pixels between.

    Returns:
        Tensor of (3 or c, rows * (h + padding) + padding, columns * (w + padding) + padding); a single image as it is.

    >>> import numtorch as torch
    >>> make_grid(torch.zeros(5, 1, 8, 8), nrow=3).shape
    torch.Size([3, 22, 32])
    """
    images = _batch(tensor)
    if normalize is True:
        images = images.clone()
        if value_range is not None and not isinstance(value_range, tuple):
            raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")
        for part in images if scale_each is True else [images]:
            low, high = value_range if value_range is not None else (part.min().item(), part.max().item())
            part.clamp_(low, high).sub_(low).div_(max(high - low, 1e-5))
    n, c, h, w = images.shape
    if n == 1:
        return images.squeeze(0)
    columns = min(nrow, n)
    rows = math.ceil(n / columns)
    h, w = h + padding, w + padding
    grid = images.new_full((c, rows * h + padding, columns * w + padding), pad_value)
    for k, image in enumerate(images):
        top, left = k // columns * h + padding, k % columns * w + padding
        grid[:, top:top + h - padding, left:left + w - padding] = image
    return grid


def _batch(images):
    """(n, c, h, w) of what ``make_grid`` takes."""
    if isinstance(images, list):
        for t in images:
            if not isinstance(t, Tensor):
                raise TypeError(f"tensor or list of tensors expected, got a list containing {type(t)}")
        images = stack(images)
    elif not isinstance(images, Tensor):
        raise TypeError(f"tensor or list of tensors expected, got {type(images)}")
    if images.dim() not in (2, 3, 4):
        raise ValueError(f"make_grid: expected images (h, w), (c, h, w) or (n, c, h, w), got a tensor of {tuple(images.shape)}")
    images = images.reshape(*[1] * (4 - images.dim()), *images.shape)
    return cat((images, images, images), 1) if images.size(1) == 1 else images


@no_grad()
def save_image(tensor, fp, format=None, **kwargs):
    """Writes images to a file, as a grid; the file is there whole or not at all.

    Args:
        tensor (Tensor or list of Tensors): as for ``make_grid``; floats from 0 to 1.
        fp (str, Path or file object): where.
        format (str, optional): Pillow's name of the format; default by the file name's end.
        **kwargs: for ``make_grid``.

    Raises:
        ValueError: a name whose end says no format.
    """
    from PIL import Image

    grid = make_grid(tensor, **kwargs)
    pixels = grid.mul(255).add_(0.5).clamp_(0, 255).permute(1, 2, 0).to("cpu", uint8).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if not isinstance(fp, (str, Path)):
        image.save(fp, format=format)
        return
    path = Path(fp)
    if format is None:
        format = Image.registered_extensions().get(path.suffix.lower())
        if format is None:
            raise ValueError(f"unknown file extension: {path.suffix}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save_image: there is no folder {path.parent}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            image.save(file, format=format)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# ---- drawing -----------------------------------------------------------------------------------------------------------

@no_grad()
def draw_bounding_boxes(image, boxes, labels=None, colors=None, fill=False, width=1, font=None, font_size=None,
                        label_colors=None, label_background_colors=None, fill_labels=False):
    """An image with boxes drawn on it.

    Args:
        image (Tensor): (1 or 3, h, w), bytes, or floats from 0 to 1.
        boxes (Tensor): (n, 4), each (left, top, right, bottom) in pixels; or (n, 8), the (x, y) of four corners, of whose
            sides the first is dashed.
        labels (list of str, optional): one for each box.
        colors (color or list of colors, optional): of the boxes; a color is one of Pillow's names or (r, g, b) of bytes.
        fill (bool): fill the boxes with a translucent color, too.
        width (int): of the lines.
        font (str, optional): file of a TrueType font; default Pillow's own.
        font_size (int, optional): for ``font``; default 10.
        label_colors (color or list of colors, optional): of the letters; default the boxes', or black on ``fill_labels``.
        label_background_colors (color or list of colors, optional): behind them; default the boxes'.
        fill_labels (bool): draw the background of the labels.

    Returns:
        Tensor of (3, h, w), in the image's dtype.

    Raises:
        TypeError: not a tensor.
        ValueError: a batch, or numbers of channels, labels or colors that do not fit, or corners in the wrong order.
    """
    from PIL import ImageDraw, ImageFont

    if not isinstance(image, Tensor):
        raise TypeError(f"Tensor expected, got {type(image)}")
    _must_be_picture(image)
    if image.size(0) not in (1, 3):
        raise ValueError("Only grayscale and RGB images are supported")
    if boxes.dim() != 2 or boxes.size(1) not in (4, 8):
        raise ValueError(f"draw_bounding_boxes: expected boxes (n, 4) or (n, 8), got {tuple(boxes.shape)}")
    if boxes.size(1) == 4 and ((boxes[:, 0] > boxes[:, 2]).any() or (boxes[:, 1] > boxes[:, 3]).any()):
        raise ValueError("Boxes need to be in (xmin, ymin, xmax, ymax) format. Use torchvision.ops.box_convert to convert them")
    n = len(boxes)
    if n == 0:
        warnings.warn("boxes doesn't contain any box. No box was drawn", stacklevel=2)
        return image
    if labels is not None and len(labels) != n:
        raise ValueError(f"Number of boxes ({n}) and labels ({len(labels)}) mismatch. Please specify labels for each box.")
    colors = _colors(colors, n)
    letters = _colors(label_colors or "black", n) if label_colors or fill_labels else colors
    behind = _colors(label_background_colors, n) if fill_labels and label_background_colors else colors
    if font is None:
        if font_size is not None:
            warnings.warn("Argument 'font_size' will be ignored since 'font' is not set.", stacklevel=2)
        font = ImageFont.load_default()
    else:
        font = ImageFont.truetype(font, font_size or 10)
    picture = _picture(image)
    draw = ImageDraw.Draw(picture, "RGBA" if fill else None)
    for i, box in enumerate(boxes.to(int64).tolist()):
        inside = colors[i] + (100,) if fill else None
        if len(box) == 4:
            draw.rectangle(box, fill=inside, outline=colors[i], width=width)
        else:
            _draw_turned(draw, box, inside, colors[i], width)
        if labels is None or labels[i] is None:
            continue
        start = box[0] + width + 1, box[1] + width + 1
        if fill_labels:
            left, top, right, bottom = draw.textbbox(start, labels[i], font=font)
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=behind[i])
        draw.text(start, labels[i], fill=letters[i], font=font)
    return _taken_back(picture, image.dtype)


def _draw_turned(draw, box, inside, color, width, dash=5):
    corners = list(zip(box[::2], box[1::2]))
    (x, y), (x1, y1) = corners[:2]
    length = math.hypot(x1 - x, y1 - y)
    for start in np.arange(0, length, 2 * dash).tolist():
        ends = (start / length, min(start + dash, length) / length)
        draw.line([(x + (x1 - x) * t, y + (y1 - y) * t) for t in ends], fill=color, width=width)
    for i in (1, 2, 3):
        draw.line((corners[i], corners[(i + 1) % 4]), fill=color, width=width)
    draw.polygon(box, fill=inside, outline=None, width=0)


@no_grad()
def draw_segmentation_masks(image, masks, alpha=0.8, colors=None):
    """An image with the pixels of masks colored; those in several masks become black.

    Args:
        image (Tensor): (3, h, w), bytes, or floats from 0 to 1.
        masks (Tensor): (n, h, w) or (h, w) of bools.
        alpha (float): the color's share, 0 to 1.
        colors (color or list of colors, optional): one of Pillow's names or (r, g, b) of bytes.

    Returns:
        Tensor of (3, h, w), in the image's dtype.

    Raises:
        TypeError: not a tensor.
        ValueError: a batch, or shapes, dtypes or numbers of colors that do not fit.
    """
    _must_be_colored(image)
    if masks.ndim == 2:
        masks = masks[None]
    if masks.ndim != 3:
        raise ValueError("masks must be of shape (H, W) or (batch_size, H, W)")
    if masks.dtype is not bool_:
        raise ValueError(f"The masks must be of dtype bool. Got {masks.dtype}")
    if masks.shape[-2:] != image.shape[-2:]:
        raise ValueError("The image and the masks must have the same height and width")
    if len(masks) == 0:
        warnings.warn("masks doesn't contain any mask. No mask was drawn", stacklevel=2)
        return image
    scale = 255 if image.is_floating_point() else 1
    drawn = image
    for mask, color in zip(masks, _colors(colors, len(masks))):
        color = as_tensor([v / scale if scale > 1 else v for v in color], dtype=image.dtype, device=image.device)
        drawn = where(mask, color.view(3, 1, 1), drawn)
    drawn = drawn.masked_fill(masks.sum(0) > 1, 0)
    return (image * (1 - alpha) + drawn * alpha).to(image.dtype)


@no_grad()
def draw_keypoints(image, keypoints, connectivity=None, colors=None, radius=2, width=3, visibility=None):
    """An image with the key points of several things, and lines between them.

    Args:
        image (Tensor): (3, h, w), bytes, or floats from 0 to 1.
        keypoints (Tensor): (n, k, 2), the (x, y) of n things' k points, in pixels.
        connectivity (list of (int, int), optional): points to draw a line between.
        colors (color, optional): of the points; one of Pillow's names or (r, g, b) of bytes.
        radius (int): of the points.
        width (int): of the lines.
        visibility (Tensor, optional): (n, k) or (n, k, 1), true for points to draw; a line needs both of its ends.

    Returns:
        Tensor of (3, h, w), in the image's dtype.

    Raises:
        TypeError: not a tensor.
        ValueError: a batch, or shapes that do not fit.
    """
    from PIL import ImageDraw

    _must_be_colored(image)
    if keypoints.ndim != 3:
        raise ValueError("keypoints must be of shape (num_instances, K, 2)")
    if visibility is None:
        visibility = ones(keypoints.shape[:-1], dtype=bool_)
    if visibility.ndim == 3:
        visibility = visibility.squeeze(-1)
    if visibility.ndim != 2:
        raise ValueError(f"visibility must be of shape (num_instances, K). Got ndim={visibility.ndim}")
    if visibility.shape != keypoints.shape[:-1]:
        raise ValueError("keypoints and visibility must have the same dimensionality for num_instances and K. Got "
                         f"{visibility.shape=} and {keypoints.shape=}")
    picture = _picture(image)
    draw = ImageDraw.Draw(picture)
    for points, shown in zip(keypoints.to(int64).tolist(), visibility.to(bool_).tolist()):
        for (x, y), visible in zip(points, shown):
            if visible:
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colors, outline=None, width=0)
        for start, end in connectivity or ():
            if shown[start] and shown[end]:
                draw.line((tuple(points[start]), tuple(points[end])), width=width)
    return _taken_back(picture, image.dtype)


def _must_be_picture(image):
    if not (image.dtype is uint8 or image.is_floating_point()):
        raise ValueError(f"The image dtype must be uint8 or float, got {image.dtype}")
    if image.dim() != 3:
        raise ValueError("Pass individual images, not batches")


def _must_be_colored(image):
    if not isinstance(image, Tensor):
        raise TypeError(f"The image must be a tensor, got {type(image)}")
    _must_be_picture(image)
    if image.size(0) != 3:
        raise ValueError("Pass an RGB image. Other Image formats are not supported")


def _picture(image):
    """A PIL image of mode RGB to draw on."""
    from .transforms.functional import convert_image_dtype, to_pil_image

    return to_pil_image(convert_image_dtype(image.expand(3, *image.shape[1:]), uint8))


def _taken_back(picture, dtype):
    """The tensor (3, h, w) of a drawn picture."""
    pixels = from_numpy(np.array(picture).transpose(2, 0, 1).copy())
    return pixels.to(dtype).mul_(1 / 255) if dtype.is_floating_point else pixels


def _colors(colors, n):
    """n tuples (r, g, b) of bytes, from one color for all, a list with one for each, or None."""
    from PIL import ImageColor

    if colors is None:      # far apart, and the same each time
        return [tuple(i * step % 255 for step in (2 ** 25 - 1, 2 ** 15 - 1, 2 ** 21 - 1)) for i in range(n)]
    if isinstance(colors, list):
        if len(colors) < n:
            raise ValueError("Number of colors must be equal or larger than the number of objects, but got "
                             f"{len(colors)} < {n}.")
    elif not isinstance(colors, (tuple, str)):
        raise ValueError(f"colors must be a tuple or a string, or a list thereof, but got {colors}.")
    elif isinstance(colors, tuple) and len(colors) != 3:
        raise ValueError(f"If passed as tuple, colors should be an RGB triplet, but got {colors}.")
    else:
        colors = [colors] * n
    return [ImageColor.getrgb(color) if isinstance(color, str) else color for color in colors]


# ---- optical flow ------------------------------------------------------------------------------------------------------

def flow_to_image(flow):
    """A picture of motion: the hue says where to, the saturation how fast, relative to the fastest.

    Args:
        flow (Tensor): (2, h, w) or (n, 2, h, w) of float32, the (x, y) of each pixel's motion.

    Returns:
        Tensor of (3, h, w) or (n, 3, h, w), bytes.

    Raises:
        ValueError: another dtype or shape.

    Source: S. Baker et al., A Database and Evaluation Methodology for Optical Flow, ICCV 2007.
    """
    if flow.dtype is not float32:
        raise ValueError(f"Flow should be of dtype torch.float, got {flow.dtype}.")
    if flow.ndim not in (3, 4) or flow.shape[-3] != 2:
        raise ValueError(f"Input flow should have shape (2, H, W) or (N, 2, H, W), got {flow.shape}.")
    motion = flow.detach().cpu().numpy()
    motion = motion / (np.sqrt((motion ** 2).sum(-3).max()) + np.finfo(np.float32).eps)
    speed = np.sqrt((motion ** 2).sum(-3))
    x, y = motion[..., 0, :, :], motion[..., 1, :, :]
    wheel = _color_wheel()
    place = (np.arctan2(-y, -x) / np.float32(math.pi) + 1) / 2 * (len(wheel) - 1)
    first = np.floor(place)
    share = (place - first)[..., None]
    first = first.astype(np.int64)
    color = (1 - share) * (wheel[first] / 255) + share * (wheel[(first + 1) % len(wheel)] / 255)
    picture = np.floor(255 * (1 - speed[..., None] * (1 - color))).astype(np.uint8)
    return from_numpy(np.ascontiguousarray(np.moveaxis(picture, -1, -3))).to(flow.device)


def _color_wheel():
    """(55, 3) levels from red over yellow, green, cyan, blue and magenta to red, with steps as far apart as the eye sees them."""
    parts = []
    for n, full, changing, rises in (15, 0, 1, True), (6, 1, 0, False), (4, 1, 2, True), (11, 2, 1, False), (13, 2, 0, True), (
            6, 0, 2, False):
        part = np.zeros((n, 3), np.float32)
        ramp = 255 * np.arange(n) // n
        part[:, full], part[:, changing] = 255, ramp if rises else 255 - ramp
        parts.append(part)
    return np.concatenate(parts)
