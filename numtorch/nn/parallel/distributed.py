"""DistributedDataParallel: the same module in several processes, each with its part of every batch."""
from contextlib import contextmanager

import numpy as np

from ... import distributed as dist
from ...autograd.grad_mode import is_grad_enabled
from ...tensor import wrap
from ..modules.module import Module
from ..parameter import is_lazy
from ._reducer import Reducer

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """A module whose gradients are averaged over all processes after backward.

    With a loss that is a mean over the batch, and parts of equal size, the processes make the steps that one process would make
    on the joint batch. Parameters and buffers are those of the first process from the beginning, and buffers again before every
    forward.

    Args:
        module (Module): of the same parameters in all processes, at least one of which requires a gradient.
        device_ids, output_device: of GPUs; None.
        dim (int): 0.
        broadcast_buffers (bool): take the first process's buffers before every forward in training; default True.
        init_sync (bool): check that all have the same parameters, and take the first process's.
        process_group (ProcessGroup): default all processes.
        bucket_cap_mb (float): MiB of gradients that are reduced in one operation; default 25.
        find_unused_parameters (bool): after each forward, look for parameters that the output does not depend on.
        check_reduction (bool): ignored, as torch does.
        gradient_as_bucket_view (bool): gradients stay views of the memory that is reduced, which saves copies.
        static_graph (bool): the same parameters are unused in every iteration; they are looked for each time.
        delay_all_reduce_named_params, param_to_hook_all_reduce, mixed_precision, device_mesh, bucket_cap_mb_list,
        skip_all_reduce_unused_params, batched_grad_copy, forward_sync_buffers: not built.

    Raises:
        RuntimeError: no parameter requires a gradient, or processes have different ones; in forward: parameters did not get
            gradients in the last backward, and ``find_unused_parameters`` is off.
        ValueError: there is no default process group; ``device_ids`` are given.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0, broadcast_buffers=None, init_sync=True,
                 process_group=None, bucket_cap_mb=None, find_unused_parameters=False, check_reduction=False,
                 gradient_as_bucket_view=False, static_graph=False, delay_all_reduce_named_params=None,
                 param_to_hook_all_reduce=None, mixed_precision=None, device_mesh=None, skip_all_reduce_unused_params=False,
                 bucket_cap_mb_list=None, batched_grad_copy=False, forward_sync_buffers=None):
        super().__init__()
        for name in ("delay_all_reduce_named_params", "param_to_hook_all_reduce", "mixed_precision", "device_mesh",
                     "skip_all_reduce_unused_params", "bucket_cap_mb_list", "batched_grad_copy", "forward_sync_buffers"):
            if locals()[name]:
                raise NotImplementedError(f"DistributedDataParallel: {name} is not built; leave it out")
        self.process_group = dist.distributed_c10d._get_default_group() if process_group is None else process_group
        if not isinstance(module, Module):
            raise TypeError(f"DistributedDataParallel expects a Module, but got {type(module).__name__}")
        ignored = self.parameters_to_ignore = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))
        named = [(name, p) for name, p in module.named_parameters() if name not in ignored]
        if not any(p.requires_grad for _, p in named):
            raise RuntimeError("DistributedDataParallel is not needed when a module doesn't have any parameter that requires a "
                               "gradient.")
        if any(is_lazy(p) for _, p in named):
            raise RuntimeError("Modules with uninitialized parameters can't be used with `DistributedDataParallel`. Run a dummy "
                               "forward pass to correctly initialize the modules")
        if device_ids or output_device is not None:
            kinds = {p.device for _, p in named}
            raise ValueError("DistributedDataParallel device_ids and output_device arguments only work with "
                             "single-device/multiple-device GPU modules or CPU modules, but got device_ids "
                             f"{device_ids}, output_device {output_device}, and module parameters {kinds}.")
        self.device_ids = self.output_device = None
        self.module, self.dim, self.static_graph = module, dim, static_graph
        self.broadcast_buffers = True if broadcast_buffers is None else broadcast_buffers
        self.find_unused_parameters, self.gradient_as_bucket_view = find_unused_parameters, gradient_as_bucket_view
        self.bucket_bytes_cap = int((25 if bucket_cap_mb is None else bucket_cap_mb) * 1024 * 1024)
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        if init_sync:
            _check_alike([p for _, p in named], self.process_group)
            kept = [b for name, b in module.named_buffers() if name not in ignored]
            _copy_from_first([p for _, p in named] + kept, self.process_group)
        self._watch()

    def _watch(self):
        parameters = [p for name, p in self.module.named_parameters()
                      if p.requires_grad and name not in self.parameters_to_ignore]
        object.__setattr__(self, "reducer", Reducer(parameters, self.process_group, self.bucket_bytes_cap,
                                                    self.gradient_as_bucket_view))

    def __getstate__(self):
        state = super().__getstate__()
        if self.process_group is not dist.group.WORLD:
            raise RuntimeError("DDP Pickling/Unpickling are only supported when using DDP with the default process group. That "
                               "is, when you have called init_process_group and have not passed process_group argument to DDP "
                               "constructor")
        del state["process_group"], state["reducer"]
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        self.process_group = dist.distributed_c10d._get_default_group()
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        self._watch()

    def forward(self, *inputs, **kwargs):
        """What the module gives for the arguments."""
        syncs = is_grad_enabled() and self.require_backward_grad_sync
        if syncs:
            self.reducer.check_finished()
        if self.will_sync_module_buffers():
            _copy_from_first([b for name, b in self.module.named_buffers() if name not in self.parameters_to_ignore],
                             self.process_group)
        output = self.module(*inputs, **kwargs)
        self.require_forward_param_sync = syncs
        if syncs:
            self.reducer.arm(output if self.find_unused_parameters or self.static_graph else None)
        elif is_grad_enabled():
            self.reducer.armed = False      # inside no_sync: its backward only adds to the gradients
        return output

    def will_sync_module_buffers(self):
        """Whether the next forward takes the first process's buffers."""
        return self.require_forward_param_sync and self.broadcast_buffers and next(self.module.buffers(), None) is not None

    @contextmanager
    def no_sync(self):
        """Within it, backward only adds to this process's gradients; the first backward after it averages the sums.

        Both forward and backward have to be inside.
        """
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def join(self, divide_by_initial_world_size=True, enable=True, throw_on_early_termination=False):
        """NotImplementedError: every process needs the same number of batches, as DistributedSampler gives them."""
        raise NotImplementedError("DistributedDataParallel.join: uneven inputs are not built; give every process the same "
                                  "number of batches, as utils.data.distributed.DistributedSampler does")

    def register_comm_hook(self, state, hook):
        """NotImplementedError: gradients are averaged."""
        raise NotImplementedError("DistributedDataParallel.register_comm_hook is not built: gradients are averaged; use "
                                  "no_sync() and reduce the parameters' .grad yourself")


def _check_alike(parameters, group):
    """RuntimeError, in all processes, if one has other parameters than the first."""
    mine = [(list(p.shape), str(p.dtype)) for p in parameters]
    everybody = [None] * group.size()
    dist.all_gather_object(everybody, mine, group)
    rank, first = group.rank(), everybody[0]
    for other, theirs in enumerate(everybody):
        if len(theirs) != len(mine):
            raise RuntimeError(f"DDP expects same model across all ranks, but Rank {rank} has {len(mine)} params, while rank "
                               f"{other} has inconsistent {len(theirs)} params.")
    for other in (rank, *range(len(everybody))):
        whose = "this process" if other == rank else f"process {other}"
        for i, (found, expected) in enumerate(zip(everybody[other], first)):
            for what, a, b in zip(("sizes", "dtype"), found, expected):
                if a != b:
                    raise RuntimeError(f"[{rank}]: params[{i}] in {whose} with {what} {a} appears not to match {what} of the "
                                       "same param in process 0.")


def _copy_from_first(tensors, group):
    """Replaces the values of ``tensors`` by those of the group's first process."""
    data = np.empty(sum(t._a.nbytes for t in tensors), np.uint8)
    parts, begin = [], 0
    for t in tensors:
        parts.append(data[begin:begin + t._a.nbytes])
        begin += t._a.nbytes
    if group.rank() == 0:
        for t, part in zip(tensors, parts):
            part[:] = np.ascontiguousarray(t._a).reshape(-1).view(np.uint8)
    group.broadcast(wrap(data), 0).wait()
    if group.rank() != 0:
        for t, part in zip(tensors, parts):
            t._a[...] = part.view(t._a.dtype).reshape(t._a.shape)
