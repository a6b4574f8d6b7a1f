"""Module, the base of all layers: attributes that are parameters, buffers or submodules are registered by name."""
import inspect
import weakref
from collections import OrderedDict

from ...tensor import Tensor
from ..parameter import Buffer, Parameter
from . import _hooks as hooks
from ._hooks import (
    HookMixin,
    call_with_hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from ._hooks import backward as _backward
from ._hooks import backward_pre as _backward_pre
from ._hooks import forward as _forward
from ._hooks import forward_pre as _forward_pre
from ._state import StateMixin, _IncompatibleKeys
from ._tree import TreeMixin

__all__ = ["Module", "_IncompatibleKeys", "register_module_backward_hook", "register_module_buffer_registration_hook",
           "register_module_forward_hook", "register_module_forward_pre_hook", "register_module_full_backward_hook",
           "register_module_full_backward_pre_hook", "register_module_module_registration_hook",
           "register_module_parameter_registration_hook"]

_MISSING = object()
_TABLES = ("_parameters", "_buffers", "_modules")
_HOOK_TABLES = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
                "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
                "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")


class Table(dict):
    """A module's parameters, buffers or submodules by name, each also an entry of the module's ``__dict__``.

    The table is what counts; the entries let Python find ``self.weight`` without asking ``__getattr__``, which costs fifty
    times as much. Modules are held weakly, so that the last reference to one frees its memory at once; there is more than
    one where ``copy.copy`` made modules that share their tables.
    """

    __slots__ = ("owners",)

    def __init__(self, owner, content=()):
        self.owners = [weakref.ref(owner)]
        self.update(content)

    def __setitem__(self, name, value):
        dict.__setitem__(self, name, value)
        for reference in self.owners:
            owner = reference()
            # a property or method of the class hides the entry, as it hides what torch's __getattr__ would find
            if owner is not None and getattr(type(owner), name, _MISSING) is _MISSING:
                owner.__dict__[name] = value

    def __delitem__(self, name):
        self.pop(name)

    def pop(self, name, *default):
        """The value of ``name``, which is removed; or the default."""
        if name not in self:
            return dict.pop(self, name, *default)
        value = dict.pop(self, name)
        for reference in self.owners:
            owner = reference()
            if owner is not None and owner.__dict__.get(name, _MISSING) is value:
                del owner.__dict__[name]
        return value

    def popitem(self):
        """Removes the last name; returns it with its value."""
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self):
        """Removes all names."""
        for name in list(self):
            self.pop(name)

    def update(self, *args, **kwargs):
        """Sets the names and values of another dict, of pairs, or of keywords."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def setdefault(self, name, default=None):
        """The value of ``name``, set to ``default`` if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def __ior__(self, other):
        self.update(other)
        return self

    def __reduce_ex__(self, protocol):
        return (dict, (dict(self),))


def typename(value):
    """The name of a value's type as torch's messages give it, such as torch.FloatTensor or int."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
    return ("torch" + module[len("numtorch"):] if module.startswith("numtorch.") else module) + kind.__qualname__


def _addindent(text, spaces):
    """All lines of ``text`` but the first indented."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line if line.strip() else "" for line in rest)])


class Module(TreeMixin, HookMixin, StateMixin):
    """A layer, or a whole model made of layers. Subclasses call ``super().__init__()``, set attributes, define ``forward``.

    Attributes that are a Parameter, a Buffer or a Module are registered: ``parameters()``, ``state_dict()``, ``to()``,
    ``train()`` and the rest reach them. ``training`` tells layers such as Dropout how to behave.

    >>> import numtorch as torch
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = torch.nn.Linear(2, 1)
    ...     def forward(self, x):
    ...         return self.fc(x).relu()
    >>> [name for name, _ in Net().named_parameters()]
    ['fc.weight', 'fc.bias']
    """

    _version = 1                # of the layout of the state dict; saved in its metadata
    call_super_init = False     # with multiple inheritance: pass arguments on to the next __init__
    dump_patches = False

    def __init__(self, *args, **kwargs):
        if self.call_super_init is False:
            name = type(self).__name__
            if kwargs:
                raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        own = self.__dict__
        own["training"], own["_is_full_backward_hook"], own["_non_persistent_buffers_set"] = True, None, set()
        for name in _HOOK_TABLES:
            own[name] = OrderedDict()
        for name in _TABLES:
            own[name] = Table(self)
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input):
        """The computation; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args, **kwargs):
        if not (self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
                or _forward or _forward_pre or _backward or _backward_pre):
            return self.forward(*args, **kwargs)
        return call_with_hooks(self, args, kwargs)

    _call_impl = __call__

    def compile(self, *args, **kwargs):
        """NotImplementedError: there is no compiler of modules yet."""
        raise NotImplementedError("Module.compile: compiling a module is not built; call the module without it")

    # ---- attributes ----------------------------------------------------------------------------------------------------

    def __getattr__(self, name):
        own = self.__dict__
        for table in _TABLES:
            if table in own and name in own[table]:
                return own[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        own = self.__dict__
        params = own.get("_parameters")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in own:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_modules")
            self._set_module(name, value)
        elif params is not None and name in own["_modules"]:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)")
            self._set_module(name, value)
        elif params is not None and name in own["_buffers"] or isinstance(value, Buffer):
            self._set_buffer(name, value)
        elif name in _TABLES:
            self._set_table(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name):
        for table in _TABLES:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self.__dict__.pop(name, None)       # where the table is plain
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self):
        keys = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers]
        return sorted({key for key in keys if not key[0].isdigit()})

    def _forget(self, name, kept):
        """Removes an attribute that is about to become one of another kind."""
        own = self.__dict__
        for table in _TABLES:
            if table != kept:
                own[table].pop(name, None)
        if name not in own[kept]:
            own.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _enter(self, table, name, value):
        table = self.__dict__[table]
        table[name] = value
        if type(table) is not Table and getattr(type(self), name, _MISSING) is _MISSING:
            self.__dict__[name] = value             # a user's __setstate__ left a plain dict

    def _set_module(self, name, module):
        for hook in hooks.module_registration.values():
            found = hook(self, name, module)
            module = module if found is None else found
        self._enter("_modules", name, module)

    def _set_buffer(self, name, value):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"cannot assign '{typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None "
                            "expected)")
        persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
        register = self.register_buffer
        if getattr(register, "__func__", None) is Module.register_buffer \
                or "persistent" in inspect.signature(register).parameters:
            register(name, value, persistent)
        elif persistent:
            register(name, value)
        else:
            raise RuntimeError("Registering a non-persistent buffer on a Module subclass that implements register_buffer() "
                               "without the persistent argument is not allowed.")

    def _set_table(self, name, content):
        """Replaces a whole table: what only the old one held is no longer an attribute."""
        own = self.__dict__
        for key, value in own.get(name, {}).items():
            if own.get(key, _MISSING) is value:
                del own[key]
        own[name] = Table(self, content)

    def __copy__(self):
        found = type(self).__new__(type(self))
        if type(self).__getstate__ is not Module.__getstate__:
            found.__setstate__(self.__getstate__())
            return found
        found.__dict__.update(self.__dict__)
        for name in _TABLES:
            table = found.__dict__.get(name)
            if type(table) is Table:
                table.owners.append(weakref.ref(found))
        return found

    def __getstate__(self):
        state = self.__dict__.copy()
        for name in _TABLES:
            table = state.get(name)
            if table is not None:
                state[name] = dict(table)
                for key, value in table.items():
                    if state.get(key, _MISSING) is value:
                        del state[key]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        own = self.__dict__
        for name in _TABLES:
            if name in own:
                own[name] = Table(self, own[name])
        for name in _HOOK_TABLES:
            own.setdefault(name, OrderedDict())
        own.setdefault("_non_persistent_buffers_set", set())
        own.setdefault("_is_full_backward_hook", None)

    def _check_name(self, kind, table, name):
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name, tensor, persistent=True):
        """Adds a buffer: a tensor of the module's state that is not trained.

        Args:
            name (str): the attribute.
            tensor (Tensor or None): its value; None is not part of the state dict.
            persistent (bool): whether it is part of the state dict.
        """
        self._check_name("buffer", "_buffers", name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)")
        for hook in hooks.buffer_registration.values():
            found = hook(self, name, tensor)
            tensor = tensor if found is None else found
        self._enter("_buffers", name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name, param):
        """Adds a parameter.

        Args:
            name (str): the attribute.
            param (Parameter or None): its value; None is not part of the state dict.
        """
        self._check_name("parameter", "_parameters", name)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"cannot assign '{typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None "
                                "required)")
            if param.grad_fn is not None:
                raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                                 f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                                 "forward() method.")
            for hook in hooks.parameter_registration.values():
                found = hook(self, name, param)
                param = param if found is None else found
        self._enter("_parameters", name, param)

    def add_module(self, name, module):
        """Adds a submodule.

        Args:
            name (str): the attribute.
            module (Module or None): its value.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", "_modules", name)
        self._set_module(name, module)

    def register_module(self, name, module):
        """Alias of ``add_module``."""
        self.add_module(name, module)

    # ---- printing ------------------------------------------------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """The line(s) that a subclass adds to the module's printed form."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        if len(lines) == 1 and not self._modules:
            return f"{self._get_name()}({extra})"
        lines += [f"({name}): {_addindent(repr(module), 2)}" for name, module in self._modules.items()]
        return self._get_name() + ("(\n  " + "\n  ".join(lines) + "\n)" if lines else "()")
