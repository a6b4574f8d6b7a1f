"""numtorch.testing: messages of assert_close, and make_tensor, against torch's."""
import collections
import warnings

import numpy as np
import pytest

import numtorch as torch

NAN, INF = float("nan"), float("inf")


def outcome(call, library):
    """What a call ends in: its exception's type and message, or its value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = call(library, library.tensor)
        except Exception as error:
            return type(error).__name__, str(error).replace("numtorch.tensor.Tensor", "torch.Tensor")
    return found if found is None else (repr(found), found.stride(), found.requires_grad)


COMPARISONS = {
    "equal": lambda T, t: ((t([1.0]), t([1.0])), {}),
    "one off": lambda T, t: ((t([1.0, 2.0]), t([1.0, 3.0])), {}),
    "0-dim": lambda T, t: ((t(1.0), t(2.0)), {}),
    "shape": lambda T, t: ((t([1.0]), t([1.0, 2.0])), {}),
    "dtype": lambda T, t: ((t([1.0]), t([1.0]).double()), {}),
    "dtype unchecked": lambda T, t: ((t([1.0]), t([1.1]).double()), dict(check_dtype=False)),
    "half against single": lambda T, t: ((t([2.0], dtype=T.float16), t([2.1])), dict(check_dtype=False)),
    "int against float": lambda T, t: ((t([1, 2]), t([1.0, 2.1])), dict(check_dtype=False)),
    "stride": lambda T, t: ((T.zeros(2, 3), T.zeros(3, 2).T), dict(check_stride=True)),
    "numbers": lambda T, t: ((1.0, 2.0), {}),
    "ints": lambda T, t: ((1, 2), {}),
    "int and float": lambda T, t: ((1, 1.0), {}),
    "complex numbers": lambda T, t: ((1j, 2j), {}),
    "bools": lambda T, t: ((True, False), {}),
    "numpy numbers": lambda T, t: ((np.float32(1), 1.0), {}),
    "strings": lambda T, t: (("a", "a"), {}),
    "None": lambda T, t: ((None, 3), {}),
    "lists": lambda T, t: (([1, 2], [1, 3]), {}),
    "lengths": lambda T, t: (([1, 2], [1]), {}),
    "keys": lambda T, t: (({"a": 1}, {"b": 1}), {}),
    "nested": lambda T, t: (({"a": [1, t([1.0])]}, {"a": [1, t([2.0])]}), {}),
    "kinds of mappings": lambda T, t: ((collections.OrderedDict(a=1), {"a": 1}), {}),
    "structure first": lambda T, t: (([1, [1]], [2, [1, 2]]), {}),
    "tensor and list": lambda T, t: ((t([1.0]), [1.0]), {}),
    "array and tensor": lambda T, t: ((np.ones(1), t([1.0])), {}),
    "arrays": lambda T, t: ((np.array([1.0, 2.0]), np.array([1.0, 3.0])), {}),
    "objects": lambda T, t: (({1: 2}, [2]), {}),
    "no atol": lambda T, t: ((t([1.0]), t([1.0])), dict(rtol=1e-3)),
    "no rtol": lambda T, t: ((t([1.0]), t([1.0])), dict(atol=1e-3)),
    "within atol": lambda T, t: ((t([1.0]), t([1.001])), dict(rtol=0, atol=1e-2)),
    "no tolerance": lambda T, t: ((t([1.0]), t([1.001])), dict(rtol=0, atol=0)),
    "integer tolerance": lambda T, t: ((1, 3), dict(rtol=0, atol=1)),
    "message": lambda T, t: ((t([1.0]), t([2.0])), dict(msg="hello")),
    "message of message": lambda T, t: (([1], [2]), dict(msg=lambda m: "PRE " + m)),
    "nan": lambda T, t: ((t([1.0, NAN]), t([1.0, NAN])), {}),
    "nan equal": lambda T, t: ((t([1.0, NAN]), t([1.0, NAN])), dict(equal_nan=True)),
    "nan numbers": lambda T, t: ((NAN, NAN), {}),
    "inf": lambda T, t: ((t([INF, 1.0]), t([1.0, 1.0])), {}),
    "inf equal": lambda T, t: ((t([INF, -INF]), t([INF, -INF])), {}),
    "int tensors": lambda T, t: ((t([1, 2, 3]), t([1, 2, 7])), {}),
    "bytes": lambda T, t: ((t([255, 0], dtype=T.uint8), t([0, 1], dtype=T.uint8)), {}),
    "bool tensors": lambda T, t: ((t([True, False]), t([True, True])), {}),
    "two dimensions": lambda T, t: ((t([[1.0, 2.0], [3.0, 4.0]]), t([[1.0, 2.0], [9.0, 4.5]])), {}),
    "complex tensors": lambda T, t: ((t([1 + 1j]), t([1 + 2j])), {}),
    "float16": lambda T, t: ((t([1.0, 2.0], dtype=T.float16), t([1.0, 2.1], dtype=T.float16)), {}),
    "bfloat16": lambda T, t: ((t([1.0, 2.0], dtype=T.bfloat16), t([1.0, 2.1], dtype=T.bfloat16)), {}),
    "float64": lambda T, t: ((t([2.0], dtype=T.float64), t([2.00001], dtype=T.float64)), {}),
    "empty": lambda T, t: ((T.zeros(0), T.zeros(0)), {}),
    "zero expected": lambda T, t: ((t([0.1]), t([0.0])), {}),
    "requires grad": lambda T, t: ((t([1.0], requires_grad=True), t([1.0])), {}),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_assert_close_ends_as_torchs(name):
    """The same verdict, exception type and message, down to the digits of the differences."""
    reference = pytest.importorskip("torch")

    def call(library, tensor):
        args, kwargs = COMPARISONS[name](library, tensor)
        return library.testing.assert_close(*args, **kwargs)

    assert outcome(call, torch) == outcome(call, reference)


def test_message_of_a_mismatch():
    """The message, known here without torch: how many, how much, where, and where in the containers."""
    with pytest.raises(AssertionError) as caught:
        torch.testing.assert_close({"w": torch.tensor([1.0, 2.0, 3.0])},
                                   {"w": torch.tensor([1.0, 2.0, 4.0])})
    assert str(caught.value) == """Tensor-likes are not close!

Mismatched elements: 1 / 3 (33.3%)
Greatest absolute difference: 1.0 at index (2,) (up to 1e-05 allowed)
Greatest relative difference: 0.25 at index (2,) (up to 1.3e-06 allowed)

The failure occurred for item ['w']"""


def test_subclasses_and_bad_tolerances():
    """Subclasses compare unless forbidden; negative tolerances are refused."""
    class Mine(torch.Tensor):
        pass

    one, other = Mine([1.0]), torch.tensor([1.0])
    torch.testing.assert_close(one, other)
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        torch.testing.assert_close(one, other, allow_subclasses=False)
    with pytest.raises(ValueError, match="rtol must not be negative, but got -1"):
        torch.testing.assert_close(other, other, rtol=-1, atol=0)


def test_assert_allclose_is_deprecated():
    """It warns, takes lists, does not look at dtypes, and has its old tolerances."""
    with pytest.warns(FutureWarning, match="deprecated since 1.12"):
        torch.testing.assert_allclose(torch.tensor([1.0]), [1.00005])
    with pytest.warns(FutureWarning), pytest.raises(AssertionError, match="up to 0.0001 allowed"):
        torch.testing.assert_allclose(torch.tensor([1.0], dtype=torch.float64), torch.tensor([1.001]))


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
          "complex64", "complex128"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, settings", [
    ((2, 3), {}), (((4, 5),), dict(low=0, high=2, noncontiguous=True)),
    ((8,), dict(low=0, high=2, exclude_zero=True)),
    ((), {}), ((1,), dict(noncontiguous=True)), ((0, 2), {})])
def test_make_tensor_draws_torchs_numbers(dtype, shape, settings):
    """From the same seed: values, strides and dtype of every kind."""
    reference = pytest.importorskip("torch")

    def call(library, _):
        library.manual_seed(3)
        return library.testing.make_tensor(*shape, dtype=getattr(library, dtype), device="cpu", **settings)

    assert outcome(call, torch) == outcome(call, reference)


@pytest.mark.parametrize("dtype, settings", [
    ("int64", dict(requires_grad=True)), ("float32", dict(requires_grad=True)),
    ("float32", dict(low=3, high=2)),
    ("float32", dict(low=3, high=3)), ("float32", dict(low=NAN)), ("uint8", dict(low=300, high=400)),
    ("bool", dict(low=5, high=9)), ("int8", dict(low=-1000, high=1000)), ("float32", dict(low=0, high=INF))])
def test_make_tensor_intervals(dtype, settings):
    """Clamped to what the dtype holds; torch's errors for intervals that cannot be."""
    reference = pytest.importorskip("torch")

    def call(library, _):
        library.manual_seed(3)
        return library.testing.make_tensor(2, 2, dtype=getattr(library, dtype), device="cpu", **settings)

    assert outcome(call, torch) == outcome(call, reference)


def test_make_tensor_memory_formats():
    """channels_last gives that order; it excludes noncontiguous, and wants four dimensions."""
    make = torch.testing.make_tensor
    x = make(2, 3, 4, 5, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)
    assert x.stride() == (60, 1, 15, 3) and x.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="mutually exclusive"):
        make(2, dtype=torch.float32, device="cpu", memory_format=torch.contiguous_format, noncontiguous=True)
    with pytest.raises(RuntimeError, match="required rank 4 tensor"):
        make(2, dtype=torch.float32, device="cpu", memory_format=torch.channels_last)
