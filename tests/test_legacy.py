"""Spellings of torch's early releases work, and each is told today's in one DeprecationWarning at the line that uses it."""
import warnings

import pytest

import numtorch as torch
from numtorch import nn
from numtorch.autograd import Variable
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader, TensorDataset


def told(spelling):
    """What ``spelling`` returns, and the one warning that it gave, whose place must be this file."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = spelling()
    (one,) = seen
    assert issubclass(one.category, DeprecationWarning) and one.filename == __file__
    return result, str(one.message)


def test_item_of_a_0_dim_tensor():
    """loss.data[0] is the number; with a history, the tensor itself, so that no gradient is lost; [1] stays an error."""
    value, said = told(lambda: torch.tensor(2.5).data[0])
    assert value == 2.5 and isinstance(value, float) and "tensor.item()" in said
    x = torch.ones(2, requires_grad=True)
    loss, _ = told(lambda: x.sum()[0])
    loss.backward()
    assert x.grad.tolist() == [1, 1]
    with pytest.raises(IndexError, match="0-dim"):
        torch.tensor(2.5)[1]


def test_variables():
    """Variable(t) is a tensor; volatile does nothing; both say what to write."""
    x, said = told(lambda: Variable(torch.ones(2), requires_grad=True))
    assert x.requires_grad and "requires_grad_" in said
    with pytest.warns(DeprecationWarning, match="torch.no_grad"):
        Variable(torch.ones(2), volatile=True)


def test_backward_weight_of_one_element():
    """A weight of shape (1,) for a 0-dim loss is taken as one of shape (); other shapes stay an error."""
    x = torch.ones(3, requires_grad=True)
    _, said = told(lambda: x.sum().backward(torch.Tensor([2.0])))
    assert x.grad.tolist() == [2, 2, 2] and "torch.tensor(1.0)" in said
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        x.sum().backward(torch.ones(2))


@pytest.mark.parametrize("workers", [0, 1])
def test_next_of_a_loader(workers):
    """iterator.next() is next(iterator), StopIteration at the end included."""
    batches = iter(DataLoader(TensorDataset(torch.arange(3)), batch_size=2, num_workers=workers))
    (first,), said = told(lambda: batches.next())
    assert first.tolist() == [0, 1] and "next(iterator)" in said
    assert next(batches)[0].tolist() == [2]
    with pytest.raises(StopIteration), pytest.warns(DeprecationWarning):
        batches.next()


def test_typed_tensors():
    """FloatTensor(2, 3), LongTensor([1]) and their kin make tensors of their dtype."""
    x, said = told(lambda: torch.FloatTensor(2, 3))
    assert x.shape == (2, 3) and x.dtype is torch.float32 and "torch.empty" in said
    for name, dtype in (("LongTensor", torch.int64), ("DoubleTensor", torch.float64), ("ByteTensor", torch.uint8),
                        ("IntTensor", torch.int32), ("HalfTensor", torch.float16), ("BoolTensor", torch.bool)):
        x, said = told(lambda name=name: getattr(torch, name)([1, 0]))
        assert x.dtype is dtype and x.tolist() == [1, 0] and f"torch.tensor(data, dtype={dtype})" in said


def test_range_and_flags_of_losses():
    """torch.range includes its end; size_average and reduce choose the reduction, in functions and in modules."""
    x, said = told(lambda: torch.range(1, 3))
    assert x.tolist() == [1, 2, 3] and "torch.arange" in said
    ones, zeros = torch.ones(3), torch.zeros(3)
    loss, said = told(lambda: F.mse_loss(ones, zeros, size_average=False))
    assert loss.item() == 3 and "reduction='sum'" in said
    loss, said = told(lambda: nn.L1Loss(reduce=False))
    assert loss(ones, zeros).tolist() == [1, 1, 1] and "reduction='none'" in said
