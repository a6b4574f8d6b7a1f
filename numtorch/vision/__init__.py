"""numtorch.vision: data sets of images, in torchvision's spelling."""
from importlib import import_module


def __getattr__(name):
    if name == "datasets":
        return import_module(".datasets", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
