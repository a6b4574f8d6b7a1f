"""numtorch.utils: the data pipeline (``data``) and what programs look for beside it, imported at first use."""
from importlib import import_module

_MODULES = frozenset(("data", "model_zoo"))


def __getattr__(name):
    if name in _MODULES:
        return import_module("." + name, __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
