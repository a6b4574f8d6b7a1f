"""Resampling of images: interpolate.

It is separable: for each axis a table says which neighbours make up an output position, with which weights, and
one kernel applies it along the axis. The gradient is the transposed loop with the same table.
"""
import math
from functools import lru_cache

import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import grad_name, op, record
from . import adaptive
from .matmul import must_be_tensors
from .pad import gather_grid, named_gather_backward

_NAMES = {"nearest": "UpsampleNearest{}DBackward0", "nearest-exact": "UpsampleNearestExact{}DBackward0",
          "linear": "UpsampleLinear{}DBackward0", "bilinear": "UpsampleBilinear{}DBackward0",
          "trilinear": "UpsampleTrilinear{}DBackward0", "bicubic": "UpsampleBicubic{}DBackward0"}
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}


@op(namespace="nn.functional")
def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
                antialias=False):
    """Images in another size.

    Args:
        input (Tensor): (n, c, w), (n, c, h, w) or (n, c, d, h, w).
        size (int or ints): the new spatial sizes; or
        scale_factor (number or numbers): the ratio of new to old ones, whose product is rounded down.
        mode (str): "nearest", "nearest-exact", "linear" (3-d), "bilinear", "bicubic", "lanczos" (4-d), "trilinear" (5-d),
            "area".
        align_corners (bool): corner pixels' centres stay where they are; else the image's borders do.
        recompute_scale_factor (bool): take the ratio of the rounded sizes, not scale_factor, for the positions.
        antialias (bool): when shrinking, weigh all pixels that a new one covers ("bilinear", "bicubic", "lanczos").

    Raises:
        ValueError: arguments that contradict each other.
        NotImplementedError: the mode is not for so many dimensions.

    >>> import numtorch as torch
    >>> torch.nn.functional.interpolate(torch.tensor([[[1., 3.]]]), size=4, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    must_be_tensors("interpolate", input=input)
    shape = input._a.shape
    n = len(shape) - 2
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                             "trilinear")
    sizes, scales = _sizes(shape, n, size, scale_factor, recompute_scale_factor or mode == "area" and size is None)
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and n == 2):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as "
                         "input")
    if n not in (1, 2, 3) or mode not in ("nearest", "nearest-exact", "area", *_DIMS):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {n + 2}D) for the modes: nearest | linear | bilinear "
            f"| bicubic | trilinear | lanczos | area | nearest-exact (got {mode})")
    if _DIMS.get(mode, n + 2) != n + 2:
        raise NotImplementedError(f"Got {n + 2}D input, but {mode} mode needs {_DIMS[mode]}D input")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode does not support align_corners=True" if align_corners else
                         "Lanczos mode requires antialias=True")
    if mode == "area":
        return (adaptive.adaptive_avg_pool1d, adaptive.adaptive_avg_pool2d, adaptive.adaptive_avg_pool3d)[n - 1](input, sizes)
    _check_sizes(shape, sizes)
    real = np.dtype(np.float64 if input._a.dtype == np.float64 else np.float32)
    if mode in ("nearest", "nearest-exact"):
        tables = [_nearest(i, o, s, mode == "nearest-exact", real) for i, o, s in zip(shape[2:], sizes, scales)]
        return gather_grid(input, tables, _backward(mode, n))
    if antialias:
        tables = [_antialiased(i, o, s, bool(align_corners), mode, real) for i, o, s in zip(shape[2:], sizes, scales)]
    else:
        make = _cubic if mode == "bicubic" else _linear
        tables = [make(i, o, s, bool(align_corners), real) for i, o, s in zip(shape[2:], sizes, scales)]
    return _resample(input, tables, _backward(mode, n, antialias))


def _sizes(shape, n, size, scale_factor, recompute):
    """The output's spatial sizes, and for each axis the scale given by the user or None."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (list, tuple)):
            if len(size) != n:
                raise ValueError("Input and output must have the same number of spatial dimensions, but got input with spatial "
                                 f"dimensions of {list(shape[2:])} and output size of {size}. Please provide input tensor in "
                                 "(N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format.")
        else:
            size = (size,) * n
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return tuple(int(s) for s in size), (None,) * n
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != n:
            raise ValueError("Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                             f"dimensions of {list(shape[2:])} and scale_factor of shape {scale_factor}. Please provide input "
                             "tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format.")
    else:
        scale_factor = (scale_factor,) * n
    sizes = tuple(int(i * float(s)) for i, s in zip(shape[2:], scale_factor))
    return sizes, (None,) * n if recompute else tuple(float(s) for s in scale_factor)


def _check_sizes(shape, sizes):
    if min(shape[2:]) < 1 or min(sizes) < 1:
        letters = ("W",), ("H", "W"), ("D", "H", "W")
        names = letters[len(sizes) - 1]

        def say(values):
            return ", ".join(f"{name}: {v}" for name, v in zip(names, values))
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input ({say(shape[2:])}) output "
                           f"({say(sizes)})")


@lru_cache(None)
def _backward(mode, n, antialias=False):
    if mode in ("nearest", "nearest-exact"):
        return named_gather_backward(_NAMES[mode].format(n))
    name = _NAMES.get(mode, "UpsampleLanczos{}DBackward0").format(f"{n}")

    @grad_name(name.replace("Backward0", "AaBackward0") if antialias else name)
    def backward(node, g):
        return _resample_back(g, node.ctx["tables"], node.ctx["sizes"])
    return backward


# ---- tables: for an axis, sources (outputs, k) and weights (outputs, k) ------------------------------------------------

def _scale(size, out, scale, align_corners, real):
    """Source positions per output position, computed in the precision in which torch computes them."""
    if align_corners:
        return real.type((size - 1) / (out - 1) if out > 1 else 0)
    return real.type(1 / scale if scale else real.type(size) / real.type(out))


@lru_cache(512)
def _nearest(size, out, scale, exact, real):
    o = np.arange(out).astype(real)
    at = np.floor((o + real.type(0.5) if exact else o) * _scale(size, out, scale, False, real))
    return np.minimum(at.astype(np.int64), size - 1)


def _positions(size, out, scale, align_corners, real):
    step, o = _scale(size, out, scale, align_corners, real), np.arange(out).astype(real)
    return step * o if align_corners else step * (o + real.type(0.5)) - real.type(0.5)


@lru_cache(512)
def _linear(size, out, scale, align_corners, real):
    at = np.maximum(_positions(size, out, scale, align_corners, real), 0)
    low = np.minimum(at.astype(np.int64), size - 1)
    part = np.clip(at - low.astype(real), 0, 1)
    return np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack([1 - part, part], 1).astype(real)


def _cubic_weight(x, a):
    """Keys' cubic convolution kernel (1981)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


@lru_cache(512)
def _cubic(size, out, scale, align_corners, real):
    at = _positions(size, out, scale, align_corners, real)
    low = np.floor(at)
    taps = np.arange(-1, 3)
    weights = _cubic_weight((at - low)[:, None] - taps.astype(real), real.type(-0.75))
    return np.clip(low.astype(np.int64)[:, None] + taps, 0, size - 1), weights.astype(real)


_FILTERS = {"bilinear": (1, lambda x: np.maximum(1 - np.abs(x), 0)), "bicubic": (2, lambda x: _cubic_weight(x, -0.5)),
            "lanczos": (3, lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0))}


@lru_cache(512)
def _antialiased(size, out, scale, align_corners, mode, real):
    """Weights of all pixels under the filter, which is stretched by the scale when shrinking, normalised to sum 1."""
    reach, formula = _FILTERS[mode]
    step = float(_scale(size, out, scale, align_corners, real))
    support = reach * max(step, 1.0)
    centre = step * (np.arange(out) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + support + 0.5).astype(np.int64), size)
    count = math.ceil(support) * 2 + 1
    sources = first[:, None] + np.arange(count)
    weights = formula((sources - centre[:, None] + 0.5) / max(step, 1.0)) * (sources < stop[:, None])
    total = weights.sum(1, keepdims=True)
    weights = np.divide(weights, total, out=weights, where=total != 0)
    return np.minimum(sources, size - 1), weights.astype(real)


def _along_axes(a, tables, sizes, last, other):
    """Applies a kernel along each of the last axes; ``last`` along the very last, ``other`` along the others."""
    dtype = a.dtype
    x = np.ascontiguousarray(a, dtype if dtype in (np.float32, np.float64) else np.float32)
    n, shape = len(tables), list(a.shape)
    for i, ((sources, weights), size) in enumerate(zip(tables, sizes)):
        d = a.ndim - n + i
        outer, inner, old = shapes.numel(shape[:d]), shapes.numel(shape[d + 1:]), shape[d]
        shape[d] = size
        y = np.empty(shape, x.dtype)
        weights = weights.astype(x.dtype, copy=False)
        if y.size and d == a.ndim - 1:
            last(x.reshape(outer, old), sources, weights, y.reshape(outer, size))
        elif y.size:
            other(x.reshape(outer, old, inner), sources, weights, y.reshape(outer, size, inner))
        x = y
    return x.astype(dtype, copy=False)


def _on_device(a, tables, sizes, gradient):
    """The same on a CUDA device, where half types need no conversion, and all axes may be resampled at once."""
    n, shape = len(tables), a.shape
    lead, more = shape[:len(shape) - n], 3 - n
    x = np.ascontiguousarray(a, a.dtype if a.dtype.kind in "fV" else np.float32, like=a)
    x = x.reshape(shapes.numel(lead), *[1] * more, *shape[len(shape) - n:])
    y = K._cuda_grids.resample_axes(x, [*[None] * more, *tables], [*[1] * more, *sizes], gradient)
    return y.astype(a.dtype, copy=False).reshape(*lead, *sizes)


def _resample(input, tables, backward):
    a, sizes = input._a, [len(sources) for sources, _ in tables]
    if type(a) is DeviceArray:
        y = _on_device(a, tables, sizes, False)
    else:
        y = _along_axes(a, tables, sizes, K.pad.resample_rows, K.pad.resample)
    return record(y, backward, (input,), tables=tables, sizes=a.shape[a.ndim - len(tables):])


def _resample_back(g, tables, sizes):
    if type(g._a) is DeviceArray:
        gx = _on_device(g._a, tables, sizes, True)
    else:
        gx = _along_axes(g._a, tables, sizes, K.pad.resample_rows_grad, K.pad.resample_grad)
    return record(gx, _resample_back_backward, (g,), tables=tables)


def _resample_back_backward(node, g):
    return _resample(g, node.ctx["tables"], _resample_backward)


def _resample_backward(node, g):
    return _resample_back(g, node.ctx["tables"], node.ctx["sizes"])
