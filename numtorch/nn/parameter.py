"""Parameter and Buffer: tensors that a Module registers when they become its attributes; and their lazy forms."""
from ..ops import create
from ..tensor import Tensor, new, storage_of

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]


class Parameter(Tensor):
    """A tensor that is a module's parameter: assigned as an attribute of a Module, it appears in ``parameters()``.

    Args:
        data (Tensor): its values, whose memory it shares; default an empty tensor.
        requires_grad (bool): whether a gradient is computed for it.

    Raises:
        RuntimeError: ``requires_grad`` for a dtype that is neither floating nor complex.

    >>> import numtorch as torch
    >>> torch.nn.Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = create.empty(0)
        alias = data.detach()
        found = new(cls)
        found._a, found._storage = alias._a, storage_of(alias)
        if alias._inference:
            found._inference = True
        if requires_grad:
            if not (alias.is_floating_point() or alias.is_complex()):
                raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
            found._rg = True
        return found

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self._rg)
        return memo[id(self)]

    def __repr__(self, *, tensor_contents=None):
        return "Parameter containing:\n" + super().__repr__()


class _BufferMeta(type):
    """A Buffer is a plain tensor with a mark, so that operations on it need not know it."""

    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(metaclass=_BufferMeta):
    """Marks a tensor as a module's buffer: assigned as an attribute of a Module, it appears in ``buffers()``.

    Args:
        data (Tensor): its values, whose memory it shares; default an empty tensor.
        persistent (bool): whether it is part of the module's state dict.
    """

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = create.empty(0)
        found = data.detach().requires_grad_(data.requires_grad)
        found.persistent, found._is_buffer = persistent, True
        return found


class UninitializedTensorMixin:
    """A parameter or buffer of which only dtype and device are known, until ``materialize`` gives it a shape."""

    cls_to_become = Tensor

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        found = new(cls)
        found._held = create.empty(0, device=device, dtype=dtype)
        found._rg = requires_grad
        return found

    def materialize(self, shape, device=None, dtype=None):
        """Gives the tensor ``shape`` and memory that is not initialised; from here on it is of its final class."""
        data = create.empty(tuple(shape), device=device, dtype=dtype or self._held.dtype)
        del self._held
        self.__class__ = self.cls_to_become
        self.data = data

    @property
    def _a(self):
        name = type(self).__name__
        raise ValueError(
            f"Attempted to use an uninitialized parameter in an operation. This error happens when you are using a "
            f"`LazyModule` or explicitly manipulating `torch.nn.parameter.{name}` objects. When using LazyModules Call "
            "`forward` with a dummy batch to initialize the parameters before calling torch functions")

    @property
    def shape(self):
        """There is none yet: RuntimeError."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` to "
            "initialize the parameters before accessing their attributes.")

    def share_memory_(self):
        """RuntimeError: there is no memory yet."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`.")

    @property
    def dtype(self):
        """The element type that the tensor will have."""
        return self._held.dtype

    @property
    def data(self):
        """An empty tensor of the dtype."""
        return self._held

    @data.setter
    def data(self, value):
        self._held = value

    def requires_grad_(self, requires_grad=True):
        """Sets whether a gradient will be computed; returns the tensor itself."""
        self._rg = requires_grad
        return self

    def is_floating_point(self):
        """True when the dtype is floating."""
        return self._held.is_floating_point()

    def is_complex(self):
        """True when the dtype is complex."""
        return self._held.is_complex()

    def __repr__(self, *, tensor_contents=None):
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self._rg, None, self._held.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return (type(self), (self._rg, None, self._held.dtype))


def _on_held(name):
    def method(self, *args, **kwargs):
        return getattr(self._held, name)(*args, **kwargs)
    method.__name__ = name
    method.__doc__ = f"``Tensor.{name}`` of the empty tensor that holds dtype and device."
    return method


for _name in ("half", "float", "double", "bfloat16", "to", "cpu", "cuda", "type"):
    setattr(UninitializedTensorMixin, _name, _on_held(_name))


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A Parameter without a shape, of a lazy module.

    Args:
        requires_grad (bool): whether a gradient will be computed for it.
        device, dtype: of the parameter that it will become.
    """

    cls_to_become = Parameter


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer without a shape, of a lazy module.

    Args:
        requires_grad (bool): whether a gradient will be computed for it.
        device, dtype: of the buffer that it will become.
        persistent (bool): whether it is part of the module's state dict.
    """

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        found = UninitializedTensorMixin.__new__(cls, requires_grad, device, dtype)
        found.persistent, found._is_buffer = persistent, True
        return found


def is_lazy(param):
    """True for a parameter or buffer that has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
