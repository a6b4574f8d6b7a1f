"""Recurrent layers, cells and packed sequences on a (simulated) CUDA device against the CPU: results, gradients, second ones."""
import numpy as np
import pytest
import simulator
from numtorch.kernels import matmul_cuda, pointwise_cuda, rnn_cuda
from numtorch.kernels._device import empty, from_host, to_host

import numtorch as torch
from numtorch.autograd import gradcheck, gradgradcheck
from numtorch.nn.utils import rnn as utils
from numtorch.ops import rnn

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 4e-3, "bfloat16": 3e-2}
pytestmark = pytest.mark.filterwarnings("error:.*there is no CUDA kernel:UserWarning")


affine = matmul_cuda.affine


def host_affine(a, b, d, alpha, beta, out=None):
    """``matmul_cuda.affine`` by NumPy: test_cuda_ops.py tries the kernels of products, on which most of the time would go."""
    found = alpha * np.matmul(to_host(a), to_host(b)) + (0 if d is None else beta * to_host(d))
    out = empty(found.shape, a.dtype, a.device) if out is None else out
    out[...] = from_host(found.astype(a.dtype))
    return out


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Blocks so small that tiny layers cross their borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rnn_cuda, "BLOCK", (4, 2))
        patch.setattr(pointwise_cuda, "THREADS", 32)
        patch.setattr(pointwise_cuda, "_made", {})
        yield


@pytest.fixture(autouse=True)
def device(monkeypatch):
    """The simulated driver."""
    for module in (matmul_cuda, rnn_cuda):
        monkeypatch.setattr(module, "affine", host_affine)
    with simulator.installed(seed=1) as driver:
        yield driver


@pytest.fixture
def real_products(monkeypatch):
    """Products on the device's own kernels."""
    for module in (matmul_cuda, rnn_cuda):
        monkeypatch.setattr(module, "affine", affine)


def drawn(*shape, seed=0, dtype="float32", device="cpu"):
    """A leaf of numbers that depend on shape and seed only."""
    values = np.random.default_rng([seed, *shape]).uniform(-1, 1, shape)
    return torch.from_numpy(values).to(getattr(torch, dtype)).to(device).requires_grad_()


def total(tensors):
    """A weighted sum of all elements."""
    def factors(t):
        return torch.linspace(-1, 2, t.numel(), dtype=torch.float64).to(t.dtype).to(t.device).view_as(t)
    return sum((t * factors(t)).sum() for t in tensors)


def assert_same(found, wanted, dtype="float32", cuda=True):
    assert len(found) == len(wanted)
    for number, (a, b) in enumerate(zip(found, wanted)):
        assert a.is_cuda == cuda and a.shape == b.shape and a.dtype == b.dtype
        a, b = a.detach().cpu().double().numpy(), b.detach().double().numpy()
        scale = max(1.0, np.abs(b).max(initial=0)) * TOLERANCE[dtype]
        np.testing.assert_allclose(a, b, rtol=0, atol=4 * scale, err_msg=f"tensor {number}")


def of_a_layer(device, mode, sizes, dtype, bias, hidden, reverse):
    """All results of ``rnn.layer`` and the gradients of all inputs."""
    def leaf(*shape, seed=0):
        return drawn(*shape, seed=seed, dtype=dtype, device=device)
    gates = GATES[mode] * hidden
    x, state = leaf(sum(sizes), 3), tuple(leaf(sizes[0], hidden, seed=k) for k in range(2 if mode == "LSTM" else 1))
    weights = [leaf(gates, 3), leaf(gates, hidden), *((leaf(gates, seed=1), leaf(gates, seed=2)) if bias else (None, None))]
    y, last = rnn.layer(mode, x, sizes, state, (*weights, None), reverse)
    leaves = [t for t in (x, *state, *weights) if t is not None]
    return [y, *last, *torch.autograd.grad(total((y, *last)), leaves)]


@pytest.mark.parametrize("dtype, bias, hidden", [("float32", True, 5), ("float64", False, 1)])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("sizes", [[3, 3], [5, 4, 4, 2, 1], [0, 0]], ids=str)
@pytest.mark.parametrize("mode", GATES)
def test_a_layer(mode, sizes, reverse, dtype, bias, hidden):
    """Sequences of one and of several lengths, from both ends, and none at all."""
    wanted = of_a_layer("cpu", mode, sizes, dtype, bias, hidden, reverse)
    assert_same(of_a_layer("cuda", mode, sizes, dtype, bias, hidden, reverse), wanted, dtype)


@pytest.mark.parametrize("sizes", [[2, 2, 1], [1, 1]], ids=str)
@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
def test_products_in_place(mode, sizes, real_products):
    """The products add to the rows of the gates where they lie: by tiles, and by the kernels of one row."""
    wanted = of_a_layer("cpu", mode, sizes, "float32", True, 3, False)
    assert_same(of_a_layer("cuda", mode, sizes, "float32", True, 3, False), wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mode", GATES)
def test_half_types(mode, dtype):
    """Within the rounding of what the CPU does one operation after the other."""
    wanted = of_a_layer("cpu", mode, [3, 3, 2], dtype, True, 5, False)
    assert_same(of_a_layer("cuda", mode, [3, 3, 2], dtype, True, 5, False), wanted, dtype)


@pytest.mark.parametrize("mode", GATES)
def test_launches(mode, device, real_products):
    """A step is a product and one kernel, forward and backward; nothing but the first states is copied."""
    def names(lines, part):
        return [line for line in lines if part in line]
    steps = 2
    state = tuple(drawn(3, 5, device="cuda") for _ in range(2 if mode == "LSTM" else 1))
    weights = tuple(drawn(GATES[mode] * 5, n, device="cuda") for n in (4, 5))
    x = drawn(3 * steps, 4, device="cuda")
    device.log = []
    y, _ = rnn.layer(mode, x, [3] * steps, state, (*weights, None, None, None), False)
    assert len(names(device.log, "_step")) == steps and len(names(device.log, "product")) == steps + 1
    assert len(names(device.log, "copy")) <= len(state)
    device.log = []
    y.backward(torch.ones_like(y))
    assert len(names(device.log, "_step_gradient")) == steps and len(names(device.log, "product")) == steps + 3


def test_derivatives():
    """First and second ones of a layer against finite differences."""
    def leaf(*shape):
        return drawn(*shape, dtype="float64", device="cuda")
    inputs = leaf(3, 1), leaf(2, 1), leaf(3, 1), leaf(3, 1)

    def run(x, state, w_ih, w_hh):
        y, last = rnn.layer("GRU", x, [2, 1], (state,), (w_ih, w_hh, None, None, None), False)
        return y, *last
    assert gradcheck(run, inputs, fast_mode=True)
    assert gradgradcheck(run, inputs, fast_mode=True)


SETTINGS = [("RNN", {"nonlinearity": "relu", "batch_first": True}), ("GRU", {"num_layers": 2, "bidirectional": True}),
            ("LSTM", {"num_layers": 2, "bidirectional": True, "bias": False}), ("LSTM", {"proj_size": 3, "bidirectional": True})]


def built(name, settings, device, *args):
    torch.manual_seed(3)
    return getattr(torch.nn, name)(*args, **settings).to(device)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("name, settings", SETTINGS, ids=str)
def test_modules(name, settings, packed):
    """Layers with the state that they make themselves; packed sequences out of order."""
    def results(device):
        layer, x = built(name, settings, device, 4, 5), drawn(4, 3, 4, device=device)
        lengths, first = [2, 4, 3], settings.get("batch_first", False)
        if packed:
            lengths = lengths if not first else [2, 3, 1, 3]
            out, last = layer(utils.pack_padded_sequence(x, lengths, first, enforce_sorted=False))
            out, lengths = utils.pad_packed_sequence(out, first, -1.0)
            assert not lengths.is_cuda
        else:
            out, last = layer(x)
        found = [out, *(last if name == "LSTM" else (last,))]
        return found + list(torch.autograd.grad(total(found), [x, *layer.parameters()]))
    assert_same(results("cuda"), results("cpu"))


def test_dropout_between_layers():
    """Drawn anew in training, absent in evaluation."""
    layer, x = built("GRU", {"num_layers": 2, "dropout": 0.5}, "cuda", 4, 5), drawn(4, 3, 4, device="cuda")
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("name, settings", [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("GRUCell", {}),
                                            ("LSTMCell", {})], ids=str)
def test_cells(name, settings, given):
    """Two steps, with batch and without; gradients, and second ones."""
    def results(device, *batch):
        cell = built(name, settings, device, 2, 5)
        x, state = drawn(*batch, 2, device=device), [drawn(*batch, 5, seed=k, device=device) for k in range(2)]
        start = None if not given else tuple(state) if name == "LSTMCell" else state[0]
        now = cell(x, cell(x, start))
        found, leaves = list(now) if name == "LSTMCell" else [now], [x, *cell.parameters()]
        grads = torch.autograd.grad(total(found), leaves, create_graph=not batch)
        return [*found, *grads, *(() if batch else torch.autograd.grad(total(grads), leaves))]
    assert_same(results("cuda", 3), results("cpu", 3))
    assert_same(results("cuda"), results("cpu"))


def test_packed_sequences():
    """Packing and padding move between devices what belongs with the data; lengths and sizes of steps stay on the CPU."""
    rows = [drawn(n, 2, seed=n) for n in (2, 4, 1)]
    device_rows = [r.detach().cuda().requires_grad_() for r in rows]
    for side in ("right", "left"):
        assert_same([utils.pad_sequence(device_rows, True, 9.0, side)], [utils.pad_sequence(rows, True, 9.0, side)])
    packed, wanted = (utils.pack_sequence(r, enforce_sorted=False) for r in (device_rows, rows))
    assert_same([packed.data, packed.sorted_indices, packed.unsorted_indices],
                [wanted.data, wanted.sorted_indices, wanted.unsorted_indices])
    assert packed.is_cuda and not packed.batch_sizes.is_cuda and packed.batch_sizes.tolist() == [3, 2, 1, 1]
    for moved in (wanted.cuda(), wanted.to("cuda"), wanted.cuda(0)):
        assert_same(utils.pad_packed_sequence(moved, total_length=6)[:1], utils.pad_packed_sequence(wanted, total_length=6)[:1])
    assert wanted.to(torch.float64).cpu().sorted_indices.device == packed.cpu().sorted_indices.device == torch.device("cpu")
    assert_same(utils.unpack_sequence(packed), rows)
    assert_same([utils.invert_permutation(packed.sorted_indices)], [wanted.unsorted_indices])
    assert_same(torch.autograd.grad(total([packed.data]), device_rows), torch.autograd.grad(total([wanted.data]), rows))
    with pytest.raises(RuntimeError, match="should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor"):
        utils.pack_padded_sequence(torch.ones(2, 1, 1, device="cuda"), torch.tensor([2], device="cuda"))
    with pytest.raises(ValueError, match="batch_sizes should always be on CPU"):
        utils.PackedSequence(packed.data, packed.batch_sizes.cuda())


def test_devices_may_not_be_mixed():
    """Weights or a state on one device, an input on another."""
    x = torch.ones(2, 1, 2, device="cuda")
    with pytest.raises(RuntimeError, match="not at the same device, found input tensor at cuda:0 and parameter tensor at cpu"):
        torch.nn.LSTM(2, 3)(x)
    with pytest.raises(RuntimeError, match="not at the same device, found input tensor at cuda:0 and hidden tensor at cpu"):
        torch.nn.GRUCell(2, 3).cuda()(x[0], torch.zeros(1, 3))
