"""Element-wise losses with kernels of their own: one pass for the loss, one for its gradient, one node on the tape."""
import numpy as np

from ..autograd.grad_mode import enable_grad, mode
from ..autograd.node import node_class
from ..kernels._device import DeviceArray
from ..op import op, record, type_name
from ..tensor import Tensor, wrap
from . import _pointwise
from ._one_node import gradients
from .activation import logsigmoid
from .convert import to_dtype
from .loss import REAL, reduce_loss, reduction_of, warn_of_sizes
from .masked import where
from .reduce import reduce_array

F = "nn.functional"


class _Fused:
    """An element-wise loss of an input and a target.

    Args:
        formula (str): of the loss, and with _grad of its gradient, in kernels/_losses.py.
        name (str): what torch calls the node.
        define: the loss of (input, target, *parameters) by recorded operations. It runs for what the kernels do not take (half
            types, operands of several dtypes), where the target has a gradient, and where a gradient is differentiated again.
        of_difference (bool): the loss depends on input - target alone: the target's gradient is the input's, negated.
    """

    def __init__(self, formula, name, define, of_difference=False):
        self.formula, self.define, self.of_difference = formula, define, of_difference
        self.node_backward = lambda node, g: self._backward(node, g)
        self.node_backward.node_class = node_class(self.node_backward, name)

    def __call__(self, input, target, reduction, parameters=(), weight=None):
        """The loss, times ``weight`` (a Tensor or None), reduced; ``parameters`` are numbers or Tensors that broadcast."""
        if input._a.dtype != target._a.dtype:
            common = _pointwise.common_dtype((input, target))
            input, target = to_dtype(input, common), to_dtype(target, common)
        dtype, factor = input._a.dtype, None if weight is None else weight._a
        further = [t for t in (*parameters, weight) if isinstance(t, Tensor)]
        number = dtype.type if input._a.__class__ is DeviceArray else lambda p: np.array(p, dtype)
        arrays = [p._a if isinstance(p, Tensor) else number(p) for p in (input, target, *parameters)]
        shape = np.broadcast_shapes(*[a.shape for a in arrays])
        if (dtype not in REAL or any(t._a.dtype != dtype for t in (target, *further)) or any(t.requires_grad for t in further)
                or factor is not None and np.broadcast_shapes(shape, factor.shape) != shape):
            return self._defined(input, target, parameters, weight, reduction)
        losses = _pointwise.run(self.formula, arrays, (dtype.name,) * (len(arrays) + 1), shape)
        if factor is not None:
            losses *= factor
        scale = 1.0
        if reduction != "none":
            n = losses.size
            if n:
                losses = reduce_array("sum", losses, tuple(range(losses.ndim))) if losses.ndim else losses
            else:
                losses = np.zeros((), dtype, like=losses)
            if reduction == "mean":
                scale = 1.0 / n if n else float("nan")
                losses = _of_dtype(losses / n if n else losses + scale, dtype)
        return record(losses, self.node_backward, (input, target), (input, target), parameters=parameters, arrays=arrays[2:],
                      weight=weight, scale=scale, shape=shape, reduction=reduction)

    def _defined(self, input, target, parameters, weight, reduction):
        loss = self.define(input, target, *parameters)
        return reduce_loss(loss if weight is None else loss * weight, reduction)

    def _backward(self, node, g):
        """g dl/dx by the formula of the gradient, for a mean divided by the number of elements."""
        x, y = node.saved_tensors
        ctx, (need_x, need_y) = node.ctx, node.needs
        recorded = mode.enabled
        if recorded or need_y and not self.of_difference:
            with enable_grad():
                loss = self._defined(x, y, ctx["parameters"], ctx["weight"], ctx["reduction"])
            return gradients((loss,), (x, y), (g,), node.needs, create_graph=recorded)
        given, dtype = g._a, x._a.dtype
        if ctx["scale"] != 1.0:
            given = _of_dtype(given * ctx["scale"], dtype)
        if ctx["weight"] is not None:
            given = _of_dtype(given * ctx["weight"]._a, dtype)
        arrays = (given, x._a, y._a, *ctx["arrays"])
        gx = wrap(_pointwise.run(self.formula + "_grad", arrays, (dtype.name,) * (len(arrays) + 1), ctx["shape"]))
        return gx if need_x else None, -gx if need_y else None


def _of_dtype(a, dtype):
    """The result of arithmetic, which may be NumPy's number or of a wider type, as an array of ``dtype``."""
    return a.astype(dtype, copy=False) if a.__class__ is DeviceArray else np.asarray(a, dtype)


def _weighted_mean(loss, weight, reduction):
    """A loss times a weight for each element; its mean is by the sum of the weights."""
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduce_loss(loss, reduction)


# ---- of the difference -----------------------------------------------------------------------------------------------------

_squared = _Fused("squared_error", "MseLossBackward0", lambda x, y: (x - y) ** 2, True)


@op(namespace=F)
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """The squared difference ``(input - target)^2``, then its mean, sum or nothing by ``reduction``.

    Args:
        input, target (Tensor): of the same shape (others broadcast, with a warning).
        weight (Tensor): of each element.

    >>> import numtorch as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    reduction = reduction_of(reduction, size_average, reduce)
    warn_of_sizes("mse_loss", input, target)
    if weight is not None:
        return _weighted_mean(_squared.define(input, target), weight, reduction)
    return _squared(input, target, reduction)


def _smooth_l1(x, y, beta):
    size = (x - y).abs()
    return where(size < beta, size * size * (0.5 / beta), size - 0.5 * beta)


_smooth = _Fused("smooth_l1", "SmoothL1LossBackward0", _smooth_l1, True)


@op(namespace=F)
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """``0.5 d^2 / beta`` where ``|d| < beta``, else ``|d| - 0.5 beta``; d the difference (Girshick, 2015).

    Raises:
        RuntimeError: beta is negative.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    warn_of_sizes("smooth_l1_loss", input, target)
    return reduce_loss((input - target).abs(), reduction) if beta == 0 else _smooth(input, target, reduction, (beta,))


def _huber(x, y, delta):
    size = (x - y).abs()
    return where(size <= delta, size * size * 0.5, (size - 0.5 * delta) * delta)


_hubers = _Fused("huber", "HuberLossBackward0", _huber, True)


@op(namespace=F)
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """``0.5 d^2`` where ``|d| <= delta``, else ``delta (|d| - 0.5 delta)``; d the difference (Huber, 1964).

    Raises:
        RuntimeError: delta is not positive.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    warn_of_sizes("huber_loss", input, target)
    reduction = reduction_of(reduction)
    if weight is not None:
        return _weighted_mean(_huber(input, target, delta), weight, reduction)
    return _hubers(input, target, reduction, (delta,))


# ---- of probabilities ------------------------------------------------------------------------------------------------------

_of_probability = _Fused("cross_entropy_of_probability", "BinaryCrossEntropyBackward0",
                         lambda x, y: (y - 1) * (1 - x).log().clamp(min=-100) - y * x.log().clamp(min=-100))


@op(namespace=F)
def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """``-(y ln x + (1 - y) ln(1 - x))``, logarithms kept at or above -100.

    Raises:
        ValueError: shapes differ. RuntimeError: an input outside [0, 1], or dtypes differ.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input._a.shape != target._a.shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is "
                         "deprecated. Please ensure they have the same size.")
    if input._a.dtype != target._a.dtype:
        raise RuntimeError(f"Found dtype {type_name(target.dtype)} but expected {type_name(input.dtype)}")
    # on a GPU, where the host would have to wait for the answer, such inputs give nan
    if input._a.__class__ is not DeviceArray and input._a.size and not (0 <= input._a.min() and input._a.max() <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")
    return _of_probability(input, target, reduction, (), weight)


def _of_logits(x, y, positive):
    return (1 - y) * x - ((positive - 1) * y + 1) * logsigmoid(x)


_of_logit = _Fused("cross_entropy_of_logit", "BinaryCrossEntropyWithLogitsBackward0", _of_logits)


@op(namespace=F)
def binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None, reduction="mean",
                                     pos_weight=None):
    """``binary_cross_entropy(sigmoid(input), target)`` without overflow; ``pos_weight`` weighs the positive targets.

    Raises:
        ValueError: shapes differ. RuntimeError: integers as targets.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if input._a.shape != target._a.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if not target.is_floating_point():
        raise RuntimeError(f"result type {type_name(input.dtype)} can't be cast to the desired output type "
                           f"{type_name(target.dtype)}")
    return _of_logit(input, target, reduction, (1.0 if pos_weight is None else pos_weight,), weight)


# ---- of signs --------------------------------------------------------------------------------------------------------------

_margin = _Fused("soft_margin", "SoftMarginLossBackward0", lambda x, y: (-y * x).exp().log1p())


@op(namespace=F)
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """``ln(1 + e^(-target * input))`` for targets 1 and -1."""
    return _margin(input, target, reduction_of(reduction, size_average, reduce))
