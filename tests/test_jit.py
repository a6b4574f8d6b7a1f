"""jit.script and files: what script makes of programs runs as they do, is shown, saved, loaded, trained and frozen."""
import copy
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import numtorch as torch
import numtorch.jit as jit
import numtorch.nn as nn
from numtorch import optim

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")       # torch's own words about its own


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Imports the programs with torch meaning a library."""
    folder, known = tmp_path_factory.mktemp("programs"), {}

    def load(library):
        if library not in known:
            path = folder / f"programs_of_{library}.py"
            path.write_text(Path(__file__).with_name("jit_programs.py").read_text().replace("numtorch", library))
            spec = importlib.util.spec_from_file_location(path.stem, path)
            known[library] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(known[library])
        return known[library]
    return load


def plain(value):
    """A result as Python's own types, to be compared between libraries."""
    if hasattr(value, "detach"):
        return str(value.dtype).rpartition(".")[2], value.detach().numpy().tolist()
    if isinstance(value, (list, tuple)):
        return [type(value) is list, *map(plain, value)]
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def near(a, b):
    """Whether two plain results are equal up to rounding."""
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(near, a, b))
    if isinstance(a, tuple):
        return a[0] == b[0] and np.shape(a[1]) == np.shape(b[1]) and np.allclose(a[1], b[1], 1e-5, 1e-6, equal_nan=True)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(near(a[k], b[k]) for k in a)
    return type(a) is type(b) and (a == pytest.approx(b) if isinstance(a, float) else a == b)


def again(module):
    """A module saved and loaded."""
    file = io.BytesIO()
    jit.save(module, file)
    file.seek(0)
    return jit.load(file)


def same_weights(theirs, ours):
    """Gives our module the parameters and buffers of torch's."""
    ours.load_state_dict({k: torch.tensor(v.numpy()) for k, v in theirs.state_dict().items()})


def flat(tree):
    """The tensors in a nest."""
    return [tree] if isinstance(tree, torch.Tensor) else [t for branch in tree or () for t in flat(branch)] \
        if isinstance(tree, (tuple, list)) else []


def agree(a, b, tolerance=1e-5):
    """Asserts that the tensors of two results are equal up to rounding."""
    a, b = flat(a), flat(b)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.shape == y.shape and x.dtype == y.dtype
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), tolerance, tolerance)


# ---- script: functions ---------------------------------------------------------------------------------------------------

NAMES = ("early_return return_in_loop nested_loops forever lists numbers dicts strings tuples indexing shapes reductions calls "
         "raises "
         "annotated comments iteration without_gradients in_place factories optionals").split()


@pytest.mark.parametrize("name", NAMES)
def test_script_runs_as_torchs_script_does(load, name):
    """A scripted function gives what torch's script of the same text gives; its graph is consistent; so does the loaded one."""
    ours = load("numtorch")
    scripted = jit.script(getattr(ours, name))
    scripted.inlined_graph.lint()
    assert scripted.code.startswith(f"def {name}(") and str(scripted.graph).startswith("graph(")
    loaded = again(scripted)
    theirs = pytest.importorskip("torch")
    reference, module = theirs.jit.script(getattr(load("torch"), name)), load("torch")
    for k in (1, 2, 3, 7):
        if name == "indexing" and k > 3:
            continue
        wanted = plain(reference(module.X, k))
        assert near(plain(scripted(ours.X, k)), wanted), k
        assert near(plain(loaded(ours.X, k)), wanted), k


def test_script_follows_python_where_torch_is_not_installed(load):
    """A scripted function gives what Python gives, for those whose numbers mean the same in both."""
    ours = load("numtorch")
    for name in ("early_return", "return_in_loop", "nested_loops", "forever", "iteration", "calls", "in_place", "optionals"):
        fn = getattr(ours, name)
        for k in (1, 2, 5, 9):
            assert near(plain(jit.script(fn)(ours.X, k)), plain(fn(ours.X, k))), (name, k)
    y = torch.ones(2, 3)
    assert near(plain(jit.script(ours.optionals)(ours.X, 2, y=y)), plain(ours.optionals(ours.X, 2, y)))


def test_a_graph_has_blocks_for_control_flow():
    """The graph keeps if and for as blocks of nodes; its text and its code show them as torch's do."""
    @jit.script
    def steps(x, n: int):
        for _ in range(n):
            if x.sum() > 0:
                x = x * 2
            else:
                x = -x
        return x
    loop = steps.graph.findNode("prim::Loop")
    inner = loop.blocks_[0].findNode("prim::If")
    assert [n.kind() for n in inner.blocks_[0].nodes()] == ["aten::mul"]
    assert loop.inputsSize() == 3 and [v.type for v in loop.outputs()] == [steps.graph.params[0].type]
    text = str(steps.graph)
    assert "prim::Loop(%n" in text and "block0(" in text and "return (%x" in text and "test_jit.py:" in text
    assert "for _0 in range(n):" in steps.code and "else:" in steps.code
    assert str(steps.schema) == "steps(Tensor x, int n) -> Tensor"


def test_lists_are_copied_and_mutated_inside():
    """A list that is passed in is a list of the script's own, as in torch; gradients flow through what is in it."""
    @jit.script
    def grow(values: list[torch.Tensor], n: int):
        for _ in range(n):
            values.append(values[-1] * 2)
        return values
    x = torch.ones(2, requires_grad=True)
    given = [x]
    found = grow(given, 3)
    assert len(given) == 1 and len(found) == 4
    found[-1].sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]


def test_calls_check_their_arguments():
    """Arguments of a wrong type or number raise RuntimeError in torch's words; an int is taken for a float."""
    @jit.script
    def f(x, low: float, high: float):
        return torch.clamp(x, low, high)
    assert f(torch.tensor([3.0]), 1, 2).item() == 2
    for args, kwargs, words in (((1, 1.0, 2.0), {}, r"Expected a value of type 'Tensor \(inferred\)' for argument 'x' but "
                                                    r"instead "
                                 "found type 'int'"),
                                ((torch.ones(1), "a", 2.0), {}, "Expected a value of type 'float' for argument 'low'"),
                                ((torch.ones(1),), {}, "f\\(\\) is missing value for argument 'low'. Declaration: f\\(Tensor x"),
                                ((torch.ones(1), 1.0, 2.0, 3.0), {}, "expected at most 3 argument\\(s\\) but received 4"),
                                ((torch.ones(1), 1.0), {"z": 2.0}, "Unknown keyword argument 'z'")):
        with pytest.raises(RuntimeError, match=words):
            f(*args, **kwargs)


def test_errors_of_a_running_script_show_the_line(load):
    """An exception raised by the program is jit.Error, one of an operation RuntimeError; both show the marked line."""
    programs = load("numtorch")
    with pytest.raises(jit.Error, match="(?s)raise ValueError.*~ <--- HERE.*builtins.ValueError: too big: 101"):
        jit.script(programs.raises)(programs.X, 101)
    with pytest.raises(jit.Error, match="AssertionError: wrong size"):
        jit.script(programs.raises)(torch.ones(3), 1)
    net = jit.script(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(RuntimeError, match=r"(?s)failed in the TorchScript interpreter.*in forward.*F.linear.*mat1 and mat2 "
                                           r"shapes"):
        net(torch.ones(2, 4))


GLOBAL = 3


def _undefined(x):
    return foo(x)       # noqa: F821


def _tried(x):
    try:
        return x + 1
    except ValueError:
        return x


def _half_defined(x):
    if x.sum() > 0:
        y = x
    return y


def _two_types(x):
    if x.sum() > 0:
        y = x
    else:
        y = 3
    return y


def _changed_type(x):
    y = 1
    for _ in range(3):
        y = 1.5
    return y


def _global(x):
    return x + GLOBAL


def _no_method(x):
    return x.foo()


def _lambda_inside(x):
    return (lambda z: z)(x)


def _two_results(x):
    for i in range(3):
        if i > 1:
            return x
    return 3


def _wrong_call(x):
    return torch.relu(x, 1, 2)


def _variadic(*xs):
    return xs


def _recursive(x):
    return _recursive(x - 1)


@pytest.mark.parametrize("fn, kind, words", [
    (_undefined, RuntimeError, r"undefined value foo:(?s:.*)return foo\(x\).*\n +~~~ <--- HERE"),
    (_tried, jit.frontend.UnsupportedNodeError, "try blocks aren't supported"),
    (_half_defined, RuntimeError, r"y is not defined in the false branch:(?s:.*)and was used here"),
    (_two_types, RuntimeError, "y is set to type Tensor in the true branch and type int in the false branch"),
    (_changed_type, RuntimeError, "Variable 'y' previously had type int but is now being assigned to a value of type float"),
    (_global, RuntimeError, "python value of type 'int' cannot be used as a value. Perhaps it is a closed over global variable"),
    (_no_method, RuntimeError, "object has no attribute or method 'foo'"),
    (_lambda_inside, jit.frontend.NotSupportedError, "Lambda aren't supported"),
    (_two_results, RuntimeError, "Previous return statement returned a value of type Tensor but this return"),
    (_wrong_call, RuntimeError, "Arguments for call are not valid"),
    (_variadic, jit.frontend.NotSupportedError, "Compiled functions can't take variable number of arguments"),
    (_recursive, RuntimeError, "called recursively"),
])
def test_what_scripts_do_not_have_is_named_with_its_line(fn, kind, words):
    """A program that cannot be compiled raises torch's error, which shows the line."""
    with pytest.raises(kind, match=words) as caught:
        jit.script(fn)
    assert "test_jit.py" in str(caught.value) and "<--- HERE" in str(caught.value)


def test_classes_and_other_things_are_refused():
    """script takes functions and modules; all else ends in an error that says so."""
    with pytest.raises(RuntimeError, match="inherits from nn.Module, pass an instance"):
        jit.script(nn.Linear)
    with pytest.raises(TypeError, match="expects a function or an nn.Module, got int"):
        jit.script(3)
    with pytest.raises(NotImplementedError, match="is not compiled; use a NamedTuple"):
        jit.script(type("Plain", (), {}))
    hooked = nn.Linear(1, 1)
    hooked.register_forward_hook(lambda *a: None)
    with pytest.raises(NotImplementedError, match="hooks of 'Linear' are not compiled"):
        jit.script(hooked)


# ---- script: modules -----------------------------------------------------------------------------------------------------

def test_a_scripted_network_trains_as_torchs(load):
    """Submodules, containers, buffers, attributes, exports: three steps of training equal those of torch's script."""
    theirs = pytest.importorskip("torch")
    a, b = load("torch").Net(), load("numtorch").Net()
    same_weights(a, b)
    a, b = theirs.jit.script(a), jit.script(b)
    x = theirs.randn(2, 1, 8, 8, generator=theirs.Generator().manual_seed(0))
    y = torch.tensor(x.numpy())
    assert repr(a) == repr(b) and list(a.state_dict()) == list(b.state_dict())
    first, second = theirs.optim.SGD(a.parameters(), 0.1), optim.SGD(b.parameters(), 0.1)
    for _ in range(3):
        p, q = a(x, True), b(y, aux=True)
        for optimizer, result in ((first, p), (second, q)):
            optimizer.zero_grad()
            (result.logits.pow(2).sum() + result.aux.sum()).backward()
            optimizer.step()
        np.testing.assert_allclose(p.logits.detach().numpy(), q.logits.detach().numpy(), 1e-3, 1e-3)
    assert a.stats([1, 2]) == b.stats([1, 2]) == (6, 6, 1) and b.count == 3
    for (name, p), (_, q) in zip(a.state_dict().items(), b.state_dict().items()):
        np.testing.assert_allclose(p.numpy(), q.numpy(), 2e-3, 2e-3, err_msg=name)
    assert b.eval()(y).aux is None and b.python_only(y).numel() == 1


def test_a_recurrent_program_with_a_carried_state(load):
    """GRU, LSTMCell and a loop that carries an optional state give torch's numbers for any number of steps."""
    theirs = pytest.importorskip("torch")
    a, b = load("torch").Recurrent(), load("numtorch").Recurrent()
    same_weights(a, b)
    a, b = theirs.jit.script(a), jit.script(b)
    tokens = np.arange(12).reshape(2, 6) % 10
    for steps in (1, 4, 9):
        p, q = a(theirs.tensor(tokens), steps), b(torch.tensor(tokens), steps)
        np.testing.assert_allclose(p[0].detach().numpy(), q[0].detach().numpy(), 1e-4, 1e-5)


def test_script_methods_of_the_older_style(load):
    """A subclass of ScriptModule compiles its marked methods at the end of its constructor; ``__constants__``, Attribute."""
    net = load("numtorch").Legacy(3)
    assert isinstance(net, jit.ScriptModule) and net.n == 3 and "prim::If" in str(net.graph)
    x = torch.ones(2)
    agree(net(x), net.fc(x) * 3 + net.w)
    agree(net(-x), -x - 3)
    agree(again(net)(-x), net.more(-x))


def test_a_script_module_is_a_module():
    """It shares parameters with its source; copies, modes, dtypes, state dicts and hooks work as for any module."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    scripted = jit.script(net)
    assert scripted[0].weight is net[0].weight and len(scripted) == 3 and isinstance(scripted, nn.Module)
    x = torch.randn(8, 3)
    scripted(x)
    assert net[1].num_batches_tracked.item() == 1          # buffers are shared and written in place
    torch.manual_seed(1)
    dropped = scripted(x)
    torch.manual_seed(1)
    agree(dropped, net(x))
    assert (dropped == 0).any() and not (scripted.eval()(x) == 0).any() and net.training
    twin = copy.deepcopy(scripted).double()
    assert twin(x.double()).dtype == torch.float64 and scripted(x).dtype == torch.float32
    twin.load_state_dict(scripted.state_dict())
    seen = []
    handle = scripted.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    scripted(x)
    handle.remove()
    assert seen == [(8, 4)]
    with pytest.raises(RuntimeError, match="Cannot re-assign modules in a ScriptModule with non-scripted module"):
        setattr(scripted, "0", nn.Linear(3, 4))
    with pytest.raises(RuntimeError, match="missing value for argument 'input'"):
        scripted()
    with pytest.raises(TypeError, match="cannot be pickled: use torch.jit.save"):
        import pickle

        pickle.dumps(scripted)


class Join(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 1)

    @jit._overload_method
    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        ...

    @jit._overload_method
    def forward(self, x: torch.Tensor) -> torch.Tensor:     # noqa: F811
        ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:     # noqa: F811
        return self.conv(torch.cat([x] if isinstance(x, torch.Tensor) else x, 1))


class Dense(nn.ModuleDict):
    def __init__(self):
        super().__init__({f"layer{k}": Join(2 + 2 * k) for k in range(3)})

    def forward(self, x):
        found = [x]
        for _, layer in self.items():
            found.append(layer(found))
        return torch.cat(found, 1)


def test_methods_for_several_types():
    """A method with overloads is compiled for each type that it is called with."""
    net, x = Dense(), torch.rand(1, 2, 3, 3)
    scripted = jit.script(net)
    agree(scripted(x), net(x))
    agree(again(scripted).layer0(x), net.layer0(x))


def test_what_python_says_in_eager_code():
    """is_scripting, annotate, fork, isinstance and the marks mean in Python what they mean in torch."""
    assert jit.is_scripting() is False and jit.is_tracing() is False and jit.annotate(int, 3) == 3
    assert jit.wait(jit.fork(lambda a, b: a + b, 1, b=2)) == 3
    assert jit.isinstance([1, 2], list[int]) and not jit.isinstance([1.0], list[int])

    class Net(nn.Module):
        def forward(self, x):
            if torch.jit.is_scripting():
                x = x + 1
            return self.python(x)

        @jit.ignore
        def python(self, x):
            return x * 10
    scripted = jit.script(Net())
    assert Net()(torch.ones(1)).item() == 10 and scripted(torch.ones(1)).item() == 20
    with pytest.raises(RuntimeError, match="Could not export Python function call 'python'"):
        jit.save(scripted, io.BytesIO())

    class Unused(Net):
        @jit.unused
        def python(self, x):
            return x * 10
    dropped = again(jit.script(Unused()))
    with pytest.raises(jit.Error, match="annotated to be ignored and cannot be run: python"):
        dropped(torch.ones(1))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 100 * x


# ---- files ---------------------------------------------------------------------------------------------------------------

def test_a_file_needs_none_of_the_source(tmp_path):
    """A process that knows only the file runs what was traced and scripted; extra files and shared tensors come along."""
    program = tmp_path / "maker.py"
    program.write_text("""
import numtorch as torch, numtorch.jit, numtorch.nn as nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
    def forward(self, x, n: int):
        for _ in range(n):
            if x.sum() > 0:
                x = self.a(x)
            else:
                x = self.b(-x)
        return x
torch.manual_seed(0)
net = Net()
x = torch.randn(2, 3)
torch.jit.script(net).save("scripted.pt", _extra_files={"note.txt": "hello"})
torch.jit.save(torch.jit.trace(net.a, x), "traced.pt")
print(net(x, 3).tolist(), net.a(x).tolist())
""")
    user = ("import numtorch as torch, numtorch.jit; extra = {'note.txt': '', 'none': ''}; torch.manual_seed(0); "
            "s = torch.jit.load('scripted.pt', _extra_files=extra); t = torch.jit.load('traced.pt', map_location='cpu'); "
            "import sys; assert 'maker' not in sys.modules; assert s.a.weight is s.b.weight; assert extra == {'note.txt': "
            "b'hello', "
            "'none': b''}; import numtorch.nn as nn; nn.Linear(3, 3), nn.Linear(3, 3); x = torch.randn(2, 3); "
            "print(s(x, 3).tolist(), t(x).tolist())")
    outputs = [subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
               for command in (["maker.py"], ["-c", user])]
    assert outputs[0] == outputs[1]
    with zipfile.ZipFile(tmp_path / "scripted.pt") as archive:
        names = archive.namelist()
        assert "scripted/graph.json" in names and "scripted/data/0" in names and "scripted/version" in names
        assert b"for" in archive.read("scripted/code/__torch__/Net.py") and not any(n.endswith(".pkl") for n in names)


def _edited(change):
    """A saved module whose description was changed."""
    file = io.BytesIO()
    jit.save(jit.script(nn.Linear(2, 2)), file)
    from numtorch._serial_zip import Reader, Writer

    reader, out = Reader(file), io.BytesIO()
    content = json.loads(reader.read("graph.json"))
    change(content)
    writer = Writer(out)
    for name in ("byteorder", "data/0", "data/1"):
        writer.record(name, reader.read(name))
    writer.record("graph.json", json.dumps(content).encode())
    writer.close()
    out.seek(0)
    return out


def test_files_that_are_damaged_or_hostile(tmp_path):
    """Missing files, other files, later versions, unknown operations, foreign attributes and names that are code are refused."""
    with pytest.raises(ValueError, match="The provided filename .*none.pt does not exist"):
        jit.load(tmp_path / "none.pt")
    with pytest.raises(RuntimeError, match="no ZIP archive"):
        jit.load(io.BytesIO(b"hello"))
    with pytest.raises(TypeError, match="expects a ScriptModule or a ScriptFunction, got Linear"):
        jit.save(nn.Linear(2, 2), io.BytesIO())

    def kind(content):
        content["graphs"][0]["nodes"][-1]["kind"] = "os::system"

    def attribute(content):
        content["graphs"][0]["nodes"][0]["attrs"]["name"] = "__class__"

    def name(content):
        content["graphs"][0]["schema"]["arguments"][1]["name"] = "x, y=print('run')"

    def reserved(content):
        content["modules"][0]["attributes"]["_methods"] = [0, 1]

    def version(content):
        content["version"] = 99

    def tensor(content):
        content["tensors"][0]["size"] = [1000, 1000]
    for change, words in ((kind, "operation os::system, which this numtorch does not know"), (attribute, "attribute __class__"),
                          (reserved, "attribute of the name _methods"), (version, "of version 99"), (tensor, "out of bounds")):
        with pytest.raises(RuntimeError, match=words):
            jit.load(_edited(change))
    with pytest.raises(ValueError, match="cannot be the name of an argument"):
        jit.load(_edited(name))(torch.ones(2))


def test_saving_is_atomic(tmp_path):
    """A module that cannot be saved leaves the file of before."""
    path = tmp_path / "net.pt"
    jit.save(jit.script(nn.Linear(2, 2)), path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="Could not export Python function call"):
        jit.save(jit.trace(lambda x: Square.apply(x), torch.ones(2)), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["net.pt"]


# ---- freeze --------------------------------------------------------------------------------------------------------------

def test_freezing(load):
    """A frozen module has constants for parameters, one graph, batch norms worked into other layers; the source stays."""
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))
    x = torch.rand(4, 1, 4, 4)
    net(x * 3)
    with pytest.raises(RuntimeError, match="only implemented for modules in eval mode"):
        jit.freeze(jit.script(net))
    with pytest.raises(RuntimeError, match="Freezing expects a ScriptModule"):
        jit.freeze(net)
    scripted = jit.script(net.eval())
    frozen = jit.freeze(scripted)
    agree(frozen(x), net(x))
    kinds = [n.kind() for n in frozen.graph.all_nodes()]
    assert not list(frozen.parameters()) and "aten::batch_norm" not in kinds and "prim::CallMethod" not in kinds
    assert "prim::GetAttr" not in kinds and "aten::batch_norm" in [
        n.kind() for n in jit.freeze(scripted, optimize_numerics=False).graph.all_nodes()]
    agree(again(jit.optimize_for_inference(scripted))(x), net(x))
    assert len(list(scripted.parameters())) == 8
    other = jit.freeze(jit.script(load("numtorch").Net().eval()), preserved_attrs=["stats", "table"])
    y = torch.rand(1, 1, 8, 8)
    other(y)
    other(y)
    assert other.count == 2 and other.stats([1]) == (3, 4, 1) and other.table == {"x": 1}     # what is written stays


def test_graphs_run_at_the_speed_of_python():
    """A graph becomes one Python function: no call of a module and no interpretation of nodes is left in it."""
    net = jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    net(torch.ones(1, 2))
    called = []

    def profile(frame, event, arg):
        if event == "call" and "numtorch/nn/" in frame.f_code.co_filename.replace("\\", "/"):
            called.append(frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name)
    sys.setprofile(profile)
    try:
        net(torch.ones(1, 2))
    finally:
        sys.setprofile(None)
    assert {c.rpartition(".")[2] for c in called} <= {"__getattr__"}
