"""Storage: the memory that a tensor and all its views share, with the version counter that in-place writes advance."""
import numpy as np


class Storage:
    """What views of one piece of memory have in common.

    A tensor gets one when it is first viewed, written in place, or asked for it; a tensor without one has version 0.
    ``version`` counts in-place writes; ``rebased`` counts those that autograd recorded, so that a view can tell that its
    history was rewritten through its base or a sibling.
    """

    __slots__ = ("version", "rebased", "array", "__weakref__")

    def __init__(self, array):
        self.version, self.rebased = 0, 0
        while isinstance(array.base, np.ndarray):       # not a memoryview, which has strides too
            array = array.base
        self.array = array

    def nbytes(self):
        """Bytes of the memory."""
        return self.array.nbytes

    def size(self):
        """Elements of the memory, in the dtype of the array that it was made for."""
        return self.array.size

    __len__ = size

    def data_ptr(self):
        """The address of its first byte."""
        return self.array.ctypes.data

    def tolist(self):
        """The elements as a list."""
        return self.array.reshape(-1).tolist()

    def __getitem__(self, i):
        return self.array.reshape(-1)[i].item()
