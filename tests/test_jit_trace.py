"""jit.trace: traces run as the programs do for inputs of other sizes, warn of what they cannot hold, and are checked."""
import copy
import io
import threading
import warnings

import numpy as np
import ops_db
import pytest
from test_jit import Square, again, agree, flat

import numtorch as torch
import numtorch.jit as jit
import numtorch.nn as nn
import numtorch.nn.functional as F
from numtorch.op import OPS


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.layers = nn.ModuleList([nn.Linear(3 * 9, 10)])
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = self.drop(F.max_pool2d(F.relu(self.conv(x)), 2))
        return self.layers[0](x.view(x.size(0), -1))[:, 1:], x.sum() * 2


def test_a_traced_module_runs_for_other_sizes_and_trains():
    """Sizes are part of the trace, modules keep their tree and names, and gradients reach the shared parameters."""
    net = LeNet().eval()
    traced = jit.trace(net, torch.rand(2, 1, 8, 8))
    x = torch.rand(5, 1, 8, 8)
    agree(traced(x), net(x))
    assert repr(traced).splitlines()[:3] == ["LeNet(", "  original_name=LeNet", "  (conv): Conv2d(original_name=Conv2d)"]
    text = str(traced.graph)
    assert 'prim::CallMethod[name="forward"](%conv, %x)' in text and "Float(2, 1, 8, 8, strides=[64, 64, 8, 1]" in text
    assert "aten::size(" in text and "aten::conv2d(" in str(traced.conv.graph) and "(conv).forward(x, )" in traced.code
    assert traced.inlined_graph.findNode("prim::CallMethod") is None
    traced(x)[0].sum().backward()
    assert net.conv.weight.grad is not None and traced.conv.weight is net.conv.weight


class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.rand(3))

    def forward(self, x):
        self.kept = x * self.w
        return self.kept + 1


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep, self.fc = Deep(), nn.Linear(3, 3)

    def forward(self, x, scale=None):
        self.hidden = self.fc(x)
        found = self.deep(self.hidden)
        return found if scale is None else {"found": found * scale}


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.scale = Inner(), nn.Parameter(torch.rand(3))
        self.again = self.inner.fc
        self.register_buffer("shift", torch.rand(4, 3), persistent=False)

    def forward(self, x):
        y = self.inner(x) + self.inner.hidden * self.inner.deep.kept        # what submodules left behind
        return y + self.inner(x, self.scale)["found"] + self.again(x) + self.shift[:x.size(0)]


def test_tensors_may_pass_between_modules_in_any_way():
    """Called twice, shared under two names, given parameters of others, and leaving tensors behind: the graphs have it all."""
    net = Outer()
    traced = jit.trace(net, torch.rand(2, 3))
    x = torch.rand(4, 3)
    agree(traced(x), net(x))
    agree(again(traced)(x), net(x))
    assert traced.inner.forward1.code and "again.weight" in traced.state_dict() and traced.again is traced.inner.fc


def _sizes(x):
    return (x.view(x.size(0), -1), x.reshape(x.shape[1], x.shape[0] * 2, -1), torch.zeros(x.shape[0], 2), x / x.size(0),
            x[:, :x.size(1) // 2], x.new_ones(x.shape[:2]), torch.arange(x.size(1)), x.numel() * x, x.expand(3, *x.shape),
            x.mean() * (x.shape[0] + 1.5), F.interpolate(x[None], size=(x.shape[1] * 2, 4)), x.repeat(x.size(0), 1, 1))


def _reads(x):
    i = x.argmax(0)[0].reshape(-1)
    return (x[i], x[:, 1], x[0], x[..., 0], x[:, None], x[x > 0.5].sum(), x[i, 0], x[1:, ::2], x[...], x[-1, -1], x.T @ x[..., 0],
            x.max(1), torch.topk(x, 2, 1).indices, x.chunk(2, 1)[1], torch.cat([x, x]), torch.where(x > 0.5, x, -x))


def _writes(x):
    y = x.clone()
    y[0] = 5
    y[:, 1] = x[:, 0]
    y[y > 0.9] = -1
    y[..., -1] += 2
    row = y[1]
    row.add_(1)
    y.mul_(2)
    F.relu(y, inplace=True)
    y += x
    out = torch.zeros_like(x)
    torch.mul(x, 2, out=out)
    total = torch.zeros(x.shape[1], 2)
    total += x.sum(0)
    return y, row, out, total


@pytest.mark.parametrize("fn", [_sizes, _reads, _writes])
def test_traced_functions_run_for_other_sizes(fn):
    """Arithmetic on sizes, every kind of index, in-place writes, views and out= are recorded, not their values."""
    traced = jit.trace(fn, torch.rand(3, 4, 2))
    for shape in ((3, 4, 2), (5, 6, 2)):
        x = torch.rand(shape)
        agree(traced(x), fn(x))


def test_constants_are_the_same_in_every_run():
    """A tensor made of numbers is a constant of the trace; writing into it does not change the next run."""
    def fn(x):
        total = torch.tensor([1.0])
        total += x.sum()
        return total
    with pytest.warns(jit.TracerWarning, match="torch.tensor results are registered as constants"):
        traced = jit.trace(fn, torch.ones(2))
    assert traced(torch.ones(2)).item() == traced(torch.ones(2)).item() == 3


@pytest.mark.parametrize("fn, words", [
    (lambda x: x if x.sum() > 0 else -x, "Converting a tensor to a Python boolean"),
    (lambda x: x * x.sum().item(), "Converting a tensor to a Python number"),
    (lambda x: x * int(x.sum()), "Converting a tensor to a Python integer"),
    (lambda x: x * float(x.sum()), "Converting a tensor to a Python float"),
    (lambda x: x * x.tolist()[0][0], "Converting a tensor to a Python list"),
    (lambda x: x * float(x.numpy().sum()), "Converting a tensor to a NumPy array"),
    (lambda x: x * len(x), "Using len to get tensor shape"),
    (lambda x: [r for r in x][0], "Iterating over a tensor"),
    (lambda x: x * 2 if x.size(0) > 1 else x, "Converting a tensor to a Python boolean"),
    (lambda x: [x, x], "Encountering a list at the output of the tracer"),
])
def test_a_trace_warns_of_what_it_cannot_hold(fn, words):
    """Turning a tensor into a Python value while tracing gives torch's TracerWarning, at the line of the program."""
    with pytest.warns(jit.TracerWarning, match=words) as caught:
        jit.trace(fn, torch.ones(2, 3))
    assert {w.filename for w in caught} == {__file__}


def test_the_check_of_a_trace():
    """Another graph at the second trace is TracingCheckError; other results, and random nodes, are warnings."""
    calls = []

    def flips(x):
        calls.append(1)
        return x * 2 if len(calls) % 2 else x + 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jit.TracerWarning)
        with pytest.raises(jit.TracingCheckError, match="(?s)Graphs differed across invocations.*aten::mul.*aten::add"):
            jit.trace(flips, torch.ones(2))
    jit.trace(flips, torch.ones(2), check_trace=False)
    with pytest.warns(jit.TracerWarning, match="Trace had nondeterministic nodes"):
        jit.trace(lambda x: F.dropout(x, 0.5), torch.ones(50))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jit.trace(nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval(), torch.ones(1, 2))


def test_what_a_trace_refuses():
    """Inputs and outputs that are no tensors, untracked parameters, and traces in traces end in torch's errors."""
    x = torch.ones(2)
    with pytest.raises(RuntimeError, match=r"Type 'Tuple\[Tensor, int\]' cannot be traced"):
        jit.trace(lambda a, b: a, (x, 3))
    with pytest.raises(RuntimeError, match="Only tensors, lists, tuples of tensors"):
        jit.trace(lambda a: (a, 3), x)
    with pytest.raises(RuntimeError, match="Encountering a dict at the output"):
        jit.trace(lambda a: {"a": a}, x)
    with pytest.raises(RuntimeError, match="didn't return any values"):
        jit.trace(lambda a: None, x)
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Cannot insert a Tensor that requires grad as a constant"):
        jit.trace(lambda a: a * w, x)
    with pytest.raises(RuntimeError, match="a trace is running already"):
        jit.trace(lambda a: jit.trace(lambda b: b, a)(a), x)
    with pytest.raises(KeyError):
        jit.trace(lambda a: {}["none"], x)
    assert torch.add(x, 1).tolist() == [2, 2] and not jit.is_tracing()      # nothing is left behind
    assert jit.trace(lambda a: {"a": a}, x, strict=False)(x)["a"] is x


def test_inputs_of_a_trace():
    """Nests of tensors, one tensor twice, and arguments by name."""
    a, b = torch.rand(2), torch.rand(2)
    agree(jit.trace(lambda t: t[0] - t[1][0], ((a, [b]),), check_trace=False)((b, [a])), b - a)
    agree(jit.trace(lambda d: d["p"] - d["q"], ({"p": a, "q": b},))({"p": b, "q": a}), b - a)
    agree(jit.trace(lambda p, q: p - 2 * q, (a, a))(a, b), a - 2 * b)
    by_name = jit.trace(lambda p, q: p - 2 * q, example_kwarg_inputs={"q": a, "p": b})
    agree(by_name(p=a, q=b), a - 2 * b)
    two = jit.trace_module(Two(), {"forward": a, "other": (a, b)})
    agree((two(b), two.other(b, a)), (b * 2, b - a))


class Two(nn.Module):
    def forward(self, x):
        return x * 2

    def other(self, x, y):
        return x - y


@jit.script_if_tracing
def _signed(x):
    if x.sum() > 1:
        return x * 2
    return -x


def test_scripts_and_autograd_functions_in_a_trace():
    """A scripted function keeps its control flow in a trace; an autograd.Function keeps its own gradient, but cannot be saved."""
    traced = jit.trace(lambda x: _signed(x) + 1, torch.ones(4))
    for x in (torch.ones(4), -torch.ones(3)):
        agree(traced(x), _signed(x) + 1)
    assert traced.graph.findNode("prim::CallFunction") is not None and again(traced)(-torch.ones(1)).item() == 2
    squared = jit.trace(lambda x: Square.apply(x) + 1, torch.ones(2))
    x = torch.ones(2, requires_grad=True)
    squared(x).sum().backward()
    assert x.grad.tolist() == [100, 100]
    with pytest.raises(RuntimeError, match="Could not export Python function call 'Square'"):
        jit.save(squared, io.BytesIO())

    class Repeated(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = jit.trace(nn.Linear(2, 2), torch.ones(1, 2))

        def forward(self, x, n: int):
            for _ in range(n):
                x = self.layer(x)
            return x
    net = Repeated()
    agree(jit.script(net)(torch.ones(3, 2), 2), net(torch.ones(3, 2), 2))


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, (h, _) = self.lstm(packed)
        output, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
        return output, h


def test_packed_sequences():
    """Sequences of other lengths than the traced ones are packed and padded anew, in traces and scripts."""
    net = Packed()
    x, lengths = torch.rand(3, 6, 3), torch.tensor([2, 6, 4])
    for graph in (jit.trace(net, (torch.rand(2, 5, 3), torch.tensor([3, 5]))), jit.script(net)):
        agree(graph(x, lengths), net(x, lengths))
        agree(again(graph)(x, lengths), net(x, lengths))


def test_other_threads_are_not_traced():
    """While one thread traces, the operations of another run as always."""
    found, go_on = [], threading.Event()

    def work():
        while not go_on.is_set():
            found.append((torch.ones(3) + 1).sum().item())
    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(3):
            traced = jit.trace(lambda x: (x + 1).relu() * 2, torch.ones(2), check_trace=False)
    finally:
        go_on.set()
        thread.join()
    assert set(found) <= {6.0} and [n.kind() for n in traced.graph.nodes() if n.kind() != "prim::Constant"] == [
        "aten::add", "aten::relu", "aten::mul"]


def test_tracing_leaves_no_trace():
    """The functions of the library have their own code again behind a trace."""
    codes = [f.__code__ for f in (torch.add, F.relu, torch.Tensor.view, nn.Module.__call__)]
    jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    assert [f.__code__ for f in (torch.add, F.relu, torch.Tensor.view, nn.Module.__call__)] == codes


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_operation_can_be_traced():
    """The first sample of every row of the table of operations runs from its trace, and from its file, with the same result."""
    checked = 0
    for row in ops_db.rows():
        op = OPS.get(row.name)
        if op is None or row.name.startswith("_") or row.name in ("empty_like", "Tensor.set_"):
            continue
        args, kwargs = row.draw(row.samples[0], 0)

        def tensor(drawn):
            a, dtype = drawn.array, drawn.spec.dtype
            kinds = {"float64": np.float32, "complex128": np.complex64}
            return torch.tensor(np.array(a.astype(dtype or kinds.get(a.dtype.name, a.dtype))))
        args, kwargs = ops_db.swap((args, kwargs), ops_db.Drawn, tensor)
        args, kwargs = ops_db.swap((args, kwargs), ops_db.D, lambda d: getattr(torch, d.name))
        inputs = ops_db.leaves((args, kwargs), torch.Tensor)

        def run(*tensors, op=op, row=row, args=args, kwargs=kwargs):
            each = iter(tensors)
            a, k = ops_db.swap((args, kwargs), torch.Tensor, lambda _: next(each))
            return row.call(op.fn, *a, **k) if row.call else op.fn(*a, **k)
        torch.manual_seed(0)
        wanted = run(*[t.clone() for t in inputs]) if inputs else None
        if not flat(wanted):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = jit.trace(run, tuple(t.clone() for t in inputs), check_trace=False, strict=False)
        used = {value for node in traced.graph.all_nodes() for value in node.inputs()}
        assert not used.isdisjoint(traced.graph.params), row.name
        torch.manual_seed(0)
        for a, b in zip(flat(wanted), flat(again(traced)(*[t.clone() for t in inputs]))):
            assert a.dtype == b.dtype and np.array_equal(a.detach().numpy(), b.detach().numpy(), equal_nan=True), row.name
        checked += 1
    assert checked > 350




# ---- layers ---------------------------------------------------------------------------------------------------------------

LAYERS = [
    (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), [(2, 2, 6, 6)]),
    (lambda: nn.ConvTranspose2d(2, 4, 3), [(2, 2, 4, 4)]),
    (lambda: nn.BatchNorm2d(3, momentum=None), [(4, 3, 2, 2)]), (lambda: nn.BatchNorm1d(3, affine=False), [(4, 3)]),
    (lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), [(2, 3, 4)]), (lambda: nn.GroupNorm(2, 4), [(2, 4, 3)]),
    (lambda: nn.LSTM(3, 4, 2, bidirectional=True), [(5, 2, 3)]),
    (lambda: nn.LSTM(3, 4, batch_first=True, proj_size=2), [(5, 2, 3)]),
    (lambda: nn.RNN(3, 4, nonlinearity="relu"), [(5, 2, 3)]), (lambda: nn.GRUCell(3, 4), [(2, 3), (2, 4)]),
    (lambda: nn.MultiheadAttention(4, 2), [(3, 2, 4)] * 3),
    (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.0, norm_first=True), 2), [(3, 2, 4)]),
    (lambda: nn.TransformerDecoderLayer(4, 2, 8, 0.0), [(3, 2, 4)] * 2),
    (lambda: nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Softmax(1), nn.Dropout(0.3), nn.Unflatten(1, (2, 2))), [(5, 3)]),
    (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.PixelShuffle(2), nn.Flatten()),
     [(1, 4, 4, 4)]),
    (lambda: nn.TripletMarginLoss(), [(2, 3)] * 3), (lambda: nn.CosineSimilarity(), [(2, 3)] * 2),
]


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python float")     # batch norm's count, when all batches count alike
@pytest.mark.parametrize("number", range(len(LAYERS)))
@pytest.mark.parametrize("how", ["trace", "script"])
def test_layers(how, number):
    """Layers give the same outputs, gradients, statistics and random draws as graphs, in both modes, loaded and frozen."""
    make, shapes = LAYERS[number]
    layer, inputs = make(), [torch.rand(s) for s in shapes]
    for training in (True, False):
        layer.train(training)
        twin = copy.deepcopy(layer)
        graph = jit.trace(twin, tuple(inputs), check_trace=False) if how == "trace" else jit.script(twin)
        twin.load_state_dict(layer.state_dict())        # the trace has moved the statistics
        results = []
        for module in (layer, graph):
            torch.manual_seed(1)
            results.append(flat(module(*inputs)))
            if list(module.parameters()):
                sum(t.pow(2).sum() for t in results[-1] if t.requires_grad).backward()
        agree(*results)
        for (name, p), (_, q) in zip(layer.named_parameters(), graph.named_parameters()):
            agree(p.grad, q.grad), name
        agree(list(layer.buffers()), list(graph.buffers()))
        layer.zero_grad()
        loaded = again(graph)
        torch.manual_seed(2)
        wanted = graph(*inputs)
        torch.manual_seed(2)
        agree(loaded(*inputs), wanted)
        if not training:
            agree(jit.freeze(graph)(*inputs), wanted)
