"""Convolution and transposed convolution in 1, 2 and 3 dimensions, and their gradients of any order.

Three maps serve all of them: ``correlate`` (x, w) -> y, and its adjoints ``spread`` (y, w) -> x and ``weigh`` (x, y) -> w.
A transposed convolution is ``spread``. Each is linear in both arguments, so the gradients of each are the two others, and
double backward needs nothing more. 1-d and 2-d arrays get unit extents in front; the kernels know three.
"""
import warnings
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import kernels as K
from ..kernels._device import DeviceArray, empty
from ..op import grad_name, op, record
from ._devices import apart, check_devices
from .matmul import must_be_tensors
from .pool import ready
from .view import reshape, squeeze, unsqueeze


class Geometry(NamedTuple):
    """A checked convolution: 5-d shapes of input, weight and output of the correlation, the steps, and torch's shapes."""

    x: tuple
    w: tuple
    y: tuple
    steps: tuple            # stride, padding (in front), dilation as triples, and groups
    x_shape: tuple
    w_shape: tuple
    y_shape: tuple


# ---- the three maps ----------------------------------------------------------------------------------------------------

def _run(kernel, a, b, bias, shape, inputs, out_shape):
    """Calls a kernel on contiguous arrays, on the CPU in 5-d shapes and in float32 for half types. Integers become float64."""
    dtype = a.dtype
    if dtype.kind == "c":
        raise NotImplementedError("convolution: complex tensors are not built; convolve real and imaginary parts")
    compute = dtype
    if dtype not in (np.float32, np.float64):
        compute = np.dtype(np.float64) if dtype.kind in "iu" else dtype if type(a) is DeviceArray else np.dtype(np.float32)
    if not a.size or not b.size:
        out = np.zeros(shape, compute, like=a)
        if bias is not None:
            out += bias.astype(compute).reshape(-1, 1, 1, 1)
    elif type(a) is DeviceArray:
        out = empty(out_shape, compute, a.device)
        if out.size:
            kernel(ready(a, compute), ready(b, compute), None if bias is None else ready(bias, compute), out)
        return out if compute is dtype else out.astype(dtype)
    else:
        out = np.empty(shape, compute)
        a, b = (np.ascontiguousarray(x, compute).reshape(s) for x, s in zip((a, b), inputs))
        if out.size:
            kernel(a, b, None if bias is None else np.ascontiguousarray(bias, compute), out)
    return (out if compute is dtype else out.astype(dtype)).reshape(out_shape)


def _call(name, arrays, geo):
    """Calls a kernel; on a CUDA device the arrays keep their shapes, and it is told those that are meant."""
    if type(arrays[0]) is DeviceArray:
        getattr(K.conv_cuda, name)(*arrays, (geo.x, geo.w, geo.y), *geo.steps)
    else:
        getattr(K.conv, name)(*arrays, *geo.steps)


def correlate(x, w, bias, geo):
    """The convolution itself: y = w * x (+ bias)."""
    y = _run(lambda a, b, c, out: _call("conv_forward", (a, b, c, out), geo), x._a, w._a, None if bias is None else bias._a,
             geo.y, (geo.x, geo.w), geo.y_shape)
    return record(y, correlate_backward, (x, w, bias), (x, w), geo=geo)


@grad_name("ConvolutionBackward0")
def correlate_backward(node, g):
    """Gradients of a convolution: the adjoint maps, and for the bias the sum over all but the channels."""
    x, w = node.saved_tensors
    geo = node.ctx["geo"]
    need_x, need_w, need_bias = node.needs
    return (spread(g, w, None, geo) if need_x else None, weigh(x, g, geo) if need_w else None,
            channel_sum(g) if need_bias else None)


def spread(y, w, bias, geo):
    """The adjoint in x: every element of y adds its window's weights to x; also the transposed convolution (+ bias)."""
    x = _run(lambda a, b, c, out: _call("conv_input_grad", (a, b, c, out), geo), y._a, w._a, None if bias is None else bias._a,
             geo.x, (geo.y, geo.w), geo.x_shape)
    return record(x, spread_backward, (y, w, bias), (y, w), geo=geo)


@grad_name("ConvolutionBackward0")
def spread_backward(node, g):
    """Gradients of a transposed convolution."""
    y, w = node.saved_tensors
    geo = node.ctx["geo"]
    need_y, need_w, need_bias = node.needs
    return (correlate(g, w, None, geo) if need_y else None, weigh(g, y, geo) if need_w else None,
            channel_sum(g) if need_bias else None)


def weigh(x, y, geo):
    """The adjoint in w: the correlation of x with y, for every tap of the weight."""
    w = _run(lambda a, b, _, out: _call("conv_weight_grad", (a, b, out), geo), x._a, y._a, None, geo.w, (geo.x, geo.y),
             geo.w_shape)
    return record(w, weigh_backward, (x, y), (x, y), geo=geo)


@grad_name("ConvolutionBackwardBackward0")
def weigh_backward(node, g):
    """Gradients of the weight's gradient: it is linear in x and in y."""
    x, y = node.saved_tensors
    geo = node.ctx["geo"]
    need_x, need_y = node.needs
    return spread(y, g, None, geo) if need_x else None, correlate(x, g, None, geo) if need_y else None


def channel_sum(g):
    """The sum of (n, channels, ...) over all but the channels: the gradient of a bias."""
    a = g._a
    if not a.size:
        total = np.zeros(a.shape[1], a.dtype, like=a)
    elif type(a) is DeviceArray:
        total = empty(a.shape[1], a.dtype, a.device)
        K.conv_cuda.conv_bias_grad(ready(a), total)
    elif a.dtype in (np.float32, np.float64):
        total = np.empty(a.shape[1], a.dtype)
        K.conv.conv_bias_grad(np.ascontiguousarray(a).reshape(*a.shape[:2], 1, 1, -1), total)
    else:
        total = a.astype(np.float32).sum((0, *range(2, a.ndim))).astype(a.dtype)
    return record(total, channel_sum_backward, (g,), shape=a.shape)


@grad_name("SumBackward1")
def channel_sum_backward(node, g):
    """Gradient of channel_sum: g for every position."""
    shape = node.ctx["shape"]
    return reshape(g, (1, -1, *[1] * (len(shape) - 2))).expand(*shape)


# ---- checks ------------------------------------------------------------------------------------------------------------

def _each(value, n, name):
    """``value`` as a tuple of n ints."""
    if isinstance(value, int):
        return (value,) * n
    if len(value) == 1:
        return tuple(value) * n
    if len(value) != n:
        raise RuntimeError(f"expected {name} to be a single integer value or a list of {n} values to match the convolution "
                           f"dimensions, but got {name}={list(value)}")
    return tuple(value)


def _check_steps(stride, padding, dilation, output_padding, groups):
    if any(p < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")
    if any(p < 0 for p in output_padding):
        raise RuntimeError("negative output_padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("non-positive dilation is not supported")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")


def _check_weight(x, w, bias, groups, transposed):
    n = len(w)
    if len(x) != n:
        raise RuntimeError(f"Expected {n}-dimensional input for {n}-dimensional weight {list(w)}, but got {len(x)}-dimensional "
                           f"input of size {list(x)} instead")
    if w[0] < groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of "
                           f"size [{', '.join(map(str, w))}] instead")
    if w[0] % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight "
                           f"of size [{list(w)}] instead")
    if any(k == 0 for k in w[2:]):
        raise RuntimeError(f"kernel size should be greater than zero, but got kernel size {list(w[2:])}")
    channels = w[0] if transposed else w[1] * groups
    if x[1] != channels:
        given = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(f"Given {given}, weight of size {list(w)}, expected input{list(x)} to have {channels} channels, but "
                           f"got {x[1]} channels instead")
    outputs = w[1] * groups if transposed else w[0]
    if bias is not None and bias != (outputs,):
        given = "transposed=1" if transposed else ""
        raise RuntimeError(f"Given {given + ', ' if given else ''}weight of size {list(w)}, expected bias to be 1-dimensional "
                           f"with {outputs} elements, but got bias of size {list(bias)} instead")


def _five(shape):
    return (*shape[:2], *[1] * (5 - len(shape)), *shape[2:])


def _three(values, fill):
    return (*[fill] * (3 - len(values)), *values)


@lru_cache(1024)
def _conv_geometry(x, w, bias, stride, padding, dilation, groups):
    n = len(w) - 2
    stride, dilation = _each(stride, n, "stride"), _each(dilation, n, "dilation")
    if padding == "same":
        both = [d * (k - 1) for d, k in zip(dilation, w[2:])]
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        front = tuple(b // 2 for b in both)
    else:
        front = (0,) * n if padding == "valid" else _each(padding, n, "padding")
        both = [2 * p for p in front]
    _check_steps(stride, front, dilation, (), groups)
    _check_weight(x, w, bias, groups, False)
    padded = [s + p for s, p in zip(x[2:], both)]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w[2:])]
    if any(r > p for r, p in zip(reach, padded)):
        raise RuntimeError(f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
                           f"({' x '.join(map(str, reach))}). Kernel size can't be greater than actual input size")
    y = (x[0], w[0], *((p - r) // s + 1 for p, r, s in zip(padded, reach, stride)))
    steps = (_three(stride, 1), _three(front, 0), _three(dilation, 1), groups)
    return Geometry(_five(x), _five(w), _five(y), steps, x, w, y)


@lru_cache(1024)
def _transposed_geometry(y, w, bias, stride, padding, output_padding, groups, dilation):
    n = len(w) - 2
    stride, dilation = _each(stride, n, "stride"), _each(dilation, n, "dilation")
    padding, extra = _each(padding, n, "padding"), _each(output_padding, n, "output_padding")
    _check_steps(stride, padding, dilation, extra, groups)
    _check_weight(y, w, bias, groups, True)
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        raise RuntimeError("output padding must be smaller than either stride or dilation, but got output_padding: "
                           f"{list(extra)} stride: {list(stride)} dilation: {list(dilation)}")
    sizes = tuple((i - 1) * s - 2 * p + d * (k - 1) + e + 1
                  for i, s, p, d, k, e in zip(y[2:], stride, padding, dilation, w[2:], extra))
    if any(s <= 0 for s in sizes):
        raise RuntimeError(f"Given input size per channel: ({' x '.join(map(str, y[2:]))}). Calculated output size per channel: "
                           f"({' x '.join(map(str, sizes))}). Output size is too small")
    x = (y[0], w[1] * groups, *sizes)
    steps = (_three(stride, 1), _three(padding, 0), _three(dilation, 1), groups)
    return Geometry(_five(x), _five(w), _five(y), steps, x, w, y)


def _check_dtypes(input, weight, bias):
    a, b = input._a.dtype, weight._a.dtype
    if a is not b or apart(input._a, weight._a):
        raise RuntimeError(f"Input type ({input.type()}) and weight type ({weight.type()}) should be the same or input should "
                           "be a MKLDNN tensor and weight is a dense tensor")
    if bias is None:
        return
    check_devices("convolution", input, bias)
    if bias._a.dtype is not a:
        names = {"float32": "float", "float64": "double"}
        raise RuntimeError(f"Input type ({names.get(input.dtype._name, input.dtype._name)}) and bias type "
                           f"({names.get(bias.dtype._name, bias.dtype._name)}) should be the same")


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def _batched(name, n, input):
    """The input with a batch dimension, and whether one was added."""
    have = input._a.ndim
    if have == n + 2:
        return input, False
    if have != n + 1:
        raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: "
                           f"{list(input._a.shape)}")
    return unsqueeze(input, 0), True


def _convolve(name, n, input, weight, bias, stride, padding, dilation, groups):
    must_be_tensors(name, input=input, weight=weight)
    x, added = _batched(name, n, input)
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    _check_dtypes(input, weight, bias)
    geo = _conv_geometry(x._a.shape, weight._a.shape, None if bias is None else bias._a.shape, _hashable(stride),
                         _hashable(padding), _hashable(dilation), groups)
    if padding == "same" and any(k % 2 == 0 and d % 2 for k, d in zip(geo.w_shape[2:], geo.steps[2][3 - n:])):
        warnings.warn("Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy of the "
                      "input be created", UserWarning, stacklevel=3)
    y = correlate(x, weight, bias, geo)
    return squeeze(y, 0) if added else y


def _convolve_transposed(name, n, input, weight, bias, stride, padding, output_padding, groups, dilation):
    must_be_tensors(name, input=input, weight=weight)
    y, added = _batched(name, n, input)
    _check_dtypes(input, weight, bias)
    geo = _transposed_geometry(y._a.shape, weight._a.shape, None if bias is None else bias._a.shape, _hashable(stride),
                               _hashable(padding), _hashable(output_padding), groups, _hashable(dilation))
    x = spread(y, weight, bias, geo)
    return squeeze(x, 0) if added else x


# ---- the operations ----------------------------------------------------------------------------------------------------

@op()
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The cross-correlation of a signal with a weight, as of ``conv2d``.

    Args:
        input (Tensor): (n, c, length) or (c, length).
        weight (Tensor): (out, c / groups, taps).

    >>> import numtorch as torch
    >>> torch.conv1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2))
    tensor([[[2., 2., 2.]]])
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@op()
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The cross-correlation of an image with a weight.

    ``y[n, o, i, j] = bias[o] + sum over c, p, q of weight[o, c, p, q] * input[n, c, i * stride + p * dilation - padding, ...]``,
    where input is 0 outside; with groups, output channel o sees the input channels of its group only.

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w).
        weight (Tensor): (out, c / groups, kh, kw), of the same dtype.
        bias (Tensor): (out), or None.
        stride, dilation (int or two ints): step between windows, and between elements of a window.
        padding (int, two ints, "valid" or "same"): zeros on each side.
        groups (int): divides c and out.

    Returns:
        Tensor of (n, out, (h + 2 padding - dilation (kh - 1) - 1) // stride + 1, ...).

    Raises:
        RuntimeError: sizes or dtypes do not fit.

    >>> import numtorch as torch
    >>> torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@op()
def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """The cross-correlation of a volume with a weight, as of ``conv2d``.

    Args:
        input (Tensor): (n, c, d, h, w) or (c, d, h, w).
        weight (Tensor): (out, c / groups, kd, kh, kw).

    >>> import numtorch as torch
    >>> torch.conv3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)).item()
    8.0
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@op()
def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The transposed convolution of a signal, as of ``conv_transpose2d``; weight is (c, out / groups, taps).

    >>> import numtorch as torch
    >>> torch.conv_transpose1d(torch.ones(1, 1, 3), torch.ones(1, 1, 2))
    tensor([[[1., 2., 2., 1.]]])
    """
    return _convolve_transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@op()
def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The gradient of ``conv2d`` with respect to its input, as an operation: every element adds a window to the output.

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w).
        weight (Tensor): (c, out / groups, kh, kw).
        bias (Tensor): (out), or None.
        stride, padding, dilation, groups: those of the convolution whose gradient it is.
        output_padding (int or two ints): rows and columns more at the end; less than stride or dilation.

    Returns:
        Tensor of (n, out, (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1, ...).

    >>> import numtorch as torch
    >>> torch.conv_transpose2d(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2), stride=2)
    tensor([[[[1., 1., 1., 1.]]]])
    """
    return _convolve_transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@op()
def conv_transpose3d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The transposed convolution of a volume, as of ``conv_transpose2d``; weight is (c, out / groups, kd, kh, kw).

    >>> import numtorch as torch
    >>> torch.conv_transpose3d(torch.ones(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 2)).shape
    torch.Size([1, 1, 1, 1, 2])
    """
    return _convolve_transposed("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
