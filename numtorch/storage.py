"""Storage: the memory that a tensor and all its views share, with the version counter that in-place writes advance."""
import numpy as np

from . import devices


def root_of(array):
    """The array whose memory ``array`` is a view of."""
    while (base := array.base) is not None:
        if array.__class__ is not np.ndarray:
            return base                             # a DeviceArray, whose base is the array that made the memory
        if not isinstance(base, np.ndarray):        # a memoryview, say, which has strides too
            base = getattr(base, "base", None)      # as_strided hangs its array on an object of its own
            if not isinstance(base, np.ndarray):
                break
        array = base
    return array


class Storage:
    """What views of one piece of memory have in common.

    A tensor gets one when it is first viewed, written in place, or asked for it; a tensor without one has version 0.
    ``version`` counts in-place writes; ``rebased`` counts those that autograd recorded, so that a view can tell that its
    history was rewritten through its base or a sibling.
    """

    __slots__ = ("version", "rebased", "array", "__weakref__")

    def __init__(self, array):
        self.version, self.rebased = 0, 0
        self.array = root_of(array)

    def nbytes(self):
        """Bytes of the memory."""
        return self.array.nbytes

    def size(self):
        """Elements of the memory, in the dtype of the array that it was made for."""
        return self.array.size

    __len__ = size

    def is_shared(self):
        """True for memory that other processes can see; see ``Tensor.share_memory_``."""
        return getattr(self.array.base, "is_segment", False)

    @property
    def device(self):
        """Where the memory is."""
        return devices.of(self.array)

    def share_memory_(self):
        """Moves the memory, and all tensors on it, to where other processes can see it; returns the storage."""
        from .multiprocessing._memory import share_storage

        share_storage(self)
        return self

    def data_ptr(self):
        """The address of its first byte."""
        return self.array.ctypes.data

    def tolist(self):
        """The elements as a list."""
        return self.array.reshape(-1).tolist()

    def __getitem__(self, i):
        return self.array.reshape(-1)[i].item()
