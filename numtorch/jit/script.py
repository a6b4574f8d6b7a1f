"""``jit.script``: compiles functions and modules."""
import enum
import inspect

from ..nn.modules.module import Module
from . import annotations
from .module import ScriptFunction, ScriptModule
from .session import Session, marked


def script(obj, optimize=None, _frames_up=0, _rcb=None, example_inputs=None):
    """Compiles a function, or a module's forward and what it calls, into a graph that keeps if, for and while.

    Args:
        obj: a Python function, or an nn.Module. Arguments without an annotation are Tensors.
        optimize: deprecated, as in torch.
        example_inputs: for torch's type inference from example calls, which is not built.

    Returns:
        A ScriptFunction, or a ScriptModule that shares the parameters and buffers of ``obj``.

    Raises:
        RuntimeError, NotSupportedError: the program uses something that scripts do not have; the message shows the line.

    >>> import numtorch as torch
    >>> @torch.jit.script
    ... def f(x, n: int):
    ...     for _ in range(n):
    ...         x = x * 2
    ...     return x
    """
    if optimize is not None:
        import warnings

        warnings.warn("`optimize` is deprecated and has no effect. Use `with torch.jit.optimized_execution()` instead",
                      FutureWarning, stacklevel=2)
    if example_inputs is not None:
        raise NotImplementedError("jit.script: example_inputs is not built; annotate the types of the arguments")
    if isinstance(obj, (ScriptModule, ScriptFunction)):
        return obj
    if isinstance(obj, Module):
        return script_module(obj)
    if inspect.isclass(obj):
        if issubclass(obj, Module):
            raise RuntimeError(f"Type '{obj}' cannot be compiled since it inherits from nn.Module, pass an instance instead")
        if issubclass(obj, (enum.Enum, tuple)):
            return obj
        raise NotImplementedError(f"jit.script: the class '{obj.__name__}' is not compiled; use a NamedTuple, an nn.Module or "
                                  "functions")
    if not callable(obj) or not inspect.isroutine(obj):
        raise TypeError(f"jit.script expects a function or an nn.Module, got {type(obj).__name__}")
    return Session().function(obj)


def script_module(module):
    """The ScriptModule of a module."""
    session = Session()
    builder = session.build(module)
    compile_methods(session, module, builder)
    return builder.target


def compile_methods(session, module, builder):
    """Compiles forward and the exported methods of a module and of those below it that it does not reach itself."""
    fn = builder.function("forward")
    if fn is not Module.forward and fn is not None and annotations.mode_of(fn) is None and not isinstance(module, ScriptModule):
        builder.method("forward")
    for name, member in marked(type(module)).items():
        if member._jit_mode == "export":
            builder.method(name, member)
    for child in module._modules.values():
        inner = session.builders.get(id(child))
        if inner is not None:
            compile_methods(session, child, inner)


def finish_script_module(module, stubs):
    """Compiles the marked methods of an instance of a ScriptModule's subclass."""
    session = Session()
    builder = session.build(module, module)
    for name, fn in stubs.items():
        builder.method(name, fn)
    for child in module._modules.values():
        for inner in session.builders.values():
            if inner.target is child:
                compile_methods(session, inner.original, inner)
