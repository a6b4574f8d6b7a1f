"""The idx format of MNIST's files: a big-endian header of type and sizes, then the numbers.

Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""
import math

import numpy as np

from ... import dtypes, from_numpy

_NUMBERS = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}

SN3_PASCALVINCENT_TYPEMAP = {8: dtypes.uint8, 9: dtypes.int8, 11: dtypes.int16, 12: dtypes.int32, 13: dtypes.float32,
                             14: dtypes.float64}


def get_int(b):
    """The unsigned number that some bytes are, highest first.

    >>> from numtorch.vision.datasets.mnist import get_int
    >>> get_int(bytes([1, 2]))
    258
    """
    return int.from_bytes(b, "big")


def read_sn3_pascalvincent_tensor(path, strict=True):
    """Reads an idx file.

    Args:
        path (str or Path): the file, not compressed.
        strict (bool): the type of the error where the file's size is not what its header says.

    Returns:
        A tensor of 1 to 3 dimensions; its dtype is the file's: uint8, int8, int16, int32, float32 or float64.

    Raises:
        AssertionError: not an idx file; with ``strict`` also a wrong size.
        RuntimeError: without ``strict``, a wrong size.
    """
    data = np.fromfile(path, np.uint8)
    dims = int(data[3]) if len(data) >= 4 else 0
    offset = 4 * (dims + 1)
    if not 1 <= dims <= 3 or data[0] or data[1] or int(data[2]) not in _NUMBERS or len(data) < offset:
        raise AssertionError(f"read_sn3_pascalvincent_tensor: {path} is no idx file: it begins with {data[:4].tobytes()!r}, not "
                             f"with two zeros, a type of {sorted(_NUMBERS)} and 1 to 3 dimensions")
    shape = tuple(data[4:offset].view(">i4").tolist())
    number = np.dtype(_NUMBERS[int(data[2])])
    if min(shape) < 0 or len(data) - offset != math.prod(shape) * number.itemsize:
        raise (AssertionError if strict else RuntimeError)(
            f"read_sn3_pascalvincent_tensor: {path} is damaged: its header tells of shape {shape} in numbers of "
            f"{number.itemsize} bytes, and {len(data) - offset} bytes follow")
    return from_numpy(np.frombuffer(data, number, offset=offset).reshape(shape).astype(number.newbyteorder("="), copy=False))


def read_label_file(path):
    """Reads an idx file of labels: uint8 in the file, int64 (n,) in the tensor; TypeError or ValueError for another kind."""
    return _of_bytes(path, 1).long()


def read_image_file(path):
    """Reads an idx file of images: uint8 (n, height, width); TypeError or ValueError for another kind."""
    return _of_bytes(path, 3)


def _of_bytes(path, dims):
    x = read_sn3_pascalvincent_tensor(path, strict=False)
    if x.dtype != dtypes.uint8:
        raise TypeError(f"x should be of dtype torch.uint8 instead of {x.dtype}")
    if x.dim() != dims:
        raise ValueError(f"x should have {dims} dimension{'' if dims == 1 else 's'} instead of {x.dim()}")
    return x
