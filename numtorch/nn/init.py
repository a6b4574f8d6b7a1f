"""Initial values of parameters, written in place and outside the tape; the numbers are torch's from the same seed."""
import functools
import math
import warnings

import numpy as np

from ..autograd.grad_mode import no_grad
from ..ops import _random as draw
from ..random import chosen, default_generator, draw_permutation
from ..tensor import storage_of

__all__ = ["calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
           "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
           "constant", "dirac", "eye", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse", "uniform",
           "xavier_normal", "xavier_uniform"]

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def calculate_gain(nonlinearity, param=None):
    """The factor by which a layer's weights should be larger to make up for the nonlinearity behind it.

    Args:
        nonlinearity (str): linear, conv{1,2,3}d, conv_transpose{1,2,3}d and sigmoid: 1; tanh: 5/3; relu: sqrt(2);
            leaky_relu: sqrt(2 / (1 + param^2)); selu: 3/4.
        param (float): of leaky_relu its slope below zero; default 0.01.

    Raises:
        ValueError: another nonlinearity, or a ``param`` that is no number.

    >>> calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        elif isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + param ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _write(tensor, value):
    """Copies an array into the tensor's memory."""
    tensor._a[...] = value
    storage_of(tensor).version += 1
    return tensor


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Uniform numbers in [a, b).

    >>> import numtorch as torch
    >>> _ = uniform_(torch.empty(3, 5))
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Normal numbers.

    >>> import numtorch as torch
    >>> _ = normal_(torch.empty(3, 5), std=0.02)
    """
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Normal numbers within [a, b]: those outside are drawn again.

    Args:
        tensor (Tensor): floating.
        mean, std (float): of the normal distribution before it is cut.
        a, b (float): the smallest and the largest value.
        generator (Generator): draws them; default the global one.

    Where more than 30 % of the distribution lies inside, whole tensors of normal numbers are drawn until every place has had
    one inside. Otherwise uniform numbers are kept with probability exp(-((x - mean)/std)^2 / 2) over its maximum in [a, b].

    >>> import numtorch as torch
    >>> bool((trunc_normal_(torch.empty(100)).abs() <= 2).all())
    True
    """
    def below(x):
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=2)
    generator = chosen(generator, "trunc_normal_")
    with no_grad():
        if below((b - mean) / std) - below((a - mean) / std) > 0.3:
            tensor.normal_(mean, std, generator=generator)
            return _write(tensor, _redrawn(tensor._a, mean, std, a, b, generator))
        tensor.uniform_(a, b, generator=generator)
        return _write(tensor, _rejected(tensor._a, mean, std, a, b, generator))


def _redrawn(x, mean, std, a, b, generator):
    low, high = x.dtype.type(a), x.dtype.type(b)
    while (outside := (x < low) | (x > high)).any():
        again = draw.empty_like(x)
        draw.normal(again, mean, std, generator)
        x = np.where(outside, again, x)
    return x


def _rejected(x, mean, std, a, b, generator):
    kind = x.dtype.type
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def too_rare(candidates):
        chance = draw.empty_like(x)
        draw.uniform(chance, 0, 1, generator)
        with np.errstate(divide="ignore"):
            log_chance = np.log(chance)
        return log_chance > ((candidates - kind(mean)) / kind(std)) ** 2 * kind(-0.5) - kind(peak)

    pending = too_rare(x)
    while pending.any():
        candidates = draw.empty_like(x)
        draw.uniform(candidates, a, b, generator)
        x = np.where(pending, candidates, x)
        pending = pending & too_rare(candidates)
    return x


def constant_(tensor, val):
    """The number ``val`` everywhere.

    >>> import numtorch as torch
    >>> constant_(torch.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor):
    """Ones.

    >>> import numtorch as torch
    >>> ones_(torch.empty(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor):
    """Zeros.

    >>> import numtorch as torch
    >>> zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    with no_grad():
        return tensor.zero_()


def eye_(tensor):
    """Ones on the diagonal, zeros elsewhere: a linear layer that hands on its input. ValueError unless 2-D.

    >>> import numtorch as torch
    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _write(tensor, np.eye(*tensor._a.shape))


def dirac_(tensor, groups=1):
    """A convolution that hands on its input channels: ones in the middle of the kernels (i, i), zeros elsewhere.

    Args:
        tensor (Tensor): 3-, 4- or 5-D, as the weight of a convolution.
        groups (int): groups of the convolution, each of which hands on its channels; divides the first dimension.

    Raises:
        ValueError: another number of dimensions, or groups that do not divide.

    >>> import numtorch as torch
    >>> dirac_(torch.empty(1, 1, 3))
    tensor([[[0., 1., 0.]]])
    """
    shape = tensor._a.shape
    if len(shape) not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    channels = shape[0] // groups
    value, middle = np.zeros(shape, tensor._a.dtype), tuple(s // 2 for s in shape[2:])
    for group in range(groups):
        for d in range(min(channels, shape[1])):
            value[(group * channels + d, d, *middle)] = 1
    return _write(tensor, value)


# ---- by the number of inputs and outputs -------------------------------------------------------------------------------

def _calculate_fan_in_and_fan_out(tensor):
    """(inputs that an output is a sum over, outputs that an input goes into) of a weight (out, in, *kernel)."""
    shape = tensor._a.shape
    if len(shape) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor, mode):
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Uniform numbers in (-a, a) with a = gain sqrt(6 / (fan_in + fan_out)); at least 2-D, or ValueError.

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    >>> import numtorch as torch
    >>> _ = xavier_uniform_(torch.empty(3, 5), gain=calculate_gain("relu"))
    """
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    a = math.sqrt(3.0) * std
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Normal numbers with std = gain sqrt(2 / (fan_in + fan_out)); at least 2-D, or ValueError. Source: as xavier_uniform_.

    >>> import numtorch as torch
    >>> _ = xavier_normal_(torch.empty(3, 5))
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor)))), generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _empty(tensor):
    if 0 in tensor._a.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Uniform numbers in (-bound, bound) with bound = gain sqrt(3 / fan).

    Args:
        tensor (Tensor): a weight (out, in, *kernel).
        a (float): slope below zero of the leaky_relu behind the layer.
        mode (str): "fan_in" keeps the variance of activations, "fan_out" that of gradients.
        nonlinearity (str): see ``calculate_gain``.
        generator (Generator): draws them; default the global one.

    Raises:
        ValueError: less than 2-D, or an unknown mode or nonlinearity.

    Source: K. He et al., "Delving deep into rectifiers: Surpassing human-level performance on ImageNet classification", 2015.

    >>> import numtorch as torch
    >>> _ = kaiming_uniform_(torch.empty(3, 5), mode="fan_in", nonlinearity="relu")
    """
    if _empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Normal numbers with std = gain / sqrt(fan); arguments, errors and source as ``kaiming_uniform_``.

    >>> import numtorch as torch
    >>> _ = kaiming_normal_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu")
    """
    if _empty(tensor):
        return tensor
    return normal_(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor, gain=1, generator=None):
    """An orthogonal matrix (rows or columns, whichever are fewer), times ``gain``; dimensions from the second on are one.

    The Q of a QR decomposition of normal numbers, its signs chosen so that the diagonal of R is positive.

    Raises:
        ValueError: less than 2-D.

    Source: A. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", 2013.

    >>> import numtorch as torch
    >>> w = orthogonal_(torch.empty(3, 5))
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True
    """
    a = tensor._a
    if a.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if a.size == 0:
        return tensor
    if a.dtype not in (np.float32, np.float64):
        raise NotImplementedError(f"orthogonal_: the QR decomposition is not built for {tensor.dtype}; initialise a float32 "
                                  "tensor and copy it")
    rows = a.shape[0]
    flat = np.empty((rows, a.size // rows), a.dtype)
    draw.normal(flat, 0, 1, chosen(generator, "orthogonal_"))
    wide = flat.shape[0] < flat.shape[1]
    q, r = np.linalg.qr(flat.T if wide else flat)
    q = q * np.sign(np.diagonal(r))
    return _write(tensor, ((q.T if wide else q) * a.dtype.type(gain)).reshape(a.shape))


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Normal numbers, in each column of which a random share is zero.

    Args:
        tensor (Tensor): 2-D.
        sparsity (float): the share, rounded up to whole elements.
        std (float): of the normal numbers.
        generator (Generator): draws the numbers; the places come from the global one, as in torch.

    Raises:
        ValueError: not 2-D.

    Source: J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.

    >>> import numtorch as torch
    >>> int((sparse_(torch.empty(10, 4), sparsity=0.1) == 0).sum())
    4
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    normal_(tensor, 0, std, generator)
    rows, columns = tensor._a.shape
    zeros = math.ceil(sparsity * rows)
    value = tensor._a.copy()
    for column in range(columns):
        value[draw_permutation(default_generator, rows)[:zeros], column] = 0
    return _write(tensor, value)


# ---- the old names -----------------------------------------------------------------------------------------------------

def _deprecated(function):
    new = function.__name__
    old = new[:-1]

    @functools.wraps(function)
    def call(*args, **kwargs):
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)
    call.__name__ = call.__qualname__ = old
    call.__doc__ = f"The old name of ``{new}``; warns."
    return call


uniform, normal, constant, eye, dirac = map(_deprecated, (uniform_, normal_, constant_, eye_, dirac_))
xavier_uniform, xavier_normal = _deprecated(xavier_uniform_), _deprecated(xavier_normal_)
kaiming_uniform, kaiming_normal = _deprecated(kaiming_uniform_), _deprecated(kaiming_normal_)
orthogonal, sparse = _deprecated(orthogonal_), _deprecated(sparse_)
