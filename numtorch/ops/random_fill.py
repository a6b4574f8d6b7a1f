"""Random fills: Tensor.uniform_, normal_, random_, bernoulli_, exponential_, geometric_, cauchy_, log_normal_.

Each writes in the order of the tensor's memory, as torch does. On the tape the gradient of what was there before is zero.
"""
from .. import dtypes
from .. import kernels as K
from ..kernels._device import DeviceArray
from ..op import attach, needs_grad, op, type_name
from ..random import chosen
from ..tensor import Tensor, storage_of, wrap
from . import _random as draw
from .inplace import check_writable, rebase
from .random import bound, check_std, fill_bernoulli, fill_integers, fill_normal, fill_uniform, floating, zeros_backward


def _in_place(name, tensor, backward, fill, *others):
    """Runs ``fill(array, dtype)`` on the memory of ``tensor``; on the tape, its gradient from before is zero."""
    check_writable(tensor, name, others)
    fill(tensor._a, tensor.dtype)
    inputs = (tensor, *others)
    if needs_grad(*inputs):
        written = wrap(tensor._a)
        node = attach((written,), backward, inputs, (), {"shapes": [t._a.shape for t in inputs]})
        rebase(tensor, node)
    else:
        storage_of(tensor).version += 1
    return tensor


_BACKWARD = {name: zeros_backward(name) for name in (
    "UniformBackward0", "NormalBackward0", "RandomBackward0", "RandomBackward1", "RandomBackward2", "BernoulliBackward1",
    "BernoulliBackward2", "ExponentialBackward0", "GeometricBackward0", "CauchyBackward0", "LogNormalBackward0")}


def _fill_method(function):
    """Attaches an in-place fill to Tensor, and lists it among the ops."""
    return op(method=True, namespace="Tensor")(function)


def _plain(value):
    return value.item() if isinstance(value, Tensor) else value


@_fill_method
def uniform_(self, from_=0.0, to=1.0, *, generator=None, **keywords):
    """Fills the tensor with uniform numbers in [from, to); ``from`` may be given by name.

    Raises:
        RuntimeError: from > to, or an end is outside the dtype.
        NotImplementedError: the dtype is not floating or complex.

    >>> import numtorch as torch
    >>> torch.empty(3).uniform_(2, 2)
    tensor([2., 2., 2.])
    """
    from_ = keywords.pop("from", from_)
    if keywords:
        raise TypeError(f"uniform_() got an unexpected keyword argument '{next(iter(keywords))}'")
    low, high, generator = _plain(from_), _plain(to), chosen(generator, "uniform_")
    real = self.dtype.to_real()
    floating("check_uniform_bounds", real)
    smallest, largest = draw.limits(real)
    for label, value in (("from", low), ("to", high)):
        if not smallest <= value <= largest:
            raise RuntimeError(f"{label} is out of bounds for {draw.C_NAMES[real._name]}")
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
    if high - low > largest:
        raise RuntimeError(f"uniform_ expects to-from <= std::numeric_limits<{type_name(real)}>::max(), but found to={high:g} "
                           f"and from={low:g} which result in to-from to exceed the limit")
    return _in_place("uniform_", self, _BACKWARD["UniformBackward0"], fill_uniform(generator, low, high))


@_fill_method
def normal_(self, mean=0.0, std=1.0, *, generator=None):
    """Fills the tensor with normal numbers.

    Raises:
        RuntimeError: std < 0.
        NotImplementedError: the dtype is not floating or complex.

    >>> import numtorch as torch
    >>> torch.empty(2).normal_(3, 0)
    tensor([3., 3.])
    """
    mean, std, generator = _plain(mean), _plain(std), chosen(generator, "normal_")
    check_std(std)
    return _in_place("normal_", self, _BACKWARD["NormalBackward0"], fill_normal(generator, mean, std))


class _Unset:
    def __repr__(self):
        return "..."


_UNSET = _Unset()       # None has a meaning of its own: no upper end


@_fill_method
def random_(self, from_=_UNSET, to=_UNSET, *, generator=None, **keywords):
    """Fills the tensor with random integers: ``random_()``, ``random_(to)`` or ``random_(from, to)``.

    ``random_()`` draws from [0, largest] of an integer dtype and [0, 2^digits] of a floating one; the others from [0, to) and
    [from, to), where ``to=None`` means up to the largest.

    Raises:
        RuntimeError: the range is empty, or outside the dtype.

    >>> import numtorch as torch
    >>> torch.empty(3, dtype=torch.int64).random_(5, 6)
    tensor([5, 5, 5])
    """
    from_ = keywords.pop("from", from_)
    if keywords:
        raise TypeError(f"random_() got an unexpected keyword argument '{next(iter(keywords))}'")
    generator = chosen(generator, "random_")
    if from_ is _UNSET and to is _UNSET:
        fill, number = (lambda array, dtype: draw.any_integers(array, dtype, generator)), 2
    elif from_ is _UNSET or to is _UNSET:
        high = bound("random_", "to", 1, to if from_ is _UNSET else from_)
        fill, number = fill_integers(0, high, generator), 1
    else:
        high = None if to is None else bound("random_", "to", 2, to)
        fill, number = fill_integers(bound("random_", "from", 1, from_), high, generator), 0
    return _in_place("random_", self, _BACKWARD[f"RandomBackward{number}"], fill)


@_fill_method
def bernoulli_(self, p=0.5, *, generator=None):
    """Fills the tensor with ones with probability ``p`` (a number, or a tensor that broadcasts to this one), else zeros.

    Raises:
        RuntimeError: a probability outside [0, 1].

    >>> import numtorch as torch
    >>> torch.empty(3).bernoulli_(1)
    tensor([1., 1., 1.])
    """
    generator = chosen(generator, "bernoulli_")
    if isinstance(p, Tensor):
        return _in_place("bernoulli_", self, _BACKWARD["BernoulliBackward1"],
                         lambda array, dtype: fill_bernoulli(array, p, generator), p)
    return _in_place("bernoulli_", self, _BACKWARD["BernoulliBackward2"],
                     lambda array, dtype: fill_bernoulli(array, p, generator))


def _serial_fill(name, backward, tensor, generator, *args, kinds=dtypes.FLOATING):
    """Fills by the distribution ``name`` without its underscore, in dtypes of category ``kinds`` or above up to floating.

    On the CPU these kernels compute in float64, and one takes the generator's second normal as well.
    """
    kernel = name[:-1]
    if tensor._a.size and not kinds <= tensor.dtype.category <= dtypes.FLOATING:
        raise NotImplementedError(f"\"{name[:-1]}_cpu\" not implemented for '{type_name(tensor.dtype)}'")
    other = draw.F64 if tensor.dtype.category == dtypes.INTEGRAL else draw.F32

    def fill(array, dtype):
        if array.__class__ is DeviceArray:
            draw.fill_on_device(array, "fV", kernel, generator, *args)
            return
        own = (generator.state, generator.cache) if kernel == "log_normal" else (generator.state,)
        draw.fill(array, draw.work_dtype(array, other), getattr(K.random, kernel), *own, *args)
    return _in_place(name, tensor, _BACKWARD[backward], fill)


def _continuous(distribution, tensor, label):
    if not tensor.dtype.is_floating_point:
        raise RuntimeError(f"{distribution} distribution is a continuous probability distribution. dtype must be a floating "
                           f"point but you specified {label}")


@_fill_method
def exponential_(self, lambd=1.0, *, generator=None):
    """Fills the tensor with exponential numbers of rate ``lambd``, which is above 0: density lambd exp(-lambd x).

    >>> import numtorch as torch
    >>> bool((torch.empty(3).exponential_() >= 0).all())
    True
    """
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    if self._a.size:
        _continuous("Exponential", self, type_name(self.dtype))
    return _serial_fill("exponential_", "ExponentialBackward0", self, chosen(generator, "exponential_"), float(lambd))


@_fill_method
def geometric_(self, p, *, generator=None):
    """Fills the tensor with the number of trials up to the first success, which has probability ``p`` in (0, 1).

    >>> import numtorch as torch
    >>> bool((torch.empty(3).geometric_(0.5) >= 1).all())
    True
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    return _serial_fill("geometric_", "GeometricBackward0", self, chosen(generator, "geometric_"), float(p),
                        kinds=dtypes.INTEGRAL)


@_fill_method
def cauchy_(self, median=0.0, sigma=1.0, *, generator=None):
    """Fills the tensor with numbers of the Cauchy distribution around ``median`` with half width ``sigma``, above 0.

    >>> import numtorch as torch
    >>> torch.empty(3).cauchy_().shape
    torch.Size([3])
    """
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    _continuous("Cauchy", self, draw.C_NAMES.get(self.dtype._name, self.dtype._name))
    return _serial_fill("cauchy_", "CauchyBackward0", self, chosen(generator, "cauchy_"), float(median), float(sigma))


@_fill_method
def log_normal_(self, mean=1.0, std=2.0, *, generator=None):
    """Fills the tensor with exp of normal numbers of the given mean and standard deviation, above 0.

    >>> import numtorch as torch
    >>> bool((torch.empty(3).log_normal_() > 0).all())
    True
    """
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    return _serial_fill("log_normal_", "LogNormalBackward0", self, chosen(generator, "log_normal_"), float(mean), float(std))
