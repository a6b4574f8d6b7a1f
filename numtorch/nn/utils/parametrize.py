"""Parametrisations: a parameter is computed from others whenever it is read."""
import copy
from collections.abc import Sequence
from contextlib import contextmanager

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
           "transfer_parametrizations_and_params", "type_before_parametrizations"]

_cache = {}
_depth = [0]


@contextmanager
def cached():
    """Within the block, a parametrised tensor is computed at its first use only."""
    _depth[0] += 1
    try:
        yield
    finally:
        _depth[0] -= 1
        if not _depth[0]:
            _cache.clear()


def _register(module, name, value):
    (module.register_parameter if isinstance(value, Parameter) else module.register_buffer)(name, value)


def _check_same(old, new, what):
    """ValueError unless the parametrised tensor is a tensor of the dtype and shape it had."""
    if not isinstance(new, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(new).__name__}.")
    for kind, a, b in (("dtype", old[0], new.dtype), ("shape", old[1], new.shape)):
        if a != b:
            raise ValueError(f"Registering a parametrization may not change the {kind} of the tensor, unless {what} flag is "
                             f"enabled.\nunparametrized {kind}: {a}\nparametrized {kind}: {b}")


class ParametrizationList(ModuleList):
    """The parametrisations of one tensor, in the order in which they are applied, and the tensor(s) that they start from.

    Args:
        modules (Modules): at least one; ``right_inverse``, where a module has it, computes the first originals.
        original (Tensor): the tensor that is parametrised.
        unsafe (bool): dtype and shape may change.
    """

    def __init__(self, modules, original, unsafe=False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe, old, new = unsafe, (original.dtype, original.shape), original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        continue        # the module cannot be assigned to: it starts from the tensor as it is
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                             f"{type(new).__name__}")
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if original.dtype != new.dtype:
                raise ValueError("When `right_inverse` outputs one tensor, it may not change the dtype.\noriginal.dtype: "
                                 f"{original.dtype}\nright_inverse(original).dtype: {new.dtype}")
            original.data = new.data
            _register(self, "original", original)
        else:
            for i, value in enumerate(new):
                if not isinstance(value, Tensor):
                    raise ValueError("'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                                     "tuple...). Got element "
                                     f"{i} of the sequence with type {type(value).__name__}.")
                if isinstance(original, Parameter):
                    value = Parameter(value, original.requires_grad)
                _register(self, f"original{i}", value.requires_grad_(original.requires_grad))
        if not unsafe:
            _check_same(old, self(), "`unsafe`")

    def right_inverse(self, value):
        """Sets the originals, so that the parametrised tensor becomes ``value``."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
            if self.is_tensor:
                if not isinstance(value, Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
                if value.dtype != self.original.dtype:
                    raise ValueError(f"The tensor returned by `right_inverse` has dtype {value.dtype} while `original` has dtype "
                                     f"{self.original.dtype}")
                self.original.data = value.data
                return
            if not isinstance(value, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
            if len(value) != self.ntensors:
                raise ValueError(f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got "
                                 "a sequence of "
                                 f"length {len(value)}.")
            for i, one in enumerate(value):
                own = getattr(self, f"original{i}")
                if one.dtype != own.dtype:
                    raise ValueError(f"Tensor {i} returned by `right_inverse` has dtype {one.dtype} while `original{i}` has "
                                     f"dtype {own.dtype}")
                own.data = one.data

    def forward(self):
        """The parametrised tensor."""
        first, *rest = self
        x = first(self.original) if self.is_tensor else first(*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        for module in rest:
            x = module(x)
        return x


def _make_parametrized(module):
    """Gives a module a class of its own, which can have properties."""
    cls = type(module)

    def deepcopy(self, memo):
        found = cls.__new__(type(self))
        memo[id(self)] = found
        found.__setstate__(copy.deepcopy(super(type(self), self).__getstate__(), memo))
        return found

    def getstate(self):
        raise RuntimeError("Serialization of parametrized modules is only supported through state_dict(). See:\n"
                           "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
                           "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training")
    methods = {"__getstate__": getstate, "__module__": cls.__module__}
    if not hasattr(cls, "__deepcopy__"):
        methods["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), methods)


def _add_property(module, name):
    def get(self):
        if not _depth[0]:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def set(self, value):
        self.parametrizations[name].right_inverse(value)
    setattr(type(module), name, property(get, set))


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """From now on, reading ``module.<tensor_name>`` computes ``parametrization(original)``; returns the module.

    Args:
        module (Module): whose parameter or buffer it is.
        tensor_name (str): its name.
        parametrization (Module): of the original tensor; with ``right_inverse``, the tensor can also be assigned to.
        unsafe (bool): dtype and shape may change.

    Raises:
        ValueError: there is no such tensor, or dtype or shape change.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            now = getattr(module, tensor_name)
            found = parametrization(now)
            _check_same((now.dtype, now.shape), found, "the `unsafe`")
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        parametrizations = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _make_parametrized(module)
            module.parametrizations = ModuleDict()
        _add_property(module, tensor_name)
        module.parametrizations[tensor_name] = parametrizations
    else:
        raise ValueError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
                         f"'{tensor_name}'")
    return module


def is_parametrized(module, tensor_name=None):
    """True if the module has a parametrisation, of ``tensor_name`` if that is given."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Makes a tensor plain again; returns the module.

    Args:
        module (Module): whose tensor it is.
        tensor_name (str): its name.
        leave_parametrized (bool): it keeps the value it has now; if False, it gets back the original one.

    Raises:
        ValueError: the tensor is not parametrised, or is computed from several and should get back the original one.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrizations = module.parametrizations[tensor_name]
    if parametrizations.is_tensor:
        original = parametrizations.original
        if leave_parametrized:
            with no_grad():
                original.data = getattr(module, tensor_name).data
    elif leave_parametrized:
        now = getattr(module, tensor_name)
        original = Parameter(now) if now.requires_grad else now
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
                         "sequence of tensors.")
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module):
    """The class that a module had before it was parametrised."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Parametrises ``to_module`` as ``from_module`` is, with the same originals; returns it.

    Args:
        from_module, to_module (Module): from where, to where.
        tensor_name (str): only this tensor.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        for own in ["original"] if source.is_tensor else [f"original{i}" for i in range(source.ntensors)]:
            setattr(to_module.parametrizations[name], own, getattr(source, own))
    return to_module
