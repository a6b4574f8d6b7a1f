"""What the functions that make models have in common: weights, the arguments of older releases, and small helpers."""
import functools
import inspect
import warnings
from collections import OrderedDict

from ... import nn
from ._api import WeightsEnum, register_model


def model_function(weights_class):
    """Decorator: makes a model's public function from one that is called as ``make(weights, progress, **kwargs)``.

    The result is called as ``model(*, weights=None, progress=True, **kwargs)``, takes the older ``pretrained=``, too, and is
    registered under its name.

    Args:
        weights_class (type): the enumeration of the weights, with a member IMAGENET1K_V1 that ``pretrained=True`` means.
    """
    def decorate(make):
        @functools.wraps(make)
        def build(*, weights=None, progress=True, **kwargs):
            return make(weights_class.verify(weights), progress, **kwargs)

        build.__signature__ = _signature(weights_class)
        return register_model()(handle_legacy_interface(weights=("pretrained", weights_class.IMAGENET1K_V1))(build))

    return decorate


def builder(weights_class, rename=None, **with_weights):
    """Decorator: makes a model's public function, with weights, from one that takes the constructor's arguments only.

    Args:
        weights_class (type): the enumeration of the weights.
        rename (callable, optional): applied to the dict of tensors before it is loaded.
        **with_weights: arguments of the constructor for a model whose weights are loaded.
    """
    def decorate(make):
        @functools.wraps(make)
        def build(weights, progress, **kwargs):
            if weights is None:
                return make(**kwargs)
            return load_weights(make(**with_classes({**kwargs, **with_weights}, weights)), weights, progress, rename)

        return model_function(weights_class)(build)

    return decorate


def with_classes(kwargs, weights):
    """A constructor's arguments with the number of classes of the weights; ValueError where another is asked for."""
    if weights.meta["categories"] is not None:
        _ovewrite_named_param(kwargs, "num_classes", len(weights.meta["categories"]))
    return kwargs


def _signature(weights_class):
    """``(*, weights: weights_class | None = None, progress: bool = True, **kwargs)``."""
    parameter = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    return inspect.Signature([parameter("weights", default=None, annotation=weights_class | None),
                              parameter("progress", default=True, annotation=bool),
                              inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])


def load_weights(model, weights, progress, rename=None):
    """Loads published weights into the model, and returns it; nothing in the file is ever run."""
    state = weights.get_state_dict(progress=progress, check_hash=True, weights_only=True)
    model.load_state_dict(rename(state) if rename else state)
    return model


def handle_legacy_interface(**weights):
    """Decorator: lets a model's function be called as before torchvision 0.13, with warnings that name today's spelling.

    Keyword-only arguments may come by position; ``pretrained=True`` stands for weights.

    Args:
        **weights: for each argument that takes weights, its older name and the weights that True means there (or a function
            of the keyword arguments that gives them).
    """
    def decorate(build):
        parameters = inspect.signature(build).parameters.values()
        first = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]

        @functools.wraps(build)
        def call(*args, **kwargs):
            if len(args) > first:
                _take_positions(build.__name__, names, args[first:], kwargs)
            for today, (before, default) in weights.items():
                _take_pretrained(build.__name__, today, before, default, kwargs)
            return build(*args[:first], **kwargs)

        return call

    return decorate


def _take_positions(function, names, values, kwargs):
    """Puts arguments that came by position under the names of keyword-only ones."""
    if len(values) > len(names):
        raise TypeError(f"{function}() takes at most {len(names)} positional arguments, but {len(values)} were given")
    taken = dict(zip(names, values))
    for name in taken:
        if name in kwargs:
            raise TypeError(f"{function}() got multiple values for argument '{name}'")
    warnings.warn(f"Using {' and '.join(f'{n!r}' for n in taken)} as positional parameter(s) is deprecated since 0.13 and may be "
                  "removed in the future. Please use keyword parameter(s) instead.", stacklevel=3)
    kwargs.update(taken)


def _take_pretrained(function, today, before, default, kwargs):
    """Replaces ``before=True`` (or today=True, as given by position) by the weights that it means."""
    value = kwargs.get(today)
    if (value is None and (today in kwargs or before not in kwargs)) or isinstance(value, (WeightsEnum, str)):
        return
    if today in kwargs:
        kwargs[before] = kwargs.pop(today)
    else:
        warnings.warn(f"The parameter '{before}' is deprecated since 0.13 and may be removed in the future, please use '{today}' "
                      "instead.", stacklevel=3)
    chosen = None
    if kwargs[before]:
        chosen = default(kwargs) if callable(default) else default
        if not isinstance(chosen, WeightsEnum):
            raise ValueError(f"No weights available for model {function}")
    message = (f"Arguments other than a weight enum or `None` for '{today}' are deprecated since 0.13 and may be removed in the "
               f"future. The current behavior is equivalent to passing `{today}={chosen}`.")
    if chosen is not None:
        message += f" You can also use `{today}={type(chosen).__name__}.DEFAULT` to get the most up-to-date weights."
    warnings.warn(message, stacklevel=3)
    del kwargs[before]
    kwargs[today] = chosen


def _ovewrite_named_param(kwargs, param, new_value):
    """Sets an argument that the weights or the variant of the model fix; ValueError where the caller wants another value."""
    if kwargs.setdefault(param, new_value) != new_value:
        raise ValueError(f"The parameter '{param}' expected value {new_value} but got {kwargs[param]} instead.")


def _make_divisible(v, divisor, min_value=None):
    """The multiple of ``divisor`` nearest to v, at least ``min_value`` (default one divisor), and not under 0.9 v."""
    nearest = max(divisor if min_value is None else min_value, int(v + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * v else nearest


def truncated_normal_weights(model, std):
    """Draws the weights of the Inception networks; a layer may have its own deviation, ``stddev``."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, mean=0.0, std=float(getattr(module, "stddev", std)), a=-2, b=2)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class IntermediateLayerGetter(nn.ModuleDict):
    """The first layers of a model, up to the last one that is asked for, and the results of those that are.

    The model's own submodules are run one after the other in the order in which they were registered.

    Args:
        model (Module): the model.
        return_layers (dict of str): the names of its submodules, and under what names their results are returned.

    Raises:
        ValueError: the model has no submodule of a name.

    >>> import numtorch as torch
    >>> from numtorch.vision import models
    >>> layers = IntermediateLayerGetter(models.resnet18(), {"layer1": "low", "layer3": "high"})
    >>> [(name, tuple(x.shape)) for name, x in layers(torch.rand(1, 3, 64, 64)).items()]
    [('low', (1, 64, 16, 16)), ('high', (1, 256, 4, 4))]
    """

    def __init__(self, model, return_layers):
        names = [name for name, _ in model.named_children()]
        if not set(return_layers) <= set(names):
            raise ValueError("return_layers are not present in model")
        last = max((names.index(name) for name in return_layers), default=-1)
        super().__init__(OrderedDict(list(model.named_children())[:last + 1]))
        self.return_layers = return_layers

    def forward(self, x):
        results = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                results[self.return_layers[name]] = x
        return results
