"""Models for images, with torchvision's names of parameters, so that its published weights fit.

``models.resnet18(weights="DEFAULT")`` downloads weights to the cache of ``numtorch.hub``; without ``weights`` a model begins with
the same random numbers as torchvision's from the same seed.
"""
from ._api import Weights, WeightsEnum, get_model, get_model_builder, get_model_weights, get_weight, list_models  # noqa: F401
from .alexnet import *  # noqa: F403
from .densenet import *  # noqa: F403
from .googlenet import *  # noqa: F403
from .inception import *  # noqa: F403
from .mobilenet import *  # noqa: F403
from .resnet import *  # noqa: F403
from .squeezenet import *  # noqa: F403
from .vgg import *  # noqa: F403


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    from ...shim import no_attribute

    raise no_attribute(__name__, name, list(globals()))
