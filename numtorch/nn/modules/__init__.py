"""The layers, one family a file."""
from . import (activation, batchnorm, container, conv, dropout, linear, loss, normalization, padding, pooling, rnn, shaping,
               sparse)
from .module import Module

_FAMILIES = (activation, batchnorm, container, conv, dropout, linear, loss, normalization, padding, pooling, rnn, shaping, sparse)
globals().update({name: cls for family in _FAMILIES for name, cls in vars(family).items()
                  if isinstance(cls, type) and issubclass(cls, Module) and not name.startswith("_")})
__all__ = sorted(n for n, c in globals().items() if isinstance(c, type) and issubclass(c, Module))
