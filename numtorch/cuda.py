"""torch.cuda as programs ask it before they use it: there is no CUDA device. What needs one says so."""

_WHY = "numtorch has no CUDA kernels yet: use device='cpu'"


def is_available():
    """False: no CUDA device can be used."""
    return False


def is_initialized():
    """False: CUDA is never set up."""
    return False


def device_count():
    """0: no CUDA device can be used."""
    return 0


def manual_seed(seed):
    """Seeds the generator of the current device: of none, so that a program that seeds every device runs.

    Args:
        seed (int): the seed.
    """
    int(seed)


def manual_seed_all(seed):
    """Seeds the generators of all devices, of which there are none.

    Args:
        seed (int): the seed.
    """
    int(seed)


def empty_cache():
    """Frees unused device memory: there is none."""


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(f"module 'numtorch.cuda' has no attribute {name!r}")

    def needs_a_device(*args, **kwargs):
        raise NotImplementedError(f"torch.cuda.{name}: {_WHY}")
    needs_a_device.__name__ = needs_a_device.__qualname__ = name
    return needs_a_device
