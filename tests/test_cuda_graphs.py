"""Training steps captured in CUDA graphs, on a simulated device: random numbers, optimisers, gradient scaling, and errors."""
import copy
import functools
import warnings

import numpy as np
import pytest
import simulator
from numtorch.kernels import _cuda_errors, _cuda_graphs, random_cuda

import numtorch as torch
from numtorch import cuda, nn, optim


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def driver(request, monkeypatch):
    """A device of one block, which works at once or as late as it may."""
    monkeypatch.setattr(random_cuda, "THREADS", 64)
    with simulator.installed(seed=1, multi_processor_count=1, lazy=request.param) as found, warnings.catch_warnings():
        warnings.simplefilter("error")
        found.properties, copy_in = functools.partial(one_block, found.properties), found.copy_in

        def checked(address, host_address, nbytes, stream):
            assert not found.is_capturing(stream) or found._is_pinned(host_address, nbytes), \
                "a replay would copy from memory of the host that nothing keeps"
            copy_in(address, host_address, nbytes, stream)
        found.copy_in = checked
        yield found


def one_block(properties, device):
    """A device's properties, but of one block of 64 threads, so that threads take several random numbers."""
    known = properties(device)
    known.max_threads_per_multi_processor = 64
    return known


def captured(fn):
    """(graph, what ``fn`` gave) of a capture."""
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        found = fn()
    return graph, found


# ---- random numbers ------------------------------------------------------------------------------------------------------

X = [(i % 7) / 7 for i in range(375)]      # more than threads take with one block of words

DRAWS = {
    "rand": lambda x: torch.rand_like(x), "randn": lambda x: torch.randn_like(x),
    "double": lambda x: torch.randn(180, dtype=torch.float64, device="cuda"),
    "half": lambda x: torch.empty(9, dtype=torch.float16, device="cuda").uniform_(),
    "randint": lambda x: torch.randint(0, 1000, (375,), device="cuda"),
    "random_": lambda x: torch.empty(150, dtype=torch.int64, device="cuda").random_(),
    "bernoulli": lambda x: torch.bernoulli(x), "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(0.3),
    "exponential": lambda x: torch.empty_like(x).exponential_(), "poisson": lambda x: torch.poisson(x[:100] * 30),
    "multinomial": lambda x: torch.multinomial(x, 40, replacement=True), "choice": lambda x: torch.multinomial(x[:40], 3),
    "randperm": lambda x: torch.randperm(50, device="cuda"),
    "dropout": lambda x: nn.functional.dropout(x, 0.3), "dropout_odd": lambda x: nn.functional.dropout(x[:-1], 0.3),
    "alpha_dropout": lambda x: nn.functional.alpha_dropout(x, 0.3, True),
    "attention": lambda x: nn.functional.scaled_dot_product_attention(*3 * [x[:192].reshape(1, 2, 12, 8)], dropout_p=0.4),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws(driver, name):
    """Replays draw the numbers that the same calls draw one after the other, and leave the generator where they would."""
    x, draw = torch.tensor(X, device="cuda"), DRAWS[name]
    draw(x)
    torch.manual_seed(5)
    torch.rand(3, device="cuda")
    want = [(draw(x).tolist(), draw(x).tolist()) for _ in range(2)]
    state = cuda.get_rng_state().tolist()
    assert want[0] != want[1]
    graph, found = captured(lambda: (draw(x), draw(x)))
    torch.manual_seed(5)
    torch.rand(3, device="cuda")
    for numbers in want:
        graph.replay()
        assert tuple(t.tolist() for t in found) == numbers
    assert cuda.get_rng_state().tolist() == state


def test_generators(driver):
    """Each generator goes on from where it is at a replay; a capture advances none; the CPU's cannot be registered."""
    one, two = torch.Generator("cuda").manual_seed(1), torch.Generator("cuda").manual_seed(2)
    graph = cuda.CUDAGraph()
    graph.register_generator_state(one)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        graph.register_generator_state(torch.Generator())
    with cuda.graph(graph):
        found = [torch.rand(3, device="cuda", generator=g) for g in (one, two, one)]
    assert one.get_offset() == two.get_offset() == 0
    for seed in (7, 8):
        one.manual_seed(seed)
        graph.replay()
        twin, other = torch.Generator("cuda").manual_seed(seed), two.clone_state()
        other.set_offset(two.get_offset() - 4)
        want = [torch.rand(3, device="cuda", generator=g).tolist() for g in (twin, other, twin)]
        assert [t.tolist() for t in found] == want
    assert one.get_offset() == 8 and two.get_offset() == 8


def test_captures_by_others(driver):
    """What a capture that is not torch's would keep cannot be kept, and so is refused."""
    stream = cuda.Stream()
    with cuda.stream(stream):
        driver.begin_capture(stream.cuda_stream, "global")
        with pytest.raises(RuntimeError, match="is being captured, but not by torch.cuda.CUDAGraph"):
            torch.rand(3, device="cuda")
        driver.end_capture(stream.cuda_stream)


def test_no_questions_in_a_capture(driver):
    """A generator's state is that of a replay: no capture can read it, or set another one."""
    g = torch.Generator("cuda").manual_seed(3)
    state = g.get_state()
    with cuda.graph(cuda.CUDAGraph()):
        for name, question in (("get_state", g.get_state), ("get_offset", g.get_offset), ("set_offset", lambda: g.set_offset(4)),
                               ("set_offset", lambda: g.set_state(state))):
            with pytest.raises(RuntimeError, match=f"Cannot call CUDAGeneratorImpl::{name} during CUDA graph capture"):
                question()
        g.manual_seed(3)
        with pytest.raises(RuntimeError, match="only if new seed is the same as the original seed"):
            g.manual_seed(4)
    assert g.initial_seed() == 3 and g.get_offset() == 0


def test_graphed_dropout(driver):
    """make_graphed_callables: each call of a module drops other elements, and its gradient is that of the same mask."""
    module = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5)).to("cuda")
    x = torch.ones(4, 8, device="cuda", requires_grad=True)
    graphed = cuda.make_graphed_callables(module, (torch.zeros(4, 8, device="cuda", requires_grad=True),))
    masks = []
    for _ in range(3):
        y = graphed(x)
        masks.append((y != 0).tolist())
        grad, = torch.autograd.grad(y, graphed[0].bias, torch.ones_like(y))
        assert grad.tolist() == (2.0 * (y != 0).cpu().sum(0)).tolist()
    assert masks[0] != masks[1] != masks[2] != masks[0]


# ---- optimisers ----------------------------------------------------------------------------------------------------------

RUNS = [("Adam", {}), ("Adam", {"amsgrad": True, "weight_decay": 0.1}), ("AdamW", {"lr": 0.1}), ("NAdam", {}),
        ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}), ("RAdam", {"weight_decay": 0.1}), ("Adamax", {}),
        ("ASGD", {"t0": 1, "lambd": 0.1}), ("Adadelta", {}), ("RMSprop", {}), ("RMSprop", {"momentum": 0.9, "centered": True}),
        ("Rprop", {})]
FACTORS = [1.0, -0.5, 0.25, 2.0, 1.0, -1.0, 0.5, 0.125]      # of the gradients, one a step; enough for RAdam to be rectified
named = functools.partial(pytest.mark.parametrize, ids=lambda v: v if isinstance(v, str) else "-".join(v) or "plain")


def made(name, settings, dtype=torch.float32, long=60):
    """Parameters with gradients, and their optimiser."""
    rng = np.random.default_rng(0)
    params = []
    for shape in ((3,), (), (long,), (5, 7)):
        p, g = [torch.tensor(rng.standard_normal(shape).tolist(), dtype=dtype, device="cuda") for _ in range(2)]
        params.append(p.requires_grad_())
        p.grad = g
    return params, getattr(optim, name)(params, **settings)


def scaled(params, factor):
    """Multiplies gradients in place."""
    for p in params:
        p.grad.mul_(factor)


def state_of(params, optimizer):
    """Parameters and state as ndarrays."""
    return [v.detach().cpu().double().numpy() for p in params for v in (p, *[v for _, v in sorted(optimizer.state[p].items())])]


def same(found, want, rtol=1e-6):
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1, np.abs(b).max()))


@named("name, settings", RUNS)
def test_capturable_steps(name, settings):
    """With step counts on the device the numbers are those of step counts on the host; two launches a step, and no copies."""
    with simulator.installed(seed=2) as driver, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        params, optimizer = made(name, settings, long=4100)         # more than a piece
        twins, capturable = made(name, {**settings, "capturable": True}, long=4100)
        for factor in FACTORS:
            scaled(params, factor)
            scaled(twins, factor)
            optimizer.step()
            driver.log = []
            capturable.step()
            assert sum("optim_cuda." in line for line in driver.log) == sum("_cuda_rates." in line for line in driver.log) == 1
        copies, copy_in = [], driver.copy_in
        driver.copy_in = lambda *args: copies.append(args)
        capturable.step()
        driver.copy_in = copy_in
        optimizer.step()
        assert not copies and all(value.is_cuda for own in capturable.state.values() for value in own.values())
        same(state_of(twins, capturable), state_of(params, optimizer))


@named("name, settings", RUNS)
def test_captured_steps(driver, name, settings):
    """Each replay is one more step; the learning rate can be a tensor, which is read at the replay."""
    params, optimizer = made(name, {**settings, "lr": 0.03})
    lr = torch.tensor(0.03, device="cuda")
    twins, capturable = made(name, {**settings, "lr": lr, "capturable": True})
    factors = [torch.tensor(f, device="cuda") for f in FACTORS]
    for p in (params, twins):
        scaled(p, FACTORS[0])
    optimizer.step()
    with pytest.warns(UserWarning, match="step\\(\\) is running without CUDA graph capture"):
        capturable.step()
    factor = torch.ones((), device="cuda")

    def step():
        scaled(twins, factor)
        capturable.step()
    graph, _ = captured(step)
    for k in range(1, len(FACTORS)):
        if name != "Rprop":
            for group in optimizer.param_groups:
                group["lr"] = 0.03 / k
            lr.fill_(0.03 / k)
        scaled(params, FACTORS[k])
        optimizer.step()
        factor.copy_(factors[k])
        graph.replay()
    same(state_of(twins, capturable), state_of(params, optimizer))
    assert capturable.state[twins[0]]["step"].item() == len(FACTORS)


def test_state_dicts():
    """A state dict has step counts where the optimiser has them; another optimiser, also one on the CPU, goes on from it."""
    with simulator.installed(seed=3), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, scalars in (("Adam", {"step"}), ("NAdam", {"step", "mu_product"}), ("ASGD", {"step", "eta", "mu"})):
            params, optimizer = made(name, {"capturable": True}, torch.float16)
            optimizer.step()
            saved = copy.deepcopy(optimizer.state_dict())
            assert saved["param_groups"][0]["capturable"] is True
            assert all(saved["state"][0][key].is_cuda and saved["state"][0][key].dtype is torch.float32 for key in scalars)
            twins, other = made(name, {}, torch.float16)
            for p, q in zip(params, twins):
                q.data.copy_(p.data)
            on_host = {"state": {i: {k: v.cpu() for k, v in own.items()} for i, own in saved["state"].items()},
                       "param_groups": saved["param_groups"]}
            other.load_state_dict(on_host)
            assert all(v.is_cuda and (v.dtype is torch.float32) == (k in scalars) for v, k in
                       ((v, k) for own in other.state.values() for k, v in own.items()))
            optimizer.step()
            other.step()
            same(state_of(twins, other), state_of(params, optimizer))
            on_host["param_groups"][0]["capturable"] = False
            on_host["state"][0]["step"] = 1.0           # as torch kept it once
            other.load_state_dict(on_host)
            assert not any(other.state[twins[0]][key].is_cuda for key in scalars)
            for p, q in zip(params, twins):
                q.data.copy_(p.data)
            optimizer.load_state_dict(saved)
            optimizer.step()
            other.step()
            same(state_of(twins, other), state_of(params, optimizer), 1e-3)


def test_optimisers_in_captures(driver):
    """What a capture would get wrong is refused: step counts of the host, a state that is not there yet; the others work."""
    for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "ASGD", "Adadelta", "RMSprop", "Rprop"):
        params, optimizer = made(name, {})
        optimizer.step()
        with pytest.raises(RuntimeError, match=f"Attempting CUDA graph capture of step.. for an instance of {name} but "
                                               "param_groups' capturable is False"):
            captured(optimizer.step)
    _, optimizer = made("Adagrad", {})
    with pytest.raises(RuntimeError, match="step counts on the host cannot be part of a CUDA graph"):
        captured(optimizer.step)
    for name, settings in (("Adam", {"capturable": True}), ("SGD", {"momentum": 0.9})):
        _, optimizer = made(name, settings)
        with pytest.raises(RuntimeError, match=f"the state of {name} would be made inside of a CUDA graph"):
            captured(optimizer.step)
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.ones(2)
    with pytest.raises(AssertionError, match="If capturable=True, params and state_steps must be on supported devices"), \
            pytest.warns(UserWarning, match="without CUDA graph capture"):
        optim.Adam([w], capturable=True).step()
    for name, settings in (("SGD", {}), ("SGD", {"momentum": 0.9, "nesterov": True}),
                           ("Adagrad", {"fused": True, "lr_decay": 0.1})):
        params, optimizer = made(name, settings)
        twins, other = made(name, {**settings, "fused": False})
        optimizer.step()
        graph, _ = captured(optimizer.step)
        optimizer.step()                # the capture has left nothing behind that a step takes for its own
        for _ in range(2):
            graph.replay()
        for _ in range(4):
            other.step()
        same([p.detach().cpu() for p in params], [p.detach().cpu() for p in twins])


def test_rates_as_tensors(driver):
    """A fused optimiser reads a learning rate that is a tensor on the device, also where its step counts came from the host."""
    for name in ("SGD", "Adagrad"):
        lr = torch.tensor(0.5, device="cuda")
        params, optimizer = made(name, {"lr": lr, "fused": True})
        twins, other = made(name, {"lr": 0.5})
        optimizer.step()
        graph, _ = captured(optimizer.step)
        lr.fill_(0.25)
        graph.replay()
        other.step()
        other.param_groups[0]["lr"] = 0.25
        other.step()
        same([p.detach().cpu() for p in params], [p.detach().cpu() for p in twins])
    other.param_groups[0].update(fused=True, lr=lr)
    other.step()
    optimizer.step()
    same([p.detach().cpu() for p in params], [p.detach().cpu() for p in twins])


# ---- whole steps ---------------------------------------------------------------------------------------------------------

class Training:
    """A small net with dropout, and a step of its training on memory that stays where it is."""

    def __init__(self, amp=False, **settings):
        rng = np.random.default_rng(0)
        self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)).to("cuda")
        for p in self.net.parameters():
            p.data.copy_(torch.tensor(rng.standard_normal(p.shape).tolist()))
        self.data = [torch.tensor(rng.standard_normal((4, 6)).tolist(), device="cuda") for _ in range(8)]
        self.x, self.target = self.data[0].clone(), torch.tensor([0, 2, 1, 1], device="cuda")
        self.optimizer = optim.Adam(self.net.parameters(), lr=0.05, **settings)
        self.scaler = torch.amp.GradScaler("cuda", init_scale=1024.0, growth_interval=2) if amp else None

    def step(self):
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(self.x), self.target)
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss

    def run(self, step):
        """Losses, parameters and the generator's state after further steps."""
        losses = []
        for data in self.data[1:6]:
            self.x.copy_(data)
            losses.append(step().item())
        return losses, [p.tolist() for p in self.net.parameters()], cuda.get_rng_state().tolist()


def test_whole_step(driver):
    """Forward pass with dropout, backward pass and Adam in one graph: five replays are five steps, numbers and all."""
    torch.manual_seed(3)
    eager = Training()
    for _ in range(2):
        eager.step()
    want = eager.run(eager.step)
    torch.manual_seed(3)
    graphed = Training(capturable=True)
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with pytest.warns(UserWarning, match="without CUDA graph capture"), cuda.stream(side):
        for _ in range(2):
            graphed.step()
    cuda.current_stream().wait_stream(side)
    graphed.optimizer.zero_grad()
    graph, loss = captured(graphed.step)

    def replay():
        graph.replay()
        return loss
    found = graphed.run(replay)
    np.testing.assert_allclose(found[0], want[0], rtol=1e-5)
    same([np.array(p) for p in found[1]], [np.array(p) for p in want[1]], 1e-5)
    assert found[2] == want[2] and len(set(found[0])) == 5


def test_whole_step_with_scaling(driver):
    """GradScaler and a fused optimiser in a graph: a step whose gradients overflow is left out, and the factor adapts."""
    torch.manual_seed(4)
    eager, graphed = Training(amp=True), None
    for data in (eager.data[4], eager.data[2]):
        data[0, 0] = np.inf
    eager.step()
    want = eager.run(eager.step), eager.scaler.get_scale(), eager.scaler._get_growth_tracker()
    torch.manual_seed(4)
    graphed = Training(amp=True, fused=True, capturable=True)
    for k in (4, 2):
        graphed.data[k][0, 0] = np.inf
    with pytest.warns(UserWarning, match="without CUDA graph capture"):
        graphed.step()
    graphed.optimizer.zero_grad()
    graph, loss = captured(graphed.step)

    def replay():
        graph.replay()
        return loss
    found = graphed.run(replay), graphed.scaler.get_scale(), graphed.scaler._get_growth_tracker()
    np.testing.assert_allclose(found[0][0], want[0][0], rtol=1e-5)
    same([np.array(p) for p in found[0][1]], [np.array(p) for p in want[0][1]], 1e-5)
    assert found[0][2] == want[0][2] and found[1:] == want[1:]
    assert {own["step"].item() for own in graphed.optimizer.state.values()} == {4.0}


# ---- copies from the host --------------------------------------------------------------------------------------------------

def test_constants_are_kept(driver):
    """What a captured program makes from numbers of its own is there at each replay."""
    x = torch.ones(3, device="cuda")
    graph, y = captured(lambda: x * torch.arange(3.0, device="cuda") + torch.eye(3, device="cuda")
                        + torch.tensor([4.0, 5.0, 6.0], device="cuda") + x[[2, 1, 0]])
    for factor in (1.0, 2.0):
        x.fill_(factor)
        [torch.full((3, 3), 7.0, device="cuda") for _ in range(4)]      # what was freed is used again
        graph.replay()
        assert y.tolist() == (factor * torch.arange(3.0) + torch.eye(3) + torch.tensor([4.0, 5.0, 6.0]) + factor).tolist()


def test_only_pinned_memory_is_copied_again(driver):
    """A replay reads page-locked memory anew; other memory of the host is torch's error."""
    source, target = torch.ones(3).pin_memory(), torch.zeros(3, device="cuda")
    graph, y = captured(lambda: target.copy_(source, non_blocking=True) * 2)
    source.fill_(5.0)
    graph.replay()
    assert y.tolist() == [10.0] * 3
    for wrong in (lambda: torch.ones(3).cuda(), lambda: target.copy_(torch.ones(3))):
        with pytest.raises(RuntimeError, match="during CUDA graph capture unless the CPU tensor is pinned"):
            captured(wrong)


# ---- what goes wrong in a capture ----------------------------------------------------------------------------------------

@pytest.fixture
def strict(driver):
    """A device that refuses what the driver refuses in a capture, with its words, and ends that with an error."""
    spoilt, end = set(), driver.end_capture

    def not_capturing(stream, what):
        if stream.recording is not None:
            spoilt.add(stream.number)
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    def end_capture(stream):
        graph = end(stream)
        if stream in spoilt:
            spoilt.discard(stream)
            driver.destroy_graph(graph)
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        return graph
    driver._not_capturing, driver.end_capture = not_capturing, end_capture
    return driver


@pytest.mark.parametrize("wrong, error, message", [
    (lambda x: x.sum().item(), RuntimeError, "operation not permitted when stream is capturing"),
    (lambda x: x.tolist(), RuntimeError, "operation not permitted when stream is capturing"),
    (lambda x: x.nonzero(), RuntimeError, "operation not permitted when stream is capturing"),
    (lambda x: bool(x[0] > 0), RuntimeError, "operation not permitted when stream is capturing"),
    (lambda x: cuda.synchronize(), RuntimeError, "operation not permitted when stream is capturing"),
    (lambda x: cuda.current_stream().synchronize(), RuntimeError, "operation not permitted when stream is capturing"),
    (lambda x: torch.empty(1 << 33, device="cuda"), torch.OutOfMemoryError, "Tried to allocate"),
    (lambda x: 1 // 0, ZeroDivisionError, "by zero"),
], ids=["item", "tolist", "nonzero", "bool", "synchronize", "stream", "memory", "python"])
def test_errors_end_the_capture(strict, wrong, error, message):
    """What went wrong is what is raised; the stream works on, nothing of the graph stays, and it can be captured anew."""
    x = torch.arange(6.0, device="cuda")
    (x + 1).sum().item()
    _cuda_errors.prepare(0)             # what kernels report into is allocated once, before the first capture
    graph, stream, held = cuda.CUDAGraph(), cuda.Stream(), cuda.memory_allocated()
    with pytest.raises(error, match=message), cuda.graph(graph, stream=stream):
        y = nn.functional.dropout(x) + 1
        wrong(y)
    del y
    assert cuda.current_stream() == cuda.default_stream() and not strict._graphs and not _cuda_graphs._captures
    with cuda.stream(stream):
        assert (x + 1).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    with cuda.graph(graph, stream=stream):
        y = x * 2
    graph.replay()
    assert y.tolist() == (2 * x).tolist()
    del y
    graph.reset()
    assert cuda.memory_allocated() == held
