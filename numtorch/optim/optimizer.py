"""The base of all optimisers: parameter groups, state, state dicts and hooks."""
import copy
import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Iterable

import numpy as np

from .. import dtypes
from .. import kernels as K
from ..autograd.grad_mode import enable_grad, no_grad
from ..autograd.node import RemovableHandle
from ..kernels import _driver
from ..kernels._device import DeviceArray, is_capturing
from ..tensor import Tensor, storage_of, wrap

_global_pre_hooks, _global_post_hooks = OrderedDict(), OrderedDict()


class _Required:
    """The default of a setting that every group must give itself."""

    def __repr__(self):
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook):
    """Calls ``hook(optimizer, args, kwargs)`` before each step of every optimiser; returns a handle with
    ``remove()``."""
    return RemovableHandle(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Calls ``hook(optimizer, args, kwargs)`` after each step of every optimiser; returns a handle with
    ``remove()``."""
    return RemovableHandle(_global_post_hooks, hook)


def _register(table, hook, prepend):
    handle = RemovableHandle(table, hook)
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _with_hooks(step):
    """``step`` between the step hooks, which get it as they would in torch: the optimiser is the first of
    its args."""
    @functools.wraps(step)
    def hooked(*args, **kwargs):
        self = args[0]
        if _global_pre_hooks or self._optimizer_step_pre_hooks:
            for hook in (*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()):
                result = hook(self, args, kwargs)
                if result is None:
                    continue
                if not isinstance(result, tuple) or len(result) != 2:
                    raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but "
                                       f"got {result}.")
                args, kwargs = result
        found = step(*args, **kwargs)
        if _global_post_hooks or self._optimizer_step_post_hooks:
            for hook in (*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()):
                hook(self, args, kwargs)
        return found
    hooked.hooked = True
    return hooked


class Optimizer:
    """Base class of optimisers: derive from it, set ``defaults``, write ``step``.

    Args:
        params: the tensors to optimise (leaves), or pairs (name, tensor), or dicts, one a group, with the
            key ``params`` and settings that differ from the defaults.
        defaults (dict): the settings of groups that do not give them.

    Raises:
        TypeError: params is a tensor, a set, or holds something that is not a tensor.
        ValueError: params is empty, holds a tensor that is not a leaf, or one that is in two groups.
    """

    def __init__(self, params, defaults):
        self._init_tables()
        self.defaults = defaults
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = _with_hooks(cls.step)
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or "
                            "dicts, but got "
                            + _type_name(params))
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _init_tables(self):
        for name in ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre",
                     "load_state_dict_post"):
            setattr(self, f"_optimizer_{name}_hooks", OrderedDict())

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._init_tables()
        if not getattr(type(self).step, "hooked", False):
            type(self).step = _with_hooks(type(self).step)
        self.defaults.setdefault("differentiable", False)

    def __repr__(self):
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    # ---- hooks -----------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook):
        """Calls ``hook(optimizer, args, kwargs)`` before each step; it may return new (args, kwargs)."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer)`` before ``state_dict`` looks at anything."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer, state_dict)`` on the result of ``state_dict``; it may return another
        dict."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer, state_dict)`` before a dict is loaded; it may return another one."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer)`` after a dict was loaded."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # ---- state dicts -----------------------------------------------------------------------------

    def state_dict(self):
        """The state as a dict in torch's format.

        Returns:
            ``{"state": {number: {name: value}}, "param_groups": [settings with params as numbers]}``;
            parameters are numbered through all groups. Tensors are those of the optimiser, not copies.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers, groups = {}, []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        found = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            result = hook(self, found)
            if result is not None:
                found = result
        return found

    @no_grad()
    def load_state_dict(self, state_dict):
        """Takes over state and settings from a dict that ``state_dict`` made; parameters are matched by
        their order.

        Raises:
            ValueError: the dict has other numbers of groups, or of parameters in a group.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            result = hook(self, state_dict)
            if result is not None:
                state_dict = result
        groups, saved = self.param_groups, copy.deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of "
                             "optimizer's group")
        params = {number: (p, s) for g, s in zip(groups, saved) for number, p in zip(s["params"], g["params"])}
        state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                p, group = params[key]
                state[p] = _fit(value, p, counts_on_device(group))
            else:
                state[key] = value
        for group, new in zip(groups, saved):
            new["params"] = group["params"]
            if "param_names" in group and "param_names" not in new:
                new["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # ---- groups and gradients --------------------------------------------------------------------

    def zero_grad(self, set_to_none=True):
        """Drops the gradients of all parameters, or fills them with zeros if ``set_to_none`` is False."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = p._grad
                if grad is None:
                    continue
                if set_to_none:
                    p._grad = None
                    continue
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    def step(self, closure=None):
        """One update of all parameters from their gradients; ``closure`` computes the loss again and returns
        it."""
        raise NotImplementedError(f"{type(self).__name__}.step: a subclass of Optimizer has to define it")

    def add_param_group(self, param_group):
        """Adds a group of parameters, such as layers that were frozen before.

        Args:
            param_group (dict): ``params`` and the settings that differ from the defaults.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but the "
                            "ordering of tensors in sets will change between runs. Please use a list "
                            "instead.")
        else:
            params = list(params)
        param_group["params"] = params
        self._split_names(param_group)
        for p in param_group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is "
                                f"{_type_name(p)}")
            if not (p.is_leaf or p.retains_grad or self.defaults.get("differentiable")):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization "
                                 f"parameter {name}")
            param_group.setdefault(name, default)
        self._refuse_unbuilt(param_group)
        params = param_group["params"]
        if len({id(p) for p in params}) != len(params):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this "
                          "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more "
                          "information",
                          stacklevel=3)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _split_names(self, group):
        """Pairs (name, tensor) become the tensors and ``param_names``; either all groups have names or
        none."""
        named = [isinstance(p, tuple) for p in group["params"]]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are "
                                 "missing")
            pairs = group["params"]
            group["params"] = [p for _, p in pairs]
            group["param_names"] = [name for name, _ in pairs]
        if self.param_groups and ("param_names" in self.param_groups[0]) != ("param_names" in group):
            word = "with" if "param_names" in group else "without"
            raise ValueError("all optimizer param groups should be with/without names. cannot add param "
                             f"group {word} names to the optimizer")

    def _refuse_unbuilt(self, group):
        name = type(self).__name__
        if group.get("fused") and group.get("differentiable"):
            raise RuntimeError("`fused` does not support `differentiable`")
        if group.get("fused") and group.get("foreach"):
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        if group.get("differentiable"):
            raise NotImplementedError(f"{name}: differentiable=True is not built, the step is a kernel "
                                      "outside of autograd; write the update with tensor operations (p = p "
                                      "- lr * g) to differentiate it")


_OFF = {"maximize": False, "foreach": None, "fused": None, "differentiable": False, "capturable": False,
        "amsgrad": False,
        "nesterov": False, "centered": False, "momentum": 0, "decoupled_weight_decay": False}
_SCALARS = ("step", "mu_product", "eta", "mu")          # Python numbers in checkpoints of torch before 1.12


class Fused(Optimizer):
    """An optimiser whose step is one kernel call for all parameters of a group.

    Step counts, and what else the rates depend on, are on the host, or with ``capturable`` or ``fused`` on the parameters'
    device, where a CUDA graph can advance them; the learning rate may then be a tensor there. ``GradScaler`` lends a fused
    optimiser ``grad_scale`` and ``found_inf``, tensors, for the time of a step.
    """

    grad_scale = found_inf = None

    def __init__(self, params, defaults):
        super().__init__(params, defaults)
        if defaults.get("fused"):
            self._step_supports_amp_scaling = True

    def __setstate__(self, state):
        """Takes over a state; settings that an old checkpoint does not know get the value that means off."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in _OFF.items():
                if name in self.defaults:
                    group.setdefault(name, value)
            for p in group["params"]:
                own = self.state.get(p, ())
                for name in _SCALARS:
                    if name in own and not isinstance(own[name], Tensor):
                        own[name] = scalar(float(own[name]), near(group, p))

    def step(self, closure=None):
        """One update of all parameters from their gradients.

        Args:
            closure (callable): computes the loss again, with gradients, and returns it; called once, before
                the update.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: it would become part of a CUDA graph, and a group is not ``capturable``.
        """
        if "capturable" in self.defaults and _driver.in_use():
            self._check_capture()
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if self.grad_scale is not None:
            self._unscale()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    _told = False

    def _check_capture(self):
        """torch's error for a capture that would repeat step counts of the host, and its warning for the reverse."""
        capturable, capturing = all(group["capturable"] for group in self.param_groups), is_capturing()
        if capturing and not capturable:
            raise RuntimeError(f"Attempting CUDA graph capture of step() for an instance of {type(self).__name__} but "
                               "param_groups' capturable is False.")
        if capturable and not capturing and not self._told:
            warnings.warn("This instance was constructed with capturable=True or some of all the param_groups came with "
                          "capturable=True, but step() is running without CUDA graph capture. If you never intend to "
                          "graph-capture this instance, capturable=True can impair performance, and you should set "
                          "capturable=False.", stacklevel=4)
            self._told = True

    def _unscale(self):
        """Divides all gradients by ``grad_scale``."""
        from ..amp._scaling import unscale_all

        inverse = self.grad_scale.double().reciprocal().float()
        with no_grad():
            unscale_all([p._grad for group in self.param_groups for p in group["params"] if p._grad is not None], inverse)

    def _run(self, kernel, arrays, vectors, scalars, *hyper):
        """Calls the kernel named ``kernel`` on the columns ``arrays``; nothing happens where ``found_inf`` is not 0."""
        if not arrays:
            return
        family, found = K.optim, self.found_inf
        if found is None:
            family.run(getattr(family, kernel), arrays, vectors, scalars, *hyper)
        else:
            family.run(getattr(family, kernel), arrays, vectors, scalars, *hyper, skip=found._a)

    def _columns(self, group, vectors, scalars, start):
        """The flat list of arrays that ``kernels.optim.run`` takes: of each parameter with a gradient p, g
        and its state.

        ``vectors`` and ``scalars`` name the state in the order of the kernel's columns; ``start(p, near)`` makes
        it, the scalars like the array ``near`` or, for None, on the host.
        """
        arrays, state = [], self.state
        for p in group["params"]:
            grad = p._grad
            if grad is None:
                continue
            own = state[p]
            if not own:
                check_no_capture(self)
                own.update(start(p, near(group, p)))
            arrays.append(p._a)
            arrays.append(grad._a)
            for name in vectors:
                arrays.append(own[name]._a)
            for name in scalars:
                arrays.append(own[name]._a)
            advance_version(p)
        if group.get("capturable") and not all(a.__class__ is DeviceArray for a in arrays):
            raise AssertionError("If capturable=True, params and state_steps must be on supported devices: ['cuda'].")
        return arrays


def advance_version(p):
    """Counts a step as the in-place write that it is, so that backward notices a changed parameter."""
    (p._storage or storage_of(p)).version += 1


def zeros_like(p):
    """State of a parameter's shape and dtype, filled with zeros."""
    return wrap(np.zeros_like(p._a, order="C"))


def scalar(value=0.0, near=None):
    """A 0-dim state tensor, such as a step count: float32, or float64 where that is the default dtype.

    near: an array on whose device it is to be; None: on the host.
    """
    kind = np.float64 if dtypes.get_default_dtype() is dtypes.float64 else np.float32
    return wrap(np.array(value, kind) if near is None else np.full((), value, kind, like=near))


def counts_on_device(group):
    """Whether step counts of a group are with its parameters, on a CUDA device."""
    return bool(group.get("capturable") or group.get("fused"))


def near(group, p):
    """Where the scalars of a parameter's state are: with its array, or None for the host."""
    return p._a if counts_on_device(group) and p.is_cuda else None


def rate(group):
    """The learning rate of a group for the kernels: a float, or an array on the device where the step counts are, too."""
    lr = group["lr"]
    if lr.__class__ is float:
        return lr
    return lr._a if isinstance(lr, Tensor) and lr.is_cuda and counts_on_device(group) else float(lr)


def check_no_capture(optimizer):
    """RuntimeError for a state that would be made, and so made again at every replay, in a CUDA graph."""
    if _driver.in_use() and is_capturing():
        raise RuntimeError(f"the state of {type(optimizer).__name__} would be made inside of a CUDA graph, whose replays would "
                           "make it anew: call step() once before the capture")


def check_rate(lr, foreach=None):
    """torch's checks of a learning rate."""
    if isinstance(lr, Tensor):
        if foreach:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        if lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
    if not 0.0 <= lr:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_not_negative(**settings):
    """torch's ValueError for a negative setting: ``Invalid <name> value: <value>``."""
    for name, value in settings.items():
        if not 0.0 <= value:
            raise ValueError(f"Invalid {name} value: {value}")


def check_betas(betas):
    """torch's checks of Adam's two decay rates."""
    for i in range(2):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def _fit(value, param, on_device, key=None):
    """State from a dict as ``param`` needs it: tensors in its dtype on its device, containers walked.

    Step counts stay as they are; these and other scalars are float32 on a CUDA device if ``on_device``, else on the host.
    """
    if isinstance(value, Tensor):
        if key in _SCALARS and on_device and param.is_cuda:
            return value.to(param.device, dtypes.float32)
        if key == "step":
            return value
        return value.to("cpu" if key in _SCALARS else param.device, param.dtype if param.is_floating_point() else None)
    if isinstance(value, dict):
        return {k: _fit(v, param, on_device, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_fit(v, param, on_device) for v in value)
    return value


def _type_name(x):
    """The name torch gives a type in its messages: torch.FloatTensor, int."""
    if isinstance(x, Tensor):
        return x.type()
    return type(x).__name__
