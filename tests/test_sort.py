"""Order, sets, counts and scans beyond the op table: nan, stability, every dtype, sizes around the kernels' switches."""
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numtorch as nt
from numtorch import kernels as K
from numtorch.autograd import gradcheck

NAN, INF = float("nan"), float("inf")
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
# around insertion, rank, np.sort and radix sorts, and topk's heap
SIZES = [0, 1, 2, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1000, 5000]


def drawn(n, dtype, seed=0):
    """Values with many equal ones, both zeros, infinities and nan where the dtype has them."""
    r = np.random.default_rng(seed)
    x = r.integers(-40, 40, n).astype(float) / 4
    if n > 8 and "float" in dtype:
        x[r.integers(0, n, n // 5)] = NAN
        x[r.integers(0, n, 2)] = INF
        x[r.integers(0, n, 2)] = -INF
        x[r.integers(0, n, n // 5)] = -0.0
    return nt.from_numpy(x).abs().to(getattr(nt, dtype)) if dtype == "uint8" else nt.from_numpy(x).to(getattr(nt, dtype))


def wide(t):
    return np.array(t.tolist(), np.float64).reshape(tuple(t.shape))


def stable_order(x, descending):
    """The order by definition: nan greatest, equals (also -0 and 0) in place."""
    places = range(len(x))
    key = [(1, 0.0) if v != v else (0, v + 0.0) for v in x.tolist()]
    if not descending:
        return sorted(places, key=lambda j: key[j])
    return sorted(places, key=lambda j: (-key[j][0], -key[j][1]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sort_is_stable_with_nan_last(dtype):
    """Every dtype and size, ascending and descending: the order by definition, values taken from it to the bit."""
    for n in SIZES:
        x = drawn(n, dtype, n)
        for descending in (False, True):
            values, order = x.sort(descending=descending)
            want = stable_order(wide(x), descending)
            assert order.tolist() == want, (n, descending)
            np.testing.assert_array_equal(wide(values), wide(x)[want] if n else [])
            assert np.array_equal(np.signbit(wide(values)), np.signbit(wide(x)[want])) if n else True


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_topk_is_the_head_of_the_sort(dtype):
    """For every k, largest and smallest, topk gives the first k of the stable sort."""
    for n in (1, 7, 16, 100, 300, 3000):
        x = drawn(n, dtype, n)
        for k in {0, 1, 2, n // 9, n // 8, n // 2, n} - {k for k in (0, 1, 2) if k > n}:
            for largest in (True, False):
                order = stable_order(wide(x), largest)[:k]
                assert x.topk(k, largest=largest).indices.tolist() == order, (n, k, largest)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool"])
def test_order_statistics(dtype):
    """kthvalue, median and nanmedian agree with the sort; the index is a place of the value; nan wins a median."""
    for n in (1, 2, 9, 64, 301):
        x = drawn(n, dtype, n)
        a, ordered = wide(x), wide(x.sort().values)
        for k in {1, n, (n + 1) // 2}:
            value, index = x.kthvalue(k)
            np.testing.assert_array_equal(value.item(), ordered[k - 1])
            np.testing.assert_array_equal(a[index.item()], ordered[k - 1])
        want = NAN if np.isnan(a).any() else ordered[(n - 1) // 2]
        value, index = x.median(0)
        np.testing.assert_array_equal([value.item(), a[index.item()], x.median().item()], [want] * 3)
        numbers = ordered[~np.isnan(ordered)]
        want = numbers[(len(numbers) - 1) // 2] if len(numbers) else NAN
        value, index = x.nanmedian(0)
        np.testing.assert_array_equal([value.item(), a[index.item()], x.nanmedian().item()], [want] * 3)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=st.floats(-3, 3, width=16) | st.just(NAN)),
    st.data())
def test_any_dim(a, data):
    """sort, argsort, topk and the scans along any dim equal NumPy's."""
    dim = data.draw(st.integers(-a.ndim, a.ndim - 1))
    x = nt.from_numpy(a)
    order = np.argsort(a, dim, kind="stable")
    values, index = x.sort(dim=dim)
    np.testing.assert_array_equal(index.numpy(), order)
    np.testing.assert_array_equal(values.numpy(), np.sort(a, dim))
    assert values.is_contiguous() and index.is_contiguous()
    np.testing.assert_array_equal(x.argsort(dim).numpy(), order)
    k = data.draw(st.integers(0, a.shape[dim]))
    np.testing.assert_array_equal(x.topk(k, dim, largest=False).indices.numpy(), np.take(order, range(k), dim))
    np.testing.assert_allclose(x.cumsum(dim).numpy(), np.cumsum(a.astype(float), dim), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(x.cumprod(dim).numpy(), np.cumprod(a.astype(float), dim), rtol=1e-6)


def test_sorts_kernels_of_words_and_keys_agree():
    """A row sorted as float32, as float64, and as integers of the same order gives one permutation (radix and others)."""
    r = np.random.default_rng(0)
    for n in (10, 200, 2000):
        a = r.standard_normal((3, n)).astype(np.float32)
        want = np.argsort(a, 1, kind="stable")
        ranks = np.argsort(want, 1)
        for x in (a, a.astype(np.float64), ranks.astype(np.int32), ranks, ranks - n // 2):
            np.testing.assert_array_equal(nt.from_numpy(x).argsort(1).numpy(), want)


def test_return_types():
    """The named tuples print, unpack, compare, pickle and copy as torch's."""
    found = nt.tensor([3, 1]).sort()
    assert repr(found) == "torch.return_types.sort(\nvalues=tensor([1, 3]),\nindices=tensor([1, 0]))"
    values, indices = found
    assert values is found.values is found[0] and indices is found.indices and isinstance(found, tuple) and len(found) == 2
    assert type(found) is nt.return_types.sort
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert type(other) is type(found) and other.indices.tolist() == [1, 0]


def test_unique_of_narrow_and_wide_integers():
    """Counting (narrow range) and sorting (wide range) give the same unique values, inverse and counts."""
    r = np.random.default_rng(0)
    for x in (r.integers(-5, 5, 1000), r.integers(-5, 5, (10, 100)) * 10**12, r.integers(-128, 128, 500).astype(np.int8),
            r.integers(0, 2, 50) > 0):
        want = np.unique(x, return_inverse=True, return_counts=True)
        got = nt.unique(nt.from_numpy(x), return_inverse=True, return_counts=True)
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a.numpy(), b.reshape(a.shape))
        assert got[0].dtype is nt.from_numpy(x).dtype
        np.testing.assert_array_equal(nt.unique(nt.from_numpy(x)).numpy(), want[0])


def test_unique_counts_every_nan():
    """As in torch, nan differs from nan: in unique and unique_consecutive."""
    x = nt.tensor([NAN, 1.0, NAN, 1.0])
    np.testing.assert_array_equal(x.unique().numpy(), [1.0, NAN, NAN])
    assert x.unique_consecutive().numel() == 4


def test_unique_of_rows_is_lexical():
    """unique(dim) orders rows as numbers, negative ones first, and counts them."""
    x = nt.tensor([[1, -2], [-1, 5], [1, -2], [-1, -5]])
    rows, inverse, counts = nt.unique(x, dim=0, return_inverse=True, return_counts=True)
    assert rows.tolist() == [[-1, -5], [-1, 5], [1, -2]] and inverse.tolist() == [2, 1, 2, 0] and counts.tolist() == [1, 1, 2]
    with pytest.raises(RuntimeError, match="There are 0 sized dimensions"):
        nt.unique(nt.zeros(2, 0), dim=0)


def test_searchsorted_many_rows():
    """Rows of edges with their own values, left and right, equal NumPy's row by row; nan goes to the end."""
    r = np.random.default_rng(0)
    edges, values = np.sort(r.integers(0, 50, (7, 33)).astype(float)), r.integers(-5, 55, (7, 500)).astype(float)
    values[:, ::50] = NAN
    for right, side in ((False, "left"), (True, "right")):
        got = nt.searchsorted(nt.from_numpy(edges), nt.from_numpy(values), right=right)
        np.testing.assert_array_equal(got.numpy(), np.stack([np.searchsorted(e, v, side) for e, v in zip(edges, values)]))
    with pytest.raises(RuntimeError, match="side and right can't be set to opposites"):
        nt.searchsorted(nt.tensor([1, 2]), nt.tensor([1]), right=True, side="left")


# ---- scans -------------------------------------------------------------------------------------------------------------------

def test_long_rows():
    """A long row is summed in parts: exact for integers, as accurate as float64 for float32, in both directions."""
    for n in (4095, 4096, 4099, 100001):
        x = nt.arange(n) - n // 2
        np.testing.assert_array_equal(x.cumsum(0).numpy(), np.cumsum(x.numpy()))
        f = nt.from_numpy(np.random.default_rng(n).standard_normal(n).astype(np.float32))
        exact = np.cumsum(f.numpy().astype(float))
        np.testing.assert_allclose(f.cumsum(0).numpy(), exact, rtol=1e-6, atol=1e-5)
        leaf = f.clone().requires_grad_()
        leaf.cumsum(0).backward(f)
        np.testing.assert_allclose(leaf.grad.numpy(), np.cumsum(f.numpy()[::-1].astype(float))[::-1], rtol=1e-6, atol=1e-5)


def test_float32_is_added_in_float64():
    """cumsum rounds each sum once: adding 1 to 2**24 many times is not lost."""
    x = nt.ones(100)
    x[0] = 2.0**24
    assert x.cumsum(0)[-1].item() == float(np.float32(2**24 + 99))


def test_cumprod_gradient_at_zeros():
    """The gradient of cumprod is right with none, one and several zeros in a row."""
    for row in ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 3.0, 4.0], [0.0, 2.0, 0.0, 4.0], [0.0, 0.0, 0.0, 1.0]):
        x = nt.tensor([row, row[::-1]], dtype=nt.float64, requires_grad=True)
        assert gradcheck(lambda t: t.cumprod(1), (x,)) and gradcheck(lambda t: t.cumprod(0), (x,))


def test_cummax_keeps_the_latest_of_equals_and_the_first_nan():
    """torch's rule for ties and nan, along rows and along columns."""
    row = [1.0, 3.0, 3.0, 2.0, NAN, 5.0, NAN]
    for x, dim in ((nt.tensor(row), 0), (nt.tensor([row, row]).T, 0)):
        values, index = x.cummax(dim)
        np.testing.assert_array_equal(values.numpy().reshape(7, -1)[:, 0], [1, 3, 3, 3, NAN, NAN, NAN])
        assert index.numpy().reshape(7, -1)[:, 0].tolist() == [0, 1, 2, 2, 4, 4, 6]


def test_logcumsumexp_extremes():
    """No overflow, -inf passes through, its gradient is a weight below 1."""
    x = nt.tensor([-INF, 1000.0, 1000.0, -1000.0], dtype=nt.float64, requires_grad=True)
    y = x.logcumsumexp(0)
    np.testing.assert_allclose(y.detach().numpy(), [-INF, 1000, 1000 + np.log(2), 1000 + np.log(2)])
    y[1:].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 2, 1, 0])


def test_scan_kernels_in_parallel_equal_serial():
    """The twins of the scan kernels give the same bits."""
    x = np.random.default_rng(0).standard_normal((3, 50, 300))
    for kernel, args in ((K.scan.cumsum, (0.0, True)), (K.scan.cumprod, (1.0,)), (K.scan.logcumsumexp, (False,))):
        results = []
        for run in (kernel.serial, kernel.parallel):
            out = np.empty_like(x)
            run(x, *args, out)
            results.append(out)
        np.testing.assert_array_equal(*results)


def test_histc_edges():
    """The last bin is closed, values outside and nan are not counted, equal limits take the data's range."""
    assert nt.tensor([0.0, 1.0, 2.0, 3.0, 4.0, NAN]).histc(3, 0, 3).tolist() == [1, 1, 2]
    assert nt.tensor([2.0, 2.0]).histc(2).tolist() == [0, 2]
    with pytest.raises(RuntimeError, match="is not finite"):
        nt.tensor([1.0, INF]).histc(3)
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        nt.tensor([1, 2]).histc(3)


def test_the_median_of_no_elements():
    """nan, or what torch makes of it in dtypes that have none: True, and the least number."""
    for dtype, want in ((nt.float32, "nan"), (nt.bool, "True"), (nt.int16, str(-2 ** 15)), (nt.uint8, "0")):
        found = nt.empty(0, dtype=dtype).median()
        assert found.dtype is dtype and str(found.item()) == want
