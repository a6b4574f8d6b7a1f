"""Optimisers: torch's numbers over many steps, checks of arguments, groups, versions, L-BFGS."""
import numpy as np
import pytest

import numtorch as torch
from numtorch import optim

CASES = [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.1, weight_decay=0.01)), ("SGD", dict(lr=0.05, momentum=0.9)),
    ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True, maximize=True)),
    ("Adam", {}), ("Adam", dict(lr=0.1, weight_decay=0.1, amsgrad=True)),
    ("Adam", dict(betas=(0.0, 0.9), maximize=True)),
    ("Adam", dict(decoupled_weight_decay=True, weight_decay=0.1)), ("AdamW", dict(lr=0.01)),
    ("AdamW", dict(lr=0.01, amsgrad=True, weight_decay=0.3, maximize=True)),
    ("Adagrad", dict(lr=0.1)),
    ("Adagrad", dict(lr=0.1, lr_decay=0.01, weight_decay=0.01, initial_accumulator_value=0.1,
                     maximize=True)),
    ("RMSprop", {}), ("RMSprop", dict(momentum=0.9, centered=True, weight_decay=0.1)),
    ("RMSprop", dict(centered=True)), ("RMSprop", dict(momentum=0.5, maximize=True)),
    ("Adadelta", {}), ("Adadelta", dict(rho=0.5, weight_decay=0.1, maximize=True)),
    ("Adamax", {}), ("Adamax", dict(weight_decay=0.1, maximize=True)),
    ("NAdam", {}), ("NAdam", dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("NAdam", dict(weight_decay=0.1, momentum_decay=0.1, maximize=True)),
    ("RAdam", {}), ("RAdam", dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("RAdam", dict(weight_decay=0.1, betas=(0.8, 0.9), maximize=True)),
    ("Rprop", {}), ("Rprop", dict(lr=0.3, etas=(0.3, 1.5), maximize=True)),
    ("ASGD", {}), ("ASGD", dict(lr=0.1, lambd=0.01, t0=5, weight_decay=0.1, alpha=0.5)),
]
SHAPES = [(3, 4), (7,), (), (20, 33), (0, 3)]
EXACT = {"SGD", "Rprop", "ASGD"}         # no square root, which Intel's library rounds in its own way
FUSED = ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop",
         "ASGD"]


def draw(rng, shape, dtype):
    x = np.asarray(rng.standard_normal(shape))
    if dtype.startswith("complex"):
        x = x + 1j * np.asarray(rng.standard_normal(shape))
    return np.asarray(x.astype(dtype))


def leaf(library, a):
    dtype = getattr(library, a.dtype.name)
    t = library.from_numpy(a.copy()) if a.ndim else library.tensor(a.item(), dtype=dtype)
    return t.requires_grad_()


def close(own, theirs, dtype):
    """Equal up to the dtype's rounding, measured against the largest element."""
    tolerance = {"float64": 1e-11, "complex128": 1e-11}.get(dtype, 1e-6)
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(own, theirs, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("name, settings", CASES)
def test_fifty_steps_give_torchs_parameters_and_state(name, settings, dtype):
    """50 steps from the same gradients: torch's parameters, state names, dtypes and values; 0-dim and empty
    ones as well."""
    reference = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    starts = [draw(rng, shape, dtype) for shape in SHAPES]
    own, theirs = ([leaf(library, a) for a in starts] for library in (torch, reference))
    one = getattr(optim, name)(own, **settings)
    other = getattr(reference.optim, name)(theirs, **settings)
    for _ in range(50):
        for p, t in zip(own, theirs):
            g = np.asarray(p.detach().numpy() * 0.5 + draw(rng, p.shape, dtype)).astype(dtype)
            p.grad, t.grad = leaf(torch, g).detach(), leaf(reference, g).detach()
        one.step()
        other.step()
    for p, t in zip(own, theirs):
        if name in EXACT and dtype == "float32":
            assert (p.detach().numpy() == t.detach().numpy()).all()
        close(p.detach().numpy(), t.detach().numpy(), dtype)
        mine, its = one.state[p], other.state[t]
        assert list(mine) == list(its)
        for key in mine:
            assert str(mine[key].dtype) == str(its[key].dtype) and mine[key].shape == its[key].shape
            close(mine[key].numpy(), its[key].numpy(), dtype)


def test_sgd_against_its_formula():
    """Three steps with momentum, dampening, weight decay and nesterov's form, computed here in float64."""
    p0, g = np.array([1.0, -2.0]), np.array([0.5, 0.25])
    for nesterov, dampening in ((False, 0.5), (True, 0.0)):
        w = torch.tensor(p0.tolist(), dtype=torch.float64, requires_grad=True)
        optimizer = optim.SGD([w], 0.1, momentum=0.9, dampening=dampening, weight_decay=0.01,
                              nesterov=nesterov)
        p, b = p0.copy(), None
        for _ in range(3):
            w.grad = torch.tensor(g.tolist(), dtype=torch.float64)
            optimizer.step()
            d = g + 0.01 * p
            b = d if b is None else 0.9 * b + (1 - dampening) * d
            p = p - 0.1 * (d + 0.9 * b if nesterov else b)
        np.testing.assert_allclose(w.detach().numpy(), p, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FUSED)
def test_halves_are_computed_in_float32(name, dtype):
    """A step in 16 bits is the float32 step of the same numbers, rounded once; state is kept in 16 bits."""
    rng = np.random.default_rng(1)
    start, g = (torch.tensor(rng.standard_normal(40).tolist(), dtype=getattr(torch, dtype))
                for _ in range(2))
    half, single = start.clone().requires_grad_(), start.float().requires_grad_()
    half.grad, single.grad = g, g.float()
    for p in (half, single):
        getattr(optim, name)([p], lr=2.0 ** -7).step()     # a power of two, which 16 bits hold
    assert half.dtype == getattr(torch, dtype)
    assert (half.detach() == single.detach().to(half.dtype)).all()


@pytest.mark.parametrize("name", FUSED)
def test_any_layout(name):
    """Transposed and strided parameters, gradients and views step as contiguous ones do, and their
    neighbours stay."""
    rng = np.random.default_rng(2)
    base, g = rng.standard_normal((8, 6)), rng.standard_normal((6, 8))
    plain = torch.tensor(base.T.copy()).requires_grad_()
    memory = torch.tensor(base)
    turned = memory.t().detach().requires_grad_()
    wide = torch.zeros(6, 16, dtype=torch.float64)
    strided = wide[:, ::2].detach()
    strided.copy_(plain.detach())
    strided.requires_grad_()
    for p in (plain, turned, strided):
        optimizer = getattr(optim, name)([p])
        for _ in range(3):
            p.grad = torch.tensor(g) if p is not turned else torch.tensor(g.T.copy()).t()
            optimizer.step()
    assert torch.equal(plain, turned) and torch.equal(plain, strided)
    assert torch.equal(memory, plain.detach().t())
    assert (wide[:, 1::2] == 0).all()


def test_one_group_of_many_dtypes_and_sizes():
    """float32, float64, float16 and complex parameters in one group, large enough for threads, step as if
    alone."""
    rng = np.random.default_rng(3)
    shapes = [("float32", (300, 300)), ("float64", (40000,)), ("float16", (10,)), ("complex64", (5,)),
              ("float32", ())]
    starts = [draw(rng, shape, dtype) for dtype, shape in shapes]
    grads = [draw(rng, shape, dtype) for dtype, shape in shapes]

    def run(groups):
        params = [torch.tensor(a).requires_grad_() for a in starts]
        optimizers = [optim.AdamW([params[i] for i in group]) for group in groups]
        for _ in range(3):
            for p, g in zip(params, grads):
                p.grad = torch.tensor(g)
            for optimizer in optimizers:
                optimizer.step()
        return params

    for together, alone in zip(run([range(5)]), run([[i] for i in range(5)])):
        assert torch.equal(together, alone)


def test_threads_do_not_change_the_result():
    """A parameter above the threads' grain steps, bit for bit, as its parts do below it."""
    rng = np.random.default_rng(4)
    start, g = (rng.standard_normal(200_000).astype(np.float32) for _ in range(2))
    whole = torch.tensor(start).requires_grad_()
    parts = [torch.tensor(start[i:i + 10_000]).requires_grad_() for i in range(0, start.size, 10_000)]
    whole.grad = torch.tensor(g)
    for i, p in enumerate(parts):
        p.grad = torch.tensor(g[i * 10_000:(i + 1) * 10_000])
    optim.Adam([whole]).step()
    for p in parts:
        optim.Adam([p]).step()
    assert torch.equal(whole.detach(), torch.cat([p.detach() for p in parts]))


def test_infinite_and_nan_gradients_stay_where_they_are():
    """A nan or inf in one element of a gradient reaches that element of the parameter only."""
    for name in FUSED:
        w = torch.ones(40, requires_grad=True)
        w.grad = torch.ones(40)
        w.grad[3], w.grad[5] = float("nan"), float("inf")
        getattr(optim, name)([w]).step()
        finite = torch.isfinite(w.detach())
        assert finite[:3].all() and finite[4] and finite[6:].all()


def minimise(optimizer, w, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((w - torch.tensor([1.0, -2.0])) ** 2).sum()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name, settings", [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True)), ("Adam", dict(lr=0.1)),
    ("AdamW", dict(lr=0.1, weight_decay=0.0)), ("Adagrad", dict(lr=1.0)), ("RMSprop", dict(lr=0.02)),
    ("Adadelta", dict(lr=10.0)), ("Adamax", dict(lr=0.1)), ("NAdam", dict(lr=0.1)), ("RAdam", dict(lr=0.1)),
    ("Rprop", {}), ("ASGD", dict(lr=0.1))])
def test_a_quadratic_is_minimised(name, settings):
    """Through autograd: every optimiser comes to the minimum of a quadratic."""
    w = torch.zeros(2, requires_grad=True)
    assert minimise(getattr(optim, name)([w], **settings), w, 400) < 1e-2


# ---- checks --------------------------------------------------------------------------------------

def parameter(*shape):
    return torch.ones(*shape or (2,), requires_grad=True)


@pytest.mark.parametrize("make, error, message", [
    (lambda: optim.SGD([], 0.1), ValueError, "optimizer got an empty parameter list"),
    (lambda: optim.SGD(parameter(), 0.1), TypeError,
     "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
     "torch.FloatTensor"),
    (lambda: optim.SGD([parameter() * 2], 0.1), ValueError, "can't optimize a non-leaf Tensor"),
    (lambda: optim.SGD([3], 0.1), TypeError, "optimizer can only optimize Tensors, but one of the params is "
                                             "int"),
    (lambda: optim.SGD([{"params": {parameter()}}], 0.1), TypeError,
     "optimizer parameters need to be organized in ordered collections"),
    (lambda: optim.SGD([parameter()], -1), ValueError, "Invalid learning rate: -1"),
    (lambda: optim.SGD([parameter()], momentum=-1), ValueError, "Invalid momentum value: -1"),
    (lambda: optim.SGD([parameter()], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
    (lambda: optim.SGD([parameter()], nesterov=True), ValueError,
     "Nesterov momentum requires a momentum and zero dampening"),
    (lambda: optim.SGD([parameter()], torch.tensor([0.1, 0.2])), ValueError, "Tensor lr must be 1-element"),
    (lambda: optim.SGD([parameter()], foreach=True, fused=True), RuntimeError,
     "`fused` and `foreach` cannot be `True` together."),
    (lambda: optim.SGD([parameter()], fused=True, differentiable=True), RuntimeError,
     "`fused` does not support `differentiable`"),
    (lambda: optim.Adam([parameter()], eps=-1), ValueError, "Invalid epsilon value: -1"),
    (lambda: optim.Adam([parameter()], betas=(-1, 0.9)), ValueError,
     "Invalid beta parameter at index 0: -1"),
    (lambda: optim.Adam([parameter()], betas=(0.1, 1.0)), ValueError,
     "Invalid beta parameter at index 1: 1.0"),
    (lambda: optim.Adam([parameter()], torch.tensor(0.1), foreach=True), ValueError,
     "lr as a Tensor is not supported for capturable=False and foreach=True"),
    (lambda: optim.Adam([parameter()], betas=(torch.tensor(0.1), 0.2)), ValueError,
     "betas must be either both floats or both Tensors"),
    (lambda: optim.Adagrad([parameter()], lr_decay=-1), ValueError, "Invalid lr_decay value: -1"),
    (lambda: optim.RMSprop([parameter()], alpha=-1), ValueError, "Invalid alpha value: -1"),
    (lambda: optim.Adadelta([parameter()], rho=2), ValueError, "Invalid rho value: 2"),
    (lambda: optim.NAdam([parameter()], momentum_decay=-1), ValueError, "Invalid momentum_decay value: -1"),
    (lambda: optim.Rprop([parameter()], etas=(2, 3)), ValueError, "Invalid eta values: 2, 3"),
    (lambda: optim.LBFGS([{"params": [parameter()]}, {"params": [parameter()]}]), ValueError,
     "LBFGS doesn't support per-parameter options"),
    (lambda: optim.SGD([{"params": [parameter()], "differentiable": True}]), NotImplementedError,
     "tensor operations"),
    (lambda: optim.SGD([("a", parameter()), parameter()]), ValueError, "Some param names are missing"),
    (lambda: optim.SGD([{"params": [("a", parameter())]}, {"params": [parameter()]}]), ValueError,
     "cannot add param group without names to the optimizer"),
    (lambda: optim.SGD([parameter()]).add_param_group([1]), TypeError,
     "param_group must be a dict, but got <class 'list'>"),
    (lambda: optim.SGD([parameter()]).load_state_dict({"state": {}, "param_groups": []}), ValueError,
     "loaded state dict has a different number of parameter groups"),
    (lambda: optim.SGD([parameter()]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}),
     ValueError, "doesn't match the size of optimizer's group"),
])
def test_bad_input_is_refused(make, error, message):
    """torch's exception type and message for arguments that cannot be."""
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_a_parameter_twice():
    """Twice in one group warns; in two groups it is an error."""
    p = parameter()
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}])


def test_repr():
    """Groups and settings are printed as torch prints them."""
    assert repr(optim.SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 1.0}],
                          0.5)) == """SGD (
Parameter Group 0
    dampening: 0
    differentiable: False
    foreach: None
    fused: None
    lr: 0.5
    maximize: False
    momentum: 0
    nesterov: False
    weight_decay: 0

Parameter Group 1
    dampening: 0
    differentiable: False
    foreach: None
    fused: None
    lr: 1.0
    maximize: False
    momentum: 0
    nesterov: False
    weight_decay: 0
)"""


def test_groups_have_their_own_settings():
    """Each group steps with its lr; a tensor alone, a generator and named parameters make groups."""
    p, q, r = parameter(), parameter(), parameter()
    optimizer = optim.SGD([{"params": p}, {"params": (x for x in [q]), "lr": 1.0}], lr=0.5)
    optimizer.add_param_group({"params": [r], "weight_decay": 1.0})
    for x in (p, q, r):
        x.grad = torch.ones(2)
    optimizer.step()
    assert [x[0].item() for x in (p, q, r)] == [0.5, 0.0, 0.0]
    assert optim.SGD([("a", p), ("b", q)]).param_groups[0]["param_names"] == ["a", "b"]


def test_parameters_without_gradient_rest():
    """No gradient: no change, no state; a step without any gradient is allowed."""
    p, q = parameter(), parameter()
    optimizer = optim.Adam([p, q])
    optimizer.step()
    q.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(p, torch.ones(2)) and p not in optimizer.state and optimizer.state[q]["step"] == 1


def test_momentum_starts_when_a_gradient_first_comes():
    """A parameter whose first gradient comes later has its own first step, without dampening."""
    p, q = parameter(), parameter()
    optimizer = optim.SGD([p, q], 0.1, momentum=0.9, dampening=0.5)
    p.grad = torch.ones(2)
    optimizer.step()
    q.grad = torch.ones(2)
    optimizer.step()
    assert optimizer.state[q]["momentum_buffer"][0] == 1.0
    assert optimizer.state[p]["momentum_buffer"][0].item() == pytest.approx(1.4)


def test_lr_can_be_a_tensor():
    """A 0-dim tensor as rate acts with the value it has at the step."""
    p, lr = parameter(), torch.tensor(0.5)
    optimizer = optim.SGD([p], lr)
    p.grad = torch.ones(2)
    optimizer.step()
    lr.fill_(0.25)
    optimizer.step()
    assert p[0].item() == 0.25


def test_zero_grad():
    """Gradients are dropped, or zeroed in place and cut from their history."""
    p = parameter()
    optimizer = optim.SGD([p], 0.1)
    (p * 2).sum().backward()
    kept = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is kept and torch.equal(kept, torch.zeros(2))
    (p * p * p).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.grad_fn is None and torch.equal(p.grad, torch.zeros(2))
    optimizer.zero_grad()
    assert p.grad is None


def test_closure_is_called_with_gradients_on():
    """step(closure) returns the loss, computed with recording on, also inside no_grad."""
    p = parameter()
    optimizer = optim.Adam([p])

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 2.0
    assert optimizer.state[p]["step"] == 1


def test_backward_notices_a_step():
    """A step is an in-place write: a graph that saved the parameter refuses to go backward afterwards."""
    for name in FUSED:
        p = parameter()
        loss = (p * p).sum()
        p.grad = torch.ones(2)
        version = p._version
        getattr(optim, name)([p]).step()
        assert p._version == version + 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_gradient_of_another_shape_is_refused():
    """State that does not have the parameter's shape, as after a wrong checkpoint, is an error and not a
    wild write."""
    p = parameter()
    optimizer = optim.Adam([p])
    p.grad = torch.ones(2)
    optimizer.step()
    optimizer.state[p]["exp_avg"] = torch.ones(3)
    with pytest.raises(RuntimeError, match=r"expected gradient and state of shape \[2\]"):
        optimizer.step()


# ---- L-BFGS --------------------------------------------------------------------------------------

def rosenbrock(x):
    """Value and gradient of Rosenbrock's function, in NumPy."""
    value = ((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum()
    gradient = np.zeros_like(x)
    gradient[:-1] += -2 * (1 - x[:-1]) - 400 * (x[1:] - x[:-1] ** 2) * x[:-1]
    gradient[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return value, gradient


def lbfgs_run(library, start, calls, settings):
    x = library.tensor(start.tolist(), dtype=library.float64, requires_grad=True)
    optimizer = library.optim.LBFGS([x], **settings)

    def closure():
        value, gradient = rosenbrock(x.detach().numpy())
        x.grad = library.tensor(gradient.tolist(), dtype=library.float64)
        return library.tensor(float(value), dtype=library.float64)

    losses = [optimizer.step(closure).item() for _ in range(calls)]
    state = optimizer.state[x]
    return losses, x.detach().numpy().copy(), state["func_evals"], state["n_iter"]


@pytest.mark.parametrize("settings", [{}, dict(lr=0.1), dict(line_search_fn="strong_wolfe"),
                                      dict(line_search_fn="strong_wolfe", history_size=3, max_iter=5),
                                      dict(line_search_fn="strong_wolfe", lr=0.3, max_eval=6)])
@pytest.mark.parametrize("seed", range(4))
def test_lbfgs_walks_torchs_path(settings, seed):
    """Rosenbrock's function from random points: torch's losses, places, evaluations and iterations."""
    reference = pytest.importorskip("torch")
    start = np.random.default_rng(seed).standard_normal(6) * (1.0 if "line_search_fn" in settings else 0.1)
    own, theirs = (lbfgs_run(library, start, 3, settings) for library in (torch, reference))
    assert own[2:] == theirs[2:]
    np.testing.assert_allclose(own[0], theirs[0], rtol=1e-4)            # the steps amplify roundings
    np.testing.assert_allclose(own[1], theirs[1], rtol=1e-4, atol=1e-5)


def test_lbfgs_goes_on_from_a_state_dict():
    """Two parameters: interrupted and resumed from a state dict, the path is the same; an unknown search is
    refused."""
    def start():
        return torch.tensor([1.5, -0.5],
                            dtype=torch.float64).requires_grad_(), torch.tensor(2.0).requires_grad_()

    def stepped(optimizer, params, times):
        x, y = params

        def closure():
            optimizer.zero_grad()
            loss = (x ** 4).sum() + (y - x[0]) ** 2
            loss.backward()
            return loss

        for _ in range(times):
            optimizer.step(closure)

    def make(params):
        return optim.LBFGS(params, max_iter=2, line_search_fn="strong_wolfe")

    once, twice = start(), start()
    stepped(make(once), once, 4)
    first = make(twice)
    stepped(first, twice, 2)
    second = make(twice)
    second.load_state_dict(first.state_dict())
    stepped(second, twice, 2)
    for a, b in zip(once, twice):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        stepped(optim.LBFGS(once, line_search_fn="armijo"), once, 1)
