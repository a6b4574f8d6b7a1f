"""Marks on functions (ignore, unused, export), and the small functions that mean the same in Python and in a script."""
import functools
import typing

from . import types as T
from .types import Future

__all__ = ["Attribute", "Final", "Future", "annotate", "export", "fork", "ignore", "interface", "is_scripting", "is_tracing",
           "isinstance_of", "overload_method", "script_if_tracing", "unused", "unwrap_optional", "wait"]

Final = typing.Final
tracing = [None]        # the state of the trace that runs, if one does


class Attribute(typing.NamedTuple):
    """A value and its type, to be assigned in the constructor of a ScriptModule.

    Args:
        value: the value. type: the annotation, such as ``Dict[str, int]``.
    """

    value: object
    type: object


def export(fn):
    """Marks a method to be compiled although forward does not call it; returns the method."""
    fn._jit_mode = "export"
    return fn


def unused(fn):
    """Marks a method that a script may not reach: where it is called, the script raises an exception."""
    if isinstance(fn, property):
        unused(fn.fget)
        return fn
    fn._jit_mode = "unused"
    return fn


def ignore(drop=False, **kwargs):
    """Marks a method or function that scripts leave to Python: ``@ignore``, or ``@ignore(drop=True)``, which is ``@unused``.

    Args:
        drop (bool): the script raises an exception in place of the call, and can be saved.
    """
    if callable(drop):
        drop._jit_mode = "ignore"
        return drop
    if not isinstance(drop, bool):
        raise RuntimeError(f"Argument to @torch.jit.ignore must be a bool or a function but got {drop}")
    if kwargs:
        import warnings

        drop = bool(kwargs.get("drop_on_export", drop))
        warnings.warn("ignore(drop_on_export=True) has been deprecated. TorchScript will now drop the function call on "
                      "compilation. "
                      "Use torch.jit.unused now. {}", FutureWarning, stacklevel=2)

    def mark(fn):
        fn._jit_mode = "unused" if drop else "ignore"
        return fn
    return mark


overloads = {}          # (module, qualified name) -> the declarations of a method for several types of arguments


def overload_method(fn):
    """Declares one of several signatures of a method, whose own definition comes last; returns the declaration."""
    overloads.setdefault((fn.__module__, fn.__qualname__), []).append(fn)
    return fn


def mode_of(fn):
    """"ignore" or "unused" for a function so marked; None for others."""
    mode = getattr(fn, "_jit_mode", None)
    return mode if mode in ("ignore", "unused") else None


def interface(obj):
    """NotImplementedError: types of modules by their methods are not built."""
    raise NotImplementedError("jit.interface: module interfaces are not built; call the module's own type")


def is_scripting():
    """False in Python; True in a script."""
    return False


def is_tracing():
    """True while ``jit.trace`` runs the function."""
    return tracing[0] is not None and tracing[0].is_here()


def annotate(the_type, the_value):
    """``the_value``; a script takes it to be of ``the_type``, such as ``annotate(List[int], [])``."""
    return the_value


def unwrap_optional(x):
    """``x``, which must not be None."""
    if x is None:
        raise AssertionError("Unwrapping null optional")
    return x


def isinstance_of(obj, target_type):
    """Whether a value is of an annotation's type, elements of containers included.

    Args:
        obj: the value. target_type: an annotation such as ``List[int]``, or a tuple of them.
    """
    kinds = target_type if isinstance(target_type, tuple) else (target_type,)
    wanted = [T.from_annotation(k) for k in kinds]
    if None in wanted:
        raise RuntimeError(f"jit.isinstance: {target_type} is no type that scripts know")
    from .schema import _Misfit, convert

    for kind in wanted:
        try:
            if isinstance(obj, int) and kind == T.FLOAT:
                continue
            convert(obj, kind)
            return True
        except _Misfit:
            continue
    return False


isinstance_of.__name__ = "isinstance"


def fork(func, *args, **kwargs):
    """Runs ``func(*args, **kwargs)`` and returns a Future of its result, which is there at once."""
    return Future(func(*args, **kwargs))


def wait(future):
    """The result of a Future."""
    return future.wait()


def script_if_tracing(fn):
    """Decorator: the function is compiled by ``jit.script`` the first time that it is called in a trace, so that the trace keeps
    its control flow; outside traces it runs as it is."""
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        if not is_tracing():
            return fn(*args, **kwargs)
        from .script import script

        return script(wrapper.__original_fn)(*args, **kwargs)
    wrapper.__original_fn = fn
    wrapper.__script_if_tracing_wrapper = True
    return wrapper
