"""Which ways scaled_dot_product_attention may go."""
from enum import Enum

from .._attention_ways import only

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(Enum):
    """torch's names for the ways of attention; all but MATH are here the one fused kernel, which writes no matrix of scores."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


_SWITCHES = {SDPBackend.MATH: "math", SDPBackend.FLASH_ATTENTION: "flash", SDPBackend.EFFICIENT_ATTENTION: "mem_efficient",
             SDPBackend.CUDNN_ATTENTION: "cudnn"}


def sdpa_kernel(backends, set_priority=False):
    """A with-block in which scaled_dot_product_attention may go these ways only.

    Args:
        backends (SDPBackend or list of SDPBackend): the ways. On the CPU the operations are MATH and FLASH_ATTENTION alike.
        set_priority (bool): their order is one of preference; there is one fused kernel, which is taken where it is allowed,
            unless MATH comes first.

    Raises:
        AssertionError: something else than backends.

    >>> import numtorch as torch
    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     torch.backends.cuda.flash_sdp_enabled()
    False
    """
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, list) or not all(isinstance(b, SDPBackend) for b in chosen):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
                             f"{type(backends).__name__}")
    switches = {switch: backend in chosen for backend, switch in _SWITCHES.items()}
    if set_priority and chosen[:1] == [SDPBackend.MATH]:
        switches.update(flash=False, mem_efficient=False, cudnn=False)
    return only(**switches)
