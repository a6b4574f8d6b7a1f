"""Random tensors and in-place fills: torch's numbers from torch's seeds (see ``numtorch.random``).

torch built with MKL draws ``bernoulli`` with a number p, dropout's masks and ``exponential_`` from MKL's generator on Intel
CPUs; here, as in torch on all other CPUs, they come from the generator itself, so that a seed means the same everywhere.
"""
import math

import numpy as np

from .. import devices, dtypes
from .. import kernels as K
from .. import shape as shapes
from ..kernels._device import DeviceArray, is_capturing
from ..op import grad_name, needs_grad, op, put_out, record, type_name
from ..random import chosen, draw_multinomial, draw_permutation, generator_of
from ..tensor import Tensor, contiguous_format, preserve_format, wrap
from . import _random as draw
from .create import finish, np_dtype
from .create import like as prototype
from .search import extremes

# ---- new tensors -------------------------------------------------------------------------------------------------------

def _sizes(name, args, options):
    """The sizes in ``*args`` (ints, or one sequence of them) or in ``options["size"]``; torch's errors for anything else."""
    if "size" in options:
        args = (options.pop("size"),)
    elif not args:
        raise TypeError(f"{name}() received an invalid combination of arguments - got (), but expected (tuple of ints size, "
                        "...)")
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    for n in args:
        if type(n) is not int or n < 0:
            return _odd_sizes(name, args)
    return args


def _odd_sizes(name, args):
    for i, n in enumerate(args):
        if isinstance(n, (bool, float, str)) or not hasattr(n, "__index__"):
            raise TypeError(f"{name}(): argument 'size' (position {i + 1}) must be tuple of ints, not {type(n).__name__}")
    shape = shapes.as_sizes(args)
    for n in shape:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    return shape


_OPTIONS = frozenset(("layout", "device", "requires_grad", "pin_memory"))


def _check_options(name, options):
    for key in options:
        if key not in _OPTIONS and options[key] is not None:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
    options.pop("names", None)      # dimensions have no names; torch's signature has the argument


def _dtype(dtype):
    """``dtype``, or the one that Python's float, int, bool or complex stands for."""
    return dtype if type(dtype) is dtypes.dtype else dtypes._from_np[np_dtype(dtype)]


def _made(name, shape, default, fill, dtype, out, options):
    """A tensor of ``shape`` that ``fill(array, dtype)`` has filled, or ``out`` with those numbers."""
    if options:
        _check_options(name, options)
    if out is None:
        dtype = _dtype(dtype or default)
        array = np.empty(shape, dtype._np, like=prototype(options.get("device")))
        fill(array, dtype)
        return finish(array, **options) if options else finish(array)
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if dtype is not None and dtype is not out.dtype:
        raise RuntimeError(f"dtype {type_name(dtype)} does not match dtype of out parameter ({type_name(out.dtype)})")
    array = np.empty(shape, out._a.dtype, like=out._a)
    fill(array, out.dtype)
    put_out(name, out, array)
    return out


def _like(name, input, fill, dtype, memory_format, options):
    """A tensor of ``input``'s shape, and (unless told otherwise) strides, that ``fill(array, dtype)`` has filled."""
    if options:
        _check_options(name, options)
    dtype = _dtype(dtype or input.dtype)
    device = options.get("device")
    near = input._a if device is None else np.empty((), np.bool_) if devices.check(device) is devices.cpu else prototype(device)
    if memory_format in (None, preserve_format):
        array = draw.empty_like(input._a, dtype._np, near)
    elif memory_format is contiguous_format:
        array = np.empty(input._a.shape, dtype._np, like=near)
    else:
        raise NotImplementedError(f"{name}: memory_format={memory_format} is not built; use torch.contiguous_format")
    fill(array, dtype)
    return finish(array, **{"device": input.device, **options})


def floating(kernel, dtype):
    if dtype.category < dtypes.FLOATING:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")


def fill_uniform(generator, low=0.0, high=1.0):
    def fill(array, dtype):
        if dtype.category != dtypes.FLOATING:
            floating("check_uniform_bounds", dtype)
            array = draw.real_parts(array)
        draw.uniform(array, low, high, generator)
    return fill


def fill_normal(generator, mean=0.0, std=1.0):
    def fill(array, dtype):
        if not array.size:
            return      # before the dtype is looked at, as in torch
        if dtype.category == dtypes.FLOATING:
            draw.normal(array, mean, std, generator)
        else:
            floating("normal_kernel_cpu", dtype)
            # of a complex number each part has half the variance
            draw.normal(draw.real_parts(array), mean, std / math.sqrt(2), generator)
    return fill


@op
def rand(*size, generator=None, out=None, dtype=None, **options):
    """Uniform random numbers in [0, 1).

    Args:
        size (ints): the shape; ints, or one tuple or list of them.
        generator (Generator): draws them; default the global one.
        out (Tensor): is resized and filled instead; gives the dtype.
        dtype (dtype): floating or complex; default the default dtype.
        options: layout, device, requires_grad, pin_memory, as for ``torch.empty``.

    Raises:
        NotImplementedError: ``dtype`` is not floating or complex.

    >>> import numtorch as torch
    >>> _ = torch.manual_seed(1729)
    >>> torch.rand(2, 2)
    tensor([[0.3126, 0.3791],
            [0.3087, 0.0736]])
    """
    return _made("rand", _sizes("rand", size, options), dtypes.get_default_dtype(), fill_uniform(chosen(generator, "rand")),
                 dtype, out, options)


@op
def randn(*size, generator=None, out=None, dtype=None, **options):
    """Normal random numbers of mean 0 and variance 1 (of a complex number each part has variance 1/2).

    Args:
        size (ints): the shape; ints, or one tuple or list of them.
        generator (Generator): draws them; default the global one.
        out (Tensor): is resized and filled instead; gives the dtype.
        dtype (dtype): floating or complex; default the default dtype.
        options: layout, device, requires_grad, pin_memory, as for ``torch.empty``.

    Raises:
        NotImplementedError: ``dtype`` is not floating or complex.

    >>> import numtorch as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randn(3)
    tensor([ 1.5410, -0.2934, -2.1788])
    """
    return _made("randn", _sizes("randn", size, options), dtypes.get_default_dtype(),
                 fill_normal(chosen(generator, "randn")), dtype, out, options)


@op
def rand_like(input, *, generator=None, dtype=None, memory_format=None, **options):
    """Uniform random numbers in [0, 1) in the shape, dtype and order of strides of ``input``, unless others are given.

    >>> import numtorch as torch
    >>> torch.rand_like(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    return _like("rand_like", input, fill_uniform(chosen(generator, "rand_like")), dtype, memory_format, options)


@op
def randn_like(input, *, generator=None, dtype=None, memory_format=None, **options):
    """Normal random numbers in the shape, dtype and order of strides of ``input``, unless others are given.

    >>> import numtorch as torch
    >>> torch.randn_like(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    return _like("randn_like", input, fill_normal(chosen(generator, "randn_like")), dtype, memory_format, options)


def bound(name, label, position, value):
    if isinstance(value, Tensor):
        value = value.item()
    if isinstance(value, float) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}(): argument '{label}' (position {position}) must be int, not {type(value).__name__}")
    return value.__index__()


def fill_integers(low, high, generator):
    return lambda array, dtype: draw.integers(array, dtype, low, high, generator)


@op
def randint(*args, low=0, high=None, size=None, generator=None, out=None, dtype=None, **options):
    """Random integers in [low, high): ``randint(high, size)`` or ``randint(low, high, size)``.

    Args:
        low (int): the smallest; default 0.
        high (int): one above the largest.
        size (tuple of ints): the shape.
        generator (Generator): draws them; default the global one.
        out (Tensor): is resized and filled instead; gives the dtype.
        dtype (dtype): default int64; floating dtypes hold whole numbers.
        options: layout, device, requires_grad, pin_memory, as for ``torch.empty``.

    Raises:
        RuntimeError: low >= high, or the range does not fit the dtype.

    >>> import numtorch as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randint(3, 10, (4,))
    tensor([7, 6, 3, 5])
    """
    args, given = list(args), len(args)
    if size is None:
        if len(args) < (2 if high is None else 1):
            raise TypeError("randint() received an invalid combination of arguments - expected (int high, tuple of ints size, "
                            f"...) or (int low, int high, tuple of ints size, ...), but got {len(args)} positional arguments")
        size = args.pop()
    if args and high is None:
        high = args.pop()
    if args:
        low = args.pop()
    if args or high is None:
        raise TypeError("randint() received an invalid combination of arguments - expected (int high, tuple of ints size, "
                        "...) or (int low, int high, tuple of ints size, ...)")
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): argument 'size' (position {given}) must be tuple of ints, not {type(size).__name__}")
    low, high = bound("randint", "low", 1, low), bound("randint", "high", max(given - 1, 1), high)
    return _made("randint", _sizes("randint", (size,), {}), dtypes.int64,
                 fill_integers(low, high, chosen(generator, "randint")), dtype, out, options)


@op
def randint_like(input, *bounds, low=0, high=None, generator=None, dtype=None, memory_format=None, **options):
    """Random integers in [low, high) in the shape, dtype and order of strides of ``input``.

    ``randint_like(input, high)`` or ``randint_like(input, low, high)``.

    >>> import numtorch as torch
    >>> bool((torch.randint_like(torch.zeros(3), 2, 5) >= 2).all())
    True
    """
    if len(bounds) + (high is not None) not in (1, 2):
        raise TypeError("randint_like() received an invalid combination of arguments - expected (Tensor input, int high, ...) "
                        "or (Tensor input, int low, int high, ...)")
    if bounds:
        low, high = (low if high is None else bounds[0], bounds[0] if high is None else high) if len(bounds) == 1 else bounds
    low, high = bound("randint_like", "low", 2, low), bound("randint_like", "high", 3, high)
    return _like("randint_like", input, fill_integers(low, high, chosen(generator, "randint_like")), dtype, memory_format,
                 options)


@op
def randperm(n, *, generator=None, out=None, dtype=None, **options):
    """A random permutation of the integers 0 .. n - 1.

    Args:
        n (int): how many.
        generator (Generator): draws it; default the global one.
        out (Tensor): is resized and filled instead; gives the dtype.
        dtype (dtype): default int64.
        options: layout, device, requires_grad, pin_memory, as for ``torch.empty``.

    Raises:
        RuntimeError: n is negative, or the dtype does not hold n.

    >>> import numtorch as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.randperm(4)
    tensor([0, 1, 3, 2])
    """
    n, generator = bound("randperm", "n", 1, n), chosen(generator, "randperm")
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")

    def fill(array, dtype):
        if dtype is dtypes.bool or dtype.is_complex:
            raise NotImplementedError(f"\"randperm\" not implemented for '{type_name(dtype)}'")
        if dtype.is_floating_point and dtype is not dtypes.bfloat16:     # torch leaves bfloat16 out
            largest = (1 << draw.DIGITS[dtype._name]) + 1
            if n > largest:
                raise RuntimeError(f"n cannot be greater than {largest} for {type_name(dtype)} type.")
        elif n > draw.limits(dtype)[1] and not dtype.is_floating_point:
            raise RuntimeError(f"value cannot be converted to type {dtype._name}_t without overflow")
        array[...] = _permutation_on_device(array.device, generator, n) if array.__class__ is DeviceArray else \
            draw_permutation(generator, n)
    return _made("randperm", (n,), dtypes.int64, fill, dtype, out, options)


def _permutation_on_device(device, generator, n):
    """The stable order of n random keys of 64 bits: two are equal, and so in order, in one of 2^17 permutations of 2^24."""
    keys = K._device.empty((1, n), np.int64, device)
    K.random_cuda.integers(generator_of(device, generator), 0, 0, True, keys.reshape(-1))
    order = K._device.empty((1, n), np.int64, device)
    K.sort.argsort(keys, False, K._device.empty((1, n), np.int64, device), order)
    return order.reshape(-1)


@op
def normal(mean, std=1.0, size=None, *, generator=None, out=None, dtype=None, **options):
    """Normal random numbers of the given means and standard deviations.

    Args:
        mean (Tensor or float): broadcast with ``std``; a tensor gives the dtype of the result.
        std (Tensor or float): at least 0.
        size (tuple of ints): the shape, where both are numbers.
        generator (Generator): draws them; default the global one.
        out (Tensor): is resized and filled instead.
        dtype, options: where both are numbers, as for ``randn``.

    Raises:
        RuntimeError: a standard deviation below 0, or shapes that do not broadcast.
        NotImplementedError: the dtype is not floating or complex.

    >>> import numtorch as torch
    >>> torch.normal(torch.zeros(3), torch.tensor([0., 0., 0.]))
    tensor([0., 0., 0.])
    """
    generator = chosen(generator, "normal")
    tensors = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not tensors:
        if size is None or not isinstance(size, (tuple, list)):
            raise TypeError("normal() received an invalid combination of arguments - with a float mean and a float std it "
                            f"needs size=(tuple of ints), but got {size!r}")
        check_std(std)
        return _made("normal", _sizes("normal", (size,), {}), dtypes.get_default_dtype(), fill_normal(generator, mean, std),
                     dtype, out, options)
    if size is not None or dtype is not None or options:
        raise TypeError("normal() received an invalid combination of arguments - size, dtype and the like go with a float "
                        "mean and a float std only")
    if isinstance(std, Tensor):
        if std.is_complex():
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if std._a.size and not extremes(std._a)[0] >= 0:
            raise RuntimeError("normal expects all elements of std >= 0.0")
    else:
        check_std(std)
    if out is not None and needs_grad(*tensors):
        raise RuntimeError("normal(): functions with out=... arguments don't support automatic differentiation, but one of "
                           "the arguments requires grad.")
    like = out if out is not None else tensors[0]
    array = np.empty(shapes.broadcast_shapes(*(t._a.shape for t in tensors)), like._a.dtype, like=like._a)
    if isinstance(std, Tensor):
        fill_normal(generator)(array, like.dtype)
        array[...] = array * std._a
    else:
        fill_normal(generator, 0.0, std)(array, like.dtype)
    array[...] = array + (mean._a if isinstance(mean, Tensor) else float(mean))
    if out is not None:
        put_out("normal", out, array)
        return out
    return record(array, _NORMAL_BACKWARD[isinstance(mean, Tensor), isinstance(std, Tensor)], tensors,
                  shapes=[t._a.shape for t in tensors])


def check_std(std):
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")


def zeros_backward(name):
    """A backward that gives zeros: a draw does not depend on what it replaces, nor (to torch) on its parameters."""
    def backward(node, *gs):
        g = next(g for g in gs if g is not None)
        zeros = tuple(wrap(np.zeros(shape, g._a.dtype, like=g._a)) for shape in node.ctx["shapes"])
        return zeros[0] if len(zeros) == 1 else zeros
    return grad_name(name)(backward)


_NORMAL_BACKWARD = {(True, False): zeros_backward("NormalBackward1"), (False, True): zeros_backward("NormalBackward2"),
                    (True, True): zeros_backward("NormalBackward3")}


def _drawn(array, backward, *inputs):
    return record(array, backward, inputs, shapes=[t._a.shape for t in inputs])


@op(method=True)
def bernoulli(input, p=None, *, generator=None, out=None):
    """Ones and zeros: one with the probability in ``input``, element by element, or everywhere with ``p``.

    Args:
        input (Tensor): probabilities in [0, 1], floating; with ``p`` only its shape and dtype count.
        p (float): one probability for all.
        generator (Generator): draws them; default the global one.
        out (Tensor): is resized and filled instead.

    Raises:
        RuntimeError: a probability outside [0, 1].
        NotImplementedError: probabilities that are not floating.

    >>> import numtorch as torch
    >>> torch.bernoulli(torch.tensor([0., 1., 1.]))
    tensor([0., 1., 1.])
    """
    generator = chosen(generator, "bernoulli")
    array = np.empty(input._a.shape, input._a.dtype if out is None else out._a.dtype, like=input._a)
    fill_bernoulli(array, input if p is None else p, generator)
    if out is not None:
        put_out("bernoulli", out, array)
        return out
    return _drawn(array, _bernoulli_backward, input)


def fill_bernoulli(array, p, generator):
    if not array.size:
        return
    if array.dtype.kind == "c":
        raise NotImplementedError(f"\"bernoulli_scalar_cpu_\" not implemented for '{type_name(dtypes._from_np[array.dtype])}'")
    if not isinstance(p, Tensor):
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        draw.bernoulli(array, p, generator)
        return
    if not p.dtype.is_floating_point:
        raise NotImplementedError(f"\"bernoulli_tensor_cpu_p_\" not implemented for '{type_name(p.dtype)}'")
    each = p._a
    try:
        if each.shape != array.shape:
            each = np.broadcast_to(each, array.shape)
    except ValueError:
        raise RuntimeError(f"The expanded size of the tensor ({list(array.shape)}) must match the existing size "
                           f"({list(p._a.shape)}): bernoulli_ cannot broadcast p to the tensor") from None
    draw.bernoulli_each(array, each, generator)


_bernoulli_backward = zeros_backward("BernoulliBackward0")
_poisson_backward = zeros_backward("PoissonBackward0")


@op
def poisson(input, generator=None):
    """Poisson random numbers of the rates in ``input``, in its shape and dtype.

    Args:
        input (Tensor): rates of at least 0, floating.
        generator (Generator): draws them; default the global one.

    Raises:
        RuntimeError: a rate below 0.
        NotImplementedError: the dtype is not floating.

    >>> import numtorch as torch
    >>> torch.poisson(torch.zeros(2))
    tensor([0., 0.])
    """
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"poisson_cpu\" not implemented for '{type_name(input.dtype)}'")
    generator = chosen(generator, "poisson")
    if input._a.__class__ is DeviceArray:
        return _drawn(_poisson_on_device(input._a, generator), _poisson_backward, input)
    counts = np.empty(input._a.size)
    if not K.random.poisson(generator.state, input._a.astype(np.float64, order="C").reshape(-1), counts):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return _drawn(counts.reshape(input._a.shape).astype(input._a.dtype), _poisson_backward, input)


def _poisson_on_device(rates, generator):
    """Poisson numbers of an array's dtype and shape; waits for the device, to look at the rates, unless a graph is captured."""
    if rates.size and not is_capturing() and not extremes(rates)[0] >= 0:
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    counts = np.empty(rates.shape, np.float64, like=rates)
    K.random_cuda.poisson(generator_of(rates.device, generator), rates.astype(np.float64, order="C").reshape(-1),
                           counts.reshape(-1))
    return counts.astype(rates.dtype)


@op(method=True)
def multinomial(input, num_samples, replacement=False, *, generator=None, out=None):
    """Indices drawn with probabilities in proportion to the weights in each row of ``input``.

    Args:
        input (Tensor): weights of at least 0, floating, of shape (n,) or (rows, n); they need not add up to 1.
        num_samples (int): indices for each row.
        replacement (bool): whether an index can come again in its row.
        generator (Generator): draws them; default the global one.
        out (Tensor): int64, is resized and filled instead.

    Returns:
        int64 of shape (num_samples,) or (rows, num_samples)

    Raises:
        RuntimeError: weights that are no distribution, a wrong shape or dtype, or too many samples.

    >>> import numtorch as torch
    >>> torch.multinomial(torch.tensor([0., 1., 0.]), 2, replacement=True)
    tensor([1, 1])
    """
    a, generator = input._a, chosen(generator, "multinomial")
    if not 0 < a.ndim <= 2:
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {type_name(input.dtype)}")
    if out is not None and out.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {type_name(out.dtype)}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > a.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if a.shape[-1] > 1 << 24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    draw_rows = _multinomial_on_device if a.__class__ is DeviceArray else draw_multinomial
    drawn = draw_rows(generator, a.reshape(-1, a.shape[-1]) if a.ndim == 1 else a, num_samples, replacement)
    drawn = drawn.reshape(*a.shape[:-1], num_samples)
    if out is not None:
        put_out("multinomial", out, drawn)
        return out
    return wrap(drawn)


def _multinomial_on_device(generator, p, samples, replacement):
    """``draw_multinomial`` on a CUDA device; waits for it, to look at the weights, unless a graph is captured."""
    out = np.empty((p.shape[0], samples), np.int64, like=p)
    if not out.size:
        return out
    generator = generator_of(p.device, generator)
    look = not is_capturing()
    low, high = extremes(p) if p.size and look else (0, 0)
    if not (low >= 0 and high < math.inf):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    weights = wrap(np.asarray(p, draw.work_dtype(p), like=p))
    if not p.size or look and extremes(weights.sum(1)._a)[0] == 0:
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if replacement and samples > 1:
        K.random_cuda.multinomial(generator, weights.cumsum(1)._a, out)
        return out
    q = np.empty(p.shape, weights._a.dtype, like=p)
    K.random_cuda.exponential(generator, 1.0, q.reshape(-1))
    score = weights / wrap(q)
    return (score.argmax(1, True) if samples == 1 else score.topk(samples)[1])._a
