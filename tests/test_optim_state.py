"""Optimisers: state dicts that torch reads, pickling, hooks, subclasses, and averaged weights."""
import copy
import pickle
import warnings

import numpy as np
import pytest

import numtorch as torch
from numtorch import optim

CASES = [
    ("SGD", dict(lr=0.1, weight_decay=0.01)), ("SGD", dict(lr=0.05, momentum=0.9, dampening=0.3)),
    ("Adam", {}), ("Adam", dict(lr=0.1, weight_decay=0.1, amsgrad=True)), ("AdamW", dict(lr=0.01)),
    ("Adagrad", dict(lr=0.1, lr_decay=0.01, initial_accumulator_value=0.1)),
    ("RMSprop", {}), ("RMSprop", dict(momentum=0.9, centered=True)), ("Adadelta", {}), ("Adamax", {}), ("NAdam", {}),
    ("RAdam", {}), ("Rprop", {}), ("ASGD", {}), ("ASGD", dict(lr=0.1, lambd=0.01, t0=5, weight_decay=0.1, alpha=0.5)),
]


def parameter(*shape):
    return torch.ones(*shape or (2,), requires_grad=True)


# ---- state dicts ---------------------------------------------------------------------------------

def plain(x):
    """Tensors to lists, at any depth, so that dicts of both libraries compare."""
    if hasattr(x, "tolist"):
        return x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, list) else x


def converted(x, library):
    """A state dict of the one library as one of the other."""
    if hasattr(x, "detach"):
        return library.tensor(x.tolist(), dtype=getattr(library, str(x.dtype).split(".")[1]))
    if isinstance(x, dict):
        return {k: converted(v, library) for k, v in x.items()}
    return [converted(v, library) for v in x] if isinstance(x, list) else x


@pytest.mark.parametrize("name, settings", CASES)
def test_state_dicts_go_over_to_torch_and_back(name, settings):
    """Half of the steps in one library, the other half in the other: the parameters are those of one run."""
    reference = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    start, grads = rng.standard_normal(6), rng.standard_normal((6, 6))
    ends = []
    for order in ((torch, torch), (torch, reference), (reference, torch)):
        values, state = start, None
        for library, part in zip(order, (grads[:3], grads[3:])):
            p = library.tensor(values.tolist(), dtype=library.float64, requires_grad=True)
            optimizer = getattr(library.optim, name)([p], **settings)
            if state is not None:
                optimizer.load_state_dict(converted(state, library))
            for g in part:
                p.grad = library.tensor(g.tolist(), dtype=library.float64)
                optimizer.step()
            values, state = p.detach().numpy().copy(), optimizer.state_dict()
        ends.append((values, plain(state)))
    for values, state in ends[1:]:
        # loading makes ASGD's rates float64; torch still rounds each new one to float32
        np.testing.assert_allclose(values, ends[0][0], rtol=1e-7 if name == "ASGD" else 1e-12)
        assert list(state) == list(ends[0][1]) and state["param_groups"] == ends[0][1]["param_groups"]
        names = ({k: list(v) for k, v in s["state"].items()} for s in (state, ends[0][1]))
        assert next(names) == next(names)


def trained(steps=2):
    p, q = parameter(3), parameter()
    optimizer = optim.Adam([{"params": [p]}, {"params": [q], "lr": 0.1}])
    for _ in range(steps):
        p.grad, q.grad = torch.ones(3), torch.ones(2)
        optimizer.step()
    return optimizer, p, q


def test_loading_casts_state_and_copies_settings():
    """State goes to the parameter's dtype, the step count stays as it is, settings come from the dict."""
    optimizer, _, _ = trained()
    saved = optimizer.state_dict()
    assert saved["param_groups"][1]["params"] == [1] and set(saved["state"]) == {0, 1}
    p, q = torch.ones(3, dtype=torch.float64, requires_grad=True), parameter()
    other = optim.Adam([{"params": [p]}, {"params": [q]}], lr=7)
    other.load_state_dict(saved)
    assert other.state[p]["exp_avg"].dtype == torch.float64 and other.state[p]["step"].dtype == torch.float32
    assert other.param_groups[1]["lr"] == 0.1 and other.param_groups[0]["params"][0] is p
    other.param_groups[0]["lr"] = 9
    assert saved["param_groups"][0]["lr"] == 1e-3


def test_checkpoints_of_old_torch_versions_load():
    """Step counts that are numbers, and settings that did not exist yet, are completed."""
    optimizer, p, q = trained()
    saved = optimizer.state_dict()
    saved = {"state": {k: {**v, "step": 2} for k, v in saved["state"].items()},
             "param_groups": [{k: v for k, v in g.items()
                               if k in ("params", "lr", "betas", "eps", "weight_decay")}
                              for g in saved["param_groups"]]}
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 3 and optimizer.param_groups[0]["amsgrad"] is False


def test_pickle_and_deepcopy():
    """A copy goes on as the original would, on its own parameters."""
    optimizer, p, q = trained()
    for twin in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        r = twin.param_groups[0]["params"][0]
        assert r is not p and torch.equal(r, p)
        assert torch.equal(twin.state[r]["exp_avg"], optimizer.state[p]["exp_avg"])
        r.grad = torch.ones(3)
        twin.step()
        assert twin.state[r]["step"] == 3 and optimizer.state[p]["step"] == 2


# ---- hooks ---------------------------------------------------------------------------------------

def test_step_hooks():
    """Hooks run before and after a step, may replace its arguments, and can be removed; global ones see
    every optimiser."""
    from numtorch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    p, seen = parameter(), []
    optimizer = optim.SGD([p], 0.1)
    handles = [
        register_optimizer_step_pre_hook(lambda o, args, kwargs: seen.append("global pre")),
        register_optimizer_step_post_hook(lambda o, args, kwargs: seen.append("global post")),
        optimizer.register_step_pre_hook(
            lambda o, args, kwargs: seen.append("pre") or (args, {"closure": lambda: 5})),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("post", args, list(kwargs))))]
    assert optimizer.step() == 5
    assert seen == ["global pre", "pre", ("post", (optimizer,), ["closure"]), "global post"]
    for handle in handles:
        handle.remove()
    assert optimizer.step() is None and len(seen) == 4
    with optimizer.register_step_pre_hook(lambda o, args, kwargs: 3):
        with pytest.raises(RuntimeError, match="must return None or a tuple of"):
            optimizer.step()


def test_state_dict_hooks():
    """Hooks around state_dict and load_state_dict run in order and may replace the dict."""
    optimizer, order = trained()[0], []
    optimizer.register_state_dict_pre_hook(lambda o: order.append(1))
    optimizer.register_state_dict_pre_hook(lambda o: order.append(0), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, d: {k: v for k, v in d.items() if k != "extra"})
    optimizer.register_load_state_dict_post_hook(lambda o: order.append(2))
    saved = optimizer.state_dict()
    assert saved["extra"] == 1
    optimizer.load_state_dict(saved)
    assert order == [0, 1, 2]


def test_an_optimizer_of_ones_own():
    """A subclass that writes its step with tensor operations works, with hooks, required settings and state
    dicts."""
    from numtorch.optim.optimizer import Optimizer, required

    class Plain(Optimizer):
        def __init__(self, params, lr=required):
            super().__init__(params, dict(lr=lr))

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["seen"] = self.state[p].get("seen", 0) + 1
                    p.add_(p.grad, alpha=-group["lr"])

    p = parameter()
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        Plain([p])
    optimizer, seen = Plain([p], 0.5), []
    optimizer.register_step_post_hook(lambda *args: seen.append(1))
    p.grad = torch.ones(2)
    optimizer.step()
    assert p[0].item() == 0.5 and seen == [1] and optimizer.state_dict()["state"] == {0: {"seen": 1}}
    with pytest.raises(NotImplementedError, match="Optimizer.step"):
        Optimizer([p], {}).step()


# ---- averaged weights ----------------------------------------------------------------------------

def test_averaged_models():
    """Running mean, exponential mean and a function of one's own; buffers are copied unless they are
    averaged."""
    from numtorch.optim import swa_utils

    model = torch.nn.Linear(1, 1, bias=False)
    model.register_buffer("seen", torch.zeros(1))
    kinds = {"mean": swa_utils.AveragedModel(model),
             "ema": swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.75),
                                            use_buffers=True),
             "ema by one": swa_utils.AveragedModel(model, avg_fn=swa_utils.get_ema_avg_fn(0.75)),
             "last": swa_utils.AveragedModel(model, avg_fn=lambda average, p, n: p)}
    for value in (1.0, 2.0, 6.0):
        model.weight.data.fill_(value)
        model.seen.fill_(value)
        for averaged in kinds.values():
            averaged.update_parameters(model)
    got = {k: (a.module.weight.item(), a.module.seen.item()) for k, a in kinds.items()}
    ema = 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 6
    assert got == {"mean": (3.0, 6.0), "ema": (ema, ema), "ema by one": (ema, 6.0), "last": (6.0, 6.0)}
    assert list(kinds["mean"].state_dict()) == ["n_averaged", "module.weight", "module.seen"]
    assert kinds["mean"](torch.ones(1, 1)).item() == 3.0
    with pytest.raises(ValueError, match="Invalid decay value 2"):
        swa_utils.get_ema_avg_fn(2)


def test_update_bn():
    """The running statistics become the plain mean over all batches; momentum and mode stay."""
    from numtorch.optim.swa_utils import update_bn

    layer = torch.nn.BatchNorm1d(2, momentum=0.3)
    layer.eval()
    batches = [torch.randn(8, 2) for _ in range(3)]
    update_bn([(b, None) for b in batches], layer)
    want = sum(b.mean(0) for b in batches) / 3
    assert torch.allclose(layer.running_mean, want) and layer.momentum == 0.3 and not layer.training
    assert layer.num_batches_tracked == 3


def test_warnings_are_not_given_in_ordinary_use():
    """Making, stepping and loading an optimiser warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer, _, _ = trained()
        optimizer.load_state_dict(optimizer.state_dict())


def test_optimisers_that_are_not_built_say_so():
    """torch's optimisers that are missing name the way out, and hasattr answers."""
    assert not hasattr(optim, "Muon") and not hasattr(optim, "Nothing")
    with pytest.raises(AttributeError, match="optim.SparseAdam is not built; use optim.AdamW"):
        _ = optim.SparseAdam
