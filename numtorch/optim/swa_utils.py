"""Averages of a model's weights along training: AveragedModel, update_bn, and the schedule SWALR
(arXiv:1803.05407)."""
import copy
import itertools
import math

from .. import no_grad, tensor
from ..nn import Module
from ..nn.modules.batchnorm import _BatchNorm
from ._scheduler import LRScheduler, per_group

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
           "get_swa_multi_avg_fn", "update_bn"]


def _check_decay(decay):
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay=0.999):
    """An avg_fn: decay average + (1 - decay) parameter, the exponential moving average."""
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param
    return ema_update


def get_swa_avg_fn():
    """An avg_fn: the mean of all parameters so far."""
    @no_grad()
    def swa_update(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)
    return swa_update


def _in_place(average, current, weight):
    if average.is_floating_point() or average.is_complex():
        average.lerp_(current, weight)
    else:
        average.copy_(average * (1 - weight) + current * weight)


def get_ema_multi_avg_fn(decay=0.999):
    """A multi_avg_fn that writes decay average + (1 - decay) parameter into all averages."""
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param_list, current_param_list, num_averaged):
        for average, current in zip(ema_param_list, current_param_list):
            _in_place(average, current, 1 - decay)
    return ema_update


def get_swa_multi_avg_fn():
    """A multi_avg_fn that writes the mean of all parameters so far into all averages."""
    @no_grad()
    def swa_update(averaged_param_list, current_param_list, num_averaged):
        for average, current in zip(averaged_param_list, current_param_list):
            _in_place(average, current, 1 / (float(num_averaged) + 1))
    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's along training.

    Args:
        model (Module): is copied as it is now.
        device: where the copy goes.
        avg_fn: (average, parameter, number averaged) -> new average; the running mean if left out.
        multi_avg_fn: the same in place on lists of all averages and parameters; at most one of both.
        use_buffers (bool): average the buffers as well; otherwise they are copied from the model.
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args, **kwargs):
        """The averaged model's output."""
        return self.module(*args, **kwargs)

    def _averaged(self, model):
        if self.use_buffers:
            return list(itertools.chain(model.parameters(), model.buffers()))
        return list(model.parameters())

    @no_grad()
    def update_parameters(self, model):
        """Takes the present parameters of ``model`` into the averages."""
        averages = [p.detach() for p in self._averaged(self.module)]
        current = [p.detach() for p in self._averaged(model)]
        if self.n_averaged == 0:
            for average, new in zip(averages, current):
                average.copy_(new)
        elif self.avg_fn is not None:
            for average, new in zip(averages, current):
                average.copy_(self.avg_fn(average, new, self.n_averaged))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            update(averages, current, self.n_averaged)
        if not self.use_buffers:
            for own, new in zip(self.module.buffers(), model.buffers()):
                own.detach().copy_(new.detach())
        self.n_averaged += 1


@no_grad()
def update_bn(loader, model, device=None):
    """Sets the running mean and variance of a model's batch norm layers to those of the data, by one pass
    over it.

    Args:
        loader: batches; of a tuple or list the first element is the model's input.
        model (Module): its batch norm layers are reset first.
        device: where batches are moved to.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    training, momenta = model.training, [layer.momentum for layer in layers]
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None                           # the plain mean over batches
    for batch in loader:
        x = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(x if device is None else x.to(device))
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """lr goes from what it is to swa_lr in anneal_epochs, and stays there.

    Args:
        optimizer (Optimizer): whose rates are set.
        swa_lr (float or list): last rate, one or one a group.
        anneal_epochs (int): at least 0.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        last_epoch (int): -1, or the epoch to resume after.
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for rate, group in zip(per_group("swa_lr", swa_lr, optimizer), optimizer.param_groups):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got "
                             f"{anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step):
        """How far the rate has come from its start to swa_lr after ``step`` epochs."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self):
        """The next rate, with the start deduced from the present one."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group, lr in zip(self.optimizer.param_groups, self._rates()):
            end = group["swa_lr"]
            start = end if before == 1 else (lr - end * before) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
