"""The layers, one family a file."""
from . import (activation, batchnorm, container, conv, distance, dropout, flatten, fold, instancenorm, linear, loss,
               normalization, padding, pixelshuffle, pooling, rnn, sparse, upsampling)
from .module import Module

_FAMILIES = (activation, batchnorm, container, conv, distance, dropout, flatten, fold, instancenorm, linear, loss, normalization,
             padding, pixelshuffle, pooling, rnn, sparse, upsampling)
globals().update({name: cls for family in _FAMILIES for name, cls in vars(family).items()
                  if isinstance(cls, type) and issubclass(cls, Module) and not name.startswith("_")})
__all__ = sorted(n for n, c in globals().items() if isinstance(c, type) and issubclass(c, Module))
