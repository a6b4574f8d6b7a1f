"""Neural networks: layers, losses, their functions and their initial values."""
from importlib import import_module

from . import functional, init, modules, parameter, utils
from .modules import *
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [*modules.__all__, "Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "functional", "init",
           "modules", "parameter", "utils", "factory_kwargs"]


def __getattr__(name):
    if name in ("parallel", "DataParallel"):        # which needs what processes share, at its first use
        parallel = import_module(".parallel", __name__)
        return parallel if name == "parallel" else parallel.DataParallel
    if name == "attention":
        return import_module(".attention", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def factory_kwargs(kwargs):
    """The device, dtype and memory_format in a module's keywords, and in its keyword ``factory_kwargs``, as one dict.

    Raises:
        TypeError: another keyword, or one that is in both.
    """
    if kwargs is None:
        return {}
    simple = {"device", "dtype", "memory_format"}
    unknown = kwargs.keys() - simple - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    found = dict(kwargs.get("factory_kwargs", {}))
    for key in simple & kwargs.keys():
        if key in found:
            raise TypeError(f"{key} specified twice, in **kwargs and in factory_kwargs")
        found[key] = kwargs[key]
    return found
