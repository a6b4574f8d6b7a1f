"""Images read at places given by a tensor: grid_sample, and affine_grid, which makes such places."""
import warnings

import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode as grad_mode
from ..kernels._device import DeviceArray
from ..kernels._driver import OnHost
from ..op import grad_name, op, record
from ..tensor import wrap
from . import pointwise
from ._devices import check_devices
from ._one_node import gradients, one_node
from .indexing import gather
from .masked import where
from .matmul import bmm, must_be_tensors

_CHANGED = ("Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
            "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.")


@op(namespace="nn.functional")
@one_node("AffineGridGeneratorBackward0")
def affine_grid(theta, size, align_corners=None):
    """The places at which ``grid_sample`` reads to transform an image by the affine matrices ``theta``.

    Args:
        theta (Tensor): (n, 2, 3) for images, (n, 3, 4) for volumes.
        size (ints): (n, c, h, w) or (n, c, d, h, w), of the output.
        align_corners (bool): -1 and 1 are the centres of the corner pixels; else the image's borders.

    Returns:
        Tensor of (n, h, w, 2) or (n, d, h, w, 3).

    >>> import numtorch as torch
    >>> torch.nn.functional.affine_grid(torch.eye(2, 3)[None], (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    must_be_tensors("affine_grid", theta=theta)
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    size = tuple(size)
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError("affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got "
                                  f"size {size}.")
    if theta._a.shape[1:] != (n, n + 1):
        raise ValueError(f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got {theta.shape}.")
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    points = _points(theta._a, size[2:], bool(align_corners))
    base = wrap(np.broadcast_to(points, (size[0], *points.shape[1:])))
    return bmm(base, theta.transpose(1, 2)).reshape(size[0], *size[2:], n)


def _steps(size, align_corners, dtype):
    """The coordinates of an axis, as a tuple of one ndarray."""
    steps = np.linspace(-1, 1, size) if size > 1 else np.zeros(1)
    return ((steps if align_corners else steps * (size - 1) / size).astype(dtype),)


def _points(like, sizes, align_corners):
    """(x, y, 1) or (x, y, z, 1) of every element of an image, (1, elements, 3 or 4), beside the array ``like``."""
    n = len(sizes)
    points = np.empty((*sizes, n + 1), like.dtype, like=like)
    for d, size in enumerate(sizes):
        if type(like) is DeviceArray:
            steps, = K._cuda_tables.kept(like.device, _steps, size, align_corners, like.dtype)
        else:
            steps, = _steps(size, align_corners, like.dtype)
        points[..., n - 1 - d] = steps.reshape(size, *[1] * (n - 1 - d))
    points[..., n] = 1
    return points.reshape(1, -1, n + 1)


@op(namespace="nn.functional")
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The values of images at the places in ``grid``.

    Args:
        input (Tensor): (n, c, h, w) or (n, c, d, h, w).
        grid (Tensor): (n, oh, ow, 2) with (x, y), or (n, od, oh, ow, 3) with (x, y, z); -1 and 1 are the borders.
        mode (str): "bilinear", "nearest" or (images only) "bicubic".
        padding_mode (str): outside, "zeros", "border" (the nearest pixel) or "reflection".
        align_corners (bool): -1 and 1 are the centres of the corner pixels, not the image's borders.

    Returns:
        Tensor of (n, c, oh, ow) or (n, c, od, oh, ow).

    >>> import numtorch as torch
    >>> image = torch.tensor([[[[1., 3.]]]])
    >>> torch.nn.functional.grid_sample(image, torch.zeros(1, 1, 1, 2), align_corners=False).item()
    2.0
    """
    must_be_tensors("grid_sample", input=input, grid=grid)
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError("nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: "
                         f"'{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
                         f"'{padding_mode}'")
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
        align_corners = False
    n = input._a.ndim - 2
    _check_grid(input, grid, n, mode)
    if type(input._a) is DeviceArray:
        return _sample_on_device(input, grid, mode, padding_mode, bool(align_corners))
    return (_sample_images if n == 2 else _sample_volumes)(input, grid, mode, padding_mode, align_corners)


def _sample(input, grid, mode, padding_mode, align_corners):
    shape, places = input._a.shape, grid._a.shape
    sizes = shape[2:]
    at = []
    for i, size in enumerate(sizes[::-1]):
        x = grid[..., i]
        x = (x + 1) * ((size - 1) / 2) if align_corners else ((x + 1) * size - 1) * 0.5
        at.insert(0, x if mode == "bicubic" else _inside(x, size, padding_mode, align_corners))
    flat = input.reshape(shape[0], shape[1], shapes.numel(sizes))
    total = None
    for taps in _corners(at, mode):
        index, weight, valid = None, None, None
        for (x, w), size in zip(taps, sizes):
            if mode == "bicubic":
                x = _inside(x, size, padding_mode, align_corners)
            x = x._a
            inside = (x >= 0) & (x <= size - 1)
            x = np.clip(np.nan_to_num(x), 0, size - 1).astype(np.int64)
            index = x if index is None else index * size + x
            weight = w if weight is None else pointwise.mul(weight, w)
            valid = inside if valid is None else valid & inside
        spread = np.broadcast_to(index.reshape(shape[0], 1, -1), (shape[0], shape[1], index[0].size))
        value = gather(flat, 2, wrap(np.ascontiguousarray(spread))).reshape(shape[0], shape[1], *places[1:-1])
        mask = wrap(valid.astype(input._a.dtype)[:, None])
        value = pointwise.mul(value, pointwise.mul(weight.unsqueeze(1), mask))
        total = value if total is None else pointwise.add(total, value)
    return total


_sample_images, _sample_volumes = one_node("GridSampler2DBackward0")(_sample), one_node("GridSampler3DBackward0")(_sample)


def _sample_on_device(input, grid, *how):
    a, places = (np.ascontiguousarray(t._a, like=t._a) for t in (input, grid))
    y = np.empty((*a.shape[:2], *places.shape[1:-1]), a.dtype, like=a)
    if y.size:
        K.sampling_cuda.grid_sample(a, places, y, *how)
    return record(y, _ON_DEVICE_BACKWARD[a.ndim - 2], (input, grid), (input, grid), how=how)


def _on_device_backward(node, g):
    """The gradients of the image and of the grid, by a kernel; their gradients by the operations that make up ``_sample``."""
    input, grid = node.saved_tensors
    if type(g._a) is not DeviceArray:       # in the host's memory
        return gradients((_sample(input, grid, *node.ctx["how"]),), (input, grid), (g,), node.needs, create_graph=True)
    if grad_mode.enabled:
        raise OnHost("the second derivative of grid_sample")
    gy, a, places = (np.ascontiguousarray(t._a, like=t._a) for t in (g, input, grid))
    if node.needs[0]:
        from .._deterministic import alert

        alert(f"grid_sampler_{a.ndim - 2}d_backward_cuda")
    gx = np.zeros(a.shape, np.promote_types(a.dtype, np.float32), like=a) if node.needs[0] else None
    ggrid = np.empty(places.shape, places.dtype, like=places)
    if gy.size:
        K.sampling_cuda.grid_sample_grad(gy, a, places, gx, ggrid, *node.ctx["how"])
    else:
        ggrid[...] = 0
    return wrap(gx.astype(a.dtype, copy=False)) if node.needs[0] else None, wrap(ggrid) if node.needs[1] else None


def _on_device_backward_of(n):
    @grad_name(f"GridSampler{n}DBackward0")
    def backward(node, g):
        return _on_device_backward(node, g)
    return backward


_ON_DEVICE_BACKWARD = {n: _on_device_backward_of(n) for n in (2, 3)}


def _check_grid(input, grid, n, mode):
    shape, places = input._a.shape, grid._a.shape
    check_devices("grid_sampler", input, grid)
    if input._a.dtype != grid._a.dtype:
        raise RuntimeError(f"grid_sampler(): expected input and grid to have same dtype, but input has "
                           f"{input.dtype} and grid has "
                           f"{grid.dtype}")
    if n not in (2, 3) or len(places) != len(shape):
        raise RuntimeError("grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with "
                           f"sizes {list(shape)} and grid with sizes {list(places)}")
    if places[0] != shape[0]:
        raise RuntimeError(f"grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
                           f"{list(shape)} and grid with sizes {list(places)}")
    if places[-1] != n:
        raise RuntimeError(f"grid_sampler(): expected grid to have size {n} in last dimension, but got grid with sizes "
                           f"{list(places)}")
    if mode == "bicubic" and n == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if min(shape[2:]) < 1:
        raise RuntimeError("grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                           f"{list(shape)}")


def _inside(x, size, padding_mode, align_corners):
    """Coordinates brought inside the image, as the padding mode says; "zeros" leaves them."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        if not span:
            return pointwise.mul(x, 0)
        x = pointwise.abs(x - low)
        turns = np.floor(x._a / span)
        extra = x - wrap((turns * span).astype(x._a.dtype))
        odd = wrap(turns % 2 == 1)
        x = pointwise.add(where(odd, span - extra, extra), low)
    return pointwise.clamp(x, 0, size - 1)


def _corners(at, mode):
    """For every pixel that contributes, its (coordinate, weight) along each axis; the weights carry the grid's gradient."""
    axes = []
    for x in at:
        if mode == "nearest":
            # a weight of 1 whose gradient is 0, so that the grid gets zeros and not None
            axes.append([(wrap(np.rint(x._a)), record(np.ones_like(x._a), pointwise.zero_backward, (x,)))])
            continue
        low = wrap(np.floor(x._a))
        part = x - low
        if mode == "bilinear":
            axes.append([(low, 1 - part), (low + 1, part)])
        else:
            axes.append([(low + k, _keys(part - k)) for k in (-1, 0, 1, 2)])
    found = [[]]
    for axis in axes:
        found = [taps + [tap] for taps in found for tap in axis]
    return found


def _keys(x, a=-0.75):
    """Keys' cubic kernel of a tensor, by its two branches."""
    x = pointwise.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return where(x <= 1, near, far)
