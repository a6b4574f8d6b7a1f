"""Automatic mixed precision: the types that autocast picks, and the scaling of gradients, against torch's on the CPU."""
import pickle
import threading
import warnings

import numpy as np
import pytest
import simulator

import numtorch
from numtorch.amp import _hooks

torch = pytest.importorskip("torch")
LIBRARIES = (numtorch, torch)

# names, and how they are called: with the library and a function that makes float32 tensors that want gradients
CALLS = {
    "mm": lambda lib, t: lib.mm(t(2, 3), t(3, 2)),
    "bmm": lambda lib, t: t(2, 2, 3).bmm(t(2, 3, 2)),
    "matmul": lambda lib, t: t(2, 3) @ t(3, 2),
    "linear": lambda lib, t: lib.nn.functional.linear(t(2, 3), t(4, 3), t(4)),
    "addmm": lambda lib, t: lib.addmm(t(2, 2), t(2, 3), t(3, 2)),
    "addbmm": lambda lib, t: lib.addbmm(t(2, 2), t(2, 2, 3), t(2, 3, 2)),
    "baddbmm": lambda lib, t: lib.baddbmm(t(2, 2, 2), t(2, 2, 3), t(2, 3, 2)),
    "vecdot": lambda lib, t: lib.linalg.vecdot(t(2, 3), t(2, 3)),
    "multi_dot": lambda lib, t: lib.linalg.multi_dot([t(2, 3), t(3, 2), t(2, 2)]),
    "conv1d": lambda lib, t: lib.nn.functional.conv1d(t(1, 2, 5), t(3, 2, 3), t(3)),
    "conv2d": lambda lib, t: lib.conv2d(t(1, 2, 5, 5), t(3, 2, 3, 3)),
    "conv_transpose2d": lambda lib, t: lib.nn.functional.conv_transpose2d(t(1, 2, 3, 3), t(2, 3, 2, 2)),
    "prelu": lambda lib, t: lib.nn.functional.prelu(t(2, 3), t(1)),
    "attention": lambda lib, t: lib.nn.functional.scaled_dot_product_attention(t(1, 2, 3), t(1, 2, 3), t(1, 2, 3)),
    "einsum": lambda lib, t: lib.einsum("ij,jk->ik", t(2, 3), t(3, 2)),
    "einsum, no sum": lambda lib, t: lib.einsum("ij,j->ij", t(2, 3), t(3)),
    "einsum, one operand": lambda lib, t: lib.einsum("ij->ji", t(2, 3)),
    "tensordot": lambda lib, t: lib.tensordot(t(2, 3), t(3, 2), 1),
    "tensordot, all": lambda lib, t: lib.tensordot(t(2, 3), t(2, 3), 2),
    "inner": lambda lib, t: lib.inner(t(2, 3), t(2, 3)),
    "mv": lambda lib, t: t(2, 3).mv(t(3)),
    "add": lambda lib, t: t(2) + t(2).to(lib.bfloat16),
    "exp": lambda lib, t: t(2).to(lib.bfloat16).exp(),
    "sum": lambda lib, t: t(2).to(lib.bfloat16).sum(),
    "softmax": lambda lib, t: t(2, 3).to(lib.bfloat16).softmax(1),
    "layer_norm": lambda lib, t: lib.nn.functional.layer_norm(t(2, 3), (3,)),
    "prod": lambda lib, t: t(3).to(lib.bfloat16).prod(),
    "prod, dtype": lambda lib, t: t(3).prod(dtype=lib.float64),
    "quantile": lambda lib, t: t(3).to(lib.bfloat16).quantile(0.5),
    "cdist": lambda lib, t: lib.cdist(t(2, 3).to(lib.bfloat16), t(2, 3).to(lib.bfloat16)),
    "mse_loss": lambda lib, t: lib.nn.functional.mse_loss(t(3).to(lib.bfloat16), t(3)),
    "l1_loss": lambda lib, t: lib.nn.functional.l1_loss(t(3).to(lib.bfloat16), t(3).to(lib.bfloat16)),
    "cross_entropy": lambda lib, t: lib.nn.functional.cross_entropy(t(2, 3).to(lib.bfloat16), lib.tensor([0, 2])),
    "binary_cross_entropy": lambda lib, t: lib.nn.functional.binary_cross_entropy(t(3).sigmoid().to(lib.bfloat16), lib.ones(3)),
    "bce_with_logits": lambda lib, t: lib.nn.functional.binary_cross_entropy_with_logits(t(3).to(lib.bfloat16), lib.ones(3)),
    "linalg.inv": lambda lib, t: lib.linalg.inv((t(2, 2) + 3 * lib.eye(2)).to(lib.bfloat16)),
    "trace": lambda lib, t: lib.trace(t(2, 2).to(lib.bfloat16)),
    "pad, reflect": lambda lib, t: lib.nn.functional.pad(t(1, 1, 3).to(lib.bfloat16), (1, 1), "reflect"),
    "pad": lambda lib, t: lib.nn.functional.pad(t(1, 3).to(lib.bfloat16), (1, 1)),
    "cat": lambda lib, t: lib.cat([t(2), t(2).to(lib.bfloat16)]),
    "stack": lambda lib, t: lib.stack([t(2).to(lib.bfloat16), t(2).to(lib.bfloat16)]),
    "index_copy": lambda lib, t: t(3).index_copy(0, lib.tensor([0]), t(1).to(lib.bfloat16)),
    "double": lambda lib, t: t(2, 3).double() @ t(3, 2).double(),
    "addmm_": lambda lib, t: t(2, 2).detach().addmm_(t(2, 3).detach(), t(3, 2).detach()),
    "out": lambda lib, t: lib.mm(t(2, 3).detach(), t(3, 2).detach(), out=lib.empty(2, 2)),
    "mha": lambda lib, t: lib.nn.MultiheadAttention(4, 2)(t(3, 1, 4), t(3, 1, 4), t(3, 1, 4))[0],
    "RNN": lambda lib, t: lib.nn.RNN(3, 2)(t(4, 1, 3))[0],
    "GRU": lambda lib, t: lib.nn.GRU(3, 2)(t(4, 1, 3))[0],
    "LSTM": lambda lib, t: lib.nn.LSTM(3, 2)(t(4, 1, 3))[0],
    "LSTMCell": lambda lib, t: lib.nn.LSTMCell(3, 2)(t(2, 3))[0],
}


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def maker(lib, made):
    """A function of sizes that makes float32 leaves, the same in both libraries, and keeps them in ``made``."""
    def make(*shape):
        values = np.random.default_rng(len(made)).normal(size=shape).astype(np.float32)
        made.append(lib.tensor(values.tolist(), requires_grad=True))
        return made[-1]
    return make


@pytest.mark.parametrize("name", CALLS)
def test_types(name):
    """The types of results and gradients are torch's, and so are the values in the lower precision."""
    found = []
    for lib in LIBRARIES:
        made = []
        with lib.autocast("cpu"):
            out = CALLS[name](lib, maker(lib, made))
        if out.requires_grad:
            out.sum().backward()
        found.append((name_of(out.dtype), [t.grad if t.grad is None else name_of(t.grad.dtype) for t in made],
                      np.array(out.detach().double().tolist())))
    ours, theirs = found
    assert ours[:2] == theirs[:2]
    if name not in ("mha", "RNN", "GRU", "LSTM", "LSTMCell"):
        np.testing.assert_allclose(ours[2], theirs[2], rtol=4e-2, atol=4e-2)
    assert not numtorch.is_autocast_enabled("cpu") and not _hooks._contexts[0]


def test_a_cast_is_recorded_and_kept():
    """A leaf is cast once in the outermost context, for each grad mode; the functions have their own code again behind it."""
    code = _hooks._declared(numtorch.op.OPS["mm"].fn).__code__
    for lib in LIBRARIES:
        w = lib.ones(2, 2, requires_grad=True)
        with lib.autocast("cpu"):
            with lib.no_grad():
                assert not lib.mm(w, w).requires_grad
            first = lib.mm(w, w).grad_fn.next_functions[0][0]
            with lib.autocast("cpu"):
                second = lib.mm(w, w).grad_fn.next_functions[0][0]
            assert lib.mm(w, w).grad_fn.next_functions[0][0] is first is second and first.name() == "ToCopyBackward0"
            with lib.autocast("cpu", cache_enabled=False):
                assert lib.mm(w, w).grad_fn.next_functions[0][0] is not first
        with lib.autocast("cpu"):
            assert lib.mm(w, w).grad_fn.next_functions[0][0] is not first
    assert _hooks._declared(numtorch.op.OPS["mm"].fn).__code__ is code


def test_nesting_decorators_and_threads():
    """Contexts nest, turn off, choose a type, decorate, and are the thread's own."""
    for lib in LIBRARIES:
        x, seen = lib.ones(2, 2), []
        with lib.autocast("cpu", lib.float16):
            seen.append((x @ x).dtype)
            with lib.autocast("cpu", enabled=False):
                seen.append((x @ x).dtype)
            with lib.autocast("cpu"):           # the type of the outer one
                seen.append((x @ x).dtype)
            thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))        # noqa: B023
            thread.start()
            thread.join()
        assert list(map(name_of, seen)) == ["float16", "float32", "float16", "float32"]

        @lib.autocast("cpu")
        def product(a):
            return a @ a
        assert name_of(product(x).dtype) == "bfloat16"


def test_settings():
    """The functions that ask and set, and what is refused."""
    for lib in LIBRARIES:
        assert lib.get_autocast_dtype("cuda") is lib.float16 and lib.get_autocast_dtype("cpu") is lib.bfloat16
        assert lib.amp.is_autocast_available("cpu") and not lib.is_autocast_enabled() and lib.is_autocast_cache_enabled()
        lib.set_autocast_enabled("cpu", True)
        assert lib.is_autocast_enabled("cpu") and name_of(lib.mm(lib.ones(1, 1), lib.ones(1, 1)).dtype) == "bfloat16"
        lib.set_autocast_enabled("cpu", False)
        with pytest.warns(DeprecationWarning, match="torch.is_autocast_cpu_enabled\\(\\) is deprecated"):
            assert not lib.is_autocast_cpu_enabled()
        with pytest.raises(ValueError, match="Expected `device_type` of type `str`, got"):
            lib.autocast(lib.device("cpu"))
        with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
            lib.autocast("foo")
        with pytest.warns(UserWarning, match="In CPU autocast, but the target dtype is not supported. Disabling autocast"):
            assert not lib.autocast("cpu", lib.float64)._enabled
        with pytest.raises(TypeError, match="requires a callable, but got int"):
            lib.autocast("cpu")(3)
        with lib.autocast("cpu"), pytest.raises(RuntimeError, match="Unexpected floating ScalarType"):
            lib.cat([lib.ones(1, dtype=lib.float16), lib.ones(1)[:0].to(lib.bfloat16)])
    with pytest.raises(TypeError, match="argument 'mat2' \\(position 2\\) must be Tensor, not int"), numtorch.autocast("cpu"):
        numtorch.mm(numtorch.ones(1, 1), 3)


def test_functions_of_ones_own():
    """custom_fwd casts and turns autocast off inside; custom_bwd has it as forward had."""
    for lib in LIBRARIES:
        seen = []

        class Product(lib.autograd.Function):
            @staticmethod
            @lib.amp.custom_fwd(device_type="cpu", cast_inputs=lib.float32)
            def forward(ctx, a, b):
                seen.append((a.dtype, lib.is_autocast_enabled("cpu")))       # noqa: B023
                ctx.save_for_backward(a, b)
                return a @ b

            @staticmethod
            @lib.amp.custom_bwd(device_type="cpu")
            def backward(ctx, g):
                a, b = ctx.saved_tensors
                seen.append((g.dtype, lib.is_autocast_enabled("cpu")))       # noqa: B023
                return g @ b.t(), a.t() @ g

        a = lib.ones(2, 2, dtype=lib.bfloat16, requires_grad=True)
        with lib.autocast("cpu"):
            out = Product.apply(a, a)
            assert out.dtype is lib.float32
            out.sum().backward()
        assert a.grad.dtype is lib.bfloat16 and seen == [(lib.float32, False), (lib.float32, False)]


def test_a_trace_records_casts():
    """A trace of a module that uses autocast casts when it runs; tracing leaves the functions as they were."""
    class Cast(numtorch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = numtorch.nn.Linear(2, 2)

        def forward(self, x):
            with numtorch.autocast("cpu", cache_enabled=False):
                return self.inner(x)
    x = numtorch.ones(1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = numtorch.jit.trace(Cast(), (x,))
    assert traced(x).dtype is numtorch.bfloat16 and numtorch.nn.Linear(2, 2)(x).dtype is numtorch.float32


# ---- GradScaler ------------------------------------------------------------------------------------------------------------

def scaled_steps(lib, device="cpu", name="SGD", **settings):
    """Losses, factors and parameters of a run in which some gradients are inf or nan."""
    rng = np.random.default_rng(0)
    w = lib.tensor(rng.normal(size=(3, 2)).astype(np.float32).tolist(), device=device, requires_grad=True)
    b = lib.zeros(2, device=device, requires_grad=True)
    optimizer = getattr(lib.optim, name)([w, b], lr=0.1, **settings or {"momentum": 0.5})
    scaler = lib.amp.GradScaler(device, init_scale=8.0, growth_interval=2)
    seen = []
    for step in range(9):
        x = lib.tensor(rng.normal(size=(4, 3)).astype(np.float32).tolist(), device=device)
        optimizer.zero_grad()
        loss = ((x @ w + b) ** 2).mean()
        scaler.scale(loss).backward()
        if step in (3, 4):
            b.grad[0] = float("inf" if step == 3 else "nan")
        if step % 2:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        seen.append((loss.item(), scaler.get_scale(), scaler.state_dict()["_growth_tracker"],
                     *w.detach().cpu().flatten().tolist()))
    return np.array(seen), scaler


def test_scaler():
    """Nine steps with an inf and a nan among them are torch's, factor for factor."""
    (ours, scaler), (theirs, reference) = map(scaled_steps, LIBRARIES)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert scaler.state_dict() == reference.state_dict()
    again = numtorch.amp.GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict() == pickle.loads(pickle.dumps(scaler)).state_dict()
    scaler.update(32.0)
    assert scaler.get_scale() == 32.0


FUSED = [("SGD", {"momentum": 0.5}), ("Adam", {}), ("AdamW", {"amsgrad": True}), ("Adagrad", {"lr_decay": 0.1})]


@pytest.mark.parametrize("name, settings", FUSED, ids=[name for name, _ in FUSED])
def test_scaler_of_fused_optimisers(name, settings):
    """An optimiser that is lent the factor and the mark of overflow does what torch's does, on a device, too."""
    ours, theirs = [scaled_steps(lib, "cpu", name, fused=True, **settings)[0] for lib in LIBRARIES]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    with simulator.installed(seed=1):
        found, _ = scaled_steps(numtorch, "cuda", name, fused=True, **settings)
    np.testing.assert_allclose(found, ours, rtol=1e-5)


def test_launches_of_the_scaler():
    """One launch unscales the gradients of a dtype, one adapts the factor; a fused optimiser leaves nothing to wait for."""
    with simulator.installed(seed=3) as driver:
        params = [numtorch.ones(n, device="cuda", dtype=t, requires_grad=True) for n in (3, 5000, 0)
                  for t in (numtorch.float32, numtorch.bfloat16)]
        params.append(numtorch.ones(3, 2, device="cuda").t().requires_grad_())
        optimizer, scaler = numtorch.optim.Adam(params, fused=True), numtorch.amp.GradScaler(growth_interval=1)
        for grown in (2, 4, 2):
            for p in params:
                p.grad = numtorch.full_like(p, 65536.0)
            if grown == 2 and scaler.get_scale() > 65536:
                params[3].grad[4999] = numtorch.nan
            scaler.scale(params[0].sum())
            driver.log, waits, wait = [], [], driver.synchronize_stream
            driver.synchronize_stream = waits.append
            scaler.unscale_(optimizer)
            assert driver.log.count("amp_cuda.unscale_cuda") == 2
            before = params[1].grad
            scaler.step(optimizer)
            scaler.update()
            driver.synchronize_stream = wait
            assert not waits and driver.log.count("amp_cuda.unscale_cuda") == 2 and params[1].grad is before
            assert driver.log.count("amp_cuda.update_scale_cuda") == 1
            assert scaler.get_scale() == grown * 65536
        assert {own["step"].item() for own in optimizer.state.values()} == {2.0}
        assert params[6].grad.tolist() == [[0.25] * 3] * 2 and params[4].grad.shape == (0,)


def test_scaler_errors():
    """What is refused is refused with torch's words; nested outputs are scaled."""
    for lib in LIBRARIES:
        w = lib.ones(2, requires_grad=True)
        optimizer = lib.optim.SGD([w], lr=0.1)
        scaler = lib.amp.GradScaler("cpu")
        with pytest.raises(AssertionError, match="Attempted step but _scale is None"):
            scaler.step(optimizer)
        with pytest.raises(AssertionError, match="The growth factor must be > 1.0."):
            lib.amp.GradScaler("cpu", growth_factor=1.0)
        first, (second,) = scaler.scale((w.sum(), [w.sum()]))
        assert first.item() == second.item() == 2 * 65536
        with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer."):
            scaler.step(optimizer)
        (first + second).backward()
        scaler.update(4.0)
        scaler.unscale_(optimizer)
        with pytest.raises(RuntimeError, match="unscale_\\(\\) has already been called on this optimizer"):
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="step\\(\\) has already been called since the last update"):
            scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
            scaler.step(optimizer, closure=lambda: None)
        half = lib.ones(1, dtype=lib.float16, requires_grad=True)
        half.grad = lib.ones(1, dtype=lib.float16)
        with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients."):
            scaler.unscale_(lib.optim.SGD([half], lr=0.1))
        off = lib.amp.GradScaler("cpu", enabled=False)
        assert off.scale(w) is w and off.get_scale() == 1.0 and off.state_dict() == {}
        with pytest.warns(FutureWarning, match="Please use `torch.amp.GradScaler\\('cuda', args...\\)` instead."):
            lib.cuda.amp.GradScaler(enabled=False)
        with pytest.warns(FutureWarning, match="Please use `torch.amp.autocast\\('cuda', args...\\)` instead."):
            lib.cuda.amp.autocast(enabled=False)


# ---- CUDA ------------------------------------------------------------------------------------------------------------------

def test_cuda():
    """On (simulated) CUDA: the policies, and a run with a scaler that equals the CPU's."""
    F = numtorch.nn.functional
    with simulator.installed(seed=1):
        x = numtorch.ones(2, 2, device="cuda")
        h = x.half()
        with numtorch.autocast("cuda"):
            halves = [x @ x, x.mv(x[0]), F.linear(x, x), numtorch.einsum("ij,j->ij", x, x[0])]
            floats = [h.exp(), h ** 2, 2 / h, h.sum(), h.softmax(1), F.log_softmax(h, 1), F.layer_norm(h, (2,)), h.cumsum(0),
                      h.norm(), h.square(),
                      F.cross_entropy(h, numtorch.tensor([0, 1], device="cuda")), F.mse_loss(h, h), numtorch.atan2(h, x)]
            kept = [h + h, h.relu(), h.mean(), numtorch.atan2(h, h), h.sum(dtype=numtorch.float16), h.sin()]
            with pytest.raises(RuntimeError, match="are unsafe to autocast"):
                F.binary_cross_entropy(x, x)
            assert (x.cpu() @ x.cpu()).dtype is numtorch.float32
        assert {t.dtype for t in halves + kept} == {numtorch.float16} and {t.dtype for t in floats} == {numtorch.float32}
        cuda, _ = scaled_steps(numtorch, "cuda")
    np.testing.assert_allclose(cuda, scaled_steps(numtorch)[0], rtol=1e-5)


def test_training_on_cuda():
    """A network of layers trained under autocast with a scaler, on (simulated) CUDA."""
    nn = numtorch.nn
    with simulator.installed(seed=2):
        numtorch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)).cuda()
        x, target = numtorch.randn(8, 3).cuda(), numtorch.tensor([0, 1] * 4, device="cuda")
        optimizer, scaler = numtorch.optim.Adam(model.parameters(), lr=0.05), numtorch.amp.GradScaler()
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            with numtorch.autocast("cuda"):
                loss = nn.functional.cross_entropy(model(x), target)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
        assert all(p.grad.dtype is numtorch.float32 for p in model.parameters()) and losses[-1] < losses[0]
