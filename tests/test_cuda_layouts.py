"""Views of arrays on a device lie as NumPy's do, whoever works them out; copies by mask; arrays that share one allocation."""
import random

import numpy as np
import pytest
import simulator
from numtorch.kernels import _device, _layouts, pointwise_cuda
from numtorch.kernels._driver import OnHost


@pytest.fixture(autouse=True)
def driver():
    with simulator.installed() as found:
        yield found


def place(array, base):
    """Shape, strides, first byte and order of an array in the memory of ``base``."""
    strides, offset = (array.strides, array.ctypes.data - base.ctypes.data) if array.size else (None, None)
    return array.shape, strides, offset, array.flags.c_contiguous, array.ndim, array.size, array.nbytes


def random_key(rng, shape):
    """An index of ints, slices, None and an Ellipsis, of which some do not fit."""
    key = []
    for n in shape[:rng.randrange(len(shape) + 1)]:
        key.append(rng.choice((rng.randrange(-n - 1, n + 1), slice(None), slice(rng.randrange(-n - 1, n + 2), None),
                               slice(None, None, rng.choice((-2, -1, 2))), slice(rng.randrange(n + 1), rng.randrange(n + 2)),
                               np.int64(0))))
    for extra in rng.sample((None, Ellipsis, None), rng.randrange(3)):
        key.insert(rng.randrange(len(key) + 1), extra)
    return tuple(key) if len(key) != 1 or rng.random() < 0.5 else key[0]


def steps(rng, a):
    """A view of ``a`` by a random method, as a function of the array."""
    kind = rng.randrange(8)
    axes = rng.sample(range(a.ndim), a.ndim)
    if kind == 0:
        return lambda x: x.transpose(*axes)
    if kind == 1 and a.ndim:
        d, e = rng.randrange(-a.ndim, a.ndim), rng.randrange(a.ndim)
        return lambda x: x.swapaxes(d, e)
    if kind == 2:
        return lambda x: x.T
    if kind == 3:
        shape = rng.choice(((-1,), (a.size,), (1, -1), (*a.shape, 1), (2, -1), (-1, 3), a.shape, (0, -1)))
        return lambda x: x.reshape(shape)
    if kind == 4:
        shape = tuple(rng.choice((n, 3)) if n == 1 else n for n in a.shape)
        shape = (2,) * rng.randrange(2) + shape
        return lambda x: np.broadcast_to(x, shape)
    if kind == 5:
        return lambda x: x.view(np.int32)
    if kind == 6:
        return lambda x: np.transpose(x, axes)
    key = random_key(rng, a.shape)
    if key is not Ellipsis and not (isinstance(key, tuple) and Ellipsis in key):
        key = (*(key if isinstance(key, tuple) else (key,)), Ellipsis)      # or NumPy would give a number
    return lambda x: x[key]


def test_views_lie_as_numpys_do():
    """Chains of random views: place, strides and order are NumPy's, and so is whether it is an error."""
    rng, errors = random.Random(5), 0
    for _ in range(600):
        shape = tuple(rng.choice((0, 1, 1, 2, 3, 4)) for _ in range(rng.randrange(4)))
        host = base = np.zeros(shape, np.float32)
        near = origin = _device.empty(shape, host.dtype)
        for _ in range(4):
            step = steps(rng, host)
            try:
                wanted = step(host)
            except (ValueError, IndexError) as error:
                with pytest.raises(type(error)):
                    step(near)
                errors += 1
                continue
            if wanted.size and not np.shares_memory(wanted, base):
                continue                    # NumPy had to copy
            host, near = wanted, step(near)
            assert place(near, origin) == place(host, base) and (near is origin or near.base is origin)
    assert errors > 50


def test_order_is_numpys():
    """What lies in rows, or in columns, with sizes of 0 and 1 in every place."""
    rng = random.Random(1)
    for _ in range(500):
        shape = tuple(rng.choice((0, 1, 2, 3)) for _ in range(rng.randrange(4)))
        a = np.lib.stride_tricks.as_strided(np.zeros(1), shape, tuple(rng.choice((0, 8, 16, 24, 48)) for _ in shape))
        assert _layouts.is_dense(shape, a.strides, 8) == a.flags.c_contiguous
        assert _layouts.is_dense(shape[::-1], a.strides[::-1], 8) == a.flags.f_contiguous
        if 0 not in shape:
            assert _layouts.row_strides(shape, 8) == np.empty(shape).strides


def test_what_is_no_basic_index_is_left_to_kernels():
    a = _device.empty((3, 2), np.dtype(np.float32))
    for key in (True, [0, 1], np.array([0]), (0, np.array([True, False]))):
        with pytest.raises(OnHost, match="indexing with an array"):
            a[key]


def test_copies_by_mask():
    """numpy.copyto with a mask: numbers, arrays that broadcast or convert, the target's own memory."""
    host = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = host % 3 == 0
    for source in (7, np.arange(4, dtype=np.int64), host[::-1].copy()):
        a, m = _device.from_host(host), _device.from_host(mask)
        wanted = host.copy()
        np.copyto(wanted, source, where=mask, casting="unsafe")
        np.copyto(a, _device.from_host(source) if isinstance(source, np.ndarray) else source, where=m, casting="unsafe")
        assert (a.on_host() == wanted).all()
    np.copyto(a, a[::-1], where=m)
    np.copyto(wanted, wanted[::-1].copy(), where=mask)
    assert (a.on_host() == wanted).all()
    with pytest.raises(OnHost, match="mask in the host's memory"):
        np.copyto(a, 1, where=mask)


def test_several_arrays_of_one_allocation(driver):
    """They are aligned, do not overlap, have no base, and keep their memory while one of them lives."""
    found = _device.several(3, (5,), np.dtype(np.float32), 0)
    assert [a.ptr - found[0].ptr for a in found] == [0, 32, 64] and not found[0].ptr % 16
    for k, a in enumerate(found):
        assert a.base is None and a.shape == (5,) and a.dtype == np.float32
        a.fill(k)
    last = found.pop()
    del found, a
    again = _device.empty((64,), np.dtype(np.float32), 0)
    again.fill(9)
    assert last.tolist() == [2] * 5


def test_loops_in_parts(monkeypatch):
    """More elements than 32 bits count are gone through in halves, and six dimensions that cannot be merged one by one."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 3, 2, 2, 2)).astype(np.float32)
    y = rng.standard_normal((3, 1, 3, 1, 2, 1)).astype(np.float32)
    a, b = (_device.from_host(v) for v in (x, y))
    order = (5, 3, 1, 4, 2, 0)
    for most in (pointwise_cuda.MOST, 50, 7):
        monkeypatch.setattr(pointwise_cuda, "MOST", most)
        out = _device.empty(x.shape, x.dtype)
        pointwise_cuda.run("add", ("float32",) * 3, [a, b], out)
        assert (out.on_host() == x + y).all()
        out = _device.empty(x.transpose(order).shape, x.dtype)
        pointwise_cuda.run("mul", ("float32",) * 3, [a.transpose(order), b.transpose(order)], out)
        assert (out.on_host() == (x * y).transpose(order)).all()
