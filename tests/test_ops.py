"""Runs every row of the op table (tests/ops_db): values, torch's answers, memory layouts, forms, gradients, double gradients."""
import functools
import warnings

import numpy as np
import ops_db
import pytest
from ops_db import D, Drawn, leaves, swap

import numtorch
from numtorch import op as ops
from numtorch.autograd import gradcheck, gradgradcheck

ROWS = ops_db.rows()
FLOATS = ("float32", "float64")
by_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


# ---- from a row to calls -----------------------------------------------------------------------------------------------

def ours(row):
    """The function under test, from the place where users find it."""
    op = ops.OPS[row.name]
    return seeded(row, numtorch, with_call(row, op.fn))


def theirs(row):
    """torch's function for a row, or a skip."""
    torch = pytest.importorskip("torch")
    if row.torch is False:
        pytest.skip("torch has no such function")
    if callable(row.torch):
        return seeded(row, torch, with_call(row, row.torch))
    op = ops.OPS[row.name]
    path = row.torch or (op.name if op.namespace == "torch" else f"{op.namespace}.{op.name}")
    return seeded(row, torch, with_call(row, functools.reduce(getattr, path.split("."), torch)))


def with_call(row, fn):
    return functools.partial(row.call, fn) if row.call else fn


def seeded(row, library, fn):
    if not row.seed:
        return fn

    def call(*args, **kwargs):
        library.manual_seed(7)
        return fn(*args, **kwargs)
    return call


def array_of(drawn, dtype):
    """The values of an argument as an array of the dtype it has in a run in ``dtype``; bfloat16 is done by the library."""
    own = drawn.spec.dtype or dtype
    if drawn.array.dtype.kind == "c":
        own = {"float32": "complex64", "float64": "complex128"}.get(own, own)
    return drawn.array.astype("float32" if own == "bfloat16" else own), own


def tensor_of(library, drawn, dtype, grad):
    array, own = array_of(drawn, dtype)
    tensor = library.from_numpy(array.copy()).to(getattr(library, own))
    return tensor.requires_grad_() if grad and wants_grad(drawn) else tensor


def wants_grad(drawn):
    return getattr(drawn.spec, "grad", False) and drawn.array.dtype.kind in "fc"


def arguments(library, drawn, dtype, grad=False):
    """(args, kwargs) of a drawn sample as tensors of ``library``."""
    tree = swap(drawn, Drawn, lambda d: tensor_of(library, d, dtype, grad))
    return swap(tree, D, lambda d: getattr(library, d.name))


def for_reference(drawn):
    tree = swap(drawn, Drawn, lambda d: d.array.copy())
    return swap(tree, D, lambda d: np.dtype(d.name))


def tensors(tree, library=numtorch):
    return leaves(flat(tree), library.Tensor)


def flat(result):
    """The outputs of a call as a list: tuples, named tuples and lists are opened."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in flat(part)]
    return [result]


def to_array(tensor):
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    return np.asarray(tensor.tolist(), dtype=str(tensor.dtype).removeprefix("torch.")).reshape(tuple(tensor.shape))


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def differentiable(outputs, library):
    return [t for t in tensors(outputs, library) if t.requires_grad]


def weights(outputs, library):
    """A fixed upstream gradient for each output."""
    rng = np.random.default_rng(5)
    found = []
    for t in outputs:
        w = rng.uniform(0.5, 1.5, tuple(t.shape)) * rng.choice([-1, 1], tuple(t.shape))
        found.append(library.from_numpy(np.asarray(w)).to(t))
    return found


def gradients(fn, args, kwargs, library=numtorch):
    """The outputs, and their gradients with respect to every argument that wants one (None where unused)."""
    inputs = [t for t in tensors([*flat(args), *kwargs.values()], library) if t.requires_grad]
    result = fn(*args, **kwargs)
    outputs = differentiable(result, library)
    if not inputs or not outputs:
        return result, []
    return result, list(library.autograd.grad(outputs, inputs, weights(outputs, library), allow_unused=True))


# ---- comparing ---------------------------------------------------------------------------------------------------------

def assert_close(got, want, tolerance, what):
    rtol, atol = tolerance
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=what)


def assert_same(row, got, want, what, scale=1):
    """Two results of tensors, of either library: the same structure, shapes, dtypes, and values within the tolerance."""
    got, want = flat(got), flat(want)
    assert len(got) == len(want), f"{what}: {len(got)} outputs, expected {len(want)}"
    for k, (a, b) in enumerate(zip(got, want)):
        place = f"{what}, output {k}"
        if a is None or b is None or not hasattr(b, "dtype"):
            assert type(a).__name__ == type(b).__name__, f"{place}: {a!r}, expected {b!r}"
            assert a == b or a != a or repr(a) == repr(b), f"{place}: {a!r}, expected {b!r}"     # a dtype prints alike
            continue
        assert tuple(a.shape) == tuple(b.shape), f"{place}: shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        assert str(a.dtype) == str(b.dtype), f"{place}: {a.dtype}, expected {b.dtype}"
        rtol, atol = row.tolerance(name_of(a.dtype)) if a.dtype.is_floating_point or a.dtype.is_complex else (0, 0)
        assert_close(to_array(a), to_array(b), (scale * rtol, scale * atol), place)


def drawn_samples(row):
    for number, sample in enumerate(row.samples):
        yield f"{row.name} {sample!r}", row.draw(sample, number)


def skip_if_told(row, what):
    if what in row.skip:
        pytest.skip(row.skip[what])


# ---- the tests ---------------------------------------------------------------------------------------------------------

def test_every_op_has_a_row_and_every_row_an_op():
    """OPS and the table name the same functions; an alias is covered by the row of the function it stands for."""
    missing = [name for name in (row.name for row in ROWS) if name not in ops.OPS]
    assert not missing, f"rows without an op: {missing}"
    covered = {id(ops.OPS[row.name].fn) for row in ROWS}
    bare = [name for name, op in ops.OPS.items() if id(op.fn) not in covered]
    assert not bare, f"ops without a row in tests/ops_db: {bare}"


@by_row
def test_values(row):
    """Each sample, in float32 and float64, gives the float64 NumPy reference's values and leaves its arguments alone."""
    skip_if_told(row, "values")
    if row.reference is None:
        pytest.skip("torch is the oracle")
    fn = ours(row)
    for what, drawn in drawn_samples(row):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            args, kwargs = for_reference(drawn)
            want = flat(row.reference(*args, **kwargs))
        for dtype in FLOATS:
            args, kwargs = arguments(numtorch, drawn, dtype)
            before = [to_array(t) for t in tensors([*flat(args), *kwargs.values()])]
            got = flat(fn(*args, **kwargs))
            assert len(got) == len(want), f"{what}: {len(got)} outputs, expected {len(want)}"
            for a, b in zip(got, want):
                if not isinstance(a, numtorch.Tensor):
                    assert a == b, what
                    continue
                a = to_array(a)
                assert a.shape == np.shape(b), f"{what}: shape {a.shape}, expected {np.shape(b)}"
                exact = a.dtype.kind not in "fc"
                assert_close(a, b, (0, 0) if exact else row.tolerance(str(a.dtype)), f"{what} {dtype}")
            if not row.name.endswith("_"):
                for a, t in zip(before, tensors([*flat(args), *kwargs.values()])):
                    np.testing.assert_array_equal(to_array(t), a, err_msg=f"{what}: modified its argument")


@by_row
def test_torch(row):
    """Values, dtypes, shapes and gradients are torch's, in float32, float64 and the row's further dtypes."""
    skip_if_told(row, "torch")
    import_torch = pytest.importorskip("torch")
    other, fn = theirs(row), ours(row)
    for what, drawn in drawn_samples(row):
        for dtype in (*FLOATS, *row.also):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                grad = row.grad and dtype in FLOATS
                args, kwargs = arguments(import_torch, drawn, dtype, grad)
                want, want_grads = gradients(other, in_place_safe(row, args), kwargs, import_torch)
                args, kwargs = arguments(numtorch, drawn, dtype, grad)
                got, got_grads = gradients(fn, in_place_safe(row, args), kwargs)
            assert_same(row, got, want, f"{what} {dtype}")
            assert_same(row, got_grads, want_grads, f"gradient of {what} {dtype}", scale=4)


def in_place_safe(row, args):
    """The arguments, the first cloned when the op writes into it: a leaf that requires a gradient may not be written."""
    return (args[0].clone(), *args[1:]) if row.name.endswith("_") else args


def contiguous(t):
    return t


def permuted(t):
    """The same values in transposed memory."""
    dims = tuple(range(t.dim()))[::-1]
    return t.permute(*dims).contiguous().permute(*dims) if t.dim() > 1 else t


def sliced(t):
    """The same values with gaps between them and an offset, in every dimension."""
    buffer = t.new_zeros([2 * n + 1 for n in t.shape])
    inside = buffer[tuple(slice(1, 2 * n + 1, 2) for n in t.shape)] if t.dim() else t.new_zeros(3)[1]
    inside.copy_(t)
    return inside


def expanded(t):
    """The first row repeated with stride 0."""
    return t[:1].expand(*t.shape) if t.dim() and t.shape[0] > 1 else t


@by_row
@pytest.mark.parametrize("layout", (permuted, sliced, expanded), ids=lambda f: f.__name__)
def test_layouts(row, layout):
    """Values and gradients do not depend on strides, offset or stride 0 of any tensor argument."""
    skip_if_told(row, "layouts")
    if layout is expanded and row.name.endswith("_"):
        pytest.skip("what is written cannot be expanded")
    if layout is permuted and row.seed:
        pytest.skip("random numbers are drawn in memory order, as in torch")
    fn = ours(row)
    for what, drawn in drawn_samples(row):
        plain, laid = [], []
        for d in leaves([*flat(drawn[0]), *drawn[1].values()], Drawn):
            base = tensor_of(numtorch, d, "float64", False)
            if layout is expanded and not getattr(d.spec, "expand", False):
                other = base
            elif getattr(d.spec, "layouts", False):
                other = layout(base)
            else:
                other = base
            plain.append(numtorch.from_numpy(to_array(other)))
            laid.append(other.detach())
            if row.grad and wants_grad(d):
                plain[-1].requires_grad_()
                laid[-1].requires_grad_()
        results = []
        for values in (plain, laid):
            queue = iter(values)
            args, kwargs = swap(swap(drawn, Drawn, lambda d: next(queue)), D, lambda d: getattr(numtorch, d.name))
            results.append(gradients(fn, in_place_safe_layout(row, args, layout), kwargs))
        assert_same(row, results[1][0], results[0][0], f"{what} {layout.__name__}")
        assert_same(row, results[1][1], results[0][1], f"gradient of {what} {layout.__name__}")


def in_place_safe_layout(row, args, layout):
    return (layout(args[0].clone()), *args[1:]) if row.name.endswith("_") else args


@by_row
def test_forms(row):
    """The method, the in-place twin and ``out=`` give what the function gives; in place writes and counts a version."""
    skip_if_told(row, "forms")
    op = ops.OPS[row.name]
    fn = seeded(row, numtorch, op.fn)
    for what, drawn in drawn_samples(row):
        args, kwargs = arguments(numtorch, drawn, "float32")
        if row.name.endswith("_"):
            args = (args[0].clone(), *args[1:])
            assert fn(*args, **kwargs) is args[0], f"{what}: does not return its argument"
            continue
        want = fn(*args, **kwargs)
        place = functools.reduce(getattr, op.namespace.split(".")[op.namespace == "torch":], numtorch)
        assert getattr(place, op.name, None) is not None, f"{op.namespace}.{op.name} is not in its namespace"
        first = args[0] if args else None
        if not isinstance(first, numtorch.Tensor):
            continue
        if op.method if row.method is None else row.method:
            method = seeded(row, numtorch, getattr(first, op.name))
            assert_same(row, method(*args[1:], **kwargs), want, f"{what}: method")
        fits = (isinstance(want, numtorch.Tensor) and want.shape == first.shape
                and numtorch.can_cast(want.dtype, first.dtype))
        if (op.inplace if row.inplace is None else row.inplace) and fits:
            check_inplace(row, op, first, args[1:], kwargs, want, what)
        if (op.out if row.out is None else row.out) and not row.seed:
            check_out(row, fn, args, kwargs, want, what)


def check_inplace(row, op, first, rest, kwargs, want, what):
    x = first.clone()
    version = x._version
    twin = seeded(row, numtorch, ops.INPLACE[op.name + "_" if op.namespace == "torch" else f"{op.namespace}.{op.name}_"])
    assert twin(x, *rest, **kwargs) is x, f"{what}: in place does not return its argument"
    assert_same(row, x, want.to(first.dtype), f"{what}: in place")
    assert x._version == version + 1, f"{what}: in place does not count a version"
    base = sliced(first.clone())
    twin(base, *rest, **kwargs)
    assert_same(row, base, x, f"{what}: in place on a view")
    if row.grad and row.gradgrad and x.is_floating_point():
        leaf = first.clone().requires_grad_()
        _, want_grad = gradients(op_seeded(row, op), (leaf, *rest), kwargs)
        leaf = first.clone().requires_grad_()
        y = twin(leaf.clone(), *rest, **kwargs)
        if want_grad:
            got = numtorch.autograd.grad([y], [leaf], weights([y], numtorch), allow_unused=True)
            assert_same(row, list(got), want_grad, f"{what}: gradient in place")


def op_seeded(row, op):
    return seeded(row, numtorch, op.fn)


def check_out(row, fn, args, kwargs, want, what):
    outs = [numtorch.empty(0, dtype=t.dtype) for t in flat(want)]
    given = outs[0] if isinstance(want, numtorch.Tensor) else tuple(outs)
    result = fn(*args, **kwargs, out=given)
    assert_same(row, outs, want, f"{what}: out=")
    assert all(a is b for a, b in zip(flat(result), outs)), f"{what}: out= is not what is returned"
    if isinstance(want, numtorch.Tensor):
        strided = sliced(numtorch.zeros_like(want))
        assert fn(*args, **kwargs, out=strided) is strided
        assert_same(row, strided, want, f"{what}: out= with strides")


def closed(row, drawn):
    """(function of the differentiable arguments alone, those arguments in float64)."""
    fn, inputs = ours(row), []

    def keep(d):
        t = tensor_of(numtorch, d, "float64", row.grad and d.array.size > 0)     # nothing to difference in an empty one
        if t.requires_grad:
            inputs.append(t)
        return t
    tree = swap(swap(drawn, Drawn, keep), D, lambda d: getattr(numtorch, d.name))
    places = {id(t): k for k, t in enumerate(inputs)}
    smooth = []                     # which outputs are differentiable; central differences are taken without recording

    def call(*values):
        args, kwargs = swap(tree, numtorch.Tensor, lambda t: values[places[id(t)]] if id(t) in places else t)
        outputs = tensors(fn(*in_place_safe(row, args), **kwargs))
        if not smooth:
            smooth[:] = [t.requires_grad and t.numel() > 0 for t in outputs]
        return tuple(t for t, wanted in zip(outputs, smooth) if wanted)
    return call, tuple(inputs)


@by_row
def test_gradient(row):
    """Gradients equal central differences in float64; an op declared without a gradient returns tensors without one."""
    skip_if_told(row, "gradcheck")
    differentiated = []
    for what, drawn in drawn_samples(row):
        if not row.grad:
            args, kwargs = arguments(numtorch, drawn, "float64", grad=True)
            assert not differentiable(ours(row)(*in_place_safe(row, args), **kwargs), numtorch), f"{what} has a gradient"
            continue
        fn, inputs = closed(row, drawn)
        outputs = fn(*inputs)
        differentiated += outputs
        if inputs and finite(outputs):
            assert gradcheck(fn, inputs), what
    assert differentiated or not row.grad, "no output of any sample requires a gradient"


def finite(outputs):
    """Whether there is something to difference: central differences of inf say nothing."""
    return bool(outputs) and all(np.isfinite(to_array(t)).all() for t in outputs)


@by_row
def test_double_gradient(row):
    """Gradients of the gradient equal central differences in float64."""
    skip_if_told(row, "gradgradcheck")
    if not row.gradgrad:
        pytest.skip("not differentiable twice")
    for what, drawn in drawn_samples(row):
        fn, inputs = closed(row, drawn)
        if inputs and finite(fn(*inputs)):
            assert gradgradcheck(fn, inputs), what


ERRORS = [pytest.param(row, *error, id=f"{row.id}-{k}") for row in ROWS for k, error in enumerate(row.errors)]


@pytest.mark.parametrize("row, sample, kind, pattern", ERRORS)
def test_errors(row, sample, kind, pattern):
    """Bad input ends in the row's exception type and message, which are torch's too."""
    drawn = row.draw(sample, 0)
    args, kwargs = arguments(numtorch, drawn, "float32")
    with pytest.raises(kind, match=pattern):
        ours(row)(*args, **kwargs)
    torch = pytest.importorskip("torch")
    args, kwargs = arguments(torch, drawn, "float32")
    with pytest.raises(kind, match=pattern):
        theirs(row)(*args, **kwargs)
