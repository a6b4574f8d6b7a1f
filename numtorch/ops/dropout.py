"""Dropout: elements, or whole channels, set to zero at random while training, the others scaled up.

Source: N. Srivastava et al., "Dropout: A simple way to prevent neural networks from overfitting", JMLR 15 (2014). The mask is
drawn as ``bernoulli_(1 - p)`` draws it, so it equals torch's from the same seed.
"""
import functools
import warnings

import numpy as np

from .. import kernels as K
from ..kernels._device import DeviceArray
from ..op import OPS, grad_name, op, record, type_name
from ..random import cuda_generator, default_generator
from ..tensor import wrap
from . import _random as draw
from ._random import BOOL, F32, F64
from .inplace import assign, check_writable

# of SELU: what its fixed point wants an element to become instead of zero (G. Klambauer et al., NeurIPS 2017)
ALPHA = 1.7580993408473766


def _check(p, error):
    if not 0 <= p <= 1:
        raise error(f"dropout probability has to be between 0 and 1, but got {p}")


def _check_dtype(dtype):
    if dtype.is_complex:
        raise NotImplementedError(f"\"bernoulli_scalar_cpu_\" not implemented for '{type_name(dtype)}'")
    if not dtype.is_floating_point:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {type_name(dtype)}")


@functools.lru_cache(256)
def _scale(p, dtype):
    """1 / (1 - p) in a NumPy dtype, rounded as torch rounds it."""
    work = np.float64 if dtype == np.float64 else np.float32
    return dtype.type(work(1) / work(1 - p))


def _drop(input, p):
    """One pass over the elements in the order of their memory: draws, masks and scales; recorded."""
    x = input._a
    kind = x.dtype
    scale = _scale(p, kind)
    if x.__class__ is DeviceArray:
        mask, y = _drop_on_device(input, 1 - p, scale)
    elif x.flags.c_contiguous and (kind is F32 or kind is F64):
        mask, y = np.empty(x.shape, BOOL), np.empty(x.shape, kind)
        K.random.dropout(default_generator.state, 1 - p, scale, x.reshape(-1), mask.reshape(-1), y.reshape(-1))
    else:
        _check_dtype(input.dtype)
        perm, work = draw.memory_order(x), draw.work_dtype(x)
        turned = np.ascontiguousarray(x.transpose(perm), work)
        mask, y = np.empty(turned.shape, BOOL), np.empty(turned.shape, work)
        K.random.dropout(default_generator.state, 1 - p, work.type(scale), turned.reshape(-1), mask.reshape(-1), y.reshape(-1))
        back = np.argsort(perm)
        mask, y = mask.transpose(back), y.astype(kind, copy=False).transpose(back)
    return record(y, dropout_backward, (input,), (wrap(mask),), scale=scale)


def _drop_on_device(input, keep, scale):
    """(mask, result), in the order of memory of ``input``."""
    _check_dtype(input.dtype)
    x = input._a
    perm = draw.memory_order(x)
    back, turned = np.argsort(perm).tolist(), x.transpose(perm)
    turned = turned if turned.flags.c_contiguous else turned.copy()
    mask, y = np.empty(turned.shape, BOOL, like=x), np.empty(turned.shape, x.dtype, like=x)
    K.random_cuda.dropout(cuda_generator(x.device), keep, scale, turned.reshape(-1), mask.reshape(-1), y.reshape(-1))
    return mask.transpose(back), y.transpose(back)


@grad_name("MulBackward0")
def dropout_backward(node, g):
    """gx = g * mask * scale."""
    mask, = node.saved_tensors
    return _masked_scale(g, mask, node.ctx["scale"])


@op
def _masked_scale(self, mask, scale):
    """``self * mask * scale``, the gradient of dropout.

    Args:
        self (Tensor): floating.
        mask (Tensor): bool, of the same shape.
        scale (float): what the elements that stay are multiplied by.

    >>> import numtorch as torch
    >>> torch._masked_scale(torch.ones(2), torch.tensor([True, False]), 2.0)
    tensor([2., 0.])
    """
    work = self._a.dtype if self._a.__class__ is DeviceArray else draw.work_dtype(self._a)
    x, kept = np.ascontiguousarray(self._a, work, like=self._a), np.ascontiguousarray(mask._a, like=self._a)
    y = np.empty(self._a.shape, work, like=self._a)
    K.random.masked_scale(x.reshape(-1), kept.reshape(-1), work.type(scale), y.reshape(-1))
    return record(y.astype(self._a.dtype, copy=False), dropout_backward, (self,), (mask,), scale=scale)


def _times_zero(input):
    return OPS["mul"].fn(input, wrap(np.zeros((), input._a.dtype, like=input._a)))


def _noise_shape(shape):
    if len(shape) < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return shape[:2] + (1,) * (len(shape) - 2)


def _noise(input, p, feature):
    """Ones with probability 1 - p and zeros, in the shape and memory order of ``input`` or one for each of its channels."""
    _check_dtype(input.dtype)
    a = input._a
    noise = np.empty(_noise_shape(a.shape), a.dtype, like=a) if feature else draw.empty_like(a)
    draw.bernoulli(noise, 1 - p, default_generator)
    return noise


def _element_dropout(input, p):
    return _times_zero(input) if p == 1 else _drop(input, p)


def _feature_dropout(input, p):
    if p == 1:
        return _times_zero(input)
    noise = _noise(input, p, True)
    return OPS["mul"].fn(input, wrap(noise * _scale(p, noise.dtype)))


def _alpha(input, p, feature):
    if p == 1:
        return _times_zero(input)
    noise = _noise(input, p, feature)
    kind = noise.dtype.type
    a = 1 / np.sqrt((ALPHA * ALPHA * p + 1) * (1 - p))
    # asarray: what NumPy computes of 0-dim arrays is no array
    b = np.asarray((noise - kind(1)) * kind(ALPHA * a) + kind(ALPHA * a * p), noise.dtype, like=noise)
    return OPS["add"].fn(OPS["mul"].fn(input, wrap(np.asarray(noise * kind(a), like=noise))), wrap(b))


def _alpha_dropout(input, p):
    return _alpha(input, p, False)


def _feature_alpha_dropout(input, p):
    return _alpha(input, p, True)


def _apply(kind, input, p, train, inplace, name):
    _check(p, RuntimeError)
    if p == 0 or not train or input._a.size == 0:
        return input
    if not inplace:
        return kind(input, p)
    check_writable(input, name)
    return assign(input, kind(input, p), name)


def _family(name, kind, says):
    """Declares ``torch.<name>(input, p, train)`` and the in-place ``torch.<name>_``."""
    def fn(input, p, train):
        return _apply(kind, input, p, train, False, name)

    def fn_(input, p, train):
        return _apply(kind, input, p, train, True, name + "_")
    for made, suffix in ((fn, ""), (fn_, "_")):
        made.__name__ = made.__qualname__ = name + suffix
        made.__module__ = __name__
        made.__doc__ = f"""{says}{", in place" if suffix else ""}.

        Args:
            input (Tensor): floating{", at least 2-D" if "feature" in name else ""}.
            p (float): the probability of an element to be dropped, in [0, 1].
            train (bool): False gives ``input`` itself.

        Raises:
            RuntimeError: ``p`` is not in [0, 1].
        """
        op(name + suffix)(made)
    return fn, fn_


_family("dropout", _element_dropout, "Sets elements to zero at random and scales the others by 1 / (1 - p)")
_family("feature_dropout", _feature_dropout, "Sets whole channels (dimension 1) to zero and scales the others by 1 / (1 - p)")
_family("alpha_dropout", _alpha_dropout, "Dropout that keeps the mean and the variance of SELU's activations")
_family("feature_alpha_dropout", _feature_alpha_dropout, "``alpha_dropout`` of whole channels (dimension 1)")


# ---- torch.nn.functional -----------------------------------------------------------------------------------------------

def _functional(name, kind, says, default=0.5, training=True, check=None):
    def fn(input, p=default, training=training, inplace=False):
        _check(p, ValueError)
        if check is not None:
            check(name, input)
        return _apply(kind, input, p, training, inplace, name)
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"""{says}.

    Args:
        input (Tensor): floating.
        p (float): the probability to be dropped, in [0, 1].
        training (bool): False gives ``input`` itself.
        inplace (bool): write the result into ``input``.

    Returns:
        Tensor of the shape and dtype of ``input``

    Raises:
        ValueError: ``p`` is not in [0, 1].

    >>> import numtorch as torch
    >>> bool((torch.nn.functional.{name}(torch.ones(2, 3, 4), 0.0) == 1).all())
    True
    """
    return op(name, namespace="nn.functional")(fn)


def _message(name, n, input, kept):
    ndim = input._a.ndim
    return (f"{name}: Received a {ndim}-D input to {name}, which is deprecated and will result in an error in a future "
            f"release. To retain the behavior and silence this warning, please use dropout instead. Note that {name} "
            f"exists to provide channel-wise dropout on inputs with {n} spatial dimensions, a channel dimension, and an "
            f"optional batch dimension (i.e. {kept} inputs).")


def _check_1d(name, input):
    if input._a.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input._a.ndim}D input. Note that dropout1d "
                           "exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, "
                           "and an optional batch dimension (i.e. 2D or 3D inputs).")


def _check_2d(name, input):
    ndim = input._a.ndim
    if ndim not in (3, 4):
        warnings.warn(_message(name, 2, input, "3D or 4D"), stacklevel=4)
    if ndim == 3:
        warnings.warn("dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is "
                      "desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will "
                      "change in a future release to interpret the input as one without a batch dimension, i.e. shape "
                      "(C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using dropout1d "
                      "instead.", stacklevel=4)


def _check_3d(name, input):
    if input._a.ndim not in (4, 5):
        warnings.warn(_message(name, 3, input, "4D or 5D"), stacklevel=4)


def _batched(kind, ndim):
    """``kind``, with a batch dimension of 1 put before an input that does not have ``ndim`` dimensions."""
    def apply(input, p):
        if input._a.ndim == ndim:
            return kind(input, p)
        return OPS["squeeze"].fn(kind(OPS["unsqueeze"].fn(input, 0), p), 0)
    return apply


_functional("dropout", _element_dropout, "Sets elements to zero at random and scales the others by 1 / (1 - p)")
_functional("alpha_dropout", _alpha_dropout, "Dropout that keeps the mean and the variance of SELU's activations",
            training=False)
_functional("feature_alpha_dropout", _feature_alpha_dropout, "``alpha_dropout`` of whole channels (dimension 1)",
            training=False)
_functional("dropout1d", _batched(_feature_dropout, 3), "Dropout of whole channels of an (N, C, L) or (C, L) input",
            check=_check_1d)
_functional("dropout2d", _feature_dropout, "Dropout of whole channels of an (N, C, H, W) input; 3-D is taken as (N, C, L)",
            check=_check_2d)
_functional("dropout3d", _batched(_feature_dropout, 5),
            "Dropout of whole channels of an (N, C, D, H, W) or (C, D, H, W) input",
            check=_check_3d)
