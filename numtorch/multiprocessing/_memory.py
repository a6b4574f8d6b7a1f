"""Memory that processes share: anonymous files, mapped, on which arrays lie.

Such a file has no name, only descriptors: it is gone with the last process that holds one, however that process ends, so that
nothing can be left behind. Small arrays lie together on one file, because every file costs its holders two descriptors.
"""
import gc
import mmap
import os
import sys
import tempfile
import threading
import weakref

import numpy as np

from ..storage import root_of
from ..tensor import Tensor, new, storage_of

ALIGN = 64                                  # of each array on a file: a cache line
POOLED = {                                  # strategy: (bytes up to which arrays share a file, bytes of such a file)
    "file_descriptor": (1 << 16, 1 << 20),
    "file_system": (1 << 26, 1 << 28),
}
_HAS_MEMFD = hasattr(os, "memfd_create")
_lock = threading.Lock()
_mapped = weakref.WeakValueDictionary()     # (device, inode) of a file: its Segment in this process


class Segment(mmap.mmap):
    """An anonymous file, mapped; it is unmapped and closed with the last array on it.

    ``fd`` is its descriptor, ``address`` where it is mapped, ``roots`` the arrays of its blocks by their places.
    """

    is_segment = True       # what Storage asks, which does not import this module

    @classmethod
    def create(cls, size):
        """A new file of ``size`` zero bytes."""
        if _HAS_MEMFD:
            fd = os.memfd_create("numtorch")
        else:
            fd, path = tempfile.mkstemp(prefix="numtorch-")
            os.unlink(path)
        try:
            os.ftruncate(fd, size)
            if not _HAS_MEMFD and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, size)     # a full disk is an error here, and SIGBUS later
        except OSError as error:
            os.close(fd)
            raise RuntimeError(f"unable to allocate {size} bytes of shared memory: {error}") from error
        return cls.of(fd)

    @classmethod
    def of(cls, fd):
        """The Segment of an open file, whose descriptor it takes over: one for each file in a process."""
        os.set_inheritable(fd, False)       # one that was received would follow into other programs
        status = os.fstat(fd)
        key = status.st_dev, status.st_ino
        with _lock:
            known = _mapped.get(key)
            if known is None:
                try:
                    known = cls(fd, status.st_size)
                except (OSError, ValueError) as error:
                    os.close(fd)
                    raise RuntimeError(f"unable to map {status.st_size} bytes of shared memory: {error}") from error
                known.fd, known.roots = fd, weakref.WeakValueDictionary()
                known.address = np.ndarray((1,), np.uint8, known).ctypes.data
                weakref.finalize(known, os.close, fd)
                _mapped[key] = known
                return known
        os.close(fd)
        return known

    def root(self, offset, dtype, count):
        """The flat array of the block at ``offset``."""
        with _lock:
            found = self.roots.get(offset)
            if found is None:
                found = self.roots[offset] = np.ndarray((count,), dtype, self, offset)
        return found


class _Pool:
    """The file on which small arrays are laid one after another."""

    def __init__(self):
        self.segment, self.end, self.lock = None, 0, threading.Lock()

    def place(self, size, file_size):
        with self.lock:
            if self.segment is None or self.end + size > len(self.segment):
                self.segment, self.end = Segment.create(max(file_size, size)), 0
            place = self.end
            self.end += -(-size // ALIGN) * ALIGN
            return self.segment, place


_pool = _Pool()
strategy = "file_descriptor"


def _after_fork():
    global _pool, _lock
    _pool, _lock = _Pool(), threading.Lock()    # parent and child would give out the same places


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def allocate(size):
    """(Segment, place on it) of ``size`` bytes that are zero."""
    limit, file_size = POOLED[strategy]
    if size > limit:
        return Segment.create(size), 0
    return _pool.place(max(size, 1), file_size)


# ---- moving tensors there ----------------------------------------------------------------------------------------------

def share(tensor):
    """Moves the memory of ``tensor``, and of all tensors that share it, to a file that processes can share."""
    storage = storage_of(tensor)
    root = storage.array
    if storage.is_shared():
        return
    if isinstance(root.base, mmap.mmap) or not _is_dense(root):
        # of a mapped file only what the tensor shows is copied: the file may be larger than memory
        array = tensor._a.copy(order="K")
        storage.array = shared = _moved(array)
        tensor._a = seen(shared, array.dtype, array.shape, array.strides, 0)
        return
    alone = _owners(tensor, storage, root) == _alone(tensor._a is root)
    _move([tensor] if alone else _tensors_on(root), root)


def share_storage(storage):
    """Moves the memory of a Storage, and with it all its tensors."""
    if storage.is_shared():
        return
    tensors = _tensors_on(storage.array)
    if tensors:
        share(tensors[0])
    storage.array = root_of(tensors[0]._a) if tensors else _moved(storage.array)


def _is_dense(root):
    """True when the array's elements fill its memory, in whatever order of dimensions."""
    return root.flags.owndata or root.flags.forc


def _moved(root):
    """A flat array on shared memory with the elements of ``root`` in the order of their addresses."""
    segment, place = allocate(root.nbytes)
    found = segment.root(place, root.dtype, root.size)
    found[:] = root.ravel(order="K")
    return found


def seen(root, dtype, shape, strides, offset):
    """The view of ``root`` from byte ``offset`` on."""
    # through bytes: NumPy gives no buffer of dtypes that are not its own
    return np.ndarray(shape, dtype, root.view(np.uint8), offset, strides)


def _move(tensors, root):
    start, shared = root.ctypes.data, _moved(root)
    for tensor in tensors:
        array = tensor._a
        place = array.ctypes.data - start if array.size else 0
        tensor._a = seen(shared, array.dtype, array.shape, array.strides, place)
        if tensor._storage is not None:
            tensor._storage.array = shared


def _tensors_on(root):
    """All tensors of this process whose memory is that of ``root``."""
    found = []
    for thing in gc.get_objects():
        if issubclass(type(thing), Tensor):
            array = thing.__dict__.get("_a")
            if array is not None and root_of(array) is root:
                found.append(thing)
    return found


def _owners(tensor, storage, root):
    """How many references there are to the memory and to the tensor's view of it."""
    array = tensor._a
    return sys.getrefcount(root), array is root or sys.getrefcount(array)


def _alone(is_root):
    """What ``_owners`` says of a tensor that nobody shares memory with."""
    tensor = new(Tensor)
    tensor._a = np.empty(2) if is_root else np.empty(2)[:1]
    storage = storage_of(tensor)
    root = storage.array
    return _owners(tensor, storage, root)
