"""Normalisation: layer, batch, group, instance and RMS norm, local response norm."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..op import grad_name, must_be_floating, op, record, type_name
from ..tensor import storage_of, wrap
from ._one_node import one_node

F = "nn.functional"


@op(namespace=F)
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions (Ba et al., 2016).

    Args:
        input (Tensor): floating point, its last sizes ``normalized_shape``.
        normalized_shape (ints): over which mean and variance are taken.
        weight, bias (Tensor): of that shape, or None.

    Raises:
        RuntimeError: the sizes do not match.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    a = input._a
    if not shape:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but "
                           "got normalized_shape = []")
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._a.shape != shape:
            raise RuntimeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                               f"{list(t.shape)} and normalized_shape = {list(shape)}")
    if a.shape[a.ndim - len(shape):] != shape:
        raise RuntimeError(f"Given normalized_shape={list(shape)}, expected input with shape [*, "
                           f"{', '.join(map(str, shape))}], but got input of size{list(a.shape)}")
    if a.dtype.itemsize == 2:
        return layer_norm(input.float(), shape, *(t if t is None else t.float() for t in (weight, bias)), eps).to(input.dtype)
    must_be_floating("LayerNormKernelImpl", input)
    for t in (weight, bias):
        if t is not None and t._a.dtype is not a.dtype:
            raise RuntimeError(f"mixed dtype (CPU): expect parameter to have scalar type of {type_name(input.dtype)}")
    rows = np.ascontiguousarray(a).reshape(-1, shapes.numel(shape))
    out, mean, rstd = np.empty_like(rows), np.empty(len(rows), a.dtype), np.empty(len(rows), a.dtype)
    if out.size:
        scale = _flat(weight, a) if weight is not None or bias is None else np.ones(rows.shape[1], a.dtype)
        K.norm.layer_norm_forward(rows, scale, _flat(bias, a), eps, out, mean, rstd)
    return record(out.reshape(a.shape), layer_norm_backward, (input, weight, bias), (input, weight), moments=(mean, rstd),
                  n=rows.shape[1], eps=eps, shape=shape)


def _flat(parameter, like):
    """A parameter's array as one row; an empty one for None."""
    return np.empty(0, like.dtype) if parameter is None else np.ascontiguousarray(parameter._a).reshape(-1)


PARTS = 32      # shares of the rows that sum a weight's gradient apart


@grad_name("NativeLayerNormBackward0")
def layer_norm_backward(node, g):
    """rstd (gw - mean(gw) - y mean(gw y)) with gw = g weight; sums over rows for weight and bias."""
    x, weight = node.saved_tensors
    n, shape = node.ctx["n"], node.ctx["shape"]
    if mode.enabled:
        return _recorded_layer_norm_backward(node, g, x.reshape(-1, n), weight)
    rows = np.ascontiguousarray(x._a).reshape(-1, n)
    gx, parts = np.empty_like(rows), min(PARTS, max(1, len(rows)))
    gweight, gbias = (np.empty((parts, n if wanted else 0), rows.dtype) for wanted in node.needs[1:])
    if rows.size:
        K.norm.layer_norm_backward(np.ascontiguousarray(g._a).reshape(rows.shape), rows, _flat(weight, rows),
                                   *node.ctx["moments"], gx, gweight, gbias)
    else:
        gweight.fill(0)
        gbias.fill(0)
    return (wrap(gx.reshape(x._a.shape)) if node.needs[0] else None,
            *(wrap(sums.sum(0).reshape(shape)) if wanted else None for sums, wanted in zip((gweight, gbias), node.needs[1:])))


def _recorded_layer_norm_backward(node, g, rows, weight):
    """The same in operations that are recorded."""
    shape, whole = node.ctx["shape"], g._a.shape
    g_rows = g.reshape(rows._a.shape)
    h = g_rows if weight is None else (g * weight).reshape(rows._a.shape)
    y, rstd = _differentiable_rows(rows, node.ctx["eps"])
    return (((h - h.mean(1, True) - y * (h * y).mean(1, True)) * rstd).reshape(whole) if node.needs[0] else None,
            (g_rows * y).sum(0).reshape(shape) if node.needs[1] else None,
            g_rows.sum(0).reshape(shape) if node.needs[2] else None)


def _differentiable_rows(x, eps):
    """Normalised rows and 1 / deviation by operations, for a recorded backward."""
    centred = x - x.mean(1, True)
    rstd = ((centred * centred).mean(1, True) + eps).rsqrt()
    return centred * rstd, rstd


@op(namespace=F)
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimensions (Zhang & Sennrich, 2019)."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if input._a.shape[input._a.ndim - len(shape):] != shape:
        raise RuntimeError(f"Given normalized_shape={list(shape)}, expected input with shape [*, "
                           f"{', '.join(map(str, shape))}], but got input of size{list(input.shape)}")
    if eps is None:
        from ..dtypes import finfo

        eps = finfo(input.dtype).eps
    dims = tuple(range(-len(shape), 0))
    y = input * ((input * input).mean(dims, True) + eps).rsqrt()
    return y if weight is None else y * weight


# ---- over channels -------------------------------------------------------------------------------------------------------

def _by_channel(a):
    """(N, C, ...) as contiguous (N, C, L), or (1, C, N L) where L is 2 to 7; and the function that puts it back."""
    n, channels = a.shape[:2]
    length = shapes.numel(a.shape[2:])
    if length >= 8 or length == 1 or n == 1:
        return np.ascontiguousarray(a).reshape(n, channels, length), lambda out: out.reshape(a.shape)
    turned = (channels, n, *a.shape[2:])
    return (np.ascontiguousarray(np.moveaxis(a, 1, 0)).reshape(1, channels, n * length),
            lambda out: np.ascontiguousarray(np.moveaxis(out.reshape(turned), 0, 1)))


def _check_channels(name, t, channels):
    if t is not None and t._a.shape != (channels,):
        raise RuntimeError(f"{name} should contain {channels} elements not {t._a.size}")


@op(namespace=F)
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel (Ioffe & Szegedy, 2015).

    Args:
        input (Tensor): (N, C, ...).
        running_mean, running_var (Tensor): (C,) used when not training, and moved by ``momentum`` toward the batch's mean and
            unbiased variance when training; may be None when training.
        weight, bias (Tensor): (C,) or None.

    Raises:
        ValueError: training on one value a channel. RuntimeError: sizes that do not match.
    """
    a = input._a
    channels = a.shape[1]
    for name, t in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        _check_channels(name, t, channels)
    if a.dtype.itemsize == 2:
        found = batch_norm(input.float(), running_mean, running_var, *(t if t is None else t.float() for t in (weight, bias)),
                           training, momentum, eps)
        return found.to(input.dtype)
    n = a.size // channels if channels else 0
    if training and a.size and n <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
    must_be_floating("batch_norm", input)
    if not training:
        mean, rstd = running_mean._a.astype(np.float64), 1 / np.sqrt(running_var._a.astype(np.float64) + eps)
    elif a.size:
        mean, variance = np.empty(channels), np.empty(channels)
        K.norm.channel_moments(_by_channel(a)[0], mean, variance)
        rstd = 1 / np.sqrt(variance + eps)
        for running, batch in ((running_mean, mean), (running_var, variance * (n / (n - 1)))):
            if running is not None:
                running._a[...] = (1 - momentum) * running._a + momentum * batch
                storage_of(running).version += 1
    else:
        mean = rstd = np.zeros(channels)
    scale = rstd if weight is None else rstd * weight._a
    shift = (0 if bias is None else bias._a) - mean * scale
    x, back = _by_channel(a)
    out = np.empty_like(x)
    if out.size:
        K.norm.channel_affine(x, scale.astype(a.dtype), shift.astype(a.dtype), out)
    return record(back(out), batch_norm_backward, (input, weight, bias), (input, weight), mean=mean, rstd=rstd, eps=eps,
                  training=training)


def _sum_over_batch(g):
    return g.sum([d for d in range(g.ndim) if d != 1])


@grad_name("NativeBatchNormBackward0")
def batch_norm_backward(node, g):
    """As layer_norm's, over each channel's values; with fixed statistics the map is affine."""
    x, weight = node.saved_tensors
    if mode.enabled:
        return _recorded_batch_norm_backward(node, g, x, weight)
    mean, rstd, a = node.ctx["mean"], node.ctx["rstd"], x._a
    rows, back = _by_channel(a)
    g_rows = _by_channel(g._a)[0]
    sums, products = np.zeros(len(mean)), np.zeros(len(mean))
    if rows.size and (node.ctx["training"] or node.needs[1] or node.needs[2]):
        K.norm.channel_sums(g_rows, rows, mean, sums, products)
    gx = None
    if node.needs[0]:
        scale = rstd if weight is None else rstd * weight._a
        out, n = np.empty_like(rows), rows.shape[0] * rows.shape[2]
        if rows.size:
            slope = -scale * rstd * rstd * products / n if node.ctx["training"] else np.zeros_like(scale)
            shift = -scale * sums / n - slope * mean if node.ctx["training"] else slope
            K.norm.channel_gradient(g_rows, rows, *(v.astype(a.dtype) for v in (scale, slope, shift)), out)
        gx = wrap(back(out))
    return (gx, wrap((products * rstd).astype(a.dtype)) if node.needs[1] else None,
            wrap(sums.astype(a.dtype)) if node.needs[2] else None)


def _recorded_batch_norm_backward(node, g, x, weight):
    """The same in operations that are recorded."""
    shape = x._a.shape
    turned = (shape[1], shape[0], *shape[2:])
    rows, h = (t.movedim(1, 0).reshape(shape[1], -1) for t in (x, g))
    if node.ctx["training"]:
        y, rstd = _differentiable_rows(rows, node.ctx["eps"])
    else:
        mean, rstd = (wrap(node.ctx[k].astype(x._a.dtype).reshape(-1, 1)) for k in ("mean", "rstd"))
        y = (rows - mean) * rstd
    gx = None
    if node.needs[0]:
        scaled = h if weight is None else h * weight.reshape(-1, 1)
        if node.ctx["training"]:
            scaled = scaled - scaled.mean(1, True) - y * (scaled * y).mean(1, True)
        gx = (scaled * rstd).reshape(turned).movedim(0, 1)
    return gx, (h * y).sum(1) if node.needs[1] else None, _sum_over_batch(g) if node.needs[2] else None


@op(namespace=F)
@one_node("NativeGroupNormBackward0")
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-05):
    """``layer_norm`` over groups of channels, then a weight and bias for each channel (Wu & He, 2018).

    Raises:
        RuntimeError: the channels are not divisible by ``num_groups``.
    """
    shape = input._a.shape
    if len(shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    channels = shape[1]
    if num_groups <= 0:
        raise RuntimeError(f"num groups must be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError("Expected number of channels in input to be divisible by num_groups, but got input of shape "
                           f"{list(shape)} and num_groups={num_groups}")
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._a.shape != (channels,):
            raise RuntimeError(f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} "
                               f"of shape {list(t.shape)} and input of shape {list(shape)}")
    rows = input.reshape(shape[0] * num_groups, -1)
    y = layer_norm(rows, rows._a.shape[1:], None, None, eps).reshape(shape)
    around = (1, channels) + (1,) * (len(shape) - 2)
    if weight is not None:
        y = y * weight.reshape(around)
    return y if bias is None else y + bias.reshape(around)


@op(namespace=F)
def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1,
                  eps=1e-05):
    """``batch_norm`` of each sample apart (Ulyanov et al., 2016)."""
    shape = input._a.shape
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if shapes.numel(shape[2:]) <= 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    n, channels = shape[:2]
    if running_mean is not None:
        flat = input.detach().reshape(n, channels, -1)
        for running, batch in ((running_mean, flat.mean(2).mean(0)), (running_var, flat.var(2).mean(0))):
            running._a[...] = (1 - momentum) * running._a + momentum * batch._a
            storage_of(running).version += 1
    rows = input.reshape(n * channels, -1)
    y = layer_norm(rows, rows._a.shape[1:], None, None, eps).reshape(shape)
    around = (1, channels) + (1,) * (len(shape) - 2)
    if weight is not None:
        y = y * weight.reshape(around)
    return y if bias is None else y + bias.reshape(around)


@op(namespace=F)
def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """``x / (k + alpha mean(x^2 of size neighbouring channels))^beta`` (Krizhevsky et al., 2012)."""
    from .pad import pad

    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if not input._a.size:
        return input
    squares = (input * input).movedim(1, -1)
    windows = pad(squares, (size // 2, (size - 1) // 2)).unfold(-1, size, 1).mean(-1)
    return input / (windows.movedim(-1, 1) * alpha + k) ** beta
