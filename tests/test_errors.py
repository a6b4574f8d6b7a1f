"""Bad input: every operation of the op table is called wrongly in many ways; what a user sees is an error that says so.

Each sample of tests/ops_db is changed in one argument at a time: another type, another dtype, a dimension more, fewer or empty,
an int far out of range, a word that is no option, a keyword that does not exist. A call may still be good; if it fails, then
not with an error from inside, and where torch is installed, in torch's type.
"""
import collections
import warnings

import numpy as np
import pytest
from test_ops import ROWS, arguments, by_row, drawn_samples, ours, theirs

import numtorch

PUBLIC = (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError, OverflowError, numtorch.linalg.LinAlgError)
DTYPES = ("int64", "complex64")


def wrong_calls(args, kwargs, library):
    """(what was changed, args, kwargs) of every change."""
    for i, value in enumerate(args):
        for what, bad in wrong_values(value, library):
            yield f"argument {i} {what}", (*args[:i], bad, *args[i + 1:]), kwargs
    for name, value in kwargs.items():
        if isinstance(value, str):
            yield f"{name}='bogus'", args, {**kwargs, name: "bogus"}
        elif isinstance(value, int) and not isinstance(value, bool):
            for bad in (99, -99, "x"):
                yield f"{name}={bad!r}", args, {**kwargs, name: bad}
    yield "keyword that does not exist", args, {**kwargs, "bogus": 1}


def wrong_values(value, library):
    if isinstance(value, library.Tensor):
        yield from (("is a str", "x"), ("is a list", [1.0]), ("is None", None))
        yield from ((f"is {d}", value.detach().to(getattr(library, d))) for d in DTYPES)
        yield "has a dimension more", value[None]
        if value.dim():
            yield from (("is empty", value[:0]), ("is empty at the end", value[..., :0]))
            yield "is twice as long", library.cat([value, value], -1)
            if value.shape[0]:
                yield "has a dimension less", value[0]
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((f"is {bad!r}", bad) for bad in (99, -99, "x", 1.5, None))
    elif isinstance(value, (tuple, list)) and value and isinstance(value[0], int):
        yield from ((f"is {bad!r}", bad) for bad in ((99,) * len(value), (-99,) * len(value), (*value, 1), "x"))


def first_sample(row):
    return next(iter(drawn_samples(row)))[1]


def outcome(fn, args, kwargs):
    """The exception of a call, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fn(*args, **kwargs)
        except Exception as error:
            return error
    return None


@by_row
def test_no_error_from_inside(row):
    """Bad arguments end in an error of a public type with a message, never in one of Numba's, of NumPy's or of our own code."""
    for what, args, kwargs in wrong_calls(*arguments(numtorch, first_sample(row), "float32"), numtorch):
        if row.call and what.endswith(("str", "list", "None")):     # the row's own code would stumble on it
            continue
        error = outcome(ours(row), args, kwargs)
        assert error is None or isinstance(error, PUBLIC) and str(error), f"{what}: {error!r}"
        assert "numba" not in type(error).__module__ and "nopython" not in str(error), f"{what}: {error!r}"


def test_torchs_types():
    """At least 19 of 20 bad calls end as in torch: in the same type of exception, or in none."""
    torch = pytest.importorskip("torch")
    counts, differences = collections.Counter(), []
    for row in ROWS:
        try:
            other = theirs(row)
        except pytest.skip.Exception:
            continue
        drawn = first_sample(row)
        calls = (wrong_calls(*arguments(library, drawn, "float32"), library) for library in (torch, numtorch))
        for (what, *theirs_), (_, *ours_) in zip(*calls):
            if row.seed and "99" in what:       # a large size: nothing wrong, only slow
                continue
            found = [type(outcome(fn, *call)).__name__ for fn, call in ((other, theirs_), (ours(row), ours_))]
            same = found[0] == found[1] or set(found) <= {"RuntimeError", "NotImplementedError"} or (
                set(found) == {"AttributeError", "TypeError"})      # of torch: a method that a str does not have
            counts[same] += 1
            if not same:
                differences.append(f"{row.id}, {what}: torch {found[0]}, numtorch {found[1]}")
    assert counts[False] <= 0.05 * counts[True], "\n".join(differences)


@pytest.mark.parametrize("call", [
    lambda: numtorch.ones(2, requires_grad=True).add_(1),
    lambda: numtorch.ones(2, requires_grad=True).zero_(),
    lambda: numtorch.ones(2, requires_grad=True)[0].mul_(2),
    lambda: numtorch.ones(2).expand(3, 2).add_(1),
    lambda: numtorch.ones(2, 3).backward(),
    lambda: numtorch.ones(2, requires_grad=True).backward(),
    lambda: numtorch.ones(2, requires_grad=True).numpy(),
    lambda: numtorch.max(numtorch.ones(0)),
    lambda: numtorch.ones(2, 3).view(4),
    lambda: numtorch.ones(2, 3).t().view(6),
    lambda: numtorch.ones(2, 3).item(),
    lambda: bool(numtorch.ones(2)),
    lambda: numtorch.ones(2) @ numtorch.ones(3),
], ids=range(13))
def test_misuse_is_a_runtime_error(call):
    """In-place on leaves, backward without a graph, views that cannot be, items of many: RuntimeError with a message."""
    with pytest.raises(RuntimeError, match="."):
        call()


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "nonsense", "cpu:x"])
def test_device_that_is_not_there(device):
    """Asking for a device that is not there, or is none, is a RuntimeError that names it."""
    with pytest.raises(RuntimeError, match=device.partition(":")[0]):
        numtorch.ones(2, device=device)


def test_state_dict_that_does_not_match():
    """load_state_dict names missing and unexpected keys and both shapes, and changes nothing before it has checked."""
    net, other = numtorch.nn.Linear(2, 3), numtorch.nn.Sequential(numtorch.nn.Linear(2, 3))
    with pytest.raises(RuntimeError, match='Missing key.*"weight".*\\n.*Unexpected key.*"0.weight"'):
        net.load_state_dict(other.state_dict())
    with pytest.raises(RuntimeError, match=r"size mismatch for weight.*\[4, 2\].*\[3, 2\]"):
        net.load_state_dict(numtorch.nn.Linear(2, 4).state_dict())


def test_constructors():
    """Sizes, rates and options that make no sense are refused where they are given."""
    nn, optim = numtorch.nn, numtorch.optim
    parameters = [numtorch.ones(2, requires_grad=True)]
    for make in (lambda: nn.Conv2d(3, 4, 3, groups=2), lambda: nn.Dropout(1.5), lambda: optim.SGD(parameters, lr=-1.0),
                 lambda: optim.Adam(parameters, betas=(1.0, 0.9)), lambda: optim.SGD([], lr=0.1),
                 lambda: optim.SGD(parameters, lr=0.1, nesterov=True), lambda: nn.MultiheadAttention(5, 2),
                 lambda: numtorch.utils.data.DataLoader([1], batch_size=0)):
        with pytest.raises((ValueError, AssertionError), match="."):
            make()
    with pytest.raises(RuntimeError, match="expected input.*to have 3 channels, but got 2 channels"):
        nn.Conv2d(3, 4, 3)(numtorch.ones(1, 2, 8, 8))
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        nn.Linear(3, 4)(numtorch.ones(1, 2))


def test_out_of_bounds_views_and_indices():
    """What would reach beyond memory is refused before anything is read or written."""
    x = numtorch.zeros(4)
    for call in (lambda: x.as_strided((3, 3), (3, 1)), lambda: x.as_strided((2,), (-1,)),
                 lambda: x.as_strided_scatter(numtorch.ones(2), (2,), (9,)), lambda: x.as_strided_scatter(
                     numtorch.ones(2), (2,), (1,), 99)):
        with pytest.raises(RuntimeError, match="."):
            call()
    for call in (lambda: x[9], lambda: x[numtorch.tensor([9])], lambda: x.gather(0, numtorch.tensor([9])),
                 lambda: x.scatter(0, numtorch.tensor([9]), 1.0), lambda: x.index_select(0, numtorch.tensor([9])),
                 lambda: numtorch.nn.functional.embedding(numtorch.tensor([9]), numtorch.zeros(4, 2)),
                 lambda: x.index_add(0, numtorch.tensor([-9]), numtorch.ones(1)), lambda: x.take(numtorch.tensor([9]))):
        with pytest.raises((IndexError, RuntimeError), match="."):
            call()
    np.testing.assert_array_equal(x.numpy(), 0)
