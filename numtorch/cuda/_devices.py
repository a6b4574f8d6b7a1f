"""Which CUDA devices there are, what they are like, and which is the current one."""
from types import SimpleNamespace

from .. import devices
from ..kernels import _cuda_errors, _driver


def is_available():
    """Whether a CUDA device can be used."""
    return _driver.available()


def is_initialized():
    """Whether CUDA has been set up: by ``init``, or by the first thing that needed a device."""
    return _driver.in_use()


def init():
    """Sets CUDA up, which whatever needs it does by itself.

    Raises:
        RuntimeError: it cannot be used; the message says why.
    """
    _driver.current()


def device_count():
    """How many CUDA devices can be used; 0 without a driver."""
    return _driver.current().count() if _driver.available() else 0


def index_of(device, optional=False):
    """The number of a device given as an int, a str, a ``torch.device`` or (``optional``) None: the current one.

    Raises:
        ValueError: it is no CUDA device, or has no number where one is needed.
    """
    if isinstance(device, str):
        device = devices.device(device)
    index = device if isinstance(device, int) else None
    if isinstance(device, devices.device):
        if device.type == "cpu":
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        if device.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {device}")
        index = device.index
    if index is not None:
        return index
    if not optional:
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
    return current_device()


def current_device():
    """The number of the current device."""
    return _driver.current().device()


def set_device(device):
    """Makes a device the current one of the calling thread; ``torch.cuda.device`` does so for a while.

    Args:
        device (int, str or torch.device): which; nothing happens for a negative number.
    """
    index = index_of(device)
    if index >= 0:
        _known(index)
        _driver.current().set_device(index)


def _known(index):
    count = _driver.current().count()
    if index >= count:
        raise RuntimeError(f"CUDA error: invalid device ordinal (device {index}, where there are {count})")


class device:
    """A with-block in which ``device`` is the current one.

    Args:
        device (int, str or torch.device): which; None or a negative number changes nothing.
    """

    def __init__(self, device):
        self.idx = -1 if device is None else index_of(device, optional=True)
        self.prev_idx = -1

    def __enter__(self):
        if self.idx >= 0:
            _known(self.idx)
            driver = _driver.current()
            self.prev_idx = driver.device()
            if self.prev_idx != self.idx:
                driver.set_device(self.idx)

    def __exit__(self, *exc):
        if self.idx >= 0 and self.prev_idx != self.idx:
            _driver.current().set_device(self.prev_idx)
        return False


class device_of(device):
    """A with-block in which the device of ``obj`` is the current one; nothing changes where that is the CPU.

    Args:
        obj (Tensor or Storage): what is on the device.
    """

    def __init__(self, obj):
        super().__init__(obj.get_device() if obj.is_cuda else -1)


class _CudaDeviceProperties(SimpleNamespace):
    """What the driver says of a device."""

    def __repr__(self):
        return (f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
                f"total_memory={self.total_memory // 2 ** 20}MB, multi_processor_count={self.multi_processor_count}, "
                f"uuid={self.uuid}, pci_bus_id={self.pci_bus_id}, pci_device_id={self.pci_device_id}, "
                f"pci_domain_id={self.pci_domain_id}, L2_cache_size={self.L2_cache_size // 2 ** 20}MB)")


def get_device_properties(device=None):
    """Name, compute capability, sizes and limits of a device.

    Args:
        device (int, str or torch.device): which; None is the current one.

    Raises:
        AssertionError: there is no such device.
    """
    driver, index = _driver.current(), index_of(device, optional=True)
    if not 0 <= index < driver.count():
        raise AssertionError("Invalid device id")
    return _CudaDeviceProperties(**vars(driver.properties(index)))


def get_device_name(device=None):
    """The name of a device (None: the current one)."""
    return get_device_properties(device).name


def get_device_capability(device=None):
    """The compute capability of a device (None: the current one), as (major, minor)."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def can_device_access_peer(device, peer_device):
    """Whether kernels on ``device`` could be given access to the memory of ``peer_device``.

    Raises:
        AssertionError: there is no such device.
    """
    driver, index, peer = _driver.current(), index_of(device, optional=True), index_of(peer_device)
    if not 0 <= index < driver.count():
        raise AssertionError("Invalid device id")
    if not 0 <= peer < driver.count():
        raise AssertionError("Invalid peer device id")
    return driver.can_access_peer(index, peer)


def get_arch_list():
    """The architectures that kernels are compiled for: those of the devices that are there, each at its first use."""
    return sorted({"sm_{}{}".format(*get_device_capability(k)) for k in range(device_count())})


def is_bf16_supported(including_emulation=True):
    """Whether the current device computes with bfloat16: natively, or at all; kernels compute in float32 on older ones."""
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


def is_tf32_supported():
    """Whether the current device has tensor cores for TF32."""
    return is_bf16_supported(including_emulation=False)


def synchronize(device=None):
    """Waits until all work on a device (None: the current one) is done."""
    index = index_of(device, optional=True)
    _driver.current().synchronize(index)
    _cuda_errors.check(index)


def ipc_collect():
    """Frees memory that other processes no longer use: there is none, since CUDA tensors are not shared with processes."""
    _driver.current()
