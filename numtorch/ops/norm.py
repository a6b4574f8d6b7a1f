"""Normalisation: layer, batch, group, instance and RMS norm, local response norm."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..kernels._device import DeviceArray
from ..op import grad_name, must_be_floating, op, record, type_name
from ..tensor import storage_of, wrap
from ._one_node import gradients, one_node

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
    if a.__class__ is DeviceArray:
        return _rows_on_device(input, shape, weight, bias, eps)
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


def _rows_on_device(input, shape, weight, bias, eps, centred=True):
    """layer_norm, or without ``centred`` rms_norm, by kernels that take halves as they are, with parameters of their dtype."""
    must_be_floating("LayerNormKernelImpl", input)
    a, parameters = input._a, [t for t in (weight, bias) if t is not None]
    if any([t._a.dtype != a.dtype for t in parameters]):
        if a.dtype.itemsize != 2:
            raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found "
                               f"{type_name(next(t for t in parameters if t._a.dtype != a.dtype).dtype)}")
        found = _rows_on_device(input.float(), shape, *(t if t is None else t.float() for t in (weight, bias)), eps, centred)
        return found.to(input.dtype)
    rows = np.ascontiguousarray(a, like=a).reshape(-1, shapes.numel(shape))
    out, computed = np.empty(rows.shape, a.dtype, like=a), np.dtype(np.float32) if a.dtype.itemsize == 2 else a.dtype
    mean, rstd = (np.empty(len(rows), computed, like=a) for _ in range(2))
    if out.size:
        K.norm_cuda.forward(rows, _row(weight), _row(bias), eps, out, mean, rstd, centred=centred)
    return record(out.reshape(a.shape), layer_norm_backward if centred else rms_norm_backward, (input, weight, bias),
                  (input, weight), moments=(mean, rstd), n=rows.shape[1], eps=eps, shape=shape, centred=centred)


def _row(parameter):
    """A parameter's array on the device as one row; None for None."""
    return None if parameter is None else np.ascontiguousarray(parameter._a, like=parameter._a).reshape(-1)


def _rows_backward_on_device(node, g, x, weight):
    """The gradients of ``_rows_on_device``."""
    a, shape, needs = x._a, node.ctx["shape"], node.needs
    rows = np.ascontiguousarray(a, like=a).reshape(-1, node.ctx["n"])
    gx = np.empty(rows.shape, a.dtype, like=a)
    gweight, gbias = (np.empty(rows.shape[1], a.dtype, like=a) if wanted else None for wanted in needs[1:])
    if rows.size:
        given = np.ascontiguousarray(g._a, like=a).reshape(rows.shape)
        K.norm_cuda.backward(given, rows, _row(weight), *node.ctx["moments"], gx, gweight, gbias, centred=node.ctx["centred"])
    else:
        for sums in (gweight, gbias):
            if sums is not None:
                sums.fill(0)
    return (wrap(gx.reshape(a.shape)) if needs[0] else None,
            *(None if sums is None else wrap(sums.reshape(shape)) for sums in (gweight, gbias)))


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
    if x._a.__class__ is DeviceArray:
        return _rows_backward_on_device(node, g, x, weight)
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
    if input._a.__class__ is DeviceArray and (weight is None or weight._a.shape == shape):
        return _rows_on_device(input, shape, weight, None, eps, False)
    dims = tuple(range(-len(shape), 0))
    y = input * ((input * input).mean(dims, True) + eps).rsqrt()
    return y if weight is None else y * weight


@grad_name("FusedRmsNormBackward0")
def rms_norm_backward(node, g):
    """rstd (gw - y mean(gw y)) with gw = g weight; the sum over rows for the weight."""
    x, weight = node.saved_tensors
    if not mode.enabled:
        return _rows_backward_on_device(node, g, x, weight)
    n, shape = node.ctx["n"], node.ctx["shape"]
    rows, g_rows = x.reshape(-1, n), g.reshape(-1, n)
    rstd = ((rows * rows).mean(1, True) + node.ctx["eps"]).rsqrt()
    y, h = rows * rstd, g_rows if weight is None else g_rows * weight.reshape(-1)
    return (((h - y * (h * y).mean(1, True)) * rstd).reshape(x._a.shape) if node.needs[0] else None,
            (g_rows * y).sum(0).reshape(shape) if node.needs[1] else None, None)


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
    if a.dtype.itemsize == 2 and a.__class__ is not DeviceArray:
        found = batch_norm(input.float(), running_mean, running_var, *(t if t is None else t.float() for t in (weight, bias)),
                           training, momentum, eps)
        return found.to(input.dtype)
    n = a.size // channels if channels else 0
    if training and a.size and n <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
    must_be_floating("batch_norm", input)
    if a.__class__ is DeviceArray:
        return _batch_norm_on_device(input, running_mean, running_var, weight, bias, training, momentum, eps)
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


def _batch_norm_on_device(input, running_mean, running_var, weight, bias, training, momentum, eps):
    """batch_norm by kernels that take halves as they are, with statistics and parameters in float32."""
    a = input._a
    runs = np.ascontiguousarray(a, like=a).reshape(*a.shape[:2], -1)
    computed = np.dtype(np.float32) if a.dtype.itemsize == 2 else a.dtype
    statistics = [t if t is None else _dense(t._a, computed) for t in (running_mean, running_var)]
    affine = [t if t is None else _dense(t._a, computed) for t in (weight, bias)]
    out = np.empty(runs.shape, a.dtype, like=a)
    if not training:
        mean, rstd, scale, shift = K.batch_norm_cuda.fixed(runs, *affine, *statistics, eps)
    elif a.size:
        mean, rstd, scale, shift = K.batch_norm_cuda.statistics(runs, *affine, *statistics, momentum, eps)
        for t, moved in zip((running_mean, running_var), statistics):
            if t is not None:
                if moved is not t._a:
                    t._a[...] = moved
                storage_of(t).version += 1
    else:
        mean = rstd = scale = np.zeros(a.shape[1], computed, like=a)
    if out.size:
        K.batch_norm_cuda.mapped(None, runs, mean, None, scale, shift, out)
    return record(out.reshape(a.shape), batch_norm_backward, (input, weight, bias), (input, weight), mean=mean, rstd=rstd,
                  eps=eps, training=training, scale=scale)


def _dense(a, dtype):
    """An array on the device as the kernels take it: itself where it is that already."""
    a = a.astype(dtype, copy=False)
    return a if a.flags.c_contiguous else a.copy()


def _batch_norm_backward_on_device(node, g, x, weight):
    """The gradients of ``_batch_norm_on_device``."""
    ctx, a, dtype = node.ctx, x._a, x._a.dtype
    shape = (*a.shape[:2], shapes.numel(a.shape[2:]))
    if not a.size:
        return (wrap(np.zeros(a.shape, dtype, like=a)),
                *(wrap(np.zeros(shape[1], dtype, like=a)) if wanted else None for wanted in node.needs[1:]))
    if not ctx["training"] and not any(node.needs[1:]):
        return wrap((g._a * ctx["scale"].reshape(1, -1, *[1] * (a.ndim - 2))).astype(dtype, copy=False)), None, None
    given, runs = (np.ascontiguousarray(t, like=a).reshape(shape) for t in (g._a, a))
    scale = None if weight is None else _dense(weight._a, ctx["mean"].dtype)
    gweight, gbias, *coefficients = K.batch_norm_cuda.gradients(given, runs, ctx["mean"], ctx["rstd"], scale, ctx["training"])
    gx = None
    if node.needs[0]:
        gx = np.empty(shape, dtype, like=a)
        K.batch_norm_cuda.mapped(given, runs, ctx["mean"], *coefficients, gx)
        gx = wrap(gx.reshape(a.shape))
    kind = dtype if weight is None else weight._a.dtype
    return gx, *(wrap(t.astype(kind, copy=False)) if wanted else None for t, wanted in zip((gweight, gbias), node.needs[1:]))


def _sum_over_batch(g):
    return g.sum([d for d in range(g.ndim) if d != 1])


@grad_name("NativeBatchNormBackward0")
def batch_norm_backward(node, g):
    """As layer_norm's, over each channel's values; with fixed statistics the map is affine."""
    x, weight = node.saved_tensors
    if mode.enabled:
        return _recorded_batch_norm_backward(node, g, x, weight)
    if x._a.__class__ is DeviceArray:
        return _batch_norm_backward_on_device(node, g, x, weight)
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


def _by_groups(input, groups, weight, bias, eps):
    """Each sample's ``groups`` of channels normalised, then a weight and a bias for each channel."""
    shape = input._a.shape
    rows = input.reshape(shape[0] * groups, -1)
    y = layer_norm(rows, rows._a.shape[1:], None, None, eps).reshape(shape)
    around = (1, shape[1]) + (1,) * (len(shape) - 2)
    if weight is not None:
        y = y * weight.reshape(around)
    return y if bias is None else y + bias.reshape(around)


_group_norm = one_node("NativeGroupNormBackward0")(_by_groups)


def _groups_on_device(input, groups, weight, bias, eps):
    """The same by one kernel; by several where parameters have another dtype, or there is nothing to normalise."""
    a = input._a
    if not a.size or any([t is not None and t._a.dtype != a.dtype for t in (weight, bias)]):
        return _group_norm(input, groups, weight, bias, eps)
    rows = np.ascontiguousarray(a, like=a).reshape(a.shape[0] * groups, -1)
    out, computed = np.empty(rows.shape, a.dtype, like=a), np.dtype(np.float32) if a.dtype.itemsize == 2 else a.dtype
    mean, rstd = (np.empty(len(rows), computed, like=a) for _ in range(2))
    span = shapes.numel(a.shape[2:])
    K.norm_cuda.forward(rows, _row(weight), _row(bias), eps, out, mean, rstd, groups, span)
    return record(out.reshape(a.shape), group_norm_backward, (input, weight, bias), (input, weight, bias), moments=(mean, rstd),
                  groups=groups, span=span, eps=eps)


@grad_name("NativeGroupNormBackward0")
def group_norm_backward(node, g):
    """As layer_norm's, with sums over samples and places for the channels' weights and biases."""
    x, weight, bias = node.saved_tensors
    ctx, needs, a = node.ctx, node.needs, x._a
    if mode.enabled:
        x, weight, bias = (t if t is None else t.view_as(t) for t in (x, weight, bias))    # weight and bias may be one tensor
        y = _by_groups(x, ctx["groups"], weight, bias, ctx["eps"])
        return gradients((y,), (x, weight, bias), (g,), needs, create_graph=True)
    rows = np.ascontiguousarray(a, like=a).reshape(a.shape[0] * ctx["groups"], -1)
    gx = np.empty(rows.shape, a.dtype, like=a)
    gweight, gbias = (np.empty(a.shape[1], a.dtype, like=a) if wanted else None for wanted in needs[1:])
    given = np.ascontiguousarray(g._a, like=a).reshape(rows.shape)
    K.norm_cuda.backward(given, rows, _row(weight), *ctx["moments"], gx, gweight, gbias, ctx["groups"], ctx["span"])
    return wrap(gx.reshape(a.shape)) if needs[0] else None, *(None if t is None else wrap(t) for t in (gweight, gbias))


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
    normalize = _groups_on_device if input._a.__class__ is DeviceArray else _group_norm
    return normalize(input, num_groups, weight, bias, eps)


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
    normalize = _groups_on_device if input._a.__class__ is DeviceArray else _by_groups
    return normalize(input, channels, weight, bias, eps)


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
