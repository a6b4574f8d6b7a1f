"""nll_loss and cross_entropy against class indices on a CUDA device, where nothing waits for the result.

A target that is no class makes the loss nan; ``loss.py`` has the rest.
"""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..op import also_named, grad_name, record
from ..tensor import wrap
from .softmax import softmax


def _columns(a):
    """(C,), (N, C) or (N, C, d1 ...) as contiguous (outer, C, inner)."""
    a = np.ascontiguousarray(a, like=a)
    if a.ndim == 1:
        return a.reshape(1, -1, 1)
    return a.reshape(*a.shape[:2], shapes.numel(a.shape[2:]))


def _class_dim(shape):
    return 1 if len(shape) > 1 else 0


def _targets(target):
    return np.ascontiguousarray(target._a, like=target._a).reshape(-1).astype(np.int64, copy=False)


def _weights(weight, x):
    """The weights of classes in the dtype in which losses of ``x`` are computed."""
    if weight is None:
        return None
    return np.ascontiguousarray(weight._a, like=x).astype(np.float32 if x.dtype.itemsize == 2 else x.dtype, copy=False)


def _reduced(losses, weights, reduction, shape):
    """(the loss, the sum of weights that a mean is divided by, or None)."""
    if reduction == "none":
        return losses.reshape(shape[:1] + shape[2:] if len(shape) > 1 else ()), None
    if not losses.size:
        total = np.zeros((), losses.dtype, like=losses)
        return (total / total, total) if reduction == "mean" else (total, None)
    total, divisor = K.loss_cuda.reduced(losses, weights, reduction == "mean")
    return total, divisor if reduction == "mean" else None


def _given(g, node):
    """A gradient as the kernels take it: a number, or one for each row."""
    given = g._a.astype(node.ctx["weights"].dtype, copy=False)
    return np.ascontiguousarray(given, like=given).reshape(-1) if node.ctx["reduction"] == "none" else given


def _table(node):
    """The weight over the divisor at each row's target, 0 elsewhere, in the input's shape."""
    ctx = node.ctx
    shape, weights = ctx["shape"], ctx["weights"]
    table = np.zeros(shape, weights.dtype, like=weights)
    if table.size:
        minus_one = np.full((), -1, weights.dtype, like=weights)
        K.loss_cuda.spread(ctx["target"], weights, ctx["divisor"], minus_one, _columns(table))
    return wrap(table)


def _along_classes(g, node):
    """A gradient of the loss so that it broadcasts to the input."""
    shape = node.ctx["shape"]
    return g.unsqueeze(_class_dim(shape)) if node.ctx["reduction"] == "none" else g


# ---- of log-probabilities --------------------------------------------------------------------------------------------------

def nll_loss(input, target, weight, ignore_index, reduction):
    """``loss.nll_loss`` of checked arguments."""
    work = input if input._a.dtype.itemsize > 2 else input.float()
    logp, t = _columns(work._a), _targets(target)
    if t.size:
        losses, weights = K.loss_cuda.picked(logp, t, _weights(weight, logp), ignore_index)
    else:
        losses = weights = np.zeros(0, logp.dtype, like=logp)
    loss, divisor = _reduced(losses, weights, reduction, input._a.shape)
    return record(loss, nll_loss_backward if input._a.ndim <= 2 else nll_loss2d_backward, (work,), weights=weights, target=t,
                  divisor=divisor, shape=input._a.shape, reduction=reduction)


def nll_loss_backward(node, g):
    """-weight[t] at the target, 0 elsewhere."""
    ctx = node.ctx
    if mode.enabled:
        return -(_table(node) * _along_classes(g, node))
    out = np.zeros(ctx["shape"], ctx["weights"].dtype, like=ctx["weights"])
    if out.size:
        K.loss_cuda.spread(ctx["target"], ctx["weights"], ctx["divisor"], _given(g, node), _columns(out))
    return wrap(out)


nll_loss2d_backward = also_named("NllLoss2DBackward0", nll_loss_backward)


# ---- of scores -------------------------------------------------------------------------------------------------------------

def cross_entropy(input, target, weight, ignore_index, reduction):
    """``loss.cross_entropy`` of checked arguments, in one kernel and the sum; the loss of halves is float32."""
    x, t = _columns(input._a), _targets(target)
    computed = np.dtype(np.float32) if x.dtype.itemsize == 2 else x.dtype
    if t.size:
        losses, weights, tops, logs = K.loss_cuda.cross_entropy(x, t, _weights(weight, x), ignore_index)
    else:
        losses = weights = tops = logs = np.zeros(0, computed, like=x)
    loss, divisor = _reduced(losses, weights, reduction, input._a.shape)
    return record(loss, cross_entropy_backward if input._a.ndim <= 2 else cross_entropy2d_backward, (input,), (input,),
                  weights=weights, target=t, tops=tops, logs=logs, divisor=divisor, shape=input._a.shape, reduction=reduction)


@grad_name("NllLossBackward0")
def cross_entropy_backward(node, g):
    """weight[t] (softmax - [class is t]): one kernel, or differentiable operations where backward is recorded."""
    x, = node.saved_tensors
    ctx, shape = node.ctx, node.ctx["shape"]
    if not mode.enabled:
        rows = _columns(x._a)
        out = np.empty(rows.shape, rows.dtype, like=rows)
        if out.size:
            K.loss_cuda.cross_entropy_backward(rows, ctx["target"], ctx["tops"], ctx["logs"], ctx["weights"], ctx["divisor"],
                                               _given(g, node), out)
        return wrap(out.reshape(shape))
    weights = ctx["weights"] if ctx["divisor"] is None else ctx["weights"] / ctx["divisor"]
    weights = wrap(weights.reshape(shape[:1] + shape[2:] if len(shape) > 1 else ())).unsqueeze(_class_dim(shape))
    p = softmax(x, _class_dim(shape)).to(g.dtype)
    return ((p * weights - _table(node)) * _along_classes(g, node)).to(x.dtype)


cross_entropy2d_backward = also_named("NllLoss2DBackward0", cross_entropy_backward)
