"""Published weights as enumerations, and the register of models by name."""
import fnmatch
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib import import_module
from typing import Any, get_args

__all__ = ["Weights", "WeightsEnum", "get_model", "get_model_builder", "get_model_weights", "get_weight", "list_models"]


@dataclass(eq=False)
class Weights:
    """One published set of weights.

    Attributes:
        url (str): the address of its file, ``name-<first 8 digits of its SHA-256>.pth``.
        transforms (callable): makes the transform that turns an image into the model's input.
        meta (dict): what is known of it, such as ``num_params``, ``categories`` and ``min_size``.
    """

    url: str
    transforms: Callable
    meta: dict[str, Any]

    def __eq__(self, other):
        # partials compare by identity, and a copied or unpickled enumeration member looks itself up by its value
        if not isinstance(other, Weights):
            return NotImplemented
        return (self.url, self.meta, _parts(self.transforms)) == (other.url, other.meta, _parts(other.transforms))

    __hash__ = None


def _parts(function):
    return (function.func, function.args, function.keywords) if isinstance(function, partial) else function


class WeightsEnum(Enum):
    """Base of the enumerations of a model's weights: each member's value is a ``Weights``; DEFAULT names the best one."""

    @classmethod
    def verify(cls, obj):
        """The member that ``obj`` means: a member, None, or a name as in "IMAGENET1K_V1" or "ResNet18_Weights.DEFAULT".

        Raises:
            KeyError: a name that is not here.
            TypeError: something else, such as another model's weights.
        """
        if obj is None or isinstance(obj, cls):
            return obj
        if isinstance(obj, str):
            return cls._named(obj.replace(cls.__name__ + ".", ""))
        raise TypeError(f"Invalid Weight class provided; expected {cls.__name__} but received {type(obj).__name__}.")

    @classmethod
    def _named(cls, name):
        if name not in cls.__members__:
            raise KeyError(f"{cls.__name__} has no {name!r}; it has {', '.join(cls.__members__)}")
        return cls[name]

    def get_state_dict(self, *args, **kwargs):
        """The tensors by name, downloaded at their first use; the arguments are ``hub.load_state_dict_from_url``'s."""
        from ...hub import load_state_dict_from_url

        return load_state_dict_from_url(self.url, *args, **kwargs)

    def __repr__(self):
        return f"{type(self).__name__}.{self._name_}"

    @property
    def url(self):
        """The address of the file."""
        return self.value.url

    @property
    def transforms(self):
        """Makes the transform that turns an image into the model's input."""
        return self.value.transforms

    @property
    def meta(self):
        """What is known of the weights, a dict."""
        return self.value.meta


BUILTIN_MODELS = {}


def register_model(name=None):
    """Decorator that makes a model's function known to ``list_models`` and ``get_model``.

    Args:
        name (str, optional): its name there; default the function's.

    Raises:
        ValueError: the name is taken.
    """
    def register(function):
        key = function.__name__ if name is None else name
        if key in BUILTIN_MODELS:
            raise ValueError(f"An entry is already registered under the name '{key}'.")
        BUILTIN_MODELS[key] = function
        return function

    return register


def list_models(module=None, include=None, exclude=None):
    """The names of the models, sorted.

    Args:
        module (module, optional): only those that are defined in this package's modules.
        include (str or iterable of str, optional): only those that match one of these patterns, as of file names.
        exclude (str or iterable of str, optional): without those that match one of these.

    >>> from numtorch.vision import models
    >>> models.list_models(include="resnet*", exclude=["*1*", "*34"])
    ['resnet50']
    """
    names = {name for name, function in BUILTIN_MODELS.items()
             if module is None or function.__module__.rpartition(".")[0] == module.__name__}
    if include:
        names = _matching(names, include)
    return sorted(names - _matching(names, exclude or ()))


def _matching(names, patterns):
    return {name for pattern in ([patterns] if isinstance(patterns, str) else patterns)
            for name in fnmatch.filter(names, pattern)}


def get_model_builder(name):
    """The function that makes the model of this name (str, in any case); ValueError where there is none.

    >>> from numtorch.vision import models
    >>> models.get_model_builder("ResNet18") is models.resnet18
    True
    """
    if (function := BUILTIN_MODELS.get(name.lower())) is None:
        raise ValueError(f"Unknown model {name.lower()}")
    return function


def get_model(name, **config):
    """The model of this name, made with these arguments; ValueError where there is none.

    >>> from numtorch.vision import models
    >>> models.get_model("squeezenet1_1", num_classes=10).num_classes
    10
    """
    return get_model_builder(name)(**config)


def get_model_weights(name):
    """The enumeration of a model's weights.

    Args:
        name (str or callable): the model's name, or the function that makes it.

    Raises:
        ValueError: no such model, or its ``weights`` argument is not annotated with an enumeration.

    >>> from numtorch.vision import models
    >>> list(models.get_model_weights("resnet50"))
    [ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2]
    """
    function = get_model_builder(name) if isinstance(name, str) else name
    parameters = inspect.signature(function).parameters
    if "weights" not in parameters:
        raise ValueError("The method is missing the 'weights' argument.")
    annotation = parameters["weights"].annotation
    for candidate in (annotation, *get_args(annotation)):       # X, or one of X | None
        if _is_weights(candidate):
            return candidate
    raise ValueError("The WeightsEnum class for the specific method couldn't be retrieved. Make sure the typing info is correct.")


def get_weight(name):
    """The weights of this full name.

    Args:
        name (str): as in "ResNet50_Weights.IMAGENET1K_V1".

    Raises:
        ValueError: not of the form "X.Y", or no enumeration X.
        KeyError: it has no Y.

    >>> from numtorch.vision import models
    >>> models.get_weight("ResNet50_Weights.DEFAULT")
    ResNet50_Weights.IMAGENET1K_V2
    """
    enumeration, dot, member = name.partition(".")
    if not dot or "." in member:
        raise ValueError(f"Invalid weight name provided: '{name}'.")
    found = vars(import_module(__package__)).get(enumeration)
    if not _is_weights(found):
        raise ValueError(f"The weight enum '{enumeration}' for the specific method couldn't be retrieved.")
    return found._named(member)


def _is_weights(x):
    return isinstance(x, type) and issubclass(x, WeightsEnum)
