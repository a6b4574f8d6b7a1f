"""Pickled dicts of NumPy arrays and plain Python values, read without running anything that the file names.

Only the names that a pickled array is made of are allowed in such a file, and each is given a stand-in: an array is put
together here, from its bytes, its shape and its checked dtype, not by NumPy's own unpickling.
"""
import math
import pickle

import numpy as np

_CODES = {kind + size for kind, sizes in {"b": "1", "i": "1248", "u": "1248", "f": "248"}.items() for size in sizes}


def load_dict(path):
    """The dict that the file ``path`` holds; strings of Python 2 are read as Latin-1.

    Raises:
        RuntimeError: the file is damaged, is no dict, or names something other than arrays and plain values.
    """
    with open(path, "rb") as file:
        try:
            content = _Unpickler(file, encoding="latin1").load()
            if not isinstance(content, dict):
                raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dict")
            return {key: value.array() if isinstance(value, _Array) else value for key, value in content.items()}
        except Exception as error:      # what a damaged pickle raises is not limited to a few types
            raise RuntimeError(f"cannot read {path}: {type(error).__name__}: {error}") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        stand_in = _NAMES.get((module.replace("numpy.core.", "numpy._core."), name))     # NumPy 1 called it core
        if stand_in is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a data set has no use for")
        return stand_in


class _StandIn:
    """What a name in the file becomes: it can be called, and nothing can be set on it."""

    __slots__ = ("_make",)

    def __init__(self, make):
        self._make = make

    def __call__(self, *arguments):
        return self._make(*arguments)

    def __setstate__(self, state):
        raise pickle.UnpicklingError("it sets the state of a function")


class _DType:
    """A dtype of plain numbers, in either byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code, align=False, copy=False):
        if code not in _CODES:
            raise pickle.UnpicklingError(f"it has an array of dtype {code!r}; only plain numbers are read")
        self.code, self.order = code, "|"

    def __setstate__(self, state):
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError(f"it has a dtype that is not one of plain numbers: {state!r}")
        self.order = state[1]


class _Array:
    """An array's parts, until the whole file is read."""

    __slots__ = ("_parts",)

    @classmethod
    def of_buffer(cls, content, dtype, shape, order):
        """From protocol 5 on."""
        array = cls()
        array.__setstate__((1, shape, dtype, order == "F", content))
        return array

    def __setstate__(self, state):
        _version, shape, dtype, fortran, content = state
        if not isinstance(dtype, _DType) or not isinstance(content, (bytes, bytearray, str)):
            raise pickle.UnpicklingError("it has an array that is not one of plain numbers")
        self._parts = shape, dtype, fortran, content.encode("latin1") if isinstance(content, str) else content

    def array(self):
        shape, dtype, fortran, content = self._parts
        kind = np.dtype(dtype.order + dtype.code)
        if math.prod(shape) * kind.itemsize != len(content):
            raise pickle.UnpicklingError(f"it has an array of shape {shape} and dtype {kind} in {len(content)} bytes")
        return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


def _latin1(text, encoding):
    """How Python 3 writes bytes into a pickle that Python 2 can read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it has bytes encoded as {encoding!r}")
    return text.encode("latin1")


_NAMES = {
    ("numpy._core.multiarray", "_reconstruct"): _StandIn(lambda kind, shape, code: _Array()),
    ("numpy._core.numeric", "_frombuffer"): _StandIn(_Array.of_buffer),
    ("numpy", "ndarray"): _StandIn(lambda *arguments: _Array()),
    ("numpy", "dtype"): _StandIn(_DType),
    ("_codecs", "encode"): _StandIn(_latin1),
}
