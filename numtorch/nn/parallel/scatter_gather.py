"""Splitting a batch over devices, and joining what comes back."""
from ...devices import check, device
from ...ops.join import cat
from ...tensor import Tensor

__all__ = ["gather", "scatter", "scatter_kwargs"]


def device_of(where):
    """A device, its name, or the number of a CUDA device, as a device that can be used."""
    return check(device("cuda", where) if isinstance(where, int) else device(where))


def _rebuilt(kind, items):
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def scatter(inputs, target_gpus, dim=0):
    """Splits the tensors in ``inputs`` into as many parts as there are devices; other objects are repeated.

    Args:
        inputs: a tensor, or a nest of tuples, lists and dicts.
        target_gpus (list): devices.
        dim (int): the dimension that is split.

    Returns:
        list: one nest of the same structure a device; fewer, where there are too few elements.
    """
    devices = [device_of(d) for d in target_gpus]

    def split(value):
        if isinstance(value, Tensor):
            return [part.to(d) for part, d in zip(value.chunk(len(devices), dim), devices)]
        if isinstance(value, (tuple, list)) and len(value):
            kind = type(value)
            return [_rebuilt(kind, items) for items in zip(*map(split, value))]
        if isinstance(value, dict) and len(value):
            return [type(value)(items) for items in zip(*(split_item(item) for item in value.items()))]
        return [value for _ in devices]

    def split_item(item):
        return [(item[0], part) for part in split(item[1])]

    return split(inputs)


def scatter_kwargs(inputs, kwargs, target_gpus, dim=0):
    """``scatter`` of positional and keyword arguments.

    Returns:
        (tuple of tuples, tuple of dicts): of one length, that of the one with more parts.
    """
    args = scatter(inputs, target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    n = max(len(args), len(named))
    args += [()] * (n - len(args))
    named += [{}] * (n - len(named))
    return tuple(args), tuple(named)


def gather(outputs, target_device, dim=0):
    """Joins what several devices gave, on one of them.

    Args:
        outputs (list): one nest of tensors a device, of the same structure.
        target_device: where to; "cpu" or -1 for the CPU.
        dim (int): the dimension along which tensors are joined; 0-dim tensors become one of dimension 1.

    Raises:
        ValueError: dicts have different keys.
    """
    where = device_of("cpu" if target_device == -1 else target_device)

    def join(parts):
        first = parts[0]
        if isinstance(first, Tensor):
            parts = [part.to(where) for part in parts]
            return cat([part.unsqueeze(0) for part in parts] if all(part.dim() == 0 for part in parts) else parts, dim)
        if first is None:
            return None
        if isinstance(first, dict):
            if not all(len(first) == len(part) for part in parts):
                raise ValueError("All dicts must have the same number of keys")
            return type(first)((key, join([part[key] for part in parts])) for key in first)
        return _rebuilt(type(first), map(join, zip(*parts)))

    return join(outputs)
