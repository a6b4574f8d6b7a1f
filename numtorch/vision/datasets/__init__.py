"""Data sets of images, in torchvision's spelling; each module is imported when one of its names is first used."""
from importlib import import_module

_MODULES = {
    "cifar": ("CIFAR10", "CIFAR100"),
    "digits": ("Digits",),
    "fakedata": ("FakeData",),
    "folder": ("DatasetFolder", "ImageFolder"),
    "imagenet": ("ImageNet",),
    "mnist": ("EMNIST", "FashionMNIST", "KMNIST", "MNIST", "QMNIST"),
    "semeion": ("SEMEION",),
    "stl10": ("STL10",),
    "svhn": ("SVHN",),
    "usps": ("USPS",),
    "utils": (),
    "vision": ("VisionDataset",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _MODULES:
        return import_module("." + name, __name__)
    if name in _HOME:
        return getattr(import_module("." + _HOME[name], __name__), name)
    from ...shim import no_attribute

    raise AttributeError(str(no_attribute(__name__, name, __all__))
                         + ("; DatasetFolder and VisionDataset are there to build it on" if name[:1].isupper() else ""))


def __dir__():
    return sorted({*globals(), *_MODULES, *_HOME})
