"""Spellings of torch's early releases: they work, and each place that uses one is told today's, once."""
import sys
import warnings


class LegacyWarning(DeprecationWarning, UserWarning):
    """An old spelling was used. Also a UserWarning, as which torch announces those that it still has."""


def legacy(message):
    """Warns of an old spelling at the line outside numtorch that uses it; Python shows it once for each such line."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "numtorch":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, LegacyWarning, stacklevel=level)
