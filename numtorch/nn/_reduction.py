"""The two legacy flags of losses as the name of a reduction."""
import warnings

from .._legacy import legacy


def get_enum(reduction):
    """torch's number of a reduction: none 0, mean 1, sum 2; ValueError for another name."""
    if reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=2)
        reduction = "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return ("none", "mean", "sum").index(reduction)


def legacy_get_string(size_average, reduce, emit_warning=True):
    """The reduction that ``size_average`` and ``reduce`` (None: True) meant, with a warning that they are deprecated."""
    found = "none" if reduce is False else "sum" if size_average is False else "mean"
    if emit_warning:
        legacy(f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.")
    return found


def legacy_get_enum(size_average, reduce, emit_warning=True):
    """``get_enum`` of ``legacy_get_string``."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))
