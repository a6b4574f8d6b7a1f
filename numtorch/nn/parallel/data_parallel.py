"""DataParallel: one process, a module on several GPUs, each with its part of the batch."""
from ..modules.module import Module
from .parallel_apply import parallel_apply
from .replicate import replicate
from .scatter_gather import gather, scatter_kwargs

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Splits a batch over CUDA devices, runs copies of ``module`` on the parts, and joins the outputs.

    Where there is no CUDA device it is the module itself.

    Args:
        module (Module): what is run; its parameters are on the first device.
        device_ids (list of int): CUDA devices; default all.
        output_device (int): where outputs are joined; default the first.
        dim (int): the dimension that is split.

    >>> import numtorch as torch
    >>> torch.nn.parallel.DataParallel(torch.nn.Linear(2, 1))(torch.zeros(3, 2)).shape
    torch.Size([3, 1])
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module, self.dim = module, dim
        there = _all_devices()
        if not there:
            self.device_ids = []
            return
        self.device_ids = there if device_ids is None else list(device_ids)
        if not self.device_ids:
            raise RuntimeError("no available devices were found")
        self.output_device = self.device_ids[0] if output_device is None else output_device

    def forward(self, *inputs, **kwargs):
        """What the module gives for the arguments."""
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        return data_parallel(self.module, inputs, self.device_ids, self.output_device, self.dim, kwargs)


def _all_devices():
    """The numbers of the CUDA devices."""
    from ... import cuda

    return list(range(cuda.device_count()))


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """One call of a module on several devices.

    Args:
        module (Module): is copied to each device.
        inputs: a tensor, or a tuple of arguments.
        device_ids (list): devices, or numbers of CUDA devices; default all CUDA devices.
        output_device: where outputs are joined; default the first.
        dim (int): the dimension that is split.
        module_kwargs (dict): keyword arguments.

    Raises:
        RuntimeError: there is no device.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,) if inputs is not None else ()
    device_ids = _all_devices() if device_ids is None else device_ids
    if not device_ids:
        raise RuntimeError("no available devices were found")
    args, kwargs = scatter_kwargs(inputs, module_kwargs, device_ids, dim)
    if not args:
        args, kwargs = ((),), ({},)
    if len(device_ids) == 1:
        return module(*args[0], **kwargs[0])
    used = device_ids[:len(args)]
    outputs = parallel_apply(replicate(module, used), args, kwargs, used)
    return gather(outputs, device_ids[0] if output_device is None else output_device, dim)
