"""Hooks of modules: their registration, for one module or for all, and the call of a module that has some."""
import functools
import warnings
import weakref
from collections import OrderedDict

from ...autograd.grad_mode import mode
from ...autograd.node import RemovableHandle
from ...op import grad_name, record
from ...ops import create
from ...tensor import Tensor

# tables of hooks for all modules; ``full_backward`` is None until a backward hook of one of the two kinds is there
buffer_registration, module_registration, parameter_registration = OrderedDict(), OrderedDict(), OrderedDict()
backward_pre, backward, forward_pre, forward = OrderedDict(), OrderedDict(), OrderedDict(), OrderedDict()
forward_always, forward_kwargs = OrderedDict(), OrderedDict()
full_backward = [None]

_BOTH_KINDS = "Cannot use both regular backward hooks and full backward hooks {}. Please use only one of them."


def register_module_buffer_registration_hook(hook):
    """Calls ``hook(module, name, buffer)`` when any module gets a buffer; what it returns, unless None, is registered."""
    return RemovableHandle(buffer_registration, hook)


def register_module_module_registration_hook(hook):
    """Calls ``hook(module, name, submodule)`` when any module gets a submodule; a result other than None replaces it."""
    return RemovableHandle(module_registration, hook)


def register_module_parameter_registration_hook(hook):
    """Calls ``hook(module, name, parameter)`` when any module gets a parameter; a result other than None replaces it."""
    return RemovableHandle(parameter_registration, hook)


def register_module_forward_pre_hook(hook):
    """Calls ``hook(module, args)`` before every module's forward; a result other than None replaces the arguments."""
    return RemovableHandle(forward_pre, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Calls ``hook(module, args, output)`` after every module's forward; a result other than None replaces the output.

    Args:
        with_kwargs (bool): call ``hook(module, args, kwargs, output)``.
        always_call (bool): call it also when forward raises.
    """
    handle = RemovableHandle(forward, hook, (forward_always, forward_kwargs))
    if with_kwargs:
        forward_kwargs[handle.id] = True
    if always_call:
        forward_always[handle.id] = True
    return handle


def register_module_backward_hook(hook):
    """The older, incomplete form of ``register_module_full_backward_hook``."""
    if full_backward[0] is True:
        raise RuntimeError(_BOTH_KINDS.format("as a global Module hook"))
    full_backward[0] = False
    return RemovableHandle(backward, hook)


def register_module_full_backward_pre_hook(hook):
    """Calls ``hook(module, grad_output)`` before every module's backward; a result other than None replaces it."""
    return RemovableHandle(backward_pre, hook)


def register_module_full_backward_hook(hook):
    """Calls ``hook(module, grad_input, grad_output)`` when the gradients of any module's inputs are computed; a result
    other than None replaces ``grad_input``."""
    if full_backward[0] is False:
        raise RuntimeError(_BOTH_KINDS.format("as a global Module hook"))
    full_backward[0] = True
    return RemovableHandle(backward, hook)


class WrappedHook:
    """A hook that gets its module as first argument without keeping it alive."""

    def __init__(self, hook, module=None):
        self.hook, self.with_module = hook, module is not None
        functools.update_wrapper(self, hook)
        if module is not None:
            self.module = weakref.ref(module)

    def __call__(self, *args, **kwargs):
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self):
        state = {"hook": self.hook, "with_module": self.with_module}
        if self.with_module:
            state["module"] = self.module()
        return state

    def __setstate__(self, state):
        self.hook, self.with_module = state["hook"], state["with_module"]
        if self.with_module:
            if state["module"] is None:
                raise RuntimeError("You are trying to revive the hook of a dead Module!")
            self.module = weakref.ref(state["module"])


def _register(table, hook, prepend, extra=()):
    handle = RemovableHandle(table, hook, extra)
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


class HookMixin:
    """The part of Module that registers hooks on one module. Every method returns a handle whose ``remove()`` undoes it."""

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Calls ``hook(module, grad_output)`` when the gradients of this module's outputs are computed.

        Args:
            hook: a tuple that it returns replaces ``grad_output``.
            prepend (bool): run it before the hooks that are there.
        """
        return _register(self._backward_pre_hooks, hook, prepend)

    def register_backward_hook(self, hook):
        """The older, incomplete form of ``register_full_backward_hook``: sees only the last operation of the module."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(_BOTH_KINDS.format("on a single Module"))
        self._is_full_backward_hook = False
        return _register(self._backward_hooks, hook, False)

    def register_full_backward_hook(self, hook, prepend=False):
        """Calls ``hook(module, grad_input, grad_output)`` when the gradients of this module's inputs are computed.

        Args:
            hook: a tuple that it returns replaces ``grad_input``. Entries of arguments that are no tensors are None.
            prepend (bool): run it before the hooks that are there.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(_BOTH_KINDS.format("on a single Module"))
        self._is_full_backward_hook = True
        return _register(self._backward_hooks, hook, prepend)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Calls ``hook(module, args)`` before forward; a result other than None replaces the positional arguments.

        Args:
            prepend (bool): run it before the hooks that are there.
            with_kwargs (bool): call ``hook(module, args, kwargs)``, which returns None or ``(args, kwargs)``.
        """
        handle = _register(self._forward_pre_hooks, hook, prepend, (self._forward_pre_hooks_with_kwargs,))
        if with_kwargs:
            self._forward_pre_hooks_with_kwargs[handle.id] = True
        return handle

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Calls ``hook(module, args, output)`` after forward; a result other than None replaces the output.

        Args:
            prepend (bool): run it before the hooks that are there.
            with_kwargs (bool): call ``hook(module, args, kwargs, output)``.
            always_call (bool): call it also when forward raises.
        """
        handle = _register(self._forward_hooks, hook, prepend,
                           (self._forward_hooks_with_kwargs, self._forward_hooks_always_called))
        if with_kwargs:
            self._forward_hooks_with_kwargs[handle.id] = True
        if always_call:
            self._forward_hooks_always_called[handle.id] = True
        return handle

    def _get_backward_hooks(self):
        full, partial = [], []
        if full_backward[0] is not None:
            (full if full_backward[0] else partial).extend(backward.values())
        if self._is_full_backward_hook is not None:
            (full if self._is_full_backward_hook else partial).extend(self._backward_hooks.values())
        return full, partial


def call_with_hooks(module, args, kwargs):
    """``module.forward`` between all its hooks."""
    call = _Call(module, args, kwargs)
    try:
        return call.run()
    except Exception:
        call.run_always_called()
        raise


class _Call:
    """One call of a module with hooks; its attributes are what ``always_call`` hooks see after an error."""

    def __init__(self, module, args, kwargs):
        self.module, self.args, self.kwargs, self.result, self.called = module, args, kwargs, None, set()

    def run(self):
        module = self.module
        pre = [*backward_pre.values(), *module._backward_pre_hooks.values()]
        full, partial = module._get_backward_hooks()
        self.before()
        watch = None
        if full or pre:
            watch = BackwardHook(module, full, pre)
            self.args = watch.setup_input_hook(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        self.after()
        if watch:
            if not isinstance(self.result, (Tensor, tuple)):
                warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but "
                              f"received {type(self.result)}", stacklevel=5)
            self.result = watch.setup_output_hook(self.result)
        if partial:
            node = _first_tensor(self.result).grad_fn
            if node is not None:
                for hook in partial:
                    node.register_hook(WrappedHook(hook, module))
                _warn_of_partial_hook(self.args, self.result, node)
        return self.result

    def before(self):
        module = self.module
        for key, hook in (*forward_pre.items(), *module._forward_pre_hooks.items()):
            if key in module._forward_pre_hooks_with_kwargs:
                found = hook(module, self.args, self.kwargs)
                if found is not None:
                    if not (isinstance(found, tuple) and len(found) == 2):
                        raise RuntimeError("forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                                           f"{found}.")
                    self.args, self.kwargs = found
            else:
                found = hook(module, self.args)
                if found is not None:
                    self.args = found if isinstance(found, tuple) else (found,)

    def after(self):
        for key, hook in (*forward.items(), *self.module._forward_hooks.items()):
            if key in self.module._forward_hooks_always_called or key in forward_always:
                self.called.add(key)
            self.call_forward_hook(key, hook)

    def call_forward_hook(self, key, hook):
        if key in self.module._forward_hooks_with_kwargs or key in forward_kwargs:
            found = hook(self.module, self.args, self.kwargs, self.result)
        else:
            found = hook(self.module, self.args, self.result)
        if found is not None:
            self.result = found

    def run_always_called(self):
        for table, always, what in ((forward, forward_always, "global module forward hook"),
                                    (self.module._forward_hooks, self.module._forward_hooks_always_called,
                                     "module forward hook")):
            for key, hook in table.items():
                if key not in always or key in self.called:
                    continue
                try:
                    self.call_forward_hook(key, hook)
                except Exception as error:
                    warnings.warn(f"{what} with ``always_call=True`` raised an exception that was silenced as another error "
                                  f"was raised in forward: {error}", stacklevel=4)


def _first_tensor(value):
    while not isinstance(value, Tensor):
        value = next(v for v in value.values() if isinstance(v, Tensor)) if isinstance(value, dict) else value[0]
    return value


def _warn_of_partial_hook(inputs, result, node):
    """Warns where a non-full backward hook does not see all gradients of its module."""
    missing = None
    results = (result,) if isinstance(result, Tensor) else result
    if not (isinstance(results, tuple) and all(isinstance(r, Tensor) for r in results)):
        missing = ("on a Module that does not return a single Tensor or a tuple of Tensors is deprecated and will be removed "
                   "in future versions. This hook will be missing some of the grad_output. Please use "
                   "register_full_backward_hook to get the documented behavior.")
    elif not all(isinstance(i, Tensor) for i in inputs):
        missing = ("on a Module that does not take as input a single Tensor or a tuple of Tensors is deprecated and will be "
                   "removed in future versions. This hook will be missing some of the grad_input. Please use "
                   "register_full_backward_hook to get the documented behavior.")
    if missing:
        warnings.warn("Using non-full backward hooks " + missing, FutureWarning, stacklevel=6)
        return
    nodes = {r.grad_fn for r in results if r.grad_fn is not None}
    if len(nodes) > 1:
        missing = ("when outputs are generated by different autograd Nodes is deprecated and will be removed in future "
                   "versions. This hook will be missing some grad_output. Please use register_full_backward_hook to get the "
                   "documented behavior.")
    elif {i.grad_fn for i in inputs if i.grad_fn is not None} != {n for n, _ in node.next_functions}:
        missing = ("when the forward contains multiple autograd Nodes is deprecated and will be removed in future versions. "
                   "This hook will be missing some grad_input. Please use register_full_backward_hook to get the documented "
                   "behavior.")
    if missing:
        warnings.warn("Using a non-full backward hook " + missing, FutureWarning, stacklevel=6)


# ---- full backward hooks: two nodes that change nothing, around the module ----------------------------------------------

@grad_name("BackwardHookFunctionBackward")
def _pass_backward(node, *gradients):
    return tuple(create.zeros(shape, dtype=dtype) if g is None else g
                 for g, (shape, dtype) in zip(gradients, node.ctx["outputs"]))


def _pass(tensors):
    """The tensors, as outputs of one new node."""
    aliases = tuple(t.detach() for t in tensors)
    return record(aliases, _pass_backward, tensors, (), outputs=[(t.shape, t.dtype) for t in tensors])


class BackwardHook:
    """Runs a module's full backward hooks: pre-hooks at the node after its outputs, hooks at the node before its inputs."""

    def __init__(self, module, user_hooks, user_pre_hooks):
        self.module, self.user_hooks, self.user_pre_hooks = module, user_hooks, user_pre_hooks
        self.grad_outputs = self.inputs = self.outputs = None
        self.n_inputs = self.n_outputs = 0

    def _watch(self, args, register):
        """``args`` with their differentiable tensors passed through a node with a hook; and the places of those."""
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not places or not mode.enabled:
            return args, None
        passed = _pass([args[i] for i in places])
        passed[0].grad_fn.register_hook(register)
        found = list(args)
        for i, t in zip(places, passed):
            found[i] = t
        return (tuple(found) if type(args) is tuple else type(args)(*found)), places

    def setup_input_hook(self, args):
        """The module's arguments, watched."""
        self.n_inputs = len(args)
        args, self.inputs = self._watch(args, self._at_inputs)
        return args

    def setup_output_hook(self, result):
        """The module's result, watched."""
        several = isinstance(result, tuple)
        outputs = result if several else (result,)
        self.n_outputs = len(outputs)
        outputs, self.outputs = self._watch(outputs, self._at_outputs)
        return outputs if several else outputs[0]

    def _at_outputs(self, _, grad_output):
        gradients = [None] * self.n_outputs
        for i, g in zip(self.outputs, grad_output):
            gradients[i] = g
        self.grad_outputs = tuple(gradients)
        for hook in self.user_pre_hooks:
            found = hook(self.module, self.grad_outputs)
            if found is None:
                continue
            found = (found,) if isinstance(found, Tensor) else found
            if len(found) != self.n_outputs:
                raise RuntimeError(f"Backward pre hook returned an invalid number of grad_output, got {len(found)}, but "
                                   f"expected {self.n_outputs}")
            self.grad_outputs = found
        passed = tuple(self.grad_outputs[i] for i in self.outputs)
        if self.inputs is None:
            self._without_inputs()
        return passed

    def _without_inputs(self):
        warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
                      "require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module"
                      ".register_full_backward_hook for more details.", stacklevel=5)
        for hook in self.user_hooks:
            found = hook(self.module, (None,) * self.n_inputs, self.grad_outputs)
            if found is not None and not (isinstance(found, tuple) and all(f is None for f in found)):
                raise RuntimeError("Backward hook for Modules where no input requires gradient should always return None or "
                                   "None for all gradients.")
        self.grad_outputs = None

    def _at_inputs(self, grad_input, _):
        if self.grad_outputs is None:
            return None
        gradients = [None] * self.n_inputs
        for i, g in zip(self.inputs, grad_input):
            gradients[i] = g
        gradients = tuple(gradients)
        for hook in self.user_hooks:
            found = hook(self.module, gradients, self.grad_outputs)
            if found is None:
                continue
            found = (found,) if isinstance(found, Tensor) else found
            if len(found) != self.n_inputs:
                raise RuntimeError(f"Backward hook returned an invalid number of grad_input, got {len(found)}, but expected "
                                   f"{self.n_inputs}")
            gradients = found
        self.grad_outputs = None
        return tuple(gradients[i] for i in self.inputs)
