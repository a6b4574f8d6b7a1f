"""What a CUDA device has no kernel for is done in the host's memory: copies there, the CPU's way, the result back.

Kernels and ``DeviceArray`` raise ``OnHost`` where they cannot go on; nothing has been written by then. The copies are recorded
like any ``Tensor.to``, so gradients find their way. Each operation says so once.
"""
import warnings

from .kernels._device import DeviceArray
from .kernels._driver import OnHost
from .tensor import Tensor

__all__ = ["OnHost", "backward", "call", "first_device"]

_said = set()


def first_device(tree):
    """The device of the first CUDA tensor in nested arguments, or None."""
    if isinstance(tree, Tensor):
        return tree.device if type(tree._a) is DeviceArray else None
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        return None
    return next((d for d in map(first_device, tree) if d is not None), None)


def _moved(tree, device):
    """Nested arguments or results with every Tensor (and bare DeviceArray) on ``device``."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, DeviceArray):
        return tree.on_host() if device == "cpu" else tree
    if type(tree) in (tuple, list):
        return type(tree)(_moved(part, device) for part in tree)
    if isinstance(tree, tuple):                                 # a named result
        make = getattr(tree, "_make", type(tree))
        return make([_moved(part, device) for part in tree])
    if type(tree) is dict:
        return {key: _moved(value, device) for key, value in tree.items()}
    return tree


def _say(name, why):
    if name not in _said:
        _said.add(name)
        warnings.warn(f"{name}: there is no CUDA kernel for {why}; it runs on the CPU, with copies both ways", UserWarning,
                      stacklevel=4)


def call(name, fn, args, kwargs, why):
    """``fn(*args, **kwargs)`` on host copies, its results on the device of the arguments."""
    device = first_device((args, kwargs))
    if device is None:
        raise RuntimeError(f"{name}: no argument is on a CUDA device, yet {why} was asked of one") from why
    _say(name, why)
    kwargs = {key: value for key, value in kwargs.items() if key != "device"}
    return _moved(fn(*_moved(args, "cpu"), **_moved(kwargs, "cpu")), device)


class _HostNode:
    """A node of the tape as its backward function sees it, with what it saved in the host's memory."""

    def __init__(self, node):
        self._node = node

    def __getattr__(self, name):
        return getattr(self._node, name)

    @property
    def ctx(self):
        return _moved(self._node.ctx, "cpu")

    @property
    def saved_tensors(self):
        return [None if t is None else _kept(t) for t in self._node.saved_tensors]


def _kept(t):
    """A saved tensor on the host; a leaf where the tape is off, for backward functions that record their operation again."""
    moved = t.to("cpu")
    if t._rg and not moved._rg:
        moved.requires_grad_()
    return moved


def backward(node, g, why):
    """A node's backward function on host copies; its gradients on the device of the incoming ones."""
    device = first_device(g if node.outs > 1 else (g,))
    _say(node.name(), why)
    if node.outs > 1:
        results = node.backward_function(_HostNode(node), *_moved(list(g), "cpu"))
    else:
        results = node.backward_function(_HostNode(node), _moved(g, "cpu"))
    return _moved(results, device)
