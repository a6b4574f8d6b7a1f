"""The Tensor object: promotion, views, in-place writes, out=, conversion, copies, pickling, errors; each beside its rule."""
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtorch as torch
from numtorch import dtypes

DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
          torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_stored_converted_and_copied(dtype):
    """Zeros, a round trip through the dtype, element size, and NumPy's view of it."""
    x = torch.tensor([0, 1, 1]).to(dtype)
    assert x.dtype is dtype and x.to(torch.int64).tolist() == [0, 1, 1] and x.element_size() == dtype.itemsize
    assert torch.zeros(3, dtype=dtype).to(torch.float32).tolist() == [0, 0, 0]
    assert x.clone().dtype is dtype and pickle.loads(pickle.dumps(x)).dtype is dtype
    assert copy.deepcopy(dtype) is dtype and pickle.loads(pickle.dumps(dtype)) is dtype


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_promotion_equals_torch(a, b):
    """promote_types of every pair; and tensor with 0-dim tensor, and with Python numbers."""
    real = pytest.importorskip("torch")
    ra, rb = getattr(real, a._name), getattr(real, b._name)
    assert str(torch.promote_types(a, b)) == str(real.promote_types(ra, rb))
    assert torch.can_cast(a, b) == real.can_cast(ra, rb)
    x, y = torch.ones(2, dtype=a), torch.ones((), dtype=b)
    rx, ry = real.ones(2, dtype=ra), real.ones((), dtype=rb)
    want = str(real.result_type(rx, ry)).replace("complex32", "complex64")      # there is no half complex here
    assert str((x * y).dtype) == want
    for number in (True, 2, 2.5):
        assert str((x * number).dtype) == str((rx * number).dtype), number


def test_promotion_without_torch():
    """The three ranks: dimensions beat 0-dim tensors beat numbers, unless the category is higher."""
    i, f = torch.ones(2, dtype=torch.int32), torch.ones(2, dtype=torch.float32)
    assert (i + 1).dtype is torch.int32 and (i + 1.5).dtype is torch.float32 and (i / 2).dtype is torch.float32
    assert (f + torch.ones((), dtype=torch.float64)).dtype is torch.float32
    assert (i + torch.ones((), dtype=torch.int64)).dtype is torch.int32
    assert (f * torch.ones(2, dtype=torch.float64)).dtype is torch.float64
    assert (torch.ones(2, dtype=torch.float16) * f).dtype is torch.float32
    assert (torch.ones(2, dtype=torch.bool) + 1).dtype is torch.int64


def test_views_alias():
    """A write through any view is seen by the base and by other views."""
    x = torch.arange(12.0).view(3, 4)
    views = [x.view(4, 3), x.t(), x.permute(1, 0), x.narrow(0, 0, 2), x.select(1, 0), x.unsqueeze(0), x[1:, ::2], x.diagonal(),
             x.unfold(1, 2, 1), x.as_strided((2,), (1,)), x.split(2, 1)[0], x.chunk(2)[0], x.unbind()[0], x.T, x.mT, x.flatten(),
             x.squeeze(), x.expand(2, 3, 4), x.detach(), x.data, x.movedim(0, 1), x.reshape(12)]
    for v in views:
        x.fill_(0)
        x.add_(7)
        assert (v._a == 7).all()
        assert v.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    assert x.numpy() is x._a and torch.from_numpy(x.numpy()).data_ptr() == x.data_ptr()


def test_view_needs_compatible_strides_and_reshape_copies():
    """view raises torch's error; reshape makes a copy then."""
    x = torch.arange(6).view(2, 3).t()
    with pytest.raises(RuntimeError, match="view size is not compatible with input tensor's size and stride"):
        x.view(6)
    assert x.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=0, max_size=4), st.data())
def test_view_strides_equal_numpys_reshape(shape, data):
    """Where NumPy can show another shape without a copy, view does, with the same elements."""
    base = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
    axes = data.draw(st.permutations(range(len(shape))))
    a = base.transpose(axes)
    factors = data.draw(st.sampled_from([(-1,), (1, -1), (-1, 1, 1)]))
    x = torch.from_numpy(a)
    if a.size:
        want = a.reshape(factors)
        assert np.array_equal(x.reshape(factors).numpy(), want)
        if np.shares_memory(want, base):
            assert np.shares_memory(x.view(factors).numpy(), base)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=3), st.lists(st.integers(1, 3), max_size=3))
def test_broadcasting_equals_numpys(a, b):
    """Shapes that NumPy broadcasts give its shape; others a RuntimeError."""
    x, y = np.random.default_rng(0).random(a), np.random.default_rng(1).random(b)
    try:
        want = x + y
    except ValueError:
        with pytest.raises(RuntimeError, match="must match the size of tensor b"):
            torch.from_numpy(np.asarray(x)) + torch.from_numpy(np.asarray(y))
        return
    found = torch.from_numpy(np.asarray(x)) + torch.from_numpy(np.asarray(y))
    assert np.array_equal(found.numpy(), want)


def test_in_place_operations():
    """They write the same memory, keep the dtype, refuse what does not fit, and handle aliases."""
    x = torch.ones(2, 3)
    memory = x.data_ptr()
    x += 1
    x.mul_(torch.tensor([1.0, 2.0, 3.0])).sub_(1).div_(2).pow_(2)
    assert x.data_ptr() == memory and x.tolist() == [[0.25, 2.25, 6.25]] * 2 and x._version == 5
    with pytest.raises(RuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"):
        torch.ones(3).add_(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.ones(3, dtype=torch.int64).add_(0.5)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory location"):
        torch.ones(1).expand(3).add_(1)
    y = torch.arange(5.0)
    y[1:].add_(y[:-1])
    assert y.tolist() == [0, 1, 3, 5, 7], "an overlapping source is read before it is written"
    z = torch.arange(4.0)
    z.add_(z).mul_(z[1])
    assert z.tolist() == [0, 4, 8, 12]


def test_out():
    """out= is written, resized with a warning, and refused for a dtype that does not hold the result."""
    out = torch.empty(0)
    assert torch.add(torch.ones(3), 1, out=out) is out and out.tolist() == [2, 2, 2]
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        torch.mul(torch.ones(2), 3, out=out)
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.add(torch.ones(2), 1.5, out=torch.empty(2, dtype=torch.int64))
    with pytest.raises(TypeError, match="argument 'out' must be Tensor"):
        torch.add(torch.ones(2), 1, out=[1])


def test_values_leave_as_python_and_numpy():
    """item, tolist, float, int, bool, index, format, iteration, in, len, hash."""
    x = torch.tensor(3.5)
    assert x.item() == 3.5 and float(x) == 3.5 and int(x) == 3 and f"{x:.2f}" == "3.50" and bool(x)
    assert [v.item() for v in torch.arange(3)] == [0, 1, 2] and 2 in torch.arange(3) and len(torch.zeros(4, 2)) == 4
    assert list(range(5))[torch.tensor(2)] == 2 and len({x, x, torch.tensor(3.5)}) == 2
    assert np.asarray(torch.ones(2, 2)).shape == (2, 2) and np.add(torch.ones(2), 1).tolist() == [2, 2]
    for bad, message in ((lambda: torch.ones(2).item(), "a Tensor with 2 elements cannot be converted to Scalar"),
                         (lambda: bool(torch.ones(2)), "Boolean value of Tensor with more than one value is ambiguous"),
                         (lambda: bool(torch.ones(0)), "Boolean value of Tensor with no values is ambiguous")):
        with pytest.raises(RuntimeError, match=message):
            bad()
    for bad, message in ((lambda: len(torch.tensor(1)), r"len\(\) of a 0-d tensor"),
                         (lambda: iter(torch.tensor(1)), "iteration over a 0-d tensor"),
                         (lambda: [1, 2][torch.tensor(1.0)], "only integer tensors of a single element can be converted")):
        with pytest.raises(TypeError, match=message):
            bad()


def test_copies_and_pickles_keep_what_belongs_to_a_tensor():
    """deepcopy shares memory among copies of views; pickling keeps requires_grad and attributes; non-leaves are refused."""
    x = torch.arange(4.0, requires_grad=True)
    x.note = "mine"
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad and again.note == "mine" and again.tolist() == [0, 1, 2, 3]
    base = torch.arange(4.0)
    a, b = copy.deepcopy([base, base[1:]])
    a[1] = 9
    assert b[0] == 9 and base[1] == 1
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_to():
    """dtype, device, both, another tensor; itself where nothing changes; copy=True never itself."""
    x = torch.ones(2)
    assert x.to("cpu") is x and x.to(torch.float32) is x and x.to(x) is x and x.to(torch.float32, copy=True) is not x
    assert x.to("cpu", torch.float64).dtype is torch.float64 and x.type(torch.int64).type() == "torch.LongTensor"
    assert x.to(torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(RuntimeError, match="CUDA is not available"):
        x.to("cuda")
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        x.to("gpu")
    with pytest.warns(UserWarning, match="Casting complex values to real discards the imaginary part"):
        torch.tensor([1 + 2j]).to(torch.float32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_legacy_constructors():
    """Tensor(2, 3), Tensor([1]), LongTensor, isinstance by dtype."""
    assert torch.Tensor(2, 3).shape == (2, 3) and torch.Tensor([1, 2]).dtype is torch.float32
    x = torch.LongTensor([1, 2])
    assert x.dtype is torch.int64 and isinstance(x, torch.LongTensor) and not isinstance(x, torch.FloatTensor)


def test_size():
    """A Size is a tuple that prints as torch's and stays one."""
    s = torch.zeros(2, 3).shape
    assert repr(s) == "torch.Size([2, 3])" and s == (2, 3) and s.numel() == 6 and isinstance(s[:1], torch.Size)
    assert isinstance(s + (1,), torch.Size) and torch.zeros(2, 3).size(-1) == 3
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 5\)"):
        torch.zeros(2, 3).size(5)


def test_negative_zero_and_nan_scalars_stay_what_they_are():
    """Constants are kept, but -0.0 is not 0.0 and nan is nan."""
    x = torch.ones(1)
    assert np.signbit((x * -0.0).item()) and not np.signbit((x * 0.0).item()) and np.isnan((x + float("nan")).item())


def test_numpy_scalars_inside_operations():
    """0-dim results of NumPy are no ndarrays; tensors hold ndarrays all the same."""
    x = torch.tensor(2.0)
    y = (x * np.float32(3)) + 1
    assert type(y._a) is np.ndarray and y.item() == 7


def test_large_inputs_take_the_threaded_path_with_the_same_result():
    """Contiguous, broadcast and strided operands above the threads' threshold."""
    rng = np.random.default_rng(0)
    a, row = rng.random((400, 500)).astype(np.float32), rng.random(500).astype(np.float32)
    x, r = torch.from_numpy(a), torch.from_numpy(row)
    np.testing.assert_array_equal((x * r).numpy(), a * row)
    np.testing.assert_array_equal((x.t() + r[:1]).numpy(), a.T + row[:1])
    np.testing.assert_allclose(x.sum().item(), a.astype(np.float64).sum(), rtol=1e-6)
    np.testing.assert_allclose(x.sum(0).numpy(), a.sum(0, dtype=np.float64), rtol=1e-6)
    assert dtypes.get_default_dtype() is torch.float32


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_division_by_zero(dtype):
    """A complex number over 0 is infinite or nan in each part, as in C; every element is written."""
    x = torch.tensor([1 + 0j, 1 + 2j, 0j] * 3, dtype=dtype)
    want = [complex(np.inf, np.nan), complex(np.inf, np.inf), complex(np.nan, np.nan)] * 3
    np.testing.assert_array_equal((x / 0).numpy(), np.array(want))
    np.testing.assert_array_equal((x[:1] * 0).reciprocal().numpy(), np.array(want[:1]))


def test_unpickled_tensors_meet_others():
    """A tensor from a pickle has the very dtype of others, so that products take it; one with a history comes back as a leaf."""
    x = pickle.loads(pickle.dumps(torch.ones(2, 3)))
    assert torch.mm(x, torch.ones(3, 1)).tolist() == [[3], [3]] and torch.nn.functional.linear(x, torch.ones(1, 3)).shape == (2, 1)
    y = pickle.loads(pickle.dumps(torch.ones(2, requires_grad=True) * 2))
    assert y.tolist() == [2, 2] and y.requires_grad and y.is_leaf
