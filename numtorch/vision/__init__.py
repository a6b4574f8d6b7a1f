"""numtorch.vision: data sets, transforms and models of images, in torchvision's spelling; parts are imported at first use."""
import pkgutil
from importlib import import_module

# programs compare torchvision's version to learn which names there are: this is the torchvision whose names these are
__version__ = "0.28.0+numtorch"

_image_backend = "PIL"


def set_image_backend(backend):
    """Chooses the package that ``datasets.folder.default_loader`` reads images with.

    Args:
        backend (str): "PIL", or "accimage" where that package is installed.

    Raises:
        ValueError: another name.
    """
    global _image_backend
    if backend not in ("PIL", "accimage"):
        raise ValueError(f"Invalid backend '{backend}'. Options are 'PIL' and 'accimage'")
    _image_backend = backend


def get_image_backend():
    """The name of the package that images are read with: "PIL" or "accimage"."""
    return _image_backend


def _modules():
    return {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}


def __getattr__(name):
    if name in _modules():
        return import_module("." + name, __name__)
    from ..shim import no_attribute

    raise no_attribute(__name__, name, __dir__())


def __dir__():
    return sorted({*globals(), *_modules()})
