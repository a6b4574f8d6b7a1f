"""torch.use_deterministic_algorithms: results that are the same in every run, at the price of time.

On the CPU they always are. On CUDA devices sums and writes by index (index_add, scatter_add, index_put, the gradients of
embedding and of gather ...) then get an order (kernels/_cuda_ordered.py); the gradient of grid_sample, which has none, raises.
"""
import warnings

from .kernels import _cuda_ordered

_warn_only = False


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Asks for results that are the same in every run.

    Args:
        mode (bool): operations on CUDA devices take an order that is the same in every run, and those that have none raise;
            False, the default: they take the fastest.
        warn_only (bool): those that have none warn instead.

    >>> import numtorch as torch
    >>> torch.use_deterministic_algorithms(True); torch.are_deterministic_algorithms_enabled()
    True
    >>> torch.use_deterministic_algorithms(False)
    """
    global _warn_only
    if not isinstance(mode, bool):
        raise TypeError("_set_deterministic_algorithms(): argument 'mode' (position 1) must be bool, not "
                        f"{type(mode).__name__}")
    _cuda_ordered.fixed, _warn_only = mode, bool(warn_only)


def are_deterministic_algorithms_enabled():
    """Whether ``use_deterministic_algorithms`` has asked for results that are the same in every run."""
    return _cuda_ordered.fixed


def is_deterministic_algorithms_warn_only_enabled():
    """Whether operations without such results only warn."""
    return _warn_only


_MODES = {"default": 0, "warn": 1, "error": 2}


def set_deterministic_debug_mode(debug_mode):
    """The same by a word or a number: "default" or 0, "warn" or 1, "error" or 2.

    Raises:
        TypeError, RuntimeError: it is neither.
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    number = _MODES.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if number is None:
        raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
    if number not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(number > 0, warn_only=number == 1)


def get_deterministic_debug_mode():
    """0 where any order will do, 1 where operations without one warn, 2 where they raise."""
    return 0 if not _cuda_ordered.fixed else 1 if _warn_only else 2


def alert(name):
    """What an operation that has no fixed order calls first: raises or warns where one is asked for."""
    if not _cuda_ordered.fixed:
        return
    message = (f"{name} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True")
    if _warn_only:
        warnings.warn(f"{message}, warn_only=True)'.", UserWarning, stacklevel=3)
    else:
        raise RuntimeError(f"{message})'. You can turn off determinism just for this operation, or you can use the "
                           "'warn_only=True' option, if that's acceptable for your application.")
