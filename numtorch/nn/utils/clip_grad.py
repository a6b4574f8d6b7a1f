"""Keeping gradients within a norm or a value."""
import math
import warnings

import numpy as np

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor, storage_of, wrap


def _with_grad(parameters):
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p._grad for p in parameters if p._grad is not None]


@no_grad()
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of order ``norm_type`` of all elements of ``tensors`` together.

    Raises:
        RuntimeError: it is nan or infinite, and ``error_if_nonfinite`` is set.
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not tensors:
        return wrap(np.zeros((), np.float32))
    norms = [np.linalg.norm(t._a.reshape(-1), float(norm_type)) if t._a.size else 0.0 for t in tensors]
    total = np.asarray(np.linalg.norm(np.asarray(norms), float(norm_type)), tensors[0]._a.dtype)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
                           "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
                           "`error_if_nonfinite=False`")
    return wrap(total)


@no_grad()
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Scales gradients by ``max_norm / total_norm`` where that is below 1."""
    factor = min(float(max_norm) / (float(total_norm) + 1e-6), 1.0)
    for g in _with_grad(parameters):
        np.multiply(g._a, g._a.dtype.type(factor), out=g._a)
        storage_of(g).version += 1


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales all gradients so that their norm together is at most ``max_norm``; returns the norm before.

    Args:
        parameters (Tensor or Tensors): whose ``.grad`` is scaled in place.
        max_norm, norm_type (float): the limit and the order of the norm.
        error_if_nonfinite (bool): RuntimeError when the norm is nan or infinite.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_with_grad(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The older name of ``clip_grad_norm_``."""
    warnings.warn("torch.nn.utils.clip_grad_norm is now deprecated in favor of torch.nn.utils.clip_grad_norm_.", FutureWarning,
                  stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite)


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Keeps every element of every gradient within ``+-clip_value``."""
    for g in _with_grad(parameters):
        np.clip(g._a, -float(clip_value), float(clip_value), out=g._a)
        storage_of(g).version += 1
