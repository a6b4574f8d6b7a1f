"""``Variable``: what tensors that record operations were called before torch 0.4. Every tensor is one."""
from .._legacy import legacy
from ..ops.create import empty
from ..tensor import Tensor


class _Meta(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor)


class Variable(metaclass=_Meta):
    """A tensor on the memory of ``data``, without its history; ``isinstance(t, Variable)`` holds for every tensor.

    Args:
        data (Tensor): the values; an empty tensor if left out.
        requires_grad (bool): whether a gradient is computed for it.
        volatile: was removed from torch; a warning says so. What is computed from it is recorded where it meets parameters.

    Raises:
        TypeError: data is not a tensor.
        RuntimeError: ``requires_grad`` for a dtype that is neither floating nor complex.

    >>> import numtorch as torch
    >>> torch.autograd.Variable(torch.ones(2), requires_grad=True)  # and a DeprecationWarning
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        if volatile:
            legacy("volatile was removed and now has no effect. Use `with torch.no_grad():` instead.")
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if requires_grad and not (data.is_floating_point() or data.is_complex()):
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        legacy("Variable(t) is a tensor like any other: use t.requires_grad_(), or t as it is")
        return data.data.requires_grad_(requires_grad)
