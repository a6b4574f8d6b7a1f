"""Whole models, optimisers and checkpoints go from torch to numtorch and back.

The files in tests/files were written by torch 2.13 with ``torch.save(object, path)``, where x = arange(12.).reshape(3, 4):

- tensors.pt: an OrderedDict of ``arange(5)`` in each of the twelve dtypes by its name; x and its views row = x[1],
  columns = x[:, 1:3] and transposed = x.T; empty = zeros(0, 3), scalar = tensor(2.5), expanded = tensor([7.]).expand(2, 3);
  parameter = Parameter([1., 2.]) and frozen, one that requires no gradient; conjugate = tensor([1 + 2j]).conj(); storage, the
  untyped one of the bytes 1, 2; and facts, a dict of what else a file may hold.
- sequential.pt: Sequential(Linear(3, 2), ReLU()), each parameter filled with arange(n) / n - 0.5.
- layers.pt: a ModuleDict, in eval mode, of Conv2d(1, 2, 3, padding=1), BatchNorm2d(2), Dropout(0.5), LSTM(4, 3, batch_first=True)
  and Embedding(5, 3, padding_idx=0), filled in the same way.
- checkpoint.pt: model, optimizer, scheduler (their state dicts) and epoch of that Sequential after one step of SGD(lr=0.5,
  momentum=0.9) on the sum of its output for ones(1, 3), with StepLR(2).
- legacy.pt and legacy_module.pt, with ``_use_new_zipfile_serialization=False``: a dict of [x, x[1], x.T], a bfloat16 tensor
  and the Sequential's state dict; and the Sequential itself, without the source of its classes.
"""
import io
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from serial_files import DTYPES, FORMATS, Net, by_torch, loaded, real_torch, records, reloaded, same_memory, saved

import numtorch as nt
from numtorch import nn, optim, serialization
from numtorch.serialization import load

FILES = Path(__file__).with_name("files")


@pytest.fixture
def torch():
    """Real torch."""
    yield from real_torch()


# ---- files written by torch --------------------------------------------------------------------------------------------

def test_committed_tensors():
    """The committed file of torch's gives every dtype, view and fact that is known to be in it."""
    for how in ({}, {"weights_only": False}, {"mmap": True}, {"map_location": "cpu"}):
        found = load(FILES / "tensors.pt", **how)
        for name in DTYPES:
            assert str(found[name].dtype) == f"torch.{name}"
            kind = bool if name == "bool" else complex if "complex" in name else float
            assert found[name].tolist() == np.arange(5).astype(kind).tolist()
        x = np.arange(12.0).reshape(3, 4)
        for name, value in (("x", x), ("row", x[1]), ("columns", x[:, 1:3]), ("transposed", x.T)):
            assert found[name].tolist() == value.tolist() and same_memory(found["x"], found[name])
            assert found[name].stride() == tuple(s // 8 for s in value.strides)
        assert found["empty"].shape == (0, 3) and found["scalar"].item() == 2.5 and found["expanded"].stride() == (0, 0)
        assert found["parameter"].requires_grad
        assert not found["frozen"].requires_grad and isinstance(found["frozen"], nn.Parameter)
        assert found["conjugate"].tolist() == [1 - 2j] and found["storage"].tolist() == [1, 2]
        assert found["facts"] == {
            "dtype": nt.float16, "device": nt.device("cuda", 1), "size": nt.Size([3, 4]), "layout": nt.strided, "bytes": b"abc",
            "set": {1, 2}, "complex": 1j, "large": 1 << 40, "none": None, "text": "häßlich"}


@pytest.mark.parametrize("name", ["sequential.pt", "legacy_module.pt"])
def test_committed_module(name):
    """A whole model of torch's runs, and is trained on."""
    model = load(FILES / name, weights_only=False)
    assert repr(model) == repr(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    y = model(nt.tensor([[1.0, -2.0, 3.0]]))
    assert np.allclose(y.tolist(), [[0, 2 / 3]], atol=1e-6)
    y.sum().backward()
    optim.SGD(model.parameters(), lr=0.1).step()
    assert np.allclose(model[0].bias.tolist(), [-0.5, -0.1])
    assert model.train(False).training is False and list(model.state_dict()) == ["0.weight", "0.bias"]


def test_committed_layers():
    """Convolution, normalisation, LSTM and embedding of torch's have all that numtorch's need."""
    layers = load(FILES / "layers.pt", weights_only=False)
    x = nt.arange(16.0).reshape(1, 1, 4, 4) / 16
    assert layers["norm"](layers["conv"](x)).sum().item() == pytest.approx(1.833284, abs=1e-5)
    expected = [0.0028008, 0.0404055, 0.0901926, 0.0071121, 0.0674801, 0.157347, 0.0089536, 0.0756422, 0.1874554, 0.0084777,
                0.0700972, 0.186769]
    assert np.allclose(layers["lstm"](x[0])[0].flatten().tolist(), expected, atol=1e-5)
    assert layers["embedding"](nt.tensor([4])).tolist()[0] == pytest.approx([0.3, 11 / 30, 13 / 30])
    assert layers["norm"].num_batches_tracked.dtype is nt.int64 and not layers["drop"].training
    assert repr(layers) == repr(nn.ModuleDict(OrderedDict(
        conv=nn.Conv2d(1, 2, 3, padding=1), norm=nn.BatchNorm2d(2), drop=nn.Dropout(0.5), lstm=nn.LSTM(4, 3, batch_first=True),
        embedding=nn.Embedding(5, 3, padding_idx=0))))


def test_committed_checkpoint():
    """A checkpoint of torch's is taken over by a model, its optimiser and its scheduler, and training goes on."""
    state = load(FILES / "checkpoint.pt")
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2)
    assert str(model.load_state_dict(state["model"])) == "<All keys matched successfully>"
    assert state["model"]._metadata["0"] == {"version": 1}
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    model(nt.tensor([[-2.0, 0.0, 0.0]])).sum().backward()
    optimizer.step()
    scheduler.step()
    # the momentum of the step before, 0.9 * (0, 1), and the new gradient, (1, 1)
    assert np.allclose(model[0].bias.tolist(), [-1.0, -0.5 - 0.5 * 1.9]) and scheduler.get_last_lr() == [pytest.approx(0.05)]


@pytest.mark.parametrize("weights_only", [True, False])
def test_committed_legacy(weights_only):
    """The format before torch 1.6 keeps views, dtypes and state dicts."""
    found = load(FILES / "legacy.pt", weights_only=weights_only)
    x, row, transposed = found["tensors"]
    assert x.tolist() == np.arange(12.0).reshape(3, 4).tolist() and same_memory(x, row) and transposed.stride() == (1, 4)
    assert found["half"].dtype is nt.bfloat16 and found["half"].tolist() == [0, 1, 2]
    assert found["state"]["0.bias"].tolist() == [-0.5, 0.0]
    with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
        load(FILES / "legacy.pt", mmap=True)


@pytest.mark.parametrize("name", ["tensors.pt", "sequential.pt", "checkpoint.pt"])
def test_saving_again_gives_the_same_pickle(name):
    """What was loaded from torch's file is written with the very names and numbers that torch wrote."""
    first = records((FILES / name).read_bytes())
    again = records(saved(load(FILES / name, weights_only=False)))

    def names(data):
        return {arg for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"}
    more = {"torch ByteStorage"} if name == "tensors.pt" else set()      # numtorch's storages are all typed
    assert names(again["data.pkl"]) | {"torch.storage UntypedStorage"} == names(first["data.pkl"]) | more | {
        "torch.storage UntypedStorage"}


# ---- modules, both ways ------------------------------------------------------------------------------------------------

def many_layers(t):
    n = t.nn
    return n.ModuleDict(OrderedDict(
        conv=n.Conv2d(1, 2, 3, padding=1), norm=n.BatchNorm2d(2), relu=n.ReLU(inplace=True), pool=n.MaxPool2d(2),
        flat=n.Flatten(), linear=n.Linear(8, 4), drop=n.Dropout(0.1),
        embedding=n.Embedding(5, 3), attention=n.MultiheadAttention(4, 2), encoder=n.TransformerEncoderLayer(4, 2, 8),
        up=n.Upsample(scale_factor=2), weights=n.ParameterList([n.Parameter(t.ones(2))]), bag=n.EmbeddingBag(5, 3),
        layer=n.LayerNorm(4), shuffle=n.ChannelShuffle(2), loss=n.CrossEntropyLoss(), act=n.PReLU()))


def run_layers(layers, t):
    x = (t.arange(16.0) / 16).reshape(1, 1, 4, 4)
    y = layers["linear"](layers["flat"](layers["pool"](layers["relu"](layers["norm"](layers["conv"](x))))))
    y = layers["drop"](layers["layer"](layers["act"](y)))
    e = layers["embedding"](t.tensor([1, 4])) + layers["bag"](t.tensor([[1, 2], [2, 4]]))
    a = layers["attention"](y.reshape(1, 1, 4), y.reshape(1, 1, 4), y.reshape(1, 1, 4))[0]
    return [v.detach().tolist() for v in (y, e, a, layers["encoder"](y.reshape(1, 1, 4)), layers["weights"][0])]


def close(a, b):
    return all(np.allclose(np.array(x), np.array(y), atol=1e-5) for x, y in zip(a, b))


@pytest.mark.parametrize("how", FORMATS)
def test_torch_runs_numtorchs_modules(torch, how):
    """Whole modules that numtorch saved are torch's own in torch, print alike and compute the same."""
    mine = many_layers(nt).eval()
    theirs = torch.load(io.BytesIO(saved(mine, **how)), weights_only=False)
    assert type(theirs["conv"]) is torch.nn.Conv2d and repr(theirs) == repr(mine)
    assert close(run_layers(mine, nt), run_layers(theirs, torch))
    assert list(theirs.state_dict()) == list(mine.state_dict())


@pytest.mark.parametrize("how", FORMATS)
def test_numtorch_runs_torchs_modules(torch, how):
    """And the other way round."""
    theirs = many_layers(torch).eval()
    mine = loaded(by_torch(torch, theirs, **how), weights_only=False)
    assert type(mine["conv"]) is nn.Conv2d and repr(mine) == repr(theirs)
    assert close(run_layers(mine, nt), run_layers(theirs, torch))
    again = torch.load(io.BytesIO(saved(mine)), weights_only=False)
    assert close(run_layers(again, torch), run_layers(theirs, torch))


def test_recurrent_modules(torch):
    """torch's RNNs have the list of parameters that their forward reads, whoever saved them, and numtorch's forget it."""
    def layers(t):
        return t.nn.ModuleList([t.nn.LSTM(4, 3, bidirectional=True), t.nn.GRU(6, 2, 2), t.nn.RNN(2, 2)])

    def run(layers, t):
        x = (t.arange(16.0) / 16).reshape(2, 2, 4)
        for layer in layers:
            x = layer(x)[0]
        return x.detach().tolist()

    theirs, mine = layers(torch), layers(nt)
    back = loaded(by_torch(torch, theirs), weights_only=False)
    assert np.allclose(run(back, nt), run(theirs, torch), atol=1e-5)
    back[0].weight_ih_l0 = nn.Parameter(nt.zeros(12, 4))         # torch must not see the old one
    for module in (mine, back):
        again = torch.load(io.BytesIO(saved(module)), weights_only=False)
        assert np.allclose(run(again, torch), run(module, nt), atol=1e-5)
        again.to(torch.float64)


def test_lazy_modules(torch):
    """Layers whose sizes are not known yet take them over from the first input behind a file, too."""
    theirs = torch.load(io.BytesIO(saved(nn.LazyLinear(3))), weights_only=False)
    assert theirs(torch.ones(1, 2)).shape == (1, 3) and type(theirs) is torch.nn.Linear
    mine = loaded(by_torch(torch, torch.nn.LazyLinear(3)), weights_only=False)
    assert mine(nt.ones(1, 2)).shape == (1, 3) and type(mine) is nn.Linear


def test_functions_of_modules(torch):
    """Operations and tensor types that a module keeps as attributes have torch's names."""
    for kept in ("nn.functional.softplus", "nn.functional.softmax", "relu", "sum", "add", "linalg.det", "FloatTensor"):
        mine, theirs = nt, torch
        for part in kept.split("."):
            mine, theirs = getattr(mine, part), getattr(theirs, part)
        assert torch.load(io.BytesIO(saved(mine)), weights_only=False) is theirs
        assert loaded(by_torch(torch, theirs), weights_only=False) is mine


@pytest.mark.parametrize("how", FORMATS)
def test_a_programs_own_module(how):
    """A module of a program's own class keeps its attributes, and runs; weights_only refuses it by its name."""
    net = Net()
    data = saved(net, **how)
    again = loaded(data, weights_only=False)
    x = nt.ones(1, 2)
    assert type(again) is Net and again(x).tolist() == net(x).tolist() and "count" not in again.state_dict()
    with pytest.raises(pickle.UnpicklingError):
        loaded(data)


def test_a_changed_source_is_noticed(monkeypatch):
    """The old format holds the source of a program's modules, and load compares it."""
    data = saved(Net(), _use_new_zipfile_serialization=False)
    loaded(data, weights_only=False)
    with pytest.warns(serialization.SourceChangeWarning, match="source code of class .*Net' has changed"):
        loaded(data.replace(b"A line.", b"A word."), weights_only=False)


@pytest.mark.parametrize("make", [
    lambda t, p: t.optim.Adam(p, lr=0.1), lambda t, p: t.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda t, p: t.optim.RMSprop(p, lr=0.1)], ids=["Adam", "SGD", "RMSprop"])
def test_optimisers(torch, make):
    """State dicts and whole optimisers go both ways, and the next step is the same."""
    def trained(t):
        p = t.nn.Parameter(t.tensor([1.0, 2.0, 3.0]))
        optimizer = make(t, [p])
        (p * p).sum().backward()
        optimizer.step()
        return p, optimizer

    (p, mine), (q, theirs) = trained(nt), trained(torch)
    assert np.allclose(p.tolist(), q.tolist())
    other = make(torch, [torch.nn.Parameter(torch.tensor(p.tolist()))])
    other.load_state_dict(torch.load(io.BytesIO(saved(mine.state_dict()))))
    back = make(nt, [nn.Parameter(nt.tensor(q.tolist()))])
    back.load_state_dict(loaded(by_torch(torch, theirs.state_dict())))
    whole = loaded(by_torch(torch, theirs), weights_only=False)
    after = []
    for optimizer in (mine, theirs, other, back, whole, torch.load(io.BytesIO(saved(mine)), weights_only=False)):
        weight = optimizer.param_groups[0]["params"][0]
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()
        after.append(weight.tolist())
    mine_was_stepped_before = after.pop()
    assert all(np.allclose(a, after[0]) for a in after) and len(mine_was_stepped_before) == 3


def test_schedulers(torch):
    """The state dicts of schedulers are plain values: the restricted readers of both take them."""
    for name, settings in (("StepLR", (2,)), ("ReduceLROnPlateau", ()), ("OneCycleLR", (0.1, 10)), ("CosineAnnealingLR", (5,)),
                           ("CosineAnnealingWarmRestarts", (3,)), ("ExponentialLR", (0.9,))):
        mine, theirs = (getattr(t.optim.lr_scheduler, name)(
            t.optim.SGD([t.nn.Parameter(t.ones(1))], lr=0.1, momentum=0.9), *settings) for t in (nt, torch))
        state = mine.state_dict()
        assert reloaded(state) == state
        theirs.load_state_dict(torch.load(io.BytesIO(saved(state))))


def test_torchscript_archives_are_named(torch):
    """A TorchScript archive is recognised, and refused in torch's words."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
    with pytest.warns(UserWarning, match="looks like a TorchScript archive"), \
            pytest.raises(RuntimeError, match="Cannot use ``weights_only=True`` with TorchScript archives"):
        loaded(file.getvalue())
    with pytest.raises(ValueError, match="torchscript checkpoint"):
        serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(file.getvalue()))
    with pytest.raises(ValueError, match="before 1.6"):
        serialization.get_unsafe_globals_in_checkpoint(FILES / "legacy.pt")


def test_what_numtorch_lacks_is_named(torch):
    """Tensors, dtypes and classes that numtorch does not have are errors that name them and a way out."""
    for value, error, message in ((torch.eye(2).to_sparse(), NotImplementedError, r"torch.sparse_coo.*to_dense\(\)"),
                                  (torch.ones(2, device="meta"), NotImplementedError, "meta device"),
                                  (torch.ones(2, dtype=torch.uint16), NotImplementedError, "the dtype torch.uint16"),
                                  (torch.distributions.Normal(0, 1), AttributeError, "torch.distributions.*state_dict")):
        with pytest.raises(error, match=message):
            loaded(by_torch(torch, value), weights_only=False)
