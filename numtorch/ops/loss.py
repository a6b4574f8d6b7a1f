"""Losses. Those against class indices have kernels; element-wise ones are formulas with a reduction."""
import warnings

import numpy as np

from .. import kernels as K
from .._legacy import legacy
from ..autograd.grad_mode import mode
from ..kernels._device import DeviceArray
from ..op import grad_name, must_be_floating, op, record
from ..tensor import wrap
from . import _cuda_loss
from ._one_node import one_node
from .activation import logsigmoid
from .softmax import log_softmax, softmax

F = "nn.functional"
REAL = (np.dtype(np.float32), np.dtype(np.float64))     # what kernels take; half types go through float32
_NO_WEIGHT = {d: np.empty(0, d) for d in REAL}


def reduction_of(reduction, size_average=None, reduce=None):
    """The reduction's name, with the legacy flags taken in (and warned of) where they are given."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else ("sum" if size_average is False else "mean")
        legacy(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduce_loss(loss, reduction):
    """``loss`` as it is, its mean, or its sum."""
    return loss if reduction == "none" else (loss.mean() if reduction == "mean" else loss.sum())


# ---- against class indices -----------------------------------------------------------------------------------------------

def _class_rows(a):
    """(N, C, d1 ...) as rows (m, C), and the shape (N, d1 ...) of one number a row."""
    if a.ndim == 1:
        return a.reshape(1, -1), ()
    if a.ndim == 2:
        return np.ascontiguousarray(a), a.shape[:1]
    moved = np.ascontiguousarray(np.moveaxis(a, 1, -1))
    return moved.reshape(-1, a.shape[1]), moved.shape[:-1]


def _check_target(input, target, weight):
    x, t = input._a, target._a
    if x.ndim == 0:
        raise ValueError(f"Expected 1 or more dimensions (got {x.ndim})")
    if x.ndim > 1 and (t.ndim == 0 or x.shape[0] != t.shape[0]):
        raise ValueError(f"Expected input batch_size ({x.shape[0]}) to match target batch_size "
                         f"({t.shape[0] if t.ndim else 1}).")
    if x.ndim == 1 and t.ndim or x.ndim == 2 and t.ndim != 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if x.ndim > 2 and t.shape != x.shape[:1] + x.shape[2:]:
        raise RuntimeError(f"size mismatch (got input: {list(x.shape)}, target: {list(t.shape)})" if t.ndim == x.ndim - 1 else
                           f"only batches of spatial targets supported ({x.ndim - 1}D tensors) but got targets of dimension: "
                           f"{t.ndim}")
    if t.dtype.kind not in "iu" or t.dtype.itemsize < 8 and t.dtype != np.uint8:
        raise RuntimeError(f"expected scalar type Long but found {_type(target)}")
    classes = x.shape[1] if x.ndim > 1 else x.shape[0]
    if weight is not None and weight._a.shape != (classes,):
        raise RuntimeError(f"weight tensor should be defined either for all {classes} classes or no classes but got weight "
                           f"tensor of shape: {list(weight.shape)}")


def _type(t):
    from ..op import type_name

    return type_name(t.dtype)


def _pick(logp, target, weight, ignore_index, reduction, shape):
    """(loss, each row's weight over the divisor) from log-probabilities (m, c)."""
    m = logp.shape[0]
    each, weights = np.zeros(m, logp.dtype), np.zeros(m, logp.dtype)
    t = np.ascontiguousarray(target._a).reshape(-1).astype(np.int64, copy=False)
    w = _NO_WEIGHT[logp.dtype] if weight is None else np.ascontiguousarray(weight._a.astype(logp.dtype, copy=False))
    if m:
        bad = K.loss.nll_forward(logp, t, w, ignore_index, each, weights)
        if bad >= 0:
            raise IndexError(f"Target {t[bad]} is out of bounds.")
    if reduction == "none":
        return each.reshape(shape), weights, t
    if reduction == "sum":
        return np.asarray(each.sum(), logp.dtype), weights, t
    total = weights.sum(dtype=logp.dtype)
    with np.errstate(all="ignore"):
        return np.asarray(each.sum(dtype=logp.dtype) / total, logp.dtype), weights / total, t


@op(namespace=F)
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """The negative log-likelihood ``-weight[t] * input[t]`` of targets, given log-probabilities.

    Args:
        input (Tensor): (C,), (N, C) or (N, C, d1, d2 ...) log-probabilities.
        target (Tensor): int64 class indices, of the input's shape without C.
        weight (Tensor): (C,) the weights of classes.
        ignore_index (int): a target that counts nothing.
        reduction (str): "none", "mean" (over the weights of the targets) or "sum".

    Raises:
        IndexError: a target that is no class. ValueError, RuntimeError: shapes or dtypes that do not fit.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    must_be_floating("nll_loss_out_frame", input)
    _check_target(input, target, weight)
    if input._a.__class__ is DeviceArray:
        return _cuda_loss.nll_loss(input, target, weight, ignore_index, reduction)
    work = input if input._a.dtype.itemsize > 2 else input.float()
    logp, shape = _class_rows(work._a)
    loss, weights, t = _pick(logp, target, weight, ignore_index, reduction, shape)
    return record(loss, nll_loss_backward if input._a.ndim <= 2 else nll_loss2d_backward, (work,), rows=(weights, t),
                  shape=input._a.shape, reduction=reduction)


def _one_hot(weights, t, classes):
    """(m, classes) with each row's weight at its target."""
    table = np.zeros((len(t), classes), weights.dtype)
    live = np.flatnonzero(weights)
    table[live, t[live]] = weights[live]
    return table


def _as_input(rows, shape):
    """Rows (m, C) in the input's shape (N, C, d1 ...)."""
    if len(shape) <= 2:
        return rows.reshape(shape)
    return rows.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def nll_loss_backward(node, g):
    """-weight[t] at the target, 0 elsewhere."""
    (weights, t), shape = node.ctx["rows"], node.ctx["shape"]
    table = wrap(-_one_hot(weights, t, shape[1] if len(shape) > 1 else shape[0]))
    if node.ctx["reduction"] == "none":
        g = g.reshape(-1, 1)
    return _as_input(table * g, shape)


@grad_name("NllLoss2DBackward0")
def nll_loss2d_backward(node, g):
    """As nll_loss_backward, with spatial dimensions."""
    return nll_loss_backward(node, g)


@op(namespace=F)
def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
                  label_smoothing=0.0):
    """``nll_loss(log_softmax(input), target)``, in one operation for class indices.

    Args:
        input (Tensor): (C,), (N, C) or (N, C, d1, d2 ...) scores.
        target (Tensor): int64 class indices of the input's shape without C, or class probabilities of its shape.
        weight (Tensor): (C,) the weights of classes.
        ignore_index (int): a class index that counts nothing.
        reduction (str): "none", "mean" or "sum".
        label_smoothing (float): in [0, 1], how much of each target is spread over all classes.

    >>> import numtorch as torch
    >>> torch.nn.functional.cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor(1.3863)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target._a.shape == input._a.shape and target._a.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    must_be_floating("log_softmax_lastdim_kernel_impl", input)
    _check_target(input, target, weight)
    if label_smoothing > 0:
        return _smooth_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    if input._a.__class__ is DeviceArray:
        return _cuda_loss.cross_entropy(input, target, weight, ignore_index, reduction)
    work = input if input._a.dtype.itemsize > 2 else input.float()
    x, shape = _class_rows(work._a)
    logp = np.empty_like(x)
    if logp.size:
        K.softmax.log_softmax_forward(x, logp)
    loss, weights, t = _pick(logp, target, weight, ignore_index, reduction, shape)
    return record(loss, cross_entropy_backward if input._a.ndim <= 2 else cross_entropy2d_backward, (work,), (work,), logp=logp,
                  rows=(weights, t), shape=input._a.shape, reduction=reduction)


@grad_name("NllLossBackward0")
def cross_entropy_backward(node, g):
    """weight[t] (softmax - [class is t]): one kernel, or differentiable operations where backward is recorded."""
    x, = node.saved_tensors
    logp, (weights, t), shape = node.ctx["logp"], node.ctx["rows"], node.ctx["shape"]
    if not mode.enabled:
        scale = weights * g._a.reshape(-1)
        out = np.empty_like(logp)
        if out.size:
            K.loss.cross_entropy_backward(logp, t, scale, out)
        return _as_input(wrap(out), shape)
    dim = 1 if len(shape) > 1 else 0
    p = softmax(x, dim)
    p = p.movedim(dim, -1).reshape(logp.shape)
    if node.ctx["reduction"] == "none":
        g = g.reshape(-1, 1)
    return _as_input((p * wrap(weights[:, None]) - wrap(_one_hot(weights, t, logp.shape[1]))) * g, shape)


@grad_name("NllLoss2DBackward0")
def cross_entropy2d_backward(node, g):
    """As cross_entropy_backward, with spatial dimensions."""
    return cross_entropy_backward(node, g)


def _weighted(logp, weight):
    if weight is None:
        return logp
    return logp * weight.reshape((1, -1) + (1,) * (logp.ndim - 2) if logp.ndim > 1 else (-1,))


def _soft_cross_entropy(input, target, weight, reduction, smoothing):
    dim = 1 if input.ndim > 1 else 0
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / input._a.shape[dim]
    loss = -(_weighted(log_softmax(input, dim), weight) * target).sum(dim)
    if reduction == "mean":
        n = input._a.size // input._a.shape[dim] if input.ndim > 1 else 1
        return loss.sum() / n
    return reduce_loss(loss, reduction)


def _smooth_cross_entropy(input, target, weight, ignore_index, reduction, smoothing):
    dim = 1 if input.ndim > 1 else 0
    logp = log_softmax(input, dim)
    hard = nll_loss(logp, target, weight, ignore_index=ignore_index, reduction=reduction)
    live = target.ne(ignore_index).to(logp.dtype)
    spread = -_weighted(logp, weight).sum(dim) * live
    if reduction == "none":
        soft = spread
    elif reduction == "sum":
        soft = spread.sum()
    else:
        safe = target.masked_fill(target.eq(ignore_index), 0)
        divisor = (live if weight is None else weight.detach()[safe] * live).sum()
        soft = spread.sum() / divisor
    return hard * (1 - smoothing) + soft * (smoothing / input._a.shape[dim])


# ---- element-wise --------------------------------------------------------------------------------------------------------

def warn_of_sizes(name, input, target):
    """torch's warning for an input and a target that broadcast."""
    if input._a.shape != target._a.shape:
        warnings.warn(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This "
                      "will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
                      UserWarning, stacklevel=3)


def _elementwise(name, formula, says):
    """Declares F.name(input, target, ..., reduction): ``formula`` of differentiable operations, then the reduction."""
    def fn(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
        reduction = reduction_of(reduction, size_average, reduce)
        warn_of_sizes(name, input, target)
        loss = formula(input, target)
        if weight is not None:
            loss = loss * weight
            if reduction == "mean":
                return loss.sum() / weight.sum()
        return reduce_loss(loss, reduction)
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"{says}, element by element, then the mean (or sum, or none) by ``reduction``."
    return op(name, namespace=F)(fn)


l1_loss = _elementwise("l1_loss", lambda x, y: (x - y).abs(), "The absolute difference ``|input - target|``")


@op(namespace=F)
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """The Kullback-Leibler divergence ``y (ln y - input)`` of log-probabilities ``input`` from ``target``."""
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides "
                      "only by the batch size, and aligns with the KL div math definition.'mean' will be changed to "
                      "behave the same "
                      "as 'batchmean' in the next major release.", UserWarning, stacklevel=2)
    batch_mean = reduction == "batchmean"
    reduction = reduction_of("sum" if batch_mean else reduction, size_average, reduce)
    if not input.is_floating_point() or not target.is_floating_point():
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if log_target:
        loss = target.exp() * (target - input)
    else:
        from .pointwise import xlogy

        loss = xlogy(target, target) - target * input
    loss = reduce_loss(loss, reduction)
    return loss / input._a.shape[0] if batch_mean and input.ndim else loss


@op(namespace=F)
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """``input`` where the target is 1, ``max(0, margin - input)`` where it is -1."""
    from .masked import where

    loss = where(target.ne(1), (margin - input).clamp(min=0), 0.0) + where(target.ne(-1), input, 0.0)
    return reduce_loss(loss, reduction_of(reduction, size_average, reduce))


@op(namespace=F)
def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """``max(0, -target * (input1 - input2) + margin)``."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(f"margin_ranking_loss : All input tensors should have same dimension but got sizes: "
                           f"input1: {input1.shape}, "
                           f"input2: {input2.shape}, target: {target.shape} ")
    return reduce_loss((-target * (input1 - input2) + margin).clamp(min=0), reduction_of(reduction, size_average, reduce))


@op(namespace=F)
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1, of the angle along the last dimension."""
    from .masked import where

    dim = input1.ndim - 1
    eps = 1e-12
    cos = (input1 * input2).sum(dim) / (((input1 * input1).sum(dim) + eps) * ((input2 * input2).sum(dim) + eps)).sqrt()
    loss = where(target.eq(1), 1 - cos, 0.0) + where(target.eq(-1), (cos - margin).clamp(min=0), 0.0)
    return reduce_loss(loss, reduction_of(reduction, size_average, reduce))


@op(namespace=F)
def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """The mean over classes of the binary cross entropy with logits."""
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduce_loss(loss.mean(-1), reduction_of(reduction, size_average, reduce))


@op(namespace=F)
@one_node("MultiMarginLossBackward0")
def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
    """The mean over the other classes of ``max(0, margin - x[t] + x[j])^p``, times ``weight[t]``."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    x = input if input.ndim == 2 else input.reshape(1, -1)
    t = target.reshape(-1)
    loss = (margin - x.gather(1, t.reshape(-1, 1)) + x).clamp(min=0)
    if p == 2:
        loss = loss * loss
    if weight is not None:
        loss = loss * weight[t].reshape(-1, 1)
    own = wrap(np.arange(x._a.shape[1], like=x._a)[None] != t._a[:, None]).to(x.dtype)
    loss = (loss * own).sum(1) / x._a.shape[1]
    reduction = reduction_of(reduction, size_average, reduce)
    return reduce_loss(loss if input.ndim == 2 or reduction != "none" else loss.reshape(()), reduction)


@op(namespace=F)
def poisson_nll_loss(input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"):
    """``e^x - y x`` (or ``x - y ln(x + eps)``), with Stirling's term for ``full``."""
    from .masked import where

    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + (target * (2 * np.pi)).log() * 0.5
        loss = loss + where(target > 1, stirling, 0.0)
    return reduce_loss(loss, reduction_of(reduction, size_average, reduce))


@op(namespace=F)
def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """``0.5 (ln var + (input - target)^2 / var)``, var kept at or above ``eps``."""
    if not hasattr(var, "_a"):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input * 0 + var
    if var.lt(0).any():
        raise ValueError("var has negative entry/entries")
    if var._a.shape != input._a.shape and input._a.shape[:-1] == var._a.shape:
        var = var.unsqueeze(-1)
    var = var + (var.detach().clamp(min=eps) - var.detach())
    loss = (var.log() + (input - target) ** 2 / var) * 0.5
    if full:
        loss = loss + 0.5 * float(np.log(2 * np.pi))
    return reduce_loss(loss, reduction_of(reduction))
