"""Schedules that rise and fall: cyclic, one cycle, cosine with warm restarts."""
import math
import types

from ._scheduler import LRScheduler, check_optimizer, per_group, set_value


def _uses_beta1(optimizer):
    """Whether the momentum to cycle is beta1 of ``betas``; ValueError for an optimiser without momentum."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
    return "betas" in optimizer.defaults


def _set_momentum(group, value, use_beta1):
    if use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class CyclicLR(LRScheduler):
    """lr goes up from base_lr to max_lr and back, in triangles, arXiv:1506.01186; momentum the other way
    round.

    Args:
        optimizer (Optimizer): whose rates are set, once a batch.
        base_lr, max_lr (float or list): ends of the cycle, one or one a group.
        step_size_up, step_size_down (int): steps of each half; step_size_down is step_size_up if left out.
        mode: ``"triangular"``; ``"triangular2"`` halves the height each cycle; ``"exp_range"`` multiplies it
            by gamma each step.
        scale_fn: the height's factor as a function of cycle or step (``scale_mode`` ``"cycle"`` or
            ``"iterations"``); in place of mode.
        cycle_momentum (bool), base_momentum, max_momentum: cycle momentum (or beta1) as well.
        last_epoch (int): -1, or the step to resume after.
    """

    def __init__(self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None, mode="triangular",
                 gamma=1.0,
                 scale_fn=None, scale_mode="cycle", cycle_momentum=True, base_momentum=0.8, max_momentum=0.9,
                 last_epoch=-1):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = per_group("base_lr", base_lr, optimizer)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups):
                set_value(group, "lr", lr)
        self.max_lrs = per_group("max_lr", max_lr, optimizer)
        up = float(step_size_up)
        self.total_size = up + (float(step_size_down) if step_size_down is not None else up)
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode, self.gamma, self._custom = mode, gamma, scale_fn
        by_cycle = mode in ("triangular", "triangular2")
        self.scale_mode = scale_mode if scale_fn is not None else "cycle" if by_cycle else "iterations"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            self.base_momentums = per_group("base_momentum", base_momentum, optimizer)
            self.max_momentums = per_group("max_momentum", max_momentum, optimizer)
            if last_epoch == -1:
                for low, high, group in zip(self.base_momentums, self.max_momentums, optimizer.param_groups):
                    _set_momentum(group, high, self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x):
        """The factor of the triangle's height in cycle or at step ``x``."""
        if self._custom is not None:
            return self._custom(x)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (x - 1)
        return 1.0 if self.mode == "triangular" else self.gamma ** x

    def get_lr(self):
        """The rates of this step; sets momentum as well."""
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for low, high, group in zip(self.base_momentums, self.max_momentums,
                                        self.optimizer.param_groups):
                _set_momentum(group, high - (high - low) * share * scale, self.use_beta1)
        return [low + (high - low) * share * scale for low, high in zip(self.base_lrs, self.max_lrs)]

    def state_dict(self):
        """All attributes but the optimiser; of a callable scale_fn its attributes, of a function None."""
        found = {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "_custom")}
        custom = self._custom
        found["_scale_fn_custom"] = (None if custom is None or isinstance(custom, types.FunctionType)
                                     else custom.__dict__.copy())
        return found

    def load_state_dict(self, state_dict):
        """Takes over a dict that ``state_dict`` made; a function stays as it is."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "_scale_fn_custom"})
        if state_dict["_scale_fn_custom"] is not None:
            self._custom.__dict__.update(state_dict["_scale_fn_custom"])


class OneCycleLR(LRScheduler):
    """lr goes from max_lr / div_factor up to max_lr and down far below its start, arXiv:1708.07120; momentum
    inversely.

    Args:
        optimizer (Optimizer): whose rates are set, once a batch.
        max_lr (float or list): the peak, one or one a group.
        total_steps (int): length of the cycle; or epochs and steps_per_epoch.
        pct_start (float): share of the cycle that rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum (bool), base_momentum, max_momentum: cycle momentum (or beta1) as well.
        div_factor (float): first rate is max_lr / div_factor; final_div_factor: last one is that /
            final_div_factor.
        three_phase (bool): come down to the first rate as fast as it rose, then to the last one.
        last_epoch (int): -1, or the step to resume after.

    Raises:
        ValueError: settings out of range, or more steps than the cycle has.
    """

    def __init__(self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None, pct_start=0.3,
                 anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85, max_momentum=0.95,
                 div_factor=25.0, final_div_factor=1e4, three_phase=False, last_epoch=-1):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _cycle_length(total_steps, epochs, steps_per_epoch)
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        last, rise = self.total_steps - 1, float(pct_start * self.total_steps) - 1
        corners = [(rise, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            corners += [(2 * pct_start * self.total_steps - 2, "max_lr", "initial_lr", "base_momentum",
                         "max_momentum"),
                        (last, "initial_lr", "min_lr", "max_momentum", "max_momentum")]
        else:
            corners += [(last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        self._schedule_phases = [dict(zip(names, corner)) for corner in corners]
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got "
                             f"{anneal_strategy}")
        self._anneal_func_type = anneal_strategy
        max_lrs = per_group("max_lr", max_lr, optimizer)
        if last_epoch == -1:
            for peak, group in zip(max_lrs, optimizer.param_groups):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            if last_epoch == -1:
                highs = per_group("max_momentum", max_momentum, optimizer)
                lows = per_group("base_momentum", base_momentum, optimizer)
                for high, low, group in zip(highs, lows, optimizer.param_groups):
                    _set_momentum(group, high, self.use_beta1)
                    group["max_momentum"], group["base_momentum"] = high, low
        super().__init__(optimizer, last_epoch)

    def _anneal_func(self, start, end, share):
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
        return (end - start) * share + start

    def get_lr(self):
        """The rates of this step; sets momentum as well."""
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is "
                             f"{self.total_steps}")
        start, phases = 0.0, self._schedule_phases
        for phase in phases:
            if step <= phase["end_step"] or phase is phases[-1]:
                break
            start = phase["end_step"]
        share = (step - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._anneal_func(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                low, high = group[phase["start_momentum"]], group[phase["end_momentum"]]
                _set_momentum(group, self._anneal_func(low, high, share), self.use_beta1)
        return rates


def _cycle_length(total_steps, epochs, steps_per_epoch):
    """The number of steps in a cycle, from either way of giving it."""
    if total_steps is not None:
        given = {"total_steps": total_steps}
    elif epochs is not None and steps_per_epoch is not None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    else:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    length = 1
    for name, value in given.items():
        if value <= 0 or not isinstance(value, int):
            raise ValueError(f"Expected positive integer {name}, but got {value}")
        length *= value
    return length


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr falls on a half cosine to eta_min and starts again, arXiv:1608.03983.

    Args:
        optimizer (Optimizer): whose rates are set.
        T_0 (int): epochs of the first fall; each one after it takes T_mult (int) times as many.
        eta_min (float): least rate.
        last_epoch (int): -1, or the epoch to resume after.
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0, self.T_i, self.T_mult, self.eta_min, self.T_cur = T_0, T_0, T_mult, eta_min, last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """eta_min + (initial_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2."""
        self._warn_outside_step()
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch=None):
        """Sets the rates of the next epoch, or those of ``epoch``, which may be a fraction such as 2 + batch
        / batches."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            self._place(epoch)
        self.last_epoch = math.floor(epoch)
        with self._in_step():
            values = self.get_lr()
        self._write(values)

    def _place(self, epoch):
        """T_cur and T_i at an epoch, by the sum of the falls before it."""
        if epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        self.T_i, self.T_cur = self.T_0, epoch
        if epoch >= self.T_0:
            if self.T_mult == 1:
                self.T_cur = epoch % self.T_0
            else:
                n = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
                self.T_cur = epoch - self.T_0 * (self.T_mult ** n - 1) / (self.T_mult - 1)
                self.T_i = self.T_0 * self.T_mult ** n
