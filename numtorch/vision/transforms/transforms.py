"""All transforms but the automatic augmentations, under the module's name in torchvision; and the names of its first versions."""
import warnings

from . import _compose, _geometry, _photo
from ._compose import *  # noqa: F403
from ._geometry import *  # noqa: F403
from ._geometry import RandomResizedCrop, Resize
from ._photo import *  # noqa: F403

__all__ = sorted([*_compose.__all__, *_geometry.__all__, *_photo.__all__, "Scale", "RandomSizedCrop"])


class Scale(Resize):
    """Resize, as it was called before torchvision 0.2."""

    def __init__(self, *args, **kwargs):
        warnings.warn("transforms.Scale is deprecated: use transforms.Resize", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


class RandomSizedCrop(RandomResizedCrop):
    """RandomResizedCrop, as it was called before torchvision 0.2."""

    def __init__(self, *args, **kwargs):
        warnings.warn("transforms.RandomSizedCrop is deprecated: use transforms.RandomResizedCrop", DeprecationWarning,
                      stacklevel=2)
        super().__init__(*args, **kwargs)
