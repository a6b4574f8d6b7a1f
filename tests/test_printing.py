"""Printing: torch's text to the character, for random arrays and options, and what has to be in it."""
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import numtorch as torch
from numtorch import dtypes


@pytest.fixture(autouse=True)
def default_options():
    """Every test starts and ends with the default print options."""
    torch.set_printoptions(profile="default")
    yield
    torch.set_printoptions(profile="default")


GOLDEN = [
    (lambda: torch.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
    (lambda: torch.tensor([1.0, 2.0]), "tensor([1., 2.])"),
    (lambda: torch.tensor([1.0, float("nan"), float("inf")]), "tensor([1., nan, inf])"),
    (lambda: torch.tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
    (lambda: torch.tensor([True, False]), "tensor([ True, False])"),
    (lambda: torch.tensor([[1, -20], [300, 4]]), "tensor([[  1, -20],\n        [300,   4]])"),
    (lambda: torch.tensor([1 + 2j, -1.5j]), "tensor([1.+2.0000j, -0.-1.5000j])"),
    (lambda: torch.tensor(3), "tensor(3)"),
    (lambda: torch.empty(0, 3), "tensor([], size=(0, 3))"),
    (lambda: torch.empty(0, dtype=torch.int64), "tensor([], dtype=torch.int64)"),
    (lambda: torch.ones(2, dtype=torch.float16), "tensor([1., 1.], dtype=torch.float16)"),
    (lambda: torch.ones(2, dtype=torch.bfloat16) / 3, "tensor([0.3340, 0.3340], dtype=torch.bfloat16)"),
    (lambda: torch.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    (lambda: torch.zeros(1, requires_grad=True), "tensor([0.], requires_grad=True)"),
    (lambda: torch.zeros(1, requires_grad=True) + 1, "tensor([1.], grad_fn=<AddBackward0>)"),
]


@pytest.mark.parametrize("make, text", GOLDEN)
def test_known_texts(make, text):
    """Texts that torch prints, which this test knows without torch."""
    assert repr(make()) == text


def as_torch(reference, a):
    """A torch tensor of the values and dtype of an ndarray."""
    if a.dtype == ml_dtypes.bfloat16:
        return reference.from_numpy(a.astype(np.float32)).bfloat16()
    return reference.from_numpy(a.copy())


_scales = st.sampled_from([1.0, 1e-3, 1e-5, 10.0, 1e3, 1e5, 1e9, 1e12])


@st.composite
def arrays(draw):
    """Arrays of every dtype: integral and fractional values of many scales, nan, inf, zeros; empty, 0-dim
    and summarised."""
    d = draw(st.sampled_from(dtypes.ALL))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
                 | st.sampled_from([(1500,), (40, 40), (2, 1001), (1001, 2), (11, 11, 11)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def reals():
        x = rng.standard_normal(shape) * draw(_scales)
        if draw(st.booleans()):
            x = np.round(x)
        if draw(st.booleans()):
            x = x * 10.0 ** rng.integers(-4, 4, shape)
        if draw(st.booleans()):
            special = rng.choice([np.nan, np.inf, -np.inf, -0.0, 0.0], shape)
            x = np.where(rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 1.0])), special, x)
        return np.asarray(x)

    if d.category == dtypes.INTEGRAL:
        info = np.iinfo(d._np)
        return np.asarray(rng.integers(info.min, info.max, shape, d._np, endpoint=True))
    if d.is_complex:
        found = np.empty(shape, np.complex128)
        found.real, found.imag = reals(), reals()
    else:
        found = reals()
    with np.errstate(all="ignore"):
        return np.asarray(found.astype(d._np))


_options = st.fixed_dictionaries({}, optional={
    "precision": st.integers(0, 10), "threshold": st.sampled_from([0, 5, 50]),
    "edgeitems": st.integers(0, 5),
    "linewidth": st.sampled_from([20, 40, 120, 200]), "sci_mode": st.sampled_from([None, True, False]),
    "profile": st.sampled_from(["default", "short", "full"])})


@settings(max_examples=400, deadline=None)
@given(arrays(), _options)
def test_repr_is_torchs(a, options):
    """Random arrays under random options: the same text, character for character."""
    reference = pytest.importorskip("torch")
    own = torch.from_numpy(a) if a.dtype != ml_dtypes.bfloat16 else torch.tensor(a)
    theirs = as_torch(reference, a)
    for library in (torch, reference):
        library.set_printoptions(profile="default")
        library.set_printoptions(**options)
    assert repr(own) == repr(theirs)
    reference.set_printoptions(profile="default")


@pytest.mark.parametrize("length", range(1, 40))
def test_suffixes_wrap_where_torchs_do(length):
    """A grad_fn or dtype suffix goes on a new line at the same width."""
    reference = pytest.importorskip("torch")
    values = [i + 0.5 for i in range(length)]
    for library_pair in ({"dtype": "float64"}, {}):
        texts = []
        for library in (torch, reference):
            kwargs = {k: getattr(library, v) for k, v in library_pair.items()}
            texts.append(repr(library.tensor(values, requires_grad=True, **kwargs).exp().log() * 1))
        assert texts[0] == texts[1]


def test_only_shown_elements_are_looked_at():
    """The elements in the middle of a summarised tensor do not decide on the format."""
    x = torch.zeros(1000, 1000)
    x[500, 500] = 1.23456e-9
    assert repr(x).splitlines()[0] == "tensor([[0., 0., 0.,  ..., 0., 0., 0.],"


def test_float64_default_dtype_moves_the_suffix():
    """dtype= is printed for what is not the default dtype, of complex tensors as well."""
    torch.set_default_dtype(torch.float64)
    assert repr(torch.tensor([0.5])) == "tensor([0.5000])"
    assert repr(torch.tensor([1j])) == "tensor([0.+1.j])"
    assert repr(torch.tensor([0.5], dtype=torch.float32)) == "tensor([0.5000], dtype=torch.float32)"


def test_subclasses_print_their_name():
    """A subclass is printed under its own name; a Parameter says what it contains."""
    class Mine(torch.Tensor):
        pass

    assert repr(Mine([1.0])) == "Mine([1.])"
    text = "Parameter containing:\ntensor([1.], requires_grad=True)"
    assert repr(torch.nn.Parameter(torch.ones(1))) == text

    class Own(torch.nn.Parameter):
        pass

    assert repr(Own(torch.ones(1))) == "Parameter containing:\nParameter(Own([1.], requires_grad=True))"


def test_tensor_contents_replace_the_numbers():
    """A subclass can print something else than its numbers."""
    x = torch.ones(2, requires_grad=True)
    assert x.__repr__(tensor_contents="...") == "tensor(..., requires_grad=True)"


def test_format():
    """A 0-dim tensor formats as its number; another tensor has no format but the empty one."""
    assert f"{torch.tensor(3.14159):.2f} {torch.tensor(7):>3} {torch.tensor(True)}" == "3.14   7 True"
    assert f"{torch.tensor([1.0])}" == "tensor([1.])"
    text = "Parameter containing:\ntensor(2., requires_grad=True)"
    assert f"{torch.nn.Parameter(torch.tensor(2.0))}" == text
    with pytest.raises(TypeError, match=r"unsupported format string passed to Tensor.__format__"):
        format(torch.tensor([1.0]), ".2f")


def test_options_are_read_back_and_restored():
    """get_printoptions gives what was set; printoptions puts it back, also after an exception."""
    torch.set_printoptions(precision=2, linewidth=100)
    before = torch._tensor_str.get_printoptions()
    assert before == {"precision": 2, "threshold": 1000, "edgeitems": 3, "linewidth": 100, "sci_mode": None}
    with pytest.raises(KeyError), torch._tensor_str.printoptions(sci_mode=True, edgeitems=1):
        assert repr(torch.tensor([1.5])) == "tensor([1.50e+00])"
        raise KeyError
    assert torch._tensor_str.get_printoptions() == before
    with pytest.raises(ValueError, match="profile"):
        torch.set_printoptions(profile="huge")
