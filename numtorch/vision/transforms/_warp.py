"""Tensors (..., c, h, w) read at other places: affine and perspective maps, displacements, and Gaussian blur."""
import numpy as np

from ... import cat, float64, from_numpy, full, linspace, meshgrid, stack, tensor, where
from ...nn import functional as nnf
from ._tensor import as_batch, get_dimensions, must_be_image, real


def affine(img, matrix, interpolation="nearest", fill=None):
    _check(img, interpolation, fill)
    return _warped(img, _affine_grid(img, matrix, *img.shape[-2:]), interpolation, fill)


def rotate(img, matrix, interpolation="nearest", expand=False, fill=None):
    _check(img, interpolation, fill)
    size = _bounding_box(matrix, *img.shape[-2:]) if expand else img.shape[-2:]
    return _warped(img, _affine_grid(img, matrix, *size), interpolation, fill)


def perspective(img, coefficients, interpolation="bilinear", fill=None):
    _check(img, interpolation, fill)
    h, w = img.shape[-2:]
    a, b, c, d, e, f, p, q = coefficients
    points = _pixels(img, h, w, 0.5, 0.5)
    above = points @ _halved([a, b, c, d, e, f], h, w, points.dtype)
    below = points @ np.array([[p, q, 1.0]], points.dtype).T
    return _warped(img, _grid(img, above / below - 1, h, w), interpolation, fill)


def elastic_transform(img, displacement, interpolation="bilinear", fill=None):
    _check(img, interpolation, fill)
    y, x = meshgrid(*(linspace((1 - n) / n, (n - 1) / n, n, device=img.device) for n in img.shape[-2:]), indexing="ij")
    return _warped(img, stack([x, y], -1).unsqueeze(0) + displacement.to(img.device), interpolation, fill)


def _check(img, interpolation, fill):
    must_be_image(img)
    channels = get_dimensions(img)[0]
    if isinstance(fill, (tuple, list)) and len(fill) not in (1, channels):
        raise ValueError("The number of elements in 'fill' cannot broadcast to match the number of channels of the image "
                         f"({len(fill)} != {channels})")
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"Interpolation mode '{interpolation}' is unsupported with Tensor input")


def _pixels(img, h, w, left, top):
    """(h * w, 3), the homogeneous coordinates of pixels' centres, the first at (left, top)."""
    points = np.ones((h, w, 3), np.float64 if img.dtype is float64 else np.float32)
    points[..., 0], points[..., 1] = left + np.arange(w), top + np.arange(h)[:, None]
    return points.reshape(-1, 3)


def _halved(matrix, h, w, dtype):
    """(3, 2), what maps homogeneous coordinates to places that are counted in half widths and half heights."""
    return np.array(matrix, dtype).reshape(2, 3).T / np.array([0.5 * w, 0.5 * h], dtype)


def _grid(img, places, h, w):
    return from_numpy(places.reshape(1, h, w, 2)).to(img.device, real(img))


def _affine_grid(img, matrix, h, w):
    """Where in the image each of h x w pixels comes from, for ``grid_sample``; the origin is the centre."""
    points = _pixels(img, h, w, 0.5 - 0.5 * w, 0.5 - 0.5 * h)
    return _grid(img, points @ _halved(matrix, *img.shape[-2:], points.dtype), h, w)


def _bounding_box(matrix, h, w):
    """(height, width) of the smallest grid of whole pixels that holds the turned image."""
    half = np.array([w * 0.5, h * 0.5], np.float32)
    corners = np.array([[x * 0.5 * w, y * 0.5 * h, 1] for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))], np.float32)
    turned = corners @ np.array(matrix, np.float32).reshape(2, 3).T
    low, high = (np.trunc((v + half) / np.float32(1e-4)) * np.float32(1e-4) for v in (turned.min(0), turned.max(0)))
    width, height = (np.ceil(high) - np.floor(low)).astype(int).tolist()
    return height, width


def _warped(img, grid, mode, fill):
    """The image at the grid's places, beyond it ``fill``."""
    batch, back = as_batch(img, grid.dtype)
    grid = grid.expand(len(batch), *grid.shape[1:])
    if fill is None:
        return back(nnf.grid_sample(batch, grid, mode=mode, padding_mode="zeros", align_corners=False))
    covered = full((len(batch), 1, *batch.shape[-2:]), 1.0, dtype=batch.dtype, device=img.device)
    y = nnf.grid_sample(cat((batch, covered), 1), grid, mode=mode, padding_mode="zeros", align_corners=False)
    y, covered = y[:, :-1], y[:, -1:]
    fill = fill if isinstance(fill, (tuple, list)) else [float(fill)]
    color = tensor(fill, dtype=batch.dtype, device=img.device).view(1, -1, 1, 1)
    return back(where(covered < 0.5, color, y) if mode == "nearest" else y * covered + (1.0 - covered) * color)


def gaussian_blur(img, kernel_size, sigma):
    must_be_image(img)
    batch, back = as_batch(img, real(img))
    (kx, ky), channels = kernel_size, batch.shape[1]
    across, down = (from_numpy(_bell(k, s)).to(batch.device, batch.dtype) for k, s in zip(kernel_size, sigma))
    batch = nnf.pad(batch, (kx // 2, kx // 2, ky // 2, ky // 2), mode="reflect")
    # the bell of two dimensions is a product, so that k + k taps do for k * k
    batch = nnf.conv2d(batch, across.expand(channels, 1, 1, kx), groups=channels)
    return back(nnf.conv2d(batch, down.view(ky, 1).expand(channels, 1, ky, 1), groups=channels))


def _bell(k, sigma):
    y = np.exp(-0.5 * ((np.arange(k) - (k - 1) * 0.5) / sigma) ** 2)
    return y / y.sum()
