"""Normalisation: layer, batch, group, instance and RMS norm, local response norm."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..op import grad_name, op, record
from ..tensor import storage_of, wrap

F = "nn.functional"


def _normalized(x, eps):
    """Rows (m, n) less their mean, over their standard deviation; with mean and 1 / deviation."""
    y, mean, rstd = np.empty_like(x), np.empty(x.shape[0], x.dtype), np.empty(x.shape[0], x.dtype)
    if x.size:
        K.norm.normalize_rows(x, eps, y, mean, rstd)
    return y, mean, rstd


def _rows_gradient(g, y, rstd):
    out = np.empty_like(y)
    if out.size:
        K.norm.normalize_rows_backward(np.ascontiguousarray(g).reshape(y.shape), y, rstd, out)
    return out


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
    n = shapes.numel(shape)
    y, _, rstd = _normalized(np.ascontiguousarray(a).reshape(-1, n), eps)
    out = y
    if weight is not None or bias is not None:
        out = y if not (input._rg or mode.enabled and weight is not None and weight._rg) else np.empty_like(y)
        w = np.ones(n, a.dtype) if weight is None else np.ascontiguousarray(weight._a).reshape(n)
        b = np.zeros(n, a.dtype) if bias is None else np.ascontiguousarray(bias._a).reshape(n)
        if y.size:
            K.norm.scale_rows(y, w, b, out)
    return record(out.reshape(a.shape), layer_norm_backward, (input, weight, bias), (input, weight), rows=(y, rstd), n=n, eps=eps,
                  shape=shape)


@grad_name("NativeLayerNormBackward0")
def layer_norm_backward(node, g):
    """rstd (gw - mean(gw) - y mean(gw y)) with gw = g weight; sums over rows for weight and bias."""
    x, weight = node.saved_tensors
    (y, rstd), n, shape = node.ctx["rows"], node.ctx["n"], node.ctx["shape"]
    gx = gweight = gbias = None
    scaled = g if weight is None else g * weight
    if mode.enabled:
        y_t, r_t = _differentiable_rows(x.reshape(-1, n), node.ctx["eps"])
        rows = scaled.reshape(-1, n)
        if node.needs[0]:
            gx = ((rows - rows.mean(1, True) - y_t * (rows * y_t).mean(1, True)) * r_t).reshape(x.shape)
    else:
        y_t = wrap(y)
        if node.needs[0]:
            gx = wrap(_rows_gradient(scaled._a, y, rstd).reshape(x._a.shape))
    if node.needs[1]:
        gweight = (g.reshape(-1, n) * y_t).sum(0).reshape(shape)
    if node.needs[2]:
        gbias = g.reshape(-1, n).sum(0).reshape(shape)
    return gx, gweight, gbias


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

def _channels_last(a):
    """(N, C, ...) as (C, N * ...) contiguous rows, one a channel."""
    return np.ascontiguousarray(np.moveaxis(a, 1, 0)).reshape(a.shape[1], -1)


def _channels_back(rows, shape):
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape[1], shape[0], *shape[2:]), 0, 1))


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
    around = (1, channels) + (1,) * (a.ndim - 2)
    if not training:
        rstd = 1 / np.sqrt(running_var._a.astype(a.dtype) + a.dtype.type(eps))
        mean = running_mean._a.astype(a.dtype)
        scale = rstd if weight is None else rstd * weight._a
        shift = (0 if bias is None else bias._a) - mean * scale
        out = a * scale.reshape(around) + shift.reshape(around).astype(a.dtype)
        return record(out, batch_norm_eval_backward, (input, weight, bias), (input, weight), mean=mean, rstd=rstd, around=around)
    rows = _channels_last(a)
    y, mean, rstd = _normalized(rows, eps)
    if running_mean is not None:
        variance = (1 / (rstd.astype(np.float64) ** 2) - eps) * n / (n - 1)
        for running, batch in ((running_mean, mean), (running_var, variance)):
            running._a[...] = (1 - momentum) * running._a + momentum * batch
            storage_of(running).version += 1
    out = y
    if weight is not None or bias is not None:
        out = y * (1 if weight is None else weight._a[:, None])
        if bias is not None:
            out += bias._a[:, None]
    return record(_channels_back(out, a.shape), batch_norm_backward, (input, weight, bias), (input, weight), rows=(y, rstd), eps=eps)


def _sum_over_batch(g):
    return g.sum([d for d in range(g.ndim) if d != 1])


@grad_name("NativeBatchNormBackward0")
def batch_norm_eval_backward(node, g):
    """With fixed statistics the map is affine."""
    x, weight = node.saved_tensors
    mean, rstd, around = node.ctx["mean"], node.ctx["rstd"], node.ctx["around"]
    scale = wrap(rstd.reshape(around))
    gx = gweight = gbias = None
    if node.needs[0]:
        gx = g * scale if weight is None else g * (scale * weight.reshape(around))
    if node.needs[1]:
        gweight = _sum_over_batch(g * ((x - wrap(mean.reshape(around))) * scale))
    if node.needs[2]:
        gbias = _sum_over_batch(g)
    return gx, gweight, gbias


@grad_name("NativeBatchNormBackward0")
def batch_norm_backward(node, g):
    """As layer_norm's, over each channel's values."""
    x, weight = node.saved_tensors
    (y, rstd), shape = node.ctx["rows"], x._a.shape
    gx = gweight = gbias = None
    if mode.enabled:
        rows = g.movedim(1, 0).reshape(shape[1], -1)
        y_t, r_t = _differentiable_rows(x.movedim(1, 0).reshape(shape[1], -1), node.ctx["eps"])
        if node.needs[0]:
            scaled = rows if weight is None else rows * weight.reshape(-1, 1)
            gx = (scaled - scaled.mean(1, True) - y_t * (scaled * y_t).mean(1, True)) * r_t
            gx = gx.reshape(shape[1], shape[0], *shape[2:]).movedim(0, 1)
        if node.needs[1]:
            gweight = (rows * y_t).sum(1)
        return gx, gweight, _sum_over_batch(g) if node.needs[2] else None
    rows = _channels_last(g._a)
    if node.needs[0]:
        scaled = rows if weight is None else rows * weight._a[:, None]
        gx = wrap(_channels_back(_rows_gradient(scaled, y, rstd), shape))
    if node.needs[1]:
        gweight = (wrap(rows) * wrap(y)).sum(1)
    if node.needs[2]:
        gbias = wrap(rows).sum(1)
    return gx, gweight, gbias


@op(namespace=F)
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
