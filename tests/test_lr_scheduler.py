"""Learning rate schedules: torch's rates, momenta, states and messages, epoch by epoch."""
import itertools
import warnings

import numpy as np
import pytest

import numtorch as torch
from numtorch.optim import lr_scheduler

MAKE = {
    "lambda": lambda L, o: L.LambdaLR(o, [lambda e: 0.9 ** e, lambda e: 1 / (e + 1)]),
    "multiplicative": lambda L, o: L.MultiplicativeLR(o, lambda e: 0.9),
    "step": lambda L, o: L.StepLR(o, 3, 0.5),
    "multistep": lambda L, o: L.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "constant": lambda L, o: L.ConstantLR(o, 0.25, 4),
    "linear": lambda L, o: L.LinearLR(o, 0.2, 0.9, 6),
    "linear by default": lambda L, o: L.LinearLR(o),
    "exponential": lambda L, o: L.ExponentialLR(o, 0.8),
    "polynomial": lambda L, o: L.PolynomialLR(o, 7, 2.0),
    "cosine": lambda L, o: L.CosineAnnealingLR(o, 4, 0.01),
    "restarts": lambda L, o: L.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "equal restarts": lambda L, o: L.CosineAnnealingWarmRestarts(o, 4),
    "cyclic": lambda L, o: L.CyclicLR(o, 0.1, [0.5, 0.7], 4, 3),
    "cyclic 2": lambda L, o: L.CyclicLR(o, 0.1, 0.5, 3, mode="triangular2"),
    "cyclic exp": lambda L, o: L.CyclicLR(o, 0.1, 0.5, 3, mode="exp_range", gamma=0.9),
    "cyclic own": lambda L, o: L.CyclicLR(o, 0.1, 0.5, 3, scale_fn=lambda x: 0.5 ** x,
                                          scale_mode="iterations", cycle_momentum=False),
    "one cycle": lambda L, o: L.OneCycleLR(o, 1.0, 25),
    "one cycle in three": lambda L, o: L.OneCycleLR(o, [1.0, 2.0], epochs=5, steps_per_epoch=5,
                                                    three_phase=True,
                                                    anneal_strategy="linear", pct_start=0.4),
}
CHAINABLE = [name for name in MAKE if "cycl" not in name]


@pytest.fixture
def reference():
    """torch, without its warnings on the order of calls and on epochs."""
    library = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield library


def sgd(library=torch, groups=2, lr=1.0, name="SGD", **settings):
    groups = [{"params": [library.ones(2).requires_grad_()], "lr": lr * (i + 1)} for i in range(groups)]
    return getattr(library.optim, name)(groups, lr=lr, **settings)


def numbers(optimizer, schedule):
    """Rates and momenta in the groups, and the last rates that the schedule tells."""
    found = [float(lr) for lr in schedule.get_last_lr()]
    for group in optimizer.param_groups:
        found += [float(group["lr"]), float(group.get("momentum", 0)), *group.get("betas", ())]
    return found


def walk(library, make, steps, epochs=(), **settings):
    """The numbers of every epoch, the final state, and the groups' settings."""
    optimizer = sgd(library, **settings)
    schedule = make(library.optim.lr_scheduler, optimizer)
    trace = [numbers(optimizer, schedule)]
    for epoch in epochs or [()] * steps:
        optimizer.step()
        schedule.step(*([epoch] if epochs else []))
        trace.append(numbers(optimizer, schedule))
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    return trace, schedule.state_dict(), groups


def assert_same(own, theirs):
    """Equal structure, keys in the same order, numbers to 1e-12."""
    if isinstance(theirs, dict):
        assert type(own) is type(theirs) and list(own) == list(theirs)
        for key in theirs:
            assert_same(own[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(own) is type(theirs) and len(own) == len(theirs)
        for a, b in zip(own, theirs):
            assert_same(a, b)
    elif isinstance(theirs, float):
        assert own == pytest.approx(theirs, rel=1e-12, abs=1e-300)
    else:
        assert own == theirs


def compare(reference, make, steps=22, **settings):
    own, theirs = (walk(library, make, steps, **settings) for library in (torch, reference))
    assert_same(own, theirs)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_rates_momenta_and_state_are_torchs(reference, name, optimizer):
    """22 epochs: rates, momentum or beta1, state dict and group entries."""
    settings = dict(momentum=0.9) if optimizer == "SGD" else dict(name="Adam")
    compare(reference, MAKE[name], **settings)


@pytest.mark.parametrize("name", MAKE)
def test_step_to_an_epoch(reference, name):
    """step(epoch) uses the closed form, forwards and backwards."""
    compare(reference, MAKE[name], epochs=(3, 1, 0, 7, 8, 2, 20, 4, 5, 9), momentum=0.9)


def test_fractions_of_epochs(reference):
    """Warm restarts take fractions, as from inside an epoch."""
    compare(reference, MAKE["restarts"], epochs=tuple(i / 4 for i in range(60)))


@pytest.mark.parametrize("first", CHAINABLE)
def test_one_after_another(reference, first):
    """SequentialLR hands over to every other schedule as torch's does."""
    for second in MAKE:
        compare(reference, lambda L, o: L.SequentialLR(o, [MAKE[first](L, o), MAKE[second](L, o)], [5]), 14,
                momentum=0.9)


@pytest.mark.parametrize("first", CHAINABLE)
def test_both_at_once(reference, first):
    """ChainedScheduler steps every pair as torch's does."""
    for second in CHAINABLE:
        compare(reference, lambda L, o: L.ChainedScheduler([MAKE[first](L, o), MAKE[second](L, o)]), 14)


def test_a_chain_can_follow_in_a_sequence():
    """A ChainedScheduler as a later part of a SequentialLR starts at its epoch 0 (torch raises
    NotImplementedError)."""
    optimizer = sgd(groups=1)
    L = lr_scheduler
    schedule = L.SequentialLR(optimizer, [L.ConstantLR(optimizer, 0.5, 10),
                                          L.ChainedScheduler([L.StepLR(optimizer, 1, 0.1)])], [2])
    rates = []
    for _ in range(4):
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 0.5, 1.0, 0.1])


@pytest.mark.parametrize("name", MAKE)
def test_resuming_from_state_dicts(name):
    """State dicts of schedule and optimiser: the resumed run has the rates of the uninterrupted one."""
    whole, _, _ = walk(torch, MAKE[name], 14, momentum=0.9)
    optimizer = sgd(momentum=0.9)
    schedule = MAKE[name](lr_scheduler, optimizer)
    for _ in range(6):
        optimizer.step()
        schedule.step()
    saved = schedule.state_dict(), optimizer.state_dict()
    optimizer = sgd(momentum=0.9)
    schedule = MAKE[name](lr_scheduler, optimizer)
    schedule.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    for expected in whole[7:]:
        optimizer.step()
        schedule.step()
        assert numbers(optimizer, schedule) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("make", [
    lambda L, o: L.LambdaLR(o, lambda e: 0.9 ** e, 4), lambda L, o: L.MultiplicativeLR(o, lambda e: 0.9, 4),
    lambda L, o: L.StepLR(o, 3, 0.5, 4), lambda L, o: L.StepLR(o, 5, 0.5, 4), lambda L,
    o: L.MultiStepLR(o, [2, 5], 0.3, 4),
    lambda L, o: L.ConstantLR(o, 0.25, 5, 4), lambda L, o: L.LinearLR(o, 0.2, 0.9, 6, 4),
    lambda L, o: L.ExponentialLR(o, 0.8, 4), lambda L, o: L.PolynomialLR(o, 7, 2.0, 4),
    lambda L, o: L.CosineAnnealingLR(o, 4, 0.01, 4), lambda L, o: L.CosineAnnealingLR(o, 8, 0.01, 4),
    lambda L, o: L.CosineAnnealingWarmRestarts(o, 3, 2, 0.01, 4), lambda L,
    o: L.CyclicLR(o, 0.1, 0.5, 4, 3, last_epoch=4), lambda L, o: L.OneCycleLR(o, 1.0, 25, last_epoch=4)])
def test_last_epoch(reference, make):
    """Made with last_epoch=4 on groups that have been scheduled before, the rates go on as torch's."""
    def resumed(L, o):
        for group in o.param_groups:
            group.update(initial_lr=group["lr"], lr=group["lr"] * 0.5, max_lr=1.0, min_lr=0.001,
                         max_momentum=0.9, base_momentum=0.8)
        return make(L, o)

    compare(reference, resumed, 12, momentum=0.9)


@pytest.mark.parametrize("settings", [
    dict(patience=2), dict(mode="max", patience=1, threshold_mode="abs", threshold=0.1),
    dict(patience=0, cooldown=3, min_lr=[0.1, 0.01], factor=0.5), dict(patience=1, eps=0.2),
    dict(mode="max", threshold=0.3)])
def test_plateaus(reference, settings):
    """ReduceLROnPlateau on a random walk: rates and state of every epoch."""
    metrics = np.cumsum(np.random.default_rng(0).standard_normal(40)).tolist()
    traces = []
    for library in (torch, reference):
        optimizer = sgd(library, momentum=0.9)
        schedule = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
        trace = []
        for metric in metrics:
            schedule.step(library.tensor(metric))
            trace.append((numbers(optimizer, schedule), schedule.state_dict()))
        traces.append(trace)
    assert_same(*traces)


def test_a_new_group_and_a_list_of_least_rates():
    """A group added later gets the one min_lr; with a list of them the step says what to do."""
    optimizer = sgd()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.5)
    listed = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.1, 0.2])
    optimizer.add_param_group({"params": [torch.ones(1, requires_grad=True)]})
    for _ in range(2):
        schedule.step(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5, 0.5]
    listed.step(1.0)
    with pytest.raises(RuntimeError, match=r"The number of param groups in the `optimizer` \(3\) differs"):
        listed.step(1.0)


def test_a_tensor_as_rate_is_filled():
    """A rate that is a tensor keeps its identity, and the first rate is a copy of it."""
    optimizer = sgd(groups=1, lr=torch.tensor(1.0))
    lr = optimizer.param_groups[0]["lr"]
    schedule = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == pytest.approx(0.1)
    assert schedule.base_lrs[0].item() == 1.0 and schedule.get_last_lr()[0] is not lr


def test_callable_objects_are_saved():
    """A schedule of an object saves the object's attributes; of a function nothing."""
    class Rate:
        def __init__(self):
            self.factor = 0.5

        def __call__(self, epoch):
            return self.factor

    optimizer = sgd(groups=1)
    schedule = lr_scheduler.LambdaLR(optimizer, Rate())
    assert schedule.state_dict()["lr_lambdas"] == [{"factor": 0.5}]
    saved = schedule.state_dict()
    saved["lr_lambdas"] = [{"factor": 0.25}]
    schedule.load_state_dict(saved)
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.25]
    assert lr_scheduler.LambdaLR(sgd(), lambda e: 1).state_dict()["lr_lambdas"] == [None, None]
    cycle = lr_scheduler.CyclicLR(sgd(), 0.1, 0.5, scale_fn=Rate())
    assert cycle.state_dict()["_scale_fn_custom"] == {"factor": 0.5}
    cycle.load_state_dict(cycle.state_dict() | {"_scale_fn_custom": {"factor": 2}})
    assert cycle.scale_fn(0) == 2


# ---- warnings and errors -------------------------------------------------------------------------

def test_wrong_order_warns():
    """schedule.step before optimizer.step warns, once; in the right order there is no warning."""
    optimizer = sgd()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before "
                                         r"`optimizer.step\(\)`"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()
        optimizer = sgd()
        schedule = lr_scheduler.StepLR(optimizer, 3)
        optimizer.step()
        schedule.step()


def test_other_warnings():
    """A replaced optimizer.step, an epoch argument, and get_lr from outside."""
    optimizer = sgd()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r"Seems like `optimizer.step\(\)` has been overridden"):
        schedule.step()
    with pytest.warns(UserWarning, match="The epoch parameter in `scheduler.step"):
        schedule.step(5)
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        schedule.get_lr()


def test_scheduled_optimizers_pickle_and_are_freed():
    """A schedule does not keep its optimiser alive in a cycle, and the optimiser can still be pickled."""
    import gc
    import pickle
    import weakref

    optimizer = sgd()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    assert pickle.loads(pickle.dumps(optimizer)).param_groups[0]["initial_lr"] == 1.0
    gc.disable()
    try:
        gone = weakref.ref(optimizer)
        del optimizer, schedule
        assert gone() is None
    finally:
        gc.enable()


ERRORS = [
    (lambda L: L.StepLR(3, 2), TypeError, "int is not an Optimizer"),
    (lambda L: L.LambdaLR(sgd(), [lambda e: 1]), ValueError, "Expected 2 lr_lambdas, but got 1"),
    (lambda L: L.ConstantLR(sgd(), 2), ValueError, "Constant multiplicative factor expected to be between 0 "
                                                   "and 1."),
    (lambda L: L.LinearLR(sgd(), 0), ValueError,
     "Starting multiplicative factor expected to be greater than 0 and less or equal to 1."),
    (lambda L: L.LinearLR(sgd(), end_factor=2), ValueError,
     "Ending multiplicative factor expected to be between 0 and 1."),
    (lambda L: L.StepLR(sgd(), 2, last_epoch=3), KeyError,
     "param 'initial_lr' is not specified in param_groups[0] when resuming scheduler with last_epoch >= 0."),
    (lambda L: L.CosineAnnealingWarmRestarts(sgd(), 0), ValueError,
     "Expected positive integer T_0, but got 0"),
    (lambda L: L.CosineAnnealingWarmRestarts(sgd(), 1, 0), ValueError,
     "Expected integer T_mult >= 1, but got 0"),
    (lambda L: L.CosineAnnealingWarmRestarts(sgd(), 1).step(-1), ValueError,
     "Expected non-negative epoch, but got -1"),
    (lambda L: L.CyclicLR(sgd(), 0.1, 0.5, mode="x"), ValueError, "mode is invalid and scale_fn is None"),
    (lambda L: L.CyclicLR(sgd(), [0.1], 0.5), ValueError,
     "base_lr must have the same length as optimizer.param_groups. base_lr has 1 values, param_groups has 2"),
    (lambda L: L.CyclicLR(sgd(name="Adagrad"), 0.1, 0.5), ValueError,
     "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"),
    (lambda L: L.OneCycleLR(sgd(), 1.0), ValueError,
     "You must define either total_steps OR (epochs AND steps_per_epoch)"),
    (lambda L: L.OneCycleLR(sgd(), 1.0, -1), ValueError,
     "Expected positive integer total_steps, but got -1"),
    (lambda L: L.OneCycleLR(sgd(), 1.0, 9, pct_start=3), ValueError,
     "Expected float between 0 and 1 pct_start, but got 3"),
    (lambda L: L.OneCycleLR(sgd(), 1.0, 9, anneal_strategy="x"), ValueError,
     "anneal_strategy must be one of 'cos' or 'linear', instead got x"),
    (lambda L: [s := L.OneCycleLR(sgd(), 1.0, 3)] + [s.step() for _ in range(5)], ValueError,
     "Tried to step 4 times. The specified number of total steps is 3"),
    (lambda L: L.ReduceLROnPlateau(sgd(), factor=1.0), ValueError, "Factor should be < 1.0."),
    (lambda L: L.ReduceLROnPlateau(sgd(), mode="x"), ValueError, "mode x is unknown!"),
    (lambda L: L.ReduceLROnPlateau(sgd(), threshold_mode="x"), ValueError, "threshold mode x is unknown!"),
    (lambda L: L.ReduceLROnPlateau(sgd(), min_lr=[1]), ValueError, "expected 2 min_lrs, got 1"),
    (lambda L: L.SequentialLR(sgd(), [], []), ValueError,
     "SequentialLR expects at least one scheduler, but got no scheduler."),
    (lambda L: L.SequentialLR(sgd(), [3], []), TypeError,
     "SequentialLR at index 0 should have `optimizer` as its attribute."),
    (lambda L: L.SequentialLR(o := sgd(), [L.StepLR(o, 1)], [1]), ValueError,
     "got number of schedulers 1 and the number of milestones to be equal to 1"),
    (lambda L: L.SequentialLR(o := sgd(), [L.StepLR(o, 1), L.StepLR(sgd(), 1)], [1]), ValueError,
     "SequentialLR expects all schedulers to belong to the same optimizer, but got scheduler StepLR at "
     "index 1 has SGD"),
    (lambda L: L.ChainedScheduler([]), ValueError, "expects at least one scheduler to be chained"),
    (lambda L: L.ChainedScheduler([L.StepLR(o := sgd(), 1), L.ReduceLROnPlateau(o)]), ValueError,
     "ChainedScheduler does not support `ReduceLROnPlateau` scheduler"),
    (lambda L: L.LRScheduler(sgd()), NotImplementedError, "LRScheduler.get_lr"),
    (lambda L: torch.optim.swa_utils.SWALR(sgd(), 0.1, -1), ValueError,
     "anneal_epochs must be equal or greater than 0, got -1"),
    (lambda L: torch.optim.swa_utils.SWALR(sgd(), 0.1, anneal_strategy="x"), ValueError,
     "anneal_strategy must be one of 'cos' or 'linear', instead got x"),
]


@pytest.mark.parametrize("make, error, message", ERRORS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bad_input_is_refused(make, error, message):
    """torch's exception type and message."""
    with pytest.raises(error) as caught:
        make(lr_scheduler)
    assert message in str(caught.value).replace("\\n", "\n")


@pytest.mark.parametrize("strategy, epochs, lr", list(itertools.product(
    ["cos", "linear"], [0, 4], [0.1, [0.1, 0.3]])))
def test_swalr(reference, strategy, epochs, lr):
    """SWALR's rates, alone and after another schedule."""
    def make(L, o):
        library = torch if L is lr_scheduler else reference
        return library.optim.swa_utils.SWALR(o, lr, epochs, strategy)

    compare(reference, make, 9)
