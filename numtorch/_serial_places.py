"""What ``save`` and ``load`` are told once for all files: byte order, checksums, memory maps, and where storages can be."""
import re
from enum import Enum

from ._serial_tensors import Unread, text
from .devices import check, device
from .kernels import _driver
from .kernels._device import copied_to
from .storage import Storage

MAP_SHARED, MAP_PRIVATE = 1, 2          # the module mmap has no such names on Windows


# ---- settings ----------------------------------------------------------------------------------------------------------

class LoadEndianness(Enum):
    """The byte order that is assumed of a file that does not say its own."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class Options:
    """The settings."""

    crc32, endianness, mmap = True, None, MAP_PRIVATE


def get_default_load_endianness():
    """The LoadEndianness of files that do not say their own, or None, which means little."""
    return Options.endianness


def set_default_load_endianness(endianness):
    """Sets the LoadEndianness (None: little) of files that do not say their own.

    Raises:
        TypeError: it is neither.
    """
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness: expected a LoadEndianness or None, but "
                        f"got {type(endianness).__name__}")
    Options.endianness = endianness


def get_crc32_options():
    """Whether ``save`` computes and writes checksums."""
    return Options.crc32


def set_crc32_options(compute_crc32):
    """Sets whether ``save`` computes and writes checksums (default True); without them other programs call the file damaged."""
    Options.crc32 = bool(compute_crc32)


def get_default_mmap_options():
    """How ``load(mmap=True)`` maps the file: ``mmap.MAP_PRIVATE`` (writes stay in memory) or ``mmap.MAP_SHARED``."""
    return Options.mmap


class set_default_mmap_options:
    """Sets how ``load(mmap=True)`` maps the file, or does so for a ``with`` block.

    Args:
        flags: ``mmap.MAP_PRIVATE``, or ``mmap.MAP_SHARED``: what is written to a loaded tensor is written to the file.

    Raises:
        ValueError: it is neither.
    """

    def __init__(self, flags):
        if flags not in (MAP_SHARED, MAP_PRIVATE):
            raise ValueError("Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or "
                             f"mmap.MAP_SHARED, but got {flags}")
        self.previous, Options.mmap = Options.mmap, flags

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        Options.mmap = self.previous


# ---- where storages are ------------------------------------------------------------------------------------------------

_packages = []


def register_package(priority, tagger, deserializer):
    """Adds a kind of place where storages can be.

    Args:
        priority (int): lower ones are asked first; the CPU has 10.
        tagger (callable): gives the tag of a storage that is saved, a string, or None for one that is not its own.
        deserializer (callable): gives the storage that a loaded storage with a tag becomes, or None for a tag not its own.
    """
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda entry: entry[0])


def location_tag(storage):
    """The tag of the place where a storage is, such as ``"cpu"``; RuntimeError where no package knows it."""
    for _, tagger, _ in _packages:
        found = tagger(storage)
        if found:
            return found
    raise RuntimeError(f"don't know how to determine data location of {type(storage).__name__}")


def default_restore_location(storage, location):
    """The storage that a loaded one, which is on the CPU, becomes by the tag of the place where it was saved.

    Raises:
        RuntimeError: the tag is that of a device that is not there, or nobody knows it.
    """
    for _, _, deserializer in _packages:
        found = deserializer(storage, location)
        if found is not None:
            return found
    raise RuntimeError(f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with {location})")


def _on_absent_device(storage, location):
    kind = re.match(r"(cuda|mps|xpu|hpu|mtia)(:?[0-9]+)?$", location)
    if kind:
        name = kind[1]
        raise RuntimeError(f"Attempting to deserialize object on a {name.upper()} device but torch.{name}.is_available() is "
                           "False. If you are running on a CPU-only machine, please use torch.load with "
                           "map_location=torch.device('cpu') to map your storages to the CPU.")
    if location == "meta":
        raise NotImplementedError("load: numtorch has no meta device; use map_location='cpu'")


def _tag_of_cuda(storage):
    return str(storage.device) if storage.device.type == "cuda" else None


def _on_cuda(storage, location):
    if location.partition(":")[0] != "cuda" or not _driver.available():
        return None
    if isinstance(storage, Unread):
        raise NotImplementedError("load: a file in torch's format before 1.6 is read into the host's memory; use "
                                  "map_location='cpu' and move the tensors with .to('cuda')")
    return Storage(copied_to(storage.array, check(location).index))


register_package(5, _tag_of_cuda, _on_cuda)
register_package(10, lambda storage: "cpu", lambda storage, location: storage if location == "cpu" else None)
register_package(20, lambda storage: None, _on_absent_device)


def restorer(map_location):
    """The function of a storage and its tag that ``map_location`` means."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(storage, map_location.get(location, location))
    if isinstance(map_location, (str, bytes)):
        place = text(map_location)
        return lambda storage, location: default_restore_location(storage, place)
    if isinstance(map_location, device):
        return lambda storage, location: default_restore_location(storage, str(map_location))
    if not callable(map_location):
        raise TypeError("load(): argument 'map_location' must be a function, torch.device, string or dict, not "
                        f"{type(map_location).__name__}")

    def restore(storage, location):
        found = map_location(storage, location)
        if found is None:
            return default_restore_location(storage, location)
        if not isinstance(found, Storage):
            raise TypeError(f"load: map_location has to return a storage or None, but it returned a {type(found).__name__}")
        return found
    return restore
