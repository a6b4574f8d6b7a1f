"""Optimiser steps on a (simulated) CUDA device are the CPU's: parameters, state and step counts, bit for bit where rounding allows."""
import numpy as np
import pytest
import simulator

import numtorch as torch
from numtorch import optim

RUNS = [("SGD", {}), ("SGD", {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}), ("SGD", {"maximize": True}),
        ("Adam", {}), ("Adam", {"amsgrad": True, "weight_decay": 0.1}), ("AdamW", {"lr": 0.1}), ("Adagrad", {"lr_decay": 0.1}),
        ("RMSprop", {}), ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}), ("RMSprop", {"centered": True}),
        ("Adadelta", {}), ("Adamax", {"weight_decay": 0.1}), ("NAdam", {}), ("RAdam", {"weight_decay": 0.1}), ("Rprop", {}),
        ("ASGD", {"t0": 1})]
SHAPES = [(3,), (), (4100,), (5, 7), (0,)]     # one is longer than a piece


def trained(device, name, settings, dtype, steps):
    """Parameters and optimiser after a few steps with gradients that depend on nothing but the step."""
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape) for shape in SHAPES]
    params = [torch.tensor(v.tolist(), dtype=dtype, device=device).reshape(v.shape).requires_grad_() for v in values]
    optimizer = getattr(optim, name)(params, **settings)
    for _ in range(steps):
        for p in params:
            p.grad = torch.tensor(rng.standard_normal(p.shape).tolist(), dtype=dtype, device=device).reshape(p.shape)
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("name, settings", RUNS, ids=lambda v: v if isinstance(v, str) else "-".join(v) or "plain")
def test_steps(name, settings):
    """Several steps in one launch each, over pieces, empty and 0-dim parameters; RAdam past its start."""
    steps = 7 if name == "RAdam" else 3
    host, other = trained("cpu", name, settings, torch.float32, steps)
    with simulator.installed(seed=2) as driver:
        driver.log = []
        device, optimizer = trained("cuda", name, settings, torch.float32, steps)
        assert sum("optim_cuda." in line for line in driver.log) == steps
        for p, q in zip(host, device):
            largest = max(1, float(p.detach().abs().max())) if p.numel() else 1
            np.testing.assert_allclose(q.detach().cpu(), p.detach(), rtol=2e-6, atol=4e-7 * largest)
            for key, value in other.state[p].items():
                assert optimizer.state[q][key].is_cuda == (value.dim() == p.dim() and key not in ("step", "mu_product", "eta", "mu"))
                np.testing.assert_allclose(optimizer.state[q][key].cpu(), value, rtol=2e-6, atol=4e-7 * largest)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(dtype):
    """float64 in float64; 16 bits computed in float32 and rounded once."""
    host, _ = trained("cpu", "Adam", {}, dtype, 2)
    with simulator.installed():
        device, _ = trained("cuda", "Adam", {}, dtype, 2)
        for p, q in zip(host, device):
            np.testing.assert_allclose(q.detach().cpu().double(), p.detach().double(), rtol=torch.finfo(dtype).eps * 2, atol=torch.finfo(dtype).eps / 64)


def test_layouts_and_mixtures():
    """A transposed parameter, complex ones, two dtypes in one group; one launch for each dtype."""
    def run(device):
        a = torch.arange(6.0, device=device).reshape(2, 3).t().requires_grad_()
        b = torch.ones(3, dtype=torch.float64, device=device, requires_grad=True)
        c = torch.tensor([1 + 2j, 3 - 1j], device=device, requires_grad=True)
        optimizer = optim.SGD([a, b, c], lr=0.5, momentum=0.5)
        for _ in range(2):
            for p in (a, b, c):
                p.grad = p.detach() * 0.25
            optimizer.step()
        return a, b, c
    want = run("cpu")
    with simulator.installed():
        for p, q in zip(want, run("cuda")):
            assert q.stride() == p.stride() and torch.equal(q.detach().cpu(), p.detach())


def test_tables_stay():
    """While memory stays where it is, a step copies nothing to the device but what depends on its number."""
    with simulator.installed() as driver:
        w = torch.ones(10, device="cuda", requires_grad=True)
        w.grad = torch.ones(10, device="cuda")
        optimizer = optim.SGD([w], lr=0.125)
        optimizer.step()
        copies, driver.copy_in = [], lambda *args: copies.append(args)
        optimizer.step()
        assert not copies and w.tolist() == [0.75] * 10


def test_errors():
    """A gradient or state of another shape or device is named before anything is written."""
    with simulator.installed():
        w = torch.ones(3, device="cuda", requires_grad=True)
        w.grad = torch.ones(3, device="cuda")
        optimizer = optim.Adam([w])
        optimizer.step()
        before = w.tolist()
        optimizer.state[w]["exp_avg"] = torch.zeros(4, device="cuda")
        with pytest.raises(RuntimeError, match=r"gradient and state of shape \[3\], as the parameter, but got \[4\]"):
            optimizer.step()
        optimizer.state[w]["exp_avg"] = torch.zeros(3)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            optimizer.step()
        assert w.tolist() == before


def test_lbfgs():
    """LBFGS works on host vectors, and writes its parameters back to the device."""
    def run(device):
        x = torch.tensor([3.0, -2.0], device=device, requires_grad=True)
        optimizer = optim.LBFGS([x], line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = ((x - 1) ** 2 * torch.tensor([1.0, 4.0], device=device)).sum()
            loss.backward()
            return loss
        optimizer.step(closure)
        return x.detach().cpu()
    want = run("cpu")
    with simulator.installed():
        np.testing.assert_allclose(run("cuda"), want, rtol=1e-5)
