"""Recurrent layers, cells and packed sequences against torch: initial values, outputs, states, gradients, errors."""
import warnings

import numpy as np
import pytest

import numtorch as nt
from numtorch.nn.utils import rnn

torch = pytest.importorskip("torch")
import torch.nn.utils.rnn as torch_rnn  # noqa: E402 - only after torch is known to be there

LIBRARIES = ((nt, rnn), (torch, torch_rnn))
SETTINGS = [
    {}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}, {"bias": False},
    {"batch_first": True, "num_layers": 2}, {"num_layers": 3, "dropout": 0.4, "bidirectional": True},
]
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {}), ("LSTM", {"proj_size": 3})]
CASES = [(kind, {**extra, **setting}) for kind, extra in KINDS for setting in SETTINGS]


def label(case):
    return case[0] + ",".join(f"{k}={v}" for k, v in case[1].items())


def build(library, case, dtype="float32"):
    library.manual_seed(5)
    return getattr(library.nn, case[0])(4, 5, **case[1]).to(getattr(library, dtype))


def array(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def leaf(library, a):
    return library.from_numpy(a.copy()).requires_grad_()


def flat(value):
    """All tensors in nested tuples."""
    return [value] if hasattr(value, "detach") else [t for v in value for t in flat(v)]


def total(library, tensors):
    return sum((t * library.from_numpy(array(*t.shape, seed=9, dtype=t.detach().numpy().dtype))).sum() for t in tensors)


def same(ours, theirs, tolerance=1e-5):
    assert len(ours) == len(theirs)
    for i, (a, b) in enumerate(zip(ours, theirs)):
        a, b = a.detach().numpy(), b.detach().numpy()
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"tensor {i}")


def states(library, layer, batch, seed=3):
    """A first state with gradients."""
    n = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or layer.hidden_size] + ([layer.hidden_size] if layer.mode == "LSTM" else [])
    found = tuple(leaf(library, array(n, batch, size, seed=seed + i)) for i, size in enumerate(sizes))
    return found if layer.mode == "LSTM" else found[0]


@pytest.mark.parametrize("case", CASES, ids=label)
def test_printed_form_and_initial_values(case):
    """repr, names and values of the parameters from the same seed."""
    ours, theirs = build(nt, case), build(torch, case)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    same(list(ours.parameters()), list(theirs.parameters()), 1e-7)
    assert [[p.shape for p in layer] for layer in ours.all_weights] == [[tuple(p.shape) for p in layer] for layer in
                                                                       theirs.all_weights]
    assert ours._flat_weights_names == theirs._flat_weights_names


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_outputs_states_and_gradients(case, given):
    """A batch, in evaluation mode (dropout draws are tested apart), with and without a first state."""
    results = []
    for library, _ in LIBRARIES:
        layer = build(library, case).eval()
        x = leaf(library, array(*((3, 6, 4) if layer.batch_first else (6, 3, 4))))
        first = (states(library, layer, 3),) if given else ()
        out = flat(layer(x, *first))
        total(library, out).backward()
        results.append((out, [t.grad for t in (x, *flat(first), *layer.parameters())]))
    same(results[0][0], results[1][0])
    same(results[0][1], results[1][1], 1e-4)


@pytest.mark.parametrize("order", ["sorted", "unsorted"])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_packed_sequences(case, order):
    """Sequences of different lengths, given longest first or in any order, with a first state."""
    lengths = [6, 4, 4, 1] if order == "sorted" else [4, 1, 6, 4]
    results = []
    for library, utils in LIBRARIES:
        layer = build(library, case).eval()
        x = leaf(library, array(*((4, 6, 4) if layer.batch_first else (6, 4, 4))))
        packed = utils.pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=order == "sorted")
        first = states(library, layer, 4)
        out, last = layer(packed, first)
        padded, sizes = utils.pad_packed_sequence(out, layer.batch_first, padding_value=-2.0, total_length=7)
        total(library, [padded, *flat(last)]).backward()
        results.append(([padded, sizes, *flat(last), out.data, out.batch_sizes],
                        [t.grad for t in (x, *flat(first), *layer.parameters())]))
    same(results[0][0], results[1][0])
    same(results[0][1], results[1][1], 1e-4)


@pytest.mark.parametrize("case", [c for c in CASES if not c[1].get("dropout")], ids=label)
def test_without_a_batch_dimension(case):
    """A single sequence (L, input_size), with and without a state."""
    results = []
    for library, _ in LIBRARIES:
        layer = build(library, case)
        x = leaf(library, array(6, 4))
        first = states(library, layer, 1)
        first = tuple(s[:, 0] for s in first) if isinstance(first, tuple) else first[:, 0]
        results.append(flat(layer(x)) + flat(layer(x, first)))
    same(*results)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_dropout_between_layers_draws_torch_s_numbers(kind):
    """In training, the outputs of all layers but the last are dropped; the random state moves on as by F.dropout."""
    case = (kind, {"num_layers": 2, "dropout": 0.5})
    ours = build(nt, case)
    nt.manual_seed(1)
    x = nt.from_numpy(array(3, 2, 4))
    found, _ = ours(x)
    single = [getattr(nt.nn, kind)(4, 5), getattr(nt.nn, kind)(5, 5)]
    for i, layer in enumerate(single):
        layer.load_state_dict({k.replace(f"_l{i}", "_l0"): v for k, v in ours.state_dict().items() if f"_l{i}" in k})
    nt.manual_seed(1)
    expected, _ = single[1](nt.nn.functional.dropout(single[0](x)[0], 0.5))
    same([found], [expected])
    ours.eval()
    same([ours(x)[0]], [single[1](single[0](x)[0])[0]])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_in_double_precision(kind, bidirectional):
    """gradcheck and gradgradcheck of a layer with respect to input, state and all parameters."""
    from numtorch.autograd import gradcheck, gradgradcheck
    nt.manual_seed(0)
    layer = getattr(nt.nn, kind)(2, 3, bidirectional=bidirectional).double()
    parameters = [p for p in layer.parameters()]
    names = [n for n, _ in layer.named_parameters()]
    n = 2 if bidirectional else 1
    first = [leaf(nt, array(n, 2, 3, seed=i, dtype=np.float64)) for i in range(2 if kind == "LSTM" else 1)]

    def run(x, *rest):
        h, values = rest[:len(first)], rest[len(first):]
        return tuple(flat(nt.nn.utils.stateless.call_with(layer, dict(zip(names, values)),
                                                          (x, h if len(h) == 2 else h[0]), {})))
    inputs = (leaf(nt, array(3, 2, 2, dtype=np.float64)), *first, *parameters)
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs, atol=1e-4)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
@pytest.mark.parametrize("settings", [{}, {"bias": False}])
def test_cells(kind, settings):
    """One step, with and without state and batch; initial values and printed form."""
    results = []
    for library, _ in LIBRARIES:
        library.manual_seed(2)
        cell = getattr(library.nn, kind)(4, 5, **settings)
        x, h, c = (leaf(library, array(3, size, seed=i)) for i, size in enumerate((4, 5, 5)))
        hx = (h, c) if kind == "LSTMCell" else h
        one = tuple(s[0] for s in hx) if kind == "LSTMCell" else hx[0]
        out = [*flat(cell(x)), *flat(cell(x, hx)), *flat(cell(x[0])), *flat(cell(x[0], one))]
        total(library, out).backward()
        results.append((repr(cell), out + list(cell.parameters()), [t.grad for t in (x, h, *cell.parameters())]))
    assert results[0][0] == results[1][0]
    same(results[0][1], results[1][1])
    same(results[0][2], results[1][2], 1e-4)


def test_relu_cell_prints_its_nonlinearity():
    """RNNCell with relu computes and prints as torch's."""
    cells = []
    for library, _ in LIBRARIES:
        library.manual_seed(2)
        cells.append(library.nn.RNNCell(4, 5, nonlinearity="relu"))
    assert repr(cells[0]) == repr(cells[1])
    x = array(2, 4)
    same([cells[0](nt.from_numpy(x))], [cells[1](torch.from_numpy(x))])


ERRORS = [
    "nn.LSTM(0, 5)", "nn.LSTM(4, 0)", "nn.LSTM(4, 5, 0)", "nn.LSTM(4.0, 5)", "nn.GRU(4, '5')", "nn.GRU(4, 5, dropout=2)",
    "nn.GRU(4, 5, dropout=0.5)", "nn.GRU(4, 5, bias=1)", "nn.GRU(4, 5, batch_first=3)", "nn.GRU(4, 5, proj_size=2)",
    "nn.RNN(4, 5, proj_size=2)", "nn.RNN(4, 5, nonlinearity='no')", "nn.RNN(4, 5, 1, 'relu')", "nn.LSTM(4, 5, proj_size=-1)",
    "nn.LSTM(4, 5, proj_size=5)", "nn.LSTM(4, 5)(t.ones(4))", "nn.RNN(4, 5)(t.ones(4))", "nn.GRU(4, 5)(t.ones(2, 2, 3))",
    "nn.GRU(4, 5)(t.ones(2, 2, 4, dtype=t.float64))", "nn.GRU(4, 5)(t.ones(2, 2, 4), t.ones(2, 5))",
    "nn.GRU(4, 5)(t.ones(2, 4), t.ones(1, 1, 5))", "nn.GRU(4, 5)(t.ones(2, 2, 4), t.ones(1, 3, 5))",
    "nn.LSTM(4, 5)(t.ones(2, 2, 4), (t.ones(1, 2, 5), t.ones(1, 2, 4)))",
    "nn.LSTM(4, 5)(t.ones(2, 2, 4), (t.ones(1, 2, 4), t.ones(1, 2, 4)))",
    "nn.LSTM(4, 5)(t.ones(2, 2, 4), (t.ones(2, 4), t.ones(2, 4)))", "nn.LSTM(4, 5)(t.ones(2, 4), (t.ones(1, 1, 5), t.ones(1, 5)))",
    "nn.LSTMCell(4, 5)(t.ones(2, 2, 4))", "nn.GRUCell(4, 5)(t.ones(2, 4), t.ones(1, 2, 5))",
    "nn.LSTMCell(4, 5)(t.ones(2, 4), (t.ones(1, 2, 5), t.ones(2, 5)))", "nn.GRUCell(4, 5)(t.ones(2, 3))",
    "nn.GRUCell(4, 5)(t.ones(2, 4), t.ones(3, 5))", "nn.GRUCell(4, 5)(t.ones(2, 4), t.ones(2, 4))",
    "u.pack_padded_sequence(t.ones(3, 2), [1, 3])", "u.pack_padded_sequence(t.ones(3, 2), [3])",
    "u.pack_padded_sequence(t.ones(3, 2), [3, 0])", "u.pack_padded_sequence(t.ones(0, 2), [1, 1])",
    "u.pad_packed_sequence(u.pack_sequence([t.ones(3)]), total_length=2)", "u.pad_sequence(3)",
    "u.pad_sequence([t.ones(2), t.ones(3)], padding_side='up')", "u.PackedSequence(3)",
]


@pytest.mark.parametrize("code", ERRORS)
def test_errors_are_torch_s(code):
    """The same exception type, message and warning (or the same printed result) as torch's."""
    found = []
    for library, utils in LIBRARIES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                text = repr(eval(code, {"nn": library.nn, "t": library, "u": utils}))
            except (RuntimeError, ValueError, TypeError, AssertionError) as error:
                text = f"{type(error).__name__}: {error}"
        found.append((text, [str(w.message) for w in caught]))
    assert found[0] == found[1]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_unpadding(batch_first, side):
    """pad_sequence, pack_sequence, unpack_sequence and unpad_sequence, with trailing dimensions."""
    results = []
    for library, utils in LIBRARIES:
        given = [leaf(library, array(n, 2, seed=n)) for n in (3, 1, 4)]
        padded = utils.pad_sequence(given, batch_first, 7.0, side)
        packed = utils.pack_sequence(given, enforce_sorted=False)
        total(library, [padded, packed.data]).backward()
        back = utils.unpack_sequence(packed)
        cut = utils.unpad_sequence(utils.pad_sequence(given, batch_first), library.tensor([3, 1, 4]), batch_first)
        results.append([padded, *packed, *back, *cut, *(g.grad for g in given)])
    same(*results)


def test_packed_sequence_converts():
    """PackedSequence.to and its short forms change the data only, and return the same object when nothing changes."""
    packed = rnn.pack_sequence([nt.ones(3), nt.ones(2)])
    assert packed.float() is packed and packed.cpu() is packed and packed.to(nt.float32) is packed
    assert packed.double().data.dtype is nt.float64 and packed.double().batch_sizes is packed.batch_sizes
    assert packed.half().data.dtype is nt.float16 and packed.long().data.dtype is nt.int64
    assert not packed.is_cuda and not packed.is_pinned() and packed.pin_memory() is packed
    assert packed.int().data.dtype is nt.int32 and packed.short().data.dtype is nt.int16
    assert packed.char().data.dtype is nt.int8 and packed.byte().data.dtype is nt.uint8
