"""Comparing tensors in tests, and making random ones: ``assert_close`` and ``make_tensor``, with torch's
messages."""
import collections.abc
import math
import warnings

import numpy as np

from . import devices, dtypes
from .ops.create import as_tensor, empty, full, tensor
from .ops.random import randint
from .tensor import Tensor, channels_last, channels_last_3d, wrap

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

_TOLERANCES = {dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
               dtypes.float64: (1e-7, 1e-7), dtypes.complex64: (1.3e-6, 1e-5),
               dtypes.complex128: (1e-7, 1e-7)}
_OLD_TOLERANCES = {dtypes.float16: (1e-3, 1e-3), dtypes.float32: (1e-4, 1e-5), dtypes.float64: (1e-5, 1e-8)}


# ---- assert_close --------------------------------------------------------------------------------

class _Settings:
    """The arguments of ``assert_close``, and where in the containers the comparison is."""

    def __init__(self, rtol, atol, equal_nan, allow_subclasses, checks, msg):
        if (rtol is None) != (atol is None):
            missing = "rtol" if rtol is None else "atol"
            raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                             f"{missing}.")
        for name, value in (("rtol", rtol), ("atol", atol)):
            if value is not None and value < 0:
                raise ValueError(f"assert_close: {name} must not be negative, but got {value}")
        self.rtol, self.atol, self.equal_nan = rtol, atol, equal_nan
        self.allow_subclasses, self.checks, self.msg = allow_subclasses, checks, msg

    def fail(self, text, path, error=AssertionError):
        """Raises ``error`` with the message: the text and the place, or what ``msg`` makes of them."""
        if path:
            text += "\n\nThe failure occurred for item " + "".join(f"[{key!r}]" for key in path)
        if error is AssertionError and self.msg is not None:
            text = self.msg(text) if callable(self.msg) else self.msg
        raise error(text) from None

    def tolerances(self, *kinds):
        """The given tolerances, or the larger ones of the dtypes' defaults."""
        if self.rtol is not None:
            return self.rtol, self.atol
        return tuple(max(pair) for pair in zip(*(_TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds)))


def assert_close(actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False,
                 check_device=True, check_dtype=True, check_layout=True, check_stride=False, msg=None):
    """Raises AssertionError unless ``|actual - expected| <= atol + rtol |expected|`` for all elements.

    Args:
        actual, expected: tensors, arrays, numbers, None, or sequences and mappings of them.
        allow_subclasses (bool): objects of a class and of a derived one may be compared.
        rtol, atol (float): both or none; the defaults depend on the dtype: float16 1e-3 and 1e-5, bfloat16
            1.6e-2 and 1e-5, float32 1.3e-6 and 1e-5, float64 1e-7 and 1e-7 (complex as its parts), other
            dtypes 0.
        equal_nan (bool): two nan are equal.
        check_device, check_dtype, check_layout, check_stride (bool): what must agree besides the values.
        msg (str or callable): the message, or a function of the message that would be given.

    Raises:
        AssertionError: they are not close; the message tells how many elements and the greatest differences.
        TypeError: the types cannot be compared.
        ValueError: only one of rtol and atol is given.

    >>> import numtorch as torch
    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6]))
    """
    checks = [name for name, wanted in (("device", check_device), ("dtype", check_dtype),
                                        ("layout", check_layout), ("stride()", check_stride)) if wanted]
    settings = _Settings(rtol, atol, equal_nan, allow_subclasses, checks, msg)
    for path, compare, one, other in _pairs(actual, expected, (), settings):
        compare(one, other, path, settings)


def _pairs(actual, expected, path, settings):
    """All pairs to compare, with their places; structures and types are checked before any value is."""
    if _both(collections.abc.Sequence, actual, expected) and not _either(str, actual, expected):
        if len(actual) != len(expected):
            settings.fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", path)
        keys = range(len(actual))
    elif _both(collections.abc.Mapping, actual, expected):
        missing = [k for k in expected if k not in actual]
        additional = [k for k in actual if k not in expected]
        if missing or additional:
            settings.fail("The keys of the mappings do not match:\nMissing keys in the actual mapping: "
                          f"{_ordered(missing)}\nAdditional keys in the actual mapping: "
                          f"{_ordered(additional)}", path)
        keys = _ordered(list(actual))
    else:
        return [(path, *_pair(actual, expected, path, settings))]
    return [pair for key in keys for pair in _pairs(actual[key], expected[key], (*path, key), settings)]


def _pair(actual, expected, path, settings):
    """The comparison that takes these two, and the two as it wants them."""
    if actual is None or expected is None:
        return _compare_none, actual, expected
    if _both((bool, np.bool_), actual, expected):
        return _compare_bools, bool(actual), bool(expected)
    numbers = (int, float, complex, np.number)
    if _both(numbers, actual, expected):
        return _compare_numbers, *(x.item() if isinstance(x, np.number) else x for x in (actual, expected))
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    related = related and (settings.allow_subclasses or type(actual) is type(expected))
    if related and not isinstance(actual, str):
        try:
            return _compare_tensors, *(x if isinstance(x, Tensor) else as_tensor(x)
                                       for x in (actual, expected))
        except (TypeError, ValueError, RuntimeError):
            pass                    # not an array: the error below says more
    settings.fail(f"No comparison pair was able to handle inputs of type {type(actual)} and "
                  f"{type(expected)}.", path,
                  TypeError)


def _both(kind, a, b):
    return isinstance(a, kind) and isinstance(b, kind)


def _either(kind, a, b):
    return isinstance(a, kind) or isinstance(b, kind)


def _ordered(keys):
    try:
        return sorted(keys)
    except TypeError:
        return keys


def _compare_none(actual, expected, path, settings):
    if actual is not expected:
        settings.fail(f"None mismatch: {actual} is not {expected}", path)


def _compare_bools(actual, expected, path, settings):
    if actual is not expected:
        settings.fail(f"Booleans mismatch: {actual} is not {expected}", path)


def _compare_numbers(actual, expected, path, settings):
    if "dtype" in settings.checks and type(actual) is not type(expected):
        settings.fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.", path)
    wide = {int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}
    rtol, atol = settings.tolerances(wide.get(type(actual)), wide.get(type(expected)))
    difference = abs(actual - expected)
    both_nan = actual != actual and expected != expected
    if (actual == expected or (both_nan and settings.equal_nan)
            or (math.isfinite(difference) and difference <= atol + rtol * abs(expected))):
        return
    settings.fail(_scalar_text(actual, expected, rtol, atol), path)


def _scalar_text(actual, expected, rtol, atol):
    difference = abs(actual - expected)
    relative = difference / abs(expected) if expected != 0 else math.inf
    allowed = rtol != 0 or atol != 0
    return (f"Scalars are not {'close' if allowed else 'equal'}!\n\nExpected {expected} but got {actual}.\n"
            f"Absolute difference: {difference}{f' (up to {atol} allowed)' if allowed else ''}\nRelative "
            f"difference: {relative}{f' (up to {rtol} allowed)' if allowed else ''}")


def _compare_tensors(actual, expected, path, settings):
    for name in ("shape", *settings.checks):
        one, other = (t.stride() if name == "stride()" else getattr(t, name) for t in (actual, expected))
        if one != other:
            settings.fail(f"The values for attribute '{name}' do not match: {one} != {other}.", path)
    rtol, atol = settings.tolerances(actual.dtype, expected.dtype)
    kind = dtypes.promote_types(actual.dtype, expected.dtype)
    x, y = (t._a.astype(kind._np, copy=False) for t in (actual, expected))
    close = wrap(x).isclose(wrap(y), rtol=rtol, atol=atol, equal_nan=settings.equal_nan)._a
    if close.all():
        return
    if x.ndim == 0:
        settings.fail(_scalar_text(wrap(x).item(), wrap(y).item(), rtol, atol), path)
    settings.fail(_tensor_text(x, y, close, rtol, atol), path)


def _tensor_text(x, y, close, rtol, atol):
    """The number of mismatches, and the greatest differences among them with their places."""
    if x.dtype.kind in "biu":
        x, y = x.astype(np.int64), y.astype(np.int64)
    with np.errstate(all="ignore"):
        absolute = np.abs(x - y)
        size = np.abs(y)
        if x.dtype.kind == "i":
            relative = absolute.astype(np.float32) / size.astype(np.float32)
        else:
            relative = absolute / size
    absolute[close], relative[close] = 0, 0
    allowed = rtol != 0 or atol != 0
    wrong = close.size - np.count_nonzero(close)
    lines = [f"Tensor-likes are not {'close' if allowed else 'equal'}!", "",
             f"Mismatched elements: {wrong} / {close.size} ({wrong / close.size:.1%})"]
    for name, values, tolerance in (("absolute", absolute, atol), ("relative", relative, rtol)):
        at = int(np.argmax(values))
        place = tuple(int(i) for i in np.unravel_index(at, values.shape))
        text = f"Greatest {name} difference: {wrap(values.reshape(-1)[at:at + 1]).item()} at index {place}"
        lines.append(text + (f" (up to {tolerance} allowed)" if allowed else ""))
    return "\n".join(lines)


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg=""):
    """``assert_close`` as it was before torch 1.12: other default tolerances, no check of dtypes;
    deprecated."""
    warnings.warn("`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a "
                  "future release. Please use `torch.testing.assert_close()` instead. You can find detailed "
                  "upgrade instructions in "
                  "https://github.com/pytorch/pytorch/issues/61844.", FutureWarning, stacklevel=2)
    if not isinstance(actual, Tensor):
        actual = tensor(actual)
    if not isinstance(expected, Tensor):
        expected = tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        rtol, atol = (max(pair) for pair in zip(*(_OLD_TOLERANCES.get(t.dtype, (0.0, 0.0))
                                                  for t in (actual, expected))))
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False,
                 msg=msg or None)


# ---- make_tensor ---------------------------------------------------------------------------------

def make_tensor(*shape, dtype, device, low=None, high=None, requires_grad=False, noncontiguous=False,
                exclude_zero=False, memory_format=None):
    """A tensor of random values, uniform in [low, high).

    Args:
        shape: ints, or one tuple.
        dtype, device: of the tensor.
        low, high (float): default -9 and 9 for floating and complex dtypes, -9 and 10 for signed integers, 0
            and 10 for uint8, 0 and 2 for bool; clamped to what the dtype holds.
        requires_grad (bool): whether a gradient is computed for it.
        noncontiguous (bool): give it gaps, if it has two or more elements; not together with memory_format.
        exclude_zero (bool): zeros become 1, or the least normal number of a floating dtype.
        memory_format: ``torch.contiguous_format`` or ``torch.channels_last``.

    Raises:
        ValueError: low is not below high, or is nan, or the dtype holds nothing of the interval; arguments
            exclude another.

    >>> import numtorch as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.testing.make_tensor(3, dtype=torch.int64, device="cpu", low=0, high=5)
    tensor([4, 4, 3])
    """
    devices.check(device)
    if len(shape) == 1 and isinstance(shape[0], collections.abc.Sequence):
        shape = tuple(shape[0])
    if noncontiguous and memory_format is not None:
        raise ValueError("The parameters `noncontiguous` and `memory_format` are mutually exclusive, but "
                         f"got noncontiguous={noncontiguous} and memory_format={memory_format}")
    if requires_grad and dtype.category < dtypes.FLOATING:
        raise ValueError("`requires_grad=True` is not supported for boolean and integral dtypes, but got "
                         f"dtype={dtype}")
    gaps = noncontiguous and math.prod(shape) > 1
    drawn = (*shape[:-1], 2 * shape[-1]) if gaps else shape
    found = (_integers if dtype.category < dtypes.FLOATING else _reals)(drawn, dtype, low, high)
    if gaps:
        found = found[..., 1::2]
    elif memory_format is not None:
        found = _laid_out(found, memory_format)
    if exclude_zero:
        found[found == 0] = 1 if dtype.category < dtypes.FLOATING else dtypes.finfo(dtype).tiny
    return found.requires_grad_(requires_grad)


def _integers(shape, dtype, low, high):
    """Random integers; bounds that are not integers are rounded up."""
    if dtype is dtypes.bool:
        least, limit, default = 0, 2, (0, 2)
    else:
        info = dtypes.iinfo(dtype)
        least, limit = info.min, info.max + (dtype is not dtypes.int64)
        default = (0 if info.min == 0 else -9, 10)
    low, high = _interval(low, high, *default, least, limit, dtype)
    if low == high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    return randint(math.ceil(low), math.ceil(high), shape, dtype=dtype)


def _reals(shape, dtype, low, high):
    info = dtypes.finfo(dtype)
    low, high = _interval(low, high, -9, 9, info.min, info.max, dtype)
    if low == high:
        warnings.warn("Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is "
                      "deprecated since "
                      "2.1 and will be removed in 2.3. Use `torch.full(...)` instead.", FutureWarning,
                      stacklevel=3)
        return full(shape, complex(low, low) if dtype.is_complex else low, dtype=dtype)
    if dtype.is_complex:
        parts = empty((*shape, 2), dtype=dtype.to_real()).uniform_(low, high)
        return wrap(parts._a.view(dtype._np).reshape(shape))
    return empty(shape, dtype=dtype).uniform_(low, high)


def _interval(low, high, default_low, default_high, least, limit, dtype):
    """Low and high with defaults, clamped to [least, limit)."""
    low, high = default_low if low is None else low, default_high if high is None else high
    if low != low or high != high:
        raise ValueError(f"`low` and `high` cannot be NaN, but got low={low} and high={high}")
    if low > high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    if high < least or low >= limit:
        raise ValueError(f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} "
                         f"only supports [{least}, {limit})")
    return max(low, least), min(high, limit)


def _laid_out(found, memory_format):
    """The tensor with its elements in the order of a memory format; RuntimeError for one of another number
    of dimensions."""
    if memory_format in (channels_last, channels_last_3d):
        wanted = 4 if memory_format is channels_last else 5
        if found.ndim != wanted:
            raise RuntimeError(f"required rank {wanted} tensor to use {memory_format!r} format")
        order = (0, *range(2, wanted), 1)
        return wrap(np.moveaxis(np.ascontiguousarray(found._a.transpose(order)), -1, 1))
    return found.contiguous()
