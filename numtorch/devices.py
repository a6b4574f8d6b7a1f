"""The device object, and the device of tensors that name none."""


import numpy as np


class device:
    """Where a tensor lives: ``device("cpu")``, ``device("cuda:1")``, ``device("cuda", 1)``.

    >>> device("cuda", 1)
    device(type='cuda', index=1)
    """

    __slots__ = ("type", "index")
    _types = ("cpu", "cuda", "meta", "mps", "xpu")

    def __init__(self, type, index=None):
        if isinstance(type, device):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int):
            type, index = "cuda", type
        name, colon, number = type.partition(":")
        if name not in self._types:
            raise RuntimeError(f"Expected one of cpu, cuda, mps, xpu, meta device type at start of device string: {type}")
        if colon:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {type}")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(number)
        self.type, self.index = name, index

    def __repr__(self):
        return f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other):
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self):
        return hash((self.type, self.index))

    def __reduce__(self):
        return (device, (self.type, self.index))

    def __enter__(self):
        _stack.append(check(self))
        return self

    def __exit__(self, *exc):
        _stack.pop()


cpu = device("cpu")
_stack = [cpu]


def check(d):
    """``d`` (None: the default) as a device that tensors can be on; torch's error for one that is not there."""
    if d is None:
        return _stack[-1]
    if d is cpu:
        return cpu
    d = device(d)
    if d.type == "cpu":
        return cpu
    if d.type == "cuda":
        return _cuda(d.index)
    raise NotImplementedError(f"numtorch has no {d.type} device; use device='cpu'")


def _cuda(index):
    """The CUDA device ``index`` (None: the current one); RuntimeError where it is not there."""
    from .kernels import _driver

    driver = _driver.current()
    if index is None:
        index = driver.device()
    elif index >= driver.count():
        raise RuntimeError(f"CUDA error: invalid device ordinal: cuda:{index}, and there are {driver.count()} devices")
    return device("cuda", index)


def of(array):
    """The device that an array is on."""
    return cpu if array.__class__ is np.ndarray else device("cuda", array.device)


def prototype(d):
    """For NumPy's ``like=``: None for the CPU, else an array on device ``d`` (checked; None: the default device)."""
    d = check(d)
    if d.type == "cpu":
        return None
    from .kernels import _device

    return _device.empty((), np.dtype(bool), d.index)


def get_default_device():
    """The device of tensors made without ``device=``."""
    return _stack[-1]


def set_default_device(d):
    """Sets the device of tensors made without ``device=``."""
    _stack[0] = check(d) if d is not None else cpu
