"""Properties that hold for any shape, key, dtype and chain of views, checked against NumPy (and torch where installed).

The examples are derandomized: every run sees the same ones, so a failure here is a change of the library, never luck.
"""
import itertools
import math
import operator
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import numtorch as nt


def examples(n):
    return settings(max_examples=n, deadline=None, derandomize=True, database=None)


def tensor(array):
    """A tensor that shares the array's memory, whatever its strides and sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # arrays broadcast by NumPy are read-only
        return nt.from_numpy(np.asarray(array))


def counting(shape, dtype="float64"):
    return np.arange(1, math.prod(shape) + 1).reshape(shape).astype(dtype)


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
full_shapes = st.lists(st.integers(1, 4), max_size=4).map(tuple)


def same(got, want):
    """Shape, dtype and elements are equal."""
    assert tuple(got.shape) == np.shape(want)
    got = got.detach().numpy()
    assert got.dtype == np.asarray(want).dtype
    np.testing.assert_array_equal(got, want)


# ---- broadcasting -------------------------------------------------------------------------------------------------------

@st.composite
def operand_shapes(draw, n):
    """n shapes, which mostly broadcast: dims of one common shape dropped in front or set to 1, now and then spoiled."""
    whole = draw(shapes)
    found = []
    for _ in range(n):
        own = [1 if draw(st.booleans()) else s for s in whole[draw(st.integers(0, len(whole))):]]
        if own and draw(st.integers(0, 7)) == 0:
            own[draw(st.integers(0, len(own) - 1))] += 1
        found.append(tuple(own))
    return found


@examples(150)
@given(operand_shapes(3))
def test_three_operands_broadcast_as_numpys(chosen):
    """where, addcmul, broadcast_tensors and broadcast_shapes accept exactly what NumPy broadcasts, with its results."""
    a, b, c = (counting(s) for s in chosen)
    x, y, z = map(tensor, (a, b, c))
    try:
        shape = np.broadcast_shapes(*chosen)
    except ValueError:
        for call in (lambda: nt.where(x > 2, y, z), lambda: nt.addcmul(x, y, z), lambda: nt.broadcast_tensors(x, y, z),
                     lambda: nt.broadcast_shapes(*chosen)):
            with pytest.raises(RuntimeError, match="must match|[Ss]hape mismatch"):
                call()
        return
    assert tuple(nt.broadcast_shapes(*chosen)) == shape
    same(nt.where(x > 2, y, z), np.where(a > 2, b, c))
    same(nt.addcmul(x, y, z, value=2), a + 2 * b * c)
    for got, want in zip(nt.broadcast_tensors(x, y, z), np.broadcast_arrays(a, b, c)):
        same(got, want)
        if got.numel():
            assert [s for s, n in zip(got.stride(), shape) if n > 1] == [s // 8 for s, n in zip(want.strides, shape) if n > 1]


@examples(120)
@given(operand_shapes(2))
def test_gradients_are_summed_to_the_operands_shapes(chosen):
    """The gradient of a broadcast product has each operand's shape: the sum over what was repeated."""
    a, b = (counting(s) for s in chosen)
    try:
        shape = np.broadcast_shapes(*chosen)
    except ValueError:
        return
    x, y = tensor(a).requires_grad_(), tensor(b).requires_grad_()
    weight = counting(shape)
    (x * y).backward(tensor(weight))
    for leaf, other, own in ((x, b, chosen[0]), (y, a, chosen[1])):
        full = weight * other
        padded = (1,) * (len(shape) - len(own)) + own
        axes = tuple(i for i, (s, o) in enumerate(zip(shape, padded)) if s != o)
        same(leaf.grad, np.broadcast_to(full, shape).sum(axes, keepdims=True).reshape(own))


@examples(80)
@given(operand_shapes(2), st.sampled_from(["add_", "mul_", "copy_", "maximum"]))
def test_in_place_needs_the_targets_shape(chosen, name):
    """In place, the other operand may broadcast and the target may not; a refused write changes nothing."""
    a, b = (counting(s) for s in chosen)
    x = tensor(a.copy())
    call = (lambda: nt.maximum(x, tensor(b), out=x)) if name == "maximum" else lambda: getattr(x, name)(tensor(b))
    try:
        fits = np.broadcast_shapes(*chosen) == chosen[0]
    except ValueError:
        fits = False
    if not fits:
        assume(name != "maximum")       # out= is resized, as torch does
        with pytest.raises(RuntimeError, match="must match the size|doesn't match the broadcast shape"):
            call()
        return same(x, a)
    call()
    same(x, {"add_": np.add, "mul_": np.multiply, "maximum": np.maximum, "copy_": lambda p, q: p * 0 + q}[name](a, b))


# ---- indexing -----------------------------------------------------------------------------------------------------------

@st.composite
def basic_keys(draw, shape):
    """Ints, slices, None and Ellipsis in any legal order."""
    ellipsis_at = draw(st.none() | st.integers(0, len(shape)))
    entries, after = [], None if ellipsis_at is None else draw(st.integers(ellipsis_at, len(shape)))
    for dim in range(len(shape) + 1):
        entries += [None] * (draw(st.integers(0, 4)) == 4)
        if dim == ellipsis_at:
            entries.append(Ellipsis)
        if dim == len(shape) or ellipsis_at is not None and ellipsis_at <= dim < after:
            continue
        n = shape[dim]
        bound = st.none() | st.integers(-n - 2, n + 2)
        choices = [st.builds(slice, bound, bound, st.none() | st.integers(1, 3))]
        if n:
            choices.append(st.integers(-n, n - 1))
        entries.append(draw(st.one_of(choices)))
    return tuple(entries)


@examples(200)
@given(st.data(), shapes)
def test_basic_keys_are_numpys_views(data, shape):
    """Ints, slices, None and Ellipsis give NumPy's shape, strides and elements, and share the memory."""
    a = counting(shape)
    key = data.draw(basic_keys(shape))
    x = tensor(a)
    got, want = x[key], a[key if Ellipsis in key else (*key, ...)]
    same(got, want)
    if want.size:
        assert [s for s, n in zip(got.stride(), got.shape) if n > 1] == [
            s // 8 for s, n in zip(want.strides, want.shape) if n > 1]
        got.mul_(-1)
        assert (a < 0).sum() == np.size(want) and (a[key] < 0).all(), "the view writes into its base, and nothing else"


@examples(150)
@given(st.data(), full_shapes, st.booleans())
def test_basic_assignment_is_numpys(data, shape, scalar):
    """x[key] = number or broadcast tensor writes what NumPy writes; its gradient is zero where it wrote."""
    a = counting(shape)
    key = data.draw(basic_keys(shape))
    want = a.copy()
    target = np.asarray(want[key])
    value = np.float64(-5.0) if scalar else -counting(target.shape[data.draw(st.integers(0, target.ndim)):])
    want[key] = value
    leaf = tensor(a.copy()).requires_grad_()
    x = leaf * 1
    v = float(value) if scalar else tensor(value).requires_grad_()
    x[key] = v
    same(x, want)
    x.backward(tensor(counting(shape)))
    gradient = counting(shape)
    written = gradient[key].copy()
    gradient[key] = 0
    same(leaf.grad, gradient)
    if not scalar:
        same(v.grad, written.sum(tuple(range(written.ndim - value.ndim))))


@st.composite
def index_arrays(draw, shape):
    """Index tensors for the first k dims, of shapes that broadcast together, and their values."""
    k = draw(st.integers(1, len(shape)))
    common = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    arrays = []
    for n in shape[:k]:
        own = tuple(1 if draw(st.integers(0, 3)) == 0 else s for s in common[draw(st.integers(0, len(common))):])
        size = math.prod(own)
        arrays.append(np.array(draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size)), np.int64).reshape(own))
    return arrays


@examples(150)
@given(st.data(), full_shapes.filter(bool), st.booleans())
def test_index_tensors_of_any_shape(data, shape, gap):
    """Adjacent index tensors that broadcast pick and write as NumPy does; the gradient adds up what was picked twice."""
    arrays = data.draw(index_arrays(shape))
    front = (slice(None),) if gap else ()
    whole = (2, *shape) if gap else shape
    a = counting(whole)
    key, nkey = front + tuple(arrays), front + tuple(map(tensor, arrays))
    x = tensor(a.copy()).requires_grad_()
    want = a[key]
    got = x[nkey]
    same(got, want)
    weight = counting(want.shape)
    got.backward(tensor(weight))
    gradient = np.zeros(whole)
    np.add.at(gradient, key, weight)
    same(x.grad, gradient)
    with nt.no_grad():
        y = tensor(a.copy())
        y[nkey] = 0.5
        np_y = a.copy()
        np_y[key] = 0.5
        same(y, np_y)
        if not gap:
            z = tensor(a.copy()).index_put_(tuple(map(tensor, arrays)), tensor(weight), accumulate=True)
            np.add.at(a, key, weight)
            same(z, a)


@examples(100)
@given(st.data(), shapes.filter(bool))
def test_masks_of_several_dimensions(data, shape):
    """A mask over the first k dims picks rows in order, as nonzero does; masked_select and masked_fill agree with it."""
    k = data.draw(st.integers(1, len(shape)))
    n = math.prod(shape[:k])
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool).reshape(shape[:k])
    a = counting(shape)
    x, m = tensor(a), tensor(mask)
    same(x[m], a[mask])
    same(x[m.nonzero(as_tuple=True)], a[mask])
    wide = np.broadcast_to(mask.reshape(*shape[:k], *[1] * (len(shape) - k)), shape)
    same(x.masked_select(tensor(wide)), a[wide])
    same(x.masked_fill(tensor(wide), -1.0), np.where(wide, -1.0, a))
    x[m] = 0.25
    assert (a[mask] == 0.25).all() and not (a[~mask] == 0.25).any()


@examples(100)
@given(st.data(), full_shapes.filter(bool))
def test_gather_and_scatter_are_inverse(data, shape):
    """gather equals take_along_axis; scatter_add of ones counts how often each place was gathered."""
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = data.draw(st.integers(0, 4))
    own = list(shape)
    own[dim] = size
    n = math.prod(own)
    index = np.array(data.draw(st.lists(st.integers(0, shape[dim] - 1), min_size=n, max_size=n)), np.int64).reshape(own)
    a = counting(shape)
    x = tensor(a).requires_grad_()
    got = x.gather(dim, tensor(index))
    same(got, np.take_along_axis(a, index, dim))
    got.sum().backward()
    same(x.grad, nt.zeros(shape, dtype=nt.float64).scatter_add(dim, tensor(index), nt.ones(own, dtype=nt.float64)).numpy())


# ---- promotion ----------------------------------------------------------------------------------------------------------

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
          "complex128"]
BINARY = {"mul": operator.mul, "truediv": operator.truediv, "and": operator.and_}       # few: each dtype compiles a kernel
operands = st.tuples(st.sampled_from(DTYPES), st.sampled_from([(), (1,), (2,), (0,), (2, 2)]))
numbers = st.sampled_from([True, 2, 1.5, 1j])


def apply(library, name, values):
    """('dtype', shape) of an operation in a library, or the class of its error."""
    made = [library.ones(v[1], dtype=getattr(library, v[0])) if isinstance(v, tuple) else v for v in values]
    try:
        result = BINARY[name](*made)
    except (RuntimeError, TypeError) as error:
        return RuntimeError if isinstance(error, NotImplementedError) else type(error)
    return str(result.dtype), tuple(result.shape)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@examples(400)
@given(st.sampled_from(sorted(BINARY)), operands, operands | numbers, st.booleans())
def test_binary_operations_promote_as_torchs(name, a, b, swapped):
    """Dtype and shape of any binary operation on tensors of any rank and Python numbers, or the kind of error, are torch's."""
    torch = pytest.importorskip("torch")
    values = (b, a) if swapped else (a, b)
    assert apply(nt, name, values) == apply(torch, name, values)


@examples(150)
@given(st.lists(operands.filter(lambda o: o[1] in [(2,), (0,)]), min_size=1, max_size=4), st.sampled_from(["cat", "stack"]))
def test_joining_promotes_as_torchs(parts, name):
    """cat and stack of different dtypes: torch's common dtype and shape, or its kind of error."""
    torch = pytest.importorskip("torch")

    def outcome(library):
        try:
            got = getattr(library, name)([library.ones(shape, dtype=getattr(library, d)) for d, shape in parts])
        except RuntimeError:
            return RuntimeError
        return str(got.dtype), tuple(got.shape)
    assert outcome(nt) == outcome(torch)


@examples(200)
@given(st.sampled_from(DTYPES), operands | numbers, st.sampled_from(["mul_", "div_", "copy_"]))
def test_in_place_keeps_the_dtype_or_refuses_as_torch(own, other, name):
    """A result that the target's dtype does not hold is refused by both libraries, all others are kept in that dtype."""
    torch = pytest.importorskip("torch")
    assume(name != "copy_" or isinstance(other, tuple))

    def outcome(library):
        x = library.ones(2, 2, dtype=getattr(library, own))
        value = library.ones(other[1], dtype=getattr(library, other[0])) if isinstance(other, tuple) else other
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")         # complex to real
                getattr(x, name)(value)
        except RuntimeError:
            return RuntimeError
        return str(x.dtype), x.tolist()
    assert outcome(nt) == outcome(torch)


@examples(100)
@given(st.lists(st.sampled_from(DTYPES), min_size=2, max_size=4))
def test_promotion_is_a_lattice(names):
    """promote_types is commutative and idempotent, its result holds both; within a kind order does not matter."""
    chosen = [getattr(nt, n) for n in names]
    for a, b in itertools.combinations(chosen, 2):
        c = nt.promote_types(a, b)
        assert c is nt.promote_types(b, a) and nt.promote_types(a, c) is c and nt.promote_types(b, c) is c
        assert nt.can_cast(a, c) and nt.can_cast(b, c)


# ---- views --------------------------------------------------------------------------------------------------------------

def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]


@st.composite
def view_steps(draw, shape):
    """(what was done, its effect on a tensor, its effect on a NumPy array) for one view operation on ``shape``."""
    n = len(shape)
    dim = draw(st.integers(-n, n - 1)) if n else 0
    size = shape[dim] if n else 1
    kinds = ["unsqueeze", "squeeze", "expand", "None"]
    if n:
        kinds += ["permute", "transpose", "narrow", "slice", "squeeze dim", "movedim", "unflatten"]
    if n and size:
        kinds += ["select", "unfold", "chunk"]
    if n > 1:
        kinds += ["diagonal", "flatten"]
    kind = draw(st.sampled_from(kinds))

    def at(entry):
        return (slice(None),) * (dim % n) + (entry,)
    if kind == "unsqueeze":
        k = draw(st.integers(-n - 1, n))
        return kind, (lambda x: x.unsqueeze(k)), lambda a: np.expand_dims(a, k)
    if kind == "None":
        return kind, (lambda x: x[None, ..., None]), lambda a: a[None, ..., None]
    if kind == "squeeze":
        return kind, (lambda x: x.squeeze()), np.squeeze
    if kind == "squeeze dim":
        return kind, (lambda x: x.squeeze(dim)), lambda a: np.squeeze(a, dim) if size == 1 else a
    if kind == "expand":
        new = (draw(st.integers(1, 2)), *[draw(st.integers(1, 3)) if s == 1 else s for s in shape])
        return f"expand {new}", (lambda x: x.expand(new)), lambda a: np.broadcast_to(a, new)
    if kind == "permute":
        axes = draw(st.permutations(range(n)))
        return f"permute {axes}", (lambda x: x.permute(*axes)), lambda a: a.transpose(axes)
    if kind == "transpose":
        other = draw(st.integers(-n, n - 1))
        return kind, (lambda x: x.transpose(dim, other)), lambda a: a.swapaxes(dim, other)
    if kind == "movedim":
        other = draw(st.integers(-n, n - 1))
        return kind, (lambda x: x.movedim(dim, other)), lambda a: np.moveaxis(a, dim, other)
    if kind == "narrow":
        start = draw(st.integers(0, size))
        length = draw(st.integers(0, size - start))
        return (f"narrow {dim, start, length}", (lambda x: x.narrow(dim, start, length)),
                lambda a: a[at(slice(start, start + length))])
    if kind == "slice":
        s = slice(draw(st.integers(0, size)), None, draw(st.integers(1, 3)))
        return f"{s}", (lambda x: x[at(s)]), lambda a: a[at(s)]
    if kind == "select":
        i = draw(st.integers(-size, size - 1))
        return f"select {dim, i}", (lambda x: x.select(dim, i)), lambda a: a[(*at(i), ...)]
    if kind == "chunk":
        length = draw(st.integers(1, size))
        return kind, (lambda x: x.split(length, dim)[-1]), lambda a: a[at(slice((size - 1) // length * length, None))]
    if kind == "unfold":
        width, step = draw(st.integers(1, size)), draw(st.integers(1, 3))

        def windows(a):
            found = np.lib.stride_tricks.sliding_window_view(a, width, dim, writeable=True)
            return found[(slice(None),) * (dim % n) + (slice(None, None, step),)]
        return f"unfold {dim, width, step}", (lambda x: x.unfold(dim, width, step)), windows
    if kind == "diagonal":
        one, two = sorted(draw(st.permutations(range(n)))[:2])
        offset = draw(st.integers(-shape[one], shape[two]))
        return f"diagonal {offset, one, two}", (lambda x: x.diagonal(offset, one, two)), lambda a: a.diagonal(offset, one, two)
    if kind == "flatten":
        return kind, (lambda x: x.reshape(-1)), lambda a: a.reshape(-1)
    part = draw(st.sampled_from(divisors(size))) if size else 1
    sizes = (part, size // part)
    whole = (*shape[:dim % n], *sizes, *shape[dim % n + 1:])
    return f"unflatten {dim, sizes}", (lambda x: x.unflatten(dim, sizes)), lambda a: a.reshape(whole)


@st.composite
def chains(draw):
    """A base shape, and one to five view operations: names, effect on a tensor, effect on an array."""
    shape = draw(full_shapes)
    a, steps = counting(shape), []
    for _ in range(draw(st.integers(1, 5))):
        what, ours, theirs = draw(view_steps(a.shape))
        new = np.asarray(theirs(a))
        if new.size > 5000 or new.ndim > 6:
            break
        a = new
        steps.append((what, ours, theirs))
    return shape, steps


def follow(steps, x, which):
    for step in steps:
        x = step[which](x)
    return x


@examples(300)
@given(chains())
def test_chains_of_views_equal_numpys(chain):
    """Any chain of views has NumPy's elements and strides, and writes and reads its base's memory where NumPy's does."""
    shape, steps = chain
    a = counting(shape)
    x = tensor(a)
    got, want = follow(steps, x, 1), np.asarray(follow(steps, a, 2))
    same(got, want)
    aliases = np.shares_memory(want, a)
    assert aliases == (want.size > 0 and got.untyped_storage().data_ptr() == x.untyped_storage().data_ptr())
    if aliases:
        for s, t, n in zip(got.stride(), want.strides, want.shape):
            assert n == 1 or 8 * s == t
        assert 8 * got.storage_offset() == want.ctypes.data - a.ctypes.data
        assert got.data_ptr() == want.ctypes.data
        version = x._version
        x.neg_()
        same(got, want)
        assert (want < 0).all() and got._version == x._version > version
    # a copy of any view is dense and has the same elements
    copy = got.contiguous()
    assert copy.is_contiguous() and got.is_contiguous() == (want.flags.c_contiguous)
    same(copy, want)


@examples(200)
@given(chains())
def test_gradients_through_chains_of_views(chain):
    """The gradient adds each element of a view to the element of the base that it shows; a write through the view is
    recorded in the base."""
    shape, steps = chain
    places = np.asarray(follow(steps, np.arange(math.prod(shape)).reshape(shape), 2))
    x = tensor(counting(shape)).requires_grad_()
    got = follow(steps, x, 1)
    weight = counting(places.shape)
    got.backward(tensor(weight))
    want = np.bincount(places.reshape(-1), weight.reshape(-1), minlength=math.prod(shape)).reshape(shape).astype(float)
    same(x.grad, want)

    unique = len(np.unique(places)) == places.size > 0
    base = x * 1
    view = follow(steps, base, 1)
    if view.grad_fn is not None and view._made == "many":       # torch refuses to write what split gave
        with pytest.raises(RuntimeError, match="multiple views"):
            view.mul_(3)
        return
    if not unique or view.untyped_storage().data_ptr() != base.untyped_storage().data_ptr():
        return
    view.mul_(3)
    x.grad = None
    base.backward(tensor(counting(shape)))
    want = counting(shape).reshape(-1)
    want[places.reshape(-1)] *= 3
    same(x.grad, want.reshape(shape))


@examples(150)
@given(chains())
def test_strides_equal_torchs(chain):
    """Strides and offset of any chain of views are torch's, also those of dimensions of size 0 and 1 that NumPy leaves open."""
    torch = pytest.importorskip("torch")
    shape, steps = chain
    a = counting(shape)
    got, want = follow(steps, tensor(a), 1), follow(steps, torch.from_numpy(a), 1)
    assert tuple(got.shape) == tuple(want.shape) and got.is_contiguous() == want.is_contiguous()
    live = [n > 1 for n in want.shape]
    if want.numel():
        assert got.storage_offset() == want.storage_offset()
        assert [s for s, n in zip(got.stride(), live) if n] == [s for s, n in zip(want.stride(), live) if n]


@examples(100)
@given(st.data(), shapes.filter(bool))
def test_split_and_join_are_inverse(data, shape):
    """cat(split) and stack(unbind) give the tensor back; flip twice, roll there and back, permute and its inverse too."""
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    a = counting(shape)
    x = tensor(a)
    same(nt.cat(x.split(data.draw(st.integers(1, 5)), dim), dim), a)
    if shape[dim]:
        same(nt.stack(x.unbind(dim), dim), a)
        same(nt.cat(x.chunk(data.draw(st.integers(1, 5)), dim), dim), a)
    cut = data.draw(st.integers(0, shape[dim]))
    same(nt.cat(x.split([cut, shape[dim] - cut], dim), dim), a)
    same(x.flip(dim), np.flip(a, dim))
    by = data.draw(st.integers(-5, 5))
    same(x.roll(by, dim), np.roll(a, by, dim))
    axes = data.draw(st.permutations(range(len(shape))))
    same(x.permute(axes).permute(*np.argsort(axes).tolist()), a)


# ---- reductions ---------------------------------------------------------------------------------------------------------

REDUCTIONS = {"sum": np.sum, "mean": np.mean, "amax": np.max, "amin": np.min, "nansum": np.nansum,
              "var": lambda a, **k: np.var(a, ddof=1, **k), "std": lambda a, **k: np.std(a, ddof=1, **k),
              "logsumexp": lambda a, **k: np.log(np.sum(np.exp(a), **k)), "any": np.any, "all": np.all,
              "count_nonzero": lambda a, axis, keepdims: np.count_nonzero(a, axis)}


@st.composite
def reduced(draw):
    """An array in some memory layout, dims to reduce (any sign, any order), keepdim."""
    shape = draw(shapes)
    n = len(shape)
    a = counting(shape)
    a = (a * 7 % 11 - 5).transpose(draw(st.permutations(range(n)))) if n else a
    if n and draw(st.booleans()):
        dim = draw(st.integers(0, n - 1))
        a = a[(slice(None),) * dim + (slice(None, None, 2),)]
    dims = draw(st.permutations(range(n)))[:draw(st.integers(min(1, n), n))]
    dims = tuple(d - n if draw(st.booleans()) else d for d in dims)
    return a, dims, draw(st.booleans())


@examples(400)
@given(reduced(), st.sampled_from(sorted(REDUCTIONS)), st.sampled_from(["float32", "float64"]))
def test_reductions_over_any_dims(case, name, dtype):
    """Any dims of any layout, kept or not: NumPy's result and shape; an empty maximum is an error, an empty sum is not."""
    a, dims, keepdim = case
    a = a.astype(dtype, order="K")
    keywords = {} if name == "count_nonzero" else {"keepdim": keepdim}

    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")         # too few elements for a variance: nan and a warning, in both
            return getattr(nt, name)(tensor(a), dims or None, **keywords)
    if name in ("amax", "amin"):
        assume(dims)
        if any(a.shape[d] == 0 for d in dims):
            with pytest.raises(IndexError, match=r"Expected reduction dim -?\d to have non-zero size"):
                call()
            return
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = REDUCTIONS[name](a.astype(np.float64), axis=dims, keepdims=keepdim)
    got = call()
    assert tuple(got.shape) == np.shape(want)
    tolerance = 1e-12 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance)


@examples(200)
@given(reduced(), st.sampled_from(["max", "min", "argmax", "argmin", "median", "cumsum", "cumprod", "sort", "cummax", "prod"]))
def test_operations_along_one_dim(case, name):
    """One dim of any layout: NumPy's values, and indices that point at them."""
    a, dims, keepdim = case
    if not dims:
        return
    dim, x = dims[0], tensor(a)
    if a.shape[dim] == 0 and name in ("max", "min", "argmax", "argmin", "median"):
        with pytest.raises(IndexError, match="non-zero size|non-empty"):
            getattr(nt, name)(x, dim, keepdim)
        return
    got = getattr(nt, name)(x, dim) if name in ("cumsum", "cumprod", "sort", "cummax") else getattr(nt, name)(x, dim, keepdim)
    if name in ("cumsum", "cumprod"):
        np.testing.assert_allclose(got.numpy(), getattr(np, name)(a, axis=dim), rtol=1e-12)
    elif name == "prod":
        np.testing.assert_allclose(got.numpy(), np.prod(a, axis=dim, keepdims=keepdim), rtol=1e-12)
    elif name in ("argmax", "argmin"):
        same(got, getattr(np, name)(a, axis=dim, keepdims=keepdim))
    else:
        middle = (a.shape[dim] - 1) // 2
        want = {"max": lambda: a.max(dim, keepdims=keepdim), "min": lambda: a.min(dim, keepdims=keepdim),
                "sort": lambda: np.sort(a, axis=dim), "cummax": lambda: np.maximum.accumulate(a, axis=dim),
                "median": lambda: np.take(np.sort(a, axis=dim), [middle] if keepdim else middle, axis=dim)}[name]()
        same(got[0], want)
        index = got[1] if got[1].dim() == a.ndim else got[1].unsqueeze(dim)
        same(x.gather(dim, index), want if want.ndim == a.ndim else np.expand_dims(want, dim))
