"""Walks over a module and its submodules: iterators, look-up by dotted name, conversion, modes."""
import warnings

from ...autograd.grad_mode import no_grad
from ...ops import create
from ...ops.convert import parse_to
from ..parameter import Parameter


class TreeMixin:
    """The part of Module that reaches all its submodules, parameters and buffers."""

    # ---- iterators -----------------------------------------------------------------------------------------------------

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """(full name, module) of this module and all below it, parents first.

        Args:
            memo (set): modules to leave out; those found are added.
            prefix (str): put before every name.
            remove_duplicate (bool): leave out a module that was met before.
        """
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, prefix + ("." if prefix else "") + name, remove_duplicate)

    def modules(self, remove_duplicate=True):
        """This module and all below it, parents first."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self):
        """(name, module) of the direct submodules, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self):
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in get_members_fn(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield path + ("." if path else "") + name, value

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """(full name, parameter) of this module and, unless ``recurse`` is False, all below it.

        Args:
            prefix (str): put before every name.
            recurse (bool): also those of submodules.
            remove_duplicate (bool): leave out a parameter that was met before.
        """
        yield from self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """The parameters of this module and, unless ``recurse`` is False, of all below it."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """(full name, buffer); arguments as those of ``named_parameters``."""
        yield from self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """The buffers of this module and, unless ``recurse`` is False, of all below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ---- look-up by dotted name ----------------------------------------------------------------------------------------

    def get_submodule(self, target):
        """The submodule of a dotted name such as "layer1.0.conv"; itself for "".

        Raises:
            AttributeError: names the part that is not there, or is no module.
        """
        module = self
        for name in target.split(".") if target else ():
            found = _attribute(module, name)
            if not isinstance(found, TreeMixin):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = found
        return module

    def set_submodule(self, target, module, strict=False):
        """Puts ``module`` at a dotted name.

        Args:
            target (str): the name; its parents must exist.
            strict (bool): there must be a submodule of that name already.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, TreeMixin):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(_attribute(parent, name), TreeMixin):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target):
        """The parameter of a dotted name; AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        found = _attribute(self.get_submodule(path), name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target):
        """The buffer of a dotted name; AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = _attribute(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # ---- conversion ----------------------------------------------------------------------------------------------------

    def apply(self, fn):
        """Calls ``fn(module)`` for all modules below this one, then for this one; returns it."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn, recurse=True):
        """Replaces the memory of every parameter, gradient and buffer by that of ``fn`` of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                found = fn(param)
                grad = None if param.grad is None else fn(param.grad)
            param.data = found
            if grad is not None:
                param.grad.data = grad
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Converts parameters and buffers: floating ones to a dtype, all to a device; in place, returns the module.

        Args:
            args: a dtype; a device and perhaps a dtype; or a Tensor, whose dtype and device are taken.
            non_blocking, memory_format: as torch's.

        Raises:
            TypeError: the dtype is neither floating nor complex.
        """
        dtype, device, _, memory_format, non_blocking = parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                                f"dtype={dtype}")
            if dtype.is_complex:
                warnings.warn("Complex modules are a new feature under active development whose design may change, and some "
                              "modules might not work as expected when using complex tensors as parameters or buffers.",
                              stacklevel=2)

        def convert(t):
            own = dtype if t.is_floating_point() or t.is_complex() else None
            layout = memory_format if memory_format is not None and t.dim() in (4, 5) else None
            return t.to(device, own) if layout is None else t.to(device, own, memory_format=layout)
        return self._apply(convert)

    def to_empty(self, *, device, recurse=True):
        """Moves parameters and buffers to a device without copying their values.

        Args:
            device: where to.
            recurse (bool): also those of submodules.
        """
        return self._apply(lambda t: create.empty_like(t, device=device), recurse)

    def cpu(self):
        """Moves all parameters and buffers to the CPU; returns the module."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """Moves all parameters and buffers to a CUDA device; returns the module."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type):
        """Converts all parameters and buffers to a dtype; returns the module."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Converts floating parameters and buffers to float32; returns the module."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self):
        """Converts floating parameters and buffers to float64; returns the module."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self):
        """Converts floating parameters and buffers to float16; returns the module."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self):
        """Converts floating parameters and buffers to bfloat16; returns the module."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self):
        """Moves parameters and buffers to memory that processes share; returns the module."""
        return self._apply(lambda t: t.share_memory_())

    # ---- modes and gradients -------------------------------------------------------------------------------------------

    def train(self, mode=True):
        """Sets ``training`` of this module and all below it; returns it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Sets whether gradients are computed for all parameters; returns the module."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Removes the gradients of all parameters, or fills them with zeros.

        Args:
            set_to_none (bool): False fills them with zeros.
        """
        for param in self.parameters():
            if param.grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                if param.grad.grad_fn is not None:
                    param.grad.detach_()
                else:
                    param.grad.requires_grad_(False)
                param.grad.zero_()


def _attribute(module, name):
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)
