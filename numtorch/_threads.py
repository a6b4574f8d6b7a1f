"""How many threads kernels use."""
from . import kernels


def get_num_threads():
    """The number of threads that a large kernel may use."""
    return kernels._jit.get_num_threads()


def set_num_threads(n):
    """Sets the number of threads that a large kernel may use.

    More than the process was started with (its cores, or ``NUMTORCH_THREADS``) are never used.

    Args:
        n (int): at least 1.

    Raises:
        RuntimeError: ``n`` is below 1.
        TypeError: ``n`` is no int.

    >>> import numtorch as torch
    >>> torch.set_num_threads(torch.get_num_threads())
    """
    if type(n) is not int:
        raise TypeError(f"set_num_threads expects an int, but got {type(n).__name__}")
    if n < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    kernels._jit.set_num_threads(n)
