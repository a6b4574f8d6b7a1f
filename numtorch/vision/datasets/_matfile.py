"""MATLAB's files of version 5 to 7, in which SVHN and ImageNet come: numbers, texts, cells and structs.

Source: The MathWorks, "MAT-File Format", chapter "Level 5 MAT-File Format".
"""
import math
import zlib

import numpy as np

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _TEXT = 1, 2, 4
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CHUNK = 1 << 20


def load(path):
    """The variables of a MATLAB file, by name.

    Args:
        path (str): the file.

    Returns:
        A dict. Numbers are arrays of at least two dimensions, in MATLAB's order of memory; a text of one row is a str, of more a
        list of them; a cell is a list, a struct a dict from field to list: both have their elements in MATLAB's order.

    Raises:
        RuntimeError: the file is damaged, or no such file.
        NotImplementedError: version 7.3, which is an HDF5 file; sparse and complex arrays, objects and functions.
    """
    with open(path, "rb") as file:
        header = file.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if header.startswith(b"MATLAB 7.3"):
            raise NotImplementedError(f"{path} is a MATLAB file of version 7.3, an HDF5 file: only versions 5 to 7 are read. In "
                                      "MATLAB, save it with '-v7'; in Python, h5py reads it")
        if order is None:
            raise RuntimeError(f"{path} is no MATLAB file of version 5 to 7")
        reader, variables = _Reader(order), {}
        try:
            while len(tag := file.read(8)) == 8:
                kind, size = np.frombuffer(tag, order + "u4").tolist()
                content = _inflated(file, size) if kind == _COMPRESSED else bytearray(tag + file.read(size))
                element, matrix, _ = reader.element(memoryview(content))
                if element == _MATRIX:
                    name, value = reader.matrix(matrix)
                    variables[name] = value
        except (ValueError, IndexError, UnicodeDecodeError, zlib.error) as error:
            raise RuntimeError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    return variables


def _inflated(file, size):
    """``size`` bytes of the file, decompressed a piece at a time: SVHN's largest file holds 1.6 GB."""
    inflate, content = zlib.decompressobj(), bytearray()
    while size:
        piece = file.read(min(size, _CHUNK))
        if not piece:
            raise ValueError("it ends early")
        size -= len(piece)
        content += inflate.decompress(piece)
    return content + inflate.flush()


class _Reader:
    """Reads elements in one byte order. What it makes of numbers are views on the buffers where that is possible."""

    def __init__(self, order):
        self.order = order

    def element(self, buffer):
        """(type, content, what follows) of the element at the start of a buffer."""
        first, size = self._numbers(buffer[:8], "u4").tolist()
        start = 8
        if first >> 16:     # a small element: its content lies in the tag
            first, size, start = first & 0xffff, first >> 16, 4
        end = start + size
        if end > len(buffer):
            raise ValueError(f"an element of {size} bytes in {len(buffer) - start}")
        return first, buffer[start:end], buffer[-(-end // 8) * 8:]

    def matrix(self, buffer):
        """(name, value) of a matrix."""
        _, flags, buffer = self.element(buffer)
        flags = int(self._numbers(flags, "u4")[0])
        kind, shape, buffer = flags & 0xff, *self._shape(buffer)
        _, name, buffer = self.element(buffer)
        name, count = bytes(name).decode("ascii"), math.prod(shape)
        if kind == _CELL:
            return name, self._matrices(buffer, count)
        if kind == _STRUCT:
            _, width, buffer = self.element(buffer)
            _, names, buffer = self.element(buffer)
            width = int(self._numbers(width, "i4")[0])
            fields = [bytes(names[i:i + width]).split(b"\0")[0].decode("ascii") for i in range(0, len(names), width)]
            values = self._matrices(buffer, count * len(fields))
            return name, {field: values[i::len(fields)] for i, field in enumerate(fields)}
        if kind == _TEXT:
            return name, self._text(buffer, shape)
        if kind not in _CLASSES or flags & 0x0800:
            raise NotImplementedError(f"the variable {name!r} of a MATLAB file is of class {kind}"
                                      + (", complex" if flags & 0x0800 else "") + ": only real numbers, texts, cells and structs "
                                      "are read. scipy.io.loadmat reads more kinds")
        stored, content, _ = self.element(buffer)       # MATLAB stores numbers in the smallest type that holds them
        numbers = self._numbers(content, _NUMBERS[stored] if stored in _NUMBERS else "")
        return name, numbers.reshape(shape, order="F").astype(_CLASSES[kind], copy=False)

    def _shape(self, buffer):
        _, sizes, buffer = self.element(buffer)
        return tuple(self._numbers(sizes, "i4").tolist()), buffer

    def _matrices(self, buffer, count):
        values = []
        for _ in range(count):
            _, content, buffer = self.element(buffer)
            values.append(self.matrix(content)[1] if len(content) else np.empty((0, 0)))
        return values

    def _text(self, buffer, shape):
        stored, content, _ = self.element(buffer)
        if stored in _TEXTS:
            coding = _TEXTS[stored] + ("" if stored == 16 else "-le" if self.order == "<" else "-be")
            text = bytes(content).decode(coding)
        else:
            text = "".join(map(chr, self._numbers(content, _NUMBERS[stored] if stored in _NUMBERS else "").tolist()))
        rows = [text[row::shape[0]] for row in range(shape[0])]
        return rows[0] if len(rows) == 1 else "" if not rows else rows

    def _numbers(self, content, code):
        if not code:
            raise ValueError("numbers of no known type")
        return np.frombuffer(content, self.order + code)
