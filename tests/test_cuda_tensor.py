"""Tensors on a (simulated) CUDA device: moving, mixing, saving, sharing memory with other libraries, training a model."""
import copy
import io
import pickle

import numpy as np
import pytest
import simulator

import numtorch as torch
from numtorch import nn


@pytest.fixture(autouse=True)
def driver():
    with simulator.installed(seed=3) as found:
        yield found


def test_where_a_tensor_is():
    """Device, index, repr, and the refusal to show device memory as an ndarray."""
    x = torch.arange(4.0, device="cuda")
    assert x.is_cuda and not x.is_cpu and x.device == torch.device("cuda", 0) and x.get_device() == 0
    assert repr(x) == "tensor([0., 1., 2., 3.], device='cuda:0')" and repr(x[1]) == "tensor(1., device='cuda:0')"
    assert x.tolist() == [0, 1, 2, 3] and x[2].item() == 2 and x[1:3].storage_offset() == 1
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu\\(\\) to copy"):
        x.numpy()
    assert x.numpy(force=True).tolist() == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(1, device="cuda:7")


def test_moving():
    """to, cuda, cpu: order in memory and dtype are kept, nothing is copied without need, gradients come back."""
    x = torch.arange(6.0).reshape(2, 3).t().requires_grad_()
    y = x.cuda()
    assert y.stride() == x.stride() and y.cuda() is y and y.to("cuda:0") is y and torch.equal(y.cpu(), x)
    z = y.to("cuda:1", torch.float64)
    assert z.device == torch.device("cuda:1") and z.dtype is torch.float64 and torch.equal(z.cpu(), x.double())
    (z * torch.tensor(2.0)).sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.eq(2).all()
    assert torch.zeros(2).copy_(y.detach()[0, :2]).tolist() == [0, 3] and y.detach().clone().copy_(x.detach() + 1).cpu().equal(x + 1)


def test_mixing():
    """Numbers and 0-dim host tensors may stand beside CUDA tensors; other mixtures are torch's error."""
    x = torch.ones(2, device="cuda")
    scale = torch.tensor(3.0, requires_grad=True)
    (x * scale + 1).sum().backward()
    assert scale.grad.item() == 2 and not scale.grad.is_cuda
    for mix in (lambda: x + torch.ones(2), lambda: torch.ones(2) + x, lambda: x + torch.ones(2, device="cuda:1")):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, but found at least two devices"):
            mix()


def test_default_device():
    """Tensors made inside ``with device``, and after set_default_device, are on it; the _like functions follow their input."""
    with torch.device("cuda"):
        assert torch.zeros(2).is_cuda and torch.tensor([1]).is_cuda and torch.arange(3).is_cuda and torch.full((1,), 2).is_cuda
        assert not torch.zeros(2, device="cpu").is_cuda and repr(torch.ones(1)) == "tensor([1.])"
    torch.set_default_device("cuda:1")
    try:
        assert torch.empty(1).device == torch.device("cuda:1")
    finally:
        torch.set_default_device(None)
    x = torch.ones(2, 3, device="cuda").t()
    for like in (torch.zeros_like(x), torch.ones_like(x), torch.empty_like(x), torch.full_like(x, 3), x.new_zeros(3, 2)):
        assert like.is_cuda and like.shape == (3, 2)
    assert torch.zeros_like(x).stride() == x.stride() and not torch.zeros_like(x, device="cpu").is_cuda


def test_copies():
    """copy.deepcopy and pickle keep the device, and views of one memory stay views of one memory."""
    x = torch.arange(6.0, device="cuda")
    y = copy.deepcopy(x)
    assert y.is_cuda and y.data_ptr() != x.data_ptr() and y.equal(x)
    module = nn.Linear(2, 2).cuda()
    module.twin = module.weight
    twice = copy.deepcopy(module)
    assert twice.twin is twice.weight and twice.weight.is_cuda
    assert pickle.loads(pickle.dumps(x)).equal(x) and pickle.loads(pickle.dumps(x)).is_cuda


def test_saving():
    """A file says on which device a tensor was; load puts it there, or where map_location says; views share memory again."""
    x = torch.arange(6.0, device="cuda:1")
    file = io.BytesIO()
    torch.save({"all": x, "part": x[2:4], "host": torch.ones(1), "transposed": x.reshape(2, 3).t()}, file)

    def load(**how):
        file.seek(0)
        return torch.load(file, **how)
    found = load()
    assert found["all"].device == torch.device("cuda:1") and not found["host"].is_cuda
    found["part"].zero_()
    assert found["all"].tolist() == [0, 1, 0, 0, 4, 5] and found["transposed"].shape == (3, 2)
    assert found["transposed"].cpu().tolist() == [[0, 0], [1, 4], [0, 5]]
    assert load(map_location="cpu")["all"].device.type == "cpu"
    assert load(map_location={"cuda:1": "cuda:0"})["all"].device == torch.device("cuda:0")
    assert load(map_location=lambda storage, place: storage)["part"].tolist() == [2, 3]
    with simulator.installed(devices=1):
        with pytest.raises(RuntimeError, match="cuda:1"):
            load()


def test_module_and_optimizer():
    """Module.to moves parameters in place with their gradients; an optimiser's state is made where its parameter is."""
    torch.manual_seed(0)
    host = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    device = copy.deepcopy(host).to("cuda")
    weight = device[0].weight
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    losses = []
    for model, data, target in ((host, x, y), (device, x.cuda(), y.cuda())):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        losses.append([])
        for _ in range(3):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(data), target)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert device[0].weight is weight and weight.is_cuda and weight.grad.is_cuda
    assert optimizer.state[weight]["exp_avg"].is_cuda
    saved = optimizer.state_dict()
    again = torch.optim.Adam(copy.deepcopy(device).cpu().parameters(), lr=0.1)
    again.load_state_dict(saved)
    assert all(not s["exp_avg"].is_cuda for s in again.state.values())
    device.cpu()
    assert not weight.is_cuda and not weight.grad.is_cuda


def test_dlpack():
    """Memory is shared both ways through DLPack, host and device, and lives as long as someone uses it."""
    x = torch.arange(6.0).reshape(2, 3)
    y = torch.from_dlpack(x.t())
    y[0, 0] = 7
    assert x[0, 0] == 7 and y.shape == (3, 2) and np.from_dlpack(x).tolist() == x.tolist()
    assert torch.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]
    x = torch.ones(4, device="cuda:1", dtype=torch.bfloat16)[1:]
    assert x.__dlpack_device__() == (2, 1)
    capsule = x.__dlpack__()
    y = torch.from_dlpack(capsule)
    assert y.device == x.device and y.data_ptr() == x.data_ptr() and y.dtype is torch.bfloat16
    with pytest.raises(RuntimeError, match="can be consumed only once"):
        torch.from_dlpack(capsule)
    address = x.data_ptr()
    del x, capsule
    assert torch.empty(3, device="cuda:1", dtype=torch.bfloat16).data_ptr() != address and y.float().sum().item() == 3
    with pytest.raises(RuntimeError, match="Can't export tensors that require gradient"):
        torch.ones(1, requires_grad=True).__dlpack__()
    with pytest.raises(TypeError, match="expected an object with __dlpack__"):
        torch.from_dlpack(3)


def test_cuda_array_interface():
    """Other libraries find pointer, shape and strides; as_tensor takes the same attributes from them, without a copy."""
    x = torch.arange(6.0, device="cuda").reshape(2, 3)
    found = x.t().__cuda_array_interface__
    assert found["shape"] == (3, 2) and found["strides"] == (4, 12) and found["data"] == (x.data_ptr(), False)
    assert found["typestr"] == "<f4" and not hasattr(torch.ones(1), "__cuda_array_interface__")
    other = type("Other", (), {"__cuda_array_interface__": found})()
    y = torch.as_tensor(other)
    assert y.is_cuda and y.data_ptr() == x.data_ptr() and y.tolist() == x.t().tolist()


def test_pinned_memory():
    """pin_memory, and a DataLoader's, give page-locked copies; what a copy in progress uses is not given out again."""
    x = torch.arange(4.0).pin_memory()
    assert x.is_pinned() and x[1:].is_pinned() and not torch.ones(1).is_pinned() and x.pin_memory() is x
    assert x.to("cuda", non_blocking=True).tolist() == [0, 1, 2, 3]
    assert x.cuda().to("cpu", non_blocking=True).is_pinned()
    data = torch.utils.data.TensorDataset(torch.arange(6.0), torch.arange(6))
    for a, b in torch.utils.data.DataLoader(data, 2, pin_memory=True):
        assert a.is_pinned() and b.is_pinned()
    with pytest.raises(RuntimeError, match="cannot pin"):
        x.cuda().pin_memory()


def test_views_share_memory():
    """In-place writes reach all views, are counted, and backward notices that a saved tensor has changed."""
    x = torch.zeros(2, 3, device="cuda")
    row, column = x[0], x[:, 1]
    column += 2
    row.mul_(3)
    x[1, :2] = torch.tensor([8.0, 9.0], device="cuda")
    assert x.tolist() == [[0, 6, 0], [8, 9, 0]] and x._version == 3 and row.tolist() == [0, 6, 0]
    w = torch.ones(3, device="cuda", requires_grad=True)
    y = w * 2
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    base = torch.zeros(2, 2, device="cuda")
    base[0] = w[:2] * 5
    base.sum().backward()
    assert w.grad.tolist() == [5, 5, 0]


def test_what_has_no_kernel_goes_through_the_host():
    """With one warning per operation; results and gradients are on the device."""
    x = torch.tensor([[2.0, 1.0], [1.0, 3.0]], device="cuda", requires_grad=True)
    with pytest.warns(UserWarning, match="runs on the CPU, with copies both ways"):
        values = torch.linalg.eigvalsh(x)
    values.sum().backward()
    assert values.is_cuda and x.grad.is_cuda
    np.testing.assert_allclose(x.grad.cpu(), np.eye(2), atol=1e-6)
