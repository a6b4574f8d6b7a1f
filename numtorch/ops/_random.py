"""Draws into ndarrays of any dtype and strides: where in memory torch puts which number, and which dtype it draws in."""
import numpy as np

from .. import dtypes
from .. import kernels as K
from ..kernels._device import DeviceArray, strided_view
from ..op import type_name
from ..random import generator_of

SMALLEST_FILL = 16      # from this many contiguous elements on torch makes normals in blocks
F32, F64, BOOL, I64 = map(np.dtype, (np.float32, np.float64, np.bool_, np.int64))
_ZERO, _ONE, _NAN = np.float32(0), np.float32(1), np.float32("nan")


def memory_order(array):
    """The dimensions of ``array`` from the largest to the smallest stride: the order in which torch visits its elements.

    The rule of torch's TensorIterator: a stride of 0 says nothing, of equal strides the larger size goes outside.
    """
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    shape, strides = array.shape, array.strides
    perm = list(range(array.ndim - 1, -1, -1))
    for i in range(1, len(perm)):
        at = i
        for j in range(i - 1, -1, -1):
            a, b = perm[j], perm[at]
            if 0 in (strides[a], strides[b]) or (strides[a] == strides[b] and shape[a] <= shape[b]):
                continue
            if strides[a] < strides[b]:
                break
            perm[j], perm[at], at = b, a, j
    return tuple(perm[::-1])


def empty_like(array, dtype=None, near=None):
    """An uninitialised array of the shape of ``array`` with its dimensions in the same order in memory, without gaps.

    near (array): on whose device; default that of ``array``.
    """
    dtype, near = dtype or array.dtype, array if near is None else near
    if array.flags.c_contiguous:
        return np.empty(array.shape, dtype, like=near)
    perm = memory_order(array)
    return np.empty([array.shape[d] for d in perm], dtype, like=near).transpose(np.argsort(perm).tolist())


def fill(array, dtype, kernel, *args):
    """Fills ``array`` with what ``kernel(*args, out)`` writes into a 1-D ``out`` of ``dtype``, in the order of its memory.

    Returns what the kernel returns.
    """
    if array.dtype is dtype and array.flags.c_contiguous:
        return kernel(*args, array if array.ndim == 1 else array.reshape(-1))
    target = array.transpose(memory_order(array))
    if array.dtype == dtype and target.flags.c_contiguous:
        return kernel(*args, target.reshape(-1))
    drawn = np.empty(array.size, dtype, like=array)
    result = kernel(*args, drawn)
    with np.errstate(all="ignore"):     # what does not fit the dtype becomes inf, as in torch
        target[...] = drawn.reshape(target.shape)
    return result


def fill_on_device(array, kinds, name, generator, *args):
    """``fill`` by a launcher of kernels/random_cuda.py, in float32 where the dtype is not of ``kinds``."""
    launch = getattr(K.random_cuda, name)
    fill(array, array.dtype if array.dtype.kind in kinds else F32, launch, generator_of(array.device, generator), *args)


def work_dtype(array, other=F32):
    """The dtype to draw in: that of ``array`` if it is float32 or float64, else ``other``.

    A double goes into a half by way of a float in torch, and so it does here.
    """
    return array.dtype if array.dtype in (F32, F64) else other


def real_parts(array):
    """A complex array as a real one with a last dimension of 2; any other array as it is."""
    if array.dtype.kind != "c":
        return array
    real = np.empty(0, array.dtype).real.dtype
    return strided_view(array.real, (*array.shape, 2), (*array.strides, real.itemsize))


def uniform(array, low, high, generator):
    """Fills a floating ``array`` with uniform numbers in [low, high)."""
    if array.__class__ is DeviceArray:
        fill_on_device(array, "fV", "uniform", generator, low, high)
        return
    kind, f, state = array.dtype, np.float32, generator.state
    if kind is F32 or kind == F32:
        low, high = (_ZERO, _ONE) if low == 0 and high == 1 else (f(low), f(high))
        fill(array, F32, K.random.uniform32, state, low, high, high, low)
        return
    if kind == F64:
        fill(array, F64, K.random.uniform64, state, float(low), float(high))
        return
    drawn = np.empty(array.size, f)
    K.random.uniform32(state, f(low), f(high), _NAN, f(low), drawn)
    halves = drawn.astype(array.dtype)
    # what rounds up to ``high`` in half precision becomes ``low``
    halves[halves == f(high).astype(kind)] = f(low).astype(kind)
    target = array.transpose(memory_order(array))
    target[...] = halves.reshape(target.shape)


def normal(array, mean, std, generator):
    """Fills a floating ``array`` with normal numbers."""
    if array.__class__ is DeviceArray:
        fill_on_device(array, "fV", "normal", generator, float(mean), float(std))
        return
    mean, std, state = float(mean), float(std), generator.state
    if array.size < SMALLEST_FILL or not array.flags.c_contiguous:
        fill(array, work_dtype(array), K.random.normal_serial, state, generator.cache, mean, std)
    elif array.dtype == F64:
        fill(array, F64, K.random.normal64, state, mean, std)
    else:
        kernel = K.random.normal32 if array.dtype == F32 else K.random.normal16
        fill(array, F32, kernel, state, np.float32(mean), np.float32(std))


def bernoulli(array, p, generator):
    """Fills ``array`` with ones with probability ``p``, a number."""
    if array.__class__ is DeviceArray:
        fill_on_device(array, "fVbiu", "bernoulli", generator, float(p))
        return
    work = array.dtype if array.dtype in (F32, F64, I64) else BOOL
    fill(array, work, K.random.bernoulli, generator.state, float(p))


def bernoulli_each(array, p, generator):
    """Fills ``array`` with ones with the probabilities in ``p``, an array of its shape; RuntimeError outside [0, 1]."""
    if not array.flags.c_contiguous:
        p = p.transpose(memory_order(array))
    if array.__class__ is DeviceArray:
        fill_on_device(array, "fVbiu", "bernoulli_with", generator, np.ascontiguousarray(p, like=p).reshape(-1))
        return
    double = p.dtype == F64
    p = np.ascontiguousarray(p, F64 if double else F32).reshape(-1)
    kernel = K.random.bernoulli_each64 if double else K.random.bernoulli_each32
    if not fill(array, work_dtype(array, BOOL), kernel, generator.state, p):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false: bernoulli expects all probabilities to "
                           "be in [0, 1]")


# ---- integers ----------------------------------------------------------------------------------------------------------

# What torch calls a dtype in the messages of random_ and uniform_: the names of C++.
C_NAMES = {"bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int",
           "int64": "long int", "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double"}
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}       # bits of the significand
I64_MAX, I64_MIN = 2 ** 63 - 1, -2 ** 63


_limits = {}


def limits(dtype):
    """The smallest and the largest value of a dtype."""
    found = _limits.get(dtype)
    if found is None:
        if dtype is dtypes.bool:
            found = 0, 1
        else:
            info = dtypes.finfo(dtype) if dtype.is_floating_point else dtypes.iinfo(dtype)
            found = info.min, info.max
        _limits[dtype] = found
    return found


def _rounded(value, array):
    """The integer ``value`` rounded to the dtype of ``array``; itself where that overflows, which is refused later."""
    with np.errstate(over="ignore"):
        found = np.asarray(float(value)).astype(array.dtype).astype(np.float64)
    return int(found) if np.isfinite(found) else value


def _check_range(first, last, dtype):
    low, high = limits(dtype)
    for name, value in (("from", first), ("to - 1", last)):
        if not low <= value <= high:
            raise RuntimeError(f"{name} is out of bounds for {C_NAMES[dtype._name]}")
        digits = DIGITS.get(dtype._name, 64)
        if abs(value) > 1 << digits:
            import warnings

            warnings.warn(f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations "
                          f"{C_NAMES[dtype._name]} can support discrete uniform distribution only within this range.",
                          UserWarning, stacklevel=5)


def integers(array, dtype, low, high, generator):
    """Fills ``array`` with integers in [low, high); with ``high`` None up to the largest that ``dtype`` holds.

    Raises:
        RuntimeError: the range is empty, or not within the dtype's.
    """
    if high is None and low == I64_MIN:
        if not array.size:
            return
        if dtype.is_complex or dtype in (dtypes.float16, dtypes.bool):
            raise NotImplementedError(f"\"random_full_64_bits_range_kernel_cpu\" not implemented for '{type_name(dtype)}'")
        if dtype not in (dtypes.int64, dtypes.float64, dtypes.float32, dtypes.bfloat16):
            raise RuntimeError("random_full_64_bits_range_kernel_cpu handles only int64, double, float and bfloat16")
        _fill_span(array, 0, 0, generator, True)
        return
    if dtype.is_complex:
        raise RuntimeError(f"{'random_from_to_impl' if high is None else 'check_random_bounds'} handles only integral, "
                           "floating-point and boolean types")
    last = None if high is None else high - 1
    if last is not None and not low <= last:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if dtype.is_floating_point:
        # Move the ends inwards to the next numbers that rounding to the dtype does not carry outside.
        digits = DIGITS[dtype._name]
        rounded = _rounded(low + 1, array)
        if rounded < low:
            low = rounded + (1 << (abs(low + 1).bit_length() - 1 - digits + 1))
        if last is None:
            last = 1 << digits
        else:
            rounded = _rounded(last, array)
            if rounded >= high:
                last = rounded - (1 << (abs(last).bit_length() - 1 - digits + 1)) - 1
        if low > last:
            raise RuntimeError("random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got "
                               f"from={low} >= to={last + 1}")
    elif last is None:
        last = limits(dtype)[1]
    _check_range(low, last, dtype)
    if array.size:
        _fill_span(array, last - low + 1, low, generator, last - low + 1 >= 1 << 28)


def _fill_span(array, span, base, generator, long):
    if array.__class__ is DeviceArray:
        fill(array, I64, K.random_cuda.integers, generator_of(array.device, generator), span % 2 ** 64, base, long)
        return
    if long:
        fill(array, I64, K.random.integers64, generator.state, np.uint64(span % 2 ** 64), base)
    else:
        fill(array, I64, K.random.integers32, generator.state, span, base)


def any_integers(array, dtype, generator):
    """Fills ``array`` as ``random_()`` without bounds: [0, max] of an integer dtype, [0, 2^digits] of a floating one.

    Raises:
        NotImplementedError: the dtype is complex.
    """
    if not array.size:
        return
    if dtype.is_complex:
        raise NotImplementedError(f"\"random_kernel_cpu\" not implemented for '{type_name(dtype)}'")
    if dtype.is_floating_point:
        span = (1 << DIGITS[dtype._name]) + 1
    else:
        span = limits(dtype)[1] + 1
    _fill_span(array, span, 0, generator, dtype in (dtypes.int64, dtypes.float64))
