"""Adaptive pooling, whose windows follow from the size wanted; power-average pooling; and unpooling."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray
from ..op import grad_name, op, record, type_name
from . import activation, pointwise, reduce
from ._devices import check_devices
from .matmul import must_be_tensors
from .pool import WORDS, average, avg_backward, avg_pool_of, each, largest, max_backward, pick_planes, ready

# ---- adaptive ----------------------------------------------------------------------------------------------------------

_ADAPTIVE_MAX_BACKWARD = {1: max_backward("SqueezeBackward1"), 2: max_backward("AdaptiveMaxPool2DBackward0"),
                          3: max_backward("AdaptiveMaxPool3DBackward0")}
_ADAPTIVE_AVG_BACKWARD = {1: avg_backward("SqueezeBackward1"), 2: avg_backward("AdaptiveAvgPool2DBackward0"),
                          3: avg_backward("AdaptiveAvgPool3DBackward0")}


def _targets(name, n, input, output_size):
    must_be_tensors(name, input=input)
    shape = input._a.shape
    if len(shape) not in (n + 1, n + 2):
        if len(shape) < n + 1:
            raise ValueError(f"Input dimension should be at least {n + 1}")
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(shape)}")
    sizes = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(sizes) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    spatial = shape[len(shape) - n:]
    sizes = tuple(i if o is None else o for o, i in zip(sizes, spatial))
    if any(s < 0 for s in sizes):
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {list(sizes)}")
    if 0 in spatial:
        raise RuntimeError(f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                           f"{list(shape)}")
    return sizes, [*zip(spatial, sizes)]


def _adaptive_avg(name, n, input, output_size):
    sizes, rules = _targets(name, n, input, output_size)
    if n > 1 and all(s == 1 for s in sizes):
        return reduce.mean(input, tuple(range(-n, 0)), keepdim=True)
    return average(input, n, rules, 0, _ADAPTIVE_AVG_BACKWARD[n])


def _adaptive_max(name, n, input, output_size, return_indices):
    if input._a.dtype.kind in "bc":
        raise NotImplementedError(f'"{name}" not implemented for \'{type_name(input.dtype)}\'')
    _, rules = _targets(name, n, input, output_size)
    y, indices = largest(input, n, rules, (1,) * n, _ADAPTIVE_MAX_BACKWARD[n])
    return (y, indices) if return_indices else y


@op(namespace="nn.functional")
def adaptive_avg_pool1d(input, output_size):
    """The average over ``output_size`` windows that share out the length; see ``adaptive_avg_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.adaptive_avg_pool1d(torch.tensor([[1., 3., 2., 0.]]), 2)
    tensor([[2., 1.]])
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


@op(namespace="nn.functional")
def adaptive_avg_pool2d(input, output_size):
    """The average over windows chosen so that the output has ``output_size``: window i of an axis is i h / o to (i + 1) h / o.

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w).
        output_size (int or two ints or None): None keeps an axis.

    >>> import numtorch as torch
    >>> torch.nn.functional.adaptive_avg_pool2d(torch.arange(9.).view(1, 3, 3), 1).item()
    4.0
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


@op(namespace="nn.functional")
def adaptive_avg_pool3d(input, output_size):
    """The average over windows of a volume that share out its extents; see ``adaptive_avg_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.adaptive_avg_pool3d(torch.arange(8.).view(1, 2, 2, 2), 1).item()
    3.5
    """
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


@op(namespace="nn.functional")
def adaptive_max_pool1d(input, output_size, return_indices=False):
    """The largest element of ``output_size`` windows that share out the length; see ``adaptive_max_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.adaptive_max_pool1d(torch.tensor([[1., 3., 2., 0.]]), 2)
    tensor([[3., 2.]])
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


@op(namespace="nn.functional")
def adaptive_max_pool2d(input, output_size, return_indices=False):
    """The largest element of windows chosen so that the output has ``output_size``, as of ``adaptive_avg_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.adaptive_max_pool2d(torch.arange(9.).view(1, 3, 3), 1).item()
    8.0
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


@op(namespace="nn.functional")
def adaptive_max_pool3d(input, output_size, return_indices=False):
    """The largest element of windows of a volume that share out its extents; see ``adaptive_max_pool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.adaptive_max_pool3d(torch.arange(8.).view(1, 2, 2, 2), 1).item()
    7.0
    """
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


# ---- power average -----------------------------------------------------------------------------------------------------

@op(namespace="nn.functional")
def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The ``norm_type``-th root of the sum of that power over each window of a signal.

    >>> import numtorch as torch
    >>> torch.nn.functional.lp_pool1d(torch.tensor([[3., 4.]]), 2, 2)
    tensor([[5.]])
    """
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


@op(namespace="nn.functional")
def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The ``norm_type``-th root of the sum of that power over each window of an image.

    >>> import numtorch as torch
    >>> torch.nn.functional.lp_pool2d(torch.ones(1, 2, 2), 2, 2).item()
    2.0
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


@op(namespace="nn.functional")
def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The ``norm_type``-th root of the sum of that power over each window of a volume.

    >>> import numtorch as torch
    >>> torch.nn.functional.lp_pool3d(torch.ones(1, 1, 2, 2), 2, (1, 2, 2)).item()
    2.0
    """
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(name, n, input, power, kernel_size, stride, ceil_mode):
    kernel = each(kernel_size, n, f"{name}: kernel_size must either be a single int, or a tuple of {WORDS[n]}")
    mean = avg_pool_of(name, n, pointwise.pow(input, power), kernel, stride, 0, ceil_mode, True)
    size = shapes.numel(kernel)
    return pointwise.pow(pointwise.mul(pointwise.mul(pointwise.sign(mean), activation.relu(pointwise.abs(mean))), size),
                         1.0 / power)


# ---- unpooling ---------------------------------------------------------------------------------------------------------

def _unpool(name, n, input, indices, kernel_size, stride, padding, output_size):
    must_be_tensors(name, input=input, indices=indices)
    kernel = each(kernel_size, n, f"{name}: kernel_size must either be a single int, or a tuple of {WORDS[n]}")
    stride = kernel if stride is None else each(stride, n, f"{name}: stride must be a single int or {WORDS[n]}")
    padding = each(padding, n, f"{name}: padding must be a single int or {WORDS[n]}")
    a, places = input._a, indices._a
    check_devices(name, input, indices)
    if places.dtype != np.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if a.shape != places.shape:
        raise RuntimeError(f"Expected shape of indices to be same as that of the input tensor ({list(a.shape)}) but got indices "
                           f"tensor with shape: {list(places.shape)}")
    if a.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got {a.ndim} dimensions")
    default = tuple((s - 1) * t - 2 * p + k for s, t, p, k in zip(a.shape[a.ndim - n:], stride, padding, kernel))
    size = default if output_size is None else tuple(output_size)[-n:]
    for d, (given, usual, step) in enumerate(zip(size, default, stride)):
        if not usual - step < given < usual + step:
            raise ValueError(f'invalid output_size "{tuple(output_size)}" (dim {d} must be between {usual - step} and '
                             f"{usual + step})")
    volume, lead = shapes.numel(size), a.shape[:a.ndim - n]
    if type(a) is DeviceArray:      # a bad index is reported by the next operation that waits for the device
        flat, y = ready(places), np.zeros((*lead, *size), a.dtype, like=a)
        if flat.size:
            K.pool_cuda.unpool_planes(ready(a), flat, y, shapes.numel(lead), name)
    else:
        flat = places.reshape(shapes.numel(lead), -1) if places.size else places.reshape(0, 0)
        y = np.zeros((flat.shape[0], volume), a.dtype)
        if flat.size and not (0 <= flat.min() and flat.max() < volume):
            wrong = flat[(flat < 0) | (flat >= volume)][0]
            raise RuntimeError(f"Found an invalid max index: {wrong} (output volumes are of size {'x'.join(map(str, size))})")
        np.put_along_axis(y, flat, a.reshape(flat.shape), 1)
    return record(y.reshape(*lead, *size), _UNPOOL_BACKWARD[n], (input,), indices=flat, shape=a.shape, n=n)


def _unpool_backward(name):
    @grad_name(name)
    def backward(node, g):
        return pick_planes(g, node.ctx["indices"], node.ctx["shape"], node.ctx["n"])
    return backward


_UNPOOL_BACKWARD = {1: _unpool_backward("SqueezeBackward1"), 2: _unpool_backward("MaxUnpool2DBackward0"),
                    3: _unpool_backward("MaxUnpool3DBackward0")}


@op(namespace="nn.functional")
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The partial inverse of ``max_pool1d``; see ``max_unpool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.max_unpool1d(torch.tensor([[5., 6.]]), torch.tensor([[1, 2]]), 2)
    tensor([[0., 5., 6., 0.]])
    """
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@op(namespace="nn.functional")
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Puts the elements of input where ``max_pool2d`` found them, and 0 elsewhere.

    Args:
        input (Tensor): (n, c, h, w) or (c, h, w), what the pooling returned.
        indices (Tensor): int64 of the same shape, its indices.
        kernel_size, stride, padding: those of the pooling.
        output_size (ints): the size to come back to, where the pooling's steps did not divide it.

    >>> import numtorch as torch
    >>> torch.nn.functional.max_unpool2d(torch.tensor([[[5.]]]), torch.tensor([[[2]]]), 2)
    tensor([[[0., 0.],
             [5., 0.]]])
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@op(namespace="nn.functional")
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The partial inverse of ``max_pool3d``; see ``max_unpool2d``.

    >>> import numtorch as torch
    >>> torch.nn.functional.max_unpool3d(torch.tensor([[[[5.]]]]), torch.tensor([[[[0]]]]), 2).sum()
    tensor(5.)
    """
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
