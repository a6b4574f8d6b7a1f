"""Limits on gradients: by their norm, or element by element."""
import math
import types
import warnings

from ...autograd.grad_mode import no_grad
from ...ops import create
from ...ops.join import stack
from ...ops.linalg_norm import vector_norm
from ...tensor import Tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _listed(tensors):
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _check_foreach(foreach):
    if foreach:
        raise RuntimeError("foreach=True was passed, but can't use the foreach API on cpu tensors")


@no_grad()
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of all tensors' elements together.

    Args:
        tensors (Tensor or iterable of Tensors): usually gradients.
        norm_type (float): which norm; inf the largest absolute value.
        error_if_nonfinite (bool): RuntimeError if it is nan or infinite.
        foreach: None or False; there is one implementation.

    Returns:
        Tensor: 0-dim.
    """
    tensors, norm_type = _listed(tensors), float(norm_type)
    if not tensors:
        return create.tensor(0.0)
    _check_foreach(foreach)
    total = vector_norm(stack([vector_norm(t, norm_type) for t in tensors]), norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
                           "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
                           "`error_if_nonfinite=False`")
    return total


@no_grad()
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Multiplies the gradients by ``max_norm / total_norm`` where that is less than 1.

    Args:
        parameters (Tensor or iterable of Tensors): whose gradients are changed.
        max_norm (float): what their norm may be. total_norm (Tensor): what it is.
        foreach: None or False; there is one implementation.
    """
    grads = [p.grad for p in _listed(parameters) if p.grad is not None]
    if not grads:
        return
    _check_foreach(foreach)
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(factor)


@no_grad()
def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales the gradients, so that the norm of all of them together is at most ``max_norm``.

    Args:
        parameters (Tensor or iterable of Tensors): whose gradients are changed.
        max_norm (float): the limit.
        norm_type (float): which norm; inf the largest absolute value.
        error_if_nonfinite (bool): RuntimeError if the norm is nan or infinite.
        foreach: None or False; there is one implementation.

    Returns:
        Tensor: the norm before scaling.

    >>> import numtorch as torch
    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> torch.nn.utils.clip_grad_norm_(w, 1.0), w.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    generated = isinstance(parameters, types.GeneratorType)
    parameters = _listed(parameters)
    if generated and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    total = get_total_norm([p.grad for p in parameters if p.grad is not None], norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The older name of ``clip_grad_norm_``."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
                  FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters, clip_value, foreach=None):
    """Keeps every element of the gradients within +-``clip_value``.

    Args:
        parameters (Tensor or iterable of Tensors): whose gradients are changed.
        clip_value (float): the limit.
        foreach: None or False; there is one implementation.
    """
    _check_foreach(foreach)
    limit = float(clip_value)
    for p in _listed(parameters):
        if p.grad is not None:
            p.grad.clamp_(-limit, limit)
