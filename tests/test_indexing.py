"""Indexing beyond the op table: keys, assignment, autograd through both, errors, determinism."""
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtorch as nt
from numtorch import kernels as K
from numtorch.autograd import gradcheck, gradgradcheck

L = nt.tensor


def numbers(*shape, **kwargs):
    return nt.arange(float(np.prod(shape)), **kwargs).reshape(*shape)


# ---- keys --------------------------------------------------------------------------------------------------------------------

def one_entry(n):
    """A key's entry for a dim of size n, as (for numtorch, for the reference)."""
    index = st.lists(st.integers(-n, n - 1), min_size=1, max_size=3)
    return st.one_of(
        st.integers(-n, n - 1),
        st.builds(slice, st.none() | st.integers(-n - 1, n + 1), st.none() | st.integers(-n - 1, n + 1),
            st.none() | st.integers(1, 3)),
        st.just(None), index.map(lambda i: ("index", i)),
        st.lists(st.booleans(), min_size=n, max_size=n).map(lambda m: ("mask", m)))


@st.composite
def keys(draw, shape):
    """A key for ``shape``: one entry a dim, perhaps fewer, perhaps an Ellipsis, at most one index tensor or mask of each
    length."""
    before = draw(st.integers(0, len(shape)))
    after = draw(st.none() | st.integers(before, len(shape)))       # the dims from here on come after an Ellipsis
    entries = []
    for dim, n in enumerate((*shape[:before], *(() if after is None else (None, *shape[after:])))):
        if dim == before:
            entries.append(Ellipsis)
            continue
        entry = draw(one_entry(n))
        while entry is None:
            entries.append(None)
            entry = draw(one_entry(n))
        entries.append(entry)
    length = draw(st.integers(1, 3))
    return [("index", (e[1] * 3)[:length]) if isinstance(e, tuple) and e[0] == "index" else e for e in entries]


def for_numtorch(key):
    return tuple(L(e[1]) if isinstance(e, tuple) else e for e in key)


def reference(a, key):
    """torch's rule with NumPy: integers, slices, None first; then the index arrays together."""
    basic = tuple(slice(None) if isinstance(e, tuple) else e for e in key)
    view = a[(*basic, ...)] if Ellipsis not in basic else a[basic]
    advanced = []
    spare = a.ndim - sum(e is not None and e is not Ellipsis for e in key)
    for e in key:
        if isinstance(e, tuple):
            advanced.append(np.array(e[1]))
        elif e is Ellipsis:
            advanced += [slice(None)] * spare
        elif not isinstance(e, int):
            advanced.append(slice(None))
    return view[tuple(advanced)]


def fits(a, key):
    """Whether the index arrays of the key broadcast (a mask has as many entries as it has True)."""
    sizes = {len(e[1]) if e[0] == "index" else sum(e[1]) for e in key if isinstance(e, tuple)} - {1}
    return len(sizes) <= 1


@settings(max_examples=400, deadline=None)
@given(keys((3, 4, 2)))
def test_getitem_equals_numpys_two_steps(key):
    """Any mixture of ints, slices, None, Ellipsis, index tensors and masks picks what the two-step rule picks; so does its
    gradient."""
    a = np.arange(24.0).reshape(3, 4, 2)
    if not fits(a, key):
        return
    want = reference(a, key)
    x = nt.from_numpy(a.copy()).requires_grad_()
    got = x[for_numtorch(key)]
    assert tuple(got.shape) == want.shape
    np.testing.assert_array_equal(got.detach().numpy(), want)
    if got.requires_grad:
        w = np.arange(1.0, want.size + 1).reshape(want.shape)
        got.backward(nt.from_numpy(w))
        grad = np.zeros(24)
        np.add.at(grad, reference(np.arange(24).reshape(3, 4, 2), key), w)
        np.testing.assert_array_equal(x.grad.numpy(), grad.reshape(3, 4, 2))


@settings(max_examples=300, deadline=None)
@given(keys((3, 4, 2)), st.sampled_from(["number", "tensor", "broadcast"]), st.booleans())
def test_setitem_equals_numpys(key, kind, strided):
    """Assignment through any key writes what NumPy writes, also into a tensor with gaps."""
    a = np.arange(24.0).reshape(3, 4, 2)
    if not fits(a, key):
        return
    places = np.asarray(reference(np.arange(24).reshape(3, 4, 2), key))
    if kind == "number":
        value, v = 7.5, np.full(places.shape, 7.5)
    else:
        v = np.asarray(-np.arange(1.0, places.size + 1).reshape(places.shape))
        if kind == "broadcast":
            v = v[..., :1] if v.ndim else v
        value, v = nt.from_numpy(v.copy()), np.broadcast_to(v, places.shape)
    want = a.copy().reshape(-1)
    want[places.reshape(-1)] = v.reshape(-1)
    x = nt.from_numpy(a.copy())
    if strided:
        wide = nt.zeros(3, 4, 4, dtype=nt.float64)
        wide[:, :, ::2] = x
        x = wide[:, :, ::2]
    x[for_numtorch(key)] = value
    np.testing.assert_array_equal(np.array(x.tolist()).reshape(-1), want)


def test_equal_to_torch_for_all_pairs_of_entries():
    """Every pair (and triple) of kinds of entries gives torch's shape and values."""
    torch = pytest.importorskip("torch")
    a = np.arange(60.0).reshape(3, 4, 5)
    for entries in itertools.product([1, -1, slice(1, None), slice(None, None, 2), None, Ellipsis, "i", "ii", "m", True,
            False], repeat=3):
        if sum(e is Ellipsis for e in entries) > 1:
            continue

        def key(library):
            made = {"i": library.tensor([0, 2, 1]), "ii": library.tensor([[0], [-1]]), "m": library.tensor([True, False, True])}
            return tuple(made[e] if isinstance(e, str) else e for e in entries)
        results = []
        for library in (torch, nt):
            try:
                found = library.from_numpy(a)[key(library)]
                results.append((tuple(found.shape), found.tolist()))
            except IndexError as error:
                results.append(str(error).split("\n")[0])
        assert results[0] == results[1], entries


def test_views_share_memory_and_copies_do_not():
    """A basic key gives a view of the same memory; an index tensor or a mask a copy."""
    x = numbers(3, 4)
    for key in (0, slice(1, 3), (..., 0), None, (slice(None), None, 1), L(1)):
        assert x[key].data_ptr() >= x.data_ptr()
        assert np.shares_memory(x[key]._a, x._a), key
    for key in (L([0, 1]), x > 3, [0, 1], True):
        assert not np.shares_memory(x[key]._a, x._a), key


def test_grad_fn_names_are_torchs():
    """The node of a key is named after the last step of torch's chain."""
    x = numbers(3, 4).requires_grad_()
    for key, name in ((0, "Select"), ((0, slice(1, 3)), "Slice"), ((slice(1, 3), 0), "Select"), (None, "Unsqueeze"), ((0,
            None), "Unsqueeze"),
                      (slice(None), "Alias"), (Ellipsis, "Alias"), (L([0]), "Index"), (x.detach() > 2, "Index")):
        assert type(x[key].grad_fn).__name__ == name + "Backward0", key


def test_errors():
    """Bad keys end in torch's exception type and text."""
    x = numbers(2, 3)
    for key, kind, text in (
            (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
            ((0, -4), IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
            ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
            (L([5]), IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
            ((slice(None), L([0, 3])), IndexError, "index 3 is out of bounds for dimension 1 with size 3"),
            (L([True, False, True]), IndexError,
                "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3] at index 0"),
            (slice(None, None, -1), ValueError, "step must be greater than zero"),
            (slice(None, None, 0), ValueError, "slice step cannot be zero"),
            (1.5, IndexError,
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got float)"),
            ("a", TypeError, "new(): invalid data type 'str'"),
            (L([1.5]), IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
            ((L([0, 1]), L([0, 1, 2])), IndexError,
                "shape mismatch: indexing tensors could not be broadcast together with shapes [2], [3]")):
        with pytest.raises(kind) as caught:
            x[key]
        assert str(caught.value) == text
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        L(1.0)[1]


def test_assignment_errors_leave_the_tensor_alone():
    """A value that does not fit, or is no number, raises torch's error before anything is written."""
    x = numbers(2, 3)
    for key, value, kind, text in (
            (0, L([1.0, 2.0]), RuntimeError,
                "The expanded size of the tensor (3) must match the existing size (2) at non-singleton dimension 0.  "
             "Target sizes: [3].  Tensor sizes: [2]"),
            (L([0, 1]), L([1.0, 2.0]), RuntimeError,
                "shape mismatch: value tensor of shape [2] cannot be broadcast to indexing result of shape [2, 3]"),
            (0, [1, 2, 3], TypeError, "can't assign a list to a torch.FloatTensor"),
            (9, 1, IndexError, "index 9 is out of bounds for dimension 0 with size 2"),
            ((0, L([7])), 1, IndexError, "index 7 is out of bounds for dimension 0 with size 3")):
        with pytest.raises(kind) as caught:
            x[key] = value
        assert str(caught.value) == text
    assert x.tolist() == numbers(2, 3).tolist()
    with pytest.raises(RuntimeError, match="value cannot be converted to type uint8_t without overflow"):
        L([1, 2], dtype=nt.uint8)[0] = 300


def test_assignment_converts_and_strips_leading_ones():
    """Values take the tensor's dtype; leading dims of size 1 that the target lacks are dropped."""
    x = nt.zeros(2, 3, dtype=nt.int64)
    x[0] = L([1.9, -1.9, 2.0])
    x[1, L([0, 2])] = L([[7.5, 8.5]])
    x[:, 1] = nt.ones(1, 1, 2)
    assert x.tolist() == [[1, 1, 2], [7, 1, 8]]


def test_list_of_sequences_counts_as_a_tuple():
    """As in torch 2.13, x[[[0, 1], [1, 0]]] is x[[0, 1], [1, 0]], with a warning."""
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert numbers(2, 3)[[[0, 1], [1, 2]]].tolist() == [1.0, 5.0]


def test_uint8_is_a_mask():
    """uint8 index tensors select as masks, with torch's warning."""
    with pytest.warns(UserWarning, match="torch.uint8 is now deprecated"):
        assert numbers(2, 3)[L([0, 1], dtype=nt.uint8)].tolist() == [[3.0, 4.0, 5.0]]


# ---- autograd ----------------------------------------------------------------------------------------------------------------

ASSIGNMENTS = [(0,), (slice(1, None), 0), (L([0, 0, 1]),), (slice(None), L([2, 0])), (L([True, False, True]),), (..., None, 1)]


@pytest.mark.parametrize("key", ASSIGNMENTS, ids=str)
def test_assignment_is_differentiable_twice(key):
    """Gradients reach both the tensor that is written (elsewhere) and the value that is written."""
    x = nt.rand(3, 3, dtype=nt.float64).requires_grad_()
    unique = tuple(k if k is not ASSIGNMENTS[2][0] else L([0, 2, 1]) for k in key)
    v = nt.rand(*x.detach()[unique].shape, dtype=nt.float64).requires_grad_()

    def write(x, v):
        y = x * x
        y[unique] = v * v
        return y * y
    assert gradcheck(write, (x, v))
    assert gradgradcheck(write, (x, v))


def test_assignment_through_a_view_reaches_the_base():
    """b = a[0]; b[...] = v changes a's gradient as torch's CopySlices does."""
    x = numbers(2, 3).requires_grad_()
    a = x * 2
    row = a[0]
    row[1:] = x[1, :2] * 3
    (a * a).sum().backward()
    # a = [[2 x00, 3 x10, 3 x11], 2 x1]
    want = 8 * x.detach()
    want[0, 1:] = 0
    want[1, :2] += 18 * x.detach()[1, :2]
    assert x.grad.tolist() == want.tolist()


def test_leaves_and_their_views_may_not_be_written():
    """Writing a leaf that requires a gradient, or a view of it, raises; under no_grad it is allowed."""
    x = nt.zeros(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError,
        match="a view of a leaf Variable that requires grad is being used in an in-place operation"):
        x[0] = 1
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x[L([0])] = 1
    with nt.no_grad():
        x[0], x[L([1])] = 1, 2
    assert x.tolist() == [[1, 1], [2, 2]]


def test_writes_count_versions():
    """A saved tensor that was written through a key is noticed in backward."""
    for key in (0, L([0]), L([True, False])):
        x = nt.ones(2, requires_grad=True)
        y = x * 1
        z = y * y
        y[key] = 5.0
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()


# ---- in place, aliasing, dtypes ----------------------------------------------------------------------------------------------

IN_PLACE = [("scatter_", (1, L([[0], [2]]), L([[7.0], [8.0]]))), ("scatter_add_", (0, L([[1, 1, 1]]), nt.ones(1, 3))),
    ("index_add_", (0, L([1, 1]), nt.ones(2, 3))),
            ("index_copy_", (1, L([0]), nt.ones(2, 1))), ("index_fill_", (0, L([-1]), 3.0)), ("masked_fill_", (L([True,
                False, True]), -1.0)),
            ("masked_scatter_", (L([[True, False, True]]), nt.ones(4))), ("put_", (L([0, -1]), L([5.0, 6.0]))),
                ("index_put_", ((L([0, 0]),), nt.ones(2, 3), True)),
            ("scatter_reduce_", (0, L([[1, 0, 1]]), nt.ones(1, 3) * 9, "amax"))]


@pytest.mark.parametrize("name, args", IN_PLACE, ids=[name for name, _ in IN_PLACE])
def test_in_place_equals_the_function(name, args):
    """name_ writes what name returns, into the tensor, through strides, with one version and the same gradient."""
    x = numbers(2, 3)
    want = getattr(nt.Tensor, name[:-1])(x, *args)
    y = x.clone()
    assert getattr(y, name)(*args) is y and y.tolist() == want.tolist() and y._version == 1
    wide = nt.zeros(2, 6)
    wide[:, ::2] = x
    getattr(wide[:, ::2], name)(*args)
    assert wide[:, ::2].tolist() == want.tolist() and wide[:, 1::2].abs().sum() == 0
    leaf = x.clone().requires_grad_()
    y = leaf * 1
    getattr(y, name)(*args)
    (y * y).sum().backward()
    other = x.clone().requires_grad_()
    (getattr(nt.Tensor, name[:-1])(other * 1, *args) ** 2).sum().backward()
    assert leaf.grad.tolist() == other.grad.tolist()


def test_sources_that_alias_the_target():
    """A source that shares memory with what is written is read before it is written."""
    x = nt.arange(6.0)
    x.index_copy_(0, L([1, 2, 3]), x[:3])
    assert x.tolist() == [0, 0, 1, 2, 4, 5]
    x = nt.arange(6.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "float64", "complex64",
                                   "complex128"])
def test_every_dtype_moves(dtype):
    """Gather, scatter, select, mask and flip keep every dtype's values."""
    dtype = getattr(nt, dtype)
    x = nt.arange(6).reshape(2, 3).to(dtype)
    i = L([[2, 0, 1], [1, 1, 0]])
    places = nt.arange(6).reshape(2, 3)
    for f in (lambda t: t.gather(1, i), lambda t: t.flip(1), lambda t: t[L([1, 0])], lambda t: t.index_select(1, L([2, 2])),
            lambda t: t[places > 2],
              lambda t: t.take(L([5, 0])), lambda t: t.scatter(1, i[:, :1], t[:, :1]), lambda t: t.roll(1, 1),
                  lambda t: nt.cat([t, t], 1), lambda t: t.tril()):
        assert f(x).dtype is dtype
        assert f(x).tolist() == f(places).to(dtype).tolist()


def test_additions_meet_in_order_in_every_dtype():
    """scatter_add and index_add on halves and small integers add in a wider type and round once."""
    for dtype in (nt.float16, nt.bfloat16, nt.int8, nt.uint8, nt.complex64):
        x = nt.zeros(2, dtype=dtype).scatter_add(0, L([0, 0, 1]), L([1, 2, 3]).to(dtype))
        assert x.tolist() == L([3, 3]).to(dtype).tolist()
        assert nt.zeros(2, dtype=dtype).index_add(0, L([0, 0, 1]), L([1, 2, 3]).to(dtype)).tolist() == x.tolist()


def test_empty_and_0_dim():
    """Indices without elements, and tensors without dims, work in every operation."""
    assert nt.zeros(3, 0).gather(1, nt.zeros(3, 0, dtype=nt.int64)).shape == (3, 0)
    assert nt.zeros(0, 3)[nt.zeros(0, dtype=nt.int64)].shape == (0, 3)
    assert numbers(2, 3)[[]].shape == (0, 3)
    assert numbers(2, 3)[nt.zeros(2, 3, dtype=nt.bool)].shape == (0,)
    assert L(5.0)[L(True)].tolist() == [5.0] and L(5.0)[L(False)].shape == (0,) and L(5.0)[...].item() == 5.0
    assert L(5.0).scatter_add(0, L(0), L(2.0)).item() == 7.0
    assert L(5.0)[None].shape == (1,)


def test_source_larger_than_index_has_zero_gradient_where_unused():
    """scatter, scatter_add and scatter_reduce differentiate a source of which the index uses a part."""
    x, src, i = nt.rand(3, 3, dtype=nt.float64), nt.rand(3, 3, dtype=nt.float64), L([[2, 0]])
    for f in (lambda s: x.scatter(0, i, s), lambda s: x.scatter_add(0, i, s), lambda s: x.scatter_reduce(0, i, s, "prod")):
        assert gradcheck(f, (src.clone().requires_grad_(),))


def test_mask_blocks():
    """Selecting by mask is right across the blocks that threads take, for no, all and some elements True."""
    n = 3 * (1 << 16) + 5
    x = nt.arange(n)
    for mask in (nt.zeros(n, dtype=nt.bool), nt.ones(n, dtype=nt.bool), x % 3 == 0, x > n - 4):
        want = np.flatnonzero(mask.numpy())
        assert np.array_equal(x[mask].numpy(), want)
        assert np.array_equal(mask.nonzero().numpy()[:, 0], want)
        filled = x.masked_scatter(mask, -nt.arange(1, n + 1))
        assert np.array_equal(filled.numpy()[want], -np.arange(1, want.size + 1))


CODE = """
import numpy as np, hashlib
from numtorch import kernels as K
import numtorch as nt
nt.set_num_threads({}) if hasattr(nt, "set_num_threads") else K._jit.set_num_threads({})
r = np.random.default_rng(0)
x, i = nt.from_numpy(r.standard_normal((50000, 8)).astype("f")), nt.from_numpy(r.integers(0, 100, 50000))
h = hashlib.sha1()
h.update(nt.zeros(100, 8).index_add(0, i, x).numpy().tobytes())
h.update(nt.zeros(100, 8).scatter_add(0, i[:, None].expand(-1, 8), x).numpy().tobytes())
h.update(x.cumsum(0).numpy().tobytes())
h.update(x.reshape(-1).cumsum(0).numpy().tobytes())
h.update(x.sort(0)[1].numpy().tobytes())
print(h.hexdigest())
"""


def test_results_do_not_depend_on_the_number_of_threads():
    """Sums by index, scans and sorts are the same to the bit with 1, 2 and 3 threads."""
    env = {**os.environ, "NUMTORCH_THREADS": "3", "NUMBA_NUM_THREADS": "3"}
    found = {subprocess.run([sys.executable, "-c", CODE.format(n, n)], capture_output=True, text=True, check=True,
        env=env).stdout for n in (1, 2, 3)}
    assert len(found) == 1


def test_kernels_agree_with_their_python_source():
    """The compiled kernels give what their Python source gives (parallel, serial, interpreted)."""
    r = np.random.default_rng(1)
    x, index = r.standard_normal((2, 5, 3)), r.integers(0, 5, (2, 4, 3))
    results = []
    for run in (K.indexing.gather.serial, K.indexing.gather.parallel):
        out = np.empty((2, 4, 3))
        assert run(index, x, out) == 0
        results.append(out)
    np.testing.assert_array_equal(results[0], np.take_along_axis(x, index, 1))
    np.testing.assert_array_equal(results[0], results[1])
    index[0, 0, 0] = 5
    assert K.indexing.gather(index, x, out) == 1


def test_fill_diagonal():
    """fill_diagonal_ writes matrices, tall ones with wrap, and equal dims; it is recorded."""
    for shape, wrap in (((3, 3), False), ((7, 3), True), ((7, 3), False), ((2, 4), False), ((3, 3, 3), False)):
        want = np.zeros(shape)
        np.fill_diagonal(want, 5.0, wrap)
        assert nt.zeros(*shape).fill_diagonal_(5, wrap).tolist() == want.tolist()
    x = nt.ones(2, 2, requires_grad=True)
    y = x * 2
    y.fill_diagonal_(7)
    y.sum().backward()
    assert x.grad.tolist() == [[0, 2], [2, 0]]
    with pytest.raises(RuntimeError, match="dimensions must larger than 1"):
        nt.ones(2).fill_diagonal_(1)
