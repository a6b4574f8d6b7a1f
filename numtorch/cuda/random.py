"""Seeds and states of the devices' default generators (``numtorch.random.cuda_generator``)."""
from ._devices import current_device, device_count, index_of, init, is_available

__all__ = ["get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all",
           "set_rng_state", "set_rng_state_all"]


def _generator(index):
    from .. import random

    return random.cuda_generator(index)


def get_rng_state(device="cuda"):
    """The state of a device's generator, a uint8 tensor on the CPU.

    Args:
        device (int, str or torch.device): which; "cuda" is the current one.
    """
    init()
    return _generator(index_of(device, optional=True)).get_state()


def get_rng_state_all():
    """The states of all devices' generators."""
    return [get_rng_state(k) for k in range(device_count())]


def set_rng_state(new_state, device="cuda"):
    """Continues a device's generator from ``new_state``, which ``get_rng_state`` gave."""
    init()
    _generator(index_of(device, optional=True)).set_state(new_state)


def set_rng_state_all(new_states):
    """Continues all devices' generators, each from one of ``new_states``."""
    for k, state in enumerate(new_states):
        set_rng_state(state, k)


def manual_seed(seed):
    """Starts the generator of the current device from ``seed``; nothing happens where there is no device.

    Args:
        seed (int): the seed.
    """
    seed = int(seed)
    if is_available():
        _generator(current_device()).manual_seed(seed)


def manual_seed_all(seed):
    """Starts the generators of all devices from ``seed``; nothing happens where there is no device.

    Args:
        seed (int): the seed.
    """
    seed = int(seed)
    for k in range(device_count()):
        _generator(k).manual_seed(seed)


def seed():
    """Starts the generator of the current device from the system's randomness; nothing happens where there is no device."""
    if is_available():
        _generator(current_device()).seed()


def seed_all():
    """Starts the generators of all devices from the same randomness; nothing happens where there is no device."""
    if is_available():
        manual_seed_all(_generator(0).seed())


def initial_seed():
    """The seed that the generator of the current device started from."""
    return _generator(current_device()).initial_seed()
