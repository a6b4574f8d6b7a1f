"""Padding, and rearrangements of neighbourhoods: pad, unfold, fold, pixel_shuffle, channel_shuffle."""
from functools import lru_cache

import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray, strided_view
from ..op import grad_name, op, record
from .matmul import must_be_tensors
from .pool import each

# ---- pad ---------------------------------------------------------------------------------------------------------------


@op(namespace="nn.functional")
def pad(input, pad, mode="constant", value=None):
    """Elements added at both ends of the last dimensions, or cut off where a number is negative.

    Args:
        input (Tensor): of any shape.
        pad (ints): (front, back) of the last dimension, then of the one before, and so on.
        mode (str): "constant" (``value``), or for the last 1, 2 or 3 dimensions "reflect" (mirrored, the edge not repeated),
            "replicate" (the edge repeated), "circular" (from the other end).
        value (number): for "constant"; default 0.

    Raises:
        RuntimeError: pad has an odd length, is too long for the input, or is wider than what it repeats.
        NotImplementedError: the mode is not known, or not for so many dimensions.

    >>> import numtorch as torch
    >>> torch.nn.functional.pad(torch.tensor([[1, 2, 3]]), (2, 1), mode="reflect")
    tensor([[3, 2, 1, 2, 3, 2]])
    """
    must_be_tensors("pad", input=input)
    widths = tuple(int(p) for p in pad)
    ndim = input._a.ndim
    if len(widths) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(widths) > 2 * ndim:
        raise RuntimeError("Padding length should be less than or equal to two times the input dimension but got padding length "
                           f"{len(widths)} and input of dimension {ndim}")
    if mode == "constant":
        return constant_pad(input, widths, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    n = len(widths) // 2
    if mode not in _SOURCES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if n not in (1, 2, 3) or ndim not in (n + 1, n + 2):
        raise NotImplementedError(
            f"Padding size {len(widths)} is not supported for {ndim}D input tensor.\nSupported combinations for non-constant "
            "padding:\n  - 2D or 3D input: padding size = 2 (pads last dimension)\n  - 3D or 4D input: padding size = 4 (pads "
            "last 2 dimensions)\n  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)")
    shape = input._a.shape
    pairs = [widths[2 * i:2 * i + 2] for i in range(n)]
    tables = [_SOURCES[mode](shape[ndim - 1 - i], *pairs[i], i, shape) for i in range(n)][::-1]
    return gather_grid(input, tables, _PAD_BACKWARD[mode, n])


def constant_pad(input, widths, value):
    """``pad`` with a constant; the gradient is the same with the numbers negated."""
    a = input._a
    size, source, target = list(a.shape), [slice(None)] * a.ndim, [slice(None)] * a.ndim
    pairs = [(0, 0)] * a.ndim
    for i in range(len(widths) // 2):
        d, (front, back) = a.ndim - 1 - i, widths[2 * i:2 * i + 2]
        pairs[d] = front, back
        size[d] += front + back
        if size[d] < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
        source[d] = slice(max(-front, 0), a.shape[d] - max(-back, 0))
        target[d] = slice(max(front, 0), size[d] - max(back, 0))
    y = np.empty(size, a.dtype, like=a)
    if type(a) is np.ndarray or not a.size or not K._cuda_grids.constant_pad(np.ascontiguousarray(a, like=a), pairs, value, y):
        y[...] = value
        y[tuple(target)] = a[tuple(source)]
    return record(y, constant_pad_backward, (input,), widths=widths)


@grad_name("ConstantPadNdBackward0")
def constant_pad_backward(node, g):
    """Gradient of constant padding: the padding is cut off again."""
    return constant_pad(g, tuple(-p for p in node.ctx["widths"]), 0)


@lru_cache(1024)
def _reflected(n, front, back, place, shape):
    if front >= n or back >= n:
        raise RuntimeError(f"Argument #{4 + 2 * place}: Padding size should be less than the corresponding input dimension, but "
                           f"got: padding ({front}, {back}) at dimension {len(shape) - 1 - place} of input {list(shape)}")
    at = np.abs(np.arange(-front, n + back))
    return np.where(at >= n, 2 * (n - 1) - at, at)


@lru_cache(1024)
def _replicated(n, front, back, place, shape):
    return np.clip(np.arange(-front, n + back), 0, n - 1)


@lru_cache(1024)
def _wrapped(n, front, back, place, shape):
    if front > n or back > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    return np.arange(-front, n + back) % n


_SOURCES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}

# ---- gathering a grid --------------------------------------------------------------------------------------------------


def _grid(array, n):
    """The array as (rows, d, h, w), contiguous; on the CPU half types as float32. n dimensions at the end are the grid's."""
    shape = array.shape
    lead = shape[:len(shape) - n]
    dtype = array.dtype if array.itemsize > 2 or array.dtype.kind in "iub" or type(array) is DeviceArray else np.float32
    return np.ascontiguousarray(array, dtype, like=array).reshape(shapes.numel(lead), *[1] * (3 - n), *shape[len(shape) - n:])


_FIRST = np.zeros(1, np.int64)


def _run_grid(kernel, a, tables, sizes):
    n = len(tables)
    x = _grid(a, n)
    y = np.empty((x.shape[0], *[1] * (3 - n), *sizes), x.dtype, like=x)
    if y.size:
        kernel(x, *[_FIRST] * (3 - n), *tables, y)
    return y.astype(a.dtype, copy=False).reshape(*a.shape[:a.ndim - n], *sizes)


def gather_grid(input, tables, backward):
    """The elements at the positions in ``tables``, one array for each of the last dimensions; recorded with ``backward``."""
    a = input._a
    y = _run_grid(K.pad.gather_grid, a, tables, [len(t) for t in tables])
    return record(y, backward, (input,), tables=tables, sizes=a.shape[a.ndim - len(tables):])


def scatter_grid(g, tables, sizes):
    """The gradient of gather_grid: every element of g added at its position."""
    return record(_run_grid(K.pad.scatter_grid, g._a, tables, sizes), scatter_grid_backward, (g,), tables=tables)


def scatter_grid_backward(node, g):
    """Gradient of scatter_grid."""
    return gather_grid(g, node.ctx["tables"], gather_grid_backward)


def gather_grid_backward(node, g):
    """Gradient of gather_grid."""
    return scatter_grid(g, node.ctx["tables"], node.ctx["sizes"])


def named_gather_backward(name):
    """``gather_grid_backward`` under torch's ``name`` for it."""
    @grad_name(name)
    def backward(node, g):
        return gather_grid_backward(node, g)
    return backward


_PAD_BACKWARD = {(mode, n): named_gather_backward(name.format(n)) for n in (1, 2, 3) for mode, name in (
    ("reflect", "ReflectionPad{}DBackward0"), ("replicate", "ReplicationPad{}DBackward0"), ("circular", "CopySlices"))}


# ---- unfold and fold ---------------------------------------------------------------------------------------------------

def _blocks(size, kernel, dilation, padding, stride):
    return [(s + 2 * p - d * (k - 1) - 1) // t + 1 for s, k, d, p, t in zip(size, kernel, dilation, padding, stride)]


def _settings(name, kernel_size, dilation, padding, stride):
    found = [each(value, 2, f"{name}: {what} must be an int or two ints") for what, value in (
        ("kernel_size", kernel_size), ("dilation", dilation), ("padding", padding), ("stride", stride))]
    for what, values in zip(("kernel_size", "dilation", "stride"), (found[0], found[1], found[3])):
        if min(values) <= 0:
            raise RuntimeError(f"{what.split('_')[0]} should be greater than zero, but got {what}: {values}")
    if min(found[2]) < 0:
        raise RuntimeError(f"padding should be non-negative, but got padding: {found[2]}")
    return tuple(found)


def _unfolded(input, settings):
    kernel, dilation, padding, stride = settings
    a = input._a if input._a.ndim == 4 else input._a[None]
    n, c, h, w = a.shape
    oh, ow = _blocks((h, w), *settings)
    if type(a) is DeviceArray:
        y = np.empty((n, c, *kernel, oh, ow), a.dtype, like=a)
        K._cuda_grids.unfold_windows(np.ascontiguousarray(a, like=a), y, *settings)
    else:
        x = np.pad(a, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2)) if any(padding) else a
        s = x.strides
        windows = strided_view(x, (n, c, *kernel, oh, ow), (s[0], s[1], s[2] * dilation[0], s[3] * dilation[1], s[2] * stride[0],
                                                            s[3] * stride[1]), writeable=False)
        y = np.ascontiguousarray(windows)
    y = y.reshape(*input._a.shape[:-3], c * kernel[0] * kernel[1], oh * ow)
    return record(y, _unfolded_backward, (input,), settings=settings, size=(h, w))


@grad_name("Im2ColBackward0")
def _unfolded_backward(node, g):
    return _folded(g, node.ctx["size"], node.ctx["settings"])


def _folded(input, size, settings):
    kernel, dilation, padding, stride = settings
    a = input._a if input._a.ndim == 3 else input._a[None]
    n, (kh, kw), (oh, ow) = a.shape[0], kernel, _blocks(size, *settings)
    columns = a.reshape(n, a.shape[1] // (kh * kw), kh, kw, oh, ow)
    if type(a) is DeviceArray:
        y = np.empty((n, columns.shape[1], *size), a.dtype, like=a)
        K._cuda_grids.fold_windows(np.ascontiguousarray(columns, like=a), y, *settings)
    else:
        y = np.zeros((n, columns.shape[1], size[0] + 2 * padding[0], size[1] + 2 * padding[1]), a.dtype)
        for i in range(kh):
            rows = slice(i * dilation[0], i * dilation[0] + stride[0] * oh, stride[0])
            for j in range(kw):
                y[:, :, rows, j * dilation[1]:j * dilation[1] + stride[1] * ow:stride[1]] += columns[:, :, i, j]
        y = np.ascontiguousarray(y[:, :, padding[0]:padding[0] + size[0], padding[1]:padding[1] + size[1]])
    y = y.reshape(*input._a.shape[:-2], *y.shape[1:])
    return record(y, _folded_backward, (input,), settings=settings)


@grad_name("Col2ImBackward0")
def _folded_backward(node, g):
    return _unfolded(g, node.ctx["settings"])


@op(namespace="nn.functional")
def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of an image as columns: (n, c, h, w) becomes (n, c * kh * kw, windows).

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w).
        kernel_size, dilation, padding, stride (int or two ints): as of a convolution.

    >>> import numtorch as torch
    >>> torch.nn.functional.unfold(torch.arange(6.).view(1, 2, 3), 2)
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    must_be_tensors("unfold", input=input)
    settings = _settings("unfold", kernel_size, dilation, padding, stride)
    shape = input._a.shape
    if len(shape) not in (3, 4):
        raise RuntimeError(f"Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
                           f"input, but got: {list(shape)}")
    if min(_blocks(shape[-2:], *settings)) < 1:
        kernel, dilation, padding, _ = settings
        raise RuntimeError(f"Given input with spatial size {shape[-2:]}, kernel_size={kernel}, dilation={dilation}, "
                           f"padding={padding}, calculated shape of the array of sliding blocks as "
                           f"{tuple(_blocks(shape[-2:], *settings))}, but its components must be at least one.")
    return _unfolded(input, settings)


@op(namespace="nn.functional")
def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The adjoint of ``unfold``: columns added up into images of ``output_size``.

    Args:
        input (Tensor): (n, c * kh * kw, windows) or (c * kh * kw, windows).
        output_size (int or two ints): (h, w).
        kernel_size, dilation, padding, stride (int or two ints): as of a convolution.

    >>> import numtorch as torch
    >>> torch.nn.functional.fold(torch.ones(4, 2), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    must_be_tensors("fold", input=input)
    size = each(output_size, 2, "fold: output_size must be an int or two ints")
    settings = _settings("fold", kernel_size, dilation, padding, stride)
    kernel, dilation, padding, stride = settings
    shape = input._a.shape
    if len(shape) not in (2, 3):
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions "
                           f"for input, but got: {list(shape)}")
    if shape[-2] % (kernel[0] * kernel[1]):
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
                           f"input.size(1)={shape[-2]} and kernel_size={kernel}.")
    oh, ow = _blocks(size, *settings)
    if oh * ow != shape[-1] or min(oh, ow) < 1:
        raise RuntimeError(f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride="
                           f"{stride}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
                           f"{oh} * {ow} = {oh * ow}, but got input.size(2)={shape[-1]}.")
    return _folded(input, size, settings)


# ---- shuffles ----------------------------------------------------------------------------------------------------------

def _shuffled(input, r):
    a = input._a
    *lead, c, h, w = a.shape
    n = len(lead)
    y = a.reshape(*lead, c // (r * r), r, r, h, w).transpose(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    y = np.ascontiguousarray(y, like=y).reshape(*lead, c // (r * r), h * r, w * r)
    return record(y, pixel_shuffle_backward, (input,), factor=r)


def pixel_shuffle_backward(node, g):
    """Gradient of pixel_shuffle: pixel_unshuffle."""
    return _unshuffled(g, node.ctx["factor"])


def _unshuffled(input, r):
    a = input._a
    *lead, c, h, w = a.shape
    n = len(lead)
    y = a.reshape(*lead, c, h // r, r, w // r, r).transpose(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    y = np.ascontiguousarray(y, like=y).reshape(*lead, c * r * r, h // r, w // r)
    return record(y, pixel_unshuffle_backward, (input,), factor=r)


def pixel_unshuffle_backward(node, g):
    """Gradient of pixel_unshuffle: pixel_shuffle."""
    return _shuffled(g, node.ctx["factor"])


def _check_shuffle(name, input, factor, what):
    must_be_tensors(name, input=input)
    if input._a.ndim < 3:
        raise RuntimeError(f"{name} expects input to have at least 3 dimensions, but got input with {input._a.ndim} "
                           "dimension(s)")
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {what}, but got {factor}")


@op(namespace="nn.functional")
def pixel_shuffle(input, upscale_factor):
    """Channels laid out as pixels: (..., c r r, h, w) becomes (..., c, h r, w r), r the factor.

    >>> import numtorch as torch
    >>> torch.nn.functional.pixel_shuffle(torch.arange(4.).view(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    _check_shuffle("pixel_shuffle", input, upscale_factor, "upscale_factor")
    c, square = input._a.shape[-3], upscale_factor ** 2
    if c % square:
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                           f"upscale_factor, but input.size(-3)={c} is not divisible by {square}")
    return _shuffled(input, upscale_factor)


@op(namespace="nn.functional")
def pixel_unshuffle(input, downscale_factor):
    """The inverse of ``pixel_shuffle``: (..., c, h r, w r) becomes (..., c r r, h, w), r the factor.

    >>> import numtorch as torch
    >>> torch.nn.functional.pixel_unshuffle(torch.arange(4.).view(1, 2, 2), 2).flatten()
    tensor([0., 1., 2., 3.])
    """
    _check_shuffle("pixel_unshuffle", input, downscale_factor, "downscale_factor")
    for name, d in (("height", -2), ("width", -1)):
        if input._a.shape[d] % downscale_factor:
            raise RuntimeError(f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({d})="
                               f"{input._a.shape[d]} is not divisible by {downscale_factor}")
    return _unshuffled(input, downscale_factor)


def _channels(input, groups):
    a = input._a
    n, c = a.shape[:2]
    y = a.reshape(n, groups, c // groups, *a.shape[2:]).swapaxes(1, 2)
    return record(np.ascontiguousarray(y, like=y).reshape(a.shape), channel_shuffle_backward, (input,), groups=groups)


def channel_shuffle_backward(node, g):
    """Gradient of channel_shuffle: the inverse permutation."""
    return _channels(g, g._a.shape[1] // node.ctx["groups"])


@op(namespace="nn.functional")
def channel_shuffle(input, groups):
    """Channels of (n, c, ...) dealt out anew: those at one place in each of ``groups`` groups become neighbours.

    >>> import numtorch as torch
    >>> torch.nn.functional.channel_shuffle(torch.arange(4.).view(1, 4, 1), 2).flatten()
    tensor([0., 2., 1., 3.])
    """
    must_be_tensors("channel_shuffle", input=input)
    shape = input._a.shape
    if len(shape) < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if shape[1] % groups:
        raise RuntimeError("Number of channels must be divisible by groups. Got "
                           f"{shape[1]} channels and {groups} groups.")
    return _channels(input, groups)
