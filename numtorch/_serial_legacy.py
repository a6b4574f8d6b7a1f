"""torch's two formats before the ZIP archive: one stream of pickles and memory (0.2 to 1.5), and a tar file (0.1).

The stream is: a magic number, the protocol's version, facts on the machine, the object, the keys of its storages (five
pickles), then each storage's number of elements, as a little-endian int64, and its bytes.
"""
import io
import struct
import sys
import warnings
from contextlib import closing

import numpy as np

from . import _serial_names as names
from ._serial_tensors import Unread, _rebuild_tensor, named_storage, text
from ._serial_zip import read_into
from .dtypes import _from_np
from .storage import Storage

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001


class SourceChangeWarning(Warning):
    """The source of a pickled module's class is not what it was when the file was written."""


# ---- writing -----------------------------------------------------------------------------------------------------------

class Containers:
    """Gives modules' classes a persistent id that carries their source, at the first time that each is pickled."""

    def __init__(self):
        self.seen = set()

    def persistent_id(self, value):
        """The id of a class of modules; None for anything else."""
        nn = sys.modules.get("numtorch.nn")
        if nn is None or not isinstance(value, type) or not issubclass(value, nn.Module) or value in self.seen:
            return None
        self.seen.add(value)
        if names.is_torch(value.__module__):    # torch's source of its own classes is not numtorch's: nothing to compare
            return "module", value, None, None
        return "module", value, *_source(value)


def _source(cls):
    """(file, text) of a class's source; (None, None), with a warning, where it cannot be had."""
    import inspect

    try:
        return inspect.getsourcefile(cls), inspect.getsource(cls)
    except (OSError, TypeError):
        warnings.warn(f"Couldn't retrieve source code for container of type {cls.__name__}. It won't be checked for correctness "
                      "upon loading.", stacklevel=2)
        return None, None


def write(file, pickled, value, memories):
    """Writes a stream.

    Args:
        file: a file object with ``write``.
        pickled (callable): gives the pickle of a plain value, as bytes.
        value (bytes): the pickle of the object.
        memories (iterable of Memory): the storages that it refers to.
    """
    facts = {"protocol_version": PROTOCOL_VERSION, "little_endian": sys.byteorder == "little",
             "type_sizes": {"short": 2, "int": 4, "long": 4}}
    memories = sorted(memories, key=lambda memory: memory.key)
    file.write(b"".join([*map(pickled, (MAGIC_NUMBER, PROTOCOL_VERSION, facts)), value, pickled([m.key for m in memories])]))
    for memory in memories:
        file.write(struct.pack("<q", memory.count))
        data = memory.bytes
        file.write((data if sys.byteorder == "little" else swapped(data, memory.kind.dtype)).data)


def swapped(array, dtype):
    """A copy of flat bytes with the byte order of every element (of a complex one: of its parts) reversed."""
    size = dtype.itemsize // (2 if dtype.is_complex else 1)
    return np.ascontiguousarray(array.reshape(-1, size)[:, ::-1]).reshape(-1)


# ---- reading a stream --------------------------------------------------------------------------------------------------

def check_source(cls, file, source):
    """SourceChangeWarning where the class's source is not the one that was saved."""
    if not file or not source or names.is_torch(cls.__module__):
        return
    now = _source(cls)[1]
    if now is not None and now != source:
        warnings.warn(f"source code of class '{cls.__module__}.{cls.__qualname__}' has changed. you can retrieve the original "
                      "source code by accessing the object's source attribute.", SourceChangeWarning, stacklevel=2)


def load(file, restore, unpickler):
    """The object of a stream.

    Args:
        file: a file object with ``read``, ``readline``, ``seek`` and ``tell``, at the beginning of the stream.
        restore (callable): gives the storage that a storage and its location become.
        unpickler (callable): makes an unpickler for a file; it may be given a ``persistent_load``.
    """
    if unpickler(file).load() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = unpickler(file).load()
    if version != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version}")
    unpickler(file).load()
    storages, views = {}, {}
    reader = unpickler(file)
    reader.persistent_load = lambda pid: _persistent(pid, storages, views, restore)
    result = reader.load()
    for key in unpickler(file).load():
        if key not in storages:
            raise RuntimeError(f"numtorch.load: the file has data for a storage {key!r}, which nothing in it uses; corrupt file?")
        _fill(file, storages[key])
    for storage in (*storages.values(), *views.values()):
        if type(storage) is Unread:
            storage.__class__ = Storage
    return result


def _persistent(pid, storages, views, restore):
    if isinstance(pid, tuple) and len(pid) == 4 and text(pid[0]) == "module":
        check_source(*pid[1:])
        return pid[1]
    dtype, key, location, count, view = named_storage(pid, 6)
    if key not in storages:
        storages[key] = restore(Unread(np.empty(count, dtype._np)), location)
    if view is None:
        return storages[key]
    name, offset, count = view
    if name not in views:
        views[name] = part(storages[key], offset, count)
    return views[name]


def part(storage, offset, count):
    """A Storage on elements of another's memory."""
    found = type(storage)(storage.array)
    found.array = storage.array[offset:offset + count]
    return found


def _fill(file, storage):
    """Reads a storage's number of elements and its bytes."""
    array, head = storage.array, file.read(8)
    if len(head) < 8:
        raise RuntimeError(f"unexpected EOF, expected {8 - len(head)} more bytes. The file might be corrupted.")
    count = struct.unpack("<q", head)[0]
    if count != array.size:
        raise RuntimeError(f"storage has wrong size: expected {array.size} elements, but the file has {count}")
    start, target = file.tell(), array.view(np.uint8)
    if read_into(file, None, memoryview(target)) is None:
        raise RuntimeError(f"unexpected EOF, expected {start + array.nbytes - file.tell()} more bytes. The file might be "
                           "corrupted.")
    if sys.byteorder == "big":
        target[:] = swapped(target, _from_np[array.dtype])


# ---- reading a tar file ------------------------------------------------------------------------------------------------

def is_tar(file):
    """True when a tar archive begins at the file's position, which is kept."""
    position = file.tell()
    head = file.read(262)
    file.seek(position)
    return head[257:262] == b"ustar"


def load_tar(file, restore, unpickler):
    """The object of a tar file with the members storages, tensors and pickle; the arguments are those of ``load``."""
    found = {}

    def persistent(pid):
        if isinstance(pid, tuple):
            check_source(*pid)
            return pid[0]
        return found[int(pid)]

    import tarfile

    with closing(tarfile.open(fileobj=file, mode="r:")) as tar:
        storages, tensors, value = (io.BytesIO(_member(tar, name)) for name in ("storages", "tensors", "pickle"))
    for _ in range(unpickler(storages).load()):
        key, location, kind = unpickler(storages).load()
        place = storages.tell()
        storage = Storage(np.empty(struct.unpack("<q", storages.read(8))[0], kind.dtype._np))
        storages.seek(place)
        _fill(storages, storage)
        found[key] = restore(storage, text(location))
    for target, root, offset, count in unpickler(storages).load():
        found[target] = part(found[root], offset, count)
    for _ in range(unpickler(tensors).load()):
        key, storage, _kind = unpickler(tensors).load()
        ndim = struct.unpack("<i4x", tensors.read(8))[0]
        numbers = struct.unpack(f"<{2 * ndim + 1}q", tensors.read(16 * ndim + 8))
        found[key] = _rebuild_tensor(found[storage], numbers[-1], numbers[:ndim], numbers[ndim:-1])
    reader = unpickler(value)
    reader.persistent_load = persistent
    return reader.load()


def _member(tar, name):
    try:
        return tar.extractfile(name).read()
    except KeyError:
        raise RuntimeError(f"numtorch.load: the tar file has no member {name!r}; it is not one that torch.save wrote") from None
