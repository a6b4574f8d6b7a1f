"""numtorch.utils: the data pipeline (``numtorch.utils.data``), imported at its first use."""
from importlib import import_module


def __getattr__(name):
    if name == "data":
        return import_module(".data", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
