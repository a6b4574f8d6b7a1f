"""The order in memory of element-wise results: the operands', as torch's TensorIterator chooses it."""
import itertools

import numpy as np
import pytest

import numtorch


def layouts(shape):
    """Tensors of ``shape``: every order of dimensions in memory, with a dimension stepped, expanded."""
    for order in itertools.permutations(range(len(shape))):
        base = np.arange(np.prod(shape), dtype=np.float32).reshape([shape[d] for d in order])
        array = base.transpose(np.argsort(order))
        yield array
        yield np.repeat(array, 2, axis=-1)[..., ::2]
        yield np.broadcast_to(array[:1], shape)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 2, 2)], ids=str)
def test_binary_results_lie_as_torchs(shape):
    """x + y of any two layouts has torch's strides and values, and so have x + row and row + x."""
    torch = pytest.importorskip("torch")
    arrays = list(layouts(shape))[:18]
    for x, y in itertools.product(arrays, arrays):
        for a, b in ((x, y), (x, y[0]), (y[..., -1], x[..., 0])):
            a, b = np.asarray(a), np.asarray(b)
            ours = numtorch.from_numpy(a) + numtorch.from_numpy(b)
            theirs = torch.as_strided(torch.from_numpy(memory(a)), a.shape, elements(a)) + torch.as_strided(
                torch.from_numpy(memory(b)), b.shape, elements(b))
            assert ours.stride() == theirs.stride(), (a.shape, a.strides, b.shape, b.strides)
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def memory(array):
    """All elements that ``array`` reaches, as one row."""
    reach = 1 + sum((n - 1) * s for n, s in zip(array.shape, array.strides)) // array.itemsize
    return np.lib.stride_tricks.as_strided(array, (reach,), (array.itemsize,)).copy()


def elements(array):
    """Strides in elements."""
    return tuple(s // array.itemsize for s in array.strides)


def test_order_is_kept():
    """Results, copies and *_like of a transposed tensor are transposed; ``contiguous_format`` is row-major."""
    x = numtorch.arange(6.0).reshape(2, 3).t()
    for y in (x + 1, x * x, x.exp(), x > 1, x.clone(), numtorch.zeros_like(x), numtorch.full_like(x, 2),
              numtorch.where(x > 1, x, x), x.double(), x.half() * 2):
        assert y.stride() == (1, 3)
    row_major = numtorch.contiguous_format
    for y in (x.clone(memory_format=row_major), numtorch.empty_like(x, memory_format=row_major), x.contiguous()):
        assert y.stride() == (2, 1)
    assert numtorch.ones_like(numtorch.ones(1, 2, 3, 4), memory_format=numtorch.channels_last).stride() == (24, 1, 8, 2)
    assert (x + numtorch.ones(3, 2)).stride() == (1, 3)
    assert (x[:, :1] + numtorch.ones(3, 2)).stride() == (2, 1)


def test_strided_threads():
    """A transposed result that is large enough for threads is the same as a small one's, element for element."""
    x = numtorch.arange(600_000.0).reshape(600, 1000)
    y = (x.t() + x.reshape(1000, 600))
    np.testing.assert_array_equal(y.numpy(), x.numpy().T + x.numpy().reshape(1000, 600))
    z = numtorch.zeros(600, 1000, 2)[..., 0]
    z += x
    np.testing.assert_array_equal(z.numpy(), x.numpy())
